"""Format lists in messages and evidence, shortened to a limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["counted", "first_lines", "human_size", "listing"]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the singular or the plural.

    >>> counted(1, "distribution"), counted(2, "distribution")
    ('1 distribution', '2 distributions')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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


def human_size(size: int) -> str:
    """Return a size in bytes for people, in the units of the SI.

    >>> human_size(999), human_size(12_345), human_size(118_744_978)
    ('999 bytes', '12.3 kB', '118.7 MB')
    """
    if size < 1000:  # noqa: PLR2004 - the base of the units
        return counted(size, "byte")
    amount, unit = float(size), ""
    for unit in ("kB", "MB", "GB", "TB"):  # noqa: B007 - the last one is used
        amount /= 1000
        if amount < 999.95:  # noqa: PLR2004 - else it would be shown as 1000.0
            break
    return f"{amount:.1f} {unit}"
