"""The cache of responses of pip or uv in the store, and the digests of its files.

pip verifies the files of an index by their digests, but no page: a damaged one hides releases. So a
file of the cache is only used if it is as it was at the end of the run that wrote it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.digest import Sha256, hash_stream
from bundler.store.store import key_of

if TYPE_CHECKING:
    from bundler.store.store import Store

__all__ = ["CachedFile", "intact_cache"]

_LARGE = 64 << 20
"""Bytes: only wheels are larger, and pip verifies them. Their content is read once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedFile:
    """A file of the cache."""

    size: int
    mtime: int
    """Nanoseconds."""
    sha256: Sha256


@contextmanager
def intact_cache(store: Store, tool: str = "pip") -> Iterator[Path]:
    """Yield the directory of the cache, after removing the files that have changed.

    :param tool: the name of the directory in the store.

    A file that a concurrent run has just written is not known yet, and is removed too: it is fetched again.
    """
    folder = store.root / tool
    digests = (f"{tool}-cache", key_of("digests"))
    known = store.recall(*digests, dict[str, CachedFile]) or {}
    found = _read(folder, {name: file for name, file in known.items() if file.size > _LARGE})
    for path in _paths(folder):
        name = str(path.relative_to(folder))
        if name not in known or found.get(name) != known[name]:
            with suppress(OSError):
                path.unlink()
    try:
        yield folder
    finally:
        store.remember(*digests, _read(folder, known))


def _paths(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _read(folder: Path, known: Mapping[str, CachedFile]) -> dict[str, CachedFile]:
    """Return the files of the cache; those of ``known`` with the same size and time are not read."""
    files = {}
    for path in _paths(folder):
        name = str(path.relative_to(folder))
        with suppress(OSError):
            facts = path.lstat()
            before = known.get(name)
            if not stat.S_ISREG(facts.st_mode):
                continue
            if before is not None and (before.size, before.mtime) == (facts.st_size, facts.st_mtime_ns):
                files[name] = before
                continue
            with path.open("rb") as stream:
                digest, size = hash_stream(stream)
            files[name] = CachedFile(size=size, mtime=facts.st_mtime_ns, sha256=digest)
    return files
