"""Facade: the parts of an environment besides its image."""

from __future__ import annotations

import warnings
from typing import Any

from bundler.azureml.core._files import FileName
from bundler.azureml.core._settings import (
    Section,
    Setting,
    flag,
    json_value,
    none_default,
    optional,
    text,
    texts,
)
from bundler.azureml.core.conda_dependencies import CondaDependencies
from bundler.problems import ProblemError

__all__ = ["DatabricksSection", "PythonSection", "SparkSection"]


def _dependencies(value: object) -> CondaDependencies | None:
    if value is not None and not isinstance(value, CondaDependencies):
        hint = f"write `CondaDependencies({value!r})`" if isinstance(value, str) else None
        raise ProblemError("it takes a `CondaDependencies`", hint=hint)
    return value


def _dependencies_in_file(value: object, where: str) -> CondaDependencies | None:
    return None if value is None else CondaDependencies.from_plain(value, where)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ProblemError("it takes a list")
    listed: list[Any] = json_value(value)
    return listed


class PythonSection(Section):
    """Which Python an environment uses, and what is installed for it."""

    user_managed_dependencies = Setting("userManagedDependencies", flag, default=lambda: False)
    """Whether the base image has its Python already, and nothing is installed."""
    interpreter_path = Setting("interpreterPath", text, default=lambda: "python")
    """That Python; used only if the dependencies are the user's."""
    _conda_dependencies_file = Setting[str | None](
        "condaDependenciesFile", optional(text), default=none_default
    )
    _base_conda_environment = Setting[str | None](
        "baseCondaEnvironment", optional(text), default=none_default
    )
    conda_dependencies = Setting[CondaDependencies | None](
        "condaDependencies",
        _dependencies,
        default=CondaDependencies,
        absent=none_default,
        parse=_dependencies_in_file,
        hidden=True,
    )
    """What is installed."""

    @property
    def conda_dependencies_file(self) -> str | None:
        """The conda environment file the dependencies were read from; deprecated."""
        return self._conda_dependencies_file

    @conda_dependencies_file.setter
    def conda_dependencies_file(self, value: FileName | None) -> None:
        warnings.warn(
            "`conda_dependencies_file` is deprecated: use `Environment.from_conda_specification`",
            DeprecationWarning,
            stacklevel=3,
        )
        if value:
            self.conda_dependencies = CondaDependencies(value)
        self._conda_dependencies_file = str(value) if value else None


class SparkSection(Section):
    """Settings of Spark, kept for files that have them."""

    repositories = Setting[list[str]]("repositories", texts, default=list)
    """Addresses."""
    packages = Setting("packages", _list, default=list)
    """Each an object of ``group``, ``artifact`` and ``version``."""
    precache_packages = Setting("precachePackages", flag, default=lambda: True)
    """Kept, without effect."""


class DatabricksSection(Section):
    """Settings of Databricks, kept for files that have them."""

    maven_libraries = Setting("mavenLibraries", _list, default=list)
    """Each as the file has it, here and below."""
    pypi_libraries = Setting("pypiLibraries", _list, default=list)
    """From PyPI."""
    rcran_libraries = Setting("rcranLibraries", _list, default=list)
    """From CRAN."""
    jar_libraries = Setting("jarLibraries", _list, default=list)
    """For the JVM."""
    egg_libraries = Setting("eggLibraries", _list, default=list)
    """Eggs."""
