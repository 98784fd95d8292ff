"""Facade: the registry of a base image, and the credentials for it.

The password is only in memory: it is masked in every text and never written to a file.
"""

from __future__ import annotations

from typing import Any

from bundler.azureml._service_names import find_name
from bundler.azureml.core._settings import Section, json_value, optional, setting, string
from bundler.redaction import register_secret

__all__ = ["ContainerRegistry"]


def _secret(value: object) -> str:
    secret = string(value)
    register_secret(secret)
    return secret


class ContainerRegistry(Section):
    """A container registry and its credentials.

    The attributes are those of Azure ML's ``ContainerRegistry``; a misspelt one raises
    `UnknownAttributeError`, a value of another type `UsageError`.
    """

    address: str | None = setting("address", optional(string))
    """Its host name, such as ``myregistry.azurecr.io``; None is Docker Hub."""
    username: str | None = setting("username", optional(string))
    """The user name for the registry."""
    password: str | None = setting("password", optional(_secret))
    """The password of ``username``; it is never written, so set it again after loading."""
    registry_identity: Any = setting("registryIdentity", json_value)
    """A managed identity of Azure, any JSON value; stored, but not used."""


def __getattr__(name: str) -> Any:
    """Return a name of the original's module that needs the service."""
    return find_name(__name__, name)
