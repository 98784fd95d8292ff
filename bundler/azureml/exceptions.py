"""Facade: the errors of the Environment SDK, under the names programs catch them by.

Every failure is one of `bundler.errors`, with its evidence and hint. Where the
original raises an exception of the language (a missing file, a folder that
exists, a misspelt attribute), ours is both, so that either ``except`` goes on
working.
"""

from __future__ import annotations

from bundler.errors import BundlerError, InputError, OutputError, UsageError

__all__ = ["AzureMLException", "ExistsError", "MissingError", "UnknownAttributeError", "UserErrorException"]

UserErrorException = BundlerError
AzureMLException = BundlerError


class MissingError(InputError, FileNotFoundError):
    """A file that was named is not there."""


class ExistsError(OutputError, FileExistsError):
    """The folder that was to be written exists."""


class UnknownAttributeError(UsageError, AttributeError):
    """An attribute that the object does not have was set: a misspelling would be lost without a word."""
