"""Run by the host Python: start a program without a network, write access or surviving processes.

Started as ``python -I sandbox.py [OPTION...] -- PROGRAM ARGUMENT...`` with
PROGRAM as an absolute path. User and group ids do not change. The kernel kills the
program when the thread that started this script ends.

--net            a new network namespace, in which no interface is up, not even the loopback
--pid            a new process namespace: when the program ends, all its processes are killed
--writable DIR   mount everything read-only except DIR; may be repeated

Exit code 125, with one line on stderr: the system refuses a namespace. 126: the
program cannot be started. 2: invalid arguments. All others are the program's; if a
signal ends the program, the same signal ends this script. Standard library only.
"""

import ctypes
import os
import signal
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

# mount(2) and mount_setattr(2), whose number is the same on every machine.
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1

REFUSED = 125
NOT_STARTED = 126
USAGE = "usage: sandbox.py [--net] [--pid] [--writable DIR]... -- PROGRAM ARGUMENT...\n"

libc = ctypes.CDLL(None, use_errno=True)


class MountAttributes(ctypes.Structure):
    """The argument of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def check(result):
    """Raise OSError if a system call failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare(flags):
    """Leave the namespaces that ``flags`` name (unshare(2))."""
    if hasattr(os, "unshare"):  # Python 3.12
        os.unshare(flags)
    else:
        check(libc.unshare(flags))


def write(path, text):
    """Write a file of /proc in one write(2), as user_namespaces(7) requires for the maps."""
    with open(path, "wb", buffering=0) as stream:
        stream.write(text.encode("ascii"))


def leave(flags):
    """Enter new namespaces with the same user and group ids."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            unshare(flags)
        except PermissionError:
            pass  # root of a container without CAP_SYS_ADMIN: as for any user
        else:
            return
    unshare(CLONE_NEWUSER | flags)
    # user_namespaces(7): a group may only be mapped after setgroups is denied.
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", "{0} {0} 1".format(uid))
    write("/proc/self/gid_map", "{0} {0} 1".format(gid))


def mount(source, target, kind, flags):
    """Call mount(2)."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    check(libc.mount(*texts, ctypes.c_ulong(flags), None))


def set_attributes(path, *, recursive, **attributes):
    """Call mount_setattr(2)."""
    wanted = MountAttributes(**attributes)
    flags = AT_RECURSIVE if recursive else 0
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    check(libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), flags, ctypes.byref(wanted), size))


def keep_writable(folders):
    """Make every mount read-only except ``folders``, and mount new shared memory.

    Multiprocessing needs a writable /dev/shm; the host's own would be shared with the program.
    """
    here = os.getcwd()
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    for folder in folders:
        mount(folder, folder, None, MS_BIND)
    set_attributes("/", recursive=True, set=MOUNT_ATTR_RDONLY)
    for folder in folders:
        set_attributes(folder, recursive=False, clear=MOUNT_ATTR_RDONLY)
    if os.path.isdir("/dev/shm"):
        mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV)
    os.chdir(here)  # the directory of that name is now on another mount


def show_own_processes():
    """Mount the /proc of the process namespace if that is permitted; the outer one is good enough."""
    try:
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        pass


def die_with(parent):
    """Ask the kernel for SIGKILL when ``parent`` ends; call it last, since new credentials clear it."""
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        sys.exit("sandbox: the parent is gone")


def start(program):
    """Replace this process by ``program``."""
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.stderr.write("sandbox: cannot start {}: {}\n".format(program[0], error))
        sys.stderr.flush()
    os._exit(NOT_STARTED)


def be_init(program, writable, report):
    """Run as the first process of a namespace: start the program, reap, report its exit status.

    The program must not be the first process itself: from within its namespace that one gets
    only signals it has handlers for (pid_namespaces(7)), so a fault would not end it.
    """
    die_with(None)
    show_own_processes()
    try:
        if writable:
            keep_writable(writable)
    except OSError as error:
        sys.stderr.write("sandbox: cannot mount read-only: {}\n".format(error))
        sys.stderr.flush()
        os._exit(REFUSED)
    child = os.fork()
    if child == 0:
        start(program)
    while True:
        ended, status = os.wait()
        if ended == child:
            os.write(report, str(status).encode("ascii"))
            os._exit(0)


def supervise(program, writable):
    """Run the program in a new process namespace and end with its exit code or signal."""
    ended, report = os.pipe()
    init = os.fork()
    if init == 0:
        be_init(program, writable, report)
    os.close(report)
    with os.fdopen(ended, "rb") as stream:
        text = stream.read()
    status = os.waitpid(init, 0)[1]
    status = int(text or status)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return os.WEXITSTATUS(status)


def options(arguments):
    """Parse the command line: --net, --pid, the writable directories, the program; None if it is invalid."""
    net = pid = False
    writable = []
    while arguments and arguments[0] != "--":
        option = arguments.pop(0)
        if option == "--net":
            net = True
        elif option == "--pid":
            pid = True
        elif option == "--writable" and arguments:
            writable.append(arguments.pop(0))
        else:
            return None
    return (net, pid, writable, arguments[1:]) if len(arguments) > 1 else None


def main():
    """Run the command line and return the exit code."""
    parent = os.getppid()
    wanted = options(sys.argv[1:])
    if wanted is None:
        sys.stderr.write(USAGE)
        return 2
    net, pid, writable, program = wanted
    flags = 0
    if net:
        flags |= CLONE_NEWNET
    if pid:
        flags |= CLONE_NEWPID | CLONE_NEWNS
    if writable:
        flags |= CLONE_NEWNS
    try:
        if flags:
            leave(flags)
        if writable and not pid:
            keep_writable(writable)
    except OSError as error:
        sys.stderr.write("sandbox: no namespace: {}\n".format(error))
        return REFUSED
    die_with(parent)
    if pid:
        return supervise(program, writable)
    return start(program)


if __name__ == "__main__":
    sys.exit(main())
