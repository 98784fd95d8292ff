"""Scripts with inline metadata (PEP 723) as an input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.hints import QUOTED
from support.wheels import make_wheel

from bundler.errors import InputError
from bundler.problems import ProblemError
from bundler.requirements.files import read_requirements
from bundler.requirements.script import read_script
from bundler.system.environ import HostEnvironment

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

SCRIPT = """\
#!/usr/bin/env python
# /// script
# requires-python = ">=3.7"
# dependencies = [
#   "leaf>=1",
#
#   "other; python_version < '3.8'",  # old
# ]
# [tool.x]
# y = 1
# ///
import leaf
"""


def test_the_block_of_the_specification_is_read() -> None:
    read = read_script(SCRIPT)

    assert read.dependencies == ("leaf>=1", "other; python_version < '3.8'")
    assert read.requires_python == ">=3.7"


@pytest.mark.parametrize(
    ("text", "fact", "line"),
    [
        ("import leaf\n", "missing `# /// script` block", None),
        ("x = 1\n# /// script\n# dependencies = []\n", "malformed `# /// script` block", 2),
        ("x = 1\n#///script\n# dependencies = []\n# ///\n", "malformed `# /// script` block", 2),
        (SCRIPT + SCRIPT, "several `# /// script` blocks", 2),
        ("# /// script\n# dependencies = [\n# 'a'\n# = 1\n# ///\n", "its metadata is not valid TOML", 4),
        ("# /// script\n# dependencies = 'a'\n# ///\n", "its `dependencies` are not a list of strings", 1),
    ],
)
def test_a_wrong_block_is_told_with_its_line(text: str, fact: str, line: int | None) -> None:
    with pytest.raises(ProblemError) as caught:
        read_script(text)

    assert caught.value.fact.startswith(fact)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("import os, flask\nfrom requests.adapters import HTTPAdapter\n", ["flask", "requests"]),
        ("def run():\n    import yaml, cv2\n", ["opencv-python-headless", "PyYAML"]),
        ("import helper, pack\nfrom . import beside\nfrom .numpy import x\nimport numpy\n", ["numpy"]),
        ("import os\n", []),
        ("from google.cloud import storage\nimport no_such_thing_at_all\n", []),
        ("print 'two'\n", ["six"]),
    ],
)
def test_a_missing_block_is_suggested_with_the_imports(text: str, meant: list[str], tmp_path: Path) -> None:
    (tmp_path / "helper.py").touch()
    (tmp_path / "pack").mkdir()
    (tmp_path / "s.py").write_text(text, "utf-8")
    host = HostEnvironment(environ={}, cwd=tmp_path)
    with pytest.raises(InputError, match=r"s\.py: missing") as caught:
        read_requirements(host, scripts=[Path("s.py")])

    block = QUOTED.findall(caught.value.hint or "")
    (tmp_path / "s.py").write_text("\n".join([*block, text]), "utf-8")
    assert [root.text for root in read_requirements(host, scripts=[Path("s.py")]).roots] == meant


def test_a_wrong_requirement_names_the_script(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("# /// script\n# dependencies = ['six=>1']\n# ///\n", "utf-8")
    with pytest.raises(InputError, match=r"s\.py: not a valid requirement") as caught:
        read_requirements(HostEnvironment(environ={}, cwd=tmp_path), scripts=[Path("s.py")])
    assert caught.value.hint == "did you mean `six>=1`?"


def test_a_script_becomes_a_bundle_of_its_name(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    for name in ("leaf", "other"):
        make_wheel(index.folder, name, "1.0")
    (tmp_path / "tool.py").write_text(SCRIPT, "utf-8")
    ended = warm_cli.run("build", "-s", "tool.py", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert Path(ended.stdout.split("\t")[0]).name.startswith("tool-")
    assert "2 of 2 modules import" in ended.stderr


def test_a_script_selects_its_python(
    index: LocalIndex, warm_cli: BundlerCli, pythons: dict[str, Path], tmp_path: Path
) -> None:
    if "3.8" not in pythons:
        pytest.skip("needs a CPython 3.8")
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "other", "1.0")
    (tmp_path / "tool.py").write_text(SCRIPT.replace(">=3.7", ">=3.8"), "utf-8")
    assert "CPython 3.8" in warm_cli.run("lock", "-s", "tool.py", cwd=tmp_path).stderr

    ended = warm_cli.run("lock", "-s", "tool.py", "--python", "3.7", cwd=tmp_path)
    assert ended.returncode == 3
    assert "tool.py requires another Python than the target" in ended.stderr
    assert "hint: pass `--python 3.8`" in ended.stderr
