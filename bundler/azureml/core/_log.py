"""Facade: progress and warnings go to Python's logging.

The logger is ``bundler``; stages and notes have the level INFO, warnings WARNING. A program
that does not configure logging sees only the warnings.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from bundler.reporter import SILENT, Task

__all__ = ["LogReporter"]


class LogReporter:
    """A reporter that logs each message and also stores it, for the log of a build."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("bundler")
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        """All messages so far, one per line."""
        return "".join(f"{line}\n" for line in self._lines)

    def stage(self, name: str, outcome: str) -> None:
        """Report in one line that a stage ended."""
        self._log(logging.INFO, f"{name:<9} {outcome}")

    def introduce(self, name: str, fact: str) -> None:
        """Log a fact about the run."""
        self.stage(name, fact)

    def note(self, message: str) -> None:
        """Report a note."""
        self._log(logging.INFO, message)

    def warn(self, message: str) -> None:
        """Report a warning."""
        self._log(logging.WARNING, message)

    def detail(self, message: str) -> None:
        """Report a line that only an expert needs."""
        self._log(logging.DEBUG, message)

    def task(self, name: str, total: int | None, *, in_bytes: bool = False) -> AbstractContextManager[Task]:
        """Return a task without output: a log has no progress bars."""
        return SILENT.task(name, total, in_bytes=in_bytes)

    def _log(self, level: int, line: str) -> None:
        self._lines.append(line)
        self._logger.log(level, "%s", line)
