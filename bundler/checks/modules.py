"""Stage 5, pure: what a bundle must import, and whether its requirements are met.

Is every requirement of every distribution met by what is there (as ``pip
check`` asks, but extras that somebody asks for count)? And which modules does
``import`` find? `import_results` says what an import meant, `source_imports` what the source
says, `report` what it all comes to.

Specs: PEP 420 (namespace packages), PEP 508 (requirements), recording installed
projects (PyPA). The modules come from RECORD: ``top_level.txt`` may lie.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName
from packaging.version import Version

__all__ = ["DistributionFacts", "importable_name", "shared_packages", "top_level_modules"]


# Names under which wheels drop files beside their packages. Without an
# ``__init__`` such a folder holds scripts, samples or data, nothing to import.
_NOT_FOR_IMPORT = re.compile(
    "benchmarks?|bin|data|demos?|docs?|etc|examples?|include|lib(64)?|man|notebooks"
    "|samples?|sbin|scripts?|share|src|test(s|ing)?|tools|tutorials"
)
# PEP 3149 and PEP 425: `x.cpython-37m-x86_64-linux-gnu.so`, `x.abi3.so`, `x.so`, `x.cp37-win_amd64.pyd`.
_EXTENSION = re.compile(
    r"(?P<name>[^.]+)(?P<tag>\.(?:cpython-[\w-]+|abi3(?:t|-[\w-]+)?|cp\d[\w-]*))?\.(?:so|pyd)", re.ASCII
)
# In a namespace the names of projects stand there, too (``azure.data``); tests are tests everywhere.
_TESTS = re.compile("tests?|testing")
_SOURCE = re.compile(r"(?P<name>[^.]+)\.pyc?")


@dataclass(frozen=True, kw_only=True, slots=True)
class DistributionFacts:
    """What the closure needs to know of one distribution in the bundle."""

    name: NormalizedName
    display_name: str
    version: Version
    requires_dist: tuple[Requirement, ...]
    files: tuple[str, ...]
    """As in RECORD: relative to site-packages, ``/`` between components."""


def top_level_modules(files: Iterable[str], shared: Collection[str] = ()) -> tuple[str, ...]:
    """Return, sorted, what ``import`` finds of a distribution that installs ``files``.

    A package counts, not what is below it, and never a ``__main__``. A folder
    without ``__init__`` is a namespace (PEP 420) if it holds modules; the first
    packages and modules below it are returned in its place. Folders of data,
    and those whose name says samples or scripts, are left out.

    :param files: relative to site-packages; files outside of it are ignored.
    :param shared: packages that several distributions have parts of (`shared_packages`);
        they count, and so do the first packages and modules below them.

    >>> top_level_modules(["six.py", "google/cloud/storage/__init__.py", "six-1.0.dist-info/RECORD"])
    ('google.cloud.storage', 'six')
    """
    tree: _Folder = {}
    for path in files:
        folder = tree
        for part in path.split("/"):  # no part of a path that leaves site-packages can be imported
            folder = folder.setdefault(part, {})
    return tuple(sorted(set(_modules(tree, "", frozenset(shared)))))


def shared_packages(distributions: Iterable[DistributionFacts]) -> frozenset[str]:
    """Return the packages whose ``__init__`` more than one distribution brings.

    They are namespaces of the old kind, but for those whose name says tests or samples.
    """
    holders = Counter(
        path.rpartition("/")[0].replace("/", ".")
        for facts in distributions
        for path in facts.files
        if path.endswith("/__init__.py")
    )
    return frozenset(
        name
        for name, count in holders.items()
        if count > 1 and not _NOT_FOR_IMPORT.fullmatch(name.partition(".")[0])
    )


_Folder = dict[str, Any]
"""A folder's entries; a file is an empty folder."""


def _modules(folder: _Folder, prefix: str, shared: frozenset[str]) -> Iterator[str]:
    for name, entries in folder.items():
        if not entries:
            module = importable_name(name)
            if module is not None and module not in ("__init__", "__main__"):
                yield prefix + module
        elif _is_importable(name):
            yield from _below(entries, prefix, name, shared)


def _below(entries: _Folder, prefix: str, name: str, shared: frozenset[str]) -> Iterator[str]:
    """Yield a package, or the modules of a namespace."""
    if prefix and _TESTS.fullmatch(name):
        return
    held = {importable_name(entry) for entry, below in entries.items() if not below}
    if "__init__" in held:
        yield prefix + name
        if prefix + name in shared:
            yield from _modules(entries, f"{prefix}{name}.", shared)
    elif prefix or not _NOT_FOR_IMPORT.fullmatch(name):
        modules = list(_modules(entries, f"{prefix}{name}.", shared))
        yield from modules or ([prefix + name] if "__main__" in held else [])


def _is_importable(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name) and name != "__pycache__"


def importable_name(filename: str) -> str | None:
    """Return the module that a file is, or None.

    >>> importable_name("_x.cpython-37m-x86_64-linux-gnu.so")
    '_x'
    """
    match = _SOURCE.fullmatch(filename)
    if match is None:
        match = _EXTENSION.fullmatch(filename)
        # `libx.so` is what other extensions link against.
        if match is not None and match["tag"] is None and match["name"].startswith("lib"):
            return None
    return match["name"] if match is not None and _is_importable(match["name"]) else None
