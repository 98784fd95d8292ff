"""The options of every command, before and after it; completion in shells."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import signal
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
    assert groups == {(), ("base",), ("env",), ("store",)}
    for path in groups:
        ended = bundler_cli.run(*path)
        assert (ended.returncode, "Commands:\n" in ended.stdout, ended.stderr) == (2, True, ""), path


@pytest.fixture
def shell_env(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a shell that finds the command."""
    script = tmp_path / "bundler"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -m bundler "$@"\n')
    script.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "xterm"}


def test_completion_in_bash(shell_env: dict[str, str]) -> None:
    # The line of docs/settings.md, and the call of readline with a cursor behind each text.
    code = 'eval "$(_BUNDLER_COMPLETE=bash_source bundler)"\n'
    for words in ("bundler loc", "bundler lock --upgrade-p", "bundler store g"):
        parts = words.split()
        code += f"COMPREPLY=() COMP_WORDS=({words}) COMP_CWORD={len(parts) - 1}\n_bundler_completion bundler {parts[-1]} x\n"
        code += 'echo "${COMPREPLY[@]}"\n'
    ended = subprocess.run(["bash", "-c", code], env=shell_env, capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines() == ["lock", "--upgrade-package", "gc"], ended.stderr


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
def test_completion_in_fish(shell_env: dict[str, str]) -> None:
    code = "_BUNDLER_COMPLETE=fish_source bundler | source\n"
    code += "complete -C 'bundler loc'; complete -C 'bundler lock --upgrade-p'; complete -C 'bundler store g'"
    ended = subprocess.run(["fish", "-c", code], env=shell_env, capture_output=True, text=True, check=True)

    found = [line.partition("\t")[0] for line in ended.stdout.splitlines()]
    assert found == ["lock", "--upgrade-package", "gc"], ended.stderr


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_completion_in_zsh(shell_env: dict[str, str], tmp_path: Path) -> None:
    """With the keys of a user, in a terminal: zsh completes nowhere else."""
    (tmp_path / ".zshrc").write_text(
        "PS1='READY> '; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u\n"
        'eval "$(_BUNDLER_COMPLETE=zsh_source bundler)"\n'
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-i"], shell_env)  # noqa: S606 - the child of a fork
    try:
        read_until(terminal, "READY> ")
        for typed, completed in (("loc", "lock"), ("lock --upgrade-p", "ackage"), ("store g", "gc")):
            os.write(terminal, f"bundler {typed}\t".encode())
            read_until(terminal, completed)
            os.write(terminal, b"\x15")  # Ctrl-U clears the line
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def read_until(terminal: int, text: str) -> None:
    """Read what a program writes to its terminal, up to a text."""
    seen = ""
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"{text!r} is not in {seen!r}"
        seen += os.read(terminal, 4096).decode("utf-8", "replace")
