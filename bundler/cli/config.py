"""The commands ``config`` and ``init``: the settings of a project."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from bundler.cli.common import LazyGroup, all_commands
from bundler.cli.console import print_envelope, print_line
from bundler.cli.options import json_option
from bundler.cli.settings import PYPROJECT, find_setting, option_name, read_settings
from bundler.errors import OutputError, UsageError
from bundler.jsonio import parse_toml
from bundler.problems import Problem, closest, input_error
from bundler.redaction import redact
from bundler.requirements.toml import toml_problem
from bundler.system.atomic import replace_file
from bundler.system.environ import read_host_environment

__all__ = ["config_command", "init_command"]

_HEAD = """\
[tool.bundler]
# The options of `bundler build` in this directory, also of the other commands that have them. A
# variable, for example BUNDLER_PYTHON, precedes a line; an option of the command line precedes both.
# Options of one command alone are in its table: [tool.bundler.lock]. Show all: `bundler config`.
"""


@click.command("config")
@click.argument("words", nargs=-1, metavar="[COMMAND]")
@json_option
@click.pass_context
def config_command(ctx: click.Context, words: tuple[str, ...], as_json: bool) -> None:
    """Show the settings of COMMAND  [default: build], each with its value and its source.

    The sources: a variable (BUNDLER_PYTHON), [tool.bundler] in the pyproject.toml of this directory,
    or the default. An option of the command line precedes all of them.
    """
    root = ctx.find_root()
    known = dict(all_commands(_group(root), root))
    path = words or ("build",)
    if path not in known:
        if path[0] in ("set", "unset", "get", "list", "edit"):  # of pip
            raise _only_shows(path)
        names = [" ".join(item) for item in known]
        near = closest(" ".join(path), names)
        if any(option_name(param) == path[0] for param in known[("build",)].params):
            if path[1:]:  # a setting and its value
                raise _only_shows(("set", *path))
            near = "build"
        raise UsageError(
            f"`{' '.join(path)}` is not a command of bundler",
            hint=f"did you mean `bundler config {near}`?" if near else "bundler --help",
        )
    settings = read_settings(read_host_environment())
    rows = []
    for param in known[path].params:
        name = option_name(param)
        if name is None:
            continue
        setting = find_setting(path, param, settings, known[("build",)])
        value = setting.value if setting else _default(param)
        shown = value if isinstance(value, (bool, int, list)) or value is None else redact(str(value))
        rows.append({"name": name, "value": shown, "source": setting.source if setting else "default"})
    if as_json:
        print_envelope("config", result={"command": " ".join(path), "settings": rows})
        return
    for row in rows:
        print_line(f"{row['name']:<22} {redact(_toml(row['value'])):<24} {row['source']}")


def _only_shows(words: tuple[str, ...]) -> UsageError:
    """Return the error for a command below ``config`` of another tool, with the variable to set."""
    name, value = (*words[1:3], "", "")[:2]
    hint = "bundler config"
    if words[0] == "set" and name and value:
        variable = name.removeprefix("global.").replace("-", "_").upper()
        hint = f"export BUNDLER_{variable}={shlex.quote(redact(value))}"
    return UsageError(
        "`bundler config` only shows the settings",
        evidence=(f"a setting is a variable, or a line of [tool.bundler] in {PYPROJECT}",),
        hint=hint,
    )


@click.command("init")
@click.pass_context
def init_command(ctx: click.Context) -> None:
    """Add a commented [tool.bundler] table to the pyproject.toml of this directory, or create it."""
    host = read_host_environment()
    path = host.cwd / PYPROJECT
    text, mode = "", 0o644
    if path.exists():
        text, mode = path.read_text("utf-8"), path.stat().st_mode & 0o777
        try:
            parse_toml(text)
        except ValueError as error:
            problem = toml_problem(text, error)
            raise input_error([Problem(where=f"{PYPROJECT}:{problem.line}", refused=problem)]) from error
    if any(setting.source.endswith(PYPROJECT) for setting in read_settings(host)) or "[tool.bundler" in text:
        raise OutputError(f"`{PYPROJECT}` already has settings of bundler", hint="bundler config")
    root = ctx.find_root()
    build = dict(all_commands(_group(root), root))[("build",)]
    lines = [_HEAD]
    for param in build.params:
        name = option_name(param)
        if name is not None:
            lines.append(f"# {_one_line(getattr(param, 'help', ''))}\n# {name} = {_toml(_example(param))}\n")
    separator = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    replace_file(path, (text + separator + "\n".join(lines)).encode(), mode=mode)
    print_line(Path(PYPROJECT))


def _group(root: click.Context) -> LazyGroup:
    if not isinstance(root.command, LazyGroup):
        raise TypeError(root.command)
    return root.command


def _default(param: click.Parameter) -> Any:
    """Return the default that click has for an option; None if the command chooses it."""
    value = param.to_info_dict().get("default")
    if param.multiple:
        return list(value or ())
    return value if isinstance(value, (bool, int, str)) else None


def _example(param: click.Parameter) -> Any:
    """Return a value for an option: the default, or one that shows its type."""
    if getattr(param, "is_flag", False):
        return not _default(param)
    if param.multiple:
        return [str(param.metavar or "...")]
    return _default(param) or str(param.metavar or "...")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _toml(value: Any) -> str:
    """Return a value as TOML writes it; ``-`` for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return str(value) if isinstance(value, int) else f'"{text}"'
