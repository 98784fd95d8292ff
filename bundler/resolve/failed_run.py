"""A run of pip that failed: its output, its inputs, and the user's requirements behind a distribution."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.redaction import url_filename
from bundler.resolve.locations import file_path
from bundler.resolve.releases import searched_locations
from bundler.resolve.unmet import Wanted
from bundler.system.process import Completed

if TYPE_CHECKING:
    from bundler.requirements.line import RootRequirement
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.resolve.index import IndexSettings
    from bundler.target.target import Target

__all__ = ["FailedRun", "download_words"]

# pip writes the chain behind a distribution, the nearest first; files of requirements as `-r FILE (line N)`.
_COLLECTED = re.compile(
    r"^(?:Collecting|Processing) (?P<item>\S+).*?(?: \(from (?P<chain>.+)\))?$", re.MULTILINE
)


def download_words(python_version: str, names: Iterable[str]) -> str:
    """Return the words of `pip download` that get wheels of these projects for a Python."""
    return shlex.join(["--only-binary", ":all:", "--python-version", python_version, *names])


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run of pip that failed, and its inputs."""

    ended: Completed
    settings: IndexSettings
    target: Target
    only_binary: bool = False
    requirements: RequirementSet | None = None
    """The user's requirements; None for requirements of bundler itself."""

    @property
    def output(self) -> str:
        """Standard error, then standard output, as pip writes both."""
        return self.ended.stderr + self.ended.stdout.decode("utf-8", "replace")

    @property
    def searched(self) -> tuple[str, ...]:
        """The locations that pip searched, without credentials."""
        return tuple(url for url, _ in searched_locations(self.settings))

    @property
    def where(self) -> str:
        """The locations that pip searched, as words of a message."""
        return "in the directories of `--find-links`" if self.settings.no_index else "on the index"

    @property
    def declared(self) -> tuple[RootRequirement, ...]:
        """The requirements and constraints of the user."""
        if self.requirements is None:
            return ()
        return (*self.requirements.roots, *self.requirements.constraints)

    def download(self, *names: str) -> str | None:
        """Return the command that fills the local directory of ``--find-links``; None without one."""
        folders = [file_path(url) for url in self.searched if url.startswith("file:")]
        if not folders:
            return None
        words = download_words(self.target.python_version, names)
        return f"python3 -m pip download --dest {shlex.quote(folders[0])} {words}"

    def wanted(self, requirement: Requirement, parent: str | None) -> Wanted:
        """Return a requirement with the place it comes from.

        :param parent: the distribution that requires it, or None if the user does, or it is not known.
        """
        chain = [*([parent] if parent else []), *self._chain(parent or requirement.name)]
        for name in [requirement.name, *chain] if not parent else chain:
            for root in self.requirements.roots if self.requirements else ():
                if root.requirement and canonicalize_name(root.requirement.name) == canonicalize_name(name):
                    parents = tuple(reversed(chain[: chain.index(name) + 1])) if name in chain else ()
                    return Wanted(requirement=requirement, origin=root.origin, parents=parents)
        return Wanted(requirement=requirement, origin="", parents=tuple(reversed(chain)))

    def _chain(self, name: str) -> Iterator[str]:
        """Yield the distributions that lead to ``name`` by pip's output, the nearest first."""
        key = canonicalize_name(name)
        for match in _COLLECTED.finditer(self.ended.stdout.decode("utf-8", "replace")):
            item = re.split(r"[\[<>=!~;]", url_filename(match["item"]))[0]
            item = item.partition("-")[0] if item.endswith((".whl", ".gz", ".zip")) else item
            if canonicalize_name(item) == key and match["chain"]:
                for step in match["chain"].split("->"):
                    if step.startswith(("-r ", "-c ")):
                        return
                    yield re.split(r"[\[<>=!~;]", step)[0]
                return
