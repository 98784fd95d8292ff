"""Select the target of a build, from ``--python`` and the conda environment file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from bundler.errors import InputError
from bundler.system.environ import HostEnvironment
from bundler.target.interpreter import Interpreter, find_interpreter
from bundler.target.target import DEFAULT_PYTHON

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.requirements.requirement_set import RequirementSet

__all__ = ["find_target"]


def find_target(
    python: str | None,
    requirements: RequirementSet | None,
    host: HostEnvironment,
    scratch: Path,
    reporter: Reporter,
) -> Interpreter:
    """Return the interpreter of ``--python``, else the lowest that the input accepts, else 3.7.

    :param python: the value of ``--python``, a version or a path.
    :param requirements: the conda environment file, project and scripts of the input.
    :raises InputError: if the input does not accept the interpreter.
    :raises InterpreterError: if the interpreter is not found, or unsupported.
    """
    conda = requirements.conda if requirements else None
    accepted = requirements.requires_python if requirements else ()
    if accepted and (conda is None or conda.read.python is None):
        return _accepted_by(python, accepted, host, scratch)
    wanted = conda.read.python if conda else None
    if conda is None or wanted is None:
        return find_interpreter(python or DEFAULT_PYTHON, host, scratch)
    chosen = python or conda.read.lowest
    if chosen is None:
        raise InputError(
            f"{conda.where} requires `{conda.read.python_text}`, which is not supported as a target",
            evidence=("wanted  CPython 3.7 or newer",),
            hint="change the file, for example to `python=3.7`",
        )
    interpreter = find_interpreter(chosen, host, scratch)
    version = interpreter.target.version
    if not wanted.contains(version):
        if interpreter.target.python_version == conda.read.lowest and _is_exact(wanted):
            # `conda env export` writes the exact release, which may not be installed here. All
            # releases of a minor version have the same ABI, so a wheel for one fits the others.
            reporter.warn(f"{conda.where} requires `{conda.read.python_text}`; the target is {version}")
            return interpreter
        raise InputError(
            f"{conda.where} requires another Python than the target",
            evidence=(f"wanted  {conda.read.python_text}", f"found   {version}"),
            hint="omit `--python`, or change the file",
        )
    return interpreter


def _accepted_by(
    python: str | None, accepted: Sequence[tuple[str, SpecifierSet]], host: HostEnvironment, scratch: Path
) -> Interpreter:
    """Return an interpreter that every ``requires-python`` of a project or script accepts."""
    from bundler.requirements.conda.translate import lowest_python  # noqa: PLC0415 - reads YAML, slow to load

    specifier = SpecifierSet(",".join(str(wanted) for _, wanted in accepted))
    lowest = lowest_python(specifier)
    interpreter = find_interpreter(python or lowest or DEFAULT_PYTHON, host, scratch)
    for name, wanted in accepted:
        if not wanted.contains(interpreter.target.version, prereleases=True):
            raise InputError(
                f"{name} requires another Python than the target",
                evidence=(f"wanted  {wanted}", f"found   {interpreter.target.version}"),
                hint=f"pass `--python {lowest}`" if lowest else None,
            )
    return interpreter


def _is_exact(wanted: SpecifierSet) -> bool:
    return all(clause.operator == "==" and not clause.version.endswith(".*") for clause in wanted)
