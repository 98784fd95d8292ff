"""Facade: what an environment's image is built from, under the names of Azure ML's SDK."""

from __future__ import annotations

from typing import Any

__all__ = ["DockerImageDetails"]


class DockerImageDetails(dict[str, Any]):
    """What an environment's image is built from."""

    @property
    def image_exist(self) -> bool:
        """Whether the image is in a registry; nothing here asks one."""
        return bool(self.get("imageExistsInRegistry"))

    @property
    def repository(self) -> str:
        """The image's name."""
        return str(self["dockerImage"]["name"])

    @property
    def registry(self) -> str | None:
        """The registry of the image; there is none."""
        address: str | None = self["dockerImage"]["registry"]["address"]
        return address

    @property
    def image(self) -> str:
        """The image's whole name."""
        return "/".join(filter(None, (self.registry, self.repository)))

    @property
    def interpreter_path(self) -> str:
        """The Python that runs in the image."""
        return str(self["pythonEnvironment"]["interpreterPath"])

    @property
    def environment_path(self) -> str | None:
        """Where the packages lie in the image; None where the user manages them."""
        path: str | None = self["pythonEnvironment"]["condaEnvironmentPath"]
        return path

    @property
    def dockerfile(self) -> str:
        """The Dockerfile."""
        return str(self["ingredients"]["dockerfile"])
