"""What ELF files tell the loader, and what that means for a target and its base."""

from __future__ import annotations

import importlib.util
import io
import platform
import random
import re
import shutil
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.elfs import make_elf

from bundler.checks.findings import is_allowed
from bundler.checks.shared_objects import (
    SharedObject,
    check_shared_objects,
    damaged,
    glibc_floor,
    is_elf,
    read_shared_object,
)
from bundler.errors import MalformedError
from bundler.target.target import GlibcLimit, Target

SITE = "lib/python3.7/site-packages"


def read(content: bytes, path: str = "p/x.so") -> SharedObject:
    return read_shared_object(io.BytesIO(content), path)


def target(abi: str = "cp37m", platform_tag: str = "linux_x86_64", libc: str = "glibc 2.31") -> Target:
    match = re.match(r"cp(\d)(\d+)", abi)
    assert match is not None
    version = f"{match[1]}.{match[2]}.0"
    return Target(version=version, abi=abi, platform=platform_tag, libc=libc, markers={})


def up_to(version: str) -> Target:
    """The target, with the limit of ``--target-glibc``."""
    return replace(target(), glibc=GlibcLimit(version=version, source=f"`--target-glibc` is {version}"))


def check(
    *objects: tuple[str, str, bytes],
    on: Target | None = None,
    bundled: Collection[str] = (),
    base: Collection[str] | None = None,
    **more: Any,
) -> list[tuple[str, str, str]]:
    """Return code, distribution and message of what is found in (distribution, path, content)."""
    found = [(name, read(content, path)) for name, path, content in objects]
    names = {path.rpartition("/")[2] for _, path, _ in objects} | set(bundled)
    options = {"bundled": names, "base_libraries": base, **more}
    findings = check_shared_objects(found, on or target(), **options)
    assert findings == check_shared_objects(found[::-1], on or target(), **options), "the order matters"
    return [(one.code, one.distribution, one.message) for one in findings]


def messages(*objects: tuple[str, str, bytes], **options: Any) -> list[str]:
    return [f"{code} {message}" for code, _, message in check(*objects, **options)]


# --- reading ----------------------------------------------------------------

LIBM = ("libm.so.6", "GLIBC_2.29", "exp")
LIBC = ("libc.so.6", "GLIBC_2.2.5", "printf")


def test_every_field_is_read_and_survives_json() -> None:
    one = read(
        make_elf(
            needed=["libm.so.6", "libz.so.1", "libc.so.6"],
            soname="libx.so.1",
            runpath="$ORIGIN/../x.libs:/opt/x",
            versions=[
                LIBC,
                ("libm.so.6", "GLIBC_2.29", "pow"),
                LIBM,
                ("libstdc++.so.6", "GLIBCXX_3.4.9", "_Z1f"),
                ("libstdc++.so.6", "GLIBCXX_3.4.21", "_Z1g"),
                ("libstdc++.so.6", "CXXABI_1.3.9", ""),
                ("libgcc_s.so.1", "GCC_3.0", "_Unwind_Resume"),
                ("libc.so.6", "GLIBC_PRIVATE", "a"),
            ],
        )
    )

    assert one == SharedObject(
        path="p/x.so",
        machine="x86_64",
        soname="libx.so.1",
        needed=("libm.so.6", "libz.so.1", "libc.so.6"),
        rpath=("$ORIGIN/../x.libs", "/opt/x"),
        versions={"CXXABI": "1.3.9", "GLIBC": "2.29", "GLIBCXX": "3.4.21"},
        symbol="exp",
        libc="glibc",
    )
    assert msgspec.json.decode(msgspec.json.encode(one), type=SharedObject) == one


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "i686", "armv7l", "ppc64le", "s390x", "EM_60000"])
def test_every_machine_is_named_as_it_names_itself(machine: str) -> None:
    one = read(make_elf(machine, needed=["libm.so.6"], versions=[LIBM]))

    assert (one.machine, one.needed, one.versions, one.symbol) == (
        machine,
        ("libm.so.6",),
        {"GLIBC": "2.29"},
        "exp",
    )


@pytest.mark.parametrize(
    ("needed", "libc"),
    [
        pytest.param(["libc.so.6"], "glibc", id="glibc"),
        pytest.param(["ld-linux-x86-64.so.2"], "glibc", id="glibc-loader"),
        pytest.param(["libc.musl-x86_64.so.1"], "musl", id="musl"),
        pytest.param(["libc.so"], "musl", id="musl-plain"),
        pytest.param(["ld-musl-aarch64.so.1"], "musl", id="musl-loader"),
        pytest.param(["libm.so.6", "libz.so.1"], "", id="neither"),
        pytest.param([], "", id="nothing"),
    ],
)
def test_the_c_library_it_was_built_for(needed: list[str], libc: str) -> None:
    assert read(make_elf(needed=needed)).libc == libc


def test_runpath_makes_the_loader_ignore_rpath() -> None:
    assert read(make_elf(rpath="/old", runpath="/new:$ORIGIN")).rpath == ("/new", "$ORIGIN")
    assert read(make_elf(rpath="/old")).rpath == ("/old",)


def test_versions_are_compared_as_numbers() -> None:
    one = read(
        make_elf(versions=[("c", "GLIBC_2.9", "a"), ("c", "GLIBC_2.10", "b"), ("c", "GLIBC_2.2.5", "c")])
    )

    assert (one.versions, one.symbol) == ({"GLIBC": "2.10"}, "b")


@pytest.mark.parametrize("names", [("dlsym", "pow"), ("pow", "dlsym")])
def test_one_version_of_two_libraries_has_two_indices(names: tuple[str, str]) -> None:
    first, second = names
    versions = [("m", "GLIBC_2.34", first), ("c", "GLIBC_2.34", second), ("c", "GLIBC_2.4", "a")]
    one = read(make_elf(versions=versions))

    assert (one.versions, one.symbol, one.libc) == ({"GLIBC": "2.34"}, "dlsym", "glibc")


@pytest.mark.parametrize("last", ["SYMTAB", "VERSYM"])
@pytest.mark.parametrize("highest", range(6))
def test_nothing_but_the_next_table_says_where_the_symbols_end(last: str, highest: int) -> None:
    """Whichever index is looked for: what stands behind a table is not taken for more of it."""
    numbers = [3 + (place == highest) for place in range(6)]
    versions = [("libc.so.6", f"GLIBC_{number}.{place}", "zz") for place, number in enumerate(numbers)]
    one = read(make_elf(needed=["libc.so.6"], versions=versions, last=last))

    assert (one.versions, one.symbol) == ({"GLIBC": f"4.{highest}"}, "zz")


def test_a_symbol_with_a_very_long_name_is_not_damage() -> None:
    """As the templates of Stan in prophet."""
    long = "_Z" + "4stan" * 10_000
    one = read(make_elf(needed=["libm.so.6"], versions=[("libm.so.6", "GLIBC_2.29", long)]))

    assert (one.versions, one.symbol) == ({"GLIBC": "2.29"}, "")
    both = [("libm.so.6", "GLIBC_2.29", long), ("libm.so.6", "GLIBC_2.29", "pow")]
    assert read(make_elf(needed=["libm.so.6"], versions=both)).symbol == "pow"


def test_the_page_after_a_segment_belongs_to_it() -> None:
    """As in programs that patchelf wrote: the last string ends beyond the segment, in its page."""
    content = bytearray(make_elf(needed=["libm.so.6"], runpath="$ORIGIN/x.libs"))
    whole = read(bytes(content))
    start, width, count = struct.unpack_from("<Q14xHH", content, 32)
    (load,) = (
        place
        for place in range(start, start + width * count, width)
        if struct.unpack_from("<I", content, place)[0] == 1  # PT_LOAD
    )
    offset, size = struct.unpack_from("<Q", content, load + 8)[0], bytes(content).rindex(b"x.libs") + 2
    struct.pack_into("<QQ", content, load + 32, size - offset, size - offset)

    assert read(bytes(content)) == whole
    struct.pack_into("<Q", content, load + 40, size - offset + 100)  # zeros follow
    with pytest.raises(MalformedError):
        read(bytes(content))


def test_the_loader_does_not_insist_on_a_weak_version() -> None:
    one = read(make_elf(versions=[LIBC, ("libc.so.6", "GLIBC_2.30", "gettid")], weak=["GLIBC_2.30"]))

    assert (one.versions, one.symbol) == ({"GLIBC": "2.2.5"}, "printf")


def test_relative_relocations_need_the_glibc_that_brought_them() -> None:
    one = read(make_elf(versions=[LIBC, ("libc.so.6", "GLIBC_ABI_DT_RELR", "")]))

    assert (one.versions, one.symbol) == ({"GLIBC": "2.36"}, "")


def test_section_headers_do_not_matter() -> None:
    plain = make_elf(needed=["libm.so.6"], versions=[LIBM])

    assert read(make_elf(needed=["libm.so.6"], versions=[LIBM], section_headers=b"\xff" * 500)) == read(plain)


def test_without_a_dynamic_segment_nothing_is_needed() -> None:
    one = read(make_elf(dynamic=False))

    assert (one.machine, one.needed, one.rpath, one.versions) == ("x86_64", (), (), {})


def test_bytes_that_are_no_text_are_escaped() -> None:
    content = make_elf(needed=["libAAAA.so"]).replace(b"AAAA", b"\xff\xfe\x1b[")

    assert read(content).needed == ("lib\\xff\\xfe\x1b[.so",)
    assert "\x1b" not in messages(("a", "p/x.so", content))[0]


@pytest.mark.parametrize(
    ("floors", "expected"),
    [(["2.9", "2.17", "2.2.5"], "2.17"), (["2.17", ""], "2.17"), ([""], ""), ([], "")],
)
def test_the_floor_is_the_highest_of_all(floors: list[str], expected: str) -> None:
    objects = [read(make_elf(versions=[("c", f"GLIBC_{floor}", "f")] if floor else [])) for floor in floors]

    assert glibc_floor(objects) == expected


# --- real files -------------------------------------------------------------


@cache
def real_extension() -> bytes:
    """An extension module of the environment that the tests run in."""
    spec = importlib.util.find_spec("isal.isal_zlib")
    assert spec is not None
    assert spec.origin is not None
    content = Path(spec.origin).read_bytes()
    if not is_elf(content):
        pytest.skip("extension modules are no ELF files here")
    return content


def test_a_real_extension_module() -> None:
    one = read(real_extension())

    assert one.machine == platform.machine()
    assert one.libc in ("glibc", "musl")
    if one.libc == "glibc":
        assert re.fullmatch(r"2\.\d+(\.\d+)?", one.versions["GLIBC"])
        assert re.fullmatch(r"\w+", one.symbol, re.ASCII)


SOURCE = """
#include <stdio.h>
#include <math.h>
double f(double x) { printf("x"); return exp(x); }
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler that makes ELF files")
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "x.c").write_text(SOURCE)
    argv = [compiler, "-shared", "-fPIC", "-o", "libx.so", "x.c", "-Wl,-soname,libx.so.7", "-lm", "-lc"]
    subprocess.run([*argv, "-Wl,-rpath,$ORIGIN/y:/builds/x", "-Wl,--no-as-needed"], cwd=folder, check=True)
    return folder / "libx.so"


def test_what_the_compiler_made(compiled: Path) -> None:
    one = read(compiled.read_bytes())

    assert (one.machine, one.soname, one.rpath) == (
        platform.machine(),
        "libx.so.7",
        ("$ORIGIN/y", "/builds/x"),
    )
    if one.libc == "glibc":
        assert {"libm.so.6", "libc.so.6"} <= set(one.needed)
        assert one.symbol in ("exp", "printf", "__cxa_finalize", "")


def test_as_readelf_says(compiled: Path) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("no readelf")
    for content in (compiled.read_bytes(), real_extension()):
        file = compiled.with_name("copy.so")
        file.write_bytes(content)
        argv = ["readelf", "--wide", "--dynamic", "--version-info", "--dyn-syms", str(file)]
        told = subprocess.run(argv, capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout
        one = read(content)
        assert list(one.needed) == re.findall(r"\(NEEDED\).*\[(.*)\]", told)
        versions = re.findall(r"Name: GLIBC_([\d.]+)  Flags: none", told)
        versions += ["2.36"] * ("GLIBC_ABI_DT_RELR" in told)
        if versions:
            highest = max(versions, key=lambda text: [int(part) for part in text.split(".")])
            assert one.versions["GLIBC"] == highest
            symbols = re.findall(rf" (\S+)@GLIBC_{re.escape(highest)} \(\d+\)", told)
            assert one.symbol == min(symbols, default="")


# --- damaged files ----------------------------------------------------------


def test_a_file_cut_off_anywhere_is_refused_or_read() -> None:
    content = real_extension()
    tracemalloc.start()
    try:
        outcomes = []
        for part in range(17):
            try:
                outcomes.append(read(content[: len(content) * part // 16]).machine)
            except MalformedError:
                outcomes.append("refused")
        assert tracemalloc.get_traced_memory()[1] < 4 * len(content) + 8_000_000
    finally:
        tracemalloc.stop()

    assert outcomes[0] == "refused"
    assert outcomes[1] == "refused"
    assert outcomes[-1] == platform.machine()


@pytest.mark.parametrize("machine", ["x86_64", "i686", "s390x"])
def test_every_cut_of_a_small_file_is_refused(machine: str) -> None:
    content = make_elf(machine, needed=["libm.so.6"], runpath="/x", versions=[LIBM, LIBC])

    for end in range(len(content)):
        with pytest.raises(MalformedError):
            read(content[:end])


def test_wrong_bytes_are_refused_or_read() -> None:
    """No other error, no endless loop, whatever the bytes are."""
    random_bytes = random.Random(7)
    small = make_elf(
        needed=["libm.so.6"], runpath="/x:/y", versions=[LIBM, LIBC], section_headers=b"\xee" * 128
    )
    refused = 0
    for seed in range(1500):
        content = bytearray(small)
        for _ in range(1 + seed % 4):
            content[random_bytes.randrange(4, len(content))] = random_bytes.choice(
                [0, 1, 0x7F, 0x80, 0xFF, seed % 256]
            )
        try:
            read(bytes(content))
        except MalformedError:
            refused += 1
    assert 250 < refused < 1450


def tag(number: int, value: int) -> bytes:
    return struct.pack("<QQ", number, value)


def with_tag(content: bytes, number: int, value: int) -> bytes:
    """Return the file with another value of one tag of its dynamic segment."""
    pattern = re.escape(struct.pack("<Q", number)) + b".{8}"
    at = [one.start() for one in re.finditer(pattern, content, re.DOTALL) if one.start() % 8 == 0][-1]
    return content[:at] + tag(number, value) + content[at + 16 :]


HONEST = make_elf(needed=["libm.so.6"], versions=[LIBM, LIBC])
VERNEED, VERSYM = 0x6FFFFFFE, 0x6FFFFFF0
LIARS = {
    "no-elf": (b"MZ" + HONEST[2:], "Magic number"),
    "empty": (b"", "Magic number"),
    "only-magic": (b"\x7fELF", "EI_CLASS"),
    "no-class": (HONEST[:4] + b"\x09" + HONEST[5:], "EI_CLASS"),
    "65535-segments": (HONEST[:56] + b"\xff\xff" + HONEST[58:], "its program headers end"),
    "2000-segments": (HONEST[:56] + b"\xd0\x07" + HONEST[58:] + bytes(2000 * 56), "its program headers end"),
    "small-headers": (HONEST[:54] + b"\x01\x00" + HONEST[56:], "Too small e_phentsize"),
    "segment-past-the-end": (HONEST[:96] + struct.pack("<Q", 1 << 62) + HONEST[104:], "a segment ends"),
    "dynamic-past-the-end": (
        HONEST[:128] + struct.pack("<Q", 1 << 63) + HONEST[136:],
        "its dynamic segment ends",
    ),
    "needed-past-the-end": (
        with_tag(HONEST, 1, 1 << 40),
        "it refers to 0x100000000b0, which is in no segment",
    ),
    "versions-nowhere": (with_tag(HONEST, VERNEED, 1 << 50), "which is in no segment"),
    "versions-at-the-end": (with_tag(HONEST, VERNEED, len(HONEST) - 4), "is truncated"),
    "symbols-nowhere": (with_tag(HONEST, VERSYM, 1 << 63), "which is in no segment"),
    "strings-to-the-end": (
        with_tag(with_tag(HONEST, 5, len(HONEST) - 1), 1, 0)[:-1] + b"x",
        "a string does not end",
    ),
    "no-strings": (HONEST.replace(tag(5, 176), tag(99, 176)), "its string table is missing"),
}


@pytest.mark.parametrize("name", LIARS)
def test_a_file_that_lies_is_refused(name: str) -> None:
    content, why = LIARS[name]
    with pytest.raises(MalformedError) as caught:
        read(content, "p/x\x1b.so")

    assert caught.value.message == "`p/x\\x1b.so` is not a valid ELF file"
    assert why in caught.value.evidence[0]


def test_a_list_of_versions_that_goes_in_circles_ends() -> None:
    """Each entry names the next by an offset; 4 GiB of offsets lead out of the file, small ones to its end."""
    content = make_elf(versions=[("libm.so.6", "GLIBC_2.29", "exp")])
    auxiliary = struct.pack("<IHH", 0, 0, 2)
    at = content.rindex(auxiliary)
    with pytest.raises(MalformedError):
        read(content[: at + 12] + struct.pack("<I", 1) + content[at + 16 :])


def test_a_dynamic_segment_without_end_is_refused() -> None:
    content = bytearray(make_elf(needed=["libm.so.6"]))
    end = content.rindex(struct.pack("<QQ", 0x6FFFFFFF, 0))
    content[end + 16 : end + 32] = tag(1, 1)

    with pytest.raises(MalformedError, match="is not a valid ELF file"):
        read(bytes(content))


def test_a_damaged_file_is_a_finding() -> None:
    with pytest.raises(MalformedError) as caught:
        read(b"\x7fELF", f"{SITE}/x.so")

    finding = damaged("x", f"{SITE}/x.so", caught.value)
    assert (finding.code, finding.distribution, finding.where) == ("E407", "x", f"{SITE}/x.so")
    assert finding.message.startswith(f"`{SITE}/x.so` is not a valid ELF file: ")


@pytest.mark.parametrize(
    ("head", "expected"), [(b"\x7fELF", True), (b"\x7fEL", False), (b"", False), (b"MZ\0\0", False)]
)
def test_is_elf(head: bytes, expected: bool) -> None:
    assert is_elf(head) is expected


# --- E401: machine and C library --------------------------------------------

MUSL = make_elf(needed=["libc.musl-x86_64.so.1"])
GLIBC = make_elf(needed=["libc.so.6"])


@pytest.mark.parametrize(
    ("content", "on", "found"),
    [
        pytest.param(
            make_elf("aarch64"), target(), "is built for aarch64, the target is x86_64", id="K11-arch"
        ),
        pytest.param(make_elf("i686"), target(), "is built for i686, the target is x86_64", id="K11-bits"),
        pytest.param(
            make_elf("EM_60000"), target(), "is built for EM_60000, the target is x86_64", id="K11-odd"
        ),
        pytest.param(MUSL, target(), "is built for musl, the target has glibc", id="K11-musl"),
        pytest.param(
            GLIBC, target(libc="musl 1.2"), "is built for glibc, the target has musl", id="K11-glibc"
        ),
        pytest.param(MUSL, target(libc="musl 1.2"), None, id="musl-on-musl"),
        pytest.param(GLIBC, target(libc=""), None, id="libc-not-known"),
        pytest.param(make_elf("i686"), target(platform_tag="linux_i586"), None, id="i586"),
        pytest.param(make_elf("armv7l"), target(platform_tag="linux_armv8l"), None, id="armv8l"),
        pytest.param(
            make_elf("aarch64"), target(platform_tag="macosx_11_0_arm64", libc=""), None, id="no-linux"
        ),
        pytest.param(make_elf("EM_CUDA"), target(), None, id="device-code"),
    ],
)
def test_e401(content: bytes, on: Target, found: str | None) -> None:
    assert messages(("a", "p/x.so", content), on=on) == ([f"E401 `p/x.so` {found}"] if found else [])


def test_e401_is_told_once_for_a_distribution_and_hides_what_follows_from_it() -> None:
    foreign = make_elf("aarch64", needed=["libnone.so"], rpath="/builds", versions=[LIBM])
    found = check(
        *(("a", f"a/{letter}.so", foreign) for letter in "zyx"), ("b", "b/x.so", foreign), on=up_to("2.17")
    )

    text = "is built for aarch64, the target is x86_64"
    assert found == [("E401", "a", f"`a/x.so` {text} (and 2 more files)"), ("E401", "b", f"`b/x.so` {text}")]


def test_one_library_for_each_machine_is_no_error_but_an_extension_module_is() -> None:
    own, other = make_elf("x86_64"), make_elf("aarch64")
    beside = ("a", "a/attach_x86.so", make_elf("i686"))

    assert messages(("a", "a/attach_amd64.so", own), beside) == []
    assert messages(
        ("a", "a/attach_amd64.so", own), beside, ("a", "a/m.cpython-37m-aarch64-linux-gnu.so", other)
    ) == ["E401 `a/m.cpython-37m-aarch64-linux-gnu.so` is built for aarch64, the target is x86_64"]


# --- E402: another Python ---------------------------------------------------


@pytest.mark.parametrize(
    ("name", "abi", "wrong"),
    [
        pytest.param(
            "x.cpython-38-x86_64-linux-gnu.so", "cp37m", "cpython-38-x86_64-linux-gnu", id="K11-cp38"
        ),
        pytest.param("x.cpython-37m-x86_64-linux-gnu.so", "cp37m", None, id="own"),
        pytest.param("x.cpython-37m.so", "cp37m", None, id="own-without-machine"),
        pytest.param(
            "x.cpython-37dm-x86_64-linux-gnu.so", "cp37m", "cpython-37dm-x86_64-linux-gnu", id="debug"
        ),
        pytest.param(
            "x.cpython-310-x86_64-linux-gnu.so", "cp31", "cpython-310-x86_64-linux-gnu", id="no-prefix"
        ),
        pytest.param("x.pypy37-pp73-x86_64-linux-gnu.so", "cp37m", "pypy37-pp73-x86_64-linux-gnu", id="pypy"),
        pytest.param("x.cp37-win_amd64.so", "cp37m", "cp37-win_amd64", id="tag-of-windows"),
        pytest.param("x.abi3.so", "cp37m", None, id="abi3"),
        pytest.param("x.abi3.so", "cp313t", "abi3", id="abi3-free-threaded"),
        pytest.param("x.abi3t.so", "cp314", "abi3t", id="abi3t-too-early"),
        pytest.param("x.abi3t.so", "cp315t", None, id="abi3t"),
        pytest.param(
            "x.cpython-313-x86_64-linux-gnu.so", "cp313t", "cpython-313-x86_64-linux-gnu", id="with-gil"
        ),
        pytest.param("x.so", "cp37m", None, id="plain"),
        pytest.param("libx.so.1", "cp37m", None, id="library"),
        pytest.param("libx-cpython-38.so", "cp37m", None, id="library-named-alike"),
    ],
)
def test_e402(name: str, abi: str, wrong: str | None) -> None:
    own = f"cpython-{abi[2:]}"
    expected = [f"E402 `p/{name}` is named for `{wrong}`, the target imports `{own}`"] if wrong else []

    assert messages(("a", f"p/{name}", GLIBC), on=target(abi)) == expected


@pytest.mark.parametrize(
    ("sibling", "enough"),
    [
        ("p/x.cpython-37m-x86_64-linux-gnu.so", True),
        ("p/x.abi3.so", True),
        ("p/x.so", True),
        ("p/y.abi3.so", False),
        ("q/x.abi3.so", False),
    ],
)
def test_e402_not_if_the_target_has_a_file_of_its_own(sibling: str, enough: bool) -> None:
    other = ("a", "p/x.cpython-38-x86_64-linux-gnu.so", GLIBC)

    assert bool(messages(other, ("a", sibling, GLIBC))) is not enough


# --- E403: glibc and libstdc++ ----------------------------------------------

NEW = make_elf(needed=["libc.so.6", "libm.so.6"], versions=[LIBC, LIBM])
CXX = make_elf(needed=["libstdc++.so.6"], versions=[LIBC, ("libstdc++.so.6", "GLIBCXX_3.4.29", "_Z1f")])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"on": up_to("2.27")}, "`--target-glibc` is 2.27", id="K10-asked"),
        pytest.param({"on": target(libc="glibc 2.28")}, "this machine has 2.28", id="K10-host"),
        pytest.param({"base_versions": {"GLIBC": "2.3"}}, "the base has 2.3", id="K10-versions"),
        pytest.param({"on": up_to("2.29")}, None, id="K10-equal"),
        pytest.param({"on": up_to("2.100")}, None, id="K10-as-numbers"),
        pytest.param({"on": up_to("2.29.1")}, None, id="K10-longer"),
        pytest.param({}, None, id="not-known"),
    ],
)
def test_e403(options: dict[str, Any], words: str | None) -> None:
    expected = [f"E403 `p/x.so` needs `exp@GLIBC_2.29`, {words}"] if words else []

    assert messages(("a", "p/x.so", NEW), **options) == expected


def test_e403_names_the_worst_file() -> None:
    worst = make_elf(needed=["libc.so.6"], versions=[("libc.so.6", "GLIBC_2.34", "dlsym")])
    found = messages(("a", "a/a.so", NEW), ("a", "a/b.so", worst), ("a", "a/c.so", worst), on=up_to("2.27"))

    assert found == ["E403 `a/b.so` needs `dlsym@GLIBC_2.34`, `--target-glibc` is 2.27 (and 2 more files)"]


def test_e403_without_a_symbol() -> None:
    content = make_elf(versions=[("libc.so.6", "GLIBC_ABI_DT_RELR", "")])

    assert messages(("a", "p/x.so", content), on=up_to("2.35")) == [
        "E403 `p/x.so` needs `GLIBC_2.36`, `--target-glibc` is 2.35"
    ]


def test_e403_of_the_base_s_libstdcxx() -> None:
    base = {"GLIBCXX": "3.4.25"}
    told = ["E403 `p/x.so` needs `GLIBCXX_3.4.29`, the base has 3.4.25"]
    mangled = make_elf(
        needed=["libstdc++-a1b2.so.6"], versions=[("libstdc++-a1b2.so.6", "GLIBCXX_3.4.29", "_Z1f")]
    )

    assert messages(("a", "p/x.so", CXX), base_versions=base) == told
    assert messages(("a", "p/x.so", CXX)) == []
    assert messages(("a", "p/x.so", CXX), base_versions=base, bundled=["libstdc++.so.6"]) == []
    assert messages(("a", "p/x.so", mangled), base_versions=base, bundled=["libstdc++-a1b2.so.6"]) == []


# --- E404: libraries --------------------------------------------------------

LISTED = [
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libm.so.6",
    "libdl.so.2",
    "librt.so.1",
    "libc.so.6",
    "libnsl.so.1",
]
LISTED += [
    "libutil.so.1",
    "libpthread.so.0",
    "libresolv.so.2",
    "libz.so.1",
    "libexpat.so.1",
    "ld-linux-x86-64.so.2",
]
GUI = ["libX11.so.6", "libXext.so.6", "libXrender.so.1", "libICE.so.6", "libSM.so.6", "libGL.so.1"]
GUI += ["libgobject-2.0.so.0", "libgthread-2.0.so.0", "libglib-2.0.so.0"]
SLIM = "on the manylinux list, but absent from slim images"
NOT_LISTED = "not in the bundle, not on the manylinux list"


def needing(*libraries: str) -> bytes:
    return make_elf(needed=libraries)


def test_e404_not_for_what_a_wheel_may_need() -> None:
    assert messages(("a", "p/x.so", needing(*LISTED))) == []


@pytest.mark.parametrize("library", GUI)
def test_e404_for_what_slim_images_lack(library: str) -> None:
    assert messages(("a", "p/x.so", needing(library))) == [f"E404 `p/x.so` needs `{library}`: {SLIM}"]


@pytest.mark.parametrize(
    ("library", "base", "why"),
    [
        pytest.param("libcuda.so.1", None, NOT_LISTED, id="K09-not-listed"),
        pytest.param("libcuda.so.1", [], f"{NOT_LISTED}, nor in the base", id="K09-nor-in-the-base"),
        pytest.param("libcuda.so.1", ["libcuda.so.1"], None, id="K09-in-the-base"),
        pytest.param(
            "libGL.so.1", [], "on the manylinux list, but the base lacks it", id="K09-base-without-gl"
        ),
        pytest.param("libGL.so.1", ["libGL.so.1"], None, id="K09-base-with-gl"),
        pytest.param("libgcc_s.so.1", [], "on the manylinux list, but the base lacks it", id="K09-slim-base"),
        pytest.param("libc.so.6", [], None, id="libc-is-always-there"),
        pytest.param("ld-linux-x86-64.so.2", [], None, id="so-is-the-loader"),
        pytest.param("libpython3.7m.so.1.0", None, "an extension must not link to libpython", id="libpython"),
        pytest.param("libpython3.7m.so.1.0", ["libpython3.7m.so.1.0"], None, id="libpython-of-the-base"),
        pytest.param("$ORIGIN/../b.libs/libown.so.2", None, None, id="by-a-path"),
        pytest.param("libown.so.2", None, None, id="bundled"),
        pytest.param("/builds/libown.so.2", None, NOT_LISTED, id="by-an-absolute-path"),
        pytest.param("/builds/libm.so.6", None, NOT_LISTED, id="listed-by-an-absolute-path"),
        pytest.param("libnamed.so.9", None, None, id="bundled-under-another-name"),
    ],
)
def test_e404(library: str, base: list[str] | None, why: str | None) -> None:
    expected = [f"E404 `p/libx.so` needs `{library}`: {why}"] if why else []
    others = [
        ("b", "b.libs/libown.so.2", make_elf()),
        ("b", "b.libs/libnamed.so", make_elf(soname="libnamed.so.9")),
    ]

    assert messages(("a", "p/libx.so", needing(library)), *others, base=base) == expected


def test_e404_on_musl() -> None:
    content = needing("libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1", "libz.so.1", "libstdc++.so.6")

    assert messages(("a", "p/x.so", content), on=target(libc="musl 1.2")) == [
        "E404 `p/x.so` needs `libstdc++.so.6`: not in the bundle, not on the musllinux list"
    ]


def test_e404_once_for_a_distribution_and_a_library() -> None:
    content = needing("libGL.so.1", "libcuda.so.1")
    found = check(("b", "b/z.so", content), ("b", "b/y.so", content), ("a", "a/x.so", needing("libGL.so.1")))

    assert found == [
        ("E404", "a", f"`a/x.so` needs `libGL.so.1`: {SLIM}"),
        ("E404", "b", f"`b/y.so` needs `libGL.so.1`: {SLIM} (and 1 more file)"),
        ("E404", "b", f"`b/y.so` needs `libcuda.so.1`: {NOT_LISTED} (and 1 more file)"),
    ]


def test_a_library_of_another_machine_meets_nothing() -> None:
    other = make_elf("aarch64", soname="libx.so.1")
    found = messages(("a", "a/x.so", needing("libx.so.1")), ("b", "b/libother.so", other))

    assert f"E404 `a/x.so` needs `libx.so.1`: {NOT_LISTED}" in found


# --- E405: RPATH, E406: OpenMP ----------------------------------------------


@pytest.mark.parametrize(
    ("rpath", "found"),
    [
        pytest.param("/builds/x/lib", ["/builds/x/lib"], id="K12-absolute"),
        pytest.param("$ORIGIN/../x.libs:${ORIGIN}:$ORIGIN", [], id="origin"),
        pytest.param("/usr/lib64:/lib:/usr/lib/x86_64-linux-gnu:/lib64/", [], id="system"),
        pytest.param(":$ORIGIN::", [], id="empty"),
        pytest.param("/usr/local/lib:$ORIGIN:/home/x", ["/home/x", "/usr/local/lib"], id="K12-several"),
        pytest.param("/library", [], id="begins-as-lib"),
        pytest.param("/b\x1b", ["/b\\x1b"], id="K12-escaped"),
        pytest.param("Pillow.libs", [], id="relative-to-the-working-directory"),
    ],
)
def test_e405(rpath: str, found: list[str]) -> None:
    assert messages(("a", "p/x.so", make_elf(runpath=rpath))) == [
        f"E405 `p/x.so` searches `{one}`" for one in found
    ]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        pytest.param(["a/libgomp-a34b3233.so.1.0.0"], None, id="one"),
        pytest.param(["a/libgomp.so.1", "b/libgomp.so.1.0.0"], None, id="the-same-twice"),
        pytest.param(["a/libgomp-11.so.1", "b/libgomp-11.so.1"], None, id="the-same-digest"),
        pytest.param(["a/libompl.so", "a/libomptarget.so", "b/libgomp.so.1"], None, id="others"),
        pytest.param(
            ["a/libomp.so", "b/libiomp5.so"], "`libiomp5.so` of `b` and `libomp.so` of `a`", id="two"
        ),
        pytest.param(
            ["a/libgomp-11.so.1", "b/libgomp-22.so.1", "c/libgomp-22.so.1"],
            "`libgomp-11.so.1` of `a` and `libgomp-22.so.1` of `b` and `c`",
            id="two-builds",
        ),
    ],
)
def test_e406(files: list[str], told: str | None) -> None:
    found = messages(*((file[0], file, make_elf()) for file in files))

    assert found == ([f"E406 the bundle uses {told}"] if told else [])


def test_e406_counts_the_runtime_of_the_system() -> None:
    """As lightgbm, which needs the system's libgomp, beside scikit-learn, which brings its own."""
    bundled = ("sk", "sk/libgomp-a34b3233.so.1.0.0", make_elf())
    system = ("lgb", "lgb/lib_lightgbm.so", make_elf(needed=["libgomp.so.1", "libc.so.6"]))

    assert messages(bundled, system, base=["libgomp.so.1"]) == [
        "E406 the bundle uses `libgomp-a34b3233.so.1.0.0` of `sk` and the system's `libgomp.so.1` through `lgb`"
    ]
    own = ("lgb", "lgb/libgomp.so.1", make_elf())
    assert messages(own, system) == []


# --- all together -----------------------------------------------------------


def test_findings_are_sorted_and_can_be_allowed() -> None:
    content = make_elf(needed=["libGL.so.1"], runpath="/builds", versions=[LIBM])
    one = read(content, f"{SITE}/x.cpython-38-x86_64-linux-gnu.so")
    found = check_shared_objects([("open-cv", one)], up_to("2.17"), bundled=(), base_libraries=None)

    assert [finding.code for finding in found] == ["E402", "E403", "E404", "E405"]
    assert {finding.where for finding in found} == {one.path}
    assert {finding.distribution for finding in found} == {"open-cv"}
    assert is_allowed(found[2], ["E404:Open_CV"])


# --- E408: what an import needs ---------------------------------------------


def test_an_object_that_a_needed_import_loads_and_the_base_cannot_is_an_error() -> None:
    """As cv2 in a slim image: Qt, which is in the bundle, needs a libGL that is not."""
    objects = (
        ("cv", "cv2/cv2.abi3.so", make_elf(needed=["libQt-1a.so.5", "libc.so.6"])),
        ("cv", "cv.libs/libQt-1a.so.5", make_elf(needed=["libGL.so.1", "libQt-1a.so.5"])),
        ("cv", "cv2/plugins/libqxcb.so", make_elf(needed=["libxcb.so.1"])),
    )
    loaded = {"cv2/cv2.abi3.so", "cv.libs/libQt-1a.so.5"}

    found = [text for text in messages(*objects, base=["libc.so.6"], loaded=loaded) if "xcb" not in text]
    assert [text.partition(",")[0] for text in found] == [
        "E408 `cv2/cv2.abi3.so` is loaded by an import: it needs `libGL.so.1` through `libQt-1a.so.5`"
    ]
    assert not [text for text in messages(*objects, loaded=loaded) if text.startswith("E408")], "no base"
    assert messages(*objects[:2], base=["libc.so.6", "libGL.so.1"], loaded=loaded) == []


@pytest.mark.parametrize(
    "path", ["pkg/lib_boost.so", "pkg/fast.cpython-37m-x86_64-linux-gnu.so", "pkg/x.so.1"]
)
def test_the_name_of_an_object_does_not_matter_but_whether_it_is_loaded(path: str) -> None:
    """As lib_lightgbm.so, which ctypes loads; and numba's omppool, which no import loads."""
    objects = (("a", path, make_elf(needed=["libgomp.so.1"])),)

    assert messages(*objects, base=[], loaded={path}) == [
        f"E408 `{path}` is loaded by an import: it needs `libgomp.so.1`, which the base lacks"
    ]
    assert [text[:4] for text in messages(*objects, base=[], loaded=())] == ["E404"]
