"""Streams of bytes: exact lengths, and hashing while reading."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from bundler.digest import Sha256, parse_sha256
from bundler.errors import BundlerError, IntegrityError

__all__ = ["ExactReader", "HashingReader", "require_digest", "verified"]


def verified(
    chunks: Iterable[bytes],
    fact: str,
    *,
    sha256: str,
    size: int | None = None,
    hint: str | None = None,
    error: type[BundlerError] = IntegrityError,
) -> Iterator[bytes]:
    """Yield chunks while they are hashed, and compare their digest at the end.

    A consumer must not use the content before the iteration has ended.

    :param fact: the message if they differ.
    :param size: their size in bytes, if it is known; no more than that is yielded.
    :param error: the class of the error.
    :raises BundlerError: of that class, if the size or the digest differ.
    """
    digest = hashlib.sha256()
    received = 0
    for chunk in chunks:
        digest.update(chunk)
        received += len(chunk)
        if size is not None and received > size:
            break
        yield chunk
    found = digest.hexdigest()
    if found != sha256 or size not in (None, received):
        sizes = ("", "") if size is None else (f"{size} bytes, ", f"{received} bytes, ")
        raise error(
            fact,
            evidence=(f"wanted  {sizes[0]}sha256 {sha256}", f"found   {sizes[1]}sha256 {found}"),
            hint=hint,
        )


def require_digest(found: Sha256, wanted: Sha256, fact: str, *, hint: str | None = None) -> None:
    """Check that two digests are equal.

    :param fact: the message if they differ.
    :raises IntegrityError: if they differ.
    """
    if found != wanted:
        raise IntegrityError(
            fact, evidence=(f"wanted  sha256 {wanted}", f"found   sha256 {found}"), hint=hint
        )


class ExactReader:
    """Reads exact byte counts from an iterator of chunks."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._chunk = b""
        self._at = 0

    def exactly(self, length: int, *, short: bool = False) -> bytes:
        """Return the next ``length`` bytes, which fit in memory.

        :param short: whether fewer may be returned at the end.
        :raises IntegrityError: if the stream ends before.
        """
        return b"".join(self.pieces(length, short=short))

    def pieces(self, length: int, *, short: bool = False) -> Iterator[bytes]:
        """Yield the next ``length`` bytes in pieces."""
        while length:
            if self._at == len(self._chunk):
                self._chunk, self._at = next(self._pieces, b""), 0
                if not self._chunk:
                    if short:
                        return
                    raise IntegrityError("the archive is truncated")
            # The rest of the chunk is not copied.
            piece = self._chunk[self._at : self._at + length]
            self._at += len(piece)
            length -= len(piece)
            yield piece


class HashingReader:
    """Chunks as a file that is read forward, hashed on the way."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self._chunk = b""
        self._at = 0
        self.size = 0

    @property
    def digest(self) -> Sha256:
        """The sha256 of the bytes read so far."""
        return parse_sha256(self._hash.hexdigest())

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        pieces = []
        while size:
            if self._at == len(self._chunk):
                self._chunk, self._at = next(self._chunks, b""), 0
                if not self._chunk:
                    break
                self._count(self._chunk)
            piece = self._chunk[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def drain(self) -> None:
        """Read to the end, so that the digest covers the whole stream."""
        for chunk in self._chunks:
            self._count(chunk)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)
