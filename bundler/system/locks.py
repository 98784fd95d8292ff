"""Locks between processes, by flock(2): the kernel releases them when the holder ends, even by SIGKILL.

A lock file is never deleted while it may be locked: a process that holds a lock
on a deleted file does not exclude one that creates the name again. The file
contains the process ID of its holder, for the message of a process that waits.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bundler.reporter import Reporter
from bundler.system.atomic import output_error

__all__ = ["locked_directory", "locked_file", "try_lock"]

_NOTE_AFTER = 1.0
"""Seconds of waiting after which the holder is reported."""
_POLL = 0.05
"""Seconds between two attempts; flock(2) has no timeout, and a blocking call could not report."""


@contextmanager
def locked_file(path: Path, *, shared: bool, reporter: Reporter) -> Iterator[None]:
    """Acquire a lock for the duration of the context, and wait for it without a limit.

    :param path: the lock file; created if it is missing.
    :param shared: whether other processes may hold a shared lock at the same time.
    :raises OutputError: if the file cannot be opened, or its file system does not support locks.
    """
    descriptor = _acquire(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, reporter)
    try:
        if not shared:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_directory(path: Path) -> Iterator[None]:
    """Acquire an exclusive lock on a directory, which leaves no file in it, and wait for it without a limit.

    NFS has no locks on descriptors that are open for reading only (EBADF): there, the context is
    not exclusive.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> bool:
    """Return whether the lock is free at this moment."""
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _acquire(path: Path, kind: int, reporter: Reporter) -> int:
    started = time.monotonic()
    reported = False
    while True:
        descriptor = -1
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            # The file may have been deleted and created again between open and flock: such a lock
            # excludes no other process, so only a lock on the current inode counts.
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except BlockingIOError:
            pass
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            raise output_error(path, error) from error
        if descriptor >= 0:
            os.close(descriptor)
        if not reported and time.monotonic() - started > _NOTE_AFTER:
            reported = True
            reporter.note(f"waiting for {_holder(path)}")
        time.sleep(_POLL)


def _holder(path: Path) -> str:
    with suppress(OSError):
        text = path.read_text("ascii", "replace").strip()
        if text.isdigit():
            return f"process {text}, which holds the lock `{path.name}`"
    return f"another bundler process, which holds the lock `{path.name}`"
