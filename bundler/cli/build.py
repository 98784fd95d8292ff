"""The commands ``build`` and ``lock``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from bundler.cli.arguments import (
    build_options,
    default_name,
    index_options,
    missing_requirements,
    print_built,
    read_arguments,
)
from bundler.cli.console import ConsoleReporter, print_envelope, print_line
from bundler.cli.options import (
    BundleArguments,
    RequirementArguments,
    ResolveArguments,
    bundle_options,
    file_path,
    requirement_options,
    resolve_options,
)
from bundler.pipeline.build import build_bundle, lock_requirements
from bundler.pipeline.options import LockOptions
from bundler.problems import display_path
from bundler.resolve.lockfile import render_lock
from bundler.store.store import open_store
from bundler.system.atomic import check_writable, replace_file
from bundler.system.environ import read_host_environment

__all__ = ["build_command", "lock_command"]


@click.command("build")
@requirement_options
@resolve_options
@click.option("--lock", type=file_path, help="Build from this pylock.toml, without resolving.")
@bundle_options
def build_command(
    requirements: RequirementArguments,
    resolve: ResolveArguments,
    lock: Path | None,
    bundle: BundleArguments,
) -> None:
    """Build a verified, relocatable bundle from requirements."""
    host = read_host_environment()
    read = read_arguments(requirements, resolve, host)
    if read is None and lock is None:
        raise missing_requirements("build", resolve, host)
    reporter = ConsoleReporter(quiet=resolve.quiet, verbose=resolve.verbose)
    name = bundle.name or default_name(requirements, resolve, lock, read, host)
    built = build_bundle(
        build_options(resolve, bundle, read, host, name=name, lock=lock),
        host=host,
        store=open_store(resolve.store, host, reporter),
        reporter=reporter,
    )
    print_built("build", built, host, as_json=resolve.as_json)


@click.command("lock")
@requirement_options
@resolve_options
@click.option(
    "-o", "--output", type=file_path, default="pylock.toml", show_default=True, help="Write this lockfile."
)
def lock_command(requirements: RequirementArguments, resolve: ResolveArguments, output: Path) -> None:
    """Resolve requirements and write the versions with their digests to a pylock.toml (PEP 751)."""
    host = read_host_environment()
    read = read_arguments(requirements, resolve, host)
    if read is None:
        raise missing_requirements("lock", resolve, host)
    check_writable((host.cwd / output).parent)
    reporter = ConsoleReporter(quiet=resolve.quiet, verbose=resolve.verbose)
    options = LockOptions(
        python=resolve.python,
        requirements=read,
        index=index_options(resolve),
        only_binary=resolve.only_binary,
        prefer_binary=resolve.prefer_binary,
        target_glibc=resolve.target_glibc,
    )
    locked = lock_requirements(
        options,
        host=host,
        store=open_store(resolve.store, host, reporter),
        reporter=reporter,
    )
    path = host.cwd / output
    text = render_lock(
        locked.lock,
        locked.target,
        lambda file: Path(os.path.relpath(file, path.parent)).as_posix(),
    )
    replace_file(path, text.encode())
    packages = {str(package.name): str(package.version) for package in locked.lock.packages}
    if resolve.as_json:
        print_envelope("lock", result={"path": str(path), "packages": packages})
    else:
        print_line(display_path(path, host.cwd), len(packages))
