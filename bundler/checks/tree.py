"""Pure: the graph of requirements of a bundle or of a lockfile, as a tree of lines."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.pylock import Pylock, PylockValidationError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.bundle.manifest import Manifest
from bundler.checks.dependencies import named_requirements, reached_from
from bundler.checks.explain import requirements_in
from bundler.errors import InputError
from bundler.paths import printable
from bundler.problems import closest
from bundler.redaction import redact

__all__ = ["RequirementGraph", "lock_graph", "manifest_graph", "tree_lines"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementGraph:
    """Distributions and their requirements on each other; each requirement by name, with its specifier."""

    versions: Mapping[str, str]
    """The version of each distribution, sorted by name."""
    roots: Mapping[str, str]
    """The requirements of the user."""
    edges: Mapping[str, Mapping[str, str]]
    """The requirements of each distribution."""
    is_complete: bool = True
    """Whether the edges are known; a lockfile of another tool may not contain them."""

    def to_json(self) -> dict[str, Any]:
        """Return the graph as plain values."""
        rows = [
            {"name": name, "version": version, "requires": dict(self.edges.get(name, {}))}
            for name, version in self.versions.items()
        ]
        return {"requirements": dict(self.roots), "distributions": rows, "complete": self.is_complete}

    def inverted(self) -> Mapping[str, Mapping[str, str]]:
        """Return the distributions that require each one, with the specifier."""
        return {
            name: {owner: edges[name] for owner, edges in self.edges.items() if name in edges}
            for name in self.versions
        }


def manifest_graph(manifest: Manifest) -> RequirementGraph:
    """Return the graph of a bundle; distributions that the base provides are a part of it."""
    document = manifest.document
    versions = {item.name: item.version for item in document.distributions}
    versions |= {name: f"{version} (base)" for name, version in document.base.provided.items()}
    asked, edges = requirements_in(manifest)
    return RequirementGraph(
        versions=dict(sorted(versions.items())),
        roots=_by_name(asked, versions),
        edges={str(name): _by_name(edges[name], versions) for name in sorted(edges)},
    )


def lock_graph(text: str, source: str) -> RequirementGraph:
    """Return the graph of a lockfile.

    :param source: its file, for messages.
    :raises InputError: if it is not a lockfile.
    """
    try:
        lock = Pylock.from_dict(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, PylockValidationError) as error:
        raise InputError(f"{source}: not a lockfile: {redact(str(error))}") from error
    versions = {str(package.name): str(package.version or "?") for package in lock.packages}
    edges = {
        str(package.name): {str(item["name"]): "" for item in package.dependencies or () if "name" in item}
        for package in lock.packages
    }
    asked = (lock.tool or {}).get("bundler", {}).get("requirements", [])
    return RequirementGraph(
        versions=dict(sorted(versions.items())),
        roots=_by_name(named_requirements(asked), versions),
        edges=edges,
        is_complete=len(versions) < 2 or any(edges.values()),  # noqa: PLR2004 - one has no edges
    )


def tree_lines(graph: RequirementGraph, *, invert: str | None = None) -> Iterator[str]:
    """Yield the lines of the tree, from the roots, or from a distribution to those that require it.

    A distribution whose requirements are shown already is marked with ``(*)``.

    :raises InputError: if there is no distribution ``invert``.
    """
    edges = graph.edges if invert is None else graph.inverted()
    if invert is None:
        starts = [name for name in graph.roots if name in graph.versions]
        # Of a requirement without a name, such as a path; or of a lockfile without requirements. Those
        # that nothing requires come first; the others are in a loop.
        required = {below for owner, requires in edges.items() for below in requires if below != owner}
        reached = reached_from(starts, edges)
        for name in sorted(graph.versions, key=lambda name: name in required):
            if name not in reached:
                starts.append(name)
                reached |= reached_from([name], edges)
    else:
        wanted = canonicalize_name(invert)
        if wanted not in graph.versions:
            near = closest(wanted, list(graph.versions))
            raise InputError(
                f"`{printable(invert)}` is not in it",
                evidence=(f"found   {', '.join(graph.versions)}",),
                hint=f"did you mean `--invert {near}`?" if near else None,
            )
        starts = [wanted]
    seen: set[str] = set()
    for name in starts:
        asked = graph.roots.get(name, "")
        yield from _lines(graph, edges, (name, asked), seen, ("", ""))


def _lines(
    graph: RequirementGraph,
    edges: Mapping[str, Mapping[str, str]],
    node: tuple[str, str],
    seen: set[str],
    indent: tuple[str, str],
) -> Iterator[str]:
    """Yield a distribution, and those below it.

    :param node: the name, and the specifier that it is required with.
    :param indent: the start of its own line, and of the lines below it.
    """
    pending = [(node, indent)]
    while pending:
        (name, wanted), (first, rest) = pending.pop()
        below = list(edges.get(name, {}).items())
        repeated = name in seen and bool(below)
        version = graph.versions.get(name, "missing")
        yield f"{first}{name} {version}{f'  ({wanted})' if wanted else ''}{'  (*)' if repeated else ''}"
        if repeated:
            continue
        seen.add(name)
        ends = [("├── ", "│   ")] * (len(below) - 1) + [("└── ", "    ")]
        listed = [(item, (rest + mark, rest + more)) for item, (mark, more) in zip(below, ends, strict=False)]
        pending += reversed(listed)


def _by_name(requirements: Sequence[Requirement], versions: Mapping[str, str]) -> dict[str, str]:
    """Return the specifier of each requirement by its name, sorted; a requirement on itself is left out."""
    named = {canonicalize_name(item.name): str(item.specifier) for item in requirements}
    return {name: named[name] for name in sorted(named) if name in versions}
