"""TOML files of the package: an error names the file and the place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from bundler.data import tables
from bundler.data.tables import read_table


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a directory that files are read from."""
    monkeypatch.setattr(tables, "files", lambda _package: tmp_path)
    read_table.cache_clear()
    yield tmp_path
    read_table.cache_clear()


def test_a_file_is_read_once(package: Path) -> None:
    (package / "x.toml").write_text("a = 1\n")
    first = read_table("x.toml", dict[str, int])
    (package / "x.toml").unlink()

    assert first == {"a": 1}
    assert read_table("x.toml", dict[str, int]) is first


Letter = Annotated[str, msgspec.Meta(pattern="^[a-z]$")]


class Row(msgspec.Struct, forbid_unknown_fields=True):
    number: int
    words: dict[Letter, dict[str, str]] = {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[a]\n[b]\nnumber = 1\n", "a: Object missing required field `number`", id="missing"),
        pytest.param("[a]\nnumber = 1\nx = 1\n", "a: Object contains unknown field `x`", id="unknown"),
        pytest.param("[a]\nnumber = 1\n[b]\nnumber = 'x'\n", "b.number: Expected `int`, got `str`", id="type"),
        pytest.param("[a]\nnumber = 1\n[a.words.x]\ny = '1'\nz = 1\n", "a.words.x.z: Expected `str`, got `int`", id="inner"),
        pytest.param("[a]\nnumber = 1\n[a.words.xx]\n", "a.words.xx: Expected `str` matching regex", id="key"),
        pytest.param("[a]\nnumber = 1\nwords = 1\n", "a.words: Expected `object`, got `int`", id="no-table"),
        pytest.param("a = 1\n", "a: Expected `object`, got `int`", id="no-row"),
        pytest.param("[a]\nnumber = 1\n[a]\n", "Cannot declare ('a',) twice (at line 3, ", id="twice"),
        pytest.param("a = \n", "Invalid value (at line 1, ", id="syntax"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_and_the_key(text: str, message: str, package: Path) -> None:
    (package / "x.toml").write_text(text)

    with pytest.raises(ValueError, match=re.escape(f"x.toml: {message}")):
        read_table("x.toml", dict[str, Row])
