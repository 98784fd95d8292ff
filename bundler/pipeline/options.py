"""The options of a run, as values."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from bundler.archive.compression import Codec
from bundler.bundle.segment import SegmentFormat
from bundler.checks.report import UsageMode
from bundler.checks.user_code import UserCode
from bundler.requirements.requirement_set import IndexOptions, RequirementSet

__all__ = ["BuildOptions", "LockOptions"]


def _cores() -> int:
    """Return how many cores this process may use, which in a container is fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class LockOptions:
    """What decides the choice of distributions."""

    python: str | None
    """``--python``: a version or a path; None takes what a conda specification says, or 3.7."""
    requirements: RequirementSet | None
    index: IndexOptions
    """The index settings of the command line."""
    only_binary: bool = False


@dataclass(frozen=True, kw_only=True)
class BuildOptions(LockOptions):
    """What decides a bundle."""

    lock: Path | None
    """A lockfile; then nothing is resolved."""
    name: str
    version: str | None
    """None takes the first 12 characters of the lock's digest."""
    folder: Path
    """Where the bundle is written to."""
    codec: Codec
    as_folder: bool
    epoch: int
    modes: tuple[UsageMode, ...] = ("mount", "venv")
    code: UserCode | None = None
    run_init: bool = False
    model_dir: Path | None = None
    target_glibc: str | None = None
    base: Path | None = None
    """What is known of the base: a profile, a freeze, a root filesystem, an image."""
    server: str | None = None
    """The version of azureml-inference-server-http that the bundle is to live with."""
    omit_provided: bool = False
    reverify: bool = False
    allow: tuple[str, ...] = ()
    allow_import_failure: tuple[str, ...] = ()
    allow_pth: tuple[str, ...] = ()
    jobs: int = field(default_factory=_cores)

    @property
    def segment_format(self) -> SegmentFormat:
        """The format of the segments that the bundle is assembled from."""
        return SegmentFormat(root=self.name, codec=self.codec, epoch=self.epoch)
