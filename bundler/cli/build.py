"""The commands ``build`` and ``lock``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from bundler.cli.arguments import build_options, index_options, print_built, read_given
from bundler.cli.console import ConsoleReporter, print_envelope, print_line
from bundler.cli.options import building, file_path, requirement_options
from bundler.errors import UsageError
from bundler.pipeline.build import build_bundle, lock_requirements
from bundler.pipeline.options import LockOptions
from bundler.problems import display_path
from bundler.resolve.lockfile import render_lock
from bundler.store.store import open_store
from bundler.system.atomic import replace_file
from bundler.system.environ import read_host_environment

__all__ = ["build_command", "lock_command"]


@click.command("build")
@requirement_options
@click.option("--lock", type=file_path, help="Build from this pylock.toml; nothing is resolved.")
@building
def build_command(**given: Any) -> None:
    """Build a verified, relocatable bundle from requirements."""
    host = read_host_environment()
    requirements = read_given(host, given)
    if requirements is None and given["lock"] is None:
        raise UsageError("there is nothing to build", hint="bundler build -r requirements.txt")
    reporter = ConsoleReporter(quiet=given["quiet"])
    built = build_bundle(
        build_options(given, requirements, host),
        host=host,
        store=open_store(given["store"], host, reporter),
        reporter=reporter,
    )
    print_built("build", built, given, host)


@click.command("lock")
@requirement_options
@click.option(
    "-o", "--output", type=file_path, default="pylock.toml", show_default=True, help="The lockfile to write."
)
def lock_command(**given: Any) -> None:
    """Choose versions and write them, by digest, to a pylock.toml (PEP 751)."""
    host = read_host_environment()
    requirements = read_given(host, given)
    if requirements is None:
        raise UsageError("there is nothing to lock", hint="bundler lock -r requirements.txt")
    reporter = ConsoleReporter(quiet=given["quiet"])
    options = LockOptions(
        python=given["python"],
        requirements=requirements,
        index=index_options(given),
        only_binary=given["only_binary"],
    )
    locking = lock_requirements(
        options,
        host=host,
        store=open_store(given["store"], host, reporter),
        reporter=reporter,
    )
    output = host.cwd / given["output"]
    text = render_lock(
        locking.lock,
        locking.target,
        lambda path: Path(os.path.relpath(path, output.parent)).as_posix(),
    )
    replace_file(output, text.encode())
    packages = {str(item.name): str(item.version) for item in locking.lock.packages}
    if given["as_json"]:
        print_envelope("lock", result={"path": str(output), "packages": packages})
    else:
        print_line(display_path(output, host.cwd), len(packages))
