"""Exact lengths out of chunks of any size, and hashing while reading."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.archive.streams import ExactReader, HashingReader, verified
from bundler.errors import IntegrityError, MalformedError

CHUNKS = st.lists(st.binary(min_size=1, max_size=8), max_size=8)


# --- ExactReader ----------------------------------------------------------------------------------


@given(chunks=CHUNKS, lengths=st.lists(st.integers(0, 10), max_size=12))
def test_exactly_the_requested_bytes_are_returned(chunks: list[bytes], lengths: list[int]) -> None:
    content = b"".join(chunks)
    reader = ExactReader(iter(chunks))
    at = 0
    for length in lengths:
        if at + length > len(content):
            with pytest.raises(IntegrityError, match="is truncated"):
                reader.exactly(length)
            return
        assert reader.exactly(length) == content[at : at + length]
        at += length
    assert reader.exactly(len(content) + 1, short=True) == content[at:]
    assert reader.exactly(1, short=True) == b""


@given(chunks=CHUNKS, length=st.integers(0, 70))
def test_fewer_bytes_are_returned_only_at_the_end_and_if_allowed(chunks: list[bytes], length: int) -> None:
    content = b"".join(chunks)

    assert ExactReader(iter(chunks)).exactly(length, short=True) == content[:length]
    pieces = list(ExactReader(iter(chunks)).pieces(length, short=True))
    assert b"".join(pieces) == content[:length]
    assert all(pieces)


def counted(chunks: list[bytes], taken: list[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        taken.append(chunk)
        yield chunk


def test_no_chunk_is_taken_before_it_is_needed() -> None:
    """A stream is read as far as the caller asks: the rest may be a bomb."""
    taken: list[bytes] = []
    reader = ExactReader(counted([b"abc", b"def", b"ghi"], taken))

    assert reader.exactly(0) == b""
    assert taken == []
    assert reader.exactly(3) == b"abc"
    assert taken == [b"abc"]
    pieces = reader.pieces(4)
    assert taken == [b"abc"]
    assert [next(pieces), next(pieces)] == [b"def", b"g"]
    assert taken == [b"abc", b"def", b"ghi"]
    assert reader.exactly(2) == b"hi"


def test_pieces_are_not_longer_than_requested() -> None:
    reader = ExactReader(iter([b"abcdef", b"ghijkl"]))

    assert list(reader.pieces(2)) == [b"ab"]
    assert list(reader.pieces(8)) == [b"cdef", b"ghij"]


def test_a_stream_that_ends_within_the_pieces_is_an_error() -> None:
    pieces = ExactReader(iter([b"abc"])).pieces(4)

    assert next(pieces) == b"abc"
    with pytest.raises(IntegrityError, match="is truncated"):
        next(pieces)


# --- HashingReader --------------------------------------------------------------------------------


@given(chunks=CHUNKS, sizes=st.lists(st.integers(0, 10), max_size=12))
def test_a_file_of_chunks_reads_like_a_file(chunks: list[bytes], sizes: list[int]) -> None:
    content = b"".join(chunks)
    reader = HashingReader(iter(chunks))
    at = 0
    for size in sizes:
        assert reader.read(size) == content[at : at + size]
        at += size
    reader.drain()

    assert reader.size == len(content)
    assert reader.digest == hashlib.sha256(content).hexdigest()
    assert reader.read(1) == content[at : at + 1] or at < len(content)


def test_the_digest_covers_the_chunks_that_were_taken() -> None:
    reader = HashingReader(iter([b"abc", b"def"]))
    assert (reader.digest, reader.size) == (hashlib.sha256().hexdigest(), 0)

    assert reader.read(1) == b"a"
    assert (reader.digest, reader.size) == (hashlib.sha256(b"abc").hexdigest(), 3)
    assert reader.read(3) == b"bcd"
    assert (reader.digest, reader.size) == (hashlib.sha256(b"abcdef").hexdigest(), 6)
    assert reader.read(10) == b"ef"
    assert reader.read(10) == b""
    reader.drain()
    assert (reader.digest, reader.size) == (hashlib.sha256(b"abcdef").hexdigest(), 6)


def test_no_chunk_is_hashed_before_it_is_needed() -> None:
    taken: list[bytes] = []
    reader = HashingReader(counted([b"abc", b"def"], taken))

    assert reader.read(0) == b""
    assert taken == []
    assert reader.read(3) == b"abc"
    assert taken == [b"abc"]


# --- verified -------------------------------------------------------------------------------------


def all_of(chunks: list[bytes], **wanted: Any) -> list[bytes]:
    return list(verified(iter(chunks), "`a` has changed", **wanted))


def test_chunks_that_agree_are_handed_on() -> None:
    digest = hashlib.sha256(b"abcdef").hexdigest()

    assert all_of([b"abc", b"def"], sha256=digest) == [b"abc", b"def"]
    assert all_of([b"abc", b"def"], sha256=digest, size=6) == [b"abc", b"def"]
    assert all_of([], sha256=hashlib.sha256().hexdigest(), size=0) == []


@pytest.mark.parametrize("wanted", [{}, {"size": 6}, {"size": 5}, {"size": 7}])
def test_chunks_that_differ_end_in_an_error_with_both_values(wanted: dict[str, int]) -> None:
    right, wrong = hashlib.sha256(b"abcdef").hexdigest(), "0" * 64
    sha256 = wrong if wanted.get("size", 6) == 6 else right

    with pytest.raises(MalformedError, match="`a` has changed") as caught:
        all_of([b"abc", b"def"], sha256=sha256, hint="try again", error=MalformedError, **wanted)

    evidence = "\n".join(caught.value.evidence)
    assert sha256 in evidence
    assert caught.value.hint == "try again"
    if wanted:
        assert f"wanted  {wanted['size']} bytes" in evidence
        assert "found   6 bytes" in evidence


def test_no_more_than_the_wanted_size_is_handed_on() -> None:
    """An endless source must not fill a disk."""
    chunks = verified(itertools.repeat(b"ab"), "too long", sha256="0" * 64, size=5)

    assert [next(chunks), next(chunks)] == [b"ab", b"ab"]
    with pytest.raises(IntegrityError, match="too long"):
        next(chunks)
