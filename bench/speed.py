"""Measure bundler beside pip, uv and pex: whole processes, in turns over several rounds.

The peers are installed into environments of their own, the wheels of a workload are downloaded once.
A round runs every command of every tool once; its preparation (an empty store, an empty cache, no
output) is not measured. The table has medians, the ratios of medians, and the peak memory of the
largest process of a command.
"""
# ruff: noqa: INP001, T201

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT)]

from speed_page import page  # noqa: E402

from bundler.system.environ import read_host_environment  # noqa: E402
from bundler.target.interpreter import find_interpreter  # noqa: E402

PEERS = ("uv==0.11.6", "pex==2.90.0")
PIP = "pip==24.0"  # the last for Python 3.7
TARGET = "3.7"
WORKLOADS = {
    "W1": ("numpy==1.21.6", "pandas==1.3.5", "scikit-learn==1.0.2", "flask==2.2.5", "requests==2.31.0"),
    "W2": (
        "tensorflow==2.11.0",
        "azureml-inference-server-http==0.8.4.2",
        "pandas==1.3.5",
        "scikit-learn==1.0.2",
    ),
    "small": ("flask==2.2.5", "requests==2.31.0"),
}
# What a program imports first, in the rows `start`.
IMPORTS = {
    "W1": "numpy, pandas, sklearn, flask, requests",
    "W2": "tensorflow, azureml_inference_server_http, pandas, sklearn",
    "small": "flask, requests",
}
CACHES = Path("/proc/sys/vm/drop_caches")
# Variables of an active environment do not reach the tools.
DROPPED = ("PYTHON", "CONDA", "VIRTUAL_ENV", "LD_", "BUNDLER_", "UV_", "PEX_")


@dataclass
class Case:
    """One command of one tool, and its measurements."""

    name: str
    """What is measured, as a row of the table: the same for each tool."""
    tool: str
    command: str
    """A line for sh."""
    prepare: Callable[[], None] = lambda: None
    """Runs before each measurement."""
    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    """The peak memory of the largest process, in bytes."""


class Workload:
    """The directories of a workload: wheels, lock, stores and outputs."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name
        self.folder = bench.work / name
        self.wheels = self.folder / "wheels"
        self.lock = self.folder / "pylock.toml"
        self.pins = self.folder / "pins.txt"
        self.out = self.folder / "out"
        self.built = self.folder / "built"
        self.warm = self.folder / "store-warm"
        self.cold = self.folder / "store-cold"
        self.direct = self.folder / "requirements.txt"

    def make(self) -> None:
        """Lock the requirements, download their wheels, and fill the warm stores and caches."""
        bench = self.bench
        self.folder.mkdir(parents=True, exist_ok=True)
        self.direct.write_text("".join(f"{line}\n" for line in WORKLOADS[self.name]), "utf-8")
        # The peers take the wheels for the glibc of this machine.
        target = ("--python", bench.python, "--target-glibc", "host")
        if not self.lock.exists():
            lock = self.folder / "index.toml"
            lock.unlink(missing_ok=True)
            bench.require(bench.bundler, "lock", "-r", self.direct, *target, "-o", lock)
            packages = tomllib.loads(lock.read_text("utf-8"))["packages"]
            pins = [f"{package['name']}=={package['version']}\n" for package in packages]
            self.pins.write_text("".join(pins), "utf-8")
            pip = (bench.venv("pip", bench.python, PIP), "-m", "pip")
            # bundler resolves with a pip of the target, from the same wheels.
            tools = (PIP, "setuptools<69", "wheel<0.43")
            bench.require(*pip, "wheel", "-q", "--no-deps", "-w", self.wheels, "-r", self.pins, *tools)
            offline = ("--no-index", "-f", self.wheels, "--store", self.cold)
            bench.require(bench.bundler, "lock", "-r", self.direct, *target, *offline, "-o", self.lock)
        remove(self.cold, self.out, self.built, *self.folder.glob("start-*"))
        bench.shell(self.build(self.built, self.warm))
        remove(self.out)
        bench.shell(self.install(self.folder / "uv-warm") + self.pinned)

    @property
    def archive(self) -> Path:
        """The bundle that `make` has built."""
        return next(self.built.glob("*.tar.zst"))

    @property
    def pinned(self) -> str:
        """The arguments for the distributions of the lock."""
        return f" --no-deps -r {self.pins}"

    def build(self, out: Path, store: Path) -> str:
        """Return the command of bundler that builds from the lock."""
        bench = self.bench
        return (
            f"{bench.bundler} build --python {bench.python} --target-glibc host --name app --format tar.zst"
            f" --lock {self.lock} -o {out} --store {store}"
        )

    def install(self, cache: Path) -> str:
        """Return the command of uv, without the distributions."""
        bench = self.bench
        return (
            f"{bench.uv} pip install -q --python {bench.python} --no-index -f {self.wheels}"
            f" --link-mode copy --cache-dir {cache} --target {self.out}/site"
        )

    def cases(self) -> list[Case]:
        """Return the commands, in the order in which they run in a round."""
        bench, out, pinned, archive = self.bench, self.out, self.pinned, self.archive
        pack = f" && tar -C {out} -c site | zstd -q -3 -T0 -o {out}/app.tar.zst"
        warm_uv, cold_uv, cold_pex = (self.folder / name for name in ("uv-warm", "uv-cold", "pex-cold"))
        uv = self.install(cold_uv)
        pex = (
            f"{bench.pex} --python {bench.python} --no-pypi -f {self.wheels} --pex-root {cold_pex}"
            f" -o {out}/app.pex"
        )
        resolve = (
            f"{bench.bundler} build --python {bench.python} --name app --format tar.zst -r {self.direct}"
            f" --target-glibc host --no-index -f {self.wheels} -o {out} --store {self.cold}"
        )
        tree = self.folder / "tree"

        def fresh(*paths: Path) -> Callable[[], None]:
            return lambda: remove(out, *paths)

        return [
            Case("warm build", "bundler", self.build(out, self.warm), fresh()),
            Case("warm build", "uv", self.install(warm_uv) + pinned + pack, fresh()),
            Case("warm build", "cp + sync", f"cp {archive} {out} && sync {out}", made(out)),
            Case("cold build", "bundler", self.build(out, self.cold), fresh(self.cold)),
            Case("cold build", "uv", uv + pinned + pack, fresh(cold_uv)),
            Case("cold build", "uv with bytecode", f"{uv} --compile-bytecode{pinned}{pack}", fresh(cold_uv)),
            Case("cold build", "pex", f"{pex} -r {self.pins}", made(out, cold_pex)),
            Case("cold build, resolved", "bundler", resolve, fresh(self.cold)),
            Case(
                "cold build, resolved",
                "uv with bytecode",
                f"{uv} --compile-bytecode -r {self.direct}{pack}",
                fresh(cold_uv),
            ),
            Case("cold build, resolved", "pex", f"{pex} -r {self.direct}", made(out, cold_pex)),
            Case("verify", "bundler", f"{bench.bundler} verify {archive}"),
            Case("verify", "zstd | sha256sum", f"zstd -dcq {archive} | sha256sum"),
            Case("unpack", "bundler", f"{bench.bundler} unpack {archive} {tree}", lambda: remove(tree)),
            Case("unpack", "tar", f"tar -C {tree} --zstd -xf {archive}", made(tree)),
            Case("unpack", "tar + sync", f"tar -C {tree} --zstd -xf {archive} && sync -f {tree}", made(tree)),
            Case("inspect", "bundler", f"{bench.bundler} inspect {archive}"),
            Case("--help", "bundler", f"{bench.bundler} --help"),
            *self.starts(),
        ]

    def starts(self) -> Iterator[Case]:
        """Yield the imports of a program from a read-only mount, by a user without rights.

        A directory of pip's has bytecode with the times of the sources. A copy with other times, as by an
        upload, a checkout or a build context, makes all of it invalid.
        """
        if os.geteuid():
            print("the rows `start` need root, for a mount: left out", file=sys.stderr)
            return
        by_pip, copied, unpacked = (self.folder / f"start-{name}" for name in ("pip", "copied", "bundler"))
        pip = (
            f"{self.bench.venv('pip', self.bench.python, PIP)} -m pip install -q --no-index -f {self.wheels}"
        )
        makers = {
            "bundler": (unpacked, f"{self.bench.bundler} unpack {self.archive} {unpacked}"),
            "pip": (by_pip, f"{pip} --no-index -f {self.wheels} --target {by_pip} -r {self.pins}"),
            "pip, copied": (copied, f"cp -r {by_pip} {copied}"),
        }
        user = "setpriv --reuid 65534 --regid 65534 --clear-groups"
        # The Python of the bench may be below a directory that only root may read.
        user += " --inh-caps -all,+dac_read_search --ambient-caps +dac_read_search"
        bundled = f"{unpacked}/lib/python{TARGET}/site-packages"

        def prepare(folder: Path, command: str, *, is_cold: bool) -> Callable[[], None]:
            def run() -> None:
                if not folder.exists():
                    self.bench.shell(command)
                if is_cold:
                    os.sync()
                    CACHES.write_text("3", "ascii")

            return run

        for name, is_cold in (("start, files not in memory", True), ("start", False)):
            for tool, (folder, command) in makers.items():
                path = bundled if tool == "bundler" else folder
                mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
                program = (
                    f"PYTHONPATH={path} exec {user} {self.bench.python} -c 'import {IMPORTS[self.name]}'"
                )
                line = f"unshare --mount sh -ec {shlex.quote(f'{mount}; {program}')}"
                yield Case(name, tool, line, prepare(folder, command, is_cold=is_cold))


class Bench:
    """The tools, each in its own environment, and the directory of the workloads."""

    def __init__(self, work: Path) -> None:
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        self.env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        self.python = str(find_interpreter(TARGET, read_host_environment(), work).python)
        tools = self.venv("tools", sys.executable, *PEERS).parent
        self.uv, self.pex = tools / "uv", tools / "pex"
        self.bundler = Path(sys.executable).with_name("bundler")

    def venv(self, name: str, python: str, *requires: str) -> Path:
        """Return the Python of an environment with these distributions, created once."""
        folder = self.work / f"venv-{name}"
        if not (folder / "done").exists():
            remove(folder)
            self.require(python, "-I", "-m", "venv", folder)
            self.require(folder / "bin/python", "-m", "pip", "install", "-q", *requires)
            (folder / "done").touch()
        return folder / "bin/python"

    def require(self, *argv: object) -> None:
        """Run a program that must succeed."""
        subprocess.run([str(part) for part in argv], env=self.env, check=True, stdout=sys.stderr)

    def shell(self, command: str) -> None:
        """Run a line of a case that must succeed."""
        self.require("sh", "-c", command)

    def measure(self, case: Case, log: Path) -> None:
        """Run a case once.

        :raises SystemExit: if its command fails, with the end of its output.
        """
        case.prepare()
        os.sync()
        with log.open("wb") as output:
            start = time.perf_counter()
            child = subprocess.Popen(  # wait4 below has the resources of this child alone
                ("/bin/sh", "-ec", case.command), env=self.env, cwd=self.work, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"`{case.command}` failed:\n{log.read_text('utf-8', 'replace')[-2000:]}")
        case.seconds.append(round(seconds, 3))
        case.peak = max(case.peak, usage.ru_maxrss * 1024)


def remove(*paths: Path) -> None:
    """Remove directories, and create nothing."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def made(folder: Path, *others: Path) -> Callable[[], None]:
    """Return a preparation that leaves this directory empty, and removes others."""

    def prepare() -> None:
        remove(folder, *others)
        folder.mkdir()

    return prepare


def machine() -> dict[str, str]:
    """Return the facts of this machine that the results depend on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": f"{os.cpu_count()} x {cpu}",
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, CPython {platform.python_version()}",
        "peers": ", ".join((*PEERS, PIP)),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "priority": "normal" if os.sched_getscheduler(0) == os.SCHED_OTHER else "real time (`chrt -r 1`)",
    }


def results(cases: Sequence[Case]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the medians in seconds and the peak memory in bytes, by row and tool."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for case in cases:
        table.setdefault(case.name, {})[case.tool] = {
            "median": round(statistics.median(case.seconds), 3),
            "least": min(case.seconds),
            "peak": case.peak,
        }
    return table


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    add = parser.add_argument
    add(
        "workloads",
        nargs="*",
        metavar="WORKLOAD",
        default=["W1"],
        help=f"{', '.join(WORKLOADS)}  [default: W1]",
    )
    add(
        "--work",
        type=Path,
        default=ROOT / "build/bench",
        metavar="DIR",
        help="keep the wheels and stores here",
    )
    add("--rounds", type=int, default=5, metavar="N", help="run each command N times")
    add("--only", action="append", metavar="ROW", help="measure this row only, as `warm build`")
    add("--tool", action="append", metavar="TOOL", help="measure this tool only, as `bundler`")
    add("--page", type=Path, metavar="FILE", help="write the results as a page")
    options = parser.parse_args()
    unknown = [name for name in options.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"unknown workload: {', '.join(unknown)}")
    return options


def main() -> int:
    """Measure the selected rows, print the results as JSON, and write the page."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = arguments()
    bench = Bench(options.work.absolute())
    facts = machine()
    tables: dict[str, Mapping[str, Mapping[str, Mapping[str, float]]]] = {}
    for name in options.workloads:
        workload = Workload(bench, name)
        workload.make()
        cases = [
            case
            for case in workload.cases()
            if (not options.only or case.name in options.only)
            and (not options.tool or case.tool in options.tool)
        ]
        for number in range(options.rounds):
            for case in cases:
                bench.measure(case, workload.folder / "log")
                print(
                    f"{name} {number + 1}/{options.rounds}  {case.name:22} {case.tool:18}"
                    f" {case.seconds[-1]:7.2f} s",
                    file=sys.stderr,
                    flush=True,
                )
        tables[name] = results(cases)
    print(json.dumps({"machine": facts, "rounds": options.rounds, "workloads": tables}, indent=1))
    if options.page:
        command = shlex.join(["scripts/bench", *options.workloads, "--rounds", str(options.rounds)])
        options.page.write_text(page(facts, tables, WORKLOADS, command), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
