"""Stage 5, effect: the sandbox of imports, and the choice of the strictest one that the host permits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bundler.system.environ import TRUST_AND_PROXY, HostEnvironment
from bundler.system.process import run_process

__all__ = ["CHILD", "Network", "Sandbox", "find_sandbox"]


Network = Literal["namespace", "socket-block"]
"""How the network is blocked: by a network namespace, or by replacing functions of ``socket`` alone."""
_PROBE_SECONDS = 30
CHILD = Path(__file__).with_name("sandbox_child.py")
"""The script that enters the namespaces; the host's Python runs it by path."""
# Connecting a datagram socket sends nothing, but fails without a route. 192.0.2.1 is for
# documentation only (RFC 5737, TEST-NET-1), so a route to it is a default route.
_HAS_NO_ROUTE = """
import socket, sys
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
except OSError:
    sys.exit(0)
sys.exit(1)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sandbox:
    """The isolation of an import from the network, other processes and the file system."""

    network: Network = "socket-block"
    processes: bool = False
    """Whether it runs in a process namespace: all processes it starts end with it."""
    read_only: bool = False
    """Whether everything but its own directories is mounted read-only."""

    def to_json(self) -> dict[str, Any]:
        """Return the properties as plain values."""
        return {"network": self.network, "processes": self.processes, "read_only": self.read_only}

    def __str__(self) -> str:
        network = "without a network" if self.network == "namespace" else "with Python's sockets blocked"
        return network + (", read-only" if self.read_only else "")

    def argv(self, program: Sequence[str], writable: Path) -> list[str]:
        """Return the command that runs ``program`` in this sandbox.

        :param writable: the directory that stays writable if the sandbox is read-only.
        """
        options = []
        if self.network == "namespace":
            options.append("--net")
        if self.processes:
            options.append("--pid")
        if self.read_only:
            options += ["--writable", str(writable)]
        return [sys.executable, "-I", str(CHILD), *options, "--", *program]


# The strictest first. Containers and hardened kernels refuse some namespaces: user namespaces may be
# disabled, and mounting /proc or remounting read-only may be forbidden.
_SANDBOXES = (
    Sandbox(network="namespace", processes=True, read_only=True),
    Sandbox(network="namespace", processes=True),
    Sandbox(network="namespace"),
)


def find_sandbox(host: HostEnvironment, scratch: Path) -> Sandbox:
    """Return the strictest sandbox that the system permits, tried by running a probe in each.

    :param scratch: an existing private directory, the HOME of the probe.
    """
    if sys.platform.startswith("linux"):
        for sandbox in _SANDBOXES:
            argv = sandbox.argv([sys.executable, "-I", "-S", "-c", _HAS_NO_ROUTE], scratch)
            ended = run_process(
                argv,
                env=child_env_without_proxies(host, scratch),
                cwd=scratch,
                timeout=_PROBE_SECONDS,
            )
            if ended.returncode == 0:
                return sandbox
    return Sandbox()


def child_env_without_proxies(host: HostEnvironment, home: Path) -> dict[str, str]:
    """Return the environment of a child without proxy settings, which may contain passwords."""
    env = host.child_env(home)
    return {name: value for name, value in env.items() if name not in TRUST_AND_PROXY}
