"""The commands ``build`` and ``lock``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from packaging.utils import canonicalize_name

from bundler.cli.arguments import (
    build_options,
    cutoff,
    default_name,
    index_options,
    missing_requirements,
    print_built,
    read_arguments,
    sort_arguments,
)
from bundler.cli.common import make_reporter
from bundler.cli.console import print_envelope, print_line
from bundler.cli.options import (
    BundleArguments,
    RequirementArguments,
    ResolveArguments,
    bundle_options,
    file_path,
    requirement_options,
    resolve_options,
)
from bundler.cli.settings import PYPROJECT
from bundler.errors import InputError, UsageError
from bundler.paths import printable
from bundler.pipeline.build import Locked, Planned, build_bundle, lock_requirements, plan_build
from bundler.pipeline.options import BuildOptions, LockOptions
from bundler.problems import closest, display_path
from bundler.requirements.files import CONDA_SUFFIXES
from bundler.requirements.requirement_set import RequirementSet
from bundler.resolve.changes import LockChange, changes_between, changes_table
from bundler.resolve.lockfile import is_lock, render_lock
from bundler.store.store import open_store
from bundler.system.atomic import check_replaceable, check_writable, replace_file
from bundler.system.environ import HostEnvironment, read_host_environment
from bundler.text import counted, human_size

__all__ = ["build_command", "lock_command", "read_build"]


@click.command("build")
@requirement_options
@resolve_options
@click.option("--lock", type=file_path, help="Build from this pylock.toml, without resolving.")
@bundle_options
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the versions, downloads and local builds of a build; write no bundle.",
)
def build_command(
    requirements: RequirementArguments,
    resolve: ResolveArguments,
    lock: Path | None,
    bundle: BundleArguments,
    *,
    dry_run: bool,
) -> None:
    """Build a verified, relocatable bundle from requirements.

    A word is a requirement, or an existing file with requirements, a script, a pylock.toml, or the
    directory of a project.
    """
    host = read_host_environment()
    options = read_build(requirements, resolve, lock, bundle, host)
    reporter = make_reporter()
    store = open_store(resolve.store, host, reporter)
    if dry_run:
        planned = plan_build(options, host=host, store=store, reporter=reporter)
        reporter.finish()
        _print_planned(planned, as_json=resolve.as_json)
        return
    built = build_bundle(options, host=host, store=store, reporter=reporter)
    reporter.finish()
    print_built("build", built, host, as_json=resolve.as_json)


def read_build(
    requirements: RequirementArguments,
    resolve: ResolveArguments,
    lock: Path | None,
    bundle: BundleArguments,
    host: HostEnvironment,
) -> BuildOptions:
    """Read the requirements of the arguments, and return the options of the build.

    :raises UsageError: if options exclude or need each other, or there is nothing to build.
    :raises InputError: if a file of requirements is malformed.
    """
    requirements, locks = sort_arguments(requirements, host)
    if len((*locks, *filter(None, [lock]))) > 1:
        raise UsageError("a bundle is built from one lockfile", hint=f"--lock {locks[0]}")
    lock = next(iter(locks), lock)
    read = read_arguments(requirements, resolve, host)
    if read is None and lock is None:
        raise missing_requirements("build", requirements, resolve, host)
    name = bundle.name or default_name(requirements, resolve, lock, read, host)
    return build_options(resolve, bundle, read, host, name=name, lock=lock)


def _print_planned(planned: Planned, *, as_json: bool) -> None:
    """Print the distributions of a build that was not done: a table, and a summary."""
    rows: list[dict[str, Any]] = [
        {
            "name": package.name,
            "version": str(package.version) if package.version else None,
            "file": package.filename,
            "size": planned.sizes.get(package.sha256) if package.sha256 else None,
            "built_here": package.kind != "wheel",
            "stored": package.sha256 in planned.stored,
        }
        for package in planned.lock.packages
    ]
    missing = [row for row in rows if not row["stored"]]
    download = sum(row["size"] or 0 for row in missing)
    total = sum(row["size"] or 0 for row in rows)
    if as_json:
        summary = {"size": total, "download": download, "free": planned.free}
        print_envelope("build", result={"dry_run": True, "distributions": rows, **summary})
        return
    for row in rows:
        notes = [text for text, key in (("built here", "built_here"), ("in the store", "stored")) if row[key]]
        size = human_size(row["size"]) if row["size"] is not None else "?"
        print_line(f"{row['name']:<28} {row['version'] or '?':<14} {size:>12}  {', '.join(notes)}".rstrip())
    built = sum(row["built_here"] for row in rows)
    print_line(
        f"{counted(len(rows), 'distribution')}, {human_size(total)}: {human_size(download)} to download,"
        f" {built} to build here, {human_size(planned.free)} free; nothing was written"
    )


@click.command("lock")
@requirement_options
@resolve_options
@click.option(
    "-o", "--output", type=file_path, default="pylock.toml", show_default=True, help="Write this lockfile."
)
@click.option(
    "-U", "--upgrade", is_flag=True, help="Choose the newest versions; do not keep those of the lockfile."
)
@click.option(
    "-P",
    "--upgrade-package",
    "packages",
    multiple=True,
    metavar="NAME",
    help="Choose the newest version of this distribution; keep the others where possible.",
)
@click.option("--check", is_flag=True, help="Fail if the lockfile is not up to date; write nothing.")
def lock_command(
    requirements: RequirementArguments,
    resolve: ResolveArguments,
    output: Path,
    *,
    upgrade: bool,
    packages: tuple[str, ...],
    check: bool,
) -> None:
    """Resolve requirements and write the versions with their digests to a pylock.toml (PEP 751).

    The versions of an existing lockfile are kept where the requirements accept them. The difference is
    printed as a table in Markdown.
    """
    host = read_host_environment()
    requirements, locks = sort_arguments(requirements, host)
    if locks:
        raise UsageError(f"`{locks[0]}` is a lockfile already", hint=f"bundler build {locks[0]}")
    read = read_arguments(requirements, resolve, host)
    if read is None:
        raise missing_requirements("lock", requirements, resolve, host)
    path = host.cwd / output
    _check_output(path, read, host.cwd)
    if not check:
        check_writable(path.parent)
    elif not path.is_file():
        raise InputError(f"{output}: file not found", hint=f"bundler lock {read.arguments} -o {output}")
    reporter = make_reporter()
    options = LockOptions(
        python=resolve.python,
        requirements=read,
        index=index_options(resolve),
        only_binary=resolve.only_binary,
        prefer_binary=resolve.prefer_binary,
        target=resolve.target,
        target_glibc=resolve.target_glibc,
        resolver=resolve.resolver,
        exclude_newer=cutoff(resolve.exclude_newer),
        previous=path,
        upgrade=None if upgrade else packages,
    )
    store = open_store(resolve.store, host, reporter)
    locked = lock_requirements(options, host=host, store=store, reporter=reporter)
    changes = changes_between(locked.previous, locked.lock)
    _check_upgraded(packages, locked)
    if check:
        arguments = f"{read.arguments} {locked.target.argument} -o {output}"
        _check_current(locked, changes, display_path(path, host.cwd), arguments)
    else:
        text = render_lock(
            locked.lock, locked.target, lambda file: Path(os.path.relpath(file, path.parent)).as_posix()
        )
        replace_file(path, text.encode())
    reporter.finish()
    versions = {str(package.name): str(package.version) for package in locked.lock.packages}
    if resolve.as_json:
        listed = [change.to_json() for change in changes] if locked.previous else []
        print_envelope("lock", result={"path": str(path), "packages": versions, "changes": listed})
        return
    for line in changes_table(changes) if locked.previous and changes else ():
        print_line(line)
    print_line(display_path(path, host.cwd), len(versions))


def _check_upgraded(packages: Sequence[str], locked: Locked) -> None:
    """Check that the distributions to upgrade are in the lock, or were.

    :raises UsageError: with the most similar name.
    """
    known = {package.name for lock in (locked.lock, locked.previous) if lock for package in lock.packages}
    for name in packages:
        if canonicalize_name(name) not in known:
            near = closest(canonicalize_name(name), sorted(known))
            raise UsageError(
                f"`--upgrade-package {printable(name)}`: the lock has no such distribution",
                evidence=(f"known   {printable(', '.join(sorted(known)))}",),
                hint=f"did you mean `--upgrade-package {near}`?" if near else None,
            )


def _check_output(path: Path, read: RequirementSet, cwd: Path) -> None:
    """Check that a lockfile can be written to a path.

    :raises OutputError: if the path is that of another file.
    :raises UsageError: if its name is that of a requirements file.
    """
    inputs = [*read.files_read, *(Path(root.location) for root in read.roots if root.location)]
    shown = Path(display_path(path, cwd))
    check_replaceable(shown, inputs, kind="a lockfile", is_own=is_lock, default="pylock.toml")
    if path.suffix in (".txt", ".in", *CONDA_SUFFIXES) or path.name == PYPROJECT:
        hint = f"-o {shlex.quote(str(shown.with_name('pylock.toml')))}"
        raise UsageError(
            f"`{shown}`: a lockfile is a pylock.toml (PEP 751), not a requirements file", hint=hint
        )


def _check_current(locked: Locked, changes: Sequence[LockChange], shown: str, arguments: str) -> None:
    """Check that a lock is that of the lockfile.

    :raises InputError: if it is not, with the difference.
    """
    old, new = locked.previous, locked.lock
    same = old is not None and (not old.requirements or old.requirements == new.requirements)
    if old is None or changes or not same or (old.base, old.glibc) != (new.base, new.glibc):
        table = changes_table(changes) if old is not None and changes else ()
        raise InputError(
            f"`{shown}` is not up to date",
            evidence=tuple(table),
            hint=f"bundler lock {arguments}",
            facts={"changes": [change.to_json() for change in changes]},
        )
