"""Stage 1, pure: the version part of a conda match specification, and the same in PEP 440.

Conda and PEP 440 order releases alike. Where they differ, PEP 440 holds: ``<1.2``
leaves out the pre-releases of 1.2 and ``>1.2`` its post-releases, both of which
conda takes. What cannot be said in PEP 440 at all is refused, and so is what
conda and rattler read differently.

Specs: CEP 29 (match specifications), CEP 33 (version literals), PEP 440.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.version import InvalidVersion, Version

from bundler.problems import ProblemError

__all__ = ["Clause", "Range", "parse_ranges", "specifiers"]

_RUN = r"[0-9A-Za-z]+(?:[._-][0-9A-Za-z]+)*"
_VERSION = re.compile(rf"(?:[0-9]+!)?{_RUN}_?(?:\+{_RUN})?")
_OPERATOR = re.compile(r"~=|==|!=|<=|>=|[=<>]|")
_STAR = re.compile(r"\.?\*\Z")
_MISTAKES = {"===": "==", "!==": "!=", "=>": ">=", "=<": "<=", "<>": "!="}

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "~=", "in", "not in"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clause:
    """One bound of a version."""

    operator: Operator
    """``in`` and ``not in`` take every release that begins with the version, number by number."""
    version: str
    """What it compares with, as it is written."""

    def __str__(self) -> str:
        match self.operator:
            case "in":
                return f"{self.version}.*"
            case "not in":
                return f"!={self.version}.*"
            case _:
                return f"{self.operator}{self.version}"


Range = tuple[Clause, ...]
"""Clauses that all hold; none is every version."""


def parse_ranges(text: str, *, exact: bool = False) -> tuple[Range, ...]:
    """Return the alternatives that a version offers.

    ``=1.2``, ``1.2.*`` and ``1.2*`` are all the releases of 1.2 and never 1.20;
    ``1.2`` and ``==1.2`` are 1.2 alone.

    :param text: without spaces.
    :param exact: that a build follows, which makes a single ``=1.2`` exact.
    :raises RefusedError: if it is not a version, or is one that conda's tools do not agree on.

    >>> [",".join(map(str, item)) for item in parse_ranges("=1.2,!=1.2.3|>=2")]
    ['1.2.*,!=1.2.3', '>=2']
    """
    alone = "," not in text and "|" not in text
    if exact and alone and text.startswith("=") and not text.startswith("=="):
        text = text[1:]
    return tuple(
        tuple(clause for item in part.split(",") for clause in _clause(item, alone=alone, exact=exact))
        for part in text.split("|")
    )


def _clause(text: str, *, alone: bool, exact: bool) -> Iterator[Clause]:
    """Yield the clause that ``text`` is, or none for ``*``."""
    found = _OPERATOR.match(text)
    operator = found[0] if found else ""
    version = text[len(operator) :]
    if version == "*" and (not operator or (alone and operator in ("=", "=="))):
        return
    stem = _STAR.sub("", version)
    if not _VERSION.fullmatch(stem):
        raise _not_a_version(text, version)
    starred, dotted = stem != version, version.endswith(".*")
    match operator:
        case "" | "=" if alone or dotted or not (operator and starred):
            yield Clause(operator="in" if operator or starred else "==", version=stem)
        case "==" if starred and alone and not exact:
            yield Clause(operator="in", version=stem)
        case "!=" if dotted:
            yield Clause(operator="not in", version=stem)
        case ">=" | "<" if dotted or not starred:
            yield Clause(operator=operator, version=stem)
        case "==" | "!=" | "<=" | ">" if not starred:
            yield Clause(operator=operator, version=stem)
        case "~=" if not starred and "." in stem:
            yield Clause(operator="~=", version=stem)
        case "~=" if not starred:
            raise ProblemError(f"`{text}` needs a second number", hint=f"write `={stem}`")
        case _:
            plain = {"==": f"={stem}", "!=": f"!={stem}.*", "~=": f"={stem}"}
            raise ProblemError(
                f"conda's tools do not agree on what `{text}` is",
                hint=f"write `{plain.get(operator, operator + stem)}`",
            )


def _not_a_version(text: str, version: str) -> ProblemError:
    for wrong, right in _MISTAKES.items():
        if text.startswith(wrong):
            return ProblemError(
                f"`{wrong}` is not an operator", hint=f"write `{right}{text.removeprefix(wrong)}`"
            )
    if not version:
        return ProblemError(f"a version is missing after `{text}`" if text else "a version is missing")
    if text.startswith("^") or text.endswith("$"):
        return ProblemError(f"`{text}` is a regular expression, which no index understands")
    if "*" in version:
        return ProblemError(f"`{text}` has a star inside, which no index understands")
    return ProblemError(f"`{text}` is not a version")


def specifiers(name: str, version: str, notes: list[str], *, longer: bool = False) -> Iterator[str]:
    """Yield the specifiers of PEP 440 that take the releases which ``version`` takes.

    :param name: of the package, for what is told.
    :param notes: gets what is lost.
    :param longer: that releases on the index have a number more, so that ``==1.2`` finds none.
    :raises RefusedError: if there are several ranges, or a version that PEP 440 does not know.

    >>> list(specifiers("numpy", ">=1.20,<2.0a0", []))
    ['>=1.20', '<2.0']
    """
    ranges = _reduced(parse_ranges(version))
    if len(ranges) > 1:
        raise ProblemError(
            f"`{name} {version}` offers a choice of ranges, which PEP 440 cannot express",
            hint=f"write one of them: `{name} {','.join(map(str, ranges[-1]))}`",
        )
    for clause in ranges[0]:
        try:
            yield from _specifier(clause, notes, longer=longer)
        except (InvalidVersion, InvalidSpecifier) as error:
            raise ProblemError(
                f"`{clause}` of `{name}` is a version to conda, but not to PEP 440",
                hint=f"leave the version out: `{name}`",
            ) from error


def _specifier(clause: Clause, notes: list[str], *, longer: bool) -> Iterator[str]:
    version, operator = _version(clause.version), clause.operator
    release = _release(version)
    match operator:
        case "in" | "not in":
            sign = "==" if operator == "in" else "!="
            if _is_plain(version):
                yield f"{sign}{version}.*"
            else:
                notes.append(f"`{clause}` is taken as `{sign}{version}`")
                yield f"{sign}{version}"
        case "==" if longer and _is_plain(version):
            notes.append(f"`{clause}` is taken as `=={version}.*`: releases on PyPI have one more number")
            yield f"=={version}.*"
        case "<" if str(version) in (f"{release}a0", f"{release}.dev0"):
            yield f"<{release}"  # conda's way of leaving out the pre-releases is the rule of PEP 440
        case "~=" if not _is_plain(version):
            # PEP 440 would drop a number, conda drops what follows the last dot.
            yield f">={version}"
            yield str(Specifier(f"=={clause.version.rpartition('.')[0]}.*"))
        case _:
            yield str(Specifier(f"{operator}{version}"))


def _version(text: str) -> Version:
    """Return a version that is the same to conda and to PEP 440; ``1.0-1`` and ``v1`` are not."""
    if "-" in text or text[0] in "vV":
        raise InvalidVersion(text)
    return Version(text)


def _release(version: Version) -> str:
    epoch = f"{version.epoch}!" if version.epoch else ""
    return epoch + ".".join(map(str, version.release))


def _is_plain(version: Version) -> bool:
    """Tell whether there is nothing but numbers, which alone can be a prefix in PEP 440."""
    return str(version) == _release(version)


def _reduced(ranges: tuple[Range, ...]) -> list[Range]:
    """Return ``ranges`` without those that lie within another."""
    kept: list[Range] = []
    for one in ranges:
        if not any(_within(one, other) for other in kept):
            kept = [*(other for other in kept if not _within(other, one)), one]
    return kept


def _within(inner: Range, outer: Range) -> bool:
    return all(any(_implies(one, other) for one in inner) for other in outer)


def _implies(one: Clause, other: Clause) -> bool:
    """Tell whether ``other`` takes every version that ``one`` takes; False if that is not sure."""
    if one == other:
        return True
    try:
        first, second = _version(one.version), _version(other.version)
    except InvalidVersion:
        return False
    match one.operator, other.operator:
        case "==" | ">" | ">=", ">=":
            return first >= second
        case "==" | "<" | "<=", "<=":
            return first <= second
        case "==" | "in", "in" if _is_plain(second):
            return Specifier(f"=={second}.*").contains(first, prereleases=True)
        case _:
            return False
