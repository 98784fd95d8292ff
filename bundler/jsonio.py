"""Ground, pure: the JSON of images: values are read with their kinds, and written in one form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bundler.digest import Sha256, parse_sha256
from bundler.errors import MalformedError
from bundler.paths import printable

__all__ = ["canonical", "digest_in", "parse_json", "value_of"]


def canonical(value: Mapping[str, Any] | list[Any]) -> bytes:
    """Return JSON whose bytes depend on the values alone: sorted keys, no spaces, ASCII.

    :raises MalformedError: if a number in it is one that JSON cannot say.

    >>> canonical({"b": 1, "a": None})
    b'{"a":null,"b":1}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except ValueError as error:
        raise MalformedError(
            "the image breaks its format: it holds a number that JSON does not have", evidence=(str(error),)
        ) from error


def parse_json(content: bytes, name: str, kind: type = dict) -> Any:
    """Return what a JSON text says.

    :param name: the text, for messages.
    :raises MalformedError: if it is no JSON, or its top is of another kind.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"`{printable(name)}` is not JSON", evidence=(str(error),)) from error
    if not isinstance(value, kind):
        raise MalformedError(f"`{printable(name)}` breaks its format")
    return value


def value_of(values: Mapping[str, Any], key: str, kind: type, default: Any = ...) -> Any:
    """Return a value of a JSON object, if it is of its kind.

    :raises MalformedError: if it is not; if it is not there and has no default.
    """
    value = values.get(key, default)
    if value is None and default is not ...:
        return default
    if not isinstance(value, kind):
        raise MalformedError(f"the image breaks its format: `{key}` is not there, or is no {kind.__name__}")
    return value


def digest_in(text: object, where: str) -> Sha256:
    """Return what an image's JSON names ("sha256:..."), as a digest.

    :param where: whose text it is, for the message.
    :raises MalformedError: if it is none.
    """
    try:
        return parse_sha256(str(text).removeprefix("sha256:"))
    except ValueError as error:
        raise MalformedError(
            f"the image breaks its format: {where} has no sha256", evidence=(printable(str(text)),)
        ) from error
