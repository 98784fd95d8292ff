"""What a pyproject.toml asks for, and what is wrong with it; bytes are tested with the requirements."""

from __future__ import annotations

import pytest

from bundler.errors import InputError
from bundler.problems import Problem, ProblemError, closest, input_error
from bundler.requirements.pyproject import read_project

PROJECT = """
[project]
name = "My.Project"
dependencies = ["six>=1", "foo[bar] ; python_version < '4'"]

[project.optional-dependencies]
dev = ["pytest"]
Docs_X = ["sphinx ; python_version < '3.8'", "my_project[dev]"]
all = ["my-project[dev, docs-x] ; sys_platform == 'linux'", "MY.project[all]", "my-project"]

[dependency-groups]
lint = ["ruff"]
Test_It = [{include-group = "lint"}, "hypothesis", "pytest"]
"""


def asked(text: str, *, extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    found = []
    for item in read_project(text, extras=extras, groups=groups):
        assert not isinstance(item, ProblemError), item.fact
        found.append((item[0], str(item[1])))
    return found


def refused(text: str, *, extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> list[ProblemError]:
    return [
        item for item in read_project(text, extras=extras, groups=groups) if isinstance(item, ProblemError)
    ]


BASE = [("", "six>=1"), ("", 'foo[bar]; python_version < "4"')]


def test_dependencies_alone() -> None:
    assert asked(PROJECT) == BASE


def test_extras_and_groups_in_the_order_asked_for() -> None:
    """Names are compared normalised (PEP 685, PEP 735) and shown as they were asked for."""
    assert asked(PROJECT, extras=("docs.x", "DEV"), groups=("test-it", "lint")) == [
        *BASE,
        ("[docs.x]", 'sphinx; python_version < "3.8"'),
        ("[docs.x]", "pytest"),
        ("[DEV]", "pytest"),
        ("[group test-it]", "ruff"),
        ("[group test-it]", "hypothesis"),
        ("[group test-it]", "pytest"),
        ("[group lint]", "ruff"),
    ]


def test_self_reference_hands_its_marker_down() -> None:
    """``name[dev] ; marker`` gives all of ``dev`` the marker; a cycle ends; ``name`` alone adds nothing."""
    linux = 'sys_platform == "linux"'

    assert asked(PROJECT, extras=("all",)) == [
        *BASE,
        ("[all]", f"pytest; {linux}"),
        ("[all]", f'sphinx; python_version < "3.8" and {linux}'),
    ]


def test_groups_need_no_project_table() -> None:
    assert asked("[dependency-groups]\na = ['six']", groups=("a",)) == [("[group a]", "six")]


BAD = {
    "not TOML": ("[project]\nx = 1\nx = 2", "not valid TOML: cannot overwrite a value"),
    "cut off": ("[project]\nx = [\n", "not valid TOML: invalid value"),
    "no project": ("[tool.x]", "missing `[project]` table"),
    "project is no table": ("project = 3", "missing `[project]` table"),
    "dynamic": (
        "[project]\ndynamic = ['version', 'dependencies']",
        "`dependencies` is dynamic: only the build backend can compute it",
    ),
    "no list": (
        "[project]\ndependencies = 'six'",
        "`project.dependencies` is text, not a list of requirements",
    ),
    "no string": ("[project]\ndependencies = [1]", "an item of `project.dependencies` is not text: `1`"),
    "syntax": (
        "[project]\ndependencies = ['foo = 1']",
        "`foo = 1` in `project.dependencies` is not a valid requirement",
    ),
    "extras are no table": (
        "[project]\noptional-dependencies = []",
        "`project.optional-dependencies` is not a table",
    ),
    "extra twice": (
        "[project.optional-dependencies]\na-b = []\nA_b = []",
        "the extra `A_b` is defined twice",
    ),
}


@pytest.mark.attack("input")
@pytest.mark.parametrize(("text", "fact"), BAD.values(), ids=BAD.keys())
def test_bad_project_is_refused(text: str, fact: str) -> None:
    assert [item.fact for item in refused(text)] == [fact]


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("text", "line"), [("[project]\nx = 1\nx = 2", 3), ("\n[project]\nx = [\n", 3), ("x", 1)]
)
def test_broken_toml_has_a_line(text: str, line: int) -> None:
    assert [item.line for item in refused(text)] == [line]


def test_dynamic_extras_are_refused_only_when_asked_for() -> None:
    text = "[project]\ndynamic = ['optional-dependencies']\ndependencies = ['six']"

    assert asked(text) == [("", "six")]
    assert [(item.fact, item.hint) for item in refused(text, extras=("dev",))] == [
        (
            "`optional-dependencies` is dynamic: only the build backend can compute it",
            "pass the project's directory (`.`) to let pip build it",
        )
    ]


@pytest.mark.parametrize(
    ("extras", "groups", "fact", "known", "hint"),
    [
        (("docs",), (), "unknown extra `docs`", "`all`, `dev`, `docs-x`", "did you mean `--extra docs-x`?"),
        (("",), (), "unknown extra ``", "`all`, `dev`, `docs-x`", None),
        ((), ("zzz",), "unknown group `zzz`", "`lint`, `test-it`", None),
        (
            (),
            ("tset-it",),
            "unknown group `tset-it`",
            "`lint`, `test-it`",
            "did you mean `--group test-it`?",
        ),
    ],
)
def test_unknown_name_is_refused_with_the_known_ones(
    extras: tuple[str, ...], groups: tuple[str, ...], fact: str, known: str, hint: str | None
) -> None:
    (item,) = refused(PROJECT, extras=extras, groups=groups)

    assert (item.fact, item.details, item.hint) == (fact, (f"known   {known}",), hint)


def test_unknown_extra_of_itself() -> None:
    text = "[project]\nname='x'\n[project.optional-dependencies]\nall = ['x[gone]']"

    assert [item.fact for item in refused(text, extras=("all",))] == ["unknown extra `gone`"]


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("table", "fact"),
    [
        ("dependency-groups = 1", "`dependency-groups` is not a table"),
        (
            "[dependency-groups]\na = 'six'",
            "`dependency-groups` is malformed: dependency group 'a' contained",
        ),
        ("[dependency-groups]\na = ['x = 1']", "`dependency-groups` is malformed: expected semicolon"),
        (
            "[dependency-groups]\na = [{x = 'y'}]",
            "`dependency-groups` is malformed: invalid dependency group item",
        ),
        (
            "[dependency-groups]\na = [{include-group = 'a'}]",
            "`dependency-groups` is malformed: cyclic dependency group include",
        ),
        (
            "[dependency-groups]\na = [{include-group = 'gone'}]",
            "`dependency-groups` is malformed: dependency group 'gone' not found",
        ),
        (
            "[dependency-groups]\na = []\nA = []",
            "`dependency-groups` is malformed: duplicate dependency group",
        ),
    ],
)
def test_bad_group_is_refused(table: str, fact: str) -> None:
    (item,) = refused(table, groups=("a",))

    assert item.fact.startswith(fact)


def test_no_hint_and_no_line_is_made_up() -> None:
    error = input_error([Problem(where="a.txt", refused=ProblemError("it is bad"))])

    assert isinstance(error, InputError)
    assert (error.message, error.evidence, error.hint) == ("a.txt: it is bad", (), None)


@pytest.mark.attack("input")
def test_text_cannot_disturb_a_terminal() -> None:
    problem = Problem(where="a.txt:1", refused=ProblemError("`x\x1b[2J`", hint="\u202e"), quoted="\x07")
    error = input_error([problem])

    assert (error.message, error.evidence, error.hint) == (
        r"a.txt:1: `x\x1b[2J`",
        (r"line    `\x07`",),
        r"\u202e",
    )


def test_closest() -> None:
    assert closest("--index-ulr", ["--index-url", "--pre"]) == "--index-url"
    assert closest("--xyz", ["--index-url", "--pre"]) is None


POETRY = "[tool.poetry]\nname = 'x'\n[tool.poetry.dependencies]\nsix = '*'\n"
BACKEND = "[build-system]\nrequires = ['poetry-core']\nbuild-backend = 'poetry.core.masonry.api'\n"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"{POETRY}{BACKEND}", "pass the project's directory (`.`) to let pip build it"),
        (POETRY, "`poetry export -f requirements.txt -o requirements.txt`, then pass `-r requirements.txt`"),
        ("[tool.poetry]\n", "write the requirements into a `requirements.txt`, and pass `-r requirements.txt`"),
        ("[tool]\npoetry = 1", "write the requirements into a `requirements.txt`, and pass `-r requirements.txt`"),
        ("tool = 1", "write the requirements into a `requirements.txt`, and pass `-r requirements.txt`"),
    ],
)  # fmt: skip
def test_a_file_without_project_gets_a_hint_that_does_not_lead_back_to_it(text: str, hint: str) -> None:
    assert [item.hint for item in refused(text)] == [hint]
