"""Stage 1, pure: requirements that contradict each other, and missing hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.problems import Problem, ProblemError
from bundler.requirements.line import RootRequirement


def _pin(root: RootRequirement) -> str | None:
    """Return the one version a requirement allows, or None where it leaves a choice."""
    specifiers = list(root.requirement.specifier) if root.requirement else []
    if len(specifiers) != 1 or specifiers[0].operator not in ("==", "==="):
        return None
    version: str = specifiers[0].version
    return None if version.endswith(".*") else version


def contradicting_pins(roots: Sequence[RootRequirement]) -> Iterator[Problem]:
    """Yield each project that is pinned to two versions under the same marker."""
    first: dict[tuple[str, str], tuple[str, RootRequirement]] = {}
    for root in roots:
        version = _pin(root)
        if version is None or root.requirement is None:
            continue
        key = (canonicalize_name(root.requirement.name), str(root.requirement.marker or ""))
        earlier, other = first.setdefault(key, (version, root))
        if earlier != version and not _equal(earlier, version):
            yield Problem(
                where=root.origin,
                refused=ProblemError(
                    f"`{key[0]}` is pinned twice, to {earlier} and to {version}",
                    details=(f"first   {other.origin} `{other.text}`",),
                ),
                quoted=root.text,
            )


def _equal(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False


def missing_hashes(
    roots: Sequence[RootRequirement], hashed: set[str], constraints: Sequence[RootRequirement]
) -> Iterator[Problem]:
    """Yield each requirement that pip would refuse because others have hashes.

    A constraint may carry the version and the hash of a requirement.
    """
    covered = {
        canonicalize_name(item.requirement.name)
        for item in constraints
        if item.requirement and item.origin in hashed
    }
    for root in roots:
        name = canonicalize_name(root.requirement.name) if root.requirement else None
        fact = None
        if root.kind in ("directory", "vcs"):
            fact = "it is no single file and has no hash"
        elif root.origin not in hashed and name not in covered:
            fact = "it has no `--hash`"
        elif root.kind == "index" and _pin(root) is None and name not in covered:
            fact = "it has a `--hash` but is not pinned with `==`"
        if fact:
            yield Problem(
                where=root.origin,
                refused=ProblemError(
                    f"{fact}, and hashes are for all requirements or none",
                    hint="write a `--hash=sha256:` for each, as `pip-compile --generate-hashes` does",
                ),
                quoted=root.text,
            )
