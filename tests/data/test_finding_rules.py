"""The kinds of findings: one code each, one page each."""

from __future__ import annotations

import ast
import re
from typing import get_args

import pytest
from support.paths import PACKAGE, ROOT

from bundler.checks.findings import Finding, is_allowed, sorted_findings
from bundler.data.finding_rules import RULES, Rule, Severity

PAGE = ROOT / "docs" / "findings.md"


def section(code: str) -> str:
    """Return the text below a code's heading, without the breaks of its lines."""
    _, _, below = PAGE.read_text("utf-8").partition(f"\n## {code}\n")
    return " ".join(re.split(r"^## ", below, maxsplit=1, flags=re.MULTILINE)[0].split())


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_every_code_has_a_page_that_says_the_same(rule: Rule) -> None:
    text = section(rule.code)

    assert text.startswith(f"**{rule.title[0].upper()}{rule.title[1:]}.** ({rule.severity}) ")
    assert text.endswith(f" Fix: {rule.fix}.")


def test_the_page_has_no_code_that_is_not_there() -> None:
    assert re.findall(r"^## ([A-Z]\d{3})$", PAGE.read_text("utf-8"), re.MULTILINE) == list(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_a_rule_is_told_in_one_line(rule: Rule) -> None:
    assert rule.severity in get_args(Severity)
    assert re.fullmatch("[MIUEBD][0-9]{3}", rule.code)
    for text in (rule.title, rule.fix):
        assert text == text.strip()
        assert "\n" not in text
        assert not text.endswith(".")
    assert rule.title[0].islower() or rule.title.startswith(("`", "RPATH"))


def test_codes_are_unique_and_grouped_by_letter() -> None:
    """As they are written: a mapping would keep the last of two."""
    tree = ast.parse((PACKAGE / "findings.py").read_text("utf-8"))
    codes = [
        str(node.elts[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple) and len(node.elts) == 4 and isinstance(node.elts[0], ast.Constant)
    ]

    assert codes == list(RULES)
    assert len({code[0] for code in codes}) == len({code[:2] for code in codes}) == 6
    assert codes == sorted(codes, key=lambda code: ("MIUEBD".index(code[0]), code))
    assert len({rule.title for rule in RULES.values()}) == len(RULES)


def test_every_code_is_used_and_every_used_one_is_there() -> None:
    texts = [path.read_text("utf-8") for path in PACKAGE.glob("*.py") if path.name != "findings.py"]
    used = set(re.findall(r'"([MIUEBD][1-6]\d\d)"', "\n".join(texts)))

    assert used == set(RULES)


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
