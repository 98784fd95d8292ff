"""Stage 2, effect: the configuration of pip, read once by pip itself.

Spec: pip documentation, "Configuration".
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from os.path import normpath
from pathlib import Path

from bundler.errors import InputError
from bundler.paths import printable
from bundler.redaction import redact
from bundler.system.environ import HostEnvironment
from bundler.system.process import run_process, tail

# The option of pip -> the keys that set it, the one that wins first.
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
# pip's own order, least first: its base, the command's section, the environment.
_SECTIONS = ("global", "download", "install", ":env:")
# Where pip looks for its files; the rest of the user's environment is not its business here.
_HOMES = ("HOME", "USERPROFILE", "APPDATA", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "PIP_CONFIG_FILE")
_LINE = re.compile(r"(?P<section>[^.=\s]+)\.(?P<key>[^=\s]+)=(?P<value>.+)")
_BAD_FILE = re.compile(r"(?:file: '|characters in )(?P<path>[^'\n]+?)(?:'|\.?$)", re.MULTILINE)
_TRUE = ("y", "yes", "t", "true", "on", "1")
_FALSE = ("n", "no", "f", "false", "off", "0")


class PipConfig:
    """What pip has configured, one value per option, with pip's reading of each type."""

    def __init__(self, values: Mapping[str, str], host: HostEnvironment) -> None:
        self._values = values
        self._host = host

    def text(self, option: str) -> str | None:
        """Return the value of an option, or None if it is not set."""
        return self._values.get(option)

    def items(self, option: str) -> tuple[str, ...]:
        """Return the values of an option that takes several."""
        return tuple(self._values.get(option, "").split())

    def path(self, option: str) -> str | None:
        """Return the absolute path that an option names."""
        value = self.text(option)
        return str(local_path(value, self._host)) if value else None

    def flag(self, option: str) -> bool:
        """Return whether an option is switched on.

        :raises InputError: if its value is neither yes nor no.
        """
        value = self._values.get(option, "no").lower()
        if value not in (*_TRUE, *_FALSE):
            raise self._senseless(option, "yes or no")
        return value in _TRUE

    def number(self, option: str, default: float, *, least: float) -> float:
        """Return the number an option is set to.

        :raises InputError: if it is not a number of at least ``least``.
        """
        value = self.text(option)
        try:
            number = float(value) if value else default
        except ValueError:
            raise self._senseless(option, "a number") from None
        if not least <= number < float("inf"):
            raise self._senseless(option, f"a number from {least:g}")
        return number

    def _senseless(self, option: str, wanted: str) -> InputError:
        return InputError(
            f"pip's setting `{option}` makes no sense",
            evidence=(f"wanted  {wanted}", f"found   {printable(redact(self._values[option]))}"),
            hint="run `pip config debug` to see which file or variable sets it",
        )


def read_pip_config(host: HostEnvironment, scratch: Path) -> dict[str, str]:
    """Return the value pip would use for each option of ours that is set."""
    done = run_process(
        [sys.executable, "-I", "-m", "pip", "config", "list"],
        env=_pip_reader_env(host, scratch),
        cwd=host.cwd,
        timeout=120,
    )
    if done.returncode != 0:
        # Before 26.3 pip says so on stdout.
        said = done.stderr + done.stdout.decode("utf-8", "replace")
        found = _BAD_FILE.search(said)
        name = f" `{printable(found['path'])}`" if found else ""
        raise InputError(f"pip cannot read its configuration{name}", evidence=tail(said))
    listed = dict(_parse_listing(done.stdout.decode("utf-8", "replace")))
    # Least first, so that what counts more is written last; an empty value counts as none, as in pip.
    return {
        option: value
        for option, keys in _KEYS.items()
        for section in _SECTIONS
        for key in reversed(keys)
        if (value := listed.get((section, key), "").strip())
    }


def _pip_reader_env(host: HostEnvironment, scratch: Path) -> dict[str, str]:
    """Return an environment in which pip finds the user's settings and cannot be silenced by others."""
    env = host.child_env(scratch, PIP_QUIET="0", PIP_VERBOSE="0")
    del env["PIP_CONFIG_FILE"]
    ours = [f"PIP_{key.upper().replace('-', '_')}" for keys in _KEYS.values() for key in keys]
    for name in (*_HOMES, *ours):
        if name in host.environ:
            env[name] = host.environ[name]
    return env


def _parse_listing(text: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield section and key with their value from lines like ``global.timeout='60'``."""
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            with suppress(ValueError, SyntaxError):
                yield (found["section"], found["key"]), str(ast.literal_eval(found["value"]))


def local_path(text: str, host: HostEnvironment) -> Path:
    """Return an absolute path; ``~`` is the user's home, not that of any child."""
    home = host.get("HOME") or host.get("USERPROFILE")
    if home and (text == "~" or text.startswith("~/")):
        text = home + text[1:]
    return Path(normpath(host.cwd / text))
