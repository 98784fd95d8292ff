"""What the docstrings and pages show is what happens."""

from __future__ import annotations

import doctest
import importlib
import re
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


def test_links_between_pages_lead_somewhere() -> None:
    pages = [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").glob("*/README.md"),
    ]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
