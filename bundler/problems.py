"""Problems of the user's input: facts, where they are, and the one error that reports them all."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import InputError
from bundler.paths import printable
from bundler.redaction import redact, register_secret, split_url

__all__ = [
    "Problem",
    "ProblemError",
    "closest",
    "display_path",
    "first_line",
    "input_error",
    "is_url",
    "register_urls",
]

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://(?P<rest>[^\s\"'<>]+)")
_REMOTE = re.compile(r"(file:|[A-Za-z][A-Za-z0-9+.-]*://)", re.IGNORECASE)
_QUOTE = 200


class ProblemError(ValueError):
    """One fact that makes an input unusable; the reader that catches it knows where that is."""

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
    """One thing that is wrong with the input, and where it stands."""

    where: str
    """``file:line``, a file, or ``command line``."""
    refused: ProblemError
    """What is wrong."""
    quoted: str = ""
    """The line as it stands in the file, before any variable is expanded."""


def input_error(problems: Sequence[Problem]) -> InputError:
    """Return one error that tells all ``problems``; one is told in full, several in a list.

    Every text is redacted and made safe for a terminal here.
    """
    facts = [f"{problem.where}: {problem.refused.fact}" for problem in problems]
    if len(problems) == 1:
        message, evidence, hint = facts[0], _evidence(problems[0]), problems[0].refused.hint
    else:
        message, evidence, hint = f"{len(problems)} problems in the requirements", [], None
        for fact, problem in zip(facts, problems, strict=True):
            tried = [f"hint    {problem.refused.hint}"] if problem.refused.hint else []
            evidence += [fact, *(f"  {line}" for line in (*_evidence(problem), *tried))]
    return InputError(
        _clean(message), evidence=tuple(_clean(line) for line in evidence), hint=hint and _clean(hint)
    )


def _evidence(problem: Problem) -> list[str]:
    quoted = redact(problem.quoted)
    if len(quoted) > _QUOTE:
        quoted = f"{quoted[:_QUOTE]}..."
    return [*([f"line    `{quoted}`"] if quoted else []), *problem.refused.details]


def _clean(text: str) -> str:
    return printable(redact(text))


def is_url(text: str) -> bool:
    """Return whether a text begins as an address does, so that it names no path."""
    return _REMOTE.match(text) is not None


def register_urls(text: str) -> None:
    """Register the credentials and the query of every address in ``text``, before anything can quote it."""
    for found in _ADDRESS.finditer(text):
        try:
            split_url(found[0])
        except ValueError:
            register_secret(found["rest"].rpartition("@")[0])


def first_line(error: Exception) -> str:
    """Return the first line of what a parser says, as the rest of one of our sentences."""
    text = str(error).strip().partition("\n")[0].rstrip(". ")
    return text[:1].lower() + text[1:]


def display_path(path: Path, cwd: Path) -> str:
    """Return ``path`` as the user would write it: relative where it is inside ``cwd``."""
    return printable(str(path.relative_to(cwd) if path.is_relative_to(cwd) else path))


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that ``word`` was probably meant to be."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)), None)
