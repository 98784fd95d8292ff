"""A pyproject.toml that cannot be parsed: the line is named, with the line that was meant."""

from __future__ import annotations

import re
import tomllib

import pytest

from bundler.requirements.pyproject import read_project
from bundler.requirements.toml import toml_problem

HEAD = "[project]\nname = 'x'\n"


@pytest.mark.parametrize(
    ("text", "line", "meant"),
    [
        (HEAD + "dependencies = [six]\n", 3, 'dependencies = ["six"]'),
        (HEAD + "dependencies = [six, idna>=3]\n", 3, 'dependencies = ["six", "idna>=3"]'),
        (HEAD + "dependencies = [\n  six,\n]\n", 4, '"six",'),
        (HEAD + 'dependencies = ["six" "idna"]\n', 3, 'dependencies = ["six", "idna"]'),
        (HEAD + "dependencies = [\u201csix\u201d]\n", 3, 'dependencies = ["six"]'),
        (HEAD + 'dependencies: ["six"]\n', 3, 'dependencies = ["six"]'),
        ("[project]\nname = x\ndependencies = ['six']\n", 2, 'name = "x"'),
        (HEAD + "dependencies = ['six']\n[tool.bundler]\npython = ^3.8\n", 5, 'python = "^3.8"'),
    ],
)
def test_the_line_that_was_meant_is_suggested_and_parses(text: str, line: int, meant: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    problem = toml_problem(text, caught.value)
    assert (problem.line, problem.hint) == (line, f"write `{meant}`")
    lines = text.splitlines()
    lines[line - 1] = meant
    assert tomllib.loads("\n".join(lines))["project"]["dependencies"][0] == "six"


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        (
            "[tool.bundler]\npython = '3.7'\n[a]\n[tool.bundler]\nname = 'x'\n",
            4,
            "`[tool.bundler]` is in line 1 already: move its keys there, and remove this line",
        ),
        ("a = 1\nb = 2\na = 3\n", 3, "`a` is in line 1 already: remove one of the two"),
    ],
)
def test_a_table_or_a_key_that_is_repeated(text: str, line: int, hint: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    problem = toml_problem(text, caught.value)
    assert (problem.line, problem.hint) == (line, hint)


@pytest.mark.parametrize("text", ["[project\n", "\x00", "= 1\n", "[project]\ndependencies = [\n"])
def test_another_mistake_has_the_words_of_the_parser(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    problem = toml_problem(text, caught.value)
    assert problem.fact.startswith("not valid TOML: ")
    assert problem.line


@pytest.mark.parametrize(
    ("text", "fact", "hint"),
    [
        (
            HEAD
            + "[project.dependencies]\npython = '^3.7'\nsix = '*'\nidna = '^3.1'\ny = {version = '>=1'}\n",
            "`project.dependencies` is a table, not a list",
            'write `dependencies = ["six", "idna<4,>=3.1", "y>=1"]` below `[project]`',
        ),
        (
            HEAD + "dependencies = 'six, idna>=3,<4'\n",
            "`project.dependencies` is text, not a list",
            'write `dependencies = ["six", "idna<4,>=3"]` below `[project]`',
        ),
        (HEAD + "dependencies = ['six 1.16']\n", "`six 1.16` in", "did you mean `six==1.16`?"),
        (HEAD + "dependencies = [{name = 'six', version = '1.16'}]\n", "an item of", 'write `"six==1.16"`'),
        (HEAD + "dependancies = ['six']\n", "unknown `dependancies`", "did you mean `dependencies`?"),
        (
            "[projects]\nname = 'x'\n",
            "missing `[project]` table",
            "write `[project]` instead of `[projects]`",
        ),
        ("dependencies = ['six']\n", "missing `[project]` table", "write `[project]` above `dependencies`"),
    ],
)
def test_requirements_in_another_form_are_refused_with_theirs(text: str, fact: str, hint: str) -> None:
    (problem,) = read_project(text)
    assert str(problem).startswith(fact)
    assert getattr(problem, "hint", None) == hint
    if listed := re.search(r"dependencies = \[[^]]*\]", hint):
        assert all(not isinstance(item, Exception) for item in read_project(f"{HEAD}{listed[0]}\n"))
