"""Facade: the lines of an environment's pip section, classified by pip's rules.

A line is a requirement (PEP 508), the URL or path of a distribution, or an option. A
requirements file is read together with the files that it includes (``-r``), because an
environment is saved, registered and built elsewhere.

Source: pip, "Requirements File Format".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from bundler.azureml.core._files import display_name, input_error_at, read_text
from bundler.azureml.exceptions import MissingError
from bundler.paths import printable
from bundler.problems import ProblemError, first_line, is_url
from bundler.redaction import url_filename
from bundler.requirements.text import cut_off, logical_lines

__all__ = [
    "check_package",
    "is_option",
    "merge",
    "one_line",
    "option_name",
    "package_name",
    "read_lines",
    "tidy",
]

_SHORT = {
    "-i": "--index-url",
    "-f": "--find-links",
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
}
_OPTIONS = re.compile(r"\s+(?=--[a-z])")
_COMMENT = re.compile(r"(?:^|\s+)#.*$")
_EGG = re.compile(r"[#&]egg=([A-Za-z0-9._-]+)")
_ARCHIVES = (".whl", ".tar.gz", ".zip")
_NAMES_A_FILE = re.compile(
    r"(-r|--requirement|-c|--constraint|-f|--find-links|-e|--editable)(?:\s*=\s*|\s*)(.+)"
)


def is_option(line: str) -> bool:
    """Return whether a line is an option, such as ``--pre``."""
    return line.startswith("-")


def option_name(line: str) -> str:
    """Return the name of an option, in its long form if it has one.

    >>> option_name("-i https://index.example/simple"), option_name("--index-url=https://index.example/simple")
    ('--index-url', '--index-url')
    """
    name = re.split(r"[\s=]", line, maxsplit=1)[0]
    if not name.startswith("--"):
        name = name[:2]
    return _SHORT.get(name, name)


def package_name(line: str) -> str | None:
    """Return the normalized name of the project that a line requires; None for a path or URL without it.

    >>> package_name("Py_YAML [fast] >= 5 ; python_version < '3.8'")
    'py-yaml'
    >>> package_name("https://index.example/files/six-1.16.0-py2.py3-none-any.whl")
    'six'
    """
    text = _requirement(line)
    requirement = _parsed(text)
    if requirement is not None:
        return canonicalize_name(requirement.name)
    egg = _EGG.search(text)
    if egg:
        return canonicalize_name(egg[1])
    last = url_filename(text)
    for parse in (parse_wheel_filename, parse_sdist_filename):
        try:
            return canonicalize_name(parse(last)[0])
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
    return None


def check_package(line: object) -> str:
    """Return a line that requires one project, without its comment and the space around it.

    :raises ProblemError: if it is an option or not a valid requirement.
    """
    if not isinstance(line, str):
        raise ProblemError("expected a string", details=(f"found   {type(line).__name__}",))
    line = one_line(line)
    if is_option(line):
        raise ProblemError("it is an option, not a package", hint="pass it to `set_pip_option`")
    text = _requirement(line)
    if not re.search(r"\s", text.partition(" ;")[0]) and ("${" in text or _is_path(text)):
        return line  # a path or URL: pip reads the name from its metadata
    try:
        Requirement(text)
    except InvalidRequirement as error:
        pinned = re.fullmatch(r"[\w.-]+=[\w.*]+", text)
        hint = f"write `{text.replace('=', '==')}`: pip pins with `==`" if pinned else None
        raise ProblemError(f"it is not a requirement: {first_line(error)}", hint=hint) from error
    return line


def one_line(text: str) -> str:
    """Return a line without its comment.

    :raises ProblemError: if it has a control character or a line break.
    """
    if not text.replace("\t", " ").isprintable():
        raise ProblemError("it has a control character or a line break")
    return "".join(tidy([text]))


def tidy(lines: Sequence[str]) -> list[str]:
    r"""Return the logical lines: without comments and blank lines, continued lines joined.

    >>> tidy(["# tools", "", "six==1.16.0 \\", "    --hash=sha256:00"])
    ['six==1.16.0 --hash=sha256:00']
    """
    return [_OPTIONS.sub(" ", line).strip() for _, line in logical_lines("\n".join(lines))]


def merge(requirements: Sequence[str]) -> list[str]:
    """Merge the requirements of each project and marker, in the order of their first occurrence.

    :raises ProblemError: if one is not a valid requirement.

    >>> merge(["six>=1", "flask[async]", "six<2"])
    ['six>=1,<2', 'flask[async]']
    """
    merged: dict[tuple[str, str], tuple[str, set[str], list[str]]] = {}
    for text in map(check_package, requirements):
        requirement = _parsed(text)
        if requirement is None or requirement.url:
            merged[text, ""] = (text, set(), [])
            continue
        marker = f" ; {requirement.marker}" if requirement.marker else ""
        key = (canonicalize_name(requirement.name), marker)
        _, extras, specifiers = merged.setdefault(key, (requirement.name, set(), []))
        extras |= requirement.extras
        specifiers += _specifiers(text)
    return [
        name + (f"[{','.join(sorted(extras))}]" if extras else "") + ",".join(specifiers) + marker
        for (_, marker), (name, extras, specifiers) in merged.items()
    ]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a requirements file, included files (``-r``) in place of their lines.

    Comments and blank lines are removed, continued lines are joined. Other paths (constraints,
    local distributions) become absolute if the file exists, so that they are valid from any
    directory. As in pip, ``-r``, ``-c`` and ``-f`` start at the file that contains them, and
    distributions at the working directory.

    :raises MissingError: if one of the files does not exist.
    :raises InputError: if one cannot be read, or they include each other in a loop.
    """
    return list(_lines(path.absolute(), ()))


def _lines(path: Path, chain: tuple[Path, ...]) -> Iterator[str]:
    text = read_text(path)
    cut = cut_off(text)
    if cut is not None:
        raise input_error_at(display_name(path), cut)
    for number, logical in logical_lines(text):
        line = _OPTIONS.sub(" ", logical).strip()
        option = _NAMES_A_FILE.fullmatch(line)
        if option is None:
            yield line if is_option(line) or not _is_path(line) else _anchored(line, Path.cwd())
        elif option_name(line) == "--requirement" and not is_url(option[2]):
            yield from _lines(_nested(path, number, line, option[2], chain), (*chain, path))
        elif option_name(line) == "--editable":
            yield f"{option[1]} {_anchored(option[2], Path.cwd())}"
        else:
            yield f"{option[1]} {_anchored(option[2], path.parent, Path.cwd())}"


def _nested(path: Path, number: int, line: str, name: str, chain: tuple[Path, ...]) -> Path:
    """Return the file that a ``-r`` line includes; as in pip, the path starts at the including file."""
    below = Path(os.path.normpath(path.parent / name))
    if below in (*chain, path):
        raise input_error_at(
            display_name(path), ProblemError("the files include each other in a loop", line=number), line
        )
    if not below.is_file():
        raise MissingError(
            f"{display_name(path)}:{number}: file not found: `{printable(name)}`",
            evidence=(f"at      `{display_name(below)}`",),
        )
    return below


def _is_path(line: str) -> bool:
    """Return whether a line without spaces is a path or a URL."""
    return "/" in line or line.endswith(_ARCHIVES)


def _anchored(text: str, *folders: Path) -> str:
    """Return a path as absolute if it exists in one of the directories; any other text unchanged."""
    name, bracket, extras = text.partition("[")
    for folder in folders:
        if os.path.exists(folder / name):  # noqa: PTH110 - False, not an error, for a text that cannot be a path
            return f"{os.path.normpath(folder / name)}{bracket}{extras}"
    return text


def _parsed(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _requirement(line: str) -> str:
    """Return a line without its comment and its options (``--hash``)."""
    return _OPTIONS.split(_COMMENT.sub("", line).strip(), maxsplit=1)[0]


def _specifiers(text: str) -> list[str]:
    """Return the version specifiers of a valid requirement in their written order.

    ``packaging.SpecifierSet`` is a set: it loses the order.
    """
    versions = re.sub(r"^[\w.\s-]+?(\[[^]]*\])?\s*(?=[(<>=!~;]|$)", "", text.strip().partition(";")[0])
    return [part for part in re.sub(r"[\s()]", "", versions).split(",") if part]
