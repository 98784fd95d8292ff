"""RECORD: the texts of its refusals, whole, and the spellings of a digest. The rest is in test_wheel.py."""

from __future__ import annotations

import base64
import hashlib
import io

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
    return OpenedWheel(reader=reader, dist_info=INFO, digests=dict(read_record(reader, INFO)))


def rows(first: str, *more: str) -> bytes:
    """Return a RECORD whose first row, that of demo.py, is given, and further rows after the right ones."""
    right = with_record(wheel_files("demo", "1.0", {"demo.py": SOURCE}), INFO)[RECORD].decode().splitlines()
    return "".join(f"{row}\n" for row in (first, *right[1:], *more)).encode()


def encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


RIGHT = f"demo.py,sha256={encoded(DIGEST.digest())},12"

REFUSED = [
    pytest.param(
        rows("demo.py,,12"),
        "line 1 of its RECORD has no digest",
        ("found   demo.py",),
        id="no-digest",
    ),
    pytest.param(
        rows(RIGHT, RIGHT),
        "its RECORD has duplicate rows for `demo.py`",
        ("found   lines 1 and 5",),
        id="duplicate",
    ),
    pytest.param(
        rows(f"{INFO}/RECORD.jws,,"),
        "`demo.py` has no row in RECORD",
        ("found   demo.py",),
        id="no-row",
    ),
    pytest.param(
        rows(RIGHT, *(f"gone{number},sha256={encoded(DIGEST.digest())}," for number in range(5))),
        "`gone0` is in RECORD but missing from the wheel",
        ("found   gone0, gone1, gone2, gone3, gone4",),
        id="five-without-a-file",
    ),
    pytest.param(
        rows(RIGHT, *(f"gone{number},sha256={encoded(DIGEST.digest())}," for number in range(6))),
        "`gone0` is in RECORD but missing from the wheel",
        ("found   gone0, gone1, gone2, gone3, gone4 and 1 more",),
        id="six-without-a-file",
    ),
    pytest.param(
        b"\xff",
        "its RECORD is not UTF-8",
        ("found   'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",),
        id="not-utf8",
    ),
    pytest.param(b"\xef\xbb\xbf", "its RECORD starts with a byte order mark", (), id="byte-order-mark"),
    pytest.param(
        rows("/demo.py,,"),
        "line 1 of its RECORD is malformed",
        ("found   `/demo.py`: it is absolute",),
        id="unsafe-path",
    ),
    pytest.param(
        rows("demo.py,md5=AAAA,12"),
        "line 1 of its RECORD is malformed",
        ("found   `demo.py` has a digest by md5, wanted sha256, sha384, sha512",),
        id="weak-digest",
    ),
    pytest.param(
        rows("demo.py,sha256=AAAA,12"),
        "line 1 of its RECORD is malformed",
        ("found   `demo.py` has `AAAA`, which is not a sha256 in unpadded urlsafe base64",),
        id="short-digest",
    ),
    pytest.param(
        rows(RIGHT.replace(",12", ",13")),
        "line 1 of its RECORD has a different size for `demo.py`",
        ("wanted  13 bytes", "found   12 bytes"),
        id="size",
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
]


@pytest.mark.parametrize(("record", "fact", "evidence"), REFUSED)
def test_a_refusal_names_the_wheel_the_fact_and_what_was_found(
    record: bytes, fact: str, evidence: tuple[str, ...]
) -> None:
    with pytest.raises(MalformedError) as caught:
        opened(RECORD=record)

    assert caught.value.message == f"`demo.whl`: {fact}"
    assert caught.value.evidence == evidence


def test_a_wheel_without_record_is_refused() -> None:
    reader = ZipReader(io.BytesIO(zip_bytes({"demo.py": SOURCE})), name="demo.whl")

    with pytest.raises(MalformedError) as caught:
        list(read_record(reader, INFO))
    assert (caught.value.message, caught.value.evidence) == ("`demo.whl`: it has no RECORD", ())


def test_names_are_displayed_escaped() -> None:
    with pytest.raises(MalformedError) as caught:
        opened(RECORD=rows(f"a\u202eb,sha256={encoded(DIGEST.digest())},"))

    assert caught.value.evidence == ("found   `a\\u202eb`: it contains a control or bidirectional character",)


@given(content=st.binary(min_size=1), hexadecimal=st.booleans())
def test_a_digest_is_read_in_base64_and_in_hexadecimal(content: bytes, hexadecimal: bool) -> None:
    digest = hashlib.sha256(content)
    members = with_record(wheel_files("demo", "1.0", {"x": content}), INFO)
    if hexadecimal:
        members[RECORD] = members[RECORD].replace(
            encoded(digest.digest()).encode(), digest.hexdigest().encode()
        )
    reader = ZipReader(io.BytesIO(zip_bytes(members)), name="demo.whl")

    assert dict(read_record(reader, INFO))[archive_path("x")] == digest.hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(DIGEST.hexdigest().upper(), id="hexadecimal-in-upper-case"),
        pytest.param("g" * 64, id="not-hexadecimal"),
        pytest.param("A" * 41, id="not-a-length-of-base64"),
        pytest.param(encoded(DIGEST.digest()) + "=", id="padded"),
        pytest.param(base64.b64encode(b"\xff" * 32).decode().rstrip("="), id="other-alphabet"),
        # 256 bits in 258: the last two are not part of the digest.
        pytest.param(encoded(bytes(32))[:-1] + "B", id="surplus-bits"),
        pytest.param(DIGEST.hexdigest()[:-1] + " ", id="space-in-hexadecimal"),
        pytest.param(DIGEST.hexdigest()[:62] + "  ", id="spaces-in-hexadecimal"),
        pytest.param(encoded(DIGEST.digest())[:-1] + "!", id="junk-that-base64-skips"),
    ],
)
def test_a_digest_has_one_spelling_in_each_encoding(text: str) -> None:
    """Two readers must not see two digests, nor one of them none."""
    with pytest.raises(MalformedError) as caught:
        opened(RECORD=rows(f"demo.py,sha256={text},12"))

    reason = f"`demo.py` has `{text}`, which is not a sha256 in unpadded urlsafe base64"
    assert caught.value.evidence == (f"found   {reason}",)


def test_lines_may_end_with_carriage_return_and_newline() -> None:
    wheel = opened(RECORD=rows(RIGHT).replace(b"\n", b"\r\n"))

    assert wheel.digests[archive_path("demo.py")] == DIGEST.hexdigest()


def test_a_file_of_the_dist_info_directory_is_returned_if_it_exists() -> None:
    wheel = opened()

    assert b"Name: demo\n" in (wheel.dist_info_file("METADATA") or b"")
    assert wheel.dist_info_file("entry_points.txt") is None


def test_a_file_of_the_dist_info_directory_must_have_its_digest() -> None:
    content = opened().dist_info_file("METADATA") or b""
    changed = content.replace(b"demo", b"evil")
    wheel = opened(METADATA=changed)

    with pytest.raises(MalformedError) as caught:
        wheel.dist_info_file("METADATA")
    assert caught.value.message == f"`demo.whl`: `{INFO}/METADATA` does not match its digest in RECORD"
    assert caught.value.evidence == (
        f"wanted  sha256 {hashlib.sha256(content).hexdigest()}",
        f"found   sha256 {hashlib.sha256(changed).hexdigest()}",
    )


def test_a_content_without_digest_is_read_unchecked() -> None:
    """RECORD itself, and its signatures."""
    reader = opened().reader
    member = reader.members[archive_path("demo.py")]

    assert b"".join(checked_chunks(reader, member, None)) == SOURCE
