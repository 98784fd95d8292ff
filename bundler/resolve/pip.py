"""Fetch the newest pip, setuptools and wheel that support the target, and run this pip.

They are downloaded from the index by digest, as any wheel, and are not part of the
bundle. pip runs under the target Python, since it evaluates markers for the
Python it runs on, whatever ``--python-version`` is (pypa/pip#11664). It is
unpacked: running it from its wheel takes a second longer at each start. The build
backends and metadata hooks that it starts run in a sandbox (`target/scripts/run_pip.py`).
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pip as pip_package

from bundler.archive.wheel import read_wheel
from bundler.digest import parse_sha256
from bundler.errors import BundlerError, NetworkError, ResolutionError
from bundler.redaction import split_url, url_filename
from bundler.resolve.auth import netrc_environment
from bundler.resolve.download import Download, fetch_all
from bundler.resolve.failed_run import FailedRun
from bundler.resolve.failure import explain_failure
from bundler.resolve.pip_cache import intact_cache
from bundler.resolve.releases import answering, find_files, not_an_index
from bundler.system.process import Completed, run_process
from bundler.system.sandbox import Places, Sandbox, program_places
from bundler.target.scripts import script
from bundler.target.venv import create_venv
from bundler.text import listing

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.resolve.index import IndexSettings
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment
    from bundler.target.interpreter import Interpreter
    from bundler.target.target import Target

__all__ = ["PROJECTS", "Toolchain", "install_toolchain"]

PROJECTS = ("pip", "setuptools", "wheel")
"""The distributions of the toolchain."""
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
    origins: Mapping[str, str]
    """The URLs of these wheels in the indexes, by those in the directory: pip may choose one of them."""
    versions: dict[str, str]
    """The versions of pip, setuptools and wheel, by name."""
    store: Store
    """Contains pip's cache of index pages; see `resolve.pip_cache`."""
    extra_config: Path
    """A configuration file of setuptools for every build."""
    sandbox: Sandbox
    """The sandbox of build backends and metadata hooks."""
    guard: Path
    """The file that describes it to ``target/scripts/run_pip.py``."""
    target: Target
    is_foreign: bool = False
    """Whether the target is another platform than that of `python`."""
    prefer_binary: bool = True
    """Whether an older release with a wheel is preferred to a newer one with only an sdist."""
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

        Code of sdists and their build requirements runs in the sandbox: it can write only to its own
        directories below TMPDIR, and gets no setting of an index.

        :param cached: whether pip may use and fill its cache.
        :param on_stdout: called with each line of standard output, from a thread.
        :param extra_env: further environment variables.
        """
        temporary = self.scratch / "pip"
        temporary.mkdir(exist_ok=True)
        env = self.host.child_env(
            temporary,
            **self.host.network_environment(),
            **netrc_environment(self.host),
            **self.settings.pip_environment(),
            # setuptools would write `*.egg-info` into the directory of the project, which is the user's.
            DIST_EXTRA_CONFIG=str(self.extra_config),
            PYTHONDONTWRITEBYTECODE="1",
            # For build requirements, too: pip's own child inherits it. An empty variable counts as unset.
            PIP_PREFER_BINARY="1" if self.prefer_binary else "",
            **({"BUNDLER_MARKERS": json.dumps(dict(self.target.markers))} if self.is_foreign else {}),
            **(extra_env or {}),
        )
        links = " ".join(filter(None, (env.get("PIP_FIND_LINKS"), self.wheels.as_uri())))
        mark = f"-{secrets.token_hex(8)}"
        with intact_cache(self.store) if cached else nullcontext() as cache:
            options = ["--cache-dir", str(cache)] if cache else ["--no-cache-dir"]
            ended = run_process(
                [self.python, "-I", script("run_pip"), self.guard, self.pip, *arguments, *options],
                env={**env, "PIP_FIND_LINKS": links, "BUNDLER_MARK": mark},
                cwd=self.host.cwd,
                timeout=_PIP_SECONDS,
                on_stdout=on_stdout,
            )
        # A hook can print such a line, too, but not the mark.
        stderr = ended.stderr.replace("ERROR: refused ", "ERROR: ")
        return replace(ended, stderr=stderr.replace(f"ERROR: refused{mark} ", "ERROR: refused "))


def install_toolchain(  # noqa: PLR0913 - the values that a run shares
    interpreter: Interpreter,
    settings: IndexSettings,
    *,
    host: HostEnvironment,
    store: Store,
    scratch: Path,
    sandbox: Callable[[], Sandbox],
    reporter: Reporter,
) -> Toolchain:
    """Fetch the toolchain of a target into ``scratch``.

    :param sandbox: returns the sandbox of builds; called after the downloads.
    :raises ResolutionError: if the index has no pip for this Python.
    :raises NetworkError: if the index cannot be reached.
    """
    with reporter.task("lock", None) as task:
        task.name(", ".join(PROJECTS))
        settings = settings if settings.no_index or not settings.retries else answering(settings)
        report = _resolve_toolchain(interpreter, settings, host, scratch)
    downloads = [_download(item) for item in report["install"]]
    fetch_all(downloads, store, settings, reporter=reporter)
    wheels = scratch / "toolchain" / "wheels"
    unpacked = scratch / "toolchain" / "pip"
    wheels.mkdir(parents=True)
    origins = _provide(downloads, store, unpacked, wheels)
    if (limit := interpreter.own.glibc) is not None:
        # Beside pip, where pip itself imports it, but not the pips that install build requirements:
        # those run on this machine.
        (unpacked / "_manylinux.py").write_text(_MANYLINUX.format(limit.numbers), "ascii")
    notes = scratch / "toolchain" / "notes"
    notes.mkdir()
    extra_config = scratch / "toolchain" / "setup.cfg"
    extra_config.write_text(f"[egg_info]\negg_base = {notes}\n", "utf-8")
    python = create_venv(interpreter, scratch / "toolchain" / "venv", host, scratch)
    found = sandbox()
    for sentence in found.missing():
        reporter.note(f"sandbox of builds: {sentence}")
    guard = scratch / "toolchain" / "guard.json"
    home = scratch / "toolchain" / "home"
    home.mkdir()
    values = {
        "command": found.argv([], Places())[:-1],
        "places": found.read_only,
        "visible": list(
            map(str, [*program_places(python), unpacked, extra_config, *_tool_places(host)]),
        ),
        "empty": [str(notes)],
        "home": str(home),
    }
    guard.write_text(json.dumps(values), "utf-8")
    return Toolchain(
        python=python,
        pip=unpacked / "pip",
        wheels=wheels,
        origins=origins,
        versions={item["metadata"]["name"]: item["metadata"]["version"] for item in report["install"]},
        store=store,
        extra_config=extra_config,
        sandbox=found,
        guard=guard,
        target=interpreter.target,
        is_foreign=interpreter.is_foreign,
        host=host,
        settings=settings,
        scratch=scratch,
    )


def _provide(downloads: Sequence[Download], store: Store, pip: Path, wheels: Path) -> dict[str, str]:
    """Unpack pip, copy the other wheels into a directory, and return their `Toolchain.origins`."""
    origins = {}
    for download in downloads:
        blob = store.verified_path(download.sha256)
        if download.name == "pip":
            _unpack(blob, download.filename, pip)
        else:
            wheel = wheels / download.filename
            wheel.write_bytes(blob.read_bytes())
            origins[wheel.as_uri()] = download.url
    return origins


def _tool_places(host: HostEnvironment) -> list[Path]:
    """Return the directories of the compilers and tools on PATH that are not of the system.

    A prefix is shown as a whole, since a compiler reads its libraries, but never the user's HOME.
    """
    home = Path(host.get("HOME") or "/").resolve()
    places = []
    for text in (host.get("PATH") or "").split(os.pathsep):
        folder = Path(text)
        if folder.is_absolute() and folder.is_dir():
            prefix = folder.parent.resolve()
            private = prefix == home or prefix.is_relative_to(home) or home.is_relative_to(prefix)
            places.append(folder if private or folder.name != "bin" else folder.parent)
    return places


def _resolve_toolchain(
    interpreter: Interpreter, settings: IndexSettings, host: HostEnvironment, scratch: Path
) -> dict[str, Any]:
    """Return the report of bundler's own pip on the newest toolchain that supports the target's Python."""
    report = scratch / "toolchain.json"
    guard = scratch / "no-guard.json"
    guard.write_text("{}", "utf-8")  # from wheels alone: no code of another Python program is started
    pip = Path(pip_package.__file__).parent
    argv = [sys.executable, "-I", str(script("run_pip")), str(guard), str(pip), "install", "--quiet"]
    argv += ["--dry-run", "--ignore-installed", "--no-deps", "--only-binary", ":all:"]
    argv += ["--python-version", interpreter.own.version]
    argv += ["--target", str(scratch / "nowhere"), "--report", str(report), *PROJECTS]
    network = {**host.network_environment(), **netrc_environment(host)}
    env = host.child_env(scratch, **network, **settings.pip_environment())
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
    try:
        find_files("pip", run.settings)  # pip may have continued with another index
    except NetworkError as down:
        return down
    version = run.target.python_version
    if run.settings.no_index:
        command = run.download(*PROJECTS)
        hint = f"add them: `{command}`" if command else None
    else:
        if (misdirected := not_an_index(run.settings)) is not None:
            return misdirected
        hint = f"look at the page: `curl -sSL {shlex.quote(run.searched[0].rstrip('/'))}/pip/`"
    return ResolutionError(
        f"pip, setuptools and wheel for Python {version}, which resolve and build, are not {run.where}",
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
