"""Check a local path in the place of a requirement: a wheel, an sdist or the directory of a project."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from pip_requirements_parser import is_archive_file  # type: ignore[import-untyped]

from bundler.archive.content import CONTENT_START, recognized_content
from bundler.problems import ProblemError, display_path
from bundler.requirements.foreign import foreign_problem
from bundler.requirements.text import directory_problem, similar_path

__all__ = ["MISSING", "local_distribution"]

MISSING = "file or directory not found"


def local_distribution(path: Path, cwd: Path) -> tuple[Literal["archive", "directory"], str]:
    """Return the kind of a local path that pip can build or install, and the path.

    :param path: absolute.
    :param cwd: the working directory, for hints.
    :raises ProblemError: if it is missing, or neither a wheel, an sdist nor a project.
    """
    if path.is_dir():
        if any((path / name).is_file() for name in ("pyproject.toml", "setup.py")):
            return "directory", str(path)
        raise directory_problem(path, "the directory contains neither `pyproject.toml` nor `setup.py`", cwd)
    if not path.exists():
        near = similar_path(path)
        hint = f"did you mean `{_spelled(near, cwd)}`?" if near else None
        if " / " in str(path):  # `six // the text`
            hint = "a comment starts with ` #`"
        raise ProblemError(MISSING, details=(f"at      `{path}`",), hint=hint)
    if not (path.is_file() and is_archive_file(path.name)):
        is_text = path.is_file() and foreign_problem(path, path.name, path.read_bytes()) is None
        hint = f"pass `-r {shlex.quote(display_path(path, cwd))}`" if is_text else None
        raise ProblemError("the file is neither a wheel nor an sdist", hint=hint)
    with path.open("rb") as stream:
        content = recognized_content(stream.read(CONTENT_START))
    if content is not None and not content.suffix:
        raise ProblemError(f"the file is neither a wheel nor an sdist: {content.label}", hint=content.hint)
    return "archive", str(path)


def _spelled(path: Path, cwd: Path) -> str:
    """Return a path that cannot be read as the name of a project."""
    shown = display_path(path, cwd)
    return shown if "/" in shown else f"./{shown}"
