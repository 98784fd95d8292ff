"""Pure: the difference between two locks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bundler.resolve.lockfile import Lock, LockedDistribution

__all__ = ["LockChange", "changes_between", "changes_table"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LockChange:
    """The difference of one distribution."""

    name: str
    before: str
    """Its version; with the filename if only the file differs; empty if it was not in the lock."""
    after: str
    """The same in the new lock; empty if it is not in it."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {"name": self.name, "before": self.before or None, "after": self.after or None}


def changes_between(old: Lock | None, new: Lock) -> tuple[LockChange, ...]:
    """Return the distributions that differ, sorted by name; all of the new lock if there is no old one."""
    before = {package.name: package for package in old.packages} if old else {}
    after = {package.name: package for package in new.packages}
    changes = []
    for name in sorted({*before, *after}):
        was, is_now = before.get(name), after.get(name)
        if was is None or is_now is None or _source(was) != _source(is_now):
            same = was is not None and is_now is not None and was.version == is_now.version
            changes.append(
                LockChange(name=name, before=_shown(was, file=same), after=_shown(is_now, file=same))
            )
    return tuple(changes)


def changes_table(changes: Iterable[LockChange]) -> list[str]:
    """Return the lines of a Markdown table.

    >>> changes_table([LockChange(name="six", before="1.16.0", after="1.17.0")])[-1]
    '| six | 1.16.0 | 1.17.0 |'
    """
    rows = [f"| {change.name} | {change.before or '-'} | {change.after or '-'} |" for change in changes]
    return ["| distribution | before | after |", "|---|---|---|", *rows]


def _source(package: LockedDistribution) -> tuple[object, ...]:
    return package.version, package.kind, package.sha256, package.commit


def _shown(package: LockedDistribution | None, *, file: bool) -> str:
    if package is None:
        return ""
    version = str(package.version or package.commit or package.kind)
    return f"{version} ({package.filename}, {str(package.sha256)[:12]})" if file else version
