"""The difference between two bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.scoring import SITE, scoring, scoring_manifest, shared, write_scoring

from bundler.bundle.manifest import make_manifest
from bundler.report.comparison import DistributionChange, LibraryChange, compare_bundles

if TYPE_CHECKING:
    from support.cli import BundlerCli


def newer() -> dict[str, Any]:
    """Return the sections of a newer bundle: app updated, fast rebuilt, util replaced by tool."""
    values = scoring(version="2.0")
    app, fast, util = values["distributions"]
    values["distributions"] = [
        {**app, "version": "1.1", "size": app["size"] + 2_000_000, "licence": "GPL-3.0-only | x"},
        {**fast, "layer": "1" * 64},
        {**util, "name": "tool", "requires_dist": []},
    ]
    for file in values["files"]:
        if file["owner"] == "util":
            file["owner"] = "tool"
    values["verification"] = {
        **values["verification"],
        "glibc": "2.28",
        "shared_objects": [
            shared("fast/core.cpython-37m-x86_64-linux-gnu.so", "2.14", ("libz-ffffffff.so.1", "libc.so.6")),
            shared("fast/linalg/blas.cpython-37m-x86_64-linux-gnu.so", "2.28", ("libc.so.6",)),
            shared("fast/new.so", "2.4", ("libm.so.6",)),
        ],
    }
    return values


def test_distributions_that_were_added_removed_updated_and_rebuilt() -> None:
    comparison = compare_bundles(scoring_manifest(), make_manifest(newer()))

    assert comparison.distributions == (
        DistributionChange(
            name="app",
            change="changed",
            version=("1.0", "1.1"),
            size=(4010, 2004010),
            license=("MIT", "GPL-3.0-only | x"),
        ),
        DistributionChange(
            name="fast",
            change="rebuilt",
            version=("1.0", "1.0"),
            size=(13513, 13513),
            license=("not declared", "not declared"),
        ),
        DistributionChange(
            name="tool", change="added", version=(None, "1.0"), size=(0, 500), license=(None, "MIT")
        ),
        DistributionChange(
            name="util", change="removed", version=("1.0", None), size=(500, 0), license=("MIT", None)
        ),
    )
    assert [(item.license, item.distributions) for item in comparison.licenses] == [
        ("GPL-3.0-only | x", ((), ("app",))),
        ("MIT", (("app", "util"), ("tool",))),
    ]
    assert (comparison.before.glibc, comparison.after.glibc) == ("2.17", "2.28")


def test_native_libraries_are_compared_without_digests_and_tags() -> None:
    before, after = scoring_manifest(), make_manifest(newer())

    assert compare_bundles(before, after).libraries == (
        LibraryChange(
            distribution="",  # no file of the bundle: its owner is not known
            added=("fast/new.so",),
            removed=(),
            changed=(),
            glibc=("", "2.4"),
            external=((), ("libm.so.6",)),
        ),
        LibraryChange(
            distribution="fast",
            added=(),
            removed=("fast.libs/libz.so.1",),
            changed=("fast/core.so", "fast/linalg/blas.so"),
            glibc=("2.17", "2.28"),
            external=(("libc.so.6", "libgomp.so.1"), ("libc.so.6", "libz-ffffffff.so.1")),
        ),
    )


def test_a_bundle_is_equal_to_itself_on_another_host() -> None:
    comparison = compare_bundles(scoring_manifest(), scoring_manifest(host={"bundler": "9"}))

    assert comparison.equal
    assert (comparison.distributions, comparison.licenses, comparison.libraries) == ((), (), ())
    assert "The manifests are equal: sha256:" in comparison.to_markdown()


def test_markdown_escapes_texts_of_the_manifest() -> None:
    values = newer()
    values["distributions"][0]["licence"] = "A|B <b>`x`\n[y](z)"
    text = compare_bundles(scoring_manifest(), make_manifest(values)).to_markdown()

    assert r"MIT → A\|B \<b\>\`x\` \[y\](z)" in text
    rows = [line for line in text.splitlines() if line.startswith("| app |")]
    assert len(rows) == 1


def test_the_command_prints_markdown_and_json(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    before = write_scoring(tmp_path / "a")
    values = newer()
    after = write_scoring(tmp_path / "b", **values)
    printed = bundler_cli.run("diff", str(before), str(after))
    envelope = bundler_cli.run("diff", str(before), str(after), "--json").json

    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == compare_bundles(scoring_manifest(), make_manifest(values)).to_markdown()
    assert printed.stdout.startswith("# scoring 1.0 → scoring 2.0\n\n|  | before | after | difference |\n")
    assert "| glibc | 2.17 | 2.28 |  |\n" in printed.stdout
    assert "| app | changed | 1.0 | 1.1 | +2.0 MB | MIT → GPL-3.0-only \\| x |\n" in printed.stdout
    assert "| tool | added |  | 1.0 | +500 bytes | MIT |\n" in printed.stdout
    assert envelope["result"] == json.loads(
        json.dumps(compare_bundles(scoring_manifest(), make_manifest(values)).to_json())
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_path_that_is_not_a_bundle_is_refused(
    bundler_cli: BundlerCli, tmp_path: Path, order: tuple[int, int]
) -> None:
    paths = (str(write_scoring(tmp_path)), str(tmp_path / "missing.tar.gz"))
    ended = bundler_cli.run("diff", *(paths[number] for number in order))

    assert (ended.returncode, ended.stdout) == (11, "")
    assert "missing.tar.gz" in ended.stderr


def test_site_packages_of_another_python_make_no_difference() -> None:
    values = scoring()
    values["target"] = {**values["target"], "python": "3.8", "python_full_version": "3.8.18", "abi": "cp38"}
    text = json.dumps({key: values[key] for key in ("files", "verification")})
    values |= json.loads(text.replace(SITE, SITE.replace("3.7", "3.8")).replace("cpython-37m", "cpython-38"))

    assert compare_bundles(scoring_manifest(), make_manifest(values)).libraries == ()
