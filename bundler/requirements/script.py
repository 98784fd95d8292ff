"""Read the requirements of a Python script.

Spec: inline script metadata (PEP 723).
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from bundler.data.import_names import provider_of
from bundler.data.popular_names import most_downloaded
from bundler.jsonio import parse_toml
from bundler.problems import ProblemError, first_line

__all__ = ["ScriptMetadata", "read_script"]

# The regular expression of the specification, and the end of a block that lacks its last line.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_START = re.compile(r"^#\s*///\s*script\s*$", re.MULTILINE)

_NAMESPACES = ("azure", "google")
"""Modules of many projects; the projects of these names do not provide them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptMetadata:
    """The metadata block of a script."""

    dependencies: tuple[str, ...]
    requires_python: str
    """A specifier, possibly empty."""


def read_script(text: str, folder: Path | None = None) -> ScriptMetadata:
    r"""Return the metadata of a script.

    :param folder: the directory of the script; for a hint, modules in it are not dependencies.
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
        names = _imported(text, folder)
        raise ProblemError(
            fact,
            details=("wanted  the inline metadata of PEP 723",),
            hint=f"begin it with the lines `# /// script`, `# dependencies = {names}` and `# ///`",
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


def _imported(text: str, folder: Path | None) -> list[str]:
    """Return the distributions that a script imports, if they are known; an example if it is invalid."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ["six"]
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    names = {module.partition(".")[0] for module in modules}
    projects = {
        provider_of(name)
        for name in names
        if name not in sys.stdlib_module_names
        and not (folder and ((folder / f"{name}.py").exists() or (folder / name).is_dir()))
    }
    # The name of a module that is not known could be that of another project.
    known = [
        name for name in projects if canonicalize_name(name) in most_downloaded() and name not in _NAMESPACES
    ]
    return sorted(known, key=str.lower)
