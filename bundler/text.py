"""Format lists in messages and evidence, shortened to a limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["first_lines", "listing"]


def listing(names: Iterable[str], limit: int) -> str:
    """Return names joined by commas, those beyond ``limit`` as a count.

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
    """Return the first ``limit`` lines of an error's evidence, and a line with the count of the others.

    >>> first_lines(["a", "b", "c"], 1)
    ('a', 'and 2 more')
    """
    more = len(lines) - limit
    return (*lines[:limit], f"and {more} more") if more > 0 else tuple(lines)
