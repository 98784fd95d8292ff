"""The command line that was probably meant by a wrong one.

A command line is corrected one word at a time, until the parsers of click accept all of it, so a
suggestion has no second mistake. The words of other tools are data: `bundler.data.synonyms`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
from packaging.requirements import Requirement

from bundler.cli.examples import bundle_with, example_of, existing_bundles, input_words
from bundler.cli.options import REQUIREMENT
from bundler.cli.parsing import (
    FORMAT_VALUES,
    Line,
    accepts,
    arguments_of,
    find_parameter,
    is_flag,
    missing_parameters,
    read_line,
    shown_name,
)
from bundler.cli.unexpected import NAME, PYTHON, without_extra
from bundler.data.popular_names import most_downloaded
from bundler.data.synonyms import read_synonyms
from bundler.problems import closest, is_url

__all__ = ["absent_reason", "absent_reasons", "corrections", "other_commands", "owner_of", "without_absent"]

_DEPTH = 6
"""The words of a command line that are corrected at most."""
_VERSION = "--version"
"""Prints a version with success, which hides a mistake: suggested alone, for a misspelling of it."""
_INPUTS = ("files", "find_links", "scripts", "lock")
"""The options with requirements, beside the argument."""
_JOINED = re.compile(r"(--[a-z-]*[a-z])(\d[\w.]*)", re.ASCII)
"""A long option and its value without a space."""
_PORTS = re.compile(r"(?:[\d.]+:)?(\d+):\d+(?:/tcp)?", re.ASCII)
"""The ports of `docker run -p`: on the host, and in the container."""
_FORMATS = ("-o", "--output", "--format", "--output-format")
"""The options of other tools that select JSON."""
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*(?:\[[\w.,-]*\])?\s*(?:[=<>~!]=|[<>]|@).*", re.ASCII)


def corrections(line: Line, root: click.Group, depth: int = _DEPTH) -> Iterator[list[str]]:
    """Yield command lines without a mistake that are similar to a wrong one, the most probable first."""
    if not line.fault:
        yield from _with_input(line)
    elif depth:
        for words in _alternatives(line, root):
            yield from corrections(read_line(words, root), root, depth - 1)


def _with_input(line: Line) -> Iterator[list[str]]:
    """Yield a valid command line, with a file of this directory if it has no requirements but needs them."""
    words, names = list(line.words), _INPUTS
    argument = find_parameter(line.context.command, REQUIREMENT)
    if argument is None or line.prints_help or any(map(line.has, (argument.name, *names))):
        yield words
    elif words_of_input := input_words():
        yield [*words, *words_of_input]


def _alternatives(line: Line, root: click.Group) -> Iterator[list[str]]:
    """Yield command lines in which the first mistake of a wrong one is corrected."""
    words = list(line.words)
    if line.fault == "option":
        yield from _synonyms(line)
        yield from _elsewhere(line, root)
        if absent_reason(line) is None and not owner_of(line, root):
            yield from _similar_options(line)
        yield from _moved(line, root)
    elif line.fault == "flag":
        flag = f"{line.name}="
        yield [line.name if word.startswith(flag) else word for word in words if word not in FORMAT_VALUES]
    elif line.fault == "command":
        yield from other_commands(line)
    elif line.fault == "choice":
        yield from _other_choices(line)
    elif line.fault == "repeated":
        yield _without_first(line)
    elif line.fault == "missing":
        example = example_of(missing_parameters(line)[0], line.values, words)
        if example is not None:
            yield [*words, example]
    elif line.fault == "extra":
        yield from without_extra(line)


def _without_first(line: Line) -> list[str]:
    """Return the command line without the first value of an option that has several."""
    param = find_parameter(line.context.command, line.name)
    names = param.opts if param else ()
    words = list(line.words)
    at = next(
        at
        for at in range(line.at, len(words))
        if words[at].partition("=")[0] in names or (words[at][:2] in names and words[at][:2] != "--")
    )
    return [*words[:at], *words[at + (2 if words[at] in names else 1) :]]


def _synonyms(line: Line) -> Iterator[list[str]]:
    """Yield the command line with an option of the same meaning instead of an unknown one."""
    at = _index(line)
    if at is None:
        return
    word = line.words[at]
    if not word.startswith("--"):  # `-python`, which click reads as `-p ython`
        yield from _with_option(line, at, word, f"-{word}")
    if joined := _JOINED.fullmatch(line.name):  # `--python3.8`
        yield from _with_option(line, at, joined[1], joined[1])
    value = line.words[at].partition("=")[2] or next(iter(line.words[at + 1 :]), "")
    if line.name in _FORMATS and value == "json" and find_parameter(line.context.command, "--json"):
        yield [*line.words[:at], "--json", *line.words[at + (1 if "=" in line.words[at] else 2) :]]
    synonyms = read_synonyms().options
    for name in dict.fromkeys((line.name, line.name.lower())):
        for other in (name, *synonyms.get(name, ())):
            option, _, value = other.partition(" ")
            if value and word == line.name and find_parameter(line.context.command, option):
                yield [*line.words[:at], option, value, *line.words[at + 1 :]]
            elif not value:
                yield from _with_option(line, at, line.name, other)
    yield from _with_variable(line, at)


def _with_variable(line: Line, at: int) -> Iterator[list[str]]:
    """Yield the command line with a variable of the image instead of an option that it does not have."""
    variable = read_synonyms().variables.get(line.name)
    param = find_parameter(line.context.command, "-e")
    attached = line.words[at].removeprefix(line.name)
    value = attached.removeprefix("=") or next(iter(line.words[at + 1 :]), "")
    if variable and value and param is not None and param.metavar == "NAME=VALUE":
        after = line.words[at + 1 :] if attached else line.words[at + 2 :]
        yield [*line.words[:at], "-e", f"{variable}={value}", *after]


def _similar_options(line: Line) -> Iterator[list[str]]:
    """Yield the command line with the most similar option instead of an unknown one."""
    command, at = line.context.command, _index(line)
    known = {opt for param in command.get_params(line.context) for opt in param.opts if opt[:2] == "--"}
    names = {opt.removeprefix("--"): opt for opt in sorted(known)}
    typed = line.name.lower().removeprefix("--")
    near = names.get(closest(typed, names) or "")
    if near == _VERSION:
        if closest(typed, [near.removeprefix("--")], cutoff=0.8):
            yield [near]
    elif near and at is not None:
        yield from _with_option(line, at, line.name, near)


def _index(line: Line) -> int | None:
    """Return the index of an unknown option."""
    return next((i for i in range(line.at, len(line.words)) if _is_option(line.words[i], line.name)), None)


def _is_option(word: str, name: str) -> bool:
    if name.startswith("--"):
        return word == name or word.startswith(f"{name}=")
    return word.startswith(name) and not word.startswith("--")


def _with_option(line: Line, at: int, name: str, other: str) -> Iterator[list[str]]:
    """Yield the command line with one option instead of another; nothing if its value does not fit."""
    words, attached = list(line.words), line.words[at].removeprefix(name)
    param = find_parameter(line.context.command, other)
    if other == _VERSION and name == "-V":
        yield [other]
    if param is None or other in (_VERSION, line.name):
        return
    before, after = words[:at], words[at + 1 :]
    if is_flag(param):
        if not attached:
            yield [*before, other, *after]
        return
    value = attached.removeprefix("=") or next(iter(after), "")
    if not attached:
        after = after[1:]
        left = [word for word in (*before[line.at :], *after) if not word.startswith("-")]
        is_input = isinstance(param, click.Argument) or param.name in _INPUTS
        has_arguments = bool(arguments_of(line.context.command))
        if has_arguments and not left and not is_input:  # the word is an argument, not a value
            return
    if ports := _PORTS.fullmatch(value):  # `-p 8080:5001`
        value = ports[1] if isinstance(param.type, click.IntRange) else value
    if not value or value.startswith("-") or not _fits(param, other, value, line.context):
        return
    if isinstance(param, click.Argument):
        is_alone = len(arguments_of(line.context.command)) == 1
        yield [*before, value, *after] if is_alone else [*before, *after, value]
    else:
        joined = attached.startswith("=")
        yield [*before, *([f"{other}={value}"] if joined else [other, value]), *after]


def _fits(param: click.Parameter, option: str, value: str, context: click.Context) -> bool:
    if option == "--python":
        return PYTHON.fullmatch(value) is not None
    if isinstance(param.type, click.Path) and ":" in value:  # the tag of an image
        return False
    return accepts(param, value, context)


def _moved(line: Line, root: click.Group) -> Iterator[list[str]]:
    """Yield the command line with the command before its options, or with ``build`` if it has none."""
    if line.path:
        return
    words = list(line.words)
    for index, word in enumerate(words):
        if not word.startswith("-") and root.get_command(line.context, word):
            yield [word, *words[:index], *words[index + 1 :]]
            return
    yield ["build", *words]


def _elsewhere(line: Line, root: click.Group) -> Iterator[list[str]]:
    """Yield the command line with another command, which has the same arguments and the option."""
    if len(line.path) != 1:
        return
    shape = list(map(shown_name, arguments_of(line.context.command)))
    commands = [(name, root.get_command(line.context, name)) for name in root.list_commands(line.context)]
    # The command with the fewest options has the fewest effects: `verify`, not `package`.
    for name, command in sorted(commands, key=lambda item: len(item[1].params) if item[1] else 0):
        if command is None or name in line.path or not find_parameter(command, line.name):
            continue
        if shape == list(map(shown_name, arguments_of(command))):
            yield [*line.words[: line.at - 1], name, *line.words[line.at :]]


def absent_reason(line: Line) -> str | None:
    """Return why a command has no such option, or bundler no such command; None if it is not known."""
    absent = read_synonyms().absent
    return absent.get(" ".join([*line.path, line.name]), absent.get(line.name))


def _key(line: Line, word: str) -> str:
    """Return an option with its command, as the table of absent options has those of one command."""
    return " ".join([*line.path, word.partition("=")[0]])


def absent_reasons(line: Line) -> list[str]:
    """Return why a command has not those of its words that are options of another tool."""
    absent = read_synonyms().absent
    keys = (_key(line, word) for word in line.words[line.at :])
    return [absent[key] for key in dict.fromkeys(keys) if line.path and key in absent]


def without_absent(line: Line, root: click.Group) -> Line:
    """Return the command line without the options of `absent_reasons` and their values."""
    absent, kept = read_synonyms().absent, list(line.words[: line.at])
    rest = list(line.words[line.at :])
    while rest:
        word = rest.pop(0)
        if _key(line, word) not in absent:
            kept.append(word)
        elif "=" not in word and rest and rest[0][:1] != "-" and not existing_bundles(rest[:1]):
            del rest[0]
    return read_line(kept, root)


def owner_of(line: Line, root: click.Group) -> str | None:
    """Return the only command that has an unknown option; None if several have it."""
    commands = [(name, root.get_command(line.context, name)) for name in root.list_commands(line.context)]
    owners = [name for name, command in commands if command and find_parameter(command, line.name)]
    return owners[0] if len(owners) == 1 else None


def other_commands(line: Line) -> Iterator[list[str]]:
    """Yield the command line with another command instead of an unknown one."""
    synonyms = read_synonyms().commands
    rest = list(line.words[line.at :])
    for count in (2, 1):
        same = synonyms.get(" ".join([*line.path, *rest[:count]]).lower(), ())
        for other in sorted(same, key=lambda other: _count_unknown(line, other, rest[count:])):
            yield from _of_distribution(line, other, rest[count:])
            yield from _with_command(line, other, rest[count:])
        if same:  # `create -n NAME` is not `create` with the option `-n` of pip
            return
    if not line.path and line.name.lower() in read_synonyms().absent:
        return
    group = line.context.command
    known = group.list_commands(line.context) if isinstance(group, click.Group) else []
    words = [key.split() for key in synonyms]
    others = [key[-1] for key in words if tuple(key[:-1]) == line.path]
    if near := closest(line.name.lower(), [*known, *others]):
        key = " ".join([*line.path, near])
        for other in [key] if near in known else synonyms[key]:
            yield from _with_command(line, other, rest[1:])
    if line.path:
        return
    if existing_bundles([line.name]):
        yield [*line.options, "inspect", *rest]
    elif (
        Path(line.name).is_file()
        or is_url(line.name)
        or _REQUIREMENT.fullmatch(line.name)
        or line.name.lower() in most_downloaded()
    ):
        yield [*line.options, "build", *rest]


def _count_unknown(line: Line, other: str, rest: list[str]) -> int:
    """Return how many of the options that follow another command it does not have."""
    command = line.context.find_root().command
    for word in other.split():
        below = command.get_command(line.context, word) if isinstance(command, click.Group) else None
        command = below or command
    return sum(word[0] == "-" and not find_parameter(command, word.split("=")[0]) for word in rest if word)


def _of_distribution(line: Line, other: str, rest: list[str]) -> Iterator[list[str]]:
    """Yield the command that explains a distribution of a bundle here: ``show flask``."""
    if other not in ("inspect", "explain") or not rest or not NAME.fullmatch(rest[0]):
        return
    if Path(rest[0]).exists():
        return
    if existing_bundles(rest):
        yield [*line.options, "explain", *rest]
    elif bundle := bundle_with(Requirement(rest[0])):
        yield [*line.options, "explain", rest[0], str(bundle), *rest[1:]]


def _with_command(line: Line, other: str, rest: list[str]) -> Iterator[list[str]]:
    if other == "--help":
        if rest:
            yield [*line.options, *rest, other]
        yield [other]
    elif other == "--version":
        yield [other]
    else:
        yield [*line.options, *other.split(), *rest]


def _other_choices(line: Line) -> Iterator[list[str]]:
    """Yield the command line with a similar choice instead of an invalid one."""
    param = next(item for item in line.context.command.params if item.name == line.name)
    value = line.values[line.name]
    choices = list(map(str, param.type.choices)) if isinstance(param.type, click.Choice) else []
    if value.lower() == "json" and find_parameter(line.context.command, "--json"):  # of pip
        at = next((at for at, word in enumerate(line.words) if word.partition("=")[0] in param.opts), None)
        if at is not None:
            count = 1 if "=" in line.words[at] else 2
            yield [*line.words[:at], "--json", *line.words[at + count :]]
            return
    known = read_synonyms().choices.get(max(param.opts, key=len), {})
    near = known.get(value.lower()) or closest(value.lower(), choices, cutoff=0.4)
    if near is None:
        return
    swaps = {value: near} | {f"{opt}={value}": f"{opt}={near}" for opt in param.opts}
    yield [*line.words[: line.at], *(swaps.get(word, word) for word in line.words[line.at :])]
