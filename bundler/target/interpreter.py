"""Stage 0, effect: find the target Python and ask it what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from bundler.errors import BundlerError, InterpreterError, UsageError
from bundler.system.environ import HostEnvironment
from bundler.system.process import run_process, tail
from bundler.target.scripts import script
from bundler.target.target import Target, target_from_probe

__all__ = ["Interpreter", "capture_profile", "find_interpreter"]

_PROBE_SECONDS = 30
_CAPTURE_SECONDS = 300

# Where interpreters lie that are not on PATH: pyenv, conda and its forks, and
# the prefixes of distributions and of containers. `{home}` is the user's.
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
    """A target Python that can be run on this machine."""

    python: Path
    """The program itself, no shim and no link of a virtual environment."""
    stdlib: tuple[Path, ...]
    """The folders its ``sys.path`` starts out with."""
    target: Target
    stdlib_modules: frozenset[str] = frozenset()
    """The top-level modules of its standard library."""


def find_interpreter(wanted: str, host: HostEnvironment, scratch: Path) -> Interpreter:
    """Return the interpreter that ``--python`` asks for.

    :param wanted: a version ("3.7" or "3.7.16") or the path of a program.
    :param scratch: a private folder, the probe's HOME.
    :raises InterpreterError: if there is none, or it cannot be a target; says what was tried.
    """
    path = host.cwd / Path(wanted).expanduser()
    if path.is_file():
        return _probe(path, host, scratch)
    if "/" in wanted or "\\" in wanted:
        raise InterpreterError(
            f"there is no Python at `{wanted}`", hint="pass `--python 3.7` to search for one"
        )
    try:
        version = Version(wanted)
    except InvalidVersion:
        raise UsageError(
            f"`--python {wanted}` is neither a version nor the path of a Python", hint="pass `--python 3.7`"
        ) from None
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
        f"no CPython {wanted} was found",
        evidence=(
            "looked in  PATH, pyenv, conda environments, uv's Pythons, "
            + ", ".join(sorted({prefix for prefix in _PREFIXES if prefix.startswith("/")})),
            *tried[:8],
        ),
        hint=f"run `pyenv install {wanted}` or `conda create -n py python={wanted}`, or pass `--python PATH`",
    )


def capture_profile(interpreter: Interpreter, host: HostEnvironment, scratch: Path) -> str:
    """Return the profile of an interpreter as the JSON that `target/scripts/capture.py` prints.

    :raises InterpreterError: if it prints none.
    """
    argv = [str(interpreter.python), "-s", "-B", str(script("capture"))]
    ended = run_process(argv, env=host.child_env(scratch), cwd=scratch, timeout=_CAPTURE_SECONDS)
    if ended.returncode != 0:
        raise InterpreterError(
            f"the profile of `{interpreter.python}` could not be captured", evidence=tail(ended.stderr)
        )
    return ended.stdout.decode("utf-8")


def _candidates(wanted: str, host: HostEnvironment) -> Iterator[Path]:
    """Yield programs that may be the version wanted, each once, the cheap places first."""
    minor = ".".join(wanted.split(".")[:2])
    home = host.get("HOME") or host.get("USERPROFILE") or "/nonexistent"
    roots = list(_PREFIXES)
    roots += [f"{root}/versions/*" for root in filter(None, [host.get("PYENV_ROOT")])]
    roots += [str(folder.parent / "versions" / "*") for folder in _path_folders(host) if _is_shims(folder)]
    for variable in ("CONDA_ROOT", "MAMBA_ROOT_PREFIX"):
        if root := host.get(variable):
            roots += [root, f"{root}/envs/*"]
    # An active environment comes last, so that activating one does not change
    # which Python a bundle is made for.
    active = tuple(filter(None, (host.get("CONDA_PREFIX"), host.get("VIRTUAL_ENV"))))
    on_path = list(_on_path(minor, host))
    inside = [program for program in on_path if any(program.is_relative_to(root) for root in active)]
    seen = {program.resolve() for program in inside}
    for program in on_path:
        if _is_new(program, seen):
            yield program
    for root in roots:
        anchored = Path(root.format(home=home))
        for found in sorted(Path(anchored.anchor).glob(str(anchored.relative_to(anchored.anchor)))):
            program = found / "bin" / f"python{minor}"
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
    """Return whether a folder holds pyenv's shims.

    A shim answers for whatever version a file in the working directory names;
    the real program is found under pyenv's versions.
    """
    return folder.name == "shims"


def _discovered(wanted: str, host: HostEnvironment, seen: set[Path]) -> Iterator[Path]:
    """Yield what python-discovery finds: uv's own Pythons, the Windows registry, odd names on PATH."""
    from python_discovery import get_interpreter  # noqa: PLC0415 - 90 ms that a found Python does not need

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
    """Run the probe inside ``python``."""
    argv = [str(python), "-I", "-S", "-B", str(script("probe"))]
    ended = run_process(argv, env=host.child_env(scratch), cwd=scratch, timeout=_PROBE_SECONDS)
    try:
        facts = json.loads(ended.stdout)
    except ValueError:
        raise InterpreterError(
            f"`{python}` cannot be used as a Python",
            evidence=tail(ended.stderr, 3) or ("it printed nothing",),
        ) from None
    target = target_from_probe(facts)
    stdlib = {*facts["stdlib"], *(path for path in facts["paths"] if path)}
    real = Path(facts["executable"] or python)
    return Interpreter(
        python=real,
        stdlib=tuple(sorted(Path(path) for path in stdlib)),
        target=target,
        stdlib_modules=frozenset(facts["stdlib_modules"]),
    )
