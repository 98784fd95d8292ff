"""Facade: how a base image's registry is reached.

The password lives in memory alone: no text shows it and no file gets it.
"""

from __future__ import annotations

from typing import Any

from bundler.azureml.core._settings import Section, Setting, json_value, none_default, optional, text
from bundler.redaction import register_secret

__all__ = ["ContainerRegistry"]


def _secret(value: object) -> str:
    secret = text(value)
    register_secret(secret)
    return secret


class ContainerRegistry(Section):
    """A registry, and who asks it."""

    address = Setting[str | None]("address", optional(text), default=none_default)
    """Its host name."""
    username = Setting[str | None]("username", optional(text), default=none_default)
    """Who asks."""
    password = Setting[str | None]("password", optional(_secret), default=none_default)
    """What proves it; never written."""
    registry_identity = Setting[Any]("registryIdentity", json_value, default=none_default)
    """A managed identity of Azure, kept as it is."""
