"""Layers of some files, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.utils import canonicalize_name

from bundler.archive.tree import TreeFile
from bundler.bundle.layer import Layer
from bundler.digest import sha256_of
from bundler.paths import archive_path


def layer_with(name: str, files: Mapping[str, bytes], **changes: Any) -> Layer:
    """Return the layer of a wheel with these files, relative to the bundle."""
    values: dict[str, Any] = {
        "name": canonicalize_name(name),
        "display_name": name,
        "version_text": "1.0",
        "wheel": f"{name}-1.0-py3-none-any.whl",
        "wheel_sha256": sha256_of(name.encode()),
        "licence": "",
        "requires_dist": (),
        "requires_python": "",
        "scripts": (),
        "pth_code": {},
        "pth_folders": (),
        "uncompiled": (),
        "code": {},
        "notes": (),
        "faults": (),
        "files": tuple(
            TreeFile(path=archive_path(path), mode=0o644, size=len(content), sha256=sha256_of(content))
            for path, content in sorted(files.items())
        ),
    }
    return Layer(**{**values, **changes})
