"""Pure: the line that was probably meant by one that is not a requirement."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress

from packaging.requirements import InvalidRequirement, Requirement

from bundler.problems import ProblemError

__all__ = ["probable_requirement", "refuse_command", "refuse_known", "refuse_python"]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[^\]]*\])?"
_COMMAND = re.compile(
    r"(?:[$>%!]\s*)?(?:sudo\s+)?(?:python[\d.]*\s+-m\s+)?(?P<tool>pip[\d.]*|uv pip|uv|conda|mamba|poetry)\s+"
    r"(?P<verb>install|add)\s+(?P<rest>.+)"
)
_IMPORT = re.compile(r"(?:import|from)\s+(?P<name>[A-Za-z_]\w*)(?:[\s.].*)?")
_OPERATOR = re.compile(
    rf"(?P<name>{_NAME})\s*(?P<operator>=>|=<|=~|~>|=|@|\s)\s*[vV]?(?P<version>\d[\w.*+!-]*)"
)
_OPERATORS = {"=>": ">=", "=<": "<=", "=~": "~=", "~>": "~=", "=": "==", "@": "==", " ": "=="}
_PYTHON = re.compile(
    r"c?python\s*(?:[=<>~!]{0,3}|-)\s*v?(?P<version>\d[\d.]*(?:\.\*)?)?(?:\s*,.*)?", re.IGNORECASE
)
_MISSING_COMMA = re.compile(r"(?<=[\w.*])\s+(?=[<>=!~]=?)")
_LATEST = re.compile(rf"(?P<name>{_NAME})\s*(?:==?|@)\s*(?:latest|\*|any)", re.IGNORECASE)


def refuse_command(text: str) -> None:
    """Refuse a line that is a command, such as ``pip install six``.

    :raises ProblemError: with the requirements of the command.
    """
    # Cheap for the lines that are none, of which a file may have thousands.
    command = _COMMAND.fullmatch(text.strip()) if " install " in text or " add " in text else None
    if command is None:
        return
    words = command["rest"].split()
    with suppress(ValueError):
        words = shlex.split(command["rest"])
    names = [_mended(word) or word for word in words if not word.startswith("-")]
    rest = "` and `".join(names[:3])
    raise ProblemError(
        f"`{command['tool']} {command['verb']}` is a command, not a requirement",
        hint=f"write `{rest}`{', one per line' if len(names) > 1 else ''}" if names else "remove the line",
    )


def refuse_known(name: str) -> None:
    """Refuse a name that `pip freeze` writes, but that is not a distribution.

    :param name: the normalized name.
    """
    if name == "pkg-resources":
        raise ProblemError(
            "`pkg-resources` is not a distribution: `pip freeze` of Debian and Ubuntu writes it by mistake",
            hint="remove the line",
        )


def refuse_python(text: str, *, is_file: bool) -> None:
    """Refuse the interpreter as a requirement, as conda has it: ``python=3.8``.

    :param is_file: whether the text is a line of a file, not a word of the command line.
    """
    match = _PYTHON.fullmatch(text.strip()) if text[:8].lower().lstrip("c").startswith("python") else None
    if match is None:
        return
    version = re.sub(r"\.\*$", "", match["version"] or "3.7")
    option = f"`--python {version}`"
    raise ProblemError(
        "the interpreter is not a distribution",
        hint=f"pass {option} to the command, and remove the line" if is_file else f"pass {option}",
    )


def probable_requirement(text: str) -> str | None:
    """Return the requirement that was probably meant, or None.

    >>> probable_requirement("six=>1.16"), probable_requirement("six = 1.16"), probable_requirement("??")
    ('six>=1.16', 'six==1.16', None)
    """
    return next(filter(None, map(_mended, _candidates(text))), None)


def _candidates(text: str) -> Iterator[str]:
    bare = text.strip().strip("\"',").strip()
    if match := _LATEST.fullmatch(bare):
        yield match["name"]
    yield bare
    yield bare.removeprefix("- ").strip().strip("\"',")
    if match := _IMPORT.fullmatch(bare):
        yield match["name"]
    yield _MISSING_COMMA.sub(",", bare)
    yield _MISSING_COMMA.sub(",", re.sub(r"=>", ">=", re.sub(r"=<", "<=", bare)))


def _mended(text: str) -> str | None:
    """Return a requirement in the spelling of PEP 508, its operator corrected; None if it cannot be read."""
    operator = _OPERATOR.fullmatch(text)
    if operator:
        text = f"{operator['name']}{_OPERATORS[operator['operator'].strip() or ' ']}{operator['version']}"
    try:
        return str(Requirement(text))
    except InvalidRequirement:
        return None
