"""Segments: the compressed entries of a layer, made once, and derived from the stored ones."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from bundler.archive.compression import Codec, compressor, decompressed
from bundler.archive.tar import END, file_header, padding
from bundler.archive.tree import TreeFile
from bundler.bundle.layer import Layer
from bundler.bundle.segment import (
    SegmentFormat,
    bind_content,
    check_segment,
    find_segment,
    read_segment,
    write_segment,
)
from bundler.digest import CHUNK, Sha256, sha256_of
from bundler.errors import IntegrityError
from bundler.paths import archive_path
from bundler.store.store import DamagedStoreError, Store

EPOCH = 315532800
FORM = SegmentFormat(root="app", codec="gz", epoch=EPOCH)
CONTENTS = {
    "lib/a.py": b"VERSION = 1\n",
    "lib/b": b"",
    "lib/c" + "/long" * 60: bytes(range(256)) * 2,
    "bin/z": b"x" * 513,
}


def layer_of(contents: Mapping[str, bytes] = CONTENTS) -> Layer:
    return Layer(
        name=canonicalize_name("demo"),
        display_name="demo",
        version_text="1.0",
        wheel="demo-1.0-py3-none-any.whl",
        wheel_sha256=sha256_of(b""),
        licence="",
        requires_dist=(),
        requires_python="",
        scripts=(),
        pth_code={},
        pth_folders=(),
        uncompiled=(),
        code={},
        notes=(),
        faults=(),
        files=tuple(
            TreeFile(
                path=archive_path(path),
                mode=0o755 if path.startswith("bin/") else 0o644,
                size=len(content),
                sha256=sha256_of(content),
            )
            for path, content in contents.items()
        ),
    )


LAYER = layer_of()


def pieces_of(contents: Mapping[str, bytes], step: int = 7) -> Callable[[TreeFile], Iterable[bytes]]:
    """Return a source of contents in small pieces."""

    def pieces(file: TreeFile) -> Iterator[bytes]:
        content = contents[file.path]
        return (content[at : at + step] for at in range(0, len(content), step))

    return pieces


def raw(digest: Sha256, store: Store, codec: Codec = "gz") -> bytes:
    return b"".join(decompressed([store.read(digest)], codec, "x"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def segment(store: Store) -> Sha256:
    """The segment of the whole layer, as a build leaves it in the store."""
    digest = write_segment(LAYER.files, pieces_of(CONTENTS), FORM, store)
    bind_content(LAYER, FORM, store)
    return digest


# --- the key --------------------------------------------------------------------------------------


def test_every_fact_of_a_segment_is_in_its_key() -> None:
    first = LAYER.files[0]
    edits = [
        (FORM, LAYER.files),
        (replace(FORM, root="other"), LAYER.files),
        (replace(FORM, codec="zst"), LAYER.files),
        (replace(FORM, epoch=EPOCH + 1), LAYER.files),
        (FORM, LAYER.files[1:]),
        (FORM, LAYER.files[::-1]),
        (FORM, (replace(first, path=archive_path("x")), *LAYER.files[1:])),
        (FORM, (replace(first, mode=0o755), *LAYER.files[1:])),
        (FORM, (replace(first, size=1), *LAYER.files[1:])),
        (FORM, (replace(first, sha256=sha256_of(b"x")), *LAYER.files[1:])),
    ]

    assert len({form.key(files) for form, files in edits}) == len(edits)
    assert FORM.key(iter(LAYER.files)) == FORM.key(LAYER.files)


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_a_segment_is_the_tar_entries_of_its_files(store: Store, codec: Codec) -> None:
    form = replace(FORM, codec=codec)
    content = raw(write_segment(LAYER.files, pieces_of(CONTENTS), form, store), store, codec)

    with tarfile.open(fileobj=io.BytesIO(content + END), mode="r:") as archive:
        found = [(entry.name, entry.mode, entry.mtime) for entry in archive]
        read = {entry.name: (archive.extractfile(entry) or io.BytesIO()).read() for entry in archive}
    assert found == [(f"app/{file.path}", file.mode, EPOCH) for file in LAYER.files]
    assert read == {f"app/{path}": body for path, body in CONTENTS.items()}


def test_a_segment_is_found_by_its_key(store: Store, segment: Sha256) -> None:
    assert store.lookup("segment", FORM.key(LAYER.files)) == segment


def test_how_a_content_is_cut_does_not_reach_the_bytes(store: Store) -> None:
    """A compressor makes other bytes of the same input cut elsewhere; the archive must be the same."""
    contents = {"a": bytes(range(251)) * 3000, "b": b"x" * 300_000, "c": b"y"}
    layer = layer_of(contents)

    digests = {
        write_segment(layer.files, pieces_of(contents, step), FORM, store) for step in (997, 1 << 16, CHUNK)
    }
    assert len(digests) == 1
    assert len(raw(digests.pop(), store)) == sum(
        512 + len(body) + -len(body) % 512 for body in contents.values()
    )


def test_a_large_content_is_written_while_it_is_read(store: Store) -> None:
    """Memory does not grow with the size of a layer."""
    content = random.Random(1).randbytes(2 << 20)
    layer = layer_of({"a": content})
    written = []

    def pieces(_: TreeFile) -> Iterator[bytes]:
        for at in range(0, len(content), 1 << 16):
            written.append(sum(path.stat().st_size for path in (store.root / "scratch").iterdir()))
            yield content[at : at + (1 << 16)]

    write_segment(layer.files, pieces, FORM, store)
    assert written[-1] > 1 << 20


def test_an_empty_segment_is_an_empty_member(store: Store) -> None:
    digest = write_segment((), pieces_of({}), FORM, store)

    assert raw(digest, store) == b""
    assert list(read_segment(digest, (), FORM, store)) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"VERSION = 2\n", id="other"),
        pytest.param(b"VERSION = 1\n#", id="longer"),
        pytest.param(b"VERSION", id="shorter"),
    ],
)
def test_another_content_than_the_layer_says_is_not_stored(store: Store, content: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        write_segment(LAYER.files, pieces_of({**CONTENTS, "lib/a.py": content}), FORM, store)

    assert "`lib/a.py`" in caught.value.message
    assert caught.value.evidence == (
        f"wanted  12 bytes, sha256 {sha256_of(CONTENTS['lib/a.py'])}",
        f"found   {len(content)} bytes, sha256 {sha256_of(content)}",
    )
    assert list(store.blobs()) == []
    assert store.lookup("segment", FORM.key(LAYER.files)) is None


# --- reading --------------------------------------------------------------------------------------


def test_each_file_is_read_with_its_content(store: Store, segment: Sha256) -> None:
    found = {file.path: b"".join(chunks) for file, chunks in read_segment(segment, LAYER.files, FORM, store)}

    assert found == CONTENTS


def test_a_content_may_be_skipped(store: Store, segment: Sha256) -> None:
    assert [file for file, _ in read_segment(segment, LAYER.files, FORM, store)] == list(LAYER.files)


def test_a_content_may_be_read_in_part(store: Store, segment: Sha256) -> None:
    starts = [next(chunks, b"")[:1] for _, chunks in read_segment(segment, LAYER.files, FORM, store)]

    assert starts == [content[:1] for content in CONTENTS.values()]


def entries(*changed: tuple[str, bytes], form: SegmentFormat = FORM) -> bytes:
    """Return the tar entries of the layer, the contents of some files changed."""
    parts = []
    for file in LAYER.files:
        content = {**CONTENTS, **dict(changed)}[file.path]
        parts += [
            file_header(f"{form.root}/{file.path}", size=file.size, mode=file.mode, epoch=form.epoch),
            content,
            padding(len(content)),
        ]
    return b"".join(parts)


GOOD = entries()
DAMAGED = [
    pytest.param(GOOD[:-1], "is truncated", id="padding-cut-off"),
    pytest.param(GOOD[:100], "is truncated", id="header-cut-off"),
    pytest.param(b"", "is truncated", id="empty"),
    pytest.param(GOOD + b"x", "is longer than its table", id="longer"),
    pytest.param(GOOD + GOOD, "is longer than its table", id="twice"),
    pytest.param(b"b" + GOOD[1:], r"is damaged at `lib/a\.py`", id="name"),
    pytest.param(GOOD[:100] + b"1" + GOOD[101:], r"is damaged at `lib/a\.py`", id="mode"),
    pytest.param(
        entries(("lib/a.py", b"VERSION = 2\n")), r"`lib/a\.py` has changed in the store", id="content"
    ),
    pytest.param(GOOD[:-1] + b"x", r"is damaged behind `", id="padding"),
    pytest.param(entries(form=replace(FORM, root="other")), r"is damaged at `lib/a\.py`", id="root"),
    pytest.param(entries(form=replace(FORM, epoch=EPOCH + 1)), r"is damaged at `lib/a\.py`", id="epoch"),
]


@pytest.mark.parametrize(("content", "reason"), DAMAGED)
@pytest.mark.parametrize("consume", [True, False])
def test_a_segment_that_is_not_its_table_is_refused(
    store: Store, content: bytes, reason: str, consume: bool
) -> None:
    """Whether the content of a file is read, or skipped."""
    unit = compressor("gz")
    digest = store.add(unit.compress(content) + unit.flush())

    with pytest.raises(IntegrityError, match=reason):
        for _, chunks in read_segment(digest, LAYER.files, FORM, store):
            if consume:
                list(chunks)


@pytest.mark.attack("store", count=len(DAMAGED))
@pytest.mark.parametrize(("content", "reason"), DAMAGED)
def test_an_intact_blob_that_is_not_of_its_table_is_checked_before_it_is_copied(
    store: Store, content: bytes, reason: str
) -> None:
    unit = compressor("gz")
    digest = store.add(unit.compress(content) + unit.flush())
    for _ in range(2):  # a segment that was refused does not count as read
        with pytest.raises(DamagedStoreError):
            check_segment(digest, LAYER.files, FORM, store)


@pytest.mark.attack("store")
def test_a_segment_is_read_once_for_each_table(store: Store, segment: Sha256) -> None:
    check_segment(segment, LAYER.files, FORM, store)
    store.path_of(segment).chmod(0o600)
    store.path_of(segment).write_bytes(b"")
    os.utime(store.path_of(segment), (0, int(segment[:7], 16) & ~1))  # as an untouched one has it

    check_segment(segment, LAYER.files, FORM, store)  # its bytes are hashed when they are copied
    with pytest.raises(DamagedStoreError):
        check_segment(segment, LAYER.files[1:], FORM, store)


def test_a_changed_content_is_reported_with_both_digests(store: Store) -> None:
    unit = compressor("gz")
    changed = b"VERSION = 2\n"
    digest = store.add(unit.compress(entries(("lib/a.py", changed))) + unit.flush())

    with pytest.raises(IntegrityError) as caught:
        list(read_segment(digest, LAYER.files, FORM, store))
    assert caught.value.evidence == (
        f"wanted  sha256 {sha256_of(CONTENTS['lib/a.py'])}",
        f"found   sha256 {sha256_of(changed)}",
    )
    assert caught.value.hint == "run `bundler store fsck`"


# --- another segment from one that is there -------------------------------------------------------


def test_nothing_is_found_in_an_empty_store(store: Store) -> None:
    assert find_segment(LAYER, LAYER.files, FORM, store) is None


def test_the_segment_of_the_same_form_is_found_without_a_reference_to_its_content(store: Store) -> None:
    digest = write_segment(LAYER.files, pieces_of(CONTENTS), FORM, store)

    assert find_segment(LAYER, LAYER.files, FORM, store) == digest


FORMS = [
    pytest.param(replace(FORM, root="other"), id="root"),
    pytest.param(replace(FORM, codec="zst"), id="codec"),
    pytest.param(replace(FORM, epoch=EPOCH + 60), id="epoch"),
    pytest.param(FORM, id="same"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chosen", [slice(None), slice(1, 3), slice(0, 0)], ids=["all", "some", "none"])
@pytest.mark.usefixtures("segment")
def test_another_form_or_choice_of_files_is_made_from_it(
    store: Store, form: SegmentFormat, chosen: slice
) -> None:
    """A shared file ships from its first owner alone: the choice of files depends on the other layers."""
    files = LAYER.files[chosen]
    digest = find_segment(LAYER, files, form, store)

    assert digest is not None
    assert store.lookup("segment", form.key(files)) == digest
    found = {file.path: b"".join(chunks) for file, chunks in read_segment(digest, files, form, store)}
    assert found == {file.path: CONTENTS[file.path] for file in files}


@pytest.mark.parametrize("form", FORMS[:3])
def test_a_derived_segment_equals_one_made_from_the_wheel(
    store: Store, tmp_path: Path, segment: Sha256, form: SegmentFormat
) -> None:
    fresh = write_segment(LAYER.files, pieces_of(CONTENTS, 1000), form, Store(tmp_path / "fresh"))

    assert find_segment(LAYER, LAYER.files, form, store) == fresh


def test_a_segment_that_is_gone_is_not_found(store: Store, segment: Sha256) -> None:
    store.path_of(segment).unlink()

    assert find_segment(LAYER, LAYER.files, FORM, store) is None
    assert find_segment(LAYER, LAYER.files, replace(FORM, codec="zst"), store) is None


def test_files_in_another_order_are_refused(store: Store, segment: Sha256) -> None:
    """One pass over a stream cannot reorder it."""
    with pytest.raises(IntegrityError, match="the stored layer of `demo` is not in order"):
        find_segment(LAYER, LAYER.files[::-1], FORM, store)


def test_damage_of_the_first_segment_reaches_no_other(store: Store) -> None:
    unit = compressor("gz")
    digest = store.add(unit.compress(entries(("lib/a.py", b"VERSION = 2\n"))) + unit.flush())
    store.bind("segment", FORM.key(LAYER.files), digest)
    bind_content(LAYER, FORM, store)
    other = replace(FORM, root="other")

    with pytest.raises(IntegrityError, match="has changed in the store"):
        find_segment(LAYER, LAYER.files, other, store)
    assert store.lookup("segment", other.key(LAYER.files)) is None
