"""Arguments for suggestions: the bundles, build contexts and inputs below the working directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bundler.bundle.reader import read_manifest
from bundler.errors import BundlerError
from bundler.requirements.text import INPUTS

__all__ = ["bundles_in", "example_of", "existing_bundles", "input_words", "newest_bundle"]

_ARCHIVES = (".tar.gz", ".tar.zst")
_PLACES = (".", "dist")


def bundles_in(folder: Path) -> list[Path]:
    """Return the bundles in a directory, the newest first."""
    archives = [path for path in folder.glob("*.tar.*") if path.name.endswith(_ARCHIVES)]
    folders = [path.parent for path in folder.glob("*/manifest.json")]
    newest_first = sorted([*archives, *folders], key=lambda path: path.stat().st_mtime, reverse=True)
    return [path for path in newest_first if _is_bundle(path)]


def existing_bundles(names: Iterable[str]) -> list[str]:
    """Return those names that are the paths of bundles."""
    return [name for name in names if name and _is_bundle(Path(name))]


def newest_bundle() -> Path | None:
    """Return the newest bundle in this directory or, if it has none, in ``dist``."""
    return next((path for place in _PLACES for path in bundles_in(Path(place))), None)


def _is_bundle(path: Path) -> bool:
    if not (path / "manifest.json").is_file() and not (path.name.endswith(_ARCHIVES) and path.is_file()):
        return False
    try:
        read_manifest(path)
    except (BundlerError, OSError):
        return False
    return True


def example_of(param: click.Parameter, values: Mapping[str, Any], words: Sequence[str]) -> str | None:
    """Return a value for a missing argument that works here, or None.

    :param values: the values of the other parameters.
    :param words: the command line, whose words are not suggested again.
    """
    name = param.human_readable_name
    if name.startswith("BUNDLE") or name in ("BEFORE", "AFTER"):
        bundles = [str(path) for place in _PLACES for path in bundles_in(Path(place))]
        return next((path for path in bundles if path not in words), None)
    if name == "DEST":
        stem = Path(str(values.get("bundle"))).name
        for suffix in _ARCHIVES:
            stem = stem.removesuffix(suffix)
        return stem if not Path(stem).exists() else f"{stem}-unpacked"
    if name == "CONTEXT":
        return next((str(path.parent) for path in sorted(Path().glob("*/context.json"))), None)
    if name == "SOURCE":
        return next((name for option, name in _inputs() if option != "--lock"), None)
    return None


def input_words() -> tuple[str, str] | tuple[()]:
    """Return the option and the name of the file with requirements in this directory; empty if it has none."""
    return next(_inputs(), ())


def _inputs() -> Iterator[tuple[str, str]]:
    return ((option, name) for name, option in INPUTS if Path(name).is_file())
