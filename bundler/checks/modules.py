"""Stage 5, pure: the modules of a distribution that an import finds.

The modules come from RECORD. ``top_level.txt`` is not used: it is optional, no specification
defines it, and some distributions list modules there that they do not install.

Specs: namespace packages (PEP 420), recording installed projects (PyPA).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from keyword import iskeyword
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

__all__ = [
    "DistributionFacts",
    "importable_name",
    "is_beside_modules",
    "is_for_import",
    "namesakes",
    "shared_packages",
    "top_level_modules",
]


# Directories that wheels install beside their packages. Without an ``__init__`` such a
# directory contains scripts, samples or data, and no modules to import.
_NOT_FOR_IMPORT = re.compile(
    "benchmarks?|bin|data|demos?|docs?|etc|examples?|include|lib(64)?|man|notebooks"
    "|samples?|sbin|scripts?|share|src|test(s|ing)?|tools|tutorials"
)
# PEP 3149 and PEP 425: `x.cpython-37m-x86_64-linux-gnu.so`, `x.abi3.so`, `x.so`, `x.cp37-win_amd64.pyd`.
_EXTENSION = re.compile(
    r"(?P<name>[^.]+)(?P<tag>\.(?:cpython-[\w-]+|abi3(?:t|-[\w-]+)?|cp\d[\w-]*))?\.(?:so|pyd)", re.ASCII
)
# In a namespace package a directory may be a project (``azure.data``); tests are tests everywhere.
_TESTS = re.compile("tests?|testing")
# Modules at the top that belong to the repository of a project, not to its packages.
_OF_REPOSITORY = re.compile(r"setup|conftest|test_\w+|\w+_test")
_SOURCE = re.compile(r"(?P<name>[^.]+)\.pyc?")


@dataclass(frozen=True, kw_only=True, slots=True)
class DistributionFacts:
    """The metadata and the files of one distribution in the bundle."""

    name: NormalizedName
    display_name: str
    version: Version
    requires_dist: tuple[Requirement, ...]
    files: tuple[str, ...]
    """As in RECORD: relative to site-packages, ``/`` between components."""


def top_level_modules(files: Iterable[str], shared: Collection[str] = ()) -> tuple[str, ...]:
    """Return the modules, sorted, that represent a distribution which installs ``files``.

    A package represents the modules below it; a ``__main__`` is never returned, as it runs a
    program. A directory without ``__init__`` is a namespace package (PEP 420) if it contains modules:
    the first packages and modules below it are returned in its place. Directories of data,
    and those named as samples or scripts, are left out.

    :param files: relative to site-packages; files outside of it are ignored.
    :param shared: packages with parts in several distributions (`shared_packages`); they
        are returned together with the first packages and modules below them.

    >>> top_level_modules(["six.py", "google/cloud/storage/__init__.py", "six-1.0.dist-info/RECORD"])
    ('google.cloud.storage', 'six')
    """
    return _top_level_modules(tuple(files), frozenset(shared))


@lru_cache(maxsize=1 << 12)  # several checks ask for the modules of each distribution
def _top_level_modules(files: tuple[str, ...], shared: frozenset[str]) -> tuple[str, ...]:
    tree: _Folder = {}
    folders: dict[str | None, _Folder] = {None: tree}
    for path in files:
        parent, slash, file = path.rpartition("/")
        folder = folders.get(parent if slash else None)
        if folder is None:
            folder = tree
            for part in parent.split("/"):  # `..`, in paths that leave site-packages, is not an identifier
                if not (below := folder.get(part)):
                    below = folder[part] = {}
                folder = below
            folders[parent] = folder
        folder.setdefault(file, _FILE)
    return tuple(sorted(set(_modules(tree, "", shared))))


def namesakes(name: str, files: Iterable[str]) -> tuple[str, ...]:
    """Return the modules, at any depth, that bear the name of their distribution.

    The package above them may have an ``__init__`` that only makes it a namespace; of a single
    distribution that is not visible (`shared_packages`), and its import would prove nothing.

    :param name: the normalized name of the distribution.

    >>> namesakes("azureml-core", ["azureml/__init__.py", "azureml/core/__init__.py", "azureml/x.py"])
    ('azureml.core',)
    """
    plain = name.replace("-", "")
    found = set()
    for path in files:
        # First what costs little: most files of a large distribution are deep below its package.
        joined = path.lower().replace("/", "").replace("_", "")
        if not joined.startswith(plain) or not joined[len(plain) :].startswith((".", "init.")):
            continue
        *folders, file = path.split("/")
        module = importable_name(file)
        if module is not None and all(map(_is_importable, folders)):
            parts = folders if module == "__init__" else [*folders, module]
            if canonicalize_name(".".join(parts)).replace("-", "") == plain:
                found.add(".".join(parts))
    return tuple(sorted(found))


def shared_packages(distributions: Iterable[DistributionFacts]) -> frozenset[str]:
    """Return the packages whose ``__init__`` more than one distribution installs.

    These are namespace packages by ``pkgutil`` or ``pkg_resources``, except for those named as
    tests or samples, which unrelated projects install by mistake.
    """
    owners = Counter(
        path.rpartition("/")[0].replace("/", ".")
        for facts in distributions
        for path in facts.files
        if path.endswith("/__init__.py")
    )
    return frozenset(
        name
        for name, count in owners.items()
        if count > 1 and not _NOT_FOR_IMPORT.fullmatch(name.partition(".")[0])
    )


def is_beside_modules(name: str) -> bool:
    """Return whether a top-level module or directory is named as tests, samples or data of a project."""
    return _NOT_FOR_IMPORT.fullmatch(name) is not None or _OF_REPOSITORY.fullmatch(name) is not None


_Folder = dict[str, Any]
"""The entries of a directory by name; a file has none."""
_FILE: _Folder = {}


def _modules(folder: _Folder, prefix: str, shared: frozenset[str]) -> Iterator[str]:
    for name, entries in folder.items():
        if not entries:
            module = importable_name(name)
            if module is not None and module not in ("__init__", "__main__"):
                yield prefix + module
        elif _is_importable(name):
            yield from _below(entries, prefix, name, shared)


def _below(entries: _Folder, prefix: str, name: str, shared: frozenset[str]) -> Iterator[str]:
    """Yield the package of a directory, or the modules of a namespace package."""
    if prefix and _TESTS.fullmatch(name):
        return
    files = {importable_name(entry) for entry, below in entries.items() if not below}
    if "__init__" in files:
        yield prefix + name
        if prefix + name in shared:
            yield from _modules(entries, f"{prefix}{name}.", shared)
    elif prefix or not _NOT_FOR_IMPORT.fullmatch(name):
        modules = list(_modules(entries, f"{prefix}{name}.", shared))
        if not modules and "__main__" in files:
            modules = [prefix + name]  # a program: importing the namespace package itself runs nothing
        yield from modules


def _is_importable(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name) and name != "__pycache__"


def is_for_import(module: str) -> bool:
    """Return whether a module is neither private nor one of tests, samples or scripts, by its name."""
    first, *rest = module.split(".")
    return not _NOT_FOR_IMPORT.fullmatch(first) and not any(part.startswith("_") for part in (first, *rest))


@lru_cache(maxsize=1 << 16)  # most names of files repeat
def importable_name(filename: str) -> str | None:
    """Return the name of the module in a file, or None if no import finds it.

    >>> importable_name("_x.cpython-37m-x86_64-linux-gnu.so")
    '_x'
    """
    match = _SOURCE.fullmatch(filename)
    if match is None:
        match = _EXTENSION.fullmatch(filename)
        # Without a tag, `libx.so` is a library that extension modules link to.
        if match is not None and match["tag"] is None and match["name"].startswith("lib"):
            return None
    return match["name"] if match is not None and _is_importable(match["name"]) else None
