"""The graph of requirements of a bundle and of a lockfile, as a tree."""

from __future__ import annotations

import pytest
from support.bundles import manifest_values

from bundler.bundle.manifest import make_manifest
from bundler.checks.tree import RequirementGraph, lock_graph, manifest_graph, tree_lines
from bundler.errors import InputError

LOCK = """\
lock-version = "1.0"
created-by = "x"
{tool}
[[packages]]
name = "app"
version = "1.0"
{dependencies}
[packages.directory]
path = "app"
[[packages]]
name = "leaf"
version = "2.0"
[packages.directory]
path = "leaf"
"""


def graph(roots: dict[str, str], edges: dict[str, dict[str, str]]) -> RequirementGraph:
    return RequirementGraph(versions=dict.fromkeys(sorted(edges), "1"), roots=roots, edges=edges)


def test_a_shared_requirement_is_shown_once_in_full() -> None:
    wide = graph(
        {"a": ">=1"},
        {"a": {"b": "", "c": "<2"}, "b": {"d": "~=1.0"}, "c": {"d": ""}, "d": {"e": ""}, "e": {}},
    )

    assert list(tree_lines(wide)) == [
        "a 1  (>=1)",
        "├── b 1",
        "│   └── d 1  (~=1.0)",
        "│       └── e 1",
        "└── c 1  (<2)",
        "    └── d 1  (*)",
    ]
    assert list(tree_lines(wide, invert="D")) == [
        "d 1",
        "├── b 1  (~=1.0)",
        "│   └── a 1",
        "└── c 1",
        "    └── a 1  (<2)",
    ]


@pytest.mark.parametrize("roots", [{"a": ""}, {}])
def test_a_loop_ends_and_every_distribution_is_shown(roots: dict[str, str]) -> None:
    loop = graph(roots, {"a": {"b": ""}, "b": {"a": ""}, "z": {}})
    lines = list(tree_lines(loop))

    assert {line.split()[-3 if "(*)" in line else -2] for line in lines} == {"a", "b", "z"}
    assert sum("(*)" not in line for line in lines) == 3


def test_a_long_chain_is_not_a_deep_recursion() -> None:
    chain = graph({"p0": ""}, {f"p{n}": {f"p{n + 1}": ""} if n < 3000 else {} for n in range(3001)})

    assert sum(1 for _ in tree_lines(chain)) == 3001


def test_an_unknown_name_gets_the_near_one() -> None:
    with pytest.raises(InputError, match="`lef` is not in it") as caught:
        list(tree_lines(graph({}, {"leaf": {}}), invert="lef"))

    assert caught.value.hint == "did you mean `--invert leaf`?"


def test_the_graph_of_a_lockfile() -> None:
    ours = LOCK.format(
        tool='[tool.bundler]\nrequirements = ["App>=1", "./path"]\n',
        dependencies='dependencies = [{name = "leaf"}]',
    )
    assert list(tree_lines(lock_graph(ours, "pylock.toml"))) == ["app 1.0  (>=1)", "└── leaf 2.0"]
    foreign = lock_graph(LOCK.format(tool="", dependencies=""), "pylock.toml")
    assert (foreign.is_complete, list(tree_lines(foreign))) == (False, ["app 1.0", "leaf 2.0"])
    with pytest.raises(InputError, match=r"^x: not a lockfile"):
        lock_graph("[project]", "x")


def test_the_graph_of_a_bundle_has_markers_extras_and_the_base() -> None:
    values = manifest_values(
        requirements=["pkg[fast]>=1", "./unnamed"], base={"provided": {"numpy": "1.21.6"}}
    )
    (pkg,) = values["distributions"]
    pkg["requires_dist"] = [
        "numpy>=1.20; extra == 'fast'",
        "other; python_version > '3.8'",
        "more; extra == 'slow'",
    ]
    found = manifest_graph(make_manifest(values))

    assert list(tree_lines(found)) == ["pkg 1.0  (>=1)", "└── numpy 1.21.6 (base)  (>=1.20)"]
    assert found.to_json()["distributions"][1] == {
        "name": "pkg",
        "version": "1.0",
        "requires": {"numpy": ">=1.20"},
    }
