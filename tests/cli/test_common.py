"""The options of every command, before and after it; completion in shells."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from support.bundles import make_bundle

from bundler import __version__
from bundler.cli.common import LazyGroup, all_commands
from bundler.cli.main import cli

if TYPE_CHECKING:
    from support.cli import BundlerCli


def commands() -> dict[tuple[str, ...], click.Command]:
    assert isinstance(cli, LazyGroup)
    return dict(all_commands(cli, click.Context(cli)))


@pytest.mark.parametrize(
    "words", [["--version"], ["lock", "--version"], ["store", "--version"], ["store", "gc", "--version"]]
)
def test_the_version_before_and_after_a_command(words: list[str], bundler_cli: BundlerCli) -> None:
    ended = bundler_cli.run(*words)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"bundler, version {__version__}\n", "")


def test_every_command_has_the_common_options() -> None:
    for path, command in commands().items():
        names = [name for param in command.params for name in param.opts]
        assert {"-q", "-v", "--version"} <= set(names), path
        assert len(names) == len(set(names)), path
        # Options with the same parameter would share their values.
        parameters = [param.name for param in command.params]
        assert len(parameters) == len(set(parameters)), path


@pytest.mark.parametrize("words", [["-q", "verify"], ["verify", "-q"], ["-v", "-q", "verify"]])
def test_quiet_before_and_after_a_command(words: list[str], bundler_cli: BundlerCli, tmp_path: Path) -> None:
    bundle = str(make_bundle(tmp_path))
    assert bundler_cli.run("verify", bundle).stderr != ""
    ended = bundler_cli.run(*words, bundle)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_every_group_prints_its_help(bundler_cli: BundlerCli) -> None:
    groups = {path[:-1] for path in commands()}
    assert groups == {(), ("env",), ("store",)}
    for path in groups:
        ended = bundler_cli.run(*path)
        assert (ended.returncode, "Commands:\n" in ended.stdout, ended.stderr) == (2, True, ""), path


def test_completion_in_bash(tmp_path: Path) -> None:
    script = tmp_path / "bundler"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -m bundler "$@"\n')
    script.chmod(0o755)
    # The line of docs/commands.md, and the call of readline with a cursor behind each text.
    code = 'eval "$(_BUNDLER_COMPLETE=bash_source bundler)"\n'
    for words in ("bundler loc", "bundler lock --upgrade-p", "bundler store g"):
        parts = words.split()
        code += f"COMPREPLY=() COMP_WORDS=({words}) COMP_CWORD={len(parts) - 1}\n_bundler_completion bundler {parts[-1]} x\n"
        code += 'echo "${COMPREPLY[@]}"\n'
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    ended = subprocess.run(["bash", "-c", code], env=env, capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines() == ["lock", "--upgrade-package", "gc"], ended.stderr


@pytest.mark.parametrize(
    ("shell", "start"), [("zsh", "#compdef bundler"), ("fish", "function _bundler_completion")]
)
def test_completion_in_other_shells(shell: str, start: str, bundler_cli: BundlerCli) -> None:
    source = bundler_cli.run(env={"_BUNDLER_COMPLETE": f"{shell}_source"})
    assert (source.returncode, source.stdout.startswith(start)) == (0, True)

    words = {"COMP_WORDS": "bundler un", "COMP_CWORD": "1" if shell == "zsh" else "un"}
    ended = bundler_cli.run(env={"_BUNDLER_COMPLETE": f"{shell}_complete", **words})
    assert "unpack" in ended.stdout
    assert "lock" not in ended.stdout
