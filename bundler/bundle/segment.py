"""Effect: store the files of a layer as a segment, a compressed part of an archive.

A segment is the tar entries of one layer below one root directory, compressed as
one member. It is made once; a warm build copies it. Another root, codec or set
of files is derived from a stored segment, without the wheel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.archive.compression import Codec, codec_key, compressor, decompressed
from bundler.archive.streams import ExactReader, verified
from bundler.archive.tar import file_header, padding
from bundler.archive.tree import TreeFile
from bundler.bundle.layer import Layer
from bundler.digest import Sha256, read_chunks
from bundler.errors import IntegrityError, MalformedError
from bundler.store.store import DamagedStoreError, key_of

if TYPE_CHECKING:
    from bundler.store.store import Store

__all__ = ["SegmentFormat", "bind_content", "check_segment", "find_segment", "read_segment", "write_segment"]

_BATCH = 256 << 10
"""Bytes per call of the compressor, exact: its output depends on the borders of its input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentFormat:
    """The inputs of a segment besides the layer."""

    root: str
    """The top-level directory of all entries: the bundle's name."""
    codec: Codec
    epoch: int
    """The time of every entry, seconds UTC."""

    def header(self, file: TreeFile) -> bytes:
        """Return the tar header of a file."""
        return file_header(f"{self.root}/{file.path}", size=file.size, mode=file.mode, epoch=self.epoch)

    def key(self, files: Iterable[TreeFile]) -> str:
        """Return the key of the segment of ``files`` in this format."""
        import msgspec  # noqa: PLC0415 - 15 ms that `--help` does not need

        listed = msgspec.json.encode(tuple(files)).decode()
        return key_of("segment", self.root, codec_key(self.codec), str(self.epoch), listed)


def write_segment(
    files: Iterable[TreeFile],
    contents: Callable[[TreeFile], Iterable[bytes]],
    segment_format: SegmentFormat,
    store: Store,
) -> Sha256:
    """Write the segment of ``files``, in their order, and return its digest in the store.

    :param contents: gives the pieces of a file's content.
    :raises IntegrityError: if a content does not match its `TreeFile`.
    """
    files = tuple(files)
    with store.write() as blob:
        member = compressor(segment_format.codec)
        waiting = bytearray()
        for piece in _entries(files, contents, segment_format):
            waiting += piece
            while len(waiting) >= _BATCH:
                blob.write(member.compress(bytes(waiting[:_BATCH])))
                del waiting[:_BATCH]
        blob.write(member.compress(bytes(waiting)) + member.flush())
        written = blob.commit()
    store.bind("segment", segment_format.key(files), written.sha256)
    return written.sha256


def find_segment(
    layer: Layer, files: tuple[TreeFile, ...], segment_format: SegmentFormat, store: Store
) -> Sha256 | None:
    """Return the segment of some of a layer's files, made from the layer's first segment if need be.

    :return: None if the store does not hold the layer's content in any form.
    """
    if found := store.lookup("segment", segment_format.key(files)):
        is_bound = store.lookup("content", key_of(layer.digest)) is not None
        if not is_bound and store.lookup("segment", segment_format.key(layer.files)):
            bind_content(layer, segment_format, store)
        return found
    first = store.recall("content", key_of(layer.digest), SegmentFormat)
    if first is None:
        return None
    segment = store.lookup("segment", first.key(layer.files))
    if segment is None:
        return None
    wanted = {file.path for file in files}
    pieces = read_segment(segment, layer.files, first, store)
    # One pass: write_segment requests the contents in the order of the segment.
    kept = ((file, chunks) for file, chunks in pieces if file.path in wanted)

    def contents(file: TreeFile) -> Iterable[bytes]:
        stored_file, chunks = next(kept)
        if stored_file != file:
            raise DamagedStoreError(f"the stored layer of `{layer.name}` is not in order")
        return chunks

    return write_segment(files, contents, segment_format, store)


def bind_content(layer: Layer, segment_format: SegmentFormat, store: Store) -> None:
    """Note that the segment of the whole layer in ``segment_format`` is in the store."""
    store.remember("content", key_of(layer.digest), segment_format)


def check_segment(
    digest: Sha256, files: Iterable[TreeFile], segment_format: SegmentFormat, store: Store
) -> None:
    """Read a segment with its table, unless this was done before.

    The reference of a segment and the table of a layer are intact each for itself, and can belong to
    different layers: an archive of both would not be the one of its manifest.

    :raises DamagedStoreError: if the segment does not match its table.
    """
    files = tuple(files)
    if store.lookup("read", segment_format.key(files)) != digest:
        for _ in read_segment(digest, files, segment_format, store):
            pass


def read_segment(
    digest: Sha256, files: Iterable[TreeFile], segment_format: SegmentFormat, store: Store
) -> Iterator[tuple[TreeFile, Iterator[bytes]]]:
    """Yield each file of a stored segment with its content, which is hashed as it is read.

    The content must be read to its end, or skipped by asking for the next file. At the end the store
    notes that the segment matches its table.

    :raises DamagedStoreError: if the segment has changed, or does not match its table.
    """
    files = tuple(files)
    try:
        yield from _read(digest, files, segment_format, store)
    except DamagedStoreError:
        raise
    except (IntegrityError, MalformedError) as error:
        raise DamagedStoreError(f"the stored segment {digest[:12]} is not one: {error.message}") from error
    store.bind("read", segment_format.key(files), digest)


def _read(
    digest: Sha256, files: Iterable[TreeFile], segment_format: SegmentFormat, store: Store
) -> Iterator[tuple[TreeFile, Iterator[bytes]]]:
    # Verified first: an error of the decompressor would hide that the blob has changed.
    with store.verified_path(digest).open("rb") as blob:
        reader = ExactReader(decompressed(read_chunks(blob), segment_format.codec, f"segment {digest[:12]}"))
        for file in files:
            header = segment_format.header(file)
            if reader.exactly(len(header)) != header:
                raise DamagedStoreError(f"the stored segment {digest[:12]} is damaged at `{file.path}`")
            chunks = verified(
                reader.pieces(file.size),
                f"`{file.path}` has changed in the store",
                sha256=file.sha256,
                hint="run `bundler store fsck`",
                error=DamagedStoreError,
            )
            yield file, chunks
            for _ in chunks:
                pass
            fill = padding(file.size)
            if reader.exactly(len(fill)) != fill:
                raise DamagedStoreError(f"the stored segment {digest[:12]} is damaged behind `{file.path}`")
        if reader.exactly(1, short=True):
            raise DamagedStoreError(f"the stored segment {digest[:12]} is longer than its table")


def _entries(
    files: Iterable[TreeFile],
    contents: Callable[[TreeFile], Iterable[bytes]],
    segment_format: SegmentFormat,
) -> Iterator[bytes]:
    for file in files:
        yield segment_format.header(file)
        fact = f"`{file.path}` does not match its layer"
        yield from verified(contents(file), fact, sha256=file.sha256, size=file.size)
        yield padding(file.size)
