"""Facade: the sections of an environment other than its image: Python, Spark, Databricks."""

from __future__ import annotations

import warnings
from typing import Any

from bundler.azureml.core._files import FileName
from bundler.azureml.core._settings import (
    Section,
    boolean,
    json_value,
    optional,
    setting,
    string,
    strings,
    wrong_type,
)
from bundler.azureml.core.conda_dependencies import CondaDependencies
from bundler.problems import ProblemError

__all__ = ["DatabricksSection", "PythonSection", "SparkSection"]


def _dependencies(value: object) -> CondaDependencies | None:
    if value is not None and not isinstance(value, CondaDependencies):
        hint = f"write `CondaDependencies({value!r})`" if isinstance(value, str) else None
        raise ProblemError("expected a `CondaDependencies`", hint=hint)
    return value


def _dependencies_in_file(value: object, where: str) -> CondaDependencies | None:
    return None if value is None else CondaDependencies.from_plain(value, where)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise wrong_type("a list", value)
    listed: list[Any] = json_value(value)
    return listed


class PythonSection(Section):
    """The Python of an environment and the packages to install for it."""

    user_managed_dependencies: bool = setting("userManagedDependencies", boolean, default=False)
    """Whether the base image already has Python and all packages, so that nothing is installed."""
    interpreter_path: str = setting("interpreterPath", string, default="python")
    """The Python of the base image; only used with ``user_managed_dependencies``."""
    _conda_dependencies_file: str | None = setting("condaDependenciesFile", optional(string))
    _base_conda_environment: str | None = setting("baseCondaEnvironment", optional(string))
    conda_dependencies: CondaDependencies | None = setting(
        "condaDependencies",
        _dependencies,
        factory=CondaDependencies,
        parse=_dependencies_in_file,
    )
    """The packages to install; ignored with ``user_managed_dependencies``."""

    @property
    def conda_dependencies_file(self) -> str | None:
        """The conda environment file from which the dependencies were read; deprecated.

        Setting it reads the file into ``conda_dependencies``, with a ``DeprecationWarning``; None
        clears only the name.

        :raises InputError: if the file cannot be read or is invalid.
        """
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

    def to_plain(self) -> dict[str, Any]:
        """Return the section as JSON values; without dependencies, their key is left out."""
        plain = super().to_plain()
        if self.conda_dependencies is None:
            del plain["condaDependencies"]
        return plain


class SparkSection(Section):
    """Settings of Spark: stored and written again, but not used."""

    repositories: list[str] = setting("repositories", strings, factory=list)
    """URLs of Maven repositories."""
    packages: list[Any] = setting("packages", _list, factory=list)
    """JSON objects with ``group``, ``artifact`` and ``version``."""
    precache_packages: bool = setting("precachePackages", boolean, default=True)
    """Whether Azure ML caches the packages in the image."""


class DatabricksSection(Section):
    """Settings of Databricks: lists of JSON values, stored and written again, but not used."""

    maven_libraries: list[Any] = setting("mavenLibraries", _list, factory=list)
    """Maven packages."""
    pypi_libraries: list[Any] = setting("pypiLibraries", _list, factory=list)
    """Packages of PyPI."""
    rcran_libraries: list[Any] = setting("rcranLibraries", _list, factory=list)
    """Packages of CRAN."""
    jar_libraries: list[Any] = setting("jarLibraries", _list, factory=list)
    """JAR files."""
    egg_libraries: list[Any] = setting("eggLibraries", _list, factory=list)
    """Python eggs."""
