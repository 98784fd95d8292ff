"""Stage 7, pure: do the imports of the entry script resolve in the container?

The files below the application root and the standard library are known; the packages of the image
are known only with the profile of a base. Imports are followed through the user's own modules, not
through packages: a bundle was checked when it was built.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from bundler.base_image.profile import BaseProfile
from bundler.data.inference_server import SERVER
from bundler.deploy.startup.entry_script import read_imports
from bundler.deploy.startup.files import Files
from bundler.deploy.startup.variables import BootEnv

__all__ = ["ADDED", "MissingImport", "missing_imports"]

ADDED: Mapping[str, tuple[int, int]] = {"zoneinfo": (3, 9), "graphlib": (3, 9), "tomllib": (3, 11)}
"""Modules that the standard library has since a Python after 3.7: before it, a backport hides nothing."""
# Modules that a Python after 3.7 removed from the standard library ("What's New in Python").
_REMOVED: Mapping[tuple[int, int], str] = {
    (3, 8): "macpath",
    (3, 9): "_dummy_thread dummy_threading",
    (3, 10): "formatter parser symbol",
    (3, 11): "binhex",
    (3, 12): "asynchat asyncore distutils imp smtpd",
    (3, 13): "aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib ossaudiodev pipes"
    " sndhdr spwd sunau telnetlib uu xdrlib",
}
_REMOVED_IN = {module: python for python, modules in _REMOVED.items() for module in modules.split()}
_EXTENSIONS = (".so", ".pyc")


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingImport:
    """A module that no known file provides."""

    module: str
    """The dotted name, as far as it is missing: of ``google.cloud.storage`` all if ``google`` exists."""
    where: str
    """``path:line`` of the import."""
    is_certain: bool
    """Whether the import is executed at the start."""
    is_known: bool
    """Whether the packages of the image are known, and do not have it either."""


def missing_imports(
    boot: BootEnv, sys_path: Sequence[str], path: str, base: BaseProfile | None
) -> tuple[MissingImport, ...]:
    """Return the imports of the entry script, and of the user's modules that it imports, that are missing.

    :param sys_path: the entries of sys.path; those outside of the known files are skipped.
    :param path: the entry script.
    :param base: the packages of the image, if known.
    """
    search = _Search(boot=boot, entries=tuple(filter(boot.files.covers, sys_path)), base=base)
    found: dict[str, MissingImport] = {}
    for missing in search.run(path):
        if missing.module not in found or (missing.is_certain and not found[missing.module].is_certain):
            found[missing.module] = missing
    return tuple(found.values())


@dataclass(kw_only=True)
class _Search:
    """Follows imports through the user's own files, each once."""

    boot: BootEnv
    entries: tuple[str, ...]
    base: BaseProfile | None
    seen: set[tuple[str, bool]] = field(default_factory=set)

    def run(self, script: str) -> Iterator[MissingImport]:
        waiting = [(script, True)]
        while waiting:
            path, is_certain = waiting.pop()
            if (path, is_certain) in self.seen or (path, True) in self.seen:
                continue
            self.seen.add((path, is_certain))
            for item in read_imports(self.boot.files.read(path), is_script=path == script):
                certain = is_certain and item.is_certain
                files, missing = self._resolve(path, item.module, item.names)
                waiting += [(file, certain) for file in files if self._is_own(file)]
                if missing:
                    yield MissingImport(
                        module=missing,
                        where=f"{path}:{item.line}",
                        is_certain=certain,
                        is_known=self.base is not None and self.base.source != "freeze",
                    )

    def _is_own(self, file: str) -> bool:
        """Return whether a file is the user's: a Python file outside of the directories of packages."""
        packages = (folder for folder in self.boot.libraries if folder != posixpath.normpath(self.boot.root))
        return file.endswith(".py") and not any(file.startswith(f"{folder}/") for folder in packages)

    def _resolve(self, path: str, module: str, names: Sequence[str]) -> tuple[list[str], str]:
        """Return the files that an import executes, and the missing module, empty if there is none."""
        name = module.lstrip(".")
        level = len(module) - len(name)
        folders: tuple[str, ...] = self.entries
        if level:
            folder = posixpath.dirname(path)
            for _ in range(level - 1):
                folder = posixpath.dirname(folder)
            folders = (folder,)
        elif self._provided(name.partition(".")[0]):
            return [], ""
        found: list[str] = []
        parts = name.split(".") if name else []
        for count, part in enumerate(parts, 1):
            file, folders = _find(self.boot.files, folders, part)
            if file:
                found.append(file)
            if not file and not folders:
                # A missing part of a regular package may be an attribute, or made when it is imported.
                return found, "" if found or level else ".".join(parts[:count])
        is_namespace = bool(parts) and not found
        submodules = {item: _find(self.boot.files, folders, item) for item in names}
        found += [file for file, _ in submodules.values() if file]
        absent = next((item for item, (file, below) in submodules.items() if not file and not below), None)
        return found, f"{name}.{absent}" if is_namespace and absent and not level else ""

    def _provided(self, top: str) -> bool:
        """Return whether the standard library or the image has a top-level module, as far as is known."""
        python = self._python()
        if top in _REMOVED_IN or top in ADDED:
            return ADDED.get(top, (3, 0)) <= python < _REMOVED_IN.get(top, (4, 0))
        if top in sys.stdlib_module_names or canonicalize_name(top) == SERVER:
            return True
        if self.base is None:
            return False
        return any(
            top in item.top_level or (not item.top_level and item.name == canonicalize_name(top))
            for item in self.base.distributions.values()
        )

    def _python(self) -> tuple[int, int]:
        """Return the Python of the image: that of the base, or of the variant or the packages."""
        known = (self.base.python_version if self.base else None) or self.boot.python or "3.7"
        major, minor = known.split(".")[:2]
        return int(major), int(minor)


def _find(files: Files, folders: Sequence[str], part: str) -> tuple[str, tuple[str, ...]]:
    """Return the file of a module or package, and the directories of its submodules.

    A regular package precedes a module in one directory; both precede namespace packages, whose
    directories all count, and which have no file.
    """
    namespace = []
    for folder in folders:
        below = f"{folder}/{part}"
        file = _module(files, below, "__init__")
        if file:
            return file, (below,)
        file = _module(files, folder, part)
        if file:
            return file, ()
        if files.is_dir(below):
            namespace.append(below)
    return "", tuple(namespace)


def _module(files: Files, folder: str, stem: str) -> str:
    """Return the file of a module in a directory; empty if there is none."""
    if files.is_file(f"{folder}/{stem}.py"):
        return f"{folder}/{stem}.py"
    names = (
        name for name in files.names(folder) if name.startswith(f"{stem}.") and name.endswith(_EXTENSIONS)
    )
    return next((f"{folder}/{name}" for name in names), "")
