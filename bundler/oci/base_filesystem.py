"""Effect: read the state of selected paths in an image, before layers are put on top.

All layers are read once, which also verifies them. Only the entries of the
selected paths are retained, so memory does not grow with the image.

Specs: OCI image layer filesystem changeset (whiteouts, opaque whiteouts).
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bundler.errors import InputError
from bundler.oci.layer import LayerEntry, StoredLayer
from bundler.oci.overlay import Whiteouts, entry_path
from bundler.oci.reader import ImageArchive
from bundler.paths import printable
from bundler.text import listing

__all__ = ["BaseFilesystem", "Node", "read_base_filesystem"]

_USERS = "etc/passwd"
_GROUPS = "etc/group"
_TABLES = (_USERS, _GROUPS)
_MAX_ID = 2**32 - 2
_SHOWN = 12
"""Number of users that a message lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """The entry at one path of a filesystem."""

    is_folder: bool
    mode: int
    uid: int
    gid: int
    target: str | None = None
    """The target of a symbolic link."""
    content: bytes | None = None
    """The content of a selected file."""

    @property
    def kind(self) -> str:
        """The kind of entry, for messages."""
        if self.is_folder:
            return "a directory"
        return "a file" if self.target is None else f"a symbolic link to `{printable(self.target)}`"


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseFilesystem:
    """An image that another one is put on."""

    nodes: Mapping[str, Node]
    """The entries at the selected paths, which are relative to the root; a missing path has none."""
    stored: tuple[StoredLayer, ...]
    """How each layer is stored, the lowest first."""

    def check_user(self, user: str) -> None:
        """Check that a user exists in this image.

        :param user: "name", "name:group", or numeric IDs, which every image accepts.
        :raises InputError: if the user or the group does not exist; lists the existing ones.
        """
        name, colon, group = user.partition(":")
        self._check_name(_USERS, "user", name)
        if colon:
            self._check_name(_GROUPS, "group", group)

    def _check_name(self, table: str, kind: str, name: str) -> None:
        if name.isascii() and name.isdecimal() and int(name) <= _MAX_ID:
            return
        node = self.nodes.get(table)
        content = b"" if node is None or node.content is None else node.content
        known = [line.partition(":")[0] for line in content.decode("utf-8", "replace").splitlines()]
        known = [entry for entry in known if entry and not entry.startswith("#")]
        if name not in known:
            names = listing(map(printable, known), _SHOWN)
            raise InputError(
                f"the base has no {kind} `{printable(name)}`",
                evidence=(
                    f"wanted  `{printable(name)}` in the base's /{table}",
                    f"found   {names}" if known else f"found   no names in /{table}",
                ),
                hint=f"pass an existing one, or an ID: `{'1000' if kind == 'user' else '1000:0'}`",
            )


def read_base_filesystem(image: ImageArchive, paths: Collection[str]) -> BaseFilesystem:
    """Read the entries of an image at some paths, and verify all of its layers.

    :param paths: relative to the root; a path's ancestors count only if they are named too.
    :raises IntegrityError: if a layer does not match its digest.
    :raises MalformedError: if a layer is not a tar, or has a path outside of the root.
    """
    wanted = frozenset(paths) | frozenset(_TABLES)
    nodes: dict[str, Node] = {}
    stored = []
    for layer in image.layers():
        upper = _UpperNodes(wanted)
        stored.append(layer.verify(upper.add, lambda entry: entry_path(entry.name) in _TABLES))
        upper.apply(nodes)
    return BaseFilesystem(nodes=nodes, stored=tuple(stored))


class _UpperNodes:
    """The wanted nodes of one layer, applied over the layers below once all of it is verified."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self._wanted = wanted
        self._nodes: dict[str, Node] = {}
        self._whiteouts = Whiteouts()

    def add(self, member: LayerEntry) -> None:
        """Take one entry."""
        header, content = member
        path = entry_path(header.name)
        if not self._whiteouts.add(path) and path in self._wanted:
            self._nodes[path] = _node(header, content)

    def apply(self, lower: dict[str, Node]) -> None:
        """Remove the hidden nodes from ``lower``, then add those of this layer."""
        for path, node in self._nodes.items():
            # A directory over a directory changes its mode and owner; anything else replaces the tree.
            if not node.is_folder:
                self._whiteouts.replace(path)
        for path in [
            path for path, node in lower.items() if self._whiteouts.hides(path, is_directory=node.is_folder)
        ]:
            del lower[path]
        lower.update(self._nodes)


def _node(header: tarfile.TarInfo, content: bytes | None) -> Node:
    return Node(
        is_folder=header.isdir(),
        mode=header.mode & 0o7777,
        uid=header.uid,
        gid=header.gid,
        target=header.linkname if header.issym() else None,
        content=content,
    )
