"""Ground: findings, their order, and the exceptions that a user grants.

A code never changes its meaning and is never used again. docs/findings.md has a section
for each code; `bundler explain CODE` prints the same facts.

========  ==========================================================
letter    subject
========  ==========================================================
``M``     a bundle mounted on PYTHONPATH
``I``     imports and requirements
``U``     the user's own code
``E``     shared objects (ELF)
``B``     the base: the image or host that the bundle is mounted into
``D``     the deployment: the variables and files that the start of the image reads
``W``     wheels: their form, and the paths that they install
========  ==========================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from bundler.data.finding_rules import Rule, Severity, rules_by_code
from bundler.target.target import Target

__all__ = ["NOT_IMPORTED", "Finding", "is_allowed", "not_imported", "sorted_findings"]

NOT_IMPORTED = "I212"
"""The code of a bundle whose modules were not imported."""

_ORDER = "MWEIUBD"
"""The letters, causes before consequences: a mount that hides a module makes imports fail."""
_NAMES = re.compile(r"(?<=[ :])(NAME|MODULE)(?=`)")
_RANK: Mapping[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One fault or fact that a check reports."""

    code: str
    message: str
    """The fact in one line, names in backticks, without paths of the host."""
    distribution: str = ""
    """The normalized name of the distribution; empty if the finding is not about one."""
    where: str = ""
    """A path in the bundle or in the user's code, with ``:line`` if known; or a module."""
    details: tuple[str, ...] = field(default=(), compare=False)
    """Further lines for the message of an error; never in a manifest, as they may differ by host."""
    fix: str = field(default="", compare=False)
    """The remedy in this case, one line; empty if the one of the rule applies."""

    @property
    def rule(self) -> Rule:
        """The rule of its code: severity, title, text and fix."""
        return rules_by_code()[self.code]

    @property
    def remedy(self) -> str:
        """The remedy, with the distribution and the module of this finding for ``NAME`` and ``MODULE``."""
        names = {"NAME": self.distribution, "MODULE": self.where}
        return self.fix or _NAMES.sub(lambda match: names[match[1]] or match[1], self.rule.fix)

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
    """Return the findings without duplicates, by severity, letter, code, distribution and place."""
    return tuple(
        sorted(
            set(findings),
            key=lambda finding: (
                _RANK[finding.rule.severity],
                _ORDER.index(finding.code[0]),
                finding.code,
                finding.distribution,
                finding.where,
                finding.message,
            ),
        )
    )


def not_imported(target: Target) -> tuple[Finding, ...]:
    """Return the finding about a bundle whose modules cannot be imported here."""
    message = f"static checks only: no module was imported, {target.name} does not run on the build host"
    return (Finding(code=NOT_IMPORTED, message=message),)


def is_allowed(finding: Finding, allowed: Iterable[str]) -> bool:
    """Return whether an ``--allow`` value covers a finding: ``CODE`` or ``CODE:DISTRIBUTION``."""
    for text in allowed:
        code, _, name = text.partition(":")
        if code.upper() == finding.code and (not name or canonicalize_name(name) == finding.distribution):
            return True
    return False
