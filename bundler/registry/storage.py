"""Effect: the storage of a workspace: a directory, or an object store through `bundler.registry.remote`.

The registry depends on two guarantees of `Storage.create`: a file appears complete,
and of concurrent writers, on any number of machines, exactly one succeeds. A
directory provides both with a hard link from the complete file to a new name.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from bundler.archive.streams import require_digest
from bundler.digest import Sha256, copy_and_hash
from bundler.errors import OutputError, UsageError
from bundler.paths import printable
from bundler.redaction import redact
from bundler.registry.remote import open_remote, relative_path, stream_to
from bundler.system.atomic import output_error, replace_file, staged_file, sync_folder

__all__ = ["Folder", "Storage", "open_storage"]

_LITTER_AGE = 86400
"""Seconds after which the partial file of a killed writer is removed."""
_MODE = 0o444
_LOCAL_HOSTS = ("", "localhost")


class Storage(Protocol):
    """Files by relative paths, ``/`` between the components.

    Every method raises `OutputError` if the system or the service refuses, and
    `NetworkError` if the service is unreachable; messages never contain credentials.
    """

    location: str
    """Its path or URL for messages; without credentials."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the entries of a directory, sorted; empty if it does not exist."""

    def read(self, path: str) -> bytes:
        """Return the content of a small file.

        :raises FileNotFoundError: if the file does not exist.
        """

    def read_many(self, paths: Sequence[str]) -> list[bytes]:
        """Return the contents of small files, in the order of ``paths``; a service gets concurrent requests.

        :raises FileNotFoundError: if any of them does not exist.
        """

    def create(self, path: str, content: bytes) -> None:
        """Create a complete, durable file; of concurrent writers, on any machine, exactly one succeeds.

        :raises FileExistsError: if the file exists.
        """

    def replace(self, path: str, content: bytes) -> None:
        """Create or replace a small file atomically; the last writer wins."""

    def put(self, path: str, source: Path, sha256: Sha256) -> None:
        """Copy a large file to a path derived from its digest; an existing file is not replaced.

        :raises IntegrityError: if the digest of the source differs, since it changed meanwhile.
        """

    def fetch(self, path: str, sink: Callable[[bytes], object]) -> None:
        """Pass the content of a file to ``sink`` in chunks.

        :raises FileNotFoundError: if the file does not exist.
        """


def open_storage(location: str, cwd: Path) -> Storage:
    """Return the storage at a path, a ``file:`` URL or a URL of fsspec, without creating anything.

    :param cwd: the directory that a relative path is resolved against.
    :raises UsageError: if the URL is invalid or contains credentials, or its driver is not installed.
    :raises OutputError: if the service has no exclusive creation of files.
    """
    if location.lower().startswith("file:"):
        return Folder(_path_of(location))
    if "://" in location:
        return open_remote(location)
    if not location:
        raise UsageError("the URL of the workspace is empty")
    return Folder(cwd / location)


class Folder:
    """A storage in a local directory, or on a share with hard links or renames that do not replace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = printable(redact(str(root)))

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        path = self._path(folder)
        # As in an object store, a file is listed as an empty directory.
        if path.is_file():
            return []
        try:
            with _system(path):
                return sorted(entry.name for entry in path.iterdir() if not _is_litter(entry.name))
        except FileNotFoundError:
            return []

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        found = self._path(path)
        with _system(found):
            # Opening a pipe would block until it has a writer.
            if not stat.S_ISREG(found.stat().st_mode):
                raise OutputError(f"`{printable(str(found))}` is not a regular file")
            return found.read_bytes()

    def read_many(self, paths: Sequence[str]) -> list[bytes]:
        """See `Storage.read_many`."""
        return [self.read(path) for path in paths]

    def create(self, path: str, content: bytes) -> None:
        """See `Storage.create`."""
        with staged_file(self._room_for(path), mode=_MODE) as stream:
            stream.write(content)

    def replace(self, path: str, content: bytes) -> None:
        """See `Storage.replace`."""
        replace_file(self._room_for(path), content)

    def put(self, path: str, source: Path, sha256: Sha256) -> None:
        """See `Storage.put`."""
        with _system(source):
            file = source.open("rb")
        with file:
            final = self._room_for(path)
            if os.path.lexists(final):
                return
            with suppress(FileExistsError), staged_file(final, mode=_MODE) as stream:
                found = copy_and_hash(file, stream)[0]
                require_digest(found, sha256, f"`{printable(str(source))}` changed while it was copied")

    def fetch(self, path: str, sink: Callable[[bytes], object]) -> None:
        """See `Storage.fetch`."""
        found = self._path(path)
        stream_to(lambda: found.open("rb"), lambda: _system(found), sink)

    def _path(self, path: str) -> Path:
        found = self.root / relative_path(path)
        # Unlike `Path.resolve`, `realpath` does not raise for a loop of links.
        real = Path(os.path.realpath(found))
        if not real.is_relative_to(os.path.realpath(self.root)):
            raise OutputError(
                f"`{printable(path)}` leads outside of `{self.location}`",
                evidence=(f"found   {printable(str(real))}, through a symbolic link",),
            )
        return found

    def _room_for(self, path: str) -> Path:
        """Return the path of a new file; create its directory durably, remove stale partial files in it."""
        final = self._path(path)
        missing = []
        try:
            for folder in final.parents:
                if folder.exists():
                    break
                missing.append(folder)
            for folder in reversed(missing):
                folder.mkdir(exist_ok=True)
                sync_folder(folder.parent)
        except OSError as error:
            raise output_error(final, error) from error
        oldest = time.time() - _LITTER_AGE
        with suppress(OSError):
            for litter in final.parent.glob(".*.partial"):
                if litter.lstat().st_mtime < oldest:
                    litter.unlink()
        return final


def _path_of(url: str) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc.lower() not in _LOCAL_HOSTS or not path.is_absolute() or parts.query or parts.fragment:
        raise UsageError(
            f"`{printable(redact(url))}` is not a `file:` URL with an absolute path",
            hint=f"use `{Path(unquote(parts.netloc + parts.path)).absolute().as_uri()}`",
        )
    return path


def _is_litter(name: str) -> bool:
    """Return whether a name is that of a partial file (`bundler.system.atomic`)."""
    return name.startswith(".") and name.endswith(".partial")


@contextmanager
def _system(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OutputError(f"`{printable(str(path))}` cannot be read: {error.strerror or error}") from error
