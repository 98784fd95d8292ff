"""Ground, effect: where a workspace keeps its bytes: a folder, or what `bundler.registry.remote` reaches.

Two promises carry the registry: `Storage.create` is whole, and of all who create
one file one succeeds, however many machines they run on. A folder keeps them by
linking a complete file to a name that must be free.
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

from bundler.digest import Sha256, copy_and_hash
from bundler.errors import OutputError, UsageError
from bundler.paths import printable
from bundler.redaction import redact
from bundler.registry.remote import open_remote, relative_path, require_digest, stream_to
from bundler.system.atomic import output_error, replace_file, staged_file, sync_folder

__all__ = ["Folder", "Storage", "open_storage"]

_LITTER_AGE = 86400
"""Seconds after which a file that a killed writer left half-written is removed."""
_MODE = 0o444
_LOCAL_HOSTS = ("", "localhost")


class Storage(Protocol):
    """Files by relative paths, ``/`` between the components.

    Every method raises `OutputError` if the system or the service refuses, and
    `NetworkError` if the service is not reached; neither shows a credential.
    """

    location: str
    """What it is called in messages; without credentials."""

    def names(self, folder: str) -> list[str]:
        """Return the names of what lies directly in a folder, sorted; nothing if there is no such folder."""

    def read(self, path: str) -> bytes:
        """Return the content of a small file.

        :raises FileNotFoundError: if it is not there.
        """

    def read_many(self, paths: Sequence[str]) -> list[bytes]:
        """Return the contents of small files, in the order of ``paths``; a service is asked at once.

        :raises FileNotFoundError: if one is not there.
        """

    def create(self, path: str, content: bytes) -> None:
        """Make a file, whole and durable; of all who try, on whatever machine, one succeeds.

        :raises FileExistsError: if it is there.
        """

    def replace(self, path: str, content: bytes) -> None:
        """Make a small file that may take the place of an older one, at once; the last writer wins."""

    def put(self, path: str, source: Path, sha256: Sha256) -> None:
        """Copy a large file to a path that its digest determines; if it is there, it is left alone.

        :raises IntegrityError: if the source does not have that digest (any more).
        """

    def fetch(self, path: str, sink: Callable[[bytes], object]) -> None:
        """Hand a file to ``sink`` piece by piece.

        :raises FileNotFoundError: if it is not there.
        """


def open_storage(location: str, cwd: Path) -> Storage:
    """Return the storage at a path, a ``file:`` URL or an address that fsspec knows; nothing is made yet.

    :param cwd: what a relative path is relative to.
    :raises UsageError: if the address cannot be used, holds credentials, or its driver is not installed.
    :raises OutputError: if files cannot be created there so that one of many writers succeeds.
    """
    if location.lower().startswith("file:"):
        return Folder(_path_of(location))
    if "://" in location:
        return open_remote(location)
    if not location:
        raise UsageError("the address of the workspace is empty")
    return Folder(cwd / location)


class Folder:
    """A storage in a folder of this machine, or on a share that has links or renames without replacing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = printable(redact(str(root)))

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        path = self._path(folder)
        # As at a service of objects, a file is a folder with nothing in it.
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
            # A pipe would keep us waiting for its writer.
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
                require_digest(sha256, copy_and_hash(file, stream)[0], source)

    def fetch(self, path: str, sink: Callable[[bytes], object]) -> None:
        """See `Storage.fetch`."""
        found = self._path(path)
        stream_to(lambda: found.open("rb"), lambda: _system(found), sink)

    def _path(self, path: str) -> Path:
        found = self.root / relative_path(path)
        # Unlike `Path.resolve`, it takes a loop of links as it is.
        real = Path(os.path.realpath(found))
        if not real.is_relative_to(os.path.realpath(self.root)):
            raise OutputError(
                f"`{printable(path)}` leads out of `{self.location}`",
                evidence=(f"found   {printable(str(real))}, through a symbolic link",),
            )
        return found

    def _room_for(self, path: str) -> Path:
        """Return where a file will lie, in a folder that is there, durable and free of old litter."""
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
            f"`{printable(redact(url))}` is not an absolute path as a URL", hint="file:///folder"
        )
    return path


def _is_litter(name: str) -> bool:
    """Return whether a name is that of a file on its way to its own (`bundler.system.atomic`)."""
    return name.startswith(".") and name.endswith(".partial")


@contextmanager
def _system(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OutputError(f"`{printable(str(path))}` cannot be read: {error.strerror or error}") from error
