"""Ground, effect: one layer of an image, read as a stream and compared with both of its digests.

Also what a layer's entries mean to those below it: whiteouts, and paths inside
the root.

Specs: OCI image layer filesystem changeset; image config, "Layer DiffID" (1.1).
"""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

from bundler.codec import Codec, decompressed
from bundler.digest import Sha256, parse_sha256, read_chunks
from bundler.errors import IntegrityError, MalformedError
from bundler.imageblobs import Entry, damage
from bundler.paths import shown

__all__ = [
    "FILE_LIMIT",
    "OPAQUE",
    "WHITEOUT",
    "Layer",
    "Member",
    "Stored",
    "Wants",
    "ancestors",
    "check_digest",
    "entry_path",
]

FILE_LIMIT = 64 << 20
"""Bytes of one file that is read into memory."""

WHITEOUT = ".wh."
"""How the name of an entry starts that hides what is below it."""
OPAQUE = ".wh..wh..opq"
"""The entry that hides all that its folder holds below."""

Wants = Callable[[tarfile.TarInfo], bool]
"""Whether the content of an entry is wanted."""
Member = tuple[tarfile.TarInfo, bytes | None]
"""An entry's header, and its content if it was wanted."""

_PLAIN: Mapping[bytes, Codec | None] = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst"}
_REFUSED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


def entry_path(name: str) -> str:
    """Return the path of a layer's entry, relative to the root; the root is "".

    :raises MalformedError: if it leaves the root: no engine makes such a layer.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise MalformedError(
            "a layer holds a path that leaves its root", evidence=(f"found   {shown(name)}",)
        )
    return "/".join(parts)


def ancestors(path: str) -> Iterator[str]:
    """Yield the folders above a path, the nearest first, the root "" last."""
    while path:
        path = posixpath.dirname(path)
        yield path


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A layer as an archive holds it."""

    sha256: Sha256
    size: int
    """Bytes."""
    codec: Codec | None
    """How it is compressed."""


class _Stream:
    """Chunks as a file that is read forward, hashed on the way."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self._chunk = b""
        self._at = 0
        self.size = 0

    @property
    def digest(self) -> Sha256:
        """The sha256 of what has come so far."""
        return parse_sha256(self._hash.hexdigest())

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        pieces = []
        while size:
            if self._at == len(self._chunk):
                self._chunk, self._at = next(self._chunks, b""), 0
                if not self._chunk:
                    break
                self._count(self._chunk)
            piece = self._chunk[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def drain(self) -> None:
        """Read what is left, so that the digest covers all."""
        for chunk in self._chunks:
            self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer of an image."""

    name: str
    """The blob, or the member of the archive, that holds it."""
    blob: Sha256 | None
    """The digest of the bytes as they are stored; None where the archive does not say."""
    diff_id: Sha256
    """The digest of the tar that they are, once expanded."""
    held: bool
    """Whether the archive has it; a delta leaves layers out."""
    open: Callable[[], BinaryIO]
    """Opens the bytes as they are stored; the caller closes them. They are not yet verified."""

    def members(self, wants: Wants) -> Generator[Member, None, Stored]:
        """Yield each entry in order, with its content if ``wants`` says so of its header.

        What came counts only when the iteration has ended: then the digests were compared.

        :return: how the layer is stored (what ``yield from`` gives).
        :raises IntegrityError: if the bytes are not those that the image names.
        :raises MalformedError: if they are, and are no tar, or a wanted file is larger than `FILE_LIMIT`.
        """
        with self.open() as stored:
            raw = _Stream(read_chunks(stored))
            try:
                codec, chunks = self._expanded(raw)
                content = _Stream(chunks)
                yield from _entries(content, wants)
                content.drain()
                raw.drain()
            except _failures() as error:
                # A damaged layer is told by its digest, if the archive names one.
                with suppress(*damage()):
                    raw.drain()
                self._check_blob(raw)
                if isinstance(error, (IntegrityError, MalformedError)):
                    raise
                fact = f"layer `{shown(self.name)}` is not a whole tar"
                raise MalformedError(fact, evidence=(str(error),)) from error
            self._check_blob(raw)
            check_digest(f"layer `{shown(self.name)}`, expanded,", self.diff_id, content.digest)
        return Stored(sha256=raw.digest, size=raw.size, codec=codec)

    def verify(self, visit: Callable[[Member], object] | None = None, wants: Wants | None = None) -> Stored:
        """Read the whole layer and compare both digests.

        :param visit: is called with each entry; what it is told counts only when this has returned.
        :param wants: as for `members`; by default no content is wanted.
        :raises IntegrityError: as `members`.
        :raises MalformedError: as `members`.
        """
        members = self.members(wants or (lambda _: False))
        while True:
            try:
                member = next(members)
            except StopIteration as end:
                stored: Stored = end.value
                return stored
            if visit is not None:
                visit(member)

    def _check_blob(self, raw: _Stream) -> None:
        if self.blob is not None:
            check_digest(f"blob `{shown(self.name)}`", self.blob, raw.digest)

    def _expanded(self, raw: _Stream) -> tuple[Codec | None, Iterator[bytes]]:
        head = raw.read(6)
        rest = iter(lambda: raw.read(1 << 20), b"")
        for magic, name in _REFUSED.items():
            if head.startswith(magic):
                raise MalformedError(
                    f"layer `{shown(self.name)}` is compressed in a way that is not read",
                    evidence=("wanted  no compression, gzip or zstd", f"found   {name}"),
                )
        chunks = _chain(head, rest)
        codec = next((codec for magic, codec in _PLAIN.items() if head.startswith(magic)), None)
        return codec, chunks if codec is None else decompressed(chunks, codec, self.name)


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _failures() -> tuple[type[Exception], ...]:
    return (IntegrityError, MalformedError, *damage())


def _entries(content: _Stream, wants: Wants) -> Iterator[Member]:
    fileobj = cast("IO[bytes]", content)
    with tarfile.open(fileobj=fileobj, mode="r|", tarinfo=Entry, encoding="utf-8") as tar:
        while (member := tar.next()) is not None:
            cast("Any", tar).members.clear()  # it would keep every header
            if member.isreg() and wants(member):
                if member.size > FILE_LIMIT:
                    raise MalformedError(
                        f"`{shown(member.name)}` in the image is too large to be what its name says",
                        evidence=(f"wanted  at most {FILE_LIMIT} bytes", f"found   {member.size} bytes"),
                    )
                opened = tar.extractfile(member)
                yield member, opened.read() if opened is not None else None
            else:
                yield member, None


def check_digest(what: str, wanted: str, found: str) -> None:
    """Compare a digest with the one that an image names.

    :raises IntegrityError: if they differ.
    """
    if wanted != found:
        raise IntegrityError(
            f"{what} does not have the digest that the image names",
            evidence=(f"wanted  {wanted}", f"found   {found}"),
            hint="copy or save the image again",
        )
