"""Entry points: the texts of their refusals, whole, and odd layouts. The rest is in test_wheel.py."""

from __future__ import annotations

import io

import pytest
from support.wheels import wheel_files, with_record, zip_bytes

from bundler.archive.entry_points import read_entry_points
from bundler.archive.record import OpenedWheel, read_record
from bundler.archive.zip import ZipReader
from bundler.errors import MalformedError

INFO = "demo-1.0.dist-info"


def points(text: str) -> list[tuple[str, str, str, str]]:
    """Return the entry points of a wheel with this ``entry_points.txt``."""
    members = with_record(wheel_files("demo", "1.0", {}, entry_points=text), INFO)
    reader = ZipReader(io.BytesIO(zip_bytes(members)), name="demo.whl")
    wheel = OpenedWheel(reader=reader, dist_info=INFO, record=read_record(reader, INFO))
    return [(point.group, point.name, point.module, point.attribute) for point in read_entry_points(wheel)]


REFUSED = [
    pytest.param(
        "a = b:c\n",
        "its entry_points.txt is malformed",
        ("found   File contains no section headers.\\nfile: '<string>', line: 1\\n'a = b:c\\n'",),
        id="no-section",
    ),
    pytest.param(
        "[console_scripts]\n../x = demo:main\n",
        "its entry point name `../x` is not a valid file name: its component `..` is not allowed",
        (),
        id="not-a-path",
    ),
    pytest.param(
        "[console_scripts]\na/b = demo:main\n",
        "its entry point name `a/b` contains a slash or a space",
        (),
        id="slash",
    ),
    pytest.param(
        "[console_scripts]\npython3.7 = demo:main\n",
        "its entry point name `python3.7` is reserved for Python",
        (),
        id="reserved",
    ),
    pytest.param(
        "[gui_scripts]\na = demo:main()\n",
        "its entry point `a` does not name an object",
        ("wanted  `module:attribute`", "found   demo:main()"),
        id="not-an-object",
    ),
    pytest.param(
        "[console_scripts]\na = demo:main\n[gui_scripts]\na = demo:main\n",
        "two of its entry points have the name `a`",
        (),
        id="two-launchers",
    ),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("text", "fact", "evidence"), REFUSED)
def test_a_refusal_names_the_wheel_the_fact_and_what_was_found(
    text: str, fact: str, evidence: tuple[str, ...]
) -> None:
    with pytest.raises(MalformedError) as caught:
        points(text)

    assert caught.value.message == f"`demo.whl`: {fact}"
    assert caught.value.evidence == evidence


def test_a_wheel_without_entry_points_has_none() -> None:
    assert points("") == []


def test_an_empty_line_ends_a_value() -> None:
    """Otherwise an indented line after it would be part of the value, and its launcher would be missing."""
    text = "[console_scripts]\na = demo:main\n\n  b = demo:other\n"

    assert [point[1:] for point in points(text)] == [("a", "demo", "main"), ("b", "demo", "other")]


@pytest.mark.parametrize(
    "name", ["pythonic", "python3x", "python2", "python3.7m", "Python", "ipython", "python3.", "python-3"]
)
def test_a_name_that_is_not_that_of_python_is_allowed(name: str) -> None:
    assert points(f"[console_scripts]\n{name} = demo:main\n") == [("console_scripts", name, "demo", "main")]


def test_names_may_contain_a_colon_and_keep_their_case() -> None:
    assert points("[plugins]\nA:b = Demo.X:Y.z\n") == [("plugins", "A:b", "Demo.X", "Y.z")]
