"""The commands ``base add`` and ``base list``: the base images that are found by their names."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.base_image.bases import KnownBase, add_base, bases_folder, known_bases
from bundler.cli.common import make_reporter
from bundler.cli.console import print_envelope, print_line
from bundler.cli.options import InputPath, json_option
from bundler.system.environ import read_host_environment

__all__ = ["base_group"]


@click.group("base")
def base_group() -> None:
    """Manage the directory of base images, BUNDLER_BASES, in which they are found by their names."""


@base_group.command("add")
@click.argument("archive", type=InputPath(path_type=Path, exists=True))
@click.option("--name", metavar="REF", help="Name the image  [default: the name in the archive].")
@click.option("--python-in", metavar="PATH", help="Choose the Python of the image by its prefix or version.")
@json_option
def add_command(archive: Path, name: str | None, python_in: str | None, as_json: bool) -> None:
    """Copy ARCHIVE, a tar of `docker save` or an OCI layout, into the directory."""
    base = add_base(bases_folder(read_host_environment()), archive, name=name, prefer=python_in)
    if as_json:
        print_envelope("base add", result=base.to_json())
    else:
        _print((base,))


@base_group.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the base images with their Python, inference server and glibc."""
    folder = bases_folder(read_host_environment())
    bases = known_bases(folder)
    if as_json:
        print_envelope("base list", result={"bases": [base.to_json() for base in bases]})
    elif bases:
        _print(bases)
    else:
        make_reporter().note(f"no base image in `{folder}`; `bundler base add` copies one into it")


def _print(bases: tuple[KnownBase, ...]) -> None:
    for base in bases:
        facts = base.to_json()
        print_line(
            facts["image"],
            f"Python {facts['python'] or 'unknown'}",
            f"server {facts['server'] or 'none'}",
            f"glibc {facts['glibc'] or 'unknown'}",
        )
