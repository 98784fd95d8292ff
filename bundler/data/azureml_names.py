"""Ground, pure: the names of azureml-core that need the service or have a second module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bundler.data.tables import read_table

__all__ = [
    "AZUREML_VERSION",
    "DEPLOYMENT_PARAMETERS",
    "RUN_METHODS",
    "ServiceNames",
    "constants_of",
    "is_module",
    "members_of",
    "modules_of_names",
    "packages",
    "service_of",
    "service_of_member",
    "works_in",
]

_ANY = "*"


class ServiceNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names that need the service of Azure ML for one purpose."""

    does: str
    """The task of the service, a verb and its object."""
    offline: str
    """The alternative without the service."""
    modules: dict[str, tuple[str, ...]]
    """The names by module, without ``azureml.``; ``*`` is every name, also of the modules below."""
    members: dict[str, tuple[str, ...]] = {}
    """The attributes and methods, by the class here that has the others."""


class RunMethods(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The methods of a run outside of the service."""

    metrics: tuple[str, ...]
    """Those that log a metric."""
    ignored: tuple[str, ...]
    """Those without an effect."""


class DeploymentParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of the configurations of web services in the cloud, in their order."""

    aci: tuple[str, ...]
    aks: tuple[str, ...]


class _Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of ``azureml_names.toml``."""

    version: str
    works: dict[str, dict[str, str]]
    constants: dict[str, dict[str, Any]]
    deployment: DeploymentParameters
    run: RunMethods
    service: tuple[ServiceNames, ...]


_TABLE: _Names = read_table("azureml_names.toml", _Names)

AZUREML_VERSION: Final = _TABLE.version
"""The release of azureml-core whose names the table has."""

RUN_METHODS: Final = _TABLE.run
"""The methods of a run outside of the service."""

DEPLOYMENT_PARAMETERS: Final = _TABLE.deployment
"""The parameters of the configurations of web services in the cloud."""


def service_of(module: str, name: str) -> ServiceNames | None:
    """Return the purpose for which a name of a module needs the service, or None.

    >>> service_of("core.compute", "AmlCompute").does
    'provides compute'
    >>> service_of("train.hyperdrive.runconfig", "HyperDriveConfig").does
    'runs training'
    """
    for service in _TABLE.service:
        if name in service.modules.get(module, ()):
            return service
    parts = module.split(".")
    for depth in range(len(parts), 0, -1):
        for service in _TABLE.service:
            if _ANY in service.modules.get(".".join(parts[:depth]), ()):
                return service
    return None


def service_of_member(owner: str, name: str) -> ServiceNames | None:
    """Return the purpose for which a member of a class needs the service, or None.

    >>> service_of_member("Model", "profile").does
    'measures a model'
    """
    return next((service for service in _TABLE.service if name in service.members.get(owner, ())), None)


def members_of(owner: str) -> tuple[str, ...]:
    """Return the members of a class that need the service, sorted."""
    return tuple(sorted(name for service in _TABLE.service for name in service.members.get(owner, ())))


def constants_of(module: str) -> Mapping[str, Any]:
    """Return the values of the names of a module that are neither a class nor a function.

    >>> constants_of("core.profile")["MIN_PROFILE_CPU"]
    0.1
    """
    return _TABLE.constants.get(module, {})


def works_in(module: str, name: str) -> tuple[str, str] | None:
    """Return the module and the name that define a name of another module here, or None.

    >>> works_in("core.runconfig", "MPI_CPU_IMAGE")
    ('core.environment', 'DEFAULT_CPU_IMAGE')
    """
    home = _TABLE.works.get(module, {}).get(name)
    if home is None:
        return None
    where, _, other = home.partition(":")
    return where, other or name


def modules_of_names() -> Mapping[str, tuple[str, ...]]:
    """Return the modules of the table, parents first, each with its names; without those of ``*``."""
    modules: dict[str, set[str]] = {}
    for table in (_TABLE.works, _TABLE.constants):
        for module, names in table.items():
            modules.setdefault(module, set()).update(names)
    for service in _TABLE.service:
        for module, listed in service.modules.items():
            modules.setdefault(module, set()).update(set(listed) - {_ANY})
    return {module: tuple(sorted(modules[module])) for module in sorted(modules)}


def is_module(module: str) -> bool:
    """Return whether a module is in the table, above or below a module of it.

    >>> is_module("train.hyperdrive"), is_module("contrib"), is_module("trains")
    (True, True, False)
    """
    listed = modules_of_names()
    return (
        module in listed
        or any(name.startswith(f"{module}.") for name in listed)
        or service_of(module, _ANY) is not None
    )


def packages() -> tuple[str, ...]:
    """Return the packages below ``azureml`` that are of the SDK, sorted.

    >>> "train" in packages(), "rag" in packages()
    (True, False)
    """
    return tuple(sorted({module.split(".")[0] for module in modules_of_names()}))
