"""Effect: ask an inference server on this machine: is it alive, and what is its answer?

The requests go to the loopback interface, never through a proxy.
"""

from __future__ import annotations

import http.client
import socket
from http import HTTPStatus

from bundler.errors import BundlerError, UsageError

__all__ = ["ask_server", "check_free", "free_port", "is_alive", "is_free"]

_LOOPBACK = "127.0.0.1"
_ALIVE_TIMEOUT = 5.0
_SCORE_TIMEOUT = 3600.0


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Return whether nothing listens on a port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex((_LOOPBACK, port)) != 0


def check_free(port: int, hint: str) -> None:
    """Check that nothing listens on a port of the loopback interface.

    :param hint: the way to another port.
    :raises UsageError: if a program does.
    """
    if not is_free(port):
        raise UsageError(f"port {port} is in use", hint=hint)


def is_alive(port: int) -> bool:
    """Return whether a server answers `GET /`, as it does when all workers have run `init()`."""
    try:
        return _request(port, "GET", "/", b"", _ALIVE_TIMEOUT)[0] == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def ask_server(port: int, body: bytes) -> bytes:
    """POST a body to ``/score``, and return the body of the answer.

    :raises BundlerError: if the server does not answer, or answers with an error.
    """
    try:
        status, content = _request(port, "POST", "/score", body, _SCORE_TIMEOUT)
    except (OSError, http.client.HTTPException) as error:
        raise BundlerError(
            "the server does not answer", evidence=(f"found   {error}",), hint="service.get_logs()"
        ) from error
    if status != HTTPStatus.OK:
        text = content.decode("utf-8", "replace").strip()[:500]
        raise BundlerError(
            "the server answered with an error",
            evidence=(f"found   status {status}: {text}",),
            hint="service.get_logs()",
        )
    return content


def _request(port: int, method: str, path: str, body: bytes, timeout: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=timeout)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
