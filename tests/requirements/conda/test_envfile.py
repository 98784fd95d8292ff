"""The text of an env.yml; rows L01 and L02 of the corpus."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.problems import ProblemError
from bundler.redaction import redact
from bundler.requirements.conda.envfile import CondaFile, EnvFileLine, load_yaml, parse_conda_file

# What the documents have, and what people add to it.
FULL = """\
# Conda environment specification.
name: project_environment
channels:
- conda-forge   # first
- https://me:tk-secret-h@conda.example/t/tk-secret-i/main
prefix: /opt/envs/x
dependencies:
  # The python interpreter version.
- python=3.7

- numpy=1.21=py37_0  # [linux]
- conda.example/t/tk-secret-j/main::scipy
- pip
- pip:
  - azureml-defaults
  - --extra-index-url https://me:tk-secret-k@index.example/simple
  - "foo ; python_version < '3.8'"
- pandas
variables:
  OMP_NUM_THREADS: 1
  RELEASE: 2020-01-01
  RATIO: 1.10
  DEBUG: yes
  ON: True
  TEXT: "a b"
"""


def problems(text: str) -> list[tuple[int | None, str, str | None]]:
    return [(item.line, item.fact, item.hint) for item in parse_conda_file(text)[1]]


def packages(text: str) -> list[str]:
    file, wrong = parse_conda_file(text)
    assert not wrong
    return [item.text for item in file.packages]


def test_everything_has_its_line() -> None:
    file, wrong = parse_conda_file(FULL)

    assert wrong == ()
    assert file.name == "project_environment"
    assert file.channels == ("conda-forge", "https://conda.example/main")
    assert file.packages == (
        EnvFileLine(text="python=3.7", line=9),
        EnvFileLine(text="numpy=1.21=py37_0", line=11),
        EnvFileLine(text="conda.example/t/tk-secret-j/main::scipy", line=12),
        EnvFileLine(text="pip", line=13),
        EnvFileLine(text="pandas", line=18),
    )
    assert file.pip == (
        EnvFileLine(text="azureml-defaults", line=15),
        EnvFileLine(text="--extra-index-url https://me:tk-secret-k@index.example/simple", line=16),
        EnvFileLine(text="foo ; python_version < '3.8'", line=17),
    )
    assert file.warnings == ("`prefix` is ignored: a bundle has no fixed directory",)


def test_variables_keep_their_spelling_and_stay_out_of_a_traceback() -> None:
    file, _ = parse_conda_file(FULL)

    assert dict(file.variables) == {
        "OMP_NUM_THREADS": "1",
        "RELEASE": "2020-01-01",
        "RATIO": "1.10",
        "DEBUG": "yes",
        "ON": "True",
        "TEXT": "a b",
    }
    assert "2020-01-01" not in repr(file)


def test_credentials_are_registered() -> None:
    """L02: in channels, before a package and in the pip section alike; also where the file is not YAML."""
    parse_conda_file(FULL)
    parse_conda_file("\t- https://conda.example/t/tk-secret-l/main")
    parse_conda_file('dependencies: ["https://conda.example/\\x74/tk-secret-m/main::x"]')

    for letter in "hijklm":
        assert f"tk-secret-{letter}" not in redact(f"tk-secret-{letter}")


def test_the_tree_keeps_comments_and_lines() -> None:
    tree = load_yaml(FULL)

    assert tree.lc.key("dependencies")[0] == 6
    assert tree["channels"].ca.items[0][0].value.startswith("# first")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("dependencies: [a, b=1]", ["a", "b=1"], id="L02-flow"),
        pytest.param("dependencies:\r\n- a\r\n- b", ["a", "b"], id="L02-crlf"),
        pytest.param("--- # x\ndependencies: [a]\n...\n", ["a"], id="L01-one-document"),
        pytest.param("dependencies: [&x a, *x]", ["a", "a"], id="L01-alias"),
        pytest.param("dependencies: [\"a\", 'b']", ["a", "b"], id="L02-quotes"),
        pytest.param("dependencies:\n- a\n  >=1\n", ["a >=1"], id="L02-folded"),
        pytest.param("dependencies:\n- |\n  a\n", ["a"], id="L02-block"),
    ],
)
def test_spellings(text: str, found: list[str]) -> None:
    assert packages(text) == found


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("", ("it is empty",)),
        ("# nothing\n", ("it is empty",)),
        ("name: x", ("it lists no `dependencies`",)),
        ("dependencies:", ("it lists no `dependencies`",)),
        ("dependencies: []", ("it lists no `dependencies`",)),
    ],
)
def test_nothing_to_do_is_no_error(text: str, warnings: tuple[str, ...]) -> None:
    file, wrong = parse_conda_file(text)

    assert (wrong, file.warnings, file.packages) == ((), warnings, ())


def test_empty_sections_are_none() -> None:
    file, wrong = parse_conda_file("name:\nchannels:\nvariables:\ndependencies:\n- a\n- pip:\n")

    assert wrong == ()
    assert (file.name, file.channels, file.variables, file.pip) == (None, (), {}, ())


PYTHON = "tag:yaml.org,2002:python/object/apply:os.system"
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ndependencies: *c"
UNSAFE = {
    "L01-tabs": ("dependencies:\n\t- a", 2, "indented with a tab"),
    "L01-tab-after-dash": ("a:\n  - b\n\t- c", 3, "invalid indentation by a tab"),
    "L01-duplicate": ("name: a\nchannels: []\nname: b", 3, "`name` occurs twice in one mapping"),
    "L01-duplicate-inside": (
        "dependencies:\n- pip: [a]\n  pip: [b]",
        3,
        "`pip` occurs twice in one mapping",
    ),
    "L01-bomb": (BOMB, 2, "an alias inside of an anchored collection is unsupported"),
    "L01-recursive": ("a: &a\n- *a", 2, "an alias inside of an anchored collection is unsupported"),
    "L01-aliases": (
        "a: &a [x]\ndependencies:\n" + "- *a\n" * 65,
        67,
        "it has more than 64 aliases",
    ),
    "L01-anchor-twice": ("a: &a x\nb: &a y", 2, "the anchor `a` is defined twice"),
    "L01-alias-of-nothing": ("a: *b", 1, "not valid YAML: found undefined alias 'b'"),
    "L01-merge": (
        "a: &a {name: x}\n<<: *a",
        2,
        "unsupported merge key `<<`",
    ),
    "L01-python-object": (
        "name: x\na: !!python/object/apply:os.system ['id']",
        2,
        f"unsupported tag `{PYTHON}`: only text, lists and mappings are allowed",
    ),
    "L01-own-tag": ("a: !x 1", 1, "unsupported tag `!x`: only text, lists and mappings are allowed"),
    "L01-core-tag": (
        "a: !!int 1",
        1,
        "unsupported tag `tag:yaml.org,2002:int`: only text, lists and mappings are allowed",
    ),
    "L01-set": (
        "a: !!set {x}",
        1,
        "unsupported tag `tag:yaml.org,2002:set`: only text, lists and mappings are allowed",
    ),
    "L01-documents": (
        "name: a\n---\nname: b",
        2,
        "a second document begins: a file must contain one environment",
    ),
    "L01-directive": ("%YAML 1.1\n---\na: yes", 2, "unsupported `%` directive"),
    "L01-tag-directive": ("%TAG ! tag:x,2000:\n---\na: 1", 2, "unsupported `%` directive"),
    "L01-deep": ("a: " + "[" * 40, 1, "nested more than 32 levels deep"),
    "L01-deep-block": ("- " * 5000, 1, "nested more than 32 levels deep"),
    "L01-many": ("- a\n" * 20_000, 19_998, "it has more than 20000 entries"),
    "L01-long": ("name: x\na: " + "b" * 4001, 2, "an entry is longer than 4000 characters"),
    "L01-large": ("#" * ((1 << 20) + 1), None, "it is larger than 1 MiB"),
    "L01-large-bytes": ("#" + "é" * (1 << 19), None, "it is larger than 1 MiB"),
    "L01-50-mb": ("- a\n" * 12_500_000, None, "it is larger than 1 MiB"),
    "L01-nul": ("name: x\n# \0", 2, "invalid or invisible character U+0000"),
    "L01-escape": ("name: \x1b[2J", 1, "invalid or invisible character U+001B"),
    "L01-unseen-line": (
        "dependencies:\n- a # b\u2028- c",
        2,
        "invalid or invisible character U+2028",
    ),
    "L01-next-line": ("a: 1\x85", 1, "invalid or invisible character U+0085"),
    "L01-surrogate": ("a: \ud800", 1, "invalid or invisible character U+D800"),
    "L01-not-yaml": (
        "a: [1",
        1,
        "not valid YAML: expected ',' or ']', but got '<stream end>'",
    ),
    "L01-colon": ("a: b: c", 1, "not valid YAML: mapping values are not allowed here"),
    "L01-mapping-as-key": (
        "? - a:\n: b",
        None,
        "invalid value: unhashable type: 'CommentedMap'",
    ),
    "L01-parser-gives-up": (
        "*!<x>\n\n> #- &b{\\ud800pip:true",
        None,
        "invalid value: the parser gave up",
    ),
    "L01-date": ("a: 2001-99-99", None, "invalid value: month must be in 1..12"),
}


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("text", "line", "fact"), [pytest.param(*row, id=name) for name, row in UNSAFE.items()]
)
def test_unsafe_yaml_is_the_one_problem(text: str, line: int | None, fact: str) -> None:
    file, wrong = parse_conda_file(text)

    assert [(item.line, item.fact) for item in wrong] == [(line, fact)]
    assert file == CondaFile()
    with pytest.raises(ProblemError):
        load_yaml(text)


@pytest.mark.attack("input")
def test_as_many_aliases_as_allowed() -> None:
    assert len(packages("dependencies:\n- &a x\n" + "- *a\n" * 64)) == 65


QUOTE = "put the whole entry in quotes"
NO_MAPPING = "not an environment: expected a mapping with `dependencies`"
SECOND = "move its requirements into the first one"
WRONG = {
    "L01-no-mapping": (
        "- a",
        [(1, NO_MAPPING, "write `dependencies:` above the list")],
    ),
    "L01-text": ("numpy", [(1, NO_MAPPING, "save it as `requirements.txt`, and pass `-r requirements.txt`")]),
    "L01-unknown-key": (
        "bogus: 1\ndependencies: [a]",
        [(1, "unknown `bogus` key in environment specification", None)],
    ),
    "L01-misspelt-key": (
        "dependencis: [a]",
        [(1, "unknown `dependencis` key in environment specification", "did you mean `dependencies`?")],
    ),
    "L01-number-as-key": ("1: x", [(1, "unknown `1` key in environment specification", None)]),
    "L01-list-as-key": ("? [a]\n: x", [(1, "unknown `('a',)` key in environment specification", None)]),
    "L02-pip-outside": (
        "dependencies: [a]\npip:\n- b",
        [
            (
                2,
                "unknown `pip` key in environment specification",
                "move it into the list: `dependencies: [pip, {pip: [...]}]`",
            )
        ],
    ),
    "L02-name-number": ("name: 1.10", [(1, "`name` is a number, not text", 'name: "1.10"')]),
    "L02-name-list": ("name: [a]", [(1, "`name` is a list, not text", None)]),
    "L02-channels-text": (
        "channels: conda-forge",
        [(1, "`channels` is text, not a list", "channels: [conda-forge]")],
    ),
    "L02-channels-mapping": ("channels:\n  a: b", [(2, "`channels` is a mapping, not a list", None)]),
    "L02-channel-number": ("channels:\n- 1", [(2, "a channel is a number, not text", None)]),
    "L02-channel-address": (
        "channels:\n- 'https://[x'",
        [(2, "the URL of a channel is malformed", None)],
    ),
    "L02-dependencies-text": (
        "dependencies: numpy",
        [(1, "`dependencies` is text, not a list", "dependencies: [numpy]")],
    ),
    "L02-dependencies-mapping": (
        "dependencies:\n  numpy: 1.2",
        [(2, "an item of a list without its `-`", "write `  - numpy=1.2`")],
    ),
    "L02-number": ("dependencies:\n- a\n- 3.7", [(3, "a dependency is a number, not text", None)]),
    "L02-empty": ("dependencies:\n- a\n-\n", [(3, "a dependency is empty, not text", None)]),
    "L02-empty-text": ("dependencies:\n- a\n- ' '\n", [(3, "a dependency is empty", None)]),
    "L02-truth": ("dependencies: [true]", [(1, "a dependency is `true` or `false`, not text", None)]),
    "L02-date": ("dependencies: [2020-01-01]", [(1, "a dependency is a date, not text", None)]),
    "L02-list": ("dependencies:\n- [a, b]", [(2, "a dependency is a list, not text", None)]),
    "L02-lines": (
        "dependencies:\n- |\n  a\n  b\n",
        [(2, "a dependency spans several lines", "write one entry for each")],
    ),
    "L02-version-as-mapping": (
        "dependencies:\n- a\n- numpy: 1.10\n",
        [
            (3, "a version is written with `=`", "write `- numpy=1.10`"),
        ],
    ),
    "L02-other-section": (
        "dependencies:\n- npm: [a]\n",
        [(2, "unknown `npm` section: only `pip` is supported", None)],
    ),
    "L02-pip-text": ("dependencies:\n- pip: numpy", [(2, "`pip` is text, not a list", "pip: [numpy]")]),
    "L02-pip-nested": (
        "dependencies:\n- pip:\n  - a\n  - [b]\n  - - c",
        [
            (4, "a requirement of the `pip` section is a list, not text", None),
            (5, "a requirement of the `pip` section is a list, not text", None),
        ],
    ),
    "L02-pip-mapping": (
        "dependencies:\n- pip:\n  - a: b",
        [(3, "a requirement of the `pip` section is a mapping, not text", QUOTE)],
    ),
    "L02-pip-twice": (
        "dependencies:\n- pip: [a]\n- pip: [b]",
        [(3, "a second `pip` section: conda would use the last one only", SECOND)],
    ),
    "L02-pip-empty-and-again": (
        "dependencies:\n- pip:\n- pip: [b]",
        [(3, "a second `pip` section: conda would use the last one only", SECOND)],
    ),
    "L02-pip-lines": (
        'dependencies:\n- pip: ["a\\n--index-url x"]',
        [(2, "a requirement of the `pip` section spans several lines", "write one entry for each")],
    ),
    "L02-variables-list": ("variables:\n- a", [(2, "`variables` is a list, not a mapping", None)]),
    "L02-variable-list": ("variables:\n  A: [b]", [(2, "the variable `A` is a list, not text", None)]),
    "L02-variable-empty": ("variables:\n  A:", [(2, "the variable `A` is empty, not text", None)]),
    "L02-variable-name": ("variables:\n  A=B: x", [(2, "`A=B` is not the name of a variable", None)]),
    "L02-variable-number": ("variables:\n  1: x", [(2, "`1` is not the name of a variable", None)]),
}


@pytest.mark.attack("input")
@pytest.mark.parametrize(("text", "found"), [pytest.param(*row, id=name) for name, row in WRONG.items()])
def test_wrong_entries_are_told_with_their_line(
    text: str, found: list[tuple[int | None, str, str | None]]
) -> None:
    assert problems(text) == found


def test_all_problems_are_told_at_once_in_their_order() -> None:
    text = "variables: 1\nname: 2\ndependencies:\n- 3\n- pip: 4\nbogus: 5\nchannels: 6\n"

    assert [line for line, _, _ in problems(text)] == [1, 2, 4, 5, 6, 7]


def test_a_long_value_is_not_quoted_whole() -> None:
    ((_, fact, _),) = problems(f"{'k' * 3000}: 1")

    assert len(fact) < 200


PIECES = st.sampled_from(
    [
        *"-:?[]{}&*!|>'\"%@#, \n\t~=a1",
        *(
            "\n- ",
            "\n  ",
            "pip:",
            "dependencies:",
            "name: ",
            "channels: ",
            "variables: ",
            "&a ",
            "*a",
            "<<: ",
        ),
        *("!!str ", "---\n", "...\n", "2001-01-01", "1e9", "0x", "\\ud800", "\u2028", "é"),
    ]
)


@pytest.mark.attack("input")
@settings(max_examples=300)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_is_a_file_or_its_problems(text: str) -> None:
    file, wrong = parse_conda_file(text)

    lines = text.count("\n") + text.count("\r") + 1
    assert all(item.fact and "\n" not in item.fact for item in wrong)
    assert all(item.line is None or 1 <= item.line <= lines + 1 for item in wrong)
    for item in (*file.packages, *file.pip):
        assert item.text
        assert len(item.text.splitlines()) == 1
        assert 1 <= item.line <= lines
