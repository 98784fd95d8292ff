"""Stage 5, pure: the results of all checks of a bundle, and whether it may be written.

Each mode of use has its own outcomes: a module that imports in a virtual environment may not
import from PYTHONPATH. Every fault becomes a finding with a code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from packaging.utils import canonicalize_name

from bundler.checks.dependencies import Unmet
from bundler.checks.findings import Finding, is_allowed, sorted_findings
from bundler.checks.import_results import HARMLESS, ImportResult
from bundler.errors import ClosureError
from bundler.paths import printable
from bundler.text import listing

__all__ = ["USAGE_MODES", "ClosureReport", "ModeReport", "UsageMode"]

UsageMode = Literal["mount", "venv", "server", "base"]
USAGE_MODES: Mapping[UsageMode, str] = {
    "mount": "mounted on PYTHONPATH",
    "venv": "installed in a virtual environment",
    "server": "mounted over the base's own packages",
    "base": "of the base alone",
}
"""The modes of use, as messages name them. A mount is before the standard library on sys.path, and its
`.pth` files are not processed.

The last one is the comparison: a module of the base that fails without the bundle too is not the bundle's
fault."""

_LISTED = 3
_NAMED = 6
"""Modules in a line about those that do not import."""
_ACCEPTABLE: Mapping[str, str] = {
    "optional": "needs an extra that is not requested",
    "unused": "no requested module needs it",
    "unproved": "needs a library that only the base has",
    "loaded": "imports only after the module that uses it",
}
"""Why a module may fail to import, by status."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeReport:
    """The outcomes of the imports in one mode of use."""

    mode: UsageMode
    outcomes: tuple[ImportResult, ...]
    fatal: str = ""
    """The last line of a Python that did not start; there are no outcomes then."""
    cached: bool = field(default=False, compare=False)
    """Whether the answers are from the store: of an earlier run with the same layers and Python."""

    @property
    def imported(self) -> int:
        """The number of modules that import."""
        return sum(outcome.status == "ok" for outcome in self.outcomes)

    def exceptions(self, allowed: Sequence[str]) -> tuple[str, ...]:
        """Return one line for each reason that modules may fail to import, with their names.

        :param allowed: the names of ``--allow-import-failure``.
        """
        groups: dict[str, list[str]] = {}
        for outcome in self.by_module().values():
            if outcome.status != "ok":
                reason = _ACCEPTABLE.get(outcome.status, "fails")
                if may_fail(outcome, allowed):
                    reason = "allowed by --allow-import-failure"
                groups.setdefault(reason, []).append(printable(outcome.module))
        return tuple(
            f"not imported: {listing(modules, _NAMED)} ({reason})"
            for reason, modules in sorted(groups.items())
        )

    @property
    def loaded(self) -> frozenset[str]:
        """The modules that the import of another one loads."""
        return frozenset(name for one in self.outcomes for name in one.loaded if name != one.module)

    def by_module(self) -> dict[tuple[str, str], ImportResult]:
        """Return the outcomes by distribution and module, sorted."""
        return {
            (outcome.distribution, outcome.module): outcome
            for outcome in sorted(self.outcomes, key=lambda outcome: (outcome.distribution, outcome.module))
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosureReport:
    """The results of the checks of one bundle."""

    modes: tuple[ModeReport, ...]
    unmet: tuple[Unmet, ...] = ()
    found: tuple[Finding, ...] = ()
    """The findings of the checks that import nothing."""
    code: tuple[Finding, ...] = ()
    """The findings about the user's code, which is not part of the bundle or its manifest."""
    shared_objects: tuple[Mapping[str, Any], ...] = ()
    """The needs of each shared object, as `SharedObject.to_json` returns them."""
    glibc: str = ""
    """The oldest glibc with all symbol versions that the bundle needs, "2.17"; empty if it needs none."""
    own: frozenset[str] = frozenset()
    """The distributions in the bundle; modules of others belong to the base."""
    allowed_imports: tuple[str, ...] = ()
    """Names of modules or distributions whose imports may fail (``--allow-import-failure``)."""
    allowed: tuple[str, ...] = ()
    """Errors that are accepted (``--allow``): CODE or CODE:DISTRIBUTION."""
    because: Callable[[str], tuple[str, ...]] = field(default=lambda _: (), compare=False)
    """Returns the chain of requirements from the user's to a distribution, a sentence for each step."""
    remedy: Callable[[ImportResult], str] = field(default=lambda _: "", compare=False)
    """Returns the remedy for a failed import, in one line; empty if none is known."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, errors first."""
        return sorted_findings([*self.code, *self._of_bundle()])

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The errors that no ``--allow`` accepts: the bundle is not written."""
        return tuple(
            error
            for error in self.findings
            if error.rule.severity == "error" and not is_allowed(error, self.allowed)
        )

    def raise_for_errors(self) -> None:
        """Raise if there are errors that are not allowed.

        :raises ClosureError: naming each error, with each remedy once.
        """
        errors = self.errors
        if not errors:
            return
        evidence: list[str] = []
        for number, error in enumerate(errors):
            evidence.append(f"{error.code}  {error.message}")
            evidence += [f"      {line}" for line in error.details]
            # Errors are sorted by code: the remedy follows the last of those that share it.
            following = errors[number + 1] if number + 1 < len(errors) else None
            if following is None or following.remedy != error.remedy:
                evidence.append(f"      fix: {error.remedy}")
        raise ClosureError(
            f"the bundle does not work on its target: {len(errors)} error{'' if len(errors) == 1 else 's'}",
            evidence=tuple(evidence),
            hint=f"bundler explain {errors[0].code}",
            facts=self.to_json(code=True),
        )

    def to_json(self, *, code: bool = False) -> dict[str, Any]:
        """Return the report as plain values, which do not depend on the host or the order of work.

        :param code: include the findings about the user's code; a manifest does not have them.
        """
        findings = self.findings if code else sorted_findings(self._of_bundle())
        return {
            "allowed": sorted({*self.allowed, *self.allowed_imports}),
            "findings": [
                {**finding.to_json(), "allowed": is_allowed(finding, self.allowed)} for finding in findings
            ],
            "glibc": self.glibc,
            "shared_objects": [dict(shared) for shared in self.shared_objects],
            "unmet": [
                {"distribution": unmet.distribution, "found": unmet.found, "requirement": unmet.requirement}
                for unmet in sorted(
                    self.unmet, key=lambda unmet: (unmet.distribution or "", unmet.requirement)
                )
            ],
            "ways": {
                mode.mode: [_module(outcome) for outcome in mode.by_module().values()]
                for mode in sorted(self.modes, key=lambda mode: mode.mode)
            },
        }

    def _of_bundle(self) -> Iterator[Finding]:
        yield from self.found
        yield from map(_unmet, self.unmet)
        yield from self._from_imports()

    def _from_imports(self) -> Iterator[Finding]:
        for mode in self.modes:
            if mode.fatal:
                message = f"Python does not start with the bundle {USAGE_MODES[mode.mode]}: {mode.fatal}"
                yield Finding(code="M102", message=message)
        modes: dict[UsageMode, dict[tuple[str, str], ImportResult]] = {
            mode.mode: mode.by_module() for mode in self.modes
        }
        for key in sorted({key for outcomes in modes.values() for key in outcomes}):
            present = {mode: outcomes[key] for mode, outcomes in modes.items() if key in outcomes}
            yield from self._notes(present)
            failed: dict[UsageMode, ImportResult] = {
                mode: outcome
                for mode, outcome in present.items()
                if outcome.status not in HARMLESS
                and not may_fail(outcome, self.allowed_imports)
                and not self._is_consequence(outcome, mode)
            }
            if failed:
                yield self._failure(present, failed)

    def _failure(
        self, present: Mapping[UsageMode, ImportResult], failed: Mapping[UsageMode, ImportResult]
    ) -> Finding:
        """Return the finding for a module that fails in one or more modes.

        :param present: its results by mode.
        :param failed: those of them that failed.
        """
        first = next(iter(failed.values()))
        if len(failed) == len(present):
            code, how = "I201", ""
        else:
            if "mount" in failed:
                code = "M102"
            elif "server" in failed:
                code = "B505"
            else:
                code = "I201"
            how = f" ({USAGE_MODES[next(iter(failed))]})"
        if first.distribution not in self.own:
            code, how = "B506", f" ({USAGE_MODES['server']})"
        missing = f" `{first.missing}`{_declared(first)}" if first.missing else ""
        by = f", which `{printable(first.needed_by)}` imports" if first.needed_by else ""
        # An exception is in the detail already; of other endings the output is the only trace.
        stderr = first.stderr if first.status in ("crashed", "timed-out", "exited") else ()
        because = self.because(first.distribution)
        return Finding(
            code=code,
            message=f"import `{printable(first.module)}` of `{first.distribution}`{by}{how}: "
            f"{first.status}{missing}: {first.detail}",
            distribution=first.distribution,
            details=(
                *(f"stderr  {line}" for line in stderr),
                *(f"because  {step}" for step in because if len(because) > 1),
            ),
            fix=self.remedy(first),
        )

    def _is_consequence(self, outcome: ImportResult, mode: UsageMode) -> bool:
        """Return whether another failure, which is reported, is the cause of this one."""
        if not outcome.caused_by:
            return False
        outcomes = next(report.outcomes for report in self.modes if report.mode == mode)
        causes = [other for other in outcomes if other.module == outcome.caused_by]
        return not any(may_fail(cause, self.allowed_imports) for cause in causes)

    def _notes(self, present: Mapping[UsageMode, ImportResult]) -> Iterator[Finding]:
        """Yield the findings about a module that are not failures: I206 to I211."""
        first = next(iter(present.values()))
        name = f"`{printable(first.module)}` of `{first.distribution}`"
        statuses = {outcome.status: outcome for outcome in reversed(list(present.values()))}
        if outcome := statuses.get("optional"):
            message = f"{name} needs an extra: {outcome.detail}"
            yield Finding(code="I208", message=message, distribution=first.distribution)
        if outcome := statuses.get("unused"):
            remedy = self.remedy(outcome)
            message = f"{name} does not import, and no requested module needs it: {outcome.detail}"
            message += f" (if you use it: {remedy})" if remedy else ""
            yield Finding(code="I209", message=message, distribution=first.distribution)
        if outcome := statuses.get("unproved"):
            message = f"{name} cannot be imported here without `{outcome.missing}`, which the base has"
            yield Finding(code="I210", message=message, distribution=first.distribution)
        if outcome := statuses.get("loaded"):
            message = f"{name} does not import alone, but other modules import with it: {outcome.detail}"
            yield Finding(code="I211", message=message, distribution=first.distribution)
        if wrote := sorted({path for outcome in present.values() for path in outcome.wrote}):
            message = f"import {name} writes to {_listed(wrote)}"
            yield Finding(code="I206", message=message, distribution=first.distribution)
        succeeded = (outcome for outcome in present.values() if outcome.status == "ok")
        if tried := sorted({endpoint for outcome in succeeded for endpoint in outcome.tried}):
            message = f"import {name} tried to reach {_listed(tried)}"
            yield Finding(code="I207", message=message, distribution=first.distribution)


def may_fail(outcome: ImportResult, allowed: Sequence[str]) -> bool:
    """Return whether ``--allow-import-failure`` names a module or its distribution."""
    names = (outcome.module, outcome.distribution)
    return any(name in names or canonicalize_name(name) in names for name in allowed)


def _declared(outcome: ImportResult) -> str:
    """Return whether the distribution declares the missing module, as a clause; empty if it is a library."""
    if outcome.declared is None:
        return ""
    return ", which it declares" if outcome.declared else ", which it does not declare"


def _listed(names: Sequence[str]) -> str:
    return listing((f"`{name}`" for name in names), _LISTED)


def _unmet(unmet: Unmet) -> Finding:
    owner = f"`{unmet.distribution}` requires" if unmet.distribution else "the requirements ask for"
    found = f"found version {unmet.found}" if unmet.found else "not found"
    return Finding(
        code="I202",
        message=f"{owner} `{printable(unmet.requirement)}`: {found}",
        distribution=unmet.distribution or "",
    )


def _module(outcome: ImportResult) -> dict[str, Any]:
    return {
        "declared": outcome.declared,
        "detail": outcome.detail,
        "distribution": outcome.distribution,
        "missing": outcome.missing,
        "module": outcome.module,
        "status": outcome.status,
        "tried": list(outcome.tried),
        "wrote": list(outcome.wrote),
    }
