"""Pure: the lines of a conda ``env.yml`` that break its layout, each with the line that was meant.

A forgotten colon, dash or space makes another YAML of the whole file, or none, and the parser reports a
place after the mistake. So a file that cannot be read is read again line by line, as a list of packages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bundler.problems import ProblemError

__all__ = ["Layout", "read_layout"]

_LONGEST = 1 << 18
_KEY = re.compile(r"(?P<key>name|channels|dependencies|prefix|variables)(?P<rest>\s*:.*|\s*)")
_PIP = re.compile(r"pip\s*:?")
_OPTION = re.compile(r"(?:-[rcefi]|--[a-z][a-z-]*)(?:[\s=]|$)")
"""An option of pip, which has a dash of its own."""
_VERSION = re.compile(r"(?P<name>[A-Za-z][\w.-]*)\s*:\s*[\"']?(?P<version>\d[\w.*]*)[\"']?", re.ASCII)
_SPACES = re.compile(r"^( *-) +")
_LISTS = ("channels", "dependencies")


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The text of an environment file with the lines that were probably meant."""

    text: str
    problems: tuple[ProblemError, ...]
    """One for each line that differs, with the line that was meant."""


def read_layout(text: str) -> Layout:
    r"""Return the layout that was probably meant by a text.

    >>> read_layout("dependencies:\n- pip\n  - six\n").text
    'dependencies:\n- pip:\n  - six\n'
    """
    lines = text.splitlines() if len(text) <= _LONGEST else []
    reader = _LayoutReader(lines)
    meant = [reader.line(number, line) for number, line in enumerate(lines)]
    return Layout(text="".join(f"{line}\n" for line in meant), problems=tuple(reader.problems))


class _LayoutReader:
    """Follows the lists of a file by their indentation."""

    def __init__(self, lines: list[str]) -> None:
        self.problems: list[ProblemError] = []
        self._lines = lines
        self._section = ""
        self._items: int | None = None
        """The indentation of the list of the section."""
        self._pip: tuple[int, int] | None = None
        """The indentation of `pip:`, as typed and as meant."""
        self._pip_items: int | None = None

    def line(self, number: int, line: str) -> str:
        """Return the line that was probably meant by the next one."""
        body, _, comment = line.partition(" #")
        body = body.strip()
        if not body or body.startswith(("#", "---")):
            return line
        indent = _indent(line)
        meant, fact = self._key(body, indent)
        if not meant and (self._section in _LISTS or _PIP.fullmatch(body)):
            meant, fact = self._item(number, body, indent)
        if not meant or meant == _SPACES.sub(r"\1 ", line.partition(" #")[0].rstrip()):
            return line
        if "\t" in line[: len(line) - len(line.lstrip())]:
            fact = "indented with a tab"
        details = (f"line    `{line.rstrip()}`",)
        self.problems.append(ProblemError(fact, line=number + 1, details=details, hint=f"write `{meant}`"))
        return f"{meant}  #{comment}" if comment else meant

    def _key(self, body: str, indent: int) -> tuple[str, str]:
        match = _KEY.fullmatch(body)
        if match is None or (indent and (self._section == "variables" or not match["rest"].strip())):
            return "", ""
        key, value = match["key"], match["rest"].strip().removeprefix(":").strip()
        self._section, self._items, self._pip = key, None, None
        fact = "the key is indented, or a space is missing after its `:`"
        return f"{key}: {value}".rstrip(), fact if match["rest"].strip() else f"`{key}` has no `:`"

    def _item(self, number: int, body: str, indent: int) -> tuple[str, str]:
        item, fact = _without_dash(body)
        if item.count('"') == 1 or item.count("'") == 1:
            item, fact = item.replace('"', "").replace("'", ""), "the quote is not closed"
        if version := _VERSION.fullmatch(item):
            operator = "==" if self._pip and indent > self._pip[0] else "="
            item = f"{version['name']}{operator}{version['version']}"
            fact = fact or f"a version is written with `{operator}`"
        if _PIP.fullmatch(item) and (item != "pip" or self._is_above_list(number, indent)):
            return self._pip_section(item, indent, fact)
        if self._pip and indent > self._pip[0]:
            wanted = self._pip_items or max(indent, self._pip[1] + 2)
            self._pip_items = wanted
        else:
            self._pip = None
            wanted = self._items = indent if self._items is None else self._items
        return f"{' ' * wanted}- {item}", fact or "its indentation is not that of the list"

    def _pip_section(self, item: str, indent: int, fact: str) -> tuple[str, str]:
        self._section = "dependencies"
        if self._items is None:
            self._items = indent
        self._pip, self._pip_items = (indent, self._items), None
        if item == "pip":
            fact = "`pip` has no `:`, but a list below it"
        return f"{' ' * self._items}- pip:", fact or "its indentation is not that of the list"

    def _is_above_list(self, number: int, indent: int) -> bool:
        """Return whether the next line with content is indented more than a line."""
        below = (line for line in self._lines[number + 1 :] if line.strip() and line.strip()[0] != "#")
        return _indent(next(below, "")) > indent


def _indent(line: str) -> int:
    expanded = line.expandtabs(2)
    return len(expanded) - len(expanded.lstrip())


def _without_dash(body: str) -> tuple[str, str]:
    """Return an item of a list without its dash, and the problem of the dash, if any."""
    if body.startswith("- ") or body == "-":
        return body[1:].strip(), ""
    if body.startswith("-") and not _OPTION.match(body):
        return body.lstrip("-").strip(), "the space after the `-` is missing"
    return body, "an item of a list without its `-`"
