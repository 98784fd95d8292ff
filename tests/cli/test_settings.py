"""Settings: a flag precedes a variable, a variable the file, the file the default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from support.wheels import make_wheel

import bundler
from bundler.cli.common import LazyGroup, all_commands
from bundler.cli.main import cli
from bundler.cli.settings import Setting, find_setting, option_name, read_settings
from bundler.system.environ import HostEnvironment

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


def settings(cli: BundlerCli, cwd: Path, *args: str, **env: str) -> dict[str, Any]:
    ended = cli.run("config", *args, "--json", cwd=cwd, env=env)
    assert ended.returncode == 0, ended.stderr
    return {row["name"]: (row["value"], row["source"]) for row in ended.json["result"]["settings"]}


def write(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text, "utf-8")


def test_each_source_precedes_the_next(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    write(tmp_path, '[tool.bundler.lock]\noutput = "file.toml"\n')

    def written(*args: str, **env: str) -> set[str]:
        before = {path.name for path in tmp_path.iterdir()}
        ended = warm_cli.run("lock", "leaf", "-q", *args, cwd=tmp_path, env=env)
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
        return {path.name for path in tmp_path.iterdir()} - before

    assert written() == {"file.toml"}
    assert written(BUNDLER_LOCK_OUTPUT="variable.toml") == {"variable.toml"}
    assert written("-o", "flag.toml", BUNDLER_LOCK_OUTPUT="variable.toml") == {"flag.toml"}
    # The output of `build` is a directory: it is not that of `lock`.
    assert written(BUNDLER_OUTPUT="other") == set()


def test_every_option_of_every_command_can_be_set(tmp_path: Path) -> None:
    assert isinstance(cli, LazyGroup)
    known = dict(all_commands(cli, click.Context(cli)))
    build = known[("build",)]
    shared = {name for param in build.params if (name := option_name(param))}
    for path, command in known.items():
        for param in command.params:
            name = option_name(param)
            if name is None:
                assert isinstance(param, click.Argument) or param.opts[-1] in ("--json", "--version"), (
                    param.opts
                )
                continue
            write(tmp_path, f"[tool.bundler.{'.'.join(path)}]\n{name} = 'x'\n")
            variable = "_".join(("BUNDLER", *path, name)).replace("-", "_").upper()
            found = [
                find_setting(path, param, read_settings(HostEnvironment(environ=env, cwd=tmp_path)), build)
                for env in ({variable: "x"}, {})
            ]
            assert [setting.value for setting in found if setting] == ["x", "x"], (path, name)
            assert found[0] is not None
            assert found[0].source == variable
            if path == ("build",) and name in shared:
                plain = Setting(path=(), name=name, value="x", source="y")
                assert find_setting(path, param, [plain], build) is plain


def test_the_store_of_the_variable_is_shown(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    rows = settings(bundler_cli, tmp_path)
    assert rows["python"] == (None, "default")
    assert rows["store"] == (str(bundler_cli.store), "BUNDLER_STORE")


def test_quiet_and_lists_as_settings(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "tree", "1.0")
    (tmp_path / "a.txt").write_text("leaf\n")
    (tmp_path / "b.txt").write_text("tree\n")
    write(tmp_path, '[tool.bundler]\nrequirement = ["a.txt", "b.txt"]\nquiet = true\n')
    ended = warm_cli.run("lock", cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "pylock.toml\t2\n", "")

    again = warm_cli.run("lock", cwd=tmp_path, env={"BUNDLER_REQUIREMENT": "b.txt", "BUNDLER_QUIET": "no"})
    assert "lock      1 distribution" in again.stderr


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("BUNDLER_FORMAT", "zip", "BUNDLER_FORMAT: invalid value for `--format`"),
        ("BUNDLER_ONLY_BINARY", "maybe", "BUNDLER_ONLY_BINARY: the value does not fit `--only-binary`"),
        ("BUNDLER_BASE", "missing.json", "BUNDLER_BASE: missing.json: file or directory not found"),
    ],
)
def test_an_invalid_value_names_its_source(
    variable: str, value: str, text: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run("build", "six", cwd=tmp_path, env={variable: value})

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"bundler: error: {text}")
    assert bundler_cli.run("config", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "[tool.bundler]\nonly-binary = 3\n",
            2,
            "only-binary of [tool.bundler] in pyproject.toml: the value",
        ),
        (
            "[tool.bundler]\nfind-links = [1]\n",
            2,
            "find-links of [tool.bundler] in pyproject.toml: the value",
        ),
        ("[tool.bundler\n", 3, "pyproject.toml:1: not valid TOML"),
        ("[tool]\nbundler = 3\n", 3, "pyproject.toml: `tool.bundler` is not a table"),
    ],
)
def test_a_malformed_table(
    text: str, code: int, message: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    write(tmp_path, text)
    ended = bundler_cli.run("build", "six", cwd=tmp_path)

    assert ended.returncode == code
    assert ended.stderr.startswith(f"bundler: error: {message}")


def test_an_unknown_name_gets_the_near_one(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    write(
        tmp_path, "[tool.bundler]\nonly_binary = false\npyhton = '3.8'\n[tool.bundler.lock]\nupgrde = true\n"
    )
    ended = bundler_cli.run(
        "lock", cwd=tmp_path, env={"BUNDLER_INDEX_ULR": "http://x", "BUNDLER_VERSION": "2.4"}
    )

    assert ended.stderr.splitlines()[:3] == [
        "warning   BUNDLER_INDEX_ULR: unknown setting, ignored; did you mean `BUNDLER_INDEX_URL`?",
        "warning   pyhton of [tool.bundler] in pyproject.toml: unknown setting, ignored; did you mean `python`?",
        "warning   upgrde of [tool.bundler.lock] in pyproject.toml: unknown setting, ignored; did you mean `upgrade`?",
    ]


def test_no_variable_that_the_code_reads_is_unknown(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    sources = Path(bundler.__file__).parent.rglob("*.py")
    names = {name for path in sources for name in re.findall(r"BUNDLER_[A-Z_]+", path.read_text("utf-8"))}
    assert {"BUNDLER_BASES", "BUNDLER_PYTHON", "BUNDLER_STORE", "BUNDLER_WORKSPACE"} <= names
    ended = bundler_cli.run("config", cwd=tmp_path, env=dict.fromkeys(names, "3.7"))

    assert (ended.returncode, ended.stderr) == (0, "")
    misspelt = bundler_cli.run("config", cwd=tmp_path, env={"BUNDLER_BASSE": "x"})
    assert "did you mean `BUNDLER_BASE`?" in misspelt.stderr


def test_the_file_of_another_directory_is_not_read(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, '[tool.bundler]\nindex-url = "http://evil.example"\n')
    (tmp_path / "below").mkdir()

    assert settings(bundler_cli, tmp_path / "below")["index-url"] == (None, "default")


def test_a_password_is_not_shown(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    write(tmp_path, '[tool.bundler]\nextra-index-url = ["https://me:hunter22@a.example/index"]\n')
    for args in ((), ("--json",)):
        ended = bundler_cli.run(
            "config", *args, cwd=tmp_path, env={"BUNDLER_INDEX_URL": "https://me:hunter22@b.example/index"}
        )
        assert ended.returncode == 0
        assert "b.example" in ended.stdout
        assert "hunter22" not in ended.stdout + ended.stderr
