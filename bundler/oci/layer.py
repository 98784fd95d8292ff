"""Ground, effect: one layer of an image, read as a stream and compared with both of its digests.

Also what a layer's entries mean to those below it: whiteouts, and paths inside
the root.

Specs: OCI image layer filesystem changeset; image config, "Layer DiffID" (1.1).
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Self, cast

from isal import isal_zlib

from bundler.archive.compression import Codec, decompressed, zstd_module
from bundler.archive.streams import HashingReader
from bundler.digest import Sha256, read_chunks
from bundler.errors import IntegrityError, MalformedError
from bundler.paths import printable

__all__ = [
    "FILE_LIMIT",
    "BoundedTarInfo",
    "ContentFilter",
    "ImageLayer",
    "LayerEntry",
    "StoredLayer",
    "check_digest",
    "damage_errors",
]

FILE_LIMIT = 64 << 20
"""Bytes of one file that is read into memory."""
ContentFilter = Callable[[tarfile.TarInfo], bool]
"""Whether the content of an entry is wanted."""
LayerEntry = tuple[tarfile.TarInfo, bytes | None]
"""An entry's header, and its content if it was wanted."""

_PLAIN: Mapping[bytes, Codec | None] = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst"}
_REFUSED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredLayer:
    """A layer as an archive holds it."""

    sha256: Sha256
    size: int
    """Bytes."""
    codec: Codec | None
    """How it is compressed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLayer:
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

    def members(self, wants: ContentFilter) -> Generator[LayerEntry, None, StoredLayer]:
        """Yield each entry in order, with its content if ``wants`` says so of its header.

        What came counts only when the iteration has ended: then the digests were compared.

        :return: how the layer is stored (what ``yield from`` gives).
        :raises IntegrityError: if the bytes are not those that the image names.
        :raises MalformedError: if they are, and are no tar, or a wanted file is larger than `FILE_LIMIT`.
        """
        with self.open() as stored:
            raw = HashingReader(read_chunks(stored))
            try:
                codec, chunks = self._expanded(raw)
                content = HashingReader(chunks)
                yield from _entries(content, wants)
                content.drain()
                raw.drain()
            except _failures() as error:
                # A damaged layer is told by its digest, if the archive names one.
                with suppress(*damage_errors()):
                    raw.drain()
                self._check_blob(raw)
                if isinstance(error, (IntegrityError, MalformedError)):
                    raise
                fact = f"layer `{printable(self.name)}` is not a whole tar"
                raise MalformedError(fact, evidence=(str(error),)) from error
            self._check_blob(raw)
            check_digest(f"layer `{printable(self.name)}`, expanded,", self.diff_id, content.digest)
        return StoredLayer(sha256=raw.digest, size=raw.size, codec=codec)

    def verify(
        self, visit: Callable[[LayerEntry], object] | None = None, wants: ContentFilter | None = None
    ) -> StoredLayer:
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
                stored: StoredLayer = end.value
                return stored
            if visit is not None:
                visit(member)

    def _check_blob(self, raw: HashingReader) -> None:
        if self.blob is not None:
            check_digest(f"blob `{printable(self.name)}`", self.blob, raw.digest)

    def _expanded(self, raw: HashingReader) -> tuple[Codec | None, Iterator[bytes]]:
        head = raw.read(6)
        rest = iter(lambda: raw.read(1 << 20), b"")
        for magic, name in _REFUSED.items():
            if head.startswith(magic):
                raise MalformedError(
                    f"layer `{printable(self.name)}` is compressed in a way that is not read",
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
    return (IntegrityError, MalformedError, *damage_errors())


def _entries(content: HashingReader, wants: ContentFilter) -> Iterator[LayerEntry]:
    fileobj = cast("IO[bytes]", content)
    with tarfile.open(fileobj=fileobj, mode="r|", tarinfo=BoundedTarInfo, encoding="utf-8") as tar:
        while (member := tar.next()) is not None:
            cast("Any", tar).members.clear()  # it would keep every header
            if member.isreg() and wants(member):
                if member.size > FILE_LIMIT:
                    raise MalformedError(
                        f"`{printable(member.name)}` in the image is too large to be what its name says",
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


_HEADER_LIMIT = 1 << 20
"""Bytes of a long name or a pax record: `tarfile` holds them in memory."""
_LONG = frozenset(
    {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
    | {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
)


class BoundedTarInfo(tarfile.TarInfo):
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


def damage_errors() -> tuple[type[Exception], ...]:
    """Return what reading a damaged archive raises: tarfile's, the codecs' and the system's errors."""
    errors: Any = (isal_zlib.error, zstd_module().ZstdError)
    return (tarfile.TarError, EOFError, OSError, ValueError, ArithmeticError, *errors)
