"""The kinds of findings: one code each, one page each."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import get_args

import msgspec
import pytest
from support.paths import PACKAGE, ROOT

from bundler.checks.findings import Finding, is_allowed, sorted_findings
from bundler.data.finding_rules import RULES_TABLE, Rule, Severity, rules_by_code

RULES = rules_by_code()


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_a_rule_is_told_in_one_line(rule: Rule) -> None:
    assert rule.severity in get_args(Severity)
    for text in (rule.title, rule.fix):
        assert text == text.strip()
    assert rule.title[0].islower() or rule.title.startswith(("`", "RPATH"))
    assert rule.text.endswith((".", ")"))


def test_codes_are_grouped_by_letter_and_sorted() -> None:
    assert len({code[0] for code in RULES}) == len({code[:2] for code in RULES}) == 6
    assert list(RULES) == sorted(RULES, key=lambda code: ("MIUEBD".index(code[0]), code))
    assert len({rule.title for rule in RULES.values()}) == len(RULES)


def test_every_code_is_used_and_every_used_one_is_there() -> None:
    texts = [path.read_text("utf-8") for path in PACKAGE.rglob("*.py")]
    used = set(re.findall(r'"([MIUEBD][1-6]\d\d)"', "\n".join(texts)))

    assert used == set(RULES)


def test_the_page_is_the_one_that_is_generated() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "scripts/generate-docs", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize(
    "table",
    [
        pytest.param({"X101": {}}, id="no-such-letter"),
        pytest.param(
            {"M101": {"severity": "fatal", "title": "a b", "text": "t", "fix": "a b"}}, id="severity"
        ),
        pytest.param({"M101": {"severity": "note", "title": "a\nb", "text": "t", "fix": "a b"}}, id="title"),
        pytest.param({"M101": {"severity": "note", "title": "a b", "text": "", "fix": "a b"}}, id="text"),
        pytest.param({"M101": {"severity": "note", "title": "a b", "text": "t"}}, id="no-fix"),
        pytest.param(
            {"M101": {"severity": "note", "title": "a b", "text": "t", "fix": "a b", "x": 1}}, id="unknown"
        ),
    ],
)
def test_a_table_with_an_error_is_refused(table: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, RULES_TABLE)


FINDING = Finding(code="I201", message="m", distribution="pkg-a")


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param(["I201"], True, id="code"),
        pytest.param(["i201"], True, id="code-in-lower-case"),
        pytest.param(["I201:pkg-a"], True, id="distribution"),
        pytest.param(["I201:Pkg_A"], True, id="distribution-is-normalised"),
        pytest.param(["I201:"], True, id="any-distribution"),
        pytest.param(["I201:pkg-b"], False, id="another-distribution"),
        pytest.param(["I202", "U301:pkg-a"], False, id="another-code"),
        pytest.param(["I2", "I2011", "pkg-a", "*"], False, id="part-of-a-code"),
        pytest.param(["I202", "I201:x", "I201:pkg-a"], True, id="one-of-several"),
    ],
)
def test_is_allowed(allowed: list[str], expected: bool) -> None:
    assert is_allowed(FINDING, allowed) is expected


def test_a_distribution_does_not_allow_what_is_about_none() -> None:
    finding = Finding(code="U301", message="m")

    assert not is_allowed(finding, ["U301:pkg"])
    assert is_allowed(finding, ["U301"])


def test_findings_are_sorted_worst_first_and_come_once() -> None:
    wanted = [
        Finding(code="M101", message="m"),
        Finding(code="E407", message="m"),
        Finding(code="I201", message="m", distribution="b", where="z"),
        Finding(code="I202", message="m", distribution="a", where="a"),
        Finding(code="U301", message="m"),
        Finding(code="B502", message="m"),
        Finding(code="E404", message="z", distribution="a", where="a"),
        Finding(code="E404", message="m", distribution="a", where="b"),
        Finding(code="E404", message="n", distribution="a", where="b"),
        Finding(code="E404", message="a", distribution="b", where="a"),
        Finding(code="I203", message="a"),
        Finding(code="B507", message="a"),
    ]

    assert sorted_findings([*reversed(wanted), *wanted]) == tuple(wanted)


def test_details_are_for_the_reader_of_an_error_alone() -> None:
    one = Finding(code="I201", message="m", distribution="a", where="w", details=("host says",))

    assert one.to_json() == {
        "code": "I201",
        "distribution": "a",
        "message": "m",
        "severity": "error",
        "where": "w",
    }
    assert one == Finding(code="I201", message="m", distribution="a", where="w")
