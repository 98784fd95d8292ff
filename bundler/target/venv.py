"""Effect: an empty virtual environment of the target Python, with nothing seeded into it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bundler.errors import InterpreterError
from bundler.system.environ import HostEnvironment
from bundler.system.process import run_process, tail
from bundler.target.interpreter import Interpreter

__all__ = ["create_venv", "venv_python"]

_SECONDS = 120


def create_venv(interpreter: Interpreter, folder: Path, host: HostEnvironment, scratch: Path) -> Path:
    """Create a virtual environment at ``folder``, which must not exist, and return its Python.

    It holds no pip, no setuptools and no activation scripts.

    :raises InterpreterError: if virtualenv cannot make it.
    """
    argv = [
        sys.executable,
        "-I",
        "-m",
        "virtualenv",
        "--quiet",
        "--no-seed",
        "--no-vcs-ignore",
        "--activators",
        "",
    ]
    argv += ["--app-data", str(scratch / "virtualenv"), "--python", str(interpreter.python), str(folder)]
    env = host.child_env(scratch, VIRTUALENV_CONFIG_FILE=os.devnull)
    ended = run_process(argv, env=env, cwd=scratch, timeout=_SECONDS)
    if ended.returncode != 0:
        raise InterpreterError(
            f"virtualenv cannot make an environment of `{interpreter.python}`",
            evidence=tail(ended.stderr + ended.stdout.decode("utf-8", "replace")),
        )
    # virtualenv puts a patch of distutils into every start of the environment.
    # Since 20.27 it is written in syntax newer than 3.7, so each start of 3.7
    # would print a traceback; nothing here needs it. To be dropped when
    # virtualenv gets an option to leave it out.
    for leftover in folder.glob("**/site-packages/_virtualenv.*"):
        leftover.unlink()
    return venv_python(folder)


def venv_python(folder: Path) -> Path:
    """Return the Python of the virtual environment at ``folder``."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
