"""Stage 7, pure: what an image's start would do with its variables and files, step by step.

The order is that of the start script and of the server (`data.azure_image`): the first
step that fails decides the exit code, and nothing after it is looked at. What
the base brings is not known: what is missing here may be there.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bundler.checks.findings import Finding, sorted_findings
from bundler.data.azure_image import EXIT_CODES, PUBLIC_PORT, SERVER_PORT, ExtraSource
from bundler.deploy.startup.files import Files
from bundler.deploy.startup.lint import check_start
from bundler.deploy.startup.pip import plan_pip
from bundler.deploy.startup.server import (
    BASE_MODULES,
    STDLIB,
    Start,
    Step,
    configure,
    load_script,
    start_python,
)
from bundler.deploy.startup.variables import BootEnv, ResolvedPath, boot_env
from bundler.paths import printable

__all__ = ["BASE_MODULES", "STDLIB", "Boot", "Step", "check_start", "render_start", "simulate_start"]

_USER_ENV = "/opt/miniconda/envs/userenv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Boot:
    """How a container would start."""

    steps: tuple[Step, ...]
    exit_code: int
    """0: the server starts. `contract.EXIT_CODES`."""
    resolved: Mapping[str, str]
    """Each variable that names a path, and the absolute path it leads to."""
    sys_path: tuple[str, ...]
    """Where modules are looked for, in order; empty if Python is not reached."""
    installs: str
    """What is installed at the start: "", "conda" or "requirements"."""
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the server would start, and nothing else is certainly wrong."""
        return not self.exit_code and not any(one.rule.severity == "error" for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the start as plain values."""
        return {
            "steps": [{"text": step.text, "ok": step.ok, "detail": step.detail} for step in self.steps],
            "exit_code": self.exit_code,
            "meaning": EXIT_CODES[self.exit_code],
            "resolved": dict(self.resolved),
            "sys_path": list(self.sys_path),
            "installs": self.installs,
            "findings": [one.to_json() for one in self.findings],
        }


def simulate_start(
    env: Mapping[str, str],
    files: Files,
    *,
    profile: str = "classic",
    offline: bool = True,
    server: bool = True,
) -> Boot:
    """Return how a container would start.

    :param env: the variables that the user sets; the image's own are added.
    :param files: what is below the application root.
    :param profile: which images: `contract.PROFILES`.
    :param offline: whether it has no network.
    :param server: whether the image has azureml-inference-server-http.
    :raises InputError: if there is no such profile.
    """
    boot = boot_env(env, files, profile)
    start = Start(boot=boot, offline=offline, server=server)
    exit_code = next((code for stage in _STAGES if (code := stage(start))), 0)
    if not exit_code:
        start.did(f"the server answers on port {SERVER_PORT}, the image on {PUBLIC_PORT}")
    return Boot(
        steps=tuple(start.steps),
        exit_code=exit_code,
        resolved=dict(_resolved(boot)),
        sys_path=start.sys_path,
        installs=start.installs,
        findings=sorted_findings([*start.findings, *check_start(env, files, profile=profile)]),
    )


def render_start(boot: Boot) -> tuple[str, ...]:
    """Return a start as lines for a person."""
    lines = [
        f"{number:>2}  {'ok  ' if step.ok else 'FAIL'}  {step.text}"
        + (f": {step.detail}" if step.detail else "")
        for number, step in enumerate(boot.steps, 1)
    ]
    lines += [f"{name} = {path}" for name, path in boot.resolved.items()]
    lines += [f"sys.path[{number}] = {path}" for number, path in enumerate(boot.sys_path)]
    return (*lines, f"exit code {boot.exit_code}: {EXIT_CODES[boot.exit_code]}")


def _resolved(boot: BootEnv) -> Iterator[tuple[str, str]]:
    yield "AML_APP_ROOT", posixpath.normpath(boot.root)
    yield "AZUREML_ENTRY_SCRIPT", boot.script.display
    for name, place in (("AZUREML_SOURCE_DIRECTORY", boot.source), ("AZUREML_MODEL_DIR", boot.model_dir)):
        if place is not None:
            yield name, place.display
    for source in boot.extra_sources:
        yield source.variable, boot.place_of(source).display


# The start script.


def _enter(start: Start) -> int:
    boot = start.boot
    absolute = boot.root.startswith("/")
    if not absolute or not boot.is_dir(boot.place(boot.root)):
        why = "is not there" if absolute else "is not absolute"
        start.found("D609", f"the application root `{printable(boot.root)}` {why}")
    return start.did("the folder of the entry script", printable(boot.entry_folder))


def _extend(start: Start) -> int:
    boot = start.boot
    if not boot.extra_sources:
        return start.did("no further packages are asked for")
    source = boot.extra_sources[0]
    off = boot.off or (source.installs == "conda" and _no_conda(boot))
    if off:
        return start.did(f"`{source.variable}` is ignored", off)
    place = boot.place_of(source)
    if not (boot.is_dir(place) if source.is_folder else boot.is_file(place)):
        message, details = _not_there(boot, source, place)
        start.found("D601", message, details=details)
        return start.failed(
            f"`{source.variable}` leads to `{printable(place.written)}`", "not there", source.missing
        )
    if source.is_folder:
        return start.did("PYTHONPATH starts with", f"{printable(place.written)}:")
    return _make_conda(start, source, place) if source.installs == "conda" else _install(start, place)


def _no_conda(boot: BootEnv) -> str:
    # Only the images without a switch know this variable.
    made = boot.profile.switch or (boot.env.get("DYNAMIC_DEP_INSTALLATION") or "true") == "true"
    return "" if made else "`DYNAMIC_DEP_INSTALLATION` is not `true`"


def _not_there(boot: BootEnv, source: ExtraSource, place: ResolvedPath) -> tuple[str, tuple[str, ...]]:
    """Return what is said of a path that leads nowhere: where it leads, what was meant, what is near."""
    message = f"`{source.variable}` leads to `{printable(place.written)}`, which is not there"
    value = boot.env[source.variable]
    there = boot.files.is_dir if source.is_folder else boot.files.is_file
    candidates = [value, f"{boot.root}/{value}"]
    candidates += [
        f"{folder}/{inner}{value}" for folder in boot.model_folders() for inner in ("", "../", "../../")
    ]
    candidates += [
        f"{folder}/{name}/{value}" for folder in boot.model_folders() for name in boot.files.names(folder)
    ]
    for candidate in candidates:
        meant = boot.place(posixpath.normpath(f"/{candidate}"))
        if meant.path is not None and meant.known and there(meant.path):
            relative = posixpath.relpath(meant.path, posixpath.normpath(boot.entry_folder))
            message += f": from the entry script it is `{printable(relative)}`"
            break
    nearest = posixpath.normpath(place.written)
    while boot.files.covers(nearest) and not boot.files.is_dir(nearest):
        nearest = posixpath.dirname(nearest)
    names = ", ".join(boot.files.names(nearest)[:10])
    return message, (f"nearest  `{printable(nearest)}`, which holds {printable(names) or 'nothing'}",)


def _make_conda(start: Start, source: ExtraSource, place: ResolvedPath) -> int:
    text = f"conda makes an environment from `{printable(place.display)}`"
    if not start.server:
        return start.failed(text, EXIT_CODES[96], 96)
    start.installs = "conda"
    if start.offline:
        start.found("D602", f"`{source.variable}` makes a conda environment, which needs a network")
        return start.failed(text, "there is no network", 95)
    start.boot = replace(start.boot, env={**start.boot.env, "AZUREML_CONDA_ENVIRONMENT_PATH": _USER_ENV})
    return start.did(text)


def _install(start: Start, place: ResolvedPath) -> int:
    start.installs = "requirements"
    text = f"pip installs `{printable(place.display)}`"
    if not place.known or place.path is None:
        return start.did(text, "what it holds is not known")
    run = plan_pip(start.boot, place.path, offline=start.offline)
    start.findings += run.findings
    if run.fails:
        start.found("D602", f"pip cannot install `{printable(place.path)}`: {run.fails}")
        return start.failed(text, run.fails, 95)
    return start.did(text, f"from {', '.join(map(printable, run.folders))}" if run.folders else "")


def _look_for_server(start: Start) -> int:
    text = "azureml-inference-server-http is looked for"
    if start.server:
        return start.did(text) if start.boot.profile.checks_server else 0
    code = 100 if start.boot.profile.checks_server else 127
    return start.failed(text, EXIT_CODES[code], code)


def _look_for_debugpy(start: Start) -> int:
    if not start.boot.env.get("AZUREML_DEBUG_PORT"):
        return 0
    text = "debugpy is looked for"
    if start.installs or any(start.boot.files.is_dir(f"{one}/debugpy") for one in start.boot.libraries):
        return start.did(text)
    start.found("D607", "`AZUREML_DEBUG_PORT` is set, and no folder of packages has debugpy")
    return start.failed(text, "not found", 94)


_STAGES: tuple[Callable[[Start], int], ...] = (
    _enter,
    _extend,
    _look_for_server,
    _look_for_debugpy,
    start_python,
    configure,
    load_script,
)
