"""Lock requirements, and build bundles: lock, wheels, layers, plan, checks, manifest, archive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bundler.base_image.reader import read_base
from bundler.bundle.manifest import Manifest
from bundler.bundle.writer import Output, write_bundle
from bundler.checks.run import CheckResult
from bundler.pipeline.inputs import (
    fetch_wheels,
    read_lock,
    read_lock_text,
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
    plan_base,
    plan_contents,
)
from bundler.resolve.lockfile import Lock, locked_glibc
from bundler.store.maintenance import heal
from bundler.system.atomic import check_writable
from bundler.target.target import Target

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["Built", "Locked", "build_bundle", "lock_requirements"]


@dataclass(frozen=True, kw_only=True)
class Locked:
    """The result of `lock_requirements`."""

    lock: Lock
    target: Target


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
            lock, _ = resolve_requirements(run, options.requirements)
            return Locked(lock=lock, target=run.interpreter.target)

    return heal(store, work)


def build_bundle(options: BuildOptions, *, host: HostEnvironment, store: Store, reporter: Reporter) -> Built:
    """Build, check and write a bundle; damaged parts of the store are created again.

    :raises BundlerError: of the class of the failed stage; no output is written then.
    """
    check_writable(options.folder)
    return heal(store, lambda: _build(options, host, store, reporter))


def _build(options: BuildOptions, host: HostEnvironment, store: Store, reporter: Reporter) -> Built:
    base = read_base(options.base) if options.base else None
    lock_text = read_lock_text(options.lock) if options.lock else ""
    base_glibc = base.glibc if base is not None else None
    with open_run(
        options, host, store, reporter, base_glibc=base_glibc, locked_glibc=locked_glibc(lock_text)
    ) as run:
        if options.lock is not None:
            lock, requirements = read_lock(run, options.lock, lock_text, options.requirements)
        else:
            lock, requirements = resolve_requirements(run, options.requirements)
        options = replace(options, requirements=requirements)
        wheels = fetch_wheels(run, lock)
        layers = build_layers(run, wheels, lock, options.segment_format, options.jobs)
        provided = plan_base(run, layers, lock, base if options.omit_provided else None)
        contents = plan_contents(run, lock, wheels, layers, provided, options)
        result = check_bundle(run, options, contents, base)
        manifest = describe_bundle(run, options, contents, result)
        accept_bundle(run, options, result, manifest)
        output = write_bundle(
            manifest,
            render_bundle_lock(run, lock),
            contents.plan,
            options.segment_format,
            stem=options.folder / manifest.stem,
            as_folder=options.as_folder,
            store=store,
            reporter=reporter,
        )
        reporter.stage("bundle", f"{len(manifest.files) + 1} files in `{output.path.name}`")
    return Built(output=output, manifest=manifest, result=result, built_here=tuple(sorted(wheels.built)))
