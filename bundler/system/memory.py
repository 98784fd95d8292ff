"""Directories in memory: creating and removing thousands of files takes seconds on a disk.

`/dev/shm` is a tmpfs (tmpfs(5)) on most systems. Containers often limit it to 64 MB, or forbid
to map programs from it; then it is not used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["MEMORY", "has_memory_for", "memory_folder"]

MEMORY = Path("/dev/shm")  # noqa: S108 - the directories in it have random names and mode 0700
_BLOCK = 4096
"""Bytes that a file in memory takes at least."""
_CGROUPS = Path("/sys/fs/cgroup")


def has_memory_for(size: int, files: int) -> bool:
    """Return whether files may be written to `MEMORY`: it is a tmpfs, and half of the free memory suffices.

    :param size: the bytes of the files together.
    :param files: their number.
    """
    needed = size + files * _BLOCK
    try:
        found = os.statvfs(MEMORY)
        mounts = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    # The last mount on a directory is the one that is visible: proc(5).
    kinds = [fields[2] for fields in map(str.split, mounts) if fields[1] == str(MEMORY)]
    if kinds[-1:] != ["tmpfs"] or found.f_flag & (os.ST_NOEXEC | os.ST_RDONLY):
        return False
    if not os.access(MEMORY, os.W_OK):
        return False
    free = min([found.f_bavail * found.f_frsize, *_free_bytes()])
    return needed <= free // 2


def memory_folder(name: str) -> Path:
    """Return the directory in memory of this name; it may not exist."""
    return MEMORY / f"bundler-{name}"


def _free_bytes() -> Iterator[int]:
    """Yield the available memory of this machine, and what the limits of the control groups leave of it."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
    with suppress(OSError):
        # Version 2 has one hierarchy, "0::/path"; in a container the root is its own group: cgroups(7).
        group = Path("/proc/self/cgroup").read_text("utf-8").rpartition("0::")[2].strip().lstrip("/")
        for folder in (_CGROUPS / group, *(_CGROUPS / group).parents):
            if not folder.is_relative_to(_CGROUPS):
                break
            with suppress(OSError, ValueError):  # "max" is no limit
                limit = int((folder / "memory.max").read_text("ascii"))
                yield limit - int((folder / "memory.current").read_text("ascii"))
