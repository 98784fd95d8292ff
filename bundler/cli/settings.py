"""Settings of ``[tool.bundler]`` in pyproject.toml and of BUNDLER_* variables: defaults of the options.

An option of the command line precedes a variable, a variable the file, the file the default. The names
are those of the options of ``bundler build``, for every command that has the same option, and
``workspace``. A table or a prefix of a command is for its options alone: ``[tool.bundler.lock]``,
``BUNDLER_LOCK_OUTPUT``. Only the pyproject.toml of the working directory is read: one above it may
belong to another user.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bundler.cli.console import print_talk
from bundler.errors import BundlerError, InputError, UsageError
from bundler.paths import printable
from bundler.problems import Problem, closest, input_error, register_urls
from bundler.system.environ import HostEnvironment

__all__ = [
    "PYPROJECT",
    "Setting",
    "apply_settings",
    "find_setting",
    "option_name",
    "read_settings",
    "setting_value",
    "source_of",
    "with_source",
]

PYPROJECT = "pyproject.toml"
_TILDE = re.compile(r"\A(--[a-z][a-z-]*=|)~(?=/|\Z)")
"""The home directory in a word that the shell does not expand, such as ``--output=~/x``."""
_PREFIX = "BUNDLER_"
# No default of an option: read by `bundler.base_image.bases`, set for child processes and by
# `bundler.__main__`, of the scripts of this project, and of Ruby's program of the same name.
_OTHERS = (
    *("BUNDLER_BASES", "BUNDLER_BUILD_REQUIRES", "BUNDLER_MARK", "BUNDLER_REMOVED"),
    *("BUNDLER_VENV", "BUNDLER_VERSION", "BUNDLER_TEST_", "BUNDLER_ORIG_"),
)
_NOT_SETTINGS = ("help", "version", "json")
_BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
Commands = Callable[[], Iterable[tuple[tuple[str, ...], click.Command]]]
"""Returns every command with the words that name it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A value that the user set outside of the command line."""

    path: tuple[str, ...]
    """The command it is for; empty for all."""
    name: str
    """The name of its option, without ``--``."""
    value: Any
    source: str
    """The variable, or the name in the file."""


def read_settings(host: HostEnvironment) -> tuple[Setting, ...]:
    """Return the settings of the variables, then those of the file; unknown names too.

    :raises InputError: if the pyproject.toml is malformed, and contains a table of bundler.
    """
    variables = [
        Setting(path=(), name=name.removeprefix(_PREFIX).replace("_", "-").lower(), value=value, source=name)
        for name, value in sorted(host.environ.items())
        if value and name.startswith(_PREFIX) and not name.startswith(_OTHERS)
    ]
    return (*variables, *_file_settings(host.cwd / PYPROJECT))


def _file_settings(path: Path) -> Iterator[Setting]:
    try:
        content = path.read_bytes()
    except OSError:
        return
    if b"bundler" not in content:  # another tool's malformed file is not our problem
        return
    import tomllib  # noqa: PLC0415 - `--help` does not need it

    try:
        # A version without quotes is a number: `3.10` is not 3.1.
        tool = tomllib.loads(content.decode("utf-8"), parse_float=str).get("tool", {})
    except UnicodeDecodeError as error:
        raise InputError(f"{PYPROJECT}: not valid TOML: {printable(str(error))}") from error
    except tomllib.TOMLDecodeError as error:
        from bundler.requirements.toml import toml_problem  # noqa: PLC0415 - only for an error

        problem = toml_problem(content.decode("utf-8"), error)
        where = f"{PYPROJECT}:{problem.line}"
        raise input_error([Problem(where=where, refused=problem)]) from error
    table = tool.get("bundler", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise InputError(f"{PYPROJECT}: `tool.bundler` is not a table", hint="bundler init")
    yield from _table_settings(table, ())


def _table_settings(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Setting]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _table_settings(value, (*path, key))
        else:
            place = ".".join(("tool", "bundler", *path))
            name = key.replace("_", "-")
            yield Setting(path=path, name=name, value=value, source=f"{key} of [{place}] in {PYPROJECT}")


def with_home(word: str) -> str:
    """Return a word of the command line or a value with the home directory for a ``~`` that it starts with.

    A shell leaves it in ``--output=~/x`` and in quotes.
    """
    return _TILDE.sub(lambda match: match[1] + str(Path("~").expanduser()), word)


def option_name(param: click.Parameter) -> str | None:
    """Return the name of an option in settings; None for an argument, and for ``--help`` and the like."""
    names = [name for name in param.opts if name.startswith("--")]
    if not isinstance(param, click.Option) or not names:
        return None
    name = names[0].removeprefix("--")
    return None if name in _NOT_SETTINGS else name


def apply_settings(
    ctx: click.Context, chosen: tuple[str, click.Command], host: HostEnvironment, commands: Commands
) -> None:
    """Make the settings the defaults of a command, or of the commands of a group; warn of unknown names.

    :param chosen: the command that the arguments name, with its name.
    :raises UsageError: if a value has another type than the option.
    """
    settings = read_settings(host)
    if not settings:
        return
    name, command = chosen
    known = dict(commands()) if any(setting.name != "store" for setting in settings) else {}
    build = known.get(("build",))
    ctx.default_map = {name: _defaults((name,), command, settings, build)}
    ctx.meta["bundler.settings"] = (settings, build)
    if known:
        _warn_of_unknown(settings, known)


def _defaults(
    path: tuple[str, ...], command: click.Command, settings: tuple[Setting, ...], build: click.Command | None
) -> dict[str, Any]:
    if isinstance(command, click.Group):
        return {
            name: _defaults((*path, name), below, settings, build) for name, below in command.commands.items()
        }
    values = {}
    for param in command.params:
        setting = find_setting(path, param, settings, build)
        if setting is not None and param.name:
            values[param.name] = setting_value(setting, param)
    return values


def find_setting(
    path: tuple[str, ...], param: click.Parameter, settings: Iterable[Setting], build: click.Command | None
) -> Setting | None:
    """Return the setting for an option of a command, or None.

    :param build: the command ``build``, whose options the names without a command are.
    """
    name = option_name(param)
    if name is None:
        return None
    own = "-".join((*path, name))
    is_shared = name in ("store", "workspace") or (
        build is not None
        and any(option_name(item) == name and _help(item) == _help(param) for item in build.params)
    )
    for setting in settings:
        if (setting.path == path and setting.name == name) or (not setting.path and setting.name == own):
            return setting
    return next((item for item in settings if is_shared and not item.path and item.name == name), None)


def _help(param: click.Parameter) -> str:
    return getattr(param, "help", None) or ""


def setting_value(setting: Setting, param: click.Parameter) -> Any:
    """Return the value of a setting as click takes it from the command line.

    :raises UsageError: if its type is not that of the option.
    """
    value = setting.value
    wanted = "a string"
    if getattr(param, "is_flag", False):
        wanted = "true or false"
        value = _BOOLEANS.get(value.lower()) if isinstance(value, str) else value
        if isinstance(value, bool):
            return value
    elif param.multiple:
        wanted = "a list of strings"
        items = value.split() if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            register_urls(" ".join(items))
            return items
    elif isinstance(value, str) or type(value) is int:
        register_urls(str(value))
        return with_home(str(value)) if isinstance(param.type, click.Path) else str(value)
    raise UsageError(
        f"{setting.source}: the value does not fit `--{setting.name}`",
        evidence=(f"wanted  {wanted}", f"found   {printable(repr(setting.value))[:80]}"),
        hint=_meant_line(setting, wanted) or "bundler config",
    )


def _meant_line(setting: Setting, wanted: str) -> str | None:
    """Return the assignment that was probably meant by a value of another type, or None."""
    value = setting.value
    items = value if isinstance(value, list) else [value]
    meant: Any = None
    if wanted == "true or false":
        text = str(value).lower()
        meant = _BOOLEANS.get(text) or (None if text not in _BOOLEANS else False)
    elif wanted == "a list of strings" and all(type(item) in (int, str) for item in items):
        meant = [str(item) for item in items]
    elif wanted == "a string" and len(items) == 1 and type(items[0]) in (int, str):
        meant = str(items[0])
    return f"write `{_assignment(setting, meant)}`" if meant is not None else None


def _assignment(setting: Setting, value: Any) -> str:
    """Return the line of the file, or the variable, that gives a setting another value."""
    shown = json.dumps(value)  # strings, lists and booleans are written as in TOML
    if setting.source.startswith(_PREFIX):
        return f"{setting.source}={shlex.quote(value if isinstance(value, str) else shown)}"
    return f"{setting.source.partition(' ')[0]} = {shown}"


def source_of(ctx: click.Context | None, param: click.Parameter | None) -> str | None:
    """Return the setting that an invalid value of an option is from, or None if it is an argument."""
    if ctx is None or param is None or "bundler.settings" not in ctx.meta:
        return None
    source = ctx.get_parameter_source(param.name or "")
    if source is not click.core.ParameterSource.DEFAULT_MAP:
        return None
    settings, build = ctx.meta["bundler.settings"]
    setting = find_setting(tuple(ctx.command_path.split()[1:]), param, settings, build)
    return setting.source if setting else None


def with_source(error: BundlerError, arguments: Sequence[str], host: HostEnvironment) -> BundlerError:
    """Return an error about the value of an option, with the setting that the value is from, if any.

    :param arguments: the command line; an option that it has precedes the settings.
    """
    typed = {word.partition("=")[0] for word in arguments}
    try:
        settings = read_settings(host)
    except InputError:
        return error
    for setting in settings:
        value, text = setting.value, error.message
        if f"--{setting.name}" in typed or not isinstance(value, str) or setting.source in text:
            continue
        option = f"`--{setting.name} {value}`"
        if any(quoted in text for quoted in (option, f"`{value}`", f"Python {value} ")):
            message = text.replace(option, f"`{value}`")
            facts, evidence = error.facts, (*error.evidence, f"set by  {setting.source}")
            hint = error.hint
            if hint and (meant := re.search(rf"`--{re.escape(setting.name)} ([^`]+)`", hint)):
                hint = f"write `{_assignment(setting, meant[1])}`"
            return type(error)(printable(message), evidence=evidence, hint=hint, facts=facts)
    return error


def _warn_of_unknown(settings: Iterable[Setting], known: Mapping[tuple[str, ...], click.Command]) -> None:
    build = known[("build",)]
    shared = {name for param in build.params if (name := option_name(param))} | {"workspace"}
    for setting in settings:
        if any(
            find_setting(path, param, [setting], build)
            for path, command in known.items()
            for param in command.params
        ):
            continue
        command = known.get(setting.path)
        own = {name for param in command.params if (name := option_name(param))} if command else shared
        longer = (name for name in sorted(own) if name.startswith(f"{setting.name}-"))
        near = next(longer, None) or closest(setting.name, sorted(own))
        if setting.source.startswith(_PREFIX):
            meant = near and _PREFIX + near.replace("-", "_").upper()
        else:
            meant = near
        print_talk(
            f"warning   {printable(setting.source)}: unknown setting, ignored"
            + (f"; did you mean `{meant}`?" if meant else "; `bundler config` lists the settings")
        )
