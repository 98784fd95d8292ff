"""Layers: where each file of a wheel goes, and the digest that names the tree."""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.facts import ENVIRONMENT
from support.wheels import Files, wheel_files, with_record, zip_bytes

from bundler.archive.entry_points import EntryPoint
from bundler.archive.tree import TreeFile
from bundler.archive.wheel import Wheel, WheelFile, read_wheel
from bundler.bundle.launcher import entry_point_launcher, script_launcher
from bundler.bundle.layer import (
    Layer,
    PlannedFile,
    layer_key_parts,
    plan_layer,
    record_bytes,
    same_code,
    tree_digest,
)
from bundler.digest import sha256_of
from bundler.errors import MalformedError
from bundler.paths import UnsafePathError, archive_path
from bundler.store.store import Store, key_of
from bundler.target.target import Target

SITE = "lib/python3.7/site-packages"
INFO = "demo-1.0.dist-info"
DATA = "demo-1.0.data"
TARGET = Target(
    version="3.7.16", abi="cp37m", platform="linux_x86_64", libc="glibc 2.31", markers=ENVIRONMENT
)


def wheel_of(
    files: Files, *, entry_points: str = "", name: str = "demo", modes: Mapping[str, int] | None = None
) -> Wheel:
    members = with_record(wheel_files(name, "1.0", files, entry_points=entry_points), f"{name}-1.0.dist-info")
    content = zip_bytes(members, modes=modes)
    return read_wheel(io.BytesIO(content), f"{name}-1.0-py3-none-any.whl")


def planned(wheel: Wheel, heads: Mapping[str, bytes] | None = None) -> dict[str, PlannedFile]:
    """Return the plan by path; each path is in it once, in bytewise order."""
    plan = plan_layer(wheel, TARGET, heads=heads or {})
    paths = [file.path for file in plan]
    assert paths == sorted(set(paths), key=str.encode)
    return {file.path: file for file in plan}


# --- plan_layer -----------------------------------------------------------------------------------

PLACES = [
    pytest.param("demo.py", f"{SITE}/demo.py", 0o644, id="purelib"),
    pytest.param("sub/x.txt", f"{SITE}/sub/x.txt", 0o644, id="package-data"),
    pytest.param(f"{INFO}/LICENSE", f"{SITE}/{INFO}/LICENSE", 0o644, id="metadata"),
    pytest.param(f"{DATA}/purelib/a.py", f"{SITE}/a.py", 0o644, id="purelib-of-data"),
    pytest.param(f"{DATA}/platlib/a.so", f"{SITE}/a.so", 0o644, id="platlib-of-data"),
    pytest.param(f"{DATA}/scripts/run", "bin/run", 0o755, id="script"),
    pytest.param(f"{DATA}/scripts/sub/run", "bin/sub/run", 0o755, id="script-in-a-directory"),
    pytest.param(f"{DATA}/headers/x.h", "include/site/python3.7/demo/x.h", 0o644, id="header"),
    pytest.param(f"{DATA}/data/share/x", "share/x", 0o644, id="data"),
    pytest.param(f"{DATA}/data/x", "x", 0o644, id="data-at-the-root"),
    pytest.param(f"{DATA}/data/__pycache__/x.pyc", "__pycache__/x.pyc", 0o644, id="data-that-looks-compiled"),
    pytest.param(f"{DATA}/data/{INFO}/INSTALLER", f"{INFO}/INSTALLER", 0o644, id="data-like-metadata"),
    pytest.param(f"sub/{INFO}/INSTALLER", f"{SITE}/sub/{INFO}/INSTALLER", 0o644, id="metadata-of-another"),
    pytest.param("bin/python", f"{SITE}/bin/python", 0o644, id="python-in-site-packages"),
    pytest.param(f"{DATA}/scripts/pythonic", "bin/pythonic", 0o755, id="name-that-starts-as-python"),
    pytest.param(f"{DATA}/data/sub/manifest.json", "sub/manifest.json", 0o644, id="reserved-name-elsewhere"),
]


@pytest.mark.parametrize(("path", "destination", "mode"), PLACES)
def test_each_scheme_has_its_place(path: str, destination: str, mode: int) -> None:
    plan = planned(wheel_of({path: "content"}))

    assert set(plan) == {destination, f"{SITE}/{INFO}/METADATA", f"{SITE}/{INFO}/WHEEL"}
    assert plan[destination].mode == mode
    source = plan[destination].source
    assert isinstance(source, WheelFile)
    assert source.member.path == path


@pytest.mark.parametrize(
    "path",
    [
        "__pycache__/demo.cpython-37.pyc",
        "sub/__pycache__/deep/x.pyc",
        f"{DATA}/platlib/__pycache__/x",
        f"{INFO}/INSTALLER",
        f"{INFO}/REQUESTED",
        f"{INFO}/direct_url.json",
    ],
)
def test_bytecode_and_the_notes_of_an_installer_are_dropped(path: str) -> None:
    assert set(planned(wheel_of({path: ""}))) == {f"{SITE}/{INFO}/METADATA", f"{SITE}/{INFO}/WHEEL"}


def test_signatures_of_record_are_dropped_with_it() -> None:
    members = with_record(wheel_files("demo", "1.0", {}), INFO)
    members |= {f"{INFO}/RECORD.jws": b"{}", f"{INFO}/RECORD.p7s": b""}
    wheel = read_wheel(io.BytesIO(zip_bytes(members)), "demo-1.0-py3-none-any.whl")

    assert set(planned(wheel)) == {f"{SITE}/{INFO}/METADATA", f"{SITE}/{INFO}/WHEEL"}


def test_an_executable_file_keeps_that_mode_bit_alone() -> None:
    plan = planned(wheel_of({"a.sh": "", "b.sh": ""}, modes={"a.sh": 0o4711, "b.sh": 0o666}))

    assert (plan[f"{SITE}/a.sh"].mode, plan[f"{SITE}/b.sh"].mode) == (0o755, 0o644)


def test_an_entry_point_of_either_group_becomes_a_launcher() -> None:
    text = "[console_scripts]\na = demo:main\n[gui_scripts]\nb = demo:Main.run\n[plugins]\nc = demo:x\n"
    plan = planned(wheel_of({}, entry_points=text))

    assert {path for path in plan if path.startswith("bin/")} == {"bin/a", "bin/b"}
    for name, attribute in (("a", "main"), ("b", "Main.run")):
        point = EntryPoint(group="", name=name, module="demo", attribute=attribute)
        assert plan[f"bin/{name}"].source == entry_point_launcher(point, (3, 7))
        assert plan[f"bin/{name}"].mode == 0o755


def test_a_python_script_is_run_from_libexec_by_a_launcher() -> None:
    wheel = wheel_of({f"{DATA}/scripts/run": "#!python\n"})
    plan = planned(wheel, {"run": b"#!python"})

    assert plan["bin/run"].source == script_launcher("run", (3, 7))
    assert (plan["bin/run"].mode, plan["libexec/run"].mode) == (0o755, 0o644)
    assert isinstance(plan["libexec/run"].source, WheelFile)


def test_a_python_script_in_a_directory_is_left_as_it_is() -> None:
    plan = planned(wheel_of({f"{DATA}/scripts/sub/run": "#!python\n"}), {"sub/run": b"#!python"})

    assert isinstance(plan["bin/sub/run"].source, WheelFile)
    assert not [path for path in plan if path.startswith("libexec")]


@pytest.mark.parametrize("heads", [{}, {"run": b"#!python"}])
def test_an_entry_point_wins_over_a_script_of_its_name(heads: Mapping[str, bytes]) -> None:
    """Old wheels contain the launcher of the machine that built them."""
    wheel = wheel_of(
        {f"{DATA}/scripts/run": "#!python\n"}, entry_points="[console_scripts]\nrun = demo:main\n"
    )
    plan = planned(wheel, heads)

    assert isinstance(plan["bin/run"].source, bytes)
    assert "libexec/run" not in plan


@pytest.mark.parametrize("entry_points", ["", "[console_scripts]\nrun = demo:main\n"])
def test_a_file_of_another_scheme_is_not_taken_for_a_script_of_its_name(entry_points: str) -> None:
    wheel = wheel_of({"run": "", f"{DATA}/data/run": ""}, entry_points=entry_points)
    plan = planned(wheel, {"run": b"#!python"})

    assert {f"{SITE}/run", "run"} <= set(plan)
    assert "libexec/run" not in plan


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        (f"{DATA}/data/manifest.json", "manifest.json"),
        (f"{DATA}/data/pylock.toml", "pylock.toml"),
        (f"{DATA}/data/pyvenv.cfg", "pyvenv.cfg"),
        (f"{DATA}/data/bin/python", "bin/python"),
        (f"{DATA}/scripts/python3.7", "bin/python3.7"),
        (f"{DATA}/scripts/python3", "bin/python3"),
    ],
)
def test_a_name_that_is_reserved_is_refused(path: str, taken: str) -> None:
    with pytest.raises(MalformedError, match=f"contains `{taken}`, which is reserved for the bundle$"):
        planned(wheel_of({path: ""}))


@pytest.mark.parametrize(
    ("files", "entry_points", "path"),
    [
        pytest.param(["demo.py", f"{DATA}/data/{SITE}/demo.py"], "", f"{SITE}/demo.py", id="data-on-purelib"),
        pytest.param(
            [f"{DATA}/data/bin/a"], "[console_scripts]\na = demo:main\n", "bin/a", id="data-on-a-launcher"
        ),
        pytest.param([f"{DATA}/scripts/a", f"{DATA}/data/bin/a"], "", "bin/a", id="data-on-a-script"),
    ],
)
def test_two_files_on_one_path_are_refused(files: list[str], entry_points: str, path: str) -> None:
    with pytest.raises(MalformedError, match=f"two of its files have the path `{path}`$"):
        planned(wheel_of(dict.fromkeys(files, ""), entry_points=entry_points))


@pytest.mark.parametrize(
    "path",
    [
        f"{DATA}/data/{SITE}/{INFO}/RECORD",
        f"{DATA}/data/{SITE}/{INFO}/METADATA.txt",
        f"{DATA}/data/{SITE}/other-2.0.dist-info/METADATA",
        f"{DATA}/data/{SITE}/DEMO-1.0.DIST-INFO/RECORD",
    ],
)
def test_data_in_a_metadata_directory_is_refused(path: str) -> None:
    with pytest.raises(MalformedError, match=rf"`{path}` would be installed into a `\.dist-info` directory$"):
        planned(wheel_of({path: ""}))


def test_a_path_that_is_too_long_for_a_bundle_is_refused() -> None:
    """It was none in the wheel: site-packages comes before it."""
    path = "/".join(["x" * 200] * 20) + "/" + "y" * 60
    with pytest.raises(
        MalformedError, match=r"is not a valid path in a bundle: it is longer than 4096 bytes$"
    ):
        planned(wheel_of({path: ""}))


def test_every_input_of_a_layer_is_in_its_key() -> None:
    """Every change that affects a layer must change its key; no other change may."""
    wheel = sha256_of(b"wheel")
    changes = [{"version": "3.7.17"}, {"abi": "cp37"}, {"platform": "linux_aarch64"}]
    keys = [layer_key_parts(wheel, replace(TARGET, **change)) for change in changes]  # type: ignore[arg-type]
    keys += [layer_key_parts(wheel, TARGET), layer_key_parts(sha256_of(b"other"), TARGET)]

    assert len(set(keys)) == len(keys)
    assert layer_key_parts(wheel, replace(TARGET, libc="musl 1.2")) == layer_key_parts(wheel, TARGET)
    assert layer_key_parts(wheel, TARGET)[-2:] == ("4", "1"), "the formats of layers and of launchers"


# --- same_code ------------------------------------------------------------------------------------


def layer(**changes: object) -> Layer:
    values: dict[str, object] = {
        "name": canonicalize_name("demo"),
        "display_name": "Demo",
        "version_text": "1.0",
        "wheel": "demo-1.0-py3-none-any.whl",
        "wheel_sha256": sha256_of(b"wheel"),
        "licence": "MIT",
        "requires_dist": ("six>=1", "x; extra == 'y'"),
        "requires_python": ">=3.7",
        "scripts": ("run",),
        "pth_code": {"y.pth": ("import y",), "x.pth": ("import x", "import z")},
        "pth_folders": ("vendored",),
        "uncompiled": (f"{SITE}/bad.py",),
        "code": {f"{SITE}/ns/__init__.py": "abc"},
        "notes": ("a note",),
        "faults": ("its WHEEL has no Tag",),
        "files": (entry("bin/run", mode=0o755), entry(f"{SITE}/demo.py", size=7)),
    }
    return Layer(**{**values, **changes})  # type: ignore[arg-type]


def entry(path: str, *, mode: int = 0o644, size: int = 3, content: bytes = b"") -> TreeFile:
    return TreeFile(path=archive_path(path), mode=mode, size=size, sha256=sha256_of(content))


@pytest.mark.parametrize(
    ("path", "same"),
    [
        (f"{SITE}/ns/__init__.py", True),
        (f"{SITE}/ns/__pycache__/__init__.cpython-37.pyc", True),
        (f"{SITE}/other/__init__.py", False),
        (f"{SITE}/ns/__init__.pyi", False),
        (f"{SITE}/ns/__pycache__/mod.cpython-37.pyc", False),
        (f"{SITE}/x/__pycache__/__init__.cpython-37.pyc", False),
        (f"{SITE}/none/__init__.py", False),
    ],
)
def test_package_code_is_the_same_if_its_syntax_tree_is(path: str, same: bool) -> None:
    first = layer(code={f"{SITE}/ns/__init__.py": "abc", f"{SITE}/other/__init__.py": "abc"})
    other = layer(code={f"{SITE}/ns/__init__.py": "abc", f"{SITE}/other/__init__.py": "xyz"})

    assert same_code(path, first, other) == same_code(path, other, first) == same


def test_code_that_only_one_layer_knows_is_not_the_same() -> None:
    path = f"{SITE}/ns/__init__.py"

    assert not same_code(path, layer(), layer(code={}))
    assert not same_code(path, layer(code={}), layer())


# --- RECORD ---------------------------------------------------------------------------------------


def test_record_is_relative_to_site_packages_and_lists_itself_without_a_digest() -> None:
    files = [
        entry("bin/run", size=1),
        entry(f"{SITE}/demo.py", size=2),
        entry(f"{SITE}/a, b.py", size=3),
        entry("lib/python3.7/site-packages2/x", size=4),
    ]
    empty = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

    assert record_bytes(files, archive_path(f"{SITE}/{INFO}/RECORD"), TARGET).decode() == (
        f"../../../bin/run,{empty},1\n"
        f"demo.py,{empty},2\n"
        f'"a, b.py",{empty},3\n'
        f"../../../lib/python3.7/site-packages2/x,{empty},4\n"
        f"{INFO}/RECORD,,\n"
    )


# --- tree_digest ----------------------------------------------------------------------------------

TREE = [entry("a/b", content=b"1"), entry("a/c", content=b"2"), entry("d", mode=0o755)]


def framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def test_the_encoding_of_a_tree_is_that_of_the_format() -> None:
    """docs/format.md, "Tree digest"."""
    encoding = b"bundler tree v1\0" + b"".join(
        framed(file.path.encode(), f"{file.mode:04o}".encode(), file.sha256.encode()) for file in TREE
    )

    assert tree_digest(TREE) == hashlib.sha256(encoding).hexdigest()
    assert tree_digest([]) == "f787dbb88d57c59cb17bbf8485e27fc2f0f0edaae907009a093038029ab54b55"


ONE_EDIT = [
    pytest.param([*TREE[:2], replace(TREE[2], mode=0o644)], id="mode"),
    pytest.param([*TREE[:2], replace(TREE[2], path=archive_path("e"))], id="path"),
    pytest.param([*TREE[:2], replace(TREE[2], sha256=sha256_of(b"x"))], id="content"),
    pytest.param(TREE[:2], id="one-file-less"),
    pytest.param([*TREE, entry("e")], id="one-file-more"),
    pytest.param(
        [replace(TREE[0], sha256=TREE[1].sha256), replace(TREE[1], sha256=TREE[0].sha256), TREE[2]],
        id="two-contents-swapped",
    ),
]


@pytest.mark.parametrize("tree", ONE_EDIT)
def test_every_edit_of_a_tree_changes_its_digest(tree: list[TreeFile]) -> None:
    assert tree_digest(tree) != tree_digest(TREE)


def test_the_size_of_a_file_is_not_part_of_the_digest() -> None:
    """The content is."""
    assert tree_digest([*TREE[:2], replace(TREE[2], size=99)]) == tree_digest(TREE)


def safe(path: str) -> bool:
    try:
        archive_path(path)
    except UnsafePathError:
        return False
    return True


PATHS = st.sets(st.text(min_size=1, max_size=9).filter(safe), max_size=6)


@given(paths=PATHS, seed=st.integers())
def test_the_order_of_files_does_not_reach_the_digest(paths: set[str], seed: int) -> None:
    tree = [entry(path) for path in sorted(paths)]

    assert tree_digest(random.Random(seed).sample(tree, len(tree))) == tree_digest(tree)


# --- Layer ----------------------------------------------------------------------------------------


def test_a_layer_is_stored_and_read_back_whole(tmp_path: Path) -> None:
    store, key = Store(tmp_path), key_of("layer")
    store.remember("layer", key, layer())

    assert store.recall("layer", key, Layer) == layer()


@pytest.mark.parametrize(
    "change",
    [
        {"wheel_sha256": "x"},
        {"files": [{"path": "../x", "mode": 0o644, "size": 1, "sha256": "0" * 64}]},
        {"files": [{"path": "x", "mode": 0o644, "size": 1, "sha256": "x"}]},
        {"version_text": "not a version"},
        {"scripts": 1},
    ],
)
def test_a_stored_layer_is_not_trusted(tmp_path: Path, change: dict[str, object]) -> None:
    """One that somebody changed counts as absent, and is made again."""
    store, key = Store(tmp_path), key_of("layer")
    store.remember("layer", key, {**msgspec.to_builtins(layer()), **change})

    assert store.recall("layer", key, Layer) is None


def test_a_layer_has_a_digest_a_size_and_requirements() -> None:
    made = layer()

    assert made.digest == tree_digest(made.files)
    assert made.size == 10
    assert made.pth == ("x.pth", "y.pth")
    assert made.requirements == (Requirement("six>=1"), Requirement("x; extra == 'y'"))


@given(names=st.sets(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=9).filter(safe)))
def test_record_is_read_back_by_a_csv_reader(names: set[str]) -> None:
    files = [entry(f"{SITE}/{name}") for name in sorted(names)]
    record = record_bytes(files, archive_path(f"{SITE}/R"), TARGET).decode()

    rows = list(csv.reader(io.StringIO(record, newline="")))
    assert [row[0] for row in rows] == [*sorted(names), "R"]
    assert {len(row) for row in rows} == {3}
