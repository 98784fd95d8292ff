"""The options of ``bundler lock`` and ``bundler build``, as values."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from packaging.utils import NormalizedName

from bundler.archive.compression import Codec
from bundler.bundle.segment import SegmentFormat
from bundler.checks.report import UsageMode
from bundler.checks.user_code import UserCode
from bundler.data.slim import SlimLevel
from bundler.requirements.requirement_set import IndexOptions, RequirementSet

__all__ = ["HOST_GLIBC", "BuildOptions", "LockOptions", "count_cores"]

HOST_GLIBC = "host"
"""The value of ``--target-glibc`` for the glibc of this machine."""


def count_cores() -> int:
    """Return the number of cores this process may use: in a container, fewer than the machine has."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class LockOptions:
    """The options that determine a lock."""

    python: str | None
    """A version or path of the target Python; None uses that of a conda environment file, or 3.7."""
    requirements: RequirementSet | None
    index: IndexOptions
    """The index options of the command line."""
    only_binary: bool = False
    """Whether source distributions are rejected."""
    prefer_binary: bool = True
    """Whether an older release with a wheel is preferred to a newer one with only an sdist."""
    target: str | None = None
    """The tag of the target, "cp37-manylinux_2_17_aarch64"; None for a Python of this machine."""
    target_glibc: str | None = None
    """The glibc of the target, or ``host``; see `pipeline.target.limit_glibc`."""
    resolver: Literal["pip", "uv"] = "pip"
    """The program that chooses the versions."""
    exclude_newer: str | None = None
    """The time from which files of an index count as not uploaded yet, in RFC 3339; None for no limit."""
    previous: Path | None = None
    """A lockfile whose versions are kept where the requirements accept them."""
    upgrade: tuple[str, ...] | None = ()
    """The projects whose locked versions are not kept; None for all."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions(LockOptions):
    """The options that determine a bundle."""

    lock: Path | None
    """A lockfile to use instead of resolving the requirements."""
    name: str
    version: str | None
    """None uses the first 12 digits of the lock's sha256."""
    folder: Path
    """The directory that the bundle is written to."""
    codec: Codec
    as_folder: bool
    """Whether to write a directory instead of an archive."""
    epoch: int
    """The modification time of all entries, in seconds since 1970 UTC."""
    modes: tuple[UsageMode, ...] = ("mount", "venv")
    code: UserCode | None = None
    run_init: bool = False
    model_dir: Path | None = None
    base: Path | None = None
    """A description of the base: a profile, the output of ``pip freeze``, a root file system or an image."""
    server: str | None = None
    """The version of azureml-inference-server-http that the bundle must be compatible with."""
    omit_provided: bool = False
    """Whether to omit distributions that the base provides in a compatible version."""
    slim: SlimLevel | None = None
    """The files that the layers omit; None ships every file."""
    keep: frozenset[NormalizedName] = frozenset()
    """Distributions that `slim` does not change."""
    reverify: bool = False
    """Whether to ignore the stored results of earlier checks."""
    allow: tuple[str, ...] = ()
    """Codes of findings that are not errors."""
    allow_import_failure: tuple[str, ...] = ()
    """Distributions and modules that may fail to import."""
    allow_pth: tuple[str, ...] = ()
    """Distributions whose ``.pth`` files may run code."""
    jobs: int = field(default_factory=count_cores)

    @property
    def segment_format(self) -> SegmentFormat:
        """The format of the archive segments that the bundle consists of."""
        return SegmentFormat(root=self.name, codec=self.codec, epoch=self.epoch)
