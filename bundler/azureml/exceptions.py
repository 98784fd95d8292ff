"""Facade: the exceptions of the SDK, under the names that programs catch.

Every failure is a `bundler.errors.BundlerError`, with evidence and a hint; ``UserErrorException``
and every other name of the original that ends in ``Exception`` are that class. Where the original raises a
built-in exception (missing file, existing directory, misspelt attribute), the class here derives
from both, so that either ``except`` clause works.
"""

from __future__ import annotations

from bundler.errors import BundlerError, InputError, OutputError, UsageError

__all__ = [
    "AzureMLException",
    "ComputeTargetException",
    "ExistsError",
    "MissingError",
    "ModelNotFoundException",
    "ServiceAttributeError",
    "ServiceError",
    "UnknownAttributeError",
    "UserErrorException",
    "WebserviceException",
]

UserErrorException = BundlerError
AzureMLException = BundlerError
ComputeTargetException = BundlerError
ModelNotFoundException = BundlerError
WebserviceException = BundlerError


class MissingError(InputError, FileNotFoundError):
    """A file was not found; also a ``FileNotFoundError``."""


class ExistsError(OutputError, FileExistsError):
    """The directory to write already exists; also a ``FileExistsError``."""


class UnknownAttributeError(UsageError, AttributeError):
    """An unknown attribute was set, which the original SDK ignores silently; also an ``AttributeError``."""


class ServiceError(UsageError):
    """A name was used that needs the service of Azure ML.

    :param name: the name.
    :param does: the task of the service, a verb and its object.
    :param offline: the alternative without the service.
    """

    def __init__(self, name: str, does: str, offline: str) -> None:
        super().__init__(f"`{name}` needs the service of Azure ML, which {does}; offline: {offline}")


class ServiceAttributeError(ServiceError, AttributeError):
    """An attribute was read that only an object of the service has; also an ``AttributeError``."""


def __getattr__(name: str) -> type[BundlerError]:
    """Return the class for any other exception of the original."""
    is_exception = name.endswith("Exception") and not name.startswith("_")
    if is_exception or name == "DatasetTimestampMissingError":
        return BundlerError
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
