"""A loopback HTTP server whose every path misbehaves as the test says.

A *behaviour* is a function of one request; the functions below make them. Nothing
here sleeps longer than the server lives: whoever waits, waits for `Server.closing`.
"""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# For TLS on loopback, for `localhost` alone; self-signed, worthless anywhere else.
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQWc/CghLNwcDGCj/
AkeKhcXb+xkEFCwZBZlkeVyqIEahRANCAAThFARR5jiV3bOu4BhpE3zk+jJh2QZj
9YZKYv6ISnPSKUqj9UdhLVpicyVy8PV0zjYgh5cHlUfx1pvOt925Z+7D
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBZDCCAQugAwIBAgIBAjAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtmYXVsdHNl
cnZlcjAgFw0wMDAxMDEwMDAwMDBaGA8yMTAwMDEwMTAwMDAwMFowFjEUMBIGA1UE
AwwLZmF1bHRzZXJ2ZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAThFARR5jiV
3bOu4BhpE3zk+jJh2QZj9YZKYv6ISnPSKUqj9UdhLVpicyVy8PV0zjYgh5cHlUfx
1pvOt925Z+7Do0gwRjAUBgNVHREEDTALgglsb2NhbGhvc3QwDwYDVR0TAQH/BAUw
AwEB/zAdBgNVHQ4EFgQU/mn2kgLeZDwZ4YvOPfQ9gsu9CIkwCgYIKoZIzj0EAwID
RwAwRAIgPRr9Izt7I9k0VlH7QSrvvMJ+I8+auF41VTteSUiFrQgCIEif5O8paNBE
2F5QD1gTfKQ4vlbLkWqRt9Yq3duteSlT
-----END CERTIFICATE-----
"""  # 2000 to 2100
EXPIRED = """\
-----BEGIN CERTIFICATE-----
MIIBSTCB8KADAgECAgEBMAoGCCqGSM49BAMCMBIxEDAOBgNVBAMMB2V4cGlyZWQw
HhcNMDAwMTAxMDAwMDAwWhcNMDEwMTAxMDAwMDAwWjASMRAwDgYDVQQDDAdleHBp
cmVkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4RQEUeY4ld2zruAYaRN85Poy
YdkGY/WGSmL+iEpz0ilKo/VHYS1aYnMlcvD1dM42IIeXB5VH8dabzrfduWfuw6M3
MDUwFAYDVR0RBA0wC4IJbG9jYWxob3N0MB0GA1UdDgQWBBT+afaSAt5kPBnhi849
9D2Cy70IiTAKBggqhkjOPQQDAgNIADBFAiEAlpZquqMAOeTo/SB+esCs0pkCUpjy
8Q7XC/BPFZHC98ECIFHBdieWw+KIc2UeF5ePepY5oOdHmcGLrt3lUvamlLyE
-----END CERTIFICATE-----
"""  # 2000 to 2001

Headers = Mapping[str, str]
Behaviour = Callable[["Request"], None]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as it arrived."""

    path: str
    host: str
    headers: dict[str, str]

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


@dataclass
class Server:
    """What a test holds: it scripts the paths and reads what was asked for."""

    port: int
    scheme: str = "http"
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str, *, host: str = "127.0.0.1") -> str:
        """Return the address of ``path``; `localhost` is the same server and another origin."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def add(self, path: str, behaviour: Behaviour, *, host: str = "127.0.0.1") -> str:
        """Script ``path`` and return its address."""
        self.behaviours[path] = behaviour
        return self.url(path, host=host)

    def count(self, path: str) -> int:
        """Return how often ``path`` was asked for."""
        return sum(one.path == path for one in self.seen)

    @contextmanager
    def counted(self, seen: Seen) -> Iterator[None]:
        with self._lock:
            self.seen.append(seen)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1


class Request(BaseHTTPRequestHandler):
    """One request, handed to a behaviour."""

    protocol_version = "HTTP/1.1"
    script: Server  # set by `serving` on a subclass of its own

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(path=self.path, host=headers.get("host", ""), headers=headers)
        # An absolute address in the request line is how a proxy is asked.
        behaviour = self.script.behaviours.get(self.path, status(404))
        with self.script.counted(seen):
            behaviour(self)

    def begin(self, code: int, headers: Headers) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def hang_up(self) -> None:
        self.close_connection = True

    def pause(self, seconds: float) -> bool:
        """Wait; False if the server closes meanwhile."""
        return not self.script.closing.wait(seconds)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what many tests want."""


@contextmanager
def serving(*, certificate: Path | None = None) -> Iterator[Server]:
    """Serve on a free port of 127.0.0.1 until the context ends; over TLS with a certificate and key."""
    handler = type("ScriptedRequest", (Request,), {})
    httpd = _QuietServer(("127.0.0.1", 0), handler)
    server = Server(port=httpd.server_address[1], scheme="https" if certificate else "http")
    handler.script = server  # type: ignore[attr-defined]  # declared on the base
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join(5)


# --- behaviours -----------------------------------------------------------


def ok(body: bytes, **headers: str) -> Behaviour:
    """Answer as a good server does."""

    def behave(request: Request) -> None:
        request.begin(200, {"Content-Length": str(len(body)), **headers})
        request.wfile.write(body)

    return behave


def chunked(body: bytes, *, parts: int = 3, cut_short: bool = False) -> Behaviour:
    """Answer in chunked encoding; ``cut_short`` leaves out the last half and the end mark."""

    def behave(request: Request) -> None:
        request.begin(200, {"Transfer-Encoding": "chunked"})
        size = max(1, len(body) // parts)
        end = len(body) // 2 if cut_short else len(body)
        for start in range(0, end, size):
            piece = body[start : min(start + size, end)]
            request.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if not cut_short:
            request.wfile.write(b"0\r\n\r\n")
        request.hang_up()

    return behave


def slow(body: bytes, *, delay: float) -> Behaviour:
    """Send the body byte by byte: no read ever times out, and no end comes."""

    def behave(request: Request) -> None:
        request.begin(200, {"Content-Length": str(len(body))})
        for byte in body:
            request.wfile.write(bytes([byte]))
            if not request.pause(delay):
                return

    return behave


def stall(body: bytes, *, after: int = 0) -> Behaviour:
    """Send the headers and ``after`` bytes, then nothing more."""

    def behave(request: Request) -> None:
        request.begin(200, {"Content-Length": str(len(body))})
        request.wfile.write(body[:after])
        request.wfile.flush()
        request.pause(60)
        request.hang_up()

    return behave


def truncate(body: bytes, *, at: int, declare: bool = True) -> Behaviour:
    """Hang up after ``at`` bytes; ``declare`` sends the right Content-Length first."""

    def behave(request: Request) -> None:
        length = {"Content-Length": str(len(body))} if declare else {"Connection": "close"}
        request.begin(200, length)
        request.wfile.write(body[:at])
        request.hang_up()

    return behave


def longer(body: bytes, *, extra: bytes) -> Behaviour:
    """Declare ``body`` and send more than that."""

    def behave(request: Request) -> None:
        request.begin(200, {"Content-Length": str(len(body))})
        request.wfile.write(body + extra)

    return behave


def infinite() -> Behaviour:
    """Declare nothing and never stop."""

    def behave(request: Request) -> None:
        request.begin(200, {"Connection": "close"})
        while not request.script.closing.is_set():
            request.wfile.write(b"\0" * 65536)

    return behave


def status(code: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer with a bare status."""

    def behave(request: Request) -> None:
        request.begin(code, {"Content-Length": str(len(body)), **headers})
        request.wfile.write(body)

    return behave


def redirect(to: str, *, code: int = 302) -> Behaviour:
    """Send the client elsewhere."""
    return status(code, Location=to)


def guarded(user: str, password: str, behaviour: Behaviour) -> Behaviour:
    """Ask for Basic authentication."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def behave(request: Request) -> None:
        if request.headers.get("Authorization") == wanted:
            behaviour(request)
        else:
            status(401, b"", **{"WWW-Authenticate": 'Basic realm="index"'})(request)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave differently each time; the last one repeats."""
    turns = iter(behaviours)
    lock = threading.Lock()

    def behave(request: Request) -> None:
        with lock:
            turn = next(turns, behaviours[-1])
        turn(request)

    return behave


def portal() -> Behaviour:
    """Answer as the login page of a network does: 200, whatever was asked for."""
    page = b"<!doctype html><title>Please sign in</title>"
    return ok(page, **{"Content-Type": "text/html; charset=utf-8"})
