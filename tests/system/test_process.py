"""Children: both pipes drained, nothing inherited, ended with their whole process group."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler import redaction
from bundler.errors import BundlerError
from bundler.redaction import register_secret
from bundler.system import process
from bundler.system.process import Completed, end_all, run_process, tail

MIB = 1 << 20
# Long enough for a loaded machine, short enough for a test that hangs.
PATIENCE = 30


@pytest.fixture(autouse=True)
def _empty_register(monkeypatch: pytest.MonkeyPatch) -> None:
    """The register belongs to the process: a secret of one test must not mask the texts of another."""
    monkeypatch.setattr(redaction, "_secrets", set())


def python(code: str, **given: Any) -> Completed:
    """Run code in a child that finds nothing but the standard library."""
    argv = [sys.executable, "-I", "-S", "-c", f"import os, sys, time\n{code}"]
    return run_process(argv, **{"env": {}, "timeout": PATIENCE, **given})


def wait_until(condition: Callable[[], bool]) -> bool:
    """Return whether the condition becomes true in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or waits only for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


# --- input ----------------------------------------------------------------------------------------


@pytest.mark.attack("command")
def test_a_child_inherits_no_variable() -> None:
    ended = run_process(["/usr/bin/env"], env={"ONLY": "this ä", "EMPTY": ""})

    assert sorted(ended.stdout.decode().splitlines()) == ["EMPTY=", "ONLY=this ä"]


def test_arguments_reach_the_child_unchanged_by_any_shell(tmp_path: Path) -> None:
    program = tmp_path / "a program"
    program.symlink_to(sys.executable)
    code = "import sys; print(sys.argv[1:])"

    ended = run_process([program, "-I", "-S", "-c", code, "$HOME", "a b; exit 1", ""], env={})

    assert ended.stdout == b"['$HOME', 'a b; exit 1', '']\n"


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 4096])
def test_standard_input_is_the_content_and_then_ends(content: bytes) -> None:
    ended = python("sys.stdout.buffer.write(sys.stdin.buffer.read())", stdin=content)

    assert ended.stdout == content


def test_a_child_may_leave_its_input_unread() -> None:
    ended = python("print('done')", stdin=bytes(4 * MIB))

    assert (ended.returncode, ended.stdout) == (0, b"done\n")


def test_a_child_starts_in_the_directory_it_is_given(tmp_path: Path) -> None:
    code = "print(os.getcwd())"

    assert python(code, cwd=tmp_path).stdout.decode().strip() == str(tmp_path.resolve())
    assert python(code).stdout.decode().strip() == str(Path.cwd())


def test_a_child_leads_a_session_of_its_own() -> None:
    """Ctrl-C in the terminal reaches bundler alone, which then ends its children."""
    pid, group, session = python("print(os.getpid(), os.getpgid(0), os.getsid(0))").stdout.split()

    assert pid == group == session
    assert int(session) != os.getsid(0)


@pytest.mark.parametrize(
    ("program", "reason"),
    [("missing", "No such file or directory"), ("data", "Permission denied"), ("text", "Exec format error")],
)
def test_a_program_that_cannot_be_started_is_named_with_the_reason(
    tmp_path: Path, program: str, reason: str
) -> None:
    path = tmp_path / program
    if program != "missing":
        path.write_text("x")
        path.chmod(0o755 if program == "text" else 0o644)

    with pytest.raises(BundlerError) as caught:
        run_process([path], env={})

    assert caught.value.message == f"cannot start `{path}`"
    assert caught.value.evidence == (reason,)


# --- output ---------------------------------------------------------------------------------------


def test_output_and_exit_code_are_returned() -> None:
    ended = python("os.write(1, b'out\\r\\n\\xff\\0end'); os.write(2, b'err'); sys.exit(3)")

    assert ended == Completed(returncode=3, stdout=b"out\r\n\xff\0end", stderr="err", timed_out=False)


def test_a_timeout_may_be_longer_than_that_of_poll() -> None:
    """That of `bundler serve` is a year; poll(2) has 24 days."""
    assert python("sys.exit(3)", timeout=365 * 86400).returncode == 3


def test_a_long_timeout_is_waited_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_POLL_MAX", 10)

    assert python("time.sleep(0.2); sys.exit(3)").returncode == 3
    assert python("time.sleep(60)", timeout=0.1).timed_out


def test_both_pipes_are_drained_while_the_child_runs() -> None:
    """A pipe has room for 64 KiB: a parent that reads one after the other would wait for ever."""
    code = "for _ in range(8): os.write(2, b'e' * 99_999 + b'\\n'); os.write(1, b'o' * 99_999 + b'\\n')"
    ended = python(code, stdin=bytes(MIB))

    assert (ended.returncode, ended.timed_out) == (0, False)
    assert ended.stdout == (b"o" * 99_999 + b"\n") * 8
    assert ended.stderr == ("e" * 99_999 + "\n") * 8


def test_the_last_mib_of_standard_error_is_returned_in_whole_lines() -> None:
    code = "for n in range(30_000): os.write(2, b'%063d\\n' % n)"
    lines = python(code).stderr.splitlines()

    assert lines == [f"{number:063d}" for number in range(30_000 - MIB // 64, 30_000)]


def test_bytes_that_are_not_text_do_not_lift_the_limit() -> None:
    """A replacement character is three bytes, where the child wrote one."""
    code = "for n in range(30_000): os.write(2, b'\\xff' * 63 + b'\\n')"

    assert MIB - 200 < len(python(code).stderr.encode()) <= MIB


def test_a_single_line_longer_than_the_limit_is_returned_whole() -> None:
    code = "os.write(2, b'first\\n'); os.write(2, b'x' * (1 << 21))"

    assert python(code).stderr == "x" * (2 * MIB)


@pytest.mark.attack("command")
@pytest.mark.parametrize("descriptor", [1, 2])
@pytest.mark.parametrize("end", ["", "\\n"], ids=["one-line", "lines"])
def test_an_endless_output_ends_the_child(monkeypatch: pytest.MonkeyPatch, descriptor: int, end: str) -> None:
    monkeypatch.setattr(process, "_OUTPUT_LIMIT", 4 * MIB)
    monkeypatch.setattr(process, "_LINE_LIMIT", MIB)
    ended = python(f"while True: os.write({descriptor}, b'x' * 99_999 + b'{end}')", timeout=60)

    assert (ended.returncode, ended.timed_out) == (-signal.SIGKILL, False)
    assert ended.stderr.endswith("killed: more than 4 MiB of output\n")
    assert len(ended.stdout) <= 4 * MIB


def test_standard_error_is_text_without_secrets() -> None:
    register_secret("hunter2")
    lines: list[str] = []
    ended = python("os.write(2, b'\\xe4 hunter2  \\n')", on_stderr=lines.append)

    assert ended.stderr == "\ufffd ****  \n"
    assert lines == ["\ufffd ****"]


@pytest.mark.parametrize("pipe", ["stdout", "stderr"])
def test_each_line_is_passed_on_as_it_comes(tmp_path: Path, pipe: str) -> None:
    """The child goes on only when its first line has arrived."""
    seen = tmp_path / "seen"
    lines: list[str | bytes] = []

    def listen(line: str | bytes) -> None:
        lines.append(line)
        seen.touch()

    code = (
        f"print('one', file=sys.{pipe}, flush=True)\n"
        f"while not os.path.exists({str(seen)!r}): time.sleep(0.01)\n"
        f"sys.{pipe}.write('two')"
    )
    ended = python(code, **{f"on_{pipe}": listen})

    assert not ended.timed_out
    assert lines == ([b"one\n", b"two"] if pipe == "stdout" else ["one", "two"])


def test_the_output_of_a_child_that_has_ended_is_read_to_its_end() -> None:
    """The child is gone long before its last line is read."""
    lines: list[bytes] = []

    def read_slowly(line: bytes) -> None:
        time.sleep(0.05)
        lines.append(line)

    ended = python("for n in range(5): print(n)", on_stdout=read_slowly)

    assert ended.stdout == b"".join(lines) == b"0\n1\n2\n3\n4\n"


# --- how it ends ----------------------------------------------------------------------------------


def test_a_signal_is_a_negative_exit_code() -> None:
    ended = python("os.kill(os.getpid(), 15)")

    assert (ended.returncode, ended.timed_out) == (-signal.SIGTERM, False)


@pytest.mark.attack("command")
def test_the_deadline_kills_the_child_and_its_output_is_returned() -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('before', flush=True); time.sleep(600)"
    started = time.monotonic()
    ended = python(code, timeout=0.5)

    assert (ended.returncode, ended.timed_out) == (-signal.SIGKILL, True)
    assert ended.stdout == b"before\n"
    assert time.monotonic() - started < PATIENCE


GRANDCHILD = "child = os.fork()\nif child == 0: time.sleep(600); os._exit(0)\nprint(child, flush=True)\n"


@pytest.mark.attack("command")
@pytest.mark.parametrize("timeout", [PATIENCE, 0.5])
def test_nothing_of_the_process_group_outlives_the_call(timeout: float) -> None:
    """A grandchild keeps the pipes open: waiting for their end would be waiting for it."""
    sleep = "time.sleep(600)" if timeout < PATIENCE else ""
    started = time.monotonic()
    ended = python(GRANDCHILD + sleep, timeout=timeout)

    assert ended.timed_out == bool(sleep)
    assert wait_until(lambda: has_ended(int(ended.stdout)))
    assert time.monotonic() - started < PATIENCE


def test_a_grandchild_that_left_the_group_is_not_waited_for() -> None:
    """It cannot be killed by its group, and keeps the pipes open: they are read for 5 more seconds at most."""
    code = GRANDCHILD.replace("time.sleep(600)", "os.setsid(); time.sleep(0.2)")
    started = time.monotonic()
    ended = python(code)

    assert ended.returncode == 0
    assert time.monotonic() - started < PATIENCE
    assert wait_until(lambda: has_ended(int(ended.stdout)))


def test_every_running_child_can_be_ended_at_once() -> None:
    """As the handler of SIGTERM does it: every thread that waits for a child goes on."""
    results: list[Completed] = []
    begun = threading.Semaphore(0)

    def run() -> None:
        code = "print('begun', flush=True); time.sleep(600)"
        results.append(python(code, on_stdout=lambda _: begun.release()))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert all(begun.acquire(timeout=PATIENCE) for _ in threads)
    end_all()
    for thread in threads:
        thread.join(PATIENCE)

    assert [(ended.returncode, ended.timed_out) for ended in results] == [(-signal.SIGKILL, False)] * 2


def test_a_child_that_has_ended_is_forgotten() -> None:
    """Its number may soon be that of another process, which must not be killed."""
    python("")

    assert process._running == set()
    end_all()


# --- tail -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ()),
        ("\n \n", ()),
        ("a\n\n  b  \r\n\t\nc", ("a", "  b", "c")),
        ("\n".join(map(str, range(20))), tuple(map(str, range(8, 20)))),
    ],
)
def test_the_tail_is_the_last_lines_that_are_not_empty(text: str, lines: tuple[str, ...]) -> None:
    assert tail(text) == lines
    assert tail(text, 2) == lines[-2:]
