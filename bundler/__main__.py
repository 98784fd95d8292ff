"""``python -m bundler``: run the command line in a Python that nothing around it can change.

``PYTHONPATH``, a user site, files of the working directory and the dynamic loader's variables reach
an ordinary start of Python. So unless it is isolated, this module replaces the process by
``python -I -X utf8`` and imports only modules that are built in, or that Python has imported
already. The command ``bundler`` (scripts/bundler) starts isolated at once.
"""

from __future__ import annotations

import gc
import os
import sys

__all__ = ["main"]

_POISONS = ("PYTHON", "LD_", "DYLD_")
"""Prefixes of the variables that change how Python, or any program, starts."""
_REMOVED = "BUNDLER_REMOVED"
"""Names the removed variables for the report; see `HostEnvironment.ignored_settings`."""
_INTERPRETER_ERROR = 8


def main() -> None:
    """Run the command line and exit with its code."""
    # The owner of a file may read and write it, and others write nothing, whatever the umask.
    os.umask(os.umask(0o077) & 0o075 | 0o002)
    _open_streams()
    _isolate()
    # The tables of files have no cycles, and a search for some in them takes a tenth of a warm build.
    gc.set_threshold(100_000, 20, 20)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if here not in sys.path:  # a user site; after all others, so that it replaces nothing
        sys.path.append(here)
    try:
        from bundler.cli.main import run_cli  # noqa: PLC0415 - after the start is isolated
    except ImportError as error:
        sys.stderr.write(
            f"bundler: error: `{sys.executable}` cannot run bundler: {error}\n"
            "bundler: hint: install bundler with this Python, or into an environment of its own\n"
        )
        sys.exit(_INTERPRETER_ERROR)

    sys.exit(run_cli(sys.argv[1:]))


def _open_streams() -> None:
    """Open the null device for each closed standard stream: no other file gets its number, or its output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number (open(2))
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end


def _isolate() -> None:
    """Start this module again, isolated and without the variables of `_POISONS`, if necessary."""
    has_loader_variable = any(name.startswith(_POISONS[1:]) for name in os.environ)
    if (sys.flags.isolated and not has_loader_variable) or not sys.executable:
        return
    removed = [name for name, value in os.environ.items() if name.startswith(_POISONS) and value]
    env = {name: value for name, value in os.environ.items() if not name.startswith(_POISONS)}
    env[_REMOVED] = " ".join([*os.environ.get(_REMOVED, "").split(), *removed])
    # By path, not `-m bundler`: exactly this code, also if it is in a user site.
    options = ["-I", "-S"] if sys.flags.no_site else ["-I"]
    argv = [sys.executable, *options, "-X", "utf8", os.path.abspath(__file__), *sys.argv[1:]]
    try:
        os.execve(sys.executable, argv, env)
    except OSError as error:
        sys.exit(f"bundler: error: cannot start `{sys.executable}`: {error.strerror}")


if __name__ == "__main__":
    main()
