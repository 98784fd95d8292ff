"""The command line: what the commands that build share: their options, and their answer.

Imports that ``--help`` does not need are left to the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = [
    "building",
    "combine",
    "file_path",
    "json_option",
    "quiet_option",
    "requirement_options",
    "resolving",
    "store_option",
]


def combine(*given: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that gives a command several options, in their order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(given):
            function = option(function)
        return function

    return decorate


file_path = click.Path(path_type=Path, dir_okay=False)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="The store  [default: BUNDLER_STORE, or the user's cache].",
)
resolving = combine(
    click.option("--strict", is_flag=True, help="Refuse a conda package that no index has."),
    click.option(
        "--python", help="The target Python: a version or a path  [default: what env.yml says, or 3.7]."
    ),
    click.option("--only-binary", is_flag=True, help="Refuse source distributions."),
    click.option("-i", "--index-url", help="The package index."),
    click.option("--extra-index-url", "extra_index_urls", multiple=True, help="A further index."),
    click.option(
        "-f", "--find-links", multiple=True, help="A folder or page with files; an env.yml means `--file`."
    ),
    click.option("--no-index", is_flag=True, help="Only --find-links."),
    click.option(
        "--trusted-host", "trusted_hosts", multiple=True, help="A host whose certificate is not checked."
    ),
    store_option,
    quiet_option,
    json_option,
)
requirement_options = combine(
    click.argument("requirement", nargs=-1, metavar="[REQ]..."),
    click.option(
        "-r",
        "--requirement",
        "--file",
        "files",
        type=file_path,
        multiple=True,
        help="A requirements file, a pyproject.toml or a conda env.yml.",
    ),
    click.option(
        "-c", "--constraint", "constraints", type=file_path, multiple=True, help="A constraints file."
    ),
    click.option("--extra", "extras", multiple=True, help="An extra of the pyproject.toml."),
    click.option("--group", "groups", multiple=True, help="A dependency group of the pyproject.toml."),
    resolving,
)
building = combine(
    click.option("--name", help="The bundle's name  [default: the project's, or the requirements' folder]."),
    click.option("--bundle-version", "version", help="Its version  [default: from the lock's digest]."),
    click.option(
        "-o",
        "--output",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        default="dist",
        show_default=True,
    ),
    click.option(
        "--format",
        "fmt",
        type=click.Choice(["tar.gz", "tar.zst", "dir"]),
        default="tar.gz",
        show_default=True,
    ),
    click.option(
        "--for",
        "use",
        type=click.Choice(["mount", "venv", "both"]),
        help="On PYTHONPATH, in a virtual environment  [default: both; mount with --base].",
    ),
    click.option(
        "--source-dir",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="The code it serves.",
    ),
    click.option("--entry-script", metavar="FILE", help="Its script with init() and run(), in --source-dir."),
    click.option("--run-init", is_flag=True, help="Run the entry script and its init(), without a network."),
    click.option(
        "--model-dir",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="What AZUREML_MODEL_DIR names for --run-init.",
    ),
    click.option("--target-glibc", metavar="VERSION", help="Refuse what needs a newer glibc."),
    click.option(
        "--base",
        type=click.Path(path_type=Path, exists=True),
        help="What it is mounted into: a profile, a pip freeze, a root filesystem, an image archive.",
    ),
    click.option(
        "--omit-provided", is_flag=True, help="Leave out what --base has in a version that will do."
    ),
    click.option("--server", metavar="VERSION", help="Try it under this azureml-inference-server-http, too."),
    click.option("--reverify", is_flag=True, help="Run the checks again that an earlier build has passed."),
    click.option(
        "--allow",
        multiple=True,
        metavar="CODE[:NAME]",
        help="An error to accept, and to record in the manifest.",
    ),
    click.option(
        "--allow-import-failure",
        multiple=True,
        metavar="NAME",
        help="A distribution or module that need not import.",
    ),
    click.option(
        "--allow-pth", multiple=True, metavar="NAME", help="A distribution whose .pth file may run code."
    ),
)
