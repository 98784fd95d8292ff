"""Write canonical JSON, and read JSON and TOML documents with validation."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

from bundler.digest import Sha256, parse_sha256
from bundler.errors import BundlerError, MalformedError
from bundler.paths import printable

__all__ = ["canonical_json", "convert", "decode", "digest_in", "parse_json", "parse_toml", "value_of"]

T = TypeVar("T")


def canonical_json(value: Mapping[str, Any] | list[Any] | str, *, ascii_only: bool = False) -> bytes:
    """Return JSON with sorted keys and without spaces, so that equal values have equal digests.

    :param ascii_only: escape characters outside of ASCII, as the tools of Docker and OCI do; by
        default the text is UTF-8.
    :raises ValueError: if a value is not representable: NaN, infinity, a lone surrogate.

    >>> canonical_json({"b": 1, "a": None})
    b'{"a":null,"b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only, allow_nan=False)
    return text.encode("utf-8")


def decode(content: bytes, kind: type[T], source: str, *, error: type[BundlerError] = MalformedError) -> T:
    """Decode a JSON document, and validate it against a type.

    :param kind: a msgspec struct, a dataclass, or another type that msgspec supports.
    :param source: the name of the document, for messages.
    :param error: the class of the error.
    :raises BundlerError: of the class ``error``, with the path of the first invalid value
        (``$.files[3].size``).
    """
    import msgspec  # noqa: PLC0415 - 15 ms that `--help` does not need

    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
        raise _malformed(cause, source, error) from cause


def convert(value: object, kind: type[T], source: str, *, error: type[BundlerError] = MalformedError) -> T:
    """Convert plain values to a type, with the validation of `decode`.

    :raises BundlerError: of the class ``error``, with the path of the first invalid value.
    """
    import msgspec  # noqa: PLC0415 - 15 ms that `--help` does not need

    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as cause:
        raise _malformed(cause, source, error) from cause


def _malformed(cause: Exception, source: str, error: type[BundlerError]) -> BundlerError:
    """Return the error for a document, with the path that msgspec reports."""
    fact, _, place = str(cause).partition(" - at ")
    place = place.replace("`key` in ", "a key of ").replace("`", "")
    where = f"{place}: " if place else ""
    return error(f"{printable(source)}: {where}{printable(fact[:1].lower() + fact[1:])}")


def parse_json(content: bytes, name: str, kind: type = dict) -> Any:
    """Parse a JSON text.

    :param name: the name of the document, for messages.
    :param kind: the required type of the top-level value.
    :raises MalformedError: if the text is not JSON, or its top-level value has another type.
    """
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"`{printable(name)}` is not JSON", evidence=(str(error),)) from error
    if not isinstance(value, kind):
        raise MalformedError(f"`{printable(name)}` is malformed")
    return value


def _refuse_constant(text: str) -> None:
    # Python's json accepts NaN and Infinity, which RFC 8259, section 6 does not permit.
    raise ValueError(f"{text} is not a JSON number")


def value_of(values: Mapping[str, Any], key: str, kind: type, default: Any = ...) -> Any:
    """Return a value of a JSON object of an image, after a check of its type.

    :param default: the value if the key is missing or null.
    :raises MalformedError: if the value has another type, or is missing and has no default.
    """
    value = values.get(key, default)
    if value is None and default is not ...:
        return default
    if not isinstance(value, kind):
        raise MalformedError(f"the image is malformed: `{key}` is missing or not of the type {kind.__name__}")
    return value


def digest_in(text: object, where: str) -> Sha256:
    """Parse a digest of the form ``sha256:...`` from the JSON of an image.

    :param where: the location of the text, for messages.
    :raises MalformedError: if it is not a sha256 digest.
    """
    try:
        return parse_sha256(str(text).removeprefix("sha256:"))
    except ValueError as error:
        raise MalformedError(
            f"the image is malformed: {where} has no sha256", evidence=(printable(str(text)),)
        ) from error


class _LimitError(tomllib.TOMLDecodeError):
    """A document that exceeds a limit of the parser, which has no position."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)  # since Python 3.14 the class itself requires a position


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of a TOML document.

    :raises tomllib.TOMLDecodeError: also for values nested too deeply, and integers of too many digits,
        for which tomllib has errors of other classes.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _LimitError("nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:
        raise _LimitError(str(error).partition(";")[0]) from None
