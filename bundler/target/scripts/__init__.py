"""Scripts that run in the target Python: standard library only, syntax of Python 3.7.

They are started by path and never imported; `script` locates them.
"""

from importlib import resources
from pathlib import Path

__all__ = ["script"]


def script(name: str) -> Path:
    """Return the path of one of the scripts that run in the target Python."""
    return Path(str(resources.files(__name__) / f"{name}.py"))
