"""Stage 5, effect: import the modules of a bundle on the target, in a sandbox.

What runs is `target/scripts/import_modules.py`, inside `checks/sandbox_child.py` with as
much of a sandbox as the system permits. `import_results` decides what an ending means;
here is only what it takes to ask.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundler.checks.sandbox import Sandbox, child_env_without_proxies
from bundler.errors import ClosureError
from bundler.paths import printable
from bundler.reporter import SILENT, Reporter
from bundler.system.environ import HostEnvironment
from bundler.system.process import Completed, run_process, tail
from bundler.target.scripts import script

__all__ = ["SCRIPT", "ImportRequest", "StartupError", "import_modules"]


SCRIPT = "<script>"
"""The module name under which the entry script is answered."""

_START_SECONDS = 120
"""What the runner may take besides the imports: to start, and to kill."""
_KILL_SECONDS = 5
_MAX_JOBS = 8
_MEMORY = 8 << 30
_FILE_SIZE = 1 << 30


class StartupError(ClosureError):
    """The target's Python does not even start with the bundle on PYTHONPATH."""


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What to import, and where."""

    python: Path
    """The Python of an environment."""
    modules: Sequence[str]
    allowed_roots: Sequence[Path]
    """The environment, what is on PYTHONPATH, the target's standard library; no entry of the child's
    ``sys.path`` may lie elsewhere."""
    python_path: Sequence[Path] = ()
    """What PYTHONPATH holds; with none the Python is started isolated."""
    script: Mapping[str, Any] | None = None
    """An entry script: docs of ``target/scripts/import_modules.py``."""
    timeout: float = 60
    """Seconds that one import may take."""
    jobs: int | None = None
    """How many imports run at a time; by default one a processor."""


def import_modules(
    check: ImportRequest,
    *,
    sandbox: Sandbox,
    host: HostEnvironment,
    scratch: Path,
    reporter: Reporter = SILENT,
) -> dict[str, dict[str, Any]]:
    """Import each module in a process of its own, and return how each ended, by module.

    :param scratch: an existing private folder; nothing is left in it.
    :raises StartError: if the Python dies at its start, with a PYTHONPATH.
    :raises ClosureError: if the environment is not clean, or there is a module of which nothing is known.
    """
    modules = sorted(set(check.modules))
    with tempfile.TemporaryDirectory(dir=scratch, prefix="imports-", ignore_cleanup_errors=True) as folder:
        home, work = Path(folder, "home"), Path(folder, "work")
        home.mkdir()
        work.mkdir()
        request = {
            "modules": modules,
            "timeout": check.timeout,
            "jobs": check.jobs or min(os.cpu_count() or 1, _MAX_JOBS),
            "block_sockets": sandbox.network == "socket-block",
            "allowed_roots": [str(root) for root in check.allowed_roots],
            "own_roots": [folder],
            "memory": _MEMORY,
            "file_size": _FILE_SIZE,
            "script": check.script,
        }
        env = child_env_without_proxies(host, home)
        if check.python_path:
            env["PYTHONPATH"] = os.pathsep.join(map(str, check.python_path))
        flags = ["-s", "-B"] if check.python_path else ["-I", "-B"]
        argv = sandbox.argv([str(check.python), *flags, str(script("import_modules"))], Path(folder))
        ended = _run(argv, request, env=env, work=work, reporter=reporter)
        answers = _answers(
            ended, modules + [SCRIPT] * (check.script is not None), mounted=bool(check.python_path)
        )
        roots = _spellings([work, home, *check.allowed_roots])
    return {module: _without(roots, answer) for module, answer in answers.items()}


def _run(
    argv: Sequence[str], request: Mapping[str, Any], *, env: Mapping[str, str], work: Path, reporter: Reporter
) -> Completed:
    """Run the runner; its own deadline is beyond those of all imports together."""
    count = len(request["modules"]) + (request["script"] is not None)
    limit = _START_SECONDS + math.ceil(count / request["jobs"]) * (request["timeout"] + _KILL_SECONDS)
    with reporter.task("imports", count) as task:

        def advance(line: bytes) -> None:
            if "module" in _parse(line):
                task.advance()

        stdin = json.dumps(request).encode("ascii")
        return run_process(argv, env=env, cwd=work, stdin=stdin, timeout=limit, on_stdout=advance)


def _parse(line: bytes) -> dict[str, Any]:
    """Return the object in a line of the protocol; a line of anybody else is an empty one."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _answers(ended: Completed, modules: Sequence[str], *, mounted: bool) -> dict[str, dict[str, Any]]:
    """Return what the runner said of each module.

    :raises ClosureError: if it did not speak of all, or said that ``sys.path`` is not clean.
    """
    lines = [_parse(line) for line in ended.stdout.splitlines()]
    foreign = dict.fromkeys(str(path) for line in lines for path in line.get("foreign_paths", ()))
    if foreign:
        raise ClosureError(
            "the environment of the import check reaches folders outside of the bundle",
            evidence=tuple(f"sys.path  {printable(path)}" for path in foreign),
        )
    answers = {str(line["module"]): line for line in lines if "module" in line}
    silent = [module for module in modules if module not in answers]
    if silent or ended.returncode != 0 or ended.timed_out:
        # Before it imports anything the runner says an empty line.
        cause = StartupError if mounted and not ended.stdout and not ended.timed_out else ClosureError
        raise cause(
            f"the import check {_end_of(ended)} before it was done",
            evidence=(
                f"wanted  the outcome of {len(modules)} modules",
                f"found   {len(modules) - len(silent)}"
                + (f"; nothing of `{printable(silent[0])}`" if silent else ""),
                *tail(ended.stderr),
            ),
        )
    return answers


def _end_of(ended: Completed) -> str:
    if ended.timed_out:
        return "ran out of time"
    if ended.returncode < 0:
        return f"was ended by signal {-ended.returncode}"
    return f"ended with exit code {ended.returncode}"


def _spellings(roots: Sequence[Path]) -> list[str]:
    """Return every way a path may start with one of ``roots``, the longest first."""
    spelled = {f"{spelling}/" for root in roots for spelling in (root, root.resolve())} - {"//"}
    return sorted(spelled, key=lambda text: (-len(text), text))


def _without(roots: Sequence[str], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of the protocol with the paths in it made relative."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, list):
            return [cleaned(item) for item in value]
        if isinstance(value, str):
            for root in roots:
                value = value.replace(root, "")
        return value

    return {key: cleaned(value) for key, value in raw.items()}
