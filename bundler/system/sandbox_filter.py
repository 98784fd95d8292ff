"""Run by the host Python inside the sandbox: refuse system calls (seccomp(2)).

Loaded by ``sandbox_child.py`` beside it, which ``exec``s this file. Standard library only. A small
program of classic BPF instead of libseccomp, which is not installed everywhere. It names the calls
that it refuses, as container engines do, and answers ENOSYS to calls that are newer than its table.
"""

import ctypes
import errno
import os
import struct

PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
# Without it, kernels before 5.16 switch off store bypass for the program, which makes it slower.
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4

# linux/bpf_common.h and linux/seccomp.h. BPF is 32-bit: an argument is read as its lower half,
# except for pointers, which are compared with NULL in both halves.
LOAD, IF_EQUAL, IF_GREATER_EQUAL, IF_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCH, ARGUMENT = 0, 4, 16

# AUDIT_ARCH_* of linux/audit.h, the index into the table, and the number of seccomp(2) itself.
ARCHITECTURES = {"x86_64": (0xC000003E, 0, 317), "aarch64": (0xC00000B7, 1, 277)}
# The first number that is not known here: open_tree_attr(2) of Linux 6.15, which changes mounts. Numbers
# from 424 are the same on all machines; those of x32 (bit 30) are larger, too.
NEWER = 467

# The numbers on x86-64 and on arm64 (asm-generic); None where a machine lacks the call.
REFUSED_CALLS = {
    # Mounts and roots: a read-only mount can be mounted writable again.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    # Namespaces; clone(2) is refused by its flags.
    "unshare": (272, 97),
    "setns": (308, 268),
    # Other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # The kernel: keys, programs, modules, its log; interfaces with a history of faults.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "syslog": (103, 116),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "uselib": (134, None),
    "_sysctl": (156, None),
    "sysfs": (139, None),
    "nfsservctl": (180, 42),
    "modify_ldt": (154, None),
    # The machine: its time, name, hardware and power.
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "acct": (163, 89),
    "iopl": (172, None),
    "ioperm": (173, None),
    "vhangup": (153, 58),
}
# Refused besides where the program shares the host's namespaces: connections, and what stays behind.
SHARED_CALLS = {
    "connect": (42, 203),
    "listen": (50, 201),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
UNREACHABLE = frozenset({"connect", "listen", "sendmsg", "sendmmsg"})
CLONE, CLONE3 = (56, 220), 435
SOCKET, SENDTO, IOCTL, PRLIMIT, KILL_CALL = (41, 198), (44, 206), (16, 29), (302, 261), (62, 129)
# Namespaces of sched.h: mount, cgroup, uts, ipc, user, pid and network.
NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
# AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK belong to a network namespace; others, as AF_VSOCK, do not.
FAMILIES = (1, 2, 10, 16)
# TIOCSTI and TIOCLINUX type into a terminal.
TERMINAL = (0x5412, 0x541C)


def instruction(code, value, if_true=0, if_false=0):
    """Return one ``struct sock_filter``."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def fail(number):
    """Return the instruction that ends the call with an error."""
    return instruction(RETURN, FAIL | number)


def when(call, column, body):
    """Return the instructions that run ``body``, which must end with a return, for one call."""
    if call[column] is None:
        return []
    return [instruction(IF_EQUAL, call[column], 0, len(body)), *body]


def argument(position, upper=False):
    """Return the instruction that loads one half of an argument."""
    return instruction(LOAD, ARGUMENT + 8 * position + 4 * upper)


def program(machine, shares_host):
    """Return the BPF program for a machine, or None if its numbers are not known.

    :param shares_host: whether the program is in the host's network or file system, so that no
        connection may be made at all, not even to a Unix socket.
    """
    if machine not in ARCHITECTURES:
        return None
    arch, column, _ = ARCHITECTURES[machine]
    allow = instruction(RETURN, ALLOW)
    code = [
        instruction(LOAD, ARCH),
        instruction(IF_EQUAL, arch, 1, 0),
        instruction(RETURN, KILL),
        instruction(LOAD, NUMBER),
        instruction(IF_GREATER_EQUAL, NEWER, 0, 1),
        fail(errno.ENOSYS),  # includes the numbers of x32
        instruction(IF_EQUAL, CLONE3, 0, 1),
        fail(errno.ENOSYS),  # its flags are in memory; the C library then uses clone(2)
    ]
    for call in REFUSED_CALLS.values():
        code += when(call, column, [fail(errno.EPERM)])
    refuse = fail(errno.EPERM)
    code += when(CLONE, column, [argument(0), instruction(IF_SET, NAMESPACES, 0, 1), refuse, allow])
    families = [instruction(IF_EQUAL, family, len(FAMILIES) - at) for at, family in enumerate(FAMILIES)]
    code += when(SOCKET, column, [argument(0), *families, fail(errno.EAFNOSUPPORT), allow])
    requests = [instruction(IF_EQUAL, TERMINAL[0], 1, 0), instruction(IF_EQUAL, TERMINAL[1], 0, 1)]
    code += when(IOCTL, column, [argument(1), *requests, refuse, allow])
    # Limits of other processes: those of the first process of the namespace would end all.
    code += when(PRLIMIT, column, [argument(0), instruction(IF_EQUAL, 0, 1, 0), refuse, allow])
    if shares_host:
        for name, call in SHARED_CALLS.items():
            code += when(call, column, [fail(errno.ENETUNREACH if name in UNREACHABLE else errno.EPERM)])
        lower = [argument(4), instruction(IF_EQUAL, 0, 0, 2)]
        upper = [argument(4, upper=True), instruction(IF_EQUAL, 0, 1, 0)]
        code += when(SENDTO, column, [*lower, *upper, fail(errno.ENETUNREACH), allow])
        # kill(-1, ...) ends every process of the user.
        everyone = [argument(0), instruction(IF_EQUAL, 0xFFFFFFFF, 0, 1)]
        code += when(KILL_CALL, column, [*everyone, refuse, allow])
    return b"".join([*code, allow])


class Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def install(libc, shares_host):
    """Refuse the system calls for this process and all its children, and setuid programs.

    :raises OSError: if the kernel has no filters, or the machine is not in the table.
    """
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    machine = os.uname().machine
    code = program(machine, shares_host)
    if code is None:
        raise OSError(errno.ENOSYS, "no system call numbers of " + machine)
    argument = Program(len(code) // 8, code)
    number = ARCHITECTURES[machine][2]
    for flags in (SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0):
        if libc.syscall(number, SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(argument)) == 0:
            return
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
