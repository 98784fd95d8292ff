"""Stage 5, pure: are the requirements of every distribution met?

The question is that of ``pip check``, which ignores extras; here the requirements of a
requested extra count too.

Specs: dependency specifiers (PEP 508): ``extras`` and environment markers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.checks.modules import DistributionFacts
from bundler.redaction import redact

__all__ = [
    "RequirementWalk",
    "Unmet",
    "applies",
    "meets",
    "named_requirements",
    "reached_from",
    "requested_extras",
    "requirement_chain",
    "requirement_edges",
    "unasked_extras",
    "unmet_requirements",
    "walk_requirements",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unmet:
    """A requirement that no distribution in the bundle satisfies."""

    distribution: NormalizedName | None
    """The distribution that declares it; None for the user's own requirements."""
    requirement: str
    found: str | None
    """The version in the bundle, which the specifier excludes; None if the distribution is missing."""


def unmet_requirements(
    distributions: Iterable[DistributionFacts], roots: Iterable[Requirement], environment: Mapping[str, str]
) -> tuple[Unmet, ...]:
    """Return the unmet requirements: ``roots`` first, then by name of the requiring distribution.

    Requirements whose marker is false on the target, and those of extras that are not
    requested, do not count. A pre-release satisfies a specifier that contains its version:
    the resolver has already decided to use it.

    :param roots: the user's requirements; they may request extras.
    :param environment: the marker environment of the target, complete; no value comes from the host.
    """
    present = {facts.name: facts for facts in distributions}
    roots = tuple(roots)
    extras = requested_extras(_requirements_of(present), roots, environment)
    wanted: list[tuple[NormalizedName | None, Requirement]] = [
        (None, requirement) for requirement in roots if applies(requirement, (), environment)
    ]
    for name, facts in sorted(present.items()):
        wanted += [
            (name, requirement)
            for requirement in facts.requires_dist
            if applies(requirement, extras[name], environment)
        ]
    unmet = []
    for owner, requirement in wanted:
        provider = present.get(canonicalize_name(requirement.name))
        if provider is None or not meets(requirement, provider.version):
            version = str(provider.version) if provider is not None else None
            unmet.append(Unmet(distribution=owner, requirement=redact(str(requirement)), found=version))
    return tuple(dict.fromkeys(unmet))


def unasked_extras(
    distributions: Iterable[DistributionFacts], roots: Iterable[Requirement], environment: Mapping[str, str]
) -> dict[NormalizedName, frozenset[NormalizedName]]:
    """Return, for each distribution, the projects it requires only under conditions that do not hold.

    These are the requirements of extras that are not requested, and of markers that are
    false on the target.
    """
    present = {facts.name: facts for facts in distributions}
    extras = requested_extras(_requirements_of(present), roots, environment)
    return {
        name: frozenset(
            canonicalize_name(requirement.name)
            for requirement in facts.requires_dist
            if not applies(requirement, extras[name], environment)
        )
        for name, facts in present.items()
    }


def _requirements_of(
    present: Mapping[NormalizedName, DistributionFacts],
) -> dict[NormalizedName, tuple[Requirement, ...]]:
    return {name: facts.requires_dist for name, facts in present.items()}


def named_requirements(texts: Iterable[str]) -> list[Requirement]:
    """Return the requirements that name a project; a bare path or URL names none and is left out."""
    requirements = []
    for text in texts:
        with suppress(InvalidRequirement):
            requirements.append(Requirement(text))
    return requirements


# --- the graph of requirements --------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementWalk:
    """The part of a requirement graph that some requirements reach."""

    extras: Mapping[NormalizedName, frozenset[str]]
    """The requested extras, normalized, of each distribution that was reached."""
    demands: Mapping[NormalizedName, Sequence[Requirement]]
    """The requirements on each distribution that was reached; one may occur more than once."""


def walk_requirements(
    start: Iterable[Requirement],
    requires: Callable[[NormalizedName, Collection[str]], Iterable[Requirement]],
) -> RequirementWalk:
    """Follow requirements transitively, with the extras that they request.

    PEP 508 makes an extra a condition of a marker, not a distribution: ``a[x]`` and ``a[y]``
    are one node, whose edges are those of both extras. So the extras of a node grow while
    the graph is walked, and a node is expanded again whenever they do; a requirement that
    requests nothing new of a known node is not followed. Extras only ever grow and are
    finitely many, so the walk ends, also on cycles such as ``a[all]`` requiring ``a[x]``;
    and the result does not depend on the order.

    :param start: the requirements to start from; their markers hold already.
    :param requires: returns the requirements of a distribution that apply with these extras;
        none for a name it does not know.
    """
    extras: dict[NormalizedName, frozenset[str]] = {}
    demands: dict[NormalizedName, list[Requirement]] = {}
    waiting = list(start)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        demands.setdefault(name, []).append(requirement)
        # PEP 685: extras are compared in their normalized form.
        requested = frozenset(canonicalize_name(extra) for extra in requirement.extras)
        if name in extras and requested <= extras[name]:
            continue
        extras[name] = extras.get(name, frozenset()) | requested
        waiting += requires(name, extras[name])
    return RequirementWalk(extras=extras, demands=demands)


def requested_extras(
    requires_dist: Mapping[NormalizedName, Sequence[Requirement]],
    roots: Iterable[Requirement],
    environment: Mapping[str, str],
) -> dict[NormalizedName, frozenset[str]]:
    """Return the extras of each distribution that a requirement requests, directly or through extras.

    The walk starts at every distribution, not only at the roots: a distribution is in the
    set even if no root leads to it, and then its requirements count as well.

    :param requires_dist: the Requires-Dist of every distribution of the set.
    """

    def requires(name: NormalizedName, extras: Collection[str]) -> list[Requirement]:
        declared = requires_dist.get(name, ())
        return [requirement for requirement in declared if applies(requirement, extras, environment)]

    start = [requirement for requirement in roots if applies(requirement, (), environment)]
    for name in requires_dist:
        start += requires(name, ())
    walk = walk_requirements(start, requires)
    return {name: walk.extras.get(name, frozenset()) for name in requires_dist}


def requirement_edges(
    requires_dist: Mapping[NormalizedName, Sequence[Requirement]],
    roots: Iterable[Requirement],
    environment: Mapping[str, str],
) -> tuple[tuple[Requirement, ...], dict[NormalizedName, tuple[Requirement, ...]]]:
    """Return the user's requirements, and those of each distribution, that apply on the target.

    They have no markers: these hold, so they explain nothing.
    """
    roots = tuple(roots)
    extras = requested_extras(requires_dist, roots, environment)
    edges = {
        name: tuple(_without_marker(item) for item in requires if applies(item, extras[name], environment))
        for name, requires in requires_dist.items()
    }
    return tuple(_without_marker(root) for root in roots if applies(root, (), environment)), edges


def _without_marker(requirement: Requirement) -> Requirement:
    bare = Requirement(str(requirement))
    bare.marker = None
    return bare


def reached_from(starts: Iterable[str], edges: Mapping[Any, Iterable[str]]) -> set[str]:
    """Return the nodes of a graph that are reached from others, these included.

    :param edges: the next nodes of each; a node without any may be absent.
    """
    reached: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += edges.get(name, ())
    return reached


def requirement_chain(
    asked: Sequence[Requirement],
    edges: Mapping[NormalizedName, Sequence[Requirement]],
    wanted: NormalizedName,
) -> tuple[str, ...]:
    """Return the shortest chain of requirements from the user's to a distribution, one sentence each.

    Breadth first, so that the first chain found is a shortest one; empty if there is none.
    """
    paths: dict[NormalizedName, list[str]] = {}
    waiting: list[NormalizedName] = []
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        if name not in paths:
            paths[name] = [f"your requirements ask for `{requirement}`"]
            waiting.append(name)
    while waiting and wanted not in paths:
        owner = waiting.pop(0)
        for requirement in edges.get(owner, ()):
            name = canonicalize_name(requirement.name)
            if name not in paths:
                paths[name] = [*paths[owner], f"`{owner}` requires `{requirement}`"]
                waiting.append(name)
    return tuple(paths.get(wanted, ()))


def applies(requirement: Requirement, extras: Collection[str], environment: Mapping[str, str]) -> bool:
    """Return whether the marker of a requirement holds, with these extras requested.

    PEP 508 evaluates a marker for one value of ``extra`` at a time; the requirement applies
    if it holds for any requested extra, or for none (the empty string).
    """
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**environment, "extra": extra}) for extra in ("", *sorted(extras))
    )


def meets(requirement: Requirement, version: Version) -> bool:
    """Return whether a version satisfies the specifier; a pre-release does if its version is contained."""
    return requirement.specifier.contains(version, prereleases=True)
