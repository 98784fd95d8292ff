"""Pure: the entry points of a wheel.

Spec (PyPA): entry points.
"""

from __future__ import annotations

import configparser
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bundler.archive.record import OpenedWheel, refuse
from bundler.archive.zip import ZipReader
from bundler.paths import UnsafePathError, archive_path, printable

__all__ = ["EntryPoint"]


_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")
_OBJECT_REFERENCE = re.compile(
    r"(?P<module>[^:\[\]\s]+)\s*(?::\s*(?P<attribute>[^:\[\]\s]+)\s*)?(?:\[[^\[\]]*\])?"
)
_PYTHON = re.compile(r"python(?:3(?:\.[0-9]+)?)?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryPoint:
    """An entry point; its extras, deprecated by the specification, are dropped."""

    group: str
    name: str
    module: str
    attribute: str
    """Dotted; empty if the entry point refers to a module. A script always has an attribute."""


def read_entry_points(wheel: OpenedWheel) -> Iterator[EntryPoint]:
    """Yield the entry points: strict for scripts, which become launchers, lenient for other groups."""
    content = wheel.dist_info_file("entry_points.txt")
    if content is None:
        return
    parser = configparser.ConfigParser(
        delimiters=("=",), interpolation=None, default_section="", empty_lines_in_values=False
    )
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(content.decode("utf-8"))
    except (configparser.Error, ValueError) as error:
        refuse(wheel.reader, "its entry_points.txt is malformed", found=error)
    launchers: set[str] = set()
    for group in parser.sections():
        for name, value in parser.items(group):
            match = _OBJECT_REFERENCE.fullmatch(value.strip())
            point = EntryPoint(
                group=group,
                name=name,
                module=match["module"] if match else value,
                attribute=(match["attribute"] or "") if match else "",
            )
            if group in _SCRIPT_GROUPS:
                _check_launcher(wheel.reader, point, value)
                if name in launchers:
                    refuse(wheel.reader, f"two of its entry points have the name `{printable(name)}`")
                launchers.add(name)
            yield point


def _check_launcher(reader: ZipReader, point: EntryPoint, value: str) -> None:
    """Check that the launcher of an entry point is a file in ``bin``, is not Python, and calls an object.

    :raises MalformedError: if not.
    """
    shown_name = printable(point.name)
    try:
        archive_path(point.name)
    except UnsafePathError as error:
        refuse(reader, f"its entry point name `{shown_name}` is not a valid file name: {error}")
    if re.search(r"[/\s]", point.name):
        refuse(reader, f"its entry point name `{shown_name}` contains a slash or a space")
    if _PYTHON.fullmatch(point.name):
        refuse(reader, f"its entry point name `{shown_name}` is reserved for Python")
    names = [*point.module.split("."), *point.attribute.split(".")]
    if not all(name.isidentifier() and not keyword.iskeyword(name) for name in names):
        fact = f"its entry point `{shown_name}` does not name an object"
        refuse(reader, fact, found=value, wanted="`module:attribute`")
