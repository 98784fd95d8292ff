"""The sandbox of foreign code: imports, build backends and metadata hooks.

`find_sandbox` takes the strictest that the host permits; ``sandbox_child.py`` enters it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bundler.system.environ import TRUST_AND_PROXY, HostEnvironment
from bundler.system.process import run_process

__all__ = [
    "CHILD",
    "Network",
    "Places",
    "Sandbox",
    "child_env_without_proxies",
    "find_sandbox",
    "program_places",
]


Network = Literal["namespace", "system-calls", "socket-block"]
"""How the network is blocked: by a network namespace, by refused system calls, or by replacing
functions of ``socket`` alone."""
_PROBE_SECONDS = 30
CHILD = Path(__file__).with_name("sandbox_child.py")
"""The script that enters the namespaces; the host's Python runs it by path."""
_SCRATCH = 4 << 30
"""Bytes that one sandbox may write in total."""
_PROCESSES = 1024
# The rest is for the host: without a limit, the kernel may end other processes for want of memory.
_PART_OF_MEMORY = 0.9
# Connecting a datagram socket sends nothing, but fails without a route. 192.0.2.1 is for
# documentation only (RFC 5737, TEST-NET-1), so a route to it is a default route.
_HAS_NO_ROUTE = """
import _socket, sys
try:
    _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
except OSError:
    sys.exit(0)
sys.exit(1)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The directories of the host that a program in a sandbox needs, besides those of the system."""

    visible: Sequence[Path] = ()
    """Shown read-only."""
    writable: Sequence[Path] = ()
    empty: Sequence[Path] = ()
    """Replaced by empty, writable directories in memory."""
    hidden: Sequence[Path] = ()
    """Files that are empty, if the sandbox has a root directory of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sandbox:
    """The isolation of a program from the network, other processes, the file system and the kernel."""

    network: Network = "socket-block"
    processes: bool = False
    """Whether it runs in a process namespace: it sees no others, and all that it starts end with it."""
    read_only: bool = False
    """Whether its places are writable, the system is read-only, and everything else is absent: by a root
    directory of its own, or, without a process namespace, by Landlock, which hides no names."""
    system_calls: bool = False
    """Whether system calls are filtered: those for mounts, namespaces, other processes and the kernel."""

    def to_json(self) -> dict[str, Any]:
        """Return the properties as plain values, and the promises that they do not keep."""
        return {
            "network": self.network,
            "processes": self.processes,
            "read_only": self.read_only,
            "system_calls": self.system_calls,
            "missing": list(self.missing()),
        }

    def __str__(self) -> str:
        network = "with Python's sockets blocked" if self.network == "socket-block" else "without a network"
        return network + (", read-only" if self.read_only else "")

    def missing(self) -> Iterator[str]:
        """Yield a sentence for each promise that this host does not permit."""
        if self.network == "socket-block":
            yield "the network is blocked in Python alone: native code can reach it"
        if not self.processes:
            yield "processes are not isolated: foreign code sees others of this user, and may signal them"
        if not self.read_only:
            yield "files are not isolated: foreign code can read and write as this user"
        if not self.system_calls:
            yield "system calls are not filtered"

    def argv(self, program: Sequence[str], places: Places) -> list[str]:
        """Return the command that runs ``program`` in this sandbox."""
        options = ["--scratch", str(_SCRATCH), "--processes", str(_PROCESSES), "--memory", str(_memory())]
        if self.network == "namespace":
            options.append("--net")
        if self.processes:
            options.append("--pid")
        if self.system_calls:
            options.append("--filter")
        if self.read_only:
            options.append("--root" if self.processes else "--landlock")
            for option in ("visible", "writable", "empty", "hidden"):
                for path in getattr(places, option):
                    options += [f"--{option}", os.path.abspath(path)]  # noqa: PTH100 - a link on the way stays
        return [sys.executable, "-I", "-S", str(CHILD), *options, "--", *program]


# The strictest first. Containers and hardened kernels refuse some namespaces: user namespaces may be
# disabled, and mounting may be forbidden. A filter of system calls is permitted nearly everywhere.
_FILTERED = (
    Sandbox(network="namespace", processes=True, read_only=True, system_calls=True),
    Sandbox(network="namespace", processes=True, system_calls=True),
    Sandbox(network="namespace", system_calls=True),
)
_SANDBOXES = (
    *_FILTERED,
    Sandbox(network="system-calls", read_only=True, system_calls=True),
    Sandbox(network="system-calls", system_calls=True),
    *(replace(sandbox, system_calls=False) for sandbox in _FILTERED),
)


def find_sandbox(host: HostEnvironment, scratch: Path) -> Sandbox:
    """Return the strictest sandbox that the system permits, tried by running a probe in each.

    :param scratch: an existing private directory, the HOME of the probe.
    """
    if sys.platform.startswith("linux"):
        places = Places(visible=program_places(Path(sys.executable)), writable=[scratch])
        for sandbox in _SANDBOXES:
            argv = sandbox.argv([sys.executable, "-I", "-S", "-c", _HAS_NO_ROUTE], places)
            ended = run_process(
                argv, env=child_env_without_proxies(host, scratch), cwd=scratch, timeout=_PROBE_SECONDS
            )
            if ended.returncode == 0:
                return sandbox
    return Sandbox()


def program_places(python: Path) -> list[Path]:
    """Return the paths that an interpreter needs: itself, its environment, and its installation."""
    return [python, python.parent.parent, python.resolve().parent.parent]


def child_env_without_proxies(host: HostEnvironment, home: Path) -> dict[str, str]:
    """Return the environment of a child without proxy settings, which may contain passwords."""
    env = host.child_env(home)
    return {name: value for name, value in env.items() if name not in TRUST_AND_PROXY}


def _memory() -> int:
    """Return the bytes of memory that all processes of a sandbox may use."""
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _PART_OF_MEMORY)
