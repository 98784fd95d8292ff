"""Pure: the line that was probably meant by one that is not a requirement."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement

from bundler.problems import ProblemError, closest

__all__ = [
    "probable_marker",
    "probable_requirement",
    "refuse_command",
    "refuse_foreign",
    "refuse_known",
    "refuse_python",
]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[^\]]*\])?"
_COMMAND = re.compile(
    r"(?:[$>%!]\s*)?(?:sudo\s+)?(?:python[\d.]*\s+-m\s+)?(?P<tool>pip[\d.]*|uv pip|uv|conda|mamba|poetry)\s+"
    r"(?P<verb>install|add)\s+(?P<rest>.+)"
)
_IMPORT = re.compile(r"(?:import|from)\s+(?P<name>[A-Za-z_]\w*)(?:[\s.].*)?")
_OPERATOR = re.compile(
    rf"(?P<name>{_NAME})\s*(?P<operator>=>|=<|=~|~>|=|~|@|\s)\s*[vV]?(?P<version>\d[\w.*+!-]*)"
)
_OPERATORS = {"=>": ">=", "=<": "<=", "=~": "~=", "~>": "~=", "~": "~=", "=": "==", "@": "==", " ": "=="}
_PYTHON = re.compile(
    r"c?python\s*(?:[=<>~!]{0,3}|-)\s*v?(?P<version>\d[\d.]*(?:\.\*)?)?(?:\s*,.*)?", re.IGNORECASE
)
_MISSING_COMMA = re.compile(r"(?<=[\w.*])\s+(?=[<>=!~]=?)")
_WINDOWS = re.compile(r"(?P<drive>[A-Za-z]:)?[\w. -]*\\[\w .\\/+-]*")
_FILE_URL = re.compile(r"file://(?P<path>\.{1,2}/.+)", re.IGNORECASE)
_CONDA = re.compile(r"[A-Za-z_][\w.-]*=\d[^=\s]*=[^=\s]+")
_SEPARATORS = re.compile(r"\s*,\s*|\s+")
_SINGLE = re.compile(r"[A-Za-z][\w.-]*(?:\[[\w.-]+\])?(?:==[\w.*+!]+)?", re.ASCII)
"""A requirement that is neither a version nor a word of a sentence with punctuation."""
_TOKEN = re.compile(r"""'[^']*'|"[^"]*"|[<>=!~]{1,3}|[()]|\bnot\s+in\b|[^\s()<>=!~'"]+""")
_MARKER_OPERATORS = {
    **{text: text for text in ("<", ">", "<=", ">=", "==", "!=", "~=", "===", "in", "not in", "and", "or")},
    "=": "==",
    "=>": ">=",
    "=<": "<=",
    "(": "(",
    ")": ")",
    "AND": "and",
    "OR": "or",
}
_MARKER_VARIABLES = (
    *("python_version", "python_full_version", "os_name", "sys_platform", "platform_release"),
    *("platform_system", "platform_version", "platform_machine", "platform_python_implementation"),
    *("implementation_name", "implementation_version", "extra"),
)
"""The variables of PEP 508, "Environment Markers"."""
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


def refuse_foreign(text: str, *, is_file: bool) -> None:
    """Refuse a path of Windows, a line of `conda list --export`, and several requirements in one.

    :param is_file: whether the text is a line of a file, not a word of the command line.
    """
    bare = text.strip()
    if match := _WINDOWS.fullmatch(bare):
        path = bare.removeprefix(match["drive"] or "").replace("\\", "/")
        relative = path if path.startswith(".") else f"./{path.lstrip('/')}"
        copied = "copy it here, and " if match["drive"] or path.startswith("/") else ""
        name = relative.rpartition("/")[2]
        hint = f"{copied}write `{f'./{name}' if copied else relative}`"
        raise ProblemError("a path of Windows, with backslashes", hint=hint)
    if match := _FILE_URL.fullmatch(bare):
        raise ProblemError(
            "the path of a `file:` URL must be absolute", hint=f"did you mean `{match['path']}`?"
        )
    if _CONDA.fullmatch(bare):
        raise ProblemError(
            "a conda package with its build, not a requirement",
            hint="`conda env export > env.yml`, then pass `-f env.yml`",
        )
    names = _SEPARATORS.split(bare)
    if len(names) > 1 and all(map(_SINGLE.fullmatch, names)) and probable_requirement(text) is None:
        listed = "` and `".join(names)
        hint = f"write `{listed}`, one per line" if is_file else f"write `{shlex.join(names)}`"
        raise ProblemError("several requirements in one", hint=hint)


def probable_marker(text: str) -> str | None:
    """Return the marker that was probably meant, or None.

    >>> probable_marker("python_verison < 3.8 && sys_platform = linux")
    'python_version < "3.8" and sys_platform == "linux"'
    """
    words = []
    is_value = False
    for token in _TOKEN.findall(text.replace("&&", " and ").replace("||", " or ")):
        word = token
        if token in _MARKER_OPERATORS:
            word = _MARKER_OPERATORS[token]
            is_value = word not in ("(", ")", "and", "or")
        elif token[0] not in "'\"":
            near = closest(token.lower().replace(".", "_"), _MARKER_VARIABLES)
            if near is None and not is_value:
                return None
            word = f'"{token}"' if is_value else str(near)
            is_value = False
        words.append(word)
    try:
        return str(Marker(" ".join(words)))
    except InvalidMarker:
        return None


def probable_requirement(text: str) -> str | None:
    """Return the requirement that was probably meant, or None.

    >>> probable_requirement("six=>1.16"), probable_requirement("six = 1.16"), probable_requirement("??")
    ('six>=1.16', 'six==1.16', None)
    """
    return next(filter(None, map(_mended, _candidates(text))), None)


def _candidates(text: str) -> Iterator[str]:
    bare = text.strip().strip("\"',").strip()
    requirement, semicolon, marker = text.strip().partition(";")
    if semicolon and (meant := probable_marker(marker)) is not None:
        mended = next(filter(None, map(_mended, _candidates(requirement))), None)
        if mended is not None:
            yield f"{mended}; {meant}"
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
