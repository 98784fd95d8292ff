"""The sections of a manifest as types: a manifest is validated against them when it is read.

Format: docs/format.md, "Manifest"; the JSON Schema in this package
(``manifest.schema.json``) describes the same shape.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "BaseSection",
    "BuiltHere",
    "DistributionSection",
    "FileSection",
    "FindingSection",
    "ImportSection",
    "ManifestDocument",
    "TargetSection",
    "VerificationSection",
]

Size = Annotated[int, msgspec.Meta(ge=0)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"""A sha256 in lowercase hexadecimal characters."""


class ManifestSection(msgspec.Struct, frozen=True, kw_only=True):
    """A section that a later release may add fields to."""


class ClosedManifestSection(ManifestSection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section that has exactly the fields of the format."""


class TargetSection(ClosedManifestSection, frozen=True, kw_only=True):
    """The target of a bundle."""

    abi: str
    implementation: Literal["cpython"]
    platform: str
    python: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+\.[0-9]+$")]
    python_full_version: str
    sys_platform: str


class BuiltHere(ClosedManifestSection, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The source of a wheel that was built by bundler."""

    from_: str
    kind: Literal["sdist", "directory", "vcs"]
    requires: tuple[str, ...]
    """The distributions in the build environment."""


class OmittedSection(ClosedManifestSection, frozen=True, kw_only=True):
    """The files and debug symbols that ``--slim`` omitted from one distribution."""

    files: Size
    """The number of files."""
    size: Size
    """Their bytes."""
    symbols: Size
    """Bytes of debug symbols that were removed from shared objects."""


class DistributionSection(ClosedManifestSection, frozen=True, kw_only=True):
    """One distribution of a bundle."""

    built_here: BuiltHere | None
    index: str | None
    layer: Digest
    licence: str
    name: str
    notes: tuple[str, ...]
    pth: tuple[str, ...]
    requires_dist: tuple[str, ...]
    requires_python: str
    scripts: tuple[str, ...]
    size: Size
    uncompiled: tuple[str, ...]
    omitted: OmittedSection | None = None
    version: str
    wheel: str
    wheel_sha256: Digest


class FileSection(ClosedManifestSection, frozen=True, kw_only=True):
    """One file of a bundle."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    size: Size
    mode: Literal["0644", "0755"]
    sha256: Digest
    owner: str
    """The distribution it ships from; ``bundler`` for the lock."""
    also: tuple[str, ...] = ()
    """Further distributions that contain the same file."""


class FindingSection(ClosedManifestSection, frozen=True, kw_only=True):
    """One finding of the checks."""

    allowed: bool
    code: Annotated[str, msgspec.Meta(pattern="^[MIUEBDW][0-9]{3}$")]
    distribution: str
    message: str
    severity: Literal["error", "warning", "note"]
    where: str


class ImportSection(ManifestSection, frozen=True, kw_only=True):
    """The result of one import."""

    declared: bool | None
    """For a missing dependency: whether the metadata of the distribution names it."""
    detail: str
    distribution: str
    missing: str | None
    module: str
    status: str
    tried: tuple[str, ...]
    wrote: tuple[str, ...]


class VerificationSection(ClosedManifestSection, frozen=True, kw_only=True):
    """The results of the checks."""

    allowed: tuple[str, ...]
    findings: tuple[FindingSection, ...]
    glibc: Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]+)*)?$")]
    """The oldest glibc that all shared objects load with; empty if none needs one."""
    shared_objects: tuple[dict[str, Any], ...]
    unmet: tuple[dict[str, Any], ...]
    ways: dict[Literal["mount", "server", "venv"], tuple[ImportSection, ...]]
    """The imports, by mode of use."""


class BaseSection(ManifestSection, frozen=True, kw_only=True):
    """The requirements on the base."""

    provided: dict[str, str]
    """The distributions that the bundle leaves to the base, with their versions."""
    conda: tuple[str, ...] = ()
    """Conda packages without a counterpart on an index."""


class ManifestDocument(ClosedManifestSection, frozen=True, kw_only=True):
    """A whole manifest."""

    format: Literal["bundler-manifest"]
    format_version: Literal[1]
    name: str
    version: str
    epoch: Annotated[int, msgspec.Meta(ge=0, lt=1 << 33)]
    """The time of every entry in an archive, seconds UTC."""
    target: TargetSection
    requirements: tuple[str, ...]
    indexes: tuple[str, ...]
    distributions: tuple[DistributionSection, ...]
    files: tuple[FileSection, ...]
    base: BaseSection
    verification: VerificationSection
    host: dict[str, Any]
    """Facts of the machine that built the bundle; they do not count for its identity."""
