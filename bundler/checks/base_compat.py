"""Pure: does a bundle fit its base, and what of it may be left to the base?

A mounted bundle comes first on sys.path: whatever it brings hides what the base
has, for the base's own distributions too, among them the server that loads the
user's code. The other way round, what the base makes when it starts (its ``.pth`` files) comes
before any bundle.

Specs: dependency specifiers (PEP 508), versions (PEP 440), namespace packages (PEP 420).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.base_image.profile import NO_BASE, BaseProfile
from bundler.bundle.manifest import Manifest
from bundler.checks.dependencies import applies, meets
from bundler.checks.findings import Finding, sorted_findings
from bundler.checks.modules import DistributionFacts, top_level_modules
from bundler.checks.provided import NONE_PROVIDED
from bundler.checks.report import ClosureReport
from bundler.data.inference_server import SERVER, default_server, server_requirements
from bundler.paths import printable
from bundler.redaction import redact
from bundler.target.target import Target
from bundler.text import listing

if TYPE_CHECKING:
    from bundler.requirements.conda.translate import SystemPackage

__all__ = ["check_base", "check_fit", "check_system_packages", "unfit_for_server"]

_Wanted = tuple[str, Requirement]
"""Whose requirement it is, and the requirement."""
_SHOWN = 8


def check_base(
    base: BaseProfile,
    target: Target,
    present: Iterable[DistributionFacts],
    *,
    server: tuple[Requirement, ...] = (),
    glibc_floor: str = "",
    provided: Mapping[NormalizedName, Version] = NONE_PROVIDED,
) -> tuple[Finding, ...]:
    """Return what is wrong with mounting a bundle into a base.

    What is not known of a base is not compared.

    :param target: what the bundle was made for.
    :param present: the distributions in the bundle.
    :param server: what the base's server requires; used where the base does not say itself.
    :param glibc_floor: the oldest glibc the bundle's files run on, "2.17"; empty if any.
    :param provided: what the bundle leaves to the base.
    """
    bundle = {facts.name: facts for facts in present}
    findings: list[Finding] = []
    findings += _other_python(base, target)
    findings += _other_libc(base, glibc_floor)
    findings += _against_server(base, bundle, server, target.markers)
    findings += _hiding(base, bundle, target.markers)
    findings += _not_provided(base, provided)
    findings += _hidden(base, bundle)
    return sorted_findings(findings)


def check_system_packages(base: BaseProfile, wanted: Sequence[SystemPackage]) -> Iterator[Finding]:
    """Yield what the base lacks, or is not known to have, of what has no counterpart on an index."""
    for one in wanted:
        if canonicalize_name(one.name) in base.distributions:
            continue
        if base.libraries is None or not one.libraries:
            yield Finding(
                code="B509", message=f"it is not known whether the base has `{printable(one.text)}`"
            )
        elif not any(name.startswith(one.libraries) for name in base.libraries):
            yield Finding(
                code="B508",
                message=f"the base does not have `{printable(one.text)}`",
                details=(f"wanted  a library {' or '.join(f'{name}*' for name in one.libraries)}",),
            )


def unfit_for_server(present: Iterable[DistributionFacts], target: Target) -> Iterator[Finding]:
    """Yield what Azure ML's newest server for the target's Python would not accept; for an unknown base."""
    version = default_server(target.version)
    if version is None:
        return
    bundle = {facts.name: facts for facts in present}
    for _, requirement in _violated_server(NO_BASE, bundle, server_requirements(version), target.markers):
        name = canonicalize_name(requirement.name)
        message = (
            f"`{SERVER}` {version} requires `{_text(requirement)}`, the bundle has {bundle[name].version}"
        )
        yield Finding(code="B507", distribution=name, message=message)


def _other_python(base: BaseProfile, target: Target) -> Iterator[Finding]:
    minor = None if base.python_version is None else ".".join(base.python_version.split(".")[:2])
    for what, wanted, found in (
        ("Python", target.python_version, minor),
        ("ABI", target.abi, base.abi),
        ("platform", target.platform, base.platform),
    ):
        if found is not None and found != wanted:
            yield Finding(code="B503", message=f"the bundle is for {what} `{wanted}`, the base has `{found}`")


def _other_libc(base: BaseProfile, floor: str) -> Iterator[Finding]:
    if not floor:
        return
    found = base.glibc
    if found is None and base.libraries and "libc.so.6" not in base.libraries:
        yield Finding(code="B503", message=f"the bundle needs glibc `{floor}`, the base has no GNU C library")
    elif found is not None and Version(found) < Version(floor):
        yield Finding(code="B503", message=f"the bundle needs glibc `{floor}`, the base has `{found}`")


def _against_server(
    base: BaseProfile,
    bundle: Mapping[NormalizedName, DistributionFacts],
    server: tuple[Requirement, ...],
    environment: Mapping[str, str],
) -> Iterator[Finding]:
    """Yield B502; a server in the bundle is the closure's matter."""
    for label, requirement in _violated_server(base, bundle, server, environment):
        name = canonicalize_name(requirement.name)
        found = f"the bundle has `{name}` {bundle[name].version}"
        yield Finding(
            code="B502", distribution=name, message=f"{label} requires `{_text(requirement)}`, {found}"
        )


def _violated_server(
    base: BaseProfile,
    bundle: Mapping[NormalizedName, DistributionFacts],
    server: tuple[Requirement, ...],
    environment: Mapping[str, str],
) -> Iterator[tuple[str, Requirement]]:
    if SERVER in bundle:
        return
    installed = base.distributions.get(SERVER)
    label = "the base's server" if installed is None else f"the base's `{SERVER}` {installed.version}"
    requires = installed.requires if installed is not None and base.requires_known else server
    for requirement in requires:
        facts = bundle.get(canonicalize_name(requirement.name))
        if (
            facts is not None
            and applies(requirement, (), environment)
            and not meets(requirement, facts.version)
        ):
            yield label, requirement


def _hiding(
    base: BaseProfile, bundle: Mapping[NormalizedName, DistributionFacts], environment: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield B501 for each other version whose dependents in the base stay in the base."""
    for name, facts in sorted(bundle.items()):
        there = base.distributions.get(name)
        if there is None or there.version == facts.version:
            continue
        told = f"the bundle's `{name}` {facts.version} hides {there.version} of the base"
        if not base.requires_known:
            yield Finding(
                code="B501", distribution=name, message=f"{told}; what requires it there is not known"
            )
            continue
        dependents = [
            (one.name, requirement)
            for _, one in sorted(base.distributions.items())
            if one.name not in bundle
            for requirement in one.requires
            if canonicalize_name(requirement.name) == name
            and applies(requirement, (), environment)
            # B502 tells what breaks the server.
            and (one.name != SERVER or meets(requirement, facts.version))
        ]
        if dependents:
            yield Finding(
                code="B501", distribution=name, message=told + _dependents(dependents, facts.version)
            )


def _dependents(dependents: Sequence[_Wanted], version: Version) -> str:
    broken = [(owner, one) for owner, one in dependents if not meets(one, version)]
    names = list(dict.fromkeys(f"`{owner}`" for owner, _ in dependents))
    text = f", which {listing(names, _SHOWN)} of the base use{'s' if len(names) == 1 else ''}"
    if not broken:
        return f"{text}; their requirements are met"
    told = [f"`{owner}` requires `{_text(one)}`" for owner, one in broken[:_SHOWN]]
    return f"{text}; {', '.join(told)}"


def _not_provided(base: BaseProfile, provided: Mapping[NormalizedName, Version]) -> Iterator[Finding]:
    for name, version in sorted(provided.items()):
        there = base.distributions.get(name)
        if there is None or there.version != version:
            found = "does not have it" if there is None else f"has {there.version}"
            yield Finding(
                code="B504",
                distribution=name,
                message=f"the bundle leaves `{name}` {version} to the base, which {found}",
            )


def _hidden(base: BaseProfile, bundle: Mapping[NormalizedName, DistributionFacts]) -> Iterator[Finding]:
    """Yield B505: a distribution of the bundle with modules that a package of the base hides."""
    modules = {name: top_level_modules(facts.files) for name, facts in bundle.items()}
    packages = {module for found in modules.values() for module in found}
    for occupied, how in sorted(base.occupied.items()):
        if how == "namespace" and occupied not in packages:
            continue  # its path follows sys.path, so that the bundle's portions are found
        if how == "regular" and occupied in packages:
            continue  # the bundle's package comes first
        for name, found in sorted(modules.items()):
            inside = [one for one in found if f"{one}.".startswith(f"{occupied}.")]
            there = base.distributions.get(name)
            same = there is not None and there.version == bundle[name].version
            if inside and not same:
                yield Finding(
                    code="B505",
                    distribution=name,
                    where=inside[0],
                    message=f"{_WHY[how].format(occupied)}{_owners(base, occupied)}: "
                    f"`{inside[0]}` of the bundle is never found",
                )


_WHY: Mapping[str, str] = {
    "namespace": "a `.pth` file of the base makes the module `{}` at start",
    "fixed": "a `.pth` file of the base makes the module `{}` at start, with its own path",
    "regular": "the base has an ordinary package `{}`, which comes before a namespace of that name",
}


def _owners(base: BaseProfile, occupied: str) -> str:
    top = occupied.partition(".")[0]
    names = [f"`{one.name}`" for _, one in sorted(base.distributions.items()) if top in one.top_level]
    return f" ({', '.join(names[:_SHOWN])})" if names else ""


# What may be left to the base.


def _text(requirement: Requirement) -> str:
    return redact(str(requirement))


def check_fit(manifest: Manifest, base: BaseProfile) -> tuple[Finding, ...]:
    """Return what is to be known of mounting a bundle into a base, and is no error.

    :raises ClosureError: if the bundle does not fit, naming each reason.
    """
    target = manifest.target
    prefix = f"{target.site_packages}/"
    files: dict[str, list[str]] = {}
    for file in manifest.files:
        if file.path.startswith(prefix):
            files.setdefault(file.owner, []).append(file.path[len(prefix) :])
    present = [
        DistributionFacts(
            name=NormalizedName(distribution.name),
            display_name=distribution.name,
            version=Version(distribution.version),
            requires_dist=tuple(map(Requirement, distribution.requires_dist)),
            files=tuple(files.get(distribution.name, ())),
        )
        for distribution in manifest.document.distributions
    ]
    requirements = manifest.document.base
    found = check_base(
        base,
        target,
        present,
        glibc_floor=manifest.document.verification.glibc,
        provided={NormalizedName(name): Version(version) for name, version in requirements.provided.items()},
    )
    found += tuple(check_system_packages(base, _parse_system_packages(requirements.conda)))
    ClosureReport(modes=(), found=found).raise_for_errors()
    return found


def _parse_system_packages(texts: Sequence[str]) -> tuple[SystemPackage, ...]:
    if not texts:
        return ()
    from bundler.requirements.conda.translate import parse_system_package  # noqa: PLC0415 - the YAML reader is slow to load

    return tuple(map(parse_system_package, texts))
