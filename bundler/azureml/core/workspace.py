"""Facade: a workspace, in which environments and models are registered: a directory or a URL.

Azure ML's workspace is a service. This one is a directory, which any number of processes of one
host can use at the same time, or an object store (`bundler.registry.storage`). Programs that call
``Workspace.from_config()`` need no change: without a configuration they use the default workspace.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from bundler.errors import InputError
from bundler.registry.registry import Registry
from bundler.registry.storage import Storage, open_storage
from bundler.system.environ import HostEnvironment, read_host_environment

__all__ = ["Workspace"]

_DEFAULT = "default"
# The places of azureml's `Workspace.from_config`, in each directory from the start upwards.
_CONFIG_FILES = (".azureml/config.json", "config.json", "aml_config/config.json")


class Workspace:
    """The registry of environments and models.

    :param location: a directory, or a URL of fsspec (``abfs://``, ``s3://``, ``gs://``); the
        default is the environment variable BUNDLER_WORKSPACE, then the user's data directory.
    :param workspace_name: the name of a workspace in the user's data directory; letters,
        digits, ``-`` and ``_``.
    :param subscription_id: ignored; accepted for compatibility.
    :param resource_group: ignored; accepted for compatibility.
    :raises InputError: if the name is invalid.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | None = None,
        *,
        workspace_name: str | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
    ) -> None:
        del subscription_id, resource_group
        host = read_host_environment()
        self.location = os.fspath(location) if location is not None else _own(workspace_name, host)
        self.name = workspace_name or _name_of(self.location)
        self._cwd = host.cwd

    @classmethod
    def from_config(cls, path: str | os.PathLike[str] | None = None) -> Workspace:
        """Return the workspace of a ``config.json``, by its ``location`` or its ``workspace_name``.

        :param path: the file, or the directory in which, and in whose parents, it is searched
            for; the default is the working directory. Only with the default can the file be
            missing: the default workspace is returned then.
        :raises InputError: if the file is missing or malformed.
        """
        host = read_host_environment()
        start = host.cwd / (path or "")
        file = start if start.is_file() else next(_configurations(start), None)
        if file is None:
            if path is not None:
                raise InputError(f"`config.json` not found in `{start}`", hint="Workspace.from_config()")
            return cls()
        values = _read(file)
        if values.get("location"):
            location = str(values["location"])
            return cls(location if "://" in location else file.parent / location)
        return cls(workspace_name=str(values["workspace_name"]))

    @classmethod
    def get(
        cls, name: str, subscription_id: str | None = None, resource_group: str | None = None
    ) -> Workspace:
        """Return the workspace with a name, in the user's data directory.

        :param subscription_id: ignored; accepted for compatibility.
        :param resource_group: ignored; accepted for compatibility.
        :raises InputError: if the name is invalid.
        """
        return cls(workspace_name=name, subscription_id=subscription_id, resource_group=resource_group)

    @classmethod
    def create(cls, name: str, *, exist_ok: bool = True) -> Workspace:
        """Return the workspace with a name; its directory is created by the first registration.

        :param exist_ok: ignored; accepted for compatibility.
        :raises InputError: if the name is invalid.
        """
        del exist_ok
        return cls(workspace_name=name)

    @cached_property
    def _storage(self) -> Storage:
        return open_storage(self.location, self._cwd)

    @cached_property
    def environment_registry(self) -> Registry:
        """The registered environments."""
        return Registry(self._storage, "environments")

    @cached_property
    def model_registry(self) -> Registry:
        """The registered models."""
        return Registry(self._storage, "models")

    def write_config(self, path: str | os.PathLike[str] | None = None, file_name: str | None = None) -> None:
        """Write the ``.azureml/config.json`` that `from_config` finds.

        :param path: the directory of ``.azureml``; the default is the working directory.
        :param file_name: another name for the file.
        """
        from bundler.system.atomic import replace_file  # noqa: PLC0415 - seldom needed

        folder = self._cwd / (path or "") / ".azureml"
        folder.mkdir(parents=True, exist_ok=True)
        location = self.location if "://" in self.location else str((self._cwd / self.location).resolve())
        content = json.dumps({"workspace_name": self.name, "location": location}, indent=4)
        replace_file(folder / (file_name or "config.json"), f"{content}\n".encode())

    def __repr__(self) -> str:
        return f"Workspace({self.location!r})"


def _own(name: str | None, host: HostEnvironment) -> str:
    from platformdirs import user_data_path  # noqa: PLC0415 - not needed where a location is named

    configured = host.get("BUNDLER_WORKSPACE")
    if name is None and configured:
        return configured
    wanted = name or _DEFAULT
    if not wanted.replace("-", "").replace("_", "").isalnum() or not wanted.isascii():
        raise InputError(
            f"invalid workspace name `{wanted}`",
            evidence=("wanted  letters, digits, `-` and `_`; a directory or a URL is a location",),
            hint="Workspace(location='workspace')",
        )
    return str(user_data_path("bundler", appauthor=False) / "workspaces" / wanted)


def _name_of(location: str) -> str:
    return location.rstrip("/").rpartition("/")[2] or _DEFAULT


def _configurations(start: Path) -> Iterator[Path]:
    for folder in (start, *start.parents):
        for name in _CONFIG_FILES:
            if (folder / name).is_file():
                yield folder / name


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
        if not isinstance(values, dict) or not (values.get("location") or values.get("workspace_name")):
            raise ValueError("`workspace_name` is missing")
    except (OSError, ValueError) as error:
        raise InputError(
            f"`{path}` is not the configuration of a workspace", evidence=(str(error),)
        ) from error
    return values
