"""Pure: the layers that an application adds to an image, and every byte of them.

Entries are sorted, with owner 0 and a fixed time. The header of a directory that
the base has repeats the base's mode and owner: an upper layer overrides both, and
Docker and podman create a missing directory as root's, 0755.

Specs: OCI image layer filesystem changeset; docs/format.md, "Archive".
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bundler.archive.tar import END, file_header, padding
from bundler.digest import sha256_of
from bundler.errors import InputError, MalformedError
from bundler.oci.base_filesystem import BaseFilesystem, Node
from bundler.oci.filetree import APP_ROOT, App, AppFile, AppLayer, group_mode
from bundler.oci.overlay import WHITEOUT, ancestors
from bundler.paths import printable

__all__ = ["MAX_LAYERS", "LayerPlan", "fit_layers", "layer_chunks", "plan_layers", "root_paths"]

MAX_LAYERS = 124
"""Layers of an image with its base: Docker's classic store takes 125, containerd 127."""

_SHARED = 8
"""Maximum number of layers shared by distributions without a layer of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPlan:
    """One new layer."""

    comment: str
    files: tuple[AppFile, ...]
    folders: Mapping[str, Node]
    """Every ancestor of the files, relative to the root of the image."""
    epoch: int
    group_writable: bool


def root_paths(app: App) -> set[str]:
    """Return every path of an application in an image, with all ancestors, relative to its root."""
    paths: set[str] = set()
    for path in (f"{APP_ROOT}/{file.path}" for layer in app.layers for file in layer.files):
        paths.add(path)
        paths |= set(ancestors(path))
    return paths - {""}


def plan_layers(app: App, base: BaseFilesystem) -> tuple[LayerPlan, ...]:
    """Plan the new layers of an image, with the headers of directories that the base has.

    :raises MalformedError: if a path conflicts with a file or link of the base.
    :raises InputError: if the base has too many layers to take another.
    """
    folders = _check_paths(app, base)
    layers = [layer for layer in app.layers if layer.files]
    return tuple(
        LayerPlan(
            comment=layer.comment,
            files=layer.files,
            folders={
                folder: folders[folder]
                for file in layer.files
                for folder in ancestors(f"{APP_ROOT}/{file.path}")
                if folder
            },
            epoch=app.epoch,
            group_writable=app.group_writable,
        )
        for layer in fit_layers(layers, MAX_LAYERS - len(base.stored))
    )


def fit_layers(layers: Sequence[AppLayer], room: int) -> list[AppLayer]:
    """Merge layers until there are at most ``room``.

    The last one, the code, stays alone. Of the rest the largest (ties: by name)
    keep a layer of their own; the small ones share up to eight, before the code.
    The hash of the name without the version selects the shared layer, so
    a new version of a small distribution changes one layer, whatever its size.
    Only where two change ranks at the border between large and small, up to four
    layers change.

    :raises InputError: if ``room`` is less than 1.
    """
    if len(layers) <= room:
        return list(layers)
    if room < 1:
        raise InputError(
            "the base has so many layers that no other fits",
            evidence=(f"wanted  fewer than {MAX_LAYERS} layers", f"found   {MAX_LAYERS - room}"),
            hint="flatten the base: `docker export` of a container, then `docker import`",
        )
    if room == 1:
        return [_merged(layers)]
    *rest, last = layers
    shared = max(1, min(_SHARED, (room - 1) // 8))
    ranked = sorted(range(len(rest)), key=lambda at: (-_size(rest[at]), rest[at].comment))
    small = ranked[room - 1 - shared :]
    groups: list[list[AppLayer]] = [[] for _ in range(shared)]
    for layer in sorted((rest[at] for at in small), key=lambda one: one.comment):
        groups[int(sha256_of(_name(layer).encode())[:8], 16) % shared].append(layer)
    alone = [rest[at] for at in sorted(set(range(len(rest))) - set(small))]
    return [*alone, *(_merged(group) for group in groups if group), last]


def layer_chunks(plan: LayerPlan) -> Iterator[bytes]:
    """Yield the tar of a layer; the same plan gives the same bytes.

    :raises IntegrityError: if a file changed since it was planned.
    """
    files = {f"{APP_ROOT}/{file.path}": file for file in plan.files}
    for path in sorted({*files, *plan.folders}, key=str.encode):
        file = files.get(path)
        if file is None:
            yield _folder_header(path, plan.folders[path], plan.epoch)
            continue
        mode = group_mode(file.mode) if plan.group_writable else file.mode
        yield file_header(path, size=file.size, mode=mode, epoch=plan.epoch)
        yield from file.verified()
        yield padding(file.size)
    yield END


def _folder_header(path: str, node: Node, epoch: int) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.type = tarfile.DIRTYPE
    entry.mode = node.mode
    entry.uid = node.uid
    entry.gid = node.gid
    entry.mtime = epoch
    try:
        return entry.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError:  # a long name, or an owner beyond 2097151
        return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _check_paths(app: App, base: BaseFilesystem) -> dict[str, Node]:
    """Return each directory that is needed, as the base has it or as we make it."""
    ours = Node(is_folder=True, mode=0o775 if app.group_writable else 0o755, uid=0, gid=0)
    folders: dict[str, Node] = {}
    files: set[str] = set()
    for file in (file for layer in app.layers for file in layer.files):
        path = f"{APP_ROOT}/{file.path}"
        _check_name(path)
        for folder in ancestors(path):
            if folder and folder not in folders:
                folders[folder] = base.nodes.get(folder, ours)
                _check_node(folder, folders[folder], needed_for=path)
        found = base.nodes.get(path)
        if found is not None and (found.is_folder or found.target is not None):
            _refuse_node(path, found, "a file, or nothing, there")
        if path in files:
            raise MalformedError(f"`{printable(path)}` is in the application twice")
        files.add(path)
    if both := sorted(files & folders.keys()):
        raise MalformedError(f"`{printable(both[0])}` is a file and a directory in the application")
    return folders


def _check_name(path: str) -> None:
    part = next((part for part in path.split("/") if part.startswith(WHITEOUT)), None)
    if part is not None:
        raise MalformedError(
            f"`{printable(path)}` cannot be in an image: its name would hide another file",
            evidence=(f"wanted  no name that starts with `{WHITEOUT}`", f"found   `{printable(part)}`"),
            hint="rename it",
        )


def _check_node(path: str, node: Node, *, needed_for: str) -> None:
    if not node.is_folder:
        _refuse_node(path, node, f"a directory, for `{printable(needed_for)}`")


def _refuse_node(path: str, node: Node, wanted: str) -> None:
    raise MalformedError(
        f"`/{printable(path)}` is {node.kind} in the base",
        evidence=(f"wanted  {wanted}", f"found   {node.kind}"),
        hint="take a base that has a directory there, or nothing",
    )


def _merged(layers: Sequence[AppLayer]) -> AppLayer:
    if len(layers) == 1:
        return layers[0]
    files = sorted((file for layer in layers for file in layer.files), key=lambda one: one.path.encode())
    return replace(layers[0], comment=", ".join(one.comment for one in layers), files=tuple(files))


def _size(layer: AppLayer) -> int:
    return sum(file.size for file in layer.files)


def _name(layer: AppLayer) -> str:
    """Return the name of a layer without its version."""
    return layer.comment.rpartition(" ")[0] or layer.comment
