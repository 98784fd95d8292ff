"""Read the requirements of a Python script.

Spec: inline script metadata (PEP 723).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

from bundler.jsonio import parse_toml
from bundler.problems import ProblemError, first_line

__all__ = ["ScriptMetadata", "read_script"]

# The regular expression of the specification, and the end of a block that lacks its last line.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_START = re.compile(r"^#\s*///\s*script\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptMetadata:
    """The metadata block of a script."""

    dependencies: tuple[str, ...]
    requires_python: str
    """A specifier, possibly empty."""


def read_script(text: str) -> ScriptMetadata:
    r"""Return the metadata of a script.

    :raises ProblemError: if it has no block, several, or a malformed one.

    >>> read_script("# /// script\n# dependencies = ['six']\n# ///\n").dependencies
    ('six',)
    """
    blocks = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if len(blocks) != 1:
        fact = (
            "several `# /// script` blocks" if blocks else "missing `# /// script` block with `dependencies`"
        )
        start = _START.search(text)
        if start and not blocks:
            fact = "malformed `# /// script` block: it must end with `# ///`, every line with a `#`"
        raise ProblemError(
            fact,
            details=("wanted  the inline metadata of PEP 723",),
            hint="begin it with the lines `# /// script`, `# dependencies = ['six']` and `# ///`",
            line=text.count("\n", 0, start.start()) + 1 if start else None,
        )
    (block,) = blocks
    first = text.count("\n", 0, block.start()) + 1
    lines = block["content"].splitlines()
    try:
        table = parse_toml("\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines))
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = first + int(place[1]) if place else first
        reason = first_line(error).partition(" (at ")[0]
        raise ProblemError(f"its metadata is not valid TOML: {reason}", line=line) from error
    dependencies = table.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        raise ProblemError("its `dependencies` are not a list of strings", line=first)
    return ScriptMetadata(
        dependencies=tuple(dependencies), requires_python=str(table.get("requires-python", ""))
    )
