"""Find the target Python, and probe its version, ABI, platform and standard library."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from bundler.errors import BundlerError, InterpreterError, UsageError
from bundler.system.environ import HostEnvironment
from bundler.system.process import run_process, tail
from bundler.target.scripts import script
from bundler.target.target import OLDEST, Target, target_from_probe

__all__ = ["Interpreter", "capture_profile", "find_interpreter"]

_PROBE_SECONDS = 30
_SHORT = re.compile(r"(?:python|py|cp)?-?(?P<major>[23])\.?(?P<minor>\d{1,2})", re.IGNORECASE)
"""A version without its dot, or with the name of its program: ``37``, ``python3.7``."""
_CAPTURE_SECONDS = 300

# Prefixes of interpreters that are not on PATH: of pyenv, conda and its forks, of Azure ML's
# images (/azureml-envs), manylinux images (/opt/python) and Linux distributions. `{home}` is HOME.
_PREFIXES = (
    "{home}/.pyenv/versions/*",
    "{home}/.conda/envs/*",
    "{home}/miniconda3",
    "{home}/miniconda3/envs/*",
    "{home}/anaconda3",
    "{home}/anaconda3/envs/*",
    "{home}/miniforge3",
    "{home}/miniforge3/envs/*",
    "{home}/micromamba/envs/*",
    "/opt/conda",
    "/opt/conda/envs/*",
    "/opt/miniconda",
    "/opt/miniconda/envs/*",
    "/azureml-envs/*",
    "/opt/python/cp*",
    "/opt/python*",
    "/usr/local",
    "/usr",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A target Python that is installed on this machine."""

    python: Path
    """Its ``sys.executable``."""
    stdlib: tuple[Path, ...]
    """The directories of its standard library: its ``sys.path`` without site-packages."""
    target: Target
    stdlib_modules: frozenset[str] = frozenset()
    """The top-level modules of its standard library."""


def find_interpreter(wanted: str, host: HostEnvironment, scratch: Path) -> Interpreter:
    """Return the interpreter for a version or path.

    :param wanted: a version ("3.7" or "3.7.16") or the path of a program.
    :param scratch: an existing private directory, the HOME of the probe.
    :raises InterpreterError: if no such interpreter is found, or it is not supported as a target; the
        evidence lists the candidates.
    :raises UsageError: if ``wanted`` is neither a version nor a path.
    """
    path = host.cwd / Path(wanted).expanduser()
    short = _SHORT.fullmatch(wanted)
    if short and not path.exists() and ("." not in wanted or not wanted[0].isdigit()):
        raise UsageError(
            f"`--python {wanted}` is neither a version nor the path of a Python",
            hint=f"did you mean `--python {short['major']}.{short['minor']}`?",
        )
    if path.is_file():
        return _probe(path, host, scratch)
    if "/" in wanted or "\\" in wanted:
        raise InterpreterError(
            f"Python `{wanted}` not found", hint="pass a version, such as `--python 3.7`, to search for one"
        )
    try:
        version = Version(wanted)
    except InvalidVersion:
        raise UsageError(
            f"`--python {wanted}` is neither a version nor the path of a Python", hint="pass `--python 3.7`"
        ) from None
    if version.release < OLDEST.release:
        raise InterpreterError(
            f"Python {wanted} is not supported as a target",
            evidence=(f"wanted  CPython {OLDEST} or newer",),
            hint=f"pass `--python {OLDEST}`",
        )
    tried = []
    for candidate in _candidates(wanted, host):
        try:
            found = _probe(candidate, host, scratch)
        except BundlerError as error:
            tried.append(f"tried   {candidate}: {error}")
            continue
        if Version(found.target.version).release[: len(version.release)] == version.release:
            return found
        tried.append(f"tried   {candidate}: it is {found.target.version}")
    raise InterpreterError(
        f"CPython {wanted} not found",
        evidence=(
            "searched  PATH, pyenv, conda environments, uv's Pythons, "
            + ", ".join(sorted({prefix for prefix in _PREFIXES if prefix.startswith("/")})),
            *tried[:8],
        ),
        hint=f"run `pyenv install {wanted}` or `conda create -n py python={wanted}`, or pass `--python PATH`",
    )


def capture_profile(interpreter: Interpreter, host: HostEnvironment, scratch: Path) -> str:
    """Return the profile of an interpreter, the JSON output of `target/scripts/capture.py`.

    :raises InterpreterError: if the script fails.
    """
    argv = [str(interpreter.python), "-s", "-B", str(script("capture"))]
    ended = run_process(argv, env=host.child_env(scratch), cwd=scratch, timeout=_CAPTURE_SECONDS)
    if ended.returncode != 0:
        raise InterpreterError(
            f"cannot capture the profile of `{interpreter.python}`", evidence=tail(ended.stderr)
        )
    return ended.stdout.decode("utf-8")


def _candidates(wanted: str, host: HostEnvironment) -> Iterator[Path]:
    """Yield programs that may have the version, each once, the cheapest searches first."""
    minor = ".".join(wanted.split(".")[:2])
    home = host.get("HOME") or "/nonexistent"
    roots = list(_PREFIXES)
    if pyenv := host.get("PYENV_ROOT"):
        roots.append(f"{pyenv}/versions/*")
    roots += [str(folder.parent / "versions" / "*") for folder in _path_folders(host) if _is_shims(folder)]
    for variable in ("CONDA_ROOT", "MAMBA_ROOT_PREFIX"):
        if root := host.get(variable):
            roots += [root, f"{root}/envs/*"]
    # Interpreters of an active environment come last, so that activating an environment does
    # not change the target of a bundle.
    active = tuple(filter(None, (host.get("CONDA_PREFIX"), host.get("VIRTUAL_ENV"))))
    on_path = list(_on_path(minor, host))
    inside = [program for program in on_path if any(program.is_relative_to(root) for root in active)]
    seen = {program.resolve() for program in inside}
    for program in on_path:
        if _is_new(program, seen):
            yield program
    for root in roots:
        anchored = Path(root.format(home=home))
        for prefix in sorted(Path(anchored.anchor).glob(str(anchored.relative_to(anchored.anchor)))):
            program = prefix / "bin" / f"python{minor}"
            if program.is_file() and _is_new(program, seen):
                yield program
    yield from inside
    yield from _discovered(wanted, host, seen)


def _on_path(minor: str, host: HostEnvironment) -> Iterator[Path]:
    for folder in _path_folders(host):
        program = folder / f"python{minor}"
        if not _is_shims(folder) and program.is_file():
            yield program


def _path_folders(host: HostEnvironment) -> list[Path]:
    return [Path(folder) for folder in (host.get("PATH") or "").split(os.pathsep) if folder]


def _is_shims(folder: Path) -> bool:
    """Return whether a directory contains the shims of pyenv.

    A shim runs the version that ``.python-version`` in the working directory selects;
    the real programs are in the ``versions`` directory of pyenv.
    """
    return folder.name == "shims"


def _discovered(wanted: str, host: HostEnvironment, seen: set[Path]) -> Iterator[Path]:
    """Yield the interpreter found by python-discovery: a Python of uv, or one with another name on PATH."""
    from python_discovery import get_interpreter  # noqa: PLC0415 - 90 ms, only for the last search

    env = {name: value for name, value in host.environ.items() if not name.startswith(("PYTHON", "LD_"))}
    info = get_interpreter(f"cpython{wanted}", env=env)
    program = Path(info.system_executable or info.executable) if info is not None else None
    if program is not None and _is_new(program, seen):
        yield program


def _is_new(program: Path, seen: set[Path]) -> bool:
    real = program.resolve()
    if real in seen:
        return False
    seen.add(real)
    return True


def _probe(python: Path, host: HostEnvironment, scratch: Path) -> Interpreter:
    """Run the probe script in ``python``.

    :raises InterpreterError: if it is not a working Python, or not supported as a target.
    """
    argv = [str(python), "-I", "-S", "-B", str(script("probe"))]
    fact = f"`{python}` is not a working Python"
    try:
        ended = run_process(argv, env=host.child_env(scratch), cwd=scratch, timeout=_PROBE_SECONDS)
    except BundlerError as error:
        raise InterpreterError(fact, evidence=error.evidence) from error
    try:
        facts = json.loads(ended.stdout)
        target = target_from_probe(facts)
        stdlib = {*facts["stdlib"], *(path for path in facts["paths"] if path)}
        real = Path(facts["executable"] or python)
        modules = frozenset(facts["stdlib_modules"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InterpreterError(fact, evidence=tail(ended.stderr, 3) or ("no output",)) from None
    return Interpreter(
        python=real,
        stdlib=tuple(sorted(Path(path) for path in stdlib)),
        target=target,
        stdlib_modules=modules,
    )
