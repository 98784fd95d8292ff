"""The record of one regular file in a tree: a layer, a bundle, an application."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.digest import Sha256
from bundler.paths import ArchivePath

__all__ = ["TreeFile"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeFile:
    """A file, identified by its content; modes are reduced to executable or not."""

    path: ArchivePath
    """Relative to the root of the tree."""
    mode: int
    """0o644 or 0o755."""
    size: int
    """Bytes."""
    sha256: Sha256
    """The digest of its content."""
