"""Shared libraries that a wheel may need without containing them: ``shared_libraries.toml``."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from bundler.data.tables import read_table

__all__ = ["MANYLINUX", "MUSLLINUX", "NOT_IN_SLIM"]


class _LibraryTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    manylinux: frozenset[str]
    musllinux: frozenset[str]
    not_in_slim: str


_TABLES = read_table("shared_libraries.toml", _LibraryTables)

MANYLINUX: Final = _TABLES.manylinux
"""The libraries of the manylinux policies (PEP 599 and 600)."""
MUSLLINUX: Final = _TABLES.musllinux
"""The libraries of the musllinux policies (PEP 656), without musl's own libc."""
NOT_IN_SLIM: Final = re.compile(_TABLES.not_in_slim)
"""Matches the libraries of both policies that slim images lack."""
