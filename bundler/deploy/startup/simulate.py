"""Stage 7, pure: predict the start of an image from its variables and files, step by step.

The steps are in the order of the start script and of the server (`data.azure_image`). The first
one that fails decides the exit code; later ones are not checked. The files of the base image are
unknown, so a file that is missing here can exist in the image.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from packaging.version import Version

from bundler.base_image.profile import BaseProfile
from bundler.checks.findings import Finding, sorted_findings
from bundler.data.azure_image import EXIT_CODES, PUBLIC_PORT, SERVER_PORT, ExtraSource
from bundler.data.inference_server import SERVER
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
from bundler.text import listing

__all__ = ["BASE_MODULES", "STDLIB", "Boot", "Step", "check_start", "render_start", "simulate_start"]

_USER_ENV = "/opt/miniconda/envs/userenv"
_MAX_NAMES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Boot:
    """The predicted start of a container."""

    steps: tuple[Step, ...]
    """The steps until the first failure, in order."""
    exit_code: int
    """0 if the server starts; a key of `azure_image.EXIT_CODES`."""
    resolved: Mapping[str, str]
    """The absolute path of each variable that contains a path."""
    sys_path: tuple[str, ...]
    """The entries of sys.path in order; empty if Python does not start."""
    installs: str
    """The packages that the start installs: ``""`` for none, ``conda`` or ``requirements``."""
    findings: tuple[Finding, ...]
    conditions: tuple[str, ...] = ()
    """What must hold of the unknown files of the image for the server to start, each a clause."""

    @property
    def ending(self) -> str:
        """The meaning of the exit code, with the conditions of a start."""
        meaning = EXIT_CODES[self.exit_code]
        return f"{meaning}, if {' and '.join(self.conditions)}" if self.conditions else meaning

    @property
    def ok(self) -> bool:
        """Whether the server starts and no finding is an error."""
        return not self.exit_code and not any(finding.rule.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the start as JSON values."""
        return {
            "steps": [{"text": step.text, "ok": step.ok, "detail": step.detail} for step in self.steps],
            "exit_code": self.exit_code,
            "meaning": self.ending,
            "resolved": dict(self.resolved),
            "sys_path": list(self.sys_path),
            "installs": self.installs,
            "findings": [finding.to_json() for finding in self.findings],
        }


def simulate_start(  # noqa: PLR0913 - each is a fact of the container
    env: Mapping[str, str],
    files: Files,
    *,
    profile: str = "classic",
    offline: bool = True,
    server: bool = True,
    base: BaseProfile | None = None,
    release: Version | None = None,
    python: str | None = None,
) -> Boot:
    """Predict the start of a container.

    :param env: the variables that the user sets; the variables of the image are added.
    :param files: the files below the application root.
    :param profile: the image variant, a key of `azure_image.IMAGE_VARIANTS`.
    :param offline: whether the container has no network.
    :param server: whether the image has azureml-inference-server-http.
    :param base: the packages of the image, if known.
    :param release: the release of the server, if known; by default that of the base.
    :param python: the minor version of the image's Python; by default that of the base, or of the variant.
    :raises InputError: if the profile is unknown.
    """
    if release is None and base is not None and SERVER in base.distributions:
        release = base.distributions[SERVER].version
    if python is None and base is not None and base.python_version is not None:
        python = ".".join(base.python_version.split(".")[:2])
    boot = boot_env(env, files, profile, release, python)
    start = Start(boot=boot, offline=offline, server=server, base=base)
    exit_code = next((code for stage in _STAGES if (code := stage(start))), 0)
    if not exit_code:
        start.did(f"the server answers on port {SERVER_PORT}, the image on {PUBLIC_PORT}")
    doubtful = check_start(env, files, profile=profile, release=release, python=python)
    if any(finding.code == "D615" for finding in doubtful):
        start.conditions.append("the packages work with another Python than theirs")
    return Boot(
        steps=tuple(start.steps),
        exit_code=exit_code,
        resolved=dict(_resolved(boot)),
        sys_path=start.sys_path,
        installs=start.installs,
        findings=sorted_findings([*start.findings, *doubtful]),
        conditions=tuple(start.conditions) if not exit_code else (),
    )


def render_start(boot: Boot) -> tuple[str, ...]:
    """Return a start as lines for people: the steps, the paths, sys.path and the exit code."""
    lines = [
        f"{number:>2}  {'ok  ' if step.ok else 'FAIL'}  {step.text}"
        + (f": {step.detail}" if step.detail else "")
        for number, step in enumerate(boot.steps, 1)
    ]
    lines += [f"{name} = {path}" for name, path in boot.resolved.items()]
    lines += [f"sys.path[{number}] = {path}" for number, path in enumerate(boot.sys_path)]
    return (*lines, f"exit code {boot.exit_code}: {boot.ending}")


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
        why = "does not exist" if absolute else "is not absolute"
        start.found("D609", f"the application root `{printable(boot.root)}` {why}")
    return start.did("the directory of the entry script", printable(boot.entry_folder))


def _extend(start: Start) -> int:
    boot = start.boot
    if not boot.extra_sources:
        return start.did("no variable adds packages")
    source = boot.extra_sources[0]
    off = boot.off or (source.installs == "conda" and _no_conda(boot))
    if off:
        return start.did(f"`{source.variable}` is ignored", off)
    place = boot.place_of(source)
    if not (boot.is_dir(place) if source.is_folder else boot.is_file(place)):
        message, details = _missing(boot, source, place)
        start.found("D601", message, details=details)
        return start.failed(
            f"`{source.variable}` leads to `{printable(place.written)}`", "it does not exist", source.missing
        )
    if source.is_folder:
        return start.did("PYTHONPATH starts with", f"{printable(place.written)}:")
    return _make_conda(start, source, place) if source.installs == "conda" else _install(start, place)


def _no_conda(boot: BootEnv) -> str:
    # Only the images without a switch read this variable.
    enabled = boot.profile.switch or (boot.env.get("DYNAMIC_DEP_INSTALLATION") or "true") == "true"
    return "" if enabled else "`DYNAMIC_DEP_INSTALLATION` is not `true`"


def _missing(boot: BootEnv, source: ExtraSource, place: ResolvedPath) -> tuple[str, tuple[str, ...]]:
    """Return the message for a path that does not exist, and the content of the nearest directory.

    The candidates for the intended path are the mistakes of Azure ML's users: an absolute path, a
    path from the application root, and a path from a registered model, as Microsoft's pages write it.
    """
    message = f"`{source.variable}` leads to `{printable(place.written)}`, which does not exist"
    value = boot.env[source.variable]
    exists = boot.files.is_dir if source.is_folder else boot.files.is_file
    candidates = [value, f"{boot.root}/{value}"]
    candidates += [
        f"{folder}/{inner}{value}" for folder in boot.model_folders() for inner in ("", "../", "../../")
    ]
    candidates += [
        f"{folder}/{name}/{value}" for folder in boot.model_folders() for name in boot.files.names(folder)
    ]
    for candidate in candidates:
        intended = boot.place(posixpath.normpath(f"/{candidate}"))
        if intended.path is not None and intended.known and exists(intended.path):
            relative = posixpath.relpath(intended.path, posixpath.normpath(boot.entry_folder))
            message += f": relative to the entry script it is `{printable(relative)}`"
            break
    nearest = posixpath.normpath(place.written)
    while boot.files.covers(nearest) and not boot.files.is_dir(nearest):
        nearest = posixpath.dirname(nearest)
    names = printable(listing(boot.files.names(nearest), _MAX_NAMES)) or "nothing"
    return message, (f"nearest  `{printable(nearest)}`, which contains {names}",)


def _make_conda(start: Start, source: ExtraSource, place: ResolvedPath) -> int:
    text = f"conda creates an environment from `{printable(place.display)}`"
    if not start.server:
        return start.failed(text, EXIT_CODES[96], 96)
    start.installs = "conda"
    if start.offline:
        start.found("D602", f"`{source.variable}` creates a conda environment, which needs a network")
        return start.failed(text, "the container has no network", 95)
    start.boot = replace(start.boot, env={**start.boot.env, "AZUREML_CONDA_ENVIRONMENT_PATH": _USER_ENV})
    return start.did(text)


def _install(start: Start, place: ResolvedPath) -> int:
    start.installs = "requirements"
    text = f"pip installs `{printable(place.display)}`"
    if not place.known or place.path is None:
        return start.did(text, "its content is unknown")
    run = plan_pip(start.boot, place.path, offline=start.offline)
    start.findings += run.findings
    if run.fails:
        start.found("D602", f"pip cannot install `{printable(place.path)}`: {run.fails}")
        return start.failed(text, run.fails, 95)
    return start.did(text, f"from {', '.join(map(printable, run.folders))}" if run.folders else "")


def _look_for_server(start: Start) -> int:
    text = "the image has azureml-inference-server-http"
    if start.server:
        return start.did(text) if start.boot.profile.checks_server else 0
    code = 100 if start.boot.profile.checks_server else 127
    return start.failed(text, EXIT_CODES[code], code)


def _look_for_debugpy(start: Start) -> int:
    if not start.boot.env.get("AZUREML_DEBUG_PORT"):
        return 0
    text = "the packages have debugpy"
    if start.installs or any(start.boot.files.is_dir(f"{path}/debugpy") for path in start.boot.libraries):
        return start.did(text)
    start.found("D607", "`AZUREML_DEBUG_PORT` is set, but debugpy is in no directory of packages")
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
