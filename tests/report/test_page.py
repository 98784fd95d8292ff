"""The page as a file: complete, escaped, and the chart library in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.bundles import LOCK
from support.paths import PACKAGE
from support.scoring import SITE, scoring, scoring_manifest, write_scoring
from support.wheels import make_wheel

from bundler.bundle.manifest import make_manifest
from bundler.report.facts import page_facts
from bundler.report.page import chart_library, render_page

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

HOSTILE = "</script><!--<script><img src=x onerror=alert(1)>&amp;{{facts}}\u2028"


def facts_of(page: str) -> Any:
    """Return the data of a page, found as a browser finds it: up to the first end tag."""
    _, _, rest = page.partition('<script type="application/json" id="facts">')
    return json.loads(rest[: rest.index("</script")])


def test_the_chart_library_is_the_published_file_with_its_license() -> None:
    library = chart_library()
    folder = PACKAGE / "report/page/d3"

    assert set(library.sha256) == {path.name for path in folder.iterdir()} - {"d3.toml"}
    for name, digest in library.sha256.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    script = (folder / "d3.min.js").read_text("utf-8")
    assert script.startswith(f"// https://d3js.org v{library.version} ")
    page = render_page(scoring_manifest())
    assert script in page
    assert (folder / "LICENSE").read_text("utf-8") in page
    assert f"{library.name} {library.version} (ISC)" in page


def test_the_policy_permits_the_scripts_and_styles_of_the_page_and_nothing_else() -> None:
    page = render_page(scoring_manifest())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    parts = re.findall(r"<(?:script|style)>(.*?)</(?:script|style)>", page, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts}

    assert len(parts) == 4
    assert set(re.findall(r"'sha256-([^']+)'", policy[1])) == hashes
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]


def test_texts_of_the_manifest_cannot_end_the_element_that_contains_them() -> None:
    values = scoring(requirements=[f"app @ {HOSTILE}"])
    values["distributions"][0]["licence"] = HOSTILE
    values["verification"]["findings"][0]["message"] = HOSTILE
    page = render_page(make_manifest(values))

    assert "<img" not in page
    assert facts_of(page)["requirements"] == [f"app @ {HOSTILE}"]
    assert facts_of(page)["findings"][0]["message"] == HOSTILE
    # The number of elements is that of a page without such texts.
    for tag in ("<script", "</script", "<!--"):
        assert page.count(tag) == render_page(scoring_manifest()).count(tag), tag


def test_sizes_by_directory_add_up() -> None:
    facts = page_facts(scoring_manifest())
    app, fast, util, lock = facts["sizes"]

    assert fast == {
        "name": "fast",
        "size": 13513,
        "children": [
            {
                "name": "fast",
                "size": 12009,
                "children": [{"name": "linalg", "size": 3004}],
            },
            {"name": "fast.libs", "size": 1504},
        ],
    }
    assert util == {"name": "util", "size": 500}
    assert lock == {"name": "pylock.toml", "size": len(LOCK)}
    assert app["size"] + fast["size"] + util["size"] + lock["size"] == facts["size"]


def test_directories_too_small_to_see_count_for_their_parent() -> None:
    values = scoring()
    for file in values["files"]:
        if file["path"] == f"{SITE}/fast/linalg/blas.cpython-37m-x86_64-linux-gnu.so":
            file["size"] = 5
    facts = page_facts(make_manifest(values))

    assert facts["sizes"][1]["children"][0] == {"name": "fast", "size": 9010}


def test_the_reasons_are_those_of_explain() -> None:
    facts = page_facts(scoring_manifest())

    because = {item["name"]: item["because"] for item in facts["distributions"]}
    assert because["util"] == ["your requirements ask for `app==1.0`", "`app` requires `util`"]
    assert {(edge["from"], edge["to"], edge["requirement"]) for edge in facts["edges"]} == {
        ("", "app", "app==1.0"),
        ("app", "fast", "fast>=1"),
        ("app", "util", "util"),
        ("fast", "util", "util<2"),
        ("fast", "numpy", "numpy"),
    }


def test_findings_have_the_fix_of_their_code() -> None:
    first, *_ = page_facts(scoring_manifest())["findings"]

    assert first["code"] == "E404"
    assert (
        first["fix"]
        == "install the library in the base image, or take the variant that needs none (`-headless`)"
    )


@pytest.mark.parametrize("host", [{}, {"sandbox": None}, {"sandbox": {"missing": 3}}, {"sandbox": []}])
def test_a_host_section_in_another_form_is_no_error(host: dict[str, Any]) -> None:
    assert page_facts(scoring_manifest(host=host))["missing_promises"] == []


def test_promises_that_the_build_host_did_not_keep_are_shown() -> None:
    manifest = scoring_manifest(host={"sandbox": {"missing": ["no filter of system calls"]}})

    assert page_facts(manifest)["missing_promises"] == ["no filter of system calls"]


def test_the_command_writes_the_same_page_every_time(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    bundle = write_scoring(tmp_path)
    page = tmp_path / "page.html"
    page.write_text(render_page(scoring_manifest()).replace("scoring", "older"), "utf-8")
    ended = bundler_cli.run("report", str(bundle), "-o", str(page))
    default = bundler_cli.run("report", str(bundle), "--json", cwd=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{page}\tworks: all needed modules import, in 2 modes of use\n"
    assert page.read_bytes() == (tmp_path / "report.html").read_bytes()
    assert page.read_text("utf-8") == render_page(scoring_manifest())
    assert default.json["result"]["verdict"] == {
        "status": "works",
        "text": "works: all needed modules import, in 2 modes of use",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [bundle.name, "page.html", "report.html"]
    )


def test_without_a_bundle_the_page_is_about_the_last_refused_one(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "hungry", "1.0", {"hungry.py": "import undeclared_thing\n"})
    nothing = bundler_cli.run("report", cwd=tmp_path)
    bundle = write_scoring(tmp_path)
    hint = bundler_cli.run("report", cwd=tmp_path).stderr.splitlines()[-1]
    refused = bundler_cli.run("build", "hungry", cwd=tmp_path)
    ended = bundler_cli.run("report", cwd=tmp_path)
    facts = facts_of((tmp_path / "report.html").read_text("utf-8"))

    assert (nothing.returncode, refused.returncode) == (2, 10)
    assert nothing.stderr.startswith("bundler: error: no bundle given, and no bundle was refused\n")
    assert hint == f"bundler: hint: bundler report {bundle.name}"
    assert ended.stdout == "report.html\tdoes not work on its target: 1 error\n"
    (error,) = (finding for finding in facts["findings"] if finding["severity"] == "error")
    assert (error["code"], error["distribution"]) == ("I201", "hungry")
    assert "undeclared_thing" in error["message"]
    (row,) = (item for item in facts["imports"] if item["failed"])
    assert row["module"] == "hungry"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["missing.tar.gz"], 11, "missing.tar.gz"),
        (["BUNDLE", "--against", "missing.tar.gz"], 11, "missing.tar.gz"),
        (["BUNDLE", "-o", "none/report.html"], 11, "hint: mkdir -p none"),
        (["BUNDLE", "-o", "."], 2, "a directory, not a file"),
    ],
)
def test_a_page_that_cannot_be_written_leaves_nothing(
    args: list[str], code: int, message: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    bundle = write_scoring(tmp_path)
    ended = bundler_cli.run(
        "report", *[str(bundle) if text == "BUNDLE" else text for text in args], cwd=tmp_path
    )

    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    assert message in ended.stderr
    assert list(tmp_path.iterdir()) == [bundle]
