"""The JSON of images: read with the types that are expected, written in one form."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import MalformedError
from bundler.jsonio import canonical, digest_in, parse_json, value_of

SHA = "ab" * 32

# --- canonical ------------------------------------------------------------------------------------


def test_canonical_json_is_sorted_ascii_without_spaces() -> None:
    """Tools that compute digests of images escape non-ASCII characters."""
    assert canonical({"b": [1, {"d": 2, "c": 3}], "a": "ä\u2028"}) == (
        b'{"a":"\\u00e4\\u2028","b":[1,{"c":3,"d":2}]}'
    )
    assert canonical([{"b": 1, "a": 2}]) == b'[{"a":2,"b":1}]'


@given(values=st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_canonical_json_depends_on_the_values_alone(values: dict[str, Any]) -> None:
    content = canonical(values)

    assert canonical(dict(reversed(values.items()))) == content
    assert json.loads(content) == values


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused(number: float) -> None:
    with pytest.raises(MalformedError, match="a number that JSON does not have") as caught:
        canonical({"a": number})

    assert len(caught.value.evidence) == 1


# --- parse_json -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind", "value"),
    [
        (b'{"a": 1}', dict, {"a": 1}),
        (b"[1]", list, [1]),
        (b' "x" ', str, "x"),
    ],
)
def test_json_of_the_expected_type_is_returned(content: bytes, kind: type, value: object) -> None:
    assert parse_json(content, "x.json", kind) == value


def test_an_object_is_expected_unless_another_type_is_named() -> None:
    assert parse_json(b"{}", "x.json") == {}
    with pytest.raises(MalformedError, match=r"`x\.json`"):
        parse_json(b"[]", "x.json")


@pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b"\xff\xff", b"[" * 100_000])
def test_a_text_that_is_not_json_is_refused_and_named(content: bytes) -> None:
    with pytest.raises(MalformedError, match=r"`bl\\nob` is not JSON") as caught:
        parse_json(content, "bl\nob")

    assert len(caught.value.evidence) == 1


@pytest.mark.parametrize("content", [b"[]", b'"x"', b"1", b"null", b"true"])
def test_another_type_is_refused_and_named(content: bytes) -> None:
    with pytest.raises(MalformedError, match=r"`bl\\nob` "):
        parse_json(content, "bl\nob")


# --- value_of -------------------------------------------------------------------------------------

VALUES = {"text": "x", "empty": "", "number": 0, "null": None, "list": [1]}


@pytest.mark.parametrize(
    ("key", "kind", "value"),
    [("text", str, "x"), ("empty", str, ""), ("number", int, 0), ("list", list, [1])],
)
def test_a_value_of_the_expected_type_is_returned(key: str, kind: type, value: object) -> None:
    assert value_of(VALUES, key, kind) == value
    assert value_of(VALUES, key, kind, None) == value


@pytest.mark.parametrize("key", ["null", "missing"])
@pytest.mark.parametrize("default", [None, "x", []])
def test_a_missing_value_and_null_have_the_default(key: str, default: object) -> None:
    assert value_of(VALUES, key, type(default), default) == default


@pytest.mark.parametrize("key", ["null", "missing", "number", "list"])
def test_a_value_without_default_must_exist_and_have_its_type(key: str) -> None:
    with pytest.raises(MalformedError, match=rf"`{key}` .*str"):
        value_of(VALUES, key, str)


def test_a_default_does_not_excuse_another_type() -> None:
    with pytest.raises(MalformedError, match=r"`number` .*str"):
        value_of(VALUES, "number", str, "")


# --- digest_in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [f"sha256:{SHA}", SHA])
def test_a_digest_is_read_from_json(text: str) -> None:
    assert digest_in(text, "a layer") == SHA


@pytest.mark.parametrize("text", [f"sha512:{SHA}", SHA[1:], "", None, 7, f"sha256:sha256:{SHA}", SHA.upper()])
def test_any_other_digest_is_refused_and_its_place_named(text: object) -> None:
    with pytest.raises(MalformedError, match="a layer has no sha256") as caught:
        digest_in(text, "a layer")

    assert caught.value.evidence == (str(text),)


def test_a_digest_is_displayed_escaped() -> None:
    with pytest.raises(MalformedError) as caught:
        digest_in("\x1b[31m", "a layer")

    assert caught.value.evidence == ("\\x1b[31m",)
