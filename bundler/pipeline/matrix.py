"""Build many bundles with one store; one whose inputs are those of an earlier build is not built again.

The inputs are compared by content: the lock, the options, the target, the base, the code and the
version of bundler. The store records the digests of the files of each bundle, and a bundle counts as
built only while they have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bundler import __version__
from bundler.bundle.reader import verify_bundle
from bundler.bundle.writer import Output
from bundler.checks.user_code import UserCode
from bundler.digest import Sha256, hash_stream, sha256_of
from bundler.errors import BundlerError, InputError
from bundler.jsonio import canonical_json
from bundler.pipeline.build import BuildInputs, build_from, open_build
from bundler.pipeline.inputs import render_bundle_lock
from bundler.pipeline.options import BuildOptions
from bundler.pipeline.target import find_target
from bundler.problems import display_path
from bundler.reporter import SILENT
from bundler.resolve.sdist import hash_tree
from bundler.store.maintenance import heal
from bundler.store.store import key_of
from bundler.system.atomic import check_writable

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["Job", "Outcome", "check_outputs", "label_of", "run_job"]

_FORMAT = 1
"""Raise it when the inputs or the record of a bundle change their meaning."""
_NOT_INPUTS = frozenset(
    {
        # The lock and the target are the results of these:
        *("requirements", "index", "python", "lock", "previous", "upgrade"),
        # Compared by content:
        *("base", "code", "model_dir"),
        # Without an effect on the bundle:
        *("folder", "reverify", "jobs"),
    }
)
"""The options that are not inputs of a bundle themselves."""


def label_of(bundle: str, python: str | None) -> str:
    """Return the name of a bundle of a matrix for people, with its Python if one is given."""
    return f"{bundle} (Python {python})" if python else bundle


@dataclass(frozen=True, kw_only=True)
class Job:
    """A bundle of a matrix, for one Python."""

    bundle: str
    """The name of its table."""
    python: str | None
    options: BuildOptions

    @property
    def label(self) -> str:
        """The name of the bundle, with the Python if one is given."""
        return label_of(self.bundle, self.python)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a job."""

    status: Literal["built", "unchanged", "failed"]
    output: Output | None = None
    error: BundlerError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """The files of a bundle that was built: the value of its inputs in the store."""

    name: str
    sha256: Sha256
    """Of the archive; of the manifest for a directory."""
    size: int
    files: Mapping[str, Sha256]
    """The archive and the files beside it, in the directory of the output."""


def check_outputs(jobs: Sequence[Job], *, host: HostEnvironment, store: Store) -> None:
    """Check that each job writes another output, before any of them runs.

    The default version comes from the lock, so two bundles without a version count as the same output.

    :raises InputError: with all bundles that have the name, version, target and directory of another one.
    """
    groups: dict[tuple[Path, str, str | None], list[Job]] = {}
    for job in jobs:
        options = job.options
        groups.setdefault((options.folder.resolve(), options.name, options.version), []).append(job)
    equal: list[str] = []
    for (folder, name, version), group in groups.items():
        if len(group) == 1:
            continue
        by_target: dict[str, list[Job]] = {}
        with store.in_use(), store.scratch() as scratch:
            for job in group:
                options = job.options
                try:
                    target = find_target(options.python, options.requirements, host, scratch, SILENT).target
                except BundlerError:  # reported when the job runs
                    continue
                by_target.setdefault(target.python_version, []).append(job)
        for python, same in by_target.items():
            if len(same) > 1:
                labels = ", ".join(f"`{job.label}`" for job in same)
                stem = f"{name}-{version or '*'}-cp{python.replace('.', '')}"
                equal.append(f"{labels}: {display_path(folder, host.cwd.resolve())}/{stem}")
    if equal:
        raise InputError(
            "bundles with the same output",
            evidence=tuple(equal),
            hint="set another `name` or `output` for one of them",
        )


def run_job(job: Job, *, host: HostEnvironment, store: Store, reporter: Reporter) -> Outcome:
    """Build a bundle, unless it exists and has the same inputs; a failure is an outcome."""

    def work() -> Outcome:
        with open_build(job.options, host, store, reporter) as inputs:
            key = _key(inputs)
            record = None if job.options.reverify else store.recall("matrix", key, _Record)
            output = _existing(job.options, record) if record is not None else None
            if output is not None:
                reporter.stage("bundle", f"`{output.path.name}` exists, and its inputs did not change")
                return Outcome(status="unchanged", output=output)
            output = build_from(inputs).output
            store.remember("matrix", key, _record(output))
            return Outcome(status="built", output=output)

    try:
        check_writable(job.options.folder)
        return heal(store, work)
    except BundlerError as error:
        return Outcome(status="failed", error=error)
    except OSError as error:
        evidence = (str(error.filename),) if error.filename else ()
        return Outcome(status="failed", error=BundlerError(error.strerror or str(error), evidence=evidence))


def _key(inputs: BuildInputs) -> str:
    """Return the key of everything that the result of a build depends on."""
    run, options = inputs.run, inputs.options
    target = run.interpreter.target
    packages = options.requirements.system_packages if options.requirements else ()
    values: dict[str, Any] = {
        "format": _FORMAT,
        "bundler": __version__,
        "lock": sha256_of(render_bundle_lock(run, inputs.lock)),
        "target": target.to_json(),
        "glibc": target.glibc.version if target.glibc else None,
        # A lock of another tool may lack the digest of a directory.
        "directories": [
            hash_tree(Path(package.location))
            for package in inputs.lock.packages
            if package.kind == "directory"
        ],
        "system_packages": sorted(package.text for package in packages),
        "base": inputs.base.to_json() if inputs.base else None,
        "code": _code(options.code),
        "model": str(hash_tree(options.model_dir)) if options.model_dir and options.run_init else None,
        "options": {
            field.name: repr(getattr(options, field.name))
            for field in fields(options)
            if field.name not in _NOT_INPUTS
        },
    }
    return key_of(canonical_json(values))


def _code(code: UserCode | None) -> list[str] | None:
    return [code.folder.name, code.script, hash_tree(code.folder)] if code is not None else None


def _record(output: Output) -> _Record:
    """Return the record of a bundle that was just written."""
    beside = (output.manifest, output.manifest.with_name(_stem(output) + ".sha256"))
    files = {path.name: sha256_of(path.read_bytes()) for path in beside}
    if not output.path.is_dir():
        files[output.path.name] = output.sha256
    return _Record(name=output.path.name, sha256=output.sha256, size=output.size, files=files)


def _stem(output: Output) -> str:
    return output.manifest.name.removesuffix(".manifest.json")


def _existing(options: BuildOptions, record: _Record) -> Output | None:
    """Return the output of an earlier build, if every file of it has the recorded digest."""
    path = options.folder / record.name
    try:
        for name, sha256 in record.files.items():
            with (options.folder / name).open("rb") as stream:
                if hash_stream(stream)[0] != sha256:
                    return None
        if (
            options.as_folder
            and sha256_of(verify_bundle(path, reporter=SILENT).manifest.content) != record.sha256
        ):
            return None
    except (OSError, BundlerError):
        return None
    manifest = next(name for name in record.files if name.endswith(".manifest.json"))
    return Output(path=path, manifest=options.folder / manifest, size=record.size, sha256=record.sha256)
