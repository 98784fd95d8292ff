"""Stage 5, pure: faults of wheels, and the paths that several of them install with different content.

pip installs both files, one over the other. Whether that matters depends on the file: nothing
imports a license, while two versions of one module exclude each other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.utils import NormalizedName, canonicalize_name

from bundler.bundle.plan import BundlePlan
from bundler.checks.dependencies import reached_from
from bundler.checks.findings import Finding
from bundler.checks.modules import DistributionFacts, importable_name, is_beside_modules
from bundler.paths import ArchivePath, printable
from bundler.text import listing

__all__ = ["wheel_findings"]

_LISTED = 3
_KINDS = {"W702": ("files", "those"), "W703": ("launchers", "those"), "W704": ("code", "that")}
_LAUNCHER = re.compile(r"(?:bin|libexec)/[^/]+")
_MODULE = re.compile(r"\w+\.py")
_LIBRARY = re.compile(r".*\.so(?:\.\d+)*")


def wheel_findings(
    plan: BundlePlan,
    distributions: Sequence[DistributionFacts],
    site_packages: str,
    loaded: Collection[str],
    *,
    named: Collection[str] = (),
    needed: Collection[tuple[str, str]] = (),
) -> Iterator[Finding]:
    """Yield the findings W701 to W704; those about paths once for each group of distributions.

    :param loaded: the modules that the import of another one loads.
    :param named: the modules that a statement in a source file imports, whenever it runs.
    :param needed: the modules that must import, each with its distribution.
    """
    for layer in plan.layers:
        for fault in layer.faults:
            yield Finding(code="W701", message=f"`{layer.wheel}`: {fault}", distribution=layer.name)
    if plan.collisions:
        requires = {
            facts.name: [canonicalize_name(requirement.name) for requirement in facts.requires_dist]
            for facts in distributions
        }
        uses = _Uses(loaded=loaded, named=named, needed=needed, requires=requires)
        collisions = {path: plan.shared[path] for path in plan.collisions}
        yield from _collisions(collisions, distributions, site_packages, uses)


@dataclass(frozen=True, kw_only=True)
class _Uses:
    """The users of the modules of a bundle: the parameters of `wheel_findings`, and the requirements."""

    loaded: Collection[str]
    named: Collection[str]
    needed: Collection[tuple[str, str]]
    requires: Mapping[NormalizedName, Sequence[NormalizedName]]
    """The distributions that each distribution requires, whatever the markers."""

    def needs_one(self, module: str, owners: Sequence[str]) -> bool:
        """Return whether a user may choose another owner's file, or a module that imports it wants another.

        It does not matter for ``jupyter.py`` of jupyter 1.0.0 and of jupyter-core: no module imports it,
        and each installation of jupyter has both, since jupyter requires jupyter-core.

        :param owners: the distribution whose file ships, then the others.
        """
        winner, *others = owners
        return (
            not reached_from([winner], self.requires).issuperset(others)
            or module in self.loaded
            or module in self.named
            or any((owner, module) in self.needed for owner in others)
        )


def _collisions(
    collisions: Mapping[ArchivePath, tuple[str, ...]],
    distributions: Sequence[DistributionFacts],
    site_packages: str,
    uses: _Uses,
) -> Iterator[Finding]:
    packages = {
        path.partition("/")[0]
        for facts in distributions
        for path in facts.files
        if "/" in path and importable_name(path.rpartition("/")[2]) is not None
    }
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for path, owners in sorted(collisions.items()):
        if path.endswith(".pyc"):
            continue  # as its source
        inside = path.removeprefix(f"{site_packages}/")
        if inside != path:
            code = _code_in_site_packages(inside, owners, packages, uses)
        elif _LIBRARY.fullmatch(path):
            code = "W704"
        else:
            code = "W703" if _LAUNCHER.fullmatch(path) else "W702"
        groups.setdefault((code, owners), []).append(inside)
    for (code, owners), paths in groups.items():
        *names, last = (f"`{name}`" for name in owners)
        what, which = _KINDS[code]
        files = listing((f"`{printable(path)}`" for path in paths), _LISTED)
        yield Finding(
            code=code,
            message=f"{', '.join(names)} and {last} install different {what} at {files}; "
            f"the bundle has {which} of `{owners[0]}`",
            distribution=owners[0],
            where=paths[0],
        )


def _code_in_site_packages(path: str, owners: Sequence[str], packages: set[str], uses: _Uses) -> str:
    """Return the code of the finding for a path in site-packages.

    Data in a package belongs to its code. Tests and samples at the top are no part of it, if no module
    imports them, and neither is a single module that nothing needs.
    """
    top, slash, _ = path.partition("/")
    if _LIBRARY.fullmatch(path) or (not slash and path.endswith(".pth")):
        return "W704"
    name = (top if top in packages else None) if slash else importable_name(top)
    if name is None or (is_beside_modules(name) and name not in uses.loaded):
        return "W702"
    if _MODULE.fullmatch(path) and not uses.needs_one(name, owners):
        return "W702"
    return "W704"
