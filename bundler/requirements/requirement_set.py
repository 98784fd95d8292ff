"""The requirements of a run, as values."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from bundler.problems import display_path
from bundler.redaction import redact
from bundler.requirements.line import RootRequirement

if TYPE_CHECKING:
    from bundler.requirements.conda.translate import CondaRequirements, SystemPackage

__all__ = ["CondaInput", "IndexOptions", "LineOrigin", "RequirementSet", "Specification", "command_arguments"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexOptions:
    """The index options of the requirements files or of the command line.

    URLs are verbatim, with credentials, and are therefore excluded from the repr.
    """

    index_url: str | None = field(default=None, repr=False)
    """The last ``--index-url``."""
    extra_index_urls: tuple[str, ...] = field(default=(), repr=False)
    """All ``--extra-index-url``, in order, without duplicates."""
    find_links: tuple[str, ...] = field(default=(), repr=False)
    """All ``--find-links``: URLs and absolute paths."""
    no_index: bool = False
    """Whether ``--no-index`` is given."""
    trusted_hosts: tuple[str, ...] = ()
    """All ``--trusted-host``."""

    def merged_with(self, other: IndexOptions) -> IndexOptions:
        """Return the union of both; ``other`` takes precedence for single values."""
        return IndexOptions(
            index_url=other.index_url or self.index_url,
            extra_index_urls=tuple(dict.fromkeys(self.extra_index_urls + other.extra_index_urls)),
            find_links=tuple(dict.fromkeys(self.find_links + other.find_links)),
            no_index=self.no_index or other.no_index,
            trusted_hosts=tuple(dict.fromkeys(self.trusted_hosts + other.trusted_hosts)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementSet:
    """All requirements of a run, checked against the policy, and the input of pip."""

    roots: tuple[RootRequirement, ...]
    """The requirements, in the order of reading."""
    constraints: tuple[RootRequirement, ...]
    """The constraints, in the order of reading."""
    requirement_lines: tuple[str, ...] = field(repr=False)
    """The line of each root for pip; its URL may contain credentials, its variables are not expanded."""
    constraint_lines: tuple[str, ...] = field(repr=False)
    """The line of each constraint for pip."""
    pip_options: tuple[str, ...]
    """The options of the files that affect the resolution, but not the indexes, in the order of reading."""
    options: IndexOptions
    """The index options of the files."""
    variables: tuple[str, ...]
    """The names of the environment variables that the files use, to be passed to pip."""
    require_hashes: bool
    """Whether pip requires a hash for every file: the input has a ``--hash`` or ``--require-hashes``."""
    files_read: tuple[Path, ...]
    """All files that were read, including nested ones."""
    warnings: tuple[str, ...]
    """Warnings for the user, one line each."""
    conda: CondaInput | None = None
    """The conda environment file of the input."""
    requires_python: tuple[tuple[str, SpecifierSet], ...] = ()
    """The versions of Python that a project or script accepts, with its name."""
    arguments: str = ""
    """The arguments of the command line that give these requirements, for hints; without secrets."""

    @property
    def system_packages(self) -> tuple[SystemPackage, ...]:
        """The conda packages with no counterpart on PyPI; the base image must provide them."""
        return self.conda.read.system_packages if self.conda else ()

    @property
    def assumed(self) -> tuple[RootRequirement, ...]:
        """The requirements of conda packages whose name on the index is assumed."""
        texts = self.conda.read.assumed if self.conda else {}
        return tuple(root for root in self.roots if root.text in texts)

    def leave_to_base(self, missing: Collection[RootRequirement]) -> RequirementSet:
        """Return the requirements without some of those `assumed`, which the base image must provide."""
        if self.conda is None or not missing:
            return self
        texts = {root.text for root in missing}
        read = self.conda.read
        packages = tuple(read.assumed[text] for text in texts)
        read = replace(
            read,
            system_packages=tuple(
                sorted((*read.system_packages, *packages), key=lambda package: package.line)
            ),
            assumed={text: package for text, package in read.assumed.items() if text not in texts},
        )
        return replace(
            self,
            roots=tuple(root for root in self.roots if root.text not in texts),
            requirement_lines=tuple(
                line
                for root, line in zip(self.roots, self.requirement_lines, strict=True)
                if root.text not in texts
            ),
            conda=replace(self.conda, read=read),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Specification:
    """The text of a conda environment file."""

    text: str
    where: str
    """The path as the user would write it, or the name of another source, for messages."""
    path: Path
    """The path of the file; relative paths in it start at its directory, as in conda."""
    implied: tuple[str, ...] = ()
    """Requirements of the environment that the text does not contain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaInput:
    """A conda environment file, translated."""

    where: str
    """The path as the user would write it, or the name of another source, for messages."""
    read: CondaRequirements

    def translations(self) -> tuple[str, ...]:
        """Return the translation of each conda package, one line each."""
        return tuple(f"{self.where}:{line}: {summary}" for line, summary in self.read.translations)


@dataclass(frozen=True, kw_only=True, slots=True)
class LineOrigin:
    """The position of a logical line in the requirements files."""

    path: Path
    where: str
    """``file:line``, for messages."""
    constraint: bool
    """Whether the file is read as constraints."""
    chain: tuple[tuple[Path, str], ...]
    """The including files, outermost first, each with the ``file:line`` of its ``-r`` or ``-c``."""
    cwd: Path
    """The directory that a relative path in the line starts at."""


def command_arguments(cwd: Path, options: Mapping[str, Sequence[Path]], strings: Sequence[str]) -> str:
    """Return the arguments of the command line that give these requirements, for a hint; without secrets.

    >>> command_arguments(Path("/w"), {"-r": [Path("/w/a.txt")]}, ["six<2"])
    "'six<2' -r a.txt"
    """
    words = [redact(text) for text in strings]
    for option, paths in options.items():
        for path in paths:
            words += [option, display_path(path, cwd)]
    return shlex.join(words)
