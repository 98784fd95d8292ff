"""Sort the words of a command line: files of requirements, scripts, lockfiles, requirements."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pip_requirements_parser import is_archive_file  # type: ignore[import-untyped]

from bundler.data.popular_names import most_downloaded
from bundler.errors import InputError
from bundler.problems import Problem, ProblemError, input_error, is_url
from bundler.requirements.files import read_requirements
from bundler.requirements.foreign import BUILD_FILES, bundle_problem, foreign_problem
from bundler.requirements.model import MODEL_FILE, model_input
from bundler.requirements.text import directory_problem, first_input, read_bytes, similar_path, url_problem
from bundler.system.environ import HostEnvironment

__all__ = ["Words", "sort_words"]

_FILES = (".txt", ".in", ".yml", ".yaml")
_MAX_LIST = 1 << 20
"""Bytes of a file that could be a list of requirements."""
_DOCUMENTS = (
    *(*_FILES, ".toml", ".py", ".json", ".lock", ".cfg", ".ini", ".ipynb", ".sh", ".csv", ".md", ".rst"),
    *(".pkl", ".html", ".xml", ".log", ".tar"),
)
"""The suffixes of files that are rarely the end of the name of a project."""
_SUFFIX = re.compile(r"\.\w{1,4}$")
_VERSION = re.compile(r"=*\d+(?:\.\d+)*(?:\.\*)?")
_RELEASE = re.compile(r"\d+(?:\.\d+)+(?:\.\*)?")
"""A version that is no name of a project."""
_SPECIFIER = re.compile(r"(?P<operator>[=~!<>]{1,3})?(?P<rest>.*)", re.DOTALL)
_COMMANDS = frozenset({"add", "compile", "download", "install", "sync", "wheel"})
"""Commands of pip and uv, as a habit types them before the requirements."""
_STEMS = ("requirements", "pyproject", "pylock", "environment", "env", "conda")
"""The names of files with requirements that users write without their suffix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """The words of a command line by their kind, each in the given order."""

    requirements: tuple[str, ...]
    files: tuple[Path, ...]
    scripts: tuple[Path, ...]
    locks: tuple[Path, ...]


def sort_words(words: Iterable[str], cwd: Path) -> Words:
    """Return the words by kind: an existing file of a known kind is one, everything else a requirement.

    A word that names an existing path is never the name of a project: it would be built from an index,
    where anyone can register the name. The directory of an MLflow model is its description. A directory
    that pip can build is a requirement if the word cannot be such a name (``.``, ``./six``, ``a/b``); of
    another one, the file with its requirements is read.

    :param cwd: relative paths start here.
    :raises InputError: if a word names a path that is neither a file of a known kind nor a project, or
        ends as the name of a file does, and the file does not exist.
    """
    requirements: list[str] = []
    files: list[Path] = []
    scripts: list[Path] = []
    locks: list[Path] = []
    kinds = {"file": files, "script": scripts, "lock": locks}
    words = list(_joined(words))
    for at, word in enumerate(words):
        path = model_input(Path(word), cwd) if word else Path(word)
        if word and (cwd / path).is_dir() and (os.sep in word or word.startswith(".")):
            path = _file_of(path, cwd) or path
        kind = _kind(path) if (cwd / path).is_file() else None
        if kind is not None:
            kinds[kind].append(path)
            continue
        try:
            _check_command(words, at)
            _check_specifier(words[:at], words[at:])
            _check_word(word, cwd)
        except ProblemError as refused:
            raise input_error([Problem(where=word, refused=refused)]) from None
        requirements.append(word)
    return Words(
        requirements=tuple(requirements), files=tuple(files), scripts=tuple(scripts), locks=tuple(locks)
    )


def _joined(words: Iterable[str]) -> Iterator[str]:
    """Yield the words, with a Python and its version as one, as in ``python 3.8``."""
    waiting = None
    for word in words:
        if waiting and _VERSION.fullmatch(word):
            yield f"{waiting} {word}"
            waiting = None
            continue
        if waiting:
            yield waiting
        waiting = word if word.lower() in ("python", "cpython") else None
        if waiting is None:
            yield word
    if waiting:
        yield waiting


def _check_command(words: Sequence[str], at: int) -> None:
    """Check that the first of several words is not a command of pip, as in ``build install six``.

    :raises ProblemError: if it is; each of these names is also that of a project.
    """
    if at == 0 and len(words) > 1 and words[0] in _COMMANDS:
        hint = f"leave it out; for the project of this name, write `'{words[0]}>=0'`"
        raise ProblemError("a command of pip, not a requirement", hint=hint)


def _check_specifier(before: Sequence[str], words: Sequence[str]) -> None:
    """Check that a word is not the version of the project before it, as in ``six ==1.16`` and ``six 1.16``.

    :raises ProblemError: if both are one requirement.
    """
    match = _SPECIFIER.fullmatch(words[0])
    if not before or match is None or not (match["operator"] or _RELEASE.fullmatch(words[0])):
        return
    after = words[1] if match["operator"] and not match["rest"] and len(words) > 1 else match["rest"]
    operator = match["operator"] or "=="
    meant = f"{before[-1]}{'==' if operator == '=' else operator}{after.lstrip('=')}"
    with suppress(InvalidRequirement):
        if not Requirement(before[-1]).specifier and Requirement(meant).specifier:
            fact = "a version specifier without its project, which is another argument"
            raise ProblemError(fact, hint=f"pass `{shlex.quote(meant)}`")


def _kind(path: Path) -> str | None:
    """Return the kind of a file by its name; None for wheels, sdists and files of unknown kinds."""
    if path.suffix == ".toml" and path.name.startswith("pylock"):
        return "lock"
    if path.suffix in _FILES or path.name in ("pyproject.toml", MODEL_FILE):
        return "file"
    return "script" if path.suffix == ".py" and path.name not in BUILD_FILES else None


def _file_of(folder: Path, cwd: Path) -> Path | None:
    """Return the file with the requirements of a directory; None if pip can build it, or it has none."""
    found = None if _is_project(cwd / folder) else first_input(cwd / folder)
    return folder / found[1] if found else None


def _is_project(folder: Path) -> bool:
    """Return whether pip can build a directory."""
    if (folder / "setup.py").is_file():
        return True
    with suppress(OSError, ValueError):
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
        return "build-system" in project or "project" in project or (folder / "setup.cfg").is_file()
    return False


def _check_word(word: str, cwd: Path) -> None:
    """Check that a word is a requirement, or a path that pip can build.

    :raises ProblemError: if it is another path, or the name of a missing file.
    """
    path = cwd / word
    is_bare = os.sep not in word and not word.startswith(".")
    if not word:
        return
    if path.is_dir():
        if is_bare:
            raise _bare_directory(word, path, cwd)
    elif os.path.lexists(path):
        _check_file(word, path, cwd)
    else:
        _check_missing(word, cwd)


def _check_file(word: str, path: Path, cwd: Path) -> None:
    """Check an existing file of an unknown kind.

    :raises ProblemError: unless it is a wheel or a source distribution.
    """
    content = read_bytes(path, cwd)
    if is_archive_file(path.name):
        if problem := bundle_problem(path, word):
            raise problem
        return
    if problem := foreign_problem(path, word, content):
        raise problem
    try:
        is_list = (
            len(content) < _MAX_LIST
            and read_requirements(HostEnvironment(environ={}, cwd=cwd), files=[Path(word)]).roots
        )
    except InputError:
        is_list = False
    option = f"pass `-r {shlex.quote(word)}`" if is_list else ""
    if not is_list and _SUFFIX.search(word):  # a document or a program, not the name of a project
        found = first_input(cwd)
        hint = f"pass `{found[0]} {found[1]}`" if found else None
    else:
        hint = _or_project(option, word)
    raise ProblemError("an existing file, not a requirement", hint=hint)


def _bare_directory(word: str, path: Path, cwd: Path) -> ProblemError:
    """Return the problem of a directory without a slash, which could also be the name of a project."""
    if _is_project(path):
        meant = f"pass `{shlex.quote(f'./{word}')}`"
    else:
        meant = directory_problem(path, "", cwd).hint or ""
    fact = "an existing directory, not a requirement"
    if not meant:
        fact = "a directory without a project or a file with requirements"
        scripts = sorted(item.name for item in path.glob("*.py"))
        if scripts:
            words = ["--source-dir", word, "--entry-script", scripts[0]]
            return ProblemError(fact, hint=f"your own code is checked with `{shlex.join(words)}`")
    return ProblemError(fact, hint=_or_project(meant, word))


def _or_project(meant: str, word: str) -> str | None:
    """Return a hint for a path, and for the project of the same name, which needs a specifier."""
    with suppress(InvalidRequirement):
        requirement = Requirement(word)
        if requirement.name == word:
            project = f"for the project of this name, write `{shlex.quote(f'{word}>=0')}`"
            return f"{meant}{' ' if meant.endswith('?') else '; '}{project}" if meant else project
    return meant or None


def _check_missing(word: str, cwd: Path) -> None:
    """Check a word that names no path.

    :raises ProblemError: if it is a URL of a file with requirements, or such a file that does not exist.
    """
    path = Path(urlsplit(word).path if is_url(word) else word)
    is_file = path.suffix in _DOCUMENTS
    if is_url(word):
        if is_file and word.startswith("http"):
            raise url_problem(word, cwd)
        return
    if word.partition("-")[0] in _STEMS:
        for suffix in (*_FILES, ".toml"):
            if _kind(Path(word + suffix)) and (cwd / (word + suffix)).is_file():
                hint = _or_project(f"pass `{shlex.quote(word + suffix)}`", word)
                raise ProblemError("file not found", hint=hint)
    if not is_file or canonicalize_name(word) in most_downloaded():  # `ruamel.yaml`, `discord.py`
        return
    with suppress(InvalidRequirement):
        if Requirement(word).url or Requirement(word).specifier:
            return
    near = similar_path(cwd / path)
    meant = f"did you mean `{shlex.quote(str(path.with_name(near.name)))}`?" if near else ""
    is_list = path.suffix in (*_FILES, ".toml")  # never meant as a project
    raise ProblemError("file not found", hint=meant or None if is_list else _or_project(meant, word))
