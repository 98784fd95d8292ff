"""The inputs of a bundle, each stage a function of the run: the lock, and the wheels of the lock.

`pipeline.build` calls them in order, before the stages of `pipeline.stages`.
"""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from bundler.bundle.layer_builder import WheelRef
from bundler.checks.dependencies import requirement_edges
from bundler.data.foreign_files import foreign_file
from bundler.errors import InputError, ResolutionError
from bundler.pipeline.conda import leave_to_base, missing_packages
from bundler.pipeline.options import HOST_GLIBC
from bundler.requirements.foreign import bundle_problem
from bundler.resolve.download import download_of, fetch_all, missing_files
from bundler.resolve.lockfile import (
    Lock,
    LockedDistribution,
    absent_dependencies,
    check_lock,
    is_lock,
    parse_lock,
    render_lock,
)
from bundler.resolve.sdist import BuiltWheel, build_wheel
from bundler.text import counted

if TYPE_CHECKING:
    from bundler.pipeline.options import LockOptions
    from bundler.pipeline.run import Run
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.target.target import Target

__all__ = [
    "Wheels",
    "fetch_wheels",
    "preferred_pins",
    "read_lock",
    "read_lock_text",
    "read_previous",
    "render_bundle_lock",
    "resolve_requirements",
]


_LOCK_LIMIT = 64 << 20
"""Bytes: a lock of 1,000 distributions with 50 wheels each has 15 MB."""


@dataclass(frozen=True, kw_only=True)
class Wheels:
    """The wheels of a lock, stored in the store."""

    refs: tuple[WheelRef, ...]
    """One wheel for each distribution, in the order of the lock."""
    built: Mapping[NormalizedName, BuiltWheel]
    """The wheels that were built from source distributions."""


def resolve_requirements(
    run: Run, requirements: RequirementSet | None, *, preferred: Sequence[str] = ()
) -> tuple[Lock, RequirementSet | None]:
    """Resolve requirements for the target.

    :param preferred: the pins to keep, see `preferred_pins`.
    :return: the lock, and the requirements without the conda packages that the index does not have.
    :raises InputError: if ``requirements`` is None.
    :raises ResolutionError: if no set of distributions satisfies them.
    :raises NetworkError: if the index cannot be reached.
    """
    if requirements is None:
        raise InputError("no requirements given", hint="pass `-r requirements.txt`")
    if not requirements.roots:
        return Lock(requirements=(), packages=()), requirements
    try:
        lock = run.resolver.resolve(requirements, reporter=run.reporter, preferred=preferred)
    except ResolutionError as error:
        missing = missing_packages(run, requirements, error)
        if not missing:
            raise
        requirements = leave_to_base(run, requirements, missing, "the index")
        lock, requirements = resolve_requirements(run, requirements, preferred=preferred)
        return replace(lock, base=tuple(sorted(root.text for root in missing))), requirements
    run.reporter.stage(
        "lock",
        f"{counted(len(lock.packages), 'distribution')} resolved by {run.resolver.name}",
    )
    lock = _with_dependencies(lock, requirements, run.interpreter.target)
    limit = run.interpreter.target.glibc
    return (replace(lock, glibc=limit.version) if limit else lock), requirements


def _with_dependencies(lock: Lock, requirements: RequirementSet, target: Target) -> Lock:
    """Return the lock with the edges of its graph, which a resolution knows and a lockfile records."""
    names = {package.name for package in lock.packages}
    declared = {
        package.name: [Requirement(text) for text in package.requires_dist] for package in lock.packages
    }
    named = {package.location: package.name for package in lock.packages}
    roots = [
        root.requirement or Requirement(f"{named[root.location or '']}{_extras_of(root.text)}")
        for root in requirements.roots
        if root.requirement is not None or root.location in named
    ]
    _, edges = requirement_edges(declared, roots, target.markers)
    # A distribution may require itself with an extra.
    required = {
        name: {canonicalize_name(item.name) for item in edges[name]} & names - {name} for name in names
    }
    packages = (
        replace(package, dependencies=tuple(sorted(required[package.name]))) for package in lock.packages
    )
    return replace(lock, packages=tuple(packages))


def _extras_of(text: str) -> str:
    """Return the extras of a requirement by path or URL: ``./proj[a] ; marker``."""
    match = re.search(r"(\[[^\]]*\])(?: ; .*)?$", text)
    return match[1] if match else ""


def read_previous(run: Run, options: LockOptions) -> Lock | None:
    """Return the lock that is replaced; None if there is none, or it is not for the target."""
    path = options.previous
    if path is None or not path.exists():
        return None
    try:
        return parse_lock(read_lock_text(path), source=path, target=run.interpreter.target)
    except InputError as error:
        run.reporter.note(f"no version of `{path.name}` is kept: {error.message}")
        return None


def preferred_pins(previous: Lock | None, options: LockOptions) -> tuple[str, ...]:
    """Return a pin for each locked version of an index that the requirements and constraints accept."""
    requirements = options.requirements
    if previous is None or requirements is None or options.upgrade is None or requirements.require_hashes:
        return ()
    roots = (*requirements.roots, *requirements.constraints)
    wanted = [root.requirement for root in roots if root.requirement is not None]
    fixed = {canonicalize_name(item.name) for item in wanted if item.url}
    fixed |= {canonicalize_name(name) for name in options.upgrade}
    return tuple(
        f"{package.name}=={package.version}"
        for package in previous.packages
        if package.version is not None
        and package.kind in ("wheel", "sdist")
        and package.name not in fixed
        and all(
            item.specifier.contains(package.version, prereleases=True)
            for item in wanted
            if canonicalize_name(item.name) == package.name
        )
    )


def read_lock_text(path: Path) -> str:
    """Return the text of a lockfile.

    :raises InputError: if it is missing or too large, or cannot be read.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(f"{path}: not a lockfile: it is not a regular file")
        with path.open("rb") as stream:
            content = stream.read(_LOCK_LIMIT + 1)
        if problem := bundle_problem(path, str(path)):
            raise InputError(f"{path}: {problem.fact}", hint=problem.hint)
        if len(content) > _LOCK_LIMIT:
            raise InputError(f"{path}: not a lockfile: it is larger than {_LOCK_LIMIT >> 20} MiB")
        text = io.TextIOWrapper(io.BytesIO(content), "utf-8").read()
    except FileNotFoundError as error:
        raise InputError(f"{path}: file not found") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a lockfile: it is not UTF-8 text") from error
    kind = None if is_lock(content) else foreign_file(path.name, text)
    if kind is not None:
        raise InputError(f"{path}: {kind.what}, not a pylock.toml", hint=kind.hint(str(path.parent)))
    if path.suffix in (".txt", ".in"):
        raise InputError(
            f"{path}: a requirements file, not a lockfile", hint=f"pass `-r {shlex.quote(str(path))}`"
        )
    return text


def read_lock(
    run: Run, path: Path, text: str, requirements: RequirementSet | None
) -> tuple[Lock, RequirementSet | None]:
    """Parse a lockfile, and check that it satisfies the requirements.

    :param path: the lockfile, for messages and relative paths.
    :param requirements: None skips the check.
    :return: the lock, and the requirements without the conda packages that it leaves to the base.
    :raises InputError: if the lockfile is malformed, or does not satisfy the requirements.
    """
    target = run.interpreter.target
    lock = parse_lock(text, source=path, target=target)
    _warn_of_builds(run, lock, text, path)
    for name, absent in absent_dependencies(text):
        run.reporter.warn(f"`{name}` in `{path.name}` depends on `{absent}`, which the file does not contain")
    if requirements is not None:
        missing = [root for root in requirements.assumed if root.text in lock.base]
        requirements = leave_to_base(run, requirements, missing, f"`{path.name}`")
        check_lock(
            lock,
            requirements.roots,
            target,
            str(path),
            arguments=f"{requirements.arguments} {target.argument}",
        )
    if not lock.packages:
        run.reporter.warn(f"`{path.name}` has no distribution for the target: the bundle will be empty")
    run.reporter.stage("lock", f"{counted(len(lock.packages), 'distribution')} from {path.name}")
    return lock, requirements


def _warn_of_builds(run: Run, lock: Lock, text: str, path: Path) -> None:
    """Warn of each sdist that is chosen since the wheels of the lock are for a newer glibc."""
    target = run.interpreter.target
    if target.glibc is None or all(package.kind != "sdist" for package in lock.packages):
        return
    unlimited = parse_lock(text, source=path, target=replace(target, glibc=None))
    for package, other in zip(lock.packages, unlimited.packages, strict=True):
        if package.kind != other.kind:
            lift = f"; `--target-glibc {HOST_GLIBC}` accepts it" if not target.glibc.is_fact else ""
            run.reporter.warn(
                f"`{other.filename}` is for a newer glibc than {target.glibc.version}, so the sdist of"
                f" `{package.name}` is built{lift}"
            )


def render_bundle_lock(run: Run, lock: Lock) -> bytes:
    """Return the lockfile of the bundle, which contains the names of local files, but not their paths."""
    # Without the glibc of the resolution: the wheels are fixed, and the manifest has the glibc they need.
    # Without the graph too: the manifest has it, and a lock of another tool may lack it. Without the
    # resolver: the same wheels are the same bundle, whichever program chose them.
    packages = tuple(replace(package, dependencies=()) for package in lock.packages)
    lock = replace(lock, glibc="", resolver="", packages=packages)
    return render_lock(lock, run.interpreter.target, lambda path: path.name).encode()


def fetch_wheels(run: Run, lock: Lock) -> Wheels:
    """Download the files of the lock, and build the wheels of its source distributions.

    :raises InputError: if the lock contains source distributions, and the run rejects them.
    :raises NetworkError: if a file cannot be downloaded.
    :raises IntegrityError: if a file does not have the locked digest.
    :raises ResolutionError: if a wheel cannot be built.
    """
    files = [package for package in lock.packages if package.sha256 and package.kind in ("wheel", "sdist")]
    if missing := missing_files([download_of(package) for package in files], run.store):
        fetch_all(missing, run.store, run.settings, reporter=run.reporter)
    sources = [package for package in lock.packages if package.kind != "wheel"]
    if sources and run.interpreter.is_foreign:
        raise InputError(
            f"source distributions cannot be built for {run.interpreter.target.name} on this machine",
            evidence=tuple(f"{package.name}  {package.filename}" for package in sources),
            hint="lock again with `--target`, which chooses wheels alone",
        )
    if sources and run.only_binary:
        raise InputError(
            "the lock contains source distributions, which `--only-binary` rejects",
            evidence=tuple(f"{package.name}  {package.filename}" for package in sources),
        )
    built = {}
    with run.reporter.task("wheels", len(sources)) as task:
        for package in sources:
            task.name(f"{package.name} {package.version or ''}".rstrip())
            built[package.name] = build_wheel(
                package, run.interpreter.target, lambda: run.toolchain, run.store
            )
            task.advance()
    outcome = f"{len(lock.packages) - len(sources)} fetched"
    if sources:
        outcome += f", {len(sources)} built from source"
        names = ", ".join(f"`{package.filename}`" for package in sources)
        run.reporter.note(f"built here, by their own code: {names}; `--only-binary` refuses this")
    run.reporter.stage("wheels", outcome)
    refs = (_wheel_ref(package, built.get(package.name)) for package in lock.packages)
    return Wheels(refs=tuple(ref for ref in refs if ref is not None), built=built)


def _wheel_ref(package: LockedDistribution, built: BuiltWheel | None) -> WheelRef | None:
    if built is not None:
        return WheelRef(sha256=built.sha256, filename=built.filename, forbidden=built.build_dir.encode())
    if package.sha256 is None:
        return None
    return WheelRef(sha256=package.sha256, filename=package.filename)
