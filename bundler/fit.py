"""Stage 6, pure: does a bundle that was built elsewhere fit a base?

Everything about the bundle is read from its manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import NormalizedName
from packaging.version import Version

from bundler.base import Base
from bundler.closure import DistributionFacts
from bundler.conflicts import check_base, check_from_base
from bundler.findings import Finding
from bundler.manifest import Manifest
from bundler.report import ClosureReport
from bundler.target import Target

if TYPE_CHECKING:
    from bundler.conda import FromBase

__all__ = ["check_fit"]


def check_fit(manifest: Manifest, base: Base) -> tuple[Finding, ...]:
    """Return what is to be known of mounting a bundle into a base, and is no error.

    :raises ClosureError: if the bundle does not fit, naming each reason.
    """
    target = Target.from_json(manifest.values["target"])
    prefix = f"{target.site_packages}/"
    files: dict[str, list[str]] = {}
    for file in manifest.files:
        if file.path.startswith(prefix):
            files.setdefault(file.owner, []).append(file.path[len(prefix) :])
    present = [
        DistributionFacts(
            name=NormalizedName(item["name"]),
            display_name=item["name"],
            version=Version(item["version"]),
            requires_dist=tuple(Requirement(text) for text in item["requires_dist"]),
            files=tuple(files.get(item["name"], ())),
        )
        for item in manifest.values["distributions"]
    ]
    provided = manifest.values["base"]["provided"]
    found = check_base(
        base,
        target,
        present,
        glibc_floor=manifest.values["verification"]["glibc"],
        provided={NormalizedName(name): Version(version) for name, version in provided.items()},
    )
    found += tuple(check_from_base(base, _from_base(manifest.values["base"].get("conda", []))))
    ClosureReport(ways=(), found=found).raise_for_errors()
    return found


def _from_base(texts: list[str]) -> tuple[FromBase, ...]:
    if not texts:
        return ()
    from bundler.conda import read_from_base  # noqa: PLC0415 - the YAML reader is slow to load

    return tuple(map(read_from_base, texts))
