"""Stage 5, pure: what the ending of one import means.

`import_runner` imports; here its lines become outcomes that are the same on every host.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from bundler.checks.dependencies import unasked_extras
from bundler.checks.modules import DistributionFacts, top_level_modules
from bundler.paths import printable
from bundler.redaction import redact

__all__ = ["HARMLESS", "ImportResult", "ImportStatus", "classify", "mark_optional", "mark_unused"]

ImportStatus = Literal[
    "ok",
    "optional",
    "unused",
    "missing-dependency",
    "missing-library",
    "crashed",
    "timed-out",
    "network",
    "exited",
    "failed",
]

HARMLESS: frozenset[ImportStatus] = frozenset({"ok", "optional", "unused"})
_BROKEN: frozenset[ImportStatus] = frozenset({"missing-dependency", "missing-library", "failed"})

_DETAIL = 500
"""Characters of a detail; the tail of a longer one is dropped."""
_NO_LIBRARY = re.compile(r"(?<![^\s:/])(?P<name>[^\s:/]+): cannot open shared object file")
_NO_SYMBOL_VERSION = re.compile(r"(?<![^\s:/])(?P<name>[^\s:/]+): version [`'](?P<symbol>[^']+)' not found")
# The folders of an absolute path, but for those that are the same on every host.
_FOLDERS = re.compile(
    r"(?<![\w./:~-])/(?!(?:dev|etc|lib|lib64|proc|sys|usr)/)(?:[^\s/'\"`()<>,:;]+/)+(?=[^\s/'\"`()<>,:;])"
)
_MEANS_NOTHING = 2
"""Characters: a shorter name stands in too many others."""
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportResult:
    """How the import of one module ended."""

    distribution: NormalizedName
    module: str
    status: ImportStatus
    detail: str
    """One line without paths of the host: the exception's last line, the signal, the addresses it tried."""
    missing: str | None
    """The module or the shared library that is not there."""
    declared: bool | None
    """For a missing dependency: whether Requires-Dist names such a project, under any marker or extra."""
    tried: tuple[str, ...] = ()
    """The addresses it tried to reach."""
    wrote: tuple[str, ...] = ()
    """The paths outside of its own folders that it opened for writing, made or removed."""
    stderr: tuple[str, ...] = field(default=(), compare=False)
    """The last lines it wrote to standard error; for the reader of an error, not for a manifest."""


def classify(distribution: DistributionFacts, module: str, raw: Mapping[str, Any]) -> ImportResult:
    """Return what a line of ``import_modules`` about ``module`` means.

    An unknown ending is no success. An import that tried the network and
    succeeded all the same is ok; its detail names the address.

    :param raw: the line; its keys are in the docstring of ``target/scripts/import_modules.py``.
    """
    status: ImportStatus
    missing: str | None = None
    last = str(raw.get("message") or raw.get("exception") or "")
    addresses = ", ".join(str(address) for address in raw.get("network") or ())
    tried = f"tried {addresses}" if addresses else ""
    match raw.get("ended"):
        case "ok":
            status, detail = "ok", tried
        case "crashed":
            status, detail = "crashed", _joined(str(raw.get("signal")), tried)
        case "timed-out":
            status, detail = "timed-out", _joined("the import did not end", tried)
        case "exited":
            status, detail = "exited", _joined(f"the import ended the process with {raw.get('code')}", tried)
        case "raised":
            status, missing = _cause(distribution, module, raw, tried)
            detail = _joined(last if missing is None or missing in last else f"{last} ({missing})", tried)
        case other:
            status, detail = "failed", f"unknown ending {other!r}"
    return ImportResult(
        distribution=distribution.name,
        module=module,
        status=status,
        detail=_clean(detail)[:_DETAIL],
        missing=_clean(missing) if missing is not None else None,
        declared=_is_declared(distribution, missing) if status == "missing-dependency" and missing else None,
        tried=tuple(_clean(str(address)) for address in raw.get("network") or ()),
        wrote=tuple(sorted({printable(str(path))[:_DETAIL] for path in raw.get("writes") or ()})),
        stderr=tuple(
            _clean(line)[:_DETAIL] for line in str(raw.get("stderr") or "").splitlines() if line.strip()
        )[-3:],
    )


def _cause(
    distribution: DistributionFacts, module: str, raw: Mapping[str, Any], tried: str
) -> tuple[ImportStatus, str | None]:
    """Return why an import raised, and what is missing."""
    text = str(raw.get("text") or raw.get("message") or "")
    if library := _NO_LIBRARY.search(text):
        return "missing-library", library["name"]
    if library := _NO_SYMBOL_VERSION.search(text):
        return "missing-library", f"{library['name']} {library['symbol']}"
    if missing := raw.get("missing"):
        # A module that lacks a part of itself has no dependency missing.
        if _is_own(str(missing), module, distribution):
            return "failed", None
        return "missing-dependency", str(missing)
    return ("network" if tried else "failed"), None


def mark_optional(
    outcomes: Iterable[ImportResult],
    distributions: Sequence[DistributionFacts],
    roots: Sequence[Requirement],
    environment: Mapping[str, str],
) -> tuple[ImportResult, ...]:
    """Return the outcomes, those as ``optional`` that miss only what an extra would bring.

    That is so if nobody asked for the extra (or its marker does not hold), and
    some other module of the distribution does import: a part of a project may
    need an extra, a whole project may not. Names of modules and of projects
    differ (``grpc`` comes with ``grpcio``), so one in the other is enough.
    """
    unasked = unasked_extras(distributions, roots, environment)
    outcomes = tuple(outcomes)
    imported = {one.distribution for one in outcomes if one.status == "ok"}
    marked = []
    for one in outcomes:
        if one.status == "missing-dependency" and one.missing and one.distribution in imported:
            missing = _joined_name(one.missing.partition(".")[0])
            names = [_joined_name(name) for name in unasked[one.distribution]]
            if len(missing) > _MEANS_NOTHING and any(missing in name for name in names):
                marked.append(replace(one, status="optional"))
                continue
        marked.append(one)
    return tuple(marked)


def mark_unused(
    outcomes: Iterable[ImportResult], *, asked: Collection[str], imported: Mapping[str, bool]
) -> tuple[ImportResult, ...]:
    """Return the outcomes, those as ``unused`` that failed and that nothing in the bundle needs to import.

    That is so if no file surely imports the module, and either one imports it
    when it is called for, or another module of its distribution works. Of what
    the user asked for nobody knows what else will be imported, and a crash or
    a hang stays what it is.

    :param asked: the distributions that the user's requirements name.
    :param imported: as `source_imports.imported_modules` returns it.
    """
    outcomes = tuple(outcomes)
    working = {one.distribution for one in outcomes if one.status == "ok"}
    return tuple(
        replace(one, status="unused")
        if one.status in _BROKEN
        and one.distribution not in asked
        and not imported.get(one.module, False)
        and (one.module in imported or one.distribution in working)
        else one
        for one in outcomes
    )


def _joined_name(name: str) -> str:
    return canonicalize_name(name).replace("-", "")


def _is_own(missing: str, asked: str, distribution: DistributionFacts) -> bool:
    inside = missing + "."
    own = (asked, *top_level_modules(distribution.files))
    return any(inside.startswith(module + ".") or module.startswith(inside) for module in own)


def _is_declared(distribution: DistributionFacts, missing: str) -> bool:
    """Return whether a requirement is named as the module or a package above it (``a.b`` is in ``a-b``)."""
    parts = missing.split(".")
    names = {canonicalize_name("-".join(parts[:end])) for end in range(1, len(parts) + 1)}
    return any(canonicalize_name(requirement.name) in names for requirement in distribution.requires_dist)


def _joined(what: str, tried: str) -> str:
    return f"{what}; {tried}" if tried else what


def _clean(text: str) -> str:
    """Return one line that is the same on every host and safe to show."""
    text = _ADDRESS.sub("0x...", _FOLDERS.sub("", redact(text)))
    return printable(" ".join(text.split()))
