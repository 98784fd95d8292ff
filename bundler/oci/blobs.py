"""Effect: open the members of an image archive by name, in a tar or in a directory.

Nothing is unpacked: a member is read in place. A tar that was compressed
as a whole is expanded while it is read, and again for each step back.
"""

from __future__ import annotations

import posixpath
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from bundler.archive.compression import zstd_module
from bundler.errors import MalformedError
from bundler.oci.layer import BoundedTarInfo, damage_errors

__all__ = ["Blobs", "FolderBlobs", "TarBlobs", "is_container_export", "is_image"]

_MAX_LINKS = 8


class Blobs(Protocol):
    """A source of the members of an image archive."""

    def open(self, name: str) -> BinaryIO | None:
        """Return a member, or None if there is none of that name; the caller closes it."""


class FolderBlobs:
    """An image layout, or an unpacked archive, in a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def open(self, name: str) -> BinaryIO | None:
        """Return a file inside the directory."""
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root) or not path.is_file():
            return None
        return path.open("rb")


class TarBlobs:
    """An image in a tar; one that is compressed as a whole is expanded again for each step back."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        try:
            fileobj: Any = stack.enter_context(path.open("rb"))
            head = fileobj.read(4)
            fileobj.seek(0)
            if head.startswith(b"\x1f\x8b"):
                from isal import igzip  # noqa: PLC0415 - few archives are compressed as a whole

                gzip: Any = igzip
                fileobj = stack.enter_context(gzip.IGzipFile(fileobj=fileobj, mode="rb"))
            elif head.startswith(b"\x28\xb5\x2f\xfd"):
                fileobj = stack.enter_context(zstd_module().open(fileobj, "rb"))
            self._tar = stack.enter_context(tarfile.open(fileobj=fileobj, mode="r:", tarinfo=BoundedTarInfo))  # noqa: SIM115 - the stack closes it
            members = self._tar.getmembers()
        except damage_errors() as error:
            raise MalformedError(f"`{path}` is not a complete tar", evidence=(str(error),)) from error
        self._members = {posixpath.normpath(one.name): one for one in members}

    def has(self, name: str) -> bool:
        """Return whether a member of this name exists."""
        return name in self._members

    def open(self, name: str) -> BinaryIO | None:
        """Return a member; a link counts as the member it leads to."""
        name = posixpath.normpath(name)
        for _ in range(_MAX_LINKS):
            member = self._members.get(name)
            if member is None or member.isreg():
                break
            if member.islnk():
                name = posixpath.normpath(member.linkname)
            elif member.issym():
                # Old versions of docker save write a repeated layer as a link to its first copy.
                name = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            else:
                return None
        else:
            return None
        return None if member is None else cast("BinaryIO | None", self._tar.extractfile(member))


def is_image(path: Path) -> bool:
    """Return whether something looks like an image: a directory or tar with one of the two indexes."""
    if path.is_dir():
        return any((path / name).is_file() for name in ("index.json", "manifest.json"))
    try:
        with ExitStack() as stack:
            blobs = TarBlobs(path, stack)
            return blobs.has("index.json") or blobs.has("manifest.json")
    except MalformedError:
        return False


def is_container_export(path: Path) -> bool:
    """Return whether a tar contains the files of a container, as `docker export` writes it."""
    if path.is_dir():
        return False
    try:
        with ExitStack() as stack:
            blobs = TarBlobs(path, stack)
            return blobs.has(".dockerenv") or (blobs.has("etc") and blobs.has("usr"))
    except MalformedError:
        return False
