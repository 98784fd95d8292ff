"""Run inside the target Python: report which hosts and files an import tries to reach or change.

Loaded by ``import_modules.py`` beside it, which ``exec``s this file: a start with
``-I`` leaves the directory of a script out of ``sys.path``. Standard library
only, syntax of Python 3.7.

What is reported goes out over a pipe at once, since a module that waits for the
network may hang. Before Python 3.8, which brought audit hooks (PEP 578), changes
of files are seen only where they go through ``open`` and the functions of ``os``.
"""

import builtins
import errno
import functools
import io
import json
import os
import socket
import sys
from contextlib import suppress

INTERNET = (socket.AF_INET, socket.AF_INET6)
ADDRESSES_KEPT = WRITES_KEPT = 20
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# The functions of os that change what their first argument names, and the audit events they raise.
CHANGING = ("mkdir", "rename", "replace", "remove", "unlink", "rmdir", "symlink", "link", "truncate", "chmod")
CHANGES = frozenset("os." + name for name in CHANGING)

# The module may patch os and json (gevent does), and its result is sent after that.
write, getpid, dumps = os.write, os.getpid, json.dumps


def send(descriptor, value):
    """Write one line, all of it."""
    line = (dumps(value, sort_keys=True) + "\n").encode("ascii")
    while line:
        line = line[write(descriptor, line) :]


def address(host, port=None):
    """Return ``host:port``, or the host alone without a port."""
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    port = port.decode("ascii", "replace") if isinstance(port, bytes) else port
    host = "[{}]".format(host) if ":" in host else host
    return (host if port is None else "{}:{}".format(host, port))[:300]


def is_local(host):
    """Return whether a look-up of ``host`` is answered on this machine."""
    if not host or host in ("localhost", b"localhost", socket.gethostname()):
        return True
    for family in INTERNET:
        try:
            socket.inet_pton(family, host)
        except (OSError, TypeError, ValueError):
            continue
        return True
    return False


def looked_up(host, port=None, *_, **__):
    """Return the address a look-up asks the network for, or None."""
    return None if is_local(host) else address(host, port)


class Noting:
    """A function that notes its call; unlike a function of Python, no method when a class holds it."""

    def __init__(self, function, note):
        self.function = function
        self.note = note
        functools.update_wrapper(self, function)

    def __call__(self, *args, **kwargs):
        self.note(*args, **kwargs)
        return self.function(*args, **kwargs)


class Watch:
    """Says over the pipe what the module tries to reach or to change, and refuses the network if asked to."""

    def __init__(self, pipe, token, request):
        self.pipe = pipe
        self.token = token
        self.block = request["block_sockets"]
        self.own = [os.path.join(os.path.realpath(root), "") for root in request["own_roots"]] + [
            "/dev/",
            "/proc/",
        ]
        self.pid = getpid()
        self.seen = set()
        self.changed = set()

    def changes(self, path):
        """Note one attempt to change what ``path`` names."""
        if isinstance(path, int) or len(self.changed) >= WRITES_KEPT or getpid() != self.pid:
            return
        path = os.path.abspath(os.fsdecode(path))
        folder, name = os.path.split(path)
        if path in self.changed or (os.path.realpath(folder) + "/" + name).startswith(tuple(self.own)):
            return
        self.changed.add(path)
        with suppress(OSError):
            send(self.pipe, {"changed": path, "token": self.token})

    def opens(self, path, mode="r", *_, **__):
        """Note what open() is asked for, if it is to write."""
        if isinstance(mode, str) and set(mode) & set("wax+"):
            self.changes(path)

    def opens_low(self, path, flags, *_, **__):
        """Note what os.open() is asked for, if it is to write."""
        if flags & WRITING:
            self.changes(path)

    def audit(self, event, args):
        """Note what an audit event tells (PEP 578); whatever is odd about it is not ours to report."""
        with suppress(TypeError, ValueError, AttributeError, OSError):
            if event == "open":
                path, mode, flags = args
                if isinstance(mode, str):
                    self.opens(path, mode)
                elif isinstance(flags, int):
                    self.opens_low(path, flags)
            elif event in CHANGES:
                self.changes(args[0])

    def watch_changes(self):
        """See every change there is; before 3.8 those of the functions we know."""
        if hasattr(sys, "addaudithook"):
            sys.addaudithook(self.audit)
            return
        builtins.open = io.open = Noting(open, self.opens)
        os.open = Noting(os.open, self.opens_low)
        for name in CHANGING:
            setattr(os, name, Noting(getattr(os, name), lambda path, *_, **__: self.changes(path)))

    def tried(self, where):
        """Note one attempt; the line goes out at once, since a module that waits for the network may hang."""
        if where not in self.seen and len(self.seen) < ADDRESSES_KEPT and getpid() == self.pid:
            self.seen.add(where)
            with suppress(OSError):  # the module may have closed the pipe
                send(self.pipe, {"tried": where, "token": self.token})
        if self.block:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    def method(self, name, position):
        """Wrap a method of socket.socket whose address is the argument at ``position``."""
        original = getattr(socket.socket, name)

        @functools.wraps(original)
        def wrapped(sock, *args):
            # Unix sockets and the like stay on this machine.
            if sock.family in INTERNET and args and isinstance(args[position], tuple):
                self.tried(address(*args[position][:2]))
            return original(sock, *args)

        setattr(socket.socket, name, wrapped)

    def function(self, name):
        """Wrap a function of socket that looks up a host."""
        original = getattr(socket, name)

        @functools.wraps(original)
        def wrapped(*args, **kwargs):
            reached = looked_up(*args, **kwargs)
            if reached is not None:
                self.tried(reached)
            return original(*args, **kwargs)

        setattr(socket, name, wrapped)

    def install(self):
        """Wrap all that reaches out; create_connection goes through these."""
        self.watch_changes()
        self.method("connect", 0)
        self.method("connect_ex", 0)
        self.method("sendto", -1)
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
            self.function(name)
