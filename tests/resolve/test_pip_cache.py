"""pip's cache: a damaged page or file of it changes no lock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.wheels import make_wheel

from bundler.resolve.pip_cache import intact_cache
from bundler.store.store import Store

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


def damage(paths: list[Path], how: str) -> None:
    """Damage files of the cache; each keeps its time."""
    contents = {path: path.read_bytes() for path in paths}
    for number, (path, content) in enumerate(contents.items()):
        before = path.stat()
        if how == "removed":
            path.unlink()
            continue
        if how == "a directory":
            path.unlink()
            path.mkdir()
            continue
        if how == "a link":
            path.unlink()
            path.symlink_to("/dev/zero")
            continue
        new = {
            "flipped": bytes([content[0] ^ 1]) + content[1:],
            "truncated": content[: len(content) // 2],
            "emptied": b"",
            "exchanged": contents[paths[number - 1]],
            "release hidden": content.replace(b"leaf-2.0", b"leaf-0.9"),
            "wheel exchanged": content.replace(b"VERSION = '2.0'", b"VERSION = '6.6'"),
        }[how]
        path.write_bytes(new)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.attack("store")
@pytest.mark.parametrize(
    "how",
    [
        "flipped",
        "truncated",
        "emptied",
        "exchanged",
        "removed",
        "release hidden",
        "wheel exchanged",
        "a directory",
        "a link",
    ],
)
def test_a_damaged_cache_changes_no_lock(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, how: str
) -> None:
    index.etags = True
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "leaf", "2.0")
    make_wheel(index.folder, "tree", "1.0", requires=["leaf"])
    # pip caches responses of https, and of hosts that it trusts.
    args = ("lock", "tree", "--trusted-host", "127.0.0.1")
    assert bundler_cli.run(*args, cwd=tmp_path).returncode == 0
    expected = (tmp_path / "pylock.toml").read_text()
    (tmp_path / "pylock.toml").unlink()
    files = [path for path in (bundler_cli.store / "v1/pip").rglob("*") if path.is_file()]
    assert sum(b"leaf-2.0" in path.read_bytes() for path in files) >= 1
    damage(files, how)
    ended = bundler_cli.run(*args, cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "pylock.toml").read_text() == expected


def test_an_intact_cache_is_used(index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path) -> None:
    index.etags = True
    make_wheel(index.folder, "leaf", "1.0")
    for _ in range(2):
        index.requests.clear()
        assert bundler_cli.run("lock", "leaf", "--trusted-host", "127.0.0.1", cwd=tmp_path).returncode == 0
        (tmp_path / "pylock.toml").unlink()

    assert [request.path for request in index.requests if request.path.startswith("/files/leaf")] == []


@pytest.mark.attack("store")
def test_files_that_no_run_has_written_are_removed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with intact_cache(store) as folder:
        (folder / "a").mkdir(parents=True)
        (folder / "a/own").write_text("x")
    (folder / "a/planted").write_text("x")
    (folder / "a/pipe").touch()
    (folder / "a/pipe").unlink()
    os.mkfifo(folder / "a/pipe")
    with intact_cache(store):
        assert [path.name for path in (folder / "a").iterdir()] == ["own"]
    # The digests are lost: nothing is known of the files.
    for ref in (store.root / "refs/pip-cache").glob("*/*"):
        ref.unlink()
    with intact_cache(store):
        assert list((folder / "a").iterdir()) == []
