"""Count the attacks of a test run, by area: those that were tried, and those that were refused.

    python3 scripts/figures.py --write PAGE RESULTS      write the page
    python3 scripts/figures.py --compare PAGE RESULTS    print the table, and the areas of which the page
                                                         counts others; exit with 1 if an attack succeeded

RESULTS is the report of pytest (``--junit-xml``). An attack is a test with the marker
``attack(area, count=1)``; tests/conftest.py writes both to the report. ``count`` is the number of attacks
that one test makes. A test may record ``mutants``, the number of damaged inputs that it tries.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

AREAS = {
    "command": "the command itself, in a poisoned environment",
    "sandbox": "imports, in the sandbox",
    "sdists": "build backends and metadata hooks",
    "store": "damage of the store",
    "parallel": "several at once, and interruptions",
    "contexts": "build contexts: Dockerfiles, secrets of the source directory",
    "secrets": "credentials",
    "network": "faults of the index and the network",
    "archives": "wheels, bundles and images",
    "input": "requirements, locks, `env.yml`, manifests",
}
"""The areas of the marker ``attack``, with their titles."""

INTRODUCTION = """\
# Figures

The attacks on bundler that the tests try, by area. [Security](../SECURITY.md) lists the promises,
[faults](faults.md) the bad inputs. An attack is a test with the marker `attack`; `scripts/figures`
runs them and writes this page, `scripts/figures --short` runs those that are not slow and compares.
An attack is *held* if its test passes: it was refused, or changed nothing.
"""


@dataclass
class Area:
    """The counts of one area."""

    attacks: int = 0
    skipped: int = 0
    held: int = 0
    mutants: int = 0
    succeeded: list[str] = field(default_factory=list)
    """The tests that failed."""
    files: set[str] = field(default_factory=set)

    @property
    def tried(self) -> int:
        """The attacks that this host permits."""
        return self.attacks - self.skipped


def read_results(text: str) -> dict[str, Area]:
    """Return the counts of a report of pytest."""
    areas = {name: Area() for name in AREAS}
    for case in ET.fromstring(text).iter("testcase"):  # noqa: S314 - written by pytest
        properties = {item.get("name"): item.get("value", "") for item in case.iter("property")}
        if "attack" not in properties:
            continue
        area, count = areas[properties["attack"]], int(properties["attacks"])
        area.attacks += count
        area.mutants += int(properties.get("mutants", 0))
        area.files.add(_file(case.get("classname", "")))
        if case.find("failure") is not None or case.find("error") is not None:
            area.succeeded.append(f"{case.get('classname')}::{case.get('name')}")
        elif case.find("skipped") is not None:
            area.skipped += count
        else:
            area.held += count
    return areas


def _file(classname: str) -> str:
    """Return the test file of a class name such as ``tests.store.test_store.TestX``."""
    return re.sub(r"^(tests(?:\.\w+)*\.test_\w+).*", r"\1", classname).replace(".", "/") + ".py"


def table(areas: dict[str, Area]) -> Iterator[str]:
    """Yield the lines of the table of all areas."""
    yield "| area | attacks | tried | held | damaged inputs | tests |"
    yield "|---|---|---|---|---|---|"
    for name, area in areas.items():
        files = " ".join(f"`{file.removeprefix('tests/')}`" for file in sorted(area.files))
        counts = (area.attacks, area.tried, area.held, area.mutants or "")
        yield f"| {AREAS[name]} | {' | '.join(map(str, counts))} | {files} |"
    yield f"| **all** | {' | '.join(str(number) for number in _totals(areas))} | |"


def _totals(areas: dict[str, Area]) -> tuple[int, int, int, int]:
    values = areas.values()
    return (
        sum(area.attacks for area in values),
        sum(area.tried for area in values),
        sum(area.held for area in values),
        sum(area.mutants for area in values),
    )


def page(areas: dict[str, Area], date: str) -> str:
    """Return docs/figures.md."""
    skipped = sum(area.skipped for area in areas.values())
    measured = f"Measured on {date}."
    if skipped:
        measured += f" {skipped} were not tried: slow ones, and ones that the host does not permit."
    succeeded = [test for area in areas.values() for test in area.succeeded]
    failures = ["", "Not held:", "", *(f"- `{test}`" for test in succeeded)] if succeeded else []
    return "\n".join([INTRODUCTION, measured, "", *table(areas), *failures, ""])


def stale(text: str, areas: dict[str, Area]) -> list[str]:
    """Return a line for each area of which a page counts other attacks."""
    written = dict(re.findall(r"^\| ([^|]+) \| (\d+) \|", text, re.MULTILINE))
    lines = []
    for name, area in areas.items():
        found = written.get(AREAS[name], "none")
        if found != str(area.attacks):
            lines.append(f"{AREAS[name]}: wanted {area.attacks} attacks, found {found}")
    return lines


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    match arguments:
        case [("--write" | "--compare") as mode, path, results]:
            areas = read_results(Path(results).read_text("utf-8"))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    print("\n".join(line.rpartition("| `")[0] or line for line in table(areas)))
    succeeded = [test for area in areas.values() for test in area.succeeded]
    for test in succeeded:
        print(f"not held: {test}", file=sys.stderr)
    if mode == "--write":
        Path(path).write_text(page(areas, time.strftime("%Y-%m-%d", time.gmtime())), "utf-8")
        return int(bool(succeeded))
    differences = stale(Path(path).read_text("utf-8"), areas)
    if differences:
        print(f"{path} is stale: run `scripts/figures`", *differences, sep="\n  ", file=sys.stderr)
    # The Pythons of a host decide how many cases some tests have: another count is no failure.
    return int(bool(succeeded))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
