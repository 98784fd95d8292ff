"""Ground, effect: the one way a file or folder gets its final name: whole, durable, and never over another.

Everything is written under a name of its own beside the final one, flushed to
the disk and renamed. At every instant the final name is absent or complete
(docs/architecture.md, "The store").
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bundler.errors import OutputError

__all__ = ["output_error", "publish_file", "replace_file", "staged_dir", "staged_file", "sync_folder"]

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


def output_error(path: Path, error: OSError) -> OutputError:
    """Return a failure of the system as ours, naming the path."""
    hint = None
    if error.errno in _FULL:
        hint = "free some space, `bundler store gc`, or pass `--store` on another disk"
    return OutputError(f"`{path}` cannot be written: {error.strerror or error}", hint=hint)


@contextmanager
def staged_file(final: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a file that appears as ``final`` when the context ends well, and not at all otherwise.

    :param mode: its permission bits, whatever the umask.
    :raises FileExistsError: if something has that name by then.
    :raises OutputError: if the system refuses.
    """
    staged = _beside(final)
    try:
        with _created(staged, mode) as stream:
            yield stream
        publish_file(staged, final)
    except FileExistsError:
        raise
    except OSError as error:
        raise output_error(final, error) from error
    finally:
        # A read-only file system answers so even where nothing is; the first error is the one to tell.
        with suppress(OSError):
            staged.unlink()


def publish_file(staged: Path, final: Path) -> None:
    """Give a complete file its final name.

    :raises FileExistsError: if something has that name; the file stays where it was.
    """
    try:
        os.link(staged, final, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_no_replace(staged, final)
    else:
        staged.unlink()
    sync_folder(final.parent)


def replace_file(final: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a small file that may take the place of an older one, at once.

    :raises OutputError: if the system refuses.
    """
    staged = _beside(final)
    try:
        with _created(staged, mode) as stream:
            stream.write(content)
        staged.replace(final)
        sync_folder(final.parent)
    except OSError as error:
        raise output_error(final, error) from error
    finally:
        # A read-only file system answers so even where nothing is; the first error is the one to tell.
        with suppress(OSError):
            staged.unlink()


@contextmanager
def staged_dir(final: Path) -> Iterator[Path]:
    """Make a folder that appears as ``final`` when the context ends well, and not at all otherwise.

    :raises FileExistsError: if something has that name by then, be it an empty folder.
    :raises OutputError: if the system refuses.
    """
    staged = _beside(final)
    try:
        staged.mkdir(mode=0o700)
        yield staged
        _sync_tree(staged)
        staged.chmod(0o755)
        _rename_no_replace(staged, final)
        sync_folder(final.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise output_error(final, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; where folders cannot be opened, the system does it itself."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _created(path: Path, mode: int) -> Iterator[BinaryIO]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
        yield stream
        stream.flush()
        if os.name == "posix":
            os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())


def _beside(final: Path) -> Path:
    # 50 characters are 200 bytes at most; a name has 255.
    return final.with_name(f".{final.name[:50]}.{secrets.token_hex(6)}.partial")


def _rename_no_replace(source: Path, final: Path) -> None:
    """Rename without replacing (Linux: renameat2); elsewhere a check comes right before the rename."""
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if rename is not None:
            if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(final), _RENAME_NOREPLACE) == 0:
                return
            code = ctypes.get_errno()
            if code not in (errno.EINVAL, errno.ENOSYS):
                raise OSError(code, os.strerror(code), str(final))
    if os.path.lexists(final):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
    source.rename(final)


def _sync_tree(folder: Path) -> None:
    """Make a whole tree durable: one syncfs where there is one, else each file and folder."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if sys.platform == "linux" else None
    if syncfs is not None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if syncfs(descriptor) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), str(folder))
        finally:
            os.close(descriptor)
        return
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
    sync_folder(folder)
