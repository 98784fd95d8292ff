"""Run by the host Python: start a program without a network, privileges, write access or surviving processes.

Started as ``python -I -S sandbox_child.py [OPTION...] -- PROGRAM ARGUMENT...`` with
PROGRAM as an absolute path. User and group ids do not change. The program has no
capabilities and cannot gain any; the kernel kills it when the thread that started
this script ends.

--net            new namespaces for the network and IPC: no interface is up, not even the loopback
--pid            a new process namespace: when the program ends, all its processes are killed
--root           a root directory of its own: the programs and libraries of the system, the directories
                 of the next options, an own /dev, /tmp and /proc; everything else is absent
--visible DIR    show DIR, read-only; may be repeated, as the next three
--writable DIR   show DIR, writable
--empty DIR      an empty, writable directory in memory instead of DIR
--hidden FILE    with --root, an empty file instead of FILE
--landlock       the same without a mount: other files are visible, but cannot be opened
--filter         refuse system calls: see ``sandbox_filter.py``
--scratch BYTES  limit of all that is written: in memory, and in the writable directories
--memory BYTES   limit of the memory of all processes together
--processes N    limit of their number
--seconds N      limit of the time until the program ends

Exit code 125, with one line on stderr: the system refuses a restriction. 126: the
program cannot be started. 124: a limit was exceeded, and everything was killed. 2:
invalid arguments. All others are the program's; if a signal ends the program, the
same signal ends this script. Standard library only.
"""

# Without the enumerations of signal, whose import takes a third of the start.
import _signal as signal
import ctypes
import os
import sys
import time

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS = 1, 24, 28, 38
PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 36, 47, 4
# NOROOT, NO_SETUID_FIXUP, KEEP_CAPS off and NO_CAP_AMBIENT_RAISE, each with its lock (capabilities(7)).
SECUREBITS = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80
CAPABILITY_VERSION_3 = 0x20080522

EXCEEDED, REFUSED, NOT_STARTED = 124, 125, 126
TICK = 0.1
"""Seconds between two looks at the limits."""
USAGE = "usage: sandbox_child.py [OPTION...] -- PROGRAM ARGUMENT...\n"
FLAGS = {"--net": "net", "--pid": "pid", "--root": "root", "--landlock": "landlock", "--filter": "filter"}
PLACES = {"--visible": "visible", "--writable": "writable", "--empty": "empty", "--hidden": "hidden"}
NUMBERS = {"--scratch": "scratch", "--memory": "memory", "--processes": "processes", "--seconds": "seconds"}

libc = ctypes.CDLL(None, use_errno=True)


def load(name):
    """Run a script of this directory, and return its global names."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    with open(path, encoding="utf-8") as file:
        values = {"__name__": name}
        exec(compile(file.read(), path, "exec"), values)
    return values


ROOT, FILTER, LIMIT = load("sandbox_root.py"), load("sandbox_filter.py"), load("sandbox_limits.py")


def check(result):
    """Raise OSError if a system call failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def say(text):
    """Write one line to stderr; the streams of Python may be buffered."""
    os.write(2, ("sandbox: " + text + "\n").encode("utf-8", "backslashreplace"))


def write(path, text):
    """Write a file of /proc in one write(2), as user_namespaces(7) requires for the maps."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)


def enter_user_namespace(flags=0):
    """Enter a new user namespace with the same user and group id, and the other namespaces of ``flags``."""
    uid, gid = os.geteuid(), os.getegid()
    check(libc.unshare(CLONE_NEWUSER | flags))
    # user_namespaces(7): a group may only be mapped after setgroups is denied.
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", "{0} {0} 1".format(uid))
    write("/proc/self/gid_map", "{0} {0} 1".format(gid))


def leave(flags):
    """Enter new namespaces, and return whether they belong to a new user namespace."""
    try:
        enter_user_namespace(flags)
    except OSError:
        if os.geteuid() != 0:
            raise
        check(libc.unshare(flags))  # root, where user namespaces are disabled
        return False
    return True


# --- the program -------------------------------------------------------------


def drop_privileges():
    """Give up all capabilities, for this process and for every program that it starts."""
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    libc.prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0)
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 and capability > 40:
            break  # the kernel has no more; CAP_CHECKPOINT_RESTORE, of Linux 5.9, is 40
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    check(libc.capset(header, (ctypes.c_uint32 * 6)()))
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def die_with(parent):
    """Ask the kernel for SIGKILL when ``parent`` ends; call it last, since new credentials clear it."""
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(NOT_STARTED)


def start(program, options, parent, second, ready, go):
    """Give up everything that a program does not need, and become it.

    :param second: whether to enter a second user namespace, whose mounts are locked (mount_namespaces(7)).
    :param ready: written when the maps of that namespace are, since /proc is read-only afterwards.
    """
    try:
        if second:
            enter_user_namespace()
        os.write(ready, b"x")
        os.read(go, 1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        LIMIT["set_limits"](options)
        drop_privileges()
        if options["landlock"]:
            readable = [*ROOT["SYSTEM"], "/proc", "/sys", *options["visible"]]
            landlock = load("sandbox_landlock.py")  # the least common: others need not compile it
            landlock["restrict"](readable, options["writable"] + options["empty"])
        if options["filter"]:
            FILTER["install"](libc, not (options["net"] and options["root"]))
        os.closerange(3, 1 << 16)
        die_with(parent)
    except OSError as error:
        say("cannot restrict the program: {}".format(error))
        os._exit(REFUSED)
    try:
        os.execv(program[0], program)
    except OSError as error:
        say("cannot start {}: {}".format(program[0], error))
    os._exit(NOT_STARTED)


# --- its limits, and its end -------------------------------------------------


def kill_all(options):
    """Kill the program and its descendants; some may start others meanwhile."""
    if options["pid"]:
        return  # the kernel does it when this process ends
    for _ in range(1000):
        running = list(LIMIT["children"](os.getpid()))
        if not running:
            return
        for pid in running:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except OSError:
            return


def watch(child, options, report):
    """Wait for the program, reap orphans, compare the limits; report the exit status and end all."""
    limits = LIMIT["Limits"](options)
    following = time.monotonic() + TICK
    while True:
        signal.sigtimedwait([signal.SIGCHLD], max(0, following - time.monotonic()))
        ended = status = -1
        while ended not in (0, child):
            ended, status = os.waitpid(-1, os.WNOHANG)
        text = None
        if ended != child and time.monotonic() >= following:
            text = limits.exceeded()
            following = time.monotonic() + TICK
        if ended == child or text is not None:
            if text is not None:
                say("{}; the program was killed".format(text))
            os.write(report, str(status if text is None else EXCEEDED << 8).encode("ascii"))
            kill_all(options)
            os._exit(0)


def forbid_user_namespaces():
    """Set the limit of the first user namespace to zero; where it is read-only, the filter remains."""
    try:
        write("/proc/sys/user/max_user_namespaces", "0")
    except OSError:
        return


def be_init(program, options, own_users, sockets, report):
    """Run as the first process of a namespace: start the program, and watch it.

    The program must not be the first process itself: from within its namespace that one gets
    only signals it has handlers for (pid_namespaces(7)), so a fault would not end it.
    """
    for number in range(1, signal.NSIG):
        if signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN, None):
            signal.signal(number, signal.SIG_DFL)  # SIGINT has a handler, so it could be sent
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        written = []
        if options["root"]:
            written, options["proc"] = ROOT["build_root"](options, sockets)
        if options["pid"] and not options["root"]:
            options["proc"] = ROOT["show_processes"]()
        (was_ready, ready), (may_go, go) = os.pipe(), os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            os.close(was_ready)
            os.close(go)
            start(program, options, parent, own_users, ready, may_go)
        os.close(ready)
        os.close(may_go)
        os.read(was_ready, 1)
        if own_users:
            forbid_user_namespaces()
        if own_users and options["proc"]:
            LIMIT["limit_processes"](options["processes"])
        if options["root"]:
            ROOT["lock_root"](written)
        os.close(go)
    except OSError as error:
        say("no root directory: {}".format(error))
        os._exit(REFUSED)
    watch(child, options, report)


def supervise(program, options, own_users, sockets):
    """Run the program below a process that watches it, and end with its exit code or signal."""
    ended, report = os.pipe()
    parent = os.getpid()
    init = os.fork()
    if init == 0:
        os.close(ended)
        die_with(None if options["pid"] else parent)
        be_init(program, options, own_users, sockets, report)
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


def parse(arguments):
    """Parse the command line into options and the program; None if it is invalid."""
    options = dict.fromkeys(FLAGS.values(), False)
    options.update((name, []) for name in PLACES.values())
    options.update(scratch=1 << 31, memory=1 << 40, processes=1 << 16, seconds=1 << 31, proc=False)
    while arguments and arguments[0] != "--":
        option = arguments.pop(0)
        if option in FLAGS:
            options[FLAGS[option]] = True
        elif option in PLACES and arguments:
            options[PLACES[option]].append(arguments.pop(0))
        elif option in NUMBERS and arguments and arguments[0].isdigit():
            options[NUMBERS[option]] = int(arguments.pop(0))
        else:
            return None
    return (options, arguments[1:]) if len(arguments) > 1 else None


def main():
    """Run the command line and return the exit code."""
    parent = os.getppid()
    parsed = parse(sys.argv[1:])
    if parsed is None:
        sys.stderr.write(USAGE)
        return 2
    options, program = parsed
    flags = (CLONE_NEWNET | CLONE_NEWIPC) if options["net"] else 0
    flags |= CLONE_NEWPID if options["pid"] else 0
    flags |= CLONE_NEWNS if options["pid"] or options["root"] else 0
    flags |= CLONE_NEWUTS if options["root"] else 0
    sockets = ROOT["host_sockets"]() if options["root"] else []
    try:
        own_users = leave(flags) if flags else False
    except OSError as error:
        say("no namespace: {}".format(error))
        return REFUSED
    die_with(parent)
    return supervise(program, options, own_users, sockets)


if __name__ == "__main__":
    sys.exit(main())
