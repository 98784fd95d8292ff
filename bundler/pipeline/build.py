"""Lock requirements, and build bundles: lock, wheels, layers, plan, checks, manifest, archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bundler.base_image.reader import read_base
from bundler.bundle.manifest import Manifest
from bundler.bundle.writer import Output, write_bundle
from bundler.checks.run import CheckResult
from bundler.digest import Sha256
from bundler.errors import OutputError, UsageError
from bundler.pipeline.inputs import (
    fetch_wheels,
    preferred_pins,
    read_lock,
    read_lock_text,
    read_previous,
    render_bundle_lock,
    resolve_requirements,
)
from bundler.pipeline.options import BuildOptions, LockOptions
from bundler.pipeline.run import open_run
from bundler.pipeline.stages import (
    accept_bundle,
    build_layers,
    check_bundle,
    describe_bundle,
    find_slim,
    plan_base,
    plan_contents,
)
from bundler.resolve.download import download_of, find_sizes
from bundler.resolve.lockfile import Lock, locked_glibc
from bundler.store.maintenance import heal
from bundler.system.atomic import check_writable, free_bytes
from bundler.target.target import Target
from bundler.text import counted, human_size

if TYPE_CHECKING:
    from bundler.base_image.profile import BaseProfile
    from bundler.pipeline.run import Run
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = [
    "BuildInputs",
    "Built",
    "Locked",
    "Planned",
    "build_bundle",
    "build_from",
    "lock_requirements",
    "open_build",
    "plan_build",
]


@dataclass(frozen=True, kw_only=True)
class Locked:
    """The result of `lock_requirements`."""

    lock: Lock
    target: Target
    previous: Lock | None = None
    """The lock of `LockOptions.previous`, if it is for the target."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The result of `plan_build`: the downloads and local builds of a build."""

    lock: Lock
    target: Target
    sizes: Mapping[Sha256, int | None]
    """The bytes of each wheel and sdist, None if the server does not state them."""
    stored: frozenset[Sha256]
    """The files that the store has already."""
    free: int
    """The free bytes on the disk of the output."""


@dataclass(frozen=True, kw_only=True)
class BuildInputs:
    """The inputs of a build, after its first stages: the open run, its lock, and the base."""

    run: Run
    base: BaseProfile | None
    lock: Lock
    options: BuildOptions
    """With the requirements that the lock satisfies."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """The result of `build_bundle`."""

    output: Output
    manifest: Manifest
    result: CheckResult
    built_here: tuple[str, ...]
    """The names of the distributions that were built from source, sorted."""


def lock_requirements(
    options: LockOptions, *, host: HostEnvironment, store: Store, reporter: Reporter
) -> Locked:
    """Resolve requirements for a target.

    :raises BundlerError: of the class of the failed stage; see `pipeline.stages`.
    """

    def work() -> Locked:
        with open_run(options, host, store, reporter) as run:
            previous = read_previous(run, options)
            lock, _ = resolve_requirements(
                run, options.requirements, preferred=preferred_pins(previous, options)
            )
            return Locked(lock=lock, target=run.interpreter.target, previous=previous)

    return heal(store, work)


def plan_build(options: BuildOptions, *, host: HostEnvironment, store: Store, reporter: Reporter) -> Planned:
    """Run the stages before the downloads of a build; nothing is written but the store.

    :raises BundlerError: of the class of the failed stage; an `OutputError` also if the files alone are
        larger than the free space of the output.
    """
    check_writable(options.folder)
    return heal(store, lambda: _plan(options, host, store, reporter))


def _plan(options: BuildOptions, host: HostEnvironment, store: Store, reporter: Reporter) -> Planned:
    with open_build(options, host, store, reporter) as inputs:
        run, lock = inputs.run, inputs.lock
        files = [
            package for package in lock.packages if package.sha256 and package.kind in ("wheel", "sdist")
        ]
        downloads = [download_of(package) for package in files]
        stored = frozenset(item.sha256 for item in downloads if store.has(item.sha256))
        if options.lock is not None and len(stored) < len(downloads):
            count = counted(len(downloads) - len(stored), "file")
            run.reporter.note(f"{count} of the lock: the digest is checked by the download of the build")
        sizes = find_sizes(downloads, store, run.settings)
        free = free_bytes(options.folder)
        if (needed := sum(filter(None, sizes.values()))) > free:
            raise OutputError(
                f"not enough space for the bundle in `{options.folder}`",
                evidence=(f"wanted  more than {human_size(needed)}", f"found   {human_size(free)}"),
                hint="pass a directory on another disk with `-o`",
            )
        return Planned(lock=lock, target=run.interpreter.target, sizes=sizes, stored=stored, free=free)


def build_bundle(options: BuildOptions, *, host: HostEnvironment, store: Store, reporter: Reporter) -> Built:
    """Build, check and write a bundle; damaged parts of the store are created again.

    :raises BundlerError: of the class of the failed stage; no output is written then.
    """
    check_writable(options.folder)

    def work() -> Built:
        with open_build(options, host, store, reporter) as inputs:
            return build_from(inputs)

    return heal(store, work)


@contextmanager
def open_build(
    options: BuildOptions, host: HostEnvironment, store: Store, reporter: Reporter
) -> Iterator[BuildInputs]:
    """Open the run of a build, and read or create its lock."""
    base = read_base(options.base, reporter=reporter) if options.base else None
    lock_text = read_lock_text(options.lock) if options.lock else ""
    base_glibc = base.glibc if base is not None else None
    with open_run(
        options, host, store, reporter, base_glibc=base_glibc, locked_glibc=locked_glibc(lock_text)
    ) as run:
        if run.interpreter.is_foreign and options.run_init:
            raise UsageError(
                f"`--run-init` runs code of the target, and {run.interpreter.target.name} cannot run here",
                hint="omit `--run-init`",
            )
        if options.lock is not None:
            lock, requirements = read_lock(run, options.lock, lock_text, options.requirements)
        else:
            lock, requirements = resolve_requirements(run, options.requirements)
        yield BuildInputs(run=run, base=base, lock=lock, options=replace(options, requirements=requirements))


def build_from(inputs: BuildInputs) -> Built:
    """Run the stages after the lock: fetch, build layers, check, and write the bundle."""
    run, lock, options = inputs.run, inputs.lock, inputs.options
    slim = find_slim(run, options)
    wheels = fetch_wheels(run, lock)
    layers = build_layers(run, wheels, lock, options.segment_format, options.jobs, slim=slim)
    provided = plan_base(run, layers, lock, inputs.base if options.omit_provided else None)
    contents = plan_contents(run, lock, wheels, layers, provided, options)
    result = check_bundle(run, options, contents, inputs.base)
    manifest = describe_bundle(run, options, contents, result)
    accept_bundle(run, options, result, manifest)
    output = write_bundle(
        manifest,
        render_bundle_lock(run, lock),
        contents.plan,
        options.segment_format,
        stem=options.folder / manifest.stem,
        as_folder=options.as_folder,
        store=run.store,
        reporter=run.reporter,
    )
    run.reporter.stage("bundle", f"{len(manifest.files) + 1} files in `{output.path.name}`")
    return Built(output=output, manifest=manifest, result=result, built_here=tuple(sorted(wheels.built)))
