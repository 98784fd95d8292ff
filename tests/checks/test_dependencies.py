"""The walk of a requirement graph: extras grow, cycles end, the order does not matter."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName
from support.facts import ENVIRONMENT

from bundler.checks.dependencies import applies, requested_extras, walk_requirements

GRAPH = {
    "a": ["b[X_y]", "a[all]; extra == 'dev'", "c; extra == 'all'"],
    "b": ["d; extra == 'x-y'", "a[dev]; extra == 'x-y'", "never; python_version < '3'"],
    "c": ["b"],
    "d": [],
    "apart": ["d[z]"],
}


def graph(texts: Mapping[str, list[str]]) -> dict[NormalizedName, tuple[Requirement, ...]]:
    return {NormalizedName(name): tuple(map(Requirement, listed)) for name, listed in texts.items()}


@pytest.mark.parametrize("start", [["a", "c"], ["c", "a"], ["c", "a[dev]"], ["a", "a"]])
def test_the_walk_follows_extras_through_cycles_in_any_order(start: list[str]) -> None:
    declared = graph(GRAPH)

    def requires(name: NormalizedName, extras: Collection[str]) -> list[Requirement]:
        return [one for one in declared.get(name, ()) if applies(one, extras, ENVIRONMENT)]

    walk = walk_requirements(map(Requirement, start), requires)

    assert walk.extras == {"a": {"all", "dev"}, "b": {"x-y"}, "c": set(), "d": set()}
    assert {name: {str(one) for one in demands} for name, demands in walk.demands.items()} == {
        "a": {*(text for text in start if text.startswith("a")), *walked("a")},
        "b": {"b[X_y]", "b"},
        "c": {*(text for text in start if text == "c"), 'c; extra == "all"'},
        "d": {'d; extra == "x-y"'},
    }


def walked(name: str) -> set[str]:
    """Return the requirements of the graph on ``a``, as `packaging` writes them."""
    return {str(one) for listed in graph(GRAPH).values() for one in listed if one.name == name}


def test_extras_are_also_requested_by_distributions_that_no_root_reaches() -> None:
    roots = [Requirement("c[none]"), Requirement("d[w]; python_version < '3'"), Requirement("absent[x]")]

    assert requested_extras(graph(GRAPH), roots, ENVIRONMENT) == {
        "a": {"all", "dev"},
        "b": {"x-y"},
        "c": {"none"},
        "d": {"z"},
        "apart": set(),
    }
