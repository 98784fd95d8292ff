"""User output: results to stdout, progress and errors to stderr.

The one module that prints. Nothing here needs color to be understood.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, TextIO

from bundler.paths import printable
from bundler.redaction import redact
from bundler.system.environ import is_dumb_terminal, no_color

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bundler.bundle.document import FindingSection
    from bundler.errors import BundlerError
    from bundler.reporter import Task

__all__ = [
    "SCHEMA",
    "ConsoleReporter",
    "error_values",
    "finding_line",
    "output_file",
    "print_envelope",
    "print_error",
    "print_line",
    "print_talk",
    "print_text",
    "wrapped",
]

SCHEMA = "bundler.result/1"
"""The version of the ``--json`` envelope."""

_WIDTH = 8
_WIDEST = 100
"""Columns of a paragraph on a wide terminal."""
_ITEM = 40
"""Columns of the item beside a bar."""


def output_file() -> str:
    """Return the name of the file that stdout is redirected to; "" where that is not known."""
    with suppress(OSError, ValueError):
        return Path(f"/proc/self/fd/{sys.stdout.fileno()}").readlink().name
    return ""


class ConsoleReporter:
    """Writes the progress of the stages to stderr: bars on a terminal, plain lines elsewhere.

    :param quiet: whether to write warnings only.
    :param verbose: whether to write details too, such as the output of pip.
    :param interval: seconds between two lines of progress where stderr is not a terminal.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, interval: float = 10.0) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._interval = interval
        self._lock = Lock()
        self._held: list[str] = []
        self._progress: Progress | None = None
        self._running = 0
        self._started = time.monotonic()

    def stage(self, name: str, outcome: str) -> None:
        """Write one line for a stage that is complete."""
        if not self._quiet:
            self._write(f"{name:<{_WIDTH}}  {outcome}")

    def introduce(self, name: str, fact: str) -> None:
        """Hold one line back until the next report, so that the error of a mistake is the only line."""
        if self._verbose:
            self.stage(name, fact)
        elif not self._quiet:
            self._held.append(f"{name:<{_WIDTH}}  {fact}")

    def note(self, message: str) -> None:
        """Write a note."""
        if not self._quiet:
            self._write(f"{'note':<{_WIDTH}}  {message}")

    def warn(self, message: str) -> None:
        """Write a warning."""
        self._write(f"{'warning':<{_WIDTH}}  {message}")

    def detail(self, message: str) -> None:
        """Write a detail, with ``--verbose`` only."""
        if self._verbose:
            self._write(f"{'detail':<{_WIDTH}}  {message}")

    def finish(self) -> None:
        """Write the time since the start of the command."""
        self.stage("done", f"in {time.monotonic() - self._started:.1f} s")

    @contextmanager
    def task(self, name: str, total: int | None, *, in_bytes: bool = False) -> Iterator[Task]:
        """Show a bar while the context is open; a line at intervals where stderr is not a terminal."""
        if self._quiet or total == 0:
            yield _Count()
            return
        if not is_terminal(sys.stderr):
            count, ended = _Count(), Event()
            lines = Thread(target=self._lines, args=(name, total, in_bytes, count, ended), daemon=True)
            lines.start()
            try:
                yield count
            finally:
                ended.set()
                lines.join()
            return
        with self._lock:
            progress = self._progress = self._progress or _bars()
            self._running += 1
            if self._running == 1:
                progress.start()
        bar = progress.add_task(name, total=total, item="", unit="bytes" if in_bytes else "items")
        try:
            yield _Bar(progress, bar)
        finally:
            progress.remove_task(bar)
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    progress.stop()
                    self._progress = None

    def _lines(self, name: str, total: int | None, in_bytes: bool, count: _Count, ended: Event) -> None:
        """Write the state of a task at intervals, until it ends."""
        started = time.monotonic()
        while not ended.wait(self._interval):
            unit, seconds = "bytes" if in_bytes else "items", time.monotonic() - started
            done = _amount(count.done, unit) + (f" of {_amount(total, unit)}" if total else "")
            rate = f"{_amount(count.done / seconds, unit)}/s" if in_bytes else ""
            state = [count.item, done if total or count.done else "", rate, f"{seconds:.0f} s"]
            self._write(f"{name:<{_WIDTH}}  {', '.join(filter(None, state))}")

    def _write(self, line: str) -> None:
        with self._lock:
            held, self._held = self._held, []
            for text in (printable(redact(text)) for text in (*held, line)):
                if self._progress is not None:
                    self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
                else:
                    _print(text, sys.stderr)


class _Count:
    """The state of a task without a bar."""

    def __init__(self) -> None:
        self.done = 0
        self.item = ""
        self._lock = Lock()

    def advance(self, amount: int = 1) -> None:
        """Count the progress."""
        with self._lock:
            self.done += amount

    def name(self, item: str) -> None:
        """Remember the item in progress."""
        self.item = item


class _Bar:
    def __init__(self, progress: Progress, bar: TaskID) -> None:
        self._progress = progress
        self._bar = bar

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        self._progress.advance(self._bar, amount)

    def name(self, item: str) -> None:
        """Show the item beside the bar."""
        self._progress.update(self._bar, item=printable(redact(item))[:_ITEM])


def print_line(*fields: object) -> None:
    """Write one line of data, its fields separated by tabs."""
    _print("\t".join(printable(str(field)) for field in fields), sys.stdout)


def print_talk(line: str) -> None:
    """Write a line of a program that bundler runs to stderr."""
    _print(printable(redact(line)), sys.stderr)


def print_text(text: str) -> None:
    """Write a text to stdout, with exactly one newline at its end."""
    _print(text.removesuffix("\n"), sys.stdout)


def print_envelope(
    command: str, *, result: Mapping[str, Any] | None = None, error: BundlerError | None = None
) -> None:
    """Write the one JSON object of ``--json``: docs/format.md, "Results"."""
    envelope: dict[str, Any] = {"schema": SCHEMA, "command": command, "ok": error is None}
    if error is None:
        envelope["result"] = dict(result or {})
    else:
        envelope["error"] = error_values(error)
    _print(redact(json.dumps(envelope, ensure_ascii=False, indent=2, sort_keys=True)), sys.stdout)


def error_values(error: BundlerError) -> dict[str, Any]:
    """Return an error as the values of ``--json``."""
    values: dict[str, Any] = {
        "kind": error.slug,
        "exit_code": error.exit_code,
        "message": error.message,
        "evidence": list(error.evidence),
        "hint": error.hint,
    }
    return values if error.facts is None else {**values, "facts": dict(error.facts)}


def print_error(error: BundlerError) -> None:
    """Write an error to stderr: the fact, the evidence, the hint."""
    fact = printable(redact(error.message))
    lines = [printable(redact(f"  {line}")) for line in error.evidence]
    if error.hint:
        lines.append(f"{_styled('bundler: hint:', '36')} {printable(redact(error.hint))}")
    _print("\n".join([f"{_styled('bundler: error:', '1;31')} {fact}", *lines]), sys.stderr)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that moves its cursor, and so can show bars and colors."""
    return stream.isatty() and not is_dumb_terminal()


def _styled(text: str, style: str) -> str:
    """Return a text in a style of ECMA-48 if stderr shows colors (https://no-color.org)."""
    return f"\x1b[{style}m{text}\x1b[0m" if is_terminal(sys.stderr) and not no_color() else text


def _print(text: str, stream: TextIO) -> None:
    # Names of files and distributions may contain characters that the encoding of the terminal lacks.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _bars() -> Progress:
    from rich.console import Console  # noqa: PLC0415 - 110 ms that `--help` does not need
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    class Counted(TextColumn):
        """Completed and total, in megabytes where the unit is bytes."""

        def __init__(self) -> None:
            super().__init__("")

        def render(self, task: Any) -> Any:
            from rich.text import Text  # noqa: PLC0415

            total = "" if task.total is None else f"/{_amount(task.total, task.fields['unit'])}"
            return Text(_amount(task.completed, task.fields["unit"]) + total)

    class Rate(TextColumn):
        """The bytes of a second; empty for items."""

        def __init__(self) -> None:
            super().__init__("")

        def render(self, task: Any) -> Any:
            from rich.text import Text  # noqa: PLC0415

            is_known = task.fields["unit"] == "bytes" and task.speed
            return Text(f"{_amount(task.speed, 'bytes')}/s" if is_known else "")

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<8}"),
        BarColumn(),
        Counted(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[item]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )


def _amount(count: float, unit: str) -> str:
    return f"{count / 1e6:.1f} MB" if unit == "bytes" else f"{count:.0f}"


def wrapped(text: str, *, label: str = "") -> list[str]:
    """Return the lines of a text in Markdown, filled to the width of the terminal, at most 100 columns.

    :param label: the start of the first line, by whose length the others are indented.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += [""] if lines else []
        lines += textwrap.wrap(
            " ".join(paragraph.split()),
            width,
            initial_indent=label,
            subsequent_indent=" " * len(label),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def finding_line(finding: FindingSection) -> str:
    """Return one line for a finding of a manifest."""
    allowed = ", allowed" if finding.allowed else ""
    where = f"  [{finding.where}]" if finding.where else ""
    return f"{finding.severity + allowed:<8}  {finding.code}  {finding.message}{where}"
