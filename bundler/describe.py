"""Stage 6, pure: the sections of a manifest, made from what the stages before left.

Format: docs/format.md, "Manifest".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from packaging.utils import NormalizedName

from bundler.bundle import Plan
from bundler.digest import sha256_of
from bundler.layer import Layer
from bundler.lock import Lock

if TYPE_CHECKING:
    from bundler.build import BuiltWheel

__all__ = ["describe_distribution", "describe_files"]


def describe_distribution(
    layer: Layer, lock: Lock, built: Mapping[NormalizedName, BuiltWheel]
) -> dict[str, Any]:
    """Return what the manifest says of one distribution."""
    locked = next(package for package in lock.packages if package.name == layer.name)
    made = built.get(layer.name)
    return {
        "built_here": None
        if made is None
        else {"from": locked.filename, "kind": locked.kind, "requires": list(made.requires)},
        "index": locked.index,
        "layer": layer.digest,
        "licence": layer.licence,
        "name": layer.name,
        "notes": list(layer.notes),
        "pth": list(layer.pth),
        "requires_dist": list(layer.requires_dist),
        "requires_python": layer.requires_python,
        "scripts": list(layer.scripts),
        "size": layer.size,
        "uncompiled": list(layer.uncompiled),
        "version": str(layer.version),
        "wheel": layer.wheel,
        "wheel_sha256": layer.wheel_sha256,
    }


def describe_files(plan: Plan, lock: bytes) -> Iterator[dict[str, Any]]:
    """Yield what the manifest says of each file but itself, sorted bytewise by path."""
    listed: dict[str, dict[str, Any]] = {
        "pylock.toml": {
            "path": "pylock.toml",
            "size": len(lock),
            "mode": "0644",
            "sha256": sha256_of(lock),
            "owner": "bundler",
        }
    }
    for layer, file in plan.files():
        listed[file.path] = {
            "path": file.path,
            "size": file.size,
            "mode": f"{file.mode:04o}",
            "sha256": file.sha256,
            "owner": layer.name,
        }
        if file.path in plan.shared:
            listed[file.path]["also"] = list(plan.shared[file.path][1:])
    return (listed[path] for path in sorted(listed, key=str.encode))
