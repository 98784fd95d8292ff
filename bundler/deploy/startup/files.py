"""Stage 7: what is known of the files of an image, without the image.

A `Files` answers for a part of the image's tree, below one folder. It knows
nothing of what the base brings, and says so (`Files.covers`).
"""

from __future__ import annotations

import posixpath
import re
import shlex
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


class Files(Protocol):
    """A part of an image's tree; paths are absolute, ``/`` between components, without ``..``."""

    def covers(self, path: str) -> bool:
        """Return whether what is at a path is known; elsewhere nothing is said to be there."""

    def is_file(self, path: str) -> bool:
        """Return whether there is a file."""

    def is_dir(self, path: str) -> bool:
        """Return whether there is a folder."""

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a folder, sorted; none if there is no such folder."""

    def read(self, path: str) -> bytes:
        """Return the content of a file that is there."""


class FolderFiles:
    """A folder of this machine, mapped to a path in the image.

    Links that lead out of the folder are not followed: in the image they lead elsewhere.

    :param at: the absolute path it has in the image.
    """

    def __init__(self, folder: Path, *, at: str = IMAGE_ROOT) -> None:
        self._folder = folder.resolve()
        self._at = posixpath.normpath(at)

    def covers(self, path: str) -> bool:
        """Return whether a path is the folder's, or below it."""
        return path == self._at or path.startswith(f"{self._at}/")

    def is_file(self, path: str) -> bool:
        """Return whether there is a file."""
        found = self._find(path)
        return found is not None and found.is_file()

    def is_dir(self, path: str) -> bool:
        """Return whether there is a folder."""
        found = self._find(path)
        return found is not None and found.is_dir()

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a folder, sorted; none if there is no such folder."""
        found = self._find(path)
        if found is None or not found.is_dir():
            return ()
        return tuple(sorted(one.name for one in found.iterdir()))

    def read(self, path: str) -> bytes:
        """Return the content of a file that is there."""
        found = self._find(path)
        if found is None:
            raise InputError(f"`{printable(path)}` is not there")
        return found.read_bytes()

    def _find(self, path: str) -> Path | None:
        if not self.covers(path) or "\0" in path:
            return None
        found = (self._folder / path[len(self._at) :].lstrip("/")).resolve()
        return found if found.is_relative_to(self._folder) else None


class AppFiles:
    """An application before it is written."""

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
        """Return whether a path is the application's."""
        return path == self._at or path.startswith(f"{self._at}/")

    def is_file(self, path: str) -> bool:
        """Return whether there is a file."""
        return path in self._files

    def is_dir(self, path: str) -> bool:
        """Return whether there is a folder."""
        return path in self._folders

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a folder, sorted; none if there is no such folder."""
        return tuple(sorted(self._folders.get(path, ())))

    def read(self, path: str) -> bytes:
        """Return the content of a file that is there."""
        return b"".join(self._files[path].chunks())


def locate(files: Files, path: str) -> str | None:
    """Return a path without ``..``, or None where the system would refuse it.

    As the system does, and a comparison of texts does not: ``code/../lib`` leads
    nowhere if there is no ``code``.
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
    folder: Path, given: Mapping[str, str] = MappingProxyType({})
) -> tuple[Mapping[str, str], FolderFiles]:
    """Return the variables and the files of a build context: its Dockerfile, and ``azureml-app``.

    :param given: variables that replace those of the Dockerfile, as for ``docker run -e``.
    :raises InputError: if it has none of them.
    """
    dockerfile, tree = folder / "Dockerfile", folder / APP_FOLDER
    if not dockerfile.is_file() or not tree.is_dir():
        raise InputError(
            f"`{printable(str(folder))}` is no build context",
            evidence=("wanted  a `Dockerfile` and a folder `azureml-app`",),
            hint="bundler simulate --app-root FOLDER -e AZUREML_ENTRY_SCRIPT=score.py",
        )
    env = {**dockerfile_env(dockerfile.read_text("utf-8", "replace")), **given}
    return env, FolderFiles(tree, at=env.get("AML_APP_ROOT") or IMAGE_ROOT)


def dockerfile_env(text: str) -> dict[str, str]:
    r"""Return the variables that the last stage of a Dockerfile sets, in order.

    ``$NAME`` of a variable that was set before is replaced; others are the base's, and stay.

    :raises InputError: if an ENV cannot be read.

    >>> dockerfile_env('FROM x\nENV A=1 B="two words"\nENV C=$A/x')
    {'A': '1', 'B': 'two words', 'C': '1/x'}
    """
    env: dict[str, str] = {}
    for line in _instructions(text):
        word, _, rest = line.partition(" ")
        if word.upper() == "FROM":
            env = {}
        elif word.upper() == "ENV":
            for name, value in _pairs(rest.strip()):
                env[name] = _replaced(value, env)
    return env


def _replaced(value: str, env: Mapping[str, str]) -> str:
    return _NAME.sub(lambda match: env.get(match[1] or match[2], match[0]), value)


def _instructions(text: str) -> Iterator[str]:
    """Yield each instruction as one line, without comments."""
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


def _pairs(rest: str) -> Iterator[tuple[str, str]]:
    first, _, value = rest.partition(" ")
    if "=" not in first:  # the old form: one variable, the rest of the line is its value
        yield first, value.strip()
        return
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise InputError(f"the Dockerfile's `ENV {printable(rest)}` cannot be read: {error}") from error
    for word in words:
        name, _, value = word.partition("=")
        yield name, value
