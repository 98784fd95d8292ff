"""The options of every command, and a group that loads the module of a command when it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import click

from bundler import __version__
from bundler.cli.console import ConsoleReporter
from bundler.cli.settings import apply_settings
from bundler.errors import BundlerError, UsageError
from bundler.system.environ import read_host_environment

__all__ = ["LazyGroup", "add_common_options", "all_commands", "collected_errors", "make_reporter"]


def _remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[f"bundler.{param.name}"] = True


def _common_options() -> tuple[click.Option, ...]:
    flag = partial(click.Option, is_flag=True, expose_value=False)
    details = "Print the index settings, and the output of pip if it fails."
    return (
        flag(["-q", "--quiet"], callback=_remember, help="Print warnings and errors only."),
        flag(["-v", "--verbose"], callback=_remember, help=details),
        flag(
            ["--version", "show_version"],
            is_eager=True,
            callback=_print_version,
            help="Show the version and exit.",
        ),
    )


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"bundler, version {__version__}")
        ctx.exit()


def add_common_options(command: click.Command) -> click.Command:
    """Add ``-q``, ``-v`` and ``--version`` to a command and to those of a group, unless it has the name."""
    taken = {name for param in command.params for name in param.opts}
    command.params += [option for option in _common_options() if taken.isdisjoint(option.opts)]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_common_options(below)
    return command


def make_reporter() -> ConsoleReporter:
    """Return the reporter of the running command, as ``-q`` and ``-v`` ask for, before or after it."""
    meta = click.get_current_context().meta
    return ConsoleReporter(quiet="bundler.quiet" in meta, verbose="bundler.verbose" in meta)


@contextmanager
def collected_errors() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Return a function whose contexts collect errors; at the end they are raised together.

    :raises BundlerError: the only error, or a `UsageError` with all of them as its evidence.
    """
    errors: list[BundlerError] = []

    @contextmanager
    def collect() -> Iterator[None]:
        try:
            yield
        except BundlerError as error:
            errors.append(error)

    yield collect
    if len(errors) == 1:
        raise errors[0]
    if errors:
        evidence: list[str] = []
        for error in errors:
            hint = (f"  hint    {error.hint}",) if error.hint else ()
            evidence += [error.message, *(f"  {line}" for line in error.evidence), *hint]
        raise UsageError(f"{len(errors)} problems in the command line", evidence=tuple(evidence))


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is run.

    :param lazy: the module and function of each command in this package, and its line in the help.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        del ctx
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None if there is none of this name."""
        del ctx
        if cmd_name in self.lazy and cmd_name not in self.commands:
            module, _, function = self.lazy[cmd_name][0].partition(":")
            command = getattr(import_module(f"bundler.cli.{module}"), function)
            self.commands[cmd_name] = add_common_options(command)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the arguments, after its settings became the defaults of its options."""
        name, command, rest = super().resolve_command(ctx, args)
        if name and command and not ctx.resilient_parsing:
            apply_settings(ctx, (name, command), read_host_environment(), lambda: all_commands(self, ctx))
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of the commands, without their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name][1]) for name in self.list_commands(ctx)])


def all_commands(
    group: click.Group, ctx: click.Context, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below a group, with the words that name it."""
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from all_commands(command, ctx, (*path, name))
        elif command is not None:
            yield (*path, name), command
