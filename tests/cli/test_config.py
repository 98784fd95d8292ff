"""The commands ``init`` and ``config``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.cli import BundlerCli


@pytest.mark.parametrize("before", [None, "", '[project]\nname = "x"', "[tool.ruff]\nline-length = 99\n"])
def test_init_adds_a_table_that_changes_nothing(
    before: str | None, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    path = tmp_path / "pyproject.toml"
    if before is not None:
        path.write_text(before, "utf-8")
        path.chmod(0o600)
    plain = bundler_cli.run("config", cwd=tmp_path).stdout
    ended = bundler_cli.run("init", cwd=tmp_path)

    assert (ended.returncode, ended.stdout) == (0, "pyproject.toml\n")
    text = path.read_text("utf-8")
    assert text.startswith(before or "[tool.bundler]")
    assert tomllib.loads(text)["tool"]["bundler"] == {}
    assert path.stat().st_mode & 0o777 == (0o644 if before is None else 0o600)
    assert bundler_cli.run("config", cwd=tmp_path).stdout == plain
    assert bundler_cli.run("init", cwd=tmp_path).returncode == 11
    assert path.read_text("utf-8") == text


def test_each_line_of_init_is_a_valid_setting(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    bundler_cli.run("init", cwd=tmp_path)
    path = tmp_path / "pyproject.toml"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(line[2:] if " = " in line and line[2].islower() else line for line in lines))
    ended = bundler_cli.run("config", "--json", cwd=tmp_path)

    assert ended.stderr == ""
    sources = {row["name"]: row["source"] for row in ended.json["result"]["settings"]}
    assert sources.pop("store") == "BUNDLER_STORE"
    assert {source.endswith("[tool.bundler] in pyproject.toml") for source in sources.values()} == {True}


def test_a_command_of_config_that_does_not_exist(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run("config", "lok", cwd=tmp_path)

    assert ended.returncode == 2
    assert "did you mean `bundler config lock`?" in ended.stderr
    assert bundler_cli.run("config", "env", "build", cwd=tmp_path).returncode == 0
