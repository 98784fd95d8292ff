"""Stage 5, effect: import the modules of a bundle on the target, in a sandbox.

The child runs `target/scripts/import_modules.py` inside `system/sandbox_child.py`, with the
strictest sandbox that the system permits. `import_results` classifies the endings.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundler.checks.import_results import ImportAnswer
from bundler.errors import ClosureError, MalformedError
from bundler.jsonio import convert
from bundler.paths import printable
from bundler.reporter import SILENT, Reporter
from bundler.system.environ import HostEnvironment
from bundler.system.process import Completed, run_process, tail
from bundler.system.sandbox import Places, Sandbox, child_env_without_proxies, program_places
from bundler.target.scripts import script

__all__ = ["SCRIPT", "ImportRequest", "StartupError", "import_modules"]


SCRIPT = "<script>"
"""The module name in the answer for an entry script."""

_START_SECONDS = 120
"""Seconds that the runner may take besides the imports: to start, and to kill."""
_KILL_SECONDS = 5
_MAX_JOBS = 8
_MEMORY = 8 << 30
"""Bytes of data that one import may allocate (RLIMIT_DATA)."""
_FILE_SIZE = 1 << 30
"""Bytes of one file that it may write (RLIMIT_FSIZE)."""


class StartupError(ClosureError):
    """The target's Python does not start with the bundle on PYTHONPATH."""


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """The modules to import, and the environment to import them in."""

    python: Path
    """The interpreter of a virtual environment."""
    modules: Sequence[str]
    allowed_roots: Sequence[Path]
    """The environment, the entries of PYTHONPATH, the target's standard library; every entry of the
    child's ``sys.path`` must be below one of them."""
    python_path: Sequence[Path] = ()
    """The entries of PYTHONPATH; without any, Python starts isolated (``-I``)."""
    script: Mapping[str, Any] | None = None
    """An entry script to run, as the docstring of ``target/scripts/import_modules.py`` defines it."""
    hidden: Sequence[Path] = ()
    """Files of this machine that are empty for the imports, if the sandbox has its own root directory."""
    timeout: float = 60
    """Seconds that one import may take."""
    jobs: int | None = None
    """How many imports run at a time; by default one per processor, at most eight."""


def import_modules(
    check: ImportRequest,
    *,
    sandbox: Sandbox,
    host: HostEnvironment,
    scratch: Path,
    reporter: Reporter = SILENT,
) -> dict[str, ImportAnswer]:
    """Import each module in a process of its own, and return the answers by module.

    Absolute paths in the answers are made relative to the bundle and the environment.

    :param scratch: an existing private directory; it is empty again afterwards.
    :raises StartupError: if Python ends at its start, with entries on PYTHONPATH.
    :raises ClosureError: if ``sys.path`` of the child has other entries, or an answer is missing.
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
        runner = script("import_modules")
        argv = sandbox.argv(
            [str(check.python), *flags, str(runner)],
            Places(visible=[*_visible(check), runner.parent], empty=[home, work], hidden=check.hidden),
        )
        ended = _run(argv, request, env=env, work=work, reporter=reporter)
        expected = modules if check.script is None else [*modules, SCRIPT]
        answers = _answers(ended, expected, mounted=bool(check.python_path))
        # The source directory keeps its name: paths of the user's code start at the application root.
        root = Path(check.script["cwd"]) if check.script else None
        known = [path for path in check.allowed_roots if root is None or root not in path.parents]
        roots = _spellings([work, home, *known])
    return {module: _without(roots, answer) for module, answer in answers.items()}


def _visible(check: ImportRequest) -> list[Path]:
    """Return the directories that the imports read; those of a script include its model."""
    named = map(Path, check.script["env"].values()) if check.script else ()
    return [
        *program_places(check.python),
        *check.allowed_roots,
        *check.python_path,
        *(path for path in named if path.is_absolute()),
    ]


def _run(
    argv: Sequence[str], request: Mapping[str, Any], *, env: Mapping[str, str], work: Path, reporter: Reporter
) -> Completed:
    """Run the import runner, with a deadline beyond those of all imports together."""
    count = len(request["modules"]) + (request["script"] is not None)
    limit = _START_SECONDS + math.ceil(count / request["jobs"]) * (request["timeout"] + _KILL_SECONDS)
    with reporter.task("verify", count) as task:

        def advance(line: bytes) -> None:
            if "module" in (answer := _parse(line)):
                task.name(str(answer["module"]))
                task.advance()

        stdin = json.dumps(request).encode("ascii")
        return run_process(argv, env=env, cwd=work, stdin=stdin, timeout=limit, on_stdout=advance)


def _parse(line: bytes) -> dict[str, Any]:
    """Return the JSON object in a line; empty for a line that a ``.pth`` file or the site printed."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _answers(ended: Completed, modules: Sequence[str], *, mounted: bool) -> dict[str, ImportAnswer]:
    """Return the answer of the runner for each module.

    :raises ClosureError: if one is missing, or the runner refused an entry of ``sys.path``.
    """
    lines = [_parse(line) for line in ended.stdout.splitlines()]
    foreign = dict.fromkeys(str(path) for line in lines for path in line.get("foreign_paths", ()))
    if foreign:
        raise ClosureError(
            "sys.path of the import check has entries outside of the bundle and its environment",
            evidence=tuple(f"found   {printable(path)}" for path in foreign),
        )
    answers = {}
    for line in lines:
        if "module" in line:
            with suppress(MalformedError):  # not a line of the runner; its own one follows, or is missing
                answer = convert(line, ImportAnswer, "the answer of the import check")
                answers[answer.module] = answer
    silent = [module for module in modules if module not in answers]
    if silent or ended.returncode != 0 or ended.timed_out:
        # The runner prints an empty line before its first import. Without it Python never came so far.
        cause = StartupError if mounted and not ended.stdout and not ended.timed_out else ClosureError
        raise cause(
            f"the import check {_end_of(ended)} before it was complete",
            evidence=(
                f"wanted  the outcome of {len(modules)} module{'' if len(modules) == 1 else 's'}",
                f"found   {len(modules) - len(silent)}"
                + (f"; none for `{printable(silent[0])}`" if silent else ""),
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
    """Return every prefix by which a path may be below one of ``roots``, the longest first.

    Symbolic links give a directory a second spelling. The longest goes first, since one root
    may contain another.
    """
    spelled = {f"{spelling}/" for root in roots for spelling in (root, root.resolve())} - {"//"}
    return sorted(spelled, key=lambda text: (-len(text), text))


def _without(roots: Sequence[str], answer: ImportAnswer) -> ImportAnswer:
    """Return an answer with the paths in its texts made relative."""

    def shorten(text: str) -> str:
        for root in roots:
            text = text.replace(root, "")
        return text

    return replace(
        answer,
        code=shorten(answer.code) if isinstance(answer.code, str) else answer.code,
        exception=shorten(answer.exception),
        message=shorten(answer.message),
        text=shorten(answer.text),
        missing=None if answer.missing is None else shorten(answer.missing),
        network=tuple(map(shorten, answer.network)),
        writes=tuple(map(shorten, answer.writes)),
        mapped=tuple(map(shorten, answer.mapped)),
        stderr=shorten(answer.stderr),
    )
