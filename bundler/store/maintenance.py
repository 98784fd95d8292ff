"""Maintain a store: report its size, collect garbage, verify every blob."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from bundler.digest import parse_sha256
from bundler.errors import IntegrityError
from bundler.store.reference import read_ref
from bundler.store.store import DamagedStoreError, Store
from bundler.system.locks import locked_file, try_lock
from bundler.system.memory import memory_folder

__all__ = [
    "FsckReport",
    "GcReport",
    "StoreInfo",
    "check_store",
    "collect_garbage",
    "heal",
    "remove_abandoned",
    "store_info",
]

T = TypeVar("T")

_DAY = 86400


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreInfo:
    """The size of a store."""

    path: str
    """The directory of the store."""
    blobs: int
    bytes: int
    """Total size of the blobs."""
    references: int
    scratch: int
    """Number of private directories, of running and of killed commands."""
    quarantined: int
    """Number of blobs that were moved out because their content had changed."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values, for ``--json``."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class GcReport:
    """The numbers of removed items."""

    references: int
    blobs: int
    bytes: int
    """Total size of the removed blobs."""
    scratch: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values, for ``--json``."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class FsckReport:
    """The result of `check_store`."""

    checked: int
    """Number of blobs that were hashed."""
    quarantined: tuple[str, ...]
    """The digests of blobs whose content had changed."""
    dropped: tuple[str, ...]
    """References to blobs that do not exist, ``kind/ab/key``."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values, for ``--json``."""
        return {**asdict(self), "quarantined": list(self.quarantined), "dropped": list(self.dropped)}


def store_info(store: Store) -> StoreInfo:
    """Return the number and size of the items of a store."""
    sizes = [path.stat().st_size for path in store.blobs()]
    return StoreInfo(
        path=str(store.root.parent),
        blobs=len(sizes),
        bytes=sum(sizes),
        references=sum(1 for _ in store.refs()),
        scratch=sum(1 for _ in store.scratch_directories()),
        quarantined=sum(1 for _ in (store.root / "quarantine").glob("*")),
    )


def collect_garbage(store: Store, *, unused_days: int) -> GcReport:
    """Remove unused references, blobs without a reference, the quarantine and leftovers of killed commands.

    Waits for an exclusive lock, that is, until no other command uses the store.

    :param unused_days: a reference is removed if its last use is older than this.
    """
    store.prepare()
    with locked_file(store.root / "locks" / "use", shared=False, reporter=store.reporter):
        oldest = time.time() - unused_days * _DAY
        # Store.lookup sets the mtime of a reference at each use.
        stale = [ref for ref in store.refs() if ref.stat().st_mtime <= oldest or read_ref(ref) is None]
        for ref in stale:
            ref.unlink()
        named = {read_ref(ref) for ref in store.refs()}
        doomed = [path for path in store.blobs() if path.name not in named]
        size = sum(path.stat().st_size for path in doomed)
        for path in doomed:
            path.unlink()
        shutil.rmtree(store.root / "quarantine", ignore_errors=True)
        for path in (path for tool in ("pip", "uv") for path in (store.root / tool).rglob("*")):
            if path.is_file() and path.stat().st_mtime <= oldest:
                path.unlink()
        return GcReport(references=len(stale), blobs=len(doomed), bytes=size, scratch=remove_abandoned(store))


def check_store(store: Store) -> FsckReport:
    """Hash every blob and resolve every reference; quarantine changed blobs and drop dangling references."""
    checked = 0
    bad = []
    with store.in_use():
        for path in list(store.blobs()):
            checked += 1
            try:
                store.verified_path(parse_sha256(path.name))
            except (IntegrityError, ValueError):
                bad.append(path.name)
        lost = [ref for ref in store.refs() if (named := read_ref(ref)) is None or not store.has(named)]
        for ref in lost:
            ref.unlink()
    dropped = tuple(sorted(ref.relative_to(store.root / "refs").as_posix() for ref in lost))
    return FsckReport(checked=checked, quarantined=tuple(sorted(bad)), dropped=dropped)


def heal(store: Store, work: Callable[[], T]) -> T:
    """Return the result of ``work``; repeat it if it fails since the store is damaged.

    Before the first repetition the whole store is verified. If that does not help, its references
    are removed, so that everything is created again.

    :param work: reads values from the store, and creates missing ones.
    """
    repairs: tuple[Callable[[Store], object], ...] = (check_store, _forget)
    for repair in repairs:
        try:
            return work()
        except DamagedStoreError as error:
            store.reporter.warn(f"the store is damaged: {error.message}; continuing without the damaged part")
            repair(store)
    return work()


def _forget(store: Store) -> None:
    with store.in_use():
        for ref in list(store.refs()):
            ref.unlink(missing_ok=True)


def remove_abandoned(store: Store) -> int:
    """Remove the private directories of ended processes, known by their free lock; return the number."""
    removed = 0
    for path in list(store.scratch_directories()):
        lock = path.with_suffix(".lock")
        if lock.exists() and not try_lock(lock):
            continue
        shutil.rmtree(memory_folder(path.name), ignore_errors=True)
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
        removed += 1
    return removed
