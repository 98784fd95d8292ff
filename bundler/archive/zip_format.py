"""Layouts, numbers and limits of the zip format.

Format: PKWARE APPNOTE 6.3, sections 4.3 to 4.6.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from bundler.paths import ArchivePath, printable

__all__ = ["Member"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ZipLimits:
    """Limits of the archives that are read; each is far beyond any published wheel."""

    members: int = 200_000
    size: int = 8 << 30
    """Bytes of all members, inflated."""
    ratio: int = 1000
    """How much a member may grow beyond `free` bytes; deflate itself ends at 1032."""
    free: int = 1 << 20
    directory: int = 64 << 20
    """Bytes of the central directory, which is read as a whole."""
    names: int = 128 << 20
    """Bytes of all names and of the directories above them, which are compared with each other."""


LIMITS = ZipLimits()

LOCAL = struct.Struct("<6x2H4x3L2H")  # the fields that matter; the rest is skipped
CENTRAL = struct.Struct("<5xB2x2H4x3L4H2x2L")
END = struct.Struct("<4x4H2LH")
END64 = struct.Struct("<4sQ4x2L4Q")
LOCATOR = struct.Struct("<4xLQL")
FIELD = struct.Struct("<2H")
LOCAL_SIGN, CENTRAL_SIGN, END_SIGN = b"PK\3\4", b"PK\1\2", b"PK\5\6"
END64_SIGN, LOCATOR_SIGN, DESCRIPTOR_SIGN = b"PK\6\6", b"PK\6\7", b"PK\7\x08"
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF
STORED, DEFLATED = 0, 8
ENCRYPTED, DESCRIPTOR, UTF8 = 0x1, 0x8, 0x800
ALLOWED_FLAGS = 0x6 | DESCRIPTOR | UTF8  # 0x6: compression level of deflate, irrelevant for reading
ZIP64_FIELD, UNICODE_PATH_FIELD = 0x0001, 0x7075
UNIX_SYSTEMS = (3, 19)
HEAD = 32
INPUT = 1 << 16
"""Bytes that are inflated at a time; small, since the unconsumed rest is copied for each chunk of output."""


_COMMENT = re.compile(rb"(?!.*PK)[\x21-\x7e][\x20-\x7e]{0,63}", re.DOTALL)
COMMENTED_END = END.size + 64
"""The largest end record with a comment that is read, in bytes."""


def commented_end(tail: bytes) -> tuple[int, str] | None:
    """Return the offset of the end record in the last bytes of an archive, and the plain text after it.

    pyo3-pack, later maturin, wrote the comment ``zip-rs`` (wheels of orjson until 2019).

    :return: None if the text is not a comment that every reader would read in the same way.
    """
    at = tail.rfind(END_SIGN)
    comment = tail[at + END.size :] if at >= 0 else b""
    return (at, comment.decode("ascii")) if _COMMENT.fullmatch(comment) else None


def text_of(value: object) -> str:
    """Return a value of a header, which may be a name in any bytes, as text for a message."""
    return printable(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))


def extra_fields(extra: bytes) -> dict[int, bytes]:
    """Return the extra fields of a header by their number (4.5.1).

    :raises ValueError: if they do not fill it exactly, or one comes twice.
    """
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(extra):
        if len(extra) - at < FIELD.size:
            raise ValueError(f"has {len(extra) - at} odd bytes after its extra fields")
        number, length = FIELD.unpack_from(extra, at)
        content = extra[at + FIELD.size :][:length]
        if len(content) < length:
            raise ValueError(f"has an extra field {number:#06x} that is longer than its header")
        if number in fields:
            raise ValueError(f"has a duplicate extra field {number:#06x}")
        fields[number] = content
        at += FIELD.size + length
    return fields


@dataclass(frozen=True, kw_only=True, slots=True)
class CentralEntry:
    """The entry of a member in the central directory (4.3.12)."""

    raw: bytes
    path: ArchivePath
    is_folder: bool
    flags: int
    method: int
    crc: int
    compressed_size: int
    size: int
    offset: int
    mode: int
    """As a Unix creator wrote it; 0 if it wrote none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A regular file of an archive."""

    path: ArchivePath
    size: int
    """Bytes, inflated."""
    crc: int
    executable: bool
    """Whether any x bit is set, by a creator that has such bits."""
    dropped_bits: int
    """Setuid, setgid, sticky and world-write bits, which are never installed."""
    start: int
    """The offset of its data in the archive."""
    compressed_size: int
    deflated: bool
