"""Shared libraries that a wheel may need without containing them: ``shared_libraries.toml``."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from bundler.data.tables import read_table

__all__ = ["AUDITWHEEL", "MANYLINUX", "MUSLLINUX", "NOT_IN_SLIM"]

_Soname = Annotated[str, msgspec.Meta(pattern=r"^lib[A-Za-z0-9_.+-]+\.so(\.[0-9]+)*$")]


class _LibraryTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    auditwheel: str
    manylinux_policy: str
    musllinux_policy: str
    manylinux: frozenset[_Soname]
    musllinux: frozenset[_Soname]
    not_in_slim: str


_TABLES = read_table("shared_libraries.toml", _LibraryTables)

AUDITWHEEL: Final = _TABLES.auditwheel
"""The release of auditwheel that contains the lists."""
MANYLINUX: Final = _TABLES.manylinux
"""The libraries of the manylinux policies (PEP 599 and 600)."""
MUSLLINUX: Final = _TABLES.musllinux
"""The libraries of the musllinux policies (PEP 656)."""
NOT_IN_SLIM: Final = re.compile(_TABLES.not_in_slim)
"""Matches the libraries of both policies that slim images lack."""
