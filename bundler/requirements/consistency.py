"""Check requirements against each other: contradicting pins and missing hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.problems import Problem, ProblemError
from bundler.requirements.line import RootRequirement


def _pin(root: RootRequirement) -> str | None:
    """Return the version of a requirement pinned by ``==`` or ``===``, or None."""
    specifiers = list(root.requirement.specifier) if root.requirement else []
    if len(specifiers) != 1 or specifiers[0].operator not in ("==", "==="):
        return None
    version: str = specifiers[0].version
    return None if version.endswith(".*") else version


def contradicting_pins(roots: Sequence[RootRequirement]) -> Iterator[Problem]:
    """Yield a problem for each project that is pinned to two versions under the same marker.

    pip reports such a conflict only after it has downloaded metadata, and without file and line.
    """
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


def _equal(version: str, other: str) -> bool:
    """Return whether two spellings are one version (PEP 440: ``1.0`` and ``1.0.0``)."""
    try:
        return Version(version) == Version(other)
    except InvalidVersion:
        return False


def missing_hashes(
    roots: Sequence[RootRequirement], hashed: set[str], constraints: Sequence[RootRequirement]
) -> Iterator[Problem]:
    """Yield a problem for each requirement that pip would reject in its hash-checking mode.

    One ``--hash`` switches the mode on for all requirements (pip, "Secure installs").

    :param hashed: the origins of the requirements and constraints with a hash.
    :param constraints: a constraint may provide the version and the hash of a requirement.
    """
    covered = {
        canonicalize_name(item.requirement.name)
        for item in constraints
        if item.requirement and item.origin in hashed
    }
    for root in roots:
        name = canonicalize_name(root.requirement.name) if root.requirement else None
        fact = None
        hint = f"run `pip-compile --generate-hashes {root.origin.rpartition(':')[0] or 'requirements.in'}`"
        if root.kind in ("directory", "vcs"):
            fact = "a directory or repository cannot have a hash"
            source = root.location if root.kind == "directory" else f"git+{root.location}"
            hint = f"run `pip wheel --no-deps {source}`, and require the wheel by its path with its `--hash`"
        elif root.origin not in hashed and name not in covered:
            fact = "missing `--hash`"
        elif root.kind == "index" and _pin(root) is None and name not in covered:
            fact = "a requirement with `--hash` must be pinned with `==`"
        if fact:
            yield Problem(
                where=root.origin,
                refused=ProblemError(
                    f"{fact}: either all requirements have hashes, or none",
                    hint=hint,
                ),
                quoted=root.text,
            )
