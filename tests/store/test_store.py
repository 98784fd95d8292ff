"""The store: rows P06 to P33 of the corpus as far as they can be met here."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundler.digest import Sha256, sha256_of
from bundler.errors import IntegrityError, OutputError, UsageError
from bundler.reporter import SILENT
from bundler.store.maintenance import check_store, collect_garbage, heal, remove_abandoned, store_info
from bundler.store.store import DamagedStoreError, Store, key_of, open_store
from bundler.system.environ import read_host_environment

KEY = key_of("a key")


def child(code: str, *args: str, **given: object) -> subprocess.Popen[str]:
    """Start a process that runs code with a store at the first argument."""
    header = "import sys, time, os\nfrom pathlib import Path\nfrom bundler.store.store import Store, key_of\n"
    header += "store = Store(Path(sys.argv[1]))\n"
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-c", header + code, *args], stdout=subprocess.PIPE, text=True, **given
    )


# --- blobs and references -------------------------------------------------------------------------


def test_what_is_stored_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digest = store.add(b"content")
    store.bind("file", KEY, digest)

    assert store.read(digest) == b"content"
    assert store.verified_path(digest).read_bytes() == b"content"
    assert store.lookup("file", KEY) == digest
    assert store.lookup("file", key_of("another")) is None
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_modes_of_the_store_do_not_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = Store(tmp_path / "store")
        digest = store.add(b"blob")
    finally:
        os.umask(before)

    assert stat.S_IMODE(store.path_of(digest).stat().st_mode) == 0o444
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


@pytest.mark.attack("store")
def test_other_bytes_than_expected_are_not_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(IntegrityError) as caught, store.write() as blob:
        blob.write(b"evil")
        blob.commit(sha256_of(b"good"))

    assert caught.value.evidence == (
        f"wanted  sha256 {sha256_of(b'good')}",
        f"found   sha256 {sha256_of(b'evil')}, 4 bytes",
    )
    assert (store_info(store).blobs, store_info(store).scratch) == (0, 0)


def flip(store: Store, digest: str) -> None:
    path = store.root / "blobs" / digest[:2] / digest
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.attack("store")
@pytest.mark.parametrize("use", ["read", "chunks", "verified_path"])
def test_p33_a_changed_blob_is_never_handed_out_and_is_set_aside(tmp_path: Path, use: str) -> None:
    store = Store(tmp_path)
    digest = store.add(b"content")
    store.bind("file", KEY, digest)
    flip(store, digest)
    uses: dict[str, Callable[[], object]] = {
        "read": lambda: store.read(digest),
        "chunks": lambda: list(store.chunks(digest)),
        "verified_path": lambda: store.verified_path(digest),
    }

    with pytest.raises(IntegrityError, match="has changed"):
        uses[use]()

    assert store.lookup("file", KEY) is None
    assert store_info(store).quarantined == 2, "the blob, and the reference to it"
    store.bind("file", KEY, store.add(b"content"))
    assert store.lookup("file", KEY) == digest
    assert check_store(store).dropped == ()


@pytest.mark.attack("store")
@pytest.mark.parametrize("torn", ["", "abc", "x" * 64 + "\n", "a" * 64])
def test_p13_a_torn_reference_names_nothing(tmp_path: Path, torn: str) -> None:
    store = Store(tmp_path)
    store.bind("file", KEY, store.add(b"content"))
    (ref,) = (store.root / "refs" / "file").glob("*/*")
    ref.write_text(torn)

    assert check_store(store).dropped == (ref.relative_to(store.root / "refs").as_posix(),)
    assert store.lookup("file", KEY) is None
    ref.write_text(torn)
    assert store.lookup("file", KEY) is None
    assert check_store(store).dropped == (), "set aside"


@pytest.mark.attack("store")
@pytest.mark.parametrize("how", ["another-key", "another-kind", "another-blob", "the-digest-alone"])
def test_a_reference_counts_only_for_its_kind_and_key(tmp_path: Path, how: str) -> None:
    """Exchanged references, or one that was edited, are not followed."""
    store = Store(tmp_path)
    first, second = store.add(b"first"), store.add(b"second")
    store.bind("file", KEY, first)
    store.bind("file", key_of("other"), second)
    store.bind("layer", KEY, second)
    refs = store.root / "refs"
    ref = refs / "file" / KEY[:2] / KEY
    other = key_of("other")
    ref.write_text(
        {
            "another-key": (refs / "file" / other[:2] / other).read_text(),
            "another-kind": (refs / "layer" / KEY[:2] / KEY).read_text(),
            "another-blob": ref.read_text().replace(first, second),
            "the-digest-alone": f"{second}\n",
        }[how]
    )

    assert store.lookup("file", KEY) is None
    assert (store.lookup("layer", KEY), store.lookup("file", other)) == (second, second)
    assert check_store(store).dropped == ()


def exchange(store: Store, one: Sha256, other: Sha256) -> None:
    paths = store.path_of(one), store.path_of(other)
    paths[0].rename(tmp := paths[0].with_name("x"))
    paths[1].rename(paths[0])
    tmp.rename(paths[1])


@pytest.mark.attack("store")
@pytest.mark.parametrize("how", ["flip", "truncate", "append", "exchange", "directory", "unreadable"])
def test_a_blob_that_was_written_to_is_missed_without_being_read(tmp_path: Path, how: str) -> None:
    store = Store(tmp_path)
    digest, other = store.add(b"content"), store.add(b"another")
    path = store.path_of(digest)
    if how == "flip":
        flip(store, digest)
    elif how == "exchange":
        exchange(store, digest, other)
    elif how == "directory":
        path.unlink()
        path.mkdir()
    elif how == "unreadable" and os.geteuid() == 0:
        pytest.skip("root reads everything")
    elif how == "unreadable":
        path.chmod(0)
        os.utime(path)
    else:
        path.chmod(0o644)
        path.write_bytes(b"cont" if how == "truncate" else b"content!")

    assert not store.has(digest)
    assert store.add(b"content") == digest
    assert store.read(digest) == b"content"
    assert store.add(b"another") == other
    assert check_store(store).quarantined == ()


@pytest.mark.attack("store")
def test_a_copy_of_a_store_is_verified_once(tmp_path: Path) -> None:
    """Without the times of its files."""
    digest = Store(tmp_path / "a").add(b"content")
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    store = Store(tmp_path / "b")
    before = store.path_of(digest).stat().st_mtime

    assert store.has(digest)
    assert (
        before
        != store.path_of(digest).stat().st_mtime
        == Store(tmp_path / "a").path_of(digest).stat().st_mtime
    )


@pytest.mark.attack("store")
def test_work_is_repeated_until_the_store_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digests = [store.add(bytes([number])) for number in range(3)]
    for number, digest in enumerate(digests):
        store.bind("file", key_of(str(number)), digest)
    flip(store, digests[1])
    for digest in digests[1:2]:  # a bit that rotted: the time of the file is that of its digest
        mark = int(digest[:7], 16) & ~1
        os.utime(store.path_of(digest), (mark, mark))
    attempts = []

    def work() -> list[bytes]:
        attempts.append(1)
        found = [
            store.lookup("file", key_of(str(number))) or store.add(bytes([number])) for number in range(3)
        ]
        return [store.read(digest) for digest in found]

    assert heal(store, work) == [b"\0", b"\1", b"\2"]
    assert len(attempts) == 2


@pytest.mark.attack("store")
def test_wrong_references_are_given_up_at_last(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.bind("segment", KEY, store.add(b"wrong"))

    def work() -> bytes:
        digest = store.lookup("segment", KEY) or store.add(b"right")
        if (content := store.read(digest)) != b"right":
            raise DamagedStoreError("wrong")
        return content

    assert heal(store, work) == b"right"
    store.bind("segment", KEY, store.add(b"wrong"))
    with pytest.raises(DamagedStoreError):
        heal(store, lambda: store.read(sha256_of(b"never stored")))


@pytest.mark.attack("store")
def test_fsck_finds_every_changed_blob(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digests = [store.add(bytes([number])) for number in range(5)]
    flip(store, digests[2])

    report = check_store(store)

    assert (report.checked, report.quarantined) == (5, (digests[2],))
    assert check_store(store).quarantined == ()


def test_gc_keeps_what_was_used_and_removes_the_rest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept, old, unnamed = store.add(b"kept"), store.add(b"old"), store.add(b"unnamed")
    store.bind("file", key_of("kept"), kept)
    store.bind("file", key_of("old"), old)
    month = time.time() - 40 * 86400
    responses = [store.root / "pip" / name for name in ("http/new", "http/old")]
    responses[0].parent.mkdir(parents=True)
    for response in responses:
        response.touch()
    for path in [*(store.root / "refs").glob("*/*/*"), responses[1]]:
        os.utime(path, (month, month))
    assert store.lookup("file", key_of("kept")) == kept  # which counts as a use

    report = collect_garbage(store, unused_days=30)

    assert (report.references, report.blobs, report.bytes) == (1, 2, 10)
    assert [store.has(digest) for digest in (kept, old, unnamed)] == [True, False, False]
    assert [response.exists() for response in responses] == [True, False]


def test_h18_a_store_that_cannot_be_written_still_answers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digest = store.add(b"content")
    store.bind("file", KEY, digest)
    (ref,) = (store.root / "refs" / "file").glob("*/*")
    os.utime(ref, (1, 1))
    ref.chmod(0o400)

    assert Store(tmp_path).lookup("file", KEY) == digest


def test_a_value_is_made_once_and_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made: list[int] = []

    def make() -> dict[str, int]:
        made.append(1)
        return {"b": 2, "a": 1}

    assert [store.memo("facts", KEY, dict[str, int], make) for _ in range(3)] == [{"a": 1, "b": 2}] * 3
    assert made == [1]


@pytest.mark.attack("store")
@pytest.mark.parametrize("content", [b'{"a": "text"}', b'{"a": true}', b"[1]", b"{", b"\xff"])
def test_a_kept_value_of_another_shape_is_made_anew(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    store.bind("facts", KEY, store.add(content))

    assert store.recall("facts", KEY, dict[str, int]) is None
    assert store.memo("facts", KEY, dict[str, int], lambda: {"a": 1}) == {"a": 1}
    assert store.recall("facts", KEY, dict[str, int]) == {"a": 1}


# --- processes that meet, and processes that die --------------------------------------------------


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lock, a use and a private folder until it is killed."""
    code = (
        "with store.in_use(), store.locked(key_of('x')), store.scratch() as folder:\n"
        "    (folder / 'half').write_text('half')\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = child(code, str(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.attack("parallel")
def test_p10_gc_waits_for_a_command_that_works(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    collector = child(
        "from bundler.store.maintenance import collect_garbage\nprint(collect_garbage(store, unused_days=0).scratch, flush=True)",
        str(tmp_path),
    )
    time.sleep(0.7)
    assert collector.poll() is None

    holder.send_signal(signal.SIGKILL)

    out, _ = collector.communicate(timeout=20)
    assert out == "1\n"
    assert not list((Store(tmp_path).root / "scratch").iterdir())


def test_p07_whoever_waits_is_told_for_whom(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    code = (
        "from bundler.cli.console import ConsoleReporter\nstore = Store(Path(sys.argv[1]), reporter=ConsoleReporter())\n"
        "with store.locked(key_of('x')): print('mine', flush=True)\n"
    )
    waiter = child(code, str(tmp_path), stderr=subprocess.PIPE)
    assert waiter.stderr is not None
    assert f"waiting for process {holder.pid}" in waiter.stderr.readline()

    holder.send_signal(signal.SIGKILL)

    out, _ = waiter.communicate(timeout=20)
    assert out == "mine\n"


@pytest.mark.attack("parallel")
def test_gc_leaves_the_private_folder_of_a_living_process(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    store = Store(tmp_path)
    (folder,) = store.scratch_directories()

    # The other process holds the store, so garbage cannot be collected; only its leftovers are swept.
    assert remove_abandoned(store) == 0
    assert folder.exists()

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert remove_abandoned(store) == 1
    assert not folder.exists()


@pytest.mark.attack("parallel")
def test_p09_many_writers_of_the_same_blobs_agree(tmp_path: Path) -> None:
    code = (
        "for n in range(40):\n"
        "    digest = store.add(b'%d' % n * 1000)\n    store.bind('file', key_of(str(n)), digest)\n"
    )
    writers = [child(code, str(tmp_path)) for _ in range(4)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0, 0]

    report = check_store(Store(tmp_path))
    assert (report.checked, report.quarantined, report.dropped) == (40, (), ())
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()


@pytest.mark.attack("store")
def test_p06_a_killed_writer_leaves_nothing_wrong(tmp_path: Path) -> None:
    """Killed at twenty random moments, and the store is right each time; the next writer goes on."""
    code = (
        "import random\nprint('go', flush=True)\nwhile True:\n"
        "    digest = store.add(random.randbytes(50_000))\n    store.bind('file', key_of(digest), digest)\n"
    )
    for turn in range(20):
        writer = child(code, str(tmp_path))
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(random.Random(turn).random() / 20)
        writer.kill()
        writer.communicate()
        report = check_store(Store(tmp_path))
        assert (report.quarantined, report.dropped) == ((), ())
    collect_garbage(Store(tmp_path), unused_days=30)
    assert store_info(Store(tmp_path)).scratch == 0


@pytest.mark.attack("store")
def test_p20_a_full_disk_is_named_and_nothing_half_written_is_left(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    kept = store.add(b"kept")
    with pytest.raises(OutputError, match="No space left on device") as caught, store.write() as blob:
        for _ in range(100):
            blob.write(bytes(10_000))
        blob.commit()

    assert "store gc" in str(caught.value.hint)
    assert store_info(store).blobs == 1
    assert store.read(kept) == b"kept"


@pytest.mark.attack("store")
def test_h23_a_store_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give a folder away")
    os.chown(tmp_path, 12345, -1)

    with pytest.raises(OutputError, match="belongs to another user"):
        Store(tmp_path)


@pytest.mark.attack("store")
@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x1b[2Jb", "a\udc80b"], ids=ascii)
def test_a_path_that_is_not_printable_is_refused(tmp_path: Path, name: str) -> None:
    """It reaches a configuration file of setuptools, and messages."""
    with pytest.raises(UsageError, match="not printable"):
        open_store(tmp_path / name, read_host_environment(), SILENT)
