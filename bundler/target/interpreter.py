"""Find the target Python, and probe its version, ABI, platform and standard library."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from bundler.errors import BundlerError, InterpreterError, UsageError
from bundler.problems import closest
from bundler.system.environ import HostEnvironment
from bundler.system.process import run_process, tail
from bundler.target.scripts import script
from bundler.target.target import OLDEST, Target, target_from_probe

__all__ = ["Interpreter", "capture_profile", "find_interpreter"]

_PROBE_SECONDS = 30
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?(?:(?:a|b|rc)\d+)?", re.ASCII)
_NAMED = re.compile(r"(?<![\d.])([23])[.,_]?(\d{1,2})(?:\.(\d+))?", re.ASCII)
"""A version in a text, also without its dot: ``37``, ``python3.7``, ``3.8+``."""
_NEWEST_MINOR = 20
"""The last minor version to search for, above the newest one that exists."""
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
    local: Target | None = None
    """The description of this Python, if `target` is another platform: it cannot run code of the target."""

    @property
    def own(self) -> Target:
        """The description of this Python itself."""
        return self.local or self.target

    @property
    def is_foreign(self) -> bool:
        """Whether the target is another platform."""
        return self.local is not None

    @property
    def compiles(self) -> bool:
        """Whether the bytecode and the syntax of this Python are those of the target."""
        return self.own.release == self.target.release


def find_interpreter(wanted: str, host: HostEnvironment, scratch: Path) -> Interpreter:
    """Return the interpreter for a version or path.

    :param wanted: a version ("3.7" or "3.7.16") or the path of a program.
    :param scratch: an existing private directory, the HOME of the probe.
    :raises InterpreterError: if no such interpreter is found, or it is not supported as a target; the
        evidence lists the candidates.
    :raises UsageError: if ``wanted`` is neither a version nor a path.
    """
    path = host.cwd / wanted
    with suppress(RuntimeError):  # `~=3.8`: no user has this name
        path = host.cwd / Path(wanted).expanduser()
    if path.is_file():
        return _probe(path, host, scratch)
    version = _version(wanted, path, host)
    tried, near = [], None
    for candidate in _candidates(wanted, host):
        try:
            found = _probe(candidate, host, scratch)
        except BundlerError as error:
            tried.append(f"tried   {candidate}: {error}")
            continue
        if Version(found.target.version).release[: len(version.release)] == version.release:
            return found
        if Version(found.target.version).release[:2] == version.release[:2]:
            near = near or found.target.version
        tried.append(f"tried   {candidate}: it is {found.target.version}")
    minor = ".".join(map(str, version.release[:2]))
    here = _installed(host)
    exists = version.major == OLDEST.major and version.minor <= _NEWEST_MINOR
    if here and not exists and near is None:  # 3.77 is a slip of 3.7
        near = closest(minor, here) or here[-1]
    hint = f"run `pyenv install {minor}` or `conda create -n py python={minor}`, or pass `--python PATH`"
    raise InterpreterError(
        f"CPython {wanted} not found",
        evidence=(
            "searched  PATH, pyenv, conda environments, uv's Pythons, "
            + ", ".join(sorted({prefix for prefix in _PREFIXES if prefix.startswith("/")})),
            *tried[:8],
            *((f"found   {', '.join(here)}",) if here else ()),
        ),
        hint=f"pass `--python {near}`" if near else hint,
    )


def _version(wanted: str, path: Path, host: HostEnvironment) -> Version:
    """Return the version that ``--python`` names.

    :param path: the file that it is not the path of.
    :raises InterpreterError: if it is a path, or a version that is not supported.
    :raises UsageError: if it is neither; the hint has the version that was probably meant.
    """
    if (path / "bin" / "python").is_file() and ("/" in wanted or not wanted[0].isdigit()):
        raise InterpreterError(
            f"`{wanted}` is a directory, not a Python",
            hint=f"pass `--python {wanted.rstrip('/')}/bin/python`",
        )
    version = Version(wanted) if _VERSION.fullmatch(wanted) else None
    if version is not None and version.release >= OLDEST.release:
        return version
    hint = f"pass `--python {_version_meant(wanted, host)}`"
    if "/" in wanted or "\\" in wanted:
        raise InterpreterError(f"Python `{wanted}` not found", hint=hint)
    if version is None:
        implementation = ", and PyPy is not supported" if "pypy" in wanted.lower() else ""
        raise UsageError(
            f"`--python {wanted}` is neither a version nor the path of a Python{implementation}",
            evidence=("wanted  a version of CPython, such as 3.7 or 3.7.16, or a path",),
            hint=hint,
        )
    raise InterpreterError(
        f"Python {wanted} is not supported as a target",
        evidence=(f"wanted  CPython {OLDEST} or newer",),
        hint=hint,
    )


def _version_meant(text: str, host: HostEnvironment) -> str:
    """Return the supported version that a text names, or the lowest one that it accepts as a specifier."""
    here = _installed(host)
    try:
        accepted = [minor for minor in here if SpecifierSet(text).contains(minor)]
    except InvalidSpecifier:
        accepted = []
    if text and not text[0].isdigit() and accepted:
        return accepted[0]
    if text.lower() in ("latest", "newest", "max"):
        return (here or [str(OLDEST)])[-1]
    named = _NAMED.search(text)
    version = Version("{}.{}".format(*named.groups())) if named else OLDEST
    if named and named[3] and Path(text).parent == Path():  # a release, if it is installed
        release = f"{version}.{named[3]}"
        programs = _programs(str(version), host)
        return release if any(release in str(program.resolve()) for program in programs) else str(version)
    return str(version) if version >= OLDEST else str(OLDEST)


def _installed(host: HostEnvironment) -> list[str]:
    """Return the minor versions of the Pythons on this machine by the names of their programs, sorted."""
    minors = (f"3.{minor}" for minor in range(OLDEST.minor, _NEWEST_MINOR + 1))
    return [minor for minor in minors if next(_programs(minor, host), None) is not None]


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
    seen: set[Path] = set()
    for program in _programs(".".join(wanted.split(".")[:2]), host):
        if _is_new(program, seen):
            yield program
    yield from _discovered(wanted, host, seen)


def _programs(minor: str, host: HostEnvironment) -> Iterator[Path]:
    """Yield the programs of a minor version by their names: on PATH, and in the usual places."""
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
    resolved = {program.resolve() for program in inside}
    yield from (program for program in on_path if program.resolve() not in resolved)
    for root in roots:
        anchored = Path(root.format(home=home))
        for prefix in sorted(Path(anchored.anchor).glob(str(anchored.relative_to(anchored.anchor)))):
            program = prefix / "bin" / f"python{minor}"
            if program.is_file() and program.resolve() not in resolved:
                yield program
    yield from inside


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
