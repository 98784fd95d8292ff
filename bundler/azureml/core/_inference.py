"""Facade: ``InferenceConfig``: the code that serves models, and the environment in which it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.azureml.core._arguments import instance
from bundler.azureml.core._definition import DEFAULT_CPU_IMAGE, DEFAULT_GPU_IMAGE
from bundler.azureml.core._files import FileName, read_text
from bundler.azureml.core.container_registry import ContainerRegistry
from bundler.azureml.core.environment import Environment
from bundler.errors import UsageError
from bundler.system.environ import read_host_environment

__all__ = ["InferenceConfig", "environment_of"]

_PARTS = ("runtime", "conda_file", "extra_docker_file_steps", "enable_gpu", "cuda_version", "base_image")
_RUNTIME = "python"
_NAME = "inference"


@dataclass
class InferenceConfig:
    """The code that serves models, and its environment: one object, or its parts.

    :raises UsageError: if the script is missing, the environment is not one, both an environment and
        parts are passed, or the runtime is not ``python``.
    """

    entry_script: str
    """The script with init() and run(), relative to ``source_directory``, or to the working directory."""
    runtime: str | None = None
    """``python``; deprecated, use ``environment``."""
    conda_file: FileName | None = None
    """An ``env.yml``, relative as the script; deprecated, use ``environment``."""
    extra_docker_file_steps: FileName | None = None
    """A file of Dockerfile instructions that follow the base image; deprecated, use ``environment``."""
    source_directory: FileName | None = None
    """The directory of the code, packed as a whole; None packs only the script."""
    enable_gpu: bool | None = None
    """Whether the base image is the one for GPUs; deprecated, use ``environment``."""
    description: str | None = None
    """A text for people; not used."""
    base_image: str | None = None
    """The name of the base image; deprecated, use ``environment``."""
    base_image_registry: ContainerRegistry | None = None
    """The registry of the base image; deprecated, use ``environment``."""
    cuda_version: str | None = None
    """Any version selects the base image for GPUs; deprecated, use ``environment``."""
    environment: Environment | None = None
    """The environment; `Model.package` needs one, or ``conda_file``."""

    def __post_init__(self) -> None:
        """Check the combination of the values."""
        if not self.entry_script:
            raise UsageError(
                "`InferenceConfig` needs a script", hint="InferenceConfig(entry_script='score.py', ...)"
            )
        if self.environment is not None:
            name = self.environment if isinstance(self.environment, str) else "NAME"
            hint = f"environment=Environment.get(workspace, {name!r})"
            instance(self.environment, Environment, "environment", hint)
        parts = [name for name in _PARTS if getattr(self, name)]
        if self.environment is not None and parts:
            raise UsageError(f"`environment` and `{parts[0]}` exclude each other")
        if self.runtime and self.runtime.lower() != _RUNTIME:
            raise UsageError(f"unsupported runtime `{self.runtime}`", hint=f"write `runtime={_RUNTIME!r}`")


def environment_of(config: InferenceConfig) -> Environment | None:
    """Return the environment of a configuration, made from its parts if it has them; None without both.

    :raises InputError: if a file cannot be read or is invalid.
    """
    if config.environment is not None or not any(getattr(config, name) for name in _PARTS):
        return config.environment
    folder = read_host_environment().cwd / (config.source_directory or "")
    environment = Environment(_NAME)
    if config.conda_file:
        environment = Environment.from_conda_specification(_NAME, _below(folder, config.conda_file))
    image = config.base_image or (
        DEFAULT_GPU_IMAGE if config.enable_gpu or config.cuda_version else DEFAULT_CPU_IMAGE
    )
    environment.docker.base_image = image
    if config.base_image_registry is not None:
        environment.docker.base_image_registry = config.base_image_registry
    if config.extra_docker_file_steps:
        steps = read_text(_below(folder, config.extra_docker_file_steps))
        environment.docker.base_image = None
        environment.docker.base_dockerfile = f"FROM {image}\n{steps}"
    return environment


def _below(folder: Path, name: FileName) -> Path:
    """Return the path of a file: below the directory of the code, else below the working directory."""
    inside = folder / name
    return inside if inside.exists() else read_host_environment().cwd / name
