"""Ground: the one reader of the environment, and the maker of every child's environment.

A child's environment is built from nothing: a short allow-list and the values
its task needs. Whatever else was set and could have changed the bundle is
neutralised by not being passed on, and is reported by name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bundler.archive.tar import DEFAULT_EPOCH
from bundler.errors import UsageError

__all__ = ["HostEnvironment", "read_host_environment"]

TRUST_AND_PROXY = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)
"""Many build hosts reach their index only through their own authority or proxy; these are passed on."""

_LATEST_EPOCH = 0o77777777777  # the largest time in a ustar header

_MAX_DIGITS = 100

# What Windows needs to start any process at all.
_SYSTEM = ("SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "WINDIR", "NUMBER_OF_PROCESSORS")

_HARMFUL_PREFIXES = ("PYTHON", "PIP_", "CONDA", "VIRTUALENV_", "UV_", "SETUPTOOLS_", "LD_", "DYLD_", "MAMBA_")
_HARMFUL_NAMES = frozenset(
    {
        "VIRTUAL_ENV",
        "CFLAGS",
        "CPPFLAGS",
        "CXXFLAGS",
        "LDFLAGS",
        "ARCHFLAGS",
        "DISTUTILS_USE_SDK",
    }
)
# pip reads these while the index settings are read, once, by `resolve.pip_config`.
_INDEX_SETTINGS = frozenset(
    {
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_NO_INDEX",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_PROXY",
        "PIP_TRUSTED_HOST",
        "PIP_TIMEOUT",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_RETRIES",
        "PIP_KEYRING_PROVIDER",
        "PIP_CONFIG_FILE",
    }
)
# Settings of pip and Python that cannot change what is built.
_HARMLESS = frozenset(
    {"PIP_DISABLE_PIP_VERSION_CHECK", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PIP_NO_INPUT"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostEnvironment:
    """The environment variables and the working directory that bundler was started in."""

    environ: Mapping[str, str]
    """A copy of the environment; only `resolve.pip_config` reads it, for the settings of pip."""
    cwd: Path
    """The working directory; relative paths on the command line and in requirements files start here."""

    def get(self, name: str) -> str | None:
        """Return one variable, or None where it is unset or empty."""
        return self.environ.get(name) or None

    def epoch(self) -> int:
        """Return the time of every entry in an archive, seconds UTC: SOURCE_DATE_EPOCH, or 1980.

        :raises UsageError: if SOURCE_DATE_EPOCH is not such a number, or is before 1980.
        """
        text = self.get("SOURCE_DATE_EPOCH")
        if text is None:
            return DEFAULT_EPOCH
        # Python refuses to convert thousands of digits, with an error of its own.
        number = int(text) if text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS else -1
        if not DEFAULT_EPOCH <= number <= _LATEST_EPOCH:
            raise UsageError(
                "SOURCE_DATE_EPOCH is not a time an archive can hold",
                evidence=(
                    f"wanted  whole seconds from {DEFAULT_EPOCH} to {_LATEST_EPOCH}",
                    f"found   {text[:40]!r}",
                ),
                hint="unset SOURCE_DATE_EPOCH",
            )
        return number

    def child_env(self, scratch: Path, **extra: str) -> dict[str, str]:
        """Return the whole environment of a child.

        :param scratch: an existing private folder; it becomes HOME and TMPDIR, so
            that neither a user site nor ``~/.pydistutils.cfg`` is found.
        :param extra: the variables this child needs besides.
        """
        env = {
            "PATH": self.environ.get("PATH", os.defpath),
            "HOME": str(scratch),
            "USERPROFILE": str(scratch),
            "TMPDIR": str(scratch),
            "TEMP": str(scratch),
            "TMP": str(scratch),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
            "SOURCE_DATE_EPOCH": str(DEFAULT_EPOCH),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "NO_COLOR": "1",
        }
        for name in (*TRUST_AND_PROXY, *_SYSTEM):
            if name in self.environ:
                env[name] = self.environ[name]
        env.update(extra)
        return env

    def ignored_settings(self) -> tuple[str, ...]:
        """Return, sorted, what was found around us that could have changed the bundle and cannot.

        Environment variables by name (a value may be a secret), an active conda
        or virtual environment with its folder, and files in the working directory
        that would shadow a module of the standard library.
        """
        found = []
        for name, value in self.environ.items():
            if not value or name in _HARMLESS or name in _INDEX_SETTINGS:
                continue
            if name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
                found.append(f"{name}={value}")
            elif name in _HARMFUL_NAMES or name.startswith(_HARMFUL_PREFIXES):
                found.append(name)
        found.extend(f"./{path}" for path in _shadowing(self.cwd))
        return tuple(sorted(found))


def read_host_environment() -> HostEnvironment:
    """Return the surroundings of this process; called once, by the command line."""
    return HostEnvironment(environ=dict(os.environ), cwd=Path.cwd())


def _shadowing(folder: Path) -> list[str]:
    """Return the entries of ``folder`` that ``import`` would take for a module of the standard library."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    modules = sys.stdlib_module_names
    found = [name for name in names if name.endswith(".py") and name[:-3] in modules]
    found += [name for name in ("sitecustomize.py", "usercustomize.py", "pip.py") if name in names]
    return found
