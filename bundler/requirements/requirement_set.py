"""The result of reading the user's requirements, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.requirements.line import RootRequirement

if TYPE_CHECKING:
    from bundler.requirements.conda.translate import CondaRequirements, SystemPackage

__all__ = ["CondaInput", "IndexOptions", "RequirementSet", "Specification"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexOptions:
    """The index settings that stand in requirements files.

    Addresses are raw, credentials included, so they are kept out of the repr;
    `resolve.index` takes them apart.
    """

    index_url: str | None = field(default=None, repr=False)
    """The last ``--index-url``."""
    extra_index_urls: tuple[str, ...] = field(default=(), repr=False)
    """Every ``--extra-index-url``, in order, once."""
    find_links: tuple[str, ...] = field(default=(), repr=False)
    """Every ``--find-links``: addresses, and absolute paths."""
    no_index: bool = False
    """Whether no index may be asked."""
    trusted_hosts: tuple[str, ...] = ()
    """Every ``--trusted-host``."""

    def merged_with(self, other: IndexOptions) -> IndexOptions:
        """Return both; where only one value can be, that of ``other`` wins."""
        return IndexOptions(
            index_url=other.index_url or self.index_url,
            extra_index_urls=tuple(dict.fromkeys(self.extra_index_urls + other.extra_index_urls)),
            find_links=tuple(dict.fromkeys(self.find_links + other.find_links)),
            no_index=self.no_index or other.no_index,
            trusted_hosts=tuple(dict.fromkeys(self.trusted_hosts + other.trusted_hosts)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementSet:
    """All that was asked for, read and held against the policy; pip gets the files as they are."""

    roots: tuple[RootRequirement, ...]
    """Every requirement, in the order it was read."""
    constraints: tuple[RootRequirement, ...]
    """Every constraint, in the order it was read."""
    requirement_files: tuple[Path, ...]
    """What pip gets as ``-r``, absolute."""
    constraint_files: tuple[Path, ...]
    """What pip gets as ``-c``, absolute."""
    strings: tuple[str, ...] = field(repr=False)
    """What pip gets besides, one requirement each, raw: an address may hold credentials."""
    options: IndexOptions
    """The index settings in the files."""
    variables: tuple[str, ...]
    """The names of the environment variables the files use; pip must be given them."""
    require_hashes: bool
    """Whether pip will insist on a hash for everything: there was a ``--hash`` or ``--require-hashes``."""
    files_read: tuple[Path, ...]
    """Every file that was read, nested ones included."""
    warnings: tuple[str, ...]
    """What the user will want to know, each one line."""
    conda: CondaInput | None = None
    """The conda specification among the files."""

    @property
    def system_packages(self) -> tuple[SystemPackage, ...]:
        """The conda packages without a counterpart on an index, which the base must provide."""
        return self.conda.read.system_packages if self.conda else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Specification:
    """The text of a conda specification."""

    text: str
    where: str
    """The file as the user would write it, or what else the text is."""
    path: Path
    """The file; in its folder, as for conda, relative paths start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaInput:
    """What a conda specification says besides its requirements."""

    where: str
    """The file as the user would write it, or what else it is."""
    read: CondaRequirements

    def translations(self) -> tuple[str, ...]:
        """Return what became of each conda package, one line each."""
        return tuple(f"{self.where}:{line}: {story}" for line, story in self.read.translations)
