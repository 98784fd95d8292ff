"""Read the configuration of pip, by running ``pip config list`` once.

Spec: pip documentation, "Configuration".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from os.path import normpath
from pathlib import Path

from bundler.errors import InputError
from bundler.paths import printable
from bundler.redaction import redact
from bundler.system.environ import HostEnvironment
from bundler.system.process import own_module, run_process, tail

# Each option of pip, with the configuration keys that set it, in order of precedence.
_KEYS = {
    "index-url": ("index-url", "pypi-url"),
    "extra-index-url": ("extra-index-url",),
    "find-links": ("find-links",),
    "no-index": ("no-index",),
    "cert": ("cert",),
    "client-cert": ("client-cert",),
    "proxy": ("proxy",),
    "trusted-host": ("trusted-host",),
    "timeout": ("timeout", "default-timeout"),
    "retries": ("retries",),
    "keyring-provider": ("keyring-provider",),
}
# pip's sections, lowest precedence first: all commands, one command, the environment.
_SECTIONS = ("global", "download", "install", ":env:")
# The variables that locate pip's configuration files.
_HOMES = ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "PIP_CONFIG_FILE")
_LINE = re.compile(r"(?P<section>[^.=\s]+)\.(?P<key>[^=\s]+)=(?P<value>.+)")
_BAD_FILE = re.compile(r"(?:file: '|characters in )(?P<path>[^'\n]+?)(?:'|\.?$)", re.MULTILINE)
_TRUE = ("y", "yes", "t", "true", "on", "1")
_FALSE = ("n", "no", "f", "false", "off", "0")


class PipConfig:
    """The configured options of pip, with accessors that parse a value as pip does."""

    def __init__(self, values: Mapping[str, str], host: HostEnvironment) -> None:
        self._values = values
        self._host = host

    def text(self, option: str) -> str | None:
        """Return the value of an option, or None if it is unset."""
        return self._values.get(option)

    def items(self, option: str) -> tuple[str, ...]:
        """Return the values of a list option, which pip separates by whitespace."""
        return tuple(self._values.get(option, "").split())

    def path(self, option: str) -> str | None:
        """Return a path option as an absolute path, or None if it is unset."""
        value = self.text(option)
        return str(local_path(value, self._host)) if value else None

    def flag(self, option: str) -> bool:
        """Return the value of a boolean option; False if it is unset.

        :raises InputError: if its value is neither yes nor no.
        """
        value = self._values.get(option, "no").lower()
        if value not in (*_TRUE, *_FALSE):
            raise self._invalid(option, "yes or no")
        return value in _TRUE

    def number(self, option: str, default: float, *, least: float) -> float:
        """Return the value of a numeric option.

        :param default: the value if the option is unset.
        :raises InputError: if it is not a finite number of at least ``least``.
        """
        value = self.text(option)
        try:
            number = float(value) if value else default
        except ValueError:
            raise self._invalid(option, "a number") from None
        if not least <= number < float("inf"):
            raise self._invalid(option, f"a number from {least:g}")
        return number

    def _invalid(self, option: str, wanted: str) -> InputError:
        return InputError(
            f"invalid value of pip's setting `{option}`",
            evidence=(f"wanted  {wanted}", f"found   {printable(redact(self._values[option]))}"),
            hint="run `pip config debug` to see which file or variable sets it",
        )


def read_pip_config(host: HostEnvironment, scratch: Path) -> dict[str, str]:
    """Return the effective value of each index option that is set.

    :param scratch: an existing private directory for the child.
    :raises InputError: if pip cannot read its configuration.
    """
    ended = run_process(
        [*own_module("pip"), "config", "list"],
        env=_pip_reader_env(host, scratch),
        cwd=host.cwd,
        timeout=120,
    )
    if ended.returncode != 0:
        # pip before 26.3 writes the error to stdout.
        output = ended.stderr + ended.stdout.decode("utf-8", "replace")
        match = _BAD_FILE.search(output)
        name = f" `{printable(match['path'])}`" if match else ""
        raise InputError(f"pip cannot read its configuration{name}", evidence=tail(output))
    listed = dict(_parse_listing(ended.stdout.decode("utf-8", "replace")))
    # Lowest precedence first: a later value overwrites an earlier one. pip ignores empty values.
    return {
        option: value
        for option, keys in _KEYS.items()
        for section in _SECTIONS
        for key in reversed(keys)
        if (value := listed.get((section, key), "").strip())
    }


def _pip_reader_env(host: HostEnvironment, scratch: Path) -> dict[str, str]:
    """Return an environment in which pip reads the user's configuration, and prints it.

    PIP_QUIET and PIP_VERBOSE are fixed: with ``quiet`` in a file, ``pip config list`` prints nothing.
    """
    env = host.child_env(scratch, PIP_QUIET="0", PIP_VERBOSE="0")
    del env["PIP_CONFIG_FILE"]
    ours = [f"PIP_{key.upper().replace('-', '_')}" for keys in _KEYS.values() for key in keys]
    for name in (*_HOMES, *ours):
        if name in host.environ:
            env[name] = host.environ[name]
    return env


def _parse_listing(text: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield ``(section, key), value`` from lines like ``global.timeout='60'``; the value is a repr."""
    for line in text.splitlines():
        if match := _LINE.fullmatch(line):
            with suppress(ValueError, SyntaxError):
                yield (match["section"], match["key"]), str(ast.literal_eval(match["value"]))


def local_path(text: str, host: HostEnvironment) -> Path:
    """Return a path made absolute; ``~`` is HOME, as in pip."""
    home = host.get("HOME")
    if home and (text == "~" or text.startswith("~/")):
        text = home + text[1:]
    return Path(normpath(host.cwd / text))
