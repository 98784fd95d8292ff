"""The figures: what is counted, and that a page of other attacks is stale."""

from __future__ import annotations

from pathlib import Path

import figures
import pytest
from support.paths import ROOT

CASE = '<testcase classname="tests.store.test_store" name="{name}"><properties>{properties}</properties>{end}</testcase>'


def report(*cases: tuple[str, int, str], area: str = "store", mutants: int = 0) -> str:
    texts = []
    for name, count, end in cases:
        values = {"attack": area, "attacks": count, "mutants": mutants}
        properties = "".join(f'<property name="{key}" value="{value}"/>' for key, value in values.items())
        texts.append(CASE.format(name=name, properties=properties, end=end))
    return f"<testsuites><testsuite>{''.join(texts)}<testcase classname='tests.test_x' name='z'/></testsuite></testsuites>"


def test_attacks_are_counted_by_their_result() -> None:
    areas = figures.read_results(
        report(("a", 1, ""), ("b", 20, "<skipped/>"), ("c", 3, "<failure/>"), ("d", 1, "<error/>"), mutants=5)
    )

    store = areas["store"]
    assert (store.attacks, store.tried, store.held, store.mutants) == (25, 5, 1, 20)
    assert store.succeeded == ["tests.store.test_store::c", "tests.store.test_store::d"]
    assert store.files == {"tests/store/test_store.py"}
    assert "- `tests.store.test_store::c`" in figures.page(areas, "2026-01-01")


@pytest.mark.parametrize(
    ("end", "count", "code", "stale"),
    [("", 2, 0, False), ("<failure/>", 2, 1, False), ("", 3, 0, True), ("<skipped/>", 2, 0, False)],
)
def test_a_comparison_fails_if_an_attack_succeeded_and_names_other_counts(
    end: str, count: int, code: int, stale: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, results = tmp_path / "figures.md", tmp_path / "results.xml"
    page.write_text(figures.page(figures.read_results(report(("a", 2, ""))), "2026-01-01"))
    results.write_text(report(("a", count, end)))

    assert figures.main(["--compare", str(page), str(results)]) == code
    assert ("is stale" in capsys.readouterr().err) == stale


def test_a_report_of_another_area_is_an_error() -> None:
    with pytest.raises(KeyError):
        figures.read_results(report(("a", 1, ""), area="elsewhere"))


def test_an_unknown_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert figures.main(["--write"]) == 2
    assert "--compare" in capsys.readouterr().err


def test_the_page_has_every_area() -> None:
    text = (ROOT / "docs/figures.md").read_text("utf-8")

    assert [title for title in figures.AREAS.values() if f"| {title} |" not in text] == []
