"""Scripts that run in the target Python: standard library only, syntax of Python 3.7.

They are started by their path, which `script` returns, and never imported.
"""

from importlib import resources
from pathlib import Path

__all__ = ["script"]


def script(name: str) -> Path:
    """Return the path of a script, by its name without suffix."""
    return Path(str(resources.files(__name__) / f"{name}.py"))
