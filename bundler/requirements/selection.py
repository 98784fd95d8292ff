"""Extras, groups and `requires-python` of the projects that are required by their directories."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from bundler.errors import UsageError
from bundler.problems import ProblemError
from bundler.requirements.line import RootRequirement
from bundler.requirements.pyproject import requires_python, setup_cfg_python
from bundler.requirements.text import decode, read_bytes

__all__ = ["declared_pythons", "select_extras"]


def select_extras(
    strings: Sequence[str], extras: Sequence[str], groups: Sequence[str], cwd: Path
) -> tuple[str, ...]:
    """Return the requirements, those that are directories of projects with the extras.

    :raises UsageError: if there is no such directory, or a group is selected, which pip cannot build.
    """
    folders = [text for text in strings if text and (cwd / text).is_dir()]
    if not (extras or groups):
        return tuple(strings)
    if groups or not folders:
        raise _no_project(strings, folders, extras, groups, cwd)
    suffix = f"[{','.join(extras)}]"
    return tuple(f"{text}{suffix}" if text in folders else text for text in strings)


def _no_project(
    strings: Sequence[str], folders: Sequence[str], extras: Sequence[str], groups: Sequence[str], cwd: Path
) -> UsageError:
    """Return the error for extras and groups that apply to no ``pyproject.toml``."""
    options = shlex.join([*(f"--extra={name}" for name in extras), *(f"--group={name}" for name in groups)])
    places = [Path(folder) / "pyproject.toml" for folder in (*folders, ".")]
    found = next((path for path in places if (cwd / path).is_file()), None)
    hint = "remove them, or create a `pyproject.toml`"
    if found is not None:
        instead = f" instead of `{folders[0]}`" if folders else ""
        hint = f"pass `-r {shlex.quote(str(found))} {options}`{instead}"
    elif len(strings) == 1 and not groups:
        with suppress(InvalidRequirement):
            named = Requirement(strings[0])
            named.extras |= set(extras)
            hint = f"write `{shlex.quote(str(named))}`"
    kind = " and ".join(text for text, given in (("extras", extras), ("groups", groups)) if given)
    return UsageError(f"{kind} need a `pyproject.toml` among the requirements", hint=hint)


def declared_pythons(root: RootRequirement) -> Iterator[tuple[Path, str]]:
    """Yield the files of a project that declare its versions of Python, each with the specifier.

    No build backend runs. A project that a marker may exclude declares nothing.

    :param root: a requirement; only directories have such files.
    """
    if root.kind != "directory" or " ; " in root.text or (root.requirement and root.requirement.marker):
        return
    for name, read in (("pyproject.toml", requires_python), ("setup.cfg", setup_cfg_python)):
        path = Path(str(root.location)) / name
        with suppress(ProblemError):
            yield path, read(decode(read_bytes(path))[0])
