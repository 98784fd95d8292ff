"""Paths that several layers have: the file that ships, and the layers that lose theirs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.layers import layer_with

from bundler.bundle.layer import Layer
from bundler.bundle.plan import BundlePlan, plan_bundle
from bundler.errors import MalformedError

SITE = "lib/python3.7/site-packages"
LICENSE = f"{SITE}/LICENSE"


def owners(plan: BundlePlan) -> dict[str, str]:
    """Return the layer that each file ships from; each path ships once."""
    files = list(plan.files())
    assert len({file.path for _, file in files}) == len(files)
    return {str(file.path): layer.name for layer, file in files}


def test_equal_files_ship_from_the_first_by_name_whatever_is_requested() -> None:
    plan = plan_bundle([layer_with(name, {LICENSE: b"x"}) for name in "cab"], requested={"c"})

    assert plan.shared == {LICENSE: ("a", "b", "c")}
    assert (plan.collisions, owners(plan)) == (frozenset(), {LICENSE: "a"})
    assert all(plan.shipped(layer) is layer for layer in plan.layers)


@pytest.mark.parametrize(
    ("requested", "order"),
    [
        pytest.param(set(), ("a", "b", "c"), id="none"),
        pytest.param({"b"}, ("b", "a", "c"), id="one"),
        pytest.param({"c", "b", "z"}, ("b", "a", "c"), id="two"),
    ],
)
def test_of_different_files_that_of_a_requested_distribution_ships(
    requested: set[str], order: tuple[str, ...]
) -> None:
    layers = [layer_with(name, {LICENSE: name.encode(), f"{SITE}/{name}.py": b""}) for name in "cab"]
    plan = plan_bundle(layers, requested)

    assert plan.shared == {LICENSE: order}
    assert plan.collisions == {LICENSE}
    assert owners(plan)[LICENSE] == order[0]


def test_a_mode_is_not_a_content() -> None:
    one, other = (layer_with(name, {LICENSE: b"x"}) for name in "ab")
    plan = plan_bundle([one, replace(other, files=tuple(replace(file, mode=0o755) for file in other.files))])

    assert (plan.collisions, owners(plan)) == (frozenset(), {LICENSE: "a"})


def test_a_layer_as_it_ships_lacks_the_files_it_loses() -> None:
    """Results under its digest must not describe the files of another layer."""
    plan = plan_bundle(
        [layer_with(name, {LICENSE: name.encode(), f"{SITE}/{name}.py": b"", "same": b""}) for name in "ab"]
    )
    winner, loser = plan.layers

    assert plan.shipped(winner) is winner
    assert [file.path for file in plan.shipped(loser).files] == [f"{SITE}/b.py", "same"]
    assert plan.shipped(loser).digest != loser.digest


CODE = f"{SITE}/tests/x.y.py"
BYTECODE = f"{SITE}/tests/__pycache__/x.y.cpython-37.pyc"


def test_bytecode_ships_with_its_source() -> None:
    plan = plan_bundle(
        [layer_with(name, {CODE: name.encode(), BYTECODE: name.encode()}) for name in "ab"], {"b"}
    )

    assert owners(plan) == {CODE: "b", BYTECODE: "b"}
    assert plan.collisions == {CODE, BYTECODE}


@pytest.mark.parametrize("requested", ["a", "b"])
def test_no_bytecode_of_another_source_ships(requested: str) -> None:
    """The source in `a` is not valid for the target, so only `b` has bytecode."""
    plan = plan_bundle(
        [layer_with("a", {CODE: b"print 1"}), layer_with("b", {CODE: b"b", BYTECODE: b"b"})], {requested}
    )

    assert owners(plan) == ({CODE: "a"} if requested == "a" else {CODE: "b", BYTECODE: "b"})


def test_package_code_of_one_syntax_tree_is_no_collision() -> None:
    init = f"{SITE}/ns/__init__.py"
    layers = [layer_with(name, {init: name.encode()}, code={init: "tree"}) for name in "ab"]

    assert plan_bundle(layers, {"b"}).collisions == frozenset()
    assert owners(plan_bundle(layers, {"b"})) == {init: "a"}


def test_a_file_where_another_layer_has_a_directory_is_refused() -> None:
    def layers() -> list[Layer]:
        return [layer_with("a", {"x/y/z": b""}), layer_with("b", {"x/y": b""})]

    with pytest.raises(MalformedError) as caught:
        plan_bundle(layers())
    assert caught.value.message == "a distribution has a file where another one has a directory"
    assert caught.value.evidence == ("x/y: a file of b, a directory of a",)
