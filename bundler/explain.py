"""Pure: why a distribution is in a bundle, and what a finding's code means.

Everything is read from the manifest; nothing is resolved or run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from bundler.errors import InputError
from bundler.findings import RULES, Rule
from bundler.manifest import Manifest
from bundler.paths import shown
from bundler.target import Target

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
    rule = RULES.get(code.upper())
    if rule is None:
        raise InputError(
            f"there is no finding `{shown(code)}`",
            evidence=(f"known   {', '.join(RULES)}",),
            hint="bundler explain I201",
        )
    return rule


def findings_of(
    manifest: Manifest, *, code: str = "", distribution: str = ""
) -> tuple[Mapping[str, Any], ...]:
    """Return the findings in a manifest, of one code or distribution where one is named."""
    found: Iterable[Mapping[str, Any]] = manifest.values["verification"]["findings"]
    return tuple(
        one
        for one in found
        if (not code or one["code"] == code.upper())
        and (not distribution or one["distribution"] == canonicalize_name(distribution))
    )


def why(manifest: Manifest, name: str) -> Why:
    """Return why a distribution is in a bundle.

    :raises InputError: if it is not in it.
    """
    wanted = canonicalize_name(name)
    present = {item["name"]: item for item in manifest.values["distributions"]}
    provided = manifest.values["base"]["provided"]
    if wanted not in present and wanted not in provided:
        raise InputError(
            f"`{shown(name)}` is not in `{manifest.name}`",
            evidence=(f"it holds  {', '.join(present)}",),
        )
    environment = Target.from_json(manifest.values["target"]).markers
    asked = list(_asked(manifest.values["requirements"], environment))
    edges = {owner: list(_asked(item["requires_dist"], environment)) for owner, item in present.items()}
    required_by = [f"you ({text})" for found, text in asked if found == wanted]
    required_by += [
        f"{owner} ({text})"
        for owner, requires in edges.items()
        for found, text in requires
        if found == wanted
    ]
    item = present.get(wanted)
    return Why(
        name=wanted,
        version=item["version"] if item else provided[wanted],
        wheel=item["wheel"] if item else "",
        chain=tuple(_chain(asked, edges, wanted)),
        required_by=tuple(dict.fromkeys(required_by)),
    )


def _asked(texts: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[NormalizedName, str]]:
    """Yield each requirement that holds on the target, by its project; those of extras do not."""
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # a path or an address without a name
        marker, requirement.marker = requirement.marker, None
        if marker is None or marker.evaluate({**environment, "extra": ""}):
            yield canonicalize_name(requirement.name), str(requirement)


def _chain(
    asked: Sequence[tuple[NormalizedName, str]],
    edges: Mapping[str, Sequence[tuple[NormalizedName, str]]],
    wanted: NormalizedName,
) -> list[str]:
    """Return the shortest way from the user's requirements, breadth first."""
    paths: dict[str, list[str]] = {}
    waiting: list[str] = []
    for name, text in asked:
        if name not in paths:
            paths[name] = [f"your requirements ask for `{text}`"]
            waiting.append(name)
    while waiting and wanted not in paths:
        owner = waiting.pop(0)
        for name, text in edges.get(owner, ()):
            if name not in paths:
                paths[name] = [*paths[owner], f"`{owner}` requires `{text}`"]
                waiting.append(name)
    return paths.get(wanted, [])
