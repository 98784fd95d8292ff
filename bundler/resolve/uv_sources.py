"""Prepare source distributions for uv with the target's pip, in its sandbox: uv gets their metadata alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name, is_normalized_name

from bundler.errors import ResolutionError

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.requirements.line import RootRequirement
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.resolve.resolver import PipResolver, Source

__all__ = ["PreparedSources"]


@dataclass(kw_only=True)
class PreparedSources:
    """The requirements by path and URL, and the metadata of source distributions."""

    requirements: RequirementSet
    pip: Callable[[], PipResolver]
    """Returns the resolver with the target's pip."""
    reporter: Reporter
    markers: Mapping[str, str]
    """The environment of markers of the target."""
    prepared: dict[NormalizedName, Source] = field(default_factory=dict)
    """The distributions of the requirements by path and URL that apply to the target."""
    metadata: dict[tuple[NormalizedName, str], Mapping[str, Any]] = field(default_factory=dict)
    """The metadata by name and version, as uv's setting ``dependency-metadata`` wants it."""

    def prepare(self) -> None:
        """Prepare the requirements by path and URL.

        :raises ResolutionError: if a build fails.
        :raises NetworkError: if a URL cannot be fetched.
        """
        given = self.requirements
        pairs = [
            pair for pair in zip(given.roots, given.requirement_lines, strict=True) if pair[0].kind != "index"
        ]
        if pairs:
            direct = replace(
                given,
                roots=tuple(root for root, _ in pairs),
                requirement_lines=tuple(line for _, line in pairs),
            )
            for source in self.pip().sources(direct, reporter=self.reporter):
                self.prepared[source.locked.name] = source
        for source in self.prepared.values():
            self._learn(source)

    def read(self, name: NormalizedName, version: str) -> None:
        """Read the metadata of a source distribution of an index.

        :raises ResolutionError: if its build fails.
        """
        requirement = Requirement(f"{name}=={version}")
        roots = [root for root in self.requirements.roots if _names(root, name)]
        root = replace(
            (roots or self.requirements.roots)[0],
            text=str(requirement),
            requirement=requirement,
            kind="index",
            location=None,
        )
        given = replace(
            self.requirements,
            roots=(root,),
            requirement_lines=(str(requirement),),
            constraints=(),
            constraint_lines=(),
            pip_options=(f"--no-binary={name}",),
            require_hashes=False,
        )
        for source in self.pip().sources(given, reporter=self.reporter):
            self._learn(source)

    def _learn(self, source: Source) -> None:
        """Keep the metadata of a source distribution for uv.

        :raises ResolutionError: if it requires a URL that the user does not require.
        """
        facts = source.metadata
        name, version = source.locked.name, str(facts["version"])
        extras = map(canonicalize_name, facts.get("provides_extra", ()))
        self.metadata[name, version] = {
            "name": name,
            "version": version,
            "requires-dist": [self._checked(source, text) for text in facts.get("requires_dist", ())],
            # A name that is not valid can be in no requirement.
            "provides-extra": [*filter(is_normalized_name, extras)],
        }

    def _checked(self, source: Source, text: str) -> str:
        """Return a requirement of a source distribution, without the URL of one that the user requires, too.

        :raises ResolutionError: if it is not valid, or has another URL.
        """
        name = source.locked.name
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise ResolutionError(
                f"`{name}` has a requirement that is not valid: `{text}`", hint="--resolver pip"
            ) from error
        if requirement.url is not None:
            if self._applies(requirement, source.extras) and not self._is_required(requirement.name):
                own = f"{requirement.name} @ {requirement.url}"
                raise ResolutionError(
                    f"`{name}` requires `{requirement.name}` by a URL, which can change, or belong to another"
                    " owner",
                    evidence=(f"found   {requirement}",),
                    hint=f"if you trust it, require it yourself: `{own}`",
                )
            requirement.url = None
        return str(requirement)

    def _applies(self, requirement: Requirement, extras: Sequence[str]) -> bool:
        marker = requirement.marker
        return marker is None or any(
            marker.evaluate({**self.markers, "extra": extra}) for extra in ("", *extras)
        )

    def _is_required(self, name: str) -> bool:
        return any(_names(root, canonicalize_name(name)) for root in self.requirements.roots)


def _names(root: RootRequirement, name: NormalizedName) -> bool:
    return root.requirement is not None and canonicalize_name(root.requirement.name) == name
