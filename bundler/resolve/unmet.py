"""Pure: why no release of a project satisfies a requirement, and the nearest release that would.

The facts are the files of the project on the indexes (`resolve.releases`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.data.import_names import provider_of
from bundler.data.popular_names import most_downloaded
from bundler.problems import closest
from bundler.text import listing

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.tags import Tag

    from bundler.target.target import Target

__all__ = [
    "Explanation",
    "IndexFile",
    "Wanted",
    "explain_unmet",
    "newest_wheel",
    "python_for",
    "python_in",
    "similar_names",
]

COMMAND_LINE = "command line"
"""The origin of a requirement that is not in a file."""
_SHOWN = 5
_MINORS = range(7, 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFile:
    """One file of a project on an index."""

    filename: str
    version: Version
    requires_python: str
    """A specifier, possibly empty."""
    yanked: bool
    tags: frozenset[Tag] | None
    """The tags of a wheel; None for a source distribution."""

    def supports_python(self, version: str) -> bool:
        """Return whether Requires-Python accepts a version; an invalid specifier does, as in pip."""
        try:
            return SpecifierSet(self.requires_python).contains(version, prereleases=True)
        except InvalidSpecifier:
            return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The message, evidence and hint of an error."""

    message: str
    evidence: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A requirement that is not met, and its place."""

    requirement: Requirement
    origin: str
    """``requirements.txt:3`` or ``command line``: its place, or that of the requirement that leads to it."""
    parents: tuple[str, ...] = ()
    """The distributions that lead from the user's requirement to it; empty for the user's own."""

    @property
    def place(self) -> str:
        """The place as a clause in parentheses, after a space; empty if it is not a file."""
        origin = "" if self.origin == COMMAND_LINE else self.origin
        if self.parents:
            return f" (required by {self.parents[-1]}{f', {origin}' if origin else ''})"
        return f" ({origin})" if origin else ""

    def change(self, text: str) -> str:
        """Return the hint to write ``text`` in the place of the requirement."""
        if self.parents:
            return f"add `{text}` to the requirements"
        return f"pass `{text}`" if self.origin == COMMAND_LINE else f"write `{text}` in {self.origin}"


def explain_unmet(
    wanted: Wanted, files: Sequence[IndexFile], target: Target, *, only_binary: bool
) -> Explanation | None:
    """Return why no file satisfies a requirement; None if one does, as far as these facts go.

    :param files: all files of the project, on all indexes; at least one.
    """
    name, specifier = wanted.requirement.name, wanted.requirement.specifier
    label = _label(wanted.requirement)
    usable = _usable(files, target, only_binary=only_binary)
    nearest = _nearest(specifier, usable)
    which = _which(nearest, usable, target)
    hint = wanted.change(f"{name}=={nearest}") if nearest and not wanted.parents else None
    matching = [file for file in files if specifier.contains(file.version, prereleases=True)]
    for_python = [file for file in matching if file.supports_python(target.version)]
    fitting = [file for file in for_python if _fits(file, target, only_binary=only_binary)]
    evidence: tuple[str, ...] = ()
    if not matching:
        exists = f"{label} does not exist" if " " in label else f"no release matches {label}"
        fact = f"{exists}{wanted.place}"
        newest = sorted({file.version for file in usable or files}, reverse=True)
        evidence = (f"found   {listing(map(str, newest), _SHOWN)}",)
        which = which or f"; the newest release is {max(file.version for file in files)}"
    elif not for_python:
        needs = min(matching, key=lambda file: file.version).requires_python
        fact = f"{label} needs Python {needs}{wanted.place}"
        which = which or f"; no release supports {target.python_version}"
        lowest = python_for(matching)
        if hint is None and lowest:
            hint = f"build for a newer Python: `--python {lowest}`"
    elif not fitting and (lowest_glibc := _lowest_glibc(for_python, target)) and target.glibc:
        fact = f"{label} needs glibc {lowest_glibc} or newer, {target.glibc.source}{wanted.place}"
        if hint is None and not target.glibc.is_fact:
            hint = f"if the target has it: `--target-glibc {lowest_glibc}`"
    elif not fitting:
        kind = "wheel" if only_binary else "file"
        fact = f"{label} has no {kind} for {target.name}{wanted.place}"
        evidence = (f"found   {listing((file.filename for file in for_python), _SHOWN)}",)
        if hint is None and only_binary and any(file.tags is None for file in for_python):
            hint = "build it here, with its own code: omit `--only-binary`"
    elif all(file.yanked for file in fitting):
        fact = f"all releases of {label} were yanked by their authors{wanted.place}"
    else:
        return None
    return Explanation(message=f"{fact}{which}", evidence=evidence, hint=hint)


def newest_wheel(
    files: Iterable[IndexFile], target: Target, specifier: SpecifierSet | None = None
) -> Version | None:
    """Return the newest final release with a wheel for the target, or None."""
    return max(
        (
            file.version
            for file in _usable(files, target, only_binary=True)
            if specifier is None or specifier.contains(file.version)
        ),
        default=None,
    )


def python_for(files: Iterable[IndexFile]) -> str | None:
    """Return the lowest minor version of Python that one of the files supports, or None."""
    listed = list(files)
    for minor in _MINORS:
        if any(file.supports_python(f"3.{minor}.99") for file in listed):
            return f"3.{minor}"
    return None


def python_in(requires_python: str) -> str | None:
    """Return the lowest minor version of Python that a specifier accepts, or None.

    >>> python_in(">=3.9"), python_in("<3")
    ('3.9', None)
    """
    with suppress(InvalidSpecifier):
        specifier = SpecifierSet(requires_python)
        return next((f"3.{minor}" for minor in _MINORS if specifier.contains(f"3.{minor}.99")), None)
    return None


def similar_names(name: str, own: Iterable[str], exists: Callable[[str], bool]) -> Iterator[str]:
    """Yield the names that were probably meant by ``name``, which no index has.

    First the project of a module of this name, then names that are similar and on an index: the
    user's own, then popular ones.

    :param own: names in the user's files.
    """
    key = canonicalize_name(name)
    project = provider_of(name)
    if project != name:
        yield project
    pools: tuple[tuple[Collection[str], float], ...] = (
        ({canonicalize_name(item) for item in own} - {key}, 0.7),
        # A private project is no misspelling of a popular one that shares a word with it.
        ([item for item in most_downloaded() if item != key], 0.8),
    )
    for pool, cutoff in pools:
        near = closest(key, pool, cutoff=cutoff)
        if near and exists(near):
            yield near


def _label(requirement: Requirement) -> str:
    """Return ``numpy 1.22`` for a pin, ``numpy>=1.22`` for another requirement."""
    pins = [item.version for item in requirement.specifier if item.operator in ("==", "===")]
    if len(pins) == 1 == len(requirement.specifier):
        return f"{requirement.name} {pins[0]}"
    return f"`{requirement.name}{requirement.specifier}`"


def _fits(file: IndexFile, target: Target, *, only_binary: bool) -> bool:
    if file.tags is None:
        return not only_binary
    return not file.tags.isdisjoint(target.tags)


def _lowest_glibc(files: Iterable[IndexFile], target: Target) -> str:
    """Return the oldest glibc of the wheels that only the limit of the target excludes; empty without any."""
    tags = frozenset(replace(target, glibc=None).tags)
    platforms = [tag.platform for file in files for tag in (file.tags or frozenset()) & tags]
    found = [re.match(r"manylinux_2_(\d+)_", platform) for platform in platforms]
    return f"2.{min(minors)}" if (minors := [int(match[1]) for match in found if match]) else ""


def _usable(files: Iterable[IndexFile], target: Target, *, only_binary: bool) -> list[IndexFile]:
    """Return the files of final releases that the target supports."""
    return [
        file
        for file in files
        if not file.yanked
        and not file.version.is_prerelease
        and file.supports_python(target.version)
        and _fits(file, target, only_binary=only_binary)
    ]


def _nearest(specifier: SpecifierSet, usable: Sequence[IndexFile]) -> Version | None:
    """Return the highest usable version below the wanted one, else the lowest one above it."""
    versions = sorted({file.version for file in usable})
    bounds = []
    for item in specifier:
        try:
            bounds.append(Version(item.version.removesuffix(".*")))
        except InvalidVersion:
            continue
    if not versions or not bounds:
        return versions[-1] if versions else None
    below = [version for version in versions if version <= max(bounds)]
    return below[-1] if below else versions[0]


def _which(nearest: Version | None, usable: Sequence[IndexFile], target: Target) -> str:
    """Return the clause that names the nearest release; empty if there is none."""
    if nearest is None:
        return ""
    newest = max(file.version for file in usable)
    rank = "newest" if nearest == newest else "nearest"
    return f"; the {rank} release for {target.python_version} is {nearest}"
