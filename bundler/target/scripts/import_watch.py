"""Report the hosts that an import tries to reach, and the files it changes; runs in the target Python.

Loaded by ``import_modules.py`` beside it, which ``exec``s this file: a start with
``-I`` leaves the directory of a script out of ``sys.path``. Standard library
only, syntax of Python 3.7.

Each report is written to a pipe at once, since a module that waits for the network may
hang. Python 3.7 has no audit hooks (PEP 578): there, changes of files are seen only if
they are made by ``open`` and the functions of ``os``.
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
# The functions of os that change the file of their first argument, and their audit events.
CHANGING = ("mkdir", "rename", "replace", "remove", "unlink", "rmdir", "symlink", "link", "truncate", "chmod")
CHANGES = frozenset("os." + name for name in CHANGING)

# Bound here, since the module may patch os and json, as gevent does, before its result is sent.
write, getpid, dumps = os.write, os.getpid, json.dumps


def send(descriptor, value):
    """Write a value as one line of JSON; os.write may write only a part of it."""
    line = (dumps(value, sort_keys=True) + "\n").encode("ascii")
    while line:
        line = line[write(descriptor, line) :]


def endpoint(host, port=None):
    """Return ``host:port``, or the host if the port is None."""
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    port = port.decode("ascii", "replace") if isinstance(port, bytes) else port
    host = "[{}]".format(host) if ":" in host else host
    return (host if port is None else "{}:{}".format(host, port))[:300]


def is_local(host):
    """Return whether a lookup of ``host`` needs no network: a local name or an IP address."""
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
    """Return the endpoint of a lookup that needs the network, or None."""
    return None if is_local(host) else endpoint(host, port)


class Noting:
    """Wraps a function and notes its calls.

    An instance, not a function, so that a class attribute of it does not become a method, as with
    the builtin that it replaces.
    """

    def __init__(self, function, note):
        self.function = function
        self.note = note
        functools.update_wrapper(self, function)

    def __call__(self, *args, **kwargs):
        self.note(*args, **kwargs)
        return self.function(*args, **kwargs)


class Watch:
    """Reports accesses of a module over a pipe, and blocks the network if the request demands it."""

    def __init__(self, pipe, token, request):
        self.pipe = pipe
        self.token = token
        self.block = request["block_sockets"]
        self.own = [os.path.join(os.path.realpath(root), "") for root in request["own_roots"]] + [
            "/dev/",
            "/proc/",
        ]
        # The bundle may be in /dev/shm.
        self.read_only = [os.path.join(os.path.realpath(root), "") for root in request["allowed_roots"]]
        self.pid = getpid()
        self.seen = set()
        self.changed = set()

    def changes(self, path):
        """Report an attempt to change a path, once, unless it is in a directory of the module's own."""
        if isinstance(path, int) or len(self.changed) >= WRITES_KEPT or getpid() != self.pid:
            return
        path = os.path.abspath(os.fsdecode(path))
        folder, name = os.path.split(path)
        real = os.path.realpath(folder) + "/" + name
        is_own = real.startswith(tuple(self.own)) and not real.startswith(tuple(self.read_only))
        if path in self.changed or is_own:
            return
        self.changed.add(path)
        with suppress(OSError):
            send(self.pipe, {"changed": path, "token": self.token})

    def opens(self, path, mode="r", *_, **__):
        """Note a call of open() for writing."""
        if isinstance(mode, str) and set(mode) & set("wax+"):
            self.changes(path)

    def opens_low(self, path, flags, *_, **__):
        """Note a call of os.open() for writing."""
        if flags & WRITING:
            self.changes(path)

    def audit(self, event, args):
        """Note an audit event (PEP 578); those that a module raises with other arguments are ignored."""
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
        """Install an audit hook, or before 3.8 wrap the functions that change files."""
        if hasattr(sys, "addaudithook"):
            sys.addaudithook(self.audit)
            return
        builtins.open = io.open = Noting(open, self.opens)
        os.open = Noting(os.open, self.opens_low)
        for name in CHANGING:
            setattr(os, name, Noting(getattr(os, name), lambda path, *_, **__: self.changes(path)))

    def tried(self, where):
        """Report an attempt to reach an endpoint at once, and raise ENETUNREACH if the network is blocked."""
        if where not in self.seen and len(self.seen) < ADDRESSES_KEPT and getpid() == self.pid:
            self.seen.add(where)
            with suppress(OSError):  # the module may have closed the pipe
                send(self.pipe, {"tried": where, "token": self.token})
        if self.block:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    def method(self, name, position):
        """Wrap a method of socket.socket whose endpoint is the argument at ``position``."""
        original = getattr(socket.socket, name)

        @functools.wraps(original)
        def wrapped(sock, *args):
            # Unix sockets and other families reach this machine only.
            if sock.family in INTERNET and args and isinstance(args[position], tuple):
                self.tried(endpoint(*args[position][:2]))
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
        """Wrap the functions that reach the network; socket.create_connection uses them."""
        self.watch_changes()
        self.method("connect", 0)
        self.method("connect_ex", 0)
        self.method("sendto", -1)
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
            self.function(name)
