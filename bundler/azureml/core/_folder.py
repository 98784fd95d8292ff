"""Facade, effect: the directory of a saved environment, with the files of the original SDK.

``azureml_environment.json`` contains the definition. The conda dependencies
(``conda_dependencies.yml``) and the Dockerfile (``BaseDockerfile``) are separate files, for editing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bundler.azureml.core._files import display_name, read_text
from bundler.azureml.core.conda_dependencies import CondaDependencies
from bundler.azureml.exceptions import ExistsError, MissingError
from bundler.errors import InputError
from bundler.problems import first_line
from bundler.system.atomic import output_error, replace_file, staged_dir

__all__ = ["read_saved_environment", "write_folder"]

_DEFINITION = "azureml_environment.json"
_CONDA = "conda_dependencies.yml"
_DOCKERFILE = "BaseDockerfile"


def write_folder(
    path: Path, definition: dict[str, Any], conda: CondaDependencies | None, *, overwrite: bool
) -> None:
    """Write a definition to a directory; a new directory appears complete or not at all.

    In an existing directory each file is replaced atomically, the definition last. Of an older
    environment, the dependencies and the Dockerfile are removed if this one has none.

    :param overwrite: whether the directory may exist.
    :raises ExistsError: if the path exists, and is a file or may not be overwritten.
    :raises InputError: if the dependencies have no ``python``.
    :raises OutputError: if a file cannot be written.
    """
    files = _files(definition, conda)
    if path.exists() and not (overwrite and path.is_dir()):
        raise _exists(path)
    try:
        if path.exists():
            _replace(path, files)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged_dir(path) as staged:
            _replace(staged, files)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise output_error(path, error) from error


def _replace(folder: Path, files: dict[str, bytes]) -> None:
    for name in (_CONDA, _DOCKERFILE):
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        replace_file(folder / name, content)


def _exists(path: Path) -> ExistsError:
    hint = "pass `overwrite=True`" if path.is_dir() else None
    return ExistsError(f"`{display_name(path)}` already exists", hint=hint)


def _files(definition: dict[str, Any], conda: CondaDependencies | None) -> dict[str, bytes]:
    python = {key: value for key, value in definition["python"].items() if key != "condaDependencies"}
    docker = dict(definition["docker"])
    files = {}
    if conda is not None:
        files[_CONDA] = conda.checked_text().encode()
    if docker["baseDockerfile"] is not None:
        files[_DOCKERFILE] = docker.pop("baseDockerfile").encode()
    text = json.dumps(definition | {"python": python, "docker": docker}, indent=4)
    files[_DEFINITION] = text.encode()
    return files


def read_saved_environment(path: Path) -> tuple[dict[str, Any], CondaDependencies | None]:
    """Return the definition in a directory, its Dockerfile included, and its conda dependencies.

    :raises MissingError: if the directory has no definition.
    :raises InputError: if a file cannot be read or is malformed.
    """
    file = path / _DEFINITION
    if not file.is_file():
        raise MissingError(f"`{display_name(path)}` is not a saved environment: `{_DEFINITION}` not found")
    definition = _parse_json(file)
    conda = CondaDependencies(path / _CONDA) if (path / _CONDA).is_file() else None
    if (path / _DOCKERFILE).is_file():
        docker = definition.get("docker") or {}
        if not isinstance(docker, dict):
            raise InputError(f"{display_name(file)}: `docker` is not a JSON object")
        definition["docker"] = docker | {"baseDockerfile": read_text(path / _DOCKERFILE)}
    return definition, conda


def _parse_json(file: Path) -> dict[str, Any]:
    try:
        definition = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{display_name(file)}:{error.lineno}: not valid JSON: {first_line(error)}"
        ) from error
    if not isinstance(definition, dict):
        raise InputError(f"{display_name(file)}: not a JSON object")
    return definition
