"""The commands of ``bundler env``: the registered environments of a workspace.

The nouns are those of `bundler.azureml`: an environment has a name and versions, a
workspace is a directory or a URL.
"""

from __future__ import annotations

import json
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from bundler.azureml.core._build import bundle_name, packages_of, run_environment_build
from bundler.azureml.core.environment import Environment
from bundler.azureml.core.workspace import Workspace
from bundler.cli.arguments import build_options, parse_variables, print_built
from bundler.cli.common import make_reporter
from bundler.cli.console import print_envelope, print_line, print_text
from bundler.cli.examples import free_name
from bundler.cli.options import (
    BundleArguments,
    InputPath,
    ResolveArguments,
    bundle_options,
    file_path,
    group,
    json_option,
    resolve_options,
)
from bundler.cli.parsing import is_typed, typed_words, with_word
from bundler.data.curated import curated_date, find_curated
from bundler.errors import BundlerError, InputError, OutputError, UsageError
from bundler.paths import printable
from bundler.pipeline.options import BuildOptions
from bundler.problems import Problem, ProblemError, display_path, input_error
from bundler.requirements.conda.envfile import parse_conda_file
from bundler.requirements.files import CONDA_SUFFIXES
from bundler.requirements.foreign import foreign_problem
from bundler.requirements.requirement_set import RequirementSet
from bundler.requirements.text import inputs_in, similar_path
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment

__all__ = ["env_group"]

workspace_option = click.option(
    "-w", "--workspace", metavar="PLACE", help="Use this directory or URL  [default: BUNDLER_WORKSPACE]."
)


@dataclass(frozen=True, kw_only=True)
class EnvironmentArguments:
    """The name of a registered environment, and which of its versions."""

    environment_name: str
    environment_version: str | None
    label: str | None
    workspace: str | None

    def read(self) -> Environment:
        """Return the environment.

        :raises InputError: if it does not exist.
        """
        name, colon, version = self.environment_name.partition(":")
        if colon and not self.environment_version:
            option = f"--version {version}" if version.isdigit() else f"--label {version}"
            words = with_word(click.get_current_context(), self.environment_name, name)
            raise UsageError(
                f"`{printable(self.environment_name)}`: the version is an option",
                hint=f"{shlex.join(words)} {option}",
            )
        if find_curated(self.environment_name) is None:
            _check_workspace(self.workspace)
        try:
            return Environment.get(
                Workspace(self.workspace),
                self.environment_name,
                version=self.environment_version,
                label=self.label,
            )
        except InputError as error:
            if self.workspace or "has no environment" not in error.message:
                raise
            words = ["bundler", *typed_words(click.get_current_context()), "-w"]
            place = _workspace_with(self.environment_name)
            hint = (
                shlex.join([*words, place])
                if place
                else f"{error.hint or ''}, or pass `-w PLACE`".lstrip(", ")
            )
            raise InputError(error.message, evidence=error.evidence, hint=hint) from None


environment_options = group(
    "which",
    EnvironmentArguments,
    click.argument("environment_name", metavar="NAME"),
    click.option(
        "--version", "environment_version", metavar="VERSION", help="Use this version  [default: the latest]."
    ),
    click.option("--label", help="Use the version with this label."),
    workspace_option,
)


@click.group("env")
def env_group() -> None:
    """Register environments in a workspace, list, show, build and export them."""


@dataclass(frozen=True, kw_only=True)
class RegisterArguments:
    """Options of ``env register``."""

    document: Path
    name: str | None
    version: str | None
    labels: tuple[str, ...]
    base_image: str | None
    base_dockerfile: Path | None
    variables: tuple[str, ...]
    workspace: str | None


register_options = group(
    "arguments",
    RegisterArguments,
    click.argument("document", metavar="SOURCE", type=InputPath(path_type=Path, exists=True)),
    click.option("--name", help="Name the environment  [default: the name in SOURCE]."),
    click.option("--version", metavar="VERSION", help="Set its version  [default: the next number]."),
    click.option(
        "--label", "labels", multiple=True, help="Set this label on the version, and on no other version."
    ),
    click.option("--base-image", metavar="REF", help="Base its image on this one."),
    click.option("--base-dockerfile", type=file_path, help="Base its image on this Dockerfile."),
    click.option(
        "-e", "--env", "variables", multiple=True, metavar="NAME=VALUE", help="Set a variable of the image."
    ),
    workspace_option,
)


@env_group.command("register")
@register_options
@json_option
def register_command(arguments: RegisterArguments, as_json: bool) -> None:
    """Register an environment: SOURCE is an env.yml, a requirements file, or a directory of `env export`.

    The same content has the same version; a registered version never changes.
    """
    environment = _read_source(arguments.document, arguments.name)
    if arguments.base_image and arguments.base_dockerfile:
        raise UsageError("`--base-image` and `--base-dockerfile` exclude each other")
    if arguments.base_image:
        environment.docker.base_image = arguments.base_image
    if arguments.base_dockerfile:
        environment.docker.base_image = None
        environment.docker.base_dockerfile = str(arguments.base_dockerfile)
    if arguments.variables:
        environment.environment_variables = parse_variables(arguments.variables)
    environment.version = arguments.version
    workspace = Workspace(arguments.workspace)
    registered = environment.register(workspace)
    labels = list(arguments.labels)
    if labels:
        registered.label(workspace, registered.name, str(registered.version), labels)
    if as_json:
        result = {"name": registered.name, "version": registered.version, "labels": labels}
        print_envelope("env register", result=result)
    else:
        make_reporter().note(f"registered in `{workspace.location}`")
        print_line(registered.name, registered.version)


@env_group.command("list")
@click.option("--no-curated", is_flag=True, help="Leave out the curated environments.")
@workspace_option
@json_option
def list_command(workspace: str | None, *, no_curated: bool, as_json: bool) -> None:
    """List the environments of a workspace in their latest versions, and the curated ones."""
    _check_workspace(workspace)
    rows = [
        {"name": name, "version": environment.version, "curated": find_curated(name) is not None}
        for name, environment in Environment.list(Workspace(workspace)).items()
    ]
    listed = [row for row in rows if not (no_curated and row["curated"])]
    if as_json:
        print_envelope("env list", result={"environments": listed})
        return
    for row in listed:
        print_line(row["name"], "curated" if row["curated"] else row["version"])


@env_group.command("show")
@environment_options
@click.option("--dockerfile", is_flag=True, help="Print the Dockerfile of its image instead.")
@json_option
def show_command(which: EnvironmentArguments, *, dockerfile: bool, as_json: bool) -> None:
    """Print the conda dependencies of an environment."""
    environment = which.read()
    if as_json:
        print_envelope("env show", result=environment.to_definition())
    elif dockerfile:
        print_text(environment.get_image_details().dockerfile)
    elif environment.python.user_managed_dependencies:
        managed = {"interpreterPath": environment.python.interpreter_path, "userManagedDependencies": True}
        print_text(json.dumps(managed, indent=4))
    else:
        print_text(packages_of(environment))


@env_group.command("build")
@environment_options
@resolve_options
@bundle_options
@click.option(
    "--context", type=click.Path(path_type=Path), help="Write the build context of the image as well."
)
def build_environment_command(
    which: EnvironmentArguments, resolve: ResolveArguments, bundle: BundleArguments, context: Path | None
) -> None:
    """Build the bundle of an environment, verified as by `bundler build`.

    Where the user manages the packages, nothing is built: the named Python, in
    `--base` or on this machine, is checked instead.
    """
    host = read_host_environment()
    environment = which.read()
    reporter = make_reporter()
    curated = find_curated(environment.name)
    if curated is not None:
        reporter.note(f"curated, as of {curated_date()}: {curated.why}")

    def options(requirements: RequirementSet | None) -> BuildOptions:
        name = bundle.name or bundle_name(environment)
        return build_options(resolve, bundle, requirements, host, name=name)

    built, checked = run_environment_build(
        environment,
        options,
        strict=resolve.strict,
        context=host.cwd / context if context else None,
        host=host,
        store=open_store(resolve.store, host, reporter),
        reporter=reporter,
    )
    if built is not None:
        print_built("env build", built, host, as_json=resolve.as_json)
    elif checked is not None and resolve.as_json:
        print_envelope("env build", result=checked.to_json())
    elif checked is not None:
        print_line(checked.interpreter_path, checked.python_version, len(checked.distributions))


@env_group.command("export")
@environment_options
@click.argument("folder", metavar="DIRECTORY", type=click.Path(path_type=Path))
def export_command(which: EnvironmentArguments, folder: Path) -> None:
    """Write an environment to DIRECTORY, as `save_to_directory` does: Azure ML's SDK can load it."""
    host = read_host_environment()
    environment = which.read()
    path = host.cwd / folder
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        free = free_name(f"{environment.name}-export")
        words = with_word(click.get_current_context(), str(folder), free)
        raise OutputError(f"`{folder}` already exists", hint=shlex.join(words))
    environment.save_to_directory(path)
    print_line(display_path(host.cwd / folder, host.cwd))


def _check_workspace(place: str | None) -> None:
    """Check that the directory of ``--workspace`` exists; that of a setting may be new.

    :raises InputError: if it does not, with a similar one.
    """
    if place is None or not is_typed("workspace") or "://" in place or Path(place).is_dir():
        return
    if Path(place).exists():
        raise InputError(
            f"{printable(place)}: a file, not a workspace",
            evidence=("wanted  the directory that `bundler env register` creates",),
            hint=f"bundler env register {shlex.quote(place)} -w workspace" if _is_conda(place) else None,
        )
    near = similar_path(Path(place))
    words = with_word(click.get_current_context(), place, str(near)) if near else []
    hint = f"did you mean `{shlex.join(words)}`?" if words else "`bundler env register` creates a workspace"
    raise InputError(f"{printable(place)}: workspace not found", hint=hint)


def _workspace_with(name: str) -> str | None:
    """Return the directory here that is a workspace with an environment of this name, or None."""
    for folder in sorted(Path().glob("*/environments")):
        with suppress(BundlerError):
            registered = Workspace(str(folder.parent)).environment_registry.latest()
            if any(record.name == name for record in registered):
                return str(folder.parent)
    return None


def _is_conda(place: str) -> bool:
    return Path(place).suffix in CONDA_SUFFIXES


def _read_source(source: Path, name: str | None) -> Environment:
    """Return the environment that a file or directory describes.

    :raises UsageError: if neither it nor ``--name`` gives a name.
    :raises InputError: if the file is of another kind: a script, a bundle, a lockfile.
    """
    if source.is_dir():
        environment = Environment.load_from_directory(source)
        environment.name = name or environment.name
        return environment
    problem = foreign_problem(source, str(source), source.read_bytes())
    if problem is None and source.suffix == ".toml":
        problem = ProblemError("a TOML file, not a requirements file")
    if problem:
        raise input_error([Problem(where=str(source), refused=_for_register(problem, source, name))])
    if source.suffix not in CONDA_SUFFIXES:
        if name is None:
            raise UsageError("a requirements file has no name; pass `--name`", hint=_name_option(source))
        return Environment.from_pip_requirements(name, source)
    name = name or parse_conda_file(source.read_text("utf-8", "replace"))[0].name
    if name is None:
        raise UsageError(f"`{source}` has no name; pass `--name`", hint=_name_option(source))
    return Environment.from_conda_specification(name, source)


def _for_register(problem: ProblemError, source: Path, name: str | None) -> ProblemError:
    """Return the problem of a file with a hint for ``env register``, which has no ``-r`` and ``--lock``."""
    hint = (problem.hint or "").replace("pass `-r ", "pass `")
    if not hint.endswith("then pass `requirements.txt`") and not hint.startswith("bundler "):
        inputs = [item for _, item in inputs_in(Path()) if not item.endswith(".toml")]
        words = with_word(click.get_current_context(), str(source), inputs[0]) if inputs else []
        if words and name is None and not inputs[0].endswith(CONDA_SUFFIXES):
            words += _name_option(source).split()
        hint = shlex.join(words or ["bundler", "env", "register", "--help"])
    return ProblemError(problem.fact, details=problem.details, hint=hint)


def _name_option(source: Path) -> str:
    """Return a ``--name`` made from the name of a file."""
    return f"--name {re.sub('[^A-Za-z0-9_.-]+', '-', source.stem).strip('-.') or 'environment'}"
