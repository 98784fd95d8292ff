"""The errors of bundler, each with its exit code, message, evidence and hint.

The library raises them and the command line prints them. A message is one line in
lower case, without a final period, that states the fact. ``evidence`` contains the
wanted and found values and their location, ``hint`` one command or change that helps.

Exit codes: docs/troubleshooting.md. 0 is success, 1 an unexpected error, 6 is
reserved for signatures, 130 and 143 are SIGINT and SIGTERM.
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
    """The base class of all expected errors.

    :param message: one line that states the fact.
    :param evidence: further lines: wanted and found, a chain of includes, file and line.
    :param hint: one suggestion, a command or option that can be pasted.
    :param facts: further values for programs, in the output of ``--json``.
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
        # As notes (PEP 678), so that a traceback of a program that uses the library shows them.
        for line in evidence:
            self.add_note(f"  {line}")
        if hint:
            self.add_note(f"hint: {hint}")


class UsageError(BundlerError):
    """The command line or its combination of options is invalid."""

    exit_code = 2
    slug = "usage"


class InputError(BundlerError):
    """A requirements file, project file, lockfile or setting is missing, malformed or inconsistent."""

    exit_code = 3
    slug = "input"


class ResolutionError(BundlerError):
    """No set of distributions satisfies the requirements, or one cannot be built for the target."""

    exit_code = 4
    slug = "resolution"


class IntegrityError(BundlerError):
    """A file does not have its expected digest or size."""

    exit_code = 5
    slug = "integrity"


class MalformedError(BundlerError):
    """A wheel, layer, bundle or image is malformed or unsafe, or two wheels install the same path."""

    exit_code = 7
    slug = "malformed"


class InterpreterError(BundlerError):
    """The target interpreter is missing, broken, or has another version than required."""

    exit_code = 8
    slug = "interpreter"


class NetworkError(BundlerError):
    """A file cannot be downloaded, or the index cannot be reached."""

    exit_code = 9
    slug = "network"


class ClosureError(BundlerError):
    """A check failed: a module of the bundle cannot be imported, or the bundle does not fit its base."""

    exit_code = 10
    slug = "closure"


class OutputError(BundlerError):
    """The store, a lock file or an output file cannot be read or written."""

    exit_code = 11
    slug = "output"
