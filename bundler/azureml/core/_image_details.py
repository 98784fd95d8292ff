"""Facade: the ingredients of an environment's image, under the names of Azure ML's SDK."""

from __future__ import annotations

from typing import Any

__all__ = ["DockerImageDetails"]


class DockerImageDetails(dict[str, Any]):
    """The ingredients of an environment's image, as the JSON object of Azure ML's SDK.

    The properties are shorthands for its values.
    """

    @property
    def image_exist(self) -> bool:
        """Always False: no registry is asked whether it has the image."""
        return bool(self.get("imageExistsInRegistry"))

    @property
    def repository(self) -> str:
        """The image's name and tag; the tag is the environment's version, or ``unregistered``."""
        return str(self["dockerImage"]["name"])

    @property
    def registry(self) -> str | None:
        """Always None: the image is in no registry."""
        address: str | None = self["dockerImage"]["registry"]["address"]
        return address

    @property
    def image(self) -> str:
        """The image's full name, with its registry if there is one."""
        return "/".join(filter(None, (self.registry, self.repository)))

    @property
    def interpreter_path(self) -> str:
        """The Python that runs in the image: a path or a command."""
        return str(self["pythonEnvironment"]["interpreterPath"])

    @property
    def environment_path(self) -> str | None:
        """The directory of the packages in the image; None with user-managed packages."""
        path: str | None = self["pythonEnvironment"]["condaEnvironmentPath"]
        return path

    @property
    def dockerfile(self) -> str:
        """The text of the Dockerfile."""
        return str(self["ingredients"]["dockerfile"])
