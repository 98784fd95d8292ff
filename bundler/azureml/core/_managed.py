"""Stage 5, effect: check the imports of the code against a Python with user-managed packages.

Nothing is built. The distributions of the Python are read from its own files: in the base (an
image, a root filesystem or a profile), or on this machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler.base_image.profile import BaseProfile
from bundler.base_image.reader import read_base
from bundler.checks.findings import Finding, sorted_findings
from bundler.checks.report import ClosureReport
from bundler.checks.scanner import Scanner, exists_in
from bundler.checks.source_imports import ModuleIndex
from bundler.checks.user_code import UserCode, code_findings
from bundler.errors import InputError, InterpreterError
from bundler.target.interpreter import capture_profile, find_interpreter

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["ManagedCheck", "check_managed"]


@dataclass(frozen=True, kw_only=True)
class ManagedCheck:
    """A Python with user-managed packages, and the check of the code that it runs."""

    interpreter_path: str
    python_version: str
    distributions: Mapping[str, str]
    """Its installed distributions, name to version."""
    files: tuple[str, ...]
    """The files that the entry script imports, itself included, relative to the source directory."""
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return {
            "interpreter_path": self.interpreter_path,
            "python_version": self.python_version,
            "distributions": dict(self.distributions),
            "files": list(self.files),
            "findings": [finding.to_json() for finding in self.findings],
        }


def check_managed(
    interpreter_path: str,
    code: UserCode | None,
    base: Path | None,
    *,
    host: HostEnvironment,
    store: Store,
    reporter: Reporter,
) -> ManagedCheck:
    """Check that a Python provides every import of the user's code.

    :param interpreter_path: the Python, in the base or on this machine.
    :param code: the code; None only reads the distributions.
    :param base: an image, a root filesystem or a profile of the base; None reads this machine.
    :raises InterpreterError: if there is no such Python, or the base has no Python version.
    :raises ClosureError: if an import of the code is not provided.
    """
    with store.in_use(), store.scratch() as scratch:
        known = _known(interpreter_path, base, host, scratch)
        minor = ".".join((known.python_version or "").split(".")[:2])
        reporter.stage("python", f"{known.python_version}, {len(known.distributions)} distributions")
        files: tuple[str, ...] = ()
        findings: tuple[Finding, ...] = ()
        if code is not None:
            # The code is read with the parser of that Python's version.
            target = find_interpreter(minor, host, scratch)
            scans = Scanner(target, store, host, scratch).code(code)
            tops = {name for item in known.distributions.values() for name in item.top_level}
            world = ModuleIndex([], stdlib=target.stdlib_modules, base=tops)
            findings = sorted_findings(code_findings(code, scans, world, exists_in(code.folder)))
            files = tuple(sorted(scans))
    ClosureReport(modes=(), found=findings).raise_for_errors()
    for finding in findings:
        reporter.warn(f"{finding.code}  {finding.message}")
    if code is not None:
        reporter.stage("verify", f"{code.script}: every import is provided")
    return ManagedCheck(
        interpreter_path=interpreter_path,
        python_version=str(known.python_version),
        distributions={name: str(item.version) for name, item in sorted(known.distributions.items())},
        files=files,
        findings=findings,
    )


def _known(path: str, base: Path | None, host: HostEnvironment, scratch: Path) -> BaseProfile:
    """Return the profile of a Python: its version and its distributions."""
    if base is not None:
        prefix = str(Path(path).parent.parent) if "/" in path else None
        try:
            profile = read_base(base, prefer=prefix)
        except InputError as error:
            found = re.search(r"--python-in (/[^`]+)", error.hint or "")
            hint = f"env.python.interpreter_path = '{found[1]}/bin/python'" if found else error.hint
            raise InputError(error.message, evidence=error.evidence, hint=hint) from error
        if profile.python_version is None:
            raise InterpreterError(f"`{base}` has no Python version for `{path}`")
        return profile
    if "/" not in path or not (host.cwd / path).is_file():
        raise InterpreterError(
            f"no Python `{path}` on this machine, and no base image to read it from",
            hint="base='image.tar', a tar of `docker save`, or a profile of it (`bundler profile --script`)",
        )
    captured = capture_profile(find_interpreter(path, host, scratch), host, scratch)
    return BaseProfile.from_json(json.loads(captured), Path(path))
