"""Ask the indexes which files of a project exist: the facts for messages, after pip failed.

pip's own output lists versions without the reason that each was ignored, and does not
distinguish an index that cannot be reached from one without the project.

Specs: simple repository API (PEP 503, PEP 691), `data-requires-python` (PEP 503), yanking (PEP 592).
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from bundler.errors import InputError, NetworkError
from bundler.paths import printable
from bundler.redaction import redact, url_filename
from bundler.resolve.locations import file_path, simple_urls
from bundler.resolve.transport import FaultError, body_chunks, make_session, open_response
from bundler.resolve.unmet import IndexFile

if TYPE_CHECKING:
    from packaging.tags import Tag

    from bundler.resolve.index import IndexSettings

__all__ = [
    "answering",
    "default_index_url",
    "find_files",
    "index_failure",
    "not_an_index",
    "searched_locations",
]

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_MAX_PAGE = 64 << 20
"""Bytes of a page; those of the largest projects have less than 10 MiB."""
_MIN_RATE = 1024
_NOT_FOUND = (404, 410)
_RECONNECT = 0.5
"""Seconds."""


def find_files(name: str, settings: IndexSettings) -> tuple[IndexFile, ...]:
    """Return the wheels and sdists of a project on all indexes and in all find-links.

    :param name: the name of the project.
    :raises NetworkError: if an index cannot be read; a project that an index lacks has no files there.
    """
    key = canonicalize_name(name)
    files: dict[str, IndexFile] = {}
    locations = searched_locations(settings)
    with closing(make_session(settings)) as session:
        for location, is_links in locations:
            url = location if is_links else f"{location.rstrip('/')}/{key}/"
            try:
                for item in _read(url, settings, lambda: session):
                    if (file := _index_file(item, key)) is not None:
                        files.setdefault(file.filename, file)
            except FaultError as fault:
                if fault.status not in _NOT_FOUND:
                    raise index_failure(location, fault) from None
    return tuple(files.values())


def searched_locations(settings: IndexSettings) -> list[tuple[str, bool]]:
    """Return the URLs that pip searches, the built-in index first; and whether each is of find-links."""
    default = [(default_index_url(), False)] if settings.default_index else []
    return [*default, *((index.url, index.kind == "find-links") for index in settings.indexes)]


def answering(settings: IndexSettings) -> IndexSettings:
    """Return the settings for pip, which repeats no request if an index has no connection.

    pip waits 8 seconds for each project of a server that refuses connections.
    """
    urls = [url for url, is_links in searched_locations(settings) if not is_links]
    with closing(make_session(settings)) as session:
        for url in urls:
            if url.startswith("http") and not _has_connection(f"{url.rstrip('/')}/pip/", settings, session):
                return replace(settings, retries=0)
    return settings


def _has_connection(url: str, settings: IndexSettings, session: Any) -> bool:
    """Return whether the server of a URL answers, be it with a failure, at the first or second attempt."""
    for wait in (_RECONNECT, 0):
        try:
            open_response(url, settings, lambda: session, headers={"Accept": _ACCEPT}).close()
        except FaultError as fault:
            if fault.status is not None or not fault.transient:
                return True
            time.sleep(wait)
        else:
            return True
    return False


def not_an_index(settings: IndexSettings) -> InputError | None:
    """Return the error for a URL that is another page of the server of an index, or None.

    Every index that builds anything has a page of ``pip``.
    """
    for index in settings.indexes:
        if index.kind == "find-links" or index.url.startswith("file:") or _has_pip(index.url, settings):
            continue
        for url in simple_urls(index.url):
            if url.rstrip("/") != index.url.rstrip("/") and _has_pip(url, settings):
                clean = printable(redact(index.url))
                option = "--index-url" if index.kind == "index" else "--extra-index-url"
                return InputError(
                    f"`{clean}` is not a package index, but another page of its server",
                    evidence=(f"missing {clean.rstrip('/')}/pip/, with the files of pip",),
                    hint=f"pass the index: `{option} {shlex.quote(redact(url))}`",
                )
    return None


def _has_pip(url: str, settings: IndexSettings) -> bool:
    """Return whether a URL is that of an index with files of pip."""
    alone = replace(
        settings, indexes=(replace(settings.indexes[0], url=url, kind="index"),), default_index=False
    )
    try:
        return bool(find_files("pip", alone))
    except NetworkError:
        return False


def default_index_url() -> str:
    """Return the URL of the index that is built into pip."""
    from pip._internal.models.index import PyPI  # noqa: PLC0415 - slow to import, and rarely needed

    return str(PyPI.simple_url)


def index_failure(url: str, fault: FaultError) -> NetworkError:
    """Return the error for an index that cannot be read.

    :param url: the URL of the index, without credentials.
    """
    reached = fault.at or url
    clean = printable(redact(url))
    lines = [f"found   {fault.found}"]
    if fault.wanted:
        lines.insert(0, f"wanted  {fault.wanted}")
    lines.append(f"at      {printable(redact(reached))}")
    return NetworkError(
        f"cannot read the index `{clean}`",
        evidence=tuple(redact(line) for line in lines),
        hint=fault.hint or f"check the URL, and the proxy settings: `curl -sSIL {clean}`",
    )


def _read(url: str, settings: IndexSettings, session: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the files of a page or directory, in the form of PEP 691.

    :raises FaultError: if the page cannot be read.
    """
    if urlsplit(url).scheme == "file":
        yield from _read_local(Path(file_path(url)))
        return
    with closing(open_response(url, settings, session, headers={"Accept": _ACCEPT})) as response:
        content = bytearray()
        for chunk in body_chunks(response, 4 * settings.timeout, _MIN_RATE):
            content += chunk
            if len(content) > _MAX_PAGE:
                raise FaultError(found=f"a page of more than {_MAX_PAGE} bytes", at=url)
        kind = response.headers.get("Content-Type", "")
    if "json" in kind:
        with suppress(ValueError, AttributeError, TypeError):
            yield from json.loads(content)["files"]
    else:
        yield from _links(content.decode("utf-8", "replace"))


def _read_local(path: Path) -> Iterator[Mapping[str, Any]]:
    page = path / "index.html"
    with suppress(OSError):
        if path.is_file() or page.is_file():
            yield from _links((page if page.is_file() else path).read_text("utf-8", "replace"))
        elif path.is_dir():
            yield from ({"filename": entry.name} for entry in path.iterdir())


class _LinkParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[Mapping[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a" and values.get("href"):
            with suppress(ValueError):
                link = {
                    "filename": url_filename(unquote(str(values["href"]))),
                    "requires-python": values.get("data-requires-python"),
                    "yanked": "data-yanked" in values,
                }
                self.links.append(link)


def _links(html: str) -> list[Mapping[str, Any]]:
    parser = _LinkParser()
    parser.feed(html)
    return parser.links


def _index_file(item: Mapping[str, Any], key: str) -> IndexFile | None:
    """Return a file of the project, or None for a file of another kind or project."""
    filename = str(item.get("filename", ""))
    tags: frozenset[Tag] | None = None
    try:
        if filename.endswith(".whl"):
            name, version, _, tags = parse_wheel_filename(filename)
        else:
            name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    if name != key:
        return None
    return IndexFile(
        filename=filename,
        version=version,
        requires_python=str(item.get("requires-python") or ""),
        yanked=bool(item.get("yanked")),
        tags=tags,
    )
