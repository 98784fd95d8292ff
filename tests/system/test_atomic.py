"""Files and directories appear whole or not at all, durable, and never in place of another."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bundler.errors import OutputError
from bundler.system import atomic
from bundler.system.atomic import (
    output_error,
    publish_file,
    remove_temporaries,
    replace_file,
    staged_dir,
    staged_file,
    sync_folder,
    temporary,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def path_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def failing(code: str) -> Callable[..., None]:
    """Return a call of the system that fails with an error."""

    def call(*_: object, **__: object) -> None:
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number))

    return call


@contextmanager
def staged(kind: str, final: Path) -> Iterator[None]:
    """Write a file or a directory of one file, with the content "new"."""
    if kind == "file":
        with staged_file(final) as stream:
            stream.write(b"new")
            yield
    else:
        with staged_dir(final) as staging:
            (staging / "new").write_text("new")
            yield


# --- whole or not at all --------------------------------------------------------------------------


def test_a_file_appears_whole_when_its_context_ends(tmp_path: Path) -> None:
    with staged_file(tmp_path / "out") as stream:
        stream.write(b"content")
        (beside,) = names(tmp_path)
        assert beside.startswith(".out.")
        assert beside.endswith(".partial")
        assert stat.S_IMODE((tmp_path / beside).stat().st_mode) == 0o600

    assert (tmp_path / "out").read_bytes() == b"content"
    assert names(tmp_path) == ["out"]


def test_a_directory_appears_whole_when_its_context_ends(tmp_path: Path) -> None:
    with staged_dir(tmp_path / "out") as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "file").write_bytes(b"content")
        assert names(tmp_path) == [staging.name]
        assert staging.name.startswith(".out.")
        assert stat.S_IMODE(staging.stat().st_mode) == 0o700

    assert (tmp_path / "out/sub/file").read_bytes() == b"content"
    assert names(tmp_path) == ["out"]


@pytest.mark.attack("parallel")
@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_after_an_interruption(
    tmp_path: Path, kind: str, failure: type[BaseException]
) -> None:
    with pytest.raises(failure), staged(kind, tmp_path / "out"):
        raise failure

    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_an_error_of_the_system_names_the_final_path(tmp_path: Path, kind: str) -> None:
    """The name beside it is one that the user has never heard of."""
    final = tmp_path / "out"
    with pytest.raises(OutputError) as caught, staged(kind, final):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert caught.value.message == f"cannot write `{final}`: Input/output error"
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_missing_directory_is_an_error_of_output(tmp_path: Path, kind: str) -> None:
    with pytest.raises(OutputError, match="No such file"), staged(kind, tmp_path / "no" / "out"):
        pass


@pytest.mark.parametrize(
    "name", ["x" * 255, "é" * 127, "模" * 85], ids=["one-byte", "two-bytes", "three-bytes"]
)
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path, name: str) -> None:
    """255 bytes: the name beside it has to be shorter than that, too."""
    with staged_file(tmp_path / name) as stream:
        stream.write(b"content")
    replace_file(tmp_path / name, b"other")

    assert names(tmp_path) == [name]


# --- never in place of another --------------------------------------------------------------------


def occupy(final: Path, there: str) -> None:
    if there == "file":
        final.write_text("mine")
    elif there == "dangling link":
        final.symlink_to(final.parent / "nowhere")
    else:
        final.mkdir()
        if there == "full directory":
            (final / "mine").write_text("mine")


OCCUPIED = ["file", "empty directory", "full directory", "dangling link"]


@pytest.mark.attack("parallel")
@pytest.mark.parametrize("there", OCCUPIED)
@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("late", [False, True])
def test_nothing_is_ever_replaced(tmp_path: Path, kind: str, there: str, late: bool) -> None:
    """Whether it exists before, or appears while the new one is written."""
    final = tmp_path / "out"
    if not late:
        occupy(final, there)

    with pytest.raises(FileExistsError), staged(kind, final):
        if late:
            occupy(final, there)
        before = final.lstat()

    assert (final.lstat().st_ino, final.lstat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert names(tmp_path) == ["out"]


class OldLibrary:
    """The C library of a system that has neither renameat2 nor syncfs."""


class OldFileSystem:
    """The C library where a file system knows no flags of renameat2, as network file systems do."""

    code = errno.EINVAL

    def renameat2(self, *_: object) -> int:
        ctypes.set_errno(self.code)
        return -1


class OldKernel(OldFileSystem):
    """The C library on a kernel without renameat2."""

    code = errno.ENOSYS


LIBRARIES = {"old library": OldLibrary, "old file system": OldFileSystem, "old kernel": OldKernel}


@pytest.fixture(params=[*LIBRARIES, "another system"])
def old_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "another system":
        monkeypatch.setattr(sys, "platform", "darwin")
    library = LIBRARIES.get(request.param, OldLibrary)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library())


@pytest.mark.usefixtures("old_system")
def test_a_directory_appears_on_an_old_system_too(tmp_path: Path) -> None:
    with staged("directory", tmp_path / "out"):
        pass

    assert (tmp_path / "out/new").read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.attack("parallel")
@pytest.mark.usefixtures("old_system")
@pytest.mark.parametrize("there", OCCUPIED)
def test_nothing_is_replaced_on_an_old_system_either(tmp_path: Path, there: str) -> None:
    """A plain rename would replace a file, and an empty directory by a directory."""
    final = tmp_path / "out"
    occupy(final, there)
    before = final.lstat()

    with pytest.raises(FileExistsError), staged("directory", final):
        pass

    assert final.lstat().st_ino == before.st_ino
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("there", ["empty directory", "file"])
def test_the_system_itself_refuses_to_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """A check before the rename is not enough: another process may come between the two."""
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    occupy(tmp_path / "out", there)

    with pytest.raises(FileExistsError), staged("directory", tmp_path / "out"):
        pass
    assert names(tmp_path) == ["out"]


def test_another_error_of_a_rename_is_not_hidden(tmp_path: Path) -> None:
    final = tmp_path / "there" / "out"
    final.parent.mkdir()

    with pytest.raises(OutputError, match="No such file"), staged_dir(final) as staging:
        staging.rename(tmp_path / "elsewhere")


# --- publish_file ---------------------------------------------------------------------------------


def test_a_published_file_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "staged").write_text("x")
    inode = (tmp_path / "staged").stat().st_ino
    publish_file(tmp_path / "staged", tmp_path / "final")

    assert ((tmp_path / "final").stat().st_ino, names(tmp_path)) == (inode, ["final"])


@pytest.mark.parametrize("there", OCCUPIED)
def test_a_file_that_cannot_be_published_stays_where_it_was(tmp_path: Path, there: str) -> None:
    occupy(tmp_path / "final", there)
    (tmp_path / "staged").write_text("x")

    with pytest.raises(FileExistsError):
        publish_file(tmp_path / "staged", tmp_path / "final")
    assert (tmp_path / "staged").read_text() == "x"


def test_a_path_that_cannot_be_linked_is_renamed(tmp_path: Path) -> None:
    """A directory replaces a file on a file system without hard links: both fail with EPERM."""
    (tmp_path / "staged").mkdir()
    publish_file(tmp_path / "staged", tmp_path / "final")
    assert names(tmp_path) == ["final"]

    (tmp_path / "staged").mkdir()
    with pytest.raises(FileExistsError):
        publish_file(tmp_path / "staged", tmp_path / "final")
    assert names(tmp_path) == ["final", "staged"]


@pytest.mark.parametrize("code", ["EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EACCES"])
def test_a_file_system_without_hard_links_says_so_in_many_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(os, "link", failing(code))
    with staged_file(tmp_path / "out") as stream:
        stream.write(b"content")

    assert (tmp_path / "out").read_bytes() == b"content"
    assert names(tmp_path) == ["out"]


def test_another_failure_to_link_is_not_taken_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing("EIO"))
    with pytest.raises(OutputError, match="Input/output error"), staged("file", tmp_path / "out"):
        pass

    assert names(tmp_path) == []


def test_a_link_is_published_itself(tmp_path: Path) -> None:
    (tmp_path / "staged").symlink_to("target")
    publish_file(tmp_path / "staged", tmp_path / "final")

    assert (tmp_path / "final").readlink() == Path("target")


def test_a_file_that_is_missing_cannot_be_published(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        publish_file(tmp_path / "staged", tmp_path / "final")


# --- replace_file ---------------------------------------------------------------------------------


def test_a_small_file_is_replaced_at_once(tmp_path: Path) -> None:
    replace_file(tmp_path / "lock", b"one")
    with (tmp_path / "lock").open("rb") as reader:
        replace_file(tmp_path / "lock", b"two", mode=0o600)
        assert reader.read() == b"one"

    assert (tmp_path / "lock").read_bytes() == b"two"
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    assert names(tmp_path) == ["lock"]


def test_a_link_is_replaced_and_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "lock").symlink_to("target")
    replace_file(tmp_path / "lock", b"new")

    assert (tmp_path / "target").read_text() == "mine"
    assert not (tmp_path / "lock").is_symlink()


def test_a_directory_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        replace_file(tmp_path / "lock", b"new")

    assert names(tmp_path) == ["lock"]


# --- modes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with staged_file(tmp_path / "default"):
            pass
        with staged_file(tmp_path / "given", mode=0o755):
            pass
        with staged_dir(tmp_path / "directory"):
            pass
        replace_file(tmp_path / "replaced", b"")
    finally:
        os.umask(before)

    modes = {path.name: f"{stat.S_IMODE(path.stat().st_mode):o}" for path in tmp_path.iterdir()}
    assert modes == {"default": "644", "given": "755", "directory": "755", "replaced": "644"}


# --- durability, as far as it can be observed -----------------------------------------------------


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, bool]]:
    """The files and directories flushed to disk, in order, and whether `out` existed by then."""
    calls = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = path_of(descriptor)
        name = "staged" if path.name.endswith(".partial") else path.name
        calls.append((name, (tmp_path / "out").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "sync", lambda: calls.append(("everything", (tmp_path / "out").exists())))
    return calls


def test_a_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, synced: list[tuple[str, bool]]
) -> None:
    with staged_file(tmp_path / "out") as stream:
        stream.write(b"content")

    assert synced == [("staged", False), (tmp_path.name, True)]


def test_a_replaced_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, synced: list[tuple[str, bool]]
) -> None:
    replace_file(tmp_path / "out", b"content")

    assert synced == [("staged", False), (tmp_path.name, True)]


@pytest.mark.parametrize("content", [b"x", bytes(10_000_000)])
def test_the_whole_content_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """Also the part that is still in a buffer of Python."""
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    with staged_file(tmp_path / "out") as stream:
        stream.write(content)

    assert sizes[0] == len(content)


@pytest.mark.usefixtures("old_system")
def test_a_tree_is_on_the_disk_before_it_gets_its_name_on_an_old_system_too(
    tmp_path: Path, synced: list[tuple[str, bool]]
) -> None:
    with staged_dir(tmp_path / "out") as staging:
        (staging / "a" / "b").mkdir(parents=True)
        (staging / "a" / "b" / "file").write_bytes(b"content")

    assert synced == [("everything", False), (tmp_path.name, True)]


def test_one_call_makes_a_whole_tree_durable(
    tmp_path: Path, synced: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Library:
        def syncfs(self, descriptor: int) -> int:
            calls.append(path_of(descriptor))
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library())
    with staged_dir(tmp_path / "out") as staging:
        (staging / "file").write_bytes(b"content")

    assert calls == [staging]
    assert synced == [(tmp_path.name, True)]


def test_a_tree_that_cannot_be_made_durable_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        def syncfs(self, _: int) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library())
    with pytest.raises(OutputError, match="Input/output error"), staged("directory", tmp_path / "out"):
        pass

    assert names(tmp_path) == []


def test_a_directory_that_is_missing_cannot_be_synced(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "no")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = names(Path("/proc/self/fd"))
    for kind in ("file", "directory"):
        with staged(kind, tmp_path / kind):
            pass
    replace_file(tmp_path / "file", b"")
    sync_folder(tmp_path)

    assert names(Path("/proc/self/fd")) == before


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_has_a_hint(code: int) -> None:
    error = output_error(Path("/x/y"), OSError(code, os.strerror(code)))

    assert os.strerror(code) in error.message
    assert "`/x/y`" in error.message
    assert error.hint == "free space on the disk of `/x`, or write to another disk"


def test_the_store_has_a_hint_of_its_own() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert output_error(Path("/x/y"), full, if_full="bundler store gc").hint == "bundler store gc"


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("name", [".", "/"])
def test_a_path_without_a_name_exists(kind: str, name: str) -> None:
    with (
        pytest.raises(FileExistsError),
        staged_file(Path(name)) if kind == "file" else staged_dir(Path(name)),
    ):
        pass


@pytest.mark.attack("parallel")
def test_what_an_interrupted_removal_left_is_removed_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        monkeypatch.context() as system,
        temporary(tmp_path / "outer") as outer,
        temporary(tmp_path / "inner") as inner,
    ):
        outer.touch()
        inner.mkdir()
        (inner / "file").touch()
        system.setattr(shutil, "rmtree", interrupted)
    assert names(tmp_path) == ["inner"]

    remove_temporaries()

    assert names(tmp_path) == []


def test_another_error_has_no_hint() -> None:
    assert output_error(Path("/x"), PermissionError(errno.EACCES, "Permission denied")).hint is None
    assert output_error(Path("/x"), OSError("odd")).message.endswith(": odd")


def test_a_full_disk_is_named_and_nothing_half_written_is_left(small_disk: Path) -> None:
    """P20."""
    with (
        pytest.raises(OutputError, match="No space left on device") as caught,
        staged_file(small_disk / "out") as stream,
    ):
        stream.write(bytes(1_000_000))

    assert caught.value.hint == f"free space on the disk of `{small_disk}`, or write to another disk"
    assert names(small_disk) == []


def test_the_name_beside_is_another_one_each_time(tmp_path: Path) -> None:
    assert atomic._beside(tmp_path / "x") != atomic._beside(tmp_path / "x")
