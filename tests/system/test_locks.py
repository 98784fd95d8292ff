"""Locks: who excludes whom, who is named to those that wait, and how a lock ends."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bundler.errors import OutputError
from bundler.reporter import SILENT, Silent
from bundler.system import locks
from bundler.system.locks import locked_file, try_lock

# Long enough for a loaded machine, short enough for a test that hangs.
PATIENCE = 30


class Notes(Silent):
    """A reporter that collects its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.noted = threading.Event()

    def note(self, message: str) -> None:
        self.notes.append(message)
        self.noted.set()


class Waiter:
    """A thread that acquires a lock, and holds it until it is released."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.reporter = Notes()
        self.acquired = threading.Event()
        self.release = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(path, shared), daemon=True)
        self._thread.start()

    def _run(self, path: Path, shared: bool) -> None:
        with locked_file(path, shared=shared, reporter=self.reporter):
            self.acquired.set()
            self.release.wait(PATIENCE)

    def end(self) -> None:
        self.release.set()
        self._thread.join(PATIENCE)


@contextmanager
def waiting(path: Path, *, shared: bool = False) -> Iterator[Waiter]:
    waiter = Waiter(path, shared=shared)
    try:
        yield waiter
    finally:
        waiter.end()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the holder at once."""
    monkeypatch.setattr(locks, "_NOTE_AFTER", 0.0)


# --- who excludes whom ----------------------------------------------------------------------------


@pytest.mark.parametrize("held_shared", [False, True])
@pytest.mark.parametrize("wanted_shared", [False, True])
@pytest.mark.usefixtures("impatient")
def test_only_shared_locks_are_held_together(lock: Path, held_shared: bool, wanted_shared: bool) -> None:
    with waiting(lock, shared=held_shared) as holder:
        assert holder.acquired.wait(PATIENCE)
        with waiting(lock, shared=wanted_shared) as waiter:
            if held_shared and wanted_shared:
                assert waiter.acquired.wait(PATIENCE)
            else:
                assert waiter.reporter.noted.wait(PATIENCE)
                assert not waiter.acquired.is_set()
                holder.end()
                assert waiter.acquired.wait(PATIENCE)


@pytest.mark.parametrize("shared", [False, True])
def test_a_lock_is_released_when_its_context_fails(lock: Path, shared: bool) -> None:
    with pytest.raises(ZeroDivisionError), locked_file(lock, shared=shared, reporter=SILENT):
        raise ZeroDivisionError

    assert try_lock(lock)


@pytest.mark.attack("parallel")
def test_a_lock_is_released_when_its_holder_is_killed(lock: Path) -> None:
    code = (
        "import fcntl, sys, time\nfile = open(sys.argv[1], 'w')\nfcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\ntime.sleep(600)\n"
    )
    argv = [sys.executable, "-I", "-S", "-c", code, str(lock)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert not try_lock(lock)
        process.kill()

    assert try_lock(lock)


def open_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_no_descriptor_is_left_open(lock: Path, tmp_path: Path) -> None:
    before = open_descriptors()
    for shared in (False, True):
        with locked_file(lock, shared=shared, reporter=SILENT):
            try_lock(lock)
    with pytest.raises(OutputError), locked_file(tmp_path, shared=True, reporter=SILENT):
        pass

    assert open_descriptors() == before


@pytest.mark.usefixtures("impatient")
def test_waiting_leaves_no_descriptor_open(lock: Path) -> None:
    """The file is opened again for each try."""
    before = open_descriptors()
    with waiting(lock) as holder:
        assert holder.acquired.wait(PATIENCE)
        with waiting(lock) as waiter:
            assert waiter.reporter.noted.wait(PATIENCE)
            assert not waiter.acquired.wait(0.2)
            holder.end()
            assert waiter.acquired.wait(PATIENCE)

    assert open_descriptors() == before


def test_a_file_system_without_locks_is_an_error(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    before = open_descriptors()
    with (
        pytest.raises(OutputError, match="No locks available"),
        locked_file(lock, shared=False, reporter=SILENT),
    ):
        pass

    assert open_descriptors() == before


def test_a_child_does_not_inherit_a_lock(lock: Path) -> None:
    """It would hold the lock as long as it runs."""
    argv = [sys.executable, "-I", "-S", "-c", "input()"]
    with locked_file(lock, shared=False, reporter=SILENT):
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, close_fds=False)
    try:
        deadline = time.monotonic() + PATIENCE
        # The child's descriptors are closed a moment after it is started.
        while not try_lock(lock):
            assert time.monotonic() < deadline
    finally:
        child.communicate(b"\n")


# --- try_lock -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_a_lock_can_be_tried(lock: Path, shared: bool) -> None:
    lock.touch()
    assert try_lock(lock)
    with locked_file(lock, shared=shared, reporter=SILENT):
        assert try_lock(lock) is False
    assert try_lock(lock)


def test_trying_changes_nothing(lock: Path) -> None:
    lock.write_text("123\n")

    assert try_lock(lock)
    assert lock.read_text() == "123\n"
    with locked_file(lock, shared=True, reporter=SILENT):
        pass


# --- who is named ---------------------------------------------------------------------------------


def test_the_holder_of_an_exclusive_lock_is_in_the_file(lock: Path) -> None:
    lock.write_text("a longer text of an earlier holder\n")
    with locked_file(lock, shared=False, reporter=SILENT):
        assert lock.read_text() == f"{os.getpid()}\n"

    assert lock.exists()


def test_a_shared_lock_leaves_the_file_as_it_is(lock: Path) -> None:
    with locked_file(lock, shared=True, reporter=SILENT):
        assert lock.read_text() == ""


@pytest.mark.parametrize(
    ("content", "holder"),
    [
        pytest.param(b"123\n", "process 123,", id="number"),
        pytest.param(b"", "another bundler process,", id="empty"),
        pytest.param(b"\xff\n", "another bundler process,", id="not-text"),
        pytest.param(b"1\x1b[31m\n", "another bundler process,", id="not-a-number"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_the_holder_is_named_once_to_a_waiting_process(lock: Path, content: bytes, holder: str) -> None:
    lock.write_bytes(content)
    with waiting(lock, shared=True) as first:
        assert first.acquired.wait(PATIENCE)
        with waiting(lock) as waiter:
            assert waiter.reporter.noted.wait(PATIENCE)
            assert not waiter.acquired.wait(0.2)
            first.end()
            assert waiter.acquired.wait(PATIENCE)

    (note,) = waiter.reporter.notes
    assert note.startswith(f"waiting for {holder}")


def test_a_short_wait_is_not_worth_a_note(lock: Path) -> None:
    with waiting(lock) as holder:
        assert holder.acquired.wait(PATIENCE)
        with waiting(lock) as waiter:
            assert not waiter.acquired.wait(0.1)
            holder.end()
            assert waiter.acquired.wait(PATIENCE)

    assert waiter.reporter.notes == []


# --- files that change ----------------------------------------------------------------------------


@pytest.mark.attack("parallel")
def test_a_lock_on_a_deleted_file_excludes_nobody_and_is_acquired_again(lock: Path) -> None:
    """The waiter opened the old file; its lock on it would be worth nothing."""
    with waiting(lock) as holder:
        assert holder.acquired.wait(PATIENCE)
        with waiting(lock) as waiter:
            assert not waiter.acquired.wait(0.1)
            lock.unlink()
            assert waiter.acquired.wait(PATIENCE)
            assert not try_lock(lock)
            with waiting(lock) as third:
                assert not third.acquired.wait(0.1)
                waiter.end()
                assert third.acquired.wait(PATIENCE)


@pytest.mark.attack("parallel")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_deleted_while_it_is_locked_is_opened_again(
    lock: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """Between opening and locking, `gc` may have removed it, and another process may have made a new one."""
    real = fcntl.flock
    tries = []

    def flock(descriptor: int, kind: int) -> None:
        tries.append(descriptor)
        if len(tries) == 1:
            lock.unlink()
            if replaced:
                # The first file is still open, so this one has another inode.
                lock.touch()
        real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked_file(lock, shared=False, reporter=SILENT):
        assert len(tries) == 2
        assert lock.read_text() == f"{os.getpid()}\n"
        assert try_lock(lock) is False


def test_a_missing_directory_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked_file(tmp_path / "no/lock", shared=True, reporter=SILENT):
        pass


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="Is a directory") as caught,
        locked_file(tmp_path, shared=False, reporter=SILENT),
    ):
        pass

    assert f"`{tmp_path}`" in caught.value.message


def test_a_lock_belongs_to_its_user_alone(lock: Path) -> None:
    with locked_file(lock, shared=False, reporter=SILENT):
        assert lock.stat().st_mode & 0o777 == 0o600
