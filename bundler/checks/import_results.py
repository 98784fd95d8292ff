"""Stage 5, pure: the meaning of an import's ending.

`import_runner` imports; this module turns its answers into outcomes that are the same on
every host.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from bundler.checks.dependencies import unasked_extras
from bundler.checks.modules import DistributionFacts, top_level_modules
from bundler.paths import printable
from bundler.redaction import redact

__all__ = [
    "HARMLESS",
    "ImportAnswer",
    "ImportResult",
    "ImportStatus",
    "classify",
    "judge",
    "mark_optional",
]

ImportStatus = Literal[
    "ok",
    "optional",
    "unused",
    "loaded",
    "unproved",
    "missing-dependency",
    "missing-library",
    "crashed",
    "timed-out",
    "network",
    "exited",
    "failed",
]

HARMLESS: frozenset[ImportStatus] = frozenset({"ok", "optional", "unused", "loaded", "unproved"})
"""The statuses that never become an error."""

_DETAIL = 500
"""Characters of a detail; the tail of a longer one is dropped."""
# The messages of dlopen(3) in glibc (elf/dl-load.c and elf/dl-version.c), after the path of the file.
_NO_LIBRARY = re.compile(r"(?<![^\s:/])(?P<name>[^\s:/]+): cannot open shared object file")
_NO_SYMBOL_VERSION = re.compile(r"(?<![^\s:/])(?P<name>[^\s:/]+): version [`'](?P<symbol>[^']+)' not found")
# The directories of an absolute path, but for those that are the same on every host.
_FOLDERS = re.compile(
    r"(?<![\w./:~-])/(?!(?:dev|etc|lib|lib64|proc|sys|usr)/)(?:[^\s/'\"`()<>,:;]+/)+(?=[^\s/'\"`()<>,:;])"
)
_MEANS_NOTHING = 2
"""Characters: names this short occur in many unrelated project names."""
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
"""A memory address, as in the default ``repr`` of an object: another one in every process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportAnswer:
    """The ending of one import, as `target/scripts/import_modules.py` reports and the store keeps it.

    The docstring of that script defines the fields; those without meaning for an ending are
    at their defaults.
    """

    module: str = ""
    ended: str | None = None
    """``ok``, ``raised``, ``exited``, ``crashed`` or ``timed-out``; anything else counts as failed."""
    code: int | str | None = None
    signal: str = ""
    exception: str = ""
    message: str = ""
    text: str = ""
    missing: str | None = None
    network: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    stderr: str = ""
    calling: bool = False
    through: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportResult:
    """The outcome of importing one module."""

    distribution: NormalizedName
    module: str
    status: ImportStatus
    detail: str
    """One line without paths of the host: the exception's last line or the signal, and the hosts it tried."""
    missing: str | None
    """The module or the shared library that was not found."""
    declared: bool | None
    """For a missing dependency: whether Requires-Dist names such a project, under any marker or extra."""
    tried: tuple[str, ...] = ()
    """The network endpoints it tried to reach, ``host:port``."""
    wrote: tuple[str, ...] = ()
    """The paths outside of its own directories that it opened for writing, created or removed."""
    stderr: tuple[str, ...] = field(default=(), compare=False)
    """The last three lines of its standard error; for the message of an error, not for a manifest."""
    through: tuple[str, ...] = field(default=(), compare=False)
    """The modules in the traceback of a failure, outermost first."""
    loaded: tuple[str, ...] = field(default=(), compare=False)
    """The modules that are imported after a success, itself included."""
    mapped: tuple[str, ...] = field(default=(), compare=False)
    """The shared objects that are mapped after a success; those of the bundle relative to its root."""
    needed_by: str = field(default="", compare=False)
    """The needed module that fails because of this one; empty if this is needed itself."""
    caused_by: str = field(default="", compare=False)
    """The other module whose failure is the cause of this one, and is reported in its place."""


def classify(
    distribution: DistributionFacts, module: str, answer: ImportAnswer, *, whole_paths: bool = False
) -> ImportResult:
    """Return the outcome of importing ``module``, from the answer of the import runner.

    An unknown ending is a failure. An import that tried the network and succeeded
    all the same is ok; its detail names the endpoint.

    :param whole_paths: keep the directories of absolute paths, for an outcome that no manifest has.
    """
    status: ImportStatus
    missing: str | None = None
    last = answer.message or answer.exception
    tried = f"tried {', '.join(answer.network)}" if answer.network else ""
    match answer.ended:
        case "ok":
            status, detail = "ok", tried
        case "crashed":
            status, detail = "crashed", _joined(answer.signal, tried)
        case "timed-out":
            status, detail = "timed-out", _joined("the import did not end", tried)
        case "exited":
            # SystemExit(0) too: the process of a server would end at this import.
            status, detail = "exited", _joined(f"the import ended the process with {answer.code}", tried)
        case "raised":
            status, missing = _cause(distribution, module, answer)
            detail = _joined(last if missing is None or missing in last else f"{last} ({missing})", tried)
        case other:
            status, detail = "failed", f"unknown ending {other!r}"
    return ImportResult(
        distribution=distribution.name,
        module=module,
        status=status,
        detail=_clean(detail, whole_paths=whole_paths)[:_DETAIL],
        missing=_clean(missing) if missing is not None else None,
        declared=_is_declared(distribution, missing) if status == "missing-dependency" and missing else None,
        tried=tuple(map(_clean, answer.network)),
        wrote=tuple(sorted({printable(path)[:_DETAIL] for path in answer.writes})),
        stderr=tuple(_clean(line)[:_DETAIL] for line in answer.stderr.splitlines() if line.strip())[-3:],
        through=answer.through,
        loaded=answer.loaded,
        mapped=answer.mapped,
    )


def _cause(
    distribution: DistributionFacts, module: str, answer: ImportAnswer
) -> tuple[ImportStatus, str | None]:
    """Return why an import raised, and the name of the missing library or module.

    The order is that of certainty. The dynamic loader's own words come first: a package that
    wraps them ("see above") often raises a ModuleNotFoundError on top, and the library is the
    cause of both. The network is last, since a failed attempt is only a likely cause.
    """
    text = answer.text or answer.message
    if library := _NO_LIBRARY.search(text):
        return "missing-library", library["name"]
    if library := _NO_SYMBOL_VERSION.search(text):
        return "missing-library", f"{library['name']} {library['symbol']}"
    if answer.missing:
        # A module that lacks a part of its own distribution is broken; no dependency would help.
        if _is_own(answer.missing, module, distribution):
            return "failed", None
        return "missing-dependency", answer.missing
    return ("network" if answer.network else "failed"), None


def mark_optional(
    outcomes: Iterable[ImportResult],
    distributions: Sequence[DistributionFacts],
    roots: Sequence[Requirement],
    environment: Mapping[str, str],
    *,
    needed: Collection[tuple[str, str]] = (),
) -> tuple[ImportResult, ...]:
    """Mark as ``optional`` the failures whose missing module belongs to an extra that is not requested.

    An extra whose marker is false on the target counts as not requested. Some other
    module of the distribution must import: one part of a project may need an extra, the whole
    project may not. The names of modules and projects differ (``grpc`` is in ``grpcio``), so
    it is enough that the project's name contains the module's.

    :param needed: pairs of distribution and module that are never optional.
    """
    unasked = unasked_extras(distributions, roots, environment)
    outcomes = tuple(outcomes)
    imported = {outcome.distribution for outcome in outcomes if outcome.status == "ok"}
    marked = []
    for outcome in outcomes:
        is_needed = (outcome.distribution, outcome.module) in needed
        if (
            outcome.status == "missing-dependency"
            and not is_needed
            and outcome.missing
            and outcome.distribution in imported
        ):
            missing = _joined_name(outcome.missing.partition(".")[0])
            names = [_joined_name(name) for name in unasked[outcome.distribution]]
            if len(missing) > _MEANS_NOTHING and any(missing in name for name in names):
                marked.append(replace(outcome, status="optional"))
                continue
        marked.append(outcome)
    return tuple(marked)


def judge(
    outcomes: Iterable[ImportResult],
    needed: Collection[tuple[str, str]],
    *,
    base_libraries: Collection[str] = (),
) -> tuple[ImportResult, ...]:
    """Decide which failures are errors; those that are not get a harmless status.

    * ``loaded``: another module imports with this one, so only an import of it alone fails.
    * ``unproved``: a shared library is missing here, but the base has it.
    * ``unused``: the module is not needed, and no needed module fails because of it. A failure
      that its importer catches is one of these: the importer is ok.

    A needed module that fails within the import of another failing one names that as its cause;
    the last such module of the traceback is the root cause, and is reported in place of both.

    :param needed: pairs of distribution and module that must import.
    :param base_libraries: the sonames of the base's libraries.
    """
    outcomes = tuple(outcomes)
    loaded = {name for outcome in outcomes for name in outcome.loaded if name != outcome.module}
    judged = {(one.distribution, one.module): _excused(one, loaded, base_libraries) for one in outcomes}
    failed = {one.module: key for key, one in judged.items() if one.status not in HARMLESS}
    causes: dict[tuple[str, str], str] = {}
    consequences: dict[tuple[str, str], str] = {}
    for key, outcome in judged.items():
        if key in needed and outcome.status not in HARMLESS:
            inner = [name for name in outcome.through if name in failed and name != outcome.module]
            if inner:
                consequences |= {failed[name]: inner[-1] for name in (outcome.module, *inner[:-1])}
                causes.setdefault(failed[inner[-1]], outcome.module)
    for key, outcome in judged.items():
        if key in consequences and key not in causes:
            judged[key] = replace(outcome, caused_by=consequences[key])
        elif key in causes and key not in needed:
            judged[key] = replace(outcome, needed_by=causes[key])
        elif outcome.status not in HARMLESS and key not in needed:
            judged[key] = replace(outcome, status="unused")
    return tuple(judged.values())


def _excused(outcome: ImportResult, loaded: Collection[str], base_libraries: Collection[str]) -> ImportResult:
    """Return a failure as ``loaded`` or ``unproved`` if it is either."""
    if outcome.status in HARMLESS:
        return outcome
    if outcome.module in loaded:
        return replace(outcome, status="loaded")
    if outcome.status == "missing-library" and outcome.missing in base_libraries:
        return replace(outcome, status="unproved")
    return outcome


def _joined_name(name: str) -> str:
    return canonicalize_name(name).replace("-", "")


def _is_own(missing: str, asked: str, distribution: DistributionFacts) -> bool:
    """Return whether a missing module is a part of the imported one, or a package above or below its own."""
    inside = missing + "."
    own = (asked, *top_level_modules(distribution.files))
    return any(inside.startswith(module + ".") or module.startswith(inside) for module in own)


def _is_declared(distribution: DistributionFacts, missing: str) -> bool:
    """Return whether a requirement is named like the module or a package above it (``a.b`` is in ``a-b``)."""
    parts = missing.split(".")
    names = {canonicalize_name("-".join(parts[:end])) for end in range(1, len(parts) + 1)}
    return any(canonicalize_name(requirement.name) in names for requirement in distribution.requires_dist)


def _joined(ending: str, tried: str) -> str:
    return f"{ending}; {tried}" if tried else ending


def _clean(text: str, *, whole_paths: bool = False) -> str:
    """Return one line that is safe to print and, without whole paths, the same on every host."""
    text = redact(text)
    text = _ADDRESS.sub("0x...", text if whole_paths else _FOLDERS.sub("", text))
    return printable(" ".join(text.split()))
