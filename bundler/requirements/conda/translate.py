"""Stage 1, pure: a conda specification as requirements, and what it asks of Python and base besides.

What conda packages become is `conda.matchspec`'s table; the pip section is taken as it
stands. All problems of a file are collected, each with its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

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
"""Above every release of Python 3 that is planned."""
_RELEASES = 100
"""No minor version has had as many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemPackage:
    """A conda package without a counterpart on an index: the base image has to bring it."""

    name: str
    text: str
    """The specification as it stands in the file."""
    line: int
    libraries: tuple[str, ...]
    """Beginnings of the file names of its shared libraries, by which a base shows that it has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaRequirements:
    """A conda specification, read."""

    name: str | None
    python: SpecifierSet | None
    """What it asks of the target; None where it does not say."""
    python_text: str
    """The same as it stands in the file."""
    lines: tuple[EnvFileLine, ...]
    """Lines of a requirements file, with the line of the specification each stands for."""
    translations: tuple[tuple[int, str], ...]
    """What became of each conda package, by line."""
    system_packages: tuple[SystemPackage, ...]
    variables: Mapping[str, str]
    warnings: tuple[str, ...]
    problems: tuple[tuple[ProblemError, str], ...]
    """What is wrong with the file, each with the text it is about."""

    @property
    def lowest(self) -> str | None:
        """The Python to take where nothing else names one; None if it asks for none that is supported."""
        return lowest_python(self.python) if self.python is not None else None


def conda_requirements(text: str, *, strict: bool = False) -> CondaRequirements:
    """Return a conda specification as requirements.

    :param text: the content of an ``env.yml``.
    :param strict: whether a package that no index has is an error.
    """
    file, refused = parse_conda_file(text)
    problems = [(one, "") for one in refused]
    translated: list[tuple[EnvFileLine, Translation]] = []
    for line in file.packages:
        try:
            translated.append((line, translate(parse_match_spec(line.text))))
        except ProblemError as error:
            problems.append((_at(error, line.line), line.text))
    system_packages = []
    for line, found in translated:
        if found.role != "base":
            continue
        system_packages.append(_system_package(line.text, found, line.line))
        if strict:
            problems.append((_not_on_an_index(found.spec, line.line), line.text))
    pythons = [(line, found.python) for line, found in translated if found.role == "python"]
    if len(pythons) > 1:
        again = ProblemError("`python` is asked for a second time", line=pythons[1][0].line)
        problems.append((again, pythons[1][0].text))
    return CondaRequirements(
        name=file.name,
        python=pythons[0][1] if pythons else None,
        python_text=pythons[0][0].text if pythons else "",
        lines=tuple(_lines(file, translated)),
        translations=tuple((line.line, _story(line.text, found)) for line, found in translated),
        system_packages=tuple(system_packages),
        variables=MappingProxyType(dict(file.variables)),
        warnings=file.warnings,
        problems=tuple(problems),
    )


def lowest_python(specifier: SpecifierSet) -> str | None:
    """Return the lowest minor version of Python from 3.7 on of which some release will do, or None.

    >>> lowest_python(SpecifierSet(">=3.8,<3.11")), lowest_python(SpecifierSet("==3.7.16"))
    ('3.8', '3.7')
    """
    for minor in range(_LOWEST_MINOR, _HIGHEST_MINOR):
        # `>=3.8.5` is met by some 3.8; whether by the one found is looked at when it is.
        if any(specifier.contains(f"3.{minor}.{patch}") for patch in range(_RELEASES)):
            return f"3.{minor}"
    return None


def parse_system_package(text: str) -> SystemPackage:
    """Return a package that the base has to bring, from what a manifest says of it."""
    return _system_package(text, translate(parse_match_spec(text)), 0)


def _system_package(text: str, found: Translation, line: int) -> SystemPackage:
    return SystemPackage(name=found.spec.name, text=text, line=line, libraries=found.libraries)


def _at(error: ProblemError, line: int) -> ProblemError:
    return ProblemError(error.fact, details=error.details, hint=error.hint, line=line)


def _not_on_an_index(spec: MatchSpec, line: int) -> ProblemError:
    return ProblemError(
        f"`{spec.name}` has no counterpart on a package index: it must come from the base image",
        hint="remove the line, or build without `--strict`",
        line=line,
    )


def _lines(file: CondaFile, translated: list[tuple[EnvFileLine, Translation]]) -> Iterator[EnvFileLine]:
    for line, found in translated:
        if found.requirement is not None:
            yield EnvFileLine(text=str(found.requirement), line=line.line)
    yield from file.pip


def _story(text: str, found: Translation) -> str:
    """Return in one line what becomes of a conda package."""
    became = {
        "requirement": f"becomes `{found.requirement}`",
        "python": "is the target",
        "tool": "is left out",
        "base": "is left to the base image",
        "nothing": "is left out",
    }[found.role]
    notes = f" ({'; '.join(found.notes)})" if found.notes else ""
    return f"`{text}` {became}{notes}"
