"""Measure how a build grows: with the number of wheels, and with the files of one wheel.

The wheels are made here, with a module and a function each, and locked by their digests. A cold build
has an empty store, a warm build the one of the cold build. The table has seconds, seconds for each wheel
or file, and the peak memory of the largest process.
"""
# ruff: noqa: INP001, T201

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests")]

from speed import Bench, Case, machine  # noqa: E402
from support.wheels import make_wheel  # noqa: E402

MODULE = "import json\n\nVALUE = {number}\n\n\ndef value():\n    return json.dumps(VALUE)\n"
SERIES = {
    "wheels": {str(count): (count, 1) for count in (10, 100, 1000, 5000)},
    "files of one wheel": {str(count): (1, count) for count in (1000, 10_000, 100_000)},
}


def make_lock(folder: Path, wheels: int, files: int) -> Path:
    """Make wheels of as many modules each, and return their lock."""
    lock = folder / "pylock.toml"
    if lock.exists():
        return lock
    folder.mkdir(parents=True, exist_ok=True)
    text = ['lock-version = "1.0"', 'created-by = "bench"', ""]
    for number in range(wheels):
        name = f"growth{number:05}"
        modules = {
            f"{name}/part{at // 1000:03}/m{at:06}.py": MODULE.format(number=at) for at in range(files - 1)
        }
        wheel = make_wheel(
            folder / "wheels", name, "1.0", {**modules, f"{name}/__init__.py": MODULE.format(number=0)}
        )
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        text += ["[[packages]]", f'name = "{name}"', 'version = "1.0"', "", "[[packages.wheels]]"]
        text += [f'name = "{wheel.name}"', f'path = "wheels/{wheel.name}"', ""]
        text += ["[packages.wheels.hashes]", f'sha256 = "{digest}"', ""]
    lock.write_text("\n".join(text), "utf-8")
    return lock


def measured(bench: Bench, series: str, size: str) -> Iterator[tuple[str, Case]]:
    """Yield the cold and the warm build of one size."""
    wheels, files = SERIES[series][size]
    folder = bench.work / f"growth-{wheels}-{files}"
    lock, out, store = make_lock(folder, wheels, files), folder / "out", folder / "store"
    command = (
        f"{bench.bundler} build --python {bench.python} --name app --format tar.zst --lock {lock}"
        f" -o {out} --store {store}"
    )
    shutil.rmtree(store, ignore_errors=True)
    for row in ("cold", "warm"):
        case = Case(row, "bundler", command, lambda: shutil.rmtree(out, ignore_errors=True))
        bench.measure(case, folder / "log")
        yield row, case
    shutil.rmtree(store, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)


def main() -> int:
    """Measure the series up to a size, and write the page."""
    parser = argparse.ArgumentParser(prog="bench --growth", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("bench-work"), metavar="DIR")
    parser.add_argument("--most", type=int, default=100_000, help="leave out larger sizes")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the results as a page")
    options = parser.parse_args()
    bench = Bench(options.work.absolute())
    words = "Written by `scripts/bench --growth`: wheels made by the benchmark, each measured once."
    lines = ["# Growth", "", words, "", *(f"- {name}: {value}" for name, value in machine().items())]
    for series, sizes in SERIES.items():
        lines += ["", f"## {series.capitalize()}", "", "| number | build | seconds | ms each | peak memory |"]
        lines.append("|---|---|---|---|---|")
        for size in sizes:
            if int(size) > options.most:
                continue
            for row, case in measured(bench, series, size):
                seconds = case.seconds[0]
                each = f"{1000 * seconds / int(size):.2f}"
                lines.append(f"| {size} | {row} | {seconds:.2f} | {each} | {case.peak / 1e6:.0f} MB |")
                print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if options.page:
        options.page.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
