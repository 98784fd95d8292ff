"""Facade: the image an environment is built on: by name, by Dockerfile, or by a build context.

At most one of the three is set; setting one resets the others, with a warning.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from bundler.azureml.core._files import display_name, read_text
from bundler.azureml.core._settings import (
    Section,
    Setting,
    flag,
    json_value,
    nested,
    none_default,
    optional,
    text,
    texts,
)
from bundler.azureml.core.container_registry import ContainerRegistry
from bundler.errors import InputError
from bundler.paths import printable
from bundler.problems import ProblemError, register_urls

__all__ = ["DEFAULT_CPU_IMAGE", "DockerImagePlatform", "DockerSection"]

T = TypeVar("T")

DEFAULT_CPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:20240304.v1"
"""What the SDK's last release for Python 3.7 (1.55) builds on unless told otherwise."""

_DEFAULT_SHM_SIZE = "2g"

# Docker: "FROM" opens the first stage; before it there may only be comments, directives and ARG.
_FROM = re.compile(r"^[ \t]*FROM[ \t]+\S", re.IGNORECASE | re.MULTILINE)
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)?[bkmgt]?b?", re.IGNORECASE | re.ASCII)


def _image(value: object) -> str:
    name = text(value)
    if not name.isprintable() or " " in name:
        raise ProblemError(f"`{printable(name)}` is no name of an image")
    return name


def _memory(value: object) -> str:
    size = text(value)
    if not _MEMORY.fullmatch(size):
        raise ProblemError(
            f"`{printable(size)}` is no size of memory", details=("wanted  a number and a unit: 2g",)
        )
    return size


def _dockerfile_text(content: str, where: str) -> str:
    register_urls(content)
    if not _FROM.search(content):
        raise InputError(f"{where}: there is no `FROM` in it, so it is no Dockerfile")
    return content


def _dockerfile(value: object) -> str:
    """Return the text of a Dockerfile that was passed as an open file, as a path or as text.

    A text without a line break and without ``FROM`` can only be meant as a path.

    :raises MissingError: if it is the path of nothing.
    """
    read = getattr(value, "read", None)
    if callable(read):
        content = read()
        return _dockerfile_text(
            content.decode("utf-8", "replace") if isinstance(content, bytes) else text(content),
            "the open file",
        )
    if isinstance(value, str) and ("\n" in value or _FROM.match(value)):
        return _dockerfile_text(value, "the text of `base_dockerfile`")
    if not isinstance(value, (str, os.PathLike)):
        raise ProblemError("it takes the path of a Dockerfile, its text, or an open file")
    path = Path(os.fspath(value))
    return _dockerfile_text(read_text(path), display_name(path))


def _dockerfile_in_file(value: object, where: str) -> str | None:
    """Return the text of a Dockerfile in a definition; it is never a path, so that nothing else is read."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InputError(f"`{where}`: it is no text")
    return _dockerfile_text(value, f"`{where}`")


def _context(value: object) -> Any:
    if value is not None:
        raise ProblemError(
            "a build context in Git or in a storage account cannot be reached offline",
            hint="set `base_dockerfile` to its Dockerfile",
        )
    return None


def _context_in_file(value: object, where: str) -> Any:
    if value is not None and not isinstance(value, Mapping):
        raise InputError(f"`{where}` is not an object of settings")
    return json_value(value)


class _Base(Setting[T]):
    """One of the settings of which at most one is set."""

    def __set__(self, section: Section, value: T) -> None:
        super().__set__(section, value)
        if self.__get__(section, type(section)) is None:
            return
        for name in ("base_image", "base_dockerfile", "build_context"):
            if name != self.name and getattr(section, name) is not None:
                setattr(section, name, None)
                warnings.warn(f"`{name}` is reset, because `{self.name}` is set", UserWarning, stacklevel=3)


class DockerImagePlatform(Section):
    """The system and processor of an image."""

    os = Setting("os", text, default=lambda: "Linux")
    """Its operating system."""
    architecture = Setting("architecture", text, default=lambda: "amd64")
    """Its processor, as Docker names it."""


class DockerSection(Section):
    """The image an environment is built on, and how it is run."""

    enabled = Setting("enabled", flag, default=lambda: False)
    """Whether runs use Docker; kept, without effect."""
    base_image = _Base[str | None](
        "baseImage", optional(_image), default=lambda: DEFAULT_CPU_IMAGE, absent=none_default
    )
    """The name of an image."""
    base_dockerfile = _Base[str | None](
        "baseDockerfile", optional(_dockerfile), default=none_default, parse=_dockerfile_in_file
    )
    """The text of a Dockerfile; set by its path, its text or an open file."""
    build_context = _Base[Any]("buildContext", _context, default=none_default, parse=_context_in_file)
    """A build context as a definition tells it; none can be set here."""
    shared_volumes = Setting("sharedVolumes", flag, default=lambda: True)
    """Kept, without effect."""
    shm_size = Setting[str | None](
        "shmSize", optional(_memory), default=lambda: _DEFAULT_SHM_SIZE, absent=none_default
    )
    """The shared memory of a container."""
    arguments = Setting[list[str]]("arguments", texts, default=list)
    """What is added to ``docker run``."""
    base_image_registry = Setting(
        "baseImageRegistry",
        nested(ContainerRegistry),
        default=ContainerRegistry,
        parse=ContainerRegistry.from_plain,
    )
    """How the registry of the base image is reached."""
    platform = Setting(
        "platform",
        nested(DockerImagePlatform),
        default=DockerImagePlatform,
        parse=DockerImagePlatform.from_plain,
    )
    """The platform of the image."""

    @classmethod
    def from_plain(cls, plain: object, where: str) -> DockerSection:
        """Return a section as a file tells it.

        :raises InputError: if it tells more than one image.
        """
        section = super().from_plain(plain, where)
        section.check_one_base(where)
        return section

    def check_one_base(self, where: str) -> None:
        """Refuse two bases: which one is meant cannot be known.

        :raises InputError: naming them.
        """
        bases = {
            "baseImage": self.base_image,
            "baseDockerfile": self.base_dockerfile,
            "buildContext": self.build_context,
        }
        both = [f"`{key}`" for key, value in bases.items() if value is not None]
        if len(both) > 1:
            raise InputError(f"`{where}`: {' and '.join(both)} are both set, and only one can be the base")
