"""Effect: the size of a store, its garbage, and the check of all its bytes."""

from __future__ import annotations

import shutil
import stat
import time
from dataclasses import asdict, dataclass
from typing import Any

from bundler.digest import parse_sha256
from bundler.errors import IntegrityError
from bundler.store.store import Store, read_ref
from bundler.system.locks import locked_file, try_lock

__all__ = [
    "FsckReport",
    "GcReport",
    "StoreInfo",
    "check_store",
    "collect_garbage",
    "remove_abandoned",
    "store_info",
]

_DAY = 86400


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreInfo:
    """How large the store is."""

    path: str
    blobs: int
    bytes: int
    references: int
    scratch: int
    """Private folders, of commands that run and of commands that were killed."""
    quarantined: int

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class GcReport:
    """What was removed."""

    references: int
    blobs: int
    bytes: int
    scratch: int

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class FsckReport:
    """What a check of everything found."""

    checked: int
    quarantined: tuple[str, ...]
    """The digests of blobs whose bytes had changed."""
    dropped: tuple[str, ...]
    """References that named nothing."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return {**asdict(self), "quarantined": list(self.quarantined), "dropped": list(self.dropped)}


def store_info(store: Store) -> StoreInfo:
    """Count what is there."""
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
    """Remove references that were not used for so many days, and blobs that no reference names.

    Waits until no other command works. Leftovers of killed commands and what
    was set aside go too.
    """
    store.prepare()
    with locked_file(store.root / "locks" / "use", shared=False, reporter=store.reporter):
        oldest = time.time() - unused_days * _DAY
        stale = [ref for ref in store.refs() if ref.stat().st_mtime <= oldest or read_ref(ref) is None]
        for ref in stale:
            ref.unlink()
        named = {read_ref(ref) for ref in store.refs()}
        doomed = [path for path in store.blobs() if path.name not in named]
        size = sum(path.stat().st_size for path in doomed)
        for path in doomed:
            path.unlink()
        shutil.rmtree(store.root / "quarantine", ignore_errors=True)
        for path in (store.root / "pip").rglob("*"):
            if path.is_file() and path.stat().st_mtime <= oldest:
                path.unlink()
        return GcReport(references=len(stale), blobs=len(doomed), bytes=size, scratch=remove_abandoned(store))


def check_store(store: Store) -> FsckReport:
    """Hash every blob and follow every reference; what is wrong is set aside or dropped."""
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


def remove_abandoned(store: Store) -> int:
    """Remove the private folders of processes that are gone; their lock is free then."""
    swept = 0
    for path in list(store.scratch_directories()):
        lock = path.with_suffix(".lock")
        if lock.exists() and not try_lock(lock):
            continue
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
        swept += 1
    return swept
