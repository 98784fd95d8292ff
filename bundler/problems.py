"""Collect the problems of the user's input, with their locations, and report them in one error."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import InputError
from bundler.paths import printable
from bundler.redaction import redact, register_secret, split_url

__all__ = [
    "Problem",
    "ProblemError",
    "check_variables",
    "closest",
    "display_path",
    "first_line",
    "input_error",
    "is_url",
    "register_urls",
]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://(?P<rest>[^\s\"'<>]+)")
_URL_START = re.compile(r"(file:|[A-Za-z][A-Za-z0-9+.-]*://)", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_QUOTE_LIMIT = 200
_SHOWN = 10


class ProblemError(ValueError):
    """A problem of an input; the caller that catches it adds the location.

    :param fact: the message.
    :param details: further lines: wanted and found.
    :param hint: one suggestion that can be pasted.
    :param line: the line number, if the code that raises it knows it.
    """

    def __init__(
        self, fact: str, *, details: tuple[str, ...] = (), hint: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(fact)
        self.fact = fact
        self.details = details
        self.hint = hint
        self.line = line


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A problem of the input, with its location."""

    where: str
    """``file:line``, a file, or ``command line``."""
    refused: ProblemError
    quoted: str = ""
    """The line as written in the file, before variables are expanded."""


def input_error(problems: Sequence[Problem], *, subject: str = "the requirements") -> InputError:
    """Return one error for all ``problems``: a single one as the message, several as a list in the evidence.

    A list ends after the first ten, with the number of the others. All texts are redacted, and
    unprintable characters escaped.
    """
    facts = [f"{problem.where}: {problem.refused.fact}" for problem in problems]
    if len(problems) == 1:
        message, evidence, hint = facts[0], _evidence(problems[0]), problems[0].refused.hint
    else:
        message, evidence, hint = f"{len(problems)} problems in {subject}", [], None
        for fact, problem in zip(facts[:_SHOWN], problems[:_SHOWN], strict=True):
            evidence += [fact, *(f"  {line}" for line in _evidence(problem))]
            if problem.refused.hint:
                evidence.append(f"  hint    {problem.refused.hint}")
        if len(problems) > _SHOWN:
            evidence.append(f"and {len(problems) - _SHOWN} more")
    return InputError(
        _clean(message), evidence=tuple(_clean(line) for line in evidence), hint=hint and _clean(hint)
    )


def _evidence(problem: Problem) -> list[str]:
    quoted = redact(problem.quoted)
    if len(quoted) > _QUOTE_LIMIT:
        quoted = f"{quoted[:_QUOTE_LIMIT]}..."
    details = list(problem.refused.details)
    return [f"line    `{quoted}`", *details] if quoted else details


def _clean(text: str) -> str:
    return printable(redact(text))


def check_variables(variables: Mapping[str, str]) -> None:
    """Check names and values of environment variables, which become text of a Dockerfile.

    :raises InputError: if a name has a character that a Dockerfile interprets, or a name or a value
        has a control character.
    """
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise InputError(
                f"`{printable(name)}` is not a valid name of an environment variable",
                evidence=("wanted  letters, digits, `_`, `.` and `-`",),
            )
        if control := _CONTROL.search(value):
            raise InputError(
                f"the value of the environment variable `{name}` contains a control character",
                evidence=(f"found   {printable(control[0])}",),
            )


def is_url(text: str) -> bool:
    """Return whether a text is a URL, not a path: it starts with ``file:`` or ``scheme://``."""
    return _URL_START.match(text) is not None


def register_urls(text: str) -> None:
    """Register the credentials and query strings of all URLs in ``text``, before a message can quote it."""
    for url in _URL.finditer(text):
        try:
            split_url(url[0])
        except ValueError:  # a malformed URL: the text before its last `@` is the user information
            register_secret(url["rest"].rpartition("@")[0])


def first_line(error: Exception) -> str:
    """Return the first line of a parser's error, in lower case and without a period, to end a message."""
    text = str(error).strip().partition("\n")[0].rstrip(". ")
    return text[:1].lower() + text[1:]


def display_path(path: Path, cwd: Path) -> str:
    """Return ``path`` as the user would write it: relative to ``cwd`` if it is below it."""
    return printable(str(path.relative_to(cwd) if path.is_relative_to(cwd) else path))


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.7) -> str | None:
    """Return the item of ``known`` that is most similar to ``word``, or None; for "did you mean"."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)
