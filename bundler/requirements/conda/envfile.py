"""Stage 1, pure: the text of conda's ``env.yml`` and what it lists, each entry with its line.

Entries are handed on as they stand; `conda.matchspec` understands conda's, `requirements.files` pip's.

Spec: CEP 24 (conda environment files).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from bundler.problems import ProblemError, closest
from bundler.requirements.conda.matchspec import clean_channel, register_channels
from bundler.requirements.conda.yaml import load_yaml, plain_scalars, shorten

__all__ = ["KEYS", "CondaFile", "EnvFileLine", "check_tree", "load_yaml", "parse_conda_file"]

KEYS = ("name", "channels", "dependencies", "prefix", "variables")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvFileLine:
    """One entry of the file."""

    text: str
    """As it stands, without YAML's quotes; never empty, never more than one line."""
    line: int
    """Where it stands, from 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaFile:
    """What an environment file asks for, before any of it is understood."""

    name: str | None = None
    """The environment's name."""
    channels: tuple[str, ...] = ()
    """In their order, without credentials and tokens."""
    packages: tuple[EnvFileLine, ...] = ()
    """Conda's match specifications, ``python`` and ``pip`` among them."""
    pip: tuple[EnvFileLine, ...] = ()
    """Lines of a requirements file, options among them."""
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Environment variables; they may be secrets and are not for display."""
    warnings: tuple[str, ...] = ()
    """What has no effect here."""


def parse_conda_file(text: str) -> tuple[CondaFile, tuple[ProblemError, ...]]:
    """Return what an environment file lists, and everything that is wrong with it, by line.

    The file is of use only if nothing is wrong; text that is not YAML is the one
    problem of an empty `CondaFile`. Credentials are registered before anything is quoted.

    >>> parse_conda_file("dependencies: [numpy=1.2]")[0].packages
    (EnvFileLine(text='numpy=1.2', line=1),)
    """
    register_channels(text)
    try:
        tree = load_yaml(text)
    except ProblemError as refused:
        return CondaFile(), (refused,)
    reader = _EnvFileReader(text)
    file = reader.file(tree)
    return file, tuple(sorted(reader.problems, key=lambda refused: refused.line or 0))


def check_tree(tree: object, text: str, *, other_sections: bool = False) -> tuple[ProblemError, ...]:
    """Return the problems of a file that is already loaded, sorted by line; for editors of its tree.

    :param tree: the result of `load_yaml`; an empty file is not an environment.
    :param text: the text that was loaded.
    :param other_sections: accept sections of ``dependencies`` other than ``pip``, such as ``npm``.
    """
    reader = _EnvFileReader(text, other_sections=other_sections)
    reader.file({} if tree is None else tree)
    return tuple(sorted(reader.problems, key=lambda refused: refused.line or 0))


class _EnvFileReader:
    """One tree turned into a `CondaFile`; problems are gathered, not raised."""

    def __init__(self, text: str, *, other_sections: bool = False) -> None:
        self.problems: list[ProblemError] = []
        self._text = text
        self._other_sections = other_sections

    def file(self, tree: object) -> CondaFile:
        if tree is None:
            return CondaFile(warnings=("it is empty",))
        if not isinstance(tree, CommentedMap):
            self._refuse("it is not an environment: a mapping with `dependencies` is wanted", 1)
            return CondaFile()
        for key in tree:
            if key not in KEYS:
                self._unknown(key, _key_line(tree, key))
        packages, pip = self._dependencies(tree)
        warnings = ["`prefix` is ignored: a bundle has no place of its own"] if "prefix" in tree else []
        if not tree.get("dependencies"):
            warnings.append("it lists no `dependencies`")
        return CondaFile(
            name=self._name(tree),
            channels=tuple(self._channels(tree)),
            packages=packages,
            pip=pip,
            variables=self._variables(tree),
            warnings=tuple(warnings),
        )

    def _refuse(self, fact: str, line: int, hint: str | None = None) -> None:
        self.problems.append(ProblemError(fact, line=line, hint=hint))

    def _unknown(self, key: object, line: int) -> None:
        if key == "pip":
            hint: str | None = "move it into the list: `dependencies: [pip, {pip: [...]}]`"
        else:
            near = closest(key, KEYS) if isinstance(key, str) else None
            hint = f"did you mean `{near}`?" if near else None
        self._refuse(f"unknown `{shorten(str(key))}` key in environment specification", line, hint)

    def _name(self, tree: CommentedMap) -> str | None:
        name = tree.get("name")
        if name is None or isinstance(name, str):
            return name
        line, text = _value_line(tree, "name"), self._source(tree, "name")
        hint = f'name: "{text}"' if text else None
        self._refuse(f"`name` is {_kind(name)}, not text", line, hint)
        return None

    def _lines(self, tree: CommentedMap, key: str, what: str) -> list[EnvFileLine]:
        """Return the entries of a list of texts that stands under ``key``."""
        values = tree.get(key)
        if values is None:
            return []
        if not isinstance(values, CommentedSeq):
            hint = f"{key}: [{shorten(values)}]" if isinstance(values, str) else None
            self._refuse(f"`{key}` is {_kind(values)}, not a list", _value_line(tree, key), hint)
            return []
        found = [self._line(value, _item_line(values, index), what) for index, value in enumerate(values)]
        return [line for line in found if line]

    def _channels(self, tree: CommentedMap) -> Iterator[str]:
        for line in self._lines(tree, "channels", "a channel"):
            try:
                yield clean_channel(line.text)
            except ProblemError as refused:
                self._refuse(refused.fact, line.line)

    def _line(self, value: object, line: int, what: str) -> EnvFileLine | None:
        if not isinstance(value, str):
            hint = "put the whole entry in quotes" if isinstance(value, dict) else None
            self._refuse(f"{what} is {_kind(value)}, not text", line, hint)
        elif not value.strip():
            self._refuse(f"{what} is empty", line)
        elif len(value.strip().splitlines()) > 1:
            self._refuse(f"{what} spans several lines", line, "write one entry for each")
        else:
            register_channels(value)
            return EnvFileLine(text=value.strip(), line=line)
        return None

    def _dependencies(self, tree: CommentedMap) -> tuple[tuple[EnvFileLine, ...], tuple[EnvFileLine, ...]]:
        values = tree.get("dependencies")
        if not isinstance(values, CommentedSeq):
            self._lines(tree, "dependencies", "a dependency")
            return (), ()
        packages: list[EnvFileLine] = []
        pip: list[EnvFileLine] | None = None
        for index, value in enumerate(values):
            line = _item_line(values, index)
            if not isinstance(value, CommentedMap):
                found = self._line(value, line, "a dependency")
                packages += [found] if found else []
                continue
            for key in value:
                if key != "pip":
                    if not self._other_sections:
                        self._not_pip(value, key)
                elif pip is not None:
                    self._refuse("a second `pip` section: conda would use the last one only", line)
                else:
                    pip = self._lines(value, "pip", "a requirement of the `pip` section")
        return tuple(packages), tuple(pip or ())

    def _not_pip(self, value: CommentedMap, key: object) -> None:
        fact = f"unknown `{shorten(str(key))}` section: `pip` is the only one there is"
        version = self._source(value, key) or value[key]
        written = f"- {shorten(str(key))}={shorten(version)}" if isinstance(version, str) else None
        self._refuse(fact, _key_line(value, key), written and f"did you mean `{written}`?")

    def _variables(self, tree: CommentedMap) -> Mapping[str, str]:
        values = tree.get("variables")
        if values is None:
            return MappingProxyType({})
        if not isinstance(values, CommentedMap):
            self._refuse(f"`variables` is {_kind(values)}, not a mapping", _value_line(tree, "variables"))
            return MappingProxyType({})
        found = {}
        for key, value in values.items():
            text = value if isinstance(value, str) else self._source(values, key)
            if not isinstance(key, str) or not _VARIABLE.fullmatch(key):
                self._refuse(f"`{shorten(str(key))}` is not the name of a variable", _key_line(values, key))
            elif value is None or text is None:
                self._refuse(f"the variable `{key}` is {_kind(value)}, not text", _key_line(values, key))
            else:
                found[key] = text
        return MappingProxyType(found)

    def _source(self, tree: CommentedMap, key: object) -> str | None:
        """Return a number, date or truth value as it is written, not as YAML understands it."""
        line, column = tree.lc.value(key)
        return plain_scalars(self._text).get((line, column))


def _key_line(tree: CommentedMap, key: object) -> int:
    return int(tree.lc.key(key)[0]) + 1


def _value_line(tree: CommentedMap, key: object) -> int:
    return int(tree.lc.value(key)[0]) + 1


def _item_line(tree: CommentedSeq, index: int) -> int:
    return int(tree.lc.item(index)[0]) + 1


def _kind(value: object) -> str:
    """Return what a value is, in the words of the file's author."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (type(None), "empty"),
        (str, "text"),
        (bool, "`true` or `false`"),
        ((int, float), "a number"),
        (list, "a list"),
        (dict, "a mapping"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "a date")
