"""The kinds of findings, one code each: ``findings.toml`` in this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec

from bundler.data.tables import read_table

__all__ = ["RULES_TABLE", "Rule", "Severity", "rules_by_code"]

Severity = Literal["error", "warning", "note"]
"""An error fails the build, a warning is shown, a note is only in the manifest."""

Code = Annotated[str, msgspec.Meta(pattern="^[MIUEBDW][0-9]{3}$")]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    severity: Severity
    title: Annotated[str, msgspec.Meta(pattern=r"^[^\n]+[^\n.]$")]
    text: Annotated[str, msgspec.Meta(min_length=1)]
    fix: Annotated[str, msgspec.Meta(pattern=r"^[^\n]+[^\n.]$")]


RULES_TABLE = dict[Code, _Entry]
"""The shape of ``findings.toml``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One kind of finding."""

    code: str
    title: str
    """The fault in a few words, lower case."""
    severity: Severity
    text: str
    """Its meaning and cause, Markdown, one or more paragraphs."""
    fix: str
    """The remedy, one line."""


@cache
def rules_by_code() -> Mapping[str, Rule]:
    """Return the rules by code, in the order of the file."""
    entries = read_table("findings.toml", RULES_TABLE)
    return MappingProxyType(
        {
            code: Rule(
                code=code,
                title=entry.title,
                severity=entry.severity,
                text=entry.text.rstrip("\n"),
                fix=entry.fix,
            )
            for code, entry in entries.items()
        }
    )
