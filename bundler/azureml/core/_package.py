"""Facade: the result of ``Model.package``: a build context or an image, built offline."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler.azureml.core._arguments import instance
from bundler.azureml.core._build import build_environment, dockerfile_head, image_variables
from bundler.azureml.core._build_settings import BuildSettings, options_of_settings, path_setting, user_code
from bundler.azureml.core._files import FileName
from bundler.azureml.core._inference import InferenceConfig, environment_of
from bundler.azureml.core._log import LogReporter
from bundler.azureml.core._managed import check_managed
from bundler.azureml.core._registered_model import RegisteredModel
from bundler.azureml.core.container_registry import ContainerRegistry
from bundler.azureml.core.environment import Environment
from bundler.azureml.exceptions import ServiceError
from bundler.base_image.bases import base_of_image, bases_folder
from bundler.checks.user_code import UserCode
from bundler.deploy.application import PackageOptions
from bundler.deploy.context import from_image
from bundler.deploy.models import ModelFiles as PackedModel
from bundler.deploy.package import PackageRequest, make_package
from bundler.errors import BundlerError, ClosureError, InputError, OutputError, UsageError
from bundler.paths import printable
from bundler.pipeline.build import build_bundle
from bundler.problems import display_path
from bundler.requirements.files import read_requirements
from bundler.requirements.text import similar_path
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment
from bundler.text import listing

if TYPE_CHECKING:
    from bundler.reporter import Reporter

__all__ = ["ModelPackage"]

_LIB_PATH = "AZUREML_EXTRA_PYTHON_LIB_PATH"
_REQUIREMENTS = "AZUREML_EXTRA_REQUIREMENTS_TXT"


class ModelPackage:
    """The result of `Model.package`; `save` writes it as a build context, `pull` as an image.

    Its bundle is in a private temporary directory, which is removed with this object.
    """

    def __init__(
        self,
        *,
        models: Sequence[RegisteredModel],
        config: InferenceConfig,
        generate_dockerfile: bool,
        tag: str | None,
        settings: BuildSettings,
    ) -> None:
        models, config = _checked(models, config)
        self.generate_dockerfile = generate_dockerfile
        self.state = "Succeeded"
        self.error: str | None = None
        self.location: str | None = None
        self.package_build_log_uri: str | None = None
        self.python_version: str | None = None
        self._tag = tag
        self._folder = Path(tempfile.mkdtemp(prefix="bundler-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._log = LogReporter()
        self._reporter: Reporter = settings.get("reporter") or self._log
        self._host = host = read_host_environment()
        self._store = open_store(path_setting(settings, "store", host), host, self._reporter)
        environment = environment_of(config)
        if environment is None:
            raise UsageError("a package needs an environment", hint="InferenceConfig(..., environment=env)")
        self._base = path_setting(settings, "base", host)
        if not generate_dockerfile and self._base is None:
            self._base = base_of_image(bases_folder(host), environment.docker.base_image, "`base`")
            settings = {**settings, "base": self._base}
        self._head = dockerfile_head(environment) if generate_dockerfile else from_image("scratch")
        self._options = self._plan(environment, config, models, settings)

    def _plan(
        self,
        environment: Environment,
        config: InferenceConfig,
        models: Sequence[RegisteredModel],
        settings: BuildSettings,
    ) -> PackageOptions:
        private = self._folder
        settings = {**settings, "reporter": self._reporter, "output": private / "bundle", "format": "dir"}
        settings.pop("context", None)
        settings |= self._code_settings(config)
        code = user_code(settings, self._host)
        if code is None:
            raise UsageError("a package needs code", hint="InferenceConfig(entry_script='score.py')")
        packed = []
        for model in models:
            folder = private / "models" / model.name / str(model.version)
            path = Path(model.download(folder))
            packed.append(PackedModel(name=model.name, version=str(model.version), path=path))
        variables = image_variables(environment)
        managed = environment.python.user_managed_dependencies
        bundle, dynamic = None, False
        if managed and self._base is not None:
            self._check_interpreter(
                environment, None if _LIB_PATH in variables or _REQUIREMENTS in variables else code
            )
        if not managed:
            try:
                build = build_environment(environment, settings)
            except ClosureError as error:
                raise _without_files(error, config, self._host.cwd) from error
            bundle = build.path
            self.python_version = build.built.manifest.target.python_version if build.built else None
        elif _REQUIREMENTS in variables and _LIB_PATH not in variables:
            dynamic = True
            file = _requirements_file(code, packed, variables.pop(_REQUIREMENTS))
            bundle = self._from_requirements(environment, file, settings)
        return PackageOptions(
            bundle=bundle,
            code=code,
            models=tuple(packed),
            mode="dynamic" if dynamic else "mount",
            image=environment.docker.base_image,
            env=variables,
            epoch=self._host.epoch(),
        )

    def _check_interpreter(self, environment: Environment, code: UserCode | None) -> None:
        """Check that the base has the Python of the environment, and that it has the imports of the code.

        :param code: None if further packages come with the code.
        """
        check_managed(
            environment.python.interpreter_path,
            code,
            self._base,
            host=self._host,
            store=self._store,
            reporter=self._reporter,
        )

    def _from_requirements(self, environment: Environment, file: Path, settings: BuildSettings) -> Path:
        """Build the bundle of the requirements that the container installs at its start."""
        requirements = read_requirements(self._host, files=[file])
        options = options_of_settings(environment.name, requirements, settings, self._host)
        built = build_bundle(options, host=self._host, store=self._store, reporter=self._reporter)
        return built.output.path

    def _code_settings(self, config: InferenceConfig) -> BuildSettings:
        """Return the settings of the code; a script without a source directory gets a directory of its own.

        :raises InputError: if there is no such script.
        """
        if config.source_directory is not None:
            return {"source_directory": config.source_directory, "entry_script": config.entry_script}
        script = self._host.cwd / config.entry_script
        if not script.is_file():
            near = similar_path(script)
            name = display_path(near, self._host.cwd) if near is not None else None
            raise InputError(
                f"entry script not found: `{printable(config.entry_script)}`",
                hint=f"did you mean `entry_script={name!r}`?" if name else None,
            )
        folder = self._folder / "code"
        folder.mkdir()
        shutil.copyfile(script, folder / script.name)
        return {"source_directory": folder, "entry_script": script.name}

    def update_creation_state(self) -> None:
        """Do nothing: `state` is always the present one."""

    def wait_for_creation(self, show_output: bool = False) -> None:
        """Return at once: a package is complete when `Model.package` returns.

        :param show_output: ignored; accepted for compatibility.
        """
        del show_output

    def get_logs(self, decode: bool = True, offset: int = 0) -> str:
        """Return the log of the build; empty if a ``reporter`` was passed.

        :param decode: ignored; accepted for compatibility.
        :param offset: the number of characters to leave out at the beginning.
        """
        del decode
        return self._log.text[offset:]

    def get_container_registry(self) -> ContainerRegistry:
        """Raise an error: no registry has the image.

        :raises ServiceError: always.
        """
        raise ServiceError(
            "ModelPackage.get_container_registry",
            "stores images in a registry",
            "`pull` writes the image to a file for `docker load`, `save` its build context",
        )

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
        out = self._host.cwd / output_directory
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        if out.exists():
            names = (f"context-{number}" for number in range(2, 100))
            free = next(name for name in ("context", *names) if not (self._host.cwd / name).exists())
            raise OutputError(
                f"`{display_path(out, self._host.cwd)}` already exists", hint=f"package.save({free!r})"
            )
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
        out = self._host.cwd / output
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


def _checked(models: object, config: object) -> tuple[list[RegisteredModel], InferenceConfig]:
    """Return the models and the configuration of a package, after a check of their types.

    :raises UsageError: if one has another type: a name, an environment, or one model without a list.
    """
    if isinstance(models, Iterable) and not isinstance(models, str):
        items: Iterable[object] = models
    else:
        name = models.name if isinstance(models, RegisteredModel) else str(models)
        items = instance(models, list, "models", f"[Model(workspace, {name!r})]")
    checked = [instance(item, RegisteredModel, "models", f"Model(workspace, {item!r})") for item in items]
    code = "InferenceConfig('score.py', source_directory='code', environment=env)"
    return checked, instance(config, InferenceConfig, "inference_config", code)


def _requirements_file(code: UserCode, models: Sequence[PackedModel], value: str) -> Path:
    """Return the requirements file of AZUREML_EXTRA_REQUIREMENTS_TXT: beside the script, or in a model.

    The first directory of its path can be the directory or the name of a registered model.

    :raises InputError: if neither has it.
    """
    beside = (code.folder / code.script).parent / value
    if beside.is_file():
        return beside
    top, _, rest = value.partition("/")
    for model in models:
        if rest and top in (model.path.name, model.name) and (model.path / rest).is_file():
            return model.path / rest
    raise InputError(
        f"`{printable(value)}` not found, the value of `{_REQUIREMENTS}`",
        evidence=(
            f"wanted  a file relative to the directory of `{code.script}`, or in a registered model",
            *(f"found   model `{model.name}`, `{model.path.name}`" for model in models),
        ),
        hint=f"env.environment_variables[{_REQUIREMENTS!r}] = 'requirements.txt'",
    )


def _without_files(error: ClosureError, config: InferenceConfig, cwd: Path) -> BundlerError:
    """Return the error of a package; without a source directory it has only the script.

    The hint names the directory if the missing modules are beside the script, or one directory below it.
    """
    script = cwd / config.entry_script
    places = [item["message"] for item in (error.facts or {}).get("findings", []) if item["code"] == "U303"]
    names = {match[1] for text in places if (match := re.search(r"imports `(\w+)", text))}
    beside = {
        name
        for name in names
        for above in ("", "*/")
        for form in (f"{above}{name}.py", f"{above}{name}/*.py")
        if next(script.parent.glob(form), None)
    }
    if config.source_directory is not None or not beside:
        return error
    folder = Path(config.entry_script).parent
    hint = f"InferenceConfig('{script.name}', source_directory='{printable(str(folder))}', environment=env)"
    return ClosureError(
        error.message,
        evidence=(
            *error.evidence,
            f"without a source directory, the package has only the script: {listing(sorted(beside), 5)}",
        ),
        hint=hint,
        facts=error.facts,
    )
