"""Facade: a workspace is where environments and models are registered: a folder, or an address.

Azure ML's workspace is a service; this one is a folder that any number of
processes of one host may use at once, or an object store (`registry.storage`). Programs
that call ``Workspace.from_config()`` go on working: without a
configuration they get a folder of the user's own.
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
# Where azureml's own programs look (`Workspace.from_config`), in each folder upwards.
_CONFIG_FILES = (".azureml/config.json", "config.json", "aml_config/config.json")


class Workspace:
    """Where environments and models are registered.

    :param location: a folder, or an address that fsspec knows: ``abfs://``,
        ``s3://``, ``gs://``; by default BUNDLER_WORKSPACE, or a folder of the user's own.
    :param workspace_name: the name of a folder of the user's own.
    :param subscription_id: and
    :param resource_group: are taken for the sake of older programs, and mean nothing here.
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
        """Return the workspace that a ``config.json`` names: by ``location``, or by ``workspace_name``.

        :param path: the file, or the folder in which, and above which, it is looked for;
            where there is none, the default workspace is meant.
        :raises InputError: if the file is none.
        """
        host = read_host_environment()
        start = host.cwd / (path or "")
        found = start if start.is_file() else next(_configurations(start), None)
        if found is None:
            if path is not None:
                raise InputError(f"there is no `config.json` at `{start}`", hint="leave the path out")
            return cls()
        values = _read(found)
        if values.get("location"):
            location = str(values["location"])
            return cls(location if "://" in location else found.parent / location)
        return cls(workspace_name=str(values["workspace_name"]))

    @classmethod
    def get(
        cls, name: str, subscription_id: str | None = None, resource_group: str | None = None
    ) -> Workspace:
        """Return the workspace of a name, a folder of the user's own."""
        return cls(workspace_name=name, subscription_id=subscription_id, resource_group=resource_group)

    @classmethod
    def create(cls, name: str, *, exist_ok: bool = True) -> Workspace:
        """Return the workspace of a name; it is made when something is first registered."""
        del exist_ok
        return cls(workspace_name=name)

    @cached_property
    def _storage(self) -> Storage:
        return open_storage(self.location, self._cwd)

    @cached_property
    def environment_registry(self) -> Registry:
        """The registered environments, as they lie in the workspace."""
        return Registry(self._storage, "environments")

    @cached_property
    def model_registry(self) -> Registry:
        """The registered models, as they lie in the workspace."""
        return Registry(self._storage, "models")

    def write_config(self, path: str | os.PathLike[str] | None = None, file_name: str | None = None) -> None:
        """Write the ``config.json`` that `from_config` finds, below ``.azureml`` of a folder."""
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

    named = host.get("BUNDLER_WORKSPACE")
    if name is None and named:
        return named
    wanted = name or _DEFAULT
    if not wanted.replace("-", "").replace("_", "").isalnum() or not wanted.isascii():
        raise InputError(
            f"`{wanted}` names no workspace",
            evidence=("wanted  letters, digits, `-` and `_`; a folder or an address is a location",),
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
            raise ValueError("it has no `workspace_name`")
    except (OSError, ValueError) as error:
        raise InputError(f"`{path}` is no workspace's configuration", evidence=(str(error),)) from error
    return values
