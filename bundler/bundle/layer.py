"""Pure: the layer of one wheel for one target.

A layer is the sorted table of the files one wheel adds to a bundle. Its digest
depends on the target and on the wheel's bytes alone: no clock, umask, user,
locale or absolute path reaches it.

Format: docs/format.md, "Layers". Specs: binary distribution format, "Installing
a wheel"; recording installed projects (PyPA).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from packaging.requirements import Requirement
from packaging.utils import NormalizedName
from packaging.version import Version

from bundler.archive.entry_points import EntryPoint
from bundler.archive.tree import TreeFile
from bundler.archive.wheel import Wheel, WheelFile
from bundler.bundle.launcher import LAUNCHER_FORMAT, entry_point_launcher, script_launcher
from bundler.digest import Sha256, parse_sha256, record_hash, sha256_of
from bundler.errors import MalformedError
from bundler.paths import ArchivePath, UnsafePathError, archive_path, printable
from bundler.target.target import Target

__all__ = [
    "LAYER_FORMAT",
    "RESERVED",
    "Layer",
    "PlannedFile",
    "layer_key_parts",
    "plan_layer",
    "record_bytes",
    "same_code",
    "tree_digest",
]

LAYER_FORMAT = 4
"""Increment with any change of the conversion, so that stored layers are built again."""

RESERVED = frozenset({"manifest.json", "pylock.toml", "pyvenv.cfg"})
"""Files of a bundle or of its test environment outside of layers; a wheel must not contain them."""

# Files that an installer writes about its own run; in a bundle they would describe the build host.
_INSTALLER_NOTES = frozenset({"INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "RECORD.p7s"})
# A launcher uses a Python next to it as the target's.
_PYTHON = re.compile(r"bin/python[0-9.]*")
_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")
_TREE_DOMAIN = b"bundler tree v1\0"


@dataclass(frozen=True, kw_only=True)  # without slots: the digest of a layer of 8,000 files is computed once
class Layer:
    """One wheel, normalized for one target.

    The store keeps it as JSON (`Store.remember`), so every field has a type that msgspec can check.
    """

    name: NormalizedName
    display_name: str
    version_text: str
    """The version in normal form (PEP 440)."""
    wheel: str
    """The wheel's file name."""
    wheel_sha256: Sha256
    licence: str
    requires_dist: tuple[str, ...]
    """Its requirements as METADATA has them."""
    requires_python: str
    scripts: tuple[str, ...]
    """The names of its launchers in ``bin``."""
    pth_code: Mapping[str, tuple[str, ...]]
    """The lines of its ``.pth`` files that run code, by file, relative to site-packages."""
    pth_folders: tuple[str, ...]
    """The directories that its ``.pth`` files add to sys.path, relative to site-packages."""
    uncompiled: tuple[str, ...]
    """Its modules that are not valid for the target, relative to the root; they ship without bytecode."""
    code: Mapping[str, str]
    """For each small ``__init__.py``, by path, a digest of its syntax tree: `same_code` compares it."""
    notes: tuple[str, ...]
    """Notes for the manifest, such as unportable paths and dropped mode bits."""
    faults: tuple[str, ...]
    """Deviations of the wheel from the specification that pip accepts."""
    files: tuple[TreeFile, ...]
    """Sorted bytewise by path."""
    omitted: Mapping[str, int] = field(default_factory=dict)
    """The files of the wheel that ``--slim`` left out, relative to the root, with their bytes."""
    saved: int = 0
    """Bytes of removed debug symbols."""

    def __post_init__(self) -> None:
        """Check the values that have a form of their own: the store of a layer may have been changed.

        :raises ValueError: if a path is unsafe, or a version or a digest is invalid.
        """
        Version(self.version_text)
        parse_sha256(self.wheel_sha256)
        for file in self.files:
            archive_path(file.path)
            parse_sha256(file.sha256)

    @property
    def version(self) -> Version:
        """The version of the distribution."""
        return Version(self.version_text)

    @cached_property
    def digest(self) -> Sha256:
        """The tree digest of the files."""
        return tree_digest(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(file.size for file in self.files)

    @property
    def pth(self) -> tuple[str, ...]:
        """Its ``.pth`` files that run code, sorted, relative to site-packages."""
        return tuple(sorted(self.pth_code))

    @cached_property
    def requirements(self) -> tuple[Requirement, ...]:
        """The requirements as values."""
        return tuple(Requirement(text) for text in self.requires_dist)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFile:
    """A file of a layer before it has content: its path, mode and source."""

    path: ArchivePath
    mode: int
    source: WheelFile | bytes
    """A member of the wheel, or generated content."""


def layer_key_parts(wheel_sha256: Sha256, target: Target, *, compiles: bool = True) -> tuple[str, ...]:
    """Return the inputs of a layer: equal inputs give the same layer, so it is built once.

    :param compiles: whether it contains bytecode.
    """
    return (
        *(() if compiles else ("without bytecode",)),
        wheel_sha256,
        target.version,
        target.abi,
        target.platform,
        str(LAYER_FORMAT),
        str(LAUNCHER_FORMAT),
    )


def plan_layer(wheel: Wheel, target: Target, *, heads: Mapping[str, bytes]) -> list[PlannedFile]:
    """Plan the files of a layer, sorted by path; bytecode and RECORD are added later.

    :param heads: the first bytes of each file of the ``scripts`` scheme, by its path there.
    :raises MalformedError: if a path is reserved for the bundle, or two files have one path.
    """
    planned: dict[ArchivePath, PlannedFile] = {}

    def add(path: str, mode: int, source: WheelFile | bytes) -> None:
        try:
            checked = archive_path(path)
        except UnsafePathError as error:
            raise MalformedError(
                f"`{wheel.filename}`: `{printable(path)}` is not a valid path in a bundle: {error}"
            ) from error
        if path in RESERVED or _PYTHON.fullmatch(path):
            raise MalformedError(f"`{wheel.filename}` contains `{path}`, which is reserved for the bundle")
        if checked in planned:
            raise MalformedError(f"`{wheel.filename}`: two of its files have the path `{printable(path)}`")
        planned[checked] = PlannedFile(path=checked, mode=mode, source=source)

    launchers = {point.name: point for point in wheel.entry_points if point.group in _SCRIPT_GROUPS}
    for file in wheel.files:
        if _is_dropped(file, wheel) or (file.scheme == "scripts" and file.path in launchers):
            continue
        if file.scheme == "scripts" and file.path in heads and "/" not in file.path:
            add(f"libexec/{file.path}", 0o644, file)
            add(f"bin/{file.path}", 0o755, script_launcher(file.path, target.release))
            continue
        mode = 0o755 if file.member.executable or file.scheme == "scripts" else 0o644
        destination = _destination(file, wheel, target)
        if file.scheme == "data" and _is_metadata(destination, target):
            raise MalformedError(
                f"`{wheel.filename}`: `{printable(file.member.path)}` would be installed into a `.dist-info`"
                " directory"
            )
        add(destination, mode, file)
    for name, point in launchers.items():
        add(f"bin/{name}", 0o755, _launcher(point, target))
    return [planned[path] for path in sorted(planned, key=str.encode)]


def same_code(path: str, one: Layer, other: Layer) -> bool:
    """Return whether the ``__init__.py`` at ``path``, or its bytecode, has one syntax tree in both layers.

    Projects that share a pkgutil-style namespace package each contain its
    ``__init__.py``, often with different comments or line endings.
    """
    folder, _, name = path.rpartition("/")
    if name.startswith("__init__.") and name.endswith(".pyc"):
        path = f"{folder.removesuffix('/__pycache__')}/__init__.py"
    return path in one.code and one.code[path] == other.code.get(path)


def record_bytes(files: Iterable[TreeFile], record: ArchivePath, target: Target) -> bytes:
    """Return the RECORD of a layer: paths relative to site-packages, itself without a digest."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    depth = target.site_packages.count("/") + 1
    for file in files:
        if file.path.startswith(f"{target.site_packages}/"):
            path = file.path[len(target.site_packages) + 1 :]
        else:
            path = "../" * depth + file.path
        writer.writerow((path, record_hash(file.sha256), file.size))
    writer.writerow((record[len(target.site_packages) + 1 :], "", ""))
    return text.getvalue().encode()


def tree_digest(files: Iterable[TreeFile]) -> Sha256:
    """Return the digest that names a tree, whatever archive carries it.

    Covers each file's path, mode and content; not times, owners, order or
    compression. Fields are length-prefixed, so distinct trees never share an
    encoding. Encoding: docs/format.md, "Tree digest".

    >>> tree_digest([])[:12]
    'f787dbb88d57'
    """
    pieces = [_TREE_DOMAIN]
    for file in sorted(files, key=lambda file: file.path.encode()):
        for part in (file.path.encode(), b"%04o" % file.mode, file.sha256.encode()):
            pieces += (len(part).to_bytes(8, "big"), part)
    return sha256_of(b"".join(pieces))


def _is_metadata(path: str, target: Target) -> bool:
    """Return whether a path is in the ``.dist-info`` directory of a distribution, in any case."""
    top = path.removeprefix(f"{target.site_packages}/").partition("/")[0]
    return path.startswith(f"{target.site_packages}/") and top.lower().endswith(".dist-info")


def _launcher(point: EntryPoint, target: Target) -> bytes:
    return entry_point_launcher(point, target.release)


def _is_dropped(file: WheelFile, wheel: Wheel) -> bool:
    """Return whether a file is omitted: files of an installer, and bytecode, which is compiled again."""
    if file.scheme not in ("purelib", "platlib"):
        return False
    folder, _, name = file.path.rpartition("/")
    if folder == wheel.dist_info:
        return name in _INSTALLER_NOTES or name == "RECORD"
    return "__pycache__" in folder.split("/")


def _destination(file: WheelFile, wheel: Wheel, target: Target) -> str:
    """Return the path of a file, relative to the root of the bundle (sysconfig's ``posix_prefix`` scheme)."""
    if file.scheme in ("purelib", "platlib"):
        return f"{target.site_packages}/{file.path}"
    if file.scheme == "scripts":
        return f"bin/{file.path}"
    if file.scheme == "headers":
        return f"include/site/python{target.python_version}/{wheel.metadata.display_name}/{file.path}"
    return file.path
