"""The rules of size and layout: they hold here, and each of them can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import check_layout
import pytest
from support.paths import ROOT

Rule = Callable[[Path], Iterator[str]]


@pytest.mark.parametrize("rule", check_layout.RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds(rule: Rule) -> None:
    assert list(rule(ROOT)) == []


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write a small checkout that breaks no rule, and the files in addition."""
    good = {
        "bundler/__init__.py": "",
        "bundler/archive/__init__.py": "",
        "bundler/archive/zip.py": "class Reader:\n    def zip(self): ...\n",
        "tests/conftest.py": "from support.paths import ROOT\n",
        "tests/support/paths.py": "ROOT = '/'\n",
        "tests/test_docs.py": "import pytest\n",
        "tests/archive/test_zip.py": "from support.paths import ROOT\nfrom bundler.archive.zip import Reader\n",
    }
    for name, content in (good | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return root


def test_a_good_tree_has_no_breach(tmp_path: Path) -> None:
    assert check_layout.breaches(tree(tmp_path, {})) == []


LONG = "def long():\n" + "    pass\n" * 70
JUST_SHORT_ENOUGH = "@decorator\ndef short():\n" + "    pass\n" * 69

BREACHES: dict[str, tuple[Rule, dict[str, str], str]] = {
    "modules at the top": (
        check_layout.top_modules,
        {f"bundler/m{number}.py": "" for number in range(12)},
        "bundler: 13 modules, at most 12 allowed; move one into a package",
    ),
    "a long module": (
        check_layout.module_lines,
        {"bundler/archive/tar.py": "#\n" * 401},
        "bundler/archive/tar.py: 401 lines, at most 400 allowed",
    ),
    "a long function": (
        check_layout.function_lines,
        {"bundler/archive/tar.py": JUST_SHORT_ENOUGH + LONG},
        "bundler/archive/tar.py:72: `long` has 71 lines, at most 70 allowed",
    ),
    "a long method, async and nested": (
        check_layout.function_lines,
        {"bundler/archive/tar.py": "class Tar:\n  async " + LONG.replace("    ", "      ")},
        "bundler/archive/tar.py:2: `long` has 71 lines, at most 70 allowed",
    ),
    "a function with the name of its module": (
        check_layout.function_named_as_module,
        {"bundler/archive/tar.py": "\ndef tar(): ...\n"},
        "bundler/archive/tar.py:2: `tar` has the name of its module",
    ),
    "two classes of one name": (
        check_layout.class_named_twice,
        {"bundler/archive/tar.py": "class Reader: ...\n"},
        "bundler/archive/zip.py:1: the class `Reader` is also defined at bundler/archive/tar.py:1",
    ),
    "two private classes of one name, one of them nested": (
        check_layout.class_named_twice,
        {
            "bundler/archive/tar.py": "def open():\n    class _Part: ...\n",
            "bundler/archive/wheel.py": "class _Part: ...\n",
        },
        "bundler/archive/wheel.py:1: the class `_Part` is also defined at bundler/archive/tar.py:2",
    ),
    "tests of something that is not a package": (
        check_layout.tests_mirror_packages,
        {"tests/zip/test_zip.py": ""},
        "tests/zip: `bundler/zip` is not a package",
    ),
    "a test that imports from another test": (
        check_layout.tests_stand_alone,
        {"tests/test_more.py": "import pytest\nfrom test_docs import page\n"},
        "tests/test_more.py:2: imports `test_docs.page`; move the shared code to tests/support",
    ),
    "a helper that imports a test": (
        check_layout.tests_stand_alone,
        {"tests/support/more.py": "def run():\n    import archive.test_zip\n"},
        "tests/support/more.py:2: imports `archive.test_zip`; move the shared code to tests/support",
    ),
}


@pytest.mark.parametrize(("rule", "files", "line"), BREACHES.values(), ids=BREACHES)
def test_a_breach_is_reported(rule: Rule, files: dict[str, str], line: str, tmp_path: Path) -> None:
    root = tree(tmp_path, files)

    assert list(rule(root)) == [line]
    assert check_layout.breaches(root) == [line]


def test_every_rule_has_a_breach() -> None:
    assert {rule for rule, _, _ in BREACHES.values()} == set(check_layout.RULES)


def test_a_breach_is_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = check_layout.main([str(tree(tmp_path / "good", {}))])
    bad = check_layout.main([str(tree(tmp_path / "bad", {"tests/zip/test_zip.py": ""}))])

    assert (good, bad) == (0, 1)
    assert capsys.readouterr().out.splitlines() == [
        "No breach of the layout rules.",
        "tests/zip: `bundler/zip` is not a package",
    ]
