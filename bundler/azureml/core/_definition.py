"""Facade: the definition of an ``Environment``: the Python and the image in which code runs.

The attributes, constructors and files are those of Azure ML's SDK. No service is contacted: an
environment is an object that can be saved to a directory.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any, Self

from bundler.azureml.core._arguments import no_single_python
from bundler.azureml.core._docker_section import (
    DEFAULT_CPU_IMAGE,
    DEFAULT_GPU_IMAGE,
    DockerBuildContext,
    DockerImagePlatform,
    DockerSection,
)
from bundler.azureml.core._files import FileName, as_path, display_name
from bundler.azureml.core._folder import read_saved_environment, write_folder
from bundler.azureml.core._pip_lines import read_lines
from bundler.azureml.core._sections import DatabricksSection, PythonSection, SparkSection
from bundler.azureml.core._settings import (
    Section,
    json_value,
    masked,
    nested,
    optional,
    setting,
    string,
    wrong_type,
)
from bundler.azureml.core.conda_dependencies import CondaDependencies
from bundler.azureml.core.container_registry import ContainerRegistry
from bundler.errors import InputError, UsageError
from bundler.problems import ProblemError, check_variables
from bundler.requirements.conda.version import allows
from bundler.target.target import DEFAULT_PYTHON

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "DEFAULT_GPU_IMAGE",
    "EXAMPLE_VARIABLES",
    "CondaDependencies",
    "ContainerRegistry",
    "DatabricksSection",
    "DockerBuildContext",
    "DockerImagePlatform",
    "DockerSection",
    "EnvironmentDefinition",
    "PythonSection",
    "SparkSection",
]

EXAMPLE_VARIABLES = {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"}
"""The variables of a new environment in the original; images are built without them."""


def _variables(value: object) -> dict[str, str]:
    """Return environment variables; None sets none."""
    variables = {} if value is None else value
    if not isinstance(variables, dict):
        raise wrong_type("a dictionary of strings", value)
    for name, content in variables.items():
        if not isinstance(name, str):
            raise ProblemError(f"`{name}` is not a valid name of an environment variable")
        if not isinstance(content, str):
            raise ProblemError(f"the value of `{name}` is not a string", hint=f'write `"{content}"`')
    try:
        check_variables(variables)
    except InputError as error:
        raise ProblemError(error.message, details=error.evidence) from error
    return variables


def _name(value: object) -> str:
    name = string(value)
    if not name.isprintable() or "/" in name:
        raise ProblemError("it has a control character or a slash")
    return name


class EnvironmentDefinition(Section):
    """The definition of an environment: its Python, its packages and its image.

    :param name: the name under which it is registered.
    :param ignored: other parameters cause a ``UserWarning``; the original ignores them silently.
    :raises UsageError: if the name is empty, or has a slash or a control character.
    """

    name: str = setting("name", _name, default="")
    """The name under which it is registered."""
    version: str | None = setting("version", optional(string))
    """The registered version; None before the registration."""
    environment_variables: dict[str, str] = setting(
        "environmentVariables", _variables, factory=lambda: dict(EXAMPLE_VARIABLES), default_in_file=False
    )
    """The environment variables that the image sets; None sets none."""
    python: PythonSection = nested("python", PythonSection)
    """The Python and the packages to install."""
    docker: DockerSection = nested("docker", DockerSection)
    """The base of the image."""
    spark: SparkSection = nested("spark", SparkSection)
    """Settings of Spark; stored, but not used."""
    databricks: DatabricksSection = nested("databricks", DatabricksSection)
    """Settings of Databricks; stored, but not used."""
    r: Any = setting("r", json_value)
    """Settings of R, any JSON value; stored, but not used."""
    inferencing_stack_version: str | None = setting("inferencingStackVersion", optional(string))
    """``latest``, or None for an image without the inference server."""
    asset_id: str | None = setting("assetId", optional(string))
    """The identifier of a registered environment in its workspace."""

    def __init__(self, name: str, **ignored: Any) -> None:
        super().__init__()
        self.name = name
        for parameter in ignored:
            warnings.warn(f"`Environment` ignores the parameter `{parameter}`", stacklevel=2)

    # From files of packages

    @classmethod
    def from_pip_requirements(cls, name: str, file_path: FileName, pip_version: str | None = None) -> Self:
        """Return an environment with the requirements of a file, on Python 3.7.

        The files that it includes (``-r``) are copied into the environment, so that it can be
        saved elsewhere.

        :param name: the name of the environment.
        :param file_path: the requirements file.
        :param pip_version: the version of pip to install; None is any version.
        :raises MissingError: if the file, or one that it includes, does not exist.
        :raises InputError: if a file cannot be read, or a line is not valid for pip.
        """
        lines = read_lines(as_path(file_path, "`file_path`"))
        environment = cls(name)
        conda = CondaDependencies()
        conda.set_pip_requirements(lines)
        conda.add_conda_package(f"pip={pip_version}" if pip_version else "pip")
        environment.python.conda_dependencies = conda
        return environment

    @classmethod
    def from_conda_specification(cls, name: str, file_path: FileName) -> Self:
        """Return an environment with the packages of a conda environment file.

        Without a version of Python it gets 3.7, with a ``UserWarning``.

        :param name: the name of the environment; the file's own name is not used.
        :param file_path: the environment file (``env.yml``).
        :raises MissingError: if the file does not exist.
        :raises InputError: if the file cannot be read or is not a valid environment file, or its
            ``python`` selects no version and does not allow 3.7.
        """
        path = as_path(file_path, "`file_path`")
        conda = CondaDependencies(path)
        if conda.get_python_version() is None:
            entry = conda.python_entry()
            if entry is not None and not allows(entry[1], DEFAULT_PYTHON):
                raise no_single_python(entry[0])
            warnings.warn(
                f"{display_name(path)}: Python {DEFAULT_PYTHON} is used, since no version is selected",
                stacklevel=2,
            )
            conda.set_python_version(DEFAULT_PYTHON)
        environment = cls(name)
        environment.python.conda_dependencies = conda
        return environment

    @classmethod
    def from_conda_specifications(cls, name: str, file_path: FileName) -> Self:
        """Return the same as `from_conda_specification`; Azure ML's documentation uses this name, too."""
        return cls.from_conda_specification(name, file_path)

    @classmethod
    def from_existing_conda_environment(cls, name: str, conda_environment_name: str) -> Self:
        """Raise an error: the packages that conda installed here may not fit another machine.

        :raises UsageError: always; the hint has the commands that export the environment.
        """
        raise UsageError(
            f"`{name}` cannot be created from an installed conda environment",
            hint=f"`conda env export --no-builds -n {conda_environment_name} > env.yml`, "
            "then `Environment.from_conda_specification`",
        )

    # From images

    @classmethod
    def from_dockerfile(
        cls,
        name: str,
        dockerfile: Any,
        conda_specification: FileName | None = None,
        pip_requirements: FileName | None = None,
    ) -> Self:
        """Return an environment that is built on a Dockerfile.

        Without a file of packages, the packages are user-managed: the image has its own Python.

        :param name: the name of the environment.
        :param dockerfile: the path of the Dockerfile, its text or an open file.
        :param conda_specification: a conda environment file.
        :param pip_requirements: a requirements file.
        :raises InputError: if the Dockerfile has no ``FROM``, or a file cannot be read or is invalid.
        :raises UsageError: if both files of packages are passed.
        """
        environment = cls._with_packages(name, conda_specification, pip_requirements)
        environment.docker.base_image = None
        environment.docker.base_dockerfile = dockerfile
        return environment

    @classmethod
    def from_docker_image(
        cls,
        name: str,
        image: str,
        container_registry: ContainerRegistry | None = None,
        conda_specification: FileName | None = None,
        pip_requirements: FileName | None = None,
    ) -> Self:
        """Return an environment that is built on an image.

        Without a file of packages, the packages are user-managed: the image has its own Python.

        :param name: the name of the environment.
        :param image: the name of the image.
        :param container_registry: the registry of the image and its credentials.
        :param conda_specification: a conda environment file.
        :param pip_requirements: a requirements file.
        :raises InputError: if a file cannot be read or is invalid.
        :raises UsageError: if both files of packages are passed.
        """
        environment = cls._with_packages(name, conda_specification, pip_requirements)
        environment.docker.base_image = image
        if container_registry is not None:
            environment.docker.base_image_registry = container_registry
        return environment

    @classmethod
    def from_docker_build_context(cls, name: str, docker_build_context: DockerBuildContext) -> Self:
        """Return an environment whose image is the one of a build context.

        The packages are user-managed: the image has its own Python.

        :param name: the name of the environment.
        :param docker_build_context: the build context; see `DockerBuildContext.from_local_directory`.
        :raises UsageError: if it is not a `DockerBuildContext`.
        """
        environment = cls._with_packages(name, None, None)
        environment.docker.base_image = None
        environment.docker.build_context = docker_build_context
        return environment

    @classmethod
    def _with_packages(cls, name: str, conda: FileName | None, pip: FileName | None) -> Self:
        if conda and pip:
            raise UsageError("`conda_specification` and `pip_requirements` exclude each other")
        if conda:
            return cls.from_conda_specification(name, conda)
        if pip:
            return cls.from_pip_requirements(name, pip)
        environment = cls(name)
        environment.python.user_managed_dependencies = True
        return environment

    def clone(self, new_name: str) -> Self:
        """Return a copy under another name, without version and asset ID.

        :raises UsageError: if the name is invalid.
        """
        clone = copy.deepcopy(self)
        clone.name, clone.version, clone.asset_id = new_name, None, None
        return clone

    # Files and definitions

    def save_to_directory(self, path: FileName, overwrite: bool = False) -> None:
        """Write the environment to a directory, in the files of the original SDK.

        :param path: the directory; a new one appears complete or not at all.
        :param overwrite: whether the directory may exist; its other files stay.
        :raises ExistsError: if it exists and ``overwrite`` is False; also a ``FileExistsError``.
        :raises InputError: if the dependencies have no ``python``.
        :raises OutputError: if a file cannot be written.
        """
        folder = as_path(path, "`path`")
        write_folder(folder, self.to_definition(), self.python.conda_dependencies, overwrite=overwrite)

    @classmethod
    def load_from_directory(cls, path: FileName) -> Self:
        """Return the environment that `save_to_directory`, or the original SDK, wrote.

        :raises MissingError: if the directory has no environment; also a ``FileNotFoundError``.
        :raises InputError: if a file cannot be read or is malformed.
        """
        definition, conda = read_saved_environment(as_path(path, "`path`"))
        environment = cls.from_definition(definition)
        if conda is not None:
            environment.python.conda_dependencies = conda
        return environment

    def to_definition(self) -> dict[str, Any]:
        """Return the environment as JSON values, the form in which it is saved and registered.

        Secrets (the password of a registry) become None, with a ``UserWarning``.

        :raises UsageError: if an item that was added to a list or dictionary is invalid.
        """
        plain = self.to_plain()
        public: dict[str, Any] = masked(plain, None)
        if public != plain:
            warnings.warn(
                f"the password of environment `{self.name}` is not written; set it again after loading",
                stacklevel=2,
            )
        return public

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """Return an environment from JSON values; unknown keys are kept.

        :raises InputError: if the name is missing, or a value is invalid; the message has the
            path of the first one (``docker.shmSize``).
        """
        if not definition.get("name"):
            raise InputError("the definition of an environment has no `name`")
        return cls.from_plain(definition, "")

    def __str__(self) -> str:
        """Show the name and the version."""
        return f"Environment(Name: {self.name},\nVersion: {self.version})"
