"""Facade: models, the code that serves them, and ``Model.package``: a build context or an image, offline.

A registered model is a file or a folder whose bytes lie in the workspace by
their digest. A package is what ``bundler package`` writes.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Unpack

from bundler.azureml.core._build import (
    BuildSettings,
    build_environment,
    dockerfile_head,
    image_variables,
    options_of_settings,
)
from bundler.azureml.core._files import FileName
from bundler.azureml.core._log import LogReporter
from bundler.azureml.core.environment import Environment
from bundler.azureml.core.workspace import Workspace
from bundler.checks.user_code import UserCode, find_user_code
from bundler.deploy.application import ModelFiles as PackedModel
from bundler.deploy.application import PackageOptions, tree_files
from bundler.deploy.context import from_image
from bundler.deploy.package import PackageRequest, make_package
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
    """The code that serves models, and the environment it runs in."""

    entry_script: str
    """The script with init() and run(), relative to the source directory."""
    source_directory: FileName | None = None
    """The folder of the code; without one the script is packed alone."""
    environment: Environment | None = None
    """The environment that the code runs in."""
    description: str | None = None
    """A text for people."""


class Model:
    """A registered model.

    :param name: its name; the latest version of it unless one is given.
    :raises InputError: if there is none.
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
        """Register a file or a folder as the next version of a model; the same content keeps its version.

        :raises InputError: if there is nothing at the path, or it cannot be packed.
        """
        registry = workspace.model_registry
        path = read_host_environment().cwd / model_path
        if not path.exists():
            raise InputError(f"the model `{printable(str(model_path))}` is not there")
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

        :param latest: whether only the latest version of each is wanted.
        """
        registry = workspace.model_registry
        newest = [one for one in registry.latest() if name in (None, one.name)]
        if latest:
            return [Model(workspace, one.name, _registered=one) for one in newest]
        return [
            Model(workspace, one.name, version=version)
            for one in newest
            for version in registry.versions(one.name)
        ]

    def download(self, target_dir: FileName = ".") -> str:
        """Write the model's file or folder below a folder, and return its path.

        :raises OutputError: if it is there already.
        :raises IntegrityError: if its bytes are no longer what was registered.
        """
        folder = read_host_environment().cwd / target_dir
        folder.mkdir(parents=True, exist_ok=True)
        out = folder / archive_path(self._content["path"])
        registry = self.workspace.model_registry
        files = [(archive_path(one["path"]), one) for one in self._content["files"]]
        if [path for path, _ in files] == [self._content["path"]]:
            registry.fetch_blob(parse_sha256(files[0][1]["sha256"]), out)
            return str(out)
        try:
            with staged_dir(out) as staging:
                for path, one in files:
                    target = staging / PurePosixPath(path).relative_to(self._content["path"])
                    target.parent.mkdir(parents=True, exist_ok=True)
                    registry.fetch_blob(parse_sha256(one["sha256"]), target)
                    target.chmod(0o755 if one["mode"] == _EXECUTABLE else 0o644)
        except FileExistsError as error:
            raise OutputError(f"`{out}` is there already") from error
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
        """Build all that an image needs to serve models.

        :param generate_dockerfile: whether a build context is wanted (`ModelPackage.save`), or
            an image (`ModelPackage.pull`), for which ``base`` is the base image's archive.
        :param settings: as of `Environment.build`.
        :raises BundlerError: if it cannot be built, or would not start.
        """
        del workspace  # whose registry knows the models already
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
    """A package that was built: what `Model.package` returns.

    Its bundle lies in a private folder, which goes when the package does.
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
        given = settings.get("reporter")
        self._reporter: Reporter = given if given is not None else self._log
        host = read_host_environment()
        self._cwd = host.cwd
        named = settings.get("store")
        self._store = open_store(Path(named) if named else None, host, self._reporter)
        base = settings.get("base")
        self._base = host.cwd / base if base is not None else None
        if not generate_dockerfile and self._base is None:
            raise UsageError(
                "an image is written onto its base, and that is not named",
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
        code = self._code(config)
        variables = image_variables(environment)
        managed = environment.python.user_managed_dependencies
        settings = {**settings, "reporter": self._reporter, "output": private / "bundle", "format": "dir"}
        settings |= {"source_directory": code.folder, "entry_script": code.script}
        settings.pop("context", None)
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
            env=variables,
            epoch=read_host_environment().epoch(),
        )

    def _from_requirements(self, environment: Environment, file: Path, settings: BuildSettings) -> Path:
        """Return the bundle of what the container is to install when it starts."""
        host = read_host_environment()
        requirements = read_requirements(host, files=[file])
        options = options_of_settings(environment.name, requirements, settings, host)
        built = build_bundle(options, host=host, store=self._store, reporter=self._reporter)
        return built.output.path

    def _code(self, config: InferenceConfig) -> UserCode:
        if config.source_directory is not None:
            return find_user_code(self._cwd / config.source_directory, config.entry_script)
        script = self._cwd / config.entry_script
        if not script.is_file():
            raise InputError(f"there is no entry script `{printable(config.entry_script)}`")
        folder = self._folder / "code"
        folder.mkdir()
        shutil.copyfile(script, folder / script.name)
        return find_user_code(folder, script.name)

    def wait_for_creation(self, show_output: bool = False) -> None:
        """Return at once: a package is complete when it is made."""
        del show_output

    def get_logs(self) -> str:
        """Return what was said while it was built."""
        return self._log.text

    def save(self, output_directory: FileName) -> None:
        """Write the build context to a folder that is empty or does not exist.

        :raises UsageError: if it is the package of an image.
        """
        if not self.generate_dockerfile:
            raise UsageError(
                "this is the package of an image, and a folder holds a build context",
                hint="package.pull('image.tar'), or Model.package(..., generate_dockerfile=True)",
            )
        out = self._cwd / output_directory
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        request = PackageRequest(options=self._options, head=self._head, base=self._base, context=out)
        make_package(request, store=self._store, reporter=self._reporter)
        self.location = str(out)

    def pull(self, output: FileName = "image.tar") -> str:
        """Write the image to a file that ``docker load`` takes, and return its path; no daemon is asked.

        :raises UsageError: if it is the package of a build context.
        """
        if self.generate_dockerfile:
            raise UsageError(
                "this is the package of a build context",
                hint="package.save('context'), or Model.package(..., generate_dockerfile=False)",
            )
        out = self._cwd / output
        request = PackageRequest(options=self._options, base=self._base, image=out, tag=self._tag)
        make_package(request, store=self._store, reporter=self._reporter)
        self.location = str(out)
        return str(out)

    def serialize(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return {
            "generateDockerfile": self.generate_dockerfile,
            "state": self.state,
            "location": self.location,
        }
