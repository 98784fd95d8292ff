"""Facade: one registered version of a model: its values, which are stored and shown, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bundler.azureml._service_names import ServiceMembers, missing_member
from bundler.azureml.core._files import FileName
from bundler.azureml.core._model_files import download, texts
from bundler.azureml.core.resource_configuration import ResourceConfiguration
from bundler.azureml.core.workspace import Workspace
from bundler.errors import UsageError
from bundler.registry.registry import RegisteredVersion

__all__ = ["RegisteredModel"]

# The values that `update` changes, with their names in the content of a record.
_CHANGEABLE = ("tags", "properties", "description", "resource_configuration")


class RegisteredModel(metaclass=ServiceMembers):
    """One version of a model."""

    run: None = None
    """The run that registered the model: always None, as without a run in the original."""
    run_id: None = None
    """As ``run``."""
    experiment_name: None = None
    """As ``run``."""
    sample_input_dataset: None = None
    """Always None, as is ``sample_output_dataset``."""
    sample_output_dataset: None = None
    """Always None."""

    def __init__(self, workspace: Workspace, record: RegisteredVersion) -> None:
        self.record = record
        self.workspace = workspace
        self.name = record.name
        self.version: int | str = int(record.version) if record.version.isdigit() else record.version
        self.id = f"{self.name}:{self.version}"
        self.created_time: datetime = datetime.fromisoformat(record.created)
        self._content: dict[str, Any] = {**record.content, **workspace.model_registry.annotations(record)}
        self.model_framework: str | None = self._content.get("framework")
        self.model_framework_version: str | None = self._content.get("framework_version")
        self.datasets: list[Any] = self._content.get("datasets", [])
        self._read_changeable()

    def _read_changeable(self) -> None:
        self.description: str | None = self._content["description"]
        self.tags: dict[str, str] = dict(self._content["tags"])
        self.properties: dict[str, str] = dict(self._content["properties"])
        self.resource_configuration = ResourceConfiguration.deserialize(
            self._content.get("resource_configuration")
        )

    def download(
        self, target_dir: FileName = ".", exist_ok: bool = False, exists_ok: bool | None = None
    ) -> str:
        """Write the model's file or directory into a directory, and return its path.

        :param target_dir: the directory, which is created if necessary; the default is the working directory.
        :param exist_ok: whether an existing file or directory is replaced; the default is False.
        :param exists_ok: the older name of ``exist_ok``.
        :raises OutputError: if the file or directory already exists.
        :raises IntegrityError: if a stored file differs from its registered sha256.
        """
        replace = exist_ok if exists_ok is None else exists_ok
        return download(self.workspace.model_registry, self._content, target_dir, replace=replace)

    def delete(self) -> None:
        """Hide the version: it is not found any more, and its number is not used again."""
        self.workspace.model_registry.delete(self.name, str(self.version))

    def update(
        self,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        sample_input_dataset: object = None,
        sample_output_dataset: object = None,
        resource_configuration: ResourceConfiguration | None = None,
    ) -> None:
        """Replace tags, description and resources of the version; None leaves them unchanged.

        :param sample_input_dataset: ignored; accepted for compatibility.
        :param sample_output_dataset: ignored; accepted for compatibility.
        :raises InputError: if a text has credentials.
        """
        del sample_input_dataset, sample_output_dataset
        resources = resource_configuration and resource_configuration.serialize()
        self._change(
            tags=texts(tags) if tags else None, description=description, resource_configuration=resources
        )

    def update_tags_properties(
        self,
        add_tags: Mapping[str, Any] | None = None,
        remove_tags: Sequence[str] | None = None,
        add_properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Add and remove tags, and add properties.

        :raises UsageError: if a property already exists with another value.
        """
        changed = [
            name for name, value in texts(add_properties).items() if self.properties.get(name, value) != value
        ]
        if changed:
            raise UsageError(f"the property `{changed[0]}` already exists", hint="use a tag")
        removed = {remove_tags} if isinstance(remove_tags, str) else set(remove_tags or ())
        tags = {name: value for name, value in self.tags.items() if name not in removed}
        self._change(
            tags={**tags, **texts(add_tags)}, properties={**self.properties, **texts(add_properties)}
        )

    def add_tags(self, tags: Mapping[str, Any]) -> None:
        """Add tags, or replace those of the same name."""
        self.update_tags_properties(add_tags=tags)

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Remove the tags with these names; missing ones are ignored."""
        self.update_tags_properties(remove_tags=tags)

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties; an existing one cannot be changed."""
        self.update_tags_properties(add_properties=properties)

    def _change(self, **values: Any) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        content = {**self._content, **given}
        kept = {name: content[name] for name in _CHANGEABLE if name in content}
        self.workspace.model_registry.annotate(self.record, kept)
        self._content = content
        self._read_changeable()

    def serialize(self) -> dict[str, Any]:
        """Return the model as JSON values, under the names of the original."""
        resources = self.resource_configuration
        return {
            "createdTime": self.created_time.isoformat(),
            "datasets": self.datasets,
            "description": self.description,
            "framework": self.model_framework,
            "frameworkVersion": self.model_framework_version,
            "id": self.id,
            "name": self.name,
            "properties": self.properties,
            "resourceConfiguration": resources.serialize() if resources else None,
            "tags": self.tags,
            "version": self.version,
        }

    def __getattr__(self, name: str) -> Any:
        """Raise the error of an attribute that needs the service.

        :raises ServiceError: for such an attribute; it is not an ``AttributeError``.
        """
        raise missing_member(type(self), name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, version={self.version!r})"
