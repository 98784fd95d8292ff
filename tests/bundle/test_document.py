"""A manifest that is not one is refused by every command that reads it, with the path of the first fault."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.bundles import EPOCH, Entries, index_of, make_bundle, manifest_values
from support.cli import BundlerCli

from bundler.archive.tar import file_header, padding
from bundler.bundle.manifest import FORMAT, FORMAT_VERSION, make_manifest, parse_manifest
from bundler.errors import MalformedError
from bundler.jsonio import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

Change = Callable[[dict[str, Any]], object]


def put(*path: str | int, value: Any) -> Change:
    def change(values: dict[str, Any]) -> None:
        place: Any = values
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def drop(*path: str | int) -> Change:
    def change(values: dict[str, Any]) -> None:
        place: Any = values
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


BROKEN: Mapping[str, tuple[Change, str]] = {
    "findings-a-number": (put("verification", "findings", value=1), "$.verification.findings"),
    "no-glibc": (drop("verification", "glibc"), "$.verification"),
    "glibc-a-word": (put("verification", "glibc", value="new"), "$.verification.glibc"),
    "ways-of-another-kind": (put("verification", "ways", value={"sideways": []}), "$.verification.ways"),
    "format-version-true": (put("format_version", value=True), "format version true"),
    "format-version-float": (put("format_version", value=1.0), "format version 1.0"),
    "format-version-text": (put("format_version", value="1"), 'format version "1"'),
    "host-null": (put("host", value=None), "$.host"),
    "no-host": (drop("host"), "`host`"),
    "version-not-one": (put("distributions", 0, "version", value="one"), "$.distributions[0].version"),
    "version-a-number": (put("distributions", 0, "version", value=1), "$.distributions[0].version"),
    "requirement-not-one": (
        put("distributions", 0, "requires_dist", value=["a b"]),
        "$.distributions[0].requires_dist[0]",
    ),
    "name-with-a-slash": (put("distributions", 0, "name", value="p/kg"), "pkg"),
    "built-here-a-list": (put("distributions", 0, "built_here", value=[]), "$.distributions[0].built_here"),
    "size-a-float": (put("files", 0, "size", value=1.0), "$.files[0].size"),
    "size-true": (put("files", 0, "size", value=True), "$.files[0].size"),
    "size-negative": (put("files", 0, "size", value=-1), "$.files[0].size"),
    "mode-a-number": (put("files", 0, "mode", value=644), "$.files[0].mode"),
    "digest-in-capitals": (put("files", 0, "sha256", value="A" * 64), "$.files[0].sha256"),
    "unknown-field": (put("files", 0, "colour", value="red"), "colour"),
    "unknown-section": (put("extra", value={}), "extra"),
    "base-a-list": (put("base", value=[]), "$.base"),
    "provided-not-a-version": (put("base", "provided", value={"six": "six"}), "$.base.provided.six"),
    "conda-a-text": (put("base", "conda", value="mkl"), "$.base.conda"),
    "target-without-abi": (drop("target", "abi"), "$.target"),
    "python-with-a-patch": (put("target", "python", value="3.7.16"), "$.target.python"),
    "epoch-a-text": (put("epoch", value="1980"), "$.epoch"),
    "epoch-beyond-time": (put("epoch", value=1 << 33), "$.epoch"),
    "distributions-an-object": (put("distributions", value={}), "$.distributions"),
    "requirements-null": (put("requirements", value=None), "$.requirements"),
}


def replace_manifest(content: bytes, entries: Entries) -> None:
    at = index_of(entries, "manifest.json")
    name = entries[at][0]
    header = file_header(name, size=len(content), mode=0o644, epoch=EPOCH)
    entries[at] = (name, header, content + padding(len(content)))


CASES = [pytest.param(*case, id=name) for name, case in BROKEN.items()]


def broken_manifest(change: Change) -> bytes:
    values = {"format": FORMAT, "format_version": FORMAT_VERSION, **copy.deepcopy(manifest_values())}
    change(values)
    return canonical_json(values) + b"\n"


@pytest.mark.parametrize(("change", "place"), CASES)
def test_an_error_names_the_path_in_the_document(change: Change, place: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_manifest(broken_manifest(change), "manifest.json")

    assert place in "\n".join([caught.value.message, *caught.value.evidence])
    assert caught.value.message.startswith("manifest.json: ")
    assert "\n" not in caught.value.message


def test_the_manifest_that_is_changed_in_these_tests_is_right() -> None:
    manifest = make_manifest(manifest_values())

    assert parse_manifest(broken_manifest(lambda _: None), "manifest.json") == manifest
    assert json.loads(manifest.content) == manifest.to_json()


@pytest.mark.parametrize(
    "name", ["findings-a-number", "no-glibc", "format-version-true", "host-null", "version-not-one"]
)
@pytest.mark.parametrize("command", ["inspect", "explain", "verify", "unpack", "package"])
def test_every_command_that_reads_a_bundle_refuses_it_in_one_line(
    tmp_path: Path, command: str, name: str
) -> None:
    content = broken_manifest(BROKEN[name][0])
    cli = BundlerCli(tmp_path / "home", "")
    archive = make_bundle(tmp_path, change=partial(replace_manifest, content))
    bundle = tmp_path / "small"
    assert cli.run("unpack", str(make_bundle(tmp_path / "good")), str(bundle)).returncode == 0
    (bundle / "manifest.json").write_bytes(content)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text("def init(): pass\ndef run(data): pass\n")
    arguments = {
        "explain": ["explain", "pkg", str(bundle)],
        "unpack": ["unpack", str(archive), str(tmp_path / "out")],
        "package": [
            *("package", str(bundle), "--source-dir", str(tmp_path / "code"), "--entry-script", "score.py"),
            *("--base-image", "base:1", "-o", str(tmp_path / "out")),
        ],
    }

    ended = cli.run(*arguments.get(command, [command, str(bundle)]))

    assert ended.returncode == 7, ended.stderr
    assert len([line for line in ended.stderr.splitlines() if line.startswith("bundler: error: ")]) == 1
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists()
