"""Pure: combine layers into a bundle, and define the order of an archive.

A bundle is an ordered concatenation of layers plus its manifest. A path that several layers
contain is stored once; if their contents differ, the checks decide whether that is an error.

Format: docs/format.md, "Bundle" and "Archive".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    """The paths that more than one layer has, and their distributions; the file of the first one ships."""
    collisions: frozenset[ArchivePath] = field(default_factory=frozenset)
    """The paths of `shared` whose contents differ."""

    def shipped(self, layer: Layer) -> Layer:
        """Return ``layer`` without the files that another layer has with other content and that ship from it.

        Its digest is another one then: results for the whole layer in the store do not describe this bundle.
        """
        lost = {path for path in self.collisions if self.shared[path][0] != layer.name}
        if lost.isdisjoint(file.path for file in layer.files):
            return layer
        return replace(layer, files=tuple(file for file in layer.files if file.path not in lost))

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


def plan_bundle(layers: Iterable[Layer], requested: Collection[str] = ()) -> BundlePlan:
    """Combine layers.

    A file that several layers have with different content ships from a requested distribution if one has
    it, and from the first one by name otherwise. Bytecode ships with the source it was compiled from.

    :param requested: the names of the distributions that the requirements name.
    :raises MalformedError: if a layer has a file where another one has a directory; lists both.
    """
    ordered = tuple(sorted(layers, key=lambda layer: layer.name))
    owners: dict[ArchivePath, list[tuple[Layer, TreeFile]]] = {}
    for layer in ordered:
        for file in layer.files:
            owners.setdefault(file.path, []).append((layer, file))
    _check_directories(owners)
    several = {path: holders for path, holders in owners.items() if len(holders) > 1}
    shared = {path: tuple(layer.name for layer, _ in holders) for path, holders in several.items()}
    collisions = {path for path, holders in several.items() if _differ(path, holders)}
    winners = {path: min(shared[path], key=lambda name: (name not in requested, name)) for path in collisions}
    if collisions:
        for path, holders in owners.items():
            source = _source_of(path)
            if source in collisions:
                # The winner may lack the bytecode, if its source is not valid: then none ships.
                winners[path] = winners[source]
                shared[path] = tuple(layer.name for layer, _ in holders)
    shared |= {
        path: (winner, *(name for name in shared[path] if name != winner)) for path, winner in winners.items()
    }
    return BundlePlan(layers=ordered, shared=shared, collisions=frozenset(winners))


def _differ(path: ArchivePath, holders: Sequence[tuple[Layer, TreeFile]]) -> bool:
    """Return whether the contents of a path differ; the modes may."""
    (first, first_file), *others = holders
    return any(
        file.sha256 != first_file.sha256 and not same_code(path, first, layer) for layer, file in others
    )


def _source_of(path: ArchivePath) -> ArchivePath | None:
    """Return the path of the module that bytecode was compiled from; None for another file."""
    folder, _, name = path.rpartition("/")
    if not folder.endswith("/__pycache__") or not name.endswith(".pyc"):
        return None
    return archive_path(f"{folder.removesuffix('__pycache__')}{name.rsplit('.', 2)[0]}.py")


def _check_directories(owners: Mapping[ArchivePath, Sequence[tuple[Layer, TreeFile]]]) -> None:
    """Check that no path is a file in one layer and a directory in another."""
    conflicts = []
    for folder in folders_of(owners):
        if folder in owners:
            inside = next(path for path in owners if path.startswith(f"{folder}/"))
            above, below = (owners[path][0][0].name for path in (folder, inside))
            conflicts.append(f"{printable(folder)}: a file of {above}, a directory of {below}")
    if conflicts:
        raise MalformedError(
            "a distribution has a file where another one has a directory",
            evidence=first_lines(conflicts, _SHOWN_CONFLICTS),
            hint="require only one of the two",
        )


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
