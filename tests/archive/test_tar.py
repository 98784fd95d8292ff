"""The tar entries that bundler writes: bytes that never change, and that every tar can read."""

from __future__ import annotations

import io
import stat
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.archive.tar import BLOCK, DEFAULT_EPOCH, END, directory_header, file_header, padding
from bundler.paths import UnsafePathError, archive_path

HUGE = 1 << 33  # the first size that the field of a ustar header cannot hold
SPLIT = "/".join(["d" * 100, "e" * 54, "f" * 100])  # 155 bytes of prefix, 100 of name: the longest of ustar


def header_fields(path: str, kind: bytes, size: bytes, mode: bytes) -> bytes:
    """Return a ustar header, field by field as POSIX describes it.

    The checksum counts itself as spaces; names of owners and numbers of devices are empty.
    """
    before = path.encode().ljust(100, b"\0") + mode + b"0000000\0" * 2 + size + b"02263523000\0"
    after = kind + bytes(100) + b"ustar\0" + b"00" + bytes(64 + 16 + 155 + 12)
    checksum = sum(before) + sum(b" " * 8) + sum(after)
    return before + f"{checksum:06o}\0 ".encode() + after


def test_the_header_of_a_file_is_exact() -> None:
    """Readers make the header they expect and compare; another byte is another format."""
    header = file_header("app/pkg/ä.py", size=0o1234, mode=0o644, epoch=DEFAULT_EPOCH)

    assert header == header_fields("app/pkg/ä.py", b"0", b"00000001234\0", b"0000644\0")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
@given(
    path=st.text("abyz/._-é\u20ac", min_size=1, max_size=130).filter(lambda text: not text.endswith("/")),
    size=st.sampled_from([0, 1, 511, 0o1234567, HUGE - 1, HUGE]),
    mode=st.sampled_from([0o644, 0o755]),
    epoch=st.sampled_from([0, DEFAULT_EPOCH, 1 << 31]),
)
def test_a_header_is_the_one_of_tarfile(kind: bytes, path: str, size: int, mode: int, epoch: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.mtime, entry.type = size, mode, epoch, kind
    if kind == tarfile.DIRTYPE:
        entry.size, entry.mode = 0, 0o755
        found = directory_header(path, epoch=epoch)
    else:
        found = file_header(path, size=size, mode=mode, epoch=epoch)

    try:
        assert found == entry.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError:
        assert found == entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def test_the_header_of_a_directory_is_exact() -> None:
    header = directory_header("app/pkg", epoch=DEFAULT_EPOCH)

    assert header == header_fields("app/pkg/", b"5", b"00000000000\0", b"0000755\0")


def test_the_default_epoch_is_the_first_that_zip_can_store() -> None:
    assert datetime.fromtimestamp(DEFAULT_EPOCH, UTC) == datetime(1980, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "size", "records"),
    [
        pytest.param("a/b", 3, None, id="short"),
        pytest.param("a" * 100, 3, None, id="longest-name"),
        pytest.param(SPLIT, 3, None, id="longest-split"),
        pytest.param("a", HUGE - 1, None, id="largest-size"),
        pytest.param("a" * 101, 3, {"path"}, id="name-too-long"),
        pytest.param(f"{SPLIT}f", 3, {"path"}, id="split-too-long"),
        pytest.param("é" * 51, 3, {"path"}, id="counted-in-bytes"),
        pytest.param("a", HUGE, {"size"}, id="size-too-large"),
        pytest.param("a" * 101, HUGE, {"path", "size"}, id="both"),
    ],
)
def test_a_pax_record_is_written_only_for_what_ustar_cannot_express(
    path: str, size: int, records: set[str] | None
) -> None:
    header = file_header(path, size=size, mode=0o755, epoch=1_600_000_000)

    if records is None:
        assert len(header) == BLOCK
        assert header[257:265] == b"ustar\00000"
    else:
        assert len(header) == 3 * BLOCK
        assert header[156:157] == b"x"
        assert header[2 * BLOCK + 156 : 2 * BLOCK + 157] == b"0"
    (entry,) = entries(header)
    assert (entry.name, entry.size, entry.mode, entry.mtime) == (path, size, 0o755, 1_600_000_000)
    assert set(entry.pax_headers) == (records or set())


def entries(*blocks: bytes) -> list[tarfile.TarInfo]:
    """Return the headers that tarfile reads, without looking at contents."""
    archive = tarfile.open(fileobj=io.BytesIO(b"".join(blocks) + END), mode="r:")  # noqa: SIM115
    entry = archive.next()
    assert entry is not None
    return [entry]


def safe_paths() -> st.SearchStrategy[str]:
    def safe(name: str) -> bool:
        try:
            archive_path(name)
        except UnsafePathError:
            return False
        return True

    component = st.text(
        st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1, max_size=60
    )
    return st.lists(component, min_size=1, max_size=5).map("/".join).filter(safe)


@given(path=safe_paths(), content=st.binary(max_size=1500), epoch=st.integers(DEFAULT_EPOCH, 0o77777777777))
def test_an_ordinary_reader_sees_what_was_written(path: str, content: bytes, epoch: int) -> None:
    archive = (
        directory_header(f"{path}.d", epoch=epoch)
        + file_header(path, size=len(content), mode=0o755, epoch=epoch)
        + content
        + padding(len(content))
        + END
    )
    assert len(archive) % BLOCK == 0

    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as reader:
        directory, file = reader.getmembers()
        stream = reader.extractfile(file)
        assert stream is not None
        assert stream.read() == content
    assert (directory.name, directory.isdir(), directory.mode) == (f"{path}.d", True, 0o755)
    assert (file.name, file.isreg(), file.mode, file.size) == (path, True, 0o755, len(content))
    for entry in (directory, file):
        assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", epoch)


def test_the_tar_of_the_system_extracts_it(tmp_path: Path) -> None:
    files = {"app/short": b"1", "app/" + "long/" * 60 + "ä": b"22", f"app/{SPLIT[4:]}": b"x" * 513}
    archive = directory_header("app", epoch=DEFAULT_EPOCH)
    for path, content in files.items():
        archive += file_header(path, size=len(content), mode=0o644, epoch=DEFAULT_EPOCH)
        archive += content + padding(len(content))
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path], input=archive + END, check=True, timeout=60)

    assert {path: (tmp_path / path).read_bytes() for path in files} == files
    facts = (tmp_path / "app/short").stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_mtime) == (0o644, DEFAULT_EPOCH)


@pytest.mark.parametrize(("size", "length"), [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (1024, 0)])
def test_a_content_is_padded_to_whole_blocks(size: int, length: int) -> None:
    assert padding(size) == bytes(length)


def test_two_blocks_of_zeros_end_an_archive() -> None:
    assert bytes(1024) == END


@pytest.mark.attack("archives")
def test_a_name_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        file_header("a\ud800", size=0, mode=0o644, epoch=DEFAULT_EPOCH)
