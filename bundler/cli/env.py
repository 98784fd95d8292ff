"""The command line: ``bundler env``, the registered environments of a workspace.

The same nouns as in `bundler.azureml`: an environment has a name and versions, a
workspace is a folder or an address.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bundler.azureml.core._build import (
    bundle_name,
    packages_of,
    specification,
    write_environment_context,
)
from bundler.azureml.core._managed import check_managed
from bundler.azureml.core.environment import Environment
from bundler.azureml.core.workspace import Workspace
from bundler.cli.arguments import build_options, print_built, variables_of
from bundler.cli.console import ConsoleReporter, print_envelope, print_line, print_text
from bundler.cli.options import building, combine, file_path, json_option, resolving
from bundler.data.curated import curated_date, find_curated
from bundler.errors import UsageError
from bundler.pipeline.build import build_bundle
from bundler.problems import display_path
from bundler.requirements.conda.envfile import parse_conda_file
from bundler.requirements.files import CONDA_SUFFIXES, read_requirements
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment

__all__ = ["env_group"]

_workspace = click.option(
    "-w", "--workspace", metavar="PLACE", help="A folder or an address  [default: BUNDLER_WORKSPACE]."
)
_which = combine(
    click.argument("environment_name", metavar="NAME"),
    click.option(
        "--version", "environment_version", metavar="VERSION", help="Its version  [default: the latest]."
    ),
    click.option("--label", help="The version that has this label."),
    _workspace,
)


@click.group("env")
def env_group() -> None:
    """Register environments in a workspace, list, show, build and export them."""


@env_group.command("register")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--name", help="Its name  [default: what SOURCE calls itself].")
@click.option("--version", metavar="VERSION", help="Its version  [default: counted up].")
@click.option("--label", "labels", multiple=True, help="A label for this version; it leaves any other.")
@click.option("--base-image", metavar="REF", help="The image it is put on.")
@click.option("--base-dockerfile", type=file_path, help="A Dockerfile it is put on.")
@click.option(
    "-e", "--env", "variables", multiple=True, metavar="NAME=VALUE", help="A variable of the image."
)
@_workspace
@json_option
def register_command(**given: Any) -> None:
    """Register an environment: SOURCE is an env.yml, a requirements file, or a folder of `env export`.

    The same content keeps its version; what is registered is never changed.
    """
    environment = _read_source(given["source"], given["name"])
    if given["base_image"] and given["base_dockerfile"]:
        raise UsageError("`--base-image` and `--base-dockerfile` exclude each other")
    if given["base_image"]:
        environment.docker.base_image = given["base_image"]
    if given["base_dockerfile"]:
        environment.docker.base_image = None
        environment.docker.base_dockerfile = str(given["base_dockerfile"])
    if given["variables"]:
        environment.environment_variables = variables_of(given["variables"])
    environment.version = given["version"]
    workspace = _open(given["workspace"])
    registered = environment.register(workspace)
    if given["labels"]:
        registered.label(workspace, registered.name, str(registered.version), given["labels"])
    if given["as_json"]:
        result = {"name": registered.name, "version": registered.version, "labels": list(given["labels"])}
        print_envelope("env register", result=result)
    else:
        print_line(registered.name, registered.version)


@env_group.command("list")
@click.option("--no-curated", is_flag=True, help="Only what is registered in the workspace.")
@_workspace
@json_option
def list_command(workspace: str | None, *, no_curated: bool, as_json: bool) -> None:
    """List the environments of a workspace, the latest version of each, and the curated ones."""
    found = Environment.list(_open(workspace))
    rows = [
        {"name": name, "version": one.version, "curated": find_curated(name) is not None}
        for name, one in found.items()
    ]
    shown = [row for row in rows if not (no_curated and row["curated"])]
    if as_json:
        print_envelope("env list", result={"environments": shown})
        return
    for row in shown:
        print_line(row["name"], "curated" if row["curated"] else row["version"])


@env_group.command("show")
@_which
@click.option("--dockerfile", is_flag=True, help="Print the Dockerfile of its image instead.")
@json_option
def show_command(*, dockerfile: bool, as_json: bool, **given: Any) -> None:
    """Print the conda dependencies of an environment."""
    environment = _get(given)
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
@_which
@resolving
@building
@click.option("--context", type=click.Path(path_type=Path), help="Write the image's build context, too.")
def build_environment_command(**given: Any) -> None:
    """Build the bundle of an environment, verified as by `bundler build`.

    Where the user manages the packages nothing is built: the named Python, in
    `--base` or on this machine, is looked at instead.
    """
    host = read_host_environment()
    environment = _get(given)
    managed = environment.python.user_managed_dependencies
    reporter = ConsoleReporter(quiet=given["quiet"])
    shipped = find_curated(environment.name)
    if shipped is not None:
        reporter.note(f"curated, as of {curated_date()}: {shipped.why}")
    store = open_store(given["store"], host, reporter)
    if given["context"] is not None:
        environment.get_image_details()  # says what is wrong with the image before anything is built
    packages = None if managed else specification(environment, host.cwd)
    requirements = read_requirements(host, specification=packages, strict=given["strict"])
    given |= {"files": (), "lock": None, "name": given["name"] or bundle_name(environment)}
    wanted = build_options(given, requirements, host)
    bundle = None
    if managed:
        checked = check_managed(
            environment.python.interpreter_path,
            wanted.code,
            wanted.base,
            host=host,
            store=store,
            reporter=reporter,
        )
        if given["as_json"]:
            print_envelope("env build", result=checked.to_json())
        else:
            print_line(checked.interpreter_path, checked.python_version, len(checked.distributions))
    else:
        built = build_bundle(wanted, host=host, store=store, reporter=reporter)
        bundle = built.output.path
        print_built("env build", built, given, host)
    if given["context"] is not None:
        out = host.cwd / given["context"]
        write_environment_context(
            environment, bundle, out, epoch=wanted.epoch, store=store, reporter=reporter
        )


@env_group.command("export")
@_which
@click.argument("folder", type=click.Path(path_type=Path))
def export_command(folder: Path, **given: Any) -> None:
    """Write an environment to FOLDER, as `save_to_directory` does: Azure ML's SDK can load it."""
    host = read_host_environment()
    _get(given).save_to_directory(host.cwd / folder)
    print_line(display_path(host.cwd / folder, host.cwd))


def _open(place: str | None) -> Workspace:

    return Workspace(place)


def _get(given: dict[str, Any]) -> Environment:

    return Environment.get(
        _open(given["workspace"]),
        given["environment_name"],
        version=given["environment_version"],
        label=given["label"],
    )


def _read_source(source: Path, name: str | None) -> Environment:
    """Return the environment that a file or folder describes.

    :raises UsageError: if neither it nor ``--name`` says what it is called.
    """
    if source.is_dir():
        environment = Environment.load_from_directory(source)
        environment.name = name or environment.name
        return environment
    if source.suffix not in CONDA_SUFFIXES:
        if name is None:
            raise UsageError("a requirements file names no environment", hint="--name NAME")
        return Environment.from_pip_requirements(name, source)
    name = name or parse_conda_file(source.read_text("utf-8", "replace"))[0].name
    if name is None:
        raise UsageError(f"`{source}` does not say what it is called", hint="--name NAME")
    return Environment.from_conda_specification(name, source)
