"""Read the process environment once, and build clean environments for child processes.

The environment of a child is an allow-list plus the variables of its task. Other
settings that could change a bundle (``PYTHONPATH``, ``PIP_*``, ``LD_PRELOAD`` ...)
are not passed on, and are reported by name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bundler.archive.tar import DEFAULT_EPOCH
from bundler.errors import InterpreterError, UsageError

__all__ = ["HostEnvironment", "is_dumb_terminal", "no_color", "read_host_environment", "startup_code"]

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
"""Certificate and proxy settings: many hosts reach an index only through these."""

PROXIES = tuple(
    name for name in TRUST_AND_PROXY if name.lower().endswith("_proxy") and "NO_" not in name.upper()
)
"""The variables that contain the URL of a proxy."""

# The largest time of a ustar header: 11 octal digits (POSIX, pax, "ustar Interchange Format").
_LATEST_EPOCH = 0o77777777777
_MAX_DIGITS = 100
_VARIABLES = re.compile(r"\b(?:PYTHON|LD_|DYLD_)[A-Z0-9_]*\b", re.ASCII)
# Startup files of setuptools, editable installs, virtualenv and coverage; `startup_code` omits them.
_KNOWN_STARTUP = re.compile(
    r"distutils-precedence\.pth|__editable__\..*\.pth|_virtualenv\.pth|(?:a1_)?coverage\.pth|.*-nspkg\.pth"
)

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
# These count: `resolve.pip_config` passes them to the pip that reads the index settings.
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
# Settings of pip and Python that cannot change a bundle.
_HARMLESS = frozenset(
    {"PIP_DISABLE_PIP_VERSION_CHECK", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PIP_NO_INPUT"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostEnvironment:
    """The environment variables and the working directory of this process."""

    environ: Mapping[str, str]
    """A copy of the environment; use `get` to read one variable."""
    cwd: Path
    """The working directory; relative paths of the command line are resolved against it."""

    def get(self, name: str) -> str | None:
        """Return the value of a variable, or None if it is unset or empty."""
        return self.environ.get(name) or None

    def epoch(self) -> int:
        """Return the modification time of all archive entries, in seconds since 1970 UTC.

        It is SOURCE_DATE_EPOCH (reproducible-builds.org), or 1980-01-01, the earliest time of a zip.

        :raises UsageError: if SOURCE_DATE_EPOCH is not an integer from 1980 to the limit of ustar.
        """
        text = self.get("SOURCE_DATE_EPOCH")
        if text is None:
            return DEFAULT_EPOCH
        # Python refuses to convert thousands of digits, with an error of its own.
        number = int(text) if text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS else -1
        if not DEFAULT_EPOCH <= number <= _LATEST_EPOCH:
            raise UsageError(
                "SOURCE_DATE_EPOCH is outside of the range of archive times",
                evidence=(
                    f"wanted  whole seconds from {DEFAULT_EPOCH} to {_LATEST_EPOCH}",
                    f"found   {text[:40]!r}",
                ),
                hint="unset SOURCE_DATE_EPOCH",
            )
        return number

    def child_env(self, scratch: Path, **extra: str) -> dict[str, str]:
        """Return the complete environment of a child process.

        :param scratch: an existing private directory, used as HOME and TMPDIR, so
            that the user's site-packages and ``~/.pydistutils.cfg`` have no effect.
        :param extra: further variables; they override the others.
        """
        env = {
            "PATH": self.environ.get("PATH", os.defpath),
            "HOME": str(scratch),
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
        env.update(extra)
        return env

    def network_environment(self) -> dict[str, str]:
        """Return the variables of certificates and proxies, for children that use the network.

        A proxy can contain a password, so other children do not get them.
        """
        return {name: self.environ[name] for name in TRUST_AND_PROXY if name in self.environ}

    def ignored_settings(self) -> tuple[str, ...]:
        """Return the settings of this host that could change a bundle and are not passed on, sorted.

        Environment variables by name only, since a value may be a secret; an active
        conda or virtual environment with its directory; and files of the working
        directory that would shadow a module of the standard library.
        """
        settings = []
        for name, value in self.environ.items():
            if not value or name in _HARMLESS or name in _INDEX_SETTINGS:
                continue
            if name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
                settings.append(f"{name}={value}")
            elif name in _HARMFUL_NAMES or name.startswith(_HARMFUL_PREFIXES):
                settings.append(name)
        settings.extend(name for name in self._removed() if name not in _HARMLESS)
        settings.extend(f"./{path}" for path in _shadowing(self.cwd))
        return tuple(sorted(set(settings)))

    def _removed(self) -> list[str]:
        """Return the names of the variables that `bundler.__main__` removed before the start."""
        return _VARIABLES.findall(self.environ.get("BUNDLER_REMOVED", ""))


def read_host_environment() -> HostEnvironment:
    """Return the environment and working directory of this process; the command line calls it once.

    :raises InterpreterError: if the working directory was deleted.
    """
    try:
        cwd = Path.cwd()
    except OSError as error:
        raise InterpreterError(
            f"the working directory cannot be used: {error.strerror or error}",
            hint="cd to a directory that exists",
        ) from error
    return HostEnvironment(environ=dict(os.environ), cwd=cwd)


def proxy_variable(scheme: str) -> tuple[str, str] | None:
    """Return the name and the value of the variable with the proxy for URLs of a scheme, or None.

    In the order of `urllib.request.getproxies_environment`, which requests and pip call.
    """
    names = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]
    return next(((name, os.environ[name]) for name in names if os.environ.get(name)), None)


def is_dumb_terminal() -> bool:
    """Return whether the terminal is one that cannot move its cursor."""
    return os.environ.get("TERM", "") in ("dumb", "unknown")


def no_color() -> bool:
    """Return whether the user wants no colors (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def startup_code() -> tuple[str, ...]:
    """Return the files that this Python ran when it started, before any code of bundler (docs of ``site``).

    Those are ``sitecustomize`` and ``usercustomize``, unless they are part of the standard library,
    and ``.pth`` files with a line that runs; well-known ones are omitted.
    """
    found = []
    for name in ("sitecustomize", "usercustomize"):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and Path(path).parent != Path(os.__file__).parent:
            found.append(path)
    for folder in dict.fromkeys(filter(os.path.isdir, sys.path)):
        for pth in sorted(Path(folder).glob("*.pth")):
            with suppress(OSError):
                runs = re.search(rb"^import[ \t]", pth.read_bytes(), re.MULTILINE)
                if runs and not _KNOWN_STARTUP.fullmatch(pth.name):
                    found.append(str(pth))
    return tuple(found)


def _shadowing(folder: Path) -> list[str]:
    """Return the files of a directory that would be imported in place of a standard library module."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    modules = {*sys.stdlib_module_names, "sitecustomize", "usercustomize", "pip"}
    return [name for name in names if name.endswith(".py") and name[:-3] in modules]
