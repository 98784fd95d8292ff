"""Stage 5, pure: the distributions of a planned bundle, their modules, and why they are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from bundler.bundle.layer import Layer
from bundler.bundle.plan import folders_of
from bundler.checks.dependencies import requirement_chain, requirement_edges
from bundler.checks.modules import (
    DistributionFacts,
    importable_name,
    namesakes,
    shared_packages,
    top_level_modules,
)
from bundler.checks.mount import pth_modules
from bundler.checks.needed import main_modules, requested_distributions
from bundler.data.inference_server import SERVER, SERVER_MODULES
from bundler.target.target import Target

__all__ = ["BundleContents", "layer_facts"]


def layer_facts(layer: Layer, site_packages: str) -> DistributionFacts:
    """Return the metadata of a layer, and its files in site-packages."""
    prefix = f"{site_packages}/"
    return DistributionFacts(
        name=layer.name,
        display_name=layer.display_name,
        version=layer.version,
        requires_dist=layer.requirements,
        files=tuple(file.path[len(prefix) :] for file in layer.files if file.path.startswith(prefix)),
    )


@dataclass(frozen=True)
class BundleContents:
    """The layers of a planned bundle, and the requirements that they are to meet."""

    layers: Sequence[Layer]
    roots: Sequence[Requirement]
    """The user's requirements."""
    target: Target

    @cached_property
    def facts(self) -> tuple[DistributionFacts, ...]:
        """The distributions, in the order of the layers."""
        return tuple(layer_facts(layer, self.target.site_packages) for layer in self.layers)

    @cached_property
    def names(self) -> frozenset[NormalizedName]:
        """The names of the distributions."""
        return frozenset(facts.name for facts in self.facts)

    @cached_property
    def omitted(self) -> frozenset[str]:
        """The modules and packages that ``--slim`` left out."""
        prefix = f"{self.target.site_packages}/"
        kept = {folder for facts in self.facts for folder in folders_of(facts.files)}
        found = set()
        omitted = (path for layer in self.layers for path in layer.omitted if path.startswith(prefix))
        for path in (path.removeprefix(prefix) for path in omitted):
            name = path.rpartition("/")[2]
            if module := importable_name(name):
                found.add(path[: -len(name)] + module)
            found.update(set(folders_of([path])) - kept)
        return frozenset(path.removesuffix("/__init__").replace("/", ".") for path in found)

    def modules(self, others: Sequence[DistributionFacts] = ()) -> tuple[tuple[DistributionFacts, str], ...]:
        """Return the modules to import, each with its distribution.

        :param others: distributions of the base, which are imported as well.
        """
        # Each mode of use asks for those of the bundle alone.
        return tuple(self._modules(others)) if others else self._own_modules

    @cached_property
    def _own_modules(self) -> tuple[tuple[DistributionFacts, str], ...]:
        return tuple(self._modules(()))

    def _modules(self, others: Sequence[DistributionFacts]) -> Iterator[tuple[DistributionFacts, str]]:
        distributions = [*self.facts, *others]
        shared = shared_packages(distributions)
        for facts in distributions:
            for module in dict.fromkeys(
                (*top_level_modules(facts.files, shared), *namesakes(facts.name, facts.files))
            ):
                yield facts, module
            for module in self._pth_modules(facts):
                yield facts, module
            if facts.name == SERVER:
                for module, since in SERVER_MODULES.items():
                    if facts.version >= since and f"{module.replace('.', '/')}.py" in facts.files:
                        yield facts, module

    @cached_property
    def requested(self) -> frozenset[NormalizedName]:
        """The distributions that the user asked for (`requested_distributions`)."""
        return requested_distributions(self.facts, self.roots, self.target.markers)

    @cached_property
    def needed(self) -> frozenset[tuple[str, str]]:
        """The modules that must import, each after its distribution.

        These are the main modules of the requested distributions, those in directories that their
        ``.pth`` files publish, and those that the server runs.
        """
        asked = self.requested
        modules: dict[NormalizedName, dict[str, int]] = {}
        for owner, module in self.modules():
            if owner.name in asked:
                modules.setdefault(owner.name, {})[module] = self._size(owner.name, module)
        needed = {(name, module) for name, found in modules.items() for module in main_modules(name, found)}
        for facts in self.facts:
            if facts.name in asked:
                needed.update((facts.name, module) for module in self._pth_modules(facts))
        return frozenset(needed | {(SERVER, module) for module in SERVER_MODULES})

    @cached_property
    def _by_name(self) -> dict[NormalizedName, Layer]:
        return {layer.name: layer for layer in self.layers}

    def _pth_modules(self, facts: DistributionFacts) -> tuple[str, ...]:
        layer = self._by_name.get(facts.name)  # a distribution of the base has none
        return pth_modules(facts, layer.pth_folders) if layer else ()

    def _size(self, name: NormalizedName, module: str) -> int:
        """Return the bytes of a module's file, or of the files of its package."""
        stem = f"{self.target.site_packages}/{module.replace('.', '/')}"
        files = self._by_name[name].files
        return sum(file.size for file in files if file.path.startswith((f"{stem}/", f"{stem}.")))

    @cached_property
    def _graph(self) -> tuple[tuple[Requirement, ...], dict[NormalizedName, tuple[Requirement, ...]]]:
        declared = {facts.name: facts.requires_dist for facts in self.facts}
        return requirement_edges(declared, self.roots, self.target.markers)

    def required_by(self) -> dict[NormalizedName, list[str]]:
        """Return the distributions that require each name, as phrases: "`a` requires"."""
        found: dict[NormalizedName, list[str]] = {}
        for root in self.roots:
            found.setdefault(canonicalize_name(root.name), []).append("your requirements ask for")
        for facts in self.facts:
            for requirement in facts.requires_dist:
                found.setdefault(canonicalize_name(requirement.name), []).append(f"`{facts.name}` requires")
        return {name: list(dict.fromkeys(who)) for name, who in found.items()}

    def why(self, name: str) -> tuple[str, ...]:
        """Return why a distribution is in the bundle: a sentence for each requirement that leads to it."""
        return requirement_chain(*self._graph, canonicalize_name(name))
