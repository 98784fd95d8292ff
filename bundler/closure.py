"""Stage 5, pure: does the bundle stand on its own?

Two questions. Is every requirement of every distribution met by what is there
(as ``pip check`` asks, but extras that somebody asks for count)? And does every
top-level module import on the target without a network? `verify` does the
importing; here is decided what to import, and what the outcome means.

Specs: PEP 420 (namespace packages), PEP 508 (requirements), recording installed
projects (PyPA). The modules come from RECORD: ``top_level.txt`` may lie.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from keyword import iskeyword
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.errors import ClosureError
from bundler.paths import shown
from bundler.redact import redact

__all__ = [
    "ClosureReport",
    "DistributionFacts",
    "ImportOutcome",
    "ImportStatus",
    "Network",
    "Unmet",
    "classify",
    "mark_optional",
    "top_level_modules",
    "unmet_requirements",
]

ImportStatus = Literal[
    "ok",
    "optional",
    "missing-dependency",
    "missing-library",
    "crashed",
    "timed-out",
    "network",
    "exited",
    "failed",
]
Network = Literal["namespace", "socket-block"]
"""How the network was kept away: by the kernel, or by Python's socket module alone."""

_HARMLESS: frozenset[ImportStatus] = frozenset({"ok", "optional"})

_DETAIL = 500
"""Characters of a detail; the tail of a longer one is dropped."""

# Names under which wheels drop files beside their packages. Without an
# ``__init__`` such a folder holds scripts, samples or data, nothing to import.
_NOT_FOR_IMPORT = re.compile(
    "benchmarks?|bin|data|demos?|docs?|etc|examples?|include|lib(64)?|man|notebooks"
    "|samples?|sbin|scripts?|share|src|test(s|ing)?|tools|tutorials"
)
# PEP 3149 and PEP 425: `x.cpython-37m-x86_64-linux-gnu.so`, `x.abi3.so`, `x.so`, `x.cp37-win_amd64.pyd`.
_EXTENSION = re.compile(
    r"(?P<name>[^.]+)(?P<tag>\.(?:cpython-[\w-]+|abi3(?:t|-[\w-]+)?|cp\d[\w-]*))?\.(?:so|pyd)", re.ASCII
)
_SOURCE = re.compile(r"(?P<name>[^.]+)\.pyc?")

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
class DistributionFacts:
    """What the closure needs to know of one distribution in the bundle."""

    name: NormalizedName
    display_name: str
    version: Version
    requires_dist: tuple[Requirement, ...]
    files: tuple[str, ...]
    """As in RECORD: relative to site-packages, ``/`` between components."""


def top_level_modules(files: Iterable[str]) -> tuple[str, ...]:
    """Return, sorted, what ``import`` finds of a distribution that installs ``files``.

    A package counts, not what is below it, and never a ``__main__``. A folder
    without ``__init__`` is a namespace (PEP 420) if it holds modules; the first
    packages and modules below it are returned in its place. Folders of data,
    and those whose name says samples or scripts, are left out.

    :param files: relative to site-packages; files outside of it are ignored.

    >>> top_level_modules(["six.py", "google/cloud/storage/__init__.py", "six-1.0.dist-info/RECORD"])
    ('google.cloud.storage', 'six')
    """
    tree: _Folder = {}
    for path in files:
        folder = tree
        for part in path.split("/"):  # no part of a path that leaves site-packages can be imported
            folder = folder.setdefault(part, {})
    return tuple(sorted(set(_modules(tree, ""))))


_Folder = dict[str, Any]
"""A folder's entries; a file is an empty folder."""


def _modules(folder: _Folder, prefix: str) -> Iterator[str]:
    for name, entries in folder.items():
        if not entries:
            module = _module_name(name)
            if module is not None and module not in ("__init__", "__main__"):
                yield prefix + module
        elif _is_importable(name):
            yield from _below(entries, prefix, name)


def _below(entries: _Folder, prefix: str, name: str) -> Iterator[str]:
    """Yield a package, or the modules of a namespace."""
    held = {_module_name(entry) for entry, below in entries.items() if not below}
    if "__init__" in held:
        yield prefix + name
    elif prefix or not _NOT_FOR_IMPORT.fullmatch(name):
        modules = list(_modules(entries, f"{prefix}{name}."))
        yield from modules or ([prefix + name] if "__main__" in held else [])


def _is_importable(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name) and name != "__pycache__"


def _module_name(filename: str) -> str | None:
    """Return the module that a file is, or None."""
    match = _SOURCE.fullmatch(filename)
    if match is None:
        match = _EXTENSION.fullmatch(filename)
        # `libx.so` is what other extensions link against.
        if match is not None and match["tag"] is None and match["name"].startswith("lib"):
            return None
    return match["name"] if match is not None and _is_importable(match["name"]) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Unmet:
    """A requirement that the bundle does not meet."""

    distribution: NormalizedName | None
    """Whose it is; None stands for the user's own requirements."""
    requirement: str
    found: str | None
    """The version that is there, or None."""


def unmet_requirements(
    distributions: Iterable[DistributionFacts], roots: Iterable[Requirement], environment: Mapping[str, str]
) -> tuple[Unmet, ...]:
    """Return the requirements that are not met, in the order of the distributions' names, ``roots`` first.

    A requirement whose marker is false on the target, or that belongs to an
    extra nobody asked for, is no requirement. A pre-release that is there meets
    a specifier that allows its version.

    :param roots: what the user asked for; they may ask for extras, too.
    :param environment: every marker of the target; nothing of the host is used.
    """
    present = {facts.name: facts for facts in distributions}
    roots = tuple(roots)
    extras = _requested_extras(present, roots, environment)
    wanted: list[tuple[NormalizedName | None, Requirement]] = [
        (None, requirement) for requirement in roots if _applies(requirement, frozenset(), environment)
    ]
    for name, facts in sorted(present.items()):
        wanted += [(name, one) for one in facts.requires_dist if _applies(one, extras[name], environment)]
    unmet = []
    for owner, requirement in wanted:
        found = present.get(canonicalize_name(requirement.name))
        if found is None or not requirement.specifier.contains(found.version, prereleases=True):
            version = str(found.version) if found is not None else None
            unmet.append(Unmet(distribution=owner, requirement=redact(str(requirement)), found=version))
    return tuple(dict.fromkeys(unmet))


def _requested_extras(
    present: Mapping[NormalizedName, DistributionFacts],
    roots: Iterable[Requirement],
    environment: Mapping[str, str],
) -> dict[NormalizedName, frozenset[str]]:
    """Return the extras of each distribution that somebody asks for, directly or through other extras."""
    extras: dict[NormalizedName, frozenset[str]] = dict.fromkeys(present, frozenset())
    waiting = [one for one in roots if _applies(one, frozenset(), environment)]
    for facts in present.values():
        waiting += [one for one in facts.requires_dist if _applies(one, frozenset(), environment)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        more = frozenset(canonicalize_name(extra) for extra in requirement.extras)
        if name in present and not more <= extras[name]:
            extras[name] |= more
            waiting += [
                one for one in present[name].requires_dist if _applies(one, extras[name], environment)
            ]
    return extras


def _applies(requirement: Requirement, extras: frozenset[str], environment: Mapping[str, str]) -> bool:
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**environment, "extra": extra}) for extra in ("", *sorted(extras))
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportOutcome:
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
    stderr: tuple[str, ...] = field(default=(), compare=False)
    """The last lines it wrote to standard error; for the reader of an error, not for a manifest."""


def classify(distribution: DistributionFacts, module: str, raw: Mapping[str, Any]) -> ImportOutcome:
    """Return what a line of ``import_modules`` about ``module`` means.

    An unknown ending is no success. An import that tried the network and
    succeeded all the same is ok; its detail names the address.

    :param raw: the line; its keys are in the docstring of ``_target/import_modules.py``.
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
            status, missing = _cause(distribution, raw, tried)
            detail = _joined(last if missing is None or missing in last else f"{last} ({missing})", tried)
        case other:
            status, detail = "failed", f"unknown ending {other!r}"
    return ImportOutcome(
        distribution=distribution.name,
        module=module,
        status=status,
        detail=_clean(detail)[:_DETAIL],
        missing=_clean(missing) if missing is not None else None,
        declared=_is_declared(distribution, missing) if status == "missing-dependency" and missing else None,
        stderr=tuple(
            _clean(line)[:_DETAIL] for line in str(raw.get("stderr") or "").splitlines() if line.strip()
        )[-3:],
    )


def _cause(
    distribution: DistributionFacts, raw: Mapping[str, Any], tried: str
) -> tuple[ImportStatus, str | None]:
    """Return why an import raised, and what is missing."""
    text = str(raw.get("text") or raw.get("message") or "")
    if library := _NO_LIBRARY.search(text):
        return "missing-library", library["name"]
    if library := _NO_SYMBOL_VERSION.search(text):
        return "missing-library", f"{library['name']} {library['symbol']}"
    if missing := raw.get("missing"):
        # A module that lacks a part of itself has no dependency missing.
        if _is_own(str(missing), distribution):
            return "failed", None
        return "missing-dependency", str(missing)
    return ("network" if tried else "failed"), None


def mark_optional(
    outcomes: Iterable[ImportOutcome],
    distributions: Iterable[DistributionFacts],
    roots: Iterable[Requirement],
    environment: Mapping[str, str],
) -> tuple[ImportOutcome, ...]:
    """Return the outcomes, those as ``optional`` that miss only what an extra would bring.

    That is so if nobody asked for the extra (or its marker does not hold), and
    some other module of the distribution does import: a part of a project may
    need an extra, a whole project may not. Names of modules and of projects
    differ (``grpc`` comes with ``grpcio``), so one in the other is enough.
    """
    present = {facts.name: facts for facts in distributions}
    extras = _requested_extras(present, tuple(roots), environment)
    outcomes = tuple(outcomes)
    imported = {one.distribution for one in outcomes if one.status == "ok"}
    marked = []
    for one in outcomes:
        if one.status == "missing-dependency" and one.missing and one.distribution in imported:
            asked = extras[one.distribution]
            unasked = [
                _joined_name(requirement.name)
                for requirement in present[one.distribution].requires_dist
                if not _applies(requirement, asked, environment)
            ]
            missing = _joined_name(one.missing.partition(".")[0])
            if len(missing) > _MEANS_NOTHING and any(missing in name for name in unasked):
                marked.append(replace(one, status="optional"))
                continue
        marked.append(one)
    return tuple(marked)


def _joined_name(name: str) -> str:
    return canonicalize_name(name).replace("-", "")


def _is_own(missing: str, distribution: DistributionFacts) -> bool:
    inside = missing + "."
    own = top_level_modules(distribution.files)
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
    return shown(" ".join(text.split()))


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosureReport:
    """What was found out about a bundle."""

    network: Network
    outcomes: tuple[ImportOutcome, ...]
    unmet: tuple[Unmet, ...]
    allowed: tuple[str, ...] = ()
    """Names of modules or distributions whose imports may fail (``--allow-import-failure``)."""

    @property
    def failures(self) -> tuple[ImportOutcome, ...]:
        """The imports that failed and may not, sorted by distribution and module."""
        return tuple(one for one in self._sorted() if one.status not in _HARMLESS and not self._may_fail(one))

    @property
    def ok(self) -> bool:
        """Whether the bundle stands on its own, but for what is allowed."""
        return not self.failures and not self.unmet

    def raise_for_failures(self) -> None:
        """Do nothing if the report is `ok`.

        :raises ClosureError: naming each failure: distribution, module, what happened and its last line.
        """
        if self.ok:
            return
        failures = self.failures
        parts = []
        if failures:
            parts.append(f"{len(failures)} of {len(self.outcomes)} modules do not import")
        if self.unmet:
            parts.append(f"{len(self.unmet)} unmet requirement" + "s" * (len(self.unmet) != 1))
        evidence = [line for failure in failures for line in _evidence(failure)]
        evidence += [_unmet_evidence(one) for one in self.unmet]
        hint = (
            f"pass `--allow-import-failure {failures[0].module}` to record an exception" if failures else None
        )
        raise ClosureError(
            "the bundle does not stand on its own: " + " and ".join(parts),
            evidence=tuple(evidence),
            hint=hint,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values, in an order of its own.

        How the network was cut is a fact of the host and is not in it, nor is any path.
        """
        return {
            "allowed": sorted(set(self.allowed)),
            "modules": [
                {
                    "declared": one.declared,
                    "detail": one.detail,
                    "distribution": one.distribution,
                    "missing": one.missing,
                    "module": one.module,
                    "status": one.status,
                }
                for one in self._sorted()
            ],
            "unmet": [
                {"distribution": one.distribution, "found": one.found, "requirement": one.requirement}
                for one in sorted(self.unmet, key=lambda one: (one.distribution or "", one.requirement))
            ],
        }

    def _sorted(self) -> list[ImportOutcome]:
        return sorted(self.outcomes, key=lambda one: (one.distribution, one.module))

    def _may_fail(self, outcome: ImportOutcome) -> bool:
        names = (outcome.module, outcome.distribution)
        return any(name in names or canonicalize_name(name) in names for name in self.allowed)


def _evidence(failure: ImportOutcome) -> Iterator[str]:
    declared = {None: "", True: ", which it declares", False: ", which it does not declare"}[failure.declared]
    missing = f" `{failure.missing}`{declared}" if failure.missing else ""
    where = f"`{shown(failure.module)}` of `{failure.distribution}`"
    yield f"import {where}: {failure.status}{missing}: {failure.detail}"
    if failure.status in ("crashed", "timed-out", "exited"):
        yield from (f"  it wrote  {line}" for line in failure.stderr)


def _unmet_evidence(unmet: Unmet) -> str:
    owner = f"`{unmet.distribution}` requires" if unmet.distribution else "the requirements ask for"
    found = f"found {unmet.found}" if unmet.found else "it is not there"
    return f"{owner} `{shown(unmet.requirement)}`: {found}"
