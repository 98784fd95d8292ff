"""Small bundles made in the tests from a mapping of path to content, with any entry changed on the way."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bundler.archive.compression import Codec, compressor
from bundler.archive.tar import END, directory_header, file_header, padding
from bundler.bundle.manifest import Manifest, make_manifest

EPOCH = 315532800
LOCK = b'lock-version = "1.0"\ncreated-by = "tests"\n'
FILES = {
    "lib/python3.7/site-packages/pkg/__init__.py": b"VERSION = 1\n",
    "lib/python3.7/site-packages/pkg/data.bin": bytes(range(256)) * 5,
    "bin/tool": b"#!/bin/sh\nexit 0\n",
}
VERIFICATION: dict[str, Any] = {
    "allowed": [],
    "findings": [],
    "glibc": "",
    "shared_objects": [],
    "unmet": [],
    "ways": {"mount": [], "venv": []},
}
Entries = list[tuple[str, bytes, bytes]]
"""The name, header and content (padded) of each entry."""


def manifest_values(files: Mapping[str, bytes] = FILES, **changes: Any) -> dict[str, Any]:
    """Return the sections of a manifest for a bundle of one distribution."""
    listed = [_listed(path, content, "pkg") for path, content in files.items()]
    listed.append(_listed("pylock.toml", LOCK, "bundler"))
    values: dict[str, Any] = {
        "name": "small",
        "version": "1.0",
        "epoch": EPOCH,
        "target": {
            "abi": "cp37m",
            "implementation": "cpython",
            "platform": "linux_x86_64",
            "python": "3.7",
            "python_full_version": "3.7.16",
            "sys_platform": "linux",
        },
        "base": {"provided": {}},
        "requirements": ["pkg"],
        "indexes": [],
        "distributions": [
            {
                "built_here": None,
                "index": None,
                "layer": "0" * 64,
                "licence": "MIT",
                "name": "pkg",
                "notes": [],
                "pth": [],
                "requires_dist": [],
                "requires_python": "",
                "scripts": ["tool"],
                "size": sum(map(len, files.values())),
                "uncompiled": [],
                "version": "1.0",
                "wheel": "pkg-1.0-py3-none-any.whl",
                "wheel_sha256": "0" * 64,
            }
        ],
        "files": sorted(listed, key=lambda item: item["path"].encode()),
        "verification": VERIFICATION,
        "host": {"bundler": "0"},
    }
    return {**values, **changes}


def _listed(path: str, content: bytes, owner: str) -> dict[str, Any]:
    mode = "0755" if path.startswith("bin/") else "0644"
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path, "size": len(content), "mode": mode, "sha256": digest, "owner": owner}


def entries_of(manifest: Manifest, files: Mapping[str, bytes] = FILES) -> Entries:
    """Return the entries of an archive in their order."""
    contents = {**files, "manifest.json": manifest.content, "pylock.toml": LOCK}
    entries: Entries = []
    for member in manifest.members():
        name = f"{manifest.name}/{member.path}".rstrip("/")
        if member.is_dir:
            entries.append((name, directory_header(name, epoch=EPOCH), b""))
        else:
            content = contents[member.path]
            header = file_header(name, size=len(content), mode=member.mode, epoch=EPOCH)
            entries.append((name, header, content + padding(len(content))))
    return entries


def packed(entries: Entries, *, end: bytes = END, codec: Codec = "gz") -> bytes:
    """Return the archive of some entries."""
    member = compressor(codec)
    raw = b"".join(header + content for _, header, content in entries) + end
    return member.compress(raw) + member.flush()


def make_bundle(
    folder: Path, *, codec: Codec = "gz", change: Callable[[Entries], Entries | None] | None = None
) -> Path:
    """Write an archive, its entries changed by ``change``, and return its path."""
    manifest = make_manifest(manifest_values())
    entries = entries_of(manifest)
    if change is not None:
        entries = change(entries) or entries
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{manifest.stem}.tar.{codec}"
    path.write_bytes(packed(entries, codec=codec))
    return path


def header_of(name: str, **fields: Any) -> bytes:
    """Return the header of any kind of entry, as a hostile archive may hold it."""
    entry = tarfile.TarInfo(name)
    entry.mtime = EPOCH
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry.tobuf(tarfile.GNU_FORMAT)


def index_of(entries: Entries, ending: str) -> int:
    """Return the place of the entry whose name ends so."""
    return next(number for number, entry in enumerate(entries) if entry[0].endswith(ending))


def tar_names(path: Path) -> list[str]:
    """Return the names that Python's own tarfile sees."""
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        return archive.getnames()
