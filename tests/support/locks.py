"""Locks of the wheels in a directory, written without pip: for tests that are not about resolution.

A build from requirements asks pip twice, which is most of the time of a small build.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from email.parser import Parser
from pathlib import Path

import tomli_w
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename


def write_lock(wheels: Path, requirements: Sequence[str], out: Path) -> Path:
    """Write to ``out`` a lock of the newest wheels in ``wheels`` that meet some requirements."""
    chosen: dict[str, Path] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        if requirement.name in chosen or (
            requirement.marker and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        wheel = chosen[requirement.name] = _newest(wheels, requirement)
        waiting += _requires(wheel)
    packages = [_package(wheel, out.parent) for wheel in chosen.values()]
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "lock-version": "1.0",
        "created-by": "tests",
        "packages": sorted(packages, key=lambda package: str(package["name"])),
        "tool": {"bundler": {"requirements": sorted(requirements)}},
    }
    out.write_text(tomli_w.dumps(document), "utf-8")
    return out


def _newest(wheels: Path, requirement: Requirement) -> Path:
    name = canonicalize_name(requirement.name)
    found = [
        (parsed[1], path)
        for path in wheels.glob("*.whl")
        if (parsed := parse_wheel_filename(path.name))[0] == name and parsed[1] in requirement.specifier
    ]
    assert found, f"no wheel for {requirement}"
    return max(found)[1]


def _requires(wheel: Path) -> Iterator[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(member).decode("utf-8"))
    return map(Requirement, metadata.get_all("Requires-Dist", []))


def _package(wheel: Path, folder: Path) -> dict[str, object]:
    name, version, _, _ = parse_wheel_filename(wheel.name)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    path = os.path.relpath(wheel, folder)
    return {
        "name": name,
        "version": str(version),
        "wheels": [{"name": wheel.name, "path": path, "hashes": {"sha256": sha256}}],
    }
