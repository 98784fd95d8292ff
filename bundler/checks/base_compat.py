"""Pure: does a bundle fit its base?

A mounted bundle comes first on sys.path, so its modules hide those of the base, for the base's
own distributions too, among them the server that loads the user's code. Conversely, modules
that the base's ``.pth`` files create at start exist before any search of sys.path, and so come
before the bundle.

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
"""The name of the requiring distribution, and the requirement."""
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
    """Return the faults of mounting a bundle into a base: B501 to B505.

    Facts that are not known of a base are not compared.

    :param target: the target of the bundle.
    :param present: the distributions in the bundle.
    :param server: the requirements of the base's server; used if the base has no metadata of it.
    :param glibc_floor: the oldest glibc that loads the bundle's files, "2.17"; empty if any does.
    :param provided: the distributions, with versions, that the bundle leaves to the base.
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
    """Yield the conda packages without a counterpart on an index that the base lacks, or may lack.

    A conda package is recognized by a distribution of its name or by its shared libraries.
    """
    for package in wanted:
        if canonicalize_name(package.name) in base.distributions:
            continue
        text = printable(package.text)
        if base.libraries is None or not package.libraries:
            yield Finding(code="B509", message=f"it is not known whether the base has `{text}`")
        elif not any(name.startswith(package.libraries) for name in base.libraries):
            libraries = " or ".join(f"{name}*" for name in package.libraries)
            yield Finding(
                code="B508",
                message=f"the base does not have `{text}`",
                details=(f"wanted  a library {libraries}",),
            )


def unfit_for_server(present: Iterable[DistributionFacts], target: Target) -> Iterator[Finding]:
    """Yield B507, for an unknown base: versions that Azure ML's newest server for the target excludes."""
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
    """Yield B503: another Python, ABI or platform."""
    minor = None if base.python_version is None else ".".join(base.python_version.split(".")[:2])
    for property_, wanted, found in (
        ("Python", target.python_version, minor),
        ("ABI", target.abi, base.abi),
        ("platform", target.platform, base.platform),
    ):
        if found is not None and found != wanted:
            yield Finding(
                code="B503", message=f"the bundle is for {property_} `{wanted}`, the base has `{found}`"
            )


def _other_libc(base: BaseProfile, floor: str) -> Iterator[Finding]:
    """Yield B503: a glibc that is too old, or another C library."""
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
    """Yield B502: versions in the bundle that the base's server excludes."""
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
    """Yield the server's requirements that a version in the bundle violates, each with the server's name.

    A server in the bundle hides the base's; its requirements are checked with all others.
    """
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
    """Yield B501: distributions in another version than the base's, on which others of the base depend.

    Dependents that the bundle contains too do not count: the bundle hides them.
    """
    for name, facts in sorted(bundle.items()):
        installed = base.distributions.get(name)
        if installed is None or installed.version == facts.version:
            continue
        hiding = f"the bundle's `{name}` {facts.version} hides {installed.version} of the base"
        if not base.requires_known:
            message = f"{hiding}; its dependents there are not known"
            yield Finding(code="B501", distribution=name, message=message)
            continue
        dependents = [
            (dependent.name, requirement)
            for _, dependent in sorted(base.distributions.items())
            if dependent.name not in bundle
            for requirement in dependent.requires
            if canonicalize_name(requirement.name) == name
            and applies(requirement, (), environment)
            # A violated requirement of the server is B502.
            and (dependent.name != SERVER or meets(requirement, facts.version))
        ]
        if dependents:
            message = hiding + _dependents(dependents, facts.version)
            yield Finding(code="B501", distribution=name, message=message)


def _dependents(dependents: Sequence[_Wanted], version: Version) -> str:
    """Return the clause of a message about the dependents and the requirements that a version violates."""
    violated = [
        f"`{owner}` requires `{_text(requirement)}`"
        for owner, requirement in dependents
        if not meets(requirement, version)
    ]
    names = list(dict.fromkeys(f"`{owner}`" for owner, _ in dependents))
    verb = "uses" if len(names) == 1 else "use"
    text = f", which {listing(names, _SHOWN)} of the base {verb}"
    if not violated:
        return f"{text}; their requirements are met"
    return f"{text}; {', '.join(violated[:_SHOWN])}"


def _not_provided(base: BaseProfile, provided: Mapping[NormalizedName, Version]) -> Iterator[Finding]:
    """Yield B504: distributions left to the base that it lacks, or has in another version."""
    for name, version in sorted(provided.items()):
        installed = base.distributions.get(name)
        if installed is None or installed.version != version:
            found = "does not have it" if installed is None else f"has {installed.version}"
            yield Finding(
                code="B504",
                distribution=name,
                message=f"the bundle leaves `{name}` {version} to the base, which {found}",
            )


def _hidden(base: BaseProfile, bundle: Mapping[NormalizedName, DistributionFacts]) -> Iterator[Finding]:
    """Yield B505: a distribution of the bundle with modules that a package of the base hides."""
    modules = {name: top_level_modules(facts.files) for name, facts in bundle.items()}
    packages = {module for listed in modules.values() for module in listed}
    for occupied, how in sorted(base.occupied.items()):
        # PEP 420: the `__path__` of a namespace package is computed from sys.path and follows it, so
        # the bundle's portions are found; a regular package of the bundle, though, is not searched for
        # since the name is in sys.modules already.
        if how == "namespace" and occupied not in packages:
            continue
        if how == "regular" and occupied in packages:
            continue  # both are regular, and the bundle's comes first on sys.path
        for name, listed in sorted(modules.items()):
            inside = [module for module in listed if f"{module}.".startswith(f"{occupied}.")]
            installed = base.distributions.get(name)
            same = installed is not None and installed.version == bundle[name].version
            if inside and not same:
                yield Finding(
                    code="B505",
                    distribution=name,
                    where=inside[0],
                    message=f"{_WHY[how].format(occupied)}{_owners(base, occupied)}: "
                    f"`{inside[0]}` of the bundle is never imported",
                )


_WHY: Mapping[str, str] = {
    "namespace": "a `.pth` file of the base creates the module `{}` at start",
    "fixed": "a `.pth` file of the base creates the module `{}` at start, with its own path",
    "regular": "the base has an ordinary package `{}`, which comes before a namespace of that name",
}


def _owners(base: BaseProfile, occupied: str) -> str:
    """Return the distributions of the base with this top-level module, in parentheses."""
    top = occupied.partition(".")[0]
    names = [f"`{one.name}`" for _, one in sorted(base.distributions.items()) if top in one.top_level]
    return f" ({', '.join(names[:_SHOWN])})" if names else ""


def _text(requirement: Requirement) -> str:
    return redact(str(requirement))


def check_fit(manifest: Manifest, base: BaseProfile) -> tuple[Finding, ...]:
    """Return the warnings and notes for mounting a bundle into a base.

    :raises ClosureError: if the bundle does not fit, naming each error.
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
