"""Facade: read the files that a program names, and report their problems as one error."""

from __future__ import annotations

import os
from pathlib import Path

from bundler.azureml.exceptions import MissingError
from bundler.errors import BundlerError, UsageError
from bundler.problems import Problem, ProblemError, display_path, input_error, register_urls
from bundler.requirements.text import decode, read_bytes

__all__ = ["FileName", "as_path", "display_name", "input_error_at", "read_text"]

FileName = str | os.PathLike[str]
"""A path, as a string or a path object."""


def as_path(name: object, what: str) -> Path:
    """Return the path that a program passed.

    :param what: the name of the argument, for the message.
    :raises UsageError: if it is not a path, or is empty.
    """
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise UsageError(f"{what} must be the path of a file or directory, not `{name!r}`")
    return Path(os.fspath(name))


def display_name(path: Path) -> str:
    """Return a path for messages: relative to the working directory where it is inside."""
    return display_path(path.absolute(), Path.cwd())


def read_text(path: Path) -> str:
    """Return the text of a file; credentials in its URLs are registered, so that no message shows them.

    :raises MissingError: if the file does not exist.
    :raises InputError: if it is a directory, cannot be read or is not text.
    """
    try:
        text, _ = decode(read_bytes(path))
    except ProblemError as refused:
        if isinstance(refused.__cause__, FileNotFoundError):
            raise MissingError(f"{display_name(path)}: file not found") from refused
        raise input_error_at(display_name(path), refused) from refused
    register_urls(text)
    return text


def input_error_at(where: str, refused: ProblemError, quoted: str = "") -> BundlerError:
    """Return the error for one problem of a text.

    :param where: the file or the method, for the message; the line is appended.
    :param quoted: the line with the problem, shown without credentials.
    """
    place = where if refused.line is None else f"{where}:{refused.line}"
    return input_error([Problem(where=place, refused=refused, quoted=quoted)])
