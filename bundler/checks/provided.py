"""Stage 5, pure: which distributions the base can provide instead of the bundle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.base_image.profile import BaseDistribution, BaseProfile
from bundler.checks.dependencies import applies, meets

__all__ = ["NOTHING_PROVIDED", "ProvidedByBase", "plan_provided"]


NONE_PROVIDED: Mapping[NormalizedName, Version] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvidedByBase:
    """What a bundle leaves out because the base has it."""

    provided: Mapping[NormalizedName, Version]
    """What the base has to have, and in which version."""
    unneeded: frozenset[NormalizedName]
    """What only the omitted ones require and the base does not have: its copies bring their own."""

    def has(self, name: NormalizedName) -> bool:
        """Return whether a distribution does not ship."""
        return name in self.provided or name in self.unneeded


NOTHING_PROVIDED = ProvidedByBase(provided=NONE_PROVIDED, unneeded=frozenset())


def plan_provided(
    base: BaseProfile,
    roots: Sequence[Requirement],
    facts_requires: Mapping[NormalizedName, tuple[Requirement, ...]],
    markers: Mapping[str, str],
    *,
    versions: Mapping[NormalizedName, Version] = NONE_PROVIDED,
) -> ProvidedByBase:
    """Return the greatest set of locked distributions that the base can stand in for.

    The base's version of each meets every requirement of the roots and of what
    stays, extras included. It starts from all that the base has, and what fails stays, which
    may make more fail, until nothing does.

    :param facts_requires: the Requires-Dist of every locked distribution.
    :param markers: the target's PEP 508 environment.
    :param versions: the locked versions; where they are given, the base's copy is
        no stand-in either if what stays contradicts what that copy requires.
    """
    out: set[NormalizedName] = set(facts_requires) & set(base.distributions)
    while True:
        kept, demands = _reach(base, roots, facts_requires, markers, out)
        failing = {
            name
            for name in out
            if not all(_stands_in(base, one, set(facts_requires), markers) for one in demands[name])
            or (demands[name] and _contradicted(base, name, kept, versions, markers))
        }
        if not failing:
            break
        out -= failing
    return ProvidedByBase(
        provided=MappingProxyType({name: base.distributions[name].version for name in sorted(out)}),
        unneeded=frozenset(set(facts_requires) - out - kept),
    )


def _reach(
    base: BaseProfile,
    roots: Sequence[Requirement],
    facts_requires: Mapping[NormalizedName, tuple[Requirement, ...]],
    markers: Mapping[str, str],
    out: AbstractSet[NormalizedName],
) -> tuple[set[NormalizedName], dict[NormalizedName, list[Requirement]]]:
    """Return what stays, reached from the roots but not through ``out``, and what is asked of each."""
    extras: dict[NormalizedName, set[str]] = {}
    demands: dict[NormalizedName, list[Requirement]] = defaultdict(list)
    waiting = [one for one in roots if applies(one, (), markers)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        demands[name].append(requirement)
        asked = {canonicalize_name(extra) for extra in requirement.extras}
        if name in extras and asked <= extras[name]:
            continue
        known = extras.setdefault(name, set())
        known |= asked
        if name in out:
            # The base's copy brings what it requires itself, but perhaps not its extras.
            waiting += _of_extras(base.distributions[name], known, markers)
        else:
            waiting += [one for one in facts_requires.get(name, ()) if applies(one, known, markers)]
    return {name for name in demands if name in facts_requires and name not in out}, demands


def _of_extras(
    distribution: BaseDistribution, extras: AbstractSet[str], markers: Mapping[str, str]
) -> Iterator[Requirement]:
    for requirement in distribution.requires:
        if not applies(requirement, (), markers) and applies(requirement, extras, markers):
            yield requirement


def _stands_in(
    base: BaseProfile,
    requirement: Requirement,
    locked: AbstractSet[NormalizedName],
    markers: Mapping[str, str],
) -> bool:
    """Return whether the base's copy meets a requirement, and the extras that it asks for."""
    there = base.distributions[canonicalize_name(requirement.name)]
    if requirement.url is not None or not meets(requirement, there.version):
        return False
    if not requirement.extras:
        return True
    extras = {canonicalize_name(extra) for extra in requirement.extras}
    return base.requires_known and all(
        canonicalize_name(one.name) in locked or _has(base, one) for one in _of_extras(there, extras, markers)
    )


def _has(base: BaseProfile, requirement: Requirement) -> bool:
    there = base.distributions.get(canonicalize_name(requirement.name))
    return there is not None and meets(requirement, there.version)


def _contradicted(
    base: BaseProfile,
    name: NormalizedName,
    kept: AbstractSet[NormalizedName],
    versions: Mapping[NormalizedName, Version],
    markers: Mapping[str, str],
) -> bool:
    """Return whether what stays in the bundle breaks the base's copy of a distribution, or what that uses."""
    seen = {name}
    waiting = [name]
    while waiting:
        for requirement in base.distributions[waiting.pop()].requires:
            used = canonicalize_name(requirement.name)
            if not applies(requirement, (), markers):
                continue
            if used in kept:
                if used in versions and not meets(requirement, versions[used]):
                    return True
            elif used in base.distributions and used not in seen:
                seen.add(used)
                waiting.append(used)
    return False
