"""The files of other tools that are passed as requirements: ``foreign_files.toml`` in this package."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatchcase

import msgspec

from bundler.data.tables import read_table

__all__ = ["ForeignFile", "ForeignTable", "foreign_file"]

_START = 4096


class ForeignFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of file, and the command that converts it."""

    what: str
    """The file, as a noun."""
    names: tuple[str, ...] = ()
    start: str = ""
    command: str = ""
    """The command of its tool that writes a file which bundler reads; empty without one.

    ``{folder}`` is the directory of the file.
    """
    then: str = ""
    """The options that read the file which `command` writes."""

    def hint(self, folder: str = ".") -> str | None:
        """Return the hint of a message; None without a command.

        :param folder: the directory of the file, as the user would write it.
        """
        command = self.command.replace("{folder}", shlex.quote(folder))
        return f"`{command}`, then pass `{self.then}`" if command else None


class ForeignTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of ``foreign_files.toml``."""

    file: tuple[ForeignFile, ...]


def foreign_file(name: str, text: str = "") -> ForeignFile | None:
    """Return the kind of a file of another tool, or None.

    :param name: the name of the file.
    :param text: the beginning of its text.

    >>> foreign_file("poetry.lock").what
    'a lockfile of Poetry'
    >>> foreign_file("requirements.txt", "six") is None
    True
    """
    table: ForeignTable = read_table("foreign_files.toml", ForeignTable)
    for kind in table.file:
        if any(fnmatchcase(name, pattern) for pattern in kind.names):
            return kind
    for kind in table.file:
        if kind.start and re.search(kind.start, text[:_START], re.MULTILINE):
            return kind
    return None
