"""The tables of this package: TOML files, read once and validated on reading."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import TypeVar

import msgspec

__all__ = ["read_table"]

T = TypeVar("T")


@cache
def read_table(file: str, kind: type[T]) -> T:
    """Return a TOML file of this package as a value of a type, every field checked.

    :param file: its name.
    :param kind: a msgspec struct, or a dataclass.
    :raises ValueError: naming the file and the path of the first wrong value.
    """
    text = files(__package__).joinpath(file).read_text("utf-8")
    try:
        return msgspec.convert(tomllib.loads(text), kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{file}: {error}") from error
