"""Stage 5, effect: the sandbox in which imports run, and the choice of the best one that the host permits."""

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
"""How the network was kept away: by the kernel, or by Python's socket module alone."""
_PROBE_SECONDS = 30
CHILD = Path(__file__).with_name("sandbox_child.py")
"""Run by path, by the host's Python."""
# A route to a test address (RFC 5737) shows that there is a network; a datagram
# socket that is connected sends nothing.
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
    """What keeps an import from the world around it."""

    network: Network = "socket-block"
    processes: bool = False
    """Whether it runs in a process namespace, which nothing outlives."""
    read_only: bool = False
    """Whether all but its own folders is mounted read-only."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return {"network": self.network, "processes": self.processes, "read_only": self.read_only}

    def __str__(self) -> str:
        network = "without a network" if self.network == "namespace" else "with Python's sockets blocked"
        return network + (", read-only" if self.read_only else "")

    def argv(self, program: Sequence[str], writable: Path) -> list[str]:
        """Return the command that runs ``program`` in this sandbox."""
        options = ["--net"] * (self.network == "namespace") + ["--pid"] * self.processes
        if self.read_only:
            options += ["--writable", str(writable)]
        return [sys.executable, "-I", str(CHILD), *options, "--", *program]


_SANDBOXES = (
    Sandbox(network="namespace", processes=True, read_only=True),
    Sandbox(network="namespace", processes=True),
    Sandbox(network="namespace"),
)


def find_sandbox(host: HostEnvironment, scratch: Path) -> Sandbox:
    """Return the best sandbox that the system permits.

    :param scratch: an existing private folder, the child's HOME.
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
    """Return an environment without proxies, which name hosts and hold passwords."""
    env = host.child_env(home)
    return {name: value for name, value in env.items() if name not in TRUST_AND_PROXY}
