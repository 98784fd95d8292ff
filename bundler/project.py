"""Stage 1: the text of the user's files, what is wrong with it, and what a ``pyproject.toml`` asks for.

Nothing is run: a project whose dependencies are computed by its build backend
(``dynamic``) is refused here and can be passed as a folder instead.

Reads: files. Read by: `requirements`.
Specs: PyPA "pyproject.toml", PEP 735 (dependency groups), PEP 685 (extra names), PEP 263 (``coding:``).
"""

from __future__ import annotations

import codecs
import difflib
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.dependency_groups import DependencyGroupResolver
from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pip_requirements_parser import COMMENT_RE, TextLine, preprocess  # type: ignore[import-untyped]

from bundler.errors import InputError
from bundler.paths import shown
from bundler.redact import redact, register_secret, split_url

__all__ = [
    "Problem",
    "RefusedError",
    "closest",
    "cut_off",
    "decode",
    "displayed",
    "first_line",
    "input_error",
    "is_remote",
    "logical_lines",
    "read_bytes",
    "read_project",
    "register_addresses",
]

# pip looks for these, and treats the rest of the file as that encoding; so must we.
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_TOML_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://(?P<rest>[^\s\"'<>]+)")
_REMOTE = re.compile(r"(file:|[A-Za-z][A-Za-z0-9+.-]*://)", re.IGNORECASE)
_QUOTE = 200

Asked = tuple[str, Requirement]
"""What asks (empty, ``[extra]`` or ``[group name]``) and what for."""


class RefusedError(ValueError):
    """One fact that makes an input unusable; the reader that catches it knows where that is."""

    def __init__(
        self, fact: str, *, details: tuple[str, ...] = (), hint: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(fact)
        self.fact = fact
        self.details = details
        self.hint = hint
        self.line = line


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with the input, and where it stands."""

    where: str
    """``file:line``, a file, or ``command line``."""
    refused: RefusedError
    """What is wrong."""
    quoted: str = ""
    """The line as it stands in the file, before any variable is expanded."""


def input_error(problems: Sequence[Problem]) -> InputError:
    """Return one error that tells all ``problems``; one is told in full, several in a list.

    Every text is redacted and made safe for a terminal here.
    """
    facts = [f"{problem.where}: {problem.refused.fact}" for problem in problems]
    if len(problems) == 1:
        message, evidence, hint = facts[0], _evidence(problems[0]), problems[0].refused.hint
    else:
        message, evidence, hint = f"{len(problems)} problems in the requirements", [], None
        for fact, problem in zip(facts, problems, strict=True):
            tried = [f"hint    {problem.refused.hint}"] if problem.refused.hint else []
            evidence += [fact, *(f"  {line}" for line in (*_evidence(problem), *tried))]
    return InputError(
        _clean(message), evidence=tuple(_clean(line) for line in evidence), hint=hint and _clean(hint)
    )


def _evidence(problem: Problem) -> list[str]:
    quoted = redact(problem.quoted)
    if len(quoted) > _QUOTE:
        quoted = f"{quoted[:_QUOTE]}..."
    return [*([f"line    `{quoted}`"] if quoted else []), *problem.refused.details]


def _clean(text: str) -> str:
    return shown(redact(text))


def is_remote(text: str) -> bool:
    """Return whether a text begins as an address does, so that it names no path."""
    return _REMOTE.match(text) is not None


def register_addresses(text: str) -> None:
    """Register the credentials and the query of every address in ``text``, before anything can quote it."""
    for found in _ADDRESS.finditer(text):
        try:
            split_url(found[0])
        except ValueError:
            register_secret(found["rest"].rpartition("@")[0])


def first_line(error: Exception) -> str:
    """Return the first line of what a parser says, as the rest of one of our sentences."""
    text = str(error).strip().partition("\n")[0].rstrip(". ")
    return text[:1].lower() + text[1:]


def displayed(path: Path, cwd: Path) -> str:
    """Return ``path`` as the user would write it: relative where it is inside ``cwd``."""
    return shown(str(path.relative_to(cwd) if path.is_relative_to(cwd) else path))


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that ``word`` was probably meant to be."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)), None)


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    :raises RefusedError: if there is none, if it is a folder or anything else that
        could not be read a second time, or if the system refuses.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise RefusedError("it is a folder, not a file")
        if not stat.S_ISREG(mode):
            raise RefusedError("it is not a regular file, and pip could not read it again")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise RefusedError("there is no such file") from error
    except OSError as error:
        raise RefusedError(f"it cannot be read: {(error.strerror or str(error)).lower()}") from error


def decode(content: bytes) -> tuple[str, str]:
    """Return the text of a file and the name of its encoding, exactly as pip will read it.

    UTF-8 with or without a byte order mark, and UTF-16 with one. A ``coding:``
    comment is honoured by pip, so one that would give another text than UTF-8
    is refused: what is checked must be what pip acts on.

    :raises RefusedError: with the line and the byte offset of the first bad byte.
    """
    mark, encoding = next((item for item in _BOMS if content.startswith(item[0])), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        offset = len(mark) + error.start
        raise RefusedError(
            f"byte 0x{content[offset]:02x} at offset {offset} is not {encoding.upper()}",
            hint="save the file as UTF-8",
            line=_line_at(content, offset),
        ) from error
    nul = text.find("\0")
    if nul >= 0:
        offset = len(mark) + len(text[:nul].encode(encoding))
        raise RefusedError(f"there is a NUL at byte offset {offset}", line=_line_at(content, offset))
    if not mark:
        _check_coding(content, text)
    return text, encoding


def _line_at(content: bytes, offset: int) -> int:
    return len(_LINE_END.findall(content, 0, offset)) + 1


def _check_coding(content: bytes, text: str) -> None:
    for number, line in enumerate(content.split(b"\n")[:2], start=1):
        found = _CODING.search(line) if line.startswith(b"#") else None
        if found is None:
            continue
        name = found[1].decode("ascii", "replace")
        try:
            same = content.decode(name) == text
        except (LookupError, ValueError):
            same = False
        if not same:
            raise RefusedError(
                f"its `coding: {name}` comment asks for another encoding than UTF-8",
                hint="save the file as UTF-8 and remove the comment",
                line=number,
            )
        return


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield each line of a requirements file as pip sees it, with the number of its first line.

    Comments and continuations are gone. Numbers are those of an editor: pip also
    ends lines at form feeds and the like, which do not count.

    >>> list(logical_lines("a \\\n b # c\n\nd"))
    [(1, 'a  b'), (4, 'd')]
    """
    numbers = [1]
    for line in text.splitlines(keepends=True):
        numbers.append(numbers[-1] + (line[-1] in "\r\n"))
    for found in preprocess(text):
        if isinstance(found, TextLine):
            yield numbers[found.line_number - 1], found.line


def cut_off(text: str) -> RefusedError | None:
    """Return what is wrong with a requirements file that ends in a continuation, or None."""
    lines = text.splitlines()
    if lines and lines[-1].endswith("\\") and not COMMENT_RE.match(lines[-1]):
        number = len(re.findall(r"\r\n|\r|\n", text.rstrip("\r\n"))) + 1
        return RefusedError("the file ends inside a line: nothing follows its last `\\`", line=number)
    return None


def read_project(
    text: str, *, extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> Iterator[Asked | RefusedError]:
    r"""Yield what a ``pyproject.toml`` asks for, and each thing that is wrong with it.

    First ``[project] dependencies``, then the extras, then the groups, in the
    order they were asked for. An extra that names the project itself
    (``all = ["name[dev]"]``) is replaced by what the named extras hold.
    A file without ``[project]`` may still have groups.

    >>> list(read_project("[project]\nname = 'x'\ndependencies = ['six']"))
    [('', <Requirement('six')>)]
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = place["line"] if place else None
        yield RefusedError(
            f"it is not TOML: {_TOML_PLACE.sub('', first_line(error))}",
            line=int(line) if line else len(text.splitlines()) or 1,
        )
        return
    project = document.get("project")
    if isinstance(project, dict):
        yield from _from_project(project, extras)
    elif extras or not groups:
        yield RefusedError(
            "it has no `[project]` table", hint="pass the project's folder (`.`) to let pip build it"
        )
    yield from _from_groups(document.get("dependency-groups", {}), groups)


def _from_project(project: Mapping[str, Any], extras: Sequence[str]) -> Iterator[Asked | RefusedError]:
    dynamic = project.get("dynamic", [])
    for field in ("dependencies", *(["optional-dependencies"] if extras else [])):
        if isinstance(dynamic, list) and field in dynamic:
            yield RefusedError(
                f"its `{field}` are dynamic: only its build backend knows them",
                hint="pass the project's folder (`.`) to let pip build it",
            )
            return
    optional = project.get("optional-dependencies", {})
    if not isinstance(optional, dict):
        yield RefusedError("`project.optional-dependencies` is not a table")
        return
    tables = {"": ("project.dependencies", project.get("dependencies", []))}
    for name, values in optional.items():
        normal = canonicalize_name(name)
        if normal in tables:
            yield RefusedError(f"the extra `{name}` is defined twice")
        tables[normal] = (f"project.optional-dependencies.{name}", values)
    for name in extras:
        if canonicalize_name(name) not in tables or not name:
            yield _unknown("extra", name, tables.keys() - {""})
    yield from _expanded(canonicalize_name(str(project.get("name", ""))), tables, extras)


def _expanded(
    own: str, tables: Mapping[str, tuple[str, Any]], extras: Sequence[str]
) -> Iterator[Asked | RefusedError]:
    """Yield the requirements of the chosen tables; a reference to the project itself opens more of them."""
    nothing: frozenset[str] = frozenset()
    pending = [("", "", nothing)]
    pending += [(canonicalize_name(name), f"[{name}]", nothing) for name in extras]
    seen = set()
    while pending:
        step = pending.pop(0)
        name, label, conditions = step
        if step in seen or name not in tables:
            continue
        seen.add(step)
        for item in _listed(*tables[name]):
            if isinstance(item, RefusedError):
                yield item
            elif canonicalize_name(item.name) == own and not item.url:
                below = conditions | ({str(item.marker)} if item.marker else nothing)
                inner = [(canonicalize_name(extra), label, below) for extra in sorted(item.extras)]
                yield from (
                    _unknown("extra", extra, tables.keys() - {""})
                    for extra, _, _ in inner
                    if extra not in tables
                )
                pending = inner + pending
            else:
                yield label, _under(item, conditions)


def _listed(table: str, values: object) -> Iterator[Requirement | RefusedError]:
    if not isinstance(values, list):
        yield RefusedError(f"`{table}` is not a list of requirements")
        return
    for value in values:
        register_addresses(str(value))
        try:
            yield Requirement(value)
        except InvalidRequirement as error:
            yield RefusedError(f"`{value}` in `{table}` is not a requirement: {first_line(error)}")
        except TypeError:
            yield RefusedError(f"`{value}` in `{table}` is not a string")


def _under(requirement: Requirement, conditions: frozenset[str]) -> Requirement:
    """Return ``requirement`` so that it holds only where all ``conditions`` do."""
    if conditions:
        own = {str(requirement.marker)} if requirement.marker else set()
        requirement.marker = Marker(" and ".join(f"({text})" for text in sorted(conditions | own)))
    return requirement


def _from_groups(table: object, groups: Sequence[str]) -> Iterator[Asked | RefusedError]:
    if not groups:
        return
    if not isinstance(table, dict):
        yield RefusedError("`dependency-groups` is not a table")
        return
    try:
        resolver = DependencyGroupResolver(table)
    except ExceptionGroup as failures:
        yield from _each(failures)
        return
    for group in groups:
        if canonicalize_name(group) not in resolver.dependency_groups:
            yield _unknown("group", group, resolver.dependency_groups)
            continue
        try:
            for requirement in resolver.resolve(group):
                yield f"[group {group}]", requirement
        except ExceptionGroup as failures:
            yield from _each(failures)


def _each(failures: ExceptionGroup[Exception]) -> Iterator[RefusedError]:
    for error in failures.exceptions:
        yield RefusedError(f"`dependency-groups` is malformed: {first_line(error)}")


def _unknown(kind: str, name: str, known: Iterable[str]) -> RefusedError:
    names = sorted(known)
    near = closest(canonicalize_name(name), names)
    return RefusedError(
        f"it has no {kind} `{name}`",
        details=(f"known   {', '.join(f'`{item}`' for item in names) or 'none'}",),
        hint=f"did you mean `--{kind} {near}`?" if near else None,
    )
