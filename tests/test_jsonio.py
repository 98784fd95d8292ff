"""The JSON of images: read with the types that are expected, written in one form."""

from __future__ import annotations

import json
import math
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import InputError, MalformedError
from bundler.jsonio import canonical_json, convert, decode, digest_in, parse_json, parse_toml, value_of

SHA = "ab" * 32

# --- canonical_json -------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=4)


@given(values=OBJECTS)
def test_canonical_json_reads_back_as_the_same_values(values: dict[str, Any]) -> None:
    content = canonical_json(values)

    assert json.loads(content) == values
    assert canonical_json(json.loads(content)) == content


@given(values=OBJECTS)
def test_the_order_of_keys_does_not_reach_canonical_json(values: dict[str, Any]) -> None:
    assert canonical_json(dict(reversed(values.items()))) == canonical_json(values)


def test_canonical_json_is_utf8_without_spaces_or_needless_escapes() -> None:
    """The exact bytes are part of the format of a bundle, and of its identity."""
    values = {"b": [1, 2.5, {"z": None, "a": True}], "ä": "模\n\u2028", "a": "/"}

    assert canonical_json(values) == '{"a":"/","b":[1,2.5,{"a":true,"z":null}],"ä":"模\\n\u2028"}'.encode()


@pytest.mark.attack("input")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800"])
def test_a_value_that_json_or_utf8_cannot_express_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"not JSON compliant|surrogates not allowed"):
        canonical_json({"a": [value]})


def test_canonical_json_for_other_tools_is_ascii() -> None:
    """As Docker's and OCI's tools write it, so that their digests agree with ours."""
    assert canonical_json({"a": "ä\u2028"}, ascii_only=True) == b'{"a":"\\u00e4\\u2028"}'


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


@pytest.mark.attack("input")
@pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b"\xff\xff", b"[" * 100_000])
def test_a_text_that_is_not_json_is_refused_and_named(content: bytes) -> None:
    with pytest.raises(MalformedError, match=r"`bl\\nob` is not JSON") as caught:
        parse_json(content, "bl\nob")

    assert len(caught.value.evidence) == 1


@pytest.mark.attack("input")
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


@pytest.mark.attack("input")
@pytest.mark.parametrize("text", [f"sha512:{SHA}", SHA[1:], "", None, 7, f"sha256:sha256:{SHA}", SHA.upper()])
def test_any_other_digest_is_refused_and_its_place_named(text: object) -> None:
    with pytest.raises(MalformedError, match="a layer has no sha256") as caught:
        digest_in(text, "a layer")

    assert caught.value.evidence == (str(text),)


def test_a_digest_is_displayed_escaped() -> None:
    with pytest.raises(MalformedError) as caught:
        digest_in("\x1b[31m", "a layer")

    assert caught.value.evidence == ("\\x1b[31m",)


# --- decode and convert ---------------------------------------------------------------------------


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b'{"a": {"b": 1.5}}', "odd.json: $[...][...]: expected `int`, got `float`", id="kind"),
        pytest.param(b'{"a": {"b": true}}', "odd.json: $[...][...]: expected `int`, got `bool`", id="bool"),
        pytest.param(b"[]", "odd.json: expected `object`, got `array`", id="top"),
        pytest.param(b"{", "odd.json: input data was truncated", id="cut"),
        pytest.param(b'{"a": NaN}', "odd.json: ", id="nan"),
        pytest.param(b'{"a": "\xff"}', "odd.json: ", id="not-utf-8"),
        pytest.param(b"[" * 100_000, "odd.json: ", id="deep"),
    ],
)
def test_a_document_of_another_shape_is_refused_with_the_path(content: bytes, told: str) -> None:
    with pytest.raises(InputError) as caught:
        decode(content, dict[str, dict[str, int]], "odd.json", error=InputError)

    assert caught.value.message.startswith(told)


def test_a_document_of_the_right_shape_is_a_value() -> None:
    assert decode(b'{"a": {"b": 1}}', dict[str, dict[str, int]], "x") == {"a": {"b": 1}}
    assert convert({"a": [1]}, dict[str, tuple[int, ...]], "x") == {"a": (1,)}
    with pytest.raises(MalformedError, match=r"x: \$\[\.\.\.\]\[0\]: expected `int`, got `str`"):
        convert({"a": ["1"]}, dict[str, tuple[int, ...]], "x")


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("x = " + "[" * 100_000, "nested too deeply", id="arrays"),
        pytest.param("x = " + "{a=" * 100_000, "nested too deeply", id="tables"),
        pytest.param("x = " + "1" * 5000, "Exceeds the limit", id="digits"),
        pytest.param("x = 2020-13-45", "Expected newline", id="date"),
        pytest.param("x = ", "Invalid value", id="value"),
    ],
)
def test_toml_that_cannot_be_read_has_one_kind_of_error(text: str, reason: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match=reason):
        parse_toml(text)
