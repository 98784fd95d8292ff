"""Facade: the names of ``azureml.core``; each module is imported at the first use of its name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bundler.azureml._service_names import add_modules, find_name
from bundler.data.azureml_names import modules_of_names

if TYPE_CHECKING:
    from bundler.azureml.core.conda_dependencies import CondaDependencies
    from bundler.azureml.core.container_registry import ContainerRegistry
    from bundler.azureml.core.environment import Environment
    from bundler.azureml.core.model import InferenceConfig, Model, ModelPackage
    from bundler.azureml.core.run import Run
    from bundler.azureml.core.webservice import Webservice
    from bundler.azureml.core.workspace import Workspace

    VERSION: str

__all__ = [
    "VERSION",
    "CondaDependencies",
    "ContainerRegistry",
    "Environment",
    "InferenceConfig",
    "Model",
    "ModelPackage",
    "Run",
    "Webservice",
    "Workspace",
]
__all__ += modules_of_names()["core"]  # noqa: PLE0605 - for `from azureml.core import *`

add_modules()

_HOMES = {
    "CondaDependencies": "conda_dependencies",
    "ContainerRegistry": "container_registry",
    "Environment": "environment",
    "InferenceConfig": "model",
    "Model": "model",
    "ModelPackage": "model",
    "Run": "run",
    "Webservice": "webservice",
    "Workspace": "workspace",
}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        return find_name(__name__, name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
