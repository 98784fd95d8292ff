"""Facade: the configurations of web services; those of the cloud only store their parameters.

The names of the parameters are data (`bundler.data.azureml_names`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

from bundler.azureml._service_names import check_parameters
from bundler.azureml.core._arguments import instance
from bundler.data.azureml_names import DEPLOYMENT_PARAMETERS
from bundler.errors import UsageError

__all__ = [
    "AciServiceDeploymentConfiguration",
    "AksServiceDeploymentConfiguration",
    "DeploymentConfiguration",
    "LocalWebserviceDeploymentConfiguration",
]


@dataclass
class LocalWebserviceDeploymentConfiguration:
    """The configuration of a local web service."""

    port: int | None = None
    """The port on this machine; None is a free one."""

    def __post_init__(self) -> None:
        """Check the type of the port."""
        if self.port is not None:
            instance(self.port, int, "port", f"port={self.port if str(self.port).isdigit() else 5001}")

    def validate_configuration(self) -> bool:
        """Return True: the port is checked when the web service starts."""
        return True


class AciServiceDeploymentConfiguration:
    """The configuration of a container of Azure; `Model.deploy` refuses it.

    Each parameter is an attribute, None by default.

    :raises UsageError: if a parameter is unknown, or there are too many.
    """

    _parameters: ClassVar[tuple[str, ...]] = DEPLOYMENT_PARAMETERS.aci

    def __init__(self, *values: Any, **named: Any) -> None:
        method = f"{type(self).__name__.partition('Service')[0]}Webservice.deploy_configuration"
        if len(values) > len(self._parameters):
            raise UsageError(f"`{method}` has only {len(self._parameters)} parameters")
        check_parameters(method, named, self._parameters)
        vars(self).update(
            dict.fromkeys(self._parameters), **dict(zip(self._parameters, values, strict=False))
        )
        vars(self).update(named)

    def validate_configuration(self) -> bool:
        """Return True: nothing of the configuration is used."""
        return True

    def print_deploy_configuration(self) -> None:
        """Log the parameters that are set."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        logging.getLogger("bundler").info("%s", given)


class AksServiceDeploymentConfiguration(AciServiceDeploymentConfiguration):
    """The configuration of a cluster of Azure; `Model.deploy` refuses it."""

    _parameters = DEPLOYMENT_PARAMETERS.aks


DeploymentConfiguration = LocalWebserviceDeploymentConfiguration | AciServiceDeploymentConfiguration
