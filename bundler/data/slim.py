"""The files that ``--slim`` leaves out: ``slim.toml`` in this package."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Literal

import msgspec

from bundler.data.tables import read_table

__all__ = ["SlimLevel", "SlimTable", "omitted_files"]

SlimLevel = Literal["safe", "max"]
"""``safe``: files that no program reads. ``max``: also those that only a compiler or debugger reads."""

_TEST = re.compile(r"test_\w+\.py")


class _Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    level: SlimLevel
    folders: frozenset[str] = frozenset()
    roots: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    def has(self, path: str, site_packages: str) -> bool:
        """Return whether a path, relative to the root of a bundle, is of this kind."""
        if path.startswith(tuple(f"{root}/" for root in self.roots)):
            return True
        inside = path.removeprefix(f"{site_packages}/")
        if inside == path:
            return False
        *folders, name = inside.split("/")
        return not self.folders.isdisjoint(folders) or name.endswith(self.suffixes or ("/",))


class SlimTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of ``slim.toml``."""

    kind: tuple[_Kind, ...]


def omitted_files(paths: Collection[str], level: SlimLevel, site_packages: str) -> frozenset[str]:
    """Return the files of a distribution that a level leaves out; never a file of its metadata.

    A directory ``test`` counts as ``tests`` if it contains modules of tests: some packages have a public
    module of that name (``django.test``).

    :param paths: relative to the root of a bundle.
    :param site_packages: the directory of modules, relative to the root.

    >>> sorted(omitted_files(["lib/a/tests/x.py", "lib/a/test/y.py", "lib/a/b.pyi"], "safe", "lib"))
    ['lib/a/b.pyi', 'lib/a/tests/x.py']
    """
    kinds = [kind for kind in read_table("slim.toml", SlimTable).kind if level in (kind.level, "max")]
    tests = tuple(_folders_of_tests(paths))
    return frozenset(
        path
        for path in paths
        if ".dist-info/" not in path
        and (path.startswith(tests) or any(kind.has(path, site_packages) for kind in kinds))
    )


def _folders_of_tests(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder.endswith("/test") and _TEST.fullmatch(name):
            yield f"{folder}/"
