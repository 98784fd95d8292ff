"""Facade: the text of a file the user names, and what is wrong with it as one error."""

from __future__ import annotations

import os
from pathlib import Path

from bundler.azureml.exceptions import MissingError
from bundler.errors import BundlerError, UsageError
from bundler.problems import Problem, ProblemError, display_path, input_error, register_urls
from bundler.requirements.text import decode, read_bytes

__all__ = ["FileName", "as_path", "display_name", "input_error_at", "read_text"]

FileName = str | os.PathLike[str]
"""How a program names a file."""


def as_path(name: object, what: str) -> Path:
    """Return the path a program passed.

    :raises UsageError: if it is none.
    """
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise UsageError(f"{what} is the path of a file or folder, not `{name!r}`")
    return Path(os.fspath(name))


def display_name(path: Path) -> str:
    """Return a path as errors show it."""
    return display_path(path.absolute(), Path.cwd())


def read_text(path: Path) -> str:
    """Return the text of a file; the credentials of its addresses are registered.

    :raises MissingError: if there is none.
    :raises InputError: if it is no text.
    """
    try:
        text, _ = decode(read_bytes(path))
    except ProblemError as refused:
        if isinstance(refused.__cause__, FileNotFoundError):
            raise MissingError(f"{display_name(path)}: there is no such file") from refused
        raise input_error_at(display_name(path), refused) from refused
    register_urls(text)
    return text


def input_error_at(where: str, refused: ProblemError, quoted: str = "") -> BundlerError:
    """Return what is wrong with a text as an error."""
    place = where if refused.line is None else f"{where}:{refused.line}"
    return input_error([Problem(where=place, refused=refused, quoted=quoted)])
