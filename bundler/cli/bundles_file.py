"""The document of ``bundler matrix``, or the words for a file that has none."""

from __future__ import annotations

import shlex
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from bundler.errors import InputError
from bundler.jsonio import parse_toml
from bundler.problems import Problem, closest, input_error

__all__ = ["NOT_KEYS", "read_bundles_file"]

NOT_KEYS = ("store", "dry-run", "quiet", "verbose")
"""Options of `bundler build` that are of the whole command, not of one bundle."""
_DEFAULT = "bundles.toml"
_EXAMPLE = r"""printf '[bundle.app]\ninputs = ["requirements.txt"]\n'"""
_TABLES = ("bundle", "bundles", "defaults")


def read_bundles_file(path: Path, shown: str) -> tuple[str, dict[str, Any]]:
    """Return the text of a file of bundles and its document.

    :param shown: the path for messages.
    :raises InputError: if it is missing, cannot be read, is not TOML, or has requirements instead.
    """
    from bundler.requirements.toml import toml_problem  # noqa: PLC0415 - only for an error

    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{shown}: file not found", hint=_instead(path, shown)) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{shown}: cannot be read: {reason}") from error
    try:
        document = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        _check_kind(shown)
        problem = toml_problem(text, error)
        raise input_error([Problem(where=f"{shown}:{problem.line}", refused=problem)]) from error
    if not any(table in document for table in _TABLES):
        _check_kind(shown)
    return text, document


def _check_kind(shown: str) -> None:
    """Check that a file is not named as one with requirements.

    :raises InputError: if it is, with the command that reads it.
    """
    from bundler.cli.examples import option_of  # noqa: PLC0415 - only for an error

    option = "--lock" if Path(shown).name.startswith("pylock") else option_of(Path(shown))
    if option:
        raise InputError(
            f"`{shown}` has requirements, not bundles",
            evidence=("wanted  a TOML file with a table [bundle.NAME] for each bundle",),
            hint=shlex.join(["bundler", "build", option, shown]),
        )


def _instead(path: Path, shown: str) -> str:
    """Return the command for a file that does not exist: a bundle's name, a similar file, or a new one."""
    from bundler.requirements.text import similar_path  # noqa: PLC0415 - only for an error

    with suppress(OSError, ValueError, TypeError):
        bundles = parse_toml(path.with_name(_DEFAULT).read_text("utf-8"))["bundle"]
        if near := closest(path.name, bundles, cutoff=0.5):
            return f"did you mean `{shlex.join(['bundler', 'matrix', '--only', near])}`?"
    near_file = similar_path(Path(shown))
    if near_file is not None and near_file.suffix == ".toml":
        return f"did you mean `{shlex.join(['bundler', 'matrix', str(near_file)])}`?"
    return f"{_EXAMPLE} > {shlex.quote(shown if shown.endswith('.toml') else _DEFAULT)}"
