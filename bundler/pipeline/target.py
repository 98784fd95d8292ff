"""Select the target of a build: its Python from ``--python`` and the conda file, and its glibc."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from bundler.data.azure_image import image_glibc
from bundler.errors import InputError, InterpreterError, UsageError
from bundler.paths import printable
from bundler.pipeline.options import HOST_GLIBC
from bundler.redaction import url_filename
from bundler.system.environ import HostEnvironment
from bundler.target.foreign import TargetTag, foreign_target
from bundler.target.interpreter import Interpreter, find_interpreter
from bundler.target.target import DEFAULT_PYTHON, GLIBC_VERSION, GlibcLimit, Target, glibc_in
from bundler.text import first_lines, listing

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.requirements.line import RootRequirement
    from bundler.requirements.requirement_set import RequirementSet

__all__ = [
    "check_applicable",
    "check_wheels_alone",
    "find_tagged_target",
    "find_target",
    "limit_glibc",
]

_SHOWN = 10
_PYTHONS = [f"3.{minor}" for minor in range(7, 20)]


def find_target(
    python: str | None,
    requirements: RequirementSet | None,
    host: HostEnvironment,
    scratch: Path,
    reporter: Reporter,
) -> Interpreter:
    """Return the interpreter of ``--python``, else the lowest that the input accepts, else 3.7.

    :param python: the value of ``--python``, a version or a path.
    :param requirements: the conda environment file, project and scripts of the input.
    :raises InputError: if the input does not accept the interpreter.
    :raises InterpreterError: if the interpreter is not found, or unsupported.
    """
    conda = requirements.conda if requirements else None
    accepted = requirements.requires_python if requirements else ()
    if accepted and (conda is None or conda.read.python is None):
        return _accepted_by(python, accepted, host, scratch)
    wanted = conda.read.python if conda else None
    if conda is None or wanted is None:
        return find_interpreter(python or DEFAULT_PYTHON, host, scratch)
    chosen = python or conda.read.lowest
    if chosen is None:
        raise InputError(
            f"{conda.where} requires `{conda.read.python_text}`, which is not supported as a target",
            evidence=("wanted  CPython 3.7 or newer",),
            hint="change the file, for example to `python=3.7`",
        )
    interpreter = find_interpreter(chosen, host, scratch)
    version = interpreter.target.version
    if not wanted.contains(version):
        if interpreter.target.python_version == conda.read.lowest and _is_exact(wanted):
            # `conda env export` and users write the exact release, which may not be installed here. All
            # releases of a minor version have the same ABI, so a wheel for one fits the others.
            reporter.warn(f"{conda.where} requires `{conda.read.python_text}`; the target is {version}")
            return interpreter
        raise InputError(
            f"{conda.where} requires another Python than the target",
            evidence=(f"wanted  {conda.read.python_text}", f"found   {version}"),
            hint="omit `--python`, or change the file",
        )
    return interpreter


def find_tagged_target(
    tag: TargetTag,
    python: str | None,
    requirements: RequirementSet | None,
    host: HostEnvironment,
    scratch: Path,
) -> Interpreter:
    """Return the interpreter for ``--target``: one of its version if there is one, else that of bundler.

    If this machine can run the target, the interpreter is not foreign: the checks import everything.

    :param python: the value of ``--python``.
    :raises InputError: if the requirements do not accept the version.
    :raises InterpreterError: if ``python`` is not found.
    :raises UsageError: if ``python`` is of another version than the tag.
    """
    try:
        interpreter = find_interpreter(python or tag.python, host, scratch)
    except InterpreterError:
        if python is not None:
            raise
        interpreter = find_interpreter(sys.executable, host, scratch)
    own = interpreter.target
    if python is not None and own.python_version != tag.python:
        raise UsageError(
            f"`--python {printable(python)}` is not the Python of `--target {tag.text}`",
            evidence=(f"wanted  {tag.python}", f"found   {own.version}"),
            hint=f"--python {tag.python}",
        )
    version = own.version if own.python_version == tag.python else f"{tag.python}.0"
    for name, wanted in requirements.requires_python if requirements else ():
        if not wanted.contains(version, prereleases=True):
            raise InputError(
                f"{name} requires another Python than the target",
                evidence=(f"wanted  {wanted}", f"found   {version}"),
            )
    if own.python_version == tag.python and own.platform == f"linux_{tag.machine}" and _runs(own, tag):
        return interpreter
    return replace(interpreter, target=foreign_target(tag, version), local=own)


def _runs(own: Target, tag: TargetTag) -> bool:
    """Return whether a Python of this machine has the C library of a tag, in that version or a newer one."""
    (name, version), (wanted, least) = own.libc.partition(" ")[::2], tag.libc.partition(" ")[::2]
    return name == wanted and Version(version) >= Version(least)


def check_wheels_alone(requirements: RequirementSet, target: Target) -> None:
    """Check that no requirement must be built: nothing can be built for another platform.

    :raises InputError: with each requirement that must be built.
    """
    sources = [
        f"{root.origin}: {root.text}"
        for root in requirements.roots
        if root.kind in ("directory", "vcs")
        or (root.kind == "archive" and not url_filename(str(root.location)).endswith(".whl"))
    ]
    sources += [option for option in requirements.pip_options if option.startswith("--no-binary")]
    if sources:
        raise InputError(
            f"source distributions cannot be built for {target.name} on this machine",
            evidence=first_lines(sources, _SHOWN),
            hint="require wheels, or build on a machine of the target",
        )


def _accepted_by(
    python: str | None, accepted: Sequence[tuple[str, SpecifierSet]], host: HostEnvironment, scratch: Path
) -> Interpreter:
    """Return an interpreter that every ``requires-python`` of a project or script accepts."""
    from bundler.requirements.conda.translate import lowest_python  # noqa: PLC0415 - reads YAML, slow to load

    specifier = SpecifierSet(",".join(str(wanted) for _, wanted in accepted))
    lowest = lowest_python(specifier)
    interpreter = find_interpreter(python or lowest or DEFAULT_PYTHON, host, scratch)
    for name, wanted in accepted:
        if not wanted.contains(interpreter.target.version, prereleases=True):
            raise InputError(
                f"{name} requires another Python than the target",
                evidence=(f"wanted  {wanted}", f"found   {interpreter.target.version}"),
                hint=f"pass `--python {lowest}`" if lowest else None,
            )
    return interpreter


def check_applicable(requirements: RequirementSet, target: Target, reporter: Reporter) -> None:
    """Report the requirements whose markers exclude the target.

    :raises InputError: if the target is excluded by all of them, so that the bundle would be empty.
    """
    markers = {root: _marker(root) for root in requirements.roots}
    excluded = [root for root, marker in markers.items() if marker and not marker.evaluate(target.markers)]
    if not excluded:
        return
    shown = [f"`{root.text}` ({root.origin})" for root in excluded]
    if len(excluded) < len(markers) or requirements.system_packages:
        reporter.note(f"not for this target, by {_their(excluded)}: {listing(shown, _SHOWN)}")
        return
    texts = [marker for marker in markers.values() if marker]
    fitting = next((python for python in _PYTHONS if _applies(texts, target, python)), None)
    raise InputError(
        f"no requirement applies to CPython {target.version} on {target.platform}: the bundle would be empty",
        evidence=first_lines([f"{root.origin}: {root.text}" for root in excluded], _SHOWN),
        hint=f"--python {fitting}" if fitting else f"change {_their(excluded)}",
    )


def _their(excluded: Sequence[RootRequirement]) -> str:
    return "its marker" if len(excluded) == 1 else "their markers"


def _marker(root: RootRequirement) -> Marker | None:
    """Return the marker of a requirement, which a path without a name has in its text only."""
    if root.requirement is not None:
        return root.requirement.marker
    _, found, text = root.text.rpartition(" ; ")
    return Marker(text) if found else None


def _applies(markers: Sequence[Marker], target: Target, python: str) -> bool:
    """Return whether a marker accepts the target with another version of Python."""
    other = {**target.markers, "python_version": python, "python_full_version": f"{python}.0"}
    return any(marker.evaluate(other) for marker in markers)


def limit_glibc(
    target: Target, asked: str | None, *, base: str | None, locked: str, tagged: str = ""
) -> Target:
    """Return the target with the glibc that its wheels may need.

    It is the lower one of ``--target-glibc`` and of the base; else that of the lock; else that of
    Azure ML's images for this Python. ``host`` leaves the base and this machine as limits.

    :param asked: the value of ``--target-glibc``.
    :param base: the glibc of the base, if known.
    :param locked: the glibc that the lock was resolved for; empty if unknown.
    :param tagged: the C library of ``--target``, "glibc 2.17"; empty without one.
    :raises UsageError: if ``asked`` is not a version of glibc.
    """
    if asked is not None and asked != HOST_GLIBC and not GLIBC_VERSION.fullmatch(asked):
        raise UsageError(
            f"`--target-glibc {printable(asked)}` is not a glibc version",
            evidence=(f"wanted  a version such as 2.27, or {HOST_GLIBC}",),
            hint=f"--target-glibc {glibc_in(asked) or '2.27'}",
        )
    if not target.libc.startswith("glibc "):
        return target
    given = []
    if base is not None and GLIBC_VERSION.fullmatch(base):
        given.append(GlibcLimit(version=base, source=f"the base has {base}", is_fact=True))
    if tagged.startswith("glibc "):
        version = tagged.partition(" ")[2]
        given.append(GlibcLimit(version=version, source=f"`--target` is for {version}", is_fact=True))
    if asked is not None and asked != HOST_GLIBC:
        given.append(GlibcLimit(version=asked, source=f"`--target-glibc` is {asked}"))
    if not given and asked is None:
        row = image_glibc(target.release)
        given.append(
            GlibcLimit(version=locked, source=f"the lock is for {locked}")
            if locked
            else GlibcLimit(version=row.glibc, source=f"Azure ML's image {row.image} has {row.glibc}")
        )
    return replace(target, glibc=min(given, key=lambda limit: limit.numbers, default=None))


def _is_exact(wanted: SpecifierSet) -> bool:
    """Return whether a specifier names one release: ``==3.8.6``, or ``==3.8.6.*``, conda's ``=3.8.6``."""
    return all(clause.operator == "==" for clause in wanted)
