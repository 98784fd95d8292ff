"""Scripts that run in the target Python: standard library only, syntax of Python 3.7.

They are started by their path, which `script` returns, and never imported.
"""

import math
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TypeVar

__all__ = ["in_shares", "script"]

_SHARE = 4 << 20
"""Bytes of source for one process: about a second of work, to which its start adds little."""

_T = TypeVar("_T")


def script(name: str) -> Path:
    """Return the path of a script, by its name without suffix."""
    return Path(str(resources.files(__name__) / f"{name}.py"))


def in_shares(files: Sequence[_T], size_of: Callable[[_T], int]) -> list[list[_T]]:
    """Return files in lists of about equal size, one for each process; each begins with its largest file.

    :param size_of: returns the bytes of a file.
    """
    count = min(len(files), math.ceil(sum(map(size_of, files)) / _SHARE) or 1)
    largest = sorted(files, key=size_of, reverse=True)
    return [largest[first::count] for first in range(count)]
