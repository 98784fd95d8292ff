"""Ground, effect: locks that the system releases when their holder ends, however it ends.

The files are never deleted while they may be locked (a lock on a deleted file
excludes nobody), and name their holder for whoever has to wait. Where there is
no ``flock`` (Windows), `filelock` takes its place, and shared locks exclude.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bundler.reporter import Reporter
from bundler.system.atomic import output_error

if sys.platform != "win32":
    import fcntl

__all__ = ["locked_file", "try_lock"]

_PATIENCE = 1.0
"""Seconds of waiting until the holder is named."""
_POLL = 0.05


@contextmanager
def locked_file(path: Path, *, shared: bool, reporter: Reporter) -> Iterator[None]:
    """Hold a lock while the context is open; wait for it as long as it takes.

    :param shared: whether others may hold it too, if they share it as well.
    :raises OutputError: if the file system knows no locks.
    """
    if sys.platform == "win32":
        from filelock import FileLock  # noqa: PLC0415 - not needed elsewhere

        with FileLock(path):
            yield
        return
    descriptor = _acquire(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, reporter)
    try:
        if not shared:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> bool:
    """Return whether nobody holds a lock now."""
    if sys.platform == "win32":
        return False
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _acquire(path: Path, kind: int, reporter: Reporter) -> int:
    started = time.monotonic()
    told = False
    while True:
        descriptor = -1
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
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
        if not told and time.monotonic() - started > _PATIENCE:
            told = True
            reporter.note(f"waiting for {_holder(path)}")
        time.sleep(_POLL)


def _holder(path: Path) -> str:
    with suppress(OSError):
        text = path.read_text("ascii", "replace").strip()
        if text.isdigit():
            return f"process {text}, which works on the same"
    return "another bundler, which works on the same"
