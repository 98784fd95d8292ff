"""Run by the host Python inside new namespaces: build the root directory of the sandbox.

Loaded by ``sandbox_child.py`` beside it, which ``exec``s this file. Standard library only. The
root is a directory in memory, of a limited size, with the system's programs and libraries and the
directories that the program needs; pivot_root(2) removes all others, and their sockets, from sight.
"""

import ctypes
import os
import stat

# mount(2), umount2(2) and mount_setattr(2), whose number is the same on every machine.
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
READ_ONLY, NO_SETUID, NO_DEVICES = 1, 2, 4

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/nix/store", "/gnu/store")
HIDDEN = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers")
DEVICES = ("null", "zero", "full", "random", "urandom")
OLD = "/.old"
LINKS_FOLLOWED = 40
# Directories in memory count their files, which take memory of the kernel.
FILES_IN_MEMORY = 200000

libc = ctypes.CDLL(None, use_errno=True)


class MountAttributes(ctypes.Structure):
    """The argument of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def check(result):
    """Raise OSError if a system call failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(source, target, kind, flags, data=None):
    """Call mount(2)."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    check(libc.mount(*texts, ctypes.c_ulong(flags), None if data is None else data.encode()))


def set_attributes(path, *, recursive=False, **attributes):
    """Call mount_setattr(2)."""
    wanted = MountAttributes(**attributes)
    flags = AT_RECURSIVE if recursive else 0
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    check(libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), flags, ctypes.byref(wanted), size))


def host_sockets():
    """Return the paths of the Unix sockets of this network namespace, before it is left."""
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return []
    # Num RefCount Protocol Flags Type St Inode Path
    return [path for path in (line.split(None, 7)[-1] for line in lines) if path.startswith("/")]


def show(path, *, writable=False):
    """Show a directory of the host under its own path, and each symbolic link on the way to it.

    A mount below a directory that is shown already changes nothing of the host: all are read-only.
    """
    here, names = "/", [name for name in path.split("/") if name]
    for _ in range(len(names) + LINKS_FOLLOWED * 10):
        if not names:
            break
        name = names.pop(0)
        place = os.path.normpath(os.path.join(here, name))
        if os.path.islink(OLD + place):
            target = os.readlink(OLD + place)
            if not os.path.lexists(place):
                os.makedirs(os.path.dirname(place), exist_ok=True)
                os.symlink(target, place)
            names = [part for part in target.split("/") if part] + names
            here = "/" if target.startswith("/") else here
        else:
            here = place
    if here == "/" or not os.path.lexists(OLD + here):
        return
    if os.path.lexists(here):
        if not writable and os.path.samefile(here, OLD + here):
            return  # below a directory that is shown
    elif os.path.isdir(OLD + here):
        os.makedirs(here)
    else:
        os.makedirs(os.path.dirname(here), exist_ok=True)
        os.close(os.open(here, os.O_CREAT, 0o600))
    # With the mounts below it: in a user namespace they cannot be left out (mount_namespaces(7)).
    mount(OLD + here, here, None, MS_BIND | MS_REC)
    set_attributes(here, recursive=True, set=READ_ONLY | NO_SETUID | NO_DEVICES)


def show_processes():
    """Mount the /proc of the process namespace; return whether that is permitted.

    It is not in a container in which parts of /proc are hidden.
    """
    try:
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        return False
    return True


def depth(path):
    """Return a key that sorts directories before those below them."""
    return path.split("/")


def make_empty(path):
    """Mount a new directory of the root's own file system at ``path``."""
    own = "/.empty" + path
    os.makedirs(own)
    if not os.path.isdir(path):
        os.makedirs(path)
    mount(own, path, None, MS_BIND)


def build_root(options, sockets):
    """Replace the root directory.

    :return: the mounts that become writable at the end, and whether /proc is that of the namespace.
    """
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    base = next(path for path in ("/tmp", "/mnt", "/dev") if os.path.isdir(path))
    limits = "mode=755,size={},nr_inodes={}".format(options["scratch"], FILES_IN_MEMORY)
    mount("tmpfs", base, "tmpfs", MS_NOSUID, limits)
    here = os.getcwd()
    os.chdir(base)
    os.mkdir(base + OLD)
    check(libc.pivot_root(b".", os.fsencode(base + OLD)))
    os.chdir("/")
    os.makedirs("/dev")
    for name in DEVICES:
        os.close(os.open("/dev/" + name, os.O_CREAT, 0o600))
        mount(OLD + "/dev/" + name, "/dev/" + name, None, MS_BIND)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink("/proc/self/fd" + target, "/dev/" + name)
    # Multiprocessing needs a writable /dev/shm; the host's own would be shared with the program.
    own = ["/dev/shm", "/tmp", "/var/tmp"]
    for path in own:
        make_empty(path)
    for path in SYSTEM:
        show(path)
    # Parents first: a mount hides those below it.
    for path in sorted({*options["visible"], *options["writable"], *options["empty"]}, key=depth):
        if path in options["empty"]:
            make_empty(path)
        else:
            show(path, writable=path in options["writable"])
    show("/sys")
    for path in (*HIDDEN, *sockets, *options["hidden"]):
        if os.path.isfile(path) or (os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)):
            mount("/dev/null", path, None, MS_BIND)
    os.mkdir("/proc")
    own_processes = show_processes()
    if not own_processes:
        mount(OLD + "/proc", "/proc", None, MS_BIND | MS_REC)
    check(libc.umount2(os.fsencode(OLD), MNT_DETACH))
    os.rmdir(OLD)
    os.chdir(here if os.path.isdir(here) else "/")  # the directory of that name, on its new mount
    return [*own, *options["empty"], *options["writable"]], own_processes


def lock_root(written):
    """Make every mount read-only except some."""
    set_attributes("/", recursive=True, set=READ_ONLY | NO_SETUID)
    for path in written:
        set_attributes(os.path.realpath(path), clear=READ_ONLY)
