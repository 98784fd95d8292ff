"""Format lists in messages and evidence, shortened to a limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["counted", "first_lines", "human_size", "listing", "quoted_names"]


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


def quoted_names(noun: str, names: Sequence[str]) -> str:
    """Return names in code quotes after their noun, in the singular or the plural.

    >>> quoted_names("option", ["-o"]), quoted_names("option", ["-o", "-r"])
    ('option: `-o`', 'options: `-o`, `-r`')
    """
    return f"{noun}{'' if len(names) == 1 else 's'}: {', '.join(f'`{name}`' for name in names)}"


def first_lines(lines: Sequence[str], limit: int) -> tuple[str, ...]:
    """Return the first ``limit`` lines of an error's evidence, and a line with the count of the others.

    >>> first_lines(["a", "b", "c"], 1)
    ('a', 'and 2 more')
    """
    more = len(lines) - limit
    return (*lines[:limit], f"and {more} more") if more > 0 else tuple(lines)


def human_size(count: int) -> str:
    """Return a number of bytes for people, in decimal units as pip prints them.

    >>> human_size(999), human_size(1_500), human_size(342_600_000), human_size(-2_000_000_000)
    ('999 bytes', '1.5 kB', '342.6 MB', '-2.0 GB')
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        # 999,950 bytes are 1.0 MB, not 1000.0 kB.
        if abs(count) >= factor - factor // 20_000:
            return f"{count / factor:.1f} {unit}"
    return counted(count, "byte")
