"""Facade: the files, names and tags of a registered model: into the registry, and out of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bundler.azureml.core._files import FileName
from bundler.deploy.source_files import tree_files
from bundler.digest import parse_sha256
from bundler.errors import InputError, OutputError
from bundler.paths import archive_path, printable
from bundler.registry.registry import Registry
from bundler.system.atomic import staged_dir
from bundler.system.environ import read_host_environment

__all__ = ["download", "has_all", "identity", "local_model", "texts", "unknown_model", "write_file_list"]

_EXECUTABLE = 0o755
_MODELS = "azureml-models"


def texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    """Return tags or properties, whose values are texts in the original, too."""
    return {str(name): str(value) for name, value in (values or {}).items()}


def write_file_list(
    registry: Registry, model_path: FileName, child_paths: Sequence[str] | None
) -> tuple[str, list[dict[str, Any]]]:
    """Store the files of a model, and return its name in a directory and the facts of its files.

    :param child_paths: of a directory, only these files and directories; None is all.
    :raises InputError: if the path does not exist, has no file, or has a link or a special file.
    """
    path = read_host_environment().cwd / model_path
    if not path.exists():
        raise InputError(f"model not found: `{printable(str(model_path))}`")
    name = path.resolve().name
    files = tree_files(path, name)
    if child_paths is not None:
        wanted = [PurePosixPath(name, child) for child in child_paths]
        files = [
            file for file in files if any(PurePosixPath(file.path).is_relative_to(one) for one in wanted)
        ]
        if not files:
            raise InputError(f"`{printable(str(model_path))}` has none of the files in `child_paths`")
    listed = []
    for file in files:
        source = path.parent.resolve() / file.path if path.is_dir() else path
        digest, size = registry.put_blob(source)
        listed.append({"path": file.path, "mode": file.mode, "size": size, "sha256": digest})
    return name, listed


def download(registry: Registry, content: Mapping[str, Any], target_dir: FileName, *, replace: bool) -> str:
    """Write a model's file or directory into a directory, and return its path.

    :param content: the content of the model's record.
    :param replace: whether an existing file or directory is replaced, after all files were read.
    :raises OutputError: if the file or directory already exists.
    :raises IntegrityError: if a stored file differs from its registered sha256.
    """
    folder = read_host_environment().cwd / target_dir
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / archive_path(content["path"])
    if not replace or not out.exists():
        _write(registry, content, out)
        return str(out)
    fresh = folder / f".{out.name}.{os.getpid()}"
    _write(registry, content, fresh)
    if out.is_dir() and not out.is_symlink():
        shutil.rmtree(out)
    elif fresh.is_dir():
        out.unlink()
    fresh.replace(out)
    return str(out)


def _write(registry: Registry, content: Mapping[str, Any], out: Path) -> None:
    files = [(archive_path(facts["path"]), facts) for facts in content["files"]]
    if [path for path, _ in files] == [content["path"]]:
        registry.fetch_blob(parse_sha256(files[0][1]["sha256"]), out)
        return
    try:
        with staged_dir(out) as staging:
            for path, facts in files:
                target = staging / PurePosixPath(path).relative_to(content["path"])
                target.parent.mkdir(parents=True, exist_ok=True)
                registry.fetch_blob(parse_sha256(facts["sha256"]), target)
                target.chmod(0o755 if facts["mode"] == _EXECUTABLE else 0o644)
    except FileExistsError as error:
        raise OutputError(f"`{out}` already exists") from error


def local_model(name: str, version: int | None) -> str | None:
    """Return the path of a model that was downloaded, or of a file of that name; None without both."""
    host = read_host_environment()
    versions = host.cwd / (host.get("AML_APP_ROOT") or "") / _MODELS / name
    numbers = [int(path.name) for path in versions.glob("*") if path.name.isdigit()]
    wanted = version if version is not None else max(numbers, default=None)
    entries = list((versions / str(wanted)).glob("*"))
    if len(entries) == 1:
        return str(entries[0])
    return name if version is None and (host.cwd / name).exists() else None


def identity(name: str | None, full: str | None, version: int | str | None) -> tuple[str | None, str | None]:
    """Return the name and the version of a model that is named by any of the three."""
    if full is not None:
        named, _, numbered = full.partition(":")
        name, version = name or named, numbered or version
    if name is not None and ":" in name and version is None:
        name, _, version = name.partition(":")
    return name, None if version is None else str(version)


def has_all(values: Mapping[str, str], filters: Sequence[Any] | None) -> bool:
    """Return whether values have all of the filters: a name, or a name and a value."""
    for item in filters or ():
        name, *value = [item] if isinstance(item, str) else item
        if name not in values or (value and values[name] != str(value[0])):
            return False
    return True


def unknown_model(name: str) -> InputError:
    """Return the error for a model that is neither downloaded nor a path."""
    return InputError(
        f"model not found: `{printable(name)}`",
        evidence=("wanted  a directory `azureml-models/NAME/VERSION`, or a path",),
        hint=f"Model(workspace, {name!r}).download()",
    )
