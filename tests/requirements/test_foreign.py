"""Files that are not requirements files: each is recognized, and its hint works when followed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bundles import make_bundle
from support.hints import QUOTED, quoted_words
from support.wheels import make_sdist, make_wheel

from bundler.errors import InputError
from bundler.requirements.files import read_requirements
from bundler.requirements.requirement_set import RequirementSet
from bundler.system.environ import HostEnvironment


def read(folder: Path, *files: str, strings: tuple[str, ...] = ()) -> RequirementSet:
    host = HostEnvironment(environ={}, cwd=folder)
    return read_requirements(host, files=[Path(name) for name in files], strings=strings)


def refused(folder: Path, name: str) -> InputError:
    with pytest.raises(InputError) as caught:
        read(folder, name)
    return caught.value


CONDA_LIST = """\
# This file may be used to create an environment using:
# $ conda create --name <env> --file <this file>
# platform: linux-64
_libgcc_mutex=0.1=main
six=1.16.0=pyhd3eb1b0_1
"""
PIP_LIST = "Package    Version\n---------- -------\npip        24.0\nsix        1.16.0\n"
PIPFILE = '[[source]]\nurl = "https://index.example/simple"\nname = "index"\n\n[packages]\nsix = "*"\n'


@pytest.mark.parametrize(
    ("name", "text", "fact", "command"),
    [
        ("poetry.lock", "", "a lockfile of Poetry", "poetry export -f requirements.txt -o requirements.txt"),
        ("sub/uv.lock", "version = 1", "a lockfile of uv", "uv export --format pylock.toml -o pylock.toml"),
        ("pdm.lock", "", "a lockfile of PDM", "pdm export -f requirements -o requirements.txt"),
        ("Pipfile.lock", "{}", "a lockfile of Pipenv", "pipenv requirements > requirements.txt"),
        ("p.txt", '{\n    "_meta": {\n        "hash"', "a lockfile of Pipenv", "pipenv requirements > requirements.txt"),
        ("Pipfile", "", "the Pipfile of Pipenv", "pipenv lock && pipenv requirements > requirements.txt"),
        ("p.txt", PIPFILE, "the Pipfile of Pipenv", "pipenv lock && pipenv requirements > requirements.txt"),
        ("pixi.toml", "", "a file of pixi", "pixi workspace export conda-environment env.yml"),
        ("r.txt", "# platform: linux-64\n@EXPLICIT\nhttps://h/x.conda\n", "an explicit list of conda packages",
         "conda env export > env.yml"),
        ("r.txt", CONDA_LIST, "a list of conda packages", "conda env export > env.yml"),
        ("r.txt", PIP_LIST, "the table of `pip list`", "pip list --format=freeze > requirements.txt"),
        ("r.txt", '[{"name": "six", "version": "1"}]', "the output of `pip list --format=json`",
         "pip list --format=freeze > requirements.txt"),
        ("a.ipynb", "{}", "a notebook", None),
        ("Dockerfile", "FROM x", "a Dockerfile", None),
        ("d", "ARG X=1\nFROM python:3.7\nRUN pip install six\n", "a Dockerfile", None),
    ],
)  # fmt: skip
def test_the_file_of_another_tool_gets_the_command_that_converts_it(
    name: str, text: str, fact: str, command: str | None, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text, "utf-8")
    error = refused(tmp_path, name)

    assert error.message.startswith(f"{name}: {fact}")
    assert error.message.endswith(", not a requirements file")
    assert error.evidence == ()
    assert (error.hint or "").startswith(f"`{command}`, then pass `-" if command else "")


@pytest.mark.parametrize("text", ["six\n", "", "# FROM x\nsix\n", "package\nversion\n", "from-x\n"])
def test_a_requirements_file_is_not_foreign(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(text, "utf-8")
    read(tmp_path, "r.txt")


@pytest.mark.parametrize("folder", [".", "wheels", "my wheels"])
def test_an_archive_is_passed_without_the_option(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    wheel = make_wheel(tmp_path / folder, "six", "1.16.0")
    sdist = make_sdist(tmp_path / folder, "foo", "1.0", {"foo.py": ""})
    for path, kind in ((wheel, "a wheel"), (sdist, "an archive")):
        shown = str(path.relative_to(tmp_path))
        error = refused(tmp_path, shown)
        assert error.message == f"{shown}: {kind}, not a requirements file"
        pasted = quoted_words(error.hint)
        (root,) = read(tmp_path, strings=tuple(pasted)).roots
        assert root.location == str(path)


def test_a_bundle_is_inspected(tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    path.rename(tmp_path / "b.tar.gz")
    error = refused(tmp_path, "b.tar.gz")

    assert error.message == "b.tar.gz: a bundle, not an input of one"
    assert error.hint == "bundler inspect b.tar.gz"


@pytest.mark.parametrize("name", ["setup.py", "sub/setup.cfg"])
def test_a_build_script_gets_its_directory(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    for file in ("setup.py", "setup.cfg"):
        (tmp_path / name).with_name(file).touch()
    error = refused(tmp_path, name)

    assert error.message == f"{name}: a file for the build of a project, not a requirements file"
    pasted = QUOTED.findall(error.hint or "")[0]
    (root,) = read(tmp_path, strings=(pasted,)).roots
    assert (root.kind, root.location) == ("directory", str((tmp_path / name).parent))


@pytest.mark.parametrize("typed", [".", "..", "sub", "../my reqs"])
def test_a_directory_gets_its_file_as_it_can_be_pasted(typed: str, tmp_path: Path) -> None:
    cwd = tmp_path / "cwd"
    (cwd / "sub").mkdir(parents=True)
    (tmp_path / "my reqs").mkdir()
    for folder in (cwd, tmp_path, cwd / "sub", tmp_path / "my reqs"):
        (folder / "requirements.txt").write_text("six\n", "utf-8")
    option, path = quoted_words(refused(cwd, typed).hint)

    assert option == "-r"
    assert (cwd / path).resolve() == (cwd / typed / "requirements.txt").resolve()
    assert read(cwd, path).roots


def test_a_bare_name_of_a_wheel_is_its_path(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "six", "1.16.0")
    (tmp_path / "r.txt").write_text(f"{wheel.name}\n", "utf-8")

    roots = (*read(tmp_path, "r.txt").roots, *read(tmp_path, strings=(wheel.name,)).roots)
    assert {(root.text, root.location) for root in roots} == {(f"./{wheel.name}", str(wheel))}


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("./prjo", "did you mean `./proj`?"),
        ("sub/x-1.0.tar.gx", "did you mean `sub/x-1.0.tar.gz`?"),
        ("./reqs", "pass `-r reqs`"),
        ("./nothing", None),
    ],
)
def test_a_path_that_is_not_a_project(typed: str, hint: str | None, tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x-1.0.tar.gz").touch()
    (tmp_path / "reqs").write_text("six\n", "utf-8")
    with pytest.raises(InputError) as caught:
        read(tmp_path, strings=(typed,))
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("line", "hint"), [(".", "remove the line"), ("./sub", "pass `-r sub/requirements.txt`")]
)
def test_a_line_with_a_directory_does_not_lead_back_to_its_file(line: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for folder in (tmp_path, tmp_path / "sub"):
        (folder / "requirements.txt").write_text(f"six\n{line}\n", "utf-8")
    error = refused(tmp_path, "requirements.txt")

    assert error.message == (
        "requirements.txt:2: the directory contains neither `pyproject.toml` nor `setup.py`"
    )
    assert error.hint == hint


@pytest.mark.parametrize("name", ["app.py", "my app.py", "code/score.py"])
def test_a_script_is_passed_with_its_option(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("# /// script\n# dependencies = ['six']\n# ///\nimport six\n", "utf-8")
    error = refused(tmp_path, name)

    assert error.message == f"{name}: a Python script, not a requirements file"
    option, pasted = quoted_words(error.hint)
    assert option == "-s"
    host = HostEnvironment(environ={}, cwd=tmp_path)
    assert [root.text for root in read_requirements(host, scripts=[Path(pasted)]).roots] == ["six"]
