"""Pure: explain a TOML document that cannot be parsed, with the line that was probably meant."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress

from bundler.jsonio import parse_toml
from bundler.problems import ProblemError, first_line
from bundler.requirements.mistakes import plain_text

__all__ = ["toml_problem"]

_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
_WORD = r"[A-Za-z0-9^~<>=!*./][^\s,\[\]\"'#]*(?:\[[\w,-]+\][^\s,\[\]\"'#]*)?"
_BARE_ITEM = re.compile(rf"(?<=[\[,])(\s*)({_WORD})(?=\s*(?:[,\]]|$))")
_BARE_LINE = re.compile(rf"(\s*)({_WORD})(\s*,?\s*)")
_BARE_VALUE = re.compile(r"(\s*[\w-]+\s*=\s*)([^\s\"'\[{#][^\"'\[{#]*?)(\s*)")
_NO_COMMA = re.compile(r"([\"'])\s+(?=[\"'])")
_COLON = re.compile(r"(\s*[\w-]+)\s*:\s*")


def toml_problem(text: str, error: Exception) -> ProblemError:
    """Return the problem of a document, with its line.

    :param error: of `tomllib`.
    """
    place = _PLACE.search(str(error))
    number = int(place["line"]) if place and place["line"] else len(text.splitlines()) or 1
    fact = f"not valid TOML: {_PLACE.sub('', first_line(error))}"
    lines = text.splitlines()
    if "twice" in fact or "overwrite" in fact:
        return _repeated(lines, number, fact)
    # A value that does not end is reported in the line after it.
    for at in (number, number - 1):
        if not 0 < at <= len(lines):
            continue
        line = lines[at - 1]
        for meant in _candidates(line):
            if _is_mended(lines, at, meant):
                details = (f"line    `{line.strip()}`",)
                return ProblemError(fact, line=at, details=details, hint=f"write `{meant.strip()}`")
    return ProblemError(fact, line=number)


def _repeated(lines: list[str], number: int, fact: str) -> ProblemError:
    """Return the problem of a table or a key that the document has already, with its first line."""
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    key = line.partition("=")[0].strip()
    before = (at for at in range(number - 1, 0, -1) if lines[at - 1].partition("=")[0].strip() == key)
    first = next(before, None)
    details = (f"line    `{line}`",)
    if first is None:
        return ProblemError(fact, line=number, details=details)
    move = "move its keys there, and remove this line" if line.startswith("[") else "remove one of the two"
    return ProblemError(
        fact, line=number, details=details, hint=f"`{key}` is in line {first} already: {move}"
    )


def _candidates(line: str) -> Iterator[str]:
    """Yield lines that are similar to a wrong one."""
    plain = plain_text(line)
    for text in (plain, _COLON.sub(r"\1 = ", plain, count=1)):
        if text != line:
            yield text
        yield _BARE_ITEM.sub(r'\1"\2"', text)
        yield _NO_COMMA.sub(r"\1, ", text)
        if match := _BARE_VALUE.fullmatch(text):
            yield f'{match[1]}"{match[2]}"{match[3]}'
        if match := _BARE_LINE.fullmatch(text):
            yield f'{match[1]}"{match[2]}"{match[3]}'


def _is_mended(lines: list[str], number: int, meant: str) -> bool:
    """Return whether a document has no mistake, or none up to a line, with another text of this line."""
    if meant == lines[number - 1]:
        return False
    text = "\n".join([*lines[: number - 1], meant, *lines[number:]])
    try:
        parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        with suppress(AttributeError, TypeError):
            place = _PLACE.search(str(error))
            return place is not None and int(place["line"] or 0) > number + 1
        return False
    return True
