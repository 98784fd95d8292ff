"""A bundle with several distributions, requirements, native libraries and findings, as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundler.bundle.manifest import Manifest, make_manifest
from support.bundles import VERIFICATION, entries_of, manifest_values, packed

SITE = "lib/python3.7/site-packages"
CONTENTS = {
    "app": {"app/__init__.py": b"a" * 10, "app/data/words.txt": b"w" * 4000},
    "fast": {
        "fast/__init__.py": b"f",
        "fast/core.cpython-37m-x86_64-linux-gnu.so": b"\x7fELF" + b"c" * 9000,
        "fast/linalg/blas.cpython-37m-x86_64-linux-gnu.so": b"\x7fELF" + b"b" * 3000,
        "fast.libs/libz-0a1b2c3d.so.1": b"\x7fELF" + b"z" * 1500,
    },
    "util": {"util.py": b"u" * 500},
}
REQUIRES: dict[str, tuple[str, ...]] = {"app": ("fast>=1", "util"), "fast": ("util<2", "numpy"), "util": ()}
LICENSES = {"app": "MIT", "fast": "", "util": "MIT"}


def finding(
    code: str, severity: str, message: str, distribution: str = "", where: str = ""
) -> dict[str, Any]:
    """Return a finding of a manifest, which was not allowed."""
    facts = {"code": code, "severity": severity, "message": message}
    return {**facts, "distribution": distribution, "where": where, "allowed": False}


def imported(distribution: str, status: str = "ok", detail: str = "") -> dict[str, Any]:
    """Return the outcome of importing the module of a distribution."""
    nothing: dict[str, Any] = {"declared": None, "missing": None, "tried": [], "wrote": []}
    return {
        **nothing,
        "detail": detail,
        "distribution": distribution,
        "module": distribution,
        "status": status,
    }


def shared(path: str, glibc: str, needed: tuple[str, ...]) -> dict[str, Any]:
    """Return the entry of a shared object, below site-packages."""
    return {
        "libc": "glibc",
        "machine": "x86_64",
        "needed": list(needed),
        "path": f"{SITE}/{path}",
        "rpath": [],
        "soname": "",
        "symbol": "memcpy",
        "versions": {"GLIBC": glibc} if glibc else {},
    }


def scoring(**changes: Any) -> dict[str, Any]:
    """Return the sections of a manifest; see `CONTENTS` for the files."""
    files = {f"{SITE}/{path}": content for part in CONTENTS.values() for path, content in part.items()}
    owners = {f"{SITE}/{path}": name for name, part in CONTENTS.items() for path in part}
    values = manifest_values(files)
    (pkg,) = values["distributions"]
    distributions = [
        {
            **pkg,
            "name": name,
            "requires_dist": list(requires),
            "size": sum(map(len, CONTENTS[name].values())),
            "licence": LICENSES[name],
            "scripts": [],
            "wheel": f"{name}-1.0-py3-none-any.whl",
        }
        for name, requires in REQUIRES.items()
    ]
    outcomes = [imported("app"), imported("fast"), imported("util", "optional", "No module named 'extra'")]
    verification = {
        **VERIFICATION,
        "glibc": "2.17",
        "findings": [
            finding(
                "E404", "warning", "`fast` needs `libgomp.so.1`: not in the bundle", "fast", "fast/core.so"
            ),
            finding("I203", "note", "`app` imports `pytest` (not found)", "app", "app/__init__.py:1"),
            finding("I203", "note", "`util` imports `nose` (not found)", "util", "util.py:3"),
        ],
        "shared_objects": [
            shared("fast/core.cpython-37m-x86_64-linux-gnu.so", "2.14", ("libz-0a1b2c3d.so.1", "libc.so.6")),
            shared("fast/linalg/blas.cpython-37m-x86_64-linux-gnu.so", "2.17", ("libgomp.so.1", "libc.so.6")),
            shared("fast.libs/libz-0a1b2c3d.so.1", "", ()),
        ],
        "ways": {"mount": outcomes, "venv": outcomes},
    }
    return {
        **values,
        "name": "scoring",
        "requirements": ["app==1.0"],
        "base": {"provided": {"numpy": "1.21.6"}},
        "distributions": distributions,
        "files": [{**file, "owner": owners.get(file["path"], "bundler")} for file in values["files"]],
        "verification": verification,
        **changes,
    }


def scoring_manifest(**changes: Any) -> Manifest:
    """Return the manifest of these sections."""
    return make_manifest(scoring(**changes))


def write_scoring(folder: Path, **changes: Any) -> Path:
    """Write a bundle of these sections as an archive, and return its path."""
    manifest = scoring_manifest(**changes)
    files = {f"{SITE}/{path}": content for part in CONTENTS.values() for path, content in part.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{manifest.stem}.tar.gz"
    path.write_bytes(packed(entries_of(manifest, files)))
    return path
