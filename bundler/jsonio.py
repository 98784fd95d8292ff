"""JSON: the canonical form of what is hashed, and documents that are checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from bundler.digest import Sha256, parse_sha256
from bundler.errors import BundlerError, MalformedError
from bundler.paths import printable

__all__ = ["canonical_json", "convert", "decode", "digest_in", "parse_json", "value_of"]

T = TypeVar("T")


def canonical_json(value: Mapping[str, Any] | list[Any], *, ascii_only: bool = False) -> bytes:
    """Return JSON whose bytes, and so whose digest, depend on the values alone: keys sorted, no spaces.

    :param ascii_only: escape all but ASCII, as Docker's and OCI's tools do; by default the
        text is UTF-8.
    :raises ValueError: if JSON or UTF-8 cannot represent a value.

    >>> canonical_json({"b": 1, "a": None})
    b'{"a":null,"b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only, allow_nan=False)
    return text.encode("utf-8")


def decode(content: bytes, kind: type[T], source: str, *, error: type[BundlerError] = MalformedError) -> T:
    """Return a JSON document as a value of a type, every field checked.

    :param kind: a msgspec struct, or any type that msgspec can check.
    :param source: the name of the document, for the message.
    :param error: the class of the error.
    :raises BundlerError: of that class, with the path of the first wrong value (``$.files[3].size``).
    """
    import msgspec  # noqa: PLC0415 - 15 ms that `--help` does not need

    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
        raise _malformed(cause, source, error) from cause


def convert(value: object, kind: type[T], source: str, *, error: type[BundlerError] = MalformedError) -> T:
    """Return plain values as a value of a type, every field checked; see `decode`.

    :raises BundlerError: of the class ``error``, with the path of the first wrong value.
    """
    import msgspec  # noqa: PLC0415 - 15 ms that `--help` does not need

    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as cause:
        raise _malformed(cause, source, error) from cause


def _malformed(cause: Exception, source: str, error: type[BundlerError]) -> BundlerError:
    """Return the error for a document, with the path that msgspec names."""
    fact, _, place = str(cause).partition(" - at ")
    where = f"{place.strip('`')}: " if place else ""
    return error(f"{printable(source)}: {where}{printable(fact[:1].lower() + fact[1:])}")


def parse_json(content: bytes, name: str, kind: type = dict) -> Any:
    """Return what a JSON text says.

    :param name: the text, for messages.
    :raises MalformedError: if it is no JSON, or its top is of another kind.
    """
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"`{printable(name)}` is not JSON", evidence=(str(error),)) from error
    if not isinstance(value, kind):
        raise MalformedError(f"`{printable(name)}` breaks its format")
    return value


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number of JSON")


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
