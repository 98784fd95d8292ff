"""Facade: ``Environment``, the Python and the image that code is run in, registered and built.

Its attributes, constructors and files are those of Azure ML's SDK
(`definition`); the service is a workspace here, and its image builder is ours.
"""

from __future__ import annotations

import builtins
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Self, Unpack

from bundler.azureml.core._build import (
    BuildSettings,
    EnvironmentBuild,
    build_environment,
    image_details,
)
from bundler.azureml.core._definition import (
    DEFAULT_CPU_IMAGE,
    EXAMPLE_VARIABLES,
    DatabricksSection,
    DockerImagePlatform,
    DockerSection,
    EnvironmentDefinition,
    PythonSection,
    SparkSection,
)
from bundler.azureml.core._image_details import DockerImageDetails
from bundler.azureml.core.conda_dependencies import CondaDependencies
from bundler.azureml.core.container_registry import ContainerRegistry
from bundler.azureml.core.workspace import Workspace
from bundler.data.curated import Curated, curated_environments, find_curated
from bundler.errors import InputError
from bundler.registry.registry import RegisteredVersion

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "EXAMPLE_VARIABLES",
    "BuildSettings",
    "CondaDependencies",
    "ContainerRegistry",
    "DatabricksSection",
    "DockerImageDetails",
    "DockerImagePlatform",
    "DockerSection",
    "Environment",
    "EnvironmentBuild",
    "PythonSection",
    "SparkSection",
]

# What a registered version says of itself; its content is the rest.
_OF_A_VERSION = ("name", "version", "assetId")
# Lines of a pip section that lead to another file.
_LOCAL = re.compile(r"(-[rc]|--requirement|--constraint)\b|((-f|--find-links)[ =]?)?(file:|\.{0,2}/)")


class Environment(EnvironmentDefinition):
    """An environment: Python packages, an image, variables."""

    def register(self, workspace: Workspace) -> Self:
        """Register the environment, and return it with its version; the same content keeps its version.

        A version of its own that is set is the one that is wanted.

        :raises InputError: if the name is reserved, a credential would be registered, or the
            version is registered with another content.
        """
        definition = self.to_definition()
        local = [line for line in self._pip_lines() if _LOCAL.match(line)]
        if local and not self.python.user_managed_dependencies:
            warnings.warn(
                f"the registered environment `{self.name}` names files of this machine: {', '.join(local)}",
                stacklevel=2,
            )
        content = {key: value for key, value in definition.items() if key not in _OF_A_VERSION}
        found = workspace.environment_registry.register(self.name, content, version=self.version)
        return self._of(found)

    def regester(self, workspace: Workspace) -> Self:
        """Do what `register` does, under the name that Azure ML's document misspells."""
        warnings.warn("it is spelt `register`", DeprecationWarning, stacklevel=2)
        return self.register(workspace)

    @classmethod
    def get(
        cls, workspace: Workspace, name: str, version: str | None = None, label: str | None = None
    ) -> Self:
        """Return a registered environment, the latest version by default, or a curated one.

        :raises UsageError: if both a version and a label are given.
        :raises InputError: if there is none.
        """
        shipped = find_curated(name)
        if shipped is None:
            return cls._of(workspace.environment_registry.get(name, version=version, label=label))
        if version not in (None, shipped.version) or label not in (None, "latest"):
            raise InputError(
                f"the curated environment `{name}` is shipped in one version only",
                evidence=(f"wanted  {version or label}", f"found   {shipped.version or 'no version'}"),
                hint="leave the version and the label out",
            )
        return cls._of_curated(shipped)

    @classmethod
    def list(cls, workspace: Workspace) -> dict[str, Self]:
        """Return the latest version of each environment, and the curated ones, by name."""
        found = {one.name: cls._of_curated(one) for one in curated_environments()}
        found |= {one.name: cls._of(one) for one in workspace.environment_registry.latest()}
        return dict(sorted(found.items()))

    @staticmethod
    def label(workspace: Workspace, name: str, version: str, labels: Sequence[str]) -> None:
        """Put labels on a version; each is taken off the version that had it.

        :raises InputError: if there is no such version, or a label is not allowed.
        """
        workspace.environment_registry.set_labels(name, version, labels)

    def build(
        self,
        workspace: Workspace | None = None,
        image_build_compute: str | None = None,
        **settings: Unpack[BuildSettings],
    ) -> EnvironmentBuild:
        """Build the environment's packages into a verified bundle, here and now.

        With a workspace the environment is registered first, as Azure ML does. Where the
        user manages the packages nothing is built: the named Python is
        looked at, in the base or on this machine.

        :param image_build_compute: is taken for the sake of older programs, and means nothing here.
        :raises BundlerError: the class tells which stage refused; nothing is left then.
        """
        del image_build_compute
        if workspace is not None and find_curated(self.name) is None:
            self.register(workspace)
        return build_environment(self, settings)

    def get_image_details(self, workspace: Workspace | None = None) -> DockerImageDetails:
        """Return what the environment's image is built from, its Dockerfile among it; nothing is built.

        :param workspace: is taken for the sake of older programs; nothing is asked of it.
        :raises InputError: if the environment has no base.
        """
        del workspace
        return image_details(self)

    def _pip_lines(self) -> Iterator[str]:
        dependencies = self.python.conda_dependencies
        if dependencies is not None:
            yield from dependencies.pip_options
            yield from dependencies.pip_packages

    @classmethod
    def _of(cls, registered: RegisteredVersion) -> Self:
        named = {"name": registered.name, "version": registered.version}
        return cls.from_definition({**registered.content, **named})

    @classmethod
    def _of_curated(cls, shipped: Curated) -> Self:
        definition = cls(shipped.name).to_definition()
        definition |= {"version": shipped.version, "environmentVariables": {}}
        definition["python"]["condaDependencies"] = builtins.dict(shipped.conda)
        if shipped.base_image is not None:
            definition["docker"]["baseImage"] = shipped.base_image
        return cls.from_definition(definition)
