"""Facade: the methods of ``CondaDependencies`` for the packages of frameworks, as of azureml-core 1.55."""

from __future__ import annotations

from typing import Any

from bundler.errors import UsageError

__all__ = ["FrameworkPackages"]

_CORE_TYPES = ("cpu", "gpu")
_TENSORFLOW = "2.2.0"
_CNTK = "2.7"


class FrameworkPackages:
    """Add one package of a framework in place of the others whose name starts with the framework."""

    def add_tensorflow_conda_package(self, core_type: str = "cpu", version: str | None = None) -> None:
        """Add the conda package of TensorFlow.

        :param core_type: ``cpu`` or ``gpu``.
        :param version: the version; the default is 2.2.0, as in the original.
        :raises UsageError: if ``core_type`` is neither.
        """
        _add_conda(self, "tensorflow", core_type, version or _TENSORFLOW)

    def add_tensorflow_pip_package(self, core_type: str = "cpu", version: str | None = None) -> None:
        """Add the requirement of TensorFlow; see `add_tensorflow_conda_package`."""
        _add_pip(self, "tensorflow", core_type, version or _TENSORFLOW)

    def add_cntk_package(self, core_type: str = "cpu") -> None:
        """Add the requirement of CNTK 2.7; see `add_tensorflow_conda_package`."""
        _add_pip(self, "cntk", core_type, _CNTK)


def _add_conda(dependencies: Any, framework: str, core_type: str, version: str) -> None:
    name = _named(framework, core_type)
    for package in [package for package in dependencies.conda_packages if package.startswith(framework)]:
        dependencies.remove_conda_package(package)
    dependencies.add_conda_package(f"{name}={version}")


def _add_pip(dependencies: Any, framework: str, core_type: str, version: str) -> None:
    name = _named(framework, core_type)
    for package in [package for package in dependencies.pip_packages if package.startswith(framework)]:
        dependencies.remove_pip_package(package)
    dependencies.add_pip_package(f"{name}=={version}")


def _named(framework: str, core_type: str) -> str:
    if core_type.lower() not in _CORE_TYPES:
        raise UsageError(f"unknown core type `{core_type}`", evidence=("known   cpu, gpu",))
    return framework if core_type.lower() == "cpu" else f"{framework}-gpu"
