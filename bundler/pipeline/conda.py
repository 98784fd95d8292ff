"""Find the conda packages that only the base can provide: the index has no project of their name.

The name of a package in no table is assumed to be that of a project, and only an index can refute it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from bundler.errors import ResolutionError
    from bundler.pipeline.run import Run
    from bundler.requirements.line import RootRequirement
    from bundler.requirements.requirement_set import RequirementSet

__all__ = ["leave_to_base", "missing_packages"]

_NOT_FOUND = "No matching distribution found for {}"
"""pip's message if an index has no distribution of a project, or none that a requirement accepts."""
_VERSIONS = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_JOBS = 4


def missing_packages(
    run: Run, requirements: RequirementSet, error: ResolutionError
) -> tuple[RootRequirement, ...]:
    """Return the assumed requirements that the index cannot satisfy; none if another one failed.

    pip ends at the first such requirement, after it has read the metadata of all before it. So the
    versions of each are listed instead, which reads no metadata.

    :param error: the failure of pip.
    """
    assumed = requirements.assumed
    failed = canonicalize_name(str((error.facts or {}).get("requirement", "")))
    if not any(root.requirement and canonicalize_name(root.requirement.name) == failed for root in assumed):
        return ()
    with ThreadPoolExecutor(max_workers=_JOBS) as pool:
        found = pool.map(lambda root: _is_on_index(run, root), assumed)
        return tuple(root for root, is_found in zip(assumed, found, strict=True) if not is_found)


def leave_to_base(
    run: Run, requirements: RequirementSet, missing: Collection[RootRequirement], place: str
) -> RequirementSet:
    """Return the requirements without the missing ones, with a warning for each.

    :param place: the index or the lockfile, for the warning.
    """
    for root in missing:
        run.reporter.warn(f"{root.origin}: {place} has no `{root.text}`: the base image must provide it")
    return requirements.leave_to_base(missing)


def _is_on_index(run: Run, root: RootRequirement) -> bool:
    """Return whether the index has a version that a requirement accepts; True if this is not certain."""
    requirement = root.requirement
    if requirement is None:
        return True
    only_binary = ["--only-binary", ":all:"] if run.only_binary else []
    ended = run.toolchain.run_pip(["index", "versions", "--pre", requirement.name, *only_binary])
    if ended.returncode:
        return _NOT_FOUND.format(requirement.name) not in ended.stderr
    listed = _VERSIONS.search(ended.stdout.decode("utf-8", "replace"))
    return listed is None or any(requirement.specifier.filter(listed[1].split(", ")))
