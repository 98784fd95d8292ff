"""The reporter of the command line: progress where stderr is not a terminal, details."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.wheels import make_sdist, make_wheel

from bundler.cli.console import ConsoleReporter, print_error
from bundler.errors import InputError

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


def test_progress_is_a_named_line_at_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter(interval=0.05).task("fetch", 4_000_000, in_bytes=True) as task:
        task.name("torch-1.0-py3-none-any.whl")
        task.advance(1_500_000)
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()

    assert len(lines) >= 2
    assert lines[0].startswith("fetch     torch-1.0-py3-none-any.whl, 1.5 MB of 4.0 MB, ")
    time.sleep(0.15)
    assert capsys.readouterr().err == ""


def test_a_short_task_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter(interval=5).task("fetch", 4) as task:
        task.advance()

    assert capsys.readouterr().err == ""


def test_quiet_prints_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter(quiet=True, interval=0.01).task("fetch", 4):
        time.sleep(0.1)

    assert capsys.readouterr().err == ""


def test_details_need_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleReporter().detail("a line of pip")
    assert capsys.readouterr().err == ""
    ConsoleReporter(verbose=True).detail("a line of pip")
    assert capsys.readouterr().err == "detail    a line of pip\n"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("env", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_errors_have_colors_on_a_terminal_that_shows_them(
    env: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    print_error(InputError("it is wrong", hint="bundler --help"))

    assert ("\x1b[" in terminal.getvalue()) == colored
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert plain == "bundler: error: it is wrong\nbundler: hint: bundler --help\n"


def test_a_dumb_terminal_gets_lines_instead_of_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    with ConsoleReporter(interval=0.05).task("wheels", 4_000_000, in_bytes=True) as task:
        task.advance(1_500_000)
        time.sleep(0.2)

    assert "\x1b" not in terminal.getvalue()
    assert re.match(r"wheels {4}1\.5 MB of 4\.0 MB, \d+\.\d MB/s, 0 s\n", terminal.getvalue())


def test_a_build_ends_with_its_time(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    ended = warm_cli.run("lock", "leaf", cwd=tmp_path)

    assert re.fullmatch(r"done      in \d+\.\d s", ended.stderr.splitlines()[-1])


def test_a_slow_build_names_its_distribution(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    setup = "import time\ntime.sleep(21)\nfrom setuptools import setup\nsetup(name='slow', version='1.0')\n"
    make_sdist(index.folder, "slow", "1.0", {}, setup_py=setup)
    ended = warm_cli.run("lock", "slow", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "lock      slow-1.0.tar.gz, 1, " in ended.stderr


def test_the_settings_of_pip_are_shown_with_verbose_or_if_they_change_the_sources(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_sdist(index.folder, "leaf", "1.0", {"leaf.py": ""})
    plain = warm_cli.run("lock", "leaf", "--index-url", index.url, cwd=tmp_path, env={"PIP_INDEX_URL": ""})
    verbose = warm_cli.run("lock", "leaf", "-v", cwd=tmp_path)
    unusual = warm_cli.run("lock", "leaf", cwd=tmp_path, env={"PIP_FIND_LINKS": str(tmp_path)})

    assert "note" not in plain.stderr
    assert f"detail    index: index-url {index.url}" in verbose.stderr
    assert (
        f"from pip's configuration: index-url {index.url}; find-links {tmp_path.as_uri()}" in unusual.stderr
    )
