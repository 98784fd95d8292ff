"""Stage 5, pure: all that was found out about a bundle, and whether it may be written.

Each way a bundle is used is judged apart: what imports in a virtual environment
may not import from PYTHONPATH. Whatever is wrong becomes a finding with a code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
"""How a bundle may be used. As a mount it stands before the standard library, and no `.pth` file is read.

The last one is no use of it: what fails without a bundle, too, is not the bundle's fault."""

_LISTED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeReport:
    """How the imports ended in one way of use."""

    mode: UsageMode
    outcomes: tuple[ImportResult, ...]
    fatal: str = ""
    """Why Python did not even start; then there are no outcomes."""
    cached: bool = field(default=False, compare=False)
    """Whether an earlier run of the same layers on the same Python was taken over."""

    @property
    def imported(self) -> int:
        """How many modules import."""
        return sum(one.status == "ok" for one in self.outcomes)

    def by_module(self) -> dict[tuple[str, str], ImportResult]:
        """Return the outcomes by distribution and module, sorted."""
        return {
            (one.distribution, one.module): one
            for one in sorted(self.outcomes, key=lambda one: (one.distribution, one.module))
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosureReport:
    """What was found out about a bundle."""

    modes: tuple[ModeReport, ...]
    unmet: tuple[Unmet, ...] = ()
    found: tuple[Finding, ...] = ()
    """What was found without importing."""
    code: tuple[Finding, ...] = ()
    """What was found of the user's code, which is no part of the bundle or its manifest."""
    shared_objects: tuple[Mapping[str, Any], ...] = ()
    """What each shared object needs, as `checks.shared_objects` says it."""
    glibc: str = ""
    """The oldest glibc that has all versions the bundle needs; empty if it needs none."""
    own: frozenset[str] = frozenset()
    """The distributions in the bundle; a module of another one is the base's."""
    allowed_imports: tuple[str, ...] = ()
    """Names of modules or distributions whose imports may fail (``--allow-import-failure``)."""
    allowed: tuple[str, ...] = ()
    """Errors that are accepted (``--allow``): CODE or CODE:DISTRIBUTION."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything, the worst first."""
        return sorted_findings([*self.code, *self._of_bundle()])

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What forbids the bundle to be written."""
        return tuple(
            one for one in self.findings if one.rule.severity == "error" and not is_allowed(one, self.allowed)
        )

    def raise_for_errors(self) -> None:
        """Do nothing if there are no errors.

        :raises ClosureError: naming each, with the fix of each code.
        """
        errors = self.errors
        if not errors:
            return
        evidence: list[str] = []
        for number, one in enumerate(errors):
            evidence += [f"{one.code}  {one.message}", *(f"      {line}" for line in one.details)]
            if number + 1 == len(errors) or errors[number + 1].code != one.code:
                evidence.append(f"      fix: {one.rule.fix}")
        raise ClosureError(
            f"the bundle would not work where it is used: {len(errors)} error{'s' * (len(errors) > 1)}",
            evidence=tuple(evidence),
            hint=f"bundler explain {errors[0].code}",
            facts=self.to_json(code=True),
        )

    def to_json(self, *, code: bool = False) -> dict[str, Any]:
        """Return the report as plain values, the same on every host and in any order of work.

        :param code: whether the findings of the user's code are in it; in a manifest they are not.
        """
        findings = self.findings if code else sorted_findings(self._of_bundle())
        return {
            "allowed": sorted({*self.allowed, *self.allowed_imports}),
            "findings": [{**one.to_json(), "allowed": is_allowed(one, self.allowed)} for one in findings],
            "glibc": self.glibc,
            "shared_objects": [dict(one) for one in self.shared_objects],
            "unmet": [
                {"distribution": one.distribution, "found": one.found, "requirement": one.requirement}
                for one in sorted(self.unmet, key=lambda one: (one.distribution or "", one.requirement))
            ],
            "ways": {
                mode.mode: [_module(one) for one in mode.by_module().values()]
                for mode in sorted(self.modes, key=lambda mode: mode.mode)
            },
        }

    def _of_bundle(self) -> Iterator[Finding]:
        yield from self.found
        yield from map(_unmet, self.unmet)
        yield from self._from_imports()

    def _from_imports(self) -> Iterator[Finding]:
        for one in self.modes:
            if one.fatal:
                message = f"Python does not start with the bundle {USAGE_MODES[one.mode]}: {one.fatal}"
                yield Finding(code="M102", message=message)
        modes: dict[UsageMode, dict[tuple[str, str], ImportResult]] = {
            mode.mode: mode.by_module() for mode in self.modes
        }
        for key in sorted({key for outcomes in modes.values() for key in outcomes}):
            present = {mode: outcomes[key] for mode, outcomes in modes.items() if key in outcomes}
            yield from _notes(present)
            failed: dict[UsageMode, ImportResult] = {
                mode: one
                for mode, one in present.items()
                if one.status not in HARMLESS and not self._may_fail(one)
            }
            if failed:
                yield self._failure(present, failed)

    def _failure(
        self, present: Mapping[UsageMode, ImportResult], failed: Mapping[UsageMode, ImportResult]
    ) -> Finding:
        """Return the one finding for a module that fails in some ways."""
        first = next(iter(failed.values()))
        if len(failed) == len(present):
            code, how = "I201", ""
        else:
            code = "M102" if "mount" in failed else "B505" if "server" in failed else "I201"
            how = f" ({USAGE_MODES[next(iter(failed))]})"
        if first.distribution not in self.own:
            code, how = "B506", f" ({USAGE_MODES['server']})"
        declared = {None: "", True: ", which it declares", False: ", which it does not declare"}
        missing = f" `{first.missing}`{declared[first.declared]}" if first.missing else ""
        wrote = first.stderr if first.status in ("crashed", "timed-out", "exited") else ()
        return Finding(
            code=code,
            message=f"import `{printable(first.module)}` of `{first.distribution}`{how}: "
            f"{first.status}{missing}: {first.detail}",
            distribution=first.distribution,
            details=tuple(f"it wrote  {line}" for line in wrote),
        )

    def _may_fail(self, outcome: ImportResult) -> bool:
        names = (outcome.module, outcome.distribution)
        return any(name in names or canonicalize_name(name) in names for name in self.allowed_imports)


def _notes(present: Mapping[UsageMode, ImportResult]) -> Iterator[Finding]:
    """Yield what is no failure but worth knowing."""
    first = next(iter(present.values()))
    name = f"`{printable(first.module)}` of `{first.distribution}`"
    if any(one.status == "optional" for one in present.values()):
        yield Finding(
            code="I208", message=f"{name} needs an extra: {first.detail}", distribution=first.distribution
        )
    if any(one.status == "unused" for one in present.values()):
        message = f"{name} does not import, and nothing in the bundle needs it to: {first.detail}"
        yield Finding(code="I209", message=message, distribution=first.distribution)
    wrote = sorted({path for one in present.values() for path in one.wrote})
    if wrote:
        yield Finding(
            code="I206",
            message=f"import {name} writes to {_listed(wrote)}",
            distribution=first.distribution,
        )
    tried = sorted({address for one in present.values() if one.status == "ok" for address in one.tried})
    if tried:
        yield Finding(
            code="I207", message=f"import {name} tried {_listed(tried)}", distribution=first.distribution
        )


def _listed(names: Sequence[str]) -> str:
    return listing((f"`{name}`" for name in names), _LISTED)


def _unmet(unmet: Unmet) -> Finding:
    owner = f"`{unmet.distribution}` requires" if unmet.distribution else "the requirements ask for"
    found = f"found {unmet.found}" if unmet.found else "it is not there"
    return Finding(
        code="I202",
        message=f"{owner} `{printable(unmet.requirement)}`: {found}",
        distribution=unmet.distribution or "",
    )


def _module(one: ImportResult) -> dict[str, Any]:
    return {
        "declared": one.declared,
        "detail": one.detail,
        "distribution": one.distribution,
        "missing": one.missing,
        "module": one.module,
        "status": one.status,
        "tried": list(one.tried),
        "wrote": list(one.wrote),
    }
