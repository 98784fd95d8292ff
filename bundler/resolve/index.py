"""The index settings: pip's configuration, overridden by requirements files and the command line.

``pip config list`` runs once, with the user's home, and its result is passed on
explicitly. No later stage reads a configuration file or a ``PIP_*`` variable, so
that other settings (a target, a prefix, a constraint) cannot change the bundle.

Specs: pip documentation, "Configuration" and "Repository options".
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from bundler.errors import InputError
from bundler.paths import printable
from bundler.problems import register_urls
from bundler.redaction import (
    MASK,
    Credentials,
    index_name,
    redact,
    register_secret,
    split_url,
    token_components,
)
from bundler.requirements.requirement_set import IndexOptions
from bundler.resolve.auth import with_keyring
from bundler.resolve.locations import check_proxies, file_path, missing_location, probable_url
from bundler.resolve.pip_config import PipConfig, local_path, read_pip_config
from bundler.system.environ import TRUST_AND_PROXY, HostEnvironment

__all__ = ["Index", "IndexSettings", "Origin", "origin_of", "read_index_settings"]

IndexKind = Literal["index", "extra", "find-links"]
Origin = tuple[str, str, int]
"""Scheme, host in lower case, port (RFC 6454): credentials are sent to their own origin only."""

DEFAULT_NAME = "default"
"""The name of the index that is built into pip, in locks and manifests."""

_LABELS: dict[IndexKind, str] = {"index": "index-url", "extra": "extra-index-url", "find-links": "find-links"}
_TIMEOUT = 15.0
_RETRIES = 5
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """One index, or one location of ``--find-links``."""

    name: str
    """Host and path, without scheme and trailing slash; the host alone if the path contains a token;
    ``local:NAME`` for a local directory or file."""
    url: str
    """The URL without credentials and query; a ``file:`` URL for a local directory or file."""
    kind: IndexKind
    """The option of pip that names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSettings:
    """The indexes, and the settings of connections to them."""

    indexes: tuple[Index, ...] = ()
    """In pip's order: index-url, extra-index-url, find-links; with ``no_index`` find-links only."""
    no_index: bool = False
    """Whether all indexes are ignored, but for find-links."""
    cert: str | None = None
    """A file or directory of CA certificates that replaces all others."""
    client_cert: str | None = None
    """A PEM file with the client certificate and its key."""
    proxy: str | None = field(default=None, repr=False)
    """The proxy for all URLs, with its credentials; None uses HTTPS_PROXY and the like."""
    trusted_hosts: tuple[str, ...] = ()
    """``host`` or ``host:port`` whose certificate is not verified."""
    timeout: float = _TIMEOUT
    """Seconds without data after which a connection fails."""
    retries: int = _RETRIES
    """Number of repetitions after a transient failure."""
    keyring_provider: str | None = None
    """pip's ``--keyring-provider``; with ``subprocess`` or ``import``, the command ``keyring`` was asked."""
    default_index: bool = True
    """Whether the index built into pip, named ``default``, is used."""
    # Credentials by the URL of their index; and the URLs of `indexes` with credentials and query.
    _credentials: tuple[tuple[str, Credentials], ...] = field(default=(), repr=False, compare=False)
    _raw: tuple[str, ...] = field(default=(), repr=False, compare=False)
    # The members of `indexes` that only pip's configuration names.
    _configured: tuple[Index, ...] = field(default=(), repr=False, compare=False)
    _configured_no_index: bool = field(default=False, repr=False, compare=False)

    def pip_environment(self) -> dict[str, str]:
        """Return the ``PIP_*`` variables that pass these settings to a child pip.

        They contain the credentials: other users can read the arguments of a
        process, but not its environment (proc(5), ``/proc/PID/environ``).
        """
        settings = {
            "PIP_INDEX_URL": " ".join(self.urls("index")),
            "PIP_EXTRA_INDEX_URL": " ".join(self.urls("extra")),
            "PIP_FIND_LINKS": " ".join(self.urls("find-links")),
            "PIP_NO_INDEX": "1" if self.no_index else "",
            "PIP_CERT": self.cert or "",
            "PIP_CLIENT_CERT": self.client_cert or "",
            "PIP_PROXY": self.proxy or "",
            "PIP_TRUSTED_HOST": " ".join(self.trusted_hosts),
            "PIP_TIMEOUT": f"{self.timeout:g}",
            "PIP_RETRIES": str(self.retries),
            # The password is in the URLs already, see `resolve.auth`.
            "PIP_KEYRING_PROVIDER": "disabled" if self.keyring_provider else "",
        }
        return {name: value for name, value in settings.items() if value}

    def urls(self, kind: IndexKind) -> list[str]:
        """Return the URLs of an option of pip, with their credentials and queries."""
        return [raw for index, raw in zip(self.indexes, self._raw, strict=True) if index.kind == kind]

    def credentials_for(self, url: str) -> Credentials | None:
        """Return the credentials configured for the index with this URL's origin, or None.

        If several indexes share the origin, the one with the longest common path is used, as in pip.
        """
        origin = origin_of(url)
        candidates = [
            (index_url, secret)
            for index_url, secret in self._credentials
            if origin is not None and origin_of(index_url) == origin
        ]
        best = max(candidates, key=lambda pair: _shared_depth(pair[0], url), default=None)
        return best[1] if best else None

    def without_tokens(self, url: str) -> str:
        """Return a URL with ``****`` for each token that the URL of an index contains in its path."""
        tokens = {token for index in self.indexes for token in token_components(index.url)}
        return "/".join(MASK if part in tokens else part for part in url.split("/"))

    def with_tokens(self, url: str) -> str | None:
        """Return a URL of `without_tokens` with its tokens; None if no index of its origin has them."""
        parts = url.split("/")
        if MASK not in parts:
            return url
        for index in self.indexes:
            tokens = token_components(index.url)
            if origin_of(index.url) == origin_of(url) and len(tokens) == parts.count(MASK):
                left = iter(tokens)
                return "/".join(next(left) if part == MASK else part for part in parts)
        return None

    def summary(self) -> tuple[str, ...]:
        """Return one line for each setting, redacted."""
        lines = []
        if self.default_index:
            lines.append(("index-url", "(built into pip)"))
        lines += [(_LABELS[index.kind], index.url) for index in self.indexes]
        if self.no_index:
            lines.append(("no-index", "yes"))
        lines += [("cert", self.cert or ""), ("client-cert", self.client_cert or "")]
        lines += [("proxy", split_url(self.proxy or "")[0])]
        lines += [("keyring-provider", self.keyring_provider or "")]
        lines += [("trusted-host", host) for host in self.trusted_hosts]
        lines += [("timeout", f"{self.timeout:g}"), ("retries", str(self.retries))]
        return tuple(redact(f"{name} {printable(value)}") for name, value in lines if value)

    def inherited(self) -> tuple[str, ...]:
        """Return one line for each setting of pip's configuration that changes where files come from.

        Such a setting has an effect that the command line and the files do not show.
        """
        lines = [f"{_LABELS[index.kind]} {index.url}" for index in self._configured]
        if self.no_index and self._configured_no_index:
            lines.append("no-index")
        if self.proxy:
            lines.append(f"proxy {split_url(self.proxy)[0]}")
        return tuple(redact(printable(line)) for line in lines)

    def name_of(self, file_url: str) -> str | None:
        """Return the name of the index a file was downloaded from, or None if it is ambiguous.

        pip's report does not contain it. It is certain if there is only one index; else if
        the URL is below exactly one directory or page of find-links; else if exactly one
        index has the host of the URL.
        """
        names = [index.name for index in self.indexes]
        if self.default_index:
            names.append(DEFAULT_NAME)
        origin = origin_of(file_url)
        # A local file that is not below a configured directory is a requirement by path.
        if len(names) == 1 and origin is not None:
            return names[0]
        containing = [
            index.name
            for index in self.indexes
            if (index.kind == "find-links" or index.url.startswith("file:"))
            and _is_under(file_url, index.url)
        ]
        if containing:
            return containing[0] if len(containing) == 1 else None
        if origin is None:
            return None
        # Without the scheme: an index on http may link to files on https of the same host and port.
        same_host = [index.name for index in self.indexes if (origin_of(index.url) or ())[1:] == origin[1:]]
        return same_host[0] if len(same_host) == 1 else None


def origin_of(url: str) -> Origin | None:
    """Return the origin of an http(s) URL, or None for any other text.

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
    host: HostEnvironment,
    scratch: Path,
    *,
    flags: IndexOptions,
    from_files: IndexOptions | None = None,
    download: str = "pip setuptools wheel",
) -> IndexSettings:
    """Return pip's settings, overridden by the requirements files and the command line.

    An ``index-url`` of the command line replaces that of the requirements files,
    which replaces that of the environment, which replaces that of pip's configuration
    files. Lists are concatenated in the same order. ``no-index`` in any of them counts,
    as in pip.

    :param scratch: an existing private directory for the child.
    :param flags: the options of the command line.
    :param from_files: the options of the requirements files.
    :param download: the words of `pip download` that get what the run needs, for a hint.
    :raises InputError: if pip cannot read its configuration, or a value is invalid.
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
        if index_url:
            wanted.append(("index", index_url))
        wanted += [("extra", url) for url in extra]
    wanted += [("find-links", url) for url in find_links]
    provider = config.text("keyring-provider")
    raw = tuple(with_keyring(_absolute(text, host), provider, host, scratch) for _, text in wanted)
    for name in TRUST_AND_PROXY:
        register_urls(host.get(name) or "")
    given = {url for options in layers for url in (options.index_url, *options.extra_index_urls)}
    given |= {link for options in layers for link in options.find_links}
    for (kind, text), url in zip(wanted, raw, strict=True):
        path = Path(file_path(url)) if url.startswith("file:") else None
        # A file or pip's configuration may name a directory of wheels that only other machines have.
        is_optional = kind == "find-links" and text not in flags.find_links and not no_index
        is_meant = text in given or (kind != "find-links" and probable_url(text) is not None)
        if is_meant and not is_optional and path is not None and not path.exists():
            raise missing_location(f"--{_LABELS[kind]}", text, path, host, download)
    if any(not url.startswith("file:") for url in raw) or not (no_index or index_url):
        check_proxies(host)
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
        keyring_provider=provider,
        default_index=not no_index and not index_url,
        _credentials=tuple((index.url, secret) for index, secret in parsed if secret is not None),
        _raw=raw,
        _configured=tuple(
            index for (_, text), (index, _) in zip(wanted, parsed, strict=True) if text not in given
        ),
        _configured_no_index=config.flag("no-index"),
    )


def _merged(layers: list[tuple[str, ...]], last: tuple[str, ...]) -> tuple[str, ...]:
    """Return the items of all layers, in order, without duplicates."""
    return tuple(dict.fromkeys(item for layer in (*layers, last) for item in layer))


def _split(url: str) -> SplitResult:
    """Return the parts of a URL.

    :raises InputError: if it is malformed.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is not a number
    except ValueError:
        # A password with an unescaped slash fails here, as a port: quote nothing before the last `@`.
        raise InputError(
            "the URL of an index or proxy is malformed",
            evidence=(
                "wanted  scheme://[user:password@]host[:port]/path",
                f"found   ...{printable(url.rpartition('@')[2])}",
            ),
            hint="percent-encode the special characters of a password, as in `p%2Fw`",
        ) from None
    return parts


def _absolute(text: str, host: HostEnvironment) -> str:
    """Return a URL unchanged, and a path as a ``file:`` URL."""
    scheme, colon, _ = text.partition(":")
    # No URL scheme has one letter; `c:` would be a relative path here, as in pip.
    if colon and len(scheme) > 1 and scheme.isalnum():
        return text
    return local_path(text, host).as_uri()


def _parse_index(kind: IndexKind, raw: str) -> tuple[Index, Credentials | None]:
    """Return an index and its credentials.

    :raises InputError: if the URL is malformed, or neither http(s) nor ``file:``.
    """
    parts = _split(raw)
    if parts.scheme == "file":
        name = PurePosixPath(unquote(parts.path)).name
        return Index(name=f"local:{name}", url=raw, kind=kind), None
    url, secret = split_url(raw)
    if origin_of(url) is None:
        raise InputError(
            f"`{printable(redact(url))}` is not the URL of an index",
            evidence=("wanted  http://, https://, file:// or a directory",),
            hint=f"--{_LABELS[kind]} {shlex.quote(redact(meant))}" if (meant := probable_url(url)) else None,
        )
    for token in token_components(url):
        register_secret(token)
    return Index(name=index_name(url), url=url, kind=kind), secret


def _parse_proxy(text: str | None) -> str | None:
    """Return a proxy with its scheme, and register its password."""
    if text is None:
        return None
    url = text if "://" in text else f"http://{text}"
    _split(url)
    split_url(url)
    return url


def _is_under(url: str, base: str) -> bool:
    """Return whether a URL is below another one, by whole path components."""
    return url.startswith(base.rstrip("/") + "/") and "/../" not in url


def _shared_depth(index_url: str, file_url: str) -> int:
    """Return the number of leading components that two URLs have in common."""
    pairs = zip(index_url.rstrip("/").split("/"), file_url.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
