"""The message and the hint of a command that failed, and the words that a hint suggests."""

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


def quoted_words(text: str | None) -> list[str]:
    """Return the words of the first quotation in a hint."""
    return shlex.split(QUOTED.findall(text or "")[0])


def pasted_words(text: str) -> list[str]:
    """Return the words of the first quotation in a hint, or of the whole one if it has none."""
    return quoted_words(text) if QUOTED.search(text) else shlex.split(text)


def suggested(ended: Ended) -> list[str]:
    """Return the words of the command or the options in the hint."""
    words = pasted_words(hint(ended))
    return words[1:] if words[0] == "bundler" else words
