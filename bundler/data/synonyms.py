"""Words of other tools for the commands and options of bundler: ``synonyms.toml`` in this package."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bundler.data.tables import read_table

__all__ = ["Synonyms", "read_synonyms"]

_Names = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class Synonyms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of ``synonyms.toml``."""

    commands: dict[str, _Names]
    options: dict[str, _Names]
    variables: dict[str, str]
    choices: dict[str, dict[str, str]]
    absent: dict[str, str]


def read_synonyms() -> Synonyms:
    """Return the table.

    >>> read_synonyms().commands["install"], read_synonyms().options["--python-version"]
    (('build',), ('--python',))
    """
    table: Synonyms = read_table("synonyms.toml", Synonyms)
    return table
