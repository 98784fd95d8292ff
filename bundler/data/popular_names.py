"""Pure: the most downloaded projects of the public index, for "did you mean".

``scripts/popular-names`` generates the list and names its source and date.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

__all__ = ["most_downloaded"]


@cache
def most_downloaded() -> tuple[str, ...]:
    """Return normalized names of projects, the most downloaded first.

    >>> most_downloaded().index("requests") < 100
    True
    """
    text = files(__package__).joinpath("popular_names.json").read_text("utf-8")
    return tuple(json.loads(text)["names"])
