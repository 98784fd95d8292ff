"""Pure: why a distribution is in a bundle, and what a finding's code means.

Everything is read from the manifest; nothing is resolved or run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from bundler.bundle.document import FindingSection
from bundler.bundle.manifest import Manifest
from bundler.data.finding_rules import Rule, rules_by_code
from bundler.errors import InputError
from bundler.paths import printable

__all__ = ["Why", "findings_of", "is_code", "rule_of", "why"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """Why a distribution is in a bundle."""

    name: str
    version: str
    wheel: str
    """What it was made from; empty where the bundle leaves it to the base."""
    chain: tuple[str, ...]
    """The shortest way to it from what the user asked for, one sentence a step."""
    required_by: tuple[str, ...]
    """Everybody who requires it, with the requirement."""

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
    """Return whether a word has the form of a finding's code."""
    return len(text) == 4 and text[0].isalpha() and text[1:].isdigit()  # noqa: PLR2004 - a letter, three digits


def rule_of(code: str) -> Rule:
    """Return the kind of finding that a code names.

    :raises InputError: if there is none.
    """
    rule = rules_by_code().get(code.upper())
    if rule is None:
        raise InputError(
            f"there is no finding `{printable(code)}`",
            evidence=(f"known   {', '.join(rules_by_code())}",),
            hint="bundler explain I201",
        )
    return rule


def findings_of(manifest: Manifest, *, code: str = "", distribution: str = "") -> tuple[FindingSection, ...]:
    """Return the findings in a manifest, of one code or distribution where one is named."""
    return tuple(
        finding
        for finding in manifest.document.verification.findings
        if (not code or finding.code == code.upper())
        and (not distribution or finding.distribution == canonicalize_name(distribution))
    )


def why(manifest: Manifest, name: str) -> Why:
    """Return why a distribution is in a bundle.

    :raises InputError: if it is not in it.
    """
    wanted = canonicalize_name(name)
    present = {item.name: item for item in manifest.document.distributions}
    provided = manifest.document.base.provided
    if wanted not in present and wanted not in provided:
        raise InputError(
            f"`{printable(name)}` is not in `{manifest.name}`",
            evidence=(f"it holds  {', '.join(present)}",),
        )
    environment = manifest.target.markers
    asked = list(_asked(manifest.document.requirements, environment))
    texts = {owner: item.requires_dist for owner, item in present.items()}
    edges = _edges(asked, texts, environment)
    required_by = [f"you ({one})" for one in asked if canonicalize_name(one.name) == wanted]
    required_by += [
        f"{owner} ({one})"
        for owner, requires in edges.items()
        for one in requires
        if canonicalize_name(one.name) == wanted
    ]
    item = present.get(wanted)
    return Why(
        name=wanted,
        version=item.version if item else provided[wanted],
        wheel=item.wheel if item else "",
        chain=tuple(_chain(asked, edges, wanted)),
        required_by=tuple(dict.fromkeys(required_by)),
    )


def _asked(
    texts: Sequence[str], environment: Mapping[str, str], extras: Collection[str] = ()
) -> Iterator[Requirement]:
    """Yield each requirement that holds on the target with some extras, without its marker."""
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # a path or an address without a name
        marker, requirement.marker = requirement.marker, None
        given = ("", *extras)
        if marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in given):
            yield requirement


def _edges(
    asked: Sequence[Requirement], texts: Mapping[str, Sequence[str]], environment: Mapping[str, str]
) -> dict[str, list[Requirement]]:
    """Return what each distribution requires, with the extras that somebody asks for."""
    edges = {owner: list(_asked(requires, environment)) for owner, requires in texts.items()}
    extras: dict[str, set[str]] = {owner: set() for owner in texts}
    waiting = [*asked, *(one for requires in edges.values() for one in requires)]
    while waiting:
        one = waiting.pop()
        name, more = canonicalize_name(one.name), set(one.extras)
        if name in extras and not more <= extras[name]:
            extras[name] |= more
            edges[name] = list(_asked(texts[name], environment, sorted(extras[name])))
            waiting += edges[name]
    return edges


def _chain(
    asked: Sequence[Requirement], edges: Mapping[str, Sequence[Requirement]], wanted: NormalizedName
) -> list[str]:
    """Return the shortest way from the user's requirements, breadth first."""
    paths: dict[str, list[str]] = {}
    waiting: list[str] = []
    for one in asked:
        name = canonicalize_name(one.name)
        if name not in paths:
            paths[name] = [f"your requirements ask for `{one}`"]
            waiting.append(name)
    while waiting and wanted not in paths:
        owner = waiting.pop(0)
        for one in edges.get(owner, ()):
            name = canonicalize_name(one.name)
            if name not in paths:
                paths[name] = [*paths[owner], f"`{owner}` requires `{one}`"]
                waiting.append(name)
    return paths.get(wanted, [])
