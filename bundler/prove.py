"""Stage 5, effect: prove that what ships works where it is used, before it is written.

The layers are put into a clean environment, and everything is asked of that:
each module is imported in each way of use, each source file and shared object
is read. What depends on layers and interpreter alone is kept in the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.archive import layer_entries
from bundler.bundle import ArchiveMember, Plan, folders_of
from bundler.closure import (
    DistributionFacts,
    shared_packages,
    top_level_modules,
    unasked_extras,
    unmet_requirements,
)
from bundler.extract import extract
from bundler.findings import Finding
from bundler.imports import FileImports, FoundImport, World, import_findings
from bundler.interpreter import Interpreter
from bundler.layer import Layer, tree_digest
from bundler.mounting import mount_hazards, pth_modules
from bundler.outcome import HARMLESS, classify, mark_optional
from bundler.report import ClosureReport, Way, WayReport
from bundler.scan import Scanner, exists_in
from bundler.segments import Form
from bundler.store import key_of
from bundler.usercode import UserCode, code_findings
from bundler.venv import create_venv
from bundler.verify import SCRIPT, Check, Sandbox, StartError, find_sandbox, import_modules

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store import Store
    from bundler.surroundings import Surroundings

__all__ = ["Claim", "Proof", "prove"]

_FORMAT = "1"
"""To be raised with any change of how imports are tried, so that kept answers are made anew."""
# How an import may end that another run need not repeat.
_PASSING = frozenset({"timed-out", "crashed"})


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said of a bundle, and to be proved."""

    plan: Plan
    form: Form
    roots: Sequence[Requirement]
    """What the user asked for."""
    ways: Sequence[Way] = ("mount", "venv")
    server: Plan | None = None
    """The packages of the base's server, in layers; then the bundle is also tried over them."""
    code: UserCode | None = None
    run_init: bool = False
    """Whether the entry script is run, and its init() called."""
    model_dir: Path | None = None
    """What AZUREML_MODEL_DIR names then."""
    target_glibc: str | None = None
    allowed_imports: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    jobs: int = 1
    reverify: bool = False
    """Whether kept answers are made anew."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was found out."""

    report: ClosureReport
    sandbox: Sandbox
    entry: Mapping[str, Any] | None
    """What was checked of the user's code."""


def prove(
    claim: Claim,
    interpreter: Interpreter,
    *,
    store: Store,
    surroundings: Surroundings,
    reporter: Reporter,
) -> Proof:
    """Try a claim in every way it names. Nothing is raised for what is found; see `ClosureReport`."""
    with store.scratch() as scratch:
        return _Bench(claim, interpreter, store, surroundings, reporter, scratch).prove()


@dataclass
class _Bench:
    """A private folder with the environments that are needed, made when they are needed first."""

    claim: Claim
    interpreter: Interpreter
    store: Store
    surroundings: Surroundings
    reporter: Reporter
    scratch: Path
    facts: list[DistributionFacts] = field(init=False)
    reached: list[str] = field(default_factory=list)
    """The user's files that the entry script reaches."""

    def __post_init__(self) -> None:
        self.facts = [_facts(layer, self._site_packages) for layer in self.claim.plan.layers]
        self.scanner = Scanner(self.interpreter, self.store, self.surroundings, self.scratch)

    def prove(self) -> Proof:
        """Do all there is to do."""
        claim, target = self.claim, self.interpreter.target
        ways = [self._way(way) for way in claim.ways]
        if claim.server is not None:
            ways.append(self._way("server"))
        found = [*self._mounted(ways), *self._static()]
        report = ClosureReport(
            ways=tuple(ways),
            unmet=unmet_requirements(self.facts, claim.roots, target.markers),
            found=tuple(found),
            code=tuple(self._code()),
            own=frozenset(facts.name for facts in self.facts),
            allowed_imports=claim.allowed_imports,
            allowed=claim.allowed,
        )
        return Proof(report=report, sandbox=self.sandbox, entry=self._entry)

    @cached_property
    def sandbox(self) -> Sandbox:
        """The sandbox that imports run in."""
        return find_sandbox(self.surroundings, self.scratch)

    # --- environments ---------------------------------------------------------

    @property
    def _site_packages(self) -> str:
        return self.interpreter.target.site_packages

    @cached_property
    def tree(self) -> Path:
        """An environment that holds the bundle, extracted from the segments that ship."""
        return self._environment("bundle é", self.claim.plan)

    @cached_property
    def image(self) -> Path:
        """An environment that holds nothing, as the place a bundle is mounted into."""
        return self._environment("image", None)

    @cached_property
    def server(self) -> Path:
        """An environment that holds the server."""
        return self._environment("server", self.claim.server)

    def _environment(self, name: str, plan: Plan | None) -> Path:
        folder = self.scratch / name
        create_venv(self.interpreter, folder, self.surroundings, self.scratch)
        if plan is not None:
            _fill(folder, plan, self.claim.form, self.store)
        return folder

    # --- imports --------------------------------------------------------------

    def _way(self, way: Way) -> WayReport:
        facts = list(self.facts)
        if way == "server" and self.claim.server is not None:
            facts += [_facts(layer, self._site_packages) for layer in self.claim.server.layers]
        return self._outcomes(way, list(self._owners(facts)), facts)

    def _outcomes(
        self,
        way: Way,
        owners: Sequence[tuple[DistributionFacts, str]],
        facts: Sequence[DistributionFacts] = (),
    ) -> WayReport:
        """Import modules in one way, or take over what an earlier run has found."""
        modules = sorted({module for _, module in owners})
        key = self._key(way, modules)
        kept = None if self.claim.reverify else self.store.lookup("imports", key)
        if kept is not None:
            answers = json.loads(self.store.read(kept))
        else:
            try:
                answers = self._import(way, modules)
            except StartError as error:
                said = error.evidence[-1] if error.evidence else error.message
                return WayReport(way=way, outcomes=(), fatal=said)
            if not any(answer.get("ended") in _PASSING for answer in answers.values()):
                self.store.bind("imports", key, self.store.add(json.dumps(answers, sort_keys=True).encode()))
        outcomes = tuple(classify(owner, module, answers[module]) for owner, module in owners)
        marked = mark_optional(outcomes, facts, self.claim.roots, self.interpreter.target.markers)
        return WayReport(way=way, outcomes=marked, cached=kept is not None)

    def _owners(self, distributions: Sequence[DistributionFacts]) -> Iterator[tuple[DistributionFacts, str]]:
        folders = {layer.name: layer.pth_folders for layer in self.claim.plan.layers}
        shared = shared_packages(distributions)
        seen = set()
        for facts in distributions:
            if facts.name in seen:
                continue  # of a distribution that the bundle and the base both have, the bundle's comes first
            seen.add(facts.name)
            for module in top_level_modules(facts.files, shared):
                yield facts, module
            for module in pth_modules(facts, folders.get(facts.name, ())):
                yield facts, module

    def _key(self, way: Way, modules: Sequence[str]) -> str:
        target = self.interpreter.target
        plans = [self.claim.plan, *([self.claim.server] if way == "server" and self.claim.server else [])]
        trees = [tree_digest(file for _, file in plan.files()) for plan in plans]
        python = [str(self.interpreter.python), target.version, target.abi, target.platform, target.libc]
        return key_of(_FORMAT, way, json.dumps(self.sandbox.to_json()), *python, *trees, *modules)

    def _import(
        self, way: Way, modules: Sequence[str], script: Mapping[str, Any] | None = None
    ) -> dict[str, dict[str, Any]]:
        environment = {"mount": "image", "venv": "tree", "server": "server"}[way]
        home: Path = getattr(self, environment)
        mounted = [] if way == "venv" else [self.tree / self._site_packages]
        # As the image does: a colon that ends PYTHONPATH adds the working directory.
        extra = [Path(script["cwd"]), *map(Path, script["append"])] if script else []
        check = Check(
            python=home / "bin" / "python",
            modules=modules,
            allowed_roots=[home, *mounted, *extra, *self.interpreter.stdlib],
            python_path=[*mounted, *extra[:1]],
            script=script,
            jobs=self.claim.jobs,
        )
        return import_modules(
            check,
            sandbox=self.sandbox,
            surroundings=self.surroundings,
            scratch=self.scratch,
            reporter=self.reporter,
        )

    # --- without running ------------------------------------------------------

    def _mounted(self, ways: Sequence[WayReport]) -> Iterator[Finding]:
        mount = next((way for way in ways if way.way == "mount"), None)
        if mount is not None:
            yield from mount_hazards(
                self.facts,
                stdlib=self.interpreter.stdlib_modules,
                scripts={layer.name: layer.scripts for layer in self.claim.plan.layers},
                failed={one.distribution for one in mount.outcomes if one.status not in HARMLESS},
            )

    @cached_property
    def _world(self) -> World:
        return World(self.facts, stdlib=self.interpreter.stdlib_modules)

    def _static(self) -> Iterator[Finding]:
        scans = self.scanner.layers(
            self.claim.plan.layers, lambda: self.tree, jobs=self.claim.jobs, reporter=self.reporter
        )
        markers = self.interpreter.target.markers
        yield from import_findings(
            self.facts,
            scans,
            self._world,
            required_by=_required_by(self.facts, self.claim.roots),
            unasked=unasked_extras(self.facts, self.claim.roots, markers),
        )

    # --- the user's code ------------------------------------------------------

    def _code(self) -> Iterator[Finding]:
        code = self.claim.code
        if code is None:
            return
        scans = self.scanner.code(code)
        self.reached = sorted(scans)
        findings = list(code_findings(code, scans, self._world, exists_in(code.folder)))
        findings += self._imported_by(code, scans)
        yield from findings
        if self.claim.run_init and not any(one.rule.severity == "error" for one in findings):
            yield from self._run(code)

    def _imported_by(self, code: UserCode, scans: Mapping[str, FileImports]) -> Iterator[Finding]:
        """Import each module of the bundle that the user's code names, and yield what fails."""
        places: dict[str, tuple[str, FoundImport]] = {}
        for path, scan in scans.items():
            for found in scan.imports:
                for module in self._world.below(found) if not found.level else ():
                    places.setdefault(module, (f"{code.folder.name}/{path}:{found.line}", found))
        facts = {facts.name: facts for facts in self.facts}
        owners = [
            (facts[NormalizedName(min(self._world.find(module)[0]))], module) for module in sorted(places)
        ]
        for outcome in self._outcomes(self._main_way, owners).outcomes if owners else ():
            where, found = places[outcome.module]
            if outcome.status != "ok":
                message = f"`{where}` imports `{outcome.module}`, which does not import: {outcome.detail}"
                rule = "U303" if found.when == "top" else "U304"
                yield Finding(code=rule, message=message, distribution=outcome.distribution, where=where)

    @property
    def _main_way(self) -> Way:
        """The way in which the user's code meets the bundle."""
        return "server" if self.claim.server is not None else self.claim.ways[0]

    def _run(self, code: UserCode) -> Iterator[Finding]:
        """Run the entry script as the server does, and call its init()."""
        root = self.scratch / "azureml-app"
        root.mkdir()
        (root / code.folder.name).symlink_to(code.folder, target_is_directory=True)
        source = root / code.folder.name
        env = {
            "AML_APP_ROOT": str(root),
            "AZUREML_ENTRY_SCRIPT": f"{code.folder.name}/{code.script}",
            "AZUREML_SOURCE_DIRECTORY": code.folder.name,
        }
        if self.claim.model_dir is not None:
            env["AZUREML_MODEL_DIR"] = str(self.claim.model_dir)
        script = {
            "path": str(source / code.script),
            "append": [str(root), str(source)],
            "call": "init",
            "env": env,
            "cwd": str(root),
        }
        try:
            answer = self._import(self._main_way, [], script)[SCRIPT]
        except StartError:
            return  # which is told already
        if answer.get("ended") != "ok":
            outcome = classify(_nobody(), code.script, answer)
            doing = "init() of the entry script" if answer.get("calling") else "the entry script"
            yield Finding(
                code="U305",
                message=f"{doing} `{code.script}` {outcome.status}: {outcome.detail}",
                where=f"{code.folder.name}/{code.script}",
                details=tuple(f"it wrote  {line}" for line in outcome.stderr),
            )

    @property
    def _entry(self) -> Mapping[str, Any] | None:
        if self.claim.code is None:
            return None
        return {
            "entry_script": self.claim.code.script,
            "init": self.claim.run_init,
            "files": self.reached,
        }


def _nobody() -> DistributionFacts:
    """Return the facts of the user's code, which is no distribution."""
    return DistributionFacts(
        name=NormalizedName(""), display_name="", version=Version("0"), requires_dist=(), files=()
    )


def _required_by(
    distributions: Sequence[DistributionFacts], roots: Sequence[Requirement]
) -> dict[NormalizedName, list[str]]:
    """Return who names each distribution in a requirement, in words."""
    found: dict[NormalizedName, list[str]] = {}
    for root in roots:
        found.setdefault(canonicalize_name(root.name), []).append("you")
    for facts in distributions:
        for one in facts.requires_dist:
            found.setdefault(canonicalize_name(one.name), []).append(f"`{facts.name}`")
    return {name: list(dict.fromkeys(who)) for name, who in found.items()}


def _facts(layer: Layer, site_packages: str) -> DistributionFacts:
    prefix = f"{site_packages}/"
    return DistributionFacts(
        name=layer.name,
        display_name=layer.display_name,
        version=layer.version,
        requires_dist=layer.requirements(),
        files=tuple(file.path[len(prefix) :] for file in layer.files if file.path.startswith(prefix)),
    )


def _fill(venv: Path, plan: Plan, form: Form, store: Store) -> None:
    """Extract the segments that ship into a virtual environment."""
    folders = folders_of(file.path for _, file in plan.files())
    members = [ArchiveMember(path=folder, is_dir=True, size=0, mode=0o755, sha256=None) for folder in folders]
    extract([(member, ()) for member in members], venv)
    extract(layer_entries(plan, form, store), venv)
