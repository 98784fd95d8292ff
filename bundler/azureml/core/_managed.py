"""Stage 5, effect: where the user manages the packages, does the named Python have what the code imports?

Nothing is built. What is known of the Python comes from its own files: of the
base, an image or a profile, or of a Python on this machine.
"""

from __future__ import annotations

import json
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
from bundler.errors import InterpreterError
from bundler.target.interpreter import capture_profile, find_interpreter

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["ManagedCheck", "check_managed"]


@dataclass(frozen=True, kw_only=True)
class ManagedCheck:
    """What was found out about a Python whose packages the user manages."""

    interpreter_path: str
    python_version: str
    distributions: Mapping[str, str]
    """What it has installed, name to version."""
    files: tuple[str, ...]
    """The files of the user's code that were followed, relative to the source directory."""
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return {
            "interpreter_path": self.interpreter_path,
            "python_version": self.python_version,
            "distributions": dict(self.distributions),
            "files": list(self.files),
            "findings": [one.to_json() for one in self.findings],
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
    """Return what a Python has, if that is all that the user's code imports.

    :param interpreter_path: the Python, in the base or on this machine.
    :param base: an image, a root filesystem or a profile of it; None looks on this machine.
    :raises InterpreterError: if there is no such Python.
    :raises ClosureError: if the code imports what it does not have.
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
            tops = {name for one in known.distributions.values() for name in one.top_level}
            world = ModuleIndex([], stdlib=target.stdlib_modules, base=tops)
            findings = sorted_findings(code_findings(code, scans, world, exists_in(code.folder)))
            files = tuple(sorted(scans))
    ClosureReport(modes=(), found=findings).raise_for_errors()
    for one in findings:
        reporter.warn(f"{one.code}  {one.message}")
    if code is not None:
        reporter.stage("verify", f"{code.script}: all that it imports is there")
    return ManagedCheck(
        interpreter_path=interpreter_path,
        python_version=str(known.python_version),
        distributions={name: str(one.version) for name, one in sorted(known.distributions.items())},
        files=files,
        findings=findings,
    )


def _known(path: str, base: Path | None, host: HostEnvironment, scratch: Path) -> BaseProfile:
    """Return what is known of a Python."""
    if base is not None:
        prefix = str(Path(path).parent.parent) if "/" in path else None
        found = read_base(base, prefer=prefix)
        if found.python_version is None:
            raise InterpreterError(f"`{base}` does not say which Python `{path}` is")
        return found
    if "/" not in path or not (host.cwd / path).is_file():
        raise InterpreterError(
            f"`{path}` is no Python of this machine, and no base says what it has",
            hint="base='image.tar', a tar of `docker save`, or a profile of it (`bundler profile --script`)",
        )
    profile = capture_profile(find_interpreter(path, host, scratch), host, scratch)
    return BaseProfile.from_json(json.loads(profile), Path(path))
