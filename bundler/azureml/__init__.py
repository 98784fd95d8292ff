"""Facade: the SDK of Azure ML's documentation, offline.

A program for ``azureml.core`` runs after ``azureml.`` is replaced by ``bundler.azureml.``; the
names can also be imported from this package. No code of Azure's SDK is used: the behavior is
written from its documentation and from observation of azureml-core 1.55.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bundler.azureml import core

if TYPE_CHECKING:
    from bundler.azureml.core import (
        VERSION,
        CondaDependencies,
        ContainerRegistry,
        Environment,
        InferenceConfig,
        Model,
        ModelPackage,
        Webservice,
        Workspace,
    )

__all__ = [
    "VERSION",
    "CondaDependencies",
    "ContainerRegistry",
    "Environment",
    "InferenceConfig",
    "Model",
    "ModelPackage",
    "Webservice",
    "Workspace",
]


def __getattr__(name: str) -> Any:
    """Return a public name of `bundler.azureml.core` (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(core, name)


def __dir__() -> list[str]:
    return sorted(__all__)
