"""The HTTP side of downloads: sessions, certificates, redirects, response bodies and their errors.

A failure of one request is a `FaultError`; `resolve.download` adds the file and
the index, and repeats the request if the failure is transient.

Retries are not left to urllib3's `Retry`. It waits in ``time.sleep``, which
neither an interrupt nor the failure of another download can end; it does not see
a body that breaks off, since responses are streamed, so the attempts of its loop
and of ours would multiply (36 for 5 retries); and it counts anew for each hop of
a redirect, while `DownloadLimits` bounds the attempts and waits of a file.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
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
from bundler.system.environ import proxy_variable

if TYPE_CHECKING:
    import requests


MAX_HOPS = 10
"""Redirects that are followed for one file."""
_READ = 1 << 17
"""Bytes of one read; more than a socket buffers."""
_LOG_IN = "put the credentials into `index-url` of pip's configuration, or into netrc"
_HINTS = {
    401: _LOG_IN,
    403: _LOG_IN,
    404: "lock again: the index no longer has the file at this URL",
    407: "put the proxy's credentials into pip's `proxy` setting",
    410: "lock again: the index has withdrawn the file",
}
_CA_HINT = "run `pip config set global.cert FILE` with the certificate of your certificate authority"


@dataclass(kw_only=True, eq=False)
class FaultError(Exception):
    """The failure of one request; `download` turns it into the error for the user."""

    found: str
    wanted: str | None = None
    at: str | None = None
    """The URL of the request, if a redirect led away from the URL of the file."""
    hint: str | None = None
    kind: type[BundlerError] = NetworkError
    transient: bool = False
    """Whether a repetition may succeed."""
    retry_after: float | None = None
    """Seconds that the server asked to wait."""
    status: int | None = None
    """The status of the response, if it is the failure."""


def body_chunks(response: requests.Response, window: float, min_rate: int) -> Iterator[bytes]:
    """Yield the chunks of a response body as they arrive, without decoding a Content-Encoding.

    :param window: seconds over which the rate is averaged.
    :param min_rate: bytes per second.
    :raises FaultError: if a window is slower than ``min_rate``, or the connection breaks.
    """
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - slow to import

    start, before, received = time.monotonic(), 0, 0
    try:
        while chunk := response.raw.read1(_READ, decode_content=False):
            received += len(chunk)
            if (elapsed := time.monotonic() - start) >= window:
                if received - before < min_rate * elapsed:
                    raise FaultError(
                        found=f"{received - before} bytes in {elapsed:.0f} s",
                        wanted=f"{min_rate} bytes per second",
                    )
                start, before = start + elapsed, received
            yield chunk
    except (HTTPError, OSError) as error:
        reason = printable(redact(str(_root(error))))[:200]
        found = f"the response ended after {received} bytes: {reason}"
        raise FaultError(found=found, transient=True) from error


def refused_response(response: requests.Response, url: str) -> FaultError:
    """Return the failure for a status other than 200; 429 and 5xx are transient."""
    code = response.status_code
    return FaultError(
        found=f"HTTP {code} {printable(str(response.reason or ''))[:80]}".rstrip(),
        at=url,
        hint=_HINTS.get(code),
        transient=code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR,
        retry_after=_seconds(response.headers.get("Retry-After", "")),
        status=code,
    )


def _seconds(text: str) -> float | None:
    """Return the seconds of a ``Retry-After`` header, a number or a date (RFC 9110, 10.2.3), or None."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def next_hop(url: str, target: str) -> str:
    """Return the URL of a redirect, without credentials that the server put into it.

    :param url: the URL that redirects.
    :param target: the ``Location``, which may be relative.
    :raises FaultError: if it is not http(s), or leads from https to http.
    """
    wanted = ("https",) if url.startswith("https:") else ("http", "https")
    parts, clean = urlsplit(""), "?"
    with suppress(ValueError):
        parts = urlsplit(urljoin(url, target))
        clean, _ = split_url(parts.geturl())  # registers its secrets for redaction
    origin = origin_of(clean)
    if origin is None or origin[0] not in wanted:
        found = f"a redirect to `{printable(clean)}`"
        raise FaultError(found=found, wanted=" or ".join(wanted), at=url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


def explain_failure(error: Exception, url: str, proxy: str | None = None) -> FaultError:
    """Return the failure for an exception of requests.

    :param proxy: the proxy of the settings; None if variables select it.
    """
    from requests import exceptions  # noqa: PLC0415 - slow to import

    root = _root(error)
    text = printable(redact(str(root)))[:200]
    fault = FaultError(found=f"no connection: {text}", at=url)
    if isinstance(error, exceptions.ProxyError):
        is_refused = "407" in text
        fault.found, fault.hint = f"the proxy cannot be used: {text}", _HINTS[407] if is_refused else None
        if proxy is None and (variable := proxy_variable(urlsplit(url).scheme)) is not None:
            name, value = variable
            shown = redact(split_url(value if "://" in value else f"http://{value}")[0])
            fault.found = f"the proxy of `{name}`, {printable(shown)}, cannot be used: {text}"
            fault.hint = fault.hint or f"correct the variable, or `unset {name}`"
        fault.transient = not is_refused
    elif isinstance(error, exceptions.SSLError) and not isinstance(root, ssl.SSLEOFError):
        fault.found, fault.hint = f"no trusted connection: {text}", _CA_HINT
    elif isinstance(error, exceptions.Timeout):
        fault.found, fault.transient = "no response in time", True
    elif isinstance(root, socket.gaierror):
        # Transient: EAI_AGAIN and a resolver that is starting up look the same as an unknown name.
        fault.found, fault.transient = f"host not found: {text}", True
    else:
        fault.transient = isinstance(error, exceptions.ConnectionError)
    return fault


def _root(error: BaseException) -> BaseException:
    """Return the innermost exception of those that requests and urllib3 wrap around each other."""
    for inner in (getattr(error, "reason", None), *error.args, error.__cause__):
        if isinstance(inner, BaseException):
            return _root(inner)
    return error


def open_response(
    url: str,
    settings: IndexSettings,
    session: Callable[[], requests.Session],
    *,
    headers: Mapping[str, str] | None = None,
) -> requests.Response:
    """Return the response at the end of all redirects, status 200; the caller closes it.

    :param session: called before each request; it may raise to end the download.
    :param headers: further headers of the requests.
    :raises FaultError: if there is no such response.
    """
    for _ in range(MAX_HOPS + 1):
        response = _get(url, settings, session(), headers or {})
        target = session().get_redirect_target(response)
        if target is None and response.status_code == HTTPStatus.OK:
            return response
        response.close()
        if target is None:
            raise refused_response(response, url)
        url = next_hop(url, target)
    raise FaultError(found=f"more than {MAX_HOPS} redirects", at=url)


def _get(
    url: str, settings: IndexSettings, session: requests.Session, headers: Mapping[str, str]
) -> requests.Response:
    """Send one request, with the credentials, verification and proxy configured for its origin."""
    secret = settings.credentials_for(url)
    proxy = settings.proxy
    try:
        return session.get(
            url,
            # As bytes: requests would encode a str as Latin-1.
            auth=(secret.user.encode(), secret.password.encode()) if secret else None,  # type: ignore[arg-type]
            # The file itself: a compressed response would have another digest.
            headers={"Accept-Encoding": "identity", **headers},
            stream=True,
            allow_redirects=False,
            timeout=settings.timeout,
            verify=False if is_trusted(url, settings) else settings.cert or True,
            cert=settings.client_cert,
            proxies={"http": proxy, "https": proxy} if proxy else None,
        )
    except (OSError, ValueError) as error:  # every error of requests is an OSError
        raise explain_failure(error, url, proxy) from error


def is_trusted(url: str, settings: IndexSettings) -> bool:
    """Return whether ``trusted-host`` names the host of a URL, as ``host`` or ``host:port``."""
    _, host, port = origin_of(url) or ("", "", 0)
    spelled = f"[{host}]" if ":" in host else host
    return not {host, spelled, f"{spelled}:{port}"}.isdisjoint(map(str.lower, settings.trusted_hosts))


def make_session(settings: IndexSettings) -> requests.Session:
    """Return a session that verifies servers as pip does.

    Without ``cert`` it trusts the certificates of the system (truststore: SSL_CERT_FILE,
    SSL_CERT_DIR, or the directory of the distribution where OpenSSL's own is empty, as in conda's
    and uv's Pythons) and those of requests (REQUESTS_CA_BUNDLE, or certifi). With ``cert`` it trusts
    those of this file alone.
    """
    import requests  # noqa: PLC0415 - slow to import
    import truststore  # noqa: PLC0415 - slow to import
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - slow to import

    class SystemTrust(HTTPAdapter):
        """requests has no parameter for an SSL context; pip's session has the same adapter."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs, ssl_context=_system_context())

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, **kwargs, ssl_context=_system_context())

    def _system_context() -> ssl.SSLContext:
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    session = requests.Session()
    if not settings.cert:
        session.mount("https://", SystemTrust())
    for host in settings.trusted_hosts:
        # An adapter of its own: urllib3 switches verification off in the context of the connection,
        # which the other hosts must not share.
        session.mount(f"https://{host.lower()}", HTTPAdapter())
    return session
