"""Stage 5, pure: the modules that must import, since the user asked for them.

A bundle has many modules that nobody imports: plug-ins of absent hosts, features of an extra,
optional back ends. Only the main modules of the requested distributions must import; a failure
within their imports is an error through them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from bundler.checks.dependencies import reached_from, requirement_edges
from bundler.checks.modules import DistributionFacts, is_for_import

__all__ = ["main_modules", "requested_distributions"]

_FROZEN_COUNT = 10
"""Distributions: a shorter list of pins may be written by hand, and means what it names."""


def main_modules(name: str, modules: Mapping[str, int]) -> frozenset[str]:
    """Return the modules that a user of a distribution imports, as far as names and sizes show.

    No metadata names them. They are the modules that bear the distribution's name; else those
    whose name is a part of it (``dateutil`` of python-dateutil); else the largest one with those
    of at least half its size, private ones and tests left out (``yaml`` of PyYAML, not ``_yaml``).

    :param name: the normalized name of the distribution.
    :param modules: the modules of `top_level_modules`, each with the bytes of its files.

    >>> sorted(main_modules("mlflow", {"mlflow": 900, "pylint_plugins": 100}))
    ['mlflow']
    """
    names = {module: canonicalize_name(module) for module in modules}
    plain = name.replace("-", "")
    if named := {module for module, own in names.items() if own.replace("-", "") == plain}:
        return frozenset(named)
    # A namespace package, which has modules of its own here, imports whatever is wrong with them.
    leaves = {module for module in modules if not any(other.startswith(f"{module}.") for other in modules)}
    if parts := {module for module in leaves if _is_part(names[module], name)}:
        return frozenset(parts)
    public = {module for module in leaves if is_for_import(module)}
    sizes = {module: modules[module] for module in public or leaves}
    largest = max(sizes.values(), default=0)
    return frozenset(module for module, size in sizes.items() if size * 2 >= largest)


def _is_part(module: str, name: str) -> bool:
    """Return whether the name of a distribution contains that of a module, or ends it (``ns.core``)."""
    return name.startswith(f"{module}-") or name.endswith(f"-{module}") or module.endswith(f"-{name}")


def requested_distributions(
    distributions: Iterable[DistributionFacts], roots: Sequence[Requirement], environment: Mapping[str, str]
) -> frozenset[NormalizedName]:
    """Return the distributions that the user asked for: those that the requirements name.

    A frozen or compiled list (``pip freeze``, ``pip-compile``) names everything. There, and in a
    lock without requirements, only a distribution that no other one requires counts.

    :param roots: the user's requirements; a path or URL without a name is not among them, so a
        distribution that no root leads to counts as asked for too.
    """
    present = {facts.name: facts.requires_dist for facts in distributions}
    named, required = requirement_edges(present, roots, environment)
    edges = {
        name: {canonicalize_name(requirement.name) for requirement in requires} - {name}
        for name, requires in required.items()
    }
    asked = {canonicalize_name(root.name) for root in named} & set(present)
    if _is_frozen(named, asked, len(present)):
        asked -= set().union(*edges.values())
    rest = set(present) - reached_from(asked, edges)
    while rest:
        # Of a cycle that nothing else requires, every member counts.
        asked |= (rest - set().union(*(edges[name] for name in rest))) or rest
        rest -= reached_from(asked, edges)
    return frozenset(asked)


def _is_frozen(roots: Iterable[Requirement], named: Collection[NormalizedName], count: int) -> bool:
    """Return whether requirements pin nearly all of ``count`` distributions.

    Nearly: ``pip freeze`` omits pip, setuptools and wheel.
    """
    pinned = all(
        root.url is not None
        or any(
            specifier.operator in ("==", "===") and not specifier.version.endswith(".*")
            for specifier in root.specifier
        )
        for root in roots
    )
    return pinned and count >= _FROZEN_COUNT and len(named) * 10 >= count * 9
