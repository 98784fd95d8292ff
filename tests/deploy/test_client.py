"""The requests to a server on this machine, and its failures."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

from bundler.deploy.client import ask_server, free_port, is_alive, is_free
from bundler.errors import BundlerError


class Handler(http.server.BaseHTTPRequestHandler):
    status: ClassVar[int] = 200
    seen: ClassVar[list[tuple[str, str | None, bytes]]] = []

    def do_GET(self) -> None:
        self.respond(b"Healthy")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers["Content-Type"], body))
        self.respond(b"answer")

    def respond(self, body: bytes) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Handler.status = 200
    Handler.seen.clear()
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_server_is_asked(port: int) -> None:
    assert is_alive(port)
    assert not is_free(port)
    assert ask_server(port, b'{"x": 1}') == b"answer"
    assert Handler.seen == [("/score", "application/json", b'{"x": 1}')]


def test_the_status_of_an_error_is_shown(port: int) -> None:
    Handler.status = 502
    assert not is_alive(port)
    with pytest.raises(BundlerError, match="answered with an error") as caught:
        ask_server(port, b"")
    assert caught.value.evidence == ("found   status 502: answer",)


def test_without_a_server() -> None:
    port = free_port()
    assert is_free(port)
    assert not is_alive(port)
    with pytest.raises(BundlerError, match="does not answer"):
        ask_server(port, b"")
