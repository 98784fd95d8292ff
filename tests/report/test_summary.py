"""The verdict, and the ten lines."""

from __future__ import annotations

from typing import Any

import pytest
from support.bundles import VERIFICATION
from support.scoring import finding, imported, scoring_manifest

from bundler.report.summary import summary_lines, verdict_of

ERROR = finding("M101", "error", "`app` contains `enum`", "app")


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        (
            {"ways": {"mount": [imported("app")]}},
            "works",
            "works: all needed modules import, in 1 mode of use",
        ),
        (
            {"ways": {"mount": [imported("app", "unused")], "venv": [imported("app")]}},
            "works",
            "2 modes of use",
        ),
        ({"ways": {}}, "unchecked", "no import was checked"),
        ({"ways": {"mount": []}}, "unchecked", "no import was checked"),
        ({"findings": [ERROR]}, "failed", "does not work on its target: 1 error"),
        ({"findings": [{**ERROR, "allowed": True}]}, "accepted", "works except for 1 accepted error"),
        ({"findings": [ERROR, {**ERROR, "where": "x", "allowed": True}]}, "failed", "1 error"),
        (
            {"ways": {"mount": [imported("app", "crashed")], "venv": [imported("app", "crashed")]}},
            "accepted",
            "works except for 1 import that may fail",
        ),
        (
            {
                "findings": [{**ERROR, "code": "I201", "allowed": True}],
                "ways": {"mount": [imported("app", "failed"), imported("util", "failed")]},
            },
            "accepted",
            "works except for 1 accepted error and 1 import that may fail",
        ),
        (
            {"findings": [finding("E404", "warning", "x")], "ways": {"venv": [imported("app")]}},
            "works",
            "1 mode",
        ),
    ],
)
def test_the_verdict(changes: dict[str, Any], status: str, text: str) -> None:
    verdict = verdict_of(scoring_manifest(verification={**VERIFICATION, **changes}))

    assert verdict.status == status
    assert text in verdict.text


def test_the_summary_has_ten_lines_in_human_units() -> None:
    manifest = scoring_manifest()

    assert summary_lines(manifest) == (
        f"scoring 1.0  sha256:{manifest.identity}",
        "verdict   works: all needed modules import, in 2 modes of use",
        "for       CPython 3.7 (cp37m) on linux_x86_64",
        "contains  3 distributions, 9 files, 18.1 kB",
        "largest   fast 13.5 kB, app 4.0 kB, util 500 bytes",
        "imports   2 of 3 modules mounted on PYTHONPATH; 2 of 3 modules installed in a virtual environment",
        "native    3 shared objects; glibc 2.17 or newer",
        "licenses  MIT (2), not declared (1)",
        "base      must have numpy 1.21.6",
        "findings  0 errors, 1 warning, 2 notes (`bundler inspect BUNDLE --notes`)",
    )


def test_the_summary_of_a_bundle_without_distributions() -> None:
    lock = [file for file in scoring_manifest().to_json()["files"] if file["owner"] == "bundler"]
    lines = summary_lines(
        scoring_manifest(
            distributions=[], files=lock, verification=VERIFICATION, base={"provided": {}, "conda": ["mkl"]}
        )
    )

    assert len(lines) == 10
    assert lines[3:] == (
        f"contains  0 distributions, 2 files, {lock[0]['size']} bytes",
        "largest   nothing",
        "imports   none were checked",
        "native    no shared objects: no glibc needed",
        "licenses  none",
        "base      must have mkl (conda)",
        "findings  0 errors, 0 warnings, 0 notes",
    )
