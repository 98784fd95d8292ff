"""Stage 7: views of the files of an image, without the image.

A `Files` covers the part of the image's tree below one directory. The files of the base image
are unknown; `Files.covers` is False for their paths.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from bundler.data.azure_image import IMAGE_ROOT
from bundler.errors import InputError
from bundler.oci.filetree import APP_FOLDER, APP_ROOT, App, AppFile
from bundler.paths import printable

__all__ = ["AppFiles", "Files", "FolderFiles", "dockerfile_env", "locate", "open_context"]

_NAME = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
# A part of a word: in single quotes, in double quotes, or without; a word has no space outside of quotes.
_PART = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|(?:[^\s"'\\]|\\.)+""")
_ESCAPED = re.compile(r"(\\.)")
_ESCAPED_IN_QUOTES = re.compile(r'(\\["$\\])')
_WORD = re.compile(rf"(?:{_PART.pattern})+")


class Files(Protocol):
    """A part of an image's tree; paths are absolute, ``/`` between components, without ``..``."""

    def covers(self, path: str) -> bool:
        """Return whether the files at a path are known; for other paths the methods find nothing."""

    def is_file(self, path: str) -> bool:
        """Return whether the path is a known file."""

    def is_dir(self, path: str) -> bool:
        """Return whether the path is a known directory."""

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted; empty if it is not a known directory."""

    def read(self, path: str) -> bytes:
        """Return the content of a known file."""


class FolderFiles:
    """A directory of this machine, mapped to a path in the image.

    Symbolic links that lead out of the directory are not followed: in the image their target differs.

    :param at: the absolute path of the directory in the image.
    """

    def __init__(self, folder: Path, *, at: str = IMAGE_ROOT) -> None:
        self._folder = folder.resolve()
        self._at = posixpath.normpath(at)

    def covers(self, path: str) -> bool:
        """Return whether a path is the directory or below it."""
        return path == self._at or path.startswith(f"{self._at}/")

    def is_file(self, path: str) -> bool:
        """Return whether the path is a known file."""
        local = self._local(path)
        return local is not None and local.is_file()

    def is_dir(self, path: str) -> bool:
        """Return whether the path is a known directory."""
        local = self._local(path)
        return local is not None and local.is_dir()

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted; empty if it is not a known directory."""
        local = self._local(path)
        if local is None or not local.is_dir():
            return ()
        return tuple(sorted(entry.name for entry in local.iterdir()))

    def read(self, path: str) -> bytes:
        """Return the content of a known file.

        :raises InputError: if the path is not covered, or its link leads out of the directory.
        """
        local = self._local(path)
        if local is None:
            raise InputError(f"file not found: `{printable(path)}`")
        return local.read_bytes()

    def _local(self, path: str) -> Path | None:
        """Return the path on this machine; None if it is outside of the directory."""
        if not self.covers(path) or "\0" in path:
            return None
        local = (self._folder / path[len(self._at) :].lstrip("/")).resolve()
        return local if local.is_relative_to(self._folder) else None


class AppFiles:
    """The files of an application that is not written yet."""

    def __init__(self, app: App, *, at: str = f"/{APP_ROOT}") -> None:
        self._at = at
        self._files: dict[str, AppFile] = {}
        self._folders: dict[str, set[str]] = {at: set()}
        for layer in app.layers:
            for file in layer.files:
                path = f"{at}/{file.path}"
                self._files[path] = file
                while path != at:
                    path, _, name = path.rpartition("/")
                    self._folders.setdefault(path, set()).add(name)

    def covers(self, path: str) -> bool:
        """Return whether a path is the application root or below it."""
        return path == self._at or path.startswith(f"{self._at}/")

    def is_file(self, path: str) -> bool:
        """Return whether the path is a file of the application."""
        return path in self._files

    def is_dir(self, path: str) -> bool:
        """Return whether the path is a directory of the application."""
        return path in self._folders

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted; empty if there is no such directory."""
        return tuple(sorted(self._folders.get(path, ())))

    def read(self, path: str) -> bytes:
        """Return the content of a file of the application."""
        return b"".join(self._files[path].chunks())


def locate(files: Files, path: str) -> str | None:
    """Return a path without ``..``; None if it goes up from a directory that does not exist.

    This follows the kernel's path resolution, not `posixpath.normpath`: ``code/../lib`` does not
    exist if ``code`` does not (path_resolution(7)).
    """
    current = "/"
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if files.covers(current) and not files.is_dir(current):
                return None
            current = posixpath.dirname(current)
        else:
            current = posixpath.join(current, part)
    return current


def open_context(
    folder: Path, overrides: Mapping[str, str] = MappingProxyType({})
) -> tuple[Mapping[str, str], FolderFiles]:
    """Return the variables of a build context's Dockerfile and the files of its ``azureml-app``.

    :param overrides: variables that replace those of the Dockerfile, as with ``docker run -e``.
    :raises InputError: if the Dockerfile or ``azureml-app`` is missing, or an ENV is malformed.
    """
    dockerfile, tree = folder / "Dockerfile", folder / APP_FOLDER
    if not dockerfile.is_file() or not tree.is_dir():
        raise InputError(
            f"`{printable(str(folder))}` is not a build context",
            evidence=(f"wanted  a `Dockerfile` and a directory `{APP_FOLDER}`",),
            hint="bundler package --help",
        )
    env = {**dockerfile_env(dockerfile.read_text("utf-8", "replace")), **overrides}
    return env, FolderFiles(tree, at=env.get("AML_APP_ROOT") or IMAGE_ROOT)


def dockerfile_env(text: str) -> dict[str, str]:
    r"""Return the variables that the last stage of a Dockerfile sets, in order.

    ``$NAME`` is replaced if an earlier ENV sets it; other references are to variables of the base
    image and stay unchanged.

    :raises InputError: if an ENV is malformed.

    >>> dockerfile_env('FROM x\nENV A=1 B="two words"\nENV C=$A/x')
    {'A': '1', 'B': 'two words', 'C': '1/x'}
    """
    env: dict[str, str] = {}
    for line in _instructions(text):
        word, _, rest = line.partition(" ")
        if word.upper() == "FROM":
            env = {}
        elif word.upper() == "ENV":
            env |= dict(_pairs(rest.strip(), env))
    return env


def _expanded(value: str, env: Mapping[str, str]) -> str:
    return _NAME.sub(lambda match: env.get(match[1] or match[2], match[0]), value)


def _instructions(text: str) -> Iterator[str]:
    """Yield each instruction as one line, without comments.

    A comment or an empty line does not end a continued instruction (Dockerfile reference, "Format").
    """
    waiting = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#") or (waiting and not line.strip()):
            continue
        waiting += line.strip() if not waiting else f" {line.strip()}"
        if waiting.endswith("\\"):
            waiting = waiting[:-1].rstrip()
            continue
        if waiting:
            yield waiting
        waiting = ""
    if waiting:
        yield waiting


def _pairs(rest: str, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names and values of one ENV.

    :param env: the variables before the instruction; all its references use them.
    """
    first, _, value = rest.partition(" ")
    if "=" not in first:  # the legacy form `ENV NAME VALUE`: the rest of the line is the value
        yield first, _expanded(value.strip(), env)
        return
    for word in _words(rest, env):
        name, _, value = word.partition("=")
        yield name, value


def _words(text: str, env: Mapping[str, str]) -> Iterator[str]:
    r"""Yield the words of an ENV without quotes, references to variables replaced.

    `shlex` has other rules: it keeps the backslash of ``"\$"``. In double quotes a backslash
    escapes only ``"``, ``$`` and itself; in single quotes nothing is special.

    Source: BuildKit, ``shell/lex.go``.
    """
    for word in _WORD.finditer(text):
        yield "".join(_unquoted(part[0], env) for part in _PART.finditer(word[0]))
    rest = _WORD.sub("", text).strip()
    if rest:
        raise InputError(f"malformed `ENV {printable(text)}` in the Dockerfile: unbalanced quotes")


def _unquoted(part: str, env: Mapping[str, str]) -> str:
    if part.startswith("'"):
        return part[1:-1]
    quoted = part.startswith('"')
    pieces = _ESCAPED_IN_QUOTES.split(part[1:-1]) if quoted else _ESCAPED.split(part)
    # The separators, at odd indexes, are the escaped characters.
    return "".join(piece[1] if index % 2 else _expanded(piece, env) for index, piece in enumerate(pieces))
