"""Run by the host Python where no mount is permitted: refuse files by Landlock (landlock(7), Linux 5.13).

Loaded by ``sandbox_child.py`` beside it, which ``exec``s this file. Standard library only. Containers
permit Landlock where they refuse namespaces. It hides nothing, but nothing else can be opened; a Unix
socket in the file system is not a file to it, so the filter refuses connections.
"""

import ctypes
import os

SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION, RULE_PATH_BENEATH = 1, 1
# LANDLOCK_ACCESS_FS_* of linux/landlock.h: all rights of a version, and those to read.
RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
# Rights that a rule for a file may name: also to truncate, and ioctl(2) of devices.
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15
# LANDLOCK_SCOPE_*, of version 6: abstract Unix sockets, and signals to processes outside.
SCOPES = 3
# Device files that a program needs, besides those in the writable directories.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm")

libc = ctypes.CDLL(None, use_errno=True)


class Ruleset(ctypes.Structure):
    """``struct landlock_ruleset_attr``."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("files", "network", "scopes")]


class PathBeneath(ctypes.Structure):
    """``struct landlock_path_beneath_attr``."""

    _layout_ = "ms"  # that of `_pack_`, named since Python 3.14
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def check(result):
    """Return the result of a system call, or raise OSError if it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def allow(ruleset, path, rights):
    """Allow rights for a path and all below it; a missing path needs none."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        rights &= OF_FILES
    rule = PathBeneath(allowed=rights, parent=place)
    check(libc.syscall(SYS_ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0))
    os.close(place)


def restrict(readable, writable):
    """Refuse all files except some, for this process and all its children.

    :raises OSError: if the kernel has no Landlock.
    """
    version = check(libc.syscall(SYS_CREATE_RULESET, None, 0, CREATE_RULESET_VERSION))
    rights = RIGHTS[max(known for known in RIGHTS if known <= version)]
    wanted = Ruleset(files=rights, scopes=SCOPES if version >= 6 else 0)
    size = ctypes.sizeof(Ruleset) if version >= 6 else ctypes.sizeof(ctypes.c_uint64)
    ruleset = check(libc.syscall(SYS_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(size), 0))
    for path in readable:
        allow(ruleset, path, EXECUTE | READ_FILE | READ_DIR)
    for path in (*writable, *DEVICES):
        allow(ruleset, path, rights)
    check(libc.syscall(SYS_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)
