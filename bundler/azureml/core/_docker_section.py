"""Facade: the base of an environment's image: an image, a Dockerfile or a build context.

At most one of the three is set; an assignment to one resets the others, with a warning.
"""

from __future__ import annotations

import enum
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundler.azureml.core._files import display_name, read_text
from bundler.azureml.core._settings import (
    Section,
    boolean,
    json_value,
    nested,
    optional,
    setting,
    string,
    strings,
    wrong_type,
)
from bundler.azureml.core.container_registry import ContainerRegistry
from bundler.errors import InputError
from bundler.paths import printable
from bundler.problems import ProblemError, register_urls

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "DEFAULT_GPU_IMAGE",
    "DockerBuildContext",
    "DockerImagePlatform",
    "DockerSection",
]

DEFAULT_CPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:20240304.v1"
"""The default base image of azureml-core 1.55, the last release for Python 3.7."""
DEFAULT_GPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-cuda11.3-cudnn8-ubuntu20.04:20240304.v1"
"""The base image with CUDA of azureml-core 1.55."""

_BASES = ("base_image", "base_dockerfile", "build_context")

# Dockerfile reference: only comments, parser directives and ARG may precede the first FROM.
_FROM = re.compile(r"^[ \t]*FROM[ \t]+\S", re.IGNORECASE | re.MULTILINE)
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)?[bkmgt]?b?", re.IGNORECASE | re.ASCII)


def _image(value: object) -> str:
    name = string(value)
    if not name.isprintable() or " " in name:
        raise ProblemError(f"invalid image name `{printable(name)}`")
    return name


def _memory(value: object) -> str:
    size = string(value)
    if not _MEMORY.fullmatch(size):
        raise ProblemError(
            f"invalid memory size `{printable(size)}`", details=("wanted  a number and a unit: 2g",)
        )
    return size


def _dockerfile_text(content: str, where: str) -> str:
    register_urls(content)
    if not _FROM.search(content):
        raise InputError(f"{where}: not a Dockerfile: `FROM` is missing")
    return content


def _dockerfile(value: object) -> str:
    """Return the text of a Dockerfile that was assigned as an open file, a path or a text.

    A string without a line break and without ``FROM`` is a path: as a Dockerfile it would be invalid.

    :raises MissingError: if the file does not exist.
    :raises InputError: if the text has no ``FROM``.
    """
    read = getattr(value, "read", None)
    if callable(read):
        content = read()
        return _dockerfile_text(
            content.decode("utf-8", "replace") if isinstance(content, bytes) else string(content),
            "the open file",
        )
    if isinstance(value, str) and ("\n" in value or _FROM.match(value)):
        return _dockerfile_text(value, "the text of `base_dockerfile`")
    if not isinstance(value, (str, os.PathLike)):
        raise ProblemError("expected the path of a Dockerfile, its text, or an open file")
    path = Path(os.fspath(value))
    if path.is_dir():
        inside = path / "Dockerfile"
        raise InputError(
            f"{display_name(path)}: a directory, not a file",
            hint=f"pass `{printable(str(inside))}`" if inside.is_file() else None,
        )
    return _dockerfile_text(read_text(path), display_name(path))


def _dockerfile_in_file(value: object, where: str) -> str | None:
    """Return the text of a Dockerfile in a definition.

    It is never taken for a path: a definition from elsewhere must not make this machine read a file.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InputError(f"`{where}`: expected a string")
    return _dockerfile_text(value, f"`{where}`")


def _context(value: object) -> Any:
    if value is not None and not isinstance(value, DockerBuildContext):
        raise wrong_type("a `DockerBuildContext`", value)
    return None if value is None else value.to_plain()


def _context_in_file(value: object, where: str) -> Any:
    if value is not None and not isinstance(value, Mapping):
        raise InputError(f"`{where}` is not a JSON object")
    return json_value(value)


class DockerBuildContext:
    """A directory with a Dockerfile, or the URL of such a directory.

    :param location_type: ``git`` or ``storageAccount``; None is a directory.
    :param location: the URL or the directory.
    :param dockerfile_path: the Dockerfile, relative to the location.
    """

    class LocationType(enum.StrEnum):
        """The kind of a location."""

        Git = "git"
        StorageAccount = "storageAccount"

    def __init__(
        self,
        location_type: str | None = None,
        location: str | None = None,
        dockerfile_path: str | None = "Dockerfile",
    ) -> None:
        self.location_type = location_type
        self.location = location
        self.dockerfile_path = dockerfile_path or "Dockerfile"

    @staticmethod
    def from_local_directory(
        workspace: object, path: str | os.PathLike[str], dockerfile_path: str = "Dockerfile"
    ) -> DockerBuildContext:
        """Return the build context in a directory; nothing is uploaded.

        :param workspace: ignored; accepted for compatibility.
        :raises MissingError: if it has no such Dockerfile.
        :raises InputError: if the Dockerfile has no ``FROM``.
        """
        del workspace
        file = Path(path) / dockerfile_path
        _dockerfile_text(read_text(file), display_name(file))
        return DockerBuildContext(None, str(Path(path).absolute()), dockerfile_path)

    def to_plain(self) -> dict[str, str | None]:
        """Return the JSON object of a definition."""
        return {
            "locationType": None if self.location_type is None else str(self.location_type),
            "location": self.location,
            "dockerfilePath": self.dockerfile_path,
        }


class DockerImagePlatform(Section):
    """The operating system and processor of an image."""

    os: str = setting("os", string, default="Linux")
    """The operating system."""
    architecture: str = setting("architecture", string, default="amd64")
    """The processor, by Docker's name."""


class DockerSection(Section):
    """The base of an environment's image, and options of its containers."""

    enabled: bool = setting("enabled", boolean, default=False)
    """Whether runs use Docker; stored, but not used."""
    base_image: str | None = setting(
        "baseImage", optional(_image), default=DEFAULT_CPU_IMAGE, default_in_file=False
    )
    """The name of the base image; a definition without the key has none."""
    base_dockerfile: str | None = setting("baseDockerfile", optional(_dockerfile), parse=_dockerfile_in_file)
    """The text of a Dockerfile; a path and an open file are read when they are assigned."""
    build_context: Any = setting("buildContext", _context, parse=_context_in_file)
    """The build context, a JSON object; a `DockerBuildContext` or None can be assigned."""
    shared_volumes: bool = setting("sharedVolumes", boolean, default=True)
    """Whether volumes are shared; stored, but not used."""
    shm_size: str | None = setting("shmSize", optional(_memory), default="2g", default_in_file=False)
    """The shared memory of a container, a number with a unit (``2g``)."""
    arguments: list[str] = setting("arguments", strings, factory=list)
    """Further arguments of ``docker run``; stored, but not used."""
    base_image_registry: ContainerRegistry = nested("baseImageRegistry", ContainerRegistry)
    """The registry of the base image and its credentials."""
    platform: DockerImagePlatform = nested("platform", DockerImagePlatform)
    """The platform of the image."""

    @property
    def gpu_support(self) -> bool:
        """Deprecated and not used: a container with GPUs is started by ``docker run --gpus``."""
        return True

    @gpu_support.setter
    def gpu_support(self, value: object) -> None:
        warnings.warn("`gpu_support` is deprecated, and is not used", DeprecationWarning, stacklevel=3)
        del value

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name not in _BASES or getattr(self, name) is None:
            return
        for other in _BASES:
            if other != name and getattr(self, other) is not None:
                super().__setattr__(other, None)
                warnings.warn(f"`{other}` is reset, because `{name}` is set", UserWarning, stacklevel=2)

    @classmethod
    def from_plain(cls, plain: object, where: str) -> DockerSection:
        """Return the section that a file describes.

        :raises InputError: if a value is invalid, or more than one base is set.
        """
        section = super().from_plain(plain, where)
        section.check_one_base(where)
        return section

    def check_one_base(self, where: str) -> None:
        """Refuse two bases, since either could be the intended one.

        :raises InputError: if more than one is set; the message names them.
        """
        bases = {
            "baseImage": self.base_image,
            "baseDockerfile": self.base_dockerfile,
            "buildContext": self.build_context,
        }
        present = [f"`{key}`" for key, value in bases.items() if value is not None]
        if len(present) > 1:
            raise InputError(f"`{where}`: {' and '.join(present)} are set, but an image has one base")
