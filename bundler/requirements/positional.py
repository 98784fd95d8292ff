"""Sort the words of a command line: files of requirements, scripts, lockfiles, requirements."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from bundler.errors import InputError
from bundler.problems import closest
from bundler.requirements.text import INPUTS

__all__ = ["Words", "sort_words"]

_FILES = (".txt", ".in", ".yml", ".yaml")
_BUILDS = ("setup.py", "setup.cfg")


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """The words of a command line by their kind, each in the given order."""

    requirements: tuple[str, ...]
    files: tuple[Path, ...]
    scripts: tuple[Path, ...]
    locks: tuple[Path, ...]


def sort_words(words: Iterable[str], cwd: Path) -> Words:
    """Return the words by kind: an existing file of a known kind is one, everything else a requirement.

    A directory counts only if the word cannot be the name of a project, as in pip: ``.``, ``./six``, ``a/b``.
    A directory that pip can build is a requirement; of another one, the file with its requirements is read.

    :param cwd: relative paths start here.
    :raises InputError: if a word ends as the name of a file does, and the file does not exist.
    """
    requirements: list[str] = []
    files: list[Path] = []
    scripts: list[Path] = []
    locks: list[Path] = []
    kinds = {"file": files, "script": scripts, "lock": locks}
    for word in words:
        path = Path(word)
        if (cwd / path).is_dir() and (os.sep in word or word.startswith(".")):
            path = _file_of(path, cwd) or path
        kind = _kind(path) if (cwd / path).is_file() else None
        if kind is not None:
            kinds[kind].append(path)
        else:
            _check_exists(word, cwd)
            requirements.append(word)
    return Words(
        requirements=tuple(requirements), files=tuple(files), scripts=tuple(scripts), locks=tuple(locks)
    )


def _kind(path: Path) -> str | None:
    """Return the kind of a file by its name; None for wheels, sdists and files of unknown kinds."""
    if path.suffix == ".toml" and path.name.startswith("pylock"):
        return "lock"
    if path.suffix in _FILES or path.name in ("pyproject.toml", "MLmodel"):
        return "file"
    return "script" if path.suffix == ".py" and path.name not in _BUILDS else None


def _file_of(folder: Path, cwd: Path) -> Path | None:
    """Return the file with the requirements of a directory; None if pip can build it, or it has none."""
    if any((cwd / folder / name).is_file() for name in _BUILDS):
        return None
    with suppress(OSError, ValueError):
        project = tomllib.loads((cwd / folder / "pyproject.toml").read_text("utf-8"))
        if "build-system" in project or "project" in project:
            return None
    return next((folder / name for name, _ in INPUTS if (cwd / folder / name).is_file()), None)


def _check_exists(word: str, cwd: Path) -> None:
    path = Path(word)
    is_file = path.suffix in (*_FILES, ".toml") or (path.suffix == ".py" and os.sep in word)
    if not is_file or (cwd / path).exists():
        return
    with suppress(InvalidRequirement):
        if Requirement(word).url or Requirement(word).specifier:
            return
    folder = cwd / path.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    near = closest(path.name, names)
    raise InputError(
        f"{word}: file not found", hint=f"did you mean `{path.with_name(near)}`?" if near else None
    )
