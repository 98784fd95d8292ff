"""Directories of projects: extras, groups and the versions of Python, without a build."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hints import quoted_words

from bundler.errors import InputError, UsageError
from bundler.requirements.files import read_requirements
from bundler.requirements.requirement_set import RequirementSet
from bundler.system.environ import HostEnvironment

PROJECT = """\
[project]
name = "proj"
requires-python = ">=3.9"
dependencies = ["six"]
[project.optional-dependencies]
dev = ["idna"]
[dependency-groups]
test = ["iniconfig"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my proj").mkdir()
    for path in (tmp_path, tmp_path / "my proj"):
        (path / "pyproject.toml").write_text(PROJECT, "utf-8")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/setup.py").touch()
    (tmp_path / "old/setup.cfg").write_text("[options]\npython_requires = >=3.8, <4\n", "utf-8")
    return tmp_path


def read(folder: Path, *strings: str, **more: object) -> RequirementSet:
    host = HostEnvironment(environ={}, cwd=folder)
    return read_requirements(host, strings=strings, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("strings", "lines"),
    [
        ([".", "six"], [".[dev]", "six"]),
        (["./my proj"], ["./my proj[dev]"]),
        (["./old"], ["./old[dev]"]),
    ],
)
def test_an_extra_is_that_of_the_directory(strings: list[str], lines: list[str], folder: Path) -> None:
    assert list(read(folder, *strings, extras=["dev"]).requirement_lines) == lines
    assert list(read(folder, *strings).requirement_lines) == strings
    (root, *_) = read(folder, ".", extras=["dev", "x"]).roots
    assert (root.kind, root.text, root.location) == ("directory", ".[dev,x]", str(folder))


@pytest.mark.parametrize(
    ("strings", "extras", "groups"),
    [
        (["."], [], ["test"]),
        (["./my proj"], ["dev"], ["test"]),
        ([], ["dev"], []),
        (["six"], [], ["test"]),
    ],
)
def test_what_pip_cannot_select_is_read_from_the_file(
    strings: list[str], extras: list[str], groups: list[str], folder: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        read(folder, *strings, extras=extras, groups=groups)

    words = quoted_words(caught.value.hint)
    assert words[0] == "-r"
    assert [word for word in words if word.startswith("--")] == [
        *(f"--extra={name}" for name in extras),
        *(f"--group={name}" for name in groups),
    ]
    found = read(folder, files=[Path(words[1])], extras=extras, groups=groups)
    names = {root.text for root in found.roots}
    assert names == {"six", *(["idna"] if extras else []), *(["iniconfig"] if groups else [])}


@pytest.mark.parametrize(
    ("text", "meant"),
    [("requests", "requests[socks]"), ("requests>=2", "requests[socks]>=2"), ("a[b]", "a[b,socks]")],
)
def test_an_extra_of_a_requirement_is_written_into_it(text: str, meant: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text, extras=["socks"])

    (pasted,) = quoted_words(caught.value.hint)
    assert pasted == meant
    assert [root.text for root in read(tmp_path, pasted).roots] == [meant]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".", [("pyproject.toml", ">=3.9")]),
        ("./my proj", [("my proj/pyproject.toml", ">=3.9")]),
        ("./old", [("old/setup.cfg", "<4,>=3.8")]),
        ("./old[x]", [("old/setup.cfg", "<4,>=3.8")]),
        ('. ; python_version < "3.8"', []),
        ("six", []),
    ],
)
def test_the_python_of_a_directory_is_read_without_a_build(
    text: str, expected: list[tuple[str, str]], folder: Path
) -> None:
    assert [(name, str(wanted)) for name, wanted in read(folder, text).requires_python] == expected
    (folder / "r.txt").write_text(f"{text}\n", "utf-8")
    found = read(folder, files=[Path("r.txt")]).requires_python
    assert [(name, str(wanted)) for name, wanted in found] == expected
    constrained = read(folder, "six", constraints=[Path("r.txt")]) if text == "six" else read(folder, "six")
    assert constrained.requires_python == ()


@pytest.mark.parametrize("content", ["[options", "[options]\npython_requires", "[metadata]\nname = x\n", ""])
def test_a_setup_cfg_without_it(content: str, folder: Path) -> None:
    (folder / "old/setup.cfg").write_text(content, "utf-8")
    assert read(folder, "./old").requires_python == ()


def test_an_invalid_specifier_is_refused(folder: Path) -> None:
    (folder / "old/setup.cfg").write_text("[options]\npython_requires = 3.x\n", "utf-8")
    with pytest.raises(InputError, match=r"old/setup.cfg: `requires-python` is not a valid specifier: `3.x`"):
        read(folder, "./old")
