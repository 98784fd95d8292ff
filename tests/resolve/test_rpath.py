"""RPATH and RUNPATH of what was built here: the directories of this machine go, nothing else changes."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.elfs import make_elf

from bundler.checks.elf import read_shared_object
from bundler.resolve.rpath import remove_host_rpath

LIBC = ("libc.so.6", "GLIBC_2.2.5", "printf")


def without(content: bytes) -> bytes:
    stream = io.BytesIO(content)
    remove_host_rpath(stream)
    return stream.getvalue()


def rpath_of(content: bytes) -> tuple[str, ...]:
    return read_shared_object(io.BytesIO(content), "x.so").rpath


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "i686", "s390x"])
@pytest.mark.parametrize("tag", ["rpath", "runpath"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/opt/python/lib", ()),
        ("/opt/python/lib:/build/x", ()),
        ("/opt/python/lib:$ORIGIN/../x.libs", ("$ORIGIN/../x.libs",)),
        ("$ORIGIN/../x.libs:/opt/python/lib", ("$ORIGIN/../x.libs",)),
        ("${ORIGIN}/a:/opt/lib:$ORIGIN/b", ("${ORIGIN}/a", "$ORIGIN/b")),
        ("/opt/lib:x.libs", ("x.libs",)),
        ("/opt/lib::", ()),
        ("$ORIGIN", ("$ORIGIN",)),
    ],
)
def test_absolute_directories_are_removed(
    machine: str, tag: str, before: str, after: tuple[str, ...]
) -> None:
    paths = {"rpath": before, "runpath": ""} if tag == "rpath" else {"rpath": "", "runpath": before}
    content = make_elf(
        machine,
        needed=["libc.so.6"],
        versions=[LIBC],
        soname="libx.so",
        rpath=paths["rpath"],
        runpath=paths["runpath"],
    )
    changed = without(content)

    assert rpath_of(changed) == after
    assert len(changed) == len(content)
    assert b"/opt" not in changed
    assert b"/build" not in changed
    old, new = (read_shared_object(io.BytesIO(one), "x.so") for one in (content, changed))
    assert (new.needed, new.soname, new.versions, new.symbol) == (
        old.needed,
        old.soname,
        old.versions,
        old.symbol,
    )
    assert without(changed) == changed, "a second time changes nothing"


def test_both_tags_are_removed() -> None:
    content = make_elf(needed=["libc.so.6"], versions=[LIBC], rpath="/opt/a", runpath="/opt/b")

    assert b"/opt" not in without(content)
    assert rpath_of(without(content)) == ()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x7fEL", b"\x7fELF", b"import os\n", make_elf(dynamic=False), make_elf(needed=["libc.so.6"])],
    ids=["empty", "short", "magic", "text", "static", "no rpath"],
)
def test_other_files_stay(content: bytes) -> None:
    assert without(content) == content


def test_a_damaged_file_stays_or_is_repaired_but_raises_nothing() -> None:
    """Whatever a build writes into a wheel."""
    content = make_elf(needed=["libc.so.6"], versions=[LIBC], rpath="/opt/a:$ORIGIN")
    source = random.Random(12)
    for _ in range(400):
        broken = bytearray(content)
        for _ in range(source.randint(1, 4)):
            broken[source.randrange(4, len(broken))] = source.randrange(256)
        assert len(without(bytes(broken))) >= len(content)
        assert len(without(content[: source.randrange(len(content))])) <= len(content)


SOURCE = """
int lib(int x) { return x + 1; }
int other(int x) { return lib(x) * 2; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("kept", ["", ":$ORIGIN/../lib"])
@pytest.mark.parametrize("flags", [["-Wl,--enable-new-dtags"], ["-Wl,--disable-new-dtags", "-Wl,-O2"]])
def test_a_library_of_a_linker_works_as_before(kept: str, flags: list[str], tmp_path: Path) -> None:
    """The name of the function `lib` is stored as the end of the directory."""
    (tmp_path / "x.c").write_text(SOURCE)
    library = tmp_path / "x.so"
    argv = ["cc", "-shared", "-fPIC", *flags, "-g0", "-o", str(library), str(tmp_path / "x.c")]
    subprocess.run([*argv, f"-Wl,-rpath,/opt/python/lib{kept}"], check=True)
    assert b"/opt/python" in library.read_bytes()

    with library.open("r+b") as stream:
        remove_host_rpath(stream)

    assert b"/opt/python" not in library.read_bytes()
    assert rpath_of(library.read_bytes()) == ((kept[1:],) if kept else ())
    code = "import ctypes, sys; x = ctypes.CDLL(sys.argv[1]); print(x.lib(1), x.other(1))"
    ran = subprocess.run([sys.executable, "-c", code, library], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["2", "4"]
