"""The target of a build: the Python that the user or a conda specification names."""

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
    """Return the interpreter of the target: the one named, what a conda specification asks for, or 3.7.

    :raises InputError: if it is not one that the conda specification allows.
    """
    wanted = conda.read.python if conda else None
    if conda is None or wanted is None:
        return find_interpreter(python or DEFAULT_PYTHON, host, scratch)
    chosen = python or conda.read.lowest
    if chosen is None:
        raise InputError(
            f"{conda.where} asks for `{conda.read.python_text}`, and a target is CPython 3.7 or newer",
            hint="change the file, for example to `python=3.7`",
        )
    found = find_interpreter(chosen, host, scratch)
    if not wanted.contains(found.target.version):
        if ".".join(found.target.version.split(".")[:2]) == conda.read.lowest and _is_exact(wanted):
            # Releases of a minor version have one ABI, and conda's exports name one release of it.
            reporter.warn(
                f"{conda.where} asks for `{conda.read.python_text}`; the target is {found.target.version}"
            )
            return found
        raise InputError(
            f"{conda.where} asks for another Python than the target",
            evidence=(f"wanted  {conda.read.python_text}", f"found   {found.target.version}"),
            hint="leave `--python` out, or change the file",
        )
    return found


def _is_exact(wanted: SpecifierSet) -> bool:
    return all(one.operator == "==" and not one.version.endswith(".*") for one in wanted)
