"""The command line: arguments become options, and errors become exit codes.

Flags mean what they mean in pip and uv. The module of a command is imported when
the command is run, so that ``--help`` and small commands start quickly.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bundler.cli.common import LazyGroup, add_common_options
from bundler.cli.console import print_envelope, print_error, print_talk, print_text
from bundler.cli.parsing import read_line
from bundler.cli.settings import with_home, with_source
from bundler.errors import BundlerError
from bundler.system.atomic import remove_temporaries
from bundler.system.environ import read_host_environment
from bundler.system.process import end_all

if TYPE_CHECKING:
    from types import FrameType


__all__ = ["cli", "run_cli"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 5.0
"""Seconds after a signal in which further ones are ignored: they would interrupt the clean-up."""
_NO_VARIABLE = "="
"""A name that no variable has."""
_INTERRUPTED = 128 + signal.SIGINT


class Terminated(BaseException):
    """A signal was received; it unwinds like Ctrl-C, so that everything is cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def run_cli(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code, without ending the process.

    :param arguments: the command line without the name of the program.
    """
    arguments = list(map(with_home, arguments))
    show_warning = warnings.showwarning
    # Warnings of the SDK are lines of the command, like its own.
    warnings.showwarning = _print_warning  # type: ignore[assignment]
    try:
        with _Signals():
            return _run(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Terminated as error:
        return error.exit_code
    finally:
        warnings.showwarning = show_warning


def _run(arguments: Sequence[str]) -> int:  # noqa: PLR0911 - one for each way a command ends
    command = next((word for word in arguments if not word.startswith("-")), "")
    as_json = "--json" in arguments
    if read_line(arguments, cli).fault == "repeated":  # click would use the last value
        from bundler.cli.mistakes import usage_error  # noqa: PLC0415 - only for an error

        return _fail(usage_error(click.UsageError(""), arguments, cli), command, as_json=as_json)
    try:
        # Without the standalone mode, click returns the code of an Exit, and else the value of the command.
        ended = cli.main(
            args=list(arguments),
            prog_name="bundler",
            # The scripts of the shells pass no argument: a command is run, whatever the environment has.
            complete_var=_NO_VARIABLE if arguments else None,
            standalone_mode=False,
            obj=tuple(arguments),
        )
    except BundlerError as error:
        host = read_host_environment()
        return _fail(with_source(error, arguments, host), command, as_json=as_json)
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2; older ones print the help themselves
            print_text(error.format_message())
            return error.exit_code
        if error.ctx and error.message == "Missing command." and not as_json:  # only options, as in `-v`
            print_text(error.ctx.get_help())
            return error.exit_code
        from bundler.cli.mistakes import usage_error  # noqa: PLC0415 - only for an error

        return _fail(usage_error(error, arguments, cli), command, as_json=as_json)
    except click.Abort:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout is gone, as with `| head`: later writes must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = (str(error.filename),) if error.filename else ()
        failure = BundlerError(error.strerror or str(error), evidence=where)
        return _fail(failure, command, as_json=as_json)
    return ended if isinstance(ended, int) else 0


def _fail(error: BundlerError, command: str, *, as_json: bool) -> int:
    if as_json:
        print_envelope(command, error=error)
    print_error(error)
    return error.exit_code


def _print_warning(message: Warning | str, *_: object) -> None:
    print_talk(f"warning   {message}")


class _Signals:
    """A context in which a signal unwinds the command, and nothing temporary is left after it."""

    def __init__(self) -> None:
        # A signal that is ignored at the start stays ignored, as for every program under nohup(1).
        self._numbers = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._previous: dict[int, Any] = {}
        self._received: float | None = None

    def __enter__(self) -> None:
        self._previous = {number: signal.signal(number, self._unwind) for number in self._numbers}

    def __exit__(self, *_: object) -> None:
        if self._received is not None:
            remove_temporaries()
        for number, handler in self._previous.items():
            # After a signal the process ends. Python resets its handlers before its last steps, which
            # further signals must not interrupt.
            signal.signal(number, handler if self._received is None else signal.SIG_IGN)

    def _unwind(self, number: int, _frame: FrameType | None) -> None:
        """Kill the children, so that no thread waits for one, and raise an exception."""
        now = time.monotonic()
        if self._received is not None and now - self._received < _PATIENCE:
            return
        self._received = now
        end_all()
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


_COMMANDS = {
    "base": ("base:base_group", "Manage the base images that are found by their names."),
    "build": ("build:build_command", "Build a verified, relocatable bundle from requirements."),
    "config": ("config:config_command", "Show the settings of this directory, with their sources."),
    "diff": ("report:diff_command", "Print the difference between two bundles."),
    "doctor": ("doctor:doctor_command", "Check this machine, or the variables of a container."),
    "env": ("env:env_group", "Register, list, show, build and export environments."),
    "explain": ("inspect:explain_command", "Explain a finding, or why a distribution is in a bundle."),
    "init": ("config:init_command", "Add a commented [tool.bundler] table to pyproject.toml."),
    "inspect": ("inspect:inspect_command", "Show the contents and findings of a bundle."),
    "join": ("deploy:join_command", "Join an image and a delta into a whole image."),
    "lock": ("build:lock_command", "Resolve requirements and write a pylock.toml."),
    "matrix": ("matrix:matrix_command", "Build the bundles of a file, each for one or more Pythons."),
    "mount-command": ("deploy:mount_command", "Print the `docker run` that mounts a build context."),
    "package": ("package:package_command", "Write a build context or an image for a bundle and its code."),
    "profile": ("profile:profile_command", "Print the profile of a base, for `--base`."),
    "report": ("report:report_command", "Write a page about a bundle, for people."),
    "serve": ("serve:serve_command", "Run a build context under the real inference server, locally."),
    "simulate": ("deploy:simulate_command", "Predict how Azure ML's image starts with a build context."),
    "store": ("store:store_group", "Manage the local store of wheels, layers and segments."),
    "tree": ("tree:tree_command", "Show the requirements of a bundle or a lock as a tree."),
    "unpack": ("inspect:unpack_command", "Verify a bundle and unpack it."),
    "verify": ("inspect:verify_command", "Check every byte of a bundle against its manifest."),
}
"""Each command: its module and function in this package, and its line in the help."""


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
def cli() -> None:
    """Turn Python requirements into an offline dependency bundle you can prove."""


add_common_options(cli)
