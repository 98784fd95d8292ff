"""Directories in memory: used where they are a tmpfs with room, and gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundler.store.maintenance import remove_abandoned
from bundler.store.store import Store
from bundler.system.memory import MEMORY, has_memory_for, memory_folder

pytestmark = pytest.mark.skipif(not has_memory_for(1, 1), reason="no tmpfs with room at /dev/shm")


def test_more_than_half_of_the_free_memory_does_not_fit() -> None:
    free = os.statvfs(MEMORY)
    assert not has_memory_for(free.f_bavail * free.f_frsize // 2 + (1 << 30), 1)
    assert not has_memory_for(0, 1 << 40), "each file takes a page at least"


def mounted(options: str) -> str:
    """Return the answer with another file system at /dev/shm, in a mount namespace of its own."""
    code = "from bundler.system.memory import has_memory_for; print(has_memory_for(1 << 20, 1))"
    command = f"mount {options} /dev/shm && exec {sys.executable} -I -c '{code}'"
    ended = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        pytest.skip(f"no mount namespace here: {ended.stderr}")
    return ended.stdout.strip()


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ("-t tmpfs -o size=64m tmpfs", "True"),
        ("-t tmpfs -o size=1m tmpfs", "False"),
        ("-t tmpfs -o size=64m,noexec tmpfs", "False"),
        ("-t tmpfs -o size=64m,ro tmpfs", "False"),
        ("--bind /usr", "False"),
    ],
)
def test_only_a_tmpfs_that_can_run_programs_is_used(options: str, fits: str) -> None:
    """As containers have it: 64 MB, noexec; or a directory of a disk."""
    assert mounted(options) == fits


def test_a_directory_in_memory_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.scratch(in_memory=True) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"x")
        assert folder.parent == MEMORY
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert not list((store.root / "scratch").iterdir())


def test_that_of_a_killed_process_is_found_by_its_name_in_the_store(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\nfrom bundler.store.store import Store\n"
        "with Store(pathlib.Path(sys.argv[1])).scratch(in_memory=True) as folder:\n"
        "    (folder / 'file').write_bytes(b'x')\n    print(folder, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-c", code, tmp_path], capture_output=True, text=True, check=False
    )
    folder = Path(ended.stdout.strip())
    assert (folder / "file").exists()
    store = Store(tmp_path)
    (left,) = store.scratch_directories()
    assert memory_folder(left.name) == folder

    assert remove_abandoned(store) == 1
    assert not folder.exists()
