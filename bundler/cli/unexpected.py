"""The command line that was probably meant by one with unexpected arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from bundler.cli.examples import existing_bundles, find_script
from bundler.cli.parsing import Line, arguments_of, find_parameter, shown_name, with_value

__all__ = ["NAME", "PYTHON", "without_extra"]

PYTHON = re.compile(r"(?:(?:c?python|cp|py)-?)?\d+(?:\.\d+)*|.*python.*", re.IGNORECASE)
"""A version of Python, or the path of one."""
NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", re.ASCII)
"""The name of a distribution."""
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def without_extra(line: Line) -> Iterator[list[str]]:
    """Yield the command line with its unexpected arguments as values of options, or without them."""
    words, extra = list(line.words), line.extra
    numbers = [param for param in line.context.command.params if isinstance(param.type, click.IntRange)]
    if len(numbers) == len(extra) == 1 and extra[0].isdecimal():  # `store gc 7`
        yield _as_value(line, numbers[0])
    for at, (option, value, other) in enumerate(zip(words, words[1:], words[2:], strict=False)):
        param = find_parameter(line.context.command, option) if at >= line.at else None
        if option == "--python" and PYTHON.fullmatch(other) and other in extra:
            yield [*words[: at + 1], *words[at + 2 :]]
        if param is not None and param.metavar == "NAME=VALUE" and _VARIABLE.fullmatch(value):
            yield [*words[: at + 1], f"{value}={other}", *words[at + 3 :]]
    yield from _with_code(line)
    yield from _with_name(line)
    yield from _with_bundle(line)
    yield from _one_bundle(line)


def _as_value(line: Line, option: click.Parameter) -> list[str]:
    """Return the command line with its one unexpected argument as the value of an option."""
    at = len(line.words) - 1 - line.words[::-1].index(line.extra[0])
    return [*line.words[:at], shown_name(option), *line.words[at:]]


def _given(line: Line) -> list[str]:
    """Return the arguments of a command line, with the unexpected ones."""
    arguments = arguments_of(line.context.command)
    return [*(str(line.values.get(item.name or "")) for item in arguments), *line.extra]


def _with_name(line: Line) -> Iterator[list[str]]:
    """Yield the command for a distribution of a bundle: ``inspect BUNDLE flask``, ``tree BUNDLE flask``."""
    given = _given(line)
    names = [word for word in given if NAME.fullmatch(word) and not Path(word).exists()]
    sources = [word for word in given if Path(word).exists()]
    if (len(names), len(sources), len(given)) != (1, 1, 2):
        return
    rest = [word for word in line.words[line.at :] if word not in given]
    if line.path == ("inspect",):
        yield [*line.options, "explain", names[0], *sources, *(word for word in rest if word != "--notes")]
    elif find_parameter(line.context.command, "--invert"):
        yield [*line.words[: line.at], *sources, "--invert", names[0], *rest]
    elif line.path == ("env", "register") and not line.has("name"):
        yield [*line.words[: line.at], *sources, "--name", names[0], *rest]


def _with_code(line: Line) -> Iterator[list[str]]:
    """Yield the command line with a script or its directory as options: ``package BUNDLE code``."""
    script = next((word for word in line.extra if word.endswith(".py")), None)
    folder = next((word for word in line.extra if Path(word).is_dir()), None)
    known = find_parameter(line.context.command, "--source-dir") is not None and not line.has("source_dir")
    if not known or {*line.extra} != {*filter(None, (script, folder))}:
        return
    if found := find_script(Path(folder) if folder else None, script):
        words = [word for word in line.words if word not in line.extra]
        for option, value in zip(("--source-dir", "--entry-script"), map(str, found), strict=True):
            words = with_value(words, option, value)
        yield words


def _with_bundle(line: Line) -> Iterator[list[str]]:
    """Yield the command line with a second bundle as the value of an option: ``report NEW OLD``.

    Without the unexpected arguments, if the command has none.
    """
    arguments = arguments_of(line.context.command)
    if not arguments:  # `init NAME`, `doctor BUNDLE`
        yield [word for word in line.words if word not in line.extra]
        return
    option = next(
        (
            item
            for item in line.context.command.params
            if isinstance(item, click.Option) and not line.has(item.name) and item.type is arguments[0].type
        ),
        None,
    )
    if option is not None and len(line.extra) == 1 and existing_bundles(line.extra):
        yield _as_value(line, option)


def _one_bundle(line: Line) -> Iterator[list[str]]:
    """Yield the command line with the first bundle alone, for a command that reads one: ``verify dist/*``."""
    given = _given(line)
    bundles = existing_bundles(given)
    if len(arguments_of(line.context.command)) == 1 and bundles:
        rest = [word for word in line.words[line.at :] if word not in given]
        yield [*line.words[: line.at], bundles[0], *rest]
