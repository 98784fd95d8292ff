"""Stage 5, pure: which distributions the base can provide instead of the bundle."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.base_image.profile import BaseDistribution, BaseProfile
from bundler.checks.dependencies import RequirementWalk, applies, meets, walk_requirements

__all__ = ["NOTHING_PROVIDED", "ProvidedByBase", "plan_provided"]


NONE_PROVIDED: Mapping[NormalizedName, Version] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvidedByBase:
    """The locked distributions that a bundle leaves out because of its base."""

    provided: Mapping[NormalizedName, Version]
    """Those the base must have, with its version."""
    unneeded: frozenset[NormalizedName]
    """Those that only provided ones require and the base lacks: its copies have other requirements."""

    def has(self, name: NormalizedName) -> bool:
        """Return whether the bundle leaves a distribution out."""
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
    """Return the largest set of locked distributions that the base can provide instead.

    The base's copy of each satisfies every requirement, extras included, of the user and of
    the distributions that stay in the bundle; and if ``versions`` are given, those that stay
    satisfy the requirements of the copy.

    :param facts_requires: the Requires-Dist of every locked distribution.
    :param markers: the marker environment of the target (PEP 508).
    :param versions: the locked versions.
    """
    # Greatest fixed point, by iteration from above: start with all that both have, move those
    # that fail back into the bundle, and repeat, since each of them adds its requirements and
    # its locked version to the conditions on the others. A name is never moved out again, so
    # the loop ends after at most as many rounds as there are names. Iteration from below, from
    # the empty set, would find the least fixed point: two distributions that require each other
    # would both stay. The conditions are not quite monotone (a copy of the base that moves back
    # takes the demands of its own extras with it), so the set may be smaller than the largest
    # one, never wrong: the round without a failure has checked the whole set.
    out: set[NormalizedName] = set(facts_requires) & set(base.distributions)
    while True:
        walk = _walk(base, roots, facts_requires, markers, out)
        in_bundle = {name for name in walk.demands if name in facts_requires and name not in out}
        failing = set()
        for name in out:
            # Nothing in the bundle uses a copy without demands, so its own state does not matter.
            demands = walk.demands.get(name, ())
            provides = all(_satisfies(base, demand, set(facts_requires), markers) for demand in demands)
            if demands and (not provides or _contradicted(base, name, in_bundle, versions, markers)):
                failing.add(name)
        if not failing:
            break
        out -= failing
    return ProvidedByBase(
        provided=MappingProxyType({name: base.distributions[name].version for name in sorted(out)}),
        unneeded=frozenset(set(facts_requires) - out - in_bundle),
    )


def _walk(
    base: BaseProfile,
    roots: Sequence[Requirement],
    facts_requires: Mapping[NormalizedName, tuple[Requirement, ...]],
    markers: Mapping[str, str],
    out: AbstractSet[NormalizedName],
) -> RequirementWalk:
    """Follow the user's requirements through the bundle, with the distributions ``out`` of it in the base."""

    def requires(name: NormalizedName, extras: Collection[str]) -> Iterable[Requirement]:
        if name in out:
            # The base has the requirements of its own copy, but perhaps not those of the copy's extras.
            return _of_extras(base.distributions[name], extras, markers)
        declared = facts_requires.get(name, ())
        return [requirement for requirement in declared if applies(requirement, extras, markers)]

    return walk_requirements([root for root in roots if applies(root, (), markers)], requires)


def _of_extras(
    distribution: BaseDistribution, extras: Collection[str], markers: Mapping[str, str]
) -> Iterator[Requirement]:
    """Yield the requirements that only the extras of a distribution add."""
    for requirement in distribution.requires:
        if not applies(requirement, (), markers) and applies(requirement, extras, markers):
            yield requirement


def _satisfies(
    base: BaseProfile,
    requirement: Requirement,
    locked: AbstractSet[NormalizedName],
    markers: Mapping[str, str],
) -> bool:
    """Return whether the base's copy satisfies a requirement and has the extras that it requests.

    A direct reference (PEP 508 ``name @ url``) names one archive; an installed copy of equal
    version may come from another, so it never satisfies one. The requirements of an extra
    may be in the base or in the bundle (``locked``).
    """
    installed = base.distributions[canonicalize_name(requirement.name)]
    if requirement.url is not None or not meets(requirement, installed.version):
        return False
    if not requirement.extras:
        return True
    extras = {canonicalize_name(extra) for extra in requirement.extras}
    return base.requires_known and all(
        canonicalize_name(needed.name) in locked or _has(base, needed)
        for needed in _of_extras(installed, extras, markers)
    )


def _has(base: BaseProfile, requirement: Requirement) -> bool:
    installed = base.distributions.get(canonicalize_name(requirement.name))
    return installed is not None and meets(requirement, installed.version)


def _contradicted(
    base: BaseProfile,
    name: NormalizedName,
    in_bundle: AbstractSet[NormalizedName],
    versions: Mapping[NormalizedName, Version],
    markers: Mapping[str, str],
) -> bool:
    """Return whether a version in the bundle violates a requirement of the base's copy.

    The copy's own requirements in the base are followed: the bundle comes first on sys.path
    and so hides the versions that they were installed with.
    """
    seen = {name}
    waiting = [name]
    while waiting:
        for requirement in base.distributions[waiting.pop()].requires:
            used = canonicalize_name(requirement.name)
            if not applies(requirement, (), markers):
                continue
            if used in in_bundle:
                if used in versions and not meets(requirement, versions[used]):
                    return True
            elif used in base.distributions and used not in seen:
                seen.add(used)
                waiting.append(used)
    return False
