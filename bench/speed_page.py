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

Measured on W1 with `perf record` on the same machine.

- **Cold build.** It takes 17.3 s of processor time: 4.5 s compile in the target's Python, 2.4 s parse
  sources for imports, 2.4 s import every needed module in two modes, 8 s are the command itself (inflate,
  hash, compress, extract 9,000 files, read 227 shared objects). On two processors that is 8.7 s at least;
  about 1 s of start and end has one thread. Before: 21 s, of which second references for reproducible
  bytecode, 24 starts of the scanner, tar headers and validation of paths were 4 s.
- **Warm build.** Half of it starts Python and pip (0.35 s), a quarter evaluates the stored proof again
  (0.35 s with the manifest), a quarter copies and hashes.
- **Unpack.** It ends with syncfs(2), which takes 0.6 s and which `tar` omits; `tar + sync` has it.
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
