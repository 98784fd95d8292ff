"""Effect: read one layer of an image as a stream, and compare it with both of its digests.

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
from bundler.digest import CHUNK, Sha256, read_chunks
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
    """A layer as it is stored in an archive."""

    sha256: Sha256
    size: int
    """Bytes."""
    codec: Codec | None
    """Its compression; None for a plain tar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLayer:
    """One layer of an image."""

    name: str
    """The blob or the member of the archive."""
    blob: Sha256 | None
    """The digest of the bytes as they are stored; None where the archive has none (`docker save`)."""
    diff_id: Sha256
    """The digest of the tar that they are, once expanded."""
    held: bool
    """Whether the archive has it; a delta leaves layers out."""
    open: Callable[[], BinaryIO]
    """Opens the bytes as they are stored; the caller closes them. They are not yet verified."""

    def members(self, wants: ContentFilter) -> Generator[LayerEntry, None, StoredLayer]:
        """Yield each entry in order, with its content if ``wants`` returns true for its header.

        Entries are verified only when the iteration has ended: the digests are compared last.

        :return: how the layer is stored (what ``yield from`` gives).
        :raises IntegrityError: if the bytes do not match the digests of the image.
        :raises MalformedError: if they match but are not a tar, or a wanted file is larger than `FILE_LIMIT`.
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
                # Report damage as a digest mismatch, if the archive has a blob digest: that is the cause.
                with suppress(*damage_errors()):
                    raw.drain()
                self._check_blob(raw)
                if isinstance(error, (IntegrityError, MalformedError)):
                    raise
                fact = f"layer `{printable(self.name)}` is not a complete tar"
                raise MalformedError(fact, evidence=(str(error),)) from error
            self._check_blob(raw)
            check_digest(f"layer `{printable(self.name)}`, expanded,", self.diff_id, content.digest)
        return StoredLayer(sha256=raw.digest, size=raw.size, codec=codec)

    def verify(
        self, visit: Callable[[LayerEntry], object] | None = None, wants: ContentFilter | None = None
    ) -> StoredLayer:
        """Read the whole layer and compare both digests.

        :param visit: called with each entry; the entries are verified only after this method returned.
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
        rest = iter(lambda: raw.read(CHUNK), b"")
        for magic, name in _REFUSED.items():
            if head.startswith(magic):
                raise MalformedError(
                    f"layer `{printable(self.name)}` has an unsupported compression",
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
            cast("Any", tar).members.clear()  # tarfile retains every header: memory would grow
            if member.isreg() and wants(member):
                if member.size > FILE_LIMIT:
                    raise MalformedError(
                        f"`{printable(member.name)}` in the image is too large for a metadata file",
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
            f"{what} does not match its digest in the image",
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

    def _proc_member(self, archive: tarfile.TarFile) -> Self:
        """Process the member after its header: a hook of `tarfile` for subclasses, in every version of it.

        (Since 3.14 the reader of headers does not call `frombuf` any more.)

        :raises MalformedError: if the long name or pax record exceeds `_HEADER_LIMIT`.
        """
        if self.type in _LONG and self.size > _HEADER_LIMIT:
            raise MalformedError(
                "an extended tar header is too large",
                evidence=(f"wanted  at most {_HEADER_LIMIT} bytes", f"found   {self.size} bytes"),
            )
        member: Self = super()._proc_member(archive)  # type: ignore[misc]
        return member


def damage_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of reading a damaged archive: of tarfile, the codecs and the system."""
    errors: Any = (isal_zlib.error, zstd_module().ZstdError)
    return (tarfile.TarError, EOFError, OSError, ValueError, ArithmeticError, *errors)
