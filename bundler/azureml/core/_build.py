"""Facade: from an environment to a bundle, a Dockerfile and a build context.

An environment's packages are a conda specification, so a build does the same as
``bundler build -f env.yml``. With user-managed packages, which the image already contains,
nothing is built: the imports of the user's code are checked against the Python of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bundler.azureml._service_names import check_parameters
from bundler.azureml.core._build_settings import (
    BuildSettings,
    options_of_settings,
    path_setting,
)
from bundler.azureml.core._definition import EXAMPLE_VARIABLES, EnvironmentDefinition
from bundler.azureml.core._files import FileName
from bundler.azureml.core._image_details import DockerImageDetails
from bundler.azureml.core._log import LogReporter
from bundler.azureml.core._managed import ManagedCheck, check_managed
from bundler.azureml.exceptions import ServiceError
from bundler.base_image.bases import base_of_image, bases_folder
from bundler.bundle.plan import check_name
from bundler.bundle.reader import unpack_bundle
from bundler.deploy.application import PackageOptions, bundle_env
from bundler.deploy.context import check_head, environment_dockerfile, from_image
from bundler.deploy.package import PackageRequest, make_package
from bundler.errors import InputError, UsageError
from bundler.oci.filetree import APP_ROOT
from bundler.pipeline.build import Built, build_bundle
from bundler.pipeline.options import BuildOptions
from bundler.problems import check_variables
from bundler.reporter import SILENT, Reporter
from bundler.requirements.conda.translate import conda_requirements
from bundler.requirements.files import read_requirements
from bundler.requirements.requirement_set import RequirementSet, Specification
from bundler.store.store import Store, open_store
from bundler.system.environ import HostEnvironment, read_host_environment
from bundler.target.target import DEFAULT_PYTHON, site_packages_of

__all__ = [
    "EnvironmentBuild",
    "build_environment",
    "bundle_name",
    "dockerfile_head",
    "image_details",
    "image_variables",
    "run_environment_build",
    "specification",
    "write_environment_context",
]


@dataclass(frozen=True, kw_only=True)
class EnvironmentBuild:
    """The result of ``Environment.build``: a bundle, or the check of user-managed packages."""

    environment: EnvironmentDefinition
    """The environment that was built."""
    built: Built | None
    """The bundle and its manifest; None with user-managed packages."""
    checked: ManagedCheck | None
    """The distributions of the Python with user-managed packages; None if a bundle was built."""
    context: Path | None
    """The directory of the build context; None unless ``context`` was passed."""
    log: str
    """The progress and warnings of the build; empty if a ``reporter`` was passed."""

    @property
    def path(self) -> Path | None:
        """The bundle, an archive or a directory; None with user-managed packages."""
        return self.built.output.path if self.built else None

    @property
    def identity(self) -> str | None:
        """The sha256 of the bundle's manifest without facts of this machine, as 64 hexadecimal digits."""
        return self.built.manifest.identity if self.built else None

    @property
    def status(self) -> str:
        """Always ``Succeeded``, Azure ML's word: a build that fails raises an exception."""
        return "Succeeded"

    def unpack(self, folder: FileName) -> Path:
        """Write the bundle to a new directory, every file checked against the manifest, and return the path.

        :param folder: the directory to create.
        :raises UsageError: if the packages are user-managed, so that no bundle exists.
        :raises OutputError: if the directory already exists or cannot be written.
        :raises IntegrityError: if a file differs from the manifest.
        """
        if self.path is None:
            raise UsageError("no bundle to unpack: the packages are user-managed")
        out = read_host_environment().cwd / folder
        unpack_bundle(self.path, out, reporter=SILENT)
        return out

    def wait_for_completion(self, show_output: bool = True) -> Self:
        """Return at once: the build is complete when ``Environment.build`` returns.

        :param show_output: ignored; accepted for compatibility.
        """
        del show_output
        return self

    def get_log(self) -> str:
        """Return the log of the build."""
        return self.log


_DOCKERFILE = (
    "`docker build` and `docker save` create `image.tar`, which `env.build(base='image.tar')` checks"
)


def build_environment(environment: EnvironmentDefinition, settings: BuildSettings) -> EnvironmentBuild:
    """Build the bundle of an environment, or check a Python with user-managed packages.

    :raises BundlerError: a subclass for each kind of failure; no output remains then.
    """
    check_parameters("build", sorted(settings), BuildSettings.__optional_keys__)
    host = read_host_environment()
    log = LogReporter()
    reporter: Reporter = settings.get("reporter") or log
    context = path_setting(settings, "context", host)
    if environment.python.user_managed_dependencies and settings.get("base") is None:
        with suppress(InputError):  # without the image, the Python of this machine is checked
            settings = {**settings, "base": base_of_image(bases_folder(host), environment.docker.base_image)}
        _check_image_exists(environment, settings)

    def options(requirements: RequirementSet | None) -> BuildOptions:
        name = bundle_name(environment) if requirements is None else environment.name
        return options_of_settings(name, requirements, settings, host)

    built, checked = run_environment_build(
        environment,
        options,
        strict=settings.get("strict", False),
        context=context,
        host=host,
        store=open_store(path_setting(settings, "store", host), host, reporter),
        reporter=reporter,
    )
    return EnvironmentBuild(
        environment=environment, built=built, checked=checked, context=context, log=log.text
    )


def _check_image_exists(environment: EnvironmentDefinition, settings: BuildSettings) -> None:
    """Check that the Python of an image is known, which only a builder of images creates.

    :raises ServiceError: if it has a Dockerfile, and neither its archive nor the path of its Python is set.
    """
    docker = environment.docker
    has_dockerfile = docker.base_dockerfile is not None or docker.build_context is not None
    if has_dockerfile and settings.get("base") is None and "/" not in environment.python.interpreter_path:
        raise ServiceError("Environment.build", "builds the image of a Dockerfile", _DOCKERFILE)


def run_environment_build(  # noqa: PLR0913 - each is a fact of the build
    environment: EnvironmentDefinition,
    make_options: Callable[[RequirementSet | None], BuildOptions],
    *,
    strict: bool,
    context: Path | None,
    host: HostEnvironment,
    store: Store,
    reporter: Reporter,
) -> tuple[Built | None, ManagedCheck | None]:
    """Build the bundle of an environment, or check the Python whose packages the user manages.

    :param make_options: returns the options of the build for the requirements of the
        environment; for None where the user manages the packages.
    :param strict: whether conda packages without a counterpart on the index are refused.
    :param context: where to write the build context of the image as well.
    :return: the bundle, or the check; the other one is None.
    """
    if context is not None:
        image_details(environment)  # reports errors of the image before anything is built
    built = checked = None
    if environment.python.user_managed_dependencies:
        options = make_options(None)
        checked = check_managed(
            environment.python.interpreter_path,
            options.code,
            options.base,
            host=host,
            store=store,
            reporter=reporter,
        )
    else:
        packages = specification(environment, host.cwd)
        options = make_options(read_requirements(host, specification=packages, strict=strict))
        built = build_bundle(options, host=host, store=store, reporter=reporter)
    if context is not None:
        bundle = built.output.path if built else None
        write_environment_context(
            environment, bundle, context, epoch=host.epoch(), store=store, reporter=reporter
        )
    return built, checked


def image_details(environment: EnvironmentDefinition) -> DockerImageDetails:
    """Return the ingredients of an environment's image; nothing is built.

    :raises InputError: if the environment has no base, no packages or an invalid name.
    """
    managed = environment.python.user_managed_dependencies
    text = None if managed else packages_of(environment)
    variables = _own_variables(environment)
    if not managed:
        variables = {**bundle_env(site_packages_of(_python_of(environment))), **variables}
    version = environment.version or "unregistered"
    return DockerImageDetails(
        {
            "imageExistsInRegistry": False,
            "dockerImage": {
                "name": f"{bundle_name(environment).lower()}:{version}",
                "registry": {"address": None, "username": None, "password": None},
            },
            "pythonEnvironment": {
                "interpreterPath": environment.python.interpreter_path if managed else "python",
                "condaEnvironmentPath": None if managed else f"/{APP_ROOT}/bundle",
            },
            "ingredients": {
                "condaSpecification": text,
                "dockerfile": environment_dockerfile(
                    dockerfile_head(environment), variables, with_bundle=not managed
                ),
            },
        }
    )


def dockerfile_head(environment: EnvironmentDefinition) -> str:
    """Return the first lines of an environment's Dockerfile: its base Dockerfile, or FROM its base image.

    :raises InputError: if it has neither, or no instruction can be appended to the Dockerfile.
    """
    docker = environment.docker
    if docker.base_dockerfile:
        check_head(docker.base_dockerfile)
        return docker.base_dockerfile
    if docker.base_image:
        return from_image(docker.base_image)
    if docker.build_context:
        context = docker.build_context
        raise InputError(
            f"the image of `{environment.name}` is built from another build context",
            evidence=(f"found   {context.get('location')}",),
            hint=f"docker build -t NAME:TAG -f {context.get('dockerfilePath')} DIRECTORY, then "
            "Environment.from_docker_image(name, 'NAME:TAG')",
        )
    raise InputError(
        f"the environment `{environment.name}` has no base image",
        evidence=("wanted  `docker.base_image` or `docker.base_dockerfile`",),
        hint="env.docker.base_image = 'REPOSITORY:TAG'",
    )


def image_variables(environment: EnvironmentDefinition) -> dict[str, str]:
    """Return the variables that an environment sets in its image.

    They are the ``variables`` of the conda specification, replaced by the environment's own
    of the same name. The example of a new environment is left out: it is not the user's.

    :raises InputError: if a name or a value is invalid.
    """
    variables: dict[str, str] = {}
    if not environment.python.user_managed_dependencies:
        text = packages_of(environment)
        variables |= conda_requirements(text).variables
    given: Mapping[str, str] = environment.environment_variables
    own = {name: value for name, value in given.items() if (name, value) not in EXAMPLE_VARIABLES.items()}
    check_variables(variables | own)
    return variables | own


def specification(environment: EnvironmentDefinition, cwd: Path) -> Specification:
    """Return an environment's packages as a conda specification.

    :param cwd: the directory at which its relative paths start.
    """
    return Specification(
        text=packages_of(environment),
        where=f"the environment {environment.name}",
        path=cwd / "env.yml",
    )


def packages_of(environment: EnvironmentDefinition) -> str:
    """Return an environment's packages as the text of a conda specification.

    :raises InputError: if it has none, and they are not user-managed.
    """
    dependencies = environment.python.conda_dependencies
    if dependencies is None:
        raise InputError(
            f"the environment `{environment.name}` has no packages",
            hint="env.python.conda_dependencies = CondaDependencies(), or "
            "env.python.user_managed_dependencies = True",
        )
    return dependencies.serialize_to_string()


def bundle_name(environment: EnvironmentDefinition) -> str:
    """Return the name of an environment as the name of its bundle.

    :raises InputError: if it is not valid for a bundle.
    """
    return check_name(environment.name, "environment")


def write_environment_context(
    environment: EnvironmentDefinition,
    bundle: Path | None,
    out: Path,
    *,
    epoch: int,
    store: Store,
    reporter: Reporter,
) -> None:
    """Write the build context of an environment's image; its Dockerfile is the one of `image_details`.

    :param bundle: the bundle of its packages; None with user-managed packages.
    :param out: the directory to create.
    :param epoch: the time of the files without a bundle, in seconds since 1970.
    """
    options = PackageOptions(bundle=bundle, code=None, env=_own_variables(environment), epoch=epoch)
    request = PackageRequest(options=options, head=dockerfile_head(environment), context=out)
    make_package(request, store=store, reporter=reporter)


def _own_variables(environment: EnvironmentDefinition) -> dict[str, str]:
    """Return the variables of an environment's own image.

    :raises InputError: if PYTHONPATH is among them: bundler sets it to the directory of the packages.
    """
    variables = image_variables(environment)
    if "PYTHONPATH" in variables and not environment.python.user_managed_dependencies:
        raise InputError(
            f"the environment `{environment.name}` sets PYTHONPATH, which its image needs for the packages",
            hint="remove `PYTHONPATH` from `environment_variables` and from `variables` of the env.yml",
        )
    return variables


def _python_of(environment: EnvironmentDefinition) -> str:
    """Return the Python of an environment's bundle, major and minor number."""
    version = conda_requirements(packages_of(environment)).lowest or DEFAULT_PYTHON
    return ".".join(version.split(".")[:2])
