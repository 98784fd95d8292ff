"""Read the list of stacks, and describe the results of their measurement."""
# ruff: noqa: INP001

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

ORDER = ("small", "", "large")


class Base(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The environment that a bundle is mounted over."""

    name: str
    packages: tuple[str, ...] = ()
    """Debian's packages of a root filesystem."""
    requires: tuple[str, ...] = ()
    """The distributions of a virtual environment."""
    check: str = ""
    """Python that runs before the imports of the stack."""


class Wheel(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A wheel that is made for stacks whose fault no public one has."""

    name: str
    files: dict[str, str] = {}
    objects: dict[str, str] = {}
    """Copies of a shared object of the standard library, and a symbol version that replaces GLIBC_2.2.5."""


class Stack(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A set of requirements, and the imports of its user."""

    name: str
    requires: tuple[str, ...]
    check: str
    """Python: the imports."""
    python: str = "3.7"
    base: str = ""
    options: tuple[str, ...] = ()
    """Further options of `bundler build`."""
    conda: str = ""
    """An env.yml that bundler gets instead of the requirements."""
    frozen: bool = False
    """Whether bundler gets a file with all distributions that pip chooses."""
    entry: bool = False
    """Whether bundler gets the imports as the entry script."""
    fails: str = ""
    """The reason why the imports must fail."""
    size: Literal["small", "", "large"] = ""
    title: str = ""
    """The description of a stack that consists of wheels of the list."""
    note: str = ""
    """The explanation of a false verdict that remains."""


class Truth(msgspec.Struct, frozen=True):
    """The result of the imports."""

    works: bool
    tree: Literal["bundle", "pip"]
    line: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """The result of `bundler build`, or of another tool."""

    accepted: bool
    exit_code: int
    codes: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    seconds: float = 0


class Result(msgspec.Struct, frozen=True):
    """Both, and the day of the measurement."""

    verdict: Verdict
    truth: Truth
    date: str

    @property
    def right(self) -> bool:
        """Return whether the verdict agrees with the imports."""
        return self.verdict.accepted == self.truth.works


class Results(msgspec.Struct):
    """The results so far, by the digest of their inputs."""

    results: dict[str, Result] = msgspec.field(default_factory=dict)
    tools: dict[str, dict[str, Verdict]] = msgspec.field(default_factory=dict)
    """The verdicts of other tools, by the digest of the stack and the name of the tool."""
    truths: dict[str, Truth] = msgspec.field(default_factory=dict)
    """Imports from a directory that pip installed: they do not depend on bundler, but on the lock."""


class StackList(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The content of `stacks.toml`."""

    stack: tuple[Stack, ...]
    base: tuple[Base, ...]
    wheel: tuple[Wheel, ...]

    @property
    def bases(self) -> dict[str, Base]:
        """Return the bases by name."""
        return {base.name: base for base in self.base}

    def key(self, stack: Stack, *values: object) -> str:
        """Return the digest of a stack, of its base and its wheels, and of further values."""
        wheels = [wheel for wheel in self.wheel if wheel.name in stack.requires]
        return digest(stack, self.bases.get(stack.base), wheels, *values)


def digest(*values: object) -> str:
    """Return the digest of values."""
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:16]


def read_list(path: Path) -> StackList:
    """Read the list of stacks, big ones last.

    :raises ValueError: if two stacks have one name, or a stack names an unknown base.
    """
    given = msgspec.convert(tomllib.loads(path.read_text("utf-8")), StackList)
    names = [stack.name for stack in given.stack]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path.name}: more than one stack is named {', '.join(twice)}")
    if unknown := sorted({stack.base for stack in given.stack} - {"", *given.bases}):
        raise ValueError(f"{path.name}: unknown base {', '.join(unknown)}")
    ordered = sorted(given.stack, key=lambda stack: ORDER.index(stack.size))
    return msgspec.structs.replace(given, stack=tuple(ordered))
