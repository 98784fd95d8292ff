"""A command line up to its first mistake, as the parsers of click read it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import click

from bundler.errors import UsageError
from bundler.paths import printable
from bundler.redaction import redact

__all__ = [
    "FORMAT_VALUES",
    "Line",
    "accepts",
    "arguments_of",
    "find_parameter",
    "given_values",
    "is_flag",
    "is_typed",
    "missing_parameters",
    "read_line",
    "shown_name",
    "target_tag",
    "typed_words",
    "with_dashes",
    "with_value",
    "with_word",
]

Fault = Literal["", "option", "value", "flag", "command", "choice", "repeated", "missing", "extra"]

FORMAT_VALUES = (":all:", ":none:")
"""Values of pip's ``--only-binary`` and ``--no-binary``; ``--only-binary`` of bundler is a flag."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A command line, as far as the parsers of click accept it."""

    words: tuple[str, ...]
    path: tuple[str, ...]
    """The command, with the groups before it."""
    at: int
    """The index of the first word after the path."""
    context: click.Context
    fault: Fault = ""
    name: str = ""
    """The wrong option or command, or the name of the wrong parameter."""
    values: Mapping[str, Any] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """The options before the command, which are those of every command."""
        return tuple(word for word in self.words[: self.at] if word.startswith("-"))

    @property
    def prints_help(self) -> bool:
        """Return whether the help or the version is printed, so that no argument is needed."""
        options = [find_parameter(self.context.command, name) for name in ("--help", "--version")]
        return any(option is not None and is_flag(option) and self.has(option.name) for option in options)

    def has(self, name: str | None) -> bool:
        """Return whether the words contain a value for a parameter; click has a mark for those without."""
        value = self.values.get(name or "")
        return isinstance(value, str | list | tuple | bool) and bool(value)


def read_line(words: Sequence[str], root: click.Group) -> Line:
    """Parse a command line up to its first mistake."""
    words = tuple(words)
    context, at = click.Context(root, info_name="bundler"), 0
    path: tuple[str, ...] = ()
    while True:
        command = context.command
        line = Line(words=words, path=path, at=at, context=context)
        try:
            values, rest, order = command.make_parser(context).parse_args(list(words[at:]))
        except click.NoSuchOption as error:
            return replace(line, fault="option", name=error.option_name)
        except click.BadOptionUsage as error:
            param = find_parameter(command, error.option_name)
            return replace(line, fault="flag" if is_flag(param) else "value", name=error.option_name)
        if not isinstance(command, click.Group):
            return _checked(replace(line, values=values, extra=tuple(rest)), order)
        if not rest:
            return line
        below = command.get_command(context, rest[0])
        at = len(words) - len(rest)
        if below is None:
            return replace(line, at=at, fault="command", name=rest[0])
        context, path, at = click.Context(below, info_name=rest[0], parent=context), (*path, rest[0]), at + 1


def _checked(line: Line, order: Sequence[click.Parameter]) -> Line:
    """Return the line of a command with the fault of its values, if they have one.

    :param order: the parameter of each word.
    """
    if line.prints_help:
        return line
    for param in line.context.command.params:
        value = line.values.get(param.name or "")
        if isinstance(value, str) and not accepts(param, value, line.context):
            if find_parameter(line.context.command, value):  # `--for --json`, as click reads it
                return replace(line, fault="value", name=shown_name(param))
            return replace(line, fault="choice", name=param.name)
    for word, value in pairwise(line.words[line.at :]):
        if value in FORMAT_VALUES and is_flag(find_parameter(line.context.command, word)):
            return replace(line, fault="flag", name=word)
    for param in dict.fromkeys(order):
        if order.count(param) > 1 and len(set(given_values(line, param))) > 1:
            return replace(line, fault="repeated", name=shown_name(param))
    fault: Fault = "extra" if line.extra else "missing" if missing_parameters(line) else ""
    return replace(line, fault=fault)


def given_values(line: Line, param: click.Parameter | None) -> list[str]:
    """Return the values in a line of an option that takes one; none for another parameter."""
    if param is None or is_flag(param) or param.multiple or not isinstance(param, click.Option):
        return []
    values = []
    words = line.words[line.at :]
    for word, following in zip(words, (*words[1:], ""), strict=True):
        option, equals, value = word.partition("=")
        if word == "--":
            break
        if option in param.opts and (not equals or option.startswith("--")):
            values.append(value if equals else following)
        elif word[:2] in param.opts and not word.startswith("--"):  # `-odist`
            values.append(word[2:])
    return values


def missing_parameters(line: Line) -> list[click.Parameter]:
    """Return the parameters without which the command is not complete."""
    return [param for param in line.context.command.params if param.required and not line.has(param.name)]


def accepts(param: click.Parameter, value: str, context: click.Context) -> bool:
    """Return whether an option with choices or numbers accepts a value; the others accept all."""
    if not isinstance(param.type, click.Choice | click.IntRange):
        return True
    try:
        param.type.convert(value, param, context)  # type: ignore[arg-type] # a text, as from the user
    except click.BadParameter:
        return False
    return True


def is_flag(param: click.Parameter | None) -> bool:
    """Return whether a parameter is an option without a value."""
    return isinstance(param, click.Option) and param.is_flag


def find_parameter(command: click.Command, name: str) -> click.Parameter | None:
    """Return the option of a name, or the argument of a name in capitals."""
    for param in command.get_params(click.Context(command)):
        if name in param.opts and isinstance(param, click.Option):
            return param
        if isinstance(param, click.Argument) and name and param.human_readable_name == name:
            return param
    return None


def arguments_of(command: click.Command) -> list[click.Argument]:
    """Return the arguments of a command, without its options."""
    return [param for param in command.params if isinstance(param, click.Argument)]


def typed_words(context: click.Context | None) -> list[str]:
    """Return the words of the running command line, without the name of the program; none without one."""
    return list(context.find_root().obj or ()) if context is not None else []


def with_word(context: click.Context | None, word: str, other: str) -> list[str]:
    """Return the words of the running command line with another word; the other word alone without one."""
    typed = typed_words(context)
    if word not in typed:
        return [other]
    at = len(typed) - 1 - typed[::-1].index(word)  # the last one: the first may be the command
    return ["bundler", *typed[:at], other, *typed[at + 1 :]]


def with_dashes(context: click.Context | None, option: str, value: str) -> list[str] | None:
    """Return the words for ``-requirement FILE`` and ``-r=FILE``, which click reads as ``-r`` and a value.

    :param option: the long option.
    :return: None if neither was typed.
    """
    typed = typed_words(context)
    word = option[1:3] + value
    if word not in typed:
        return None
    at = typed.index(word)
    if value.startswith("="):
        return ["bundler", *typed[:at], option + value, *typed[at + 1 :]]
    return ["bundler", *typed[:at], option, *typed[at + 1 :]] if f"-{word}" == option else None


def with_value(words: Sequence[str], option: str, value: str) -> list[str]:
    """Return the words of a command line with a value for an option: instead of its first, else added.

    >>> with_value(["package", "--tag=a"], "--tag", "b"), with_value(["package"], "-o", "out")
    (['package', '--tag=b'], ['package', '-o', 'out'])
    """
    for at, word in enumerate(words):
        if word == option and at + 1 < len(words):
            return [*words[: at + 1], value, *words[at + 2 :]]
        if word.startswith(f"{option}="):
            return [*words[:at], f"{option}={value}", *words[at + 1 :]]
    return [*words, option, value]


def shown_name(param: click.Parameter) -> str:
    """Return the name of a parameter as the help has it: that of an option, or an argument in capitals."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return param.human_readable_name


def is_typed(name: str) -> bool:
    """Return whether a parameter of the running command is from the command line, not from a setting."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
"""A version of Python."""


def target_tag(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Return the value of ``--target``, unless it is a Python or, as in pip, a directory.

    :raises UsageError: if it is, with the command that was meant.
    """
    if value is None or value.count("-") or "manylinux" in value or "musllinux" in value:
        return value
    option = "--python" if _VERSION.fullmatch(value) else "--output"
    typed = ["bundler", *typed_words(ctx)]
    meant = [option if word == "--target" else word.replace("--target=", f"{option}=") for word in typed]
    raise UsageError(
        f"`--target {printable(value)}` is not the tag of a platform", hint=redact(shlex.join(meant))
    )
