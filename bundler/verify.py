"""Stage 5, effect: import every module of a bundle on the target, without a network.

What runs is `_target/import_modules.py`, inside `_target/sandbox.py` where the
system permits a network namespace. `closure` decides what to import and what an
ending means; here is only what it takes to ask.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundler.closure import DistributionFacts, ImportOutcome, Network, classify, top_level_modules
from bundler.errors import ClosureError
from bundler.interpreter import script
from bundler.paths import shown
from bundler.process import Completed, run, tail
from bundler.reporter import SILENT, Reporter
from bundler.surroundings import TRUST_AND_PROXY, Surroundings

__all__ = ["import_all", "namespace_is_permitted"]

_PROBE_SECONDS = 30
_START_SECONDS = 120
"""What the runner may take besides the imports: to start, and to kill."""
_KILL_SECONDS = 5
_MAX_JOBS = 8

# A route to a test address (RFC 5737) shows that there is a network; a datagram
# socket that is connected sends nothing.
_HAS_NO_ROUTE = """
import socket, sys
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
except OSError:
    sys.exit(0)
sys.exit(1)
"""


def namespace_is_permitted(surroundings: Surroundings, scratch: Path) -> bool:
    """Return whether a child can be put into a network namespace here, and then has no network.

    :param scratch: an existing private folder, the child's HOME.
    """
    if not sys.platform.startswith("linux"):
        return False
    argv = _sandboxed([sys.executable, "-I", "-S", "-c", _HAS_NO_ROUTE], "namespace")
    ended = run(argv, env=_child_env(surroundings, scratch), cwd=scratch, timeout=_PROBE_SECONDS)
    return ended.returncode == 0


def import_all(  # noqa: PLR0913 - each is a fact of the run, and all after allowed_roots have a default
    python: Path,
    distributions: Sequence[DistributionFacts],
    *,
    surroundings: Surroundings,
    scratch: Path,
    allowed_roots: Sequence[Path],
    timeout: float = 60,
    jobs: int | None = None,
    network: Network | None = None,
    reporter: Reporter = SILENT,
) -> tuple[Network, tuple[ImportOutcome, ...]]:
    """Import every top-level module of every distribution, each in a process of its own.

    :param python: the Python of an environment that holds the distributions.
    :param scratch: an existing private folder; nothing is left in it.
    :param allowed_roots: the environment and the target's standard library;
        no entry of the child's ``sys.path`` may lie elsewhere.
    :param timeout: seconds that one import may take.
    :param jobs: how many imports run at a time; by default one a processor.
    :param network: how to keep the network away; by default a namespace where one is permitted.
    :return: how the network was kept away, and one outcome for each module of
        each distribution, sorted by both.
    :raises ClosureError: if the environment is not clean, or there is a module of which nothing is known.
    """
    owners = [(facts, module) for facts in distributions for module in top_level_modules(facts.files)]
    owners.sort(key=lambda owner: (owner[0].name, owner[1]))
    modules = sorted({module for _, module in owners})
    with tempfile.TemporaryDirectory(dir=scratch, prefix="imports-", ignore_cleanup_errors=True) as folder:
        home, work = Path(folder, "home"), Path(folder, "work")
        home.mkdir()
        work.mkdir()
        if network is None:
            network = "namespace" if namespace_is_permitted(surroundings, home) else "socket-block"
        request = {
            "modules": modules,
            "timeout": timeout,
            "jobs": jobs or min(os.cpu_count() or 1, _MAX_JOBS),
            "block_sockets": network == "socket-block",
            "allowed_roots": [str(root) for root in allowed_roots],
        }
        argv = _sandboxed([str(python), "-I", "-B", str(script("import_modules"))], network)
        ended = _run(argv, request, env=_child_env(surroundings, home), work=work, reporter=reporter)
        answers = _answers(ended, modules)
        roots = _spellings([work, home, *allowed_roots])
    outcomes = (classify(facts, module, _without(roots, answers[module])) for facts, module in owners)
    return network, tuple(outcomes)


def _sandboxed(argv: Sequence[str], network: Network) -> list[str]:
    options = ["--net"] if network == "namespace" else []
    return [sys.executable, "-I", str(script("sandbox")), *options, "--", *argv]


def _child_env(surroundings: Surroundings, home: Path) -> dict[str, str]:
    """Return an environment without proxies, which name hosts and hold passwords."""
    env = surroundings.child_env(home)
    return {name: value for name, value in env.items() if name not in TRUST_AND_PROXY}


def _run(
    argv: Sequence[str], request: Mapping[str, Any], *, env: Mapping[str, str], work: Path, reporter: Reporter
) -> Completed:
    """Run the runner; its own deadline is beyond those of all imports together."""
    rounds = math.ceil(len(request["modules"]) / request["jobs"])
    limit = _START_SECONDS + rounds * (request["timeout"] + _KILL_SECONDS)
    with reporter.task("imports", len(request["modules"])) as task:

        def count(line: bytes) -> None:
            if "module" in _parse(line):
                task.advance()

        stdin = json.dumps(request).encode("ascii")
        return run(argv, env=env, cwd=work, stdin=stdin, timeout=limit, on_stdout=count)


def _parse(line: bytes) -> dict[str, Any]:
    """Return the object in a line of the protocol; a line of anybody else is an empty one."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _answers(ended: Completed, modules: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what the runner said of each module.

    :raises ClosureError: if it did not speak of all, or said that ``sys.path`` is not clean.
    """
    lines = [_parse(line) for line in ended.stdout.splitlines()]
    foreign = dict.fromkeys(str(path) for line in lines for path in line.get("foreign_paths", ()))
    if foreign:
        raise ClosureError(
            "the environment of the import check reaches folders outside of the bundle",
            evidence=tuple(f"sys.path  {shown(path)}" for path in foreign),
        )
    answers = {str(line["module"]): line for line in lines if "module" in line}
    silent = [module for module in modules if module not in answers]
    if silent or ended.returncode != 0 or ended.timed_out:
        raise ClosureError(
            f"the import check {_end_of(ended)} before it was done",
            evidence=(
                f"wanted  the outcome of {len(modules)} modules",
                f"found   {len(modules) - len(silent)}"
                + (f"; nothing of `{shown(silent[0])}`" if silent else ""),
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
    cleaned = dict(raw)
    for key, value in raw.items():
        if isinstance(value, str):
            for root in roots:
                value = value.replace(root, "")  # noqa: PLW2901 - taken off one after the other
            cleaned[key] = value
    return cleaned
