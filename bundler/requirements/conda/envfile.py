"""Read a conda ``env.yml`` or the ``python_env.yaml`` of an MLflow model as lists of entries with lines.

Entries are not parsed here: `conda.matchspec` parses those of conda, `requirements.files` those of pip.

Spec: CEP 24 (conda environment files).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from bundler.problems import ProblemError, closest
from bundler.requirements.conda.layout import read_layout
from bundler.requirements.conda.matchspec import clean_channel, register_channels
from bundler.requirements.conda.yaml import load_yaml, plain_scalars, shorten

__all__ = [
    "KEYS",
    "CondaFile",
    "EnvFileLine",
    "azureml_conda_file",
    "check_tree",
    "load_yaml",
    "parse_conda_file",
]

KEYS = ("name", "channels", "dependencies", "prefix", "variables")
_PYTHON_ENV = {"python", "build_dependencies", "dependencies"}
"""The keys of a ``python_env.yaml``; ``python`` is always written."""
_JOINED = re.compile(r"\s-(?!-)")
"""A dash in an entry: YAML joins a line with deeper ones to one text."""
_PYTHON = re.compile(r"\d+(?:\.\d+){1,2}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvFileLine:
    """One entry of a list in the file."""

    text: str
    """Its text without YAML's quotes; one line, not empty."""
    line: int
    """Its line number, from 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaFile:
    """The content of an environment file, with unparsed entries."""

    name: str | None = None
    """The name of the environment."""
    channels: tuple[str, ...] = ()
    """The channels in order, without credentials and tokens."""
    packages: tuple[EnvFileLine, ...] = ()
    """Match specifications of conda, including ``python`` and ``pip``."""
    pip: tuple[EnvFileLine, ...] = ()
    """Lines of the ``pip`` section: requirements and options."""
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Environment variables; excluded from the repr, since they may be secrets."""
    warnings: tuple[str, ...] = ()
    """One line for each part of the file that has no effect."""


def parse_conda_file(text: str) -> tuple[CondaFile, tuple[ProblemError, ...]]:
    """Parse an environment file; return its content and its problems, sorted by line.

    The content is complete only without problems; it is empty if the text is not YAML.
    Credentials are registered for redaction before any text is quoted.

    >>> parse_conda_file("dependencies: [numpy=1.2]")[0].packages
    (EnvFileLine(text='numpy=1.2', line=1),)
    """
    register_channels(text)
    file, problems = _parsed(text)
    if problems or any(_JOINED.search(line.text) for line in (*file.packages, *file.pip)):
        layout = read_layout(text)
        if layout.problems and not _parsed(layout.text)[1]:
            return CondaFile(name=file.name), layout.problems
    return file, problems


def _parsed(text: str) -> tuple[CondaFile, tuple[ProblemError, ...]]:
    try:
        tree = load_yaml(text)
    except ProblemError as refused:
        return CondaFile(), (refused,)
    reader = _EnvFileReader(text)
    file = reader.file(tree)
    return file, tuple(sorted(reader.problems, key=lambda refused: refused.line or 0))


def azureml_conda_file(tree: object) -> object:
    """Return the conda environment in a file of Azure ML, a path or a mapping; None in another file.

    It is ``conda_file`` of an environment, deployment or component of the CLI (v2), and
    ``condaDependencies`` or ``condaDependenciesFile`` of an environment or a run configuration of the SDK.

    Sources: Azure ML's CLI (v2) reference, "environment YAML schema"; azureml-core, ``Environment``.
    """
    if not isinstance(tree, dict) or "dependencies" in tree:
        return None
    environment = tree.get("environment", tree)
    python = environment.get("python") if isinstance(environment, dict) else None
    places = [(environment, "conda_file"), (python, "condaDependencies"), (python, "condaDependenciesFile")]
    return next((place[key] for place, key in places if isinstance(place, dict) and place.get(key)), None)


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
    """Converts a YAML tree to a `CondaFile`; collects problems instead of raising them."""

    def __init__(self, text: str, *, other_sections: bool = False) -> None:
        self.problems: list[ProblemError] = []
        self._text = text
        self._other_sections = other_sections

    def file(self, tree: object) -> CondaFile:
        if tree is None:
            return CondaFile(warnings=("it is empty",))
        if not isinstance(tree, CommentedMap):
            above = "write `dependencies:` above the list"
            renamed = "save it as `requirements.txt`, and pass `-r requirements.txt`"
            hint = above if isinstance(tree, CommentedSeq) else renamed
            self._refuse("not an environment: expected a mapping with `dependencies`", 1, hint)
            return CondaFile()
        inline = azureml_conda_file(tree)
        if inline is not None and not isinstance(inline, str):
            return self.file(inline)
        if {*tree, *_PYTHON_ENV} == _PYTHON_ENV and "python" in tree:
            return self._python_env(tree)
        for key in tree:
            if key not in KEYS:
                self._unknown(key, _key_line(tree, key))
        packages, pip = self._dependencies(tree)
        return CondaFile(
            name=self._name(tree),
            channels=tuple(self._channels(tree)),
            packages=packages,
            pip=pip,
            variables=self._variables(tree),
            warnings=tuple(_ignored_parts(tree)),
        )

    def _python_env(self, tree: CommentedMap) -> CondaFile:
        """Read the ``python_env.yaml`` of an MLflow model; its build dependencies are those of its pip."""
        python, line = tree["python"], _value_line(tree, "python")
        source = python if isinstance(python, str) else self._source(tree, "python")
        text = _kind(python) if python is None or source is None else source
        if not _PYTHON.fullmatch(text):
            fact = f"`python` is not a version of Python: `{shorten(text)}`"
            self._refuse(fact, line, "python: 3.9.18")
        pip = self._lines(tree, "dependencies", "a requirement")
        return CondaFile(packages=(EnvFileLine(text=f"python={text}", line=line),), pip=tuple(pip))

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

    def _lines(self, tree: CommentedMap, key: str, label: str) -> list[EnvFileLine]:
        """Return the entries of the list of strings under ``key``; ``label`` names an entry in messages."""
        values = tree.get(key)
        if values is None:
            return []
        if not isinstance(values, CommentedSeq):
            hint = f"{key}: [{shorten(values)}]" if isinstance(values, str) else None
            self._refuse(f"`{key}` is {_kind(values)}, not a list", _value_line(tree, key), hint)
            return []
        lines = [self._line(value, _item_line(values, index), label) for index, value in enumerate(values)]
        return [line for line in lines if line]

    def _channels(self, tree: CommentedMap) -> Iterator[str]:
        for line in self._lines(tree, "channels", "a channel"):
            try:
                yield clean_channel(line.text)
            except ProblemError as refused:
                self._refuse(refused.fact, line.line)

    def _line(self, value: object, line: int, label: str) -> EnvFileLine | None:
        if not isinstance(value, str):
            # `- numpy: 1.2` is a mapping, as is an unquoted URL with a space after its colon.
            hint = "put the whole entry in quotes" if isinstance(value, dict) else None
            self._refuse(f"{label} is {_kind(value)}, not text", line, hint)
        elif not value.strip():
            self._refuse(f"{label} is empty", line)
        elif len(value.strip().splitlines()) > 1:
            self._refuse(f"{label} spans several lines", line, "write one entry for each")
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
                package = self._line(value, line, "a dependency")
                if package:
                    packages.append(package)
                continue
            for key in value:
                if key != "pip":
                    if not self._other_sections:
                        self._not_pip(value, key)
                elif pip is not None:
                    fact = "a second `pip` section: conda would use the last one only"
                    self._refuse(fact, line, "move its requirements into the first one")
                else:
                    pip = self._lines(value, "pip", "a requirement of the `pip` section")
        return tuple(packages), tuple(pip or ())

    def _not_pip(self, value: CommentedMap, key: object) -> None:
        fact = f"unknown `{shorten(str(key))}` section: only `pip` is supported"
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
        variables = {}
        for key, value in values.items():
            text = value if isinstance(value, str) else self._source(values, key)
            if not isinstance(key, str) or not _VARIABLE.fullmatch(key):
                self._refuse(f"`{shorten(str(key))}` is not the name of a variable", _key_line(values, key))
            elif value is None or text is None:
                self._refuse(f"the variable `{key}` is {_kind(value)}, not text", _key_line(values, key))
            else:
                variables[key] = text
        return MappingProxyType(variables)

    def _source(self, tree: CommentedMap, key: object) -> str | None:
        """Return a number, date or boolean as written: YAML reads ``1.10`` as 1.1."""
        line, column = tree.lc.value(key)
        return plain_scalars(self._text).get((line, column))


def _ignored_parts(tree: CommentedMap) -> Iterator[str]:
    """Yield one line for each part of a file that has no effect."""
    if "prefix" in tree:
        yield "`prefix` is ignored: a bundle has no fixed directory"
    packages = tree.get("dependencies")
    if not packages:
        yield "it lists no `dependencies`"
    elif isinstance(packages, CommentedSeq) and any(
        isinstance(item, CommentedMap) and item.get("pip", "") is None for item in packages
    ):
        yield "the `pip` section is empty: indent its requirements more than `- pip:`"


def _key_line(tree: CommentedMap, key: object) -> int:
    return int(tree.lc.key(key)[0]) + 1


def _value_line(tree: CommentedMap, key: object) -> int:
    return int(tree.lc.value(key)[0]) + 1


def _item_line(tree: CommentedSeq, index: int) -> int:
    return int(tree.lc.item(index)[0]) + 1


def _kind(value: object) -> str:
    """Return the name of a value's type in YAML, for messages."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (type(None), "empty"),
        (str, "text"),
        (bool, "`true` or `false`"),
        ((int, float), "a number"),
        (list, "a list"),
        (dict, "a mapping"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "a date")
