"""Ground: every expected failure, its exit code, its evidence and its hint.

The library raises, the command line renders. A message is one line of fact in
lower case without a final period; ``evidence`` holds what was wanted, what was
found and where; ``hint`` is one thing the reader can paste.

Exit codes: docs/troubleshooting.md. 0 is success, 1 an unexpected error, 6 is
kept for signatures, 130 and 143 are the signals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "BundlerError",
    "ClosureError",
    "InputError",
    "IntegrityError",
    "InterpreterError",
    "MalformedError",
    "NetworkError",
    "OutputError",
    "ResolutionError",
    "UsageError",
]


class BundlerError(Exception):
    """The base of every expected failure.

    :param message: one line of fact.
    :param evidence: further lines: wanted and found, the chain, file and line.
    :param hint: at most one suggestion, a command or a flag that can be pasted.
    :param facts: what a program may want besides, as plain values; for ``--json``.
    """

    exit_code: ClassVar[int] = 1
    slug: ClassVar[str] = "unexpected"

    def __init__(
        self,
        message: str,
        *,
        evidence: tuple[str, ...] = (),
        hint: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.evidence = evidence
        self.hint = hint
        self.facts = facts
        # For programs: a traceback shows what stands behind the message, too (PEP 678).
        for line in evidence:
            self.add_note(f"  {line}")
        if hint:
            self.add_note(f"hint: {hint}")


class UsageError(BundlerError):
    """The command line asks for something that makes no sense."""

    exit_code = 2
    slug = "usage"


class InputError(BundlerError):
    """A requirements file, a project file or a lockfile cannot be read or does not fit."""

    exit_code = 3
    slug = "input"


class ResolutionError(BundlerError):
    """No set of distributions meets the requirements, or one cannot be built for the target."""

    exit_code = 4
    slug = "resolution"


class IntegrityError(BundlerError):
    """Bytes do not have the digest that was promised for them."""

    exit_code = 5
    slug = "integrity"


class MalformedError(BundlerError):
    """A wheel, a layer or a bundle is unsafe or breaks its format, or two wheels own one path."""

    exit_code = 7
    slug = "malformed"


class InterpreterError(BundlerError):
    """The target interpreter is missing, broken, or not the one that was asked for."""

    exit_code = 8
    slug = "interpreter"


class NetworkError(BundlerError):
    """A file could not be fetched."""

    exit_code = 9
    slug = "network"


class ClosureError(BundlerError):
    """The bundle does not import on its own: the closure is not complete."""

    exit_code = 10
    slug = "closure"


class OutputError(BundlerError):
    """The store, a lock or an output could not be read or written."""

    exit_code = 11
    slug = "output"
