"""The known code of ``.pth`` files, which Python runs at its start: ``pth_lines.toml`` in this package."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

import msgspec

from bundler.data.tables import read_table

__all__ = ["KnownTable", "is_known"]


class _KnownCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    distribution: str
    source: Annotated[str, msgspec.Meta(min_length=1)]
    statements: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class KnownTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of ``pth_lines.toml``."""

    known: tuple[_KnownCode, ...]


def is_known(distribution: str, lines: Iterable[str]) -> bool:
    """Return whether each line of code in a ``.pth`` file of a distribution is known, by its whole text.

    :param distribution: its normalized name.

    >>> is_known("setuptools", ["import os; var = 'SETUPTOOLS_USE_DISTUTILS'"])
    True
    >>> is_known("other", ["import os; var = 'SETUPTOOLS_USE_DISTUTILS'"])
    False
    """
    known = read_table("pth_lines.toml", KnownTable).known
    entries = [entry for entry in known if entry.distribution in ("", distribution)]
    return all(any(_matches(entry, line) for entry in entries) for line in lines)


def _matches(entry: _KnownCode, line: str) -> bool:
    statements = filter(None, map(str.strip, line.split(";")))
    return all(
        any(re.fullmatch(pattern, statement, re.ASCII) for pattern in entry.statements)
        for statement in statements
    )
