"""Stage 1, pure: the PyPI project of a conda package, if it has one.

Two tables: ``scripts/conda-names`` generates ``conda_names.json`` from a public mapping and
names its source; ``conda_known.json`` is written by hand and has precedence. Names are
compared in their normalized form (PEP 503).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from packaging.utils import canonicalize_name

__all__ = ["Known", "Role", "look_up"]

Role = Literal["requirement", "python", "tool", "base", "nothing"]
"""``requirement`` is a project on the index, ``python`` sets the target, ``tool`` never belongs to a
bundle, ``base`` must be in the base image, ``nothing`` has no effect without conda."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """The entry of the tables for one conda package."""

    role: Role
    """The counterpart of the package in a bundle."""
    project: str = ""
    """For ``requirement``: its name on the index, possibly with extras."""
    libraries: tuple[str, ...] = ()
    """For ``base``: prefixes of the names of its shared libraries; empty if they are not known."""
    notes: tuple[str, ...] = ()
    """The assumptions of the translation, one sentence each, for the user."""
    assumed: bool = False
    """For ``requirement``: whether the package is in no table, so that its name on the index is assumed."""
    longer: bool = False
    """Whether versions on PyPI have one more component than conda's."""
    refused: str = ""
    """Why it cannot be required, as the rest of a sentence; empty if it can."""
    hint: str | None = None
    """A remedy for a refused package."""


def look_up(name: str) -> Known:
    """Return the entry of a conda package; a name in no table is assumed to be that of a project.

    >>> look_up("pytorch").project
    'torch'
    """
    hand, generated = _table("conda_known.json"), _table("conda_names.json")
    key = canonicalize_name(name)
    if name == "python":
        return Known(role="python")
    if key in hand["tool"]:
        return Known(role="tool", notes=(f"`{name}` is not part of a bundle",))
    return (
        _refused(key, hand)
        or _without_project(name, key, hand)
        or _project(name, key, hand, generated)
        or _by_pattern(name, key, hand, generated)
        or _assumed(name, key)
    )


@cache
def _table(file: str) -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(files(__package__).joinpath(file).read_text("utf-8"))
    return table


def _refused(key: str, hand: Mapping[str, Any]) -> Known | None:
    for pattern, (reason, hint) in hand["refused"].items():
        if fnmatchcase(key, pattern):
            return Known(role="requirement", refused=reason, hint=hint)
    return None


def _without_project(name: str, key: str, hand: Mapping[str, Any]) -> Known | None:
    if key in hand["nothing"]:
        return _nothing(name, hand["nothing"][key])
    return _base(name, key, hand["base"][key]) if key in hand["base"] else None


def _project(name: str, key: str, hand: Mapping[str, Any], generated: Mapping[str, Any]) -> Known | None:
    project = hand["names"].get(key) or generated["names"].get(key)
    if not project:
        return Known(role="requirement", project=name) if key in hand["same"] else None
    notes = [f"`{name}` is `{project}` on PyPI"]
    if key in hand["or"]:
        notes.append(f"`{hand['or'][key]}` is an alternative")
    return Known(role="requirement", project=project, notes=tuple(notes), longer=key in hand["longer"])


def _by_pattern(name: str, key: str, hand: Mapping[str, Any], generated: Mapping[str, Any]) -> Known | None:
    if key in generated["projects"]:
        return Known(role="requirement", project=name)
    for pattern, reason in hand["nothing_like"].items():
        if fnmatchcase(name, pattern):
            return _nothing(name, reason)
    if any(fnmatchcase(name, pattern) for pattern in hand["base_like"]):
        return _base(name, key, ())
    return None


def _nothing(name: str, reason: str) -> Known:
    return Known(role="nothing", notes=(f"`{name}` {reason}",))


def _base(name: str, key: str, libraries: tuple[str, ...]) -> Known:
    notes = [f"`{name}` is not a Python project: the base must have it"]
    other = _packages().get(key)
    if other:
        notes.append(f"the Python project `{key}` is `{other}` in conda")
    return Known(role="base", libraries=tuple(libraries), notes=tuple(notes))


def _assumed(name: str, key: str) -> Known:
    other = _packages().get(key)
    note = f"`{name}` is assumed to have the same name on PyPI"
    if other:
        note += f"; there, that project is `{other}` in conda"
    return Known(role="requirement", project=name, assumed=True, notes=(note,))


@cache
def _packages() -> Mapping[str, str]:
    """Return the conda package of each project whose name in conda differs."""
    names = {**_table("conda_known.json")["names"], **_table("conda_names.json")["names"]}
    shortest_last = sorted(names, key=len, reverse=True)
    return {canonicalize_name(names[name].partition("[")[0]): name for name in shortest_last}
