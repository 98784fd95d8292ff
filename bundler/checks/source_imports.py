"""Stage 5, pure: the imports in the source of a bundle's modules, resolved or not.

Source shows imports that a run does not reach: a module below a package, a branch not taken,
a function not called. Unresolved imports are ranked by when they would run, as PyInstaller's
warn file ranks them, and reported once for each distribution and missing module.

Specs: PEP 420 (namespace packages), PEP 328 (relative imports).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from packaging.utils import NormalizedName, canonicalize_name

from bundler.checks.findings import Finding
from bundler.checks.modules import DistributionFacts, importable_name

__all__ = ["FileImports", "FoundImport", "ModuleIndex", "When", "import_findings"]

When = Literal["top", "conditional", "delayed", "optional"]
"""When an import runs; the docstring of ``target/scripts/scan_imports.py`` defines each."""

_RANK: Mapping[When, int] = {"top": 0, "conditional": 1, "delayed": 2, "optional": 3}
_PLACE: Mapping[When, str] = {
    "top": "at module level",
    "conditional": "under a condition",
    "delayed": "in a function",
    "optional": "in try/except",
}
# Files that run only in tests, samples and builds of the distribution itself.
_TESTS = re.compile(
    r"(?:.*/)?(?:tests?|testing|_?benchmarks?|examples?|docs)/.*"
    r"|(?:.*/)?(?:test_\w+|\w+_test|conftest|setup)\.py"
)
# Modules of the standard library on Windows alone; code that imports them does not run elsewhere.
_WINDOWS = frozenset(
    {"_msi", "_overlapped", "_winapi", "_winreg", "msilib", "msvcrt", "nt", "winreg", "winsound"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImport:
    """One import in a file."""

    module: str
    """The dotted name; empty for ``from . import x``."""
    level: int
    """The leading dots; 0 is absolute."""
    line: int
    when: When
    names: tuple[str, ...]
    """The names that ``from`` imports from the module."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileImports:
    """The imports of one file."""

    path: str
    """Relative to the directory that was scanned."""
    imports: tuple[FoundImport, ...] = ()
    defines: tuple[str, ...] = ()
    """The names its top level binds, if the scan was to collect them."""
    folders: tuple[str, ...] = ()
    """The directories that it may add to ``sys.path``, if the scan was to collect its names."""
    error: str = ""
    """``line: reason`` where the target cannot parse it."""


class ModuleIndex:
    """The modules of a bundle with their distributions, and those of the standard library and the base.

    A module with source or an extension, and a package with ``__init__``, is *regular*. A
    directory without ``__init__`` is a portion of a namespace package (PEP 420): it is owned by
    every distribution with a file below it. The older namespace packages have an ``__init__`` in
    each distribution, which extends ``__path__`` (``pkgutil.extend_path``,
    ``pkg_resources.declare_namespace``); they are regular here, with several owners, and like
    all regular packages may have submodules that no file shows.

    :param stdlib: the top-level modules of the target's standard library.
    :param base: the top-level modules of the base, if it is known.
    """

    STDLIB = "the standard library"
    BASE = "the base"

    def __init__(
        self,
        distributions: Iterable[DistributionFacts],
        *,
        stdlib: Collection[str],
        base: Collection[str] = (),
    ) -> None:
        self._owners: dict[str, set[str]] = {}
        self._regular: set[str] = set()
        self._stdlib = stdlib
        self._base = base
        for facts in distributions:
            names: dict[str, str | None] = {}
            for path in facts.files:
                folder, _, file = path.rpartition("/")
                if folder not in names:
                    names[folder] = _dotted(folder)
                self._add(names[folder], file, facts.name)
        # The path finder returns the first regular module or package on sys.path, and makes a namespace
        # package only if it meets none (PEP 420). A mount is before the standard library, so a regular
        # module of the bundle hides one of the standard library; a namespace package is hidden by it.
        hidden = set(stdlib) - self._regular
        self._owners = {
            name: who for name, who in self._owners.items() if name.partition(".")[0] not in hidden
        }

    def _add(self, package: str | None, file: str, owner: str) -> None:
        """Enter the module of a file, and every package above it.

        :param package: the dotted name of its directory; None if it is no package.
        """
        module = importable_name(file)
        if module is None or package is None:
            return
        # One `__init__` makes the package regular for all its owners: the first directory with one
        # wins on sys.path, and in site-packages all of them are the same directory.
        name = package if module == "__init__" else f"{package}.{module}" if package else module
        self._regular.add(name)
        while name and owner not in (owners := self._owners.setdefault(name, set())):
            owners.add(owner)
            name = name.rpartition(".")[0]

    def top_level(self) -> frozenset[str]:
        """Return the top-level modules and packages of the bundle."""
        return frozenset(name for name in self._owners if "." not in name)

    def find(self, module: str) -> tuple[frozenset[str], str]:
        """Return the distributions that provide a module, or the shortest prefix of its name that none does.

        The search ends at a regular package: it may create its submodules at run time
        (``six.moves``) or extend its ``__path__``, so a missing file proves nothing. Below a
        namespace package only files count. If the base has the same top-level name, its portions
        are part of the namespace too, and are not known in detail: the base is then the owner.

        :return: the owners and an empty name, or no owners and the missing name.
        """
        first, *rest = module.split(".")
        if first not in self._owners:
            if first in self._stdlib:
                return frozenset({self.STDLIB}), ""
            if first in self._base:
                return frozenset({self.BASE}), ""
            return frozenset(), first
        name = first
        for part in rest:
            if name in self._regular:
                break
            name = f"{name}.{part}"
            if name not in self._owners:
                return (frozenset({self.BASE}), "") if first in self._base else (frozenset(), name)
        return frozenset(self._owners[name]), ""

    def below(self, found: FoundImport) -> tuple[str, ...]:
        """Return the modules of the bundle that an absolute import runs: its own, and submodules it names."""
        taken = (f"{found.module}.{name}" for name in found.names)
        return tuple(name for name in (found.module, *taken) if name in self._owners)

    def is_namespace(self, module: str) -> bool:
        """Return whether the bundle has only portions of a namespace package, no ``__init__``, of a name."""
        return module in self._owners and module not in self._regular

    def names_of(self, found: FoundImport) -> tuple[str, ...]:
        """Return the modules an absolute import needs; of a namespace package, the submodules it names.

        A namespace package defines no names of its own, so each name must be a submodule.
        """
        if self.is_namespace(found.module) and found.names:
            return tuple(f"{found.module}.{name}" for name in found.names if name != "*")
        return (found.module,)


def _dotted(folder: str) -> str | None:
    """Return the dotted name of a directory, empty for the top; None if it is no package."""
    parts = folder.split("/") if folder else []
    return ".".join(parts) if all(part.isidentifier() for part in parts) else None


@dataclass(slots=True)
class _ImportPlace:
    """The most important place of an import, and the number of its other places."""

    path: str
    line: int
    when: When
    more: int = 0


def import_findings(
    distributions: Sequence[DistributionFacts],
    scans: Mapping[NormalizedName, Sequence[FileImports]],
    world: ModuleIndex,
    *,
    required_by: Mapping[NormalizedName, Sequence[str]],
    unasked: Mapping[NormalizedName, Collection[str]],
) -> Iterator[Finding]:
    """Yield the imports that do not resolve (I203, I204), and those that resolve undeclared (I205).

    :param scans: the files of each distribution.
    :param required_by: phrases for the requirements on a distribution: "`a` requires".
    :param unasked: for each distribution, the projects of its extras that are not requested.
    """
    for facts in distributions:
        missing: dict[str, _ImportPlace] = {}
        undeclared: dict[tuple[str, str], _ImportPlace] = {}
        declared = {canonicalize_name(requirement.name) for requirement in facts.requires_dist} | {facts.name}
        for scan in scans.get(facts.name, ()):
            in_tests = _TESTS.fullmatch(scan.path) is not None
            for found in scan.imports:
                if not found.level:
                    when: When = "optional" if in_tests and found.when == "top" else found.when
                    place = _ImportPlace(scan.path, found.line, when)
                    _sort(found, place, world, declared, missing, undeclared)
        extras = {canonicalize_name(name).replace("-", "") for name in unasked.get(facts.name, ())}
        for name, place in sorted(missing.items()):
            is_extra = any(_plain(name) in extra for extra in extras)
            yield _missing(facts.name, name, place, is_extra=is_extra)
        for (owner, module), place in sorted(undeclared.items()):
            yield _undeclared(facts.name, module, owner, place, required_by.get(canonicalize_name(owner), ()))


def _sort(
    found: FoundImport,
    place: _ImportPlace,
    world: ModuleIndex,
    declared: Collection[str],
    missing: dict[str, _ImportPlace],
    undeclared: dict[tuple[str, str], _ImportPlace],
) -> None:
    """Add one absolute import to the missing or the undeclared ones, if it is either."""
    for module in world.names_of(found):
        owners, lacks = world.find(module)
        if lacks in _WINDOWS:
            continue
        if lacks:
            _note(missing, lacks, place)
        elif (
            place.when == "top"
            and not owners & {ModuleIndex.STDLIB, ModuleIndex.BASE}
            and not owners & set(declared)
        ):
            _note(undeclared, (min(owners), module.partition(".")[0]), place)


def _note(places: dict[Any, _ImportPlace], key: Any, place: _ImportPlace) -> None:
    """Keep the place whose import is the most certain to run; of equal ones, the first by path and line."""
    known = places.get(key)
    if known is None:
        places[key] = replace(place)  # one statement may name several missing modules
    else:
        known.more += 1
        if (_RANK[place.when], place.path, place.line) < (_RANK[known.when], known.path, known.line):
            known.path, known.line, known.when = place.path, place.line, place.when


def _missing(distribution: str, name: str, place: _ImportPlace, *, is_extra: bool) -> Finding:
    more = ""
    if place.more:
        more = f" and in {place.more} more place{'' if place.more == 1 else 's'}"
    where = "in its tests or samples" if _TESTS.fullmatch(place.path) else _PLACE[place.when]
    extra = "; an extra that is not requested would provide it" if is_extra else ""
    return Finding(
        code="I203" if place.when == "top" and not is_extra else "I204",
        message=f"`{distribution}` imports `{name}` (not found) {where}{more}{extra}",
        distribution=distribution,
        where=f"{place.path}:{place.line}",
    )


def _undeclared(
    distribution: str, module: str, owner: str, place: _ImportPlace, because: Sequence[str]
) -> Finding:
    reason = f"; it is installed because {because[0]} `{owner}`" if because else ""
    return Finding(
        code="I205",
        message=f"`{distribution}` imports `{module}` without declaring it{reason}",
        distribution=distribution,
        where=f"{place.path}:{place.line}",
    )


def _plain(name: str) -> str:
    return canonicalize_name(name).replace("-", "")
