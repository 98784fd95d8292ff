"""Facade: the SDK of Azure ML's documents, working offline.

A program written for ``azureml.core`` runs with ``azureml.`` replaced by
``bundler.azureml.``; the names can be imported from here, too. Nothing here is Azure's
code: the behaviour was written anew from the documents and from what the
SDK was seen to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bundler.azureml import core

if TYPE_CHECKING:
    from bundler.azureml.core import (
        CondaDependencies,
        ContainerRegistry,
        Environment,
        InferenceConfig,
        Model,
        ModelPackage,
        Workspace,
    )

__all__ = [
    "CondaDependencies",
    "ContainerRegistry",
    "Environment",
    "InferenceConfig",
    "Model",
    "ModelPackage",
    "Workspace",
]


def __getattr__(name: str) -> Any:
    """Return a public name of `bundler.azureml.core` (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(core, name)


def __dir__() -> list[str]:
    return sorted(__all__)
