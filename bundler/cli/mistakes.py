"""The words for wrong command lines, with the command line that was probably meant."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence

import click

from bundler.cli.bundles_file import NOT_KEYS
from bundler.cli.correction import (
    absent_reason,
    absent_reasons,
    corrections,
    other_commands,
    owner_of,
    without_absent,
)
from bundler.cli.parsing import (
    Line,
    find_parameter,
    given_values,
    is_flag,
    missing_parameters,
    read_line,
    shown_name,
)
from bundler.cli.settings import option_name, source_of
from bundler.errors import BundlerError, UsageError
from bundler.redaction import redact
from bundler.text import listing, quoted_names

__all__ = ["plain_words", "usage_error"]


def usage_error(error: click.UsageError, arguments: Sequence[str], root: click.Group) -> UsageError:
    """Return the error for a wrong command line, with the command line that was probably meant.

    :param error: the error of click; one in the value of a setting is not one of the command line.
    :param arguments: the command line without the name of the program.
    :param root: the command whose name that is.
    """
    source = source_of(error.ctx, error.param) if isinstance(error, click.BadParameter) else None
    if source:
        return UsageError(f"{source}: {plain_words(error.format_message())}", hint="bundler config")
    line = read_line(arguments, root)
    fact, wanted = _fact(line) if line.fault else (plain_words(error.format_message()), "")
    evidence = (f"wanted  {wanted}",) if wanted else ()
    if line.fault == "option" and line.path == ("matrix",) and (key := _key_of_bundles(line, root)):
        return UsageError(fact, evidence=("the options of a build are in the file",), hint=redact(key))
    meant = next(corrections(line, root), None) if line.fault else None
    if meant is None and line.fault == "option" and (other := without_absent(line, root)).fault:
        meant = next(corrections(other, root), None)
    if meant is not None:
        evidence = (*evidence, *(absent_reasons(line) if line.fault == "option" else ()))
        return UsageError(
            fact, evidence=evidence, hint=redact(f"did you mean `{shlex.join(['bundler', *meant])}`?")
        )
    if line.fault == "option" and line.name in ("-o", "--output") and (redirected := _redirected(line)):
        return UsageError(fact, evidence=("the result is printed",), hint=redact(redirected))
    reason = absent_reason(line) if line.fault in ("option", "command") else None
    if reason:
        hint = _removal(line) or shlex.join(["bundler", *line.path, "--help"])
        return UsageError(fact, evidence=(reason,), hint=hint)
    path = line.path
    if line.fault == "command":
        path = next((read_line(words, root).path for words in other_commands(line)), path)
    hint = shlex.join(["bundler", *path, "--help"])
    if line.fault == "option" and (owner := owner_of(line, root)):
        hint = f"see `bundler {owner} --help`, which has `{line.name}`"
    return UsageError(fact, evidence=evidence, hint=hint)


def _redirected(line: Line) -> str | None:
    """Return the command that writes its result, which it prints, to the file of an unknown ``--output``."""
    words = list(line.words)
    at = next((at for at, word in enumerate(words) if word.startswith(line.name)), len(words))
    attached = words[at][len(line.name) :].removeprefix("=") if at < len(words) else ""
    file = attached or next(iter(words[at + 1 :]), "")
    rest = [*words[:at], *words[at + (1 if attached else 2) :]]
    if not file or read_line(rest, line.context.find_root().command).fault:  # type: ignore[arg-type]
        return None
    return f"{shlex.join(['bundler', *rest])} > {shlex.quote(file)}"


def _key_of_bundles(line: Line, root: click.Group) -> str | None:
    """Return the line of a file of bundles for an option of ``build``; None for another option."""
    build = root.get_command(line.context, "build")
    param = find_parameter(build, line.name) if build is not None else None
    key = option_name(param) if param is not None else None
    if param is None or key is None or key in NOT_KEYS:
        return None
    at = next(at for at, word in enumerate(line.words) if word.startswith(line.name))
    attached = line.words[at].removeprefix(line.name).removeprefix("=")
    value = attached or next(iter(line.words[at + 1 :]), "VALUE")
    is_list = getattr(param, "multiple", False) or key == "python"
    shown = json.dumps([value] if is_list else value, ensure_ascii=False)
    if is_flag(param) or isinstance(param.type, click.IntRange):
        shown = "true" if is_flag(param) else value
    return f"write `{key} = {shown}` in the file"


def _removal(line: Line) -> str | None:
    """Return the command that deletes a base image, for ``base remove NAME``; the list without its name."""
    if line.path != ("base",):
        return None
    from bundler.cli.examples import known_image_files  # noqa: PLC0415 - only for an error

    files = [str(file) for name in line.words[line.at + 1 :] for file in known_image_files(name)]
    return shlex.join(["rm", "-r", *files] if files else ["bundler", "base", "list"])


def plain_words(message: str) -> str:
    """Return a message of click in the style of bundler.

    >>> plain_words("Invalid value for '--port': 'a' is not a valid integer.")
    'invalid value for `--port`: `a` is not a valid integer'
    """
    text = re.sub(r"(?<!\w)'([^']*)'", r"`\1`", message.strip().rstrip("."))
    return text[:1].lower() + text[1:]


def _fact(line: Line) -> tuple[str, str]:
    """Return the words for the fault of a line, and those for the wanted value; empty if there is none."""
    name = f"`{line.name}`"
    param = find_parameter(line.context.command, line.name)
    if line.fault == "missing":
        names = [shown_name(param) for param in missing_parameters(line)]
        kind = "option" if all(name.startswith("-") for name in names) else "argument"
        return f"missing {quoted_names(kind, names)}", ""
    if line.fault == "extra":
        return f"unexpected {quoted_names('argument', line.extra)}", ""
    if line.fault == "choice":
        param = next(item for item in line.context.command.params if item.name == line.name)
        value = line.values[line.name]
        return f"invalid value for `{shown_name(param)}`: `{value}`", _wanted(param)
    if line.fault == "repeated":
        values = "` and `".join(dict.fromkeys(given_values(line, param)))
        return f"{name} takes one value, but has several: `{redact(values)}`", ""
    if line.fault == "value":
        return f"{name} needs a value", _wanted(param) if param else ""
    facts = {
        "option": f"no such option: {name}",
        "flag": f"{name} does not take a value",
        "command": f"no such command: {name}",
    }
    return facts[line.fault], ""


def _wanted(param: click.Parameter) -> str:
    kind = param.type
    if isinstance(kind, click.Choice):
        return listing(map(str, kind.choices), len(kind.choices))
    if isinstance(kind, click.IntRange):
        below = f" to {kind.max}" if kind.max is not None else " or more"
        return f"a number, {kind.min}{below}"
    return ""


_PYTHON_OPTION = re.compile(r"--python (\S+?)`?$")
"""The hint of an error that names another Python."""


def in_file(error: BundlerError, file: str) -> BundlerError:
    """Return an error with a line for a file of bundles in place of the option that its hint names."""
    python = _PYTHON_OPTION.search(error.hint or "")
    if python is None:
        return error
    hint = f"`python = [{json.dumps(python[1])}]` in {file}"
    return type(error)(error.message, evidence=error.evidence, hint=hint)
