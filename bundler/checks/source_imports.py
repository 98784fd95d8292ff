"""Stage 5, pure: what the modules of a bundle import, met or not, read from their source.

The report that a run cannot give: a module below a package, a branch that was
not taken, a function that was not called. What is unresolved is ranked by when
it would run, as PyInstaller's warn file lists it, and told once for each
distribution and missing module.

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

__all__ = ["FileImports", "FoundImport", "ModuleIndex", "When", "import_findings", "imported_modules"]

When = Literal["top", "conditional", "delayed", "optional"]
"""When an import runs: docs of ``target/scripts/scan_imports.py``."""

_RANK: Mapping[When, int] = {"top": 0, "conditional": 1, "delayed": 2, "optional": 3}
_SAID: Mapping[When, str] = {
    "top": "whenever the file is imported",
    "conditional": "under a condition",
    "delayed": "in a function",
    "optional": "in try/except",
}
# Files that run only when somebody tests or builds the distribution itself.
_TESTS = re.compile(
    r"(?:.*/)?(?:tests?|testing|_?benchmarks?|examples?|docs)/.*"
    r"|(?:.*/)?(?:test_\w+|\w+_test|conftest|setup)\.py"
)
# Of the standard library on Windows alone; elsewhere nobody misses them.
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
    """What it takes from the module."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileImports:
    """What one file imports."""

    path: str
    """Relative to the folder that was scanned."""
    imports: tuple[FoundImport, ...] = ()
    defines: tuple[str, ...] = ()
    """The names its top level binds, where that was asked for."""
    error: str = ""
    """``line: reason`` where the target cannot parse it."""


class ModuleIndex:
    """Which modules there are, and whose they are.

    :param stdlib: the top-level modules of the target's standard library.
    :param base: the top-level modules of the base, where one is known.
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
            for path in facts.files:
                self._add(path.split("/"), facts.name)
        # A module of the standard library comes before a folder without `__init__` of its name (PEP 420).
        hidden = set(stdlib) - self._regular
        self._owners = {
            name: who for name, who in self._owners.items() if name.partition(".")[0] not in hidden
        }

    def _add(self, parts: list[str], owner: str) -> None:
        module = importable_name(parts[-1])
        if module is None or not all(part.isidentifier() for part in parts[:-1]):
            return
        for depth in range(1, len(parts)):
            self._owners.setdefault(".".join(parts[:depth]), set()).add(owner)
        if module == "__init__":
            self._regular.add(".".join(parts[:-1]))
        else:
            name = ".".join([*parts[:-1], module])
            self._owners.setdefault(name, set()).add(owner)
            self._regular.add(name)

    def top_level(self) -> frozenset[str]:
        """Return the names that the bundle puts first on a path."""
        return frozenset(name for name in self._owners if "." not in name)

    def find(self, module: str) -> tuple[frozenset[str], str]:
        """Return who brings a module, and the first part of its name that nobody brings.

        Below a regular package nothing is looked for: a package may make its
        modules as it runs.

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
        """Return the modules of the bundle that an absolute import runs: it and what it takes from it."""
        taken = (f"{found.module}.{name}" for name in found.names)
        return tuple(name for name in (found.module, *taken) if name in self._owners)

    def above(self, module: str) -> tuple[str, ...]:
        """Return the packages of the bundle that run on the way to a module."""
        parts = module.split(".")
        above = (".".join(parts[:depth]) for depth in range(1, len(parts)))
        return tuple(name for name in above if name in self._owners)

    def is_namespace(self, module: str) -> bool:
        """Return whether the bundle has a folder of that name without ``__init__``, and nothing else."""
        return module in self._owners and module not in self._regular

    def names_of(self, found: FoundImport) -> tuple[str, ...]:
        """Return the modules an absolute import needs: in a namespace, what is taken from it."""
        if self.is_namespace(found.module) and found.names:
            return tuple(f"{found.module}.{name}" for name in found.names if name != "*")
        return (found.module,)


def imported_modules(
    scans: Mapping[NormalizedName, Iterable[FileImports]], world: ModuleIndex
) -> Mapping[str, bool]:
    """Return the modules of the bundle that some file of it imports, and whether one surely does.

    Surely is: whenever its file is imported, or under a condition; tests and samples do not count.
    """
    found: dict[str, bool] = {}
    for files in scans.values():
        for scan in files:
            package = scan.path.split("/")[:-1]
            own = ".".join([*package, ""])
            is_test = _TESTS.fullmatch(scan.path) is not None
            for one in scan.imports:
                base = package[: len(package) - one.level + 1] if one.level else []
                module = ".".join([*base, *filter(None, [one.module])])
                surely = one.when in ("top", "conditional") and not is_test
                # That a file is in a package is no use of the package.
                above = [name for name in world.above(module) if not own.startswith(f"{name}.")]
                for name in (*above, *world.below(replace(one, module=module))):
                    found[name] = found.get(name, False) or surely
    return found


@dataclass(slots=True)
class _ImportPlace:
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
    """Yield what is imported and not there (I203, I204), or there by luck (I205).

    :param scans: the files of each distribution.
    :param required_by: who requires a distribution: "`a` requires".
    :param unasked: for each distribution, the projects that its extras would bring and nobody asked for.
    """
    for facts in distributions:
        missing: dict[str, _ImportPlace] = {}
        lucky: dict[tuple[str, str], _ImportPlace] = {}
        declared = {canonicalize_name(one.name) for one in facts.requires_dist} | {facts.name}
        for scan in scans.get(facts.name, ()):
            for found in scan.imports:
                _sort(scan.path, found, world, declared, missing, lucky)
        extras = {canonicalize_name(name).replace("-", "") for name in unasked.get(facts.name, ())}
        for name, place in sorted(missing.items()):
            is_extra = any(_plain(name) in extra for extra in extras)
            yield _missing(facts.name, name, place, is_extra=is_extra)
        for (owner, module), place in sorted(lucky.items()):
            yield _lucky(facts.name, module, owner, place, required_by.get(canonicalize_name(owner), ()))


def _sort(
    path: str,
    found: FoundImport,
    world: ModuleIndex,
    declared: Collection[str],
    missing: dict[str, _ImportPlace],
    lucky: dict[tuple[str, str], _ImportPlace],
) -> None:
    """Put one import where it belongs."""
    if found.level:
        return
    when: When = "optional" if _TESTS.fullmatch(path) and found.when == "top" else found.when
    for module in world.names_of(found):
        owners, lacks = world.find(module)
        if lacks in _WINDOWS:
            continue
        if lacks:
            _note(missing, lacks, path, found.line, when)
        elif (
            when == "top"
            and not owners & {ModuleIndex.STDLIB, ModuleIndex.BASE}
            and not owners & set(declared)
        ):
            _note(lucky, (min(owners), module.partition(".")[0]), path, found.line, when)


def _note(places: dict[Any, _ImportPlace], key: Any, path: str, line: int, when: When) -> None:
    """Keep the place that matters most."""
    known = places.get(key)
    if known is None:
        places[key] = _ImportPlace(path, line, when)
        return
    known.more += 1
    if (_RANK[when], path, line) < (_RANK[known.when], known.path, known.line):
        known.path, known.line, known.when = path, line, when


def _missing(distribution: str, name: str, place: _ImportPlace, *, is_extra: bool) -> Finding:
    more = f" and in {place.more} more place{'s' * (place.more > 1)}" if place.more else ""
    where = "in its tests or samples" if _TESTS.fullmatch(place.path) else _SAID[place.when]
    extra = "; an extra that nobody asked for would bring it" if is_extra else ""
    return Finding(
        code="I203" if place.when == "top" and not is_extra else "I204",
        message=f"`{distribution}` imports `{name}`, which is not there, {where}{more}{extra}",
        distribution=distribution,
        where=f"{place.path}:{place.line}",
    )


def _lucky(
    distribution: str, module: str, owner: str, place: _ImportPlace, because: Sequence[str]
) -> Finding:
    brought = f"; it works because {because[0]} `{owner}`" if because else ""
    return Finding(
        code="I205",
        message=f"`{distribution}` imports `{module}` and does not declare it{brought}",
        distribution=distribution,
        where=f"{place.path}:{place.line}",
    )


def _plain(name: str) -> str:
    return canonicalize_name(name).replace("-", "")
