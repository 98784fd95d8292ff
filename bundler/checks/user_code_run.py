"""Stage 5, effect: does the user's own code run with the bundle?

The imports of the entry script are followed through the user's files, the modules of the
bundle among them are imported, and with ``--run-init`` the script runs as in the inference
server.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.utils import NormalizedName
from packaging.version import Version

from bundler.checks.environments import CheckEnvironments
from bundler.checks.findings import Finding
from bundler.checks.import_results import HARMLESS, ImportAnswer, ImportResult, classify, judge
from bundler.checks.import_runner import StartupError
from bundler.checks.modules import DistributionFacts
from bundler.checks.report import UsageMode
from bundler.checks.scanner import Scanner, exists_in
from bundler.checks.source_imports import FileImports, ModuleIndex
from bundler.checks.user_code import UserCode, always_imported, code_findings
from bundler.paths import printable
from bundler.text import listing

__all__ = ["CodeCheck", "CodeChecker"]

_MODEL_DIR = "AZUREML_MODEL_DIR"
_FRAME = r'File "({}/[^"]+)", line (\d+)'
"""A line of a traceback in a source directory."""
_MISSING_FILE = re.compile(r"FileNotFoundError: .*No such file or directory: '(?P<path>[^']+)'")
_TRACEBACK = "Traceback (most recent call last):"
_MAX_NAMES = 10

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
        places: dict[str, tuple[str, bool]] = {}
        always = always_imported(self.code, scans, exists_in(self.code.folder))
        for path, scan in scans.items():
            for found in scan.imports:
                runs = found.when == "top" and path in always
                for module in self.world.below(found) if not found.level else ():
                    # Of several places, report the first that always runs.
                    if module not in places or (runs and not places[module][1]):
                        places[module] = (f"{self.code.folder.name}/{path}:{found.line}", runs)
        facts = {facts.name: facts for facts in self.distributions}
        owners = [
            (facts[NormalizedName(min(self.world.find(module)[0]))], module) for module in sorted(places)
        ]
        outcomes = self.environments.modules(self.mode, owners).outcomes if owners else ()
        findings = []
        for outcome in judge(
            outcomes, {(owner.name, module) for owner, module in owners}, base_libraries=self.base_libraries
        ):
            where, runs = places[outcome.module]
            if outcome.status not in HARMLESS:
                message = f"`{where}` imports `{outcome.module}`, which does not import: {outcome.detail}"
                rule = "U303" if runs else "U304"
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
            env[_MODEL_DIR] = str(model_dir)
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
            shown = {f"{root}/": "", str(self.code.folder): self.code.folder.name}
            if model_dir is not None:
                shown[str(model_dir)] = f"${_MODEL_DIR}"
            yield self._failure(_with_names(answer, shown), model_dir)

    def _failure(self, answer: ImportAnswer, model_dir: Path | None) -> Finding:
        """Return the finding about a failed run.

        :param answer: the ending, with paths as `_with_names` writes them.
        """
        said, mark, _ = answer.stderr.rpartition(_TRACEBACK)
        outcome = classify(
            _USER_CODE,
            self.code.script,
            replace(answer, stderr=said if mark else answer.stderr),
            whole_paths=True,
        )
        subject = "init() of the entry script" if answer.calling else "the entry script"
        frames = re.findall(_FRAME.format(re.escape(self.code.folder.name)), answer.stderr)
        where = ":".join(frames[-1]) if frames else f"{self.code.folder.name}/{self.code.script}"
        return Finding(
            code="U305",
            message=f"{subject} `{self.code.script}` {outcome.status}: {outcome.detail}",
            where=where,
            details=(
                *([f"at      {printable(where)}"] if frames else []),
                *(f"stderr  {line}" for line in outcome.stderr),
            ),
            fix=self._remedy(outcome.detail, where, model_dir),
        )

    def _remedy(self, detail: str, where: str, model_dir: Path | None) -> str:
        """Return the remedy for a failed run; empty if the general one applies.

        :param detail: the last line of the exception.
        :param where: the line of the user's code that raised it.
        """
        place = printable(where)
        missing = _MISSING_FILE.search(detail)
        if model_dir is None and (missing or _MODEL_DIR in detail):
            return ""
        if missing is None:
            return f"correct `{place}`"
        first, _, inside = missing["path"].partition("/")
        if first == f"${_MODEL_DIR}" and model_dir is not None:
            names = sorted(item.name for item in model_dir.iterdir()) if model_dir.is_dir() else []
            content = printable(listing(names, _MAX_NAMES)) or "nothing"
            return (
                f"put `{inside}` into the directory of `--model-dir`, which contains {content},"
                f" or correct `{place}`"
            )
        if first == self.code.folder.name and inside:
            return f"put `{inside}` into the source directory, or correct `{place}`"
        return f"correct `{place}`: the model is in the directory of {_MODEL_DIR}"


def _with_names(answer: ImportAnswer, names: Mapping[str, str]) -> ImportAnswer:
    """Return an ending whose texts have names in place of directories of this machine, longest path first."""
    message, text, stderr = answer.message, answer.text, answer.stderr
    for path in sorted(names, key=len, reverse=True):
        message, text, stderr = (item.replace(path, names[path]) for item in (message, text, stderr))
    return replace(answer, message=message, text=text, stderr=stderr)
