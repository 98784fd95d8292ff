"""Facade: what the stages say goes to Python's logging, as with any library.

Stages and notes are on the level INFO, warnings on WARNING, of the logger
``bundler``; a program that sets up no logging sees the warnings alone.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from bundler.reporter import SILENT, Task

__all__ = ["LogReporter"]


class LogReporter:
    """A reporter that also keeps what was said, for a build's log."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("bundler")
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(f"{line}\n" for line in self._lines)

    def stage(self, name: str, outcome: str) -> None:
        """Say in one line that a stage ended."""
        self._say(logging.INFO, f"{name:<9} {outcome}")

    def note(self, message: str) -> None:
        """Say something worth knowing."""
        self._say(logging.INFO, message)

    def warn(self, message: str) -> None:
        """Say something to act on."""
        self._say(logging.WARNING, message)

    def task(self, name: str, total: int | None, *, in_bytes: bool = False) -> AbstractContextManager[Task]:
        """Show nothing: a log has no bars."""
        return SILENT.task(name, total, in_bytes=in_bytes)

    def _say(self, level: int, line: str) -> None:
        self._lines.append(line)
        self._logger.log(level, "%s", line)
