"""What the stages of one run share, and each stage as one call.

`pipeline.build` knows their order; here is what each of them is given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, parse_wheel_filename

from bundler.base_image.profile import BaseProfile
from bundler.bundle.layer import Layer
from bundler.bundle.layer_builder import LayerBuilder, WheelRef
from bundler.bundle.plan import BundlePlan, plan_bundle
from bundler.bundle.segment import SegmentFormat
from bundler.checks.provided import ProvidedByBase, plan_provided
from bundler.checks.run import CheckRequest, CheckResult, report_checks, run_checks
from bundler.data.inference_server import SERVER, server_requirements
from bundler.errors import InputError, IntegrityError, MalformedError
from bundler.pipeline.options import BuildOptions, LockOptions
from bundler.pipeline.target import find_target
from bundler.requirements.files import read_requirements
from bundler.resolve.download import Download, fetch_all
from bundler.resolve.index import read_index_settings
from bundler.resolve.lockfile import Lock, LockedDistribution, check_lock, parse_lock
from bundler.resolve.pip import Toolchain, install_toolchain
from bundler.resolve.resolver import PipResolver
from bundler.resolve.sdist import BuiltWheel, build_wheel

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["Session", "open_session"]


@contextmanager
def open_session(
    options: LockOptions, host: HostEnvironment, store: Store, reporter: Reporter
) -> Iterator[Session]:
    """Hold the store for one run, with a private folder in it."""
    with store.in_use(), store.scratch() as scratch:
        yield Session(options, host, store, reporter, scratch)


class Session:
    """What the stages of one run share: a private folder, the interpreter, the index, the toolchain."""

    def __init__(
        self,
        options: LockOptions,
        host: HostEnvironment,
        store: Store,
        reporter: Reporter,
        scratch: Path,
    ) -> None:
        self._options = options
        self._host = host
        self._store = store
        self._reporter = reporter
        self._scratch = scratch
        self._toolchain: Toolchain | None = None
        for found in host.ignored_settings():
            reporter.note(f"neutralised {found}")
        for warning in options.requirements.warnings if options.requirements else ():
            reporter.warn(warning)
        conda = options.requirements.conda if options.requirements else None
        for story in conda.translations() if conda else ():
            reporter.note(story)
        self.from_base = conda.read.from_base if conda else ()
        self.interpreter = find_target(options.python, conda, host, scratch, reporter)
        self.settings = read_index_settings(
            host,
            scratch,
            flags=options.index,
            from_files=options.requirements.options if options.requirements else None,
        )
        reporter.stage("target", f"CPython {self.interpreter.target.version} at {self.interpreter.python}")

    def toolchain(self) -> Toolchain:
        """Return the target's pip, fetched when it is first needed."""
        if self._toolchain is None:
            for line in self.settings.summary():
                self._reporter.note(f"index: {line}")
            self._toolchain = install_toolchain(
                self.interpreter,
                self.settings,
                host=self._host,
                store=self._store,
                scratch=self._scratch,
                reporter=self._reporter,
            )
        return self._toolchain

    def resolve(self) -> Lock:
        """Return the target's pip's choice of distributions."""
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
        """Return a choice that was made before, if it still fits the requirements.

        :raises InputError: if it does not, or is no lock.
        """
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"`{path}` cannot be read", evidence=(str(error),)) from error
        lock = parse_lock(text, source=path, target=self.interpreter.target)
        if self._options.requirements is not None:
            check_lock(lock, self._options.requirements.roots, self.interpreter.target, path.name)
        self._reporter.stage("lock", f"{len(lock.packages)} distributions from {path.name}")
        return lock

    def wheels(self, lock: Lock) -> tuple[list[WheelRef], dict[NormalizedName, BuiltWheel]]:
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
                    WheelRef(sha256=made.sha256, filename=made.filename, forbidden=made.build_dir.encode())
                )
            elif package.sha256:
                wheels.append(WheelRef(sha256=package.sha256, filename=package.filename))
        outcome = f"{len(lock.packages) - len(sources)} fetched"
        self._reporter.stage("wheels", outcome + (f", {len(sources)} built here" if sources else ""))
        return wheels, built

    def layers(
        self, wheels: Sequence[WheelRef], lock: Lock, form: SegmentFormat, jobs: int
    ) -> tuple[Layer, ...]:
        """Return the layer of each wheel, if it is the distribution that was locked.

        :raises MalformedError: if a wheel is not for the target.
        :raises IntegrityError: if it is another distribution.
        """
        tags = frozenset(self.interpreter.target.tags)
        for wheel in wheels:
            if not parse_wheel_filename(wheel.filename)[3] & tags:
                raise MalformedError(
                    f"`{wheel.filename}` is not for {self.interpreter.target.name}",
                    evidence=(
                        f"wanted  one of {self.interpreter.target.tags[0]} and {len(tags) - 1} more tags",
                    ),
                )
        maker = LayerBuilder(interpreter=self.interpreter, store=self._store, host=self._host, form=form)
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

    def omit(self, layers: Sequence[Layer], lock: Lock, base: BaseProfile) -> ProvidedByBase:
        """Return what the base can stand in for."""
        omitted = plan_provided(
            base,
            _roots(lock),
            {layer.name: layer.requirements() for layer in layers},
            self.interpreter.target.markers,
            versions={layer.name: layer.version for layer in layers},
        )
        listed = ", ".join(f"{name} {version}" for name, version in omitted.provided.items())
        self._reporter.stage("base", f"has {listed}" if listed else "has nothing that the bundle could omit")
        return omitted

    def base_plan(
        self,
        options: BuildOptions,
        base: BaseProfile | None,
        omitted: ProvidedByBase,
        taken: Collection[NormalizedName],
    ) -> BundlePlan | None:
        """Return what the bundle is tried over: the base's server, and what it leaves to and takes from it.

        They are fetched in the base's own versions; no file of the base itself is needed.

        :param taken: distributions of the base whose modules the bundle imports.
        """
        wanted = {str(name): str(version) for name, version in omitted.provided.items()}
        if base is not None:
            wanted |= {str(name): str(base.distributions[name].version) for name in taken}
        if options.server is not None:
            wanted[SERVER] = options.server
        elif base is not None and SERVER in base.distributions:
            wanted[SERVER] = str(base.distributions[SERVER].version)
        if not wanted:
            return None
        listed = base.distributions.values() if base is not None else ()
        form = SegmentFormat(root=options.name, codec=options.codec, epoch=options.epoch)
        return self.plan_of(
            [f"{name}=={version}" for name, version in sorted(wanted.items())],
            form,
            options.jobs,
            pins=[f"{one.name}=={one.version}" for one in listed],
        )

    def plan_of(
        self, strings: Sequence[str], form: SegmentFormat, jobs: int, *, pins: Sequence[str] = ()
    ) -> BundlePlan:
        """Return what some requirements bring, in layers.

        :param pins: constraints, one requirement each.
        """
        constraints = self._scratch / "pins.txt"
        constraints.write_text("".join(f"{pin}\n" for pin in pins))
        requirements = read_requirements(self._host, constraints=(constraints,), strings=strings)
        resolver = PipResolver(self.toolchain(), only_binary=self._options.only_binary)
        lock = resolver.resolve(requirements, reporter=self._reporter)
        wheels, _ = self.wheels(lock)
        return plan_bundle(self.layers(wheels, lock, form, jobs))

    def run_checks(
        self,
        plan: BundlePlan,
        form: SegmentFormat,
        lock: Lock,
        options: BuildOptions,
        base: BaseProfile | None,
        omitted: ProvidedByBase,
    ) -> CheckResult:
        """Try the bundle in every way it is to be used."""
        # Without what it leaves to the base a bundle is not complete.
        ways = tuple(way for way in options.ways if way == "mount" or not omitted.provided)
        claim = CheckRequest(
            plan=plan,
            form=form,
            roots=_roots(lock),
            ways=ways,
            base=base,
            base_plan=partial(self.base_plan, options, base, omitted) if "mount" in options.ways else None,
            server=server_requirements(options.server) if options.server else (),
            provided=omitted.provided,
            from_base=self.from_base,
            code=options.code,
            run_init=options.run_init,
            model_dir=options.model_dir,
            target_glibc=options.target_glibc,
            allowed_imports=options.allow_import_failure,
            allowed=options.allow,
            jobs=options.jobs,
            reverify=options.reverify,
        )
        proof = run_checks(
            claim,
            self.interpreter,
            store=self._store,
            host=self._host,
            reporter=self._reporter,
        )
        proof.report.raise_for_errors()
        report_checks(proof, self._reporter)
        return proof


def _roots(lock: Lock) -> list[Requirement]:
    return [root for text in lock.requirements if (root := _requirement(text))]


def _is_file(package: LockedDistribution) -> bool:
    return package.kind in ("wheel", "sdist")


def _download(package: LockedDistribution) -> Download:
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
