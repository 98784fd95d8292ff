"""Pure: the one form of a tar entry that bundler writes and accepts.

Regular files and directories only, owner 0 without names, mode 0644 or 0755, a
fixed time. A manifest therefore determines every byte of an archive that is
not the content of a file, so a reader makes the header it expects and compares
512 bytes, and needs no tar parser. Any ordinary tar sees the same members.

Format: docs/format.md, "Archive". Specs: POSIX ustar; pax (one ``path`` or
``size`` record) only where ustar cannot represent a value.
"""

from __future__ import annotations

import tarfile
from functools import lru_cache

__all__ = ["BLOCK", "DEFAULT_EPOCH", "END", "directory_header", "file_header", "padding"]

BLOCK = 512
"""Bytes; headers are whole blocks and contents are padded to whole blocks."""

END = bytes(2 * BLOCK)
"""The end of an archive."""

_SHORT = 100
"""Bytes of the name field of ustar."""

_LARGE = 8**11
"""Bytes; a smaller size fits the field of ustar."""

DEFAULT_EPOCH = 315532800
"""Seconds UTC, 1980-01-01T00:00:00: the earliest time a zip file can hold too."""


def file_header(path: str, *, size: int, mode: int, epoch: int) -> bytes:
    """Return the header of a regular file, a whole number of blocks.

    >>> len(file_header("a/b", size=3, mode=0o644, epoch=DEFAULT_EPOCH))
    512
    """
    return _header(path, size=size, mode=mode, epoch=epoch, kind=tarfile.REGTYPE)


def directory_header(path: str, *, epoch: int) -> bytes:
    """Return the header of a directory; ``path`` carries no slash at its end."""
    return _header(path, size=0, mode=0o755, epoch=epoch, kind=tarfile.DIRTYPE)


def padding(size: int) -> bytes:
    """Return the zeros after a content of ``size`` bytes.

    >>> len(padding(513))
    511
    """
    return bytes(-size % BLOCK)


def _header(path: str, *, size: int, mode: int, epoch: int, kind: bytes) -> bytes:
    name = path.encode("ascii", "replace")
    if kind != tarfile.REGTYPE or len(name) > _SHORT or size >= _LARGE or not path.isascii():
        return _made_by_tarfile(path, size=size, mode=mode, epoch=epoch, kind=kind)
    # A template of tarfile, with another name, size and checksum: a tenth of the time.
    template, others = _template(mode, epoch, kind)
    digits = b"%011o" % size
    checksum = b"%06o" % (others + sum(name) + sum(digits))
    return b"".join((name, template[len(name) : 124], digits, template[135:148], checksum, template[154:]))


@lru_cache(maxsize=64)
def _template(mode: int, epoch: int, kind: bytes) -> tuple[bytes, int]:
    """Return a header without a name and a size, and the sum of its bytes that the checksum covers."""
    header = _made_by_tarfile("", size=0, mode=mode, epoch=epoch, kind=kind)
    header = header[:124] + bytes(11) + header[135:]
    return header, sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _made_by_tarfile(path: str, *, size: int, mode: int, epoch: int, kind: bytes) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.size = size
    entry.mode = mode
    entry.mtime = epoch
    entry.type = kind
    try:
        # ustar splits long names over two fields, which every tar reads.
        return entry.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError:
        return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
