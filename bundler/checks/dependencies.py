"""Stage 5, pure: are the requirements of every distribution met?

As ``pip check`` asks, but extras that a requirement names count.

Specs: PEP 508 (requirements).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.checks.modules import DistributionFacts
from bundler.redaction import redact

__all__ = ["Unmet", "applies", "unasked_extras", "unmet_requirements"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unmet:
    """A requirement that the bundle does not meet."""

    distribution: NormalizedName | None
    """Whose it is; None stands for the user's own requirements."""
    requirement: str
    found: str | None
    """The version that is there, or None."""


def unmet_requirements(
    distributions: Iterable[DistributionFacts], roots: Iterable[Requirement], environment: Mapping[str, str]
) -> tuple[Unmet, ...]:
    """Return the requirements that are not met, in the order of the distributions' names, ``roots`` first.

    A requirement whose marker is false on the target, or that belongs to an
    extra nobody asked for, is no requirement. A pre-release that is there meets
    a specifier that allows its version.

    :param roots: what the user asked for; they may ask for extras, too.
    :param environment: every marker of the target; nothing of the host is used.
    """
    present = {facts.name: facts for facts in distributions}
    roots = tuple(roots)
    extras = _requested_extras(present, roots, environment)
    wanted: list[tuple[NormalizedName | None, Requirement]] = [
        (None, requirement) for requirement in roots if applies(requirement, frozenset(), environment)
    ]
    for name, facts in sorted(present.items()):
        wanted += [(name, one) for one in facts.requires_dist if applies(one, extras[name], environment)]
    unmet = []
    for owner, requirement in wanted:
        found = present.get(canonicalize_name(requirement.name))
        if found is None or not requirement.specifier.contains(found.version, prereleases=True):
            version = str(found.version) if found is not None else None
            unmet.append(Unmet(distribution=owner, requirement=redact(str(requirement)), found=version))
    return tuple(dict.fromkeys(unmet))


def _requested_extras(
    present: Mapping[NormalizedName, DistributionFacts],
    roots: Iterable[Requirement],
    environment: Mapping[str, str],
) -> dict[NormalizedName, frozenset[str]]:
    """Return the extras of each distribution that somebody asks for, directly or through other extras."""
    extras: dict[NormalizedName, frozenset[str]] = dict.fromkeys(present, frozenset())
    waiting = [one for one in roots if applies(one, frozenset(), environment)]
    for facts in present.values():
        waiting += [one for one in facts.requires_dist if applies(one, frozenset(), environment)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        more = frozenset(canonicalize_name(extra) for extra in requirement.extras)
        if name in present and not more <= extras[name]:
            extras[name] |= more
            waiting += [one for one in present[name].requires_dist if applies(one, extras[name], environment)]
    return extras


def unasked_extras(
    distributions: Iterable[DistributionFacts], roots: Iterable[Requirement], environment: Mapping[str, str]
) -> dict[NormalizedName, frozenset[NormalizedName]]:
    """Return, for each distribution, the projects it would require under conditions that do not hold.

    Those of extras that nobody asked for, and of markers that are false on the target.
    """
    present = {facts.name: facts for facts in distributions}
    extras = _requested_extras(present, roots, environment)
    return {
        name: frozenset(
            canonicalize_name(one.name)
            for one in facts.requires_dist
            if not applies(one, extras[name], environment)
        )
        for name, facts in present.items()
    }


def applies(requirement: Requirement, extras: Collection[str], environment: Mapping[str, str]) -> bool:
    """Return whether a requirement holds in an environment, with some extras asked for."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**environment, "extra": extra}) for extra in ("", *sorted(extras))
    )


def meets(requirement: Requirement, version: Version) -> bool:
    return requirement.specifier.contains(version, prereleases=True)
