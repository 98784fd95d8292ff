"""The message and the hint of a command that failed, and the words that the hint suggests."""

from __future__ import annotations

import re
import shlex

from support.cli import Ended

QUOTED = re.compile(r"`([^`]+)`")


def message(ended: Ended) -> str:
    (line,) = [text for text in ended.stderr.splitlines() if text.startswith("bundler: error: ")]
    return line.removeprefix("bundler: error: ")


def hint(ended: Ended) -> str:
    (line,) = [text for text in ended.stderr.splitlines() if text.startswith("bundler: hint: ")]
    return line.removeprefix("bundler: hint: ")


def suggested(ended: Ended) -> list[str]:
    """Return the words of the command or the options in the hint."""
    text = hint(ended)
    quoted = QUOTED.search(text)
    words = shlex.split(quoted[1] if quoted else text)
    return words[1:] if words[0] == "bundler" else words
