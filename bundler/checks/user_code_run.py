"""Stage 5, effect: does the user's own code run over the bundle?

Its imports are followed, what it takes of the bundle is imported, and on demand
the entry script is run as the inference server runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import NormalizedName
from packaging.version import Version

from bundler.checks.environments import CheckEnvironments
from bundler.checks.findings import Finding
from bundler.checks.import_results import classify
from bundler.checks.import_runner import StartupError
from bundler.checks.modules import DistributionFacts
from bundler.checks.report import UsageMode
from bundler.checks.scanner import Scanner, exists_in
from bundler.checks.source_imports import FileImports, FoundImport, ModuleIndex
from bundler.checks.user_code import UserCode, code_findings

__all__ = ["CodeCheck", "CodeChecker"]

_NOBODY = DistributionFacts(
    name=NormalizedName(""), display_name="", version=Version("0"), requires_dist=(), files=()
)
"""The user's code, which is no distribution."""


@dataclass(frozen=True, kw_only=True)
class CodeCheck:
    """What was checked of the user's code, and what was found."""

    script: str
    reached: tuple[str, ...]
    """The files that the entry script reaches, relative to the source directory, sorted."""
    ran: bool
    """Whether init() was called."""
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what was checked as plain values."""
        return {"entry_script": self.script, "files": list(self.reached), "init": self.ran}


@dataclass(frozen=True, kw_only=True)
class CodeChecker:
    """The user's code and the bundle it is to run over."""

    code: UserCode
    mode: UsageMode
    """The way in which the code meets the bundle."""
    world: ModuleIndex
    distributions: Sequence[DistributionFacts]
    scanner: Scanner
    environments: CheckEnvironments

    def check(self, *, run_init: bool, model_dir: Path | None) -> CodeCheck:
        """Follow the imports, import what is taken of the bundle, and run init() if it is asked for.

        :param model_dir: what AZUREML_MODEL_DIR names for init().
        """
        scans = self.scanner.code(self.code)
        findings = list(code_findings(self.code, scans, self.world, exists_in(self.code.folder)))
        findings += self._taken(scans)
        ran = run_init and not any(one.rule.severity == "error" for one in findings)
        if ran:
            findings += self._run(model_dir)
        return CodeCheck(
            script=self.code.script, reached=tuple(sorted(scans)), ran=ran, findings=tuple(findings)
        )

    def _taken(self, scans: Mapping[str, FileImports]) -> Iterator[Finding]:
        """Import each module of the bundle that the code names, and yield what fails."""
        places: dict[str, tuple[str, FoundImport]] = {}
        for path, scan in scans.items():
            for found in scan.imports:
                for module in self.world.below(found) if not found.level else ():
                    # Of several places one that surely runs is told.
                    if module not in places or (found.when == "top" != places[module][1].when):
                        places[module] = (f"{self.code.folder.name}/{path}:{found.line}", found)
        facts = {facts.name: facts for facts in self.distributions}
        owners = [
            (facts[NormalizedName(min(self.world.find(module)[0]))], module) for module in sorted(places)
        ]
        for outcome in self.environments.modules(self.mode, owners).outcomes if owners else ():
            where, found = places[outcome.module]
            if outcome.status != "ok":
                message = f"`{where}` imports `{outcome.module}`, which does not import: {outcome.detail}"
                rule = "U303" if found.when == "top" else "U304"
                yield Finding(code=rule, message=message, distribution=outcome.distribution, where=where)

    def _run(self, model_dir: Path | None) -> Iterator[Finding]:
        """Run the entry script, and call its init()."""
        root = self.environments.scratch / "azureml-app"
        root.mkdir()
        source = root / self.code.folder.name
        source.symlink_to(self.code.folder, target_is_directory=True)
        env = {
            "AML_APP_ROOT": str(root),
            "AZUREML_ENTRY_SCRIPT": self.code.entry,
            "AZUREML_SOURCE_DIRECTORY": self.code.folder.name,
        }
        if model_dir is not None:
            env["AZUREML_MODEL_DIR"] = str(model_dir)
        script = {
            "path": str(source / self.code.script),
            "append": [str(root), str(source)],
            "call": "init",
            "env": env,
            "cwd": str(root),
        }
        try:
            answer = self.environments.script(self.mode, script)
        except StartupError:
            return  # which is told already
        if answer.get("ended") != "ok":
            outcome = classify(_NOBODY, self.code.script, answer)
            doing = "init() of the entry script" if answer.get("calling") else "the entry script"
            yield Finding(
                code="U305",
                message=f"{doing} `{self.code.script}` {outcome.status}: {outcome.detail}",
                where=f"{self.code.folder.name}/{self.code.script}",
                details=tuple(f"it wrote  {line}" for line in outcome.stderr),
            )
