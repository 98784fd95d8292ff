"""The interface through which stages report progress, notes and warnings.

The library does not print. The command line passes a reporter that writes to
stderr; without one, the library uses `Silent`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["SILENT", "SILENT_TASK", "Reporter", "Silent", "Task"]


class Task(Protocol):
    """The progress of one operation."""

    def advance(self, amount: int = 1) -> None:
        """Add ``amount`` bytes or items to the progress; can be called from any thread."""

    def name(self, item: str) -> None:
        """Name the item that is in progress, such as a distribution; can be called from any thread."""


class Reporter(Protocol):
    """Receives the reports of the stages; all methods can be called from any thread."""

    def stage(self, name: str, outcome: str) -> None:
        """Report the result of a completed stage in one line."""

    def introduce(self, name: str, fact: str) -> None:
        """Report a fact about the run in one line; it may be shown with the next report only."""

    def note(self, message: str) -> None:
        """Report information that requires no action."""

    def warn(self, message: str) -> None:
        """Report a condition that the user should act on."""

    def detail(self, message: str) -> None:
        """Report a line that only an expert needs, such as the output of pip."""

    def task(self, name: str, total: int | None, *, in_bytes: bool = False) -> AbstractContextManager[Task]:
        """Show progress until the context ends.

        :param total: the number of units, or None if it is unknown.
        :param in_bytes: whether the units are bytes.
        """


class _SilentTask:
    def advance(self, amount: int = 1) -> None:
        """Ignore the progress."""

    def name(self, item: str) -> None:
        """Ignore the name."""


SILENT_TASK = _SilentTask()


class Silent:
    """A reporter that discards all reports."""

    def stage(self, name: str, outcome: str) -> None:
        """Discard the report."""

    def introduce(self, name: str, fact: str) -> None:
        """Discard the report."""

    def note(self, message: str) -> None:
        """Discard the report."""

    def warn(self, message: str) -> None:
        """Discard the report."""

    def detail(self, message: str) -> None:
        """Discard the report."""

    def task(self, name: str, total: int | None, *, in_bytes: bool = False) -> AbstractContextManager[Task]:  # noqa: ARG002
        """Return a task that ignores its progress."""
        return nullcontext(SILENT_TASK)


SILENT = Silent()
