"""Facade: the exceptions of the SDK, under the names that programs catch.

Every failure is a `bundler.errors.BundlerError`, with evidence and a hint;
``UserErrorException`` and ``AzureMLException`` are that class. Where the original raises a
built-in exception (missing file, existing directory, misspelt attribute), the class here derives
from both, so that either ``except`` clause works.
"""

from __future__ import annotations

from bundler.errors import BundlerError, InputError, OutputError, UsageError

__all__ = ["AzureMLException", "ExistsError", "MissingError", "UnknownAttributeError", "UserErrorException"]

UserErrorException = BundlerError
AzureMLException = BundlerError


class MissingError(InputError, FileNotFoundError):
    """A file was not found; also a ``FileNotFoundError``."""


class ExistsError(OutputError, FileExistsError):
    """The directory to write already exists; also a ``FileExistsError``."""


class UnknownAttributeError(UsageError, AttributeError):
    """An unknown attribute was set, which the original SDK ignores silently; also an ``AttributeError``."""
