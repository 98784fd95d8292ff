"""Pure: combine layers into a bundle, and define the order of an archive.

A bundle is an ordered concatenation of layers plus its manifest. Two layers may
contain the same path only with equal content, which is then stored once.

Format: docs/format.md, "Bundle" and "Archive".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from bundler.archive.tree import TreeFile
from bundler.bundle.layer import Layer, same_code
from bundler.digest import Sha256
from bundler.errors import MalformedError, UsageError
from bundler.paths import ArchivePath, archive_path, printable
from bundler.text import first_lines

__all__ = ["HEAD", "ArchiveMember", "BundlePlan", "archive_order", "check_name", "folders_of", "plan_bundle"]

HEAD = ("manifest.json", "pylock.toml")
"""The files of a bundle that belong to no layer; they come first in an archive."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", re.ASCII)
_SHOWN_CONFLICTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveMember:
    """One entry of an archive, in its order."""

    path: ArchivePath
    """Relative to the root of the bundle; the root itself is the empty path."""
    is_dir: bool
    size: int
    mode: int
    sha256: Sha256 | None
    """None for a directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BundlePlan:
    """The layers of a bundle, and the paths that they share."""

    layers: tuple[Layer, ...]
    """Sorted by the name of their distribution."""
    shared: Mapping[ArchivePath, tuple[str, ...]]
    """The paths that more than one layer holds, with the same content, and their distributions in order."""

    def kept(self, layer: Layer) -> tuple[TreeFile, ...]:
        """Return the files of ``layer`` that ship from it: a shared one ships from its first owner."""
        return tuple(
            file
            for file in layer.files
            if file.path not in self.shared or self.shared[file.path][0] == layer.name
        )

    def files(self) -> Iterator[tuple[Layer, TreeFile]]:
        """Yield every file once with the layer it ships from, in the order of an archive."""
        for layer in self.layers:
            for file in self.kept(layer):
                yield layer, file


def check_name(text: str, what: str) -> str:
    """Return a bundle's name or version, after checking that it is valid in a file name.

    :raises UsageError: if not.
    """
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"`{printable(text)}` is not a valid {what} of a bundle",
            evidence=(
                "wanted  letters, digits, `.`, `_` and `-`, at most 100, a letter or digit at both ends",
            ),
        )
    return text


def plan_bundle(layers: Iterable[Layer]) -> BundlePlan:
    """Combine layers.

    :raises MalformedError: if two layers have different content for one path; lists both and the paths.
    """
    ordered = tuple(sorted(layers, key=lambda layer: layer.name))
    owners: dict[ArchivePath, list[Layer]] = {}
    files: dict[ArchivePath, TreeFile] = {}
    conflicts: list[str] = []
    for layer in ordered:
        for file in layer.files:
            first = files.setdefault(file.path, file)
            same = (first.sha256, first.mode) == (file.sha256, file.mode)
            if not same and not same_code(file.path, owners[file.path][0], layer):
                conflicts.append(
                    f"{printable(file.path)}: {owners[file.path][0].name} has {first.sha256[:12]}, "
                    f"{layer.name} has {file.sha256[:12]}"
                )
            owners.setdefault(file.path, []).append(layer)
    for folder in folders_of(files):
        if folder in files:
            inside = next(path for path in files if path.startswith(f"{folder}/"))
            above, below = owners[folder][0], owners[inside][0]
            conflicts.append(f"{printable(folder)}: a file of {above.name}, a directory of {below.name}")
    if conflicts:
        raise MalformedError(
            "two distributions want the same path for different files",
            evidence=first_lines(sorted(conflicts, key=_of_source), _SHOWN_CONFLICTS),
            hint="require only one of the two",
        )
    shared = {
        path: tuple(layer.name for layer in holders) for path, holders in owners.items() if len(holders) > 1
    }
    return BundlePlan(layers=ordered, shared=shared)


def _of_source(conflict: str) -> tuple[bool, str]:
    """Return a sort key: bytecode after the source it was compiled from."""
    return "__pycache__" in conflict, conflict


def folders_of(paths: Iterable[str]) -> list[ArchivePath]:
    """Return every directory above ``paths``, sorted bytewise, so that a parent precedes its content."""
    folders: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return [archive_path(folder) for folder in sorted(folders, key=str.encode)]


def archive_order(head: Sequence[ArchiveMember], files: Sequence[ArchiveMember]) -> Iterator[ArchiveMember]:
    """Yield all members of an archive: the root, the head, the other directories, the files.

    A reader knows the root's name from the first header and everything else
    from the manifest, which is the first file.
    """
    yield ArchiveMember(path=ArchivePath(""), is_dir=True, size=0, mode=0o755, sha256=None)
    yield from head
    for folder in folders_of(member.path for member in chain(head, files)):
        yield ArchiveMember(path=folder, is_dir=True, size=0, mode=0o755, sha256=None)
    yield from files
