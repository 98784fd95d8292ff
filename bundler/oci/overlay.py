"""Paths in layers, and whiteouts: which paths of lower layers an upper layer hides.

Specs: OCI image specification 1.1, "Image Layer Filesystem Changeset" (whiteouts,
opaque whiteouts).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundler.errors import MalformedError
from bundler.paths import printable

__all__ = ["OPAQUE", "WHITEOUT", "Whiteouts", "ancestors", "entry_path"]


WHITEOUT = ".wh."
"""Prefix of the name of an entry that hides a path of the layers below."""
OPAQUE = ".wh..wh..opq"
"""Name of the entry that hides all content of its directory in the layers below."""


def entry_path(name: str) -> str:
    """Return the path of a layer's entry, relative to the root; the root is "".

    :raises MalformedError: if it leads outside of the root; no container engine writes such a layer.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise MalformedError(
            "a layer contains a path outside of its root", evidence=(f"found   {printable(name)}",)
        )
    return "/".join(parts)


def ancestors(path: str) -> Iterator[str]:
    """Yield the directories above a path, the nearest first, the root "" last."""
    while path:
        path = posixpath.dirname(path)
        yield path


class Whiteouts:
    """The paths of lower layers that one layer hides.

    A whiteout hides paths of the layers below alone, wherever it is among the
    entries of its own layer. So a whole layer is collected before it is applied.
    """

    def __init__(self) -> None:
        self._removed: set[str] = set()
        self._opaque: set[str] = set()

    def add(self, path: str) -> bool:
        """Record the whiteout that an entry is, and return whether it is one.

        :param path: of the entry, as `entry_path` returns it.
        """
        directory, name = posixpath.split(path)
        if name == OPAQUE:
            self._opaque.add(directory)
        elif name.startswith(WHITEOUT):
            self._removed.add(posixpath.join(directory, name.removeprefix(WHITEOUT)))
        else:
            return False
        return True

    def replace(self, path: str) -> None:
        """Record that an entry takes the place of a path and of everything below it."""
        self._removed.add(path)

    def hides(self, path: str, *, is_directory: bool = False) -> bool:
        """Return whether a path of a lower layer is hidden.

        :param is_directory: an opaque whiteout empties a directory and keeps the directory
            itself, but it replaces anything else of that name.
        """
        if path in self._removed or (path in self._opaque and not is_directory):
            return True
        return any(above in self._removed or above in self._opaque for above in ancestors(path))
