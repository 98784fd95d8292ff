"""Facade: the names of ``azureml.core``; each module is imported at the first use of its name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bundler.azureml.core.conda_dependencies import CondaDependencies
    from bundler.azureml.core.container_registry import ContainerRegistry
    from bundler.azureml.core.environment import Environment
    from bundler.azureml.core.model import InferenceConfig, Model, ModelPackage
    from bundler.azureml.core.workspace import Workspace

__all__ = [
    "CondaDependencies",
    "ContainerRegistry",
    "Environment",
    "InferenceConfig",
    "Model",
    "ModelPackage",
    "Workspace",
]

_HOMES = {
    "CondaDependencies": "conda_dependencies",
    "ContainerRegistry": "container_registry",
    "Environment": "environment",
    "InferenceConfig": "model",
    "Model": "model",
    "ModelPackage": "model",
    "Workspace": "workspace",
}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
