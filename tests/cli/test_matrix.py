"""The file of ``bundler matrix``: its keys are the options of ``build``, and every mistake has its line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.locks import write_lock
from support.wheels import make_wheel

from bundler.cli.matrix import line_of

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

MISTAKES = '''\
[default]
[bundle.a]
input = ["six"]  # python = 3
pythn = "3.7"
[bundle."b.c"]
inputs = ["six"]
lock = """
entry-scrpt"""
entry-scrpt = "score.py"
python = 3.7
[bundle.d]
inputs = "six"
for = ["mount"]
no-index = "maybe"
store = "x"
[bundle]
e = 3
'''


def test_all_mistakes_of_a_file_are_reported_with_their_lines(
    bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "bundles.toml").write_text(MISTAKES)
    ended = bundler_cli.run("matrix", cwd=tmp_path)

    assert (ended.returncode, ended.stdout) == (3, "")
    lines = ended.stderr.splitlines()
    assert lines[0] == "bundler: error: 10 problems in `bundles.toml`"
    assert [line.strip() for line in lines if line.startswith("  bundles.toml:")] == [
        "bundles.toml:1: unknown table `default`",
        "bundles.toml:3: unknown key `input` of [bundle.a]",
        "bundles.toml:4: unknown key `pythn` of [bundle.a]",
        "bundles.toml:9: unknown key `entry-scrpt` of [bundle.b.c]",
        "bundles.toml:10: the value of `python` is invalid",
        "bundles.toml:12: `inputs` of [bundle.d] is not a list of strings",
        "bundles.toml:13: the value of `for` is invalid",
        "bundles.toml:14: the value of `no-index` is invalid",
        "bundles.toml:15: unknown key `store` of [bundle.d]",
        "bundles.toml:17: `bundle.e` is not a table",
    ]
    for near in ("defaults", "inputs", "python", "entry-script"):
        assert f"    hint    did you mean `{near}`?" in lines


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", 3, "bundles.toml:1: no bundles"),
        ("[[bundle]]\nname = 'a'\n", 3, "bundles.toml:1: `[[bundle]]` is a list"),
        ("bundle = 1\n", 3, "bundles.toml:1: `bundle` is not a table"),
        ("defaults = 1\n[bundle.a]\ninputs = ['six']\n", 3, "bundles.toml:1: `defaults` is not a table"),
        ("\n[bundle.a\n", 3, "bundles.toml:2: not valid TOML: "),
        ("a = [" * 2000, 3, "bundles.toml:1: not valid TOML: "),
        ("[bundle.a]\npython = '3.7'\n", 3, "bundles.toml:1: `a` has no requirements"),
        ("[bundle.a]\ninputs = ['six']\nformat = 'zip'\n", 3, "bundles.toml:3: invalid value for `--format`"),
        ("[bundle.a]\ninputs = ['--python', '3.7']\n", 3, "not a valid requirement"),
        (
            "[bundle.a]\ninputs = ['six']\nbase = 'no.json'\n",
            2,
            "a: base of [bundle.a] in bundles.toml: no.json",
        ),
        ("[bundle.a]\ninputs = ['six']\nname = '../a'\n", 2, "a: `../a` is not a valid name"),
        ("[bundle.'../a']\ninputs = ['six']\n", 2, "../a: `../a` is not a valid name"),
        ("[bundle.a]\nrequirement = ['no.txt']\n", 3, "a: "),
        ("[bundle.a]\nlock = 'no.toml'\n", 3, "a: no.toml: file not found"),
    ],
)
def test_a_mistake_of_the_file_or_of_a_bundle(
    text: str, code: int, message: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "bundles.toml").write_text(text)
    ended = bundler_cli.run("matrix", cwd=tmp_path)

    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bundles.toml"]


def test_a_missing_file_and_an_unknown_bundle(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run("matrix", cwd=tmp_path)
    assert (ended.returncode, "bundles.toml: file not found" in ended.stderr) == (3, True)
    (tmp_path / "bundles.toml").write_bytes(b"\xff\xfe")
    assert "it is not UTF-8 text" in bundler_cli.run("matrix", cwd=tmp_path).stderr
    (tmp_path / "b.toml").write_text("[bundle.score]\ninputs = ['six']\n")
    ended = bundler_cli.run("matrix", "b.toml", "--only", "scores", "--json", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.json["error"]["message"] == "`b.toml` has no bundle `scores`"
    assert ended.json["error"]["hint"] == "did you mean `--only score`?"


def test_a_table_precedes_the_defaults_and_those_the_settings(
    index: LocalIndex, python37: Path, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    folder = tmp_path / "project"
    write_lock(index.folder, ["leaf"], folder / "pylock.toml")
    (folder / "pyproject.toml").write_text("[tool.bundler]\nlock = 'pylock.toml'\noutput = 'settings'\n")
    defaults = "bundle-version = 'defaults'\n"
    (folder / "bundles.toml").write_text(
        f"[defaults]\nfor = 'mount'\n{defaults}[bundle.a]\nbundle-version = 'table'\n[bundle.b]\noutput = 'own'\n"
    )
    env = {"BUNDLER_BUNDLE_VERSION": "variable", "BUNDLER_FORMAT": "tar.zst"}
    ended = warm_cli.run("matrix", "project/bundles.toml", "-q", cwd=tmp_path, env=env)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split("\t")[0] for line in ended.stdout.splitlines()] == [
        "project/settings/a-table-cp37-linux_x86_64.tar.zst",
        "project/own/b-defaults-cp37-linux_x86_64.tar.zst",
    ]


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ('a = """\nb = 1\n"""\nb = 2', ("b",), 4),
        ("[t]\nx = 1\n[u]\nx = 2", ("u", "x"), 4),
        ("t.x = 1\nt.y = 2", ("t", "y"), 2),
        ("t = { x = 1, y = [\n1,\n2] }\nz = 1", ("t", "y"), 1),
        ("# x\n'x' = 1", ("x",), 2),
        ("[a.b]\nc = 1", ("a", "b", "missing"), 1),
        ("", ("x",), 1),
    ],
)
def test_the_line_of_a_key(text: str, path: tuple[str, ...], line: int) -> None:
    assert line_of(text, path) == line
