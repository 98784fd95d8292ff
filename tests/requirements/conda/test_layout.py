"""The layout of an ``env.yml``: a wrong line is named, with the line that was meant."""

from __future__ import annotations

import re

import pytest

from bundler.requirements.conda.envfile import parse_conda_file
from bundler.requirements.conda.translate import conda_requirements

HEAD = "name: x\ndependencies:\n  - python=3.7\n"
WRONG = {
    "pip-without-colon": (HEAD + "  - pip\n    - six\n", {4: "  - pip:"}),
    "pip-without-colon-at-the-margin": ("dependencies:\n- pip\n  - six\n", {2: "- pip:"}),
    "no-space-after-dash": (HEAD + "  -six\n", {4: "  - six"}),
    "no-spaces-at-all": ("dependencies:\n-python=3.7\n-six\n", {2: "- python=3.7", 3: "- six"}),
    "no-space-in-pip": (HEAD + "  - pip:\n    -six\n", {5: "    - six"}),
    "tab": ("dependencies:\n\t- six\n", {2: "  - six"}),
    "tab-after-spaces": (HEAD + "  - pip:\n  \t- six\n", {5: "    - six"}),
    "pip-at-the-margin": (HEAD + "pip:\n  - six\n", {4: "  - pip:", 5: "    - six"}),
    "pip-as-a-key": (HEAD + "  pip:\n    - six\n", {4: "  - pip:"}),
    "pip-without-a-list": (HEAD + "  - pip:\n    six\n", {5: "    - six"}),
    "pip-as-a-mapping": (HEAD + "  - pip:\n      six: 1.16\n", {5: "      - six==1.16"}),
    "dependencies-as-a-mapping": (
        "dependencies:\n  python: 3.7\n  six: 1.16\n",
        {2: "  - python=3.7", 3: "  - six=1.16"},
    ),
    "version-after-a-colon": (HEAD + "  - six: 1.16\n  -idna\n", {4: "  - six=1.16", 5: "  - idna"}),
    "indented-key": ("name: x\n dependencies:\n  - six\n", {2: "dependencies:"}),
    "key-without-colon": ("dependencies\n  - six\n", {1: "dependencies:"}),
    "key-without-space": ("name:x\ndependencies:\n  - six\n", {1: "name: x"}),
    "less-indented": (HEAD + " - six\n", {4: "  - six"}),
    "more-indented": (HEAD + "   - six\n", {4: "  - six"}),
    "open-quote": (HEAD + '  - "six\n', {4: "  - six"}),
    "option-without-dash": (HEAD + "  - pip:\n    --no-index\n    - six\n", {5: "    - --no-index"}),
    "with-a-comment": (HEAD + "  -six # why\n", {4: "  - six"}),
}


@pytest.mark.parametrize(("text", "meant"), WRONG.values(), ids=WRONG.keys())
def test_each_wrong_line_is_named_with_the_line_that_was_meant(text: str, meant: dict[int, str]) -> None:
    problems = parse_conda_file(text)[1]
    assert {item.line: str(item.hint) for item in problems} == {
        line: f"write `{wanted}`" for line, wanted in meant.items()
    }
    lines = text.splitlines()
    assert [item.details for item in problems] == [(f"line    `{lines[line - 1]}`",) for line in meant]

    for line, wanted in meant.items():  # the hints, followed
        lines[line - 1] = wanted
    read = conda_requirements("\n".join(lines))
    assert not read.problems
    assert {item.text.partition("=")[0] for item in read.lines} & {"six", "idna"}


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("dependencies:\n  - [a\n  -six\n", "not valid YAML"),  # no line alone mends it
        ("dependencies: six\n", "`dependencies` is text, not a list"),
        ("six\nflask\n", "not an environment"),
        ("- six\n", "not an environment"),
        (HEAD + '  - "six\n  - "idna\n  - {\n', "not valid YAML"),
    ],
)
def test_a_file_with_another_mistake_has_the_message_of_the_parser(text: str, fact: str) -> None:
    problems = parse_conda_file(text)[1]
    assert problems[0].fact.startswith(fact)


def test_an_empty_pip_section_is_a_warning() -> None:
    file, problems = parse_conda_file("dependencies:\n- pip:\n- six\n")
    assert not problems
    assert re.search("the `pip` section is empty", file.warnings[0])
