"""Facade: registered models, and ``Model.package``: a build context or an image, built offline.

A registered model is a file or a directory; the workspace stores its files by sha256. A package
has the same content as the output of ``bundler package``.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Unpack

from bundler.azureml.core._build import build_environment, dockerfile_head, image_variables
from bundler.azureml.core._build_settings import BuildSettings, options_of_settings, user_code
from bundler.azureml.core._files import FileName
from bundler.azureml.core._log import LogReporter
from bundler.azureml.core.environment import Environment
from bundler.azureml.core.workspace import Workspace
from bundler.deploy.application import ModelFiles as PackedModel
from bundler.deploy.application import PackageOptions
from bundler.deploy.context import from_image
from bundler.deploy.package import PackageRequest, make_package
from bundler.deploy.source_files import tree_files
from bundler.digest import parse_sha256
from bundler.errors import InputError, OutputError, UsageError
from bundler.paths import archive_path, printable
from bundler.pipeline.build import build_bundle
from bundler.registry.registry import RegisteredVersion
from bundler.requirements.files import read_requirements
from bundler.store.store import open_store
from bundler.system.atomic import staged_dir
from bundler.system.environ import read_host_environment

if TYPE_CHECKING:
    from bundler.reporter import Reporter

__all__ = ["InferenceConfig", "Model", "ModelPackage"]

_LIB_PATH = "AZUREML_EXTRA_PYTHON_LIB_PATH"
_REQUIREMENTS = "AZUREML_EXTRA_REQUIREMENTS_TXT"
_EXECUTABLE = 0o755


@dataclass(frozen=True)
class InferenceConfig:
    """The code that serves models, and the environment in which it runs."""

    entry_script: str
    """The script with init() and run(), relative to ``source_directory``, or to the working directory."""
    source_directory: FileName | None = None
    """The directory of the code, packed as a whole; None packs only the script."""
    environment: Environment | None = None
    """The environment; `Model.package` needs one."""
    description: str | None = None
    """A text for people; not used."""


class Model:
    """A registered model.

    :param workspace: the workspace in which it is registered.
    :param name: the name of the model.
    :param version: the version; None is the latest one.
    :raises InputError: if the workspace has no such model or version.
    """

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        *,
        version: int | str | None = None,
        _registered: RegisteredVersion | None = None,
    ) -> None:
        wanted = None if version is None else str(version)
        registered = _registered or workspace.model_registry.get(name, version=wanted)
        self.workspace = workspace
        self.name = registered.name
        self.version = int(registered.version) if registered.version.isdigit() else registered.version
        self.id = f"{self.name}:{self.version}"
        self._content = registered.content
        self.description: str | None = registered.content["description"]
        self.tags: dict[str, str] = dict(registered.content["tags"])
        self.properties: dict[str, str] = dict(registered.content["properties"])

    @staticmethod
    def register(
        workspace: Workspace,
        model_path: FileName,
        model_name: str,
        *,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> Model:
        """Register a file or a directory as the next version of a model.

        If a version with the same files, tags, properties and description exists, it is returned
        instead, the newest one first.

        :param workspace: the workspace that stores the model.
        :param model_path: the file or directory; a relative path starts at the working directory.
        :param model_name: the name of the model.
        :param tags: texts by name, as for ``properties``.
        :param description: a text for people.
        :raises InputError: if the path does not exist, has no file, or has a link or a special
            file; if the name is invalid, or a text has credentials.
        """
        registry = workspace.model_registry
        path = read_host_environment().cwd / model_path
        if not path.exists():
            raise InputError(f"model not found: `{printable(str(model_path))}`")
        listed = []
        for file in tree_files(path, path.resolve().name):
            source = path.parent.resolve() / file.path if path.is_dir() else path
            digest, size = registry.put_blob(source)
            listed.append({"path": file.path, "mode": file.mode, "size": size, "sha256": digest})
        content = {
            "description": description,
            "files": listed,
            "path": path.resolve().name,
            "properties": dict(properties or {}),
            "tags": dict(tags or {}),
        }
        return Model(workspace, model_name, _registered=registry.register(model_name, content))

    @staticmethod
    def list(workspace: Workspace, name: str | None = None, *, latest: bool = False) -> list[Model]:
        """Return the registered models, sorted by name, then in the order of their registration.

        :param name: only the versions of this model; None is all models.
        :param latest: only the latest version of each model.
        """
        registry = workspace.model_registry
        newest = [registered for registered in registry.latest() if name in (None, registered.name)]
        if latest:
            return [Model(workspace, registered.name, _registered=registered) for registered in newest]
        return [
            Model(workspace, registered.name, version=version)
            for registered in newest
            for version in registry.versions(registered.name)
        ]

    def download(self, target_dir: FileName = ".") -> str:
        """Write the model's file or directory into a directory, and return its path.

        :param target_dir: the directory, which is created if necessary; the default is the working directory.
        :raises OutputError: if the file or directory already exists.
        :raises IntegrityError: if a stored file differs from its registered sha256.
        """
        folder = read_host_environment().cwd / target_dir
        folder.mkdir(parents=True, exist_ok=True)
        out = folder / archive_path(self._content["path"])
        registry = self.workspace.model_registry
        files = [(archive_path(facts["path"]), facts) for facts in self._content["files"]]
        if [path for path, _ in files] == [self._content["path"]]:
            registry.fetch_blob(parse_sha256(files[0][1]["sha256"]), out)
            return str(out)
        try:
            with staged_dir(out) as staging:
                for path, facts in files:
                    target = staging / PurePosixPath(path).relative_to(self._content["path"])
                    target.parent.mkdir(parents=True, exist_ok=True)
                    registry.fetch_blob(parse_sha256(facts["sha256"]), target)
                    target.chmod(0o755 if facts["mode"] == _EXECUTABLE else 0o644)
        except FileExistsError as error:
            raise OutputError(f"`{out}` already exists") from error
        return str(out)

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
        if inference_config is None or inference_config.environment is None:
            raise UsageError(
                "a package needs code and an environment",
                hint="InferenceConfig(entry_script='score.py', source_directory='code', environment=env)",
            )
        return ModelPackage(
            models=models,
            config=inference_config,
            generate_dockerfile=generate_dockerfile,
            tag=f"{image_name}:{image_label or 'latest'}" if image_name else None,
            settings=settings,
        )

    def __repr__(self) -> str:
        return f"Model(name={self.name!r}, version={self.version!r})"


class ModelPackage:
    """The result of `Model.package`; `save` writes it as a build context, `pull` as an image.

    Its bundle is in a private temporary directory, which is removed with this object.
    """

    def __init__(
        self,
        *,
        models: Sequence[Model],
        config: InferenceConfig,
        generate_dockerfile: bool,
        tag: str | None,
        settings: BuildSettings,
    ) -> None:
        self.generate_dockerfile = generate_dockerfile
        self.state = "Succeeded"
        self.error: str | None = None
        self.location: str | None = None
        self._tag = tag
        self._folder = Path(tempfile.mkdtemp(prefix="bundler-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._log = LogReporter()
        self._reporter: Reporter = settings.get("reporter") or self._log
        host = read_host_environment()
        self._cwd = host.cwd
        store = settings.get("store")
        self._store = open_store(Path(store) if store else None, host, self._reporter)
        base = settings.get("base")
        self._base = host.cwd / base if base is not None else None
        if not generate_dockerfile and self._base is None:
            raise UsageError(
                "an image needs the archive of its base image",
                hint="base='base.tar', a tar of `docker save`; or generate_dockerfile=True",
            )
        environment = config.environment
        if environment is None:
            raise UsageError("a package needs an environment", hint="InferenceConfig(..., environment=env)")
        self._head = dockerfile_head(environment) if generate_dockerfile else from_image("scratch")
        self._options = self._plan(environment, config, models, settings)

    def _plan(
        self,
        environment: Environment,
        config: InferenceConfig,
        models: Sequence[Model],
        settings: BuildSettings,
    ) -> PackageOptions:
        private = self._folder
        settings = {**settings, "reporter": self._reporter, "output": private / "bundle", "format": "dir"}
        settings.pop("context", None)
        settings |= self._code_settings(config)
        code = user_code(settings, read_host_environment())
        if code is None:
            raise UsageError("a package needs code", hint="InferenceConfig(entry_script='score.py')")
        variables = image_variables(environment)
        managed = environment.python.user_managed_dependencies
        bundle, dynamic = None, False
        if not managed:
            bundle = build_environment(environment, settings).path
        elif _REQUIREMENTS in variables and _LIB_PATH not in variables:
            dynamic = True
            file = (code.folder / code.script).parent / variables.pop(_REQUIREMENTS)
            bundle = self._from_requirements(environment, file, settings)
        packed = []
        for model in models:
            folder = private / "models" / model.name / str(model.version)
            path = Path(model.download(folder))
            packed.append(PackedModel(name=model.name, version=str(model.version), path=path))
        return PackageOptions(
            bundle=bundle,
            code=code,
            models=tuple(packed),
            mode="dynamic" if dynamic else "mount",
            image=environment.docker.base_image,
            env=variables,
            epoch=read_host_environment().epoch(),
        )

    def _from_requirements(self, environment: Environment, file: Path, settings: BuildSettings) -> Path:
        """Build the bundle of the requirements that the container installs at its start."""
        host = read_host_environment()
        requirements = read_requirements(host, files=[file])
        options = options_of_settings(environment.name, requirements, settings, host)
        built = build_bundle(options, host=host, store=self._store, reporter=self._reporter)
        return built.output.path

    def _code_settings(self, config: InferenceConfig) -> BuildSettings:
        """Return the settings of the code; a script without a source directory gets a directory of its own.

        :raises InputError: if there is no such script.
        """
        if config.source_directory is not None:
            return {"source_directory": config.source_directory, "entry_script": config.entry_script}
        script = self._cwd / config.entry_script
        if not script.is_file():
            raise InputError(f"entry script not found: `{printable(config.entry_script)}`")
        folder = self._folder / "code"
        folder.mkdir()
        shutil.copyfile(script, folder / script.name)
        return {"source_directory": folder, "entry_script": script.name}

    def wait_for_creation(self, show_output: bool = False) -> None:
        """Return at once: a package is complete when `Model.package` returns.

        :param show_output: ignored; accepted for compatibility.
        """
        del show_output

    def get_logs(self) -> str:
        """Return the log of the build; empty if a ``reporter`` was passed."""
        return self._log.text

    def save(self, output_directory: FileName) -> None:
        """Write the build context to a directory that is empty or does not exist.

        :raises UsageError: if the package was made for an image (``generate_dockerfile=False``).
        :raises OutputError: if the directory has files or cannot be written.
        :raises ClosureError: if the image would not start the server.
        """
        if not self.generate_dockerfile:
            raise UsageError(
                "the package was made for an image, not for a build context",
                hint="package.pull('image.tar'), or Model.package(..., generate_dockerfile=True)",
            )
        out = self._cwd / output_directory
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        request = PackageRequest(options=self._options, head=self._head, base=self._base, context=out)
        make_package(request, store=self._store, reporter=self._reporter)
        self.location = str(out)

    def pull(self, output: FileName = "image.tar") -> str:
        """Write the image as an archive for ``docker load``, without a Docker daemon, and return its path.

        :param output: the file to write; a relative path starts at the working directory.
        :raises UsageError: if the package was made for a build context (``generate_dockerfile=True``).
        :raises ClosureError: if the image would not start the server, or the bundle does not fit the base.
        """
        if self.generate_dockerfile:
            raise UsageError(
                "the package was made for a build context, not for an image",
                hint="package.save('context'), or Model.package(..., generate_dockerfile=False)",
            )
        out = self._cwd / output
        request = PackageRequest(options=self._options, base=self._base, image=out, tag=self._tag)
        make_package(request, store=self._store, reporter=self._reporter)
        self.location = str(out)
        return str(out)

    def serialize(self) -> dict[str, Any]:
        """Return the facts as JSON values: ``generateDockerfile``, ``state``, ``location``."""
        return {
            "generateDockerfile": self.generate_dockerfile,
            "state": self.state,
            "location": self.location,
        }
