"""Ground: how a stage tells what it does, without knowing who listens.

The library never prints. The command line passes a reporter that writes to
stderr; a caller of the library that passes none gets `Silent`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["SILENT", "Reporter", "Silent", "Task"]


class Task(Protocol):
    """A running piece of work that is counted."""

    def advance(self, amount: int = 1) -> None:
        """Count ``amount`` more units (bytes or items) as done; may be called from any thread."""


class Reporter(Protocol):
    """What the stages say; every method may be called from any thread."""

    def stage(self, name: str, outcome: str) -> None:
        """Say in one line that stage ``name`` ended with ``outcome``."""

    def note(self, message: str) -> None:
        """Say something worth knowing that needs no action."""

    def warn(self, message: str) -> None:
        """Say something the user will want to act on."""

    def task(self, name: str, total: int | None, *, in_bytes: bool = False) -> AbstractContextManager[Task]:
        """Show a bar for ``name`` over ``total`` units until the context ends; None is unknown."""


class _SilentTask:
    def advance(self, amount: int = 1) -> None:
        """Count nothing."""


class Silent:
    """The reporter that says nothing."""

    def stage(self, name: str, outcome: str) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def warn(self, message: str) -> None:
        """Say nothing."""

    def task(self, name: str, total: int | None, *, in_bytes: bool = False) -> AbstractContextManager[Task]:  # noqa: ARG002
        """Show nothing."""
        return nullcontext(_SilentTask())


SILENT = Silent()
