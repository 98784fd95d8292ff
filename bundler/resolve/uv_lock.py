"""Read the outputs of ``uv pip compile``, and choose the file of each package as pip does.

Spec: pylock.toml (PEP 751); uv documentation, "Locking environments"; pip's ``CandidateEvaluator``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from bundler.digest import hash_stream
from bundler.errors import IntegrityError, ResolutionError
from bundler.redaction import url_filename
from bundler.resolve.locations import file_path
from bundler.resolve.lockfile import LockedDistribution, PackageKind
from bundler.resolve.resolver import location_of, sha256_in

if TYPE_CHECKING:
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.resolve.index import IndexSettings
    from bundler.target.target import Target

__all__ = ["annotated_edges", "locked_package", "required_hashes"]

_HASH = re.compile(r"--hash[= ](\w+):([0-9a-fA-F]+)")
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?(?:==| @ )")
_VIA = re.compile(r"^ {4}#(?: via |   )(?P<parent>[A-Za-z0-9][\w.-]*)$")
_SHOWN = 3


def annotated_edges(text: str) -> dict[NormalizedName, set[NormalizedName]]:
    r"""Return the packages that each package requires, from an annotated requirements file.

    >>> annotated_edges("numpy==1.21.6\n    # via\n    #   -r a.in\n    #   pandas\n")
    {'pandas': {'numpy'}}
    """
    edges: dict[NormalizedName, set[NormalizedName]] = {}
    name = canonicalize_name("")
    for line in text.splitlines():
        if pin := _PIN.match(line):
            name = canonicalize_name(pin["name"])
        elif via := _VIA.match(line):
            edges.setdefault(canonicalize_name(via["parent"]), set()).add(name)
    return edges


def locked_package(
    package: Mapping[str, Any], target: Target, settings: IndexSettings, *, allowed: Collection[str] | None
) -> LockedDistribution:
    """Return the file of a package that pip would choose: the wheel with the best tag, else the sdist.

    :param package: an entry of uv's pylock.toml.
    :param allowed: the sha256 digests of the requirements; None if they require no hash.
    :raises IntegrityError: if no file has one of them.
    """
    kind, file = _best_file(package, target, allowed)
    url = str(file["url"])
    location = location_of(url, settings)
    filename = str(file.get("name") or url_filename(location))
    return LockedDistribution(
        name=canonicalize_name(package["name"]),
        version=Version(package["version"]),
        kind=kind,
        location=location,
        filename=filename,
        sha256=sha256_in(_hashes(file), filename),
        index=settings.name_of(url),
    )


def _hashes(file: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the hashes of a file; those of a local one are computed if its page does not state them."""
    hashes: Mapping[str, str] = file["hashes"]
    if hashes or not file["url"].startswith("file:"):
        return hashes
    with Path(file_path(file["url"])).open("rb") as stream:
        return {"sha256": hash_stream(stream)[0]}


def _best_file(
    package: Mapping[str, Any], target: Target, allowed: Collection[str] | None
) -> tuple[PackageKind, Mapping[str, Any]]:
    """Return the file to lock, and its kind."""
    order = {tag: place for place, tag in enumerate(target.tags)}
    ranked = []
    for file in package.get("wheels", ()):
        _, _, build, tags = parse_wheel_filename(file.get("name") or url_filename(file["url"]))
        if fitting := [order[tag] for tag in tags if tag in order]:
            ranked.append((-min(fitting), build, file))
    files: list[tuple[PackageKind, Mapping[str, Any]]] = [
        ("wheel", file) for _, _, file in sorted(ranked, key=lambda item: item[:2], reverse=True)
    ]
    if "sdist" in package:
        files.append(("sdist", package["sdist"]))
    digests = [_hashes(file).get("sha256") if allowed is not None else None for _, file in files]
    for item, digest in zip(files, digests, strict=True):
        if allowed is None or digest in allowed:
            return item
    raise IntegrityError(
        f"no file of `{package['name']}=={package['version']}` has the required hash",
        evidence=(
            *(f"wanted  sha256 {digest}" for digest in sorted(allowed or ())),
            *(f"found   sha256 {digest}" for digest in digests[:_SHOWN]),
        ),
        hint="check the hash: that of another file, or of another release?",
    )


def required_hashes(requirements: RequirementSet, package: Mapping[str, Any]) -> set[str]:
    """Return the sha256 digests of the lines of a package.

    :raises ResolutionError: if there is none.
    """
    pairs = [
        *zip(requirements.roots, requirements.requirement_lines, strict=True),
        *zip(requirements.constraints, requirements.constraint_lines, strict=True),
    ]
    digests = {
        digest.lower()
        for root, line in pairs
        if root.requirement is not None and canonicalize_name(root.requirement.name) == package["name"]
        for algorithm, digest in _HASH.findall(line)
        if algorithm == "sha256"
    }
    if not digests:
        pin = f"{package['name']}=={package['version']}"
        raise ResolutionError(
            f"`{pin}` has no sha256 hash in the requirements, which require hashes",
            hint=f"`pip hash` prints the hash of a file: add `{pin} --hash=sha256:...`",
        )
    return digests
