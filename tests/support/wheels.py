"""Wheels and sdists made in the tests, from a mapping of path to content."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
Files = Mapping[str, str | bytes]


def as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def record_row(path: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{path},sha256={digest},{len(content)}\n"


def wheel_files(
    name: str,
    version: str,
    files: Files,
    *,
    requires: Sequence[str] = (),
    requires_python: str = "",
    extras: Sequence[str] = (),
    entry_points: str = "",
    tags: Sequence[str] = ("py3-none-any",),
    purelib: bool = True,
) -> dict[str, bytes]:
    """Return every member of a correct wheel but its RECORD, in the order it is written."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {item}\n" for item in requires]
    metadata += [f"Provides-Extra: {item}\n" for item in extras]
    if requires_python:
        metadata.append(f"Requires-Python: {requires_python}\n")
    members = {path: as_bytes(content) for path, content in files.items()}
    members[f"{info}/METADATA"] = "".join(metadata).encode()
    members[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {str(purelib).lower()}\n"
        + "".join(f"Tag: {tag}\n" for tag in tags)
    ).encode()
    if entry_points:
        members[f"{info}/entry_points.txt"] = entry_points.encode()
    return members


def with_record(members: Mapping[str, bytes], info: str) -> dict[str, bytes]:
    """Return ``members`` and the RECORD that lists them."""
    record = f"{info}/RECORD"
    rows = "".join(record_row(path, content) for path, content in members.items())
    return {**members, record: f"{rows}{record},,\n".encode()}


def zip_bytes(members: Mapping[str, bytes], *, modes: Mapping[str, int] | None = None) -> bytes:
    """Return a plain zip archive of ``members``; ``modes`` overrides 0o644 for some."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in members.items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.create_system = 3
            entry.external_attr = (0o100000 | (modes or {}).get(path, 0o644)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Files | None = None,
    *,
    requires: Sequence[str] = (),
    requires_python: str = "",
    extras: Sequence[str] = (),
    entry_points: str = "",
    tag: str = "py3-none-any",
    purelib: bool = True,
    modes: Mapping[str, int] | None = None,
) -> Path:
    """Write a correct wheel into ``folder`` and return its path.

    Without ``files`` it holds one module, named as the project, with ``VERSION``.
    """
    stem = name.replace("-", "_")
    if files is None:
        files = {f"{stem}.py": f"VERSION = {version!r}\n"}
    members = wheel_files(
        name,
        version,
        files,
        requires=requires,
        requires_python=requires_python,
        extras=extras,
        entry_points=entry_points,
        tags=(tag,),
        purelib=purelib,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{version}-{tag}.whl"
    path.write_bytes(zip_bytes(with_record(members, f"{stem}-{version}.dist-info"), modes=modes))
    return path


def make_sdist(folder: Path, name: str, version: str, files: Files, *, setup_py: str | None = None) -> Path:
    """Write a setuptools sdist into ``folder`` and return its path.

    The default ``setup.py`` packs every top-level module of ``files``; the
    toolchain of the target (setuptools, wheel) is all it needs.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    modules = [path[:-3] for path in files if path.endswith(".py") and "/" not in path]
    setup = setup_py or (
        f"from setuptools import setup\nsetup(name={name!r}, version={version!r}, py_modules={modules!r})\n"
    )
    members = {
        "setup.py": setup.encode(),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        **{path: as_bytes(content) for path, content in files.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(f"{stem}/{member}")
            entry.size = len(content)
            entry.mtime = 315532800
            archive.addfile(entry, io.BytesIO(content))
    return path
