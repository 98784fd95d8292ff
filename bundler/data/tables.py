"""The tables of this package: TOML files, read once and validated on reading."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar, get_args, get_origin

import msgspec

__all__ = ["read_table"]

T = TypeVar("T")


@cache
def read_table(file: str, kind: type[T]) -> T:
    """Return a TOML file of this package as a value of a type, every field checked.

    :param file: its name.
    :param kind: a msgspec struct, or a dataclass.
    :raises ValueError: naming the file, and the path of the first wrong value or the line that is not TOML.
    """
    text = files(__package__).joinpath(file).read_text("utf-8")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file}: {error}") from error
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        place = ".".join(_place(content, kind))
        raise ValueError(f"{file}: {place}: {error}" if place else f"{file}: {error}") from error


def _place(value: Any, kind: Any) -> tuple[str, ...]:
    """Return the keys that lead to the first wrong value; msgspec writes ``[...]`` for the keys of a dict."""
    kinds: dict[str, Any] = {}
    if get_origin(kind) is dict and isinstance(value, dict):
        key_kind, value_kind = get_args(kind)
        if wrong := [key for key in value if not _fits(key, key_kind)]:
            return (wrong[0],)
        kinds = dict.fromkeys(value, value_kind)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        kinds = {field.name: field.type for field in msgspec.structs.fields(kind) if field.name in value}
    for key, inner in kinds.items():
        if not _fits(value[key], inner):
            return (key, *_place(value[key], inner))
    return ()


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
