"""Which names may become paths, and how a name from outside is displayed."""

from __future__ import annotations

import posixpath
import string

import pathvalidate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.paths import (
    UnsafePathError,
    archive_path,
    find_collision,
    portability_note,
    printable,
)

# --- archive_path ---------------------------------------------------------------------------------

LONGEST_COMPONENT = "é" * 127 + "x"  # 255 bytes in UTF-8
LONGEST_PATH = "/".join(["x" * 255] * 15 + ["x" * 254, "x"])  # 4096 bytes

SAFE = [
    "a",
    "pkg/__init__.py",
    ".hidden",
    "...",
    "a/..b/c..",
    "with space",
    "größe/模块.py",
    "ab:c",
    "1:b",
    "~/x",
    LONGEST_COMPONENT,
    f"a/{LONGEST_COMPONENT}/b",
    LONGEST_PATH,
    "".join(sorted(set(string.ascii_letters + string.digits + string.punctuation) - set("/\\"))),
]


@pytest.mark.parametrize("name", SAFE)
def test_a_safe_name_is_returned_unchanged(name: str) -> None:
    assert archive_path(name) == name


UNSAFE = [
    pytest.param("", "it is empty", id="empty"),
    pytest.param("/", "it is absolute", id="root"),
    pytest.param("/etc/passwd", "it is absolute", id="absolute"),
    pytest.param("\\\\server\\x", "it contains a backslash", id="unc"),
    pytest.param("a\\b", "it contains a backslash", id="backslash"),
    pytest.param("/a\\b", "it contains a backslash", id="backslash-after-a-slash"),
    pytest.param("C:", "it contains a drive", id="drive"),
    pytest.param("c:x/y", "it contains a drive", id="drive-relative"),
    pytest.param("C:/x", "it contains a drive", id="drive-absolute"),
    pytest.param(".", "its component `.` is not allowed", id="dot"),
    pytest.param("..", "its component `..` is not allowed", id="parent"),
    pytest.param("../x", "its component `..` is not allowed", id="parent-first"),
    pytest.param("a/../b", "its component `..` is not allowed", id="parent-inside"),
    pytest.param("a/..", "its component `..` is not allowed", id="parent-last"),
    pytest.param("a/./b", "its component `.` is not allowed", id="dot-inside"),
    pytest.param("a//b", "its component `` is not allowed", id="empty-component"),
    pytest.param("a/", "its component `` is not allowed", id="slash-at-the-end"),
    pytest.param("a\ud800", "it is not valid UTF-8", id="lone-surrogate"),
    pytest.param("é" * 128, "a component is longer than 255 bytes", id="long-component"),
    pytest.param("a/" + "x" * 256 + "/b", "a component is longer than 255 bytes", id="long-inside"),
    pytest.param(LONGEST_PATH + "x", "it is longer than 4096 bytes", id="long-path"),
    *(
        pytest.param(f"a{char}b", "it contains a control or bidirectional character", id=f"U+{ord(char):04X}")
        for char in "\0\n\x1f\x7f\x80\x9f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    ),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("name", "reason"), UNSAFE)
def test_an_unsafe_name_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UnsafePathError) as caught:
        archive_path(name)

    assert str(caught.value) == reason


@pytest.mark.parametrize("char", " ~\xa0\u061b\u200d\u2010\u2029\u202f\u2065\u206a")
def test_the_neighbors_of_forbidden_characters_are_allowed(char: str) -> None:
    assert archive_path(f"a{char}b") == f"a{char}b"


NAMES = st.one_of(
    st.text(),
    st.lists(st.sampled_from(["..", ".", "", "a", "C:", "\\", "/", "..a"])).map("/".join),
)


@given(name=NAMES)
def test_an_accepted_name_stays_below_the_directory_it_is_joined_to(name: str) -> None:
    try:
        path = archive_path(name)
    except UnsafePathError:
        return
    joined = posixpath.normpath(posixpath.join("/top/dir", path))
    assert joined == f"/top/dir/{name}"
    assert posixpath.normpath(path) == path


# --- find_collision -------------------------------------------------------------------------------

COLLISIONS = [
    pytest.param(["a", "b", "A"], ("a", "A"), id="case"),
    pytest.param(["A/x", "a/y"], ("A", "a"), id="directories"),
    pytest.param(["d/A", "d/x", "d/a"], ("d/A", "d/a"), id="in-one-directory"),
    pytest.param(["é", "e\u0301"], ("é", "e\u0301"), id="composed"),
    pytest.param(["ß", "SS"], ("ß", "SS"), id="full-case-folding"),
    # Case folding alone leaves the accent of the first of each pair apart or out of order.
    pytest.param(["\u017f\u0301", "\u015b"], ("\u017f\u0301", "\u015b"), id="composed-after-folding"),
    pytest.param(["\u1fb4", "\u1fb3\u0301"], ("\u1fb4", "\u1fb3\u0301"), id="composed-before-folding"),
    pytest.param(["x", "a/b/C/d", "a/B/c", "X"], ("a/b/C", "a/B/c"), id="first-pair"),
    pytest.param(["a", "a"], None, id="equal-names-do-not-collide"),
    pytest.param(["a/x", "a/y", "b/x", "a"], None, id="one-directory-twice"),
    pytest.param(["A", "b/a", "B2/c"], None, id="other-directories"),
    pytest.param([], None, id="none"),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("names", "collision"), COLLISIONS)
def test_names_that_a_file_system_takes_for_one_collide(
    names: list[str], collision: tuple[str, str] | None
) -> None:
    assert find_collision(names) == collision


@pytest.mark.attack("archives")
@given(
    names=st.lists(st.lists(st.sampled_from("aAbBéÉ"), min_size=1, max_size=3).map("/".join)),
    seed=st.randoms(),
)
def test_whether_names_collide_does_not_depend_on_their_order(names: list[str], seed: object) -> None:
    shuffled = sorted(names, key=lambda _: seed.random())  # type: ignore[attr-defined]
    spelled = {name[:end] for name in names for end in range(1, len(name) + 1) if f"{name}/"[end] == "/"}
    collides = len({name.casefold() for name in spelled}) < len(spelled)

    assert (find_collision(names) is not None) == collides
    assert (find_collision(shuffled) is not None) == collides


# --- portability_note -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pkg/__init__.py", ".hidden", "größe", "a" * 255, "a/" * 125 + "a"])
def test_a_portable_path_has_no_note(name: str) -> None:
    assert portability_note(archive_path(name)) is None


@pytest.mark.parametrize("name", ["pkg/con", "aux.py", "a?b", "x.", "x ", "ab:c", "a/" * 150 + "a"])
def test_a_path_that_windows_cannot_store_has_a_note(name: str) -> None:
    """The text is that of pathvalidate: its description of this path, if it has one."""
    with pytest.raises(pathvalidate.ValidationError) as caught:
        pathvalidate.validate_filepath(name, platform="universal")

    error = caught.value
    assert portability_note(archive_path(name)) == (error.description or error.reason.description)


@pytest.mark.parametrize("length", [200, 240, 241, 259, 260, 261, 300, 4096])
def test_a_long_path_of_valid_names(length: int) -> None:
    path = "/".join(["abcdefghi"] * 500)[:length].rstrip("/")
    try:
        pathvalidate.validate_filepath(path, platform="universal", max_len=4096)
        expected = None
    except pathvalidate.ValidationError as error:
        expected = error.description or error.reason.description

    assert portability_note(archive_path(path)) == expected


# --- printable ------------------------------------------------------------------------------------

PRINTED = [
    ("plain ä 模", "plain ä 模"),
    ("a\nb", "a\\nb"),
    ("\x1b[31m", "\\x1b[31m"),
    ("a\u202eb", "a\\u202eb"),
    ("a\u200eb", "a\\u200eb"),
    ("a\ud800b", "a\\ud800b"),
    ("\x85\xa0", "\\x85\\xa0"),
    ("\U000e0001", "\\U000e0001"),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("name", "printed"), PRINTED)
def test_a_name_is_displayed_with_its_dangerous_characters_escaped(name: str, printed: str) -> None:
    assert printable(name) == printed


@given(name=st.text(alphabet=st.characters(codec=None)))
def test_a_displayed_name_is_printable_and_stays_so(name: str) -> None:
    shown = printable(name)

    assert shown.isprintable()
    assert printable(shown) == shown
    assert shown == name or not name.isprintable()
