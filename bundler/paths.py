"""Validate the paths of archives and bundles.

`archive_path` rejects paths that leave the directory they are extracted to; the
directory descriptors of `bundle.extract` enforce the same while writing. pathvalidate
reports names that are not portable, as notes: it accepts ``../x`` and is not a
protection against path traversal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NewType

__all__ = [
    "ArchivePath",
    "UnsafePathError",
    "archive_path",
    "find_collision",
    "portability_note",
    "printable",
]

ArchivePath = NewType("ArchivePath", str)
"""A normalized relative path with ``/`` as separator; created by `archive_path` only."""

_MAX_COMPONENT = 255
_MAX_PATH = 4096
_SHORT_PATH = 240
"""Bytes; Windows refuses a path of more than 260 characters."""
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_FORBIDDEN = re.compile(f"[\\x00-\\x1f\\x7f-\\x9f{''.join(sorted(_BIDI))}]")

# Most names; the other ones are looked at more closely.
_PLAIN = re.compile(r"(?:[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,254}/)*[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,254}")

# Names that are not relative paths on some system, with the reason. Windows accepts backslashes and drives.
_NOT_RELATIVE = (
    (re.compile(r"\Z"), "it is empty"),
    (re.compile(r"[^\\]*\\"), "it contains a backslash"),
    (re.compile(r"/"), "it is absolute"),
    (re.compile(r"[A-Za-z]:"), "it contains a drive"),
)


class UnsafePathError(ValueError):
    """A name that is not a safe path; the text is the reason, without the name."""


def archive_path(name: str) -> ArchivePath:
    """Return ``name`` as a path that cannot leave the directory it is joined to.

    :raises UnsafePathError: if it is absolute, has a drive, a backslash, a component
        that is empty, ``.`` or ``..``, a control or bidirectional character, a lone
        surrogate, or is longer than Linux allows (NAME_MAX 255 bytes per component,
        PATH_MAX 4096 bytes).

    >>> archive_path("pkg/__init__.py")
    'pkg/__init__.py'
    """
    if _PLAIN.fullmatch(name) and len(name) <= _MAX_PATH:
        return ArchivePath(name)
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnsafePathError("it is not valid UTF-8") from error
    for pattern, reason in _NOT_RELATIVE:
        if pattern.match(name):
            raise UnsafePathError(reason)
    if _FORBIDDEN.search(name):
        raise UnsafePathError("it contains a control or bidirectional character")
    if len(encoded) > _MAX_PATH:
        raise UnsafePathError(f"it is longer than {_MAX_PATH} bytes")
    for component in name.split("/"):
        if component in ("", ".", ".."):
            raise UnsafePathError(f"its component `{component}` is not allowed")
        if len(component.encode("utf-8")) > _MAX_COMPONENT:
            raise UnsafePathError(f"a component is longer than {_MAX_COMPONENT} bytes")
    return ArchivePath(name)


def find_collision(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that are one file on a case-insensitive file system, or None.

    Names are compared after NFC normalization and case folding, as on macOS and
    Windows. Every parent directory is compared, too: ``A/x`` and ``a/y`` collide.
    """
    seen: dict[str, str] = {}
    known: set[str] = set()
    for name in names:
        prefix = name
        while prefix and prefix not in known:
            known.add(prefix)
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", prefix).casefold())
            first = seen.setdefault(folded, prefix)
            if first != prefix:
                return first, prefix
            prefix = prefix.rpartition("/")[0]
    return None


def portability_note(path: ArchivePath) -> str | None:
    """Return the reason why a path is invalid on some operating system, or None.

    The rules are those of pathvalidate's platform "universal".
    """
    import pathvalidate  # noqa: PLC0415 - 40 ms that `--help` does not need

    if len(path.encode()) <= _SHORT_PATH and all(map(_is_portable, path.split("/"))):
        return None
    try:
        pathvalidate.validate_filepath(path, platform="universal", max_len=_MAX_PATH)
    except pathvalidate.ValidationError as error:
        return error.description or error.reason.description
    return None


@lru_cache(maxsize=1 << 16)
def _is_portable(component: str) -> bool:
    """Return whether a component is valid; those of a bundle recur, and each takes 10 microseconds."""
    import pathvalidate  # noqa: PLC0415 - 40 ms that `--help` does not need

    return pathvalidate.is_valid_filename(component, platform="universal", max_len=_MAX_COMPONENT)


def printable(name: str) -> str:
    r"""Return external text with control, bidirectional and other unprintable characters escaped.

    >>> printable("a\u202eb\n")
    'a\\u202eb\\n'
    """
    if name.isascii() and name.isprintable():
        return name
    safe = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(
        char if char.isprintable() and char not in _BIDI else char.encode("unicode_escape").decode("ascii")
        for char in safe
    )
