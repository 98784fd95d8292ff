"""Facade: what a program passes to ``CondaDependencies``, checked; errors name the method."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from bundler.azureml.core import _pip_lines
from bundler.azureml.core._files import input_error_at
from bundler.errors import InputError, UsageError
from bundler.paths import printable
from bundler.problems import ProblemError, register_urls
from bundler.requirements.conda.matchspec import MatchSpec, clean_channel, parse_match_spec

__all__ = [
    "as_list",
    "channel_name",
    "checked_option",
    "conda_name",
    "conda_spec",
    "pip_line",
    "register_channel",
]


def as_list(values: Iterable[str] | None, name: str) -> list[str]:
    """Return an argument that is a list of texts; None is an empty one.

    :raises UsageError: if it is one text, whose characters would be taken for its items.
    """
    if isinstance(values, str):
        raise UsageError(f"`{name}` is a list of texts, not one text", hint=f"write `{name}=[{values!r}]`")
    items = list(values or ())
    if not all(isinstance(item, str) for item in items):
        raise UsageError(f"`{name}` is a list of texts")
    return items


def channel_name(channel: object) -> str:
    """Return a channel's name or address.

    :raises InputError: if it can be neither.
    """
    if not isinstance(channel, str) or not channel or not channel.isprintable() or " " in channel:
        raise InputError(f"`{printable(str(channel))}` is no channel")
    register_channel(channel)
    return channel


def register_channel(text: str) -> None:
    """Register the credentials and the token of a channel, before anything can quote it."""
    with suppress(ProblemError):
        clean_channel(text)


def conda_spec(text: object, where: str) -> MatchSpec:
    """Return a conda package as a match specification.

    :raises UsageError: if it is no text.
    :raises InputError: if conda would not understand it.
    """
    if not isinstance(text, str):
        raise UsageError(f"`{where}` takes a text, not the {type(text).__name__} `{text}`")
    register_urls(text)
    try:
        return parse_match_spec(text.strip())
    except ProblemError as refused:
        raise input_error_at(where, refused, text) from refused


def conda_name(text: str) -> str | None:
    """Return the name in an entry of a file, or None if it cannot be read."""
    try:
        return parse_match_spec(text).name
    except ProblemError:
        return None


def pip_line(text: object, where: str) -> str:
    """Return a pip package.

    :raises InputError: if it is an option, or pip would not understand it.
    """
    register_urls(str(text))
    try:
        return _pip_lines.check_package(text)
    except ProblemError as refused:
        raise input_error_at(where, refused, str(text)) from refused


def checked_option(text: object, where: str) -> str:
    """Return an option of pip.

    :raises InputError: if it is none.
    """
    register_urls(str(text))
    try:
        line = _pip_lines.one_line(text) if isinstance(text, str) else ""
        if not _pip_lines.is_option(line):
            raise ProblemError("it is no option of pip: it does not begin with `-`")
    except ProblemError as refused:
        raise input_error_at(where, refused, str(text)) from refused
    return line
