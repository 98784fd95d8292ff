"""Facade: from an environment to a bundle, a Dockerfile and a build context.

An environment's packages are a conda specification, so a build does the same as
``bundler build -f env.yml``. With user-managed packages, which the image already contains,
nothing is built: the imports of the user's code are checked against the Python of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "specification",
    "user_code",
    "write_environment_context",
]

_FORMATS = ("tar.gz", "tar.zst", "dir")


class BuildSettings(TypedDict, total=False):
    """Keyword arguments of ``Environment.build`` and ``Model.package``; all are optional.

    Relative paths start at the working directory.
    """

    output: FileName
    """The directory to which the bundle is written; the default is ``dist``."""
    format: str
    """``tar.gz`` (the default), ``tar.zst`` or ``dir``."""
    context: FileName
    """A new directory, to which the build context of the environment's image is written as well."""
    source_directory: FileName
    """The directory of the code that will use the packages; its imports are checked."""
    entry_script: str
    """The script with init() and run(), relative to ``source_directory``; the two go together."""
    base: FileName
    """A description of the base image: a profile, a ``pip freeze``, a root filesystem or an image archive."""
    server: str
    """The version of azureml-inference-server-http with which the bundle must be compatible."""
    python: str
    """The target Python, a version or a path, if the environment does not name one."""
    strict: bool
    """Fail if a conda package has no counterpart on an index; the default is a warning."""
    only_binary: bool
    """Use wheels only, never build a distribution from source; the default is False."""
    allow: Sequence[str]
    """Errors to accept and to record in the manifest: CODE or CODE:NAME."""
    allow_import_failure: Sequence[str]
    """Distributions or modules that may fail to import."""
    index_url: str
    """The URL of the package index; the default is the one that pip is configured for."""
    find_links: Sequence[str]
    """Directories or URLs to search for distributions, as for pip."""
    no_index: bool
    """Ignore all indexes and use only ``find_links``; the default is False."""
    store: FileName
    """The cache of wheels and layers; the default is the user's cache directory."""
    reporter: Reporter
    """The receiver of progress and warnings; the default is the logger ``bundler``."""


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


def build_environment(environment: EnvironmentDefinition, settings: BuildSettings) -> EnvironmentBuild:
    """Build the bundle of an environment, or check a Python with user-managed packages.

    :raises BundlerError: a subclass for each kind of failure; no output remains then.
    """
    unknown = sorted(set(settings) - BuildSettings.__optional_keys__)
    if unknown:
        near = closest(unknown[0], BuildSettings.__optional_keys__)
        raise UsageError(
            f"`build` has no parameter `{unknown[0]}`", hint=f"did you mean `{near}`?" if near else None
        )
    host = read_host_environment()
    log = LogReporter()
    reporter: Reporter = settings.get("reporter") or log
    store = open_store(_path(settings, "store", host), host, reporter)
    code = user_code(settings, host)
    base = _path(settings, "base", host)
    if "context" in settings:
        image_details(environment)  # an invalid base fails before the build
    built = checked = None
    if environment.python.user_managed_dependencies:
        interpreter = environment.python.interpreter_path
        checked = check_managed(interpreter, code, base, host=host, store=store, reporter=reporter)
    else:
        requirements = read_requirements(
            host,
            specification=specification(environment, host.cwd),
            strict=settings.get("strict", False),
        )
        options = options_of_settings(environment.name, requirements, settings, host)
        built = build_bundle(options, host=host, store=store, reporter=reporter)
    context = _path(settings, "context", host)
    if context is not None:
        bundle = built.output.path if built else None
        write_environment_context(
            environment, bundle, context, epoch=host.epoch(), store=store, reporter=reporter
        )
    return EnvironmentBuild(
        environment=environment, built=built, checked=checked, context=context, log=log.text
    )


def options_of_settings(
    name: str, requirements: RequirementSet, settings: BuildSettings, host: HostEnvironment
) -> BuildOptions:
    """Return the settings as options of the pipeline.

    :param name: the name of the environment, which becomes the name of the bundle.
    :raises UsageError: if the format is unknown.
    :raises InputError: if the name is not valid for a bundle.
    """
    fmt = settings.get("format", "tar.gz")
    if fmt not in _FORMATS:
        raise UsageError(f"unsupported bundle format `{fmt}`", evidence=(f"known   {', '.join(_FORMATS)}",))
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
        code=user_code(settings, host),
        base=base,
        server=settings.get("server"),
        allow=tuple(settings.get("allow", ())),
        allow_import_failure=tuple(settings.get("allow_import_failure", ())),
    )


def _path(settings: BuildSettings, name: str, host: HostEnvironment) -> Path | None:
    value: FileName | None = settings.get(name)  # type: ignore[assignment]
    return host.cwd / value if value is not None else None


def user_code(settings: BuildSettings, host: HostEnvironment) -> UserCode | None:
    """Return the user's code, None without any.

    :raises UsageError: if only one of ``source_directory`` and ``entry_script`` is set.
    :raises InputError: if there is no such script, or the server cannot load it.
    """
    folder, script = _path(settings, "source_directory", host), settings.get("entry_script")
    if folder is None and script is None:
        return None
    if folder is None or script is None:
        raise UsageError(
            "`source_directory` and `entry_script` must be used together",
            hint="source_directory='code', entry_script='score.py'",
        )
    return find_user_code(folder, script)


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
    raise InputError(
        f"the environment `{environment.name}` has no base image",
        evidence=("wanted  `docker.base_image` or `docker.base_dockerfile`",),
        hint="env.docker.base_image = 'REPOSITORY:TAG'",
    )


def image_variables(environment: EnvironmentDefinition) -> dict[str, str]:
    """Return the variables that an environment sets in its image.

    They are the ``variables`` of the conda specification, replaced by the environment's own
    of the same name. The example of a new environment is left out: it is not the user's.
    """
    variables: dict[str, str] = {}
    if not environment.python.user_managed_dependencies:
        text = packages_of(environment)
        variables |= conda_requirements(text).variables
    given: Mapping[str, str] = environment.environment_variables
    return variables | {
        name: value for name, value in given.items() if (name, value) not in EXAMPLE_VARIABLES.items()
    }


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
