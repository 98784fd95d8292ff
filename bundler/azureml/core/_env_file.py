"""Facade: a conda environment file as lists that can be edited and keep their comments.

`bundler.requirements.conda.envfile` defines which files are valid; this module only edits
the YAML tree. The written text is read again before it is used: after an item was removed,
ruamel can attach its comment to another place and so write a different document. Then the
file is written without comments.

Spec: CEP 24 (conda environment files).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from bundler.azureml.core._pip_lines import tidy
from bundler.problems import ProblemError, first_line
from bundler.requirements.conda.envfile import check_tree, load_yaml
from bundler.target.target import DEFAULT_PYTHON

__all__ = ["NEW_FILE", "EnvFile"]

_NO_WRAP = 1 << 20

NEW_FILE = f"""\
# Conda environment specification. The dependencies defined in this file will
# be automatically provisioned for runs with userManagedDependencies=False.

# Details about the Conda environment file format:
# https://conda.io/docs/user-guide/tasks/manage-environments.html#create-env-file-manually

name: project_environment
dependencies:
  # The python interpreter version.
  # Currently Azure ML only supports 3.5.2 and later.
- python={DEFAULT_PYTHON}

- pip:
    # Required packages for AzureML execution, history, and data preparation.
  - azureml-defaults

channels:
- anaconda
- conda-forge
"""
"""The file of a new `CondaDependencies`, from Azure ML's documentation."""


class EnvFile:
    """The channels, packages and pip lines of an environment file, each addressed by its index.

    :param spec: the tree of a valid file; use `parse` or `from_plain`.
    """

    def __init__(self, spec: CommentedMap) -> None:
        self._spec = spec

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text of an environment file.

        Dependency sections other than ``pip`` (``npm``) are kept, as the original SDK keeps them.

        :raises ProblemError: the first problem of `check_tree`, with its line.
        """
        tree = load_yaml(text)
        _tidy_pip(tree)
        problems = check_tree(tree, text, other_sections=True)
        if problems:
            raise problems[0]
        _make_lists(tree)
        return cls(tree)

    @classmethod
    def from_plain(cls, value: object) -> Self:
        """Read the JSON form of an environment file.

        :raises ProblemError: as `parse`, but without a line.
        """
        if not isinstance(value, Mapping):
            raise ProblemError("it is not a mapping")
        try:
            return cls.parse(_written(_commented(value)))
        except YAMLError as error:
            raise ProblemError(f"YAML cannot represent it: {first_line(error)}") from error
        except ProblemError as refused:
            raise ProblemError(refused.fact, details=refused.details, hint=refused.hint) from refused

    def plain(self) -> dict[str, Any]:
        """Return the file as JSON values; keys are texts, dates become texts."""
        result: dict[str, Any] = _plain(self._spec)
        return result

    def text(self) -> str:
        r"""Return the file as text, with its comments unless they would change the document.

        >>> EnvFile.parse("dependencies:  # all\n  - six\n").text()
        'dependencies:  # all\n- six\n'
        """
        wanted = self.plain()
        text = _written(self._spec)
        try:
            same = _plain(load_yaml(text)) == wanted
        except (ProblemError, YAMLError):
            same = False
        return text if same else _written(wanted)

    def channels(self) -> list[str]:
        """Return the channels in order of priority."""
        return [str(item) for item in self._spec.get("channels", ())]

    def add_channel(self, channel: str) -> None:
        """Append a channel."""
        _put(self._spec, "channels", None, channel)

    def drop_channel(self, index: int) -> None:
        """Remove the channel at an index of `channels`."""
        _drop(self._spec, "channels", index)

    def packages(self) -> list[str]:
        """Return the match specifications in order, without the pip section."""
        return [text for _, text in self._packages()]

    def put_package(self, index: int | None, text: str) -> None:
        """Replace the match specification at an index of `packages`; None appends one."""
        _put(self._spec, "dependencies", None if index is None else self._packages()[index][0], text)

    def drop_package(self, index: int) -> None:
        """Remove the match specification at an index of `packages`."""
        _drop(self._spec, "dependencies", self._packages()[index][0])

    def pip_lines(self) -> list[str]:
        """Return the lines of the pip section, options included; empty without a section."""
        section = self._pip()
        return [] if section is None else [str(line) for line in section["pip"]]

    def put_pip_line(self, index: int | None, line: str) -> None:
        """Replace the line at an index of `pip_lines`; None appends one."""
        _put(self._pip_section(), "pip", index, line)

    def drop_pip_line(self, index: int) -> None:
        """Remove the line at an index of `pip_lines`."""
        _drop(self._pip_section(), "pip", index)

    def set_pip_lines(self, lines: Sequence[str]) -> None:
        """Replace all lines of the pip section."""
        self._pip_section()["pip"] = CommentedSeq(lines)

    def _packages(self) -> list[tuple[int, str]]:
        items = enumerate(self._spec.get("dependencies", ()))
        return [(index, str(item)) for index, item in items if isinstance(item, str)]

    def _pip(self) -> Any:
        items = self._spec.get("dependencies", ())
        return next((item for item in items if isinstance(item, dict) and "pip" in item), None)

    def _pip_section(self) -> Any:
        if self._pip() is None:
            _put(self._spec, "dependencies", None, CommentedMap({"pip": CommentedSeq()}))
        return self._pip()


def _put(owner: Any, key: str, index: int | None, value: Any) -> None:
    if index is None:
        owner.setdefault(key, CommentedSeq()).append(value)
    else:
        owner[key][index] = value


def _drop(owner: Any, key: str, index: int) -> None:
    """Remove an item of a list.

    An emptied list is replaced by a new one: ruamel would write the comments of the removed
    items into the flow form ``[]``, where they cut off the document.
    """
    owner[key].pop(index)
    if not owner[key]:
        owner[key] = CommentedSeq()
        owner.ca.items.pop(key, None)


def _tidy_pip(tree: Any) -> None:
    """Remove comments and blank lines from the pip section, and join continued lines.

    The original SDK copies them from a requirements file into the section; conda refuses them.
    A section without them stays as it is and keeps its YAML comments. A section that is not a
    list of texts stays too: the check reports it.
    """
    sections = tree.get("dependencies") if isinstance(tree, CommentedMap) else None
    for item in sections if isinstance(sections, CommentedSeq) else ():
        lines = item.get("pip") if isinstance(item, CommentedMap) else None
        if not isinstance(lines, CommentedSeq) or not all(isinstance(line, str) for line in lines):
            continue
        tidied = tidy(lines)
        if tidied != lines:
            item["pip"] = CommentedSeq(tidied)
            for index in range(len(tidied)):  # the check reads the line of each item
                item["pip"].lc.add_idx_line_col(index, item.lc.value("pip"))


def _make_lists(tree: CommentedMap) -> None:
    """Replace lists without items, which are None in YAML, by empty lists."""
    for key in ("channels", "dependencies"):
        if key in tree and tree[key] is None:
            tree[key] = CommentedSeq()
    for item in tree.get("dependencies", ()):
        if isinstance(item, CommentedMap) and "pip" in item and item["pip"] is None:
            item["pip"] = CommentedSeq()


def _plain(value: Any) -> Any:
    """Return a YAML value as a JSON value."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value if value is None else str(value)


def _commented(value: Any) -> Any:
    if isinstance(value, Mapping):
        return CommentedMap({str(key): _commented(item) for key, item in value.items()})
    return CommentedSeq([_commented(item) for item in value]) if isinstance(value, (list, tuple)) else value


def _written(value: Any) -> str:
    yaml = YAML()
    yaml.width = _NO_WRAP
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()
