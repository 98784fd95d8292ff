"""Run ``uv pip compile`` for a target, with pip's index settings, and without running any foreign code.

uv gets the settings in a private file, and nothing of its own configuration. It builds source
distributions outside of the sandbox of `resolve.pip`, so the Python that it may use for builds is a
program that only writes down the source distribution and fails: `resolve.uv_resolver` then gets the
metadata from pip.

Specs: uv documentation, "Settings", "Compatibility with pip and pip-tools".
"""

from __future__ import annotations

import ipaddress
import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import tomli_w

from bundler.errors import InputError, UsageError
from bundler.paths import printable
from bundler.redaction import redact
from bundler.resolve.auth import netrc_environment
from bundler.resolve.locations import file_path
from bundler.resolve.pip_cache import intact_cache
from bundler.store.store import key_of
from bundler.system.process import Completed, run_process
from bundler.target.scripts import script

if TYPE_CHECKING:
    from bundler.resolve.index import IndexSettings
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment
    from bundler.target.interpreter import Interpreter

__all__ = ["Compiled", "Uv", "find_uv"]

_SECONDS = 3600
_WITHOUT_MANYLINUX = ("linux_armv7l", "linux_i686")
"""uv reads from the program of such a Python whether it accepts manylinux wheels."""
_DESCRIBING = """\
#!/bin/sh
exec {words} "$@"
"""
# The current directory is that of the source distribution, whose PKG-INFO has its name and version.
_REFUSING = """\
#!/bin/sh
head -c 1000000 PKG-INFO > {folder}/$$ 2> /dev/null
echo 'bundler builds with pip' >&2
exit 1
"""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """The result of one run."""

    ended: Completed
    unbuilt: tuple[str, ...] = ()
    """The PKG-INFO of each source distribution whose metadata uv could not read without a build."""


@dataclass(frozen=True, kw_only=True)
class Uv:
    """The uv of bundler's own environment, for one target."""

    program: Path
    version: str
    interpreter: Interpreter
    settings: IndexSettings
    host: HostEnvironment
    store: Store
    """Contains uv's cache, which is handled as that of pip."""
    scratch: Path

    @property
    def folder(self) -> Path:
        """A private directory for the inputs and outputs of uv."""
        return self.scratch / "uv"

    def compile(
        self, arguments: Sequence[str], *, metadata: Sequence[Mapping[str, Any]] = (), refresh: bool = False
    ) -> Compiled:
        """Run ``uv pip compile`` in the user's working directory.

        :param metadata: that of source distributions, as uv's setting ``dependency-metadata``.
        :param refresh: whether to ask the indexes again for pages that the cache has.
        :raises InputError: if pip would ignore an index that uv would use.
        """
        self.folder.mkdir(exist_ok=True)
        unbuilt = self.folder / "unbuilt"
        unbuilt.mkdir(exist_ok=True)
        for path in unbuilt.iterdir():
            path.unlink()
        argv = [str(self.program), "pip", "compile", "--no-header", *arguments]
        argv += ["--config-file", self.written("uv.toml", tomli_w.dumps(self._configuration(metadata)))]
        argv += ["--python", str(self._python(unbuilt)), "--python-version", self.interpreter.target.version]
        argv += ["--refresh"] if refresh else []
        with self.store.locked(key_of("uv")), intact_cache(self.store, "uv") as cache:
            env = self.host.child_env(self.folder, **self._environment())
            ended = run_process(
                [*argv, "--cache-dir", str(cache)], env=env, cwd=self.host.cwd, timeout=_SECONDS
            )
        texts = [path.read_text("utf-8", "replace") for path in sorted(unbuilt.iterdir())]
        return Compiled(ended=ended, unbuilt=tuple(texts))

    def written(self, name: str, text: str) -> str:
        """Write a private file for uv, as `PipResolver` does for pip; return its path."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, "utf-8")
        return str(path)

    def _python(self, unbuilt: Path) -> Path:
        """Return the program that uv takes for the target Python: it describes it, and refuses builds."""
        glibc = self.interpreter.target.newest_glibc
        if glibc is None or self.interpreter.target.platform in _WITHOUT_MANYLINUX:
            raise UsageError(
                f"uv cannot resolve for {self.interpreter.target.name}",
                evidence=("wanted  a target with glibc and 64 bits",),
                hint="--resolver pip",
            )
        refusing = Path(self.written("refusing", _REFUSING.format(folder=shlex.quote(str(unbuilt)))))
        words = [self.interpreter.python, "-I", "-B", script("describe_python"), refusing]
        interpreter = self.interpreter
        machine = interpreter.target.markers["platform_machine"] if interpreter.is_foreign else ""
        command = shlex.join([*map(str, words), "{}.{}".format(*glibc), machine])
        describing = Path(self.written("python", _DESCRIBING.format(words=command)))
        for program in (refusing, describing):
            program.chmod(0o700)
        return describing

    def _configuration(self, metadata: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the index settings as uv's: each file of all indexes counts, as with pip."""
        settings = self.settings
        _check_encryption(settings)
        links = [url for url in settings.urls("find-links") if _exists(url)]
        indexes = {
            "index-url": next(iter(settings.urls("index")), None),
            "extra-index-url": [url for url in settings.urls("extra") if _exists(url)] or None,
            "find-links": links or None,
        }
        return {
            **{name: value for name, value in indexes.items() if value},
            "no-index": settings.no_index,
            # uv would take all files of a project from the first index that has one.
            "index-strategy": "unsafe-best-match",
            "keyring-provider": "disabled",  # the passwords are in the URLs already
            "allow-insecure-host": list(settings.trusted_hosts),
            # Else uv fetches the requirements of a build before it starts the program that refuses it.
            "no-build-isolation": True,
            "dependency-metadata": list(metadata),
        }

    def _environment(self) -> Mapping[str, str]:
        settings = self.settings
        network = self.host.network_environment()
        cert = settings.cert or network.get("REQUESTS_CA_BUNDLE") or network.get("CURL_CA_BUNDLE")
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") if settings.proxy else ()
        given = {
            **{name: value for name, value in network.items() if name.upper() not in proxies},
            **netrc_environment(self.host),
            **dict.fromkeys(proxies, settings.proxy or ""),
            **({"SSL_CERT_FILE": cert} if cert else {}),
            **({"SSL_CLIENT_CERT": settings.client_cert} if settings.client_cert else {}),
            "UV_HTTP_TIMEOUT": str(math.ceil(settings.timeout)),
            "UV_HTTP_RETRIES": str(settings.retries),
            # As the downloads: the certificates of the system.
            "UV_SYSTEM_CERTS": "1",
            "UV_NATIVE_TLS": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
        }
        return {name: value for name, value in given.items() if value}


def find_uv() -> tuple[Path, str]:
    """Return the program of the extra ``uv``, and its version.

    :raises UsageError: if it is not installed.
    """
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - of an extra

        return Path(find_uv_bin()), version_of("uv")
    except (ImportError, FileNotFoundError) as error:
        raise UsageError("`--resolver uv` needs uv", hint="pip install 'airgap-bundler[uv]'") from error


def _exists(url: str) -> bool:
    """Return whether a location can be read, as far as this machine knows; pip ignores a missing one."""
    return not url.startswith("file:") or Path(file_path(url)).exists()


def _check_encryption(settings: IndexSettings) -> None:
    """Check that there is no index that pip ignores since its URL is not encrypted.

    :raises InputError: if there is one.
    """
    for index in settings.indexes:
        parts = urlsplit(index.url)
        host = parts.hostname or ""
        if parts.scheme == "http" and not _is_loopback(host) and not _is_trusted(parts.netloc, settings):
            raise InputError(
                f"the index `{printable(redact(index.url))}` is not encrypted, and not trusted",
                evidence=("wanted  https://, or a host of `--trusted-host`",),
                hint=f"if you trust it, pass `--trusted-host {shlex.quote(host)}`",
            )


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _is_trusted(netloc: str, settings: IndexSettings) -> bool:
    netloc = netloc.rpartition("@")[2].lower()
    return bool({netloc, netloc.rpartition(":")[0]} & {host.lower() for host in settings.trusted_hosts})
