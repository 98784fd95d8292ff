"""Run by the host Python: become another program, one that has no network and does not outlive its parent.

Started as ``python -I sandbox.py [--net] -- PROGRAM ARGUMENT...`` with PROGRAM
as an absolute path. With ``--net`` the program gets a network namespace of its
own, in which no interface is up, not even the loopback. User and group ids stay
what they are. The program is killed when the thread that started us ends.

Exit code 125, with one line on stderr: the system refuses the namespace. 126:
the program cannot be started. 2: wrong arguments. All others are the program's.
Standard library only.
"""

import ctypes
import os
import signal
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

REFUSED = 125
NOT_STARTED = 126


def unshare(flags):
    """Leave the namespaces that ``flags`` name (unshare(2))."""
    if hasattr(os, "unshare"):  # Python 3.12
        os.unshare(flags)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write(path, text):
    """Write a file of /proc in the one write(2) it wants."""
    with open(path, "wb", buffering=0) as stream:
        stream.write(text.encode("ascii"))


def leave_network():
    """Enter a network namespace in which nothing is up."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            unshare(CLONE_NEWNET)
        except PermissionError:
            pass  # root of a container, without the capability: as any user
        else:
            return
    unshare(CLONE_NEWUSER | CLONE_NEWNET)
    # user_namespaces(7): a group may only be mapped after setgroups is denied.
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", "{0} {0} 1".format(uid))
    write("/proc/self/gid_map", "{0} {0} 1".format(gid))


def die_with(parent):
    """Ask the kernel for a SIGKILL when ``parent`` ends; to be called last, as new credentials clear it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("sandbox: the parent is gone")


def main():
    """Do what the arguments say."""
    parent = os.getppid()
    arguments = sys.argv[1:]
    isolated = arguments[:1] == ["--net"]
    dashes, program = arguments[isolated : isolated + 1], arguments[isolated + 1 :]
    if dashes != ["--"] or not program:
        sys.stderr.write("usage: sandbox.py [--net] -- PROGRAM ARGUMENT...\n")
        return 2
    if isolated:
        try:
            leave_network()
        except OSError as error:
            sys.stderr.write("sandbox: no network namespace: {}\n".format(error))
            return REFUSED
    die_with(parent)
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.stderr.write("sandbox: cannot start {}: {}\n".format(program[0], error))
    return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main())
