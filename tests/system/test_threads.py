"""Chunks that a thread creates in advance."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import MalformedError
from bundler.system.threads import read_ahead

CHUNKS = st.lists(st.binary(min_size=1, max_size=8), max_size=8)


@given(chunks=CHUNKS)
def test_chunks_of_a_thread_come_in_order(chunks: list[bytes]) -> None:
    with read_ahead(iter(chunks)) as ahead:
        assert list(ahead) == chunks


def test_an_error_of_the_thread_is_raised_in_its_place() -> None:
    def broken() -> Iterator[bytes]:
        yield b"first"
        raise MalformedError("broken")

    with read_ahead(broken()) as ahead:
        assert next(ahead) == b"first"
        with pytest.raises(MalformedError, match="broken"):
            next(ahead)


def test_the_thread_ends_with_the_context_and_reads_no_further() -> None:
    seen = []

    def endless() -> Iterator[bytes]:
        for number in itertools.count():
            seen.append(number)
            yield b"x"

    before = threading.active_count()
    with read_ahead(endless(), depth=3) as ahead:
        next(ahead)
    with pytest.raises(KeyError), read_ahead(endless(), depth=3):
        raise KeyError

    assert threading.active_count() == before
    assert len(seen) < 20
