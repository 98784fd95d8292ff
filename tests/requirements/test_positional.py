"""Words of the command line: files of a known kind, projects, requirements."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import InputError
from bundler.requirements.positional import sort_words


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        *("requirements.txt", "dev.in", "env.yml", "conda.yaml", "pylock.toml", "pylock.gpu.toml", "run.py"),
        *("six-1.0-py3-none-any.whl", "built/pyproject.toml", "old/setup.py", "only/requirements.txt"),
        *("tools/pyproject.toml", "tools/requirements.txt", "model/MLmodel", "model/conda.yaml", "numpy/x"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "built/pyproject.toml").write_text("[project]\nname = 'built'\n")
    (tmp_path / "tools/pyproject.toml").write_text("[tool.ruff]\n")
    return tmp_path


@pytest.mark.parametrize(
    ("word", "kind", "meant"),
    [
        ("requirements.txt", "files", "requirements.txt"),
        ("./requirements.txt", "files", "requirements.txt"),
        ("dev.in", "files", "dev.in"),
        ("env.yml", "files", "env.yml"),
        ("built/pyproject.toml", "files", "built/pyproject.toml"),
        ("pylock.toml", "locks", "pylock.toml"),
        ("pylock.gpu.toml", "locks", "pylock.gpu.toml"),
        ("run.py", "scripts", "run.py"),
        ("./built", "requirements", "./built"),
        ("./old", "requirements", "./old"),
        ("./only", "files", "only/requirements.txt"),
        ("only/", "files", "only/requirements.txt"),
        ("./tools", "files", "tools/requirements.txt"),
        ("./model", "files", "model/conda.yaml"),
        ("model/MLmodel", "files", "model/MLmodel"),
        ("./numpy", "requirements", "./numpy"),
        # As in pip, a bare name is a project of the index, whatever the directory contains.
        ("numpy", "requirements", "numpy"),
        ("built", "requirements", "built"),
        ("six==1.0", "requirements", "six==1.0"),
        ("web.py", "requirements", "web.py"),
        ("six-1.0-py3-none-any.whl", "requirements", "six-1.0-py3-none-any.whl"),
        ("old/setup.py", "requirements", "old/setup.py"),
        ("pkg @ https://host/requirements.txt", "requirements", "pkg @ https://host/requirements.txt"),
    ],
)
def test_a_word_is_what_it_names(word: str, kind: str, meant: str, folder: Path) -> None:
    words = sort_words([word], folder)

    sorted_ = {
        name: list(map(str, getattr(words, name))) for name in ("requirements", "files", "scripts", "locks")
    }
    assert {name: values for name, values in sorted_.items() if values} == {kind: [meant]}


def test_the_directory_itself(folder: Path) -> None:
    assert sort_words(["."], folder / "built").requirements == (".",)
    assert sort_words(["."], folder / "only").files == (Path("requirements.txt"),)
    assert sort_words([".."], folder / "numpy").files == (Path("../requirements.txt"),)


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("requirments.txt", "requirements.txt"),
        ("evn.yml", "env.yml"),
        ("pylok.toml", "pylock.toml"),
        ("built/pyproject.tml.toml", "built/pyproject.toml"),
        ("src/run.py", None),
    ],
)
def test_a_file_that_does_not_exist(word: str, near: str | None, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        sort_words([word], folder)

    assert caught.value.message == f"{word}: file not found"
    assert caught.value.hint == (f"did you mean `{near}`?" if near else None)
