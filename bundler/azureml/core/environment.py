"""Facade: ``Environment``: register an environment in a workspace, and build it.

Its attributes, constructors and files are those of Azure ML's SDK (`_definition`). A workspace of
this package replaces the service, `Environment.build` its image builder.
"""

from __future__ import annotations

import builtins
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Self, Unpack

from bundler.azureml._service_names import find_name
from bundler.azureml.core._build import EnvironmentBuild, build_environment, image_details
from bundler.azureml.core._build_settings import BuildSettings
from bundler.azureml.core._definition import (
    DEFAULT_CPU_IMAGE,
    DEFAULT_GPU_IMAGE,
    EXAMPLE_VARIABLES,
    DatabricksSection,
    DockerBuildContext,
    DockerImagePlatform,
    DockerSection,
    EnvironmentDefinition,
    PythonSection,
    SparkSection,
)
from bundler.azureml.core._files import FileName, as_path
from bundler.azureml.core._image_details import DockerImageDetails
from bundler.azureml.core._wheels import add_wheel
from bundler.azureml.core.conda_dependencies import CondaDependencies
from bundler.azureml.core.container_registry import ContainerRegistry
from bundler.azureml.core.workspace import Workspace, as_workspace
from bundler.data.curated import (
    Curated,
    curated_date,
    curated_environments,
    find_curated,
    near_curated,
)
from bundler.errors import InputError, UsageError
from bundler.paths import printable
from bundler.registry.registry import RegisteredVersion
from bundler.text import listing

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "DEFAULT_GPU_IMAGE",
    "EXAMPLE_VARIABLES",
    "BuildSettings",
    "CondaDependencies",
    "ContainerRegistry",
    "DatabricksSection",
    "DockerBuildContext",
    "DockerImageDetails",
    "DockerImagePlatform",
    "DockerSection",
    "Environment",
    "EnvironmentBuild",
    "PythonSection",
    "SparkSection",
]

# The keys of a definition that identify a version; the other keys are its content.
_OF_A_VERSION = ("name", "version", "assetId")
# The version with which an environment came from a workspace; changed content gets another.
_LOADED = "_loaded_version"
# Lines of a pip section that refer to a local file.
_MAX_SHOWN = 5
_LOCAL = re.compile(r"(-[rc]|--requirement|--constraint)\b|((-f|--find-links)[ =]?)?(file:|\.{0,2}/)")


class Environment(EnvironmentDefinition):
    """An environment: Python packages, a base image and environment variables.

    :param name: the name under which it is registered.
    :param ignored: other parameters cause a ``UserWarning``; the original ignores them silently.
    :raises UsageError: if the name is empty, or has a slash or a control character.
    """

    def register(self, workspace: Workspace) -> Self:
        """Register the environment, and return it with its version.

        Content that is registered already keeps its version; changed content gets the next one. Set
        ``version`` before to choose another. Local files in the pip section cause a ``UserWarning``.

        :raises InputError: if the name is invalid or reserved, the content has a credential, or
            the version is already registered with other content.
        """
        definition = self.to_definition()
        local = [line for line in self._pip_lines() if _LOCAL.match(line)]
        if local and not self.python.user_managed_dependencies:
            files = listing(local, _MAX_SHOWN)
            warnings.warn(
                f"the registered environment `{self.name}` refers to local files: {files}", stacklevel=2
            )
        content = {key: value for key, value in definition.items() if key not in _OF_A_VERSION}
        chosen = None if self.version == self.__dict__.get(_LOADED) else self.version
        registered = as_workspace(workspace).environment_registry.register(self.name, content, version=chosen)
        return self._of(registered)

    def regester(self, workspace: Workspace) -> Self:
        """Register the environment; Azure ML's documentation misspells `register` so."""
        warnings.warn("`regester` is a misspelling: use `register`", DeprecationWarning, stacklevel=2)
        return self.register(workspace)

    @classmethod
    def get(
        cls, workspace: Workspace, name: str, version: str | int | None = None, label: str | None = None
    ) -> Self:
        """Return a registered or curated environment.

        :param name: the name; the names of curated environments start with ``AzureML-``.
        :param version: the version; the default is the one that was registered last.
        :param label: a label in place of the version; ``latest`` is the one that was registered last.
        :raises UsageError: if both a version and a label are passed.
        :raises InputError: if there is no such name, version or label.
        """
        shipped = find_curated(name)
        version = None if version is None else str(version)
        if shipped is None and name.lower().startswith("azureml-"):
            near = near_curated(name)
            raise InputError(
                f"no curated environment `{printable(name)}` of {curated_date()} is known",
                evidence=(f"similar {', '.join(near)}",) if near else (),
                hint=f"Environment.get(workspace, {near[0]!r})" if near else "Environment.list(workspace)",
            )
        if shipped is None:
            registry = as_workspace(workspace).environment_registry
            return cls._of(registry.get(name, version=version, label=label))
        if version is not None and shipped.version is None:
            warnings.warn(
                f"the version of the curated environment `{name}` is not known: version {version} may differ",
                stacklevel=2,
            )
        elif version not in (None, shipped.version) or label not in (None, "latest"):
            raise InputError(
                f"the curated environment `{name}` has only one version",
                evidence=(f"wanted  {version or label}", f"found   {shipped.version or 'no version'}"),
                hint=f"Environment.get(workspace, {name!r})",
            )
        return cls._of_curated(shipped)

    @classmethod
    def list(cls, workspace: Workspace) -> dict[str, Self]:
        """Return the latest version of each registered environment and the curated ones, sorted by name."""
        environments = {curated.name: cls._of_curated(curated) for curated in curated_environments()}
        for registered in as_workspace(workspace).environment_registry.latest():
            environments[registered.name] = cls._of(registered)
        return dict(sorted(environments.items()))

    @staticmethod
    def label(workspace: Workspace, name: str, version: str, labels: Sequence[str]) -> None:
        """Set labels of a version; a label moves from the version that had it.

        :raises InputError: if there is no such name or version, or a label is invalid.
        """
        as_workspace(workspace).environment_registry.set_labels(name, version, labels)

    def build(
        self,
        workspace: Workspace | None = None,
        image_build_compute: str | None = None,
        **settings: Unpack[BuildSettings],
    ) -> EnvironmentBuild:
        """Build the environment's packages into a verified bundle, on this machine.

        With user-managed packages nothing is built: the imports of the code are checked against
        the Python of the base, or of this machine.

        :param workspace: register the environment there first, as Azure ML does; None skips it.
        :param image_build_compute: ignored; accepted for compatibility.
        :param settings: the keyword arguments in `BuildSettings`; all are optional.
        :raises UsageError: if a keyword argument is unknown or invalid.
        :raises ResolutionError: if no compatible set of versions exists.
        :raises ClosureError: if an import, a shared library or the base does not fit.
        :raises BundlerError: another subclass for other failures; no output remains then.
        """
        del image_build_compute
        if workspace is not None and find_curated(self.name) is None:
            self.register(workspace)
        return build_environment(self, settings)

    def build_local(
        self, workspace: Workspace | None = None, platform: str | None = None, **settings: Any
    ) -> EnvironmentBuild:
        """Build the environment as `build` does, which always builds on this machine.

        :param workspace: register the environment there first; None skips it.
        :param platform: ``Linux``; other platforms are not supported.
        :param settings: the keyword arguments in `BuildSettings`; ``useDocker`` and
            ``pushImageToWorkspaceAcr`` are ignored.
        :raises UsageError: if the platform is not Linux.
        :raises BundlerError: as `build`.
        """
        if platform not in (None, "Linux"):
            raise UsageError(f"unsupported platform `{platform}`", hint='platform="Linux"')
        for ignored in ("useDocker", "pushImageToWorkspaceAcr"):
            settings.pop(ignored, None)
        return self.build(workspace, **settings)

    @staticmethod
    def add_private_pip_wheel(workspace: Workspace, file_path: FileName, exist_ok: bool = False) -> str:
        """Copy a wheel into the workspace, and return its URL for `CondaDependencies.add_pip_package`.

        :param workspace: the workspace, a directory.
        :param file_path: the wheel.
        :param exist_ok: whether a wheel of that name may exist, which is returned then.
        :raises InputError: if the file does not exist or is not a wheel.
        :raises UsageError: if the workspace is a URL.
        :raises ExistsError: if a wheel of that name exists with other content, or ``exist_ok`` is False.
        """
        place = as_workspace(workspace).location
        return add_wheel(place, as_path(file_path, "`file_path`"), exist_ok=exist_ok)

    def get_image_details(self, workspace: Workspace | None = None) -> DockerImageDetails:
        """Return the ingredients of the environment's image, such as its Dockerfile; nothing is built.

        :param workspace: ignored; accepted for compatibility.
        :raises InputError: if the environment has no base, no packages or an invalid name, or its
            Dockerfile cannot be extended.
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
        identity = {"name": registered.name, "version": registered.version}
        environment = cls.from_definition({**registered.content, **identity})
        environment.__dict__[_LOADED] = registered.version
        return environment

    @classmethod
    def _of_curated(cls, shipped: Curated) -> Self:
        definition = cls(shipped.name).to_definition()
        definition |= {"version": shipped.version, "environmentVariables": {}}
        definition["python"]["condaDependencies"] = builtins.dict(shipped.conda)
        if shipped.base_image is not None:
            definition["docker"]["baseImage"] = shipped.base_image
        return cls.from_definition(definition)


def __getattr__(name: str) -> Any:
    """Return a name of the original's module that needs the service."""
    return find_name(__name__, name)
