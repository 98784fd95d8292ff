"""Recognize the content of a file that is not what its name promises, such as a downloaded page."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bundler.errors import IntegrityError, MalformedError

__all__ = ["CONTENT_START", "Content", "check_content", "recognized_content"]

CONTENT_START = 512
"""The bytes of a file that determine its content."""

_EMPTY = "an empty file"
_DOWNLOAD = "download it again: the server sent a page, for example of its login or of an error"
_TEXTS = (
    (rb"\s*<(?:!doctype\s+html|html|head)\b", "an HTML page", _DOWNLOAD),
    (rb"\s*<\?xml\b", "an XML document", _DOWNLOAD),
    (rb"version https://git-lfs\.github\.com/spec/", "a pointer of Git LFS", "git lfs pull"),
    (rb"\s*\{\s*\"", "a JSON document", None),
)
_ARCHIVES = (
    (b"PK\x03\x04", "a zip archive", ".zip"),
    (b"\x1f\x8b", "a gzip archive", ".tar.gz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", ".tar.zst"),
)
_TAR_SIGN = (b"ustar", 257)
"""The magic of POSIX and of GNU, and its offset in a header (POSIX.1-2017, pax)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """The content of a file, as its first bytes show it."""

    label: str
    """The content as a noun, for messages."""
    hint: str | None = None
    suffix: str = ""
    """The suffix that an archive should have; empty for other content."""


def recognized_content(start: bytes) -> Content | None:
    """Return the content of a file, or None if it is not known.

    :param start: its first `CONTENT_START` bytes, or all.

    >>> recognized_content(b"<!DOCTYPE html>").label
    'an HTML page'
    """
    if not start:
        return Content(label=_EMPTY, hint="copy it again from its source")
    for sign, label, suffix in _ARCHIVES:
        if start.startswith(sign):
            return Content(label=label, suffix=suffix)
    sign, offset = _TAR_SIGN
    if start[offset:].startswith(sign):
        return Content(label="a tar archive without compression", suffix=".tar")
    found = (row for row in _TEXTS if re.match(row[0], start, re.IGNORECASE))
    return next((Content(label=label, hint=hint) for _, label, hint in found), None)


def check_content(path: Path, stream: BinaryIO, suffix: str | None) -> None:
    """Check that a file starts as an archive of its suffix does, if its content is recognized; rewind it.

    :param path: the file, for messages.
    :param suffix: the suffix of its name; None if that is not one of a bundle.
    :raises IntegrityError: if it is empty.
    :raises MalformedError: with the command that mends it.
    """
    content = recognized_content(stream.read(CONTENT_START))
    stream.seek(0)
    wanted = "wanted  a .tar.gz or .tar.zst archive, or an unpacked directory"
    if suffix is None:
        found = (f"found   {content.label}",) if content else ()
        hint = _hint(path, content) if content and content.label != _EMPTY else None
        raise MalformedError(f"`{path}` is not a bundle", evidence=(wanted, *found), hint=hint)
    if content is not None and content.label == _EMPTY:
        raise IntegrityError(f"`{path.name}` is empty", hint=content.hint)
    if content is not None and content.suffix != suffix:
        raise MalformedError(
            f"`{path.name}` is not a {suffix} archive",
            evidence=(f"found   {content.label}",),
            hint=_hint(path, content),
        )


def _hint(path: Path, content: Content) -> str | None:
    """Return the command that makes a bundle of an archive with another name or form."""
    if content.suffix == ".zip":
        if path.suffix == ".whl":
            return shlex.join(["bundler", "build", f"./{path}" if path.name == str(path) else str(path)])
        return f"pass the bundle in it: `{shlex.join(['unzip', str(path), '-d', str(_free(path, ''))])}`"
    if content.suffix == ".tar":
        tar = path if path.suffix == ".tar" else _free(path, ".tar")
        rename = [] if tar == path else [shlex.join(["mv", str(path), str(tar)])]
        return " && ".join([*rename, shlex.join(["gzip", str(tar)])])
    if content.suffix and path.with_suffix("").is_file() and not path.suffix[1:].isdecimal():
        return None  # `b.tar.gz.bak` is a copy of the file beside it, `b.tar.gz.1` another download
    return shlex.join(["mv", str(path), str(_free(path, content.suffix))]) if content.suffix else content.hint


def _free(path: Path, suffix: str) -> Path:
    """Return a path without a file, with another suffix."""
    stem = re.split(r"\.(?:tar|tgz|zip|gz|zst)\b", path.name)[0]
    stem = path.stem if stem == path.name else stem
    names = (f"{stem}{suffix}", *(f"{stem}-{number}{suffix}" for number in range(1, 100)))
    return next(item for item in map(path.with_name, names) if not item.exists())
