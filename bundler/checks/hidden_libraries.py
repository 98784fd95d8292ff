"""Stage 5, effect: import again without the system libraries that the base lacks.

The libraries of this machine are not those of the base. A needed module that mapped one which the
base lacks is imported once more with that file hidden, as it will be there: it fails, or it has a
way without the library. Libraries of the target's Python are not hidden; the base has its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.checks.dependencies import reached_from
from bundler.checks.environments import CheckEnvironments
from bundler.checks.findings import Finding
from bundler.checks.import_results import HARMLESS, ImportResult
from bundler.checks.modules import DistributionFacts
from bundler.checks.report import UsageMode
from bundler.checks.shared_objects import read_shared_object
from bundler.errors import MalformedError
from bundler.paths import printable
from bundler.text import listing

__all__ = ["fails_without"]

_LISTED = 3
_EMPTY = re.compile(r"/\S*/([^/\s]+): file too short")


def fails_without(
    environments: CheckEnvironments,
    mode: UsageMode,
    outcomes: Sequence[tuple[DistributionFacts, ImportResult]],
    base_libraries: Collection[str],
) -> Iterator[Finding]:
    """Yield E408 for each module whose import fails without the libraries that the base lacks.

    The sandbox must have a root directory of its own.

    :param mode: the mode of use to import in.
    :param outcomes: the imports of needed modules, each with its distribution.
    :param base_libraries: the sonames of the base's libraries.
    """
    mapped = {(outcome.distribution, outcome.module): outcome.mapped for _, outcome in outcomes}
    system = {path for paths in mapped.values() for path in paths if path.startswith("/")}
    libraries = {path: _library(path) for path in system}
    lacking = {path for path, found in libraries.items() if not found.names & set(base_libraries)}
    # The needs of a library of the base are met there, perhaps under other names than here.
    edges = {path: _providers(found.needed, libraries) for path, found in libraries.items()}
    lacking -= reached_from(libraries.keys() - lacking, edges)
    if lacking:
        lacking -= environments.python_libraries()
    affected = [(facts, outcome) for facts, outcome in outcomes if lacking.intersection(outcome.mapped)]
    if not affected:
        return
    again = environments.modules(
        mode, [(facts, outcome.module) for facts, outcome in affected], hidden=frozenset(lacking)
    )
    for outcome in again.outcomes:
        if outcome.status not in HARMLESS:
            paths = sorted(lacking.intersection(mapped[outcome.distribution, outcome.module]))
            # A library that another one needs comes with it from the system.
            needed = {name for path in paths for name in libraries[path].needed}
            first = [path for path in paths if not libraries[path].names & needed] or paths
            names = listing((f"`{min(libraries[path].names, key=len)}`" for path in first), _LISTED)
            yield Finding(
                code="E408",
                distribution=outcome.distribution,
                where=outcome.module,
                message=f"import `{printable(outcome.module)}` of `{outcome.distribution}` fails without"
                f" {names}, which the base lacks: {_as_there(outcome.detail)}",
            )


def _as_there(detail: str) -> str:
    """Return the loader's message about a hidden library as it is where the library is missing.

    Here the file is empty, not missing (dlopen(3) reports the first of both as "file too short").
    """
    return _EMPTY.sub(r"\1: cannot open shared object file: No such file or directory", detail)


@dataclass(frozen=True)
class _Library:
    """A library of this machine."""

    names: frozenset[str]
    """The names by which others need it: its file name and its soname."""
    needed: tuple[str, ...] = ()


def _providers(needed: Collection[str], libraries: Mapping[str, _Library]) -> list[str]:
    """Return the libraries of these names."""
    return [path for path, found in libraries.items() if not found.names.isdisjoint(needed)]


def _library(path: str) -> _Library:
    name = path.rpartition("/")[2]
    try:
        with Path(path).open("rb") as stream:
            shared = read_shared_object(stream, path)
    except (MalformedError, OSError):
        return _Library(frozenset({name}))
    return _Library(frozenset(filter(None, [name, shared.soname])), shared.needed)
