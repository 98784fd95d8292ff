"""Lines that are not requirements: the one that was meant is suggested, and is a requirement."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bundler.errors import InputError
from bundler.requirements.files import read_requirements
from bundler.system.environ import HostEnvironment


def refused(folder: Path, line: str) -> str:
    (folder / "r.txt").write_text(f"# first\n{line}\n", "utf-8")
    with pytest.raises(InputError) as caught:
        read_requirements(HostEnvironment(environ={}, cwd=folder), files=[Path("r.txt")])
    assert caught.value.message.startswith("r.txt:2: ")
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("six=>2", "six>=2"),
        ("six =< 2", "six<=2"),
        ("six=1.16", "six==1.16"),
        ("six = 1.16.*", "six==1.16.*"),
        ("six 1.16", "six==1.16"),
        ("six v1.16", "six==1.16"),
        ("six~>1.4", "six~=1.4"),
        ("six>=1.0 <2", "six<2,>=1.0"),
        ('"six"', "six"),
        ("'six>=1',", "six>=1"),
        ("six==latest", "six"),
        ("six@latest", "six"),
        ("six@1.16", "six==1.16"),
        ("import six", "six"),
        ("import six as s", "six"),
        ("from six.moves import urllib", "six"),
        ("pip install six", "six"),
        ("$ pip3 install --user six", "six"),
        ("python -m pip install six==1.16", "six==1.16"),
        ("conda install -y six=1.16", "six==1.16"),
        ("uv add six", "six"),
        ("!pip install six", "six"),
    ],
)
def test_the_requirement_that_was_meant_is_suggested(line: str, meant: str, tmp_path: Path) -> None:
    text = refused(tmp_path, line)
    (quoted,) = re.findall(r"(?:did you mean|write) `([^`]+)`", text)
    assert quoted == meant

    (tmp_path / "r.txt").write_text(f"{quoted}\n", "utf-8")
    read = read_requirements(HostEnvironment(environ={}, cwd=tmp_path), files=[Path("r.txt")])
    assert [root.text for root in read.roots] == [meant]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("pkg-resources==0.0.0", "`pkg-resources` is not a distribution"),
        ("pkg_resources==0.0.0", "remove the line"),
        ("- six", "an item of a YAML list"),
        ("certifi @ file:///croot/certifi_16/work/certifi", "`pip list --format=freeze`"),
        ("numpy @ file:///home/conda/feedstock_root/numpy", "the path of `numpy` does not exist here"),
    ],
)
def test_lines_of_other_tools_are_explained(line: str, text: str, tmp_path: Path) -> None:
    assert text in refused(tmp_path, line)


def test_a_directory_cannot_have_a_hash_but_its_wheel_can(tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj/pyproject.toml").write_text("", "utf-8")
    (tmp_path / "r.txt").write_text(f"six==1.16 --hash=sha256:{'0' * 64}\n./proj\n", "utf-8")
    with pytest.raises(InputError, match="a directory or repository cannot have a hash") as caught:
        read_requirements(HostEnvironment(environ={}, cwd=tmp_path), files=[Path("r.txt")])

    assert f"`pip wheel --no-deps {tmp_path}/proj`" in str(caught.value.hint)
