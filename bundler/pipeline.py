"""The one place that knows the order of the stages.

requirements -> lock -> wheels -> layers -> (clean virtualenv: verify) ->
manifest -> bundle. Each stage is a function of the module that bears its name;
here they are called, one after the other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

from bundler import __version__
from bundler.archive import Output, write_bundle
from bundler.base import Base, read_base
from bundler.build import BuiltWheel, build_wheel
from bundler.bundle import Plan, plan_bundle
from bundler.codec import Codec
from bundler.conflicts import NOTHING_OMITTED, Omission, plan_omission
from bundler.describe import describe_distribution, describe_files
from bundler.digest import sha256_of
from bundler.errors import InputError, IntegrityError, MalformedError
from bundler.fetch import Download, fetch_all
from bundler.images import SERVER, server_requirements
from bundler.index import IndexSettings, read_index_settings
from bundler.interpreter import Interpreter, find_interpreter
from bundler.layer import Layer
from bundler.layers import LayerMaker, WheelToLayer
from bundler.lock import Lock, Locked, check_lock, parse_lock, render_lock
from bundler.manifest import Manifest, make_manifest
from bundler.prove import Claim, Proof, prove, tell
from bundler.report import Way
from bundler.requirements import IndexOptions, RequirementSet, read_requirements
from bundler.resolve import PipResolver
from bundler.segments import Form
from bundler.toolchain import Toolchain, install_toolchain
from bundler.usercode import UserCode

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store import Store
    from bundler.surroundings import Surroundings

__all__ = ["BuildOptions", "Built", "LockOptions", "Locking", "build_bundle", "lock_requirements"]

# Lines of setuptools and of old namespace packages that are known, and harmless
# where .pth files are processed at all.
_KNOWN_PTH = re.compile(r".*-nspkg\.pth|distutils-precedence\.pth")


def _cores() -> int:
    """Return how many cores this process may use, which in a container is fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class LockOptions:
    """What decides the choice of distributions."""

    python: str
    """``--python``: a version or a path."""
    requirements: RequirementSet | None
    index: IndexOptions
    """The index settings of the command line."""
    only_binary: bool = False


@dataclass(frozen=True, kw_only=True)
class BuildOptions(LockOptions):
    """What decides a bundle."""

    lock: Path | None
    """A lockfile; then nothing is resolved."""
    name: str
    version: str | None
    """None takes the first 12 characters of the lock's digest."""
    folder: Path
    """Where the bundle is written to."""
    codec: Codec
    as_folder: bool
    epoch: int
    ways: tuple[Way, ...] = ("mount", "venv")
    code: UserCode | None = None
    run_init: bool = False
    model_dir: Path | None = None
    target_glibc: str | None = None
    base: Path | None = None
    """What is known of the base: a profile, a freeze, a root filesystem, an image."""
    server: str | None = None
    """The version of azureml-inference-server-http that the bundle is to live with."""
    omit_provided: bool = False
    reverify: bool = False
    allow: tuple[str, ...] = ()
    allow_import_failure: tuple[str, ...] = ()
    allow_pth: tuple[str, ...] = ()
    jobs: int = field(default_factory=_cores)


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
    proof: Proof
    built_here: tuple[str, ...]
    """The names of the distributions whose wheel was built here."""


def lock_requirements(
    options: LockOptions, *, surroundings: Surroundings, store: Store, reporter: Reporter
) -> Locking:
    """Choose distributions for requirements."""
    with _session(options, surroundings, store, reporter) as session:
        return Locking(lock=session.resolve(), interpreter=session.interpreter, settings=session.settings)


def build_bundle(
    options: BuildOptions, *, surroundings: Surroundings, store: Store, reporter: Reporter
) -> Built:
    """Build, verify and write a bundle.

    :raises BundlerError: the class tells which stage refused; nothing is left then.
    """
    with _session(options, surroundings, store, reporter) as session:
        lock = session.read_lock(options.lock) if options.lock else session.resolve()
        wheels, built = session.wheels(lock)
        form = Form(root=options.name, codec=options.codec, epoch=options.epoch)
        layers = session.layers(wheels, lock, form, options.jobs)
        base = read_base(options.base) if options.base else None
        omitted = session.omit(layers, lock, base) if options.omit_provided and base else NOTHING_OMITTED
        plan = plan_bundle(layer for layer in layers if not omitted.has(layer.name))
        _check_pth(plan, options.allow_pth)
        proof = session.prove(plan, form, lock, options, base, omitted)
        lock_text = render_lock(lock, session.interpreter.target, lambda path: path.name).encode()
        manifest = make_manifest(
            {
                "name": options.name,
                "version": options.version or sha256_of(lock_text)[:12],
                "epoch": options.epoch,
                "base": {"provided": {name: str(found) for name, found in omitted.provided.items()}},
                "target": session.interpreter.target.to_json(),
                "requirements": list(lock.requirements),
                "indexes": sorted({package.index for package in lock.packages if package.index}),
                "distributions": [describe_distribution(layer, lock, built) for layer in plan.layers],
                "files": list(describe_files(plan, lock_text)),
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


@contextmanager
def _session(
    options: LockOptions, surroundings: Surroundings, store: Store, reporter: Reporter
) -> Iterator[_Session]:
    with store.in_use(), store.scratch() as scratch:
        yield _Session(options, surroundings, store, reporter, scratch)


class _Session:
    """What the stages of one run share: a private folder, the interpreter, the index, the toolchain."""

    def __init__(
        self,
        options: LockOptions,
        surroundings: Surroundings,
        store: Store,
        reporter: Reporter,
        scratch: Path,
    ) -> None:
        self._options = options
        self._surroundings = surroundings
        self._store = store
        self._reporter = reporter
        self._scratch = scratch
        self._toolchain: Toolchain | None = None
        for found in surroundings.neutralised():
            reporter.note(f"neutralised {found}")
        for warning in options.requirements.warnings if options.requirements else ():
            reporter.warn(warning)
        self.interpreter = find_interpreter(options.python, surroundings, scratch)
        self.settings = read_index_settings(
            surroundings,
            scratch,
            flags=options.index,
            from_files=options.requirements.options if options.requirements else None,
        )
        reporter.stage("target", f"CPython {self.interpreter.target.version} at {self.interpreter.python}")

    def toolchain(self) -> Toolchain:
        """Return the target's pip, fetched when it is first needed."""
        if self._toolchain is None:
            for line in self.settings.shown():
                self._reporter.note(f"index: {line}")
            self._toolchain = install_toolchain(
                self.interpreter,
                self.settings,
                surroundings=self._surroundings,
                store=self._store,
                scratch=self._scratch,
                reporter=self._reporter,
            )
        return self._toolchain

    def resolve(self) -> Lock:
        requirements = self._options.requirements
        if requirements is None:
            raise InputError("there are no requirements", hint="pass `-r requirements.txt`")
        if not requirements.roots:
            return Lock(requirements=(), packages=())
        resolver = PipResolver(self.toolchain(), only_binary=self._options.only_binary)
        lock = resolver.resolve(requirements, reporter=self._reporter)
        self._reporter.stage(
            "lock", f"{len(lock.packages)} distributions by pip {self.toolchain().versions['pip']}"
        )
        return lock

    def read_lock(self, path: Path) -> Lock:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"`{path}` cannot be read", evidence=(str(error),)) from error
        lock = parse_lock(text, source=path, target=self.interpreter.target)
        if self._options.requirements is not None:
            check_lock(lock, self._options.requirements.roots, self.interpreter.target, path.name)
        self._reporter.stage("lock", f"{len(lock.packages)} distributions from {path.name}")
        return lock

    def wheels(self, lock: Lock) -> tuple[list[WheelToLayer], dict[NormalizedName, BuiltWheel]]:
        """Fetch every file of the lock and build what is no wheel."""
        downloads = [_download(package) for package in lock.packages if package.sha256 and _is_file(package)]
        fetch_all(downloads, self._store, self.settings, reporter=self._reporter)
        sources = [package for package in lock.packages if package.kind != "wheel"]
        if sources and self._options.only_binary:
            raise InputError(
                "the lock holds source distributions, and `--only-binary` refuses them",
                evidence=tuple(f"{package.name}  {package.filename}" for package in sources),
            )
        built = {}
        with self._reporter.task("building", len(sources)) as task:
            for package in sources:
                built[package.name] = build_wheel(
                    package, self.interpreter.target, self.toolchain, self._store
                )
                task.advance()
        wheels = []
        for package in lock.packages:
            if package.name in built:
                made = built[package.name]
                wheels.append(
                    WheelToLayer(
                        sha256=made.sha256, filename=made.filename, forbidden=made.build_dir.encode()
                    )
                )
            elif package.sha256:
                wheels.append(WheelToLayer(sha256=package.sha256, filename=package.filename))
        outcome = f"{len(lock.packages) - len(sources)} fetched"
        self._reporter.stage("wheels", outcome + (f", {len(sources)} built here" if sources else ""))
        return wheels, built

    def layers(self, wheels: Sequence[WheelToLayer], lock: Lock, form: Form, jobs: int) -> tuple[Layer, ...]:
        tags = frozenset(self.interpreter.target.tags)
        for wheel in wheels:
            if not parse_wheel_filename(wheel.filename)[3] & tags:
                raise MalformedError(
                    f"`{wheel.filename}` is not for {self.interpreter.target.name}",
                    evidence=(
                        f"wanted  one of {self.interpreter.target.tags[0]} and {len(tags) - 1} more tags",
                    ),
                )
        maker = LayerMaker(
            interpreter=self.interpreter, store=self._store, surroundings=self._surroundings, form=form
        )
        layers = maker.make_all(wheels, jobs=jobs, reporter=self._reporter)
        for layer, package in zip(layers, lock.packages, strict=True):
            if layer.name != package.name or (package.version and layer.version != package.version):
                raise IntegrityError(
                    f"`{layer.wheel}` is not the distribution that was locked",
                    evidence=(
                        f"wanted  {package.name} {package.version}",
                        f"found   {layer.name} {layer.version}",
                    ),
                )
        size = sum(layer.size for layer in layers)
        self._reporter.stage("layers", f"{len(layers)}, {size / 1e6:.1f} MB unpacked")
        return layers

    def omit(self, layers: Sequence[Layer], lock: Lock, base: Base) -> Omission:
        """Return what the base can stand in for."""
        omitted = plan_omission(
            base,
            _roots(lock),
            {layer.name: layer.requirements() for layer in layers},
            self.interpreter.target.markers,
            versions={layer.name: layer.version for layer in layers},
        )
        listed = ", ".join(f"{name} {version}" for name, version in omitted.provided.items())
        self._reporter.stage("base", f"has {listed}" if listed else "has nothing that the bundle could omit")
        return omitted

    def base_plan(self, options: BuildOptions, base: Base | None, omitted: Omission) -> Plan | None:
        """Return what the bundle is tried over: the base's server, and what it leaves to the base.

        They are fetched in the base's own versions; no file of the base itself is needed.
        """
        wanted = {str(name): str(version) for name, version in omitted.provided.items()}
        if options.server is not None:
            wanted[SERVER] = options.server
        elif base is not None and SERVER in base.distributions:
            wanted[SERVER] = str(base.distributions[SERVER].version)
        if not wanted:
            return None
        pins = self._scratch / "base.txt"
        listed = base.distributions.values() if base is not None else ()
        pins.write_text("".join(f"{one.name}=={one.version}\n" for one in listed))
        requirements = read_requirements(
            self._surroundings,
            files=(),
            constraints=(pins,),
            strings=[f"{name}=={version}" for name, version in sorted(wanted.items())],
        )
        lock = PipResolver(self.toolchain(), only_binary=options.only_binary).resolve(
            requirements, reporter=self._reporter
        )
        form = Form(root=options.name, codec=options.codec, epoch=options.epoch)
        wheels, _ = self.wheels(lock)
        return plan_bundle(self.layers(wheels, lock, form, options.jobs))

    def prove(
        self,
        plan: Plan,
        form: Form,
        lock: Lock,
        options: BuildOptions,
        base: Base | None,
        omitted: Omission,
    ) -> Proof:
        """Try the bundle in every way it is to be used."""
        # Without what it leaves to the base a bundle is not complete, so it is tried over that alone.
        ways = () if omitted.provided else options.ways
        claim = Claim(
            plan=plan,
            form=form,
            roots=_roots(lock),
            ways=ways,
            base=base,
            base_plan=self.base_plan(options, base, omitted) if "mount" in options.ways else None,
            server=server_requirements(options.server) if options.server else (),
            provided=omitted.provided,
            code=options.code,
            run_init=options.run_init,
            model_dir=options.model_dir,
            target_glibc=options.target_glibc,
            allowed_imports=options.allow_import_failure,
            allowed=options.allow,
            jobs=options.jobs,
            reverify=options.reverify,
        )
        proof = prove(
            claim,
            self.interpreter,
            store=self._store,
            surroundings=self._surroundings,
            reporter=self._reporter,
        )
        proof.report.raise_for_errors()
        tell(proof, self._reporter)
        return proof


def _roots(lock: Lock) -> list[Requirement]:
    return [root for text in lock.requirements if (root := _requirement(text))]


def _is_file(package: Locked) -> bool:
    return package.kind in ("wheel", "sdist")


def _download(package: Locked) -> Download:
    if package.sha256 is None:
        raise InputError(f"`{package.name}` has no sha256 in the lock")
    return Download(
        name=package.name,
        url=package.location,
        sha256=package.sha256,
        size=package.size,
        filename=package.filename,
    )


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except ValueError:
        return None  # a path or an address without a name


def _check_pth(plan: Plan, allowed: Sequence[str]) -> None:
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


def _host(proof: Proof, session: _Session) -> dict[str, Any]:
    """Return the facts of this machine; they do not count for the identity of a bundle."""
    tools = {name: version_of(name) for name in ("isal", "packaging", "pip", "virtualenv", "wheel")}
    return {
        "bundler": __version__,
        "libc": session.interpreter.target.libc,
        "sandbox": proof.sandbox.to_json(),
        "tools": tools,
    }
