"""RECORD: the texts of its refusals, whole, and the spellings of a digest. The rest is in test_wheel.py."""

from __future__ import annotations

import base64
import hashlib
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wheels import wheel_files, with_record, zip_bytes

from bundler.archive.record import OpenedWheel, checked_chunks, read_record
from bundler.archive.zip import ZipReader
from bundler.errors import MalformedError
from bundler.paths import archive_path

INFO = "demo-1.0.dist-info"
RECORD = f"{INFO}/RECORD"
SOURCE = b"VERSION = 1\n"
DIGEST = hashlib.sha256(SOURCE)


def opened(**changes: bytes) -> OpenedWheel:
    """Return a wheel of one module, some files of its .dist-info directory changed after RECORD was made."""
    members = with_record(wheel_files("demo", "1.0", {"demo.py": SOURCE}), INFO)
    members.update({f"{INFO}/{name}": content for name, content in changes.items()})
    reader = ZipReader(io.BytesIO(zip_bytes(members)), name="demo.whl")
    return OpenedWheel(reader=reader, dist_info=INFO, record=read_record(reader, INFO))


def rows(first: str, *more: str) -> bytes:
    """Return a RECORD whose first row, that of demo.py, is given, and further rows after the right ones."""
    right = with_record(wheel_files("demo", "1.0", {"demo.py": SOURCE}), INFO)[RECORD].decode().splitlines()
    return "".join(f"{row}\n" for row in (first, *right[1:], *more)).encode()


def encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def weak(algorithm: str, content: bytes) -> hashlib._Hash:
    return hashlib.new(algorithm, content, usedforsecurity=False)


RIGHT = f"demo.py,sha256={encoded(DIGEST.digest())},12"

REFUSED = [
    pytest.param(
        b"\xff",
        "its RECORD is not UTF-8",
        ("found   'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",),
        id="not-utf8",
    ),
    pytest.param(
        rows(RIGHT, ""),
        "line 5 of its RECORD is malformed",
        ("found   an empty line",),
        id="empty-line",
    ),
    pytest.param(
        rows("../demo.py,,"),
        "line 1 of its RECORD is malformed",
        ("found   `../demo.py`: its component `..` is not allowed",),
        id="unsafe-path",
    ),
    pytest.param(
        rows(f"demo.py,sha512={encoded(hashlib.sha512(b'').digest())},12"),
        "`demo.py` does not match its digest in RECORD",
        (
            f"wanted  sha512 {hashlib.sha512(b'').hexdigest()}",
            f"found   sha512 {hashlib.sha512(SOURCE).hexdigest()}",
        ),
        id="stronger-digest",
    ),
    pytest.param(
        rows(f"demo.py,md5={encoded(weak('md5', b'').digest())},12"),
        "`demo.py` does not match its digest in RECORD",
        (
            f"wanted  md5 {weak('md5', b'').hexdigest()}",
            f"found   md5 {weak('md5', SOURCE).hexdigest()}",
        ),
        id="weak-digest-of-another-content",
    ),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("record", "fact", "evidence"), REFUSED)
def test_a_refusal_names_the_wheel_the_fact_and_what_was_found(
    record: bytes, fact: str, evidence: tuple[str, ...]
) -> None:
    with pytest.raises(MalformedError) as caught:
        opened(RECORD=record)

    assert caught.value.message == f"`demo.whl`: {fact}"
    assert caught.value.evidence == evidence


@pytest.mark.attack("archives")
def test_a_record_of_many_lines_is_refused_before_they_are_read() -> None:
    """320,000 rows took 18 seconds; the members of this wheel are four."""
    spare = [f"missing-{number}.py,," for number in range(320_000)]
    started = time.monotonic()
    with pytest.raises(MalformedError) as caught:
        opened(RECORD=rows(RIGHT, *spare))

    assert caught.value.message == "`demo.whl`: its RECORD has too many lines"
    assert caught.value.evidence == ("wanted  at most 10008 for 4 files", "found   320004")
    assert time.monotonic() - started < 10


def test_rows_of_missing_files_are_a_note_up_to_the_limit() -> None:
    record = opened(RECORD=rows(RIGHT, *[f"missing-{number}.py,," for number in range(10_004)])).record

    (fault,) = record.faults
    assert fault.endswith("missing from it: `missing-0.py`, `missing-1.py`, `missing-2.py` and 10001 more")


@pytest.mark.attack("archives")
def test_a_wheel_without_record_is_refused() -> None:
    reader = ZipReader(io.BytesIO(zip_bytes({"demo.py": SOURCE})), name="demo.whl")

    with pytest.raises(MalformedError) as caught:
        read_record(reader, INFO)
    assert (caught.value.message, caught.value.evidence) == ("`demo.whl`: it has no RECORD", ())


@pytest.mark.attack("archives")
def test_names_are_displayed_escaped() -> None:
    with pytest.raises(MalformedError) as caught:
        opened(RECORD=rows(f"a\u202eb,sha256={encoded(DIGEST.digest())},"))

    assert caught.value.evidence == ("found   `a\\u202eb`: it contains a control or bidirectional character",)


GONE = tuple(f"gone{number},sha256={encoded(DIGEST.digest())}," for number in range(4))
PADDED = f"demo.py,sha256={encoded(DIGEST.digest())}=,12"
CLERICAL = [
    pytest.param(rows("demo.py,,12"), "has no digest for: `demo.py`", False, id="no-digest"),
    pytest.param(rows("demo.py,sha256=,12"), "has no digest for: `demo.py`", False, id="empty-digest"),
    pytest.param(rows("demo.py,sha256=AAAA,"), "has an invalid digest for: `demo.py`", False, id="short"),
    pytest.param(rows("demo.py,crc=0,12"), "has an invalid digest for: `demo.py`", False, id="unknown"),
    pytest.param(rows("demo.py,abc,12"), "has no digest for: `demo.py`", False, id="no-algorithm"),
    pytest.param(rows(PADDED), "has a digest in another encoding for: `demo.py`", True, id="padded"),
    pytest.param(
        rows(f"demo.py,md5={encoded(weak('md5', SOURCE).digest())},12"),
        "has a weak digest (md5) for: `demo.py`",
        True,
        id="md5",
    ),
    pytest.param(
        rows(f"demo.py,sha1={weak('sha1', SOURCE).hexdigest()},12"),
        "has a weak digest (sha1) for: `demo.py`",
        True,
        id="sha1",
    ),
    pytest.param(
        rows(f"{INFO}/RECORD.jws,,"),
        f"lists files that are missing from it: `{INFO}/RECORD.jws`; does not list: `demo.py`",
        False,
        id="no-row",
    ),
    pytest.param(
        rows(RIGHT, *GONE[:3]),
        "lists files that are missing from it: `gone0`, `gone1`, `gone2`",
        True,
        id="without-a-file",
    ),
    pytest.param(
        rows(RIGHT, *GONE),
        "lists files that are missing from it: `gone0`, `gone1`, `gone2` and 1 more",
        True,
        id="four-without-a-file",
    ),
    pytest.param(
        rows(RIGHT, f"{INFO}/,,", INFO),
        f"lists directories: `{INFO}`, `{INFO}`; has rows without 3 fields: `line 6`",
        True,
        id="directories",
    ),
    pytest.param(rows(f"./{RIGHT}"), "", True, id="dot"),
    pytest.param(rows(f"/{RIGHT}"), "has absolute paths: `/demo.py`", True, id="slash"),
    pytest.param(rows(RIGHT.replace(",12", ",13")), "has another size for: `demo.py`", True, id="size"),
    pytest.param(rows(RIGHT.replace(",12", ",twelve")), "has another size for: `demo.py`", True, id="no-number"),
    pytest.param(rows(RIGHT, PADDED.replace(",12", "")), "", True, id="duplicate"),
    pytest.param(rows(RIGHT, "a"), "", True, id="row-of-one-field"),
    pytest.param(b"", "", False, id="empty"),
    pytest.param(b"\xef\xbb\xbf" + rows(RIGHT), f"starts with a byte order mark: `{RECORD}`", True, id="bom"),
    pytest.param(
        rows("demo.py,sha256"), "has rows without 3 fields: `line 1`; has no digest for: `demo.py`", False,
        id="two-fields",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("record", "faults", "has_digest"), CLERICAL)
def test_a_fault_that_pip_accepts_is_noted(record: bytes, faults: str, has_digest: bool) -> None:
    wheel = opened(RECORD=record)

    found = "; ".join(line.removeprefix("its RECORD ") for line in wheel.record.faults)
    assert all(line.startswith("its RECORD ") for line in wheel.record.faults)
    assert wheel.record.digests[archive_path("demo.py")] == (DIGEST.hexdigest() if has_digest else None)
    if faults:
        assert sorted(found.split("; ")) == sorted(faults.split("; "))


def test_faults_are_in_order_and_several_rows_of_a_file_are_compared() -> None:
    wheel = opened(RECORD=rows(RIGHT, PADDED.replace(",12", ","), "demo.py,,,"))

    assert wheel.record.faults == (
        "its RECORD has a digest in another encoding for: `demo.py`",
        "its RECORD has different rows for one file: `demo.py`, `demo.py`",
        "its RECORD has rows without 3 fields: `line 6`",
        "its RECORD has no digest for: `demo.py`",
    )


def test_the_first_digest_of_a_file_counts() -> None:
    """A later row does not weaken it."""
    other = f"demo.py,sha256={encoded(hashlib.sha256(b'').digest())},0"

    assert opened(RECORD=rows("demo.py,,", RIGHT)).record.digests["demo.py"] == DIGEST.hexdigest()  # type: ignore[index]
    assert opened(RECORD=rows(RIGHT, other)).record.digests["demo.py"] == DIGEST.hexdigest()  # type: ignore[index]


@given(content=st.binary(min_size=1), hexadecimal=st.booleans())
def test_a_digest_is_read_in_base64_and_in_hexadecimal(content: bytes, hexadecimal: bool) -> None:
    digest = hashlib.sha256(content)
    members = with_record(wheel_files("demo", "1.0", {"x": content}), INFO)
    if hexadecimal:
        members[RECORD] = members[RECORD].replace(
            encoded(digest.digest()).encode(), digest.hexdigest().encode()
        )
    reader = ZipReader(io.BytesIO(zip_bytes(members)), name="demo.whl")

    record = read_record(reader, INFO)
    assert (record.digests[archive_path("x")], record.faults) == (digest.hexdigest(), ())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(DIGEST.hexdigest().upper(), id="hexadecimal-in-upper-case"),
        pytest.param("g" * 64, id="not-hexadecimal"),
        pytest.param("A" * 41, id="not-a-length-of-base64"),
        # 256 bits in 258: the last two are not part of the digest.
        pytest.param(encoded(bytes(32))[:-1] + "B", id="surplus-bits"),
        pytest.param(DIGEST.hexdigest()[:-1] + " ", id="space-in-hexadecimal"),
        pytest.param(DIGEST.hexdigest()[:62] + "  ", id="spaces-in-hexadecimal"),
        pytest.param(encoded(DIGEST.digest())[:-1] + "!", id="junk-that-base64-skips"),
    ],
)
def test_a_text_that_is_not_a_digest_is_not_compared(text: str) -> None:
    wheel = opened(RECORD=rows(f"demo.py,sha256={text},12"))

    assert wheel.record.digests[archive_path("demo.py")] is None
    assert wheel.record.faults == ("its RECORD has an invalid digest for: `demo.py`",)


def test_both_alphabets_of_base64_are_one_digest() -> None:
    content = next(
        text
        for text in (b"%d" % number for number in range(99))
        if b"_" in base64.urlsafe_b64encode(hashlib.sha256(text).digest())
    )
    members = with_record(wheel_files("demo", "1.0", {"x": content}), INFO)
    members[RECORD] = members[RECORD].replace(
        encoded(hashlib.sha256(content).digest()).encode(), base64.b64encode(hashlib.sha256(content).digest())
    )
    record = read_record(ZipReader(io.BytesIO(zip_bytes(members)), name="demo.whl"), INFO)

    assert record.digests[archive_path("x")] == hashlib.sha256(content).hexdigest()
    assert record.faults == ("its RECORD has a digest in another encoding for: `x`",)


def test_lines_may_end_with_carriage_return_and_newline() -> None:
    wheel = opened(RECORD=rows(RIGHT).replace(b"\n", b"\r\n"))

    assert wheel.record.digests[archive_path("demo.py")] == DIGEST.hexdigest()


def test_a_file_of_the_dist_info_directory_is_returned_if_it_exists() -> None:
    wheel = opened()

    assert b"Name: demo\n" in (wheel.dist_info_file("METADATA") or b"")
    assert wheel.dist_info_file("entry_points.txt") is None


def test_metadata_that_was_edited_after_the_build_has_the_digest_of_its_content() -> None:
    """decord 0.6.0: its top_level.txt; PySide2 5.12: its METADATA, of another size too."""
    content = opened().dist_info_file("METADATA") or b""
    changed = content + b"Summary: x\n"
    wheel = opened(METADATA=changed)

    assert wheel.dist_info_file("METADATA") == changed
    assert wheel.record.digests[archive_path(f"{INFO}/METADATA")] == hashlib.sha256(changed).hexdigest()
    assert wheel.record.faults == (
        f"its RECORD has another size for: `{INFO}/METADATA`",
        f"its RECORD has another digest for: `{INFO}/METADATA`",
    )


def test_a_content_without_digest_is_read_unchecked() -> None:
    """RECORD itself, and its signatures."""
    reader = opened().reader
    member = reader.members[archive_path("demo.py")]

    assert b"".join(checked_chunks(reader, member, None)) == SOURCE
