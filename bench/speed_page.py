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
  about 1 s of start and end has one thread. Before: 21 s, of which second references for reproducible
  bytecode, 24 starts of the scanner, tar headers and validation of paths were 4 s. The others neither parse
  for imports nor import.
- **Warm build.** Of 0.7 s on W1, 0.2 s load Python and the command, 0.22 s evaluate the stored answers of
  the checks and write the manifest, 0.2 s copy the segments, which are hashed twice, each in a thread, and
  sync. Before: 1.0 s, of which pip's configuration (0.15 s, read only where a file is fetched now), the
  probe of the sandbox (0.07 s, beside the first stages now) and the collection of garbage (0.06 s). W2
  copies 644 MB: `cp + sync` of the same file took 0.2 to 1.6 s.
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
