"""Ground, effect: the members of an image archive by name, from a tar or from a folder.

Nothing is unpacked: a member is opened where it lies. A tar that was compressed
as a whole is expanded while it is read, and again for each step back.
"""

from __future__ import annotations

import posixpath
import sys
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, cast

from isal import isal_zlib

from bundler.errors import MalformedError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Blobs", "Entry", "FolderBlobs", "TarBlobs", "damage", "is_image"]

_HEADER_LIMIT = 1 << 20
"""Bytes of a long name or a pax record: `tarfile` holds them in memory."""
_MAX_LINKS = 8
_LONG = frozenset(
    {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
    | {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
)


class Blobs(Protocol):
    """Where the members of an image archive come from."""

    def open(self, name: str) -> BinaryIO | None:
        """Return a member, or None if there is none of that name; the caller closes it."""


class Entry(tarfile.TarInfo):
    """A header whose long name or pax record cannot fill the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header, unless what follows it is too large to be a name."""
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _LONG and entry.size > _HEADER_LIMIT:
            raise MalformedError(
                "an extended tar header is larger than any name",
                evidence=(f"wanted  at most {_HEADER_LIMIT} bytes", f"found   {entry.size} bytes"),
            )
        return entry


class FolderBlobs:
    """An image layout, or an unpacked archive, in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def open(self, name: str) -> BinaryIO | None:
        """Return a file inside the folder."""
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
                fileobj = stack.enter_context(_zstd().open(fileobj, "rb"))
            self._tar = stack.enter_context(tarfile.open(fileobj=fileobj, mode="r:", tarinfo=Entry))  # noqa: SIM115 - the stack closes it
            members = self._tar.getmembers()
        except damage() as error:
            raise MalformedError(f"`{path}` is not a whole tar", evidence=(str(error),)) from error
        self._members = {posixpath.normpath(one.name): one for one in members}

    def has(self, name: str) -> bool:
        """Return whether there is a member of a name."""
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
                # Old versions of docker save write a layer that is there twice as a link.
                name = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            else:
                return None
        else:
            return None
        return None if member is None else cast("BinaryIO | None", self._tar.extractfile(member))


def damage() -> tuple[type[Exception], ...]:
    """Return what reading a damaged archive raises: tarfile's, the codecs' and the system's errors."""
    errors: Any = (isal_zlib.error, _zstd().ZstdError)
    return (tarfile.TarError, EOFError, OSError, ValueError, ArithmeticError, *errors)


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - few archives need it

        return zstd
    from backports import zstd as backport  # noqa: PLC0415

    return backport


def is_image(path: Path) -> bool:
    """Return whether something looks like an image: a folder or tar with one of the two indexes."""
    if path.is_dir():
        return any((path / name).is_file() for name in ("index.json", "manifest.json"))
    try:
        with ExitStack() as stack:
            blobs = TarBlobs(path, stack)
            return blobs.has("index.json") or blobs.has("manifest.json")
    except MalformedError:
        return False
