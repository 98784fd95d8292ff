"""Facade: web services: the real inference server on this machine; those of Azure need the service."""

from __future__ import annotations

import builtins
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from bundler.azureml._service_names import ServiceMembers, find_name, missing_member
from bundler.azureml.core._arguments import instance
from bundler.azureml.core._build_settings import BuildSettings
from bundler.azureml.core._deployment_configuration import (
    AciServiceDeploymentConfiguration,
    AksServiceDeploymentConfiguration,
    DeploymentConfiguration,
    LocalWebserviceDeploymentConfiguration,
)
from bundler.azureml.core._inference import InferenceConfig
from bundler.azureml.core._local_server import LocalServer
from bundler.azureml.core._registered_model import RegisteredModel
from bundler.azureml.core.workspace import Workspace, as_workspace
from bundler.azureml.exceptions import ServiceError
from bundler.deploy.client import ask_server, free_port
from bundler.errors import BundlerError, InputError, UsageError
from bundler.problems import closest

__all__ = [
    "AciServiceDeploymentConfiguration",
    "AciWebservice",
    "AksServiceDeploymentConfiguration",
    "AksWebservice",
    "LocalWebservice",
    "LocalWebserviceDeploymentConfiguration",
    "Webservice",
]

# So that `azureml.core.webservice.local` and its siblings can be imported; see `_service_names`.
__path__: list[str] = []

_DOES = "runs containers"
_OFFLINE = (
    "`Model.package(workspace, models, inference_config, generate_dockerfile=True)` writes the build context "
    "of this web service, and `LocalWebservice.deploy_configuration(port=...)` starts it on this machine"
)

_LOCAL = "LocalWebservice.deploy_configuration()"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inputs:
    """The inputs with which a local web service is started."""

    models: Sequence[RegisteredModel]
    config: InferenceConfig
    port: int | None
    settings: BuildSettings


class Webservice(metaclass=ServiceMembers):
    """A web service of this program.

    :param workspace: the workspace with which it was deployed.
    :param name: its name.
    :raises InputError: if this program has not deployed a web service of this name.
    """

    _services: ClassVar[dict[tuple[str, str], LocalWebservice]] = {}

    def __new__(cls, workspace: Workspace, name: str) -> Self:
        """Return the web service of this name."""
        service = cls._services.get((as_workspace(workspace).location, name))
        if not isinstance(service, cls):
            known = [known for _, known in cls._services]
            near = closest(name, known)
            raise InputError(
                f"this program has no web service `{name}`",
                evidence=(f"known   {', '.join(known) or 'none'}",),
                hint=f"did you mean `{near}`?" if near else None,
            )
        return service

    @classmethod
    def list(cls, workspace: Workspace, *_filters: Any, **_named: Any) -> builtins.list[LocalWebservice]:
        """Return the web services that this program has deployed; the filters are ignored."""
        wanted = as_workspace(workspace).location
        return [service for (place, _), service in cls._services.items() if place == wanted]

    def __getattr__(self, name: str) -> Any:
        """Raise the error of an attribute that needs the service.

        :raises ServiceError: for such an attribute; it is not an ``AttributeError``.
        """
        raise missing_member(type(self), name)


class _CloudWebservice(Webservice):
    """A web service in the cloud, which needs the service."""

    def __new__(cls, workspace: Workspace, name: str) -> Self:
        """Raise the error of a web service in the cloud."""
        del workspace, name
        raise ServiceError(cls.__name__, _DOES, _OFFLINE)


class AciWebservice(_CloudWebservice):
    """A container of Azure; only its configuration exists."""

    @staticmethod
    def deploy_configuration(*values: Any, **named: Any) -> AciServiceDeploymentConfiguration:
        """Return a configuration, which `Model.deploy` refuses.

        :raises UsageError: if a parameter is unknown.
        """
        return AciServiceDeploymentConfiguration(*values, **named)


class AksWebservice(_CloudWebservice):
    """A web service in a cluster of Azure; only its configuration exists."""

    @staticmethod
    def deploy_configuration(*values: Any, **named: Any) -> AksServiceDeploymentConfiguration:
        """Return a configuration, which `Model.deploy` refuses.

        :raises UsageError: if a parameter is unknown.
        """
        return AksServiceDeploymentConfiguration(*values, **named)


class LocalWebservice(Webservice):
    """A web service on this machine: the real inference server, without a container.

    It ends with this program.
    """

    compute_type = "Local"
    """Always ``Local``."""
    STATE_DEPLOYING, STATE_RUNNING, STATE_FAILED, STATE_DELETED = "deploying", "running", "failed", "deleted"
    """The values of `state`."""
    name: str
    """The name of the service."""
    workspace: Workspace
    """The workspace with which it was deployed."""
    error: BundlerError | None
    """The reason why the server does not run; None while it does."""
    created_time: datetime
    """The time of the deployment."""
    _server: LocalServer
    _state: str
    _inputs: _Inputs

    @staticmethod
    def deploy_configuration(port: int | None = None) -> LocalWebserviceDeploymentConfiguration:
        """Return the configuration of a local web service.

        :param port: the port on this machine; None is a free one.
        """
        return LocalWebserviceDeploymentConfiguration(port)

    @classmethod
    def _create(cls, workspace: Workspace, name: str, inputs: _Inputs) -> LocalWebservice:
        service = object.__new__(cls)
        service.name, service.workspace, service.created_time = name, workspace, datetime.now(UTC)
        service._start(inputs)
        cls._services[workspace.location, name] = service
        return service

    def _start(self, inputs: _Inputs) -> None:
        self._inputs = inputs
        port = free_port() if inputs.port is None else inputs.port
        self._server = LocalServer(inputs.models, inputs.config, port, inputs.settings)
        self._state, self.error = "deploying", None

    @property
    def state(self) -> str:
        """``deploying``, ``running``, ``failed`` or ``deleted``."""
        if self._state in ("deploying", "running") and not self._server.is_running:
            return "failed"
        return self._state

    @property
    def port(self) -> int:
        """The port on this machine."""
        return self._server.port

    @property
    def scoring_uri(self) -> str:
        """The URL for requests."""
        return f"http://localhost:{self.port}/score"

    @property
    def swagger_uri(self) -> str:
        """The URL of the description of the requests."""
        return f"http://localhost:{self.port}/swagger.json"

    def wait_for_deployment(self, show_output: bool = False, timeout_sec: float | None = None) -> None:
        """Wait until the server answers.

        :param show_output: ignored, as is ``timeout_sec``.
        :raises BundlerError: if the server ends before, or does not answer in 15 minutes; a later call
            repeats the error.
        """
        del show_output, timeout_sec
        if self._state == "deleted":
            self._require("running")
        if self.error is not None:
            raise self.error
        try:
            self._server.wait()
        except BundlerError as error:
            self._state, self.error = "failed", error
            raise
        self._state = "running"

    def run(self, input_data: Any) -> Any:
        """Send a request, and return the answer: the JSON value, or the text.

        :param input_data: text or bytes; other values are sent as JSON.
        :raises BundlerError: if the server does not answer, or answers with an error.
        """
        self.wait_for_deployment()
        data = input_data if isinstance(input_data, (str, bytes)) else json.dumps(input_data)
        answer = ask_server(self.port, data.encode() if isinstance(data, str) else data)
        try:
            return json.loads(answer)
        except ValueError:
            return answer.decode("utf-8", "replace")

    def get_logs(self, num_lines: int = 5000, raw: bool = False) -> str:
        """Return the last lines of the server's output.

        :param raw: ignored; accepted for compatibility.
        """
        del raw
        return self._server.log(num_lines)

    def update(
        self,
        models: Sequence[RegisteredModel] | None = None,
        image_config: object = None,
        deployment_config: LocalWebserviceDeploymentConfiguration | None = None,
        wait: bool = False,
        inference_config: InferenceConfig | None = None,
    ) -> None:
        """Replace the server by one with other models, code or port; None leaves them unchanged.

        :param image_config: not supported.
        :param wait: whether to wait until the server answers.
        :raises ServiceError: if an image configuration is passed.
        :raises BundlerError: if the environment cannot be built; the service has ended then.
        """
        if image_config is not None:
            raise ServiceError("image_config", "builds images", _OFFLINE)
        now = self._inputs
        self._require("deploying", "running", "failed")
        self._server.end()
        self._state = "failed"
        self._start(
            replace(
                now,
                models=now.models if models is None else models,
                config=inference_config or now.config,
                port=deployment_config.port if deployment_config else self.port,
            )
        )
        if wait:
            self.wait_for_deployment()

    def reload(self, wait: bool = False) -> None:
        """Replace the server by one with the present files of the code; see `update`."""
        self.update(wait=wait)

    def delete(
        self, delete_cache: bool = True, delete_image: bool = False, delete_volume: bool = True
    ) -> None:
        """End the server, and remove its files.

        :param delete_cache: ignored, as are ``delete_image`` and ``delete_volume``.
        """
        del delete_cache, delete_image, delete_volume
        self._server.end()
        self._state = "deleted"
        self._services.pop((self.workspace.location, self.name), None)

    def update_deployment_state(self) -> None:
        """Do nothing: `state` is always the present one."""

    def get_keys(self) -> tuple[str, str]:
        """Raise an error: a local web service has no keys, as in the original.

        :raises UsageError: always.
        """
        raise UsageError("a local web service has no keys", hint="requests.post(service.scoring_uri, ...)")

    def serialize(self) -> dict[str, Any]:
        """Return the service as JSON values, under the names of the original."""
        return {
            "name": self.name,
            "computeType": self.compute_type,
            "createdTime": self.created_time.isoformat(),
            "error": str(self.error) if self.error else None,
            "port": self.port,
            "scoringUri": self.scoring_uri,
            "state": self.state,
            "swaggerUri": self.swagger_uri,
            "workspaceName": self.workspace.name,
        }

    def _require(self, *states: str) -> None:
        if self.state not in states:
            raise UsageError(
                f"the web service `{self.name}` is {self.state}",
                evidence=(f"wanted  {' or '.join(states)}", *self._last_lines()),
            )

    def _last_lines(self) -> tuple[str, ...]:
        return tuple(self._server.log(8).splitlines())

    def __repr__(self) -> str:
        return f"LocalWebservice(name={self.name!r}, state={self.state!r})"


def deploy_models(  # noqa: PLR0913 - those of `Model.deploy`
    workspace: Workspace,
    name: str,
    models: Sequence[RegisteredModel],
    config: InferenceConfig,
    configuration: DeploymentConfiguration | None,
    *,
    overwrite: bool,
    settings: BuildSettings,
) -> LocalWebservice:
    """Start a local web service; see `Model.deploy`.

    :raises ServiceError: if the configuration is not that of a local web service.
    :raises UsageError: if the name is in use.
    """
    if configuration is not None and not isinstance(configuration, AciServiceDeploymentConfiguration):
        instance(configuration, LocalWebserviceDeploymentConfiguration, "deployment_config", _LOCAL)
    if not isinstance(configuration, LocalWebserviceDeploymentConfiguration):
        is_aks = isinstance(configuration, AksServiceDeploymentConfiguration)
        kind = "AksWebservice" if is_aks else "AciWebservice" if configuration else "deployment_target"
        raise ServiceError(kind, _DOES, _OFFLINE)
    existing = Webservice._services.get((as_workspace(workspace).location, name))  # noqa: SLF001 - of this module
    if existing is not None and not overwrite:
        raise UsageError(f"the web service `{name}` already exists", hint="overwrite=True")
    if existing is not None:
        existing.delete()
    inputs = _Inputs(models=models, config=config, port=configuration.port, settings=settings)
    return LocalWebservice._create(workspace, name, inputs)  # noqa: SLF001 - of this module


def __getattr__(name: str) -> Any:
    """Return a name of the original's module that needs the service."""
    return find_name(__name__, name)
