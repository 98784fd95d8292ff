"""Pure: why a distribution is in a bundle, and the meaning of a finding's code.

The manifest is the only input; nothing is resolved or run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from bundler.bundle.document import FindingSection
from bundler.bundle.manifest import Manifest
from bundler.checks.dependencies import named_requirements, requirement_chain, requirement_edges
from bundler.data.finding_rules import Rule, rules_by_code
from bundler.errors import InputError
from bundler.paths import printable
from bundler.problems import closest

__all__ = ["Why", "findings_of", "is_code", "rule_of", "similar_codes", "why"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """Why a distribution is in a bundle."""

    name: str
    version: str
    wheel: str
    """The file name of its wheel; empty if the base provides the distribution."""
    chain: tuple[str, ...]
    """The shortest chain of requirements from the user's to it, one sentence for each step."""
    required_by: tuple[str, ...]
    """The distributions that require it, each with the requirement; "you" for the user."""

    def to_json(self) -> dict[str, Any]:
        """Return the reasons as plain values."""
        return {
            "name": self.name,
            "version": self.version,
            "wheel": self.wheel,
            "chain": list(self.chain),
            "required_by": list(self.required_by),
        }


def is_code(text: str) -> bool:
    """Return whether a text has the form of a finding code: a letter and three digits."""
    return len(text) == 4 and text[0].isalpha() and text[1:].isdigit()  # noqa: PLR2004 - a letter, three digits


def rule_of(code: str) -> Rule:
    """Return the rule of a finding code, upper or lower case.

    :raises InputError: if no finding has this code; lists the codes.
    """
    rule = rules_by_code().get(code.upper())
    if rule is None:
        near = similar_codes(code)
        raise InputError(
            f"`{printable(code)}` is not a finding code",
            evidence=(f"known   {', '.join(near)}",) if near else (),
            hint=f"bundler explain {near[0]}" if near else "bundler explain",
        )
    return rule


def similar_codes(code: str) -> list[str]:
    """Return the codes with the same letter, the most similar one first.

    >>> similar_codes("i299")[0], similar_codes("?")
    ('I209', [])
    >>> similar_codes("201"), similar_codes("i-201")[0]
    (['I201'], 'I201')
    """
    text = "".join(filter(str.isalnum, code.upper()))
    codes = [known for known in rules_by_code() if text[:1] == known[:1]]
    if text.isdigit():  # the letter is missing
        codes = [known for known in rules_by_code() if known.endswith(text)]
    near = next((known for known in codes if known.startswith(text)), None) or closest(
        text, codes, cutoff=0.5
    )
    return sorted(codes, key=lambda known: (known != near, known))


def findings_of(manifest: Manifest, *, code: str = "", distribution: str = "") -> tuple[FindingSection, ...]:
    """Return the findings in a manifest, of one code or distribution if given."""
    return tuple(
        finding
        for finding in manifest.document.verification.findings
        if (not code or finding.code == code.upper())
        and (not distribution or finding.distribution == canonicalize_name(distribution))
    )


def why(manifest: Manifest, name: str) -> Why:
    """Return why a distribution is in a bundle, or is left to the base.

    :param name: of the distribution, or of a top-level module of it.
    :raises InputError: if it is neither; lists the distributions in the bundle.
    """
    wanted = canonicalize_name(name)
    present = {item.name: item for item in manifest.document.distributions}
    provided = manifest.document.base.provided
    if wanted not in present and wanted not in provided:
        wanted = NormalizedName(_owner_of(manifest, name) or wanted)
    if wanted not in present and wanted not in provided:
        raise InputError(
            f"`{printable(name)}` is not in `{manifest.name}`",
            evidence=(f"found   {', '.join(present)}",),
        )
    asked, edges = requirements_in(manifest)
    required_by = [
        f"you ({requirement})" for requirement in asked if canonicalize_name(requirement.name) == wanted
    ]
    required_by += [
        f"{owner} ({requirement})"
        for owner, requires in edges.items()
        for requirement in requires
        if canonicalize_name(requirement.name) == wanted
    ]
    item = present.get(wanted)
    return Why(
        name=wanted,
        version=item.version if item else provided[wanted],
        wheel=item.wheel if item else "",
        chain=requirement_chain(asked, edges, wanted),
        required_by=tuple(dict.fromkeys(required_by)),
    )


def requirements_in(
    manifest: Manifest,
) -> tuple[tuple[Requirement, ...], dict[NormalizedName, tuple[Requirement, ...]]]:
    """Return the user's requirements, and those of each distribution, that apply on the target."""
    declared = {
        NormalizedName(item.name): named_requirements(item.requires_dist)
        for item in manifest.document.distributions
    }
    roots = named_requirements(manifest.document.requirements)
    return requirement_edges(declared, roots, manifest.target.markers)


def _owner_of(manifest: Manifest, module: str) -> str:
    """Return the distribution in a bundle that installs a top-level module; empty if none does."""
    stem = f"{manifest.target.site_packages}/{module}"
    return next((file.owner for file in manifest.files if file.path.startswith((f"{stem}/", f"{stem}."))), "")
