"""Effect: profile the Python of a root filesystem without running it.

The filesystem is a directory, or the layers of an image, read as streams. Only the
names of relevant files are retained, and of few the content, reduced to facts (the
fields of a METADATA, the top-level names of a RECORD, the symbol versions of a
library). So memory does not grow with the image.

The result is a profile, the JSON that `base_image.profile` reads and ``target/scripts/capture.py`` prints
on a running target; both must agree on the same files.

Specs: OCI image layer filesystem changeset (whiteouts); recording installed
projects (PyPA).
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundler.base_image.installed import extract_facts, is_relevant, list_installed, shadowing_names
from bundler.errors import InputError, MalformedError
from bundler.oci.layer import FILE_LIMIT
from bundler.oci.overlay import Whiteouts, ancestors, entry_path
from bundler.oci.reader import ImageArchive
from bundler.paths import printable

__all__ = ["Tree", "profile_of", "read_layers", "read_root_directory"]

_MAX_LINKS = 40
_SKIPPED = frozenset({"dev", "proc", "sys"})
"""Directories of a running system that hold no files."""

_PROGRAM = re.compile(r"(?:(?P<prefix>.*)/)?bin/python(?P<minor>3\.\d+)")
_SITE = re.compile(
    r"(?:(?P<prefix>.*?)/)?lib(?:64)?/python(?P<minor>3\.\d+)t?/(?:site|dist)-packages/[^/]+\.(?:dist|egg)-info(?:/.*)?"
)
_CONDA_CACHE = re.compile(r"(?:.*/)?pkgs/[^/]+")
_CONDA_META = re.compile(r"python-(?P<version>3(?:\.\w+)+)-[^/]*\.json")
_PATCHLEVEL = re.compile(rb'^#define\s+PY_VERSION\s+"([^"+]+)', re.MULTILINE)
_MUSL = re.compile(r"(?:.*/)?ld-musl-(?P<machine>\w+)\.so\.1")
_MULTIARCH = re.compile(r"(?:usr/)?lib/[^/]+-linux-gnu[^/]*")
_LIBRARY = re.compile(r"lib[^/]*\.so(?:\.[^/]*)?")


@dataclass(kw_only=True, slots=True)
class Tree:
    """The files of a filesystem that matter, and all links."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Path to reduced content; paths are relative to the root, without a slash at either end."""
    links: dict[str, str] = field(default_factory=dict)
    """Path of a symbolic link to its target."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The environment in the image's config."""
    unreadable: int = 0
    """Number of directories that could not be listed."""

    def resolve(self, path: str) -> str:
        """Return the path with every link on the way followed, inside the root."""
        left = 0
        done: list[str] = []
        waiting = path.split("/")[::-1]
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            target = self.links.get("/".join([*done, part]))
            if target is None or left >= _MAX_LINKS:
                done.append(part)
                continue
            left += 1
            if target.startswith("/"):
                done = []
            waiting += target.split("/")[::-1]
        return "/".join(done)


def read_root_directory(root: Path) -> Tree:
    """Return the relevant files of an unpacked root filesystem; links are not followed."""
    tree = Tree()

    def count(_: OSError) -> None:
        tree.unreadable += 1

    for folder, folders, names in os.walk(root, onerror=count):
        inside = Path(folder).relative_to(root).as_posix()
        if inside == ".":
            folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in [*names, *folders]:
            path = name if inside == "." else f"{inside}/{name}"
            _add_from_disk(tree, path, Path(folder) / name)
    return tree


def _add_from_disk(tree: Tree, path: str, file: Path) -> None:
    mode = file.lstat().st_mode
    if stat.S_ISLNK(mode):
        tree.links[path] = str(file.readlink())
    elif stat.S_ISREG(mode) and (kind := is_relevant(path)) is not None:
        content = b""
        if kind:
            if file.stat().st_size > FILE_LIMIT:
                raise MalformedError(f"`{printable(path)}` is too large for a metadata file")
            try:
                content = file.read_bytes()
            except OSError as error:
                raise InputError(
                    f"`{file}` cannot be read", evidence=(error.strerror or str(error),)
                ) from error
        tree.files[path] = extract_facts(path, content)


def read_layers(image: ImageArchive) -> Tree:
    """Return the relevant files of an image, the last layer on top.

    :raises IntegrityError: if a layer does not match its digest.
    :raises MalformedError: if a layer is not a tar, or has a path outside of the root.
    """
    tree = Tree(env=image.env)
    for layer in image.layers():
        upper = _UpperFiles(tree)
        for member, content in layer.members(lambda entry: bool(is_relevant(entry_path(entry.name)))):
            upper.add(member, content)
        upper.apply()
    return tree


class _UpperFiles:
    """The relevant files of one layer, applied over the layers below once all of it is verified."""

    def __init__(self, lower: Tree) -> None:
        self._lower = lower
        self._files: dict[str, bytes] = {}
        self._links: dict[str, str] = {}
        self._whiteouts = Whiteouts()
        self._folders = {folder for path in (*lower.files, *lower.links) for folder in ancestors(path)}

    def add(self, member: tarfile.TarInfo, content: bytes | None) -> None:
        """Take one entry."""
        path = entry_path(member.name)
        if self._whiteouts.add(path):
            return
        if path in self._lower.files or path in self._lower.links:
            self._whiteouts.replace(path)
        if member.isdir():
            return
        if path in self._folders:
            self._whiteouts.replace(path)
        # Within a layer the last of two entries counts.
        self._files.pop(path, None)
        self._links.pop(path, None)
        self._add_file(path, member, content)

    def _add_file(self, path: str, member: tarfile.TarInfo, content: bytes | None) -> None:
        if member.issym():
            self._links[path] = member.linkname
        elif member.islnk():
            target = entry_path(member.linkname)
            found = self._files.get(target, self._lower.files.get(target))
            if found is not None or is_relevant(path) is not None:
                self._files[path] = found or b""
        elif member.isreg() and is_relevant(path) is not None:
            self._files[path] = extract_facts(path, content or b"")

    def apply(self) -> None:
        """Remove the hidden files from the tree below, then add those of this layer."""
        for table in (self._lower.files, self._lower.links):
            for path in [path for path in table if self._whiteouts.hides(path)]:
                del table[path]
        self._lower.files.update(self._files)
        self._lower.links.update(self._links)


# From files to a profile.


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class _Python:
    """One interpreter in a filesystem."""

    prefix: str
    minor: str
    has_program: bool = field(compare=False)
    has_distributions: bool = field(compare=False)

    @property
    def label(self) -> str:
        return f"/{self.prefix} (Python {self.minor})"


def profile_of(tree: Tree, *, source: str, prefer: str | None) -> dict[str, Any]:
    """Return the profile of one Python in a filesystem.

    :param source: "rootfs" or "archive".
    :param prefer: its prefix, or its version; without a prefix the image's
        AZUREML_CONDA_ENVIRONMENT_PATH decides.
    :raises InputError: if there is no such Python, or more than one.
    """
    python = _choose(tree, prefer)
    sites = _sites(tree, python)
    folders = _library_folders(tree, python)
    libraries = {
        name: path
        for folder in reversed(folders)
        for name, path in _in_folder(tree, folder, _LIBRARY.fullmatch)
    }
    libc = _facts(tree, _system_path(tree, folders, "libc.so.6"))
    cxx = _facts(tree, libraries.get("libstdc++.so.6"))
    names = set(libraries) | {posixpath.basename(path) for path in libraries.values()}
    machine = libc.get("machine") or next(
        (match["machine"] for path in sorted(tree.files) if (match := _MUSL.fullmatch(path))), None
    )
    facts: dict[str, Any] = {
        "implementation": "cpython",
        "version": _full_version(tree, python),
        "abiflags": "m" if python.minor == "3.7" else "",
        "prefix": f"/{python.prefix}",
    }
    if machine:
        facts["platform"] = f"linux-{machine}"
    if "glibc" in libc:
        facts["libc"] = ["glibc", libc["glibc"]]
    return {
        "format": "bundler-base",
        "format_version": 1,
        "source": source,
        "python": facts,
        "libraries": sorted(name for name in names if _LIBRARY.fullmatch(name)),
        "symbol_versions": {name: cxx[name] for name in ("CXXABI", "GLIBCXX") if name in cxx},
        "distributions": list_installed(tree.files, sites),
        "occupied": shadowing_names(tree.files, sites),
        "notes": [f"{tree.unreadable} directories could not be read"] if tree.unreadable else [],
    }


def _pythons(tree: Tree) -> list[_Python]:
    programs: set[tuple[str, str]] = set()
    installed: set[tuple[str, str]] = set()
    for path in (*tree.files, *tree.links):
        for pattern, found in ((_PROGRAM, programs), (_SITE, installed)):
            match = pattern.fullmatch(path)
            if match and not _CONDA_CACHE.fullmatch(match["prefix"] or ""):
                found.add((match["prefix"] or "", match["minor"]))
    # /usr/local/lib has packages of Debian's /usr/bin/python3: not a second Python.
    installed = {
        ("usr", minor)
        if prefix == "usr/local" and ("usr/local", minor) not in programs and ("usr", minor) in programs
        else (prefix, minor)
        for prefix, minor in installed
    }
    debian = any(path.startswith("usr/lib/python3/dist-packages/") for path in tree.files)
    installed |= {one for one in programs if one[0] == "usr" and debian}
    return sorted(
        _Python(
            prefix=prefix,
            minor=minor,
            has_program=(prefix, minor) in programs,
            has_distributions=(prefix, minor) in installed,
        )
        for prefix, minor in programs | installed
    )


def _choose(tree: Tree, prefer: str | None) -> _Python:
    pythons = _pythons(tree)
    if not pythons:
        raise InputError("the base has no Python", hint="pass the image that the container is started from")
    by_path = prefer if prefer and "/" in prefer else tree.env.get("AZUREML_CONDA_ENVIRONMENT_PATH")
    fitting = pythons
    if by_path:
        wanted = tree.resolve(by_path)
        fitting = [one for one in pythons if wanted == one.prefix or wanted.startswith(f"{one.prefix}/lib")]
    elif prefer:
        minor = ".".join(prefer.split(".")[:2])
        fitting = [one for one in pythons if one.minor == minor]
    fitting = [one for one in fitting if one.has_program] or fitting
    fitting = [one for one in fitting if one.has_distributions] or fitting
    if len(fitting) == 1:
        return fitting[0]
    shown = fitting or [one for one in pythons if one.has_program] or pythons
    raise InputError(
        "the base has several Pythons" if fitting else "the base has no such Python",
        evidence=(
            f"wanted  {printable(by_path or prefer or 'one Python')}",
            *(f"found   {printable(one.label)}" for one in shown[:8]),
        ),
        hint=f"pass `--python-in /{shown[0].prefix}`",
    )


def _sites(tree: Tree, python: _Python) -> list[str]:
    """Return the directories that hold distributions, in the order of sys.path."""
    base = f"{python.prefix}/" if python.prefix else ""
    found = []
    if python.prefix == "usr":
        found += [f"usr/local/lib/python{python.minor}/dist-packages", "usr/lib/python3/dist-packages"]
    for lib in ("lib", "lib64"):
        found += [
            f"{base}{lib}/python{python.minor}{mark}/{kind}-packages"
            for mark in ("", "t")
            for kind in ("site", "dist")
        ]
    return list(dict.fromkeys(tree.resolve(one) for one in found))


def _full_version(tree: Tree, python: _Python) -> str:
    """Return the full version from conda metadata or headers, else the minor version."""
    base = f"{python.prefix}/" if python.prefix else ""
    for name, _ in _in_folder(tree, f"{base}conda-meta", _CONDA_META.fullmatch):
        match = _CONDA_META.fullmatch(name)
        if match and match["version"].startswith(f"{python.minor}."):
            return match["version"]
    for mark in ("", "m", "t"):
        content = tree.files.get(tree.resolve(f"{base}include/python{python.minor}{mark}/patchlevel.h"), b"")
        if match_version := _PATCHLEVEL.search(content):
            return match_version[1].decode("ascii", "replace")
    return python.minor


def _library_folders(tree: Tree, python: _Python) -> list[str]:
    """Return the directories the loader searches, the first one first."""
    found = []
    if azure := tree.env.get("AZUREML_CONDA_ENVIRONMENT_PATH"):
        found.append(f"{azure}/lib")
    found += [folder for folder in tree.env.get("LD_LIBRARY_PATH", "").split(":") if folder]
    found += [f"{python.prefix}/lib"]
    multiarch = {folder for path in tree.files if _MULTIARCH.fullmatch(folder := posixpath.dirname(path))}
    found += [*sorted(multiarch), "usr/local/lib", "lib64", "usr/lib64", "lib", "usr/lib"]
    return list(dict.fromkeys(tree.resolve(one) for one in found))


def _in_folder(tree: Tree, folder: str, matches: Callable[[str], object]) -> Iterator[tuple[str, str]]:
    """Yield the matching names in a directory, with the file that each is in the end."""
    start = f"{folder}/"
    for table in (tree.files, tree.links):
        for path in sorted(table):
            name = path.removeprefix(start)
            if path.startswith(start) and "/" not in name and matches(name):
                real = tree.resolve(path)
                if real in tree.files:
                    yield name, real


def _system_path(tree: Tree, folders: list[str], name: str) -> str | None:
    return next(
        (path for folder in folders if (path := tree.resolve(f"{folder}/{name}")) in tree.files), None
    )


def _facts(tree: Tree, path: str | None) -> dict[str, str]:
    """Return the facts that a library was reduced to."""
    text = tree.files.get(path, b"").decode("ascii", "replace") if path else ""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
