"""Compressed streams: members that follow each other, damage, and bombs."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.figures import Recorder

from bundler.archive.compression import (
    SUFFIXES,
    Codec,
    codec_key,
    compressor,
    decompressed,
    zstd_module,
)
from bundler.digest import CHUNK
from bundler.errors import IntegrityError, MalformedError

CODECS: tuple[Codec, ...] = ("gz", "zst")
CONTENT = b"some content, " * 50


def packed(content: bytes, codec: Codec) -> bytes:
    unit = compressor(codec)
    return unit.compress(content) + unit.flush()


def cut(content: bytes, lengths: list[int]) -> Iterator[bytes]:
    """Yield the content in pieces of these lengths, and the rest at once."""
    for length in lengths:
        yield content[:length]
        content = content[length:]
    yield content


def read(content: bytes, codec: Codec, *lengths: int) -> bytes:
    return b"".join(decompressed(cut(content, list(lengths)), codec, "x"))


# --- writing --------------------------------------------------------------------------------------


def test_each_codec_has_its_suffix() -> None:
    assert SUFFIXES == {"gz": ".tar.gz", "zst": ".tar.zst"}


def test_other_programs_read_the_output() -> None:
    assert gzip.decompress(packed(CONTENT, "gz")) == CONTENT
    program = shutil.which("zstd")
    if program is None:
        pytest.skip("no zstd program")
    ended = subprocess.run(
        [program, "-dc"], input=packed(CONTENT, "zst"), capture_output=True, check=True, timeout=60
    )
    assert ended.stdout == CONTENT


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_content_is_compressed_to_the_same_bytes_and_smaller(codec: Codec) -> None:
    assert packed(CONTENT, codec) == packed(CONTENT, codec)
    assert len(packed(CONTENT, codec)) < len(CONTENT) / 5


def test_a_gzip_member_has_neither_a_time_nor_a_name() -> None:
    """RFC 1952: flags and the four bytes of MTIME are zero."""
    assert packed(CONTENT, "gz")[3:8] == bytes(5)


def test_a_zstd_frame_has_a_checksum() -> None:
    """RFC 8878, 3.1.1.1.1: bit 2 of the frame header descriptor."""
    assert packed(CONTENT, "zst")[4] & 0b100


def test_the_key_of_a_codec_names_the_library_its_version_and_the_level() -> None:
    """Another version may make other bytes, which are then another segment in the store."""
    assert codec_key("gz") == f"gz isal {version('isal')} level 2"
    assert re.fullmatch(r"zst 1\.[0-9]+\.[0-9]+ level 3", codec_key("zst"))


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
@given(
    contents=st.lists(st.binary(max_size=300), min_size=1, max_size=4), lengths=st.lists(st.integers(0, 40))
)
def test_members_that_follow_each_other_are_one_stream_however_they_are_cut(
    codec: Codec, contents: list[bytes], lengths: list[int]
) -> None:
    stream = b"".join(packed(content, codec) for content in contents)

    pieces = list(decompressed(cut(stream, lengths), codec, "x"))
    assert b"".join(pieces) == b"".join(contents)
    assert all(pieces)


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_may_come_byte_by_byte(codec: Codec) -> None:
    stream = packed(CONTENT, codec) + packed(b"", codec) + packed(b"more", codec)

    assert b"".join(decompressed((bytes([byte]) for byte in stream), codec, "x")) == CONTENT + b"more"


def test_members_of_other_programs_are_read() -> None:
    assert read(gzip.compress(CONTENT) + gzip.compress(b"more", 0), "gz") == CONTENT + b"more"


@pytest.mark.parametrize("codec", CODECS)
def test_a_large_content_comes_in_pieces_of_bounded_size(codec: Codec) -> None:
    """A bomb of a thousandth of the size costs time, not memory."""
    content = bytes(3 * CHUNK + 5)
    pieces = [len(piece) for piece in decompressed([packed(content, codec)], codec, "x")]

    assert sum(pieces) == len(content)
    assert max(pieces) <= CHUNK
    assert min(pieces) > 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_no_byte_is_lost_where_a_piece_ends(codec: Codec, size: int) -> None:
    content = b"x" * (size - 1) + b"y"
    stream = packed(content, codec) + packed(b"more", codec)

    assert read(stream, codec) == content + b"more"


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("content", "codec", "found"),
    [
        pytest.param(b"PK\x03\x04" + bytes(100), "gz", "50 4b 03 04", id="zip"),
        pytest.param(b"\x28\xb5\x2f\xfd" + bytes(100), "gz", "28 b5 2f fd", id="zstd-as-gzip"),
        pytest.param(b"\x1f\x8b\x08\x00" + bytes(100), "zst", "1f 8b 08 00", id="gzip-as-zstd"),
        pytest.param(b"\x1f\x00" + bytes(100), "gz", "1f 00 00 00", id="half-a-magic-number"),
        pytest.param(b"PK", "gz", "50 4b", id="no-longer-than-the-magic-number"),
    ],
)
def test_another_kind_of_file_is_refused_with_its_first_bytes(
    content: bytes, codec: Codec, found: str
) -> None:
    with pytest.raises(MalformedError) as caught:
        read(content, codec, 1, 1)

    wanted = {"gz": "1f 8b", "zst": "28 b5 2f fd"}[codec]
    assert caught.value.message == f"`x` is not a {SUFFIXES[codec]} archive"
    assert caught.value.evidence[0].endswith(f" {wanted}")
    assert found.startswith(caught.value.evidence[1].removeprefix("found   "))


@pytest.mark.attack("archives")
@pytest.mark.parametrize("codec", CODECS)
def test_every_truncation_is_refused(codec: Codec, record_property: Recorder) -> None:
    stream = packed(b"first", codec) + packed(CONTENT, codec)
    ends = {len(packed(b"first", codec)), len(stream)}
    record_property("mutants", len(stream) - 1)

    for length in range(len(stream)):
        if length not in ends:
            with pytest.raises(IntegrityError, match="`x` is truncated"):
                read(stream[:length], codec)


@pytest.mark.attack("archives")
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("chunks", [[], [b""], [b"", b""]])
def test_an_empty_stream_ends_too_early(codec: Codec, chunks: list[bytes]) -> None:
    with pytest.raises(IntegrityError, match="`x` is truncated"):
        list(decompressed(chunks, codec, "x"))


@pytest.mark.attack("archives")
@pytest.mark.parametrize("codec", CODECS)
def test_a_changed_byte_of_the_content_is_found_by_the_checksum(codec: Codec) -> None:
    stream = bytearray(packed(bytes(range(256)), codec))  # hardly compressible: stored
    stream[len(stream) // 2] ^= 1

    with pytest.raises(IntegrityError, match="`x` is damaged") as caught:
        read(bytes(stream), codec)
    assert caught.value.evidence[0]
    assert caught.value.hint == "copy it again from its source"


@pytest.mark.attack("archives")
@pytest.mark.parametrize("codec", CODECS)
def test_junk_after_the_last_member_is_damage(codec: Codec) -> None:
    with pytest.raises(IntegrityError, match="`x` is damaged"):
        read(packed(CONTENT, codec) + b"junk" * 10, codec)


@pytest.mark.attack("archives")
def test_a_raw_deflate_or_zlib_stream_is_not_gzip() -> None:
    with pytest.raises(MalformedError):
        read(zlib.compress(CONTENT), "gz")


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("log", "accepted"), [(27, True), (28, False)])
def test_a_frame_that_needs_more_than_128_mib_is_refused(log: int, accepted: bool) -> None:
    """A reader must keep the window in memory, and the sender chooses its size."""
    zstd = zstd_module()
    options = {
        zstd.CompressionParameter.window_log: log,
        # Without the content's size in the header the frame has to name its window.
        zstd.CompressionParameter.content_size_flag: 0,
    }
    unit = zstd.ZstdCompressor(options=options)
    stream = unit.compress(CONTENT, zstd.ZstdCompressor.FLUSH_BLOCK) + unit.flush()

    if accepted:
        assert read(stream, "zst") == CONTENT
    else:
        with pytest.raises(IntegrityError, match="`x` is damaged"):
            read(stream, "zst")
