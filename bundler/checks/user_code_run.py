"""Stage 5, effect: does the user's own code run with the bundle?

The imports of the entry script are followed through the user's files, the modules of the
bundle among them are imported, and with ``--run-init`` the script runs as in the inference
server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import NormalizedName
from packaging.version import Version

from bundler.checks.environments import CheckEnvironments
from bundler.checks.findings import Finding
from bundler.checks.import_results import HARMLESS, ImportResult, classify, judge
from bundler.checks.import_runner import StartupError
from bundler.checks.modules import DistributionFacts
from bundler.checks.report import UsageMode
from bundler.checks.scanner import Scanner, exists_in
from bundler.checks.source_imports import FileImports, FoundImport, ModuleIndex
from bundler.checks.user_code import UserCode, code_findings

__all__ = ["CodeCheck", "CodeChecker"]

_USER_CODE = DistributionFacts(
    name=NormalizedName(""), display_name="", version=Version("0"), requires_dist=(), files=()
)
"""Stands in for the distribution of the user's code, which has none."""


@dataclass(frozen=True, kw_only=True)
class CodeCheck:
    """The scope and the findings of the check of the user's code."""

    script: str
    reached: tuple[str, ...]
    """The files that the entry script reaches, relative to the source directory, sorted."""
    ran: bool
    """Whether init() was called."""
    findings: tuple[Finding, ...]
    outcomes: tuple[ImportResult, ...] = ()
    """The imports of the bundle's modules that the code imports."""

    def to_json(self) -> dict[str, Any]:
        """Return the scope of the check as plain values."""
        return {"entry_script": self.script, "files": list(self.reached), "init": self.ran}


@dataclass(frozen=True, kw_only=True)
class CodeChecker:
    """Checks the user's code against the bundle it runs with."""

    code: UserCode
    mode: UsageMode
    """The mode of use in which the code imports the bundle."""
    world: ModuleIndex
    distributions: Sequence[DistributionFacts]
    scanner: Scanner
    environments: CheckEnvironments
    base_libraries: Collection[str] = ()
    """The sonames of the base's libraries."""
    is_static: bool = False
    """Whether the code of the target cannot run here: no module is imported."""

    def check(self, *, run_init: bool, model_dir: Path | None) -> CodeCheck:
        """Follow the imports, import the modules of the bundle among them, and run init() on request.

        init() does not run after an error: it would fail for the same reason.

        :param model_dir: the value of AZUREML_MODEL_DIR for init(); unset if None.
        """
        scans = self.scanner.code(self.code)
        findings = list(code_findings(self.code, scans, self.world, exists_in(self.code.folder)))
        outcomes, failures = self._taken(scans) if not self.is_static else ((), ())
        findings += failures
        ran = run_init and not any(finding.rule.severity == "error" for finding in findings)
        if ran:
            findings += self._run(model_dir)
        return CodeCheck(
            script=self.code.script,
            reached=tuple(sorted(scans)),
            ran=ran,
            findings=tuple(findings),
            outcomes=outcomes,
        )

    def _taken(self, scans: Mapping[str, FileImports]) -> tuple[tuple[ImportResult, ...], Sequence[Finding]]:
        """Import each module of the bundle that the code imports; return the outcomes and the failures."""
        places: dict[str, tuple[str, FoundImport]] = {}
        for path, scan in scans.items():
            for found in scan.imports:
                for module in self.world.below(found) if not found.level else ():
                    # Of several places, report the first that always runs.
                    if module not in places or (found.when == "top" != places[module][1].when):
                        places[module] = (f"{self.code.folder.name}/{path}:{found.line}", found)
        facts = {facts.name: facts for facts in self.distributions}
        owners = [
            (facts[NormalizedName(min(self.world.find(module)[0]))], module) for module in sorted(places)
        ]
        outcomes = self.environments.modules(self.mode, owners).outcomes if owners else ()
        findings = []
        for outcome in judge(
            outcomes, {(owner.name, module) for owner, module in owners}, base_libraries=self.base_libraries
        ):
            where, found = places[outcome.module]
            if outcome.status not in HARMLESS:
                message = f"`{where}` imports `{outcome.module}`, which does not import: {outcome.detail}"
                rule = "U303" if found.when == "top" else "U304"
                findings.append(
                    Finding(code=rule, message=message, distribution=outcome.distribution, where=where)
                )
        return outcomes, findings

    def _run(self, model_dir: Path | None) -> Iterator[Finding]:
        """Run the entry script as the inference server does, and call its init()."""
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
            return  # the imports in this mode have reported it (M102)
        if answer.ended != "ok":
            outcome = classify(_USER_CODE, self.code.script, answer)
            subject = "init() of the entry script" if answer.calling else "the entry script"
            yield Finding(
                code="U305",
                message=f"{subject} `{self.code.script}` {outcome.status}: {outcome.detail}",
                where=f"{self.code.folder.name}/{self.code.script}",
                details=tuple(f"stderr  {line}" for line in outcome.stderr),
            )
