"""Attacks of foreign code on its host: each raises an error unless it is refused.

The code is that of a module, in the syntax of Python 3.7. `PRELUDE` binds `P`, the places of the host
(`HostPlaces`), and the helpers. System calls are made past Python, by the numbers of x86-64.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

PRELUDE = """
import ctypes, errno, os, signal, socket, stat, struct, sys, time
P = {places}
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    return libc.syscall(*arguments), ctypes.get_errno()
def refused(*arguments):
    result, number = call(*arguments)
    assert result < 0, "succeeded: " + repr(arguments)
    # Not for want of a valid argument: the refusal comes first.
    assert number in (errno.EPERM, errno.ENOSYS), os.strerror(number)
def fails(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return error.errno
    raise AssertionError("succeeded: " + repr(arguments))
def absent(*paths):
    assert not [path for path in paths if os.path.lexists(path)]
def mount(*arguments):
    ctypes.set_errno(0)
    assert libc.mount(*arguments) < 0, "mounted"
    assert ctypes.get_errno() == errno.EPERM, os.strerror(ctypes.get_errno())
"""

ATTACKS: Mapping[str, str] = {
    # --- the file system
    "remount_root": "mount(None, b'/', None, ctypes.c_ulong(0x1020), None)",
    "remount_super_block": "mount(None, b'/', None, ctypes.c_ulong(0x20), None)",
    "remount_usr": "mount(None, b'/usr', None, ctypes.c_ulong(0x1020), None)",
    "mount_setattr": "refused(442, -100, b'/', 0x8000, (ctypes.c_uint64 * 4)(0, 1, 0, 0), 32)",
    "mount_tmpfs": "mount(b'tmpfs', b'/tmp', b'tmpfs', ctypes.c_ulong(0), None)",
    "mount_proc": "mount(b'proc', b'/tmp', b'proc', ctypes.c_ulong(0), None)",
    "mount_bind": "mount(b'/', b'/tmp', None, ctypes.c_ulong(0x1000), None)",
    "unmount": "refused(166, b'/proc', 2)",
    "unmount_place": "refused(166, os.getcwd().encode(), 2)",
    "pivot_root": "refused(155, b'.', b'.')",
    "fsopen": "refused(430, b'tmpfs', 0)",
    "open_tree": "refused(428, -100, b'/', 1)",
    "move_mount": "refused(429, -100, b'/usr', -100, b'/tmp', 0)",
    "chroot": "os.mkdir('x')\nassert fails(os.chroot, 'x') == errno.EPERM",
    "open_by_handle": "refused(304, -100, b'x' * 64, 0)",
    "mknod_disk": "assert fails(os.mknod, 'disk', 0o600 | stat.S_IFBLK, os.stat('/usr').st_dev) == errno.EPERM",
    "mknod_memory": "assert fails(os.mknod, 'memory', 0o600 | stat.S_IFCHR, os.makedev(1, 1)) == errno.EPERM",
    "devices": "shown = set(os.listdir('/dev'))\n"
    "assert shown <= {'null', 'zero', 'full', 'random', 'urandom', 'fd', 'stdin', 'stdout', 'stderr', 'shm'}, shown",
    "write_system": "assert fails(open, '/usr/lib/bundler-attack', 'w') == errno.EROFS",
    "write_preload": "assert libc.creat(b'/etc/bundler-attack', 0o644) < 0",
    "write_host_file": "assert libc.open(P['file'].encode(), 1) < 0",
    "read_host_file": "fails(open, P['file'])",
    "list_store": "fails(os.listdir, P['store'])",
    "homes": "absent(os.path.expanduser('~root/.ssh'), '/home', '/var/lib', '/srv', '/mnt', '/boot')",
    "shadow": "assert not os.path.exists('/etc/shadow') or not open('/etc/shadow').read()",
    "hard_link": "fails(os.link, '/etc/passwd', 'passwd')",
    "rename_place": "fails(os.rename, os.path.dirname(os.getcwd()), os.path.dirname(os.getcwd()) + '-x')",
    "parent_of_place": "absent(os.path.join(P['store'], 'x'))\nfails(os.mkdir, os.path.join(P['store'], 'x'))",
    # --- the kernel
    "core_pattern": "fails(open, '/proc/sys/kernel/core_pattern', 'w')",
    "sysrq": "fails(open, '/proc/sysrq-trigger', 'w')",
    "host_name": "fails(open, '/proc/sys/kernel/hostname', 'w')",
    "namespaces_limit": "fails(open, '/proc/sys/user/max_user_namespaces', 'w')",
    "sys_power": "fails(open, '/sys/power/state', 'w')",
    "sys_uevent": "fails(open, '/sys/kernel/uevent_helper', 'w')",
    "cgroup": "places = [p for p in ('/sys/fs/cgroup/x', '/sys/fs/cgroup/memory/x', '/sys/fs/cgroup/unified/x')]\n"
    "for place in places: fails(os.mkdir, place)",
    "release_agent": "fails(open, '/sys/fs/cgroup/memory/release_agent', 'w')",
    "set_host_name": "refused(170, b'x', 65)",
    "reboot": "refused(169, 0xfee1dead, 672274793, 0, None)",  # CAD off: harmless if it succeeded
    "init_module": "refused(175, b'', 0, b'')",
    "finit_module": "refused(313, -1, b'', 0)",
    "delete_module": "refused(176, b'none', 0)",
    "kexec": "refused(246, 0, 0, None, 0)",
    "swapon": "refused(167, b'/nowhere', 0)",
    "clock": "refused(227, 0, (ctypes.c_long * 2)(0, -1))",
    "time_of_day": "refused(164, (ctypes.c_long * 2)(0, -1), None)",
    "kernel_log": "refused(103, 3, None, 0)",
    "ports": "refused(172, 3)",
    "accounting": "refused(163, None)",
    "quota": "refused(179, 0x800003, b'/', 0, None)",
    "bpf": "refused(321, 0, None, 0)",
    "perf": "refused(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)",
    "userfaultfd": "refused(323, 0)",
    "io_uring": "refused(425, 1, ctypes.create_string_buffer(120))",
    "keyctl": "refused(250, 0, -4, 1)",
    "add_key": "refused(248, b'user', b'x', b'x', 1, -4)",
    "request_key": "refused(249, b'user', b'x', None, -4)",
    "fanotify": "refused(300, 0, 0)",
    "lookup_cookie": "refused(212, 0, None, 0)",
    "call_of_a_newer_kernel": "assert call(467, -100, b'/', 1, None, 0) == (-1, errno.ENOSYS)",
    "x32": "assert call(0x40000000 | 39) == (-1, errno.ENOSYS)",
    # --- privileges
    "capabilities": "status = dict(l.split(':\\t', 1) for l in open('/proc/self/status').read().splitlines() if ':\\t' in l)\n"
    "assert {int(status[n], 16) for n in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')} == {0}, status\n"
    "assert status['NoNewPrivs'] == '1' and status['Seccomp'] == '2', status",
    "capset": "header = (ctypes.c_uint32 * 2)(0x20080522, 0)\nassert libc.capset(header, (ctypes.c_uint32 * 6)(1 << 21, 1 << 21, 0)) < 0",
    "exec_as_root": "import subprocess\nout = subprocess.check_output(['/bin/sh', '-c', 'grep Cap /proc/self/status'])\n"
    "assert set(out.split()[1::2]) == {b'0' * 16}, out",
    "memfd_exec": "import subprocess\nfd = libc.memfd_create(b'x', 0)\nos.write(fd, b'#!/bin/sh\\ngrep CapBnd /proc/self/status')\n"
    "os.fchmod(fd, 0o4755)\nout = subprocess.check_output(['/proc/self/fd/%d' % fd], pass_fds=[fd])\nassert out.split()[1] == b'0' * 16",
    "setuid_program": "import shutil, subprocess\nshutil.copyfile('/bin/sh', 'sh')\nos.chmod('sh', 0o6755)\n"
    "out = subprocess.check_output(['./sh', '-p', '-c', 'grep CapEff /proc/self/status'])\nassert out.split()[1] == b'0' * 16",
    "set_groups": "assert fails(os.setgroups, [0]) == errno.EPERM",
    "other_user": "assert fails(os.setuid, 54321) in (errno.EPERM, errno.EINVAL)",
    # --- namespaces
    "unshare_user": "refused(272, 0x10000000)",
    "unshare_mounts": "refused(272, 0x20000)",
    "clone_user": "refused(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "clone3": "assert call(435, ctypes.create_string_buffer(88), 88) == (-1, errno.ENOSYS)",
    "setns_init": "try: fd = os.open('/proc/1/ns/mnt', os.O_RDONLY)\nexcept OSError: pass\nelse: refused(308, fd, 0)",
    "setns_host": "fails(os.open, '/proc/%d/ns/mnt' % P['pid'], os.O_RDONLY)",
    "root_of_init": "fails(os.listdir, '/proc/1/root')",
    # --- other processes
    "ptrace": "refused(101, 16, os.getppid(), 0, 0)",
    "vm_read": "refused(310, os.getppid(), None, 0, None, 0, 0)",
    "vm_write": "refused(311, os.getppid(), None, 0, None, 0, 0)",
    "memory_of_init": "fails(open, '/proc/1/mem', 'r+b')",
    "kcmp": "refused(312, os.getpid(), os.getppid(), 0, 0, 0)",
    "pidfd_getfd": "refused(438, 0, 0, 0)",
    "pidfd_host": "result, number = call(434, P['pid'], 0)\nassert (result, number) == (-1, errno.ESRCH)",
    "signal_host": "assert fails(os.kill, P['pid'], 0) == errno.ESRCH",
    "priority_of_host": "assert fails(os.setpriority, os.PRIO_PROCESS, P['pid'], 19) == errno.ESRCH",
    "kill_init": "for number in range(1, 65): os.kill(1, number)\ntime.sleep(0.05)\nos.kill(1, 0)",
    "limits_of_init": "refused(302, 1, 0, (ctypes.c_uint64 * 2)(0, 0), None)",
    "host_processes": "assert not os.path.exists('/proc/%d' % P['pid'])\n"
    "shown = [n for n in os.listdir('/proc') if n.isdigit()]\nassert len(shown) < 100, shown",
    # --- a slower build, and traces on the host
    "realtime": "assert fails(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)) == errno.EPERM",
    "raise_priority": "assert fails(os.setpriority, os.PRIO_PROCESS, 0, -20) in (errno.EPERM, errno.EACCES)",
    "io_priority": "assert call(251, 1, 0, 1 << 13)[0] < 0",
    "raise_limits": "import resource\nsoft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
    "try: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))\nexcept (ValueError, OSError): pass\nelse: raise AssertionError(hard)",
    "lock_memory": "import resource\nlimit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]\n"
    "place = ctypes.create_string_buffer(256 << 20)\nassert libc.mlock(place, ctypes.c_size_t(256 << 20)) < 0, limit",
    "oom_score": "fails(lambda: open('/proc/self/oom_score_adj', 'w').write('-1000'))",
    "signal_by_thread": "result, number = call(234, P['pid'], P['pid'], 0)\nassert (result, number) == (-1, errno.ESRCH)",
    "signal_by_queue": "assert call(129, P['pid'], 0, ctypes.create_string_buffer(128))[0] < 0",
    "migrate_pages": "assert call(256, P['pid'], 0, None, None)[0] < 0",
    "host_affinity": "assert fails(os.sched_setaffinity, P['pid'], [0]) == errno.ESRCH",
    "program_file": "fails(open, '/proc/self/exe', 'r+b')",
    "program_file_by_path": "fails(open, sys.executable, 'r+b')",
    "library_file": "fails(open, os.__file__, 'r+b')",
    "root_of_self": "fails(open, '/proc/self/root' + P['file'])",
    "parents_of_root": "fails(open, '/proc/self/cwd/' + '../' * 40 + P['file'].lstrip('/'))",
    "forwarding": "fails(open, '/proc/sys/net/ipv4/ip_forward', 'w')",
    "binary_formats": "fails(open, '/proc/sys/fs/binfmt_misc/register', 'w')",
    "capability_of_a_file": "open('c', 'w').close()\nassert fails(os.setxattr, 'c', 'security.capability', b'x' * 20) in (errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL)",
    "trusted_attribute": "open('t', 'w').close()\nassert fails(os.setxattr, 't', 'trusted.x', b'x') in (errno.EPERM, errno.EOPNOTSUPP)",
    "change_owner": "open('o', 'w').close()\nassert fails(os.chown, 'o', 54321, 54321) in (errno.EPERM, errno.EINVAL)",
    "immutable": "import fcntl\nfd = os.open('i', os.O_CREAT | os.O_RDONLY)\nfails(fcntl.ioctl, fd, 0x40086602, struct.pack('l', 0x10))",
    "set_domain_name": "refused(171, b'x', 1)",
    "hang_up": "refused(153)",
    "swapoff": "refused(168, b'/nowhere')",
    "adjust_clock": "assert call(159, ctypes.create_string_buffer(b'\\1' + b'\\0' * 255, 256))[0] < 0",
    "unshare_time": "refused(272, 0x80)",
    "fsconfig": "refused(431, 0, 0, None, None, 0)",
    "fsmount": "refused(432, 0, 0, 0)",
    "fspick": "refused(433, -100, b'/', 0)",
    "kexec_file": "refused(320, -1, -1, 0, None, 0)",
    "process_vm_advice": "assert call(440, 0, None, 0, 0, 0)[0] < 0",
    # --- sockets
    "unix_path": "assert fails(socket.socket(socket.AF_UNIX).connect, P['socket']) in (errno.ENOENT, errno.ECONNREFUSED)",
    "unix_visible": "assert fails(socket.socket(socket.AF_UNIX).connect, P['visible_socket']) in (errno.ENOENT, errno.ECONNREFUSED)",
    "unix_abstract": "assert fails(socket.socket(socket.AF_UNIX).connect, P['abstract']) == errno.ECONNREFUSED",
    "unix_by_c": "fd = libc.socket(1, 1, 0)\nname = struct.pack('H108s', 1, P['socket'].encode())\nassert libc.connect(fd, name, 110) < 0",
    "docker": "absent('/run/docker.sock', '/var/run/docker.sock', '/run/containerd', '/run/dbus', '/run/systemd')",
    "tcp": "assert fails(socket.socket().connect, ('127.0.0.1', P['port'])) == errno.ENETUNREACH",
    "tcp_by_c": "fd = libc.socket(2, 1, 0)\naddress = struct.pack('=H', 2) + struct.pack('!H4s8x', P['port'], bytes([127, 0, 0, 1]))\n"
    "assert libc.connect(fd, address, 16) < 0",
    "interfaces": "assert [name for _, name in socket.if_nameindex()] in ([], ['lo'])",
    "vsock": "assert fails(socket.socket, 40, socket.SOCK_STREAM) == errno.EAFNOSUPPORT",
    "packet": "assert fails(socket.socket, 17, socket.SOCK_RAW) in (errno.EAFNOSUPPORT, errno.EPERM)",
    "kernel_crypto": "assert fails(socket.socket, 38, socket.SOCK_SEQPACKET) == errno.EAFNOSUPPORT",
    "raw": "assert fails(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1) == errno.EPERM",
    "netlink_change": "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)\n"
    "s.send(struct.pack('=IHHIIBxHiII', 32, 16, 5, 1, 0, 0, 0, 1, 1, 1))\n"
    "assert struct.unpack_from('i', s.recv(64), 16)[0] == -errno.EPERM",
    # --- descriptors and terminals
    "descriptors": "kinds = [os.readlink('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)]\n"
    "assert not [k for k in kinds if not k.startswith(('pipe:', '/dev/null', '/proc', os.getcwd()))], kinds",
    "type_into_terminal": "import fcntl\nassert fails(fcntl.ioctl, 2, 0x5412, b'x') == errno.EPERM",
    "type_into_console": "import fcntl\nassert fails(fcntl.ioctl, 2, 0x541C, b'\\x02') == errno.EPERM",
    "terminal": "fails(open, '/dev/tty')",
    # --- what stays behind
    "shared_memory": "libc.shmget(0x62756e64, 4096, 0o1666)",
    "message_queue": "libc.mq_open(b'/bundler-attack', 0o102, 0o666, None)",
    "dev_shm": "open('/dev/shm/bundler-attack', 'w').close()",
    "tmp": "open('/tmp/bundler-attack', 'w').close()",
    "scratch_is_bounded": "status = os.statvfs('.')\nassert status.f_blocks * status.f_frsize <= 4 << 30 or P['disk']",
    "core": "import resource\nassert resource.getrlimit(resource.RLIMIT_CORE)[1] <= 1",
}

LEFT_BEHIND = (Path("/dev/shm/bundler-attack"), Path("/tmp/bundler-attack"), Path("/etc/bundler-attack"))
"""Files that the attacks create, where they can."""


@dataclass(frozen=True, kw_only=True)
class HostPlaces:
    """What an attack must not reach."""

    file: str
    store: str
    """A directory that the sandbox does not show."""
    pid: int
    socket: str
    visible_socket: str
    """A socket in a directory that the sandbox shows."""
    abstract: str
    port: int
    disk: bool = False
    """Whether the working directory is on the disk."""

    def prelude(self) -> str:
        """Return the code before each attack."""
        # A name in the abstract namespace starts with NUL, which JSON escapes as Python does.
        return PRELUDE.replace(
            "{places}", json.dumps(asdict(self)).replace("false", "False").replace("true", "True")
        )


@contextmanager
def host_places(folder: Path, visible: Path) -> Iterator[HostPlaces]:
    """Listen on sockets of the host, and yield them with a secret file."""
    secret = folder / "secret"
    secret.write_text("secret")
    for left in LEFT_BEHIND:
        left.unlink(missing_ok=True)
    names = {
        "socket": str(folder / "s"),
        "visible_socket": str(visible / "s"),
        "abstract": f"\0bundler-{os.getpid()}",
    }
    listeners = []
    for name in names.values():
        listener = socket.socket(socket.AF_UNIX)
        if not name.startswith("\0"):
            Path(name).unlink(missing_ok=True)
        listener.bind(name)
        listeners.append(listener)
    tcp = socket.socket()
    tcp.bind(("127.0.0.1", 0))
    listeners.append(tcp)
    for listener in listeners:
        listener.listen()
    try:
        yield HostPlaces(
            file=str(secret),
            store=str(folder),
            pid=os.getpid(),
            port=tcp.getsockname()[1],
            socket=names["socket"],
            visible_socket=names["visible_socket"],
            abstract=names["abstract"],
        )
    finally:
        for listener in listeners:
            listener.close()
        Path(names["visible_socket"]).unlink(missing_ok=True)


_RUNNER = """
import json, os, sys
prelude, attacks = json.loads(ARGUMENTS)
for name, code in attacks.items():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            folder = os.urandom(8).hex()  # a setup.py runs more than once
            os.mkdir(folder)
            os.chdir(folder)
            exec(prelude + code + chr(10), {})
        except BaseException as error:
            os.write(writer, (type(error).__name__ + ": " + str(error)).encode()[:300])
        os._exit(0)
    os.close(writer)
    text = os.read(reader, 1000).decode()
    os.close(reader)
    status = os.waitpid(child, 0)[1]
    ANSWER(name, text or ("status %d" % status if status else ""))
"""


def runner(places: HostPlaces, answer: str = "lambda *pair: print(json.dumps(pair), flush=True)") -> str:
    """Return a program that tries all attacks, each in a child and a directory of its own.

    :param answer: an expression for the function that gets the name of an attack and its fault, or "".
    """
    arguments = json.dumps([places.prelude(), dict(ATTACKS)])
    return f"ARGUMENTS = {arguments!r}\nANSWER = {answer}\n{_RUNNER}"
