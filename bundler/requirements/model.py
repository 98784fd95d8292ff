"""The directory of an MLflow model as an input: its description, and the file with its requirements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.problems import ProblemError
from bundler.requirements.requirement_set import Specification
from bundler.requirements.text import MODEL_FILE, decode, read_bytes

if TYPE_CHECKING:
    from bundler.requirements.conda.mlflow import MlflowModel

__all__ = ["MODEL_FILE", "model_environment", "model_input", "read_model"]


def model_input(path: Path, cwd: Path) -> Path:
    """Return the description in the directory of a model; every other path unchanged.

    :param cwd: a relative path starts here.
    """
    return path / MODEL_FILE if (cwd / path / MODEL_FILE).is_file() else path


def read_model(folder: Path) -> MlflowModel:
    """Return the facts of the model in a directory.

    :raises ProblemError: if its description cannot be read, or is malformed.
    """
    from bundler.requirements.conda.mlflow import parse_model  # noqa: PLC0415 - the YAML reader is slow to load

    return parse_model(decode(read_bytes(folder / MODEL_FILE))[0])


def model_environment(
    given: Specification, read: Callable[[Path], str], display: Callable[[Path], str]
) -> Specification:
    """Return the environment of a model: its ``conda.yaml``, ``python_env.yaml`` or requirements.

    :param given: the description of the model.
    :param read: returns the text of a file.
    :param display: returns a path as the user would write it.
    :raises ProblemError: if the description is malformed, or the model has no such file.
    """
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
