"""Check a machine before anything is built on it: each fact with a verdict, and the fix of a bad one."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bundler.digest import parse_sha256
from bundler.errors import BundlerError
from bundler.requirements.requirement_set import IndexOptions
from bundler.resolve.index import IndexSettings, read_index_settings
from bundler.resolve.releases import default_index_url, find_files
from bundler.store.maintenance import store_info
from bundler.system.atomic import check_writable, free_bytes
from bundler.system.environ import startup_code
from bundler.system.process import run_process
from bundler.system.sandbox import find_sandbox
from bundler.target.interpreter import find_interpreter
from bundler.target.target import DEFAULT_PYTHON
from bundler.text import counted, human_size

if TYPE_CHECKING:
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["Check", "Verdict", "check_machine"]

Verdict = Literal["pass", "warn", "fail"]

_MINORS = range(7, 15)
"""The minor versions of CPython that are searched for."""
_LITTLE_SPACE = 2_000_000_000
_NO_SPACE = 200_000_000
_ENGINES = ("docker", "podman")
_ENGINE_SECONDS = 15
_NAMESPACES = (
    "run as root, or permit namespaces: `sysctl -w user.max_user_namespaces=10000`; in a container,"
    " `docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined`"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One fact of a machine or of a container."""

    topic: str
    verdict: Verdict
    fact: str
    fix: str = ""
    """One remedy; empty for a fact that passes."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {"topic": self.topic, "verdict": self.verdict, "fact": self.fact, "fix": self.fix or None}


def check_machine(host: HostEnvironment, store: Store, output: Path) -> Iterator[Check]:
    """Yield the checks of this machine; nothing but a private temporary directory is written.

    :param output: the directory that bundles are written to by default.
    """
    with tempfile.TemporaryDirectory(prefix="bundler-") as folder:
        scratch = Path(folder)
        yield from _host(host)
        yield from _pythons(host, scratch)
        yield from _indexes(host, scratch)
        yield from _store(store)
        yield from _sandbox(host, scratch)
        yield from _engines(host, scratch)
    for topic, path in (("output", output), ("store", store.root.parent), ("scratch", Path(folder).parent)):
        yield _disk(topic, path)


def _host(host: HostEnvironment) -> Iterator[Check]:
    kind = f"{platform.system()} {platform.machine()}"
    is_tested = kind == "Linux x86_64"
    yield Check(
        topic="host",
        verdict="pass" if is_tested else "warn",
        fact=f"{kind}, CPython {platform.python_version()} at {sys.executable}",
        fix="" if is_tested else "build on Linux x86_64, the only platform that is tested",
    )
    for path in startup_code():
        yield Check(
            topic="host",
            verdict="warn",
            fact=f"`{path}` runs when the Python of bundler starts, and could change the result",
            fix="install bundler into an environment of its own: `pipx install airgap-bundler`",
        )
    ignored = host.ignored_settings()
    yield Check(
        topic="settings",
        verdict="pass",
        fact=f"without an effect on a bundle: {', '.join(ignored)}"
        if ignored
        else "none that is neutralized",
    )


def _pythons(host: HostEnvironment, scratch: Path) -> Iterator[Check]:
    for minor in _MINORS:
        version = f"3.{minor}"
        try:
            interpreter = find_interpreter(version, host, scratch)
        except BundlerError as error:
            if version == DEFAULT_PYTHON:
                yield Check(
                    topic="python",
                    verdict="warn",
                    fact=f"{error.message}; it is the default target",
                    fix=error.hint or "",
                )
            continue
        yield Check(
            topic="python",
            verdict="pass",
            fact=f"CPython {interpreter.target.version} at {interpreter.python}",
        )


def _indexes(host: HostEnvironment, scratch: Path) -> Iterator[Check]:
    try:
        settings = read_index_settings(host, scratch, flags=IndexOptions())
    except BundlerError as error:
        yield Check(topic="index", verdict="fail", fact=error.message, fix=error.hint or "pip config list")
        return
    for line in settings.summary():
        yield Check(topic="pip", verdict="pass", fact=line)
    has_pip = False
    for url, alone in _each_index(settings):
        try:
            count = len(find_files("pip", alone))
        except BundlerError as error:
            yield Check(
                topic="index",
                verdict="fail",
                fact=f"{error.message}: {'; '.join(line.strip() for line in error.evidence[:1])}",
                fix=error.hint or "",
            )
            continue
        has_pip = has_pip or count > 0
        yield Check(topic="index", verdict="pass", fact=f"{url}: {counted(count, 'file')} of pip")
    if not has_pip:
        yield Check(
            topic="index",
            verdict="fail",
            fact="no index has pip, which resolves and builds for the target",
            fix="add a wheel of pip to the index, or a directory with one: `--find-links wheels/`",
        )


def _each_index(settings: IndexSettings) -> Iterator[tuple[str, IndexSettings]]:
    if settings.default_index:
        yield default_index_url(), replace(settings, indexes=())
    for index in settings.indexes:
        yield index.url, replace(settings, indexes=(index,), default_index=False)


def _store(store: Store) -> Iterator[Check]:
    try:
        check_writable(store.root)
    except BundlerError as error:
        yield Check(topic="store", verdict="fail", fact=error.message, fix="pass `--store` with a directory")
        return
    info = store_info(store)
    fact = f"{info.path}: {counted(info.blobs, 'file')}, {human_size(info.bytes)}"
    changed = sum(not store.is_untouched(parse_sha256(path.name)) for path in store.blobs())
    yield Check(
        topic="store",
        verdict="warn" if changed else "pass",
        fact=f"{fact}, {changed} of them touched since they were written" if changed else fact,
        fix="bundler store fsck" if changed else "",
    )
    if info.quarantined:
        yield Check(
            topic="store",
            verdict="warn",
            fact=f"{counted(info.quarantined, 'damaged file')} set aside, and made again when needed",
            fix="check the disk, then `bundler store gc`",
        )


def _sandbox(host: HostEnvironment, scratch: Path) -> Iterator[Check]:
    sandbox = find_sandbox(host, scratch)
    promises = {
        "network": (sandbox.network != "socket-block", "no network, also not for native code"),
        "processes": (sandbox.processes, "no other process is visible"),
        "files": (sandbox.read_only, "the system is read-only, other files are absent"),
        "system calls": (sandbox.system_calls, "system calls are filtered"),
    }
    for name, (is_kept, fact) in promises.items():
        if is_kept:
            yield Check(topic="sandbox", verdict="pass", fact=f"{name}: {fact}")
    for sentence in sandbox.missing():
        yield Check(topic="sandbox", verdict="warn", fact=sentence, fix=_NAMESPACES)


def _engines(host: HostEnvironment, scratch: Path) -> Iterator[Check]:
    """Yield whether a container engine answers; bundler itself needs none."""
    env = host.child_env(scratch)
    for name in ("DOCKER_HOST", "XDG_RUNTIME_DIR"):
        if value := host.get(name):
            env[name] = value
    fact = "no container engine on PATH"
    for engine in _ENGINES:
        program = shutil.which(engine, path=env["PATH"])
        if program is None:
            continue
        ended = run_process(
            [program, "version", "--format", "{{.Server.Version}}"],
            env=env,
            cwd=scratch,
            timeout=_ENGINE_SECONDS,
        )
        answer = ended.stdout.decode("utf-8", "replace").strip()
        if ended.returncode == 0 and answer:
            yield Check(topic="engine", verdict="pass", fact=f"{engine} {answer.splitlines()[0]}")
            return
        fact = f"{engine} does not answer: {(ended.stderr.strip().splitlines() or ['no output'])[-1][:120]}"
    yield Check(
        topic="engine",
        verdict="warn",
        fact=f"{fact}; bundles and images are built without one",
        fix="to run an image here, start a daemon, for example `systemctl start docker`",
    )


def _disk(topic: str, path: Path) -> Check:
    free = free_bytes(path)
    verdict: Verdict = "fail" if free < _NO_SPACE else "warn" if free < _LITTLE_SPACE else "pass"
    option = {"output": "`-o`", "store": "`--store`, or `bundler store gc`", "scratch": "TMPDIR"}[topic]
    return Check(
        topic="disk",
        verdict=verdict,
        fact=f"{human_size(free)} free for {topic} at {path}",
        fix="" if verdict == "pass" else f"use another disk: {option}",
    )
