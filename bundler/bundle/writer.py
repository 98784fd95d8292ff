"""Effect: write a bundle to its final path.

An archive, its manifest and its sha256 appear together, whole. They replace only a
bundle of the same files, whose proof is older; everything else is refused.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bundler.archive.compression import SUFFIXES, compressor
from bundler.archive.tar import END, directory_header, file_header, padding
from bundler.bundle.extract import ExtractEntry, extract_entries
from bundler.bundle.layer import Layer
from bundler.bundle.manifest import Manifest
from bundler.bundle.plan import ArchiveMember, BundlePlan
from bundler.bundle.reader import verify_bundle
from bundler.bundle.segment import SegmentFormat, check_segment, find_segment, read_segment
from bundler.digest import Sha256, hash_stream, parse_sha256, sha256_of
from bundler.errors import BundlerError, IntegrityError, MalformedError, OutputError
from bundler.store.store import DamagedStoreError
from bundler.system.atomic import output_error, replace_file, staged_dir, staged_file
from bundler.system.locks import locked_directory
from bundler.system.threads import read_ahead

if TYPE_CHECKING:
    from bundler.reporter import Reporter, Task
    from bundler.store.store import Store

__all__ = ["Output", "extract_layers", "write_bundle"]

_COMPANIONS = (".manifest.json", ".sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """A bundle that was written."""

    path: Path
    manifest: Path
    """The manifest beside it."""
    size: int
    """Bytes of the archive; of all files for a folder."""
    sha256: Sha256
    """Of the archive; of the manifest for a folder."""


def write_bundle(  # noqa: PLR0913 - inputs and output of a bundle
    manifest: Manifest,
    lock: bytes,
    plan: BundlePlan,
    segment_format: SegmentFormat,
    *,
    stem: Path,
    as_folder: bool,
    store: Store,
    reporter: Reporter,
) -> Output:
    """Write a bundle and, beside it, its manifest and its sha256.

    Of several processes that write into one directory, one at a time continues: a second one with
    the same bytes finds the bundle complete.

    :param stem: the path of all three without a suffix; its directory is made.
    :param as_folder: write an unpacked directory instead of an archive.
    :raises OutputError: if the path exists with other files.
    """
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"`{stem.parent}` cannot be created", evidence=(error.strerror or str(error),)
        ) from error
    with locked_directory(stem.parent):
        if as_folder:
            return _write_folder(
                manifest, lock, plan, segment_format, stem=stem, store=store, reporter=reporter
            )
        final = stem.with_name(stem.name + SUFFIXES[segment_format.codec])
        segments = []
        for layer, segment in find_segments(plan, segment_format, store):
            check_segment(segment, plan.kept(layer), segment_format, store)
            segments.append(segment)

        def write(sink: _Sink) -> None:
            _write_archive(sink.write, manifest, lock, segments, segment_format, store)

        is_older = os.path.lexists(final)
        sink = _Sink()
        if is_older:
            write(sink)
        if not is_older or not _has_digest(final, sink.digest):
            if is_older:
                _remove_proof(final, manifest, stem, reporter)
            with (
                _refusing_others(final),
                staged_file(final, replace=is_older) as stream,
                reporter.task("bundle", None, in_bytes=True) as task,
            ):
                sink = _Sink(stream, task)
                write(sink)
                if not is_older:
                    # The archive appears last: once it exists, the files to check it with exist too.
                    _write_companions(stem, manifest, f"{sink.digest}  {final.name}\n".encode())
        _write_companions(stem, manifest, f"{sink.digest}  {final.name}\n".encode())
        manifest_path = _beside(stem, ".manifest.json")
        return Output(path=final, manifest=manifest_path, size=sink.size, sha256=sink.digest)


def find_segments(
    plan: BundlePlan, segment_format: SegmentFormat, store: Store
) -> Iterator[tuple[Layer, Sha256]]:
    """Yield each layer with its segment, made from another form if need be.

    :raises IntegrityError: if the store has lost a layer since it was made.
    """
    for layer in plan.layers:
        segment = find_segment(layer, plan.kept(layer), segment_format, store)
        if segment is None:
            raise DamagedStoreError(
                f"the layer of `{layer.name}` is gone from the store", hint="run the same command again"
            )
        yield layer, segment


def extract_layers(
    plan: BundlePlan, segment_format: SegmentFormat, store: Store, dest: Path, *, jobs: int
) -> None:
    """Extract the files of all layers, read from the very segments that ship, into existing directories.

    :param jobs: number of layers extracted at a time: decompressors, hashes and files need no lock of Python.
    """

    def entries(layer: Layer, segment: Sha256) -> Iterator[ExtractEntry]:
        for file, content in read_segment(segment, plan.kept(layer), segment_format, store):
            member = ArchiveMember(
                path=file.path, is_dir=False, size=file.size, mode=file.mode, sha256=file.sha256
            )
            yield member, content

    def extract(found: tuple[Layer, Sha256]) -> None:
        extract_entries(entries(*found), dest)

    with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="extract") as pool:
        largest = sorted(find_segments(plan, segment_format, store), key=lambda one: -len(one[0].files))
        for _ in pool.map(extract, largest):  # raises the first error, and cancels what has not begun
            pass


class _Sink:
    """Hashes and counts the written bytes, and forwards them to a file, if any."""

    def __init__(self, stream: BinaryIO | None = None, task: Task | None = None) -> None:
        self._stream = stream
        self._task = task
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> Sha256:
        return parse_sha256(self._digest.hexdigest())

    def write(self, piece: bytes) -> None:
        self._digest.update(piece)
        self.size += len(piece)
        if self._stream is not None:
            self._stream.write(piece)
        if self._task is not None:
            self._task.advance(len(piece))


def _write_archive(
    sink: Callable[[bytes], object],
    manifest: Manifest,
    lock: bytes,
    segments: Iterable[Sha256],
    segment_format: SegmentFormat,
    store: Store,
) -> None:
    """Write an archive: its head is made here, the segments are copied, and re-hashed as they are.

    The thread that reads them compares their digests, while this one computes that of the archive.
    """
    with read_ahead(chain.from_iterable(map(store.chunks, segments))) as chunks:
        head = compressor(segment_format.codec)
        # In one piece: the bytes of a gzip member depend on the pieces that it is made from.
        sink(head.compress(b"".join(_head(manifest, lock))) + head.flush())
        for chunk in chunks:
            sink(chunk)
    end = compressor(segment_format.codec)
    sink(end.compress(END) + end.flush())


def _head(manifest: Manifest, lock: bytes) -> Iterator[bytes]:
    contents = {"manifest.json": manifest.content, "pylock.toml": lock}
    for member in manifest.members():
        path = f"{manifest.name}/{member.path}".rstrip("/")
        if member.is_dir:
            yield directory_header(path, epoch=manifest.epoch)
        elif member.path in contents:
            content = contents[member.path]
            yield file_header(path, size=len(content), mode=0o644, epoch=manifest.epoch)
            yield content + padding(len(content))
        else:
            return


def _write_folder(  # noqa: PLR0913 - as `write_bundle`
    manifest: Manifest,
    lock: bytes,
    plan: BundlePlan,
    segment_format: SegmentFormat,
    *,
    stem: Path,
    store: Store,
    reporter: Reporter,
) -> Output:
    contents = {"manifest.json": manifest.content, "pylock.toml": lock}
    size = len(manifest.content) + sum(file.size for file in manifest.files)
    if os.path.lexists(stem):
        _differs_unless(stem.is_dir(), stem, manifest)
        if _verified(stem, reporter).content != manifest.content:
            _remove_proof(stem, manifest, stem, reporter)
            replace_file(stem / "manifest.json", manifest.content)
    else:
        with _refusing_others(stem), staged_dir(stem) as staging:
            members = [member for member in manifest.members() if member.is_dir or member.path in contents]
            extract_entries(
                ((member, (contents[member.path],) if not member.is_dir else ()) for member in members),
                staging,
            )
            extract_layers(plan, segment_format, store, staging, jobs=os.cpu_count() or 1)
            _write_companions(stem, manifest, _checksums(manifest, stem.name))
    _write_companions(stem, manifest, _checksums(manifest, stem.name))
    return Output(
        path=stem, manifest=_beside(stem, ".manifest.json"), size=size, sha256=sha256_of(manifest.content)
    )


def _remove_proof(final: Path, manifest: Manifest, stem: Path, reporter: Reporter) -> None:
    """Remove the files beside a bundle of the same files, which is replaced next.

    Those for the new proof are written last. So at any time, also after a crash, the files that exist
    match each other, and the same build writes those that are missing.

    :raises OutputError: if it has other files, or is damaged.
    """
    try:
        older = verify_bundle(final, reporter=reporter, alone=True).manifest.contents
    except BundlerError:
        older = {}
    _differs_unless(not final.is_symlink() and older == manifest.contents, final, manifest)
    reporter.note(f"`{final.name}` already exists with the same files: its proof is replaced")
    for suffix in _COMPANIONS:
        _beside(stem, suffix).unlink(missing_ok=True)


def _write_companions(stem: Path, manifest: Manifest, checksums: bytes) -> None:
    """Write the manifest and the sha256 beside a bundle, unless they are there already."""
    for suffix, content in zip(_COMPANIONS, (manifest.content, checksums), strict=True):
        path = _beside(stem, suffix)
        if not path.is_file() or path.read_bytes() != content:
            replace_file(path, content)


def _checksums(manifest: Manifest, folder: str) -> bytes:
    """Return the input of ``sha256sum -c`` for every file of a folder."""
    listed: dict[str, Sha256] = {
        "manifest.json": sha256_of(manifest.content),
        **{file.path: file.sha256 for file in manifest.files},
    }
    return "".join(f"{digest}  {folder}/{path}\n" for path, digest in listed.items()).encode()


def _verified(folder: Path, reporter: Reporter) -> Manifest:
    """Return the manifest of a directory that an earlier build wrote.

    :raises BundlerError: if a file of it was changed, with the command that removes it.
    """
    try:
        return verify_bundle(folder, reporter=reporter).manifest
    except (IntegrityError, MalformedError) as error:
        raise type(error)(
            error.message,
            evidence=error.evidence,
            hint=f"`rm -r {shlex.quote(str(folder))}`, then run the same command again",
        ) from error


def _differs_unless(same: bool, final: Path, manifest: Manifest) -> None:
    if not same:
        raise OutputError(
            f"`{final}` already exists with other content",
            hint=f"set another version: `--bundle-version {manifest.version}-2`, or remove the old bundle",
        )


def _has_digest(path: Path, sha256: Sha256) -> bool:
    """Return whether a path is a file with this digest."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return hash_stream(stream)[0] == sha256
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def _refusing_others(final: Path) -> Iterator[None]:
    """Report an output that another process created meanwhile, where directories cannot be locked."""
    try:
        yield
    except FileExistsError as error:
        raise OutputError(
            f"`{final}` was created by another process", hint="run the same command again"
        ) from error


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)
