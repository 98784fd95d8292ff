"""Stage 5, effect: check that a planned bundle works on its target, before it is written.

Each module is imported in each mode of use, each source file and shared object is read, and
the results are compared with the base. Faults become findings; nothing here raises for
them (see `report`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName
from packaging.version import Version

from bundler.base_image.profile import NO_BASE, BaseProfile
from bundler.bundle.plan import BundlePlan
from bundler.bundle.segment import SegmentFormat
from bundler.checks.base_compat import check_base, check_system_packages, unfit_for_server
from bundler.checks.contents import BundleContents, layer_facts
from bundler.checks.dependencies import unasked_extras, unmet_requirements
from bundler.checks.environments import CheckEnvironments
from bundler.checks.findings import Finding, not_imported
from bundler.checks.hidden_libraries import fails_without
from bundler.checks.import_results import HARMLESS, ImportResult, judge, mark_optional
from bundler.checks.modules import DistributionFacts
from bundler.checks.mount import mount_hazards
from bundler.checks.remedies import remedy
from bundler.checks.report import ClosureReport, ModeReport, UsageMode
from bundler.checks.scanner import Scanner
from bundler.checks.shared_objects import SharedObject, check_shared_objects, glibc_floor
from bundler.checks.source_imports import FileImports, ModuleIndex, import_findings
from bundler.checks.user_code import UserCode
from bundler.checks.user_code_run import CodeCheck, CodeChecker
from bundler.checks.wheels import wheel_findings
from bundler.system.memory import has_memory_for
from bundler.system.sandbox import Sandbox
from bundler.target.interpreter import Interpreter

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.requirements.conda.translate import SystemPackage
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["CheckRequest", "CheckResult", "run_checks"]


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """Inputs of one verification run: the planned bundle, the base, the user's code."""

    plan: BundlePlan
    segment_format: SegmentFormat
    roots: Sequence[Requirement]
    """The user's requirements."""
    modes: Sequence[UsageMode] = ("mount", "venv")
    base: BaseProfile | None = None
    """The profile of the base; None if there is no base."""
    base_plan: Callable[[Collection[NormalizedName]], BundlePlan | None] | None = None
    """Returns base packages in layers: the server, `provided`, and the distributions with these names."""
    server: tuple[Requirement, ...] = ()
    """The requirements of the base's server, for a base without metadata of it."""
    provided: Mapping[NormalizedName, Version] = field(default_factory=dict)
    """The distributions that the bundle leaves to the base, with the version it must have."""
    system_packages: Sequence[SystemPackage] = ()
    """The conda packages without a counterpart on an index, which the base must have."""
    built_here: Collection[NormalizedName] = ()
    """The distributions that were built from source on this machine."""
    code: UserCode | None = None
    """The user's code; None to check the bundle alone."""
    run_init: bool = False
    """Whether to run the entry script and call its init()."""
    model_dir: Path | None = None
    """The value of AZUREML_MODEL_DIR for init()."""
    allowed_imports: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    jobs: int = 1
    reverify: bool = False
    """Whether to import again although the store has the answers."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one verification run."""

    report: ClosureReport
    sandbox: Sandbox
    entry: Mapping[str, Any] | None
    """The scope of the check of the user's code, as plain values; None without code."""


def run_checks(
    request: CheckRequest,
    interpreter: Interpreter,
    *,
    sandbox: Sandbox,
    store: Store,
    host: HostEnvironment,
    reporter: Reporter,
) -> CheckResult:
    """Run all checks of one request in a private directory of the store.

    :param sandbox: the sandbox that imports run in.
    :raises ClosureError: if an import check itself fails; faults of the bundle are in the report.
    """
    sizes = [file.size for _, file in request.plan.files()]
    # Only with a root directory of its own: Landlock permits an import to write to all of /dev/shm.
    is_apart = sandbox.read_only and sandbox.processes
    in_memory = is_apart and has_memory_for(sum(sizes), len(sizes))
    with store.scratch(in_memory=in_memory) as scratch:
        environments = CheckEnvironments(
            interpreter=interpreter,
            bundle=request.plan,
            segment_format=request.segment_format,
            jobs=request.jobs,
            reverify=request.reverify,
            store=store,
            host=host,
            reporter=reporter,
            sandbox=sandbox,
            scratch=scratch,
        )
        scanner = Scanner(interpreter, store, host, scratch)
        return _CheckRun(request, interpreter, environments, scanner, reporter).run()


class _CheckRun:
    """Runs all checks of one request."""

    _scanning: Future[dict[NormalizedName, tuple[FileImports, ...]]]
    """The imports of the bundle's source files, by distribution."""

    def __init__(
        self,
        request: CheckRequest,
        interpreter: Interpreter,
        environments: CheckEnvironments,
        scanner: Scanner,
        reporter: Reporter,
    ) -> None:
        self._request = request
        self._interpreter = interpreter
        self._target = interpreter.target
        self._environments = environments
        self._scanner = scanner
        self._reporter = reporter
        self._contents = BundleContents(request.plan.layers, request.roots, self._target)
        self._facts = self._contents.facts
        self._layers = [request.plan.shipped(layer) for layer in request.plan.layers]

    def run(self) -> CheckResult:
        """Run all checks and return the report."""
        request = self._request
        layers, jobs, tree = self._layers, request.jobs, lambda: self._environments.tree
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="static") as pool:
            # Beside the imports, which leave a processor idle now and then.
            self._scanning = pool.submit(
                self._scanner.layers, layers, tree, jobs=jobs, reporter=self._reporter
            )
            reading = pool.submit(self._scanner.objects, layers, tree, jobs=jobs)
            if request.base_plan is not None and not self._interpreter.is_foreign:
                self._environments.base = request.base_plan(self._taken_from_base())
            modes = [self._mode(mode) for mode in self._modes()]
            code = self._code()
            objects = reading.result()
        loaded = {name for mode in modes for name in mode.loaded}
        found = [*self._wheels(loaded), *self._mounted(modes), *self._imported(), *objects.damaged]
        found += self._linked(objects.found, modes, code)
        floor = glibc_floor(shared for _, shared in objects.found)
        found += self._based(floor)
        found += not_imported(self._target) if self._interpreter.is_foreign else ()
        report = ClosureReport(
            modes=tuple(modes),
            unmet=unmet_requirements([*self._facts, *self._provided()], request.roots, self._target.markers),
            found=tuple(found),
            code=code.findings if code else (),
            shared_objects=tuple(shared.to_json() for _, shared in objects.found),
            glibc=floor,
            own=self._contents.names,
            allowed_imports=request.allowed_imports,
            allowed=request.allowed,
            because=self._contents.why,
            remedy=self._remedy,
        )
        entry = code.to_json() if code else None
        return CheckResult(report=report, sandbox=self._environments.sandbox, entry=entry)

    def _wheels(self, loaded: Collection[str]) -> Iterator[Finding]:
        """Yield the findings about wheels, and about the paths that several install."""
        plan = self._request.plan
        scans = chain.from_iterable(self._scanning.result().values() if plan.collisions else ())
        found = (statement for scan in scans for statement in scan.imports if not statement.level)
        named = {statement.module.partition(".")[0] for statement in found}
        yield from wheel_findings(
            plan,
            self._facts,
            self._target.site_packages,
            loaded,
            named=named,
            needed=self._contents.needed,
        )

    def _modes(self) -> tuple[UsageMode, ...]:
        """Return the modes to check; a mount over the base's packages, if known, replaces the plain one."""
        modes = list(self._request.modes)
        if self._environments.base is not None:
            modes.append("server")
            if self._request.base is not None:
                modes.remove("mount")
        return tuple(modes)

    def _taken_from_base(self) -> set[NormalizedName]:
        """Return the base's distributions that share an import or a top-level package with the bundle."""
        base = self._request.base
        if base is None:
            return set()
        alone = ModuleIndex(self._facts, stdlib=self._interpreter.stdlib_modules)
        imported = {
            statement.module.partition(".")[0]
            for scans in self._scanning.result().values()
            for scan in scans
            for statement in scan.imports
            if not statement.level and statement.when == "top"
        }
        meeting = {name for name in imported if alone.find(name)[1]} | alone.top_level()
        own = self._contents.names
        return {
            name
            for name, distribution in base.distributions.items()
            if name not in own and meeting.intersection(distribution.top_level)
        }

    def _mode(self, mode: UsageMode) -> ModeReport:
        """Import the modules in one mode, and mark the failures that are not faults of the bundle."""
        if self._interpreter.is_foreign:
            return ModeReport(mode=mode, outcomes=())
        own = self._contents.names
        of_base: list[DistributionFacts] = []
        if mode == "server" and self._environments.base is not None:
            # The bundle's copy of a distribution hides the base's.
            layers = (layer for layer in self._environments.base.layers if layer.name not in own)
            of_base = [layer_facts(layer, self._target.site_packages) for layer in layers]
        facts = [*self._facts, *of_base]
        owners = self._contents.modules(of_base)
        tried = self._environments.modules(mode, owners)
        # The base's own modules are not judged by the requirements: its server may use any of them.
        needed = self._contents.needed | {
            (owner.name, module) for owner, module in owners if owner in of_base
        }
        roots = [*self._request.roots, *self._request.server]
        marked = mark_optional(tried.outcomes, facts, roots, self._target.markers, needed=needed)
        marked = judge(marked, needed, base_libraries=self._base_libraries or ())
        return replace(tried, outcomes=self._as_without_bundle(marked, of_base))

    @property
    def _base_libraries(self) -> Collection[str] | None:
        """The sonames of the base's libraries; None if they are not known."""
        return self._request.base.libraries if self._request.base is not None else None

    def _as_without_bundle(
        self, outcomes: Sequence[ImportResult], of_base: Sequence[DistributionFacts]
    ) -> tuple[ImportResult, ...]:
        """Mark as ``unused`` the modules of the base that fail without the bundle as well."""
        theirs = {facts.name: facts for facts in of_base}
        failed = [
            (theirs[outcome.distribution], outcome.module)
            for outcome in outcomes
            if outcome.status not in HARMLESS and outcome.distribution in theirs
        ]
        alone = self._environments.modules("base", failed).outcomes if failed else ()
        broken = {
            (outcome.distribution, outcome.module) for outcome in alone if outcome.status not in HARMLESS
        }
        return tuple(
            replace(outcome, status="unused") if (outcome.distribution, outcome.module) in broken else outcome
            for outcome in outcomes
        )

    # --- without running ------------------------------------------------------

    def _mounted(self, modes: Sequence[ModeReport]) -> Iterator[Finding]:
        """Yield the findings about a mount, if the bundle is for one."""
        mount = next((mode for mode in modes if mode.mode in ("mount", "server")), None)
        if mount is not None:
            yield from mount_hazards(
                self._facts,
                stdlib=self._interpreter.stdlib_modules,
                scripts={layer.name: layer.scripts for layer in self._request.plan.layers},
                pth_code={layer.name: layer.pth_code for layer in self._request.plan.layers},
                failed={outcome.distribution for outcome in mount.outcomes if outcome.status not in HARMLESS},
            )

    @cached_property
    def _world(self) -> ModuleIndex:
        """The modules of the bundle, the standard library and the base."""
        base = self._request.base
        tops = (
            [name for distribution in base.distributions.values() for name in distribution.top_level]
            if base
            else []
        )
        return ModuleIndex(self._facts, stdlib=self._interpreter.stdlib_modules, base=frozenset(tops))

    def _imported(self) -> Iterator[Finding]:
        """Yield the findings about imports in the source."""
        roots = self._request.roots
        yield from import_findings(
            self._facts,
            self._scanning.result(),
            self._world,
            required_by=self._contents.required_by(),
            unasked=unasked_extras(self._facts, roots, self._target.markers),
        )

    def _remedy(self, result: ImportResult) -> str:
        """Return the remedy for a failed import."""
        versions: dict[str, str] = {facts.name: str(facts.version) for facts in self._facts}

        def owner_of(module: str) -> str:
            return min(self._world.find(module)[0] & versions.keys(), default="")

        return remedy(result, owner_of, versions, self._contents.omitted)

    def _linked(
        self,
        objects: Sequence[tuple[NormalizedName, SharedObject]],
        modes: Sequence[ModeReport],
        code: CodeCheck | None,
    ) -> Iterator[Finding]:
        """Yield the findings about shared objects, by their headers and by the imports that map them."""
        mode = max(modes, key=lambda mode: mode.mode == "server")  # else the first
        needed = self._contents.needed
        outcomes = [outcome for outcome in mode.outcomes if (outcome.distribution, outcome.module) in needed]
        outcomes += code.outcomes if code else ()
        facts = {facts.name: facts for facts in self._facts}
        imported = [(facts[one.distribution], one) for one in outcomes if one.distribution in facts]
        loaded = {path for _, outcome in imported for path in outcome.mapped}
        if self._base_libraries is not None and self._environments.sandbox.read_only:
            yield from fails_without(self._environments, mode.mode, imported, self._base_libraries)
            loaded = set()
        base = self._request.base
        yield from check_shared_objects(
            objects,
            self._target,
            bundled={file.path.rpartition("/")[2] for _, file in self._request.plan.files()},
            base_libraries=self._base_libraries,
            base_versions=base.symbol_versions if base else {},
            loaded=loaded,
            built_here=self._request.built_here,
        )

    def _based(self, floor: str) -> Iterator[Finding]:
        """Yield the findings about the base; without one, of Azure ML's server as a hint."""
        request = self._request
        if request.base is None and not request.server and "mount" in request.modes:
            yield from unfit_for_server(self._facts, self._target)
        if request.base is not None or request.server:
            yield from check_base(
                request.base or NO_BASE,
                self._target,
                self._facts,
                server=request.server,
                glibc_floor=floor,
                provided=request.provided,
            )
        if request.base is not None:
            yield from check_system_packages(request.base, request.system_packages)

    def _provided(self) -> Iterator[DistributionFacts]:
        """Yield the distributions that the base provides, without files and requirements."""
        for name, version in self._request.provided.items():
            yield DistributionFacts(name=name, display_name=name, version=version, requires_dist=(), files=())

    def _code(self) -> CodeCheck | None:
        """Check the user's code, if there is any, in the mode that is closest to its use."""
        request = self._request
        if request.code is None:
            return None
        mode: UsageMode = "server" if self._environments.base is not None else request.modes[0]
        check = CodeChecker(
            code=request.code,
            mode=mode,
            world=self._world,
            distributions=self._facts,
            scanner=self._scanner,
            environments=self._environments,
            base_libraries=self._base_libraries or (),
            is_static=self._interpreter.is_foreign,
        )
        return check.check(run_init=request.run_init, model_dir=request.model_dir)
