"""Remove credentials from URLs and outputs.

Code that reads a URL calls `split_url` at once, which adds the secrets to a register
of this process. Every text that leaves the process (errors, notes, output of children,
locks, manifests) passes through `redact`.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

__all__ = [
    "MASK",
    "Credentials",
    "index_name",
    "redact",
    "register_secret",
    "split_url",
    "token_components",
    "url_filename",
]

MASK = "****"
_MIN_SECRET = 4
# The scheme is bounded, since an unbounded one would make the search quadratic in the length of a word.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)[^/\s\"'<>]*@")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
# A component of a path that consists of words and short numbers; names of secrets are none of them.
_WORDS = re.compile(
    r"(?!.*(?:token|secret|passw|credential|api-?key))_?[a-z]+(?:\d{1,2}|(?:19|20)\d\d)?"
    r"(?:[-_.+~]+(?:[a-z]+(?:\d{1,2}|(?:19|20)\d\d)?|\d{1,2}|(?:19|20)\d\d))*",
    re.IGNORECASE,
)
_WORDS_LENGTH = 32
_TOKEN_LENGTH = 8
_secrets: set[str] = set()


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A user name and password for one origin."""

    user: str
    password: str

    def __repr__(self) -> str:
        """Return a text without the secret, for tracebacks and logs."""
        return "Credentials(****)"


def register_secret(secret: str) -> None:
    """Register a secret for redaction, in its percent-encoded and decoded spellings.

    A secret of less than 4 characters is ignored: redacting it would garble other text.
    """
    plain = unquote(secret)
    # urllib3 normalizes `%2f` to `%2F`, also in the text of its errors.
    upper = _ESCAPE.sub(lambda escape: escape[0].upper(), secret)
    for spelling in (secret, plain, upper, quote(secret, safe=""), quote(plain, safe="")):
        if len(spelling) >= _MIN_SECRET:
            _secrets.add(spelling)


def split_url(url: str) -> tuple[str, Credentials | None]:
    """Return ``url`` without its user information and query, and its credentials.

    The fragment (``#sha256=...``) remains. A user name without a password is a token,
    hence a secret. A query string may contain a signature (``X-Amz-Signature``,
    ``sig``): it is registered for redaction and removed.

    :raises ValueError: if the URL is malformed.
    """
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    credentials = None
    if at:
        user, _, password = userinfo.partition(":")
        credentials = Credentials(user=unquote(user), password=unquote(password))
        register_secret(password or user)
        pair = f"{credentials.user}:{credentials.password}".encode()
        register_secret(base64.b64encode(pair).decode("ascii"))
    if parts.query:
        register_secret(parts.query)
    return urlunsplit((parts.scheme, host, parts.path, "", parts.fragment)), credentials


def token_components(url: str) -> tuple[str, ...]:
    """Return the components of the path of a URL that look like a token, in order.

    Some services put a token into the path of an index instead of the user information. A component
    counts unless it is short, or consists of words and short numbers.

    >>> token_components("https://index.example/3f9ac01b77/my-repo2/simple")
    ('3f9ac01b77',)
    """
    components = urlsplit(url).path.split("/")
    return tuple(
        part
        for part in components
        if len(part) >= _TOKEN_LENGTH and (len(part) > _WORDS_LENGTH or not _WORDS.fullmatch(part))
    )


def index_name(url: str) -> str:
    """Return the name of an index, by its URL without user information: host and path, without a token."""
    parts = urlsplit(url)
    return parts.netloc if token_components(url) else f"{parts.netloc}{parts.path}".strip("/")


def url_filename(url: str) -> str:
    """Return the last component of the path of a URL, percent-decoded; it never contains a slash.

    The path is decoded before it is split, as in pip: otherwise an index could select the
    directory of a download by a ``%2F`` in a link.

    >>> url_filename("https://index.example/files/a%2Bb-1.0.tar.gz#sha256=00")
    'a+b-1.0.tar.gz'
    """
    return unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]


def redact(text: str) -> str:
    """Return ``text`` with all registered secrets and the user information of URLs replaced by ``****``.

    >>> redact("fetch https://me:hunter2@index.example/simple")
    'fetch https://****@index.example/simple'
    """
    # Longest first: a secret may contain another one, and its rest would remain.
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _USERINFO.sub(rf"\g<scheme>{MASK}@", text)
