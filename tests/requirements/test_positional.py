"""Words of the command line: files of a known kind, projects, requirements."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from support.hints import QUOTED

from bundler.errors import InputError
from bundler.requirements.files import read_requirements
from bundler.requirements.positional import sort_words
from bundler.system.environ import HostEnvironment


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
        ("./model", "files", "model/MLmodel"),
        ("model", "files", "model/MLmodel"),
        ("model/MLmodel", "files", "model/MLmodel"),
        ("./numpy", "requirements", "./numpy"),
        ("absent", "requirements", "absent"),
        ("numpy>=0", "requirements", "numpy>=0"),
        ("built[extra]", "requirements", "built[extra]"),
        ("six==1.0", "requirements", "six==1.0"),
        ("web.py>=0", "requirements", "web.py>=0"),
        ("discord.py", "requirements", "discord.py"),
        ("ruamel.yaml", "requirements", "ruamel.yaml"),
        ("jaraco.path", "requirements", "jaraco.path"),
        ("six-1.0-py3-none-any.whl", "requirements", "six-1.0-py3-none-any.whl"),
        ("pkg @ https://host/requirements.txt", "requirements", "pkg @ https://host/requirements.txt"),
    ],
)
def test_a_word_is_what_it_names(word: str, kind: str, meant: str, folder: Path) -> None:
    words = sort_words([word], folder)

    sorted_ = {
        name: list(map(str, getattr(words, name))) for name in ("requirements", "files", "scripts", "locks")
    }
    assert {name: values for name, values in sorted_.items() if values} == {kind: [meant]}


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["python", "3.8"], ["python 3.8"]),
        (["six", "Python", "==3.8.*", "attrs"], ["six", "Python ==3.8.*", "attrs"]),
        (["python"], ["python"]),
        (["python", "six"], ["python", "six"]),
        (["python", "python", "3.9"], ["python", "python 3.9"]),
        (["six", "3"], ["six", "3"]),
    ],
)
def test_a_python_and_its_version_are_one_word(words: list[str], joined: list[str], folder: Path) -> None:
    assert sort_words(words, folder).requirements == tuple(joined)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["six", "==", "1.16"], "six==1.16"),
        (["six", "==1.16.*"], "'six==1.16.*'"),
        (["six", "1.16"], "six==1.16"),
        (["attrs", "six", ">=1,<2"], "'six>=1,<2'"),
        (["a[b]", "~=", "1.0"], "'a[b]~=1.0'"),
        (["six", "=1.16"], "six==1.16"),
    ],
)
def test_a_version_apart_from_its_project(words: list[str], meant: str, folder: Path) -> None:
    with pytest.raises(InputError, match="a version specifier without its project") as caught:
        sort_words(words, folder)

    assert caught.value.hint == f"pass `{meant}`"


@pytest.mark.parametrize("words", [["six==1", "1.16"], ["./six", "1.16"], ["1.16"], ["six", "==x"]])
def test_another_word_of_a_version_is_left_to_the_parser(words: list[str], folder: Path) -> None:
    assert sort_words(words, folder).requirements == tuple(words)


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


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("score.py", ""),
        ("web.py", ""),
        ("ran.py", "did you mean `run.py`? "),
        ("out.json", ""),
        ("Notes.ipynb", ""),
        ("my.lock", ""),
        ("weights.pkl", ""),
        ("start.sh", ""),
    ],
)
def test_a_missing_file_is_not_the_name_of_a_project(word: str, near: str, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        sort_words([word], folder)

    assert caught.value.message == f"{word}: file not found"
    assert caught.value.hint == f"{near}for the project of this name, write `'{word}>=0'`"
    assert sort_words([f"{word}>=0"], folder).requirements == (f"{word}>=0",)


PIPENV = "`pipenv lock && pipenv requirements > requirements.txt`"
NOTES = "# All requirements\n\nSee `requirements.txt`, it has them.\n"
LOCK = "# This file is automatically @generated by Poetry 1.8.2\n\n[[package]]\nname = 'six'\n"


@pytest.mark.parametrize(
    ("word", "content", "fact", "hint"),
    [
        (
            "reqs",
            "six\n",
            "an existing file",
            "pass `-r reqs`; for the project of this name, write `'reqs>=0'`",
        ),
        ("my reqs", "six\n", "an existing file", "pass `-r 'my reqs'`"),
        ("./reqs", "six\n", "an existing file", "pass `-r ./reqs`"),
        ("README.md", NOTES, "an existing file", "pass `-r requirements.txt`"),
        ("black", b"\x7fELF\0\xff", "an existing file", "for the project of this name, write `'black>=0'`"),
        ("app.sh", "pip install six\n", "an existing file", "pass `-r requirements.txt`"),
        (
            "zope.interface",
            "x y\n",
            "an existing file",
            "for the project of this name, write `'zope.interface>=0'`",
        ),
        ("setup.py", "", "a file for the build of a project", "pass the directory: `.`"),
        ("old/setup.cfg", "", "a file for the build of a project", "pass the directory: `./old`"),
        ("Pipfile", "[packages]\n", "the Pipfile of Pipenv", "`pipenv lock && pipenv requirements > "),
        (
            "poetry.lock",
            LOCK,
            "a lockfile of Poetry",
            "`poetry export -f requirements.txt -o requirements.txt`",
        ),
        ("locked", LOCK, "a lockfile of Poetry", "`poetry export -f requirements.txt -o requirements.txt`"),
        ("numpy/x", "", "an existing file", None),
        ("blob", b"\x28\xb5\x2f\xfd\0", "a bundle", "bundler inspect blob"),
        ("notes.ipynb", "{}", "a notebook", "`pipx run pipreqs"),
    ],
)
def test_an_existing_file_is_never_the_name_of_a_project(
    word: str, content: str | bytes, fact: str, hint: str | None, folder: Path
) -> None:
    (folder / word).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        sort_words([word], folder)

    assert caught.value.message.startswith(f"{word}: {fact}")
    assert (caught.value.hint or "").startswith(hint) if hint else caught.value.hint is None


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("built", "pass `./built`; for the project of this name, write `'built>=0'`"),
        ("old", "pass `./old`; for the project of this name, write `'old>=0'`"),
        ("only", "pass `-r only/requirements.txt`; for the project of this name, write `'only>=0'`"),
        ("numpy", "for the project of this name, write `'numpy>=0'`"),
        (
            "piped",
            f"{PIPENV}, then pass `-r requirements.txt`; for the project of this name, write `'piped>=0'`",
        ),
    ],
)
def test_an_existing_directory_is_never_the_name_of_a_project(word: str, hint: str, folder: Path) -> None:
    (folder / "piped").mkdir()
    (folder / "piped/Pipfile").touch()
    with pytest.raises(InputError) as caught:
        sort_words([word], folder)

    fact = "an existing directory, not a requirement"
    if word == "numpy":
        fact = "a directory without a project or a file with requirements"
    assert caught.value.message == f"{word}: {fact}"
    assert caught.value.hint == hint
    for quoted in re.findall(r"(?:pass|write) `([^`]+)`", hint.partition(", then")[2] or hint):
        words = shlex.split(quoted)
        assert words[0].startswith("-") or sort_words(words, folder).requirements == tuple(words)


@pytest.mark.parametrize("name", ["declared", "de clared"])
def test_a_directory_with_a_setup_cfg_alone(name: str, folder: Path) -> None:
    (folder / name).mkdir()
    (folder / name / "setup.cfg").write_text(
        "[metadata]\nname = declared\n\n[options]\npackages =\n", "utf-8"
    )
    hints = []
    for word in (f"{name}/setup.cfg", f"./{name}", name):
        with pytest.raises(InputError) as caught:
            read_requirements(
                HostEnvironment(environ={}, cwd=folder), strings=sort_words([word], folder).requirements
            )
        hints.append(str(caught.value.hint).partition("; for the")[0])
    assert len(set(hints)) == 1
    command, word = QUOTED.findall(hints[0])
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)  # as the user pastes it
    assert (folder / name / "setup.py").read_text("utf-8") == "import setuptools; setuptools.setup()\n"
    words = sort_words(shlex.split(word), folder).requirements
    (root,) = read_requirements(HostEnvironment(environ={}, cwd=folder), strings=words).roots
    assert (root.kind, root.location) == ("directory", str(folder / name))


def test_a_setup_cfg_of_other_tools_is_not_a_project(folder: Path) -> None:
    (folder / "numpy/setup.cfg").write_text("[flake8]\n", "utf-8")
    for word, hint in (
        ("numpy/setup.cfg", None),
        ("numpy", "for the project of this name, write `'numpy>=0'`"),
    ):
        with pytest.raises(InputError) as caught:
            sort_words([word], folder)
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("requirements", "requirements.txt"),
        ("env", "env.yml"),
        ("conda", "conda.yaml"),
        ("pylock", "pylock.toml"),
        ("requirements-dev", "requirements-dev.txt"),
    ],
)
def test_a_file_without_its_suffix(word: str, meant: str, folder: Path) -> None:
    (folder / "requirements-dev.txt").touch()
    with pytest.raises(InputError) as caught:
        sort_words([word], folder)

    assert caught.value.hint == (f"pass `{meant}`; for the project of this name, write `'{word}>=0'`")
    (folder / meant).unlink()
    assert sort_words([word], folder).requirements == (word,)


def test_a_word_that_is_no_regular_file_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match="pipe: not a regular file"):
        sort_words(["pipe"], folder)


@pytest.mark.parametrize(
    ("url", "command"),
    [
        (
            "https://host/a/requirements.txt",
            "curl -fsSL -o requirements-2.txt https://host/a/requirements.txt",
        ),
        ("http://host/my%20env.yml", "curl -fsSL -o 'my env.yml' http://host/my%20env.yml"),
        (
            "https://github.com/o/r/blob/main/dev.txt",
            "curl -fsSL -o dev.txt https://github.com/o/r/raw/main/dev.txt",
        ),
    ],
)
def test_the_url_of_a_file_gets_the_command_that_downloads_it(url: str, command: str, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        sort_words([url], folder)
    assert caught.value.message == f"{url}: a URL, not a file"
    assert caught.value.hint == f"download it first: `{command}`, and pass the file"

    for option in ("files", "constraints", "scripts"):
        with pytest.raises(InputError) as caught:
            read_requirements(HostEnvironment(environ={}, cwd=folder), **{option: [Path(url)]})  # type: ignore[arg-type]
        assert caught.value.message == f"{url}: a URL, not a file"
        assert caught.value.hint == f"download it first: `{command}`, and pass the file"
