"""Facade: ``Environment``, the Python and the image that code is run in.

The attributes, constructors and files are those of Azure ML's SDK. Nothing is
asked of a service: an environment is an object and a folder.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping
from typing import Any, Self

from bundler.azureml.core._docker_section import DEFAULT_CPU_IMAGE, DockerImagePlatform, DockerSection
from bundler.azureml.core._files import FileName, as_path, display_name
from bundler.azureml.core._folder import read_saved_environment, write_folder
from bundler.azureml.core._pip_lines import read_lines
from bundler.azureml.core._sections import DatabricksSection, PythonSection, SparkSection
from bundler.azureml.core._settings import (
    Section,
    Setting,
    json_value,
    masked,
    nested,
    none_default,
    optional,
    text,
)
from bundler.azureml.core.conda_dependencies import CondaDependencies, no_single_python
from bundler.azureml.core.container_registry import ContainerRegistry
from bundler.errors import InputError, UsageError
from bundler.problems import ProblemError
from bundler.requirements.conda.version import allows
from bundler.target.target import DEFAULT_PYTHON

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "EXAMPLE_VARIABLES",
    "CondaDependencies",
    "ContainerRegistry",
    "DatabricksSection",
    "DockerImagePlatform",
    "DockerSection",
    "EnvironmentDefinition",
    "PythonSection",
    "SparkSection",
]

EXAMPLE_VARIABLES = {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"}
"""What the original sets in a new environment; whoever builds an image leaves it out."""

_VARIABLE = re.compile(r"[^=\0]+")


def _variables(value: object) -> dict[str, str]:
    """Return environment variables; None is none."""
    variables = {} if value is None else value
    if not isinstance(variables, dict):
        raise ProblemError("it takes a dictionary of texts")
    for name, content in variables.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ProblemError(f"`{name}` cannot be the name of a variable")
        if not isinstance(content, str) or "\0" in content:
            raise ProblemError(f"the value of `{name}` is no text", hint=f'write `"{content}"`')
    return variables


def _name(value: object) -> str:
    name = text(value)
    if not name.isprintable() or "/" in name:
        raise ProblemError("it holds a control character or a slash")
    return name


class EnvironmentDefinition(Section):
    """A Python environment and the image it lies in.

    :param name: what it is registered under.
    """

    name = Setting("name", _name, default=str)
    """What it is registered under."""
    version = Setting[str | None]("version", optional(text), default=none_default)
    """Which registration it is; None before."""
    environment_variables = Setting[dict[str, str]](
        "environmentVariables", _variables, default=lambda: dict(EXAMPLE_VARIABLES), absent=dict
    )
    """What is set where it runs."""
    python = Setting("python", nested(PythonSection), default=PythonSection, parse=PythonSection.from_plain)
    """Which Python it uses, and what is installed for it."""
    docker = Setting("docker", nested(DockerSection), default=DockerSection, parse=DockerSection.from_plain)
    """The image it is built on."""
    spark = Setting("spark", nested(SparkSection), default=SparkSection, parse=SparkSection.from_plain)
    """Kept for files that have it."""
    databricks = Setting(
        "databricks", nested(DatabricksSection), default=DatabricksSection, parse=DatabricksSection.from_plain
    )
    """Kept for files that have it."""
    r = Setting[Any]("r", json_value, default=none_default)
    """Kept for files that have it, as plain values."""
    inferencing_stack_version = Setting[str | None](
        "inferencingStackVersion", optional(text), default=none_default
    )
    """``latest``, or None for an image without the inference server."""
    asset_id = Setting[str | None]("assetId", optional(text), default=none_default)
    """What the workspace calls a registered one."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    # Made from files

    @classmethod
    def from_pip_requirements(cls, name: str, file_path: FileName, pip_version: str | None = None) -> Self:
        """Return an environment with what a requirements file asks for, on Python 3.7.

        The files it names with ``-r`` are taken in, so that it can be saved elsewhere.

        :param pip_version: of pip itself; any if None.
        :raises InputError: if the file, or one it names, cannot be read or understood.
        """
        lines = read_lines(as_path(file_path, "`file_path`"))
        made = cls(name)
        conda = CondaDependencies()
        conda.set_pip_requirements(lines)
        conda.add_conda_package(f"pip={pip_version}" if pip_version else "pip")
        made.python.conda_dependencies = conda
        return made

    @classmethod
    def from_conda_specification(cls, name: str, file_path: FileName) -> Self:
        """Return an environment with what a conda environment file asks for.

        :raises InputError: if it cannot be read, or its Python is no single version.
        """
        path = as_path(file_path, "`file_path`")
        conda = CondaDependencies(path)
        if conda.get_python_version() is None:
            entry = conda.python_entry()
            if entry is not None and not allows(entry[1], DEFAULT_PYTHON):
                raise no_single_python(entry[0])
            warnings.warn(
                f"{display_name(path)}: no version of Python is named, so it is {DEFAULT_PYTHON}",
                stacklevel=2,
            )
            conda.set_python_version(DEFAULT_PYTHON)
        made = cls(name)
        made.python.conda_dependencies = conda
        return made

    @classmethod
    def from_conda_specifications(cls, name: str, file_path: FileName) -> Self:
        """Do what `from_conda_specification` does, under the name that Azure ML's document gives it."""
        return cls.from_conda_specification(name, file_path)

    @classmethod
    def from_existing_conda_environment(cls, name: str, conda_environment_name: str) -> Self:
        """Refuse: what conda installed on this machine says nothing of another one.

        :raises UsageError: always, with the commands to use.
        """
        raise UsageError(
            f"`{name}` cannot be made from an environment installed here",
            hint=f"`conda env export --no-builds -n {conda_environment_name} > env.yml`, "
            "then `Environment.from_conda_specification`",
        )

    # Made on an image

    @classmethod
    def from_dockerfile(
        cls,
        name: str,
        dockerfile: Any,
        conda_specification: FileName | None = None,
        pip_requirements: FileName | None = None,
    ) -> Self:
        """Return an environment on a Dockerfile; without packages, its own Python is used.

        :param dockerfile: its path, its text or an open file.
        :raises InputError: if it is no Dockerfile, or a file of packages cannot be read.
        :raises UsageError: if there are two files of packages.
        """
        made = cls._with_packages(name, conda_specification, pip_requirements)
        made.docker.base_image = None
        made.docker.base_dockerfile = dockerfile
        return made

    @classmethod
    def from_docker_image(
        cls,
        name: str,
        image: str,
        container_registry: ContainerRegistry | None = None,
        conda_specification: FileName | None = None,
        pip_requirements: FileName | None = None,
    ) -> Self:
        """Return an environment on an image; without packages, its own Python is used.

        :raises InputError: if a file of packages cannot be read.
        :raises UsageError: if there are two files of packages.
        """
        made = cls._with_packages(name, conda_specification, pip_requirements)
        made.docker.base_image = image
        if container_registry is not None:
            made.docker.base_image_registry = container_registry
        return made

    @classmethod
    def from_docker_build_context(cls, name: str, docker_build_context: object) -> Self:
        """Refuse: a build context lies in Git or in a storage account.

        :raises UsageError: always.
        """
        raise UsageError(
            f"`{name}` cannot be made from a `{type(docker_build_context).__name__}`: it is on no disk here",
            hint="use `Environment.from_dockerfile` with its Dockerfile",
        )

    @classmethod
    def _with_packages(cls, name: str, conda: FileName | None, pip: FileName | None) -> Self:
        if conda and pip:
            raise UsageError("only one of `conda_specification` and `pip_requirements` can be given")
        if conda:
            return cls.from_conda_specification(name, conda)
        if pip:
            return cls.from_pip_requirements(name, pip)
        made = cls(name)
        made.python.user_managed_dependencies = True
        return made

    def clone(self, new_name: str) -> Self:
        """Return a copy under another name, not registered yet."""
        made = copy.deepcopy(self)
        made.name, made.version, made.asset_id = new_name, None, None
        return made

    # Files and definitions

    def save_to_directory(self, path: FileName, overwrite: bool = False) -> None:
        """Write the environment to a folder that the original can read too.

        :param overwrite: whether the folder may exist.
        :raises ExistsError: if it exists and may not; it is a ``FileExistsError`` too.
        :raises InputError: if the dependencies name no Python.
        :raises OutputError: if it cannot be written.
        """
        folder = as_path(path, "`path`")
        write_folder(folder, self.to_definition(), self.python.conda_dependencies, overwrite=overwrite)

    @classmethod
    def load_from_directory(cls, path: FileName) -> Self:
        """Return an environment that was saved, by the original too.

        :raises MissingError: if there is none; it is a ``FileNotFoundError`` too.
        :raises InputError: if it cannot be understood.
        """
        definition, conda = read_saved_environment(as_path(path, "`path`"))
        made = cls.from_definition(definition)
        if conda is not None:
            made.python.conda_dependencies = conda
        return made

    def to_definition(self) -> dict[str, Any]:
        """Return the environment as plain values: what is stored.

        A secret (a registry's password) is left out, with a warning.
        """
        plain = self.to_plain()
        public: dict[str, Any] = masked(plain, None)
        if public != plain:
            warnings.warn(
                f"the password in environment `{self.name}` is not written; set it again after loading",
                stacklevel=2,
            )
        return public

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """Return an environment from plain values.

        :raises InputError: naming the place of the first that does not fit.
        """
        if not definition.get("name"):
            raise InputError("the definition of an environment has no `name`")
        return cls.from_plain(definition, "")

    def __str__(self) -> str:
        """Show the name and the version."""
        return f"Environment(Name: {self.name},\nVersion: {self.version})"
