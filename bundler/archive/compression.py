"""Pure: the compressed forms of an archive, streamed.

A segment is one gzip member or one zstd frame. Members and frames that follow
each other are one stream to tar, busybox, Docker and Python 3.7's tarfile, so an
archive is put together by copying. Compressed bytes are transport only: the same
content may compress to other bytes on another machine, and never changes the
identity of a bundle.

Specs: gzip (RFC 1952), Zstandard (RFC 8878).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, Protocol

from isal import isal_zlib

from bundler.digest import CHUNK
from bundler.errors import IntegrityError, MalformedError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["SUFFIXES", "Codec", "Compressor", "codec_key", "compressor", "decompressed", "zstd_module"]

Codec = Literal["gz", "zst"]
SUFFIXES: dict[Codec, str] = {"gz": ".tar.gz", "zst": ".tar.zst"}

_GZIP_LEVEL = 2
_ZSTD_LEVEL = 3
_ZSTD_WINDOW_LOG_MAX = 27
"""128 MiB: the maximum window of a frame, and so the memory of a reader (RFC 8878, 3.1.1.1.2)."""
_GZIP_WBITS = 31
_COPY = "copy it again from its source"
_MAGIC: dict[Codec, bytes] = {"gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd"}


class Compressor(Protocol):
    """Compresses one segment."""

    def compress(self, data: bytes, /) -> bytes:
        """Compress more content and return the available output."""

    def flush(self) -> bytes:
        """End the member or frame and return the rest of it."""


def compressor(codec: Codec) -> Compressor:
    """Return a compressor for one member or frame; it runs on one thread, so its bytes are stable."""
    if codec == "gz":
        member: Compressor = isal_zlib.compressobj(level=_GZIP_LEVEL, wbits=_GZIP_WBITS)
        return member
    zstd = zstd_module()
    options = {
        zstd.CompressionParameter.compression_level: _ZSTD_LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    frame: Compressor = zstd.ZstdCompressor(options=options)
    return frame


def codec_key(codec: Codec) -> str:
    """Return the codec, its version and level: besides the content they determine the compressed bytes."""
    if codec == "gz":
        return f"gz isal {version('isal')} level {_GZIP_LEVEL}"
    return f"zst {'.'.join(map(str, zstd_module().zstd_version_info))} level {_ZSTD_LEVEL}"


def decompressed(chunks: Iterable[bytes], codec: Codec, name: str) -> Iterator[bytes]:
    """Yield the content of an archive, member after member.

    :param name: the archive, for messages.
    :raises MalformedError: if it does not start with the magic number of the codec.
    :raises IntegrityError: if it is truncated or a checksum does not match.
    """
    unit: Any = None
    pending = b""
    started = False
    for chunk in chunks:
        pending += chunk
        if not started:
            if len(pending) < len(_MAGIC[codec]):
                continue
            if not pending.startswith(_MAGIC[codec]):
                raise MalformedError(
                    f"`{name}` is not a {SUFFIXES[codec]} archive",
                    evidence=(
                        f"wanted  it to start with {_MAGIC[codec].hex(' ')}",
                        f"found   {pending[:4].hex(' ')}",
                    ),
                )
            started = True
        while pending:
            if unit is None:
                unit = _decompressor(codec)
            try:
                yield from _bounded(unit, pending)
            except _errors() as error:
                raise IntegrityError(
                    f"`{name}` is damaged", evidence=(_reason(error),), hint=_COPY
                ) from error
            pending = b""
            if unit.eof:
                pending = unit.unused_data
                unit = None
    if unit is not None or not started:
        raise IntegrityError(f"`{name}` is truncated", hint=_COPY)


def _reason(error: Exception) -> str:
    """Return what is wrong with compressed data; the libraries report numbers."""
    if "checksum" in str(error).lower():
        return "found   content that does not match the checksum in the archive"
    return "found   compressed data that is invalid"


def _bounded(unit: Any, data: bytes) -> Iterator[bytes]:
    """Yield the expansion of ``data`` in chunks of at most `CHUNK` bytes: a bomb costs time, not memory."""
    while True:
        content = unit.decompress(data, CHUNK)
        if content:
            yield content
        data = getattr(unit, "unconsumed_tail", b"")
        hungry = getattr(unit, "needs_input", not data and len(content) < CHUNK)
        if unit.eof or hungry:
            return


def _decompressor(codec: Codec) -> Any:
    if codec == "gz":
        return isal_zlib.decompressobj(wbits=_GZIP_WBITS)
    zstd = zstd_module()
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX})


def zstd_module() -> ModuleType:
    """Return the module for zstd: the standard library's (Python 3.14, PEP 784) or its backport."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - most archives are gzip

        return zstd
    from backports import zstd as backport  # noqa: PLC0415

    return backport


def _errors() -> tuple[type[Exception], ...]:
    errors: Any = (isal_zlib.error, zstd_module().ZstdError)
    return errors  # type: ignore[no-any-return]
