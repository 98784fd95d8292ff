"""Translate a conda environment file to requirements, a version of Python, and system packages.

Conda packages are translated by `conda.matchspec`; the lines of the ``pip`` section are
returned unchanged, but for ``file:`` URLs of local files. All problems of a file are collected,
each with its line.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import unquote

from packaging.specifiers import SpecifierSet

from bundler.problems import ProblemError
from bundler.requirements.conda.envfile import CondaFile, EnvFileLine, parse_conda_file
from bundler.requirements.conda.matchspec import MatchSpec, Translation, parse_match_spec, translate

__all__ = [
    "CondaRequirements",
    "SystemPackage",
    "conda_requirements",
    "lowest_python",
    "parse_system_package",
]

_LOWEST_MINOR = 7
_HIGHEST_MINOR = 20
"""Greater than the minor version of every planned Python 3 (PEP 602: one per year)."""
_RELEASES = 100
"""Greater than the number of releases of every minor version."""
# conda accepts a path relative to its file, ``file:requirements.txt``; pip 23.1 and later do not.
_LOCAL_FILE = re.compile(
    r"(-[rc]\s*|--(?:requirement|constraint)(?:=|\s+))file:(?://(?=/))?(?!//)(\S+)", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemPackage:
    """A conda package with no counterpart on PyPI; the base image must provide it."""

    name: str
    text: str
    """The specification, as written in the file."""
    line: int
    libraries: tuple[str, ...]
    """Prefixes of its shared library names; a base with one of them has the package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaRequirements:
    """The translation of a conda environment file."""

    name: str | None
    python: SpecifierSet | None
    """The accepted versions of the target Python; None without a ``python`` entry."""
    python_text: str
    """The ``python`` entry, as written in the file."""
    lines: tuple[EnvFileLine, ...]
    """Lines of a requirements file, each with its line number in the ``env.yml``."""
    translations: tuple[tuple[int, str], ...]
    """The result for each conda package, by line."""
    system_packages: tuple[SystemPackage, ...]
    assumed: Mapping[str, SystemPackage]
    """The requirements whose project is assumed to have the name of the conda package, with that
    package; empty if a package without a counterpart on PyPI is a problem."""
    variables: Mapping[str, str]
    warnings: tuple[str, ...]
    problems: tuple[tuple[ProblemError, str], ...]
    """The problems of the file, each with the text it refers to."""

    @property
    def lowest(self) -> str | None:
        """The lowest accepted minor version of Python; None if no supported one is accepted."""
        return lowest_python(self.python) if self.python is not None else None


def conda_requirements(text: str, *, strict: bool = False) -> CondaRequirements:
    """Translate the content of an ``env.yml``.

    :param strict: whether a package without a counterpart on PyPI is a problem.
    """
    file, file_problems = parse_conda_file(text)
    problems = [(problem, "") for problem in file_problems]
    translated: list[tuple[EnvFileLine, Translation]] = []
    for line in file.packages:
        try:
            translated.append((line, translate(parse_match_spec(line.text))))
        except ProblemError as error:
            problems.append((_at(error, line.line), line.text))
    system_packages = []
    for line, translation in translated:
        if translation.role != "base":
            continue
        system_packages.append(_system_package(line.text, translation, line.line))
        if strict:
            problems.append((_not_on_an_index(translation.spec, line.line), line.text))
    pythons = [(line, translation.python) for line, translation in translated if translation.role == "python"]
    if len(pythons) > 1:
        duplicate = ProblemError("`python` is listed twice", line=pythons[1][0].line)
        problems.append((duplicate, pythons[1][0].text))
    return CondaRequirements(
        name=file.name,
        python=pythons[0][1] if pythons else None,
        python_text=pythons[0][0].text if pythons else "",
        lines=tuple(_lines(file, translated)),
        # The packages of the base are in one warning.
        translations=tuple(
            (line.line, _summary(line.text, result)) for line, result in translated if result.role != "base"
        ),
        system_packages=tuple(system_packages),
        assumed=MappingProxyType({} if strict else dict(_assumed(file, translated))),
        variables=MappingProxyType(dict(file.variables)),
        warnings=file.warnings,
        problems=tuple(problems),
    )


def lowest_python(specifier: SpecifierSet) -> str | None:
    """Return the lowest minor version of Python, from 3.7 on, with an accepted release, or None.

    >>> lowest_python(SpecifierSet(">=3.8,<3.11")), lowest_python(SpecifierSet("==3.7.16"))
    ('3.8', '3.7')
    """
    for minor in range(_LOWEST_MINOR, _HIGHEST_MINOR):
        # `>=3.8.5` accepts some 3.8; the interpreter that is found is checked by its full version.
        if any(specifier.contains(f"3.{minor}.{patch}") for patch in range(_RELEASES)):
            return f"3.{minor}"
    return None


def parse_system_package(text: str) -> SystemPackage:
    """Return a system package from its specification in a manifest."""
    return _system_package(text, translate(parse_match_spec(text)), 0)


def _system_package(text: str, translation: Translation, line: int) -> SystemPackage:
    return SystemPackage(name=translation.spec.name, text=text, line=line, libraries=translation.libraries)


def _at(error: ProblemError, line: int) -> ProblemError:
    return ProblemError(error.fact, details=error.details, hint=error.hint, line=line)


def _not_on_an_index(spec: MatchSpec, line: int) -> ProblemError:
    return ProblemError(
        f"`{spec.name}` is a library of conda, not a Python project: the base image must provide it",
        hint="remove the line, or build without `--strict`",
        line=line,
    )


def _lines(file: CondaFile, translated: list[tuple[EnvFileLine, Translation]]) -> Iterator[EnvFileLine]:
    for line, translation in translated:
        if translation.requirement is not None:
            yield EnvFileLine(text=str(translation.requirement), line=line.line)
    for line in file.pip:
        text = _LOCAL_FILE.sub(lambda match: match[1] + shlex.quote(unquote(match[2])), line.text)
        yield EnvFileLine(text=text, line=line.line)


def _assumed(
    file: CondaFile, translated: list[tuple[EnvFileLine, Translation]]
) -> Iterator[tuple[str, SystemPackage]]:
    """Yield the requirements with an assumed name that no other line of the file repeats."""
    repeated = Counter(line.text for line in _lines(file, translated))
    for line, translation in translated:
        text = str(translation.requirement)
        if translation.assumed and repeated[text] == 1:
            yield text, _system_package(line.text, translation, line.line)


def _summary(text: str, translation: Translation) -> str:
    """Return one line on the translation of a conda package."""
    result = {
        "requirement": f"becomes `{translation.requirement}`",
        "python": "is the target",
        "tool": "is omitted",
        "base": "must be in the base image",
        "nothing": "is omitted",
    }[translation.role]
    notes = f" ({'; '.join(translation.notes)})" if translation.notes else ""
    return f"`{text}` {result}{notes}"
