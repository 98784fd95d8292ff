"""Ground, pure: Azure ML's curated environments as a shipped, dated set.

``curated.json`` in this package has, for each environment, the definition in a public source,
the source, and whether bundler could build it on the date of the set. The set is a copy
and is not updated from a service: names and pins are those of 2020 and 2021. Environments whose
pins no source lists are left out, with one exception: those of the inference images are
reconstructed from published facts about the images, and marked so.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

__all__ = ["Curated", "curated_date", "curated_environments", "find_curated", "near_curated"]

_RECONSTRUCTED = "reconstructed"
_NEAR = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Curated:
    """One curated environment."""

    name: str
    """Its name in Azure ML, where names that start with "AzureML" are reserved."""
    version: str | None
    """Its version in the workspace that the source lists; None if the source has no version."""
    source: str
    """The source of the definition, in a sentence."""
    reconstructed: bool
    """Whether the definition is derived from several facts, as no listing of it is known."""
    python: str
    """The Python it pins: "3.7" or "3.6.2"."""
    base_image: str | None
    conda: Mapping[str, Any]
    """The content of its ``env.yml`` as plain JSON values, in the order Azure ML prints:
    ``channels``, ``dependencies``, ``name``; without keys that the source lacks. Not to be modified."""
    buildable: bool
    """Whether `bundler build` built it on the date of the set, for the Python it pins."""
    why: str
    """How it was built on that date, or the reason against it; one sentence without a period."""


def curated_environments() -> tuple[Curated, ...]:
    """Return all environments of the set, sorted by name.

    >>> [one.name for one in curated_environments() if one.buildable][-1]
    'AzureML-xgboost-0.9-ubuntu18.04-py37-cpu-inference'
    """
    return tuple(_set().values())


def find_curated(name: str) -> Curated | None:
    """Return the environment of exactly this name, or None.

    >>> find_curated("AzureML-PyTorch-1.1-GPU").conda["name"]
    'azureml_eb61e39e20e87ad998ae2c88df1dd0af'
    """
    return _set().get(name)


def near_curated(name: str) -> list[str]:
    """Return the names of the set that are most similar to a name, the nearest first.

    >>> near_curated("AzureML-sklearn-0.24.1-ubuntu18.04-py37-cpu")[0]
    'AzureML-sklearn-0.24.1-ubuntu18.04-py37-cpu-inference'
    """
    spelled = {known.lower(): known for known in _set()}
    longer = [known for known in spelled if known.startswith(name.lower())]
    near = difflib.get_close_matches(name.lower(), spelled, n=_NEAR, cutoff=0.5)
    return [spelled[known] for known in dict.fromkeys([*longer, *near])][:_NEAR]


def curated_date() -> str:
    """Return the date on which the set was collected and built, ISO 8601."""
    dated: str = _content()["dated"]
    return dated


@functools.cache
def _content() -> Mapping[str, Any]:
    content: dict[str, Any] = json.loads((resources.files(__package__) / "curated.json").read_text("utf-8"))
    return content


@functools.cache
def _set() -> Mapping[str, Curated]:
    sources = _content()["sources"]
    return {
        one["name"]: Curated(
            source=sources[one["from"]],
            reconstructed=one["from"] == _RECONSTRUCTED,
            **{key: value for key, value in one.items() if key != "from"},
        )
        for one in _content()["environments"]
    }
