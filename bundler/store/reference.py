"""The keys and files of references: the inputs of a value, and the blob that contains it.

A reference file has one line: the digest of a blob, and a checksum over the kind and key of the
reference and this digest. So a reference that was changed, or copied from another key, is detected
when it is read, and counts as missing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from bundler.digest import Sha256, parse_sha256

__all__ = ["key_of", "read_ref", "ref_content"]

_KEY_DOMAIN = b"bundler key v1\0"


def key_of(*parts: str | bytes) -> str:
    """Return the key of a reference: the sha256 of all parts.

    Each part is preceded by its length, so that no two lists of parts encode to the same bytes.

    >>> key_of("ab", "c") == key_of("a", "bc")
    False
    """
    digest = hashlib.sha256(_KEY_DOMAIN)
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def ref_content(kind: str, key: str, digest: Sha256) -> bytes:
    """Return the content of a reference file."""
    return f"{digest} {key_of('reference', kind, key, digest)}\n".encode()


def read_ref(ref: Path) -> Sha256 | None:
    """Return the digest in a reference file, ``<kind>/ab/<key>``; None if it is missing or malformed."""
    try:
        content = ref.read_bytes()
        digest = parse_sha256(content[:64].decode("ascii"))
    except (OSError, ValueError):
        return None
    return digest if content == ref_content(ref.parent.parent.name, ref.name, digest) else None
