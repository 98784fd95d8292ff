"""What the docstrings and pages show is what happens."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.paths import PACKAGE, ROOT

if TYPE_CHECKING:
    from support.cli import BundlerCli

MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__main__" and "scripts" not in path.parts
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))

    assert result.failed == 0


def test_every_option_the_readme_names_exists(bundler_cli: BundlerCli) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for line in re.findall(
        r"^    bundler (build|lock|inspect|explain|profile|package|simulate|serve|verify|unpack|store|env)(.*?)(?:#.*)?$",
        readme,
        re.MULTILINE,
    ):
        command, rest = line
        helped = bundler_cli.run(command, "--help").stdout
        for option in re.findall(r"--?[a-z][a-z-]*", rest):
            assert option in helped, f"{command} {option}"


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text("utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_of_this_repository_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for path in re.findall(r"(?:^|[ `(])((?:bundler|docs|scripts|tests)/[\w./-]+\w)", text, re.MULTILINE):
        if not re.fullmatch(r"tests/a/.*|bundler/[ab]/.*", path):  # placeholders
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_architecture_page_names_every_module() -> None:
    """Packages whose modules are alike are named as a whole."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    named: dict[str, set[str]] = {}
    package = ""
    for row in re.findall(r"^\| (.*) \|$", text, re.MULTILINE)[1:]:
        cells = [cell.strip() for cell in row.split("|")]
        package = cells[1].strip("`") or package
        named.setdefault(package, set()).update(re.findall(r"`(\w+)`", cells[2]))
    modules: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if not path.stem.startswith("__"):
            modules.setdefault(path.parent.relative_to(PACKAGE).as_posix(), set()).add(path.stem)
    modules["(top)"] = modules.pop(".")
    modules["azureml"] = modules.pop("azureml") | modules.pop("azureml/core")

    assert set(named) == set(modules)
    for package in set(modules) - {"azureml", "cli", "data"}:
        assert named[package] == modules[package], package


def test_rows_of_the_faults_that_claim_a_test_have_one() -> None:
    """An empty last cell means that a test cites the row."""
    rows = re.findall(
        r"^\| ([A-Z]\d+) \|.*\|(.*)\|$", (ROOT / "docs/faults.md").read_text("utf-8"), re.MULTILINE
    )
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    cited = {row.upper() for row in re.findall(r"(?i)(?<![a-z0-9])([wbrhnpktl]\d+)(?![0-9])", tests)}

    assert len(rows) > 200
    assert {row for row, remark in rows if not remark.strip()} - cited == set()
