"""Compute, parse and format sha256 digests."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import BinaryIO, NewType

__all__ = [
    "CHUNK",
    "Sha256",
    "copy_and_hash",
    "hash_stream",
    "parse_sha256",
    "read_chunks",
    "record_hash",
    "sha256_of",
]

Sha256 = NewType("Sha256", str)
"""64 lowercase hexadecimal digits; created by this module only, so that the type implies the format."""

CHUNK = 1 << 20
"""Bytes that are read at a time, so that memory does not grow with the size of a file."""

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


def parse_sha256(text: str) -> Sha256:
    """Return ``text`` as a digest.

    :raises ValueError: if it is not 64 lowercase hexadecimal digits.

    >>> parse_sha256("ab" * 32)[:4]
    'abab'
    """
    if not _HEX.fullmatch(text):
        raise ValueError(f"not a sha256 of 64 lowercase hexadecimal digits: {text!r}")
    return Sha256(text)


def sha256_of(content: bytes) -> Sha256:
    """Return the digest of bytes in memory."""
    return Sha256(hashlib.sha256(content).hexdigest())


def read_chunks(source: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of ``source`` in chunks of at most `CHUNK` bytes."""
    while chunk := source.read(CHUNK):
        yield chunk


def hash_stream(source: BinaryIO) -> tuple[Sha256, int]:
    """Return the digest and the size in bytes of the rest of ``source``."""
    digest = hashlib.sha256()
    size = 0
    for chunk in read_chunks(source):
        digest.update(chunk)
        size += len(chunk)
    return Sha256(digest.hexdigest()), size


def copy_and_hash(source: BinaryIO, destination: BinaryIO) -> tuple[Sha256, int]:
    """Copy the rest of ``source``; return its digest and its size in bytes."""
    digest = hashlib.sha256()
    size = 0
    for chunk in read_chunks(source):
        digest.update(chunk)
        destination.write(chunk)
        size += len(chunk)
    return Sha256(digest.hexdigest()), size


def record_hash(digest: Sha256) -> str:
    """Return a digest in the format of RECORD: URL-safe base64 without padding.

    Spec: PyPA, "Recording installed projects", "The RECORD file".

    >>> record_hash(sha256_of(b""))
    'sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    return "sha256=" + base64.urlsafe_b64encode(bytes.fromhex(digest)).decode("ascii").rstrip("=")
