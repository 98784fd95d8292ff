"""Fetch the newest pip, setuptools and wheel that support the target, and run this pip.

They are downloaded from the index by digest, as any wheel, and are not part of the
bundle. pip runs under the target Python, since it evaluates markers for the
Python it runs on, whatever ``--python-version`` is (pypa/pip#11664). It is
unpacked: running it from its wheel takes a second longer at each start.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bundler.archive.wheel import read_wheel
from bundler.digest import parse_sha256
from bundler.errors import BundlerError, NetworkError, ResolutionError
from bundler.redaction import split_url, url_filename
from bundler.resolve.download import Download, fetch_all
from bundler.resolve.failure import FailedRun, explain_failure
from bundler.system.process import Completed, run_process
from bundler.target.venv import create_venv
from bundler.text import listing

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.resolve.index import IndexSettings
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment
    from bundler.target.interpreter import Interpreter
    from bundler.target.target import Target

__all__ = ["Toolchain", "install_toolchain"]

_PROJECTS = ("pip", "setuptools", "wheel")
_PIP_SECONDS = 3600

# PEP 600, "Package installers": pip asks this module whether the machine supports a manylinux tag.
_MANYLINUX = """\
def manylinux_compatible(major, minor, arch):
    return (major, minor) <= {}
"""


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """The target's pip, in an empty virtual environment of the target."""

    python: Path
    """The Python of the environment."""
    pip: Path
    """The unpacked ``pip`` package."""
    wheels: Path
    """A directory with the wheels of setuptools and wheel, for build environments."""
    versions: dict[str, str]
    """The versions of pip, setuptools and wheel, by name."""
    cache: Path
    """pip's cache of index pages; files from it are hashed again."""
    extra_config: Path
    """A configuration file of setuptools for every build."""
    target: Target
    host: HostEnvironment
    settings: IndexSettings
    scratch: Path

    def run_pip(
        self,
        arguments: Sequence[str],
        *,
        cached: bool = True,
        on_stdout: Callable[[bytes], None] | None = None,
        extra_env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run pip under the target Python, in the user's working directory, where relative paths start.

        :param cached: whether pip may use and fill its cache.
        :param on_stdout: called with each line of standard output, from a thread.
        :param extra_env: further environment variables.
        """
        env = self.host.child_env(
            self.scratch,
            **self.settings.pip_environment(),
            # setuptools would write `*.egg-info` into the directory of the project, which is the user's.
            DIST_EXTRA_CONFIG=str(self.extra_config),
            PYTHONDONTWRITEBYTECODE="1",
            **(extra_env or {}),
        )
        links = " ".join(filter(None, (env.get("PIP_FIND_LINKS"), self.wheels.as_uri())))
        cache = ["--cache-dir", str(self.cache)] if cached else ["--no-cache-dir"]
        return run_process(
            [self.python, "-I", self.pip, *arguments, *cache],
            env={**env, "PIP_FIND_LINKS": links},
            cwd=self.host.cwd,
            timeout=_PIP_SECONDS,
            on_stdout=on_stdout,
        )


def install_toolchain(
    interpreter: Interpreter,
    settings: IndexSettings,
    *,
    host: HostEnvironment,
    store: Store,
    scratch: Path,
    reporter: Reporter,
) -> Toolchain:
    """Fetch the toolchain of a target into ``scratch``.

    :raises ResolutionError: if the index has no pip for this Python.
    :raises NetworkError: if the index cannot be reached.
    """
    with reporter.task("toolchain", None) as task:
        task.name(", ".join(_PROJECTS))
        report = _resolve_toolchain(interpreter, settings, host, scratch)
    downloads = [_download(item) for item in report["install"]]
    fetch_all(downloads, store, settings, reporter=reporter)
    wheels = scratch / "toolchain" / "wheels"
    unpacked = scratch / "toolchain" / "pip"
    wheels.mkdir(parents=True)
    for download in downloads:
        blob = store.verified_path(download.sha256)
        if download.name == "pip":
            _unpack(blob, download.filename, unpacked)
        else:
            (wheels / download.filename).write_bytes(blob.read_bytes())
    if (limit := interpreter.target.glibc) is not None:
        # Beside pip, where pip itself imports it, but not the pips that install build requirements:
        # those run on this machine.
        (unpacked / "_manylinux.py").write_text(_MANYLINUX.format(limit.numbers), "ascii")
    notes = scratch / "toolchain" / "notes"
    notes.mkdir()
    extra_config = scratch / "toolchain" / "setup.cfg"
    extra_config.write_text(f"[egg_info]\negg_base = {notes}\n", "utf-8")
    return Toolchain(
        python=create_venv(interpreter, scratch / "toolchain" / "venv", host, scratch),
        pip=unpacked / "pip",
        wheels=wheels,
        versions={item["metadata"]["name"]: item["metadata"]["version"] for item in report["install"]},
        cache=store.root / "pip",
        extra_config=extra_config,
        target=interpreter.target,
        host=host,
        settings=settings,
        scratch=scratch,
    )


def _resolve_toolchain(
    interpreter: Interpreter, settings: IndexSettings, host: HostEnvironment, scratch: Path
) -> dict[str, Any]:
    """Return the report of bundler's own pip on the newest toolchain that supports the target's Python."""
    report = scratch / "toolchain.json"
    argv = [
        sys.executable,
        "-I",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
    ]
    argv += ["--only-binary", ":all:", "--python-version", interpreter.target.version]
    argv += ["--target", str(scratch / "nowhere"), "--report", str(report), *_PROJECTS]
    env = host.child_env(scratch, **settings.pip_environment())
    ended = run_process(argv, env=env, cwd=host.cwd, timeout=_PIP_SECONDS)
    if ended.returncode != 0:
        raise _no_toolchain(FailedRun(ended=ended, settings=settings, target=interpreter.target))
    content: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return content


def _no_toolchain(run: FailedRun) -> BundlerError:
    """Return the error for an index from which pip, setuptools or wheel cannot be installed."""
    error = explain_failure(run)
    if isinstance(error, NetworkError) or not run.searched:
        return error
    version = run.target.python_version
    if run.settings.no_index:
        folders = [url2pathname(urlsplit(url).path) for url in run.searched if url.startswith("file:")]
        dest = shlex.quote(folders[0] if folders else "wheels")
        hint = (
            f"add them: `python3 -m pip download --dest {dest} --only-binary :all: "
            f"--python-version {version} {' '.join(_PROJECTS)}`"
        )
    else:
        hint = "check the URL of the index, which often ends in `/simple/`: `pip config list` prints it"
    return ResolutionError(
        f"pip, setuptools and wheel for Python {version}, which resolve and build, are not on the index",
        evidence=(f"searched  {listing(run.searched, 5)}", f"found     {error.message}"),
        hint=hint,
    )


def _download(item: dict[str, Any]) -> Download:
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    info = item["download_info"]
    try:
        sha256 = parse_sha256(info["archive_info"]["hashes"]["sha256"])
    except KeyError:
        raise ResolutionError(f"the index provides no sha256 for `{name}` {version}") from None
    url, _ = split_url(info["url"])
    url = url.partition("#")[0]
    return Download(name=name, url=url, sha256=sha256, size=None, filename=url_filename(url))


def _unpack(blob: Path, filename: str, folder: Path) -> None:
    """Unpack the wheel of pip, after the same checks as for any other wheel."""
    with blob.open("rb") as source:
        wheel = read_wheel(source, filename)
        for file in wheel.files:
            if file.scheme in ("purelib", "platlib"):
                path = folder / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(wheel.chunks(file)))
