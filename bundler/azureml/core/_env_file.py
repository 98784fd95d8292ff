"""Facade: a conda environment file as lists that can be edited, whose comments survive.

What is written is read again before it is used: a comment whose item was taken
away can make ruamel write another document, and then the comments are given up.

Spec: conda, "Creating an environment file manually".
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from bundler.azureml.core._pip_lines import tidy
from bundler.problems import ProblemError, closest
from bundler.requirements.conda.envfile import KEYS, load_yaml

__all__ = ["EnvFile"]

_NO_WRAP = 1 << 20


class EnvFile:
    """The channels, packages and pip lines of an environment file, by their index.

    :param spec: the whole file.
    :raises RefusedError: if it has not the shape conda asks for.
    """

    def __init__(self, spec: CommentedMap) -> None:
        _check(spec)
        self._spec = spec

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text holds.

        :raises RefusedError: if it is not YAML, or has another shape.
        """
        tree = load_yaml(text)
        if not isinstance(tree, CommentedMap):
            raise ProblemError("it is not an environment: a mapping with `dependencies` is wanted", line=1)
        return cls(tree)

    @classmethod
    def from_plain(cls, value: object) -> Self:
        """Return what plain values hold.

        :raises RefusedError: if they have another shape.
        """
        if not isinstance(value, Mapping):
            raise ProblemError("it is no mapping")
        return cls(_commented(value))

    def plain(self) -> dict[str, Any]:
        """Return the file as values of JSON."""
        result: dict[str, Any] = _plain(self._spec)
        return result

    def text(self) -> str:
        r"""Return the file as text, with its comments where that is possible.

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
        """Return the channels."""
        return [str(item) for item in self._spec.get("channels", ())]

    def add_channel(self, channel: str) -> None:
        """Add a channel behind the others."""
        _put(self._spec, "channels", None, channel)

    def drop_channel(self, index: int) -> None:
        """Remove a channel."""
        _drop(self._spec, "channels", index)

    def packages(self) -> list[str]:
        """Return the match specifications."""
        return [text for _, text in self._packages()]

    def put_package(self, index: int | None, text: str) -> None:
        """Replace the match specification at an index of `packages`, or add one behind everything."""
        _put(self._spec, "dependencies", None if index is None else self._packages()[index][0], text)

    def drop_package(self, index: int) -> None:
        """Remove a match specification by its index in `packages`."""
        _drop(self._spec, "dependencies", self._packages()[index][0])

    def pip_lines(self) -> list[str]:
        """Return the lines of the pip section."""
        section = self._pip()
        return [] if section is None else [str(line) for line in section["pip"]]

    def put_pip_line(self, index: int | None, line: str) -> None:
        """Replace a line of the pip section, or add one behind the others."""
        _put(self._made_pip(), "pip", index, line)

    def drop_pip_line(self, index: int) -> None:
        """Remove a line of the pip section."""
        _drop(self._made_pip(), "pip", index)

    def set_pip_lines(self, lines: Sequence[str]) -> None:
        """Replace the whole pip section."""
        self._made_pip()["pip"] = CommentedSeq(lines)

    def _packages(self) -> list[tuple[int, str]]:
        items = enumerate(self._spec.get("dependencies", ()))
        return [(index, str(item)) for index, item in items if isinstance(item, str)]

    def _pip(self) -> Any:
        items = self._spec.get("dependencies", ())
        return next((item for item in items if isinstance(item, dict) and "pip" in item), None)

    def _made_pip(self) -> Any:
        if self._pip() is None:
            _put(self._spec, "dependencies", None, CommentedMap({"pip": CommentedSeq()}))
        return self._pip()


def _put(owner: Any, key: str, index: int | None, value: Any) -> None:
    if index is None:
        owner.setdefault(key, CommentedSeq()).append(value)
    else:
        owner[key][index] = value


def _drop(owner: Any, key: str, index: int) -> None:
    """Take an item out of a list; an emptied list is made new, without comments that belong to nothing."""
    owner[key].pop(index)
    if not owner[key]:
        owner[key] = CommentedSeq()
        owner.ca.items.pop(key, None)


def _check(spec: CommentedMap) -> None:
    """Refuse what has not the shape of an environment file; a list that was left empty becomes one."""
    for key in spec:
        if key not in KEYS:
            near = closest(str(key), KEYS)
            raise ProblemError(
                f"`{key}` is no key of an environment file",
                details=(f"known   {', '.join(f'`{known}`' for known in KEYS)}",),
                hint=f"did you mean `{near}`?" if near else None,
                line=_line(spec, key),
            )
    _make_list(spec, "channels")
    _check_texts(spec.get("channels", ()), "channel")
    _make_list(spec, "dependencies")
    _check_dependencies(spec.get("dependencies", ()))
    if not isinstance(spec.get("variables", {}), (dict, type(None))):
        raise ProblemError("`variables` is no mapping", line=_line(spec, "variables"))


def _check_dependencies(items: Any) -> None:
    _check_texts(items, "dependency", besides=dict)
    sections = [index for index, item in enumerate(items) if isinstance(item, dict) and "pip" in item]
    if len(sections) > 1:
        second = _line(items, sections[1])
        raise ProblemError("there are two `pip` sections, and conda would use the last one", line=second)
    for index in sections:
        _make_list(items[index], "pip")
        lines = items[index]["pip"]
        _check_texts(lines, "pip requirement")
        tidied = tidy(lines)
        if tidied != lines:  # the original copies comments and blank lines of a requirements file
            items[index]["pip"] = CommentedSeq(tidied)


def _check_texts(items: Any, what: str, *, besides: type = str) -> None:
    for index, item in enumerate(items):
        if not isinstance(item, (str, besides)):
            raise ProblemError(f"{what} `{item}` is no text", line=_line(items, index))


def _make_list(owner: Any, key: str) -> None:
    if key in owner and owner[key] is None:
        owner[key] = CommentedSeq()
    if not isinstance(owner.get(key, []), list):
        raise ProblemError(f"`{key}` is no list", line=_line(owner, key))


def _line(owner: Any, key: Any) -> int | None:
    """Return the line of an entry, or None for a value that was made in memory."""
    places = getattr(owner, "lc", None)
    found = places.data.get(key) if places is not None and places.data else None
    return int(found[0]) + 1 if found else None


def _plain(value: Any) -> Any:
    """Return a value of YAML as one of JSON."""
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
