"""Stage 7, pure: what the inference server does with its variables, its settings and the entry script.

Each function is one step of a `Start`; it returns the exit code, 0 to go on.

Source: azureml-inference-server-http 0.8.4.2 (``amlserver.py``, ``config.py``,
``aml_blueprint.py``), each rule seen by running it.
"""

from __future__ import annotations

import json
import posixpath
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bundler.checks.findings import Finding
from bundler.data.azure_image import VARIABLES
from bundler.deploy.startup.entry_script import EntryScript, read_script
from bundler.deploy.startup.files import Files
from bundler.deploy.startup.variables import BootEnv, ResolvedPath
from bundler.paths import printable

__all__ = ["BASE_MODULES", "STDLIB", "Start", "Step", "configure", "load_script", "start_python"]

STDLIB = "the standard library"
BASE_MODULES = "the image's own packages"
"""What stands in `Boot.sys_path` for folders whose names are the image's."""

_BOOLEANS = frozenset(("0", "off", "f", "false", "n", "no", "1", "on", "t", "true", "y", "yes"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of the start."""

    text: str
    """What is done."""
    ok: bool
    detail: str
    """With which outcome; empty if there is nothing to say."""


@dataclass(kw_only=True)
class Start:
    """A start under way."""

    boot: BootEnv
    offline: bool
    server: bool
    steps: list[Step] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    installs: str = ""
    sys_path: tuple[str, ...] = ()

    def did(self, text: str, detail: str = "") -> int:
        """Note a step that went well."""
        self.steps.append(Step(text=text, ok=True, detail=detail))
        return 0

    def failed(self, text: str, detail: str, exit_code: int) -> int:
        """Note the step at which it ends, and return its exit code."""
        self.steps.append(Step(text=text, ok=False, detail=detail))
        return exit_code

    def found(self, code: str, message: str, *, where: str = "", details: tuple[str, ...] = ()) -> str:
        """Note a finding, and return its message."""
        self.findings.append(Finding(code=code, message=message, where=where, details=details))
        return message


def start_python(start: Start) -> int:
    """Put sys.path together, and start Python."""
    boot = start.boot
    prefix = boot.env.get("AZUREML_CONDA_ENVIRONMENT_PATH")
    root = posixpath.normpath(boot.root)
    path = [
        f"{prefix}/bin" if prefix else "the folder of azmlinfsrv",
        *boot.libraries,
        STDLIB,
        BASE_MODULES,
        root,
    ]
    if boot.source is not None:
        path.append(boot.source.display)
    start.sys_path = tuple(dict.fromkeys(path))
    for folder in boot.libraries:
        for name in ("enum.py", "enum/__init__.py"):
            if boot.files.is_file(f"{folder}/{name}"):
                return start.failed(
                    "Python starts", f"`{printable(f'{folder}/{name}')}` is no `enum` of it", 1
                )
    return start.did("Python starts")


def configure(start: Start) -> int:
    """Read the settings: variables first, then a file."""
    env = start.boot.env
    for name, code in (("WORKER_COUNT", 1), ("WORKER_TIMEOUT", 2)):
        if name in env and not _is_number(env[name]):
            return _refuse(start, f"`{name}` is no number: `{printable(env[name])}`", code)
    if "WORKER_COUNT" in env and int(env["WORKER_COUNT"]) == 0:
        start.found("D606", "`WORKER_COUNT` is 0: nobody answers")
    for name, variable in VARIABLES.items():
        if variable.setting and name in env and not _fits(variable.kind, env[name]):
            return _refuse(start, f"`{name}` is no {_SAID[variable.kind]}: `{printable(env[name])}`", 3)
    return _read_config(start)


_SAID: Mapping[str, str] = {"int": "number", "bool": "switch"}


def _refuse(start: Start, message: str, code: int) -> int:
    return start.failed("the server reads its settings", start.found("D606", message), code)


def _read_config(start: Start) -> int:
    """Look for a ``config.json`` as the server does, and judge what it holds."""
    boot = start.boot
    named = boot.env.get("AZUREML_CONFIG_FILE")
    paths = [boot.place(posixpath.join(boot.root, named))] if named else []
    paths += [boot.place(f"{boot.root}/config.json")]
    paths += [boot.place(f"{posixpath.dirname(boot.script.display)}/config.json")]
    for place in paths:
        path = place.path if place.known else None
        content = boot.files.read(path) if path is not None and boot.files.is_file(path) else b""
        if path is not None and content:
            return _judge_config(start, path, content)
    return start.did("the server reads its settings")


def _judge_config(start: Start, path: str, content: bytes) -> int:
    where = printable(path)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return _refuse(start, f"`{where}` is not JSON, and the server reads it", 3)
    if not isinstance(values, dict):
        return _refuse(start, f"`{where}` is no JSON object, and the server reads it", 3)
    named = {
        name: variable
        for variable in VARIABLES.values()
        if variable.setting
        for name in (variable.name, variable.setting)
    }
    for key, value in values.items():
        variable = named.get(key)
        if variable and variable.name not in start.boot.env and not _fits(variable.kind, value):
            return _refuse(start, f"`{key}` in `{where}` is no {_SAID[variable.kind]}", 3)
    strange = [key for key in values if key not in named]
    if strange:
        message = f"the server takes `{where}` for its settings; it does not know `{printable(strange[0])}`"
        start.found("D620", message, where=path)
    return start.did("the server reads its settings", where)


def _is_number(value: str) -> bool:
    try:
        int(value)
    except ValueError:
        return False
    return True


def _fits(kind: str, value: Any) -> bool:
    """Return whether the server takes a value for a number or a switch."""
    if kind == "int":
        return isinstance(value, int | float) or (isinstance(value, str) and _is_number(value))
    if kind == "bool":
        return str(value).lower() in _BOOLEANS
    return True


def load_script(start: Start) -> int:
    """Load the entry script, and look for what the server calls."""
    boot = start.boot
    place = boot.script
    text = f"the entry script `{printable(place.display)}` is loaded"
    if why := _not_loadable(boot, place):
        start.found(
            "D603", f"the entry script `{printable(boot.entry)}` leads to `{printable(place.display)}`: {why}"
        )
        return start.failed(text, why, 3)
    if not place.known or place.path is None:
        start.found(
            "D616",
            f"the entry script `{printable(place.display)}` lies outside of what is known of the image",
        )
        return start.did(text, "what it holds is not known")
    script = read_script(boot.files.read(place.path))
    if script.error:
        line, _, reason = script.error.partition(": ")
        start.found(
            "D625", f"`{printable(place.path)}` does not parse here: {reason}, line {line}", where=place.path
        )
        return start.did(text, "what it holds could not be read")
    if problem := next(_problems(start, place.path, script), None):
        return start.failed(text, problem, 3)
    return start.did(text)


def _not_loadable(boot: BootEnv, place: ResolvedPath) -> str:
    if not boot.root.startswith("/"):
        return "the application root is not absolute"
    inside = boot.place(f"{boot.root}/{boot.entry}")
    if not place.known and boot.files.is_file(inside.display):
        return "it starts with `/`, and is not sought in the application root"
    if not boot.is_file(place):
        return "it is a folder" if boot.is_dir(place) else "it is not there"
    if not place.display.endswith(".py"):
        return "only a `.py` file is loaded"
    return ""


def _problems(start: Start, path: str, script: EntryScript) -> Iterator[str]:
    """Yield what stops the server at the script, each as a finding too; in the order in which it meets it."""
    for line in script.relative:
        message = f"`{printable(path)}` imports relatively, and the server loads it outside of any package"
        yield start.found("U303", message, where=f"{path}:{line}")
    for line, module in script.imports:
        if problem := _sibling(start, path, module):
            yield start.found(problem[0], problem[1], where=f"{path}:{line}")
    if script.lacks:
        names = " and ".join(f"{name}()" for name in script.lacks)
        yield start.found("U302", f"the entry script `{printable(path)}` does not define {names}", where=path)
    for line, reason in script.refused:
        yield start.found("D604", f"{reason}: `{printable(path)}`, line {line}", where=f"{path}:{line}")


def _sibling(start: Start, path: str, module: str) -> tuple[str, str] | None:
    """Return what is wrong with importing a module that lies beside the entry script."""
    files = start.boot.files
    folder = posixpath.dirname(path)
    if not _has(files, folder, module) or module in sys.stdlib_module_names:
        return None
    first = next((one for one in start.sys_path if _has(files, one, module)), None)
    if first is None:
        return "D605", f"`{module}` beside `{printable(path)}` is not found: its folder is not on sys.path"
    if first != folder and first in start.boot.libraries and first != posixpath.normpath(start.boot.root):
        # It loads, but another module than was meant: no reason to stop.
        start.found("M105", f"`{module}` of `{printable(first)}` hides the one beside `{printable(path)}`")
    return None


def _has(files: Files, folder: str, module: str) -> bool:
    package = f"{folder}/{module}"
    return files.is_file(f"{package}.py") or any(name.endswith(".py") for name in files.names(package))
