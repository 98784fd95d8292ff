"""The commands on the pages, run in their order: each has the result that its page shows."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.pages import PAGES, Command, PageFile, is_expected, read_page, run_page
from support.paths import ROOT

if TYPE_CHECKING:
    from support.docker_engine import Docker


def test_a_page_is_read_as_its_reader_types_it() -> None:
    text = (
        "```console\n$ cat a \\\n>   b\nx\n...\n$ az ml x  # not tested: needs Azure\n```\n"
        '```python title="job.py"\nprint(1)\n```\n'
    )

    assert read_page(text) == [
        Command(line=2, text="cat a \\\n  b", output="x\n...\n"),
        Command(line=6, text="az ml x  # not tested: needs Azure"),
        PageFile(line=8, path="job.py", content="print(1)\n"),
    ]
    assert [step.not_tested for step in read_page(text) if isinstance(step, Command)] == ["", "needs Azure"]


@pytest.mark.parametrize(
    ("shown", "output", "expected"),
    [
        ("ok\n", "ok\n", True),
        ("ok\n", "other\n", False),
        ("", "ok\n", False),
        ("ok\n", "", False),
        ("a\n", "a\nb\n", False),
        ("a\n...\n", "a\nb\nc\n", True),
        ("a\n...\nc\n", "a\nb\n", False),
        ("id ... of\n", "id 4 of\n", True),
        ("x.tar\t12345\n", "x.tar\t12346\n", False),
        ("x.tar\t1234567\n", "x.tar\t2345678\n", True),
        ("10 MB\n", "9.5 MB\n", True),
        ("10 MB\n", "10 files\n", False),
        ("sha256:0123456789ab\n", "sha256:fedcba987654\n", True),
        ("lock      3\n", "note      x\nlock      3\ndone      in 4 s\n", True),
        ("lock      3\n", "warning   x\nlock      3\n", False),
        ("lock      3\n", "lock      six, 2 of 3, 10 s\nlock      3\n", True),
        ("lock      3\n", "base      10 s\nlock      3\n", True),
        ("lock      3\n", "lock      3\nlock      in 10 s\n", False),
        ("lock      3\n", "lock      2\n", False),
    ],
)
def test_outputs_are_compared_without_sizes_digests_and_times(
    shown: str, output: str, expected: bool
) -> None:
    assert is_expected(shown, output) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$ true\n$ echo a\na\n", None),
        ("$ false\n$ echo a\na\n", "false"),
        ("$ echo b\na\n", "echo b"),
        ("$ echo 'bundler: error: x'; false\nbundler: error: x\n", None),
        ("$ echo 'bundler: error: x'\nbundler: error: x\n", "echo 'bundler: error: x'"),
        ("$ cd /; x=1\n$ echo $PWD $x\n/ 1\n", None),
        ("$ (sleep 0.5; echo ready; sleep 60) &\nready\n$ kill %1\n", None),
        ("$ echo other &\nready\n", "echo other &"),
        ("$ exit 0\n$ echo a\na\n", "exit 0"),
        ("$ false  # not tested: needs Azure\n$ false  # needs Azure\n", "false  # needs Azure"),
        ("$ if\n", "if"),
    ],
)
def test_a_command_with_another_result_is_noticed(text: str, expected: str | None, tmp_path: Path) -> None:
    problems = run_page(read_page(f"```console\n{text}```\n"), tmp_path, os.environ, tmp_path)

    assert [problem.command.text for problem in problems] == ([expected] if expected else [])


PORT = "5077"
"""The port of `bundler serve` on the pages. The tests use a free one."""


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


TUTORIAL = ROOT / "docs/tutorial.md"
# The tutorial is first: it starts with an empty cache and store, which the other pages then use.
RUN = [TUTORIAL, *(page for page in PAGES if page != TUTORIAL and read_page(page.read_text("utf-8")))]


class Machine:
    """A home directory without a cache or a store, and copies of the checkout."""

    def __init__(self, home: Path, base: Path, docker: Docker, python37: Path) -> None:
        self.home = home
        self.base = base
        self.docker = docker
        self.venv: Path | None = None
        (home / "bin").mkdir(parents=True)
        (home / "bin/python3.7").symlink_to(python37)
        (home / "bin/docker").symlink_to("/usr/bin/docker")  # the client beside the daemon, before any other

    def clone(self) -> Path:
        """Return a copy of the files that git tracks, with the stand-in image that is built already.

        The scripts of all copies share one virtual environment, which those of the first one create.
        """
        argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        clone = self.home.parent / f"clone-{len(list(self.home.parent.iterdir()))}"
        for name in filter(None, listed.split("\0")):
            target = clone / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        shutil.copy(self.base, clone / "base.tar")
        if self.venv:
            (clone / ".venv").symlink_to(self.venv)
        else:
            self.venv = clone / ".venv"
        return clone

    def install(self, clone: Path) -> None:
        """Install bundler into the virtual environment of the scripts, unless a page has done so."""
        if not (clone / ".venv/bin/bundler").exists():
            command = ". scripts/venv.sh; make_venv .venv && install_into .venv -e ."
            subprocess.run(["bash", "-c", command], cwd=clone, env=self.env(), check=True, timeout=300)

    def env(self, *path: Path) -> Mapping[str, str]:
        """Return the environment of a reader: the index that pip is configured for, and Docker."""
        passed = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy")
        env = {name: value for name, value in os.environ.items() if name in passed or name.startswith("PIP_")}
        programs = [*map(str, path), str(self.home / "bin"), os.environ["PATH"]]
        return {
            **env,
            "HOME": str(self.home),
            "PATH": os.pathsep.join(programs),
            "DOCKER_HOST": f"unix://{self.docker.socket}",
        }


@pytest.fixture(scope="module")
def machine(
    docker: Docker, base_archive: Path, python37: Path, tmp_path_factory: pytest.TempPathFactory
) -> Machine:
    return Machine(tmp_path_factory.mktemp("reader") / "home", base_archive, docker, python37)


@pytest.mark.slow
@pytest.mark.online
@pytest.mark.xdist_group("docker")
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_in_their_order(page: Path, machine: Machine, tmp_path: Path) -> None:
    """They print the output of the page, in one shell that starts in a clean copy of the checkout."""
    clone = machine.clone()
    path = []
    if page != TUTORIAL:  # whose first commands install bundler, if it is not run alone
        path.append(clone / ".venv/bin")
        machine.install(clone)
    steps = read_page(page.read_text("utf-8").replace(PORT, free_port()))

    problems = run_page(steps, clone, machine.env(*path), tmp_path)

    assert not problems, (
        f"{page.name}:{problems[0].command.line}: {problems[0].command.text}\n{problems[0].text}"
    )
