"""Facade: check the arguments of ``CondaDependencies``; the errors name the method."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import TypeVar

from bundler.azureml.core import _pip_lines
from bundler.azureml.core._files import input_error_at
from bundler.azureml.core._settings import wrong_type
from bundler.errors import InputError, UsageError
from bundler.paths import printable
from bundler.problems import ProblemError, register_urls
from bundler.redaction import redact
from bundler.requirements.conda.matchspec import MatchSpec, clean_channel, parse_match_spec
from bundler.target.target import DEFAULT_PYTHON

__all__ = [
    "as_list",
    "channel_name",
    "checked_option",
    "conda_name",
    "conda_spec",
    "instance",
    "no_single_python",
    "pip_line",
    "register_channel",
]


T = TypeVar("T")
_ENTRY = re.compile(r"[A-Za-z][\w.-]*(\[[\w-]+\])?([=<>!~]=?[^\s]+)?", re.ASCII)
"""A package, alone or with a version."""


def as_list(values: Iterable[str] | None, name: str) -> list[str]:
    """Return an argument that is a list of strings; None is an empty list.

    :raises UsageError: if it is one string, whose characters would become the items, or an
        item is not a string.
    """
    if isinstance(values, str):
        words = re.split(r"[\s,]+", values.strip(" \t\n,"))  # "six idna", but not "six >= 1"
        items = words if all(map(_ENTRY.fullmatch, words)) else [values]
        raise UsageError(f"`{name}` must be a list of strings, not one", hint=f"write `{name}={items!r}`")
    items = list(values or ())
    if not all(isinstance(item, str) for item in items):
        raise UsageError(f"`{name}` must be a list of strings")
    return items


def instance(value: object, kind: type[T], name: str, hint: str) -> T:
    """Return an argument that is an object of a class.

    :param hint: the expression for such an object.
    :raises UsageError: if it is not.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOUi" else "a"
        problem = wrong_type(f"{article} `{kind.__name__}`", value)
        raise UsageError(
            f"`{name}`: {problem.fact}", evidence=problem.details, hint=redact(f"write `{hint}`")
        )
    return value


def channel_name(channel: object) -> str:
    """Return the name or URL of a channel.

    :raises InputError: if it is not a string, is empty, or has a space or a control character.
    """
    if not isinstance(channel, str) or not channel or not channel.isprintable() or " " in channel:
        raise InputError(
            f"invalid channel `{printable(str(channel))}`", evidence=("wanted  a name or a URL",)
        )
    register_channel(channel)
    return channel


def register_channel(text: str) -> None:
    """Register the credentials and the token of a channel, so that no message shows them."""
    with suppress(ProblemError):
        clean_channel(text)


def conda_spec(text: object, where: str) -> MatchSpec:
    """Return a conda package as a match specification.

    :param where: the method, for the message.
    :raises UsageError: if it is not a string.
    :raises InputError: if it is not a valid match specification.
    """
    if not isinstance(text, str):
        raise UsageError(f"`{where}` expects a string, not the {type(text).__name__} `{text}`")
    register_urls(text)
    try:
        return parse_match_spec(text.strip())
    except ProblemError as refused:
        raise input_error_at(where, refused, text) from refused


def conda_name(text: str) -> str | None:
    """Return the package name of an entry; None if the entry is not a match specification."""
    try:
        return parse_match_spec(text).name
    except ProblemError:
        return None


def pip_line(text: object, where: str) -> str:
    """Return a line that requires one project.

    :param where: the method, for the message.
    :raises InputError: if it is an option or not a valid requirement.
    """
    register_urls(str(text))
    try:
        return _pip_lines.check_package(text)
    except ProblemError as refused:
        raise input_error_at(where, refused, str(text)) from refused


def checked_option(text: object, where: str) -> str:
    """Return an option of pip.

    :param where: the method, for the message.
    :raises InputError: if it does not start with ``-``.
    """
    register_urls(str(text))
    try:
        line = _pip_lines.one_line(text) if isinstance(text, str) else ""
        if not _pip_lines.is_option(line):
            raise ProblemError("not an option of pip: it does not start with `-`")
    except ProblemError as refused:
        raise input_error_at(where, refused, str(text)) from refused
    return line


def no_single_python(entry: str) -> InputError:
    """Return the error for a ``python`` entry that selects no version."""
    return InputError(
        f"`{printable(entry)}` does not select a version of Python",
        hint=f"write one version, such as `python={DEFAULT_PYTHON}`",
    )
