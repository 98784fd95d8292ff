"""Files that name the file with the requirements: of MLflow models, and of Azure ML's CLI (v2)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.problems import ProblemError
from bundler.requirements.requirement_set import Specification
from bundler.requirements.text import MODEL_FILE, decode, is_model_folder, read_bytes

if TYPE_CHECKING:
    from bundler.requirements.conda.mlflow import MlflowModel

__all__ = ["MODEL_FILE", "is_model_folder", "model_input", "named_environment", "read_model"]

_AZUREML = ("conda_file", "condaDependencies")
"""A file of Azure ML with a conda environment contains one of these."""


def model_input(path: Path, cwd: Path) -> Path:
    """Return the description in the directory of a model; every other path unchanged.

    :param cwd: a relative path starts here.
    """
    return path / MODEL_FILE if is_model_folder(cwd / path) else path


def read_model(folder: Path) -> MlflowModel:
    """Return the facts of the model in a directory.

    :raises ProblemError: if its description cannot be read, or is malformed.
    """
    from bundler.requirements.conda.mlflow import parse_model  # noqa: PLC0415 - the YAML reader is slow to load

    return parse_model(decode(read_bytes(folder / MODEL_FILE))[0])


def named_environment(
    given: Specification, read: Callable[[Path], str], display: Callable[[Path], str]
) -> Specification:
    """Return the environment that a file names: an MLflow model, or an environment or deployment of Azure ML.

    Any other file is the environment itself.

    :param read: returns the text of a file.
    :param display: returns a path as the user would write it.
    :raises ProblemError: if the file is malformed, or the one that it names is missing.
    """
    if given.path.name == MODEL_FILE:
        return _model_environment(given, read, display)
    if not any(key in given.text for key in _AZUREML):
        return given
    from bundler.requirements.conda.envfile import azureml_conda_file, load_yaml  # noqa: PLC0415 - as above

    name = azureml_conda_file(load_yaml(given.text))
    if not isinstance(name, str):
        return given
    path = Path(os.path.normpath(given.path.parent / name))
    return Specification(text=read(path), where=display(path), path=path)


def _model_environment(
    given: Specification, read: Callable[[Path], str], display: Callable[[Path], str]
) -> Specification:
    """Return the environment of a model: its ``conda.yaml``, ``python_env.yaml`` or requirements."""
    from bundler.requirements.conda.mlflow import REQUIREMENTS, parse_model  # noqa: PLC0415 - as above

    folder = given.path.parent
    has_requirements = (folder / REQUIREMENTS).is_file()
    try:
        model = parse_model(given.text)
    except ProblemError as refused:
        names = [name for name in (REQUIREMENTS, "conda.yaml") if (folder / name).is_file()]
        hint = f"pass `-r {display(folder / names[0])}`" if names else None
        raise ProblemError(refused.fact, line=refused.line, hint=refused.hint or hint) from None
    for name in model.environments:
        path = folder / name
        if path.is_file():
            return Specification(text=read(path), where=display(path), path=path, implied=model.implied)
    if not has_requirements:
        wanted = f"wanted  {', '.join((*model.environments, REQUIREMENTS))}"
        raise ProblemError("the MLflow model has no file with its requirements", details=(wanted,))
    return Specification(
        text=model.specification(), where=given.where, path=given.path, implied=model.implied
    )
