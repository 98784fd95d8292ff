"""Select the target of a build, from ``--python`` and the conda environment file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from bundler.errors import InputError
from bundler.system.environ import HostEnvironment
from bundler.target.interpreter import Interpreter, find_interpreter
from bundler.target.target import DEFAULT_PYTHON

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.requirements.requirement_set import CondaInput

__all__ = ["find_target"]


def find_target(
    python: str | None,
    conda: CondaInput | None,
    host: HostEnvironment,
    scratch: Path,
    reporter: Reporter,
) -> Interpreter:
    """Return the interpreter of ``--python``, else the lowest that the conda file accepts, else 3.7.

    :param python: the value of ``--python``, a version or a path.
    :param conda: the conda environment file of the input.
    :raises InputError: if the conda file does not accept the interpreter.
    :raises InterpreterError: if the interpreter is not found, or unsupported.
    """
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
            # `conda env export` and users write the exact release, which may not be installed here. All
            # releases of a minor version have the same ABI, so a wheel for one fits the others.
            reporter.warn(f"{conda.where} requires `{conda.read.python_text}`; the target is {version}")
            return interpreter
        raise InputError(
            f"{conda.where} requires another Python than the target",
            evidence=(f"wanted  {conda.read.python_text}", f"found   {version}"),
            hint="omit `--python`, or change the file",
        )
    return interpreter


def _is_exact(wanted: SpecifierSet) -> bool:
    """Return whether a specifier names one release: ``==3.8.6``, or ``==3.8.6.*``, conda's ``=3.8.6``."""
    return all(clause.operator == "==" for clause in wanted)
