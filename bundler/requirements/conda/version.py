"""Parse the version of a conda match specification, and translate it to PEP 440.

Conda and PEP 440 order releases alike. Where they differ, the rule of PEP 440
applies: ``<1.2`` excludes the pre-releases of 1.2 and ``>1.2`` its post-releases,
both of which conda includes. A version that PEP 440 cannot express is rejected, and
so is one that conda and rattler interpret differently.

Specs: CEP 29 (match specifications), CEP 33 (version literals), PEP 440.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from bundler.problems import ProblemError

__all__ = ["Clause", "Range", "allows", "checked_version", "chosen_version", "parse_ranges", "specifiers"]

_RUN = r"[0-9A-Za-z]+(?:[._-][0-9A-Za-z]+)*"
_VERSION = re.compile(rf"(?:[0-9]+!)?{_RUN}_?(?:\+{_RUN})?")
_OPERATOR = re.compile(r"~=|==|!=|<=|>=|[=<>]|")
_STAR = re.compile(r"\.?\*\Z")
_MISTAKES = {"===": "==", "!==": "!=", "=>": ">=", "=<": "<=", "<>": "!="}
_PYTHON = re.compile(r"[0-9]+\.[0-9]+(?:\.[0-9]+)?(?:(?:a|b|rc)[0-9]+)?", re.ASCII)
_BARE = re.compile(r"(?<![^|,\s])(?=[0-9])")
# The operators of clauses that a named version satisfies: `<3.9` and `!=3.8` name one that is excluded.
_NAMING = frozenset({"==", "in", ">=", "~="})

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "~=", "in", "not in"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clause:
    """One comparison of a version specification."""

    operator: Operator
    """``in`` and ``not in`` compare with a prefix of the release, number by number."""
    version: str
    """The right operand, as written."""

    def __str__(self) -> str:
        match self.operator:
            case "in":
                return f"{self.version}.*"
            case "not in":
                return f"!={self.version}.*"
            case _:
                return f"{self.operator}{self.version}"


Range = tuple[Clause, ...]
"""Clauses that are combined with "and"; an empty range contains every version."""


def parse_ranges(text: str, *, exact: bool = False) -> tuple[Range, ...]:
    """Return the ranges of a version specification, which are combined with "or".

    ``=1.2``, ``1.2.*`` and ``1.2*`` contain all releases of 1.2, but not 1.20;
    ``1.2`` and ``==1.2`` contain 1.2 only.

    :param text: the specification, without spaces.
    :param exact: whether a build string follows, which makes a single ``=1.2`` exact.
    :raises ProblemError: if it is malformed, or conda's tools disagree about its meaning.

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
    """Yield the clause of ``text``, or none for ``*``.

    The cases accept the combinations of operator and star for which conda and rattler agree:
    conda reads ``>1.2.*`` as ``>1.2``, rattler rejects it; and a star without a dot (``1.2*``)
    is a prefix of text to conda, of numbers to rattler, unless it is the whole specification.

    :param alone: whether the specification has no other clause.
    """
    match_ = _OPERATOR.match(text)
    operator = match_[0] if match_ else ""
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
                f"conda's tools disagree about the meaning of `{text}`",
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
        return ProblemError(f"`{text}` is a regular expression, which PEP 440 cannot express")
    if "*" in version:
        return ProblemError(f"`{text}` has a star inside, which PEP 440 cannot express")
    return ProblemError(f"`{text}` is not a version")


def specifiers(name: str, version: str, notes: list[str], *, longer: bool = False) -> Iterator[str]:
    """Yield the PEP 440 specifiers that contain the same releases as a conda version.

    :param name: the name of the package, for messages.
    :param notes: receives one line for each inexact translation.
    :param longer: whether releases on the index have one more number than those of conda, so that
        ``==1.2`` would match none.
    :raises ProblemError: if several ranges remain, or a version is invalid in PEP 440.

    >>> list(specifiers("numpy", ">=1.20,<2.0a0", []))
    ['>=1.20', '<2.0']
    """
    ranges = _reduced(parse_ranges(version))
    if len(ranges) > 1:
        raise ProblemError(
            f"`{name} {version}` has alternative ranges, which PEP 440 cannot express",
            hint=f"keep one of them: `{name} {','.join(map(str, ranges[-1]))}`",
        )
    for clause in ranges[0]:
        try:
            yield from _specifier(clause, notes, longer=longer)
        except (InvalidVersion, InvalidSpecifier) as error:
            raise ProblemError(
                f"`{clause}` of `{name}` is a valid version in conda, but not in PEP 440",
                hint=f"omit the version: `{name}`",
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
                # PEP 440 allows `.*` after a release only, not after a pre-release.
                notes.append(f"`{clause}` is taken as `{sign}{version}`")
                yield f"{sign}{version}"
        case "==" if longer and _is_plain(version):
            notes.append(f"`{clause}` is taken as `=={version}.*`: releases on PyPI have one more number")
            yield f"=={version}.*"
        case "<" if str(version) in (f"{release}a0", f"{release}.dev0"):
            yield f"<{release}"  # conda writes `<2.0a0` to exclude pre-releases; PEP 440's `<` does so
        case "~=" if not _is_plain(version):
            # `~=1.4.5a4` is `==1.4.*` in PEP 440, which ignores the suffix; conda removes the part
            # after the last dot, as written.
            yield f">={version}"
            yield str(Specifier(f"=={clause.version.rpartition('.')[0]}.*"))
        case _:
            yield str(Specifier(f"{operator}{version}"))


def _version(text: str) -> Version:
    """Return a version that conda and PEP 440 interpret alike; ``1.0-1`` and ``v1`` are rejected.

    ``-1`` is a post-release in PEP 440 and an ordinary part in conda; conda orders ``v1`` as text.
    """
    if "-" in text or text[0] in "vV":
        raise InvalidVersion(text)
    return Version(text)


def _release(version: Version) -> str:
    epoch = f"{version.epoch}!" if version.epoch else ""
    return epoch + ".".join(map(str, version.release))


def _is_plain(version: Version) -> bool:
    """Return whether a version has a release only; PEP 440 allows ``.*`` after no other."""
    return str(version) == _release(version)


def _reduced(ranges: tuple[Range, ...]) -> list[Range]:
    """Return ``ranges`` without those contained in another one: ``1.2.*|>=1`` is ``>=1``."""
    reduced: list[Range] = []
    for candidate in ranges:
        if not any(_within(candidate, other) for other in reduced):
            reduced = [*(other for other in reduced if not _within(other, candidate)), candidate]
    return reduced


def _within(inner: Range, outer: Range) -> bool:
    """Return whether ``outer`` contains ``inner``: each of its clauses follows from an inner one."""
    return all(any(_implies(clause, bound) for clause in inner) for bound in outer)


def _implies(clause: Clause, bound: Clause) -> bool:
    """Return whether ``bound`` contains every version of ``clause``; False if this is not certain."""
    if clause == bound:
        return True
    try:
        first, second = _version(clause.version), _version(bound.version)
    except InvalidVersion:
        return False
    match clause.operator, bound.operator:
        case "==" | ">" | ">=", ">=":
            return first >= second
        case "==" | "<" | "<=", "<=":
            return first <= second
        case "==" | "in", "in" if _is_plain(second):
            return Specifier(f"=={second}.*").contains(first, prereleases=True)
        case _:
            return False


# The version of Python. An environment has one Python, and a bundle one target, so a constraint on
# `python` must select one version.


def checked_version(version: str) -> str:
    """Return a version of Python, without a trailing ``.*``.

    :raises ProblemError: if it is not ``major.minor`` or ``major.minor.micro``.

    >>> checked_version("3.7.*")
    '3.7'
    """
    plain = version.strip().removesuffix(".*")
    if not _PYTHON.fullmatch(plain):
        raise ProblemError(f"`{version}` is not a version of Python", details=("wanted  3.7 or 3.7.16",))
    return plain


def chosen_version(constraint: str | None) -> str | None:
    """Return the first version of Python that a constraint contains and accepts, or None.

    >>> chosen_version(">=3.7,<3.9"), chosen_version("=3.8.*"), chosen_version("<3.9")
    ('3.7', '3.8', None)
    """
    for alternative in (constraint or "").split("|"):
        for clause in _python_clauses(alternative) or ():
            named = clause.version if clause.operator in _NAMING else ""
            if _PYTHON.fullmatch(named) and allows(alternative, named):
                return named
    return None


def allows(constraint: str | None, version: str) -> bool:
    """Return whether a version of Python satisfies a constraint; a malformed one accepts none.

    >>> allows("3", "3.7"), allows("<3.7", "3.7"), allows(None, "3.7")
    (True, False, True)
    """
    return any(_is_met(alternative, version) for alternative in (constraint or "*").split("|"))


def _is_met(alternative: str, version: str) -> bool:
    clauses = _python_clauses(alternative)
    if clauses is None:
        return False
    try:
        texts = [text for clause in clauses for text in _specifier(clause, [], longer=False)]
    except (InvalidVersion, InvalidSpecifier):
        return False
    return SpecifierSet(",".join(texts)).contains(version, prereleases=True)


def _python_clauses(alternative: str) -> Range | None:
    """Return the clauses of one alternative, or None if it is malformed.

    A bare ``3.7`` is ``=3.7``, any 3.7 release: unlike other packages, ``python`` has no 3.7 without a
    micro version.
    """
    try:
        (clauses,) = parse_ranges(_BARE.sub("=", alternative.replace(" ", "")))
    except ProblemError:
        return None
    return clauses
