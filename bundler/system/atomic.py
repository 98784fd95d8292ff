"""Publish files and directories under their final name: complete, durable, and without overwriting.

Every output is written under a random name in the same directory, flushed with
``fsync`` and then linked or renamed. A reader therefore finds the final name
absent or complete, also after a crash (docs/architecture.md, "The store").
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shlex
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bundler.errors import OutputError

__all__ = [
    "check_replaceable",
    "check_writable",
    "free_bytes",
    "output_error",
    "publish_file",
    "remove_temporaries",
    "replace_file",
    "staged_dir",
    "staged_file",
    "sync_folder",
    "temporary",
]

# Constants of renameat2(2), from linux/fs.h and fcntl.h.
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_FULL = (errno.ENOSPC, errno.EDQUOT)
# The errors of link(2) on file systems without hard links: vfat, some FUSE and network file systems.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)
_temporaries: set[Path] = set()
"""The temporary files and directories of this process that exist, or are about to be created."""


def check_writable(folder: Path) -> None:
    """Check that a directory can be created, or written to, before any work is done for it.

    :raises OutputError: if it cannot.
    """
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    if not existing.is_dir():
        raise OutputError(
            f"cannot write to `{folder}`: `{existing}` is not a directory", hint="pass another directory"
        )
    # access(2) tells root that every directory is writable.
    probe = _beside(existing / "probe")
    try:
        with probe.open("xb"):
            probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write to `{folder}`: {(error.strerror or str(error)).lower()}",
            hint="pass another directory",
        ) from error


def check_replaceable(
    path: Path, inputs: Iterable[Path], *, kind: str, is_own: Callable[[bytes], bool], default: str
) -> None:
    """Check that an output replaces nothing but an older output of its kind, before any work is done for it.

    :param inputs: the files that the command reads, none of which it may overwrite.
    :param kind: the output, as a noun with its article.
    :param is_own: return whether the content of an existing file is such an output.
    :param default: the usual name of the output, for the hint.
    :raises OutputError: if it would replace an input, another file, or a device.
    """
    if not os.path.lexists(path):
        return
    reason = None
    try:
        if any(item.exists() and path.exists() and path.samefile(item) for item in inputs):
            reason = "it is an input"
        elif not stat.S_ISREG(path.stat().st_mode) or path.parent == Path("/dev"):
            reason = "it is not a regular file"
        elif (content := path.read_bytes()) and not is_own(content):
            reason = f"it exists, and is not {kind}"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    if reason is not None:
        stem, dot, suffix = default.rpartition(".")
        names = [default, *(f"{stem}.{number}{dot}{suffix}" for number in range(2, 100))]
        folder = path.parent if path.parent != Path("/dev") else Path()
        other = folder / next((name for name in names if not os.path.lexists(folder / name)), default)
        raise OutputError(
            f"`{path}` is not overwritten: {reason}",
            hint=f"pass another file: `-o {shlex.quote(str(other))}`",
        )


def free_bytes(folder: Path) -> int:
    """Return the free space on the disk that a directory is on, or would be created on."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    return shutil.disk_usage(existing).free


def output_error(path: Path, error: OSError, *, if_full: str | None = None) -> OutputError:
    """Return the `OutputError` for a failed system call, with the path and the system's reason.

    :param if_full: the hint for a full disk; by default to free space where the file is written.
    """
    hint = None
    if error.errno in _FULL:
        hint = if_full or f"free space on the disk of `{path.parent}`, or write to another disk"
    elif error.errno == errno.ENOENT and not path.parent.exists():
        is_cwd = path.parent == Path()
        hint = "cd to a directory that exists" if is_cwd else f"mkdir -p {shlex.quote(str(path.parent))}"
    return OutputError(f"cannot write `{path}`: {error.strerror or error}", hint=hint)


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Remove the file or directory of this name, if any, when the context ends.

    The context only names it, and may create it at any time. A signal can interrupt the
    removal itself; `remove_temporaries` removes the rest.
    """
    _temporaries.add(path)
    try:
        yield path
    finally:
        _remove(path)
        _temporaries.discard(path)


def remove_temporaries() -> None:
    """Remove the temporary files of all interrupted contexts; call it last, when no thread writes."""
    for path in list(_temporaries):
        _remove(path)


def _remove(path: Path) -> None:
    # On a read-only file system unlink fails with EROFS even if there is no file to remove; the
    # error to report is the first one.
    with suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


@contextmanager
def staged_file(
    final: Path, *, mode: int = 0o644, replace: bool = False, if_full: str | None = None
) -> Iterator[BinaryIO]:
    """Open a new file that is published as ``final`` when the context ends without an exception.

    :param mode: permission bits of the file, independent of the umask.
    :param replace: whether to replace an older file of this name, atomically.
    :param if_full: the hint for a full disk, see `output_error`.
    :raises FileExistsError: if ``final`` exists when the context ends, and is not to be replaced.
    :raises OutputError: if the file cannot be written.
    """
    with temporary(_beside(final)) as staged:
        try:
            with _created(staged, mode) as stream:
                yield stream
            if replace:
                staged.replace(final)
                sync_folder(final.parent)
            else:
                publish_file(staged, final)
        except FileExistsError:
            raise
        except OSError as error:
            raise output_error(final, error, if_full=if_full) from error


def publish_file(staged: Path, final: Path) -> None:
    """Move a complete file to its final name.

    link(2) fails if the name exists, which rename(2) does not; so a hard link is tried first.

    :raises FileExistsError: if ``final`` exists; ``staged`` is unchanged then.
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


def replace_file(final: Path, content: bytes, *, mode: int = 0o644, if_full: str | None = None) -> None:
    """Write a small file, atomically replacing an older one of the same name.

    :param mode: permission bits of the file, independent of the umask.
    :param if_full: the hint for a full disk, see `output_error`.
    :raises OutputError: if the file cannot be written.
    """
    with staged_file(final, mode=mode, replace=True, if_full=if_full) as stream:
        stream.write(content)


@contextmanager
def staged_dir(final: Path) -> Iterator[Path]:
    """Create a directory that is published as ``final`` when the context ends without an exception.

    :raises FileExistsError: if ``final`` exists when the context ends, even as an empty directory.
    :raises OutputError: if the directory cannot be written.
    """
    with temporary(_beside(final)) as staged:
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


def sync_folder(folder: Path) -> None:
    """Flush the entries of a directory to the disk, so that a rename in it survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _created(path: Path, mode: int) -> Iterator[BinaryIO]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
        yield stream
        stream.flush()
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())


def _beside(final: Path) -> Path:
    if not final.name:  # `.` and `/`
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
    # 50 characters are 200 bytes at most; a name has 255.
    return final.with_name(f".{final.name[:50]}.{secrets.token_hex(6)}.partial")


def _rename_no_replace(source: Path, final: Path) -> None:
    """Rename without replacing an existing name, by renameat2(2) where it is available.

    Older musl has no renameat2, and NFS rejects its flag with EINVAL: there, the check precedes the
    rename, and another process could create the name in between.
    """
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
    """Flush a whole tree with one syncfs(2); an fsync for each of thousands of files takes minutes.

    A system without it, such as macOS, flushes all of its file systems.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)
