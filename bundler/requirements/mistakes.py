"""Pure: the line that was probably meant by one that is not a requirement."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement

from bundler.problems import ProblemError, closest
from bundler.requirements.text import first_input

__all__ = [
    "plain_text",
    "probable_marker",
    "probable_requirement",
    "python_problem",
    "refuse_command",
    "refuse_foreign",
    "refuse_known",
    "refuse_python",
    "shown_character",
    "typed_file_problem",
]

_TYPED_VERSION = re.compile(r"(?P<start>[\w.\[\],-]+\s*[=<>~!]=\s*)(?P<version>[\dOoIl][\dOoIl.]*)", re.ASCII)
_DIGITS = str.maketrans("OoIl", "0011")
"""Letters that look as digits do."""
_CHANNELS = frozenset({"anaconda", "bioconda", "conda-forge", "defaults", "main", "nvidia", "pytorch"})
"""The best known channels of conda, which its ``-c`` names."""

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[^\]]*\])?"
_COMMAND = re.compile(
    r"(?:[$>%!]\s*)?(?:RUN\s+)?(?:sudo\s+)?(?:python[\d.]*\s+-m\s+)?"
    r"(?:(?P<tool>pip[\d.]*|uv pip|uv|conda|mamba|poetry)\s+)?(?P<verb>install|add)\s+(?P<rest>[^<>=!~].*)"
)
_IMPORT = re.compile(r"(?:import|from)\s+(?P<name>[A-Za-z_]\w*)(?:[\s.].*)?")
_PROJECT = re.compile(rf"(?P<name>{_NAME})(?P<rest>.*)")
_CLAUSE = re.compile(r"(?P<operator>[<>=!~^:@]{0,4})[vV]?(?P<version>\d[\w.*+!-]*?)\.?")
_OPERATORS = {
    **{text: text for text in ("<", ">", "<=", ">=", "==", "!=", "~=", "===", "^")},
    "=>": ">=",
    "=<": "<=",
    "=~": "~=",
    "~>": "~=",
    "~": "~=",
    "!": "!=",
    **dict.fromkeys(("", "=", "@", ":"), "=="),
}
_WILDCARD = re.compile(r"(?P<start>\d+(?:\.\d+)*)\.[xX*](?:\.[xX*])*")
_NO_VERSION = ("*", "=*", "==*", "==", "=", ">", ">=", "^", "~=", ":")
_ITEM = re.compile(r"(?:[-*+\u2022\u2023\u00b7]|\d{1,3}[.)]|\[[ xX]?\])\s+")
"""The start of an item in Markdown or YAML."""
_MARKUP = re.compile(r"(?P<mark>\*\*|__|`|\*)(?P<text>.+)(?P=mark)")
_COMMENT = re.compile(r"\s+(?:-{1,2}|//)\s+.*")
_CHANNEL = re.compile(r"^[\w./-]+::", re.ASCII)
_AS = re.compile(r"(?P<name>[A-Za-z_]\w*)\s+as\s+[A-Za-z_]\w*", re.ASCII)
_TYPOGRAPHY = str.maketrans(
    {**dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'), **dict.fromkeys("\u2018\u2019\u201a", "'")}
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)
"""The quotes and dashes that word processors write instead of those of a keyboard."""
_PYTHON = re.compile(
    r"c?python\s*(?:[=<>~!]{0,3}|-)\s*v?(?P<version>\d[\d.]*(?:\.\*)?)?(?:\s*,.*)?", re.IGNORECASE
)
_MISSING_COMMA = re.compile(r"(?<=[\d*xX])(?=[<>=!~])")
_WINDOWS = re.compile(r"(?P<drive>[A-Za-z]:)?[\w. -]*\\[\w .\\/+-]*")
_FILE_URL = re.compile(r"file://(?P<path>\.{1,2}/.+)", re.IGNORECASE)
_CONDA = re.compile(r"[A-Za-z_][\w.-]*=\d[^=\s]*=[^=\s]+")
_HEADING = re.compile(r"\[{1,2}[A-Za-z][\w. -]*\]{1,2}|[A-Za-z][\w -]*:")
_FILE = re.compile(
    r"[\w-]*(?:require|constraint|environment|pyproject)[\w-]*\.[a-z]{2,4}|[\w-]+\.(?:txt|lock)"
)
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
_LATEST = re.compile(rf"(?P<name>{_NAME})\s*(?:==?|@|:)\s*(?:latest|\*|any)", re.IGNORECASE)


def refuse_command(text: str) -> None:
    """Refuse a line that is a command, such as ``pip install six``.

    :raises ProblemError: with the requirements of the command.
    """
    # Cheap for the lines that are none, of which a file may have thousands.
    is_near = "install " in text or "add " in text
    command = _COMMAND.fullmatch(text.strip()) if is_near else None
    if command is None:
        return
    words = command["rest"].split()
    with suppress(ValueError):
        words = shlex.split(command["rest"])
    names = [_mended(word) or word for word in words if not word.startswith("-")]
    rest = "` and `".join(names[:3])
    raise ProblemError(
        f"`{' '.join(filter(None, command.group('tool', 'verb')))}` is a command, not a requirement",
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
    if _HEADING.fullmatch(bare):
        raise ProblemError("a heading, not a requirement", hint="remove the line")
    if is_file and _FILE.fullmatch(bare):
        option = "-c" if "constraint" in bare.lower() else "-r"
        raise ProblemError("the name of a file, not a requirement", hint=f"write `{option} {bare}`")
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


def python_problem(text: str) -> ProblemError:
    """Return the problem of an invalid `requires-python`.

    >>> python_problem("3.7").hint, python_problem("^3.8").hint
    ('write `requires-python = ">=3.7"`', 'write `requires-python = "<4,>=3.8"`')
    """
    bare = text.strip().removesuffix("+")
    meant = probable_requirement(f"python >={bare}" if bare[:1].isdigit() else f"python {bare}")
    hint = f'write `requires-python = "{meant.removeprefix("python")}"`' if meant else None
    return ProblemError(f"`requires-python` is not a valid specifier: `{text}`", hint=hint)


def _candidates(text: str) -> Iterator[str]:
    plain = plain_text(text).strip()
    requirement, semicolon, marker = plain.partition(";")
    if semicolon and (meant := probable_marker(marker)) is not None:
        mended = next(filter(None, map(_mended, _candidates(requirement))), None)
        if mended is not None:
            yield f"{mended}; {meant}"
    bare = _undecorated(plain)
    if match := _TYPED_VERSION.fullmatch(bare):  # `1.16.O`
        yield match["start"] + match["version"].translate(_DIGITS)
    if match := _LATEST.fullmatch(bare):
        yield match["name"]
    if match := _IMPORT.fullmatch(bare) or _AS.fullmatch(bare):
        yield match["name"]
    yield bare
    yield _CHANNEL.sub("", bare)
    if (without := _COMMENT.sub("", bare)) != bare:
        yield without


def plain_text(text: str) -> str:
    """Return a text with the spaces, quotes and dashes of a keyboard, and without invisible characters."""
    text = unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)
    return "".join(char for char in text if char == "\t" or unicodedata.category(char)[0] != "C")


def shown_character(char: str) -> str:
    """Return the code point and the name of a character, for messages."""
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".rstrip()


def _undecorated(text: str) -> str:
    """Return an item of a list without its mark, markup, quotes and the comma after it."""
    while match := _ITEM.match(text):
        text = text[match.end() :]
    text = text.strip().strip("\"',").strip()
    if match := _MARKUP.fullmatch(text):
        text = match["text"]
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text


def _mended(text: str) -> str | None:
    """Return a requirement in the spelling of PEP 508, its operators corrected; None if it cannot be read."""
    with suppress(InvalidRequirement):
        requirement = Requirement(text)
        if requirement.url is None or "/" in requirement.url:  # not `six@1.16`
            return str(requirement)
    match = _PROJECT.fullmatch(text)
    specifier = _specifier(match["rest"]) if match else None
    if match is None or specifier is None:
        return None
    with suppress(InvalidRequirement):
        return str(Requirement(match["name"] + specifier))
    return None


def _specifier(text: str) -> str | None:
    """Return the specifier that was probably meant by the text after the name of a project, or None."""
    text = re.sub(r"[\"']", "", text).strip()
    text = re.sub(r"\s*([<>=!~^,]+)\s*", r"\1", text)
    text = text[1:-1].strip() if text.startswith("(") and text.endswith(")") else text
    if text in _NO_VERSION:
        return ""
    if not text.startswith(("<", ">", "=", "!", "~", "^", ":", "@", "v", "V")) and not text[:1].isdigit():
        return None
    text = _MISSING_COMMA.sub(",", re.sub(r"(?<=\d),(?=\d)", ".", re.sub(r"([:@])\s+", r"\1", text)))
    clauses = [_CLAUSE.fullmatch(part) for part in text.strip(",").split(",")]
    mended = [_clause(item["operator"], item["version"]) for item in clauses if item]
    pins = {clause for clause in mended if clause and clause.startswith("==")}
    return ",".join(filter(None, mended)) if all(clauses) and all(mended) and len(pins) < 2 else None  # noqa: PLR2004 - two pins contradict


def _clause(typed: str, version: str) -> str | None:
    """Return one clause of a specifier, as PEP 440 has it, or None.

    >>> _clause(">", "1.16.x"), _clause("^", "1.16"), _clause("^", "0.3")
    ('>=1.17', '>=1.16,<2', '>=0.3,<0.4')
    """
    operator = _OPERATORS.get(typed) or _OPERATORS.get(typed.lstrip("="))  # `six = ">=1.16"` of Poetry
    wildcard = _WILDCARD.fullmatch(version)
    start = wildcard["start"] if wildcard else version
    parts = [int(part) if part.isdecimal() else -1 for part in start.split(".")]
    if operator == "^":
        at = next((at for at, part in enumerate(parts) if part), len(parts) - 1)
        return None if -1 in parts else f">={start},<{_following(parts[: at + 1])}"
    if wildcard is None or operator is None:
        return operator and operator + version
    if operator in ("==", "!="):
        return f"{operator}{start}.*"
    if operator in (">", "<="):  # all of 1.16 is below, or included
        return f"{'>=' if operator == '>' else '<'}{_following(parts)}"
    return f"{operator}{start}{'.0' if operator == '~=' else ''}"


def _following(parts: list[int]) -> str:
    return ".".join(map(str, [*parts[:-1], parts[-1] + 1]))


def typed_file_problem(path: Path, problem: ProblemError, is_constraint: bool) -> ProblemError:
    """Return the problem of a file of the command line, with what was meant if the file is missing.

    :param is_constraint: whether it was passed as ``-c``; a channel of conda may be meant then.
    """
    if problem.fact != "file not found":
        return problem
    if is_constraint and path.name in _CHANNELS:
        return ProblemError(
            "file not found: `-c` names a file of constraints, not a channel of conda",
            hint=f"leave out `-c {path.name}`: channels are not used",
        )
    if is_constraint or problem.hint:
        return problem
    found = first_input(path.parent)
    return ProblemError(problem.fact, hint=f"pass `{shlex.join(found)}`, which exists" if found else None)
