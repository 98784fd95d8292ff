"""The stages of a build: functions of the run and of the results of earlier stages.

`pipeline.build` calls them in order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

from bundler import __version__
from bundler.archive.compression import SUFFIXES
from bundler.archive.wheel import same_release
from bundler.base_image.profile import BaseProfile
from bundler.bundle.layer import Layer
from bundler.bundle.layer_builder import LayerBuilder
from bundler.bundle.manifest import Manifest, distribution_section, files_section, make_manifest
from bundler.bundle.plan import BundlePlan, plan_bundle
from bundler.bundle.segment import SegmentFormat
from bundler.bundle.slim import Slim, find_stripper
from bundler.checks.contents import BundleContents
from bundler.checks.dependencies import named_requirements
from bundler.checks.elf import numbers
from bundler.checks.findings import NOT_IMPORTED
from bundler.checks.mount import unknown_pth
from bundler.checks.provided import NOTHING_PROVIDED, ProvidedByBase, plan_provided
from bundler.checks.report import USAGE_MODES
from bundler.checks.run import CheckRequest, CheckResult, run_checks
from bundler.data.inference_server import SERVER, server_requirements
from bundler.digest import sha256_of
from bundler.errors import IntegrityError, MalformedError
from bundler.pipeline.inputs import Wheels, fetch_wheels, render_bundle_lock
from bundler.problems import display_path
from bundler.requirements.files import read_requirements
from bundler.resolve.lockfile import Lock
from bundler.store.store import key_of
from bundler.text import counted, human_size, listing

if TYPE_CHECKING:
    from bundler.pipeline.options import BuildOptions
    from bundler.pipeline.run import Run
    from bundler.reporter import Reporter

__all__ = [
    "REFUSED",
    "Contents",
    "accept_bundle",
    "build_layers",
    "check_bundle",
    "describe_bundle",
    "find_slim",
    "plan_base",
    "plan_contents",
    "plan_requirements",
]


REFUSED = ("refused", key_of("last"))
"""Where the store keeps the manifest of the last refused bundle."""
_SAVED = 5
"""Distributions named with the size of their omitted files."""
_SHOWN = 20
"""The number of findings on the screen; the manifest has all of them."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of a bundle, before the checks."""

    lock: Lock
    wheels: Wheels
    plan: BundlePlan
    provided: ProvidedByBase
    """The locked distributions that are omitted, since the base provides them."""


# Layers.


def find_slim(run: Run, options: BuildOptions) -> Slim | None:
    """Return the files that the layers of a build omit; None if they ship every file.

    :raises InputError: if debug symbols are to be removed, and this machine has no ``strip``.
    """
    if options.slim is None:
        return None
    stripper = find_stripper(run.host, run.scratch) if options.slim == "max" else None
    return Slim(level=options.slim, whole=options.keep, stripper=stripper)


def build_layers(
    run: Run,
    wheels: Wheels,
    lock: Lock,
    segment_format: SegmentFormat,
    jobs: int,
    *,
    slim: Slim | None = None,
) -> tuple[Layer, ...]:
    """Return the layer of each wheel, in the order of the lock.

    :param jobs: number of layers to build in parallel.
    :raises MalformedError: if a wheel is malformed, or does not support the target.
    :raises IntegrityError: if a wheel contains another distribution than the locked one.
    """
    tags = frozenset(run.interpreter.target.tags)
    for wheel in wheels.refs:
        if not parse_wheel_filename(wheel.filename)[3] & tags:
            raise MalformedError(
                f"`{wheel.filename}` does not support {run.interpreter.target.name}",
                evidence=(f"wanted  {run.interpreter.target.tags[0]} or one of {len(tags) - 1} more tags",),
            )
    builder = LayerBuilder(
        interpreter=run.interpreter,
        store=run.store,
        host=run.host,
        segment_format=segment_format,
        slim=slim,
    )
    layers = builder.build_all(wheels.refs, jobs=jobs, reporter=run.reporter)
    for layer, package in zip(layers, lock.packages, strict=True):
        same = package.version is None or same_release(layer.version, package.version)
        if layer.name != package.name or not same:
            raise IntegrityError(
                f"`{layer.wheel}` is not the locked distribution",
                evidence=(
                    f"wanted  {package.name} {package.version}",
                    f"found   {layer.name} {layer.version}",
                ),
                hint="a lock is not edited: change the requirements, and run `bundler lock` again",
            )
    size = sum(layer.size for layer in layers)
    run.reporter.stage("layers", f"{len(layers)}, {size / 1e6:.1f} MB unpacked")
    saved = {layer.name: sum(layer.omitted.values()) + layer.saved for layer in layers}
    if slim is not None:
        by_size = sorted(filter(saved.get, saved), key=lambda name: (-saved[name], name))
        largest = listing((f"{name} {human_size(saved[name])}" for name in by_size), _SAVED) or "nothing"
        run.reporter.stage("slim", f"{human_size(sum(saved.values()))} left out: {largest}")
    return layers


def plan_base(run: Run, layers: Sequence[Layer], lock: Lock, base: BaseProfile | None) -> ProvidedByBase:
    """Return the distributions that the base can provide instead of the bundle; none if ``base`` is None."""
    if base is None:
        return NOTHING_PROVIDED
    provided = plan_provided(
        base,
        named_requirements(lock.requirements),
        {layer.name: layer.requirements for layer in layers},
        run.interpreter.target.markers,
        versions={layer.name: layer.version for layer in layers},
    )
    listed = ", ".join(f"{name} {version}" for name, version in provided.provided.items())
    run.reporter.stage("base", f"provides {listed}" if listed else "provides no distribution of the bundle")
    return provided


def plan_contents(
    run: Run,
    lock: Lock,
    wheels: Wheels,
    layers: Sequence[Layer],
    provided: ProvidedByBase,
    options: BuildOptions,
) -> Contents:
    """Plan the bundle: its layers, checked for paths that exclude each other.

    :raises MalformedError: if a layer has a file where another one has a directory, or if the bundle is for
        virtual environments alone and a ``.pth`` file in it is not allowed; for a mount that is a finding.
    """
    kept = [layer for layer in layers if not provided.has(layer.name)]
    plan = plan_bundle(
        kept, BundleContents(kept, named_requirements(lock.requirements), run.interpreter.target).requested
    )
    names = {canonicalize_name(name) for name in options.allow_pth}
    refused = [
        f"{layer.name}: {name}"
        for layer in plan.layers
        for name in unknown_pth(layer.name, layer.pth_code)
        if layer.name not in names
    ]
    if refused and "mount" not in options.modes:
        raise MalformedError(
            "a distribution has a `.pth` file, which runs code at every start of Python",
            evidence=tuple(refused),
            hint=f"if you trust it, pass `--allow-pth {refused[0].partition(':')[0]}`",
        )
    return Contents(lock=lock, wheels=wheels, plan=plan, provided=provided)


def plan_requirements(
    run: Run,
    requirements: Sequence[str],
    segment_format: SegmentFormat,
    jobs: int,
    *,
    pins: Sequence[str] = (),
) -> BundlePlan:
    """Resolve, fetch and build requirements that are not part of the bundle.

    :param pins: constraints, one requirement each.
    """
    constraints = run.scratch / "pins.txt"
    constraints.write_text("".join(f"{pin}\n" for pin in pins))
    requirement_set = read_requirements(run.host, constraints=(constraints,), strings=requirements)
    lock = run.resolver.resolve(requirement_set, reporter=run.reporter)
    return plan_bundle(build_layers(run, fetch_wheels(run, lock), lock, segment_format, jobs))


def check_bundle(
    run: Run, options: BuildOptions, contents: Contents, base: BaseProfile | None
) -> CheckResult:
    """Check the bundle in each of its usage modes.

    :raises ClosureError: if a check itself fails; faults of the bundle are in the result.
    """
    provided = contents.provided.provided
    base_plan = None
    if "mount" in options.modes:
        base_plan = partial(_base_packages, run, options, contents, base)
    result = run_checks(
        CheckRequest(
            plan=contents.plan,
            segment_format=options.segment_format,
            roots=named_requirements(contents.lock.requirements),
            # A bundle that omits distributions of the base is complete only when it is mounted into it.
            modes=tuple(mode for mode in options.modes if mode == "mount" or not provided),
            base=base,
            base_plan=base_plan,
            server=server_requirements(options.server) if options.server else (),
            provided=provided,
            system_packages=options.requirements.system_packages if options.requirements else (),
            built_here=frozenset(contents.wheels.built),
            code=options.code,
            run_init=options.run_init,
            model_dir=options.model_dir,
            allowed_imports=options.allow_import_failure,
            allowed=(*options.allow, *(f"M108:{canonicalize_name(name)}" for name in options.allow_pth)),
            jobs=options.jobs,
            reverify=options.reverify,
        ),
        run.interpreter,
        sandbox=run.sandbox.result(),
        store=run.store,
        host=run.host,
        reporter=run.reporter,
    )
    for name in sorted(contents.wheels.built):
        if floor := _glibc_of(name, contents.plan, result):
            run.reporter.stage("verify", f"{name} was built here: it needs glibc {floor} or newer")
    return result


def accept_bundle(run: Run, options: BuildOptions, result: CheckResult, manifest: Manifest) -> None:
    """Refuse a bundle with errors, else report the findings.

    The store keeps the manifest of a refused bundle: no archive has it, and `bundler explain` reads it.

    :raises ClosureError: if there is an error that ``--allow`` does not list.
    """
    if result.report.errors:
        # With the findings about the user's code, which a bundle does not contain.
        run.store.remember(*REFUSED, {**manifest.to_json(), "verification": result.report.to_json(code=True)})
    result.report.raise_for_errors()
    suffix = "" if options.as_folder else SUFFIXES[options.codec]
    path = display_path(options.folder / manifest.stem, run.host.cwd)
    _report_checks(result, run.reporter, bundle=f"{path}{suffix}")


def _report_checks(result: CheckResult, reporter: Reporter, *, bundle: str) -> None:
    """Report the outcomes of the checks, errors and warnings; ``bundle`` is its future path, for hints."""
    report = result.report
    is_static = any(finding.code == NOT_IMPORTED for finding in report.findings)
    if is_static:
        reporter.stage("verify", "static checks only: the code of the target cannot run here")
    for text in result.sandbox.missing() if not is_static else ():
        reporter.note(f"sandbox of the imports: {text}")
    for mode in report.modes if not is_static else ():
        how = f"{USAGE_MODES[mode.mode]} ({'from an earlier run' if mode.cached else result.sandbox})"
        reporter.stage("verify", f"{mode.imported} of {len(mode.outcomes)} modules import {how}")
        for line in mode.exceptions(report.allowed_imports):
            reporter.stage("", line)
    if count := len(report.shared_objects):
        floor = f"glibc {report.glibc} or newer" if report.glibc else "no glibc needed"
        reporter.stage("verify", f"{counted(count, 'shared object')}: {floor}")
    if result.entry is not None:
        done = "init() ran" if result.entry["init"] else "all its imports resolve"
        reporter.stage("verify", f"{result.entry['entry_script']}: {done}")
    warnings = [finding for finding in report.findings if finding.rule.severity != "note"]
    for finding in warnings[:_SHOWN]:
        reporter.warn(f"{finding.code}  {finding.message}")
    if len(warnings) > _SHOWN:
        reporter.warn(f"and {len(warnings) - _SHOWN} more: `bundler inspect {bundle}` lists them")
    if notes := len(report.findings) - len(warnings):
        reporter.note(f"{counted(notes, 'note')} in the manifest: `bundler inspect {bundle} --notes`")


def _glibc_of(name: NormalizedName, plan: BundlePlan, result: CheckResult) -> str:
    """Return the glibc that the shared objects of a distribution need; empty if they need none."""
    paths = {file.path for layer, file in plan.files() if layer.name == name}
    versions = (
        shared["versions"].get("GLIBC", "")
        for shared in result.report.shared_objects
        if shared["path"] in paths
    )
    return max(versions, key=numbers, default="")


def _base_packages(
    run: Run,
    options: BuildOptions,
    contents: Contents,
    base: BaseProfile | None,
    imported: Collection[NormalizedName],
) -> BundlePlan | None:
    """Return the base packages that the bundle is mounted over in the checks, or None if there are none.

    These are the inference server, the distributions that the bundle omits, and those
    that it imports from the base. They are fetched from the index in the versions of the
    base, so that the checks need no file of the base.

    :param imported: distributions of the base whose modules the bundle imports.
    """
    wanted = {str(name): str(version) for name, version in contents.provided.provided.items()}
    if base is not None:
        wanted |= {str(name): str(base.distributions[name].version) for name in imported}
    if options.server is not None:
        wanted[SERVER] = options.server
    elif base is not None and SERVER in base.distributions:
        wanted[SERVER] = str(base.distributions[SERVER].version)
    if not wanted:
        return None
    installed = base.distributions.values() if base is not None else ()
    return plan_requirements(
        run,
        [f"{name}=={version}" for name, version in sorted(wanted.items())],
        options.segment_format,
        options.jobs,
        pins=[f"{distribution.name}=={distribution.version}" for distribution in installed],
    )


def describe_bundle(run: Run, options: BuildOptions, contents: Contents, result: CheckResult) -> Manifest:
    """Return the manifest of the bundle."""
    lock = contents.lock
    lock_text = render_bundle_lock(run, lock)
    build_requires = {name: wheel.requires for name, wheel in contents.wheels.built.items()}
    return make_manifest(
        {
            "name": options.name,
            "version": options.version or _default_version(lock_text, options),
            "epoch": options.epoch,
            "base": _base_section(options, contents.provided),
            "target": run.interpreter.target.to_json(),
            "requirements": list(lock.requirements),
            "indexes": sorted({package.index for package in lock.packages if package.index}),
            "distributions": [
                distribution_section(layer, lock, build_requires) for layer in contents.plan.layers
            ],
            "files": list(files_section(contents.plan, lock_text)),
            "verification": result.report.to_json(),
            "host": _host_section(run, result),
        }
    )


def _default_version(lock: bytes, options: BuildOptions) -> str:
    """Return the version of a bundle from its lock, and from the other options that change its files."""
    return sha256_of(lock)[:12] + (f"-slim-{options.slim}" if options.slim else "")


def _base_section(options: BuildOptions, provided: ProvidedByBase) -> dict[str, Any]:
    """Return the requirements on the base: distributions by version, and conda packages."""
    section: dict[str, Any] = {
        "provided": {name: str(version) for name, version in provided.provided.items()}
    }
    packages = options.requirements.system_packages if options.requirements else ()
    if packages:
        section["conda"] = sorted({package.text for package in packages})
    return section


def _host_section(run: Run, result: CheckResult) -> dict[str, Any]:
    """Return the description of this machine, which is not part of the identity of a bundle."""
    tools = {name: version_of(name) for name in ("isal", "packaging", "pip", "virtualenv", "wheel")}
    return {
        "bundler": __version__,
        "libc": run.interpreter.own.libc,
        "sandbox": result.sandbox.to_json(),
        "tools": tools,
    }
