"""Pure: which files of a source directory are likely secrets, by their name or content.

Few and exact patterns: a private key or a token with a fixed prefix is found wherever it is, and a
hash, a notebook or a model is not one. detect-secrets finds more, mostly by entropy, which weights and
hashes have as well; its last release is of 2024.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

__all__ = ["CONTENT_LIMIT", "may_contain_secret", "secret_in_content", "secret_in_name"]

CONTENT_LIMIT = 1 << 20
"""Bytes; larger files are data."""

_FOLDERS = frozenset(
    {
        *(".ssh", ".aws", ".azure", ".gcloud", ".gnupg", ".kube", ".docker"),
        *(".kaggle", ".huggingface", ".snowsql", ".databricks"),
    }
)
_NAMES = {
    "environment variables": (".env", ".env.*", "*.env", ".envrc"),
    "a password file": (
        *(".netrc", "_netrc", ".pypirc", ".pgpass", ".git-credentials", ".htpasswd", ".dockercfg"),
        *(".s3cfg", ".boto", ".my.cnf", ".vault-token", ".npmrc", ".databrickscfg", "rclone.conf"),
    ),
    "a private key": (
        *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk"),
        *("*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk"),
    ),
    "credentials": (
        *("client_secret*.json", "service_account*.json", "service-account*.json", "credentials.json"),
        *("*.publishsettings", "kubeconfig", "kaggle.json", "secrets.toml", "*.tfstate", "*.tfvars"),
    ),
}
_TEMPLATES = (".example", ".sample", ".template", ".dist", ".defaults")
_PEM_NAMES = ("*.pem", "*.key")
_PUBLIC = re.compile(rb"-----BEGIN (?:TRUSTED )?(?:CERTIFICATE|(?:RSA )?PUBLIC KEY|X509 CRL)-----")
_CONTENTS = {
    # A line break may be escaped, as in the JSON of a service account.
    "a private key": re.compile(
        rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----(?:\\n|\s|[\w-]+: [^\n]*\n)+[A-Za-z0-9+/=]{32}"
    ),
    "an access key of AWS": re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Z0-9])"),
    "an account key of Azure": re.compile(rb"AccountKey=[A-Za-z0-9+/]{86}=="),
    "a shared key of Azure": re.compile(rb"SharedAccessKey=[A-Za-z0-9+/]{43}="),
    "a signature of Azure": re.compile(rb"[?&]s[vep]=[^\s'\"]*&sig=[A-Za-z0-9%+/]{40,}"),
    "a token of Databricks": re.compile(rb"(?<!\w)dapi[0-9a-f]{32}(?!\w)"),
    "a token of npm": re.compile(rb"(?<!\w)npm_[A-Za-z0-9]{36}(?!\w)"),
    "a key of OpenAI": re.compile(rb"(?<!\w)sk-(?:proj-)?\w{20}T3BlbkFJ\w{20}"),
    "a key of Stripe": re.compile(rb"(?<!\w)[rs]k_live_[A-Za-z0-9]{24}"),
    "a token of GitHub": re.compile(rb"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40})"),
    "a token of GitLab": re.compile(rb"(?<!\w)glpat-[\w-]{20}"),
    "a token of PyPI": re.compile(rb"(?<!\w)pypi-AgEIcHlwaS5vcmc[\w-]{40}"),
    "a token of Slack": re.compile(rb"(?<!\w)xox[abprs]-\d{10,}-[\w-]{10,}"),
    "a key of Google": re.compile(rb"(?<!\w)AIza[\w-]{35}(?![\w-])"),
    "a token of Hugging Face": re.compile(rb"(?<!\w)hf_[A-Za-z0-9]{34}(?!\w)"),
}


def secret_in_name(path: str) -> str | None:
    """Return the kind of secret that a file usually is, by its path in the source directory, or None."""
    *folders, name = path.lower().split("/")
    if _FOLDERS.intersection(folders):
        return "credentials"
    if name.endswith(_TEMPLATES):
        return None
    for kind, patterns in _NAMES.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return kind
    return None


def may_contain_secret(path: str, size: int) -> bool:
    """Return whether the content of a file is to be read: not that of data and installed packages."""
    return size <= CONTENT_LIMIT and "site-packages" not in path.split("/")


def secret_in_content(path: str, content: bytes) -> str | None:
    """Return the kind of secret in a content, or None."""
    if b"\0" not in content[:8192]:
        for kind, pattern in _CONTENTS.items():
            if pattern.search(content):
                return kind
    # Certificates are public; an encoding without a header cannot be told from a key.
    is_pem = any(fnmatchcase(path.lower().rpartition("/")[2], pattern) for pattern in _PEM_NAMES)
    return "a private key" if is_pem and not _PUBLIC.search(content) else None
