"""The examples, commands and links of docstrings and pages are correct."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from support.pages import Command, PageFile, is_expected, read_page, run_page
from support.paths import PACKAGE, ROOT

from bundler.cli.main import cli

if TYPE_CHECKING:
    from support.docker_engine import Docker

MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__main__" and "scripts" not in path.parts
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))

    assert result.failed == 0


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")])


# A command in a code block or a code span: its name and, up to the end of a line or span, its arguments.
COMMAND = re.compile(
    r"(?:(?<=`)|^(?: {4})?\$ |^ {4})bundler (?!\w+ v1\\0)([a-z][a-z-]*)((?: \\\n[ >]*|[^`\n#])*)", re.MULTILINE
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_pages_exist_with_their_options(page: Path) -> None:
    context = click.Context(cli)
    for name, rest in COMMAND.findall(page.read_text("utf-8")):
        command = cli.get_command(context, name)
        assert command, f"{page.name}: bundler {name}"
        if isinstance(command, click.Group) and (word := re.match(r" ([a-z]+)(?![\w|])", rest)):
            subcommand = command.get_command(context, word[1])
            assert subcommand, f"{page.name}: bundler {name} {word[1]}"
            command = subcommand
        options = {"-h", "--help"}
        for parameter in command.params:
            options.update(parameter.opts, parameter.secondary_opts)
        for option in re.findall(r"(?<=[ \[(])--?[a-z][a-z0-9-]*", rest):
            assert option in options, f"{page.name}: bundler {name} {option}"


def test_commands_on_pages_are_noticed() -> None:
    text = "$ bundler lock -r a.txt  # -x\n`bundler env list` or `bundler verify B`\n$ bundler package B \\\n>   --tag x\n"

    assert COMMAND.findall(text) == [
        ("lock", " -r a.txt  "),
        ("env", " list"),
        ("verify", " B"),
        ("package", " B \\\n>   --tag x"),
    ]


def test_the_readme_names_every_command() -> None:
    names = re.findall(r"`([a-z-]+)`", (ROOT / "README.md").read_text("utf-8").replace("`bundler ", "`"))

    assert set(cli.list_commands(click.Context(cli))) - set(names) == set()


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set()
    for target in re.findall(r"\]\(([^)#:]+)", (ROOT / "README.md").read_text("utf-8")):
        linked.add((ROOT / target).resolve())

    assert {page.resolve() for page in PAGES} - linked == {ROOT / "README.md"}


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in {"commands.md", "findings.md"}],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_prose_is_wrapped_at_100_columns(page: Path) -> None:
    """Tables and code may be longer; commands.md and findings.md are generated."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)

    assert [
        line for line in text.splitlines() if len(line) > 100 and not line.startswith(("|", "    "))
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text("utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_of_this_repository_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for path in re.findall(r"(?:^|[ `(])((?:bundler|docs|scripts|tests)/[\w./-]+\w)", text, re.MULTILINE):
        if not re.fullmatch(r"tests/a/.*|bundler/[ab]/.*", path):  # placeholders
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_architecture_page_names_every_module() -> None:
    """Packages whose modules are alike are named as a whole."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    named: dict[str, set[str]] = {}
    package = ""
    for row in re.findall(r"^\| (.*) \|$", text, re.MULTILINE)[1:]:
        cells = [cell.strip() for cell in row.split("|")]
        package = cells[1].strip("`") or package
        named.setdefault(package, set()).update(re.findall(r"`(\w+)`", cells[2]))
    modules: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if not path.stem.startswith("__"):
            modules.setdefault(path.parent.relative_to(PACKAGE).as_posix(), set()).add(path.stem)
    modules["(top)"] = modules.pop(".")
    modules["azureml"] = modules.pop("azureml") | modules.pop("azureml/core")

    assert set(named) == set(modules)
    for package in set(modules) - {"azureml", "cli", "data"}:
        assert named[package] == modules[package], package


def test_rows_of_the_faults_that_claim_a_test_have_one() -> None:
    """An empty last cell means that a test cites the row."""
    rows = re.findall(
        r"^\| ([A-Z]\d+) \|.*\|(.*)\|$", (ROOT / "docs/faults.md").read_text("utf-8"), re.MULTILINE
    )
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    cited = {row.upper() for row in re.findall(r"(?i)(?<![a-z0-9])([wbrhnpktl]\d+)(?![0-9])", tests)}

    assert len(rows) > 200
    assert {row for row, remark in rows if not remark.strip()} - cited == set()


# --- the commands, run ----------------------------------------------------------

_PROGRAMS = r"(?:\$ .*|(?:bundler|scripts/[a-z]|docker|podman|skopeo|python3?(?:\.\d+)?|pip|az|curl|tar|mkdir|cd) .*)"
# A command outside of the blocks of the language `console`: in an indented block, or in another fence.
_ELSEWHERE = re.compile(rf"^ {{4,}}(?:{_PROGRAMS})$|^(?:{_PROGRAMS})$", re.MULTILINE)


def commands_elsewhere(text: str) -> list[str]:
    """Return the commands of a page that no test would run: those outside of the blocks that are run."""
    rest = re.sub(r"^```(?:console|dockerfile|python|toml|yaml).*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = "\n".join(re.findall(r"^ {4}.*$", rest, re.MULTILINE))
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL))
    return [command.strip() for command in _ELSEWHERE.findall(f"{indented}\n{fenced}")]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "commands.md"],  # whose blocks are usage lines
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_command_of_a_page_is_in_a_block_that_is_run(page: Path) -> None:
    assert commands_elsewhere(page.read_text("utf-8")) == []


def test_commands_in_other_blocks_are_noticed() -> None:
    text = "    bundler build six\n\n```\ndocker load\n$ ls\n```\n\n```console\n$ pwd\n```\n\n    code/score.py  init()\n"

    assert commands_elsewhere(text) == ["bundler build six", "docker load", "$ ls"]


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


STEPS = {page: read_page(page.read_text("utf-8")) for page in PAGES}
TUTORIAL = ROOT / "docs/tutorial.md"
# The tutorial is first: it starts with an empty cache and store, which the other pages then use.
RUN = [TUTORIAL, *(page for page, steps in STEPS.items() if steps and page != TUTORIAL)]


class Machine:
    """A home directory without a cache or a store, and copies of the checkout."""

    def __init__(self, home: Path, base: Path, docker: Docker) -> None:
        self.home = home
        self.base = base
        self.docker = docker
        self.venv: Path | None = None
        (home / "bin").mkdir(parents=True)
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
        (clone / "base.tar").hardlink_to(self.base)
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
        env = {
            name: value for name, value in os.environ.items() if name in passed or name.startswith("PIP_")
        }
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
    return Machine(tmp_path_factory.mktemp("reader") / "home", base_archive, docker)


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

    problems = run_page(STEPS[page], clone, machine.env(*path), tmp_path)

    assert not problems, f"{page.name}:{problems[0].command.line}: {problems[0].command.text}\n{problems[0].text}"
