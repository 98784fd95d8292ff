"""Effect: write the archive of an image, whole or without the layers that a site has.

The small files come first, so that a reader finds the indexes at once. The same
image gives the same bytes: everything is owner 0's, with a fixed time.

Specs: OCI image layout (1.1); Docker image specification v1.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bundler.archive.streams import verified
from bundler.archive.tar import DEFAULT_EPOCH, END, directory_header, file_header, padding
from bundler.digest import Sha256, hash_stream, parse_sha256, sha256_of
from bundler.errors import OutputError
from bundler.oci.config import LAYOUT, Descriptor, describe_image
from bundler.oci.layer import StoredLayer
from bundler.oci.reference import Reference
from bundler.reporter import Reporter
from bundler.system.atomic import output_error, staged_file
from bundler.text import human_size

__all__ = ["Archive", "LayerDescriptor", "Part", "WrittenImage", "publish_image"]

_DELTA = """\
This archive holds only what is new in the image {name}
(ID sha256:{image_id}).

{direct}Put it together with the archive of the older image, the delta second, and load that:

    mkdir image
    tar -xf OLDER.tar -C image
    tar -xf DELTA.tar -C image
    tar -cf image.tar -C image blobs oci-layout index.json manifest.json
    docker load -i image.tar

The older archive must hold these layers, which are left out here:

{left_out}
"""
_DIRECT = """\
Where Docker itself has the older image, in its classic store, this is enough:

    docker load -i DELTA.tar

Everywhere else:
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerDescriptor:
    """One layer of an image that was written."""

    digest: Sha256
    """Of the bytes as they are stored."""
    diff_id: Sha256
    """Of the tar that they are."""
    size: int
    """Bytes, as stored."""
    comment: str
    """Its content, "numpy 1.21.6"; empty for a layer of the base."""
    new: bool
    """Whether a site that has the older image lacks it; without an older image all are new."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenImage:
    """An image in an archive, or only its new layers (a delta)."""

    path: Path
    size: int
    """Bytes of the archive."""
    sha256: Sha256
    """Of the archive."""
    image_id: str
    """"sha256:" and the digest of the config: what ``docker images`` shows."""
    layers: tuple[LayerDescriptor, ...]
    """All layers of the image, the lowest first; a delta's archive holds only the new ones."""
    needs_join: bool
    """Whether no loader accepts it before `join_delta` has made it whole; see `oci.append`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A layer, and the source of its bytes."""

    layer: LayerDescriptor
    stored: StoredLayer
    chunks: Callable[[], Iterable[bytes]]


class Archive:
    """The members of an archive in order: the small files first.

    :param known: the layers of the older image, if it is to be a delta.
    """

    def __init__(
        self,
        *,
        config: bytes,
        parts: Sequence[Part],
        reference: Reference,
        arch: str,
        known: Sequence[Sha256] | None = None,
    ) -> None:
        self.config = config
        self.parts = tuple(parts)
        self._reference = reference
        self._is_delta = known is not None
        left_out = [part.layer.digest for part in parts if self._leaves_out(part)]
        lowest = [part.layer.digest for part in parts[: len(left_out)]]
        # Docker's classic store identifies a layer by the chain of all layers below it (ChainID of the image
        # spec), so it can reuse only the common lowest layers of both images.
        self.needs_join = not (left_out == lowest == [*(known or ())][: len(left_out)])
        descriptors = [
            Descriptor(sha256=one.stored.sha256, size=one.stored.size, codec=one.stored.codec)
            for one in parts
        ]
        self._described = describe_image(config, descriptors, reference, arch=arch)

    @property
    def image_id(self) -> Sha256:
        """The digest of the config."""
        return sha256_of(self.config)

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive, without the layers that are not new if it is a delta."""
        small = {
            "oci-layout": LAYOUT,
            "index.json": self._described.index,
            "manifest.json": self._described.docker,
            **({"DELTA.txt": self._how_to_join()} if self._is_delta else {}),
        }
        for name, content in small.items():
            yield from _member(name, len(content), [content])
        for folder in ("blobs", "blobs/sha256"):
            yield directory_header(folder, epoch=DEFAULT_EPOCH)
        for content in (self.config, self._described.manifest):
            yield from _member(f"blobs/sha256/{sha256_of(content)}", len(content), [content])
        written = set()
        for part in self.parts:
            stored = part.stored
            if stored.sha256 not in written and not self._leaves_out(part):
                written.add(stored.sha256)
                yield from _member(f"blobs/sha256/{stored.sha256}", stored.size, _checked(part))
        yield END

    def _leaves_out(self, part: Part) -> bool:
        return self._is_delta and not part.layer.new

    def _how_to_join(self) -> bytes:
        left_out = [part.layer for part in self.parts if not part.layer.new]
        lines = [f"    sha256:{layer.digest}  {layer.comment or 'base'}" for layer in left_out]
        text = _DELTA.format(
            name=self._reference.familiar,
            image_id=self.image_id,
            direct="" if self.needs_join else _DIRECT,
            left_out="\n".join(lines) or "    none",
        )
        return text.encode()


def _member(name: str, size: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield file_header(name, size=size, mode=0o644, epoch=DEFAULT_EPOCH)
    yield from chunks
    yield padding(size)


def _checked(part: Part) -> Iterator[bytes]:
    """Yield a layer again, compared with the digest of the first reading."""
    return verified(
        part.chunks(),
        f"a layer changed while it was read ({part.layer.comment or 'of the base'})",
        sha256=part.stored.sha256,
        size=part.stored.size,
        hint="run the same command again",
    )


def publish_image(archive: Archive, out: Path, reporter: Reporter) -> WrittenImage:
    """Write an archive atomically, or compare it with an existing file.

    :raises OutputError: if it cannot be written, or exists with other content.
    :raises IntegrityError: if the content of a layer changed after its digest was computed.
    """
    chunks = archive.chunks()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out.parent, error) from error
    try:
        if out.is_file():
            with out.open("rb") as found:
                existing = hash_stream(found)
            sha256, size = _written(chunks, None, reporter)
            if existing != (sha256, size):
                raise FileExistsError
        else:
            with staged_file(out) as stream:
                sha256, size = _written(chunks, stream, reporter)
    except FileExistsError as error:
        raise OutputError(
            f"`{out}` already exists with other content", hint="remove it, or pass another output path"
        ) from error
    layers = tuple(part.layer for part in archive.parts)
    new = sum(layer.new for layer in layers)
    reporter.stage("image", f"{len(layers)} layers, {new} of them new, {human_size(size)}")
    return WrittenImage(
        path=out,
        size=size,
        sha256=sha256,
        image_id=f"sha256:{archive.image_id}",
        layers=layers,
        needs_join=archive.needs_join,
    )


def _written(chunks: Iterator[bytes], stream: BinaryIO | None, reporter: Reporter) -> tuple[Sha256, int]:
    digest = hashlib.sha256()
    size = 0
    with reporter.task("image", None, in_bytes=True) as task:
        for chunk in chunks:
            if stream is not None:
                stream.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            task.advance(len(chunk))
    return parse_sha256(digest.hexdigest()), size
