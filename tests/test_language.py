"""The counter of habits: each one is counted in each kind of text, and good sentences are not."""

from __future__ import annotations

from pathlib import Path

import check_language
import pytest
from check_language import HABITS, Passage, occurrences

BAD: dict[str, tuple[str, ...]] = {
    "address": ("The address of the index.", "URLs and addresses", "Addresses are split."),
    "folder": ("Search this folder.", "two folders of wheels"),
    "is no": (
        "`x` is no wheel",
        "these are no digests",
        "it was no\nURL",
    ),
    "is there": (
        "the file is there already",
        "if `x` is not there, fail",
        "they were there again",
        "it is there",
    ),
    "what": ("Return what pip prints.", "What is known of a base", "whatever it contains"),
    "say, tell": ("The error says why.", "as it was told", "Say where it is.", "it tells them apart"),
    "bring": ("the wheel brings a module", "modules that it brought"),
    "stand, lie": ("a tool that stands before it", "files lie below it", "it stood there", "where it lies"),
    "somebody": ("nobody requires it", "whoever reads it", "Everybody imports it."),
}

GOOD = (
    "The URL of the index, an IP address, a memory address, and the address space of a process.",
    "Search this directory for wheels.",
    "`x` is not a wheel; there is no index, and it is no longer used.",
    "`un` already exists; is there a lockfile? There is a lockfile.",
    "What is a bundle? A somewhat strict archive.",
    "Return the imports of the entry script.",
    "The error names the cause; untold many, a teller, soothsaying.",
    "The wheel provides a module.",
    "WWW stands for something; a stand-in for the standard library that we understand.",
    "The code is unused: no distribution requires it.",
    "The spans `what is no folder`, ``brings `nobody` `` and `address` are code.",
)


def habits_of(text: str) -> list[str]:
    return [occurrence.habit for occurrence in occurrences(Passage(Path("page.md"), 1, text))]


def test_every_habit_has_an_example() -> None:
    assert BAD.keys() == HABITS.keys()


@pytest.mark.parametrize(("habit", "text"), [(habit, text) for habit, texts in BAD.items() for text in texts])
def test_a_habit_is_counted_once(habit: str, text: str) -> None:
    assert habits_of(text) == [habit]


@pytest.mark.parametrize("text", GOOD)
def test_good_sentences_are_not_counted(text: str) -> None:
    assert habits_of(text) == []


MODULE = '''\
"""Read folders of wheels."""

import re  # nobody else
# This comment has a word
# that is no\tgood English: address.


class Reader:
    """Do it.

    The file says more.

    >>> what("is no code")
    """

    key = "what"
    text = "a key says " "in two parts: whoever reads it"

    def message(self, name: str, folder: str) -> str:
        return f"the wheel {name} brings {folder!r:>30} and {'what a lie' if name else ''}"
'''

TABLE = """\
# A comment about what follows.
[M101]
title = "it is there # already, with nobody's text"
code = "what"
text = '''
'''
fix = \"\"\"
The first line.
The folder of the "user" is there.
\"\"\"
"""

PAGE = """\
# What a bundle is

    what is indented is code

    after an empty line, too, says the rule

Text that
    brings an indented line of a paragraph, [a link](docs/what.md) and `nobody`.

```python
what = "is no prose"
```

The page is
there.
"""


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return root


def listed(root: Path) -> set[tuple[str, str, int]]:
    return {
        (occurrence.habit, occurrence.path.relative_to(root).as_posix(), occurrence.line)
        for passage in check_language.passages(root)
        for occurrence in occurrences(passage)
    }


def test_strings_docstrings_and_comments_of_a_module(tmp_path: Path) -> None:
    name = "bundler/archive/zip.py"

    assert listed(tree(tmp_path, {name: MODULE})) == {
        ("folder", name, 1),
        ("somebody", name, 3),
        ("is no", name, 5),
        ("address", name, 5),
        ("say, tell", name, 11),
        ("say, tell", name, 17),
        ("somebody", name, 17),
        ("bring", name, 20),
        ("what", name, 20),
        ("stand, lie", name, 20),
    }


def test_strings_and_comments_of_a_table(tmp_path: Path) -> None:
    name = "bundler/data/findings.toml"

    assert listed(tree(tmp_path, {name: TABLE})) == {
        ("what", name, 1),
        ("somebody", name, 3),
        ("folder", name, 9),
        ("is there", name, 9),
    }


@pytest.mark.parametrize("name", ["README.md", "docs/format.md"])
def test_prose_of_a_page(name: str, tmp_path: Path) -> None:
    assert listed(tree(tmp_path, {name: PAGE})) == {
        ("what", name, 1),
        ("bring", name, 8),
        ("is there", name, 14),
    }


def test_other_files_are_not_read(tmp_path: Path) -> None:
    files = {
        "tests/test_zip.py": MODULE,
        "bundler/data/table.json": '{"what": "is no"}',
        "docs/more/page.md": PAGE,
    }

    assert listed(tree(tmp_path, files)) == set()


# 2,000 words: one occurrence is 5 per 10,000, and two are too many.
FILLER = "word " * 1995


def test_a_rate_at_the_limit_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path, {"README.md": f"{FILLER} nobody reads all of this"})

    assert check_language.main([str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["habit", "count", "per", "10,000", "words"]
    assert lines[-1].split() == ["somebody", "1", "5.0"]
    assert len(lines) == 1 + len(HABITS)


def test_a_rate_above_the_limit_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path, {"README.md": f"{FILLER} nobody reads and nobody writes"})

    assert check_language.main([str(root)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        '"somebody" occurs more than 5 times per 10,000 words: --list "somebody"'
    )


def test_occurrences_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path, {"docs/format.md": "# Format\n\nA file\nthat nobody reads, and what follows.\n"})

    assert check_language.main(["--list", "somebody", str(root)]) == 0
    assert capsys.readouterr().out == (
        "docs/format.md:4: # Format A file that nobody reads, and what follows.\n"
    )


def test_an_empty_tree_has_no_habits(tmp_path: Path) -> None:
    assert check_language.main([str(tmp_path)]) == 0


def test_an_unknown_habit_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as raised:
        check_language.main(["--list", "grammar", str(tmp_path)])

    assert raised.value.code == 2
