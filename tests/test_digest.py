"""Digests, canonical JSON, and copying that hashes."""

from __future__ import annotations

import base64
import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler import digest
from bundler.digest import (
    CHUNK,
    copy_and_hash,
    hash_stream,
    parse_sha256,
    record_hash,
    sha256_of,
)

# --- parse_sha256 ---------------------------------------------------------------------------------


@given(content=st.binary())
def test_a_hexadecimal_sha256_is_returned_unchanged(content: bytes) -> None:
    text = hashlib.sha256(content).hexdigest()

    assert parse_sha256(text) == text == sha256_of(content)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * 63, id="too-short"),
        pytest.param("a" * 65, id="too-long"),
        pytest.param("A" * 64, id="upper-case"),
        pytest.param("a" * 63 + "g", id="not-hexadecimal"),
        pytest.param("a" * 64 + "\n", id="newline"),
        pytest.param(" " + "a" * 63, id="space"),
        pytest.param("\u0661" * 64, id="digits-of-another-script"),
        pytest.param("sha256:" + "a" * 64, id="prefix"),
    ],
)
def test_anything_else_is_not_a_digest(text: str) -> None:
    with pytest.raises(ValueError, match="not a sha256 of 64 lowercase hexadecimal digits") as caught:
        parse_sha256(text)

    assert repr(text) in str(caught.value)


# --- streams --------------------------------------------------------------------------------------


class CountingStream(io.BytesIO):
    """A stream that records how much is asked of it at a time."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.sizes: list[int | None] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.sizes.append(size)
        return super().read(size)


@given(content=st.binary(), start=st.integers(0, 20))
def test_the_rest_of_a_stream_is_hashed_and_counted(content: bytes, start: int) -> None:
    stream = io.BytesIO(content)
    stream.read(start)
    rest = content[start:]

    assert hash_stream(stream) == (sha256_of(rest), len(rest))
    assert stream.read() == b""


@given(content=st.binary(), start=st.integers(0, 20))
def test_the_rest_of_a_stream_is_copied_hashed_and_counted(content: bytes, start: int) -> None:
    stream, copy = io.BytesIO(content), io.BytesIO()
    stream.read(start)
    rest = content[start:]

    assert copy_and_hash(stream, copy) == (sha256_of(rest), len(rest))
    assert copy.getvalue() == rest


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_a_large_stream_is_read_in_chunks(size: int) -> None:
    """Memory does not grow with the size of a file."""
    content = bytes(size)
    hashed, copied, copy = CountingStream(content), CountingStream(content), io.BytesIO()

    assert hash_stream(hashed) == copy_and_hash(copied, copy) == (sha256_of(content), size)
    assert copy.getvalue() == content
    assert hashed.sizes == copied.sizes == [CHUNK] * (-(-size // CHUNK) + 1)
    assert [len(chunk) for chunk in digest.read_chunks(io.BytesIO(content))] == [
        min(CHUNK, size - at) for at in range(0, size, CHUNK)
    ]


# --- record_hash ----------------------------------------------------------------------------------


@given(content=st.binary())
def test_record_writes_a_digest_in_unpadded_urlsafe_base64(content: bytes) -> None:
    algorithm, _, value = record_hash(sha256_of(content)).partition("=")

    assert algorithm == "sha256"
    assert base64.urlsafe_b64decode(value + "=") == hashlib.sha256(content).digest()


def test_the_alphabet_of_record_is_safe_in_urls() -> None:
    """PyPA, "The RECORD file": base64.urlsafe_b64encode, without the padding."""
    assert record_hash(parse_sha256("fb" * 32)) == "sha256=-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s"
