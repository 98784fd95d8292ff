"""Pure: the verdict about a bundle, and its summary in ten lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bundler.bundle.document import ImportSection
from bundler.bundle.manifest import Manifest
from bundler.checks.findings import NOT_IMPORTED
from bundler.checks.import_results import HARMLESS
from bundler.checks.report import USAGE_MODES
from bundler.text import counted, human_size, listing

__all__ = ["NOT_DECLARED", "Verdict", "imported_count", "is_static", "summary_lines", "verdict_of"]

NOT_DECLARED = "not declared"
"""The license of a distribution whose metadata has none."""
_LISTED = 3
_NOTHING_RAN = "no module was imported: the build host cannot run the target"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a bundle works on its target, according to its own checks."""

    status: Literal["works", "accepted", "failed", "unchecked"]
    """``accepted``: all of its errors were accepted with ``--allow``."""
    text: str
    """One line."""


def verdict_of(manifest: Manifest) -> Verdict:
    """Return the verdict of the checks that are recorded in a manifest."""
    verification = manifest.document.verification
    errors = [finding for finding in verification.findings if finding.severity == "error"]
    refused = sum(not finding.allowed for finding in errors)
    if refused:
        return Verdict(status="failed", text=f"does not work on its target: {counted(refused, 'error')}")
    reported = {finding.distribution for finding in errors}
    excused = {
        (result.distribution, result.module)
        for results in verification.ways.values()
        for result in results
        if result.status not in HARMLESS and result.distribution not in reported
    }
    if is_static(manifest):
        but = f", but for {counted(len(errors), 'accepted error')}" if errors else ""
        return Verdict(status="unchecked", text=f"passes the static checks{but}; {_NOTHING_RAN}")
    if errors or excused:
        accepted = [counted(len(errors), "accepted error")] if errors else []
        accepted += [counted(len(excused), "import") + " that may fail"] if excused else []
        return Verdict(status="accepted", text=f"works except for {' and '.join(accepted)}")
    tried = sum(map(len, verification.ways.values()))
    if not tried:
        return Verdict(status="unchecked", text="no import was checked")
    modes = counted(sum(map(bool, verification.ways.values())), "mode")
    return Verdict(status="works", text=f"works: all needed modules import, in {modes} of use")


def is_static(manifest: Manifest) -> bool:
    """Return whether the checks of a bundle ran nothing: the build host cannot run its target."""
    return any(finding.code == NOT_IMPORTED for finding in manifest.document.verification.findings)


def summary_lines(manifest: Manifest) -> tuple[str, ...]:
    """Return the lines about a bundle for people, the verdict first: ten, and one more with ``--slim``."""
    document = manifest.document
    target = document.target
    largest = sorted(document.distributions, key=lambda item: (-item.size, item.name))
    files = counted(len(manifest.files) + 1, "file")  # and manifest.json, as `verify` counts
    size = human_size(sum(file.size for file in manifest.files))
    contents = f"{counted(len(largest), 'distribution')}, {files}, {size}"
    sizes = listing((f"{item.name} {human_size(item.size)}" for item in largest), _LISTED)
    provided = [f"{name} {version}" for name, version in document.base.provided.items()]
    base = listing([*provided, *(f"{text} (conda)" for text in document.base.conda)], _LISTED)
    severities = Counter(finding.severity for finding in document.verification.findings)
    found = ", ".join(counted(severities[name], name) for name in ("error", "warning", "note"))
    facts = {
        "verdict": verdict_of(manifest).text,
        "for": f"CPython {target.python} ({target.abi}) on {target.platform}",
        "contains": contents,
        "largest": sizes or "nothing",
        **({"slim": slim} if (slim := _omitted(manifest)) else {}),
        "imports": "; ".join(_imports(manifest)) or "none were checked",
        "native": _native(manifest),
        "licenses": _licenses(item.licence for item in document.distributions),
        "base": f"must have {base}" if base else "nothing is left to the base",
        "findings": f"{found} (`bundler inspect BUNDLE --notes`)" if severities["note"] else found,
    }
    title = f"{manifest.name} {manifest.version}  sha256:{manifest.identity}"
    return (title, *(f"{label:<9} {text}" for label, text in facts.items()))


def _omitted(manifest: Manifest) -> str:
    """Return the size of the files that ``--slim`` omitted, the largest first; empty without any."""
    saved = {
        item.name: item.omitted.size + item.omitted.symbols
        for item in manifest.document.distributions
        if item.omitted is not None
    }
    largest = sorted(saved, key=lambda name: (-saved[name], name))
    names = listing((f"{name} {human_size(saved[name])}" for name in largest), _LISTED)
    return f"{human_size(sum(saved.values()))} left out: {names}" if saved else ""


def _imports(manifest: Manifest) -> Iterator[str]:
    for mode, results in manifest.document.verification.ways.items():
        if results:
            yield f"{imported_count(results)} of {len(results)} modules {USAGE_MODES[mode]}"


def imported_count(results: Sequence[ImportSection]) -> int:
    """Return the number of modules that import."""
    return sum(result.status == "ok" for result in results)


def _native(manifest: Manifest) -> str:
    verification = manifest.document.verification
    count = len(verification.shared_objects)
    if not count:
        return "no shared objects: no glibc needed"
    objects = counted(count, "shared object")
    if not verification.glibc:
        return f"{objects}; no glibc needed"
    return f"{objects}; glibc {verification.glibc} or newer"


def _licenses(licenses: Iterable[str]) -> str:
    counts = Counter(text or NOT_DECLARED for text in licenses)
    return listing((f"{text} ({count})" for text, count in counts.most_common()), _LISTED) or "none"
