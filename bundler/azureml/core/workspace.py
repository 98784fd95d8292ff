"""Facade: a workspace, in which environments and models are registered: a directory or a URL.

Azure ML's workspace is a service. This one is a directory, which any number of processes of one
host can use at the same time, or an object store (`bundler.registry.storage`). Programs that call
``Workspace.from_config()`` need no change: without a configuration they use the default workspace.
"""

from __future__ import annotations

import builtins
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from bundler.azureml._service_names import ServiceMembers, check_parameters, find_name, missing_member
from bundler.azureml.core._arguments import instance
from bundler.errors import InputError
from bundler.registry.registry import Registry
from bundler.registry.storage import Storage, open_storage
from bundler.system.environ import HostEnvironment, read_host_environment

__all__ = ["Workspace"]

_DEFAULT = "default"
# The places of azureml's `Workspace.from_config`, in each directory from the start upwards.
_CONFIG_PLACES = (".azureml", "", "aml_config")
# The form of a `config.json` of Azure's tools before 2020: the identifier of the workspace.
_SCOPE = re.compile(
    r"/subscriptions/(?P<subscription_id>[^/]+)/resourceGroups/(?P<resource_group>[^/]+)"
    r"/providers/[^/]+/workspaces/(?P<workspace_name>[^/]+)",
    re.IGNORECASE,
)
# Parameters of the original that describe resources of Azure.
_IGNORED = frozenset(
    {
        "_cloud",
        "_disable_service_check",
        "_location",
        "_workspace_id",
        "adb_workspace",
        "allow_public_access_when_behind_vnet",
        "app_insights",
        "cloud",
        "cmk_keyvault",
        "container_registry",
        "create_resource_group",
        "default_cpu_compute_target",
        "default_gpu_compute_target",
        "exist_ok",
        "friendly_name",
        "hbi_workspace",
        "id",
        "key_vault",
        "location",
        "primary_user_assigned_identity",
        "private_endpoint_auto_approval",
        "private_endpoint_config",
        "resource_cmk_uri",
        "show_output",
        "sku",
        "storage_account",
        "system_datastores_auth_mode",
        "tags",
        "user_assigned_identity_for_cmk_encryption",
        "v1_legacy_mode",
    }
)


class Workspace(metaclass=ServiceMembers):
    """The registry of environments and models.

    The positional arguments are those of the original, ``subscription_id``, ``resource_group``,
    ``workspace_name`` and ``auth``; a single one is the location.

    :param location: a directory, or a URL of fsspec (``abfs://``, ``s3://``, ``gs://``); the
        default is the environment variable BUNDLER_WORKSPACE, then the user's data directory.
    :param workspace_name: the name of a workspace in the user's data directory; letters,
        digits, ``-`` and ``_``. With BUNDLER_WORKSPACE every name is that directory.
    :param subscription_id: stored as an attribute, not used.
    :param resource_group: stored as an attribute, not used.
    :param auth: ignored; accepted for compatibility.
    :param options: the other parameters of the original are ignored.
    :raises InputError: if the name is invalid.
    :raises UsageError: if a parameter is unknown.
    """

    def __init__(
        self,
        *identity: Any,
        location: str | os.PathLike[str] | None = None,
        workspace_name: str | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        auth: object = None,
        **options: Any,
    ) -> None:
        del auth
        check_parameters("Workspace", options, _IGNORED)
        if len(identity) == 1:
            location = identity[0]
        elif identity:
            named = (subscription_id, resource_group, workspace_name)
            first = (*identity[:3], *named[len(identity[:3]) :])
            subscription_id, resource_group, workspace_name = first[0], first[1], first[2]
        host = read_host_environment()
        self.location = os.fspath(location) if location is not None else _own(workspace_name, host)
        self.name = workspace_name or _name_of(self.location)
        self.subscription_id = subscription_id or ""
        self.resource_group = resource_group or ""
        self._cwd = host.cwd

    @classmethod
    def from_config(
        cls,
        path: str | os.PathLike[str] | None = None,
        auth: object = None,
        _logger: object = None,
        _file_name: str | None = None,
    ) -> Workspace:
        """Return the workspace of a ``config.json``, by its ``location`` or its ``workspace_name``.

        :param path: the file, or the directory in which, and in whose parents, it is searched
            for; the default is the working directory. The file can be missing with the default
            or with BUNDLER_WORKSPACE: the default workspace is returned then.
        :param auth: ignored; accepted for compatibility.
        :raises InputError: if the file is missing or malformed.
        """
        del auth, _logger
        host = read_host_environment()
        start = host.cwd / (path or "")
        file = start if start.is_file() else next(_configurations(start, _file_name), None)
        if file is None:
            if path is not None and not host.get("BUNDLER_WORKSPACE"):
                raise InputError(
                    f"`{_file_name or 'config.json'}` not found in `{start}`", hint="Workspace.from_config()"
                )
            return cls()
        values = _read(file)
        location = str(values.get("location") or "")
        if location and "://" not in location:
            location = str(file.parent / location)
        return cls(
            location=location or None,
            workspace_name=str(values["workspace_name"]) if values.get("workspace_name") else None,
            subscription_id=str(values.get("subscription_id") or ""),
            resource_group=str(values.get("resource_group") or ""),
        )

    @classmethod
    def get(
        cls,
        name: str,
        auth: object = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        **options: Any,
    ) -> Workspace:
        """Return the workspace with a name, in the user's data directory or BUNDLER_WORKSPACE.

        :param auth: ignored; accepted for compatibility.
        :param subscription_id: stored as an attribute, not used.
        :param resource_group: stored as an attribute, not used.
        :param options: the other parameters of the original are ignored.
        :raises InputError: if the name is invalid.
        :raises UsageError: if a parameter is unknown.
        """
        del auth
        check_parameters("Workspace.get", options, _IGNORED)
        return cls(workspace_name=name, subscription_id=subscription_id, resource_group=resource_group)

    @classmethod
    def create(
        cls,
        name: str,
        auth: object = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        **options: Any,
    ) -> Workspace:
        """Return the workspace that `get` returns; its directory is created by the first registration.

        :param location: ignored: a region of Azure. The other parameters are those of `get`.
        :raises InputError: if the name is invalid.
        :raises UsageError: if a parameter is unknown.
        """
        del location
        check_parameters("Workspace.create", options, _IGNORED)
        return cls.get(name, auth, subscription_id, resource_group)

    @classmethod
    def setup(cls) -> Workspace:
        """Return the default workspace, as `from_config`; the original asks for a name."""
        return cls.from_config()

    @classmethod
    def list(
        cls, subscription_id: str | None = None, auth: object = None, resource_group: str | None = None
    ) -> dict[str, builtins.list[Workspace]]:
        """Return the workspaces in the user's data directory, or that of BUNDLER_WORKSPACE, by name.

        :param subscription_id: stored as an attribute, not used, as is ``resource_group``.
        :param auth: ignored; accepted for compatibility.
        """
        del auth
        identity = {"subscription_id": subscription_id, "resource_group": resource_group}
        if read_host_environment().get("BUNDLER_WORKSPACE"):
            names = [cls().name]
        else:
            places = Path(cls().location).parent
            names = sorted(path.name for path in places.glob("*")) if places.is_dir() else []
        return {name: [cls(workspace_name=name, **identity)] for name in names}

    def get_details(self) -> dict[str, Any]:
        """Return the facts of the workspace, under the names of the original."""
        return {
            "id": self.location,
            "name": self.name,
            "location": self.location,
            "resourceGroup": self.resource_group,
            "subscriptionId": self.subscription_id,
            "type": "bundler-workspace",
            "tags": {},
        }

    @property
    def environments(self) -> dict[str, Any]:
        """The latest version of each environment by name, the curated ones included."""
        from bundler.azureml.core.environment import Environment  # noqa: PLC0415 - it imports this module

        return Environment.list(self)

    @property
    def models(self) -> dict[str, Any]:
        """The latest version of each model, by name."""
        from bundler.azureml.core.model import Model  # noqa: PLC0415 - it imports this module

        return {model.name: model for model in Model.list(self, latest=True)}

    @property
    def webservices(self) -> dict[str, Any]:
        """The local web services of this program, by name."""
        from bundler.azureml.core.webservice import LocalWebservice  # noqa: PLC0415 - it imports this module

        return {service.name: service for service in LocalWebservice.list(self)}

    @property
    def tags(self) -> dict[str, str]:
        """Always empty: a directory has no tags."""
        return {}

    def __getattr__(self, name: str) -> Any:
        """Raise the error of an attribute that needs the service.

        :raises ServiceError: for such an attribute; it is not an ``AttributeError``.
        """
        raise missing_member(type(self), name)

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


def as_workspace(value: object) -> Workspace:
    """Return an argument that is a workspace.

    :raises UsageError: if it is not, for example its name or its directory.
    """
    is_place = isinstance(value, str | os.PathLike)
    hint = f"Workspace({os.fspath(value)!r})" if is_place else "Workspace.from_config()"  # type: ignore[call-overload]
    return instance(value, Workspace, "workspace", hint)


def _own(name: str | None, host: HostEnvironment) -> str:
    from platformdirs import user_data_path  # noqa: PLC0415 - not needed where a location is named

    configured = host.get("BUNDLER_WORKSPACE")
    if configured:
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


def _configurations(start: Path, file_name: str | None) -> Iterator[Path]:
    for folder in (start, *start.parents):
        for place in _CONFIG_PLACES:
            file = folder / place / (file_name or "config.json")
            if file.is_file():
                yield file


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
        if isinstance(values, dict) and (scope := _SCOPE.search(str(values.get("Scope")))):
            values |= scope.groupdict()
        if not isinstance(values, dict) or not (values.get("location") or values.get("workspace_name")):
            raise ValueError("`workspace_name` is missing")
    except (OSError, ValueError) as error:
        raise InputError(
            f"`{path}` is not the configuration of a workspace", evidence=(str(error),)
        ) from error
    return values


def __getattr__(name: str) -> Any:
    """Return a name of the original's module that needs the service."""
    return find_name(__name__, name)
