"""Measure a matrix of twenty bundles in one process and on clusters of 1, 2 and 4 workers; simulate a fleet.

The bundles are four kinds of stacks of the wheels of W1, each with a module of its own. Every worker is a
process with an empty store; all share a directory of layers. A run is cold (no layer exists), warm (all
layers exist, no bundle), or unchanged (every bundle exists). The simulation gives the jobs of a night to
the first free worker, with the seconds of the measured jobs.
"""
# ruff: noqa: INP001, T201

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests")]

from speed import WORKLOADS, Bench, Workload, machine, remove  # noqa: E402
from support.wheels import make_wheel  # noqa: E402

COUNT = 20
WORKERS = (1, 2, 4)
KINDS = {
    "web": ("flask", "requests"),
    "data": ("numpy", "pandas"),
    "science": ("numpy", "pandas", "scikit-learn"),
    "model": ("numpy", "pandas", "scikit-learn", "flask", "requests"),
}
FLEET = 1000
SEED = 20261126
START_SECONDS = 60
LIMITS = """
## What limits it

The workers of these runs share two processors, which one build uses already: more workers on one machine
gain what the serial parts of a build leave (a quarter), and a second machine is worth more. No layer is
made twice. A warm run with several workers repeats checks: each machine runs the imports of the bundles
that it builds, and a bundle may go to another worker than before. An unchanged bundle costs a tenth of a
second on any number of workers, since the digests of finished bundles are shared.
"""


@dataclass
class Run:
    """One run of the matrix."""

    seconds: float
    made: int
    """The layers that exist after it in the shared directory; 0 without one."""
    shared: int
    """Bytes of the shared directory."""
    bundles: int
    """Bytes of all bundles."""


class Fleet:
    """The directory of the matrix, and the runs."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.folder = bench.work / "fleet"
        self.share = self.folder / "share"
        self.stores = self.folder / "stores"
        self.out = self.folder / "dist"

    def make(self) -> None:
        """Lock the bundles, once, from the wheels of W1."""
        workload = Workload(self.bench, "W1")
        if not workload.lock.exists():
            workload.make()
        pins = {pin.partition("==")[0]: pin for pin in WORKLOADS["W1"]}
        text = [
            "[defaults]",
            'format = "tar.zst"',
            f'python = "{self.bench.python}"',
            'target-glibc = "host"',
        ]
        for number in range(COUNT):
            kind = list(KINDS)[number % len(KINDS)]
            name = f"{kind}-{number:02}"
            folder = self.folder / name
            if not (folder / "pylock.toml").exists():
                folder.mkdir(parents=True, exist_ok=True)
                own = f"service{number:02}"
                make_wheel(self.folder / "wheels", own, "1.0", {f"{own}/__init__.py": f"NUMBER = {number}\n"})
                requirements = [f"{own}==1.0", *(pins[project] for project in KINDS[kind])]
                links = ("--no-index", "-f", workload.wheels, "-f", self.folder / "wheels")
                target = ("--python", self.bench.python, "--target-glibc", "host", "--store", workload.cold)
                lock = folder / "pylock.toml"
                self.bench.require(self.bench.bundler, "lock", *requirements, *target, *links, "-o", lock)
            text += ["", f"[bundle.{name}]", f'lock = "{name}/pylock.toml"']
        (self.folder / "bundles.toml").write_text("\n".join(text) + "\n", "utf-8")

    def runs(self, workers: int) -> Iterator[tuple[str, Run]]:
        """Yield the cold, warm and unchanged run; with 0 workers, of one process without a cluster."""
        remove(self.share, self.stores, self.out)
        self.share.mkdir(parents=True)
        with self.cluster(workers) if workers else ExitStack() as url:
            options = ["--scheduler", str(url), "--share", str(self.share)] if workers else []
            for row in ("cold", "warm", "unchanged"):
                if row != "unchanged":
                    remove(self.out)
                os.sync()
                start = time.perf_counter()
                ended = subprocess.run(
                    [self.bench.bundler, "matrix", "--json", *options],
                    cwd=self.folder,
                    env={**self.bench.env, "BUNDLER_STORE": str(self.stores / "command")},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                seconds = time.perf_counter() - start
                rows = json.loads(ended.stdout)["result"]["bundles"] if ended.stdout else []
                wanted = "unchanged" if row == "unchanged" else "built"
                if ended.returncode or {item["status"] for item in rows} != {wanted}:
                    raise SystemExit(f"the {row} run with {workers} workers failed:\n{ended.stderr[-3000:]}")
                yield (
                    row,
                    Run(
                        seconds=seconds,
                        made=len([*self.share.glob("refs/layer/*/*")]),
                        shared=size_of(self.share),
                        bundles=size_of(self.out),
                    ),
                )

    @contextmanager
    def cluster(self, workers: int) -> Iterator[str]:
        """Start a scheduler and workers, each with a store of its own, and return the scheduler's URL."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        with ExitStack() as stack:

            def start(name: str, *argv: str) -> None:
                env = {**self.bench.env, "BUNDLER_STORE": str(self.stores / name)}
                command = (sys.executable, "-m", "distributed.cli." + argv[0], *argv[1:])
                log = stack.enter_context((self.folder / f"{name}.log").open("wb"))
                child = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
                stack.callback(child.wait)
                stack.callback(child.terminate)

            local = ("--host", "127.0.0.1")
            start("scheduler", "dask_scheduler", *local, "--port", "0", "--scheduler-file", str(file))
            common = ("--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard")
            for number in range(workers):
                start(f"worker-{number}", "dask_worker", *local, *common)
            yield self.ready(file, workers)

    def ready(self, file: Path, workers: int) -> str:
        """Wait for the workers, and return the URL of the scheduler."""
        from distributed import Client  # type: ignore[import-not-found]  # noqa: PLC0415 - the extra `dask`

        deadline = time.monotonic() + START_SECONDS
        while not file.exists():
            if time.monotonic() > deadline:
                raise SystemExit("the scheduler of Dask does not start")
            time.sleep(0.1)
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=START_SECONDS)
            return str(client.scheduler.address)


def size_of(folder: Path) -> int:
    """Return the bytes of the files below a directory."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def simulate(workers: int, *, changed: float, seconds: Mapping[str, float]) -> float:
    """Return the minutes of one night: each bundle is built or found unchanged by the first free worker.

    :param changed: the part of the bundles whose lock has changed.
    :param seconds: of one job that is "cold" (layers and checks are made) and "unchanged".
    """
    draw = random.Random(SEED)  # noqa: S311 - the same night each time
    free = [0.0] * workers
    for _ in range(FLEET):
        job = "cold" if draw.random() < changed else "unchanged"
        # Jobs of a kind differ by the size of their stack: half to one and a half times the mean.
        heapq.heappush(free, heapq.heappop(free) + seconds[job] * draw.uniform(0.5, 1.5))
    return max(free) / 60


def page(results: Sequence[tuple[int, str, Run]]) -> str:
    """Return the page: the measured runs, and the simulated nights."""
    lines = ["# Fleet", ""]
    introduction = (
        f"Written by `scripts/bench --fleet`: {COUNT} bundles of four stacks of W1, each with a module of "
        "its own. A cold run makes every layer, a warm run copies layers that exist, an unchanged run finds "
        "that every bundle exists. Workers are processes of this machine, each with a store of its own, "
        "and share a directory of layers."
    )
    lines += [*textwrap.wrap(introduction, 100), ""]
    lines += [f"- {name}: {value}" for name, value in machine().items() if name != "peers"]
    lines += ["", "| workers | run | seconds | seconds for each bundle | layers made | shared |"]
    lines.append("|---|---|---|---|---|---|")
    for workers, row, run in results:
        name = str(workers) if workers else "no cluster"
        made = str(run.made) if run.made and row == "cold" else ""
        shared = f"{run.shared / 1e6:.0f} MB" if run.shared and row == "cold" else ""
        lines.append(
            f"| {name} | {row} | {run.seconds:.1f} | {run.seconds / COUNT:.2f} | {made} | {shared} |"
        )
    alone = {row: run for workers, row, run in results if not workers}
    seconds = {row: run.seconds / COUNT for row, run in alone.items()}
    size = alone["warm"].bundles / COUNT
    lines += ["", f"## {FLEET:,} bundles a night, simulated", ""]
    words = (
        "Machines like this one, one worker each, with the seconds for each bundle of the rows `no "
        "cluster`. A changed bundle is counted as cold, although most of its layers exist: its imports are "
        "checked again. `written` are the new bundles; a worker that lacks a layer fetches at most the same "
        "number of bytes, and each store keeps the layers, 1.1 GB for the stacks measured here."
    )
    lines += [*textwrap.wrap(words, 100), ""]
    lines += ["| changed | workers | minutes | written |", "|---|---|---|---|"]
    for changed in (0.05, 0.25, 1.0):
        for workers in (1, 4, 16):
            minutes = simulate(workers, changed=changed, seconds=seconds)
            written = f"{FLEET * changed * size / 1e9:.1f} GB"
            lines.append(f"| {changed:.0%} | {workers} | {minutes:.0f} | {written} |")
    return "\n".join(lines) + "\n" + LIMITS


def main() -> int:
    """Measure the runs, print them, and write the page."""
    parser = argparse.ArgumentParser(prog="bench --fleet", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("bench-work"), metavar="DIR")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the results as a page")
    options = parser.parse_args()
    fleet = Fleet(Bench(options.work.absolute()))
    fleet.make()
    results = []
    for workers in (0, *WORKERS):
        for row, run in fleet.runs(workers):
            results.append((workers, row, run))
            print(f"{workers} workers  {row:10} {run.seconds:7.1f} s", file=sys.stderr, flush=True)
    text = page(results)
    print(text)
    if options.page:
        options.page.write_text(text, "utf-8")
    shutil.rmtree(fleet.share, ignore_errors=True)
    shutil.rmtree(fleet.stores, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
