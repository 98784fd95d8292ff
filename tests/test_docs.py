"""The examples, commands and links of docstrings and pages are correct."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import click
import pytest
from support.pages import PAGES
from support.paths import PACKAGE, ROOT

from bundler.cli.main import cli

MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__main__" and "scripts" not in path.parts
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))

    assert result.failed == 0


# A command in a code block or a code span: its name and, up to the end of a line or span, its arguments.
COMMAND = re.compile(
    r"(?:(?<=`)|^(?: {4})?\$ |^ {4})bundler (?!\w+ v1\\0)([a-z][a-z-]*)((?: \\\n[ >]*|[^`\n#])*)",
    re.MULTILINE,
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


_PROGRAMS = (
    r"(?:\$ .*|(?:bundler|scripts/[a-z]|docker|podman|skopeo|python3?(?:\.\d+)?|pip|az|curl|tar|mkdir|cd) .*)"
)
# A command outside of the blocks of the language `console`: in an indented block, or in another fence.
_ELSEWHERE = re.compile(rf"^ {{4,}}(?:{_PROGRAMS})$|^(?:{_PROGRAMS})$", re.MULTILINE)


def commands_elsewhere(text: str) -> list[str]:
    """Return the commands of a page that no test would run: those outside of the blocks that are run."""
    rest = re.sub(
        r"^```(?:console|dockerfile|python|toml|yaml).*?^```$", "", text, flags=re.MULTILINE | re.DOTALL
    )
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
