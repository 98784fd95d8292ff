"""Facade: registered models, and their packages and local web services.

A registered model is a file or a directory; the workspace stores its files by sha256. A package
has the same content as the output of ``bundler package``.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Unpack

from bundler.azureml._service_names import find_name
from bundler.azureml.core._build_settings import BuildSettings
from bundler.azureml.core._deployment_configuration import DeploymentConfiguration
from bundler.azureml.core._files import FileName
from bundler.azureml.core._inference import InferenceConfig
from bundler.azureml.core._model_files import (
    has_all,
    identity,
    local_model,
    texts,
    unknown_model,
    write_file_list,
)
from bundler.azureml.core._package import ModelPackage
from bundler.azureml.core._registered_model import RegisteredModel
from bundler.azureml.core.environment import Environment
from bundler.azureml.core.resource_configuration import ResourceConfiguration
from bundler.azureml.core.webservice import Webservice, deploy_models
from bundler.azureml.core.workspace import Workspace, as_workspace
from bundler.errors import InputError, UsageError
from bundler.registry.registry import RegisteredVersion

__all__ = ["Environment", "InferenceConfig", "Model", "ModelPackage", "ResourceConfiguration"]

_NEEDS_CODE = "InferenceConfig(entry_script='score.py', source_directory='code', environment=env)"


class Model(RegisteredModel):
    """A registered model.

    :param workspace: the workspace in which it is registered.
    :param name: the name of the model; it may be left out with ``id``, ``tags`` or ``properties``.
    :param id: the name and the version, ``NAME:VERSION``.
    :param tags: only a model with these tags, as in `list`.
    :param properties: only a model with these properties, as in `list`.
    :param version: the version; None is the latest one.
    :param run_id: ignored; accepted for compatibility.
    :param model_framework: only a model of this framework.
    :param expand: ignored; accepted for compatibility.
    :raises InputError: if the workspace has no such model or version.
    """

    class Framework:
        """Names of frameworks, for ``model_framework``."""

        CUSTOM = "Custom"
        MULTI = "Multi"
        ONNX = "Onnx"
        PYTORCH = "PyTorch"
        SCIKITLEARN = "ScikitLearn"
        TENSORFLOW = "TensorFlow"
        TFKERAS = "TfKeras"

    def __init__(  # noqa: PLR0913, PLR0917 - those of the original
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - the name in the original
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
        version: int | str | None = None,
        run_id: str | None = None,
        model_framework: str | None = None,
        expand: bool = True,
        *,
        _registered: RegisteredVersion | None = None,
    ) -> None:
        del run_id, expand
        registered = _registered or _found(
            workspace, identity(name, id, version), (tags, properties, model_framework)
        )
        super().__init__(workspace, registered)

    @staticmethod
    def register(  # noqa: PLR0913, PLR0917 - those of the original
        workspace: Workspace,
        model_path: FileName,
        model_name: str,
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        description: str | None = None,
        datasets: Sequence[Any] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: Sequence[str] | None = None,
        sample_input_dataset: object = None,
        sample_output_dataset: object = None,
        resource_configuration: ResourceConfiguration | None = None,
    ) -> Model:
        """Register a file or a directory as the next version of a model.

        If a version with the same files and values exists, it is returned instead, the newest one first.

        :param workspace: the workspace that stores the model.
        :param model_path: the file or directory; a relative path starts at the working directory.
        :param model_name: the name of the model.
        :param tags: texts by name, as for ``properties``.
        :param description: a text for people.
        :param datasets: pairs of a purpose and a name of data; stored, not used.
        :param model_framework: the framework, such as ``Model.Framework.ONNX``; stored, not used.
        :param model_framework_version: its version; stored, not used.
        :param child_paths: of a directory, only these files and directories.
        :param sample_input_dataset: ignored; accepted for compatibility.
        :param sample_output_dataset: ignored; accepted for compatibility.
        :param resource_configuration: the resources of the model; stored, not used.
        :raises InputError: if the path does not exist, has no file, or has a link or a special
            file; if the name is invalid, or a text has credentials.
        """
        del sample_input_dataset, sample_output_dataset
        registry = as_workspace(workspace).model_registry
        path, files = write_file_list(registry, model_path, child_paths)
        content: dict[str, Any] = {
            "description": description,
            "files": files,
            "path": path,
            "properties": texts(properties),
            "tags": texts(tags),
        }
        further = {
            "datasets": [[str(part) for part in pair] for pair in datasets or ()],
            "framework": model_framework,
            "framework_version": model_framework_version,
            "resource_configuration": resource_configuration and resource_configuration.serialize(),
        }
        content |= {key: value for key, value in further.items() if value}
        return Model(workspace, _registered=registry.register(model_name, content))

    @staticmethod
    def get_model_path(
        model_name: str, version: int | None = None, _workspace: Workspace | None = None
    ) -> str:
        """Return the path of a model's file or directory.

        It is searched for in ``azureml-models`` below AML_APP_ROOT, or below the working directory,
        then in ``_workspace``, from which it is downloaded to there, then as a path.

        :param version: the version; the default is the latest.
        :raises InputError: if there is no such model.
        """
        folder = local_model(model_name, version)
        if folder is not None:
            return folder
        if _workspace is None:
            raise unknown_model(model_name)
        model = Model(_workspace, model_name, version=version)
        return model.download(f"azureml-models/{model.name}/{model.version}", exist_ok=True)

    @staticmethod
    def list(  # noqa: PLR0913, PLR0917 - those of the original
        workspace: Workspace,
        name: str | None = None,
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
        run_id: str | None = None,
        latest: bool = False,
        dataset_id: str | None = None,
        expand: bool = True,
        page_count: int = 255,
        model_framework: str | None = None,
    ) -> builtins.list[Model]:
        """Return the registered models, sorted by name, then in the order of their registration.

        :param name: only the versions of this model; None is all models.
        :param tags: only models with these tags; each is a name, or a list of a name and a value.
        :param properties: as ``tags``, for properties.
        :param latest: only the latest version of each model.
        :param model_framework: only models of this framework.
        :param run_id: ignored, as are ``dataset_id``, ``expand`` and ``page_count``.
        :raises UsageError: if ``tags`` or ``properties`` is not a list.
        """
        del run_id, dataset_id, expand, page_count
        for filters in (tags, properties):
            if isinstance(filters, (str, Mapping)):
                raise UsageError(
                    "`tags` and `properties` must be lists", hint="tags=['key', ['other key', 'value']]"
                )
        return [
            model
            for model in _models(workspace, name, latest=latest)
            if has_all(model.tags, tags)
            and has_all(model.properties, properties)
            and model_framework in (None, model.model_framework)
        ]

    @staticmethod
    def package(
        workspace: Workspace,
        models: Sequence[Model],
        inference_config: InferenceConfig | None = None,
        generate_dockerfile: bool = False,
        image_name: str | None = None,
        image_label: str | None = None,
        **settings: Unpack[BuildSettings],
    ) -> ModelPackage:
        """Build the bundle of an environment for the code and models that an image serves.

        :param workspace: ignored; each model knows its own workspace.
        :param models: the models to pack; the image finds them through ``AZUREML_MODEL_DIR``.
        :param inference_config: the code and the environment; both are required.
        :param generate_dockerfile: True prepares a build context (`ModelPackage.save`), False an
            image (`ModelPackage.pull`), which needs the base image's archive in ``base``.
        :param image_name: the name of the image; the default is the name of the bundle.
        :param image_label: the tag of the image, if ``image_name`` is set; the default is ``latest``.
        :param settings: the keyword arguments of `Environment.build`; ``context`` is ignored.
        :raises UsageError: if the code, the environment or the base is missing.
        :raises BundlerError: if the environment cannot be built; see `Environment.build`.
        """
        del workspace
        if inference_config is None:
            raise UsageError("a package needs code and an environment", hint=_NEEDS_CODE)
        return ModelPackage(
            models=models,
            config=inference_config,
            generate_dockerfile=generate_dockerfile,
            tag=f"{image_name}:{image_label or 'latest'}" if image_name else None,
            settings=settings,
        )

    @staticmethod
    def deploy(  # noqa: PLR0913, PLR0917 - those of the original
        workspace: Workspace,
        name: str,
        models: Sequence[Model],
        inference_config: InferenceConfig | None = None,
        deployment_config: DeploymentConfiguration | None = None,
        deployment_target: object = None,
        overwrite: bool = False,
        show_output: bool = False,
        **settings: Unpack[BuildSettings],
    ) -> Webservice:
        """Start a web service for models: the real inference server, on this machine.

        :param name: the name of the service.
        :param models: the models that it serves.
        :param inference_config: the code and the environment; both are required.
        :param deployment_config: the result of ``LocalWebservice.deploy_configuration``.
        :param deployment_target: a compute target; it needs the service.
        :param overwrite: whether a service of the same name in this program is replaced.
        :param show_output: ignored; accepted for compatibility.
        :param settings: the keyword arguments of `Environment.build`; ``server`` is the version to start.
        :raises ServiceError: if the configuration is not that of a local web service.
        :raises UsageError: if the code or the environment is missing, or the name is in use.
        :raises BundlerError: if the environment cannot be built; see `Environment.build`.
        """
        del show_output
        if inference_config is None:
            raise UsageError("a web service needs code and an environment", hint=_NEEDS_CODE)
        configuration = None if deployment_target is not None else deployment_config
        return deploy_models(
            workspace, name, models, inference_config, configuration, overwrite=overwrite, settings=settings
        )


def __getattr__(name: str) -> Any:
    """Return a name of the original's module that needs the service."""
    return find_name(__name__, name)


def _found(
    workspace: Workspace, wanted: tuple[str | None, str | None], filters: tuple[Any, Any, str | None]
) -> RegisteredVersion:
    """Return the record of a name and version, or the newest one that the filters select."""
    name, version = wanted
    if name is not None and not any(filters):
        return as_workspace(workspace).model_registry.get(name, version=version)
    if not any(filters):
        raise UsageError("`Model` needs a name", hint="Model(workspace, 'iris')")
    tags, properties, framework = filters
    models = Model.list(workspace, name, tags, properties, model_framework=framework)
    models = [model for model in models if version in (None, str(model.version))]
    if not models:
        raise InputError("no model has these tags, properties and framework")
    return max(models, key=lambda model: model.created_time).record


def _models(workspace: Workspace, name: str | None, *, latest: bool) -> Iterator[Model]:
    registry = as_workspace(workspace).model_registry
    for registered in registry.latest():
        if name in (None, registered.name):
            for record in (registered,) if latest else registry.history(registered.name):
                yield Model(workspace, _registered=record)
