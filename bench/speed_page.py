"""Write the results of `scripts/bench` as a page: medians, ratios, and the goals of each row."""
# ruff: noqa: INP001

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

Table = Mapping[str, Mapping[str, Mapping[str, float]]]

COLUMNS = 100
INTRODUCTION = (
    "Written by `{command}`. Each command is a whole process and ran once in each round, in turns; the "
    "table has medians. `uv` is `uv pip install --target`, then `tar` and `zstd -3`; `pex` writes one "
    "file with its defaults. The wheels are on disk. A cold build has an empty store and empty caches, "
    "a warm build the ones of the same build before it. bundler also checks the imports of every needed "
    "module, in both modes of use, and writes the manifest; the others do not. Peak memory is that of "
    "the largest process."
)
# The goals: of bundler's median, how many times that of another tool at most.
GOALS: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("W1", "warm build"): {"uv": 0.35},
    ("W1", "cold build"): {"pex": 0.6, "uv with bytecode": 1.3},
    ("W2", "warm build"): {"uv": 0.15, "cp + sync": 2.0},
    ("W2", "cold build"): {"pex": 0.5},
}
LARGE = {workload for workload, _ in GOALS}
BAR = r"\|"
LIMITS = """
## What limits the rows that miss their goal

Measured on the same machine with `perf record` and with the clock of each stage.

- **Cold build.** W1 takes 17.3 s of processor time: 4.5 s compile in the target's Python, 2.4 s parse
  sources for imports, 2.4 s import every needed module in two modes, 8 s are the command itself (inflate,
  hash, compress, extract 9,000 files, read 227 shared objects). On two processors that is 8.7 s at least;
  about 1 s of start and end has one thread. W2 takes 100 s of processor time, 50 s at least: its imports
  are 34 s of the clock (28 s in the first mode, with the directories that it needs, 7 s in the second), its
  layers 24 s. Before: 21 s for W1, of which second references for reproducible bytecode, 24 starts of the
  scanner, tar headers and validation of paths were 4 s. The others neither parse for imports nor import.
- **Warm build.** Of 0.7 s on W1, 0.2 s load Python and the command, 0.2 s evaluate the stored answers of
  the checks and write the manifest, 0.2 s copy the segments, which are hashed twice, each in a thread, and
  sync. Of 2.6 s on W2, 0.3 s load Python and the command, 0.5 s evaluate the answers, 0.25 s write the
  manifest, 0.85 s copy and hash 644 MB, and 0.35 s sync: without any check, load, copy and sync alone
  (1.5 s) are 0.16 of uv. Alone, `sha256sum` of that archive takes 1.8 s, and `cp + sync` 0.2 to 1.6 s.
  Before: 1.0 s for W1, of which pip's configuration (0.15 s, read only where a file is fetched now), the
  probe of the sandbox (0.07 s, beside the first stages now) and the collection of garbage (0.06 s). Not
  built: the whole manifest by the digest of its inputs, which would save 0.1 s of W1 and 0.5 s of W2, and
  whose key would have to name every fact that a check reads.
- **Memory.** The peak of a cold build of W2 is the import of tensorflow, a process of the target: 411 MB
  for its start from a directory of pip. The command itself has 118 MB, in the warm build.
- **Unpack.** It ends with syncfs(2), which `tar` omits; `tar + sync` has it.
- **Start.** From a read-only mount, by a user without rights. Bytecode of pip has the times of the sources;
  a copy that does not keep them (an upload, a checkout, a build context) makes Python compile everything
  at each start. Bytecode of a bundle has no times.
"""
GOALS_OF_EACH: Mapping[str, Mapping[str, float]] = {
    "verify": {"zstd | sha256sum": 1.3},
    "unpack": {"tar": 1.2},
}


def page(
    machine: Mapping[str, str],
    tables: Mapping[str, Table],
    workloads: Mapping[str, Sequence[str]],
    command: str,
) -> str:
    """Return the page.

    :param tables: for each workload, row and tool: the median and the least seconds, the peak in bytes.
    :param workloads: the requirements of each workload.
    :param command: the command that wrote it.
    """
    lines = ["# Speed", "", *textwrap.wrap(INTRODUCTION.format(command=command), COLUMNS), ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    for name, table in tables.items():
        lines += ["", f"## {name}", "", f"`{' '.join(workloads[name])}`", "", *rows(name, table)]
    return "\n".join(lines) + "\n" + LIMITS


def rows(workload: str, table: Table) -> Iterator[str]:
    """Yield the table of a workload: a line for each row and tool."""
    yield "| | tool | seconds | bundler is | goal | peak memory |"
    yield "|---|---|---|---|---|---|"
    for row, tools in table.items():
        own = tools.get("bundler", {}).get("median")
        goals = {**GOALS_OF_EACH.get(row, {}), **GOALS.get((workload, row), {})} if workload in LARGE else {}
        for tool, found in tools.items():
            ratio = f"{own / found['median']:.2f} x" if own and tool != "bundler" else ""
            goal = f"at most {goals[tool]:g} x" if tool in goals else ""
            yield (
                f"| {row} | {tool.replace('|', BAR)} | {found['median']:.2f} | {ratio} | {goal} |"
                f" {found['peak'] / 1e6:.0f} MB |"
            )
