"""Create empty virtual environments of the target Python."""

from __future__ import annotations

import os
from pathlib import Path

from bundler.errors import InterpreterError
from bundler.system.environ import HostEnvironment
from bundler.system.process import own_module, run_process, tail
from bundler.target.interpreter import Interpreter

__all__ = ["create_venv", "venv_python"]

_SECONDS = 120


def create_venv(interpreter: Interpreter, folder: Path, host: HostEnvironment, scratch: Path) -> Path:
    """Create a virtual environment without pip, setuptools and activation scripts.

    :param folder: the directory of the environment; it must not exist.
    :param scratch: an existing private directory for virtualenv's own data.
    :return: the Python of the environment.
    :raises InterpreterError: if virtualenv fails.
    """
    argv = [*own_module("virtualenv"), "--quiet", "--no-seed", "--no-vcs-ignore", "--activators", ""]
    argv += ["--app-data", str(scratch / "virtualenv"), "--python", str(interpreter.python), str(folder)]
    env = host.child_env(scratch, VIRTUALENV_CONFIG_FILE=os.devnull)
    ended = run_process(argv, env=env, cwd=scratch, timeout=_SECONDS)
    if ended.returncode != 0:
        raise InterpreterError(
            f"virtualenv cannot create an environment for `{interpreter.python}`",
            evidence=tail(ended.stderr + ended.stdout.decode("utf-8", "replace")),
        )
    # virtualenv installs a patch of distutils that runs at every start of the
    # environment. Since 20.27 it uses syntax newer than 3.7, so each start of 3.7
    # would print a traceback; bundler does not need it. Remove this when virtualenv
    # has an option to omit the patch.
    for leftover in folder.glob("**/site-packages/_virtualenv.*"):
        leftover.unlink()
    return venv_python(folder)


def venv_python(folder: Path) -> Path:
    """Return the Python of the virtual environment at ``folder``."""
    return folder / "bin/python"
