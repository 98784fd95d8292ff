"""Wheels that contradict themselves, and wheels that are odd but sound (rows W25-W43)."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.version import Version
from support.figures import Recorder
from support.wheels import record_row, wheel_files, with_record, zip_bytes

from bundler.archive import wheel as wheel_module
from bundler.archive.entry_points import EntryPoint
from bundler.archive.wheel import Wheel, read_wheel
from bundler.errors import MalformedError
from bundler.paths import archive_path, portability_note

NAME = "demo-1.0-py3-none-any.whl"
INFO = "demo-1.0.dist-info"
DATA = "demo-1.0.data"
RECORD = f"{INFO}/RECORD"
MODULE = {"demo.py": "VERSION = 1\n"}

Edit = Callable[[str], str]


def members(
    files: Mapping[str, str | bytes] = MODULE, *, edit: Mapping[str, Edit | None] | None = None, **fields: Any
) -> dict[str, bytes]:
    """Return the members of a wheel but RECORD, some of its texts changed or, with None, left out."""
    made = wheel_files("demo", "1.0", files, **fields)
    for name, change in (edit or {}).items():
        path = f"{INFO}/{name}"
        content = made.pop(path)
        if change is not None:
            made[path] = change(content.decode()).encode("utf-8", "surrogateescape")
    return made


def packed(made: Mapping[str, bytes], record: Edit | None = None) -> bytes:
    """Return a wheel with a RECORD that is right, or changed by ``record``."""
    whole = with_record(made, INFO)
    if record is not None:
        whole[RECORD] = record(whole[RECORD].decode()).encode("utf-8", "surrogateescape")
    return zip_bytes(whole)


def opened(content: bytes, filename: str = NAME) -> Wheel:
    return read_wheel(io.BytesIO(content), filename)


def contents(wheel: Wheel) -> dict[tuple[str, str], bytes]:
    return {(file.scheme, file.path): b"".join(wheel.chunks(file)) for file in wheel.files}


def refused(content: bytes, filename: str = NAME) -> str:
    """Return the message and evidence of a refusal, whether it comes on opening or on reading it."""
    with pytest.raises(MalformedError) as caught:
        contents(opened(content, filename))
    error = caught.value
    assert error.exit_code == 7
    assert filename in error.message
    assert all(line.isprintable() for line in (error.message, *error.evidence))
    return "\n".join((error.message, *error.evidence))


def add(text: str) -> Edit:
    return lambda old: old + text


def swap(pattern: str, new: str) -> Edit:
    def change(old: str) -> str:
        text, count = re.subn(pattern, lambda _: new, old, count=1, flags=re.MULTILINE)
        assert count, pattern
        return text

    return change


def case(row: str, subject: bytes | str, *telling: str) -> Any:
    return pytest.param(subject, telling, id=row)


# Which distribution it is (W29, W33, W34).

OTHER_INFO = {"other-1.0.dist-info/METADATA": "Name: other\n"}

IDENTITY = [
    case("W29-no-record", zip_bytes(members()), "no RECORD"),
    case("W29-none", zip_bytes({"demo.py": b""}), "0 `.dist-info` directories", "found   none"),
    case(
        "W29-two",
        packed(members({**MODULE, **OTHER_INFO})),
        "2 `.dist-info` directories",
        "other-1.0.dist-info",
    ),
    case("W29-two-by-case", packed(members({"x-1.DIST-INFO/METADATA": ""})), "2 `.dist-info` directories"),
    case(
        "W29-one-by-case",
        zip_bytes(
            {
                path.replace("dist-info", "DIST-INFO"): content
                for path, content in with_record(members(), INFO).items()
            }
        ),
        "does not match its file name",
    ),
    case("W33-missing", packed(members(edit={"WHEEL": None})), "no WHEEL"),
    case("W33-2.0", packed(members(edit={"WHEEL": swap("1.0", "2.0")})), "Wheel-Version", "2.0", "1.x"),
    case("W33-none", packed(members(edit={"WHEEL": swap("^Wheel-Version.*\n", "")})), "Wheel-Version"),
    case("W33-twice", packed(members(edit={"WHEEL": add("Wheel-Version: 1.0\n")})), "Wheel-Version"),
    case("W33-large", packed(members(edit={"WHEEL": add("X: y\n" * 20_000)})), "WHEEL` is too large"),
    case("W34-missing", packed(members(edit={"METADATA": None})), "no METADATA"),
    case("W34-name", packed(members(edit={"METADATA": swap("demo", "other")})), "Name", "other", "demo"),
    case("W34-no-name", packed(members(edit={"METADATA": swap("^Name.*\n", "")})), "Name", "not one"),
    case("W34-two-names", packed(members(edit={"METADATA": add("Name: demo\n")})), "Name", "not one"),
    case("W34-odd-name", packed(members(edit={"METADATA": swap("demo$", "dem\u043e")})), "Name"),
    case("W34-version", packed(members(edit={"METADATA": swap("1.0$", "1.1")})), "Version", "1.1", "1.0"),
    case(
        "W34-no-version", packed(members(edit={"METADATA": swap("^Version.*\n", "")})), "Version", "not one"
    ),
    case("W34-bad-version", packed(members(edit={"METADATA": swap("1.0$", "one")})), "Version", "one"),
    case("W34-endless-version", packed(members(edit={"METADATA": swap("1.0$", "9" * 5000)})), "Version"),
    case("W34-folded", packed(members(edit={"METADATA": swap("demo$", "demo\n other")})), "Name"),
    case(
        "W34-injection",
        packed(members(edit={"METADATA": add("Summary: x\rRequires-Dist: evil\n")})),
        "control",
    ),
    case(
        "W34-feed", packed(members(edit={"METADATA": add("Summary: x\x0cRequires-Dist: evil\n")})), "control"
    ),
    case("W34-escape", packed(members(edit={"METADATA": add("Summary: x\n  \x1by\n")})), "control"),
    case("W34-nul", packed(members(edit={"METADATA": add("Summary: x\0\n")})), "control character"),
    case(
        "W34-large", packed(members(edit={"METADATA": add("\n" + "x" * (5 << 20))})), "METADATA` is too large"
    ),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("content", "telling"), IDENTITY)
def test_a_wheel_names_one_distribution(content: bytes, telling: tuple[str, ...]) -> None:
    said = refused(content)

    assert [text for text in telling if text not in said] == []


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("filename", "telling"),
    [
        pytest.param("other-1.0-py3-none-any.whl", "does not match its file name", id="W29-name"),
        pytest.param("demo-1.1-py3-none-any.whl", "does not match its file name", id="W29-version"),
        pytest.param("demo-1.0-cp311-cp311-any.whl", "Tag does not match", id="W33-filename"),
        pytest.param("demo-1.0.zip", "not the name of a wheel", id="no-wheel"),
        pytest.param("demo-1.0-any.whl", "not the name of a wheel", id="too-short"),
        pytest.param("demo-one-py3-none-any.whl", "not the name of a wheel", id="no-version"),
        pytest.param("demo-" + "9" * 5000 + "-py3-none-any.whl", "not the name of a wheel", id="endless"),
    ],
)
def test_the_file_name_is_part_of_it(filename: str, telling: str) -> None:
    assert telling in refused(packed(members()), filename)


@pytest.mark.parametrize(
    ("filename", "info"),
    [
        pytest.param("Demo.Lib-1.0-py3-none-any.whl", "demo_lib-1.0", id="spelling"),
        pytest.param("demo_lib-1.0.0-py3-none-any.whl", "Demo-Lib-1.0", id="dashes-and-zeros"),
        pytest.param("demo_lib-1.0-7-py3-none-any.whl", "demo_lib-1.0", id="build-tag"),
    ],
)
def test_one_distribution_has_many_spellings(filename: str, info: str) -> None:
    made = {
        path.replace(INFO, f"{info}.dist-info"): content.replace(b"Name: demo", b"Name: demo-lib")
        for path, content in members().items()
    }
    wheel = opened(zip_bytes(with_record(made, f"{info}.dist-info")), filename)

    assert (wheel.metadata.name, wheel.metadata.version) == ("demo-lib", Version("1.0"))
    assert wheel.dist_info == f"{info}.dist-info"


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    "info",
    [
        pytest.param("other-1.0", id="W29-name"),
        pytest.param("demo-1.1", id="W29-version"),
        pytest.param("demo", id="W29-no-version"),
    ],
)
def test_the_dist_info_folder_is_named_as_the_file(info: str) -> None:
    made = {path.replace(INFO, f"{info}.dist-info"): content for path, content in members().items()}
    said = refused(zip_bytes(with_record(made, f"{info}.dist-info")))

    assert "its `.dist-info` directory does not match its file name" in said
    assert f"found   {info}.dist-info" in said


def test_a_wheel_renamed_for_another_platform_is_odd() -> None:
    """Wheels of ray, playwright, py-spy and mysql-connector-python are like this."""
    name = "demo-1.0-py2.py3-none-manylinux1_x86_64.whl"
    wheel = opened(packed(members()), name)

    assert wheel.tags == {Tag(python, "none", "manylinux1_x86_64") for python in ("py2", "py3")}
    assert wheel.notes == ("its WHEEL has other tags than its file name: py3-none-any",)


@pytest.mark.attack("archives")
def test_w33_another_abi_is_a_contradiction_unless_the_name_asks_for_none() -> None:
    """The wheels of xgboost 1.6 have cp39 inside and py3-none in the name; pip uses the name."""
    content = packed(members(tags=["cp39-cp39-any"]))
    assert opened(content).notes == ("its WHEEL has other tags than its file name: cp39-cp39-any",)

    told = refused(content, "demo-1.0-cp37-cp37m-any.whl")
    assert all(text in told for text in ("does not match", "cp39-cp39-any", "cp37-cp37m-any"))


CLERICAL = [
    case("no-tag", packed(members(tags=[])), "its WHEEL has no Tag"),
    case("empty-tag", packed(members(tags=[""])), "a Tag in its WHEEL is empty"),
    case("bad-tag", packed(members(tags=["py3"])), "a Tag in its WHEEL is malformed: "),
    case(
        "endless-tag",
        packed(members(tags=["-".join([".".join("abcdefghijkl")] * 3)])),
        "a Tag in its WHEEL is malformed: a tag of 71 characters expands to too many",
    ),
    case(
        "purelib",
        packed(members(edit={"WHEEL": swap("true", "maybe")})),
        "its Root-Is-Purelib is not one true or false: `maybe`",
    ),
    case(
        "no-purelib",
        packed(members(edit={"WHEEL": swap("^Root.*\n", "")})),
        "its Root-Is-Purelib is not one true or false: missing",
    ),
    case(
        "purelib-twice",
        packed(members(edit={"WHEEL": add("Root-Is-Purelib: false\n")})),
        "its Root-Is-Purelib is not one true or false: `true`, `false`",
    ),
    case(
        "python-daemon-3.1.2",
        packed(members(edit={"METADATA": add("License: GPL\n        \x0c        \n        more\x0b\n")})),
        "its METADATA has a form feed or vertical tab in a header",
    ),
    case(
        "orjson-2.0.0",
        packed(members())[:-2] + b"\6\0zip-rs",
        "it has an archive comment: `zip-rs`",
    ),
    case(
        "data-of-another-spelling",
        packed(members({**MODULE, "Demo-1.0.0.data/scripts/run": "x"})),
        "its `.data` directory is not named as its `.dist-info` directory: `Demo-1.0.0.data`",
    ),
]


@pytest.mark.parametrize(("content", "telling"), CLERICAL)
def test_a_clerical_fault_that_pip_accepts_is_noted(content: bytes, telling: tuple[str, ...]) -> None:
    wheel = opened(content)

    (fault,) = wheel.faults
    assert fault.startswith(telling)
    assert fault.isprintable()
    assert SOURCE in contents(wheel).values()
    assert (wheel.metadata.version, wheel.notes) == (Version("1.0"), ())


def test_data_directories_of_two_spellings_are_one() -> None:
    wheel = opened(packed(members({f"{DATA}/scripts/a": "", "demo-1.0.0.data/scripts/b": ""})))

    assert [file.path for file in wheel.files if file.scheme == "scripts"] == ["a", "b"]


def labeled(of_file: str, directory: str, version: str) -> Wheel:
    """Return a wheel whose file name, ``.dist-info`` directory and METADATA have versions of their own."""
    made = {
        path.replace(INFO, f"demo-{directory}.dist-info"): content.replace(
            b"Version: 1.0\nRequires", b""
        ).replace(b"\nVersion: 1.0\n", f"\nVersion: {version}\n".encode())
        for path, content in members().items()
    }
    archive = zip_bytes(with_record(made, f"demo-{directory}.dist-info"))
    return opened(archive, f"demo-{of_file}-py3-none-any.whl")


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("of_file", "directory", "version", "faults"),
    [
        pytest.param("1.0+cpu", "1.0", "1.0", ["its file name has version 1.0+cpu, its METADATA 1.0"], id="file"),
        pytest.param(
            "1.0", "1.0+cpu", "1.0", ["its `.dist-info` directory has version 1.0+cpu, its METADATA 1.0"],
            id="dist-info",
        ),
        pytest.param(
            "1.0", "1.0", "1.0+cpu",
            [
                "its file name has version 1.0, its METADATA 1.0+cpu",
                "its `.dist-info` directory has version 1.0, its METADATA 1.0+cpu",
            ],
            id="metadata",
        ),
        pytest.param("1.0+cpu", "1.0+CPU", "1.0+cpu", [], id="all"),
    ],
)  # fmt: skip
def test_a_local_label_may_be_missing_in_one_place(
    of_file: str, directory: str, version: str, faults: list[str]
) -> None:
    wheel = labeled(of_file, directory, version)

    assert list(wheel.faults) == faults
    assert wheel.metadata.version == Version(version)


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("of_file", "directory", "version"),
    [("1.0+cpu", "1.0+gpu", "1.0+cpu"), ("1.0+cpu", "1.0", "1.0+gpu"), ("1.0", "1.1+cpu", "1.0")],
)
def test_two_labels_or_releases_contradict_each_other(of_file: str, directory: str, version: str) -> None:
    with pytest.raises(MalformedError, match="does not match its file name"):
        labeled(of_file, directory, version)


# RECORD (W30-W32).


def row_of(path: str) -> str:
    return f"^{re.escape(path)},.*\n"


def sha(algorithm: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).decode().rstrip("=")
    return f"{algorithm}={digest}"


SOURCE = b"VERSION = 1\n"
ROW = row_of("demo.py")
EMPTY = hashlib.sha256(b"").hexdigest()
LINE = "line 1 of its RECORD is malformed"

RECORDS = [
    case(
        "W31-digest",
        packed(members(), swap(ROW, record_row("demo.py", b"VERSION = 2\n"))),
        "digest in RECORD",
    ),
    case("W31-md5-wrong", packed(members(), swap(ROW, f"demo.py,{sha('md5', b'')},12\n")), "md5"),
    case("W31-sha512-wrong", packed(members(), swap(ROW, f"demo.py,{sha('sha512', b'')},12\n")), "sha512"),
    case(
        "W31-duplicate",
        packed(members(), swap(ROW, record_row("demo.py", b"VERSION = 2\n") + record_row("demo.py", SOURCE))),
        "digest in RECORD",
    ),
    case("W31-field-size", packed(members(), swap("^", "x" * 200_000)), LINE),
    case("W31-bare-return", packed(members(), swap("^demo", "de\rmo")), LINE),
    case("W31-line-number", packed(members(), add("a\x01b,,\n")), "line 5 of its RECORD"),
    case("W31-up", packed(members(), add(record_row("../../x", b""))), "line 5", "../../x", "`..`"),
    case("W31-up-after-a-slash", packed(members(), add(record_row("/../x", b""))), "line 5", "`..`"),
    case("W31-up-backslash", packed(members(), add(record_row("..\\..\\x", b""))), "line 5", "backslash"),
    case("W31-drive", packed(members(), add(record_row("C:x", b""))), "line 5", "drive"),
    case("W32-not-utf8", packed(members(), swap("^demo", "\udce9")), "not UTF-8"),
    case(
        "W32-utf16",
        packed(members(), lambda old: old.encode("utf-16").decode("utf-8", "surrogateescape")),
        "UTF-8",
    ),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("content", "telling"), RECORDS)
def test_a_record_that_contradicts_the_code_or_names_a_place_outside_is_refused(
    content: bytes, telling: tuple[str, ...]
) -> None:
    said = refused(content)

    assert [text for text in telling if text not in said] == []


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(lambda old: old.replace("\n", "\r\n"), id="W32-crlf"),
        pytest.param(lambda old: old.removesuffix("\n"), id="no-last-newline"),
        pytest.param(swap(",12$", ","), id="no-size"),
        pytest.param(swap(row_of(RECORD), ""), id="itself-unlisted"),
        pytest.param(swap("^demo.py,", '"demo.py",'), id="quoted"),
        pytest.param(swap(ROW, f"demo.py,{sha('sha384', SOURCE)},12\n"), id="sha384"),
        pytest.param(swap(ROW, f"demo.py,{sha('sha512', SOURCE)},12\n"), id="sha512"),
        pytest.param(swap(ROW, f"demo.py,{sha('md5', SOURCE)},12\n"), id="W31-md5"),
        pytest.param(swap(ROW, f"/demo.py,{sha('sha256', SOURCE)}=,13\n"), id="slash-padded-and-wrong-size"),
        pytest.param(
            swap(ROW, f"demo.py,sha256={hashlib.sha256(SOURCE).hexdigest()},12\n"), id="hex-by-gmsh"
        ),
    ],
)
def test_record_may_be_spelled_in_several_ways(record: Edit) -> None:
    wheel = opened(packed(members(), record))

    assert contents(wheel)["purelib", "demo.py"] == SOURCE
    (file,) = (file for file in wheel.files if file.path == "demo.py")
    assert (file.sha256, file.size) == (hashlib.sha256(SOURCE).hexdigest(), len(SOURCE))


def test_only_record_and_its_signatures_have_no_digest() -> None:
    made = with_record(members(), INFO)
    made[f"{INFO}/RECORD.jws"] = b"{}"
    made[f"{INFO}/RECORD.p7s"] = b""
    made[RECORD] += f"{INFO}/RECORD.p7s,,\n".encode()
    wheel = opened(zip_bytes(made))

    assert [file.path.rpartition("/")[2] for file in wheel.files if file.sha256 is None] == [
        "RECORD",
        "RECORD.jws",
        "RECORD.p7s",
    ]
    assert contents(wheel)["purelib", f"{INFO}/RECORD.jws"] == b"{}"


@pytest.mark.attack("archives")
@pytest.mark.parametrize("name", ["METADATA", "WHEEL", "entry_points.txt"])
def test_a_wrong_digest_of_metadata_is_noted(name: str) -> None:
    made = members(entry_points="[plugins]\n")
    wheel = opened(packed(made, swap(f"{name},sha256=.{{8}}", f"{name},sha256=AAAAAAAA")))

    assert wheel.faults == (f"its RECORD has another digest for: `{INFO}/{name}`",)
    assert contents(wheel)["purelib", f"{INFO}/{name}"] == made[f"{INFO}/{name}"]


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        pytest.param(swap(ROW, ""), "does not list: `demo.py`", id="W30-unlisted"),
        pytest.param(
            add(record_row("gone.py", b"")),
            "lists files that are missing from it: `gone.py`",
            id="W30-no-member",
        ),
        pytest.param(swap(ROW, "demo.py,,12\n"), "has no digest for: `demo.py`", id="W31-no-digest"),
    ],
)
def test_a_file_without_a_digest_in_record_is_read(record: Edit, fault: str) -> None:
    wheel = opened(packed(members(), record))

    assert wheel.faults == (f"its RECORD {fault}",)
    assert contents(wheel)["purelib", "demo.py"] == SOURCE


@pytest.mark.attack("archives")
def test_a_wrong_digest_is_found_after_the_last_piece() -> None:
    wheel = opened(packed(members(), swap(ROW, record_row("demo.py", b"VERSION = 2\n"))))
    (file,) = (file for file in wheel.files if file.path == "demo.py")
    pieces = wheel.chunks(file)

    assert next(pieces) == SOURCE
    with pytest.raises(MalformedError, match=r"`demo\.py` does not match its digest in RECORD") as caught:
        next(pieces)
    assert caught.value.evidence[1] == f"found   sha256 {hashlib.sha256(SOURCE).hexdigest()}"


# Entry points (W35, W36).


def scripts(line: str, group: str = "console_scripts") -> bytes:
    return packed(members(entry_points=f"[{group}]\n{line}\n"))


ENTRY_POINTS = [
    case("W35-up", scripts("../../bin/sh = demo:main"), "`../../bin/sh`", "`..`"),
    case("W35-absolute", scripts("/abs = demo:main"), "`/abs`", "absolute"),
    case("W35-folder", scripts("a/b = demo:main"), "`a/b`", "slash"),
    case("W35-backslash", scripts("a\\b = demo:main"), "`a\\b`", "backslash"),
    case("W35-drive", scripts("c:x = demo:main"), "`c:x`", "drive"),
    case("W35-newline", scripts("a\rb = demo:main"), "`a\\rb`", "control"),
    case("W35-space", scripts("a b = demo:main"), "`a b`", "space"),
    case("W35-wide-space", scripts("a\u2003b = demo:main"), "`a\\u2003b`", "space"),
    case("W35-nul", scripts("a\0b = demo:main"), "`a\\x00b`", "control"),
    case("W35-dots", scripts(".. = demo:main"), "`..`"),
    case("W35-gui", scripts("../x = demo:main", "gui_scripts"), "`../x`"),
    *(
        case(f"W35-{name}", scripts(f"{name} = demo:main"), "reserved", f"`{name}`")
        for name in ("python", "python3", "python3.7", "python3.13")
    ),
    case("W35-twice", scripts("a = demo:main\na = demo:other"), "entry_points.txt is malformed"),
    case("W35-both", scripts("a = demo:main\n[gui_scripts]\na = demo:other"), "have the name `a`"),
    case("W36-code", scripts("a = os:system;import x"), "does not name an object", "os:system;import x"),
    case("W36-call", scripts("a = os:system()"), "does not name an object"),
    case("W36-dash", scripts("a = my-module:main"), "does not name an object"),
    case("W36-no-attribute", scripts("a = demo"), "does not name an object"),
    case("W36-keyword", scripts("a = demo:import"), "does not name an object"),
    case("W36-empty-part", scripts("a = demo..x:main"), "does not name an object"),
    case("W36-digit", scripts("a = demo:1"), "does not name an object"),
    case("W36-two-lines", scripts("a = demo:main\n  b"), "does not name an object"),
    case("W36-empty", scripts("a ="), "does not name an object"),
    case("no-section", packed(members(entry_points="a = b:c\n")), "entry_points.txt is malformed"),
    case("no-value", scripts("a"), "entry_points.txt is malformed"),
    case(
        "not-utf8",
        packed({**members(), f"{INFO}/entry_points.txt": b"\xff"}),
        "entry_points.txt is malformed",
    ),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("content", "telling"), ENTRY_POINTS)
def test_a_launcher_stays_in_its_folder_and_calls_one_object(
    content: bytes, telling: tuple[str, ...]
) -> None:
    said = refused(content)

    assert [text for text in telling if text not in said] == []


def test_entry_points_are_kept_in_their_order() -> None:
    text = """\
# a comment
[console_scripts]
demo = demo:main
demo-x.y = demo.sub:Main.run [extra, other]
python3-demo = demo : main
Pip = demo:main

[DEFAULT]
odd name/with slash = not a [reference %(x)s

[plugins]
one = demo
two = demo:Class.method
"""
    wheel = opened(packed(members(entry_points=text)))

    assert [(point.group, point.name, point.module, point.attribute) for point in wheel.entry_points] == [
        ("console_scripts", "demo", "demo", "main"),
        ("console_scripts", "demo-x.y", "demo.sub", "Main.run"),
        ("console_scripts", "python3-demo", "demo", "main"),
        ("console_scripts", "Pip", "demo", "main"),
        ("DEFAULT", "odd name/with slash", "not a [reference %(x)s", ""),
        ("plugins", "one", "demo", ""),
        ("plugins", "two", "demo", "Class.method"),
    ]
    assert isinstance(wheel.entry_points[0], EntryPoint)


# Files (W25, W37, W38, W42).

PLACES = [
    case("W37-up", f"{DATA}/purelib/../../x", "`..`"),
    case("W37-unknown", f"{DATA}/foo/x", "unknown scheme", "found   foo", "purelib, platlib"),
    case("W37-case", f"{DATA}/Scripts/x", "unknown scheme"),
    case("W37-scheme-file", f"{DATA}/scripts", "unknown scheme"),
    case("W37-other", "other-1.0.data/scripts/x", "`.data` directory of another name", DATA),
    case("W37-by-case", "x.DATA/scripts/x", "`.data` directory of another name"),
    case("W37-suffix-by-case", "demo-1.0.DATA/scripts/x", "`.data` directory of another name"),
    case("W37-other-version", "demo-1.1.data/scripts/x", "`.data` directory of another name"),
    case("W37-same-place", f"{DATA}/purelib/demo.py", "same installation path", "demo.py"),
    case(
        "W29-in-data", f"{DATA}/platlib/other-1.0.dist-info/METADATA", "into another `.dist-info` directory"
    ),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("path", "telling"), PLACES)
def test_each_file_has_one_place(path: str, telling: tuple[str, ...]) -> None:
    made = members({**MODULE, path: "x"})
    said = refused(packed(made))

    assert [text for text in telling if text not in said] == []


def test_data_trees_go_to_their_schemes() -> None:
    """W38, and the order of files: bytewise by scheme, then path."""
    files: dict[str, str | bytes] = {
        **MODULE,
        "file.data": "a file, not a folder",
        "Z/é.txt": "é",
        f"{DATA}/data/etc/x": "data",
        f"{DATA}/data/other-1.0.dist-info/x": "in no site-packages",
        f"{DATA}/headers/demo.h": "headers",
        f"{DATA}/platlib/demo_native.so": b"\x7fELF",
        f"{DATA}/scripts/demo": "#!python\n",
        f"{DATA}/scripts/sub/demo": "#!/bin/sh\n",
    }
    wheel = opened(packed(members(files)))

    assert [(file.scheme, file.path) for file in wheel.files] == [
        ("data", "etc/x"),
        ("data", "other-1.0.dist-info/x"),
        ("headers", "demo.h"),
        ("platlib", "demo_native.so"),
        ("purelib", "Z/é.txt"),
        ("purelib", f"{INFO}/METADATA"),
        ("purelib", f"{INFO}/RECORD"),
        ("purelib", f"{INFO}/WHEEL"),
        ("purelib", "demo.py"),
        ("purelib", "file.data"),
        ("scripts", "demo"),
        ("scripts", "sub/demo"),
    ]
    assert contents(wheel)["data", "etc/x"] == b"data"
    assert contents(wheel)["purelib", "Z/é.txt"] == "é".encode()
    assert wheel.root_is_purelib


def test_the_root_of_a_platform_wheel_is_platlib() -> None:
    wheel = opened(packed(members(purelib=False)))

    assert not wheel.root_is_purelib
    assert {file.scheme for file in wheel.files} == {"platlib"}


@pytest.mark.attack("archives")
def test_dangerous_bits_are_noted_and_the_executable_bit_is_kept() -> None:
    """W25."""
    made = with_record(members({"a.py": "", "b.py": "", "c.py": ""}), INFO)
    wheel = opened(zip_bytes(made, modes={"a.py": 0o755, "b.py": 0o666, "c.py": 0o4755}))

    assert [file.path for file in wheel.files if file.member.executable] == ["a.py", "c.py"]
    assert wheel.notes == (
        "setuid, setgid, sticky or world-write bits are dropped from 2 files, first `b.py`",
    )


@pytest.mark.parametrize(
    "name", ["CON", "aux.py", "Com1.txt", "x.", "x ", " x", "a?b", "pkg/nul/x", "a*", 'a"b']
)
def test_a_name_that_some_system_cannot_hold_is_noted(name: str) -> None:
    """W42."""
    (note,) = opened(packed(members({name: ""}))).notes

    assert f"`{name}` cannot exist on every system" in note


@settings(max_examples=200)
@given(st.from_regex(wheel_module._PLAIN, fullmatch=True).filter(lambda path: len(path) <= 60))
def test_a_plain_path_needs_no_portability_check(path: str) -> None:
    try:
        checked = archive_path(path)
    except ValueError:
        return
    assert portability_note(checked) is None


# METADATA beyond name and version.


def metadata(*lines: str) -> Wheel:
    return opened(packed(members(edit={"METADATA": add("".join(f"{line}\n" for line in lines))})))


def test_metadata_is_parsed_into_values() -> None:
    wheel = opened(
        packed(
            members(
                requires=["numpy (>=1.0)", "six; python_version < '3'"],
                requires_python=">=3.7,<4",
                extras=["Test_All"],
            )
        )
    )

    found = wheel.metadata
    assert [str(requirement) for requirement in found.requires_dist] == [
        "numpy>=1.0",
        'six; python_version < "3"',
    ]
    assert found.requires_python == SpecifierSet(">=3.7,<4")
    assert found.provides_extra == ("test-all",)
    assert (found.name, found.display_name, found.version) == ("demo", "demo", Version("1"))
    assert (found.license, wheel.notes) == ("", ())


def test_what_cannot_be_parsed_in_old_metadata_is_noted() -> None:
    wheel = metadata(
        "Requires-Dist: good",
        "Requires-Dist: pytz (>dev)",
        "Requires-Dist: x; " + "(" * 5000,
        "Requires-Dist: y @ https://me:hunter2@index.example/y",
        "Requires-Dist: z https://me:hunter2@index.example/z",
        "Requires-Python: >=3.5.*.x",
        "Keywords: a",
        "Keywords: b",
        "Author: M\udce9",
        "Description: one\n        two",
    )

    assert [requirement.name for requirement in wheel.metadata.requires_dist] == ["good", "y"]
    assert wheel.metadata.requires_python is None
    assert [note[:28] for note in wheel.notes] == [
        "its requirement `pytz (>dev)",
        "its requirement `x; ((((((((",
        "its requirement `z https://*",
        "its Requires-Python `>=3.5.*",
    ]
    assert not any("hunter2" in note for note in wheel.notes)


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        pytest.param(
            ["License-Expression: MIT OR Apache-2.0", "License: x"], "MIT OR Apache-2.0", id="expression"
        ),
        pytest.param(
            ["License: BSD", "Classifier: License :: OSI Approved :: MIT License"], "BSD", id="license"
        ),
        pytest.param(
            ["License: UNKNOWN", "Classifier: License :: Public Domain"], "Public Domain", id="unknown"
        ),
        pytest.param(
            [
                "License: " + "long " * 50,
                "Classifier: License :: OSI Approved",
                "Classifier: License :: OSI Approved :: MIT License",
                "Classifier: Programming Language :: Python",
                "Classifier: License :: OSI Approved :: BSD License",
            ],
            "MIT License, BSD License",
            id="classifiers",
        ),
        pytest.param(["License: MIT\n        more"], "", id="several-lines"),
    ],
)
def test_the_licence_is_one_line(lines: list[str], licence: str) -> None:
    assert metadata(*lines).metadata.license == licence


# Laws.


def zip64_and_descriptors(made: Mapping[str, bytes]) -> bytes:
    """Return an archive with a folder entry, a zip64 member and data descriptors."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    stream = Pipe()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(INFO)
        for path, content in made.items():
            with archive.open(path, "w", force_zip64=path == "demo.py") as member:
                member.write(content)
    return stream.getvalue()


@functools.cache
def good() -> tuple[bytes, dict[tuple[str, str], bytes]]:
    made = with_record(members({**MODULE, f"{DATA}/scripts/demo": "#!python\n"}), INFO)
    made[RECORD] = swap(ROW, f"demo.py,{sha('sha512', SOURCE)},12\n")(made[RECORD].decode()).encode()
    archive = zip64_and_descriptors(made)
    return archive, contents(opened(archive))


def test_an_odd_but_sound_wheel_is_accepted() -> None:
    found = good()[1]

    assert found["purelib", "demo.py"] == SOURCE
    assert found["scripts", "demo"] == b"#!python\n"
    assert len(found) == 5


def same_or_refused(archive: bytes) -> None:
    try:
        found = contents(opened(archive))
    except MalformedError:
        return
    assert found == good()[1]


@pytest.mark.attack("archives")
@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_no_changed_byte_changes_what_is_read(bits: int, record_property: Recorder) -> None:
    archive = good()[0]
    record_property("mutants", len(archive))
    for at in range(len(archive)):
        same_or_refused(archive[:at] + bytes([archive[at] ^ bits]) + archive[at + 1 :])


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete"]), st.floats(0, 1), st.binary(min_size=1, max_size=30)
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.attack("archives")
@settings(max_examples=300)
@given(MUTATIONS)
def test_a_damaged_wheel_is_refused_or_the_same(mutations: list[tuple[str, float, bytes]]) -> None:
    archive = good()[0]
    for kind, where, extra in mutations:
        at = int(where * (len(archive) - 1))
        if kind == "flip":
            archive = archive[:at] + bytes([archive[at] ^ (extra[0] or 1)]) + archive[at + 1 :]
        elif kind == "insert":
            archive = archive[:at] + extra + archive[at:]
        else:
            archive = archive[:at] + archive[at + len(extra) :]
    same_or_refused(archive)


PIECES = (
    *(b"[console_scripts]", b"a = b:c", b"a", b"=", b"Name: demo", b"Version: 1.0", b"Tag: py3-none-any"),
    *(b"Wheel-Version: 1.0", b"Root-Is-Purelib: true", b"Requires-Dist: ", b"Content-Type: multipart/x"),
    *(b"; boundary=q", b"--q", b"\xff", b'"', b"\n", b"\n", b"\n ", b"\r", b",", b"sha256=", b"demo.py"),
)
TEXTS = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))


@pytest.mark.attack("archives")
@settings(max_examples=300)
@given(st.sampled_from(["METADATA", "WHEEL", "RECORD", "entry_points.txt"]), TEXTS, st.booleans())
def test_no_text_makes_the_reader_fail_in_another_way(name: str, text: bytes, append: bool) -> None:
    made = members(entry_points="[plugins]\n")
    if name == "RECORD":
        whole = with_record(made, INFO)
        whole[RECORD] = whole[RECORD] * append + text
    else:
        path = f"{INFO}/{name}"
        whole = with_record({**made, path: made[path] * append + text}, INFO)
    try:
        wheel = opened(zip_bytes(whole))
    except MalformedError:
        return
    assert (wheel.metadata.name, wheel.metadata.version) == ("demo", Version("1.0"))
