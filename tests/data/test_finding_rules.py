"""The kinds of findings: one code each, one page each."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
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
    assert len({code[0] for code in RULES}) == len({code[:2] for code in RULES}) == 7
    assert list(RULES) == sorted(RULES, key=lambda code: ("MIUEBDW".index(code[0]), code))
    assert len({rule.title for rule in RULES.values()}) == len(RULES)


def test_texts_are_paragraphs() -> None:
    """`explain` joins the lines of a paragraph, which would destroy a list or a block of code."""
    block = re.compile(r"[-*+>] |[#|]|1\. |```|\s")
    lines = [(rule.code, line) for rule in RULES.values() for line in rule.text.splitlines()]

    assert [(code, line) for code, line in lines if block.match(line)] == []


def codes_in(source: str) -> set[str]:
    """Return the string literals of a module that have the form of a code."""
    literals = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {text for text in literals if isinstance(text, str) and re.fullmatch("[A-Z][0-9]{3}", text)}


USED = set[str]().union(*(codes_in(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")))


def test_every_code_in_the_source_has_a_rule() -> None:
    assert sorted(USED - {*RULES}) == []


def test_every_rule_is_used_in_the_source() -> None:
    assert sorted({*RULES} - USED) == []


def generate_docs(root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(root / "scripts/generate-docs"), *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_page_is_the_one_that_is_generated() -> None:
    check = generate_docs(ROOT, "--check")

    assert check.returncode == 0, check.stdout + check.stderr


def test_a_stale_page_fails_the_check_until_it_is_written(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "bundler", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("scripts/generate-docs", "docs/findings.md", "docs/commands.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    facts, page = tmp_path / "bundler/data/findings.toml", tmp_path / "docs/findings.md"
    facts.write_text(
        facts.read_text("utf-8").replace("leave the backport out;", "drop the backport;"), "utf-8"
    )

    stale = generate_docs(tmp_path, "--check")
    assert (stale.returncode, stale.stderr) == (1, "")
    assert "\n-Fix: leave the backport out; " in stale.stdout
    assert "\n+Fix: drop the backport; " in stale.stdout
    assert page.read_bytes() == (ROOT / "docs/findings.md").read_bytes()

    commands = tmp_path / "docs/commands.md"
    commands.write_text(commands.read_text("utf-8").replace("| `--dry-run` |", "| `--no-run` |"), "utf-8")
    assert "\n+| `--dry-run` |" in generate_docs(tmp_path, "--check").stdout

    assert generate_docs(tmp_path).returncode == 0
    assert "\nFix: drop the backport; " in page.read_text("utf-8")
    assert generate_docs(tmp_path, "--check").returncode == 0


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
        Finding(code="D624", message="a"),
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
