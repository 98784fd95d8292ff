"""Ground, effect: the one place that starts children.

A child gets an argument list (never a shell), an environment built from
nothing, no standard input, a process group of its own and a deadline. Both its
pipes are drained while it runs, and nothing of the group outlives the call.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bundler.errors import BundlerError
from bundler.redaction import redact

__all__ = ["Completed", "end_all", "run_process", "tail"]

_STDERR_LIMIT = 1 << 20
_POSIX = os.name == "posix"
_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """A child that has ended."""

    returncode: int
    """The exit code; minus the signal's number if a signal ended it."""
    stdout: bytes
    """All it wrote to standard output."""
    stderr: str
    """The last MiB it wrote to standard error, redacted."""
    timed_out: bool
    """Whether the deadline ended it."""


def run_process(  # noqa: PLR0913 - each is a fact of the child, and all but argv and env have a default
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float = 3600,
    on_stderr: Callable[[str], None] | None = None,
    on_stdout: Callable[[bytes], None] | None = None,
) -> Completed:
    """Run a child to its end.

    :param argv: the program by absolute path, and its arguments.
    :param env: the whole environment of the child; nothing is inherited.
    :param cwd: its working directory.
    :param stdin: what it reads from standard input, which then ends.
    :param timeout: seconds until its whole process group is killed.
    :param on_stderr: called with each line of standard error as it comes.
    :param on_stdout: called with each line of standard output as it comes.
    :raises BundlerError: if it cannot be started.
    """
    try:
        child = subprocess.Popen(
            [os.fspath(part) for part in argv],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=_POSIX,
        )
    except OSError as error:
        raise BundlerError(
            f"cannot start `{os.fspath(argv[0])}`", evidence=(str(error.strerror or error),)
        ) from error
    _running.add(child)
    out: list[bytes] = []
    err: list[str] = []
    readers = [
        threading.Thread(target=_drain_stdout, args=(child.stdout, out, on_stdout), daemon=True),
        threading.Thread(target=_drain_stderr, args=(child.stderr, err, on_stderr), daemon=True),
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


def end_all() -> None:
    """Kill every child that runs, of whichever thread: whoever waits for one goes on at once."""
    for child in list(_running):
        _kill_group(child)


def tail(text: str, lines: int = 12) -> tuple[str, ...]:
    """Return the last non-empty lines of what a child said, for the evidence of an error."""
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-lines:]


def _wait(child: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait until a child has ended, and return whether it has.

    `subprocess.Popen.wait` with a timeout polls, up to 50 ms apart; a build
    waits for ten children or more.
    """
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):  # a kernel before 5.3, or a sandbox that refuses it
            descriptor = os.pidfd_open(child.pid)
            try:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                return bool(poll.poll(timeout * 1000))
            finally:
                os.close(descriptor)
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the child's process group, and reap the child."""
    _kill_group(child)
    child.wait()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    if _POSIX:
        # The group may outlive its leader: a child of the child that went on.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    elif child.poll() is None:
        child.kill()


def _feed(pipe: IO[bytes] | None, content: bytes) -> None:
    if pipe is None:
        return
    with suppress(OSError, ValueError):
        pipe.write(content)
    # A child that ended early breaks the pipe, which has to be closed all the same.
    with suppress(OSError, ValueError):
        pipe.close()


def _drain_stdout(pipe: IO[bytes] | None, into: list[bytes], on_line: Callable[[bytes], None] | None) -> None:
    with suppress(OSError, ValueError):
        for line in pipe or ():
            into.append(line)
            if on_line is not None:
                on_line(line)
        if pipe is not None:
            pipe.close()


def _drain_stderr(pipe: IO[bytes] | None, into: list[str], on_line: Callable[[str], None] | None) -> None:
    size = 0
    with suppress(OSError, ValueError):
        for line in pipe or ():
            text = line.decode("utf-8", "replace")
            into.append(text)
            # As it is removed below: a byte that is not text becomes a character of three.
            size += len(text.encode())
            while size > _STDERR_LIMIT and len(into) > 1:
                size -= len(into.pop(0).encode())
            if on_line is not None:
                on_line(redact(text.rstrip()))
        if pipe is not None:
            pipe.close()
