"""A package index on loopback: PEP 503 pages over a folder of wheels and sdists."""

from __future__ import annotations

import base64
import hashlib
import html
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit
from zipfile import BadZipFile, ZipFile

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename


@dataclass(frozen=True)
class Request:
    """One request the index got."""

    method: str
    path: str
    authorization: str | None


class LocalIndex:
    """Serves ``folder`` until the context ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[Request] = []
        self.yanked: dict[str, str] = {}
        self.statuses: dict[str, int] = {}
        """Statuses to answer instead, by the start of the path."""
        self.stalls: set[str] = set()
        """Starts of paths whose response never ends."""
        self.endless: dict[str, bytes] = {}
        """Bytes that a response repeats without an end, by the start of the path."""
        self.slow: set[str] = set()
        """Starts of paths whose response is one byte in a tenth of a second."""
        self.redirects: dict[str, str] = {}
        """The location that a path redirects to, by its start."""
        self.pages: dict[str, str] = {}
        """The links of a page instead of those to the files, by project."""
        self.content_types: dict[str, str] = {}
        """Content types instead of the usual ones, by the start of the path."""
        self.etags = False
        """Whether responses can be cached, and are validated by their ETag."""
        self.swap: tuple[Path, str, list[bytes]] | None = None
        """A file, a path, and the contents that the file has at each request of the path; the last one stays."""
        self.closing = threading.Event()
        self.prefix = ""
        """A directory above the pages and files, such as ``/TOKEN``: what is not below it is not found."""
        self._login: tuple[str, str] | None = None
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    @property
    def url(self) -> str:
        """The address of the simple pages."""
        return f"http://127.0.0.1:{self.port}{self.prefix}/simple/"

    @property
    def port(self) -> int:
        """The port, which also answers as a proxy for other hosts."""
        return self._server.server_port

    @property
    def url_with_credentials(self) -> str:
        """The same with what `require` asks for."""
        user, password = self._login or ("", "")
        return self.url.replace("http://", f"http://{user}:{password}@")

    def require(self, user: str, password: str) -> None:
        """Answer 401 to whoever does not name this user and password."""
        self._login = (user, password)

    def yank(self, filename: str, reason: str) -> None:
        """Mark a file as yanked."""
        self.yanked[filename] = reason

    def _allowed(self, authorization: str | None) -> bool:
        if self._login is None:
            return True
        wanted = base64.b64encode(":".join(self._login).encode()).decode()
        return authorization == f"Basic {wanted}"

    def _answer(self, path: str) -> bytes | None:
        path = urlsplit(path).path
        if self.swap and path == self.swap[1]:
            file, _, contents = self.swap
            file.unlink()  # a hard link
            file.write_bytes(contents.pop(0) if len(contents) > 1 else contents[0])
        if not path.startswith(f"{self.prefix}/"):
            return None
        path = path.removeprefix(self.prefix)
        if path.startswith("/files/"):
            file = self.folder / unquote(path.removeprefix("/files/"))
            return file.read_bytes() if file.is_file() and file.parent == self.folder else None
        if path.startswith("/simple/"):
            return self._page(path.removeprefix("/simple/").strip("/"))
        return None

    def _page(self, project: str) -> bytes | None:
        if project in self.pages:
            return self.pages[project].encode()
        links = []
        for file in sorted(self.folder.iterdir()):
            if _project_of(file.name) != project:
                continue
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            extra = ""
            if requires := _requires_python(file):
                extra += f' data-requires-python="{html.escape(requires)}"'
            if file.name in self.yanked:
                extra += f' data-yanked="{html.escape(self.yanked[file.name])}"'
            links.append(
                f'<a href="{self.prefix}/files/{quote(file.name)}#sha256={digest}"{extra}>{file.name}</a>'
            )
        return (
            ("<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>").encode() if links else None
        )

    def _send_status(self, handler: BaseHTTPRequestHandler) -> bool:
        """Answer with a status alone, if the path is to have one."""
        status = next((code for at, code in self.statuses.items() if handler.path.startswith(at)), None)
        if status is None:
            return False
        handler.send_response(status)
        if status == HTTPStatus.FOUND:
            handler.send_header("Location", handler.path)  # in a circle
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    def _send_fault(self, handler: BaseHTTPRequestHandler) -> bool:
        """Answer with a redirect or an endless body, if the path is to have one."""
        target = next((to for at, to in self.redirects.items() if handler.path.startswith(at)), None)
        piece = next((text for at, text in self.endless.items() if handler.path.startswith(at)), None)
        is_slow = any(map(handler.path.startswith, self.slow))
        if target is None and piece is None and not is_slow:
            return False
        handler.send_response(HTTPStatus.OK if target is None else HTTPStatus.FOUND)
        handler.send_header("Content-Type", self._type(handler.path))
        handler.send_header("Connection", "close")
        if piece and piece.startswith(b"\x1f\x8b"):
            handler.send_header("Content-Encoding", "gzip")
        if target is not None:
            handler.send_header("Location", target)
        handler.end_headers()
        handler.close_connection = True
        while target is None and not self.closing.wait(0.1 if is_slow else 0):
            handler.wfile.write(
                piece if piece and len(piece) > 1 else (piece or b" ") * (1 if is_slow else 1 << 20)
            )
        return True

    def _type(self, path: str) -> str:
        found = (kind for at, kind in self.content_types.items() if path.startswith(at))
        return next(found, _content_type(path))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                authorization = self.headers.get("Authorization")
                index.requests.append(Request(self.command, self.path, authorization))
                if not index._allowed(authorization):
                    self.send_response(HTTPStatus.UNAUTHORIZED)
                    self.send_header("WWW-Authenticate", 'Basic realm="index"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if index._send_status(self) or index._send_fault(self):
                    return
                content = index._answer(self.path)
                if any(map(self.path.startswith, index.stalls)):
                    self.send_response(HTTPStatus.OK)
                    self.send_header("Content-Type", index._type(self.path))
                    self.send_header("Content-Length", str(len(content or b"") + 1))
                    self.end_headers()
                    index.closing.wait(60)
                    return
                etag = f'"{hashlib.sha256(content or b"").hexdigest()}"'
                if index.etags and self.headers.get("If-None-Match") == etag:
                    self.send_response(HTTPStatus.NOT_MODIFIED)
                    self.end_headers()
                    return
                self.send_response(HTTPStatus.OK if content is not None else HTTPStatus.NOT_FOUND)
                content = content or b""
                if index.etags:
                    self.send_header("ETag", etag)
                    self.send_header("Cache-Control", "max-age=600")
                self.send_header("Content-Type", index._type(self.path))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content if self.command == "GET" else b"")

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that hangs up."""


def _content_type(path: str) -> str:
    if path.endswith(".tar.gz"):
        return "application/gzip"
    return "text/html" if "/simple/" in path else "application/zip"


def _project_of(filename: str) -> str:
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)[0]
        return parse_sdist_filename(filename)[0]
    except ValueError:
        return canonicalize_name(filename)


def _requires_python(file: Path) -> str:
    if file.suffix != ".whl":
        return ""
    try:
        with ZipFile(file) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            text = archive.read(name).decode("utf-8", "replace")
    except (BadZipFile, StopIteration):
        return ""
    prefix = "Requires-Python: "
    return next((line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)), "")
