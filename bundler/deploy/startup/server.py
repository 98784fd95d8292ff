"""Stage 7, pure: predict how the inference server reads its settings and loads the entry script.

Each public function is one step of a `Start`; it returns the exit code, 0 to continue.

Source: azureml-inference-server-http 0.8.4.2 (``amlserver.py``, ``config.py``,
``aml_blueprint.py``); each rule is confirmed by running it.
"""

from __future__ import annotations

import json
import posixpath
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bundler.base_image.profile import BaseProfile
from bundler.checks.findings import Finding
from bundler.data.azure_image import VARIABLES
from bundler.data.import_names import requirement_of
from bundler.data.popular_names import most_downloaded
from bundler.deploy.startup.entry_script import EntryScript, is_python_file, read_script
from bundler.deploy.startup.files import Files
from bundler.deploy.startup.imports import missing_imports
from bundler.deploy.startup.variables import BootEnv, ResolvedPath
from bundler.paths import printable
from bundler.problems import closest
from bundler.text import listing

__all__ = ["BASE_MODULES", "STDLIB", "Start", "Step", "configure", "load_script", "start_python"]

STDLIB = "the standard library"
BASE_MODULES = "the image's own packages"
"""Placeholders in `Boot.sys_path` for directories of the image, whose paths are unknown."""

_MAX_NAMES = 10
_BOOLEANS = frozenset(("0", "off", "f", "false", "n", "no", "1", "on", "t", "true", "y", "yes"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of the start."""

    text: str
    """The action, a sentence without a period."""
    ok: bool
    """Whether the start continues."""
    detail: str
    """The result or the reason of the failure; may be empty."""


@dataclass(kw_only=True)
class Start:
    """The state of a simulated start: its inputs, and the results of the steps so far."""

    boot: BootEnv
    offline: bool
    server: bool
    base: BaseProfile | None = None
    """The packages of the image, if known."""
    steps: list[Step] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    """What must hold of the unknown files of the image for the server to start, each a clause."""
    installs: str = ""
    sys_path: tuple[str, ...] = ()

    def did(self, text: str, detail: str = "") -> int:
        """Record a successful step, and return 0."""
        self.steps.append(Step(text=text, ok=True, detail=detail))
        return 0

    def failed(self, text: str, detail: str, exit_code: int) -> int:
        """Record the step at which the start ends, and return the exit code."""
        self.steps.append(Step(text=text, ok=False, detail=detail))
        return exit_code

    def found(
        self, code: str, message: str, *, where: str = "", details: tuple[str, ...] = (), fix: str = ""
    ) -> str:
        """Record a finding, and return its message."""
        self.findings.append(Finding(code=code, message=message, where=where, details=details, fix=fix))
        return message


def start_python(start: Start) -> int:
    """Compose sys.path and start Python.

    A foreign ``enum`` on PYTHONPATH (enum34, a backport) ends it: ``re`` needs ``IntFlag`` of its own.
    """
    boot = start.boot
    prefix = boot.env.get("AZUREML_CONDA_ENVIRONMENT_PATH")
    root = posixpath.normpath(boot.server_root)
    path = [
        f"{prefix}/bin" if prefix else "the directory of azmlinfsrv",
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
                return start.failed("Python starts", f"`{printable(f'{folder}/{name}')}` hides its `enum`", 1)
    return start.did("Python starts")


def configure(start: Start) -> int:
    """Read the settings: variables first, then a file.

    WORKER_COUNT and WORKER_TIMEOUT are read before the others and have exit codes of their own.
    """
    env = start.boot.env
    for name, code in (("WORKER_COUNT", 1), ("WORKER_TIMEOUT", 2)):
        if name in env and not _is_number(env[name]):
            return _refuse(start, f"`{name}` is not a number: `{printable(env[name])}`", code)
    if "WORKER_COUNT" in env and int(env["WORKER_COUNT"]) == 0:
        start.found("D606", "`WORKER_COUNT` is 0: no process answers requests")
    for name, variable in VARIABLES.items():
        if variable.setting and name in env and not _fits(variable.kind, env[name]):
            message = f"`{name}` is not {_KIND_NAMES[variable.kind]}: `{printable(env[name])}`"
            return _refuse(start, message, 3)
    return _read_config(start)


_KIND_NAMES: Mapping[str, str] = {"int": "a number", "bool": "a boolean"}


def _refuse(start: Start, message: str, code: int) -> int:
    return start.failed("the server reads its settings", start.found("D606", message), code)


def _read_config(start: Start) -> int:
    """Check the first ``config.json`` of the server's search path that is not empty."""
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
        return _refuse(start, f"`{where}`, a settings file of the server, is not valid JSON", 3)
    if not isinstance(values, dict):
        return _refuse(start, f"`{where}`, a settings file of the server, is not a JSON object", 3)
    named = {
        name: variable
        for variable in VARIABLES.values()
        if variable.setting
        for name in (variable.name, variable.setting)
    }
    for key, value in values.items():
        variable = named.get(key)
        if variable and variable.name not in start.boot.env and not _fits(variable.kind, value):
            return _refuse(start, f"`{key}` in `{where}` is not {_KIND_NAMES[variable.kind]}", 3)
    unknown = [key for key in values if key not in named]
    if unknown:
        message = f"the server reads `{where}` as its settings; unknown setting `{printable(unknown[0])}`"
        start.found("D620", message, where=path)
    return start.did("the server reads its settings", where)


def _is_number(value: str) -> bool:
    try:
        int(value)
    except ValueError:
        return False
    return True


def _fits(kind: str, value: Any) -> bool:
    """Return whether the server accepts a value as a number (``int``) or a boolean (``bool``)."""
    if kind == "int":
        return isinstance(value, int | float) or (isinstance(value, str) and _is_number(value))
    if kind == "bool":
        return str(value).lower() in _BOOLEANS
    return True


def load_script(start: Start) -> int:
    """Load the entry script, and check ``init`` and ``run``, which the server calls."""
    boot = start.boot
    place = boot.script
    text = f"the entry script `{printable(place.display)}` is loaded"
    if why := _not_loadable(boot, place):
        message = f"the entry script `{printable(boot.entry)}` leads to `{printable(place.display)}`: {why}"
        meant = _script_meant(boot)
        start.found("D603", message, fix=f"-e AZUREML_ENTRY_SCRIPT={meant}" if meant else "")
        return start.failed(text, why, 3)
    if place.display == boot.profile.own_script:
        return start.did(text, "it is in the image")
    if not place.known or place.path is None:
        start.found(
            "D616",
            f"the entry script `{printable(place.display)}` is outside of the known files of the image",
        )
        return start.did(text, "its content is unknown")
    script = read_script(boot.files.read(place.path))
    if script.error:
        return _unparsed(start, place.path, script.error, text)
    if problem := next(_problems(start, place.path, script), None):
        return start.failed(text, problem, 3)
    return _check_imports(start, place.path, text)


def _unparsed(start: Start, path: str, error: str, text: str) -> int:
    """Judge an entry script that the Python of this process cannot parse.

    An older one of the image cannot either: syntax is added to Python, and hardly ever removed.

    :param error: the line, and the reason of the parser.
    """
    line, _, reason = error.partition(": ")
    here = "{}.{}".format(*sys.version_info)
    target = start.boot.python
    if target and tuple(map(int, target.split("."))) <= sys.version_info[:2]:
        problem = start.found("U301", f"`{printable(path)}:{line}` is not valid Python: {reason}", where=path)
        return start.failed(text, problem, 3)
    message = f"`{printable(path)}:{line}` is not valid in Python {here}, which runs bundler: {reason}"
    start.found("D625", message, where=path)
    return start.did(text, "its content cannot be parsed")


def _check_imports(start: Start, path: str, text: str) -> int:
    """Check the imports of the entry script, and end the step of loading it."""
    if start.installs:
        return start.did(text, "its imports of the installed packages are unknown")
    missing = missing_imports(start.boot, start.sys_path, path, start.base)
    failing = next((item for item in missing if item.is_known and item.is_certain), None)
    if failing is not None:
        reason = start.found(
            "D628",
            f"`{printable(failing.module)}` is neither in the packages nor in the image",
            where=failing.where,
        )
        return start.failed(text, reason, 3)
    if not missing:
        return start.did(text)
    names = listing([f"`{printable(item.module)}`" for item in missing], _MAX_NAMES)
    if any(item.is_known for item in missing):
        message = f"it imports {names} in a function, `if` or `try`, which the image does not have"
        start.found("D629", f"the entry script: {message}", where=missing[0].where)
        return start.did(text, message)
    root = f"{posixpath.normpath(start.boot.root)}/"
    places = [
        f"`{printable(item.module)}` (`{printable(item.where.removeprefix(root))}`)" for item in missing
    ]
    message = f"the packages do not have {listing(places, _MAX_NAMES)}: the image must"
    add = listing(
        dict.fromkeys(f"`{printable(requirement_of(item.module))}`" for item in missing), _MAX_NAMES
    )
    fix = f"add {add} to the requirements of the bundle, or pass the image with `--base`"
    if any(requirement_of(item.module).lower() not in most_downloaded() for item in missing):
        fix += "; a module of your own is a file beside the script"
    start.found("D629", message, where=missing[0].where, fix=fix)
    start.conditions.append(f"the image has {names}")
    return start.did(text, f"needs {names} from the image")


def _not_loadable(boot: BootEnv, place: ResolvedPath) -> str:
    """Return why the server cannot load the entry script; empty if it can."""
    if not boot.root.startswith("/"):
        return "the application root is not absolute"
    inside = boot.place(f"{boot.root}/{boot.entry}")
    if not place.known and boot.files.is_file(inside.display):
        return "it starts with `/`, so it is not relative to the application root"
    if not boot.is_file(place):
        return "it is a directory" if boot.is_dir(place) else "it does not exist"
    if not is_python_file(place.display):
        return "the server loads only `.py` files"
    return ""


def _script_meant(boot: BootEnv) -> str | None:
    """Return the script of the most similar name in the application root or in a directory of it, or None."""
    tops = boot.files.names(boot.root)
    below = (f"{top}/{name}" for top in tops for name in boot.files.names(f"{boot.root}/{top}"))
    scripts = {path.rpartition("/")[2].lower(): path for path in (*below, *tops) if is_python_file(path)}
    near = closest(boot.entry.rpartition("/")[2].lower(), scripts)
    return scripts[near] if near and scripts[near] != boot.entry else None


def _problems(start: Start, path: str, script: EntryScript) -> Iterator[str]:
    """Yield the problems that stop the server, in its order, and record each as a finding."""
    for line in script.relative:
        message = f"`{printable(path)}` has a relative import, but the server loads it outside of a package"
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
    """Return the finding for a module beside the entry script that the import does not reach.

    The directory of the script is on sys.path only if it is the application root, the source
    directory or on PYTHONPATH.
    """
    files = start.boot.files
    folder = posixpath.dirname(path)
    if not _has(files, folder, module) or module in sys.stdlib_module_names:
        return None
    first = next((entry for entry in start.sys_path if _has(files, entry, module)), None)
    if first is None:
        message = f"`{module}` beside `{printable(path)}` is not importable: its directory is not on sys.path"
        return "D605", message
    if first != folder and first in start.boot.libraries and first != posixpath.normpath(start.boot.root):
        # The import succeeds with another module than intended, so the start continues.
        start.found("M105", f"`{module}` of `{printable(first)}` hides the one beside `{printable(path)}`")
    return None


def _has(files: Files, folder: str, module: str) -> bool:
    package = f"{folder}/{module}"
    return files.is_file(f"{package}.py") or any(name.endswith(".py") for name in files.names(package))
