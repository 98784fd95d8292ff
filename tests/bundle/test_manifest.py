"""Manifests: one sequence of bytes for one bundle, read strictly."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.bundles import EPOCH, FILES, LOCK, manifest_values
from support.cli import SCHEMA

from bundler.archive.tree import TreeFile
from bundler.bundle import manifest as manifest_module
from bundler.bundle.layer import Layer
from bundler.bundle.manifest import (
    FORMAT,
    FORMAT_VERSION,
    distribution_section,
    files_section,
    make_manifest,
    parse_manifest,
)
from bundler.bundle.plan import plan_bundle
from bundler.digest import sha256_of
from bundler.errors import MalformedError
from bundler.jsonio import canonical_json
from bundler.paths import archive_path
from bundler.resolve.lockfile import Lock, LockedDistribution

Values = dict[str, Any]
INIT = "lib/python3.7/site-packages/pkg/__init__.py"


def whole(**changes: Any) -> Values:
    """Return all values of a manifest, as its JSON has them."""
    values = {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest_values(), **changes}
    return copy.deepcopy(values)


def content(values: Any) -> bytes:
    return canonical_json(values) + b"\n"


def refusal(text: bytes) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        parse_manifest(text, "m.json")
    assert caught.value.message.startswith("m.json: ")
    assert caught.value.message.isprintable()
    return caught.value


# --- one manifest, one sequence of bytes ----------------------------------------------------------


def test_the_bytes_of_a_manifest_are_canonical_and_frozen() -> None:
    """Another byte is another format: every bundle's identity depends on this one."""
    made = make_manifest(manifest_values())

    assert made.content == content(whole())
    assert (FORMAT, FORMAT_VERSION) == ("bundler-manifest", 1)
    assert sha256_of(made.content) == "20cea4151c8caaa5a29c95351d211661c220290c176ab118bc325b2754465866"
    assert made.identity == "01d8318e0757bde9d7f4e4346197d5617c4d1cf42fc114fc6c37b88a314e124a"


def test_a_manifest_that_is_read_is_the_one_that_was_made() -> None:
    made = make_manifest(manifest_values())
    read = parse_manifest(made.content, "m.json")

    assert read == made
    assert read.to_json() == whole()
    jsonschema.validate(dict(read.to_json()), SCHEMA)


def test_its_facts_are_attributes() -> None:
    made = make_manifest(manifest_values())

    assert (made.name, made.version, made.epoch) == ("small", "1.0", EPOCH)
    assert made.stem == "small-1.0-cp37-linux_x86_64"
    assert [(file.path, file.size, oct(file.mode), file.owner) for file in made.files] == [
        ("bin/tool", 17, "0o755", "pkg"),
        (INIT, 12, "0o644", "pkg"),
        ("lib/python3.7/site-packages/pkg/data.bin", 1280, "0o644", "pkg"),
        ("pylock.toml", len(LOCK), "0o644", "bundler"),
    ]
    assert made.files[0].sha256 == sha256_of(FILES["bin/tool"])


def test_the_host_is_not_part_of_the_identity() -> None:
    here = make_manifest(manifest_values(host={"bundler": "1", "python": "3.11"}))
    there = make_manifest(manifest_values(host={}))

    assert here.identity == there.identity
    assert here.content != there.content


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"version": "1.1"},
        {"epoch": EPOCH + 1},
        {"requirements": []},
        {"indexes": ["x"]},
        {"base": {"provided": {"six": "1"}}},
    ],
)
def test_everything_else_is_part_of_the_identity(change: Values) -> None:
    assert make_manifest(manifest_values(**change)).identity != make_manifest(manifest_values()).identity


def test_members_come_in_the_order_of_the_format() -> None:
    """The root, the manifest, the lock, directories sorted, then files by distribution."""
    values = manifest_values()
    values["distributions"] = [{**values["distributions"][0], "name": name} for name in ("aaa", "pkg")]
    values["files"][0]["owner"] = "pkg"
    values["files"][2]["owner"] = "aaa"
    made = make_manifest(values)
    members = list(made.members())

    assert [(member.path, member.is_dir) for member in members] == [
        ("", True),
        ("manifest.json", False),
        ("pylock.toml", False),
        ("bin", True),
        ("lib", True),
        ("lib/python3.7", True),
        ("lib/python3.7/site-packages", True),
        ("lib/python3.7/site-packages/pkg", True),
        ("lib/python3.7/site-packages/pkg/data.bin", False),
        ("bin/tool", False),
        (INIT, False),
    ]
    assert (members[1].size, members[1].sha256) == (len(made.content), sha256_of(made.content))
    assert (members[1].mode, members[2].mode, members[9].mode) == (0o644, 0o644, 0o755)


# --- malformed JSON -------------------------------------------------------------------------------

TEXT = content(whole())
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

NOT_JSON = [
    pytest.param(b"", "not valid JSON: Expecting value: line 1 column 1 (char 0)", id="empty"),
    pytest.param(TEXT[:-2], "not valid JSON: ", id="cut-off"),
    pytest.param(b"\xef\xbb\xbf" + TEXT, "not valid JSON: ", id="byte-order-mark"),
    pytest.param(TEXT.decode().encode("utf-16"), "not valid JSON: ", id="utf16"),
    pytest.param(TEXT.replace(b'"small"', b'"\xff"'), "not valid JSON: ", id="not-utf8"),
    pytest.param(
        TEXT.replace(b'{"base"', b'{"a":1,"a":1,"base"'), "not valid JSON: a key is repeated", id="key-twice"
    ),
    pytest.param(
        TEXT.replace(b'"provided":{}', b'"provided":{"a":"1","a":"2"}'),
        "not valid JSON: a key is repeated",
        id="key-twice-inside",
    ),
    pytest.param(TEXT.replace(b"315532800", b"NaN", 1), "not valid JSON: NaN is not JSON", id="nan"),
    pytest.param(
        TEXT.replace(b"315532800", b"Infinity", 1), "not valid JSON: Infinity is not JSON", id="infinity"
    ),
    pytest.param(
        TEXT.replace(b"315532800", b"-Infinity", 1),
        "not valid JSON: -Infinity is not JSON",
        id="minus-infinity",
    ),
    pytest.param(DEEP, "not valid JSON: it is nested too deeply", id="deep"),
    pytest.param(TEXT.replace(b"315532800", b"9" * 5000, 1), "not valid JSON: ", id="huge-number"),
]


@pytest.mark.attack("input")
@pytest.mark.parametrize(("text", "reason"), NOT_JSON)
def test_anything_but_strict_json_is_refused(text: bytes, reason: str) -> None:
    assert refusal(text).message.startswith(f"m.json: {reason}")


@pytest.mark.parametrize(
    "text",
    [
        b"[]\n",
        b"null\n",
        b'"bundler-manifest"\n',
        b"{}\n",
        content(whole(format="other")),
        content(whole(format=None)),
    ],
)
def test_another_document_is_not_a_manifest(text: bytes) -> None:
    assert refusal(text).message == "m.json: not the manifest of a bundle"


@pytest.mark.attack("input")
@pytest.mark.parametrize("version", [0, 2, "1", None, [1], True, 1.0])
def test_another_format_version_is_refused_with_both_numbers(version: object) -> None:
    error = refusal(content(whole(format_version=version)))

    assert error.message == "m.json: unsupported format version"
    assert error.evidence == ("wanted  format version 1", f"found   format version {json.dumps(version)}")
    assert error.hint == "upgrade bundler: `pip install -U airgap-bundler`"


@pytest.mark.attack("input")
def test_a_newer_format_is_refused_before_anything_else_of_it_is_read() -> None:
    error = refusal(b'{ "format": "bundler-manifest", "format_version": 2, "new": "\\u00e9" }')

    assert error.evidence[1] == "found   format version 2"


def test_a_manifest_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "LIMIT", 3 << 20)
    text = content(whole(requirements=["x" * (3 << 20)]))

    assert refusal(text).message == "m.json: it is larger than 3 MiB"
    assert refusal(text[: 3 << 20]).message.startswith("m.json: not valid JSON")


def reordered(values: Values) -> bytes:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TEXT[:-1], id="no-newline"),
        pytest.param(TEXT + b"\n", id="two-newlines"),
        pytest.param(b" " + TEXT, id="leading-space"),
        pytest.param(TEXT.replace(b":", b": ", 1), id="space"),
        pytest.param(reordered(whole()), id="keys-not-sorted"),
        pytest.param(TEXT.replace(b'"small"', b'"sm\\u0061ll"'), id="needless-escape"),
        pytest.param(TEXT.replace(b'"MIT"', b'"M\\/T"'), id="escaped-slash"),
    ],
)
def test_another_spelling_of_the_same_values_is_refused(text: bytes) -> None:
    error = refusal(text)

    assert error.message == "m.json: not in canonical form"
    assert error.evidence == ("see docs/format.md, `Manifest`",)


# --- consistency ----------------------------------------------------------------------------------

Edit = Callable[[Values], object]


def distribution(**changes: Any) -> Edit:
    return lambda values: values["distributions"][0].update(changes)


def file(**changes: Any) -> Edit:
    return lambda values: values["files"][1].update(changes)


def section(name: str, **changes: Any) -> Edit:
    return lambda values: values[name].update(changes)


def without(*keys: Any) -> Edit:
    def edit(values: Any) -> None:
        for key in keys[:-1]:
            values = values[key]
        del values[keys[-1]]

    return edit


FINDING = {
    "allowed": False,
    "code": "I201",
    "distribution": "",
    "message": "",
    "severity": "note",
    "where": "",
}

INCONSISTENT: list[Any] = [
    # names
    pytest.param(
        section("target", python="3.7/x"),
        id="target-not-a-file-name",
    ),
    pytest.param(lambda values: values.update(name="../x"), id="name"),
    pytest.param(lambda values: values.update(name=""), id="empty-name"),
    pytest.param(lambda values: values.update(version="1 0"), id="version"),
    # numbers
    *(
        pytest.param(
            lambda values, epoch=epoch: values.update(epoch=epoch),
            id=f"epoch-{epoch}",
        )
        for epoch in (-1, 1 << 33, True, "1", None)
    ),
    # files
    pytest.param(file(path="../x"), id="unsafe-path"),
    pytest.param(file(path=""), id="empty-path"),
    pytest.param(file(size=-1), id="negative-size"),
    pytest.param(file(size=True), id="size-is-a-truth"),
    pytest.param(file(size="1"), id="size-is-a-text"),
    pytest.param(file(mode="0777"), id="mode"),
    pytest.param(file(mode=420), id="mode-is-a-number"),
    pytest.param(file(sha256="0"), id="digest"),
    pytest.param(file(more=1), id="field-too-many"),
    pytest.param(without("files", 1, "mode"), id="field-too-few"),
    pytest.param(lambda values: values["files"].reverse(), id="files-not-sorted"),
    pytest.param(lambda values: values["files"].insert(1, values["files"][1]), id="file-twice"),
    pytest.param(
        lambda values: values["files"].insert(3, {**values["files"][1], "path": "manifest.json"}),
        id="lists-itself",
    ),
    pytest.param(
        lambda values: values["files"].insert(1, {**values["files"][1], "path": "lib"}),
        id="file-and-directory",
    ),
    # owners
    pytest.param(file(owner="other"), id="unknown-owner"),
    pytest.param(file(owner="bundler"), id="second-file-of-bundler"),
    pytest.param(without("files", 3), id="no-lock"),
    pytest.param(
        lambda values: values["distributions"].append(values["distributions"][0]),
        id="distribution-twice",
    ),
    pytest.param(
        lambda values: values["distributions"].append({**values["distributions"][0], "name": "aaa"}),
        id="distributions-not-sorted",
    ),
    # target
    *(
        pytest.param(section("target", **{key: 3}), id=f"target-{key}")
        for key in ("abi", "implementation", "platform", "python", "python_full_version", "sys_platform")
    ),
    # missing fields
    *(
        pytest.param(without(key), id=f"no-{key}")
        for key in (
            "name",
            "version",
            "epoch",
            "target",
            "requirements",
            "distributions",
            "files",
            "base",
            "verification",
        )
    ),
    *(pytest.param(without("target", key), id=f"no-target-{key}") for key in ("abi", "python", "platform")),
    *(
        pytest.param(without("verification", key), id=f"no-verification-{key}")
        for key in ("ways", "findings", "glibc")
    ),
    pytest.param(without("base", "provided"), id="no-base-provided"),
    *(
        pytest.param(without("distributions", 0, key), id=f"no-distribution-{key}")
        for key in ("name", "version", "wheel", "size", "licence", "requires_dist", "built_here")
    ),
    # wrong types
    *(
        pytest.param(distribution(**{key: 1.5}), id=f"distribution-{key}")
        for key in ("name", "version", "wheel", "size", "licence", "requires_dist", "built_here")
    ),
    pytest.param(distribution(size=True), id="distribution-size-is-a-truth"),
    pytest.param(
        distribution(requires_dist=[1]),
        id="requires-dist-items",
    ),
    pytest.param(distribution(built_here={"from": 1}), id="built-here-from"),
    pytest.param(distribution(built_here={}), id="built-here-empty"),
    pytest.param(lambda values: values.update(requirements="x"), id="requirements"),
    pytest.param(
        lambda values: values.update(requirements=[1]),
        id="requirements-items",
    ),
    pytest.param(section("verification", ways=[]), id="ways"),
    pytest.param(section("verification", findings={}), id="findings"),
    pytest.param(section("verification", glibc=2.31), id="glibc"),
    pytest.param(
        section("verification", ways={"other": []}),
        id="unknown-way",
    ),
    pytest.param(section("verification", ways={"mount": {}}), id="way"),
    pytest.param(section("verification", ways={"mount": [{}]}), id="outcome-empty"),
    pytest.param(
        section("verification", ways={"mount": [{"status": 1}]}),
        id="outcome",
    ),
    *(
        pytest.param(
            section(
                "verification", findings=[{name: value for name, value in FINDING.items() if name != key}]
            ),
            id=f"no-finding-{key}",
        )
        for key in FINDING
    ),
    *(
        pytest.param(
            section("verification", findings=[{**FINDING, key: 1}]),
            id=f"finding-{key}",
        )
        for key in FINDING
    ),
    pytest.param(section("base", provided=[]), id="provided"),
    pytest.param(section("base", provided={"a": 1}), id="provided-version"),
    pytest.param(section("base", conda="x"), id="conda"),
    pytest.param(section("base", conda=[1]), id="conda-items"),
]


REFUSALS: dict[str, str] = json.loads(Path(__file__).with_name("refusals.json").read_text("utf-8"))
"""The message for each case: its path in the document, wanted and found."""


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("edit", "reason"), [pytest.param(*case.values, REFUSALS[case.id], id=case.id) for case in INCONSISTENT]
)
def test_an_inconsistent_manifest_is_refused_though_it_is_canonical(edit: Edit, reason: str) -> None:
    values = whole()
    edit(values)

    assert refusal(content(values)).message == f"m.json: {reason}"


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda values: values.update(epoch=0), id="first-epoch"),
        pytest.param(lambda values: values.update(epoch=(1 << 33) - 1), id="last-epoch"),
        pytest.param(file(size=0), id="empty-file"),
        pytest.param(file(also=["other"]), id="shared-file"),
        pytest.param(section("base", conda=["mkl 2021.*"]), id="conda"),
        pytest.param(section("verification", findings=[FINDING]), id="finding"),
        pytest.param(section("verification", ways={"mount": [], "venv": [], "server": []}), id="ways"),
        pytest.param(
            distribution(built_here={"from": "x.tar.gz", "kind": "sdist", "requires": []}), id="built-here"
        ),
    ],
)
def test_values_at_the_limits_are_accepted(edit: Edit) -> None:
    values = whole()
    edit(values)

    parse_manifest(content(values), "m.json")
    jsonschema.validate(values, SCHEMA)


def test_the_number_of_files_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "_MAX_FILES", 4)
    parse_manifest(TEXT, "m.json")
    monkeypatch.setattr(manifest_module, "_MAX_FILES", 3)

    assert refusal(TEXT).message == "m.json: it lists more than 3 files"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(data=st.data(), junk=JSON)
def test_no_value_makes_the_reader_fail_in_another_way(data: st.DataObject, junk: object) -> None:
    """Any value in the place of any other: a refusal, or a manifest that every reader can use."""
    values = whole()
    place: Any = values
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = junk
    try:
        made = parse_manifest(content(values), "m.json")
    except MalformedError:
        return
    assert list(made.members())
    assert made.stem.isprintable()


@given(text=st.text(), number=st.integers(0, 2**33 - 1))
def test_a_manifest_that_is_made_is_canonical(text: str, number: int) -> None:
    values = copy.deepcopy(manifest_values())
    values["distributions"][0]["licence"] = text
    values["epoch"] = number
    made = make_manifest(values)

    assert made.content == canonical_json(made.to_json()) + b"\n"
    assert made.document.distributions[0].licence == text


# --- the sections that are made here --------------------------------------------------------------


def layer(name: str, *files: tuple[str, bytes], **changes: Any) -> Layer:
    values: Values = {
        "name": canonicalize_name(name),
        "display_name": name,
        "version_text": "1.0",
        "wheel": f"{name}-1.0-py3-none-any.whl",
        "wheel_sha256": sha256_of(name.encode()),
        "licence": "MIT",
        "requires_dist": ("six>=1",),
        "requires_python": ">=3.7",
        "scripts": ("tool",),
        "pth_code": {"x.pth": ("import x",)},
        "pth_folders": ("vendored",),
        "uncompiled": ("bad.py",),
        "code": {},
        "notes": ("a note",),
        "faults": ("its WHEEL has no Tag",),
        "files": tuple(
            TreeFile(path=archive_path(path), mode=0o644, size=len(body), sha256=sha256_of(body))
            for path, body in files
        ),
    }
    return Layer(**{**values, **changes})


def locked(name: str, **changes: Any) -> LockedDistribution:
    values: Values = {
        "name": canonicalize_name(name),
        "version": Version("1.0"),
        "kind": "wheel",
        "location": "https://index.example/x",
        "filename": f"{name}-1.0.tar.gz",
        "sha256": sha256_of(b""),
        "index": "index.example/simple",
    }
    return LockedDistribution(**{**values, **changes})


def test_a_distribution_is_described_by_its_layer_and_its_place_in_the_lock() -> None:
    demo = layer("demo", ("a", b"1"), ("b", b"22"))
    lock = Lock(requirements=(), packages=(locked("aaa"), locked("demo")))

    assert distribution_section(demo, lock, {}) == {
        "built_here": None,
        "index": "index.example/simple",
        "layer": demo.digest,
        "licence": "MIT",
        "name": "demo",
        "notes": ["a note"],
        "pth": ["x.pth"],
        "requires_dist": ["six>=1"],
        "requires_python": ">=3.7",
        "scripts": ["tool"],
        "size": 3,
        "uncompiled": ["bad.py"],
        "version": "1.0",
        "wheel": "demo-1.0-py3-none-any.whl",
        "wheel_sha256": sha256_of(b"demo"),
    }


@pytest.mark.parametrize("requires", [(), ("setuptools 60", "wheel 0.37")])
def test_a_distribution_that_was_built_here_names_its_source_and_its_tools(requires: tuple[str, ...]) -> None:
    lock = Lock(requirements=(), packages=(locked("demo", kind="sdist", index=None),))
    section = distribution_section(layer("demo"), lock, {canonicalize_name("demo"): requires})

    assert section["built_here"] == {"from": "demo-1.0.tar.gz", "kind": "sdist", "requires": list(requires)}
    assert section["index"] is None


def test_each_file_is_listed_once_with_its_owners() -> None:
    """A shared file belongs to the first by name; the others are listed in `also`."""
    shared = ("share/x", b"same")
    plan = plan_bundle([layer("b", shared, ("z", b"1")), layer("a", shared), layer("c", shared, ("é", b""))])
    lock = b"lock"

    listed = list(files_section(plan, lock))
    assert [(item["path"], item["owner"], item.get("also")) for item in listed] == [
        ("pylock.toml", "bundler", None),
        ("share/x", "a", ["b", "c"]),
        ("z", "b", None),
        ("é", "c", None),
    ]
    assert listed[0] == {
        "path": "pylock.toml",
        "size": 4,
        "mode": "0644",
        "sha256": sha256_of(lock),
        "owner": "bundler",
    }
    assert listed[1] == {
        "path": "share/x",
        "size": 4,
        "mode": "0644",
        "sha256": sha256_of(b"same"),
        "owner": "a",
        "also": ["b", "c"],
    }
