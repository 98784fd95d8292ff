"""The one place that knows the order of the stages.

requirements -> lock -> wheels -> layers -> (clean virtualenv: verify) ->
manifest -> bundle. Each stage is a function of the module that bears its name;
here they are called, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from bundler import __version__
from bundler.base_image.reader import read_base
from bundler.bundle.manifest import Manifest, distribution_section, files_section, make_manifest
from bundler.bundle.plan import BundlePlan, plan_bundle
from bundler.bundle.segment import SegmentFormat
from bundler.bundle.writer import Output, write_bundle
from bundler.checks.provided import NOTHING_PROVIDED, ProvidedByBase
from bundler.checks.run import CheckResult
from bundler.digest import sha256_of
from bundler.errors import MalformedError
from bundler.resolve.index import IndexSettings
from bundler.resolve.lockfile import Lock, render_lock
from bundler.target.interpreter import Interpreter

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

from bundler.pipeline.options import BuildOptions, LockOptions
from bundler.pipeline.stages import Session, open_session

__all__ = ["BuildOptions", "Built", "LockOptions", "Locking", "build_bundle", "lock_requirements"]

# Lines of setuptools and of old namespace packages that are known, and harmless
# where .pth files are processed at all.
_KNOWN_PTH = re.compile(r".*-nspkg\.pth|distutils-precedence\.pth")


@dataclass(frozen=True, kw_only=True)
class Locking:
    """A choice of distributions, and what it was made with."""

    lock: Lock
    interpreter: Interpreter
    settings: IndexSettings


@dataclass(frozen=True, kw_only=True)
class Built:
    """A bundle that was built, verified and written."""

    output: Output
    manifest: Manifest
    proof: CheckResult
    built_here: tuple[str, ...]
    """The names of the distributions whose wheel was built here."""


def lock_requirements(
    options: LockOptions, *, host: HostEnvironment, store: Store, reporter: Reporter
) -> Locking:
    """Choose distributions for requirements."""
    with open_session(options, host, store, reporter) as session:
        return Locking(lock=session.resolve(), interpreter=session.interpreter, settings=session.settings)


def build_bundle(options: BuildOptions, *, host: HostEnvironment, store: Store, reporter: Reporter) -> Built:
    """Build, verify and write a bundle.

    :raises BundlerError: the class tells which stage refused; nothing is left then.
    """
    with open_session(options, host, store, reporter) as session:
        lock = session.read_lock(options.lock) if options.lock else session.resolve()
        wheels, built = session.wheels(lock)
        form = SegmentFormat(root=options.name, codec=options.codec, epoch=options.epoch)
        layers = session.layers(wheels, lock, form, options.jobs)
        base = read_base(options.base) if options.base else None
        omitted = session.omit(layers, lock, base) if options.omit_provided and base else NOTHING_PROVIDED
        plan = plan_bundle(layer for layer in layers if not omitted.has(layer.name))
        _check_pth(plan, options.allow_pth)
        proof = session.run_checks(plan, form, lock, options, base, omitted)
        lock_text = render_lock(lock, session.interpreter.target, lambda path: path.name).encode()
        build_requires = {name: wheel.requires for name, wheel in built.items()}
        manifest = make_manifest(
            {
                "name": options.name,
                "version": options.version or sha256_of(lock_text)[:12],
                "epoch": options.epoch,
                "base": _base(omitted, session),
                "target": session.interpreter.target.to_json(),
                "requirements": list(lock.requirements),
                "indexes": sorted({package.index for package in lock.packages if package.index}),
                "distributions": [distribution_section(layer, lock, build_requires) for layer in plan.layers],
                "files": list(files_section(plan, lock_text)),
                "verification": proof.report.to_json(),
                "host": _host(proof, session),
            }
        )
        output = write_bundle(
            manifest,
            lock_text,
            plan,
            form,
            stem=options.folder / manifest.stem,
            as_folder=options.as_folder,
            store=store,
            reporter=reporter,
        )
        reporter.stage("bundle", f"{len(manifest.files) + 1} files in `{output.path.name}`")
    return Built(output=output, manifest=manifest, proof=proof, built_here=tuple(sorted(built)))


def _check_pth(plan: BundlePlan, allowed: Sequence[str]) -> None:
    names = {canonicalize_name(name) for name in allowed}
    refused = [
        f"{layer.name}: {name}"
        for layer in plan.layers
        for name in layer.pth
        if layer.name not in names and not _KNOWN_PTH.fullmatch(name)
    ]
    if refused:
        raise MalformedError(
            "a distribution runs code at every start of Python, by a `.pth` file",
            evidence=tuple(refused),
            hint=f"if you trust it, pass `--allow-pth {refused[0].partition(':')[0]}`",
        )


def _base(omitted: ProvidedByBase, session: Session) -> dict[str, Any]:
    """Return what the base must have: distributions by version, and what conda packages stood for."""
    provided = {name: str(found) for name, found in omitted.provided.items()}
    conda = sorted({one.text for one in session.from_base})
    return {"provided": provided, **({"conda": conda} if conda else {})}


def _host(proof: CheckResult, session: Session) -> dict[str, Any]:
    """Return the facts of this machine; they do not count for the identity of a bundle."""
    tools = {name: version_of(name) for name in ("isal", "packaging", "pip", "virtualenv", "wheel")}
    return {
        "bundler": __version__,
        "libc": session.interpreter.target.libc,
        "sandbox": proof.sandbox.to_json(),
        "tools": tools,
    }
