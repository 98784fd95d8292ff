"""Stage 3, effect: one HTTP request, with the trust, the proxy and the credentials of its origin.

Failures become a `FaultError`, which `download` completes with the file and the index.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from bundler.errors import BundlerError, NetworkError
from bundler.paths import printable
from bundler.redaction import redact, split_url
from bundler.resolve.index import IndexSettings, origin_of

if TYPE_CHECKING:
    import requests


MAX_HOPS = 10
_READ = 1 << 17  # bytes; more than a socket ever has ready
_LOG_IN = "put the credentials into `index-url` of pip's configuration, or into netrc"
_HINTS = {
    401: _LOG_IN,
    403: _LOG_IN,
    404: "lock again: the index no longer has the file at this address",
    407: "put the proxy's credentials into pip's `proxy` setting",
    410: "lock again: the index has withdrawn the file",
}
_CA_HINT = "run `pip config set global.cert FILE` with the certificate of your own authority"


@dataclass(kw_only=True, eq=False)
class FaultError(Exception):
    """What went wrong with one request; `_Fetcher.fetch` makes the error of it that the user sees."""

    found: str
    wanted: str | None = None
    at: str | None = None  # the address, where it is not the file's own
    hint: str | None = None
    kind: type[BundlerError] = NetworkError
    passing: bool = False  # another try may not meet it
    retry_after: float | None = None


def body_chunks(response: requests.Response, window: float, min_rate: int) -> Iterator[bytes]:
    """Yield what has arrived as soon as it has, undecoded, while each window brings enough."""
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - slow to import

    start, before, received = time.monotonic(), 0, 0
    try:
        while chunk := response.raw.read1(_READ, decode_content=False):
            received += len(chunk)
            if (elapsed := time.monotonic() - start) >= window:
                if received - before < min_rate * elapsed:
                    raise FaultError(
                        found=f"{received - before} bytes in {elapsed:.0f} s", wanted="a faster answer"
                    )
                start, before = start + elapsed, received
            yield chunk
    except (HTTPError, OSError) as error:
        found = f"{received} bytes, then a broken answer: {printable(redact(str(_root(error))))[:200]}"
        raise FaultError(found=found, passing=True) from error


def refused_response(response: requests.Response, url: str) -> FaultError:
    """Return the fault of an answer that is not the file; it may pass if the server is to blame."""
    code = response.status_code
    return FaultError(
        found=f"HTTP {code} {printable(str(response.reason or ''))[:80]}".rstrip(),
        at=url,
        hint=_HINTS.get(code),
        passing=code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR,
        retry_after=_seconds(response.headers.get("Retry-After", "")),
    )


def _seconds(text: str) -> float | None:
    """Return what ``Retry-After`` asks for (RFC 9110, 10.2.3: a number or a date), None if it is neither."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def next_hop(url: str, target: str) -> str:
    """Return where a redirect leads, without the credentials it may bring."""
    wanted = ("https",) if url.startswith("https:") else ("http", "https")
    parts, clean = urlsplit(""), "?"
    with suppress(ValueError):
        parts = urlsplit(urljoin(url, target))
        clean, _ = split_url(parts.geturl())  # registers what is secret in it
    origin = origin_of(clean)
    if origin is None or origin[0] not in wanted:
        found = f"a redirect to `{printable(clean)}`"
        raise FaultError(found=found, wanted=" or ".join(wanted), at=url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


def explain_failure(error: Exception, url: str) -> FaultError:
    """Return what an exception of requests means."""
    from requests import exceptions  # noqa: PLC0415 - slow to import

    root = _root(error)
    text = printable(redact(str(root)))[:200]
    fault = FaultError(found=f"no connection: {text}", at=url)
    if isinstance(error, exceptions.ProxyError):
        fault.found = f"no way through the proxy: {text}"
        fault.hint = _HINTS[407] if "407" in text else None
        fault.passing = fault.hint is None
    elif isinstance(error, exceptions.SSLError) and not isinstance(root, ssl.SSLEOFError):
        fault.found, fault.hint = f"no trusted connection: {text}", _CA_HINT
    elif isinstance(error, exceptions.Timeout):
        fault.found, fault.passing = "no answer in time", True
    elif isinstance(root, socket.gaierror):
        fault.found, fault.passing = f"no such host: {text}", True
    else:
        fault.passing = isinstance(error, exceptions.ConnectionError)
    return fault


def _root(error: BaseException) -> BaseException:
    """Return the exception at the bottom of those that requests and urllib3 wrap around it."""
    for inner in (getattr(error, "reason", None), *error.args, error.__cause__):
        if isinstance(inner, BaseException):
            return _root(inner)
    return error


def is_trusted(url: str, settings: IndexSettings) -> bool:
    """Whether the user has waived the certificate of this very host (``host`` or ``host:port``)."""
    _, host, port = origin_of(url) or ("", "", 0)
    spelled = f"[{host}]" if ":" in host else host
    return not {host, spelled, f"{spelled}:{port}"}.isdisjoint(map(str.lower, settings.trusted_hosts))


def make_session(settings: IndexSettings) -> requests.Session:
    """Return a session that trusts what the system and requests trust, or ``cert`` alone where it is set."""
    import requests  # noqa: PLC0415 - slow to import
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - slow to import

    class SystemTrust(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs, ssl_context=ssl.create_default_context())

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, **kwargs, ssl_context=ssl.create_default_context())

    session = requests.Session()
    if not settings.cert:
        session.mount("https://", SystemTrust())
    for host in settings.trusted_hosts:
        # With a context of its own: the checks are switched off in there.
        session.mount(f"https://{host.lower()}", HTTPAdapter())
    return session
