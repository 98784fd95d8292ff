"""Run child processes; the only module that starts any.

A child is started from an argument list (never a shell), with an explicit
environment, in a session and process group of its own, with a deadline. Threads
read both of its pipes while it runs, so that a full pipe cannot block it, up to a
limit, and its whole process group is killed when the call returns.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from bundler.errors import BundlerError
from bundler.redaction import redact

__all__ = ["Completed", "end_all", "own_module", "run_process", "tail"]

_STDERR_LIMIT = 1 << 20
"""Bytes of standard error that are kept: the end, where the reason of a failure is."""
_OUTPUT_LIMIT = 1 << 29
"""Bytes of either stream after which a child is killed: its output may be endless."""
_LINE_LIMIT = 1 << 26
"""Bytes of a line; a longer one is read in parts."""
_POLL_MAX = (1 << 31) - 1
"""The longest timeout of poll(2) in milliseconds, 24 days; `bundler serve` runs longer."""
_RUN_MODULE = """\
import os, runpy, sys
sys.path[:] = sys.argv.pop(1).split(os.pathsep)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """The result of a child process."""

    returncode: int
    """The exit code, or the negated signal number if a signal terminated the child."""
    stdout: bytes
    """Its complete standard output, unless it exceeded the limit and the child was killed."""
    stderr: str
    """The last MiB of its standard error, redacted."""
    timed_out: bool
    """Whether it was killed at the deadline."""


def run_process(  # noqa: PLR0913 - each describes the child, and all but argv and env have a default
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float = 3600,
    on_stderr: Callable[[str], None] | None = None,
    on_stdout: Callable[[bytes], None] | None = None,
    on_start: Callable[[Callable[[], None]], None] | None = None,
) -> Completed:
    """Run a child process and wait until it ends.

    :param argv: the absolute path of the program, and its arguments.
    :param env: the complete environment of the child; nothing is inherited.
    :param cwd: its working directory; by default that of this process.
    :param stdin: the bytes of its standard input.
    :param timeout: seconds after which its process group is killed.
    :param on_stderr: called with each line of standard error, redacted, from a thread.
    :param on_stdout: called with each line of standard output, from a thread.
    :param on_start: called with a function that kills the child, which ends this call.
    :raises BundlerError: if the child cannot be started.
    """
    try:
        child = subprocess.Popen(
            [os.fspath(part) for part in argv],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise BundlerError(
            f"cannot start `{os.fspath(argv[0])}`", evidence=(str(error.strerror or error),)
        ) from error
    _running.add(child)
    if on_start is not None:
        on_start(partial(_kill_group, child))
    out: list[bytes] = []
    err: list[str] = []
    readers = [
        threading.Thread(target=_drain_stdout, args=(child, out, err, on_stdout), daemon=True),
        threading.Thread(target=_drain_stderr, args=(child, err, on_stderr), daemon=True),
        threading.Thread(target=_feed, args=(child.stdin, stdin), daemon=True),
    ]
    try:
        for reader in readers:
            reader.start()
        timed_out = not _wait(child, timeout)
    finally:
        _end_group(child)
        _running.discard(child)
        for reader in readers:
            reader.join(timeout=5)
    return Completed(
        returncode=child.returncode,
        stdout=b"".join(out),
        stderr=redact("".join(err)),
        timed_out=timed_out,
    )


def own_module(name: str) -> list[str]:
    """Return the command that runs a module of bundler's own environment, isolated.

    It gets the ``sys.path`` of this process: without it, ``-I`` would not find a module of a user site.
    """
    options = ["-I", "-S"] if sys.flags.no_site else ["-I"]
    return [sys.executable, *options, "-c", _RUN_MODULE, os.pathsep.join(sys.path), name]


def end_all() -> None:
    """Kill all running children; each `run_process` that waits for one, in any thread, then returns."""
    for child in list(_running):
        _kill_group(child)


def tail(text: str, lines: int = 12) -> tuple[str, ...]:
    """Return the last non-empty lines of a child's output, for the evidence of an error."""
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-lines:]


def _wait(child: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait for a child to end; return False at the timeout.

    `subprocess.Popen.wait` with a timeout polls at intervals of up to 50 ms, and
    a build waits for ten children or more: a pidfd (pidfd_open(2)) becomes readable
    at once.
    """
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):  # a kernel before 5.3, or a sandbox that refuses it
            descriptor = os.pidfd_open(child.pid)
            try:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                left = timeout * 1000
                while left > _POLL_MAX and not poll.poll(_POLL_MAX):
                    left -= _POLL_MAX
                return bool(poll.poll(min(left, _POLL_MAX)))
            finally:
                os.close(descriptor)
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the remaining processes of the child's group, and reap the child."""
    _kill_group(child)
    child.wait()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    # The group may outlive its leader, by a grandchild that continues in the background. Its ID
    # is the PID of the leader, which the kernel does not assign again while the group exists.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _feed(pipe: IO[bytes] | None, content: bytes) -> None:
    if pipe is None:
        return
    with suppress(OSError, ValueError):
        pipe.write(content)
    # A child that ended early breaks the pipe, which has to be closed all the same.
    with suppress(OSError, ValueError):
        pipe.close()


def _lines(child: subprocess.Popen[bytes], pipe: IO[bytes], err: list[str]) -> Iterator[bytes]:
    """Yield the lines of a pipe; kill the child if there are too many bytes of them."""
    size = 0
    while line := pipe.readline(_LINE_LIMIT):
        size += len(line)
        if size > _OUTPUT_LIMIT:
            _kill_group(child)
            err.append(f"\nkilled: more than {_OUTPUT_LIMIT >> 20} MiB of output\n")
            return
        yield line


def _drain_stdout(
    child: subprocess.Popen[bytes], into: list[bytes], err: list[str], on_line: Callable[[bytes], None] | None
) -> None:
    if child.stdout is None:
        return
    with suppress(OSError, ValueError):
        for line in _lines(child, child.stdout, err):
            into.append(line)
            if on_line is not None:
                on_line(line)
        child.stdout.close()


def _drain_stderr(
    child: subprocess.Popen[bytes], into: list[str], on_line: Callable[[str], None] | None
) -> None:
    if child.stderr is None:
        return
    size = 0
    with suppress(OSError, ValueError):
        for line in _lines(child, child.stderr, into):
            text = line.decode("utf-8", "replace")
            into.append(text)
            # As it is removed below: a byte that is not text becomes a character of three.
            size += len(text.encode())
            while size > _STDERR_LIMIT and len(into) > 1:
                size -= len(into.pop(0).encode())
            if on_line is not None:
                on_line(redact(text.rstrip()))
        child.stderr.close()
