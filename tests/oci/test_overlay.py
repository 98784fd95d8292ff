"""Paths in layers, and whiteouts: an upper layer hides paths of the layers below."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import MalformedError
from bundler.oci.overlay import OPAQUE, WHITEOUT, Whiteouts, ancestors, entry_path

# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b", "a/b"),
        ("./a/b", "a/b"),
        ("/a/b", "a/b"),
        ("a/b/", "a/b"),
        ("a//./b", "a/b"),
        (".", ""),
        ("./", ""),
        ("/", ""),
        ("", ""),
        ("...", "..."),
        ("a/..b", "a/..b"),
    ],
)
def test_the_path_of_an_entry_is_relative_to_the_root(name: str, path: str) -> None:
    """The names of one path that tar and the engines write."""
    assert entry_path(name) == path


@pytest.mark.attack("archives")
@pytest.mark.parametrize("name", ["..", "../a", "a/..", "a/../b", "/..", "./../a\x1b"])
def test_a_path_that_leaves_the_root_is_refused(name: str) -> None:
    with pytest.raises(MalformedError, match="a path outside of its root") as caught:
        entry_path(name)

    (line,) = caught.value.evidence
    assert line.startswith("found   ")
    assert line.endswith(name.replace("\x1b", "\\x1b"))


@pytest.mark.parametrize(("path", "above"), [("a/b/c", ["a/b", "a", ""]), ("a", [""]), ("", [])])
def test_ancestors_end_at_the_root(path: str, above: list[str]) -> None:
    assert list(ancestors(path)) == above


# --- whiteouts ------------------------------------------------------------------------------------


def whiteouts(*entries: str, replaced: tuple[str, ...] = ()) -> Whiteouts:
    """Return the whiteouts of a layer of these entries; each must be one."""
    made = Whiteouts()
    for entry in entries:
        assert made.add(entry)
    for path in replaced:
        made.replace(path)
    return made


def test_the_names_are_those_of_the_specification() -> None:
    assert (WHITEOUT, OPAQUE) == (".wh.", ".wh..wh..opq")


CASES = [
    pytest.param(whiteouts("a/.wh.b"), "a/b", True, id="file"),
    pytest.param(whiteouts("a/.wh.b"), "a/b/c/d", True, id="below-a-directory"),
    pytest.param(whiteouts("a/.wh.b"), "a", False, id="not-the-parent"),
    pytest.param(whiteouts("a/.wh.b"), "a/bc", False, id="not-a-longer-name"),
    pytest.param(whiteouts("a/.wh.b"), "b", False, id="not-in-another-directory"),
    pytest.param(whiteouts("a/.wh.b"), "a/.wh.b", False, id="not-itself"),
    pytest.param(whiteouts(".wh.b"), "b", True, id="in-the-root"),
    pytest.param(whiteouts("a/.wh..wh.b"), "a/.wh.b", True, id="of-a-name-like-a-whiteout"),
    pytest.param(whiteouts("a/.wh..wh..opq"), "a/b", True, id="opaque-file"),
    pytest.param(whiteouts("a/.wh..wh..opq"), "a/b/c", True, id="opaque-deep"),
    pytest.param(whiteouts("a/.wh..wh..opq"), "ab/c", False, id="opaque-not-a-longer-name"),
    pytest.param(whiteouts("a/b/.wh..wh..opq"), "a/c", False, id="opaque-not-a-sibling"),
    pytest.param(whiteouts("a/.wh..wh..opq"), "a", True, id="opaque-hides-a-file-of-its-name"),
    pytest.param(whiteouts(".wh..wh..opq"), "a/b", True, id="opaque-root"),
    pytest.param(whiteouts(replaced=("a",)), "a", True, id="replaced"),
    pytest.param(whiteouts(replaced=("a",)), "a/b/c", True, id="directory-replaced-by-a-file"),
    pytest.param(whiteouts(replaced=("a/b",)), "a", False, id="replaced-not-the-parent"),
    pytest.param(whiteouts(), "a", False, id="none"),
    pytest.param(whiteouts(), "", False, id="none-root"),
]


@pytest.mark.parametrize(("layer", "path", "hidden"), CASES)
def test_a_path_of_a_lower_layer_is_hidden(layer: Whiteouts, path: str, hidden: bool) -> None:
    assert layer.hides(path) == hidden


@pytest.mark.parametrize(
    ("layer", "path", "hidden"),
    [
        pytest.param(whiteouts("a/.wh..wh..opq"), "a", False, id="opaque-keeps-the-directory-itself"),
        pytest.param(whiteouts("a/.wh..wh..opq"), "a/b", True, id="opaque-hides-directories-inside"),
        pytest.param(whiteouts(".wh..wh..opq"), "", False, id="opaque-root-stays"),
        pytest.param(whiteouts("a/.wh.b"), "a/b", True, id="whiteout"),
        pytest.param(whiteouts(replaced=("a",)), "a", True, id="replaced"),
        pytest.param(whiteouts("a/.wh..wh..opq", replaced=("a",)), "a", True, id="opaque-and-replaced"),
        pytest.param(whiteouts("a/.wh..wh..opq", "a/b/.wh..wh..opq"), "a/b", True, id="opaque-in-opaque"),
    ],
)
def test_an_opaque_whiteout_empties_a_directory_and_keeps_it(
    layer: Whiteouts, path: str, hidden: bool
) -> None:
    assert layer.hides(path, is_directory=True) == hidden


@pytest.mark.parametrize("path", ["", "a", "a/b", "a/wh.b", "a/x.wh.b", ".wh.d/x", ".wh"])
def test_an_ordinary_entry_is_not_a_whiteout_and_hides_nothing(path: str) -> None:
    layer = Whiteouts()

    assert layer.add(path) is False
    assert not layer.hides(path)
    assert not layer.hides("a/b")


PATHS = st.lists(st.sampled_from("abc"), max_size=3).map("/".join)
NAMES = st.sampled_from([".wh.a", ".wh.b", OPAQUE, "a", "b"])
ENTRIES = st.lists(st.builds(lambda path, name: f"{path}/{name}".lstrip("/"), PATHS, NAMES), max_size=6)


@given(entries=ENTRIES, replaced=st.lists(PATHS, max_size=2), seed=st.integers(), path=PATHS)
def test_the_order_of_entries_in_a_layer_does_not_matter(
    entries: list[str], replaced: list[str], seed: int, path: str
) -> None:
    """OCI: whiteouts apply to lower layers alone, wherever they are among the entries of their own."""
    steps = [("add", entry) for entry in entries] + [("replace", entry) for entry in replaced]
    results = []
    for order in (steps, random.Random(seed).sample(steps, len(steps))):
        layer = Whiteouts()
        for method, entry in order:
            getattr(layer, method)(entry)
        results.append([layer.hides(path), layer.hides(path, is_directory=True)])

    assert results[0] == results[1]


@given(entries=ENTRIES, path=PATHS, below=st.sampled_from("abc"))
def test_whatever_is_below_a_hidden_path_is_hidden(entries: list[str], path: str, below: str) -> None:
    layer = Whiteouts()
    for entry in entries:
        layer.add(entry)

    if layer.hides(path, is_directory=True):
        assert layer.hides(f"{path}/{below}".lstrip("/"))
        assert layer.hides(f"{path}/{below}".lstrip("/"), is_directory=True)
