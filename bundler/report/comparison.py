"""Pure: the difference between two bundles, computed from their manifests.

`bundler diff` prints it, `bundler report --against` shows it. Format of the JSON:
docs/format.md, "Results".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bundler.bundle.document import DistributionSection
from bundler.bundle.manifest import Manifest
from bundler.report.libraries import NativeLibrary, highest_glibc, native_libraries
from bundler.report.summary import NOT_DECLARED, verdict_of
from bundler.text import human_size, listing

__all__ = ["Comparison", "compare_bundles"]

Change = Literal["added", "removed", "changed", "rebuilt"]
"""``rebuilt``: the same version with other files."""
_LISTED = 3
_NOT_READ = "The files were not read; `bundler verify BUNDLE` checks them."


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleTotals:
    """The facts of one of the two bundles."""

    name: str
    version: str
    identity: str
    verdict: str
    python: str
    platform: str
    distributions: int
    files: int
    size: int
    shared_objects: int
    glibc: str
    """Empty if no shared object needs one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DistributionChange:
    """A distribution that only one of the bundles contains, or both with other content."""

    name: str
    change: Change
    version: tuple[str | None, str | None]
    size: tuple[int, int]
    license: tuple[str | None, str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class LicenseChange:
    """A license whose distributions differ."""

    license: str
    distributions: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryChange:
    """The native libraries of a distribution, if they or their needs differ."""

    distribution: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    """Those that need another glibc, or other libraries that the bundle does not contain."""
    glibc: tuple[str, str]
    external: tuple[tuple[str, ...], tuple[str, ...]]
    """The libraries it needs from the system."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The difference between two bundles; pairs are (before, after)."""

    before: BundleTotals
    after: BundleTotals
    distributions: tuple[DistributionChange, ...]
    licenses: tuple[LicenseChange, ...]
    libraries: tuple[LibraryChange, ...]

    @property
    def equal(self) -> bool:
        """Whether both are the same bundle."""
        return self.before.identity == self.after.identity

    def to_json(self) -> dict[str, Any]:
        """Return the difference as plain values."""
        return {**asdict(self), "equal": self.equal}

    def to_markdown(self) -> str:
        """Return the difference as a page in Markdown."""
        before, after = self.before, self.after
        lines = [f"# {_title(before)} → {_title(after)}", ""]
        if self.equal:
            return "\n".join([*lines, f"The manifests are equal: sha256:{after.identity}", _NOT_READ, ""])
        lines += [*_table(("", "before", "after", "difference"), _totals(before, after)), ""]
        sections = (
            ("Distributions", ("distribution", "change", "before", "after", "size", "license"), _rows(self)),
            ("Licenses", ("license", "before", "after"), _license_rows(self)),
            ("Native libraries", ("distribution", "difference", "glibc", "from the system"), _so_rows(self)),
        )
        for title, head, rows in sections:
            body = list(rows)
            lines += [f"## {title}", "", *(_table(head, body) if body else ["No difference."]), ""]
        return "\n".join(lines)


def compare_bundles(before: Manifest, after: Manifest) -> Comparison:
    """Return the difference between two bundles.

    :raises MalformedError: if the section ``shared_objects`` of a manifest is malformed.
    """
    libraries = (native_libraries(before), native_libraries(after))
    old = {item.name: item for item in before.document.distributions}
    new = {item.name: item for item in after.document.distributions}
    changes = (_distribution(name, old.get(name), new.get(name)) for name in sorted({*old, *new}))
    return Comparison(
        before=_totals_of(before, len(libraries[0])),
        after=_totals_of(after, len(libraries[1])),
        distributions=tuple(change for change in changes if change is not None),
        licenses=tuple(_license_changes(before, after)),
        libraries=tuple(_library_changes(*libraries)),
    )


def _totals_of(manifest: Manifest, shared_objects: int) -> BundleTotals:
    document = manifest.document
    return BundleTotals(
        name=manifest.name,
        version=manifest.version,
        identity=manifest.identity,
        verdict=verdict_of(manifest).text,
        python=document.target.python,
        platform=document.target.platform,
        distributions=len(document.distributions),
        files=len(manifest.files),
        size=sum(file.size for file in manifest.files),
        shared_objects=shared_objects,
        glibc=document.verification.glibc,
    )


def _distribution(
    name: str, old: DistributionSection | None, new: DistributionSection | None
) -> DistributionChange | None:
    change: Change
    if old is None or new is None:
        change = "added" if old is None else "removed"
    elif old.version != new.version:
        change = "changed"
    elif old.layer != new.layer or old.licence != new.licence:
        change = "rebuilt"
    else:
        return None
    return DistributionChange(
        name=name,
        change=change,
        version=(old.version if old else None, new.version if new else None),
        size=(old.size if old else 0, new.size if new else 0),
        license=(_license_of(old), _license_of(new)),
    )


def _license_of(item: DistributionSection | None) -> str | None:
    return (item.licence or NOT_DECLARED) if item is not None else None


def _license_changes(before: Manifest, after: Manifest) -> Iterator[LicenseChange]:
    old, new = _by_license(before), _by_license(after)
    for name in sorted({*old, *new}):
        pair = (tuple(old.get(name, ())), tuple(new.get(name, ())))
        if pair[0] != pair[1]:
            yield LicenseChange(license=name, distributions=pair)


def _by_license(manifest: Manifest) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for item in manifest.document.distributions:
        names[item.licence or NOT_DECLARED].append(item.name)
    return names


def _library_changes(
    before: tuple[NativeLibrary, ...], after: tuple[NativeLibrary, ...]
) -> Iterator[LibraryChange]:
    old, new = _by_distribution(before), _by_distribution(after)
    for name in sorted({*old, *new}):
        one, other = old.get(name, {}), new.get(name, {})
        changed = sorted(key for key in one.keys() & other.keys() if _needs(one[key]) != _needs(other[key]))
        added, removed = sorted(other.keys() - one.keys()), sorted(one.keys() - other.keys())
        if added or removed or changed:
            yield LibraryChange(
                distribution=name,
                added=tuple(added),
                removed=tuple(removed),
                changed=tuple(changed),
                glibc=(highest_glibc(one.values()), highest_glibc(other.values())),
                external=(_external(one), _external(other)),
            )


def _by_distribution(libraries: tuple[NativeLibrary, ...]) -> dict[str, dict[str, NativeLibrary]]:
    result: dict[str, dict[str, NativeLibrary]] = defaultdict(dict)
    for library in libraries:
        result[library.distribution][library.key] = library
    return result


def _needs(library: NativeLibrary) -> tuple[str, tuple[str, ...]]:
    return (library.glibc, tuple(sorted(library.external)))


def _external(libraries: dict[str, NativeLibrary]) -> tuple[str, ...]:
    return tuple(sorted({name for library in libraries.values() for name in library.external}))


# Markdown.


def _title(totals: BundleTotals) -> str:
    return f"{totals.name} {totals.version}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(text: str) -> str:
    """Escape the characters that Markdown would interpret: a manifest is foreign data."""
    for character in "\\`*<>[]|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _totals(before: BundleTotals, after: BundleTotals) -> list[tuple[str, ...]]:
    counts = (
        ("distributions", before.distributions, after.distributions),
        ("files", before.files, after.files),
        ("shared objects", before.shared_objects, after.shared_objects),
    )
    size = _signed_size(after.size - before.size)
    return [
        ("verdict", before.verdict, after.verdict, ""),
        ("Python", before.python, after.python, ""),
        ("platform", before.platform, after.platform, ""),
        ("size", human_size(before.size), human_size(after.size), size),
        *((name, str(old), str(new), f"{new - old:+}" if new != old else "") for name, old, new in counts),
        ("glibc", before.glibc or "none", after.glibc or "none", ""),
    ]


def _signed_size(difference: int) -> str:
    sign = "+" if difference > 0 else ""
    return f"{sign}{human_size(difference)}" if difference else ""


def _arrow(old: str | None, new: str | None) -> str:
    return f"{old or 'none'} → {new or 'none'}" if old != new else old or ""


def _rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for item in comparison.distributions:
        old, new = item.license
        text = _arrow(old, new) if old and new else new or old or ""
        size = _signed_size(item.size[1] - item.size[0])
        yield (item.name, item.change, item.version[0] or "", item.version[1] or "", size, text)


def _license_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for item in comparison.licenses:
        yield (item.license, *(", ".join(names) or "none" for names in item.distributions))


def _so_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for item in comparison.libraries:
        parts = (("added", item.added), ("removed", item.removed), ("changed", item.changed))
        difference = "; ".join(
            f"{len(keys)} {name}: {listing((key.rpartition('/')[2] for key in keys), _LISTED)}"
            for name, keys in parts
            if keys
        )
        system = [f"+{name}" for name in item.external[1] if name not in item.external[0]]
        system += [f"-{name}" for name in item.external[0] if name not in item.external[1]]
        yield (item.distribution, difference, _arrow(*item.glibc), ", ".join(system))
