"""Ground: what can be wrong with a bundle, one code each, and how a finding is told.

A code never changes its meaning and is never used again. The page of each code
is its section in docs/findings.md; `bundler explain CODE` shows the same facts.

========  ==========================================================
letter    what it is about
========  ==========================================================
``M``     a bundle mounted on PYTHONPATH
``I``     imports and requirements
``U``     the user's own code
``E``     shared objects (ELF)
``B``     the base: the image or host that the bundle is mounted into
``D``     the deployment: what the image's start makes of its variables and files
========  ==========================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from bundler.data.finding_rules import Rule, Severity, rules_by_code

__all__ = ["Finding", "is_allowed", "sorted_findings"]


_ORDER = "MEIUBD"
"""What causes other findings stands before what follows from it."""
_RANK: Mapping[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was found."""

    code: str
    message: str
    """One line of fact, the names in backticks, without paths of the host."""
    distribution: str = ""
    """The normalised name of the distribution it is about; empty where there is none."""
    where: str = ""
    """A path in the bundle or in the user's code, with ``:line`` where there is one."""
    details: tuple[str, ...] = field(default=(), compare=False)
    """Further lines for the reader of an error; not for a manifest, as they may differ by host."""

    @property
    def rule(self) -> Rule:
        """The kind of finding it is."""
        return rules_by_code()[self.code]

    def to_json(self) -> dict[str, str]:
        """Return the finding as plain values."""
        return {
            "code": self.code,
            "distribution": self.distribution,
            "message": self.message,
            "severity": self.rule.severity,
            "where": self.where,
        }


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings, each once: errors first, causes first, then by code, distribution and place."""
    return tuple(
        sorted(
            set(findings),
            key=lambda one: (
                _RANK[one.rule.severity],
                _ORDER.index(one.code[0]),
                one.code,
                one.distribution,
                one.where,
                one.message,
            ),
        )
    )


def is_allowed(finding: Finding, allowed: Iterable[str]) -> bool:
    """Return whether ``--allow`` names a finding: ``CODE``, or ``CODE:DISTRIBUTION``."""
    for text in allowed:
        code, _, name = text.partition(":")
        if code.upper() == finding.code and (not name or canonicalize_name(name) == finding.distribution):
            return True
    return False
