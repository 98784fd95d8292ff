"""Ground: the paths a bundle may hold, and the one way to make one.

Containment is decided here and by the directory descriptors of `unpack`;
pathvalidate is the second, portability layer (it accepts ``../x``, so it is no
guard against traversal) and its findings are notes, not errors.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NewType

__all__ = ["ArchivePath", "UnsafePathError", "archive_path", "find_collision", "portability_note", "shown"]

ArchivePath = NewType("ArchivePath", str)
"""A relative path in canonical form, ``/`` between its components; made by `archive_path` alone."""

_MAX_COMPONENT = 255
_MAX_PATH = 4096
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_DRIVE = re.compile(r"[A-Za-z]:")


class UnsafePathError(ValueError):
    """A name that may not become a path; its text says why, without the name."""


def archive_path(name: str) -> ArchivePath:
    """Return ``name`` as a path that stays below the folder it is joined to.

    :raises UnsafePathError: if it is absolute, has a drive, a backslash, a
        component that is empty, ``.`` or ``..``, a control or bidirectional
        character, a lone surrogate, or is longer than Linux can hold
        (255 bytes a component, 4096 in all).

    >>> archive_path("pkg/__init__.py")
    'pkg/__init__.py'
    """
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnsafePathError("it is not valid UTF-8") from error
    if not name:
        raise UnsafePathError("it is empty")
    if "\\" in name:
        raise UnsafePathError("it holds a backslash")
    if name.startswith("/"):
        raise UnsafePathError("it is absolute")
    if _DRIVE.match(name):
        raise UnsafePathError("it names a drive")
    if any(unicodedata.category(char) == "Cc" or char in _BIDI for char in name):
        raise UnsafePathError("it holds a control or bidirectional character")
    if len(encoded) > _MAX_PATH:
        raise UnsafePathError(f"it is longer than {_MAX_PATH} bytes")
    for component in name.split("/"):
        if component in ("", ".", ".."):
            raise UnsafePathError(f"its component `{component}` is not allowed")
        if len(component.encode("utf-8")) > _MAX_COMPONENT:
            raise UnsafePathError(f"a component is longer than {_MAX_COMPONENT} bytes")
    return ArchivePath(name)


def find_collision(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two different names that some file system takes for one.

    Names are compared after NFC and case folding, as macOS and Windows do,
    component by component, so that ``A/x`` and ``a/y`` collide too.
    """
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        for end in range(1, len(parts) + 1):
            prefix = "/".join(parts[:end])
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", prefix).casefold())
            first = seen.setdefault(folded, prefix)
            if first != prefix:
                return first, prefix
    return None


def portability_note(path: ArchivePath) -> str | None:
    """Return why ``path`` cannot exist on some operating system, or None (pathvalidate, "universal")."""
    import pathvalidate  # noqa: PLC0415 - 40 ms that `--help` does not need

    try:
        pathvalidate.validate_filepath(path, platform="universal", max_len=_MAX_PATH)
    except pathvalidate.ValidationError as error:
        return error.description or error.reason.description
    return None


def shown(name: str) -> str:
    """Return a name from outside as text that cannot disturb a terminal.

    >>> shown("a\\u202eb\\n")
    'a\\\\u202eb\\\\n'
    """
    safe = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(
        char if char.isprintable() and char not in _BIDI else char.encode("unicode_escape").decode("ascii")
        for char in safe
    )
