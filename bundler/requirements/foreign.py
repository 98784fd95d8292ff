"""Explain a file that is not a requirements file: an archive, a build script, a file of another tool."""

from __future__ import annotations

import shlex
import tarfile
from contextlib import suppress
from itertools import islice
from pathlib import Path

from pip_requirements_parser import is_archive_file  # type: ignore[import-untyped]

from bundler.archive.content import CONTENT_START, recognized_content
from bundler.data.foreign_files import foreign_file
from bundler.problems import ProblemError
from bundler.requirements.text import explicit_path, project_hint

__all__ = ["BUILD_FILES", "bundle_problem", "foreign_problem"]

BUILD_FILES = ("setup.py", "setup.cfg")
"""The files of a project that a build backend reads."""

_START = 4096
_MAGIC = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
"""How archives begin: zip, gzip, bzip2, xz, Zstandard."""


def foreign_problem(path: Path, shown: str, content: bytes) -> ProblemError | None:
    """Return the problem of a regular file that is not a requirements file, or None.

    :param shown: the path as the user would write it.
    """
    if path.name.startswith("pylock") and path.suffix == ".toml":
        lock = f"pass `--lock {shlex.quote(shown)}`"
        return ProblemError("a lockfile, not a requirements file", hint=lock)
    if path.name in BUILD_FILES:
        folder = explicit_path(str(Path(shown).parent))
        build: str | None = f"pass the directory: `{shlex.quote(folder)}`"
        if not any((path.parent / name).exists() for name in ("setup.py", "pyproject.toml")):
            build = project_hint(path.parent, folder)
        return ProblemError("a file for the build of a project, not a requirements file", hint=build)
    if path.suffix == ".py":
        script = f"pass `-s {shlex.quote(shown)}`"
        return ProblemError("a Python script, not a requirements file", hint=script)
    other = recognized_content(content[:CONTENT_START]) if content or is_archive_file(path.name) else None
    if other is not None and other.hint:
        return ProblemError(f"{other.label}, not a requirements file", hint=other.hint)
    if is_archive_file(path.name) or content.startswith(_MAGIC):
        what = "a wheel" if path.suffix == ".whl" else "an archive"
        hint = (
            f"pass `{shlex.quote(explicit_path(shown))}` without `-r`" if is_archive_file(path.name) else None
        )
        return bundle_problem(path, shown) or ProblemError(f"{what}, not a requirements file", hint=hint)
    kind = foreign_file(path.name, content[:_START].decode("utf-8", "replace"))
    hint = kind.hint(str(Path(shown).parent)) if kind else None
    return ProblemError(f"{kind.what}, not a requirements file", hint=hint) if kind else None


def bundle_problem(path: Path, shown: str) -> ProblemError | None:
    """Return the problem of a bundle that is given as an input, or None for another file."""
    with path.open("rb") as stream:
        is_bundle = stream.read(len(_MAGIC[-1])) == _MAGIC[-1]  # only a bundle is a tar.zst
    if not is_bundle:
        with suppress(tarfile.TarError, OSError, EOFError), tarfile.open(path) as archive:
            is_bundle = any(member.name.endswith("/manifest.json") for member in islice(archive, 2))
    hint = f"bundler inspect {shlex.quote(shown)}"
    return ProblemError("a bundle, not an input of one", hint=hint) if is_bundle else None
