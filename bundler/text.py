"""Texts of messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["first_lines", "listing"]


def listing(names: Iterable[str], limit: int) -> str:
    """Return names with commas between them, those beyond a limit as a number.

    >>> listing(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    >>> listing([], 2)
    ''
    """
    listed = list(names)
    text = ", ".join(listed[:limit])
    more = len(listed) - limit
    return f"{text} and {more} more" if more > 0 else text


def first_lines(lines: Sequence[str], limit: int) -> tuple[str, ...]:
    """Return the first lines of an error's evidence, those beyond a limit as a number.

    >>> first_lines(["a", "b", "c"], 1)
    ('a', 'and 2 more')
    """
    more = len(lines) - limit
    return (*lines[:limit], f"and {more} more") if more > 0 else tuple(lines)
