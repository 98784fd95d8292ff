"""Facade: from an environment to a bundle, a Dockerfile and a build context.

An environment's packages are a conda specification, so the way is that of
``bundler build -f env.yml``. Where a user manages the packages (they are in the
image), nothing is built: the named Python is looked at instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypedDict

from bundler.azureml.core._definition import EXAMPLE_VARIABLES, EnvironmentDefinition
from bundler.azureml.core._files import FileName
from bundler.azureml.core._image_details import DockerImageDetails
from bundler.azureml.core._log import LogReporter
from bundler.azureml.core._managed import ManagedCheck, check_managed
from bundler.bundle.plan import check_name
from bundler.bundle.reader import unpack_bundle
from bundler.checks.user_code import UserCode, find_user_code
from bundler.deploy.application import PackageOptions, bundle_env
from bundler.deploy.context import check_head, environment_dockerfile, from_image
from bundler.deploy.package import PackageRequest, make_package
from bundler.errors import InputError, UsageError
from bundler.oci.filetree import APP_ROOT
from bundler.pipeline.build import Built, build_bundle
from bundler.pipeline.options import BuildOptions
from bundler.problems import closest
from bundler.reporter import SILENT, Reporter
from bundler.requirements.conda.translate import conda_requirements
from bundler.requirements.files import read_requirements
from bundler.requirements.requirement_set import IndexOptions, RequirementSet, Specification
from bundler.store.store import Store, open_store
from bundler.system.environ import HostEnvironment, read_host_environment
from bundler.target.target import DEFAULT_PYTHON, site_packages_of

__all__ = [
    "BuildSettings",
    "EnvironmentBuild",
    "build_environment",
    "bundle_name",
    "dockerfile_head",
    "image_details",
    "image_variables",
    "options_of_settings",
    "run_environment_build",
    "specification",
    "write_environment_context",
]

_FORMATS = ("tar.gz", "tar.zst", "dir")


class BuildSettings(TypedDict, total=False):
    """How an environment is built; all of it may be left out."""

    output: FileName
    """The folder the bundle is written to, "dist" by default."""
    format: str
    """"tar.gz" (the default), "tar.zst" or "dir"."""
    context: FileName
    """A folder that does not exist: the build context of the environment's image is written there, too."""
    source_directory: FileName
    """The code that is to run over the packages; what it imports is checked."""
    entry_script: str
    """Its script with init() and run(), relative to the source directory."""
    base: FileName
    """What is known of the base: a profile, a ``pip freeze``, a root filesystem, an image."""
    server: str
    """The version of azureml-inference-server-http that the bundle is to live with."""
    python: str
    """The target Python, a version or a path, where the environment does not name one."""
    strict: bool
    """Whether a conda package that no index has is an error."""
    only_binary: bool
    """Whether source distributions are refused."""
    allow: Sequence[str]
    """Errors to accept, and to record: CODE or CODE:NAME."""
    allow_import_failure: Sequence[str]
    """Distributions or modules that need not import."""
    index_url: str
    """The index to use in place of pip's own setting."""
    find_links: Sequence[str]
    """Further directories, or URLs of pages, that list wheels."""
    no_index: bool
    """Whether all indexes are ignored, and only `find_links` is used."""
    store: FileName
    """The store of wheels and layers; the user's own by default."""
    reporter: Reporter
    """Who is told what is done; by default the logger ``bundler``."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentBuild:
    """What ``Environment.build`` made: a bundle, or the proof that none is needed."""

    environment: EnvironmentDefinition
    """The environment that was built."""
    built: Built | None
    """The bundle; None where the user manages the packages."""
    checked: ManagedCheck | None
    """What the named Python has; None where a bundle was built."""
    context: Path | None
    """The build context, where one was asked for."""
    log: str
    """The lines that the build logged."""

    @property
    def path(self) -> Path | None:
        """The bundle, an archive or a folder."""
        return self.built.output.path if self.built else None

    @property
    def identity(self) -> str | None:
        """The sha256 of the bundle's manifest without facts of the host."""
        return self.built.manifest.identity if self.built else None

    @property
    def status(self) -> str:
        """How the build ended; one that fails raises."""
        return "Succeeded"

    def unpack(self, folder: FileName) -> Path:
        """Write the bundle to a folder that does not exist, every byte checked, and return the folder.

        :raises UsageError: if nothing was built.
        """
        if self.path is None:
            raise UsageError("nothing was built: the user manages the packages")
        out = read_host_environment().cwd / folder
        unpack_bundle(self.path, out, reporter=SILENT)
        return out

    def wait_for_completion(self, show_output: bool = True) -> Self:
        """Return at once: the build is complete when ``Environment.build`` returns."""
        del show_output
        return self

    def get_log(self) -> str:
        """Return what was said during the build."""
        return self.log


def build_environment(environment: EnvironmentDefinition, settings: BuildSettings) -> EnvironmentBuild:
    """Build the bundle of an environment, or look at the Python whose packages the user manages.

    :raises BundlerError: the class tells which stage refused; nothing is left then.
    """
    unknown = sorted(set(settings) - BuildSettings.__optional_keys__)
    if unknown:
        near = closest(unknown[0], BuildSettings.__optional_keys__)
        raise UsageError(f"`build` takes no `{unknown[0]}`", hint=near and f"did you mean `{near}`?")
    host = read_host_environment()
    given = settings.get("reporter")
    log = LogReporter()
    reporter: Reporter = given if given is not None else log
    context = _path(settings, "context", host)

    def options(requirements: RequirementSet | None) -> BuildOptions:
        name = bundle_name(environment) if requirements is None else environment.name
        return options_of_settings(name, requirements, settings, host)

    built, checked = run_environment_build(
        environment,
        options,
        strict=settings.get("strict", False),
        context=context,
        host=host,
        store=open_store(_path(settings, "store", host), host, reporter),
        reporter=reporter,
    )
    return EnvironmentBuild(
        environment=environment, built=built, checked=checked, context=context, log=log.text
    )


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


def options_of_settings(
    name: str, requirements: RequirementSet | None, settings: BuildSettings, host: HostEnvironment
) -> BuildOptions:
    """Return settings as what the pipeline takes."""
    fmt = settings.get("format", "tar.gz")
    if fmt not in _FORMATS:
        raise UsageError(f"`{fmt}` is no format of a bundle", evidence=(f"known   {', '.join(_FORMATS)}",))
    base = _path(settings, "base", host)
    return BuildOptions(
        python=settings.get("python"),
        requirements=requirements,
        index=IndexOptions(
            index_url=settings.get("index_url"),
            find_links=tuple(settings.get("find_links", ())),
            no_index=settings.get("no_index", False),
        ),
        only_binary=settings.get("only_binary", False),
        lock=None,
        name=check_name(name, "environment"),
        version=None,
        folder=host.cwd / settings.get("output", "dist"),
        codec="zst" if fmt == "tar.zst" else "gz",
        as_folder=fmt == "dir",
        epoch=host.epoch(),
        modes=("mount",) if base else ("mount", "venv"),
        code=_code(settings, host),
        base=base,
        server=settings.get("server"),
        allow=tuple(settings.get("allow", ())),
        allow_import_failure=tuple(settings.get("allow_import_failure", ())),
    )


def _path(settings: BuildSettings, name: str, host: HostEnvironment) -> Path | None:
    value: FileName | None = settings.get(name)  # type: ignore[assignment]
    return host.cwd / value if value is not None else None


def _code(settings: BuildSettings, host: HostEnvironment) -> UserCode | None:
    folder, script = _path(settings, "source_directory", host), settings.get("entry_script")
    if folder is None and script is None:
        return None
    if folder is None or script is None:
        raise UsageError(
            "`source_directory` and `entry_script` go together",
            hint="source_directory='code', entry_script='score.py'",
        )
    return find_user_code(folder, script)


def image_details(environment: EnvironmentDefinition) -> DockerImageDetails:
    """Return what the image of an environment would be built from; nothing is built.

    :raises InputError: if it has no base.
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
    """Return what the Dockerfile of an environment begins with: its base Dockerfile, or FROM its base image.

    :raises InputError: if it has neither, or nothing can follow that Dockerfile.
    """
    docker = environment.docker
    if docker.base_dockerfile:
        check_head(docker.base_dockerfile)
        return docker.base_dockerfile
    if docker.base_image:
        return from_image(docker.base_image)
    raise InputError(
        f"the environment `{environment.name}` has no base",
        evidence=("wanted  `docker.base_image` or `docker.base_dockerfile`",),
        hint="env.docker.base_image = 'REPOSITORY:TAG'",
    )


def image_variables(environment: EnvironmentDefinition) -> dict[str, str]:
    """Return the variables that an environment sets in its image."""
    variables: dict[str, str] = {}
    if not environment.python.user_managed_dependencies:
        text = packages_of(environment)
        variables |= conda_requirements(text).variables
    given: Mapping[str, str] = environment.environment_variables
    return variables | {
        name: value for name, value in given.items() if (name, value) not in EXAMPLE_VARIABLES.items()
    }


def specification(environment: EnvironmentDefinition, cwd: Path) -> Specification:
    """Return an environment's packages as the conda specification they are.

    :param cwd: where relative paths in it start.
    """
    return Specification(
        text=packages_of(environment),
        where=f"the environment {environment.name}",
        path=cwd / "env.yml",
    )


def packages_of(environment: EnvironmentDefinition) -> str:
    """Return an environment's packages as the text of a conda specification.

    :raises InputError: if it has none, and does not leave them to the user.
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
    """Return the name of an environment as that of a bundle.

    :raises InputError: if it can be none.
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
    """Write the build context of an environment's image; its Dockerfile is that of `image_details`.

    :param bundle: None where the user manages the packages.
    """
    options = PackageOptions(bundle=bundle, code=None, env=_own_variables(environment), epoch=epoch)
    request = PackageRequest(options=options, head=dockerfile_head(environment), context=out)
    make_package(request, store=store, reporter=reporter)


def _own_variables(environment: EnvironmentDefinition) -> dict[str, str]:
    """Return the variables of an environment's own image.

    :raises InputError: if they take away the one by which Python finds the packages.
    """
    variables = image_variables(environment)
    if "PYTHONPATH" in variables and not environment.python.user_managed_dependencies:
        raise InputError(
            f"the environment `{environment.name}` sets PYTHONPATH, by which its image finds the packages",
            hint="leave the variable out",
        )
    return variables


def _python_of(environment: EnvironmentDefinition) -> str:
    """Return the minor version of the Python that a bundle of the environment is built for."""
    text = packages_of(environment)
    chosen = conda_requirements(text).lowest or DEFAULT_PYTHON
    return ".".join(chosen.split(".")[:2])
