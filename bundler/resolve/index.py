"""Stage 2, effect: where distributions come from, read once from pip's own settings.

pip is asked what it would do (``pip config list`` in the user's own home), the
command line and the requirements files are laid over it, and the result is
handed on explicitly. No later stage reads a configuration file or a ``PIP_*``
variable, so nothing else that is set there (a target, a prefix, a constraint)
can reach the bundle.

Specs: pip documentation, "Configuration" and "Repository options".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from bundler.errors import InputError
from bundler.paths import printable
from bundler.redaction import Credentials, redact, split_url
from bundler.requirements.requirement_set import IndexOptions
from bundler.resolve.pip_config import PipConfig, local_path, read_pip_config
from bundler.system.environ import HostEnvironment

__all__ = ["Index", "IndexSettings", "Origin", "origin_of", "read_index_settings"]

IndexKind = Literal["index", "extra", "find-links"]
Origin = tuple[str, str, int]
"""Scheme, host in lower case, port: who may be told a password."""

DEFAULT_NAME = "default"
"""What the index that is built into pip is called; its address is pip's business."""

_LABELS: dict[IndexKind, str] = {"index": "index-url", "extra": "extra-index-url", "find-links": "find-links"}
_TIMEOUT = 15.0
_RETRIES = 5
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """One place distributions come from."""

    name: str
    """Host and path without scheme and slash at the end; ``local:<folder's name>`` for a folder or a file."""
    url: str
    """Its address without credentials and query; a folder is a ``file:`` address."""
    kind: IndexKind
    """Which option of pip names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSettings:
    """All that decides where files come from and how they are reached."""

    indexes: tuple[Index, ...] = ()
    """In pip's order: the index, the extra ones, find-links; with ``no_index`` find-links alone."""
    no_index: bool = False
    """Whether only find-links count."""
    cert: str | None = None
    """A file or folder of certificate authorities that replaces all others."""
    client_cert: str | None = None
    """A file with the certificate and key that this side shows."""
    proxy: str | None = field(default=None, repr=False)
    """The proxy for every address, with its credentials; None leaves it to the usual variables."""
    trusted_hosts: tuple[str, ...] = ()
    """``host`` or ``host:port`` whose certificate is not checked."""
    timeout: float = _TIMEOUT
    """Seconds without a byte until a connection counts as dead."""
    retries: int = _RETRIES
    """How often a failed request is repeated."""
    keyring_provider: str | None = None
    """pip's ``--keyring-provider``, for the pip that resolves."""
    default_index: bool = True
    """Whether the index is the one built into pip, named ``default``."""
    # By the address of the index; and every address as `indexes` has it, with credentials and query.
    _credentials: tuple[tuple[str, Credentials], ...] = field(default=(), repr=False, compare=False)
    _raw: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def pip_environment(self) -> dict[str, str]:
        """Return the variables that give a child pip these settings and no others.

        With credentials: an environment is readable by its own user only, an
        argument list by everyone.
        """
        by_kind: dict[IndexKind, list[str]] = {"index": [], "extra": [], "find-links": []}
        for index, raw in zip(self.indexes, self._raw, strict=True):
            by_kind[index.kind].append(raw)
        settings = {
            "PIP_INDEX_URL": " ".join(by_kind["index"]),
            "PIP_EXTRA_INDEX_URL": " ".join(by_kind["extra"]),
            "PIP_FIND_LINKS": " ".join(by_kind["find-links"]),
            "PIP_NO_INDEX": "1" if self.no_index else "",
            "PIP_CERT": self.cert or "",
            "PIP_CLIENT_CERT": self.client_cert or "",
            "PIP_PROXY": self.proxy or "",
            "PIP_TRUSTED_HOST": " ".join(self.trusted_hosts),
            "PIP_TIMEOUT": f"{self.timeout:g}",
            "PIP_RETRIES": str(self.retries),
            "PIP_KEYRING_PROVIDER": self.keyring_provider or "",
        }
        return {name: value for name, value in settings.items() if value}

    def credentials_for(self, url: str) -> Credentials | None:
        """Return what a configured index of the very same scheme, host and port is reached with.

        Where one host has several, the path that has most in common with that of ``url`` decides, as in pip.
        """
        origin = origin_of(url)
        known = [one for one in self._credentials if origin is not None and origin_of(one[0]) == origin]
        best = max(known, key=lambda one: _shared_depth(one[0], url), default=None)
        return best[1] if best else None

    def summary(self) -> tuple[str, ...]:
        """Return one line per setting that decides where files come from; no secret is in them."""
        lines = [("index-url", "(built into pip)")] if self.default_index else []
        lines += [(_LABELS[index.kind], index.url) for index in self.indexes]
        lines += [("no-index", "yes")] if self.no_index else []
        lines += [("cert", self.cert or ""), ("client-cert", self.client_cert or "")]
        lines += [("proxy", split_url(self.proxy or "")[0])]
        lines += [("keyring-provider", self.keyring_provider or "")]
        lines += [("trusted-host", host) for host in self.trusted_hosts]
        lines += [("timeout", f"{self.timeout:g}"), ("retries", str(self.retries))]
        return tuple(redact(f"{name} {printable(value)}") for name, value in lines if value)

    def name_of(self, file_url: str) -> str | None:
        """Return the name of the index a file came from, or None unless that is certain.

        It is, if there is but one index; else if the address lies under exactly
        one folder or find-links page; else if exactly one index is on its host.
        """
        names = [index.name for index in self.indexes] + [DEFAULT_NAME] * self.default_index
        origin = origin_of(file_url)
        # A local file under no folder of ours was named by itself.
        if len(names) == 1 and origin is not None:
            return names[0]
        folders = [one for one in self.indexes if one.kind == "find-links" or one.url.startswith("file:")]
        bases = [one.name for one in folders if _is_under(file_url, one.url)]
        if bases:
            return bases[0] if len(bases) == 1 else None
        hosts = [one.name for one in self.indexes if origin and (origin_of(one.url) or ())[1:] == origin[1:]]
        return hosts[0] if len(hosts) == 1 else None


def origin_of(url: str) -> Origin | None:
    """Return the origin of an http(s) address, None for any other.

    >>> origin_of("https://Index.example/packages")
    ('https', 'index.example', 443)
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def read_index_settings(
    host: HostEnvironment, scratch: Path, *, flags: IndexOptions, from_files: IndexOptions | None = None
) -> IndexSettings:
    """Return pip's settings with the requirements files' and the command line's laid over them.

    An index address of the command line replaces that of the files, which
    replaces that of the environment, which replaces that of pip's files; lists
    add up, the most special first. ``no_index`` anywhere wins, as it does in pip.

    :param scratch: an existing private folder for the child.
    :param flags: what the command line says.
    :param from_files: what the requirements files say.
    :raises InputError: if pip cannot read its configuration, or a value makes no sense.
    """
    config = PipConfig(read_pip_config(host, scratch), host)
    layers = [options for options in (flags, from_files) if options is not None]
    index_urls = [*(options.index_url for options in layers), config.text("index-url")]
    index_url = next((url for url in index_urls if url), None)
    extra = _merged([options.extra_index_urls for options in layers], config.items("extra-index-url"))
    find_links = _merged([options.find_links for options in layers], config.items("find-links"))
    no_index = any(options.no_index for options in layers) or config.flag("no-index")

    wanted: list[tuple[IndexKind, str]] = []
    if not no_index:
        wanted += [("index", index_url)] if index_url else []
        wanted += [("extra", url) for url in extra]
    wanted += [("find-links", url) for url in find_links]
    raw = tuple(_absolute(text, host) for _, text in wanted)
    parsed = [_parse_index(kind, url) for (kind, _), url in zip(wanted, raw, strict=True)]
    return IndexSettings(
        indexes=tuple(index for index, _ in parsed),
        no_index=no_index,
        cert=config.path("cert"),
        client_cert=config.path("client-cert"),
        proxy=_parse_proxy(config.text("proxy")),
        trusted_hosts=_merged([options.trusted_hosts for options in layers], config.items("trusted-host")),
        timeout=config.number("timeout", _TIMEOUT, least=0.001),
        retries=int(config.number("retries", _RETRIES, least=0)),
        keyring_provider=config.text("keyring-provider"),
        default_index=not no_index and not index_url,
        _credentials=tuple((index.url, secret) for index, secret in parsed if secret is not None),
        _raw=raw,
    )


# --- pip's configuration ----------------------------------------------------


# --- addresses --------------------------------------------------------------


def _merged(layers: list[tuple[str, ...]], last: tuple[str, ...]) -> tuple[str, ...]:
    """Return every item once, in order of its first appearance."""
    return tuple(dict.fromkeys(item for layer in (*layers, last) for item in layer))


def _split(url: str) -> SplitResult:
    """Return the parts of an address, or raise InputError if it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number
    except ValueError:
        # A password with a bare slash ends up here, in pieces: show nothing before the last `@`.
        raise InputError(
            "the address of an index or proxy cannot be read",
            evidence=(
                "wanted  scheme://[user:password@]host[:port]/path",
                f"found   ...{printable(url.rpartition('@')[2])}",
            ),
            hint="spell special characters of a password as in `p%2Fw`",
        ) from None
    return parts


def _absolute(text: str, host: HostEnvironment) -> str:
    """Return an address as it is, and a path as a ``file:`` address."""
    scheme, colon, _ = text.partition(":")
    # One letter before the colon is a drive.
    if colon and len(scheme) > 1 and scheme.isalnum():
        return text
    return local_path(text, host).as_uri()


def _parse_index(kind: IndexKind, raw: str) -> tuple[Index, Credentials | None]:
    """Return one index and what it is reached with, or raise InputError if it is no http(s) or file one."""
    parts = _split(raw)
    if parts.scheme == "file":
        name = PurePosixPath(unquote(parts.path)).name
        return Index(name=f"local:{name}", url=raw, kind=kind), None
    url, secret = split_url(raw)
    if origin_of(url) is None:
        raise InputError(
            f"`{printable(redact(url))}` is no address of an index",
            evidence=("wanted  http://, https://, file:// or a folder",),
        )
    clean = urlsplit(url)
    return Index(name=f"{clean.netloc}{clean.path}".rstrip("/"), url=url, kind=kind), secret


def _parse_proxy(text: str | None) -> str | None:
    """Return a proxy with its scheme, and register its password."""
    if text is None:
        return None
    url = text if "://" in text else f"http://{text}"
    _split(url)
    split_url(url)
    return url


def _is_under(url: str, base: str) -> bool:
    """Whether an address lies below another, component by component."""
    return url.startswith(base.rstrip("/") + "/") and "/../" not in url


def _shared_depth(one: str, other: str) -> int:
    """Return how many components two addresses share from the left."""
    pairs = zip(one.rstrip("/").split("/"), other.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
