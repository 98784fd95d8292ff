"""Stage 1, pure: text to a YAML tree that keeps comments and lines, and nothing that is unsafe.

Nothing is built from a tag or read from elsewhere. What would make the parser
slow or the file ambiguous (merge keys, growing aliases, several documents, line
breaks that editors do not show) is refused before a tree is made.

Spec: YAML 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
)

from bundler.problems import ProblemError, first_line

__all__ = ["load_yaml", "plain_scalars", "shorten"]

_MAX_SIZE = 1 << 20
_MAX_DEPTH = 32
_MAX_EVENTS = 20_000
_MAX_ALIASES = 64
_MAX_SCALAR = 4000
# Characters YAML has no room for, and line breaks of YAML 1.1 that editors do not show.
_UNSEEN = re.compile(
    "[^\\t\\n\\r\\x20-\\x7e\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\U00010000-\U0010ffff]"
)
_LINE_END = re.compile(r"\r\n|\r|\n")
_DUPLICATE = re.compile(r'found duplicate key "(?P<key>.*?)" with value', re.DOTALL)
_CLIP = 80
# What the parser raises besides its own errors: for a date or a number that Python cannot hold,
# a mapping as a key of another, comments at places where it has no room for them.
_FAILURES = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    NotImplementedError,
)

YamlPosition = tuple[int, int]
"""A line and a column, both from 0, as the parser counts them."""


def load_yaml(text: str) -> Any:
    r"""Return the tree of a YAML document, with comments and line numbers (ruamel's round-trip form).

    :raises RefusedError: with the line, if it is not YAML, is more than one document,
        has tags, directives, merge keys or duplicate keys, or could grow when it is read:
        more than 1 MiB, 20,000 nodes, 32 levels or 64 aliases, or an alias inside an anchor.

    >>> load_yaml("name: x")["name"]
    'x'
    """
    plain_scalars(text)
    with _failures_told():
        return YAML(typ="rt", pure=True).load(text)


def plain_scalars(text: str) -> dict[YamlPosition, str]:
    """Return the text of each scalar without quotes by its place, as it is written.

    For numbers and the like, whose spelling a tree does not keep.

    :raises RefusedError: as `load_yaml`, but for duplicate keys and values that Python cannot hold.
    """
    if len(text) > _MAX_SIZE or len(text.encode("utf-8", "surrogatepass")) > _MAX_SIZE:
        raise ProblemError("it is larger than 1 MiB")
    unseen = _UNSEEN.search(text)
    if unseen:
        raise ProblemError(
            f"there is a character U+{ord(unseen[0]):04X} that YAML or an editor does not show",
            line=len(_LINE_END.findall(text, 0, unseen.start())) + 1,
        )
    with _failures_told():
        return _Scan().run(text)


@contextmanager
def _failures_told() -> Iterator[None]:
    """Turn whatever the parser raises into a `ProblemError`."""
    try:
        yield
    except ProblemError:
        raise
    except DuplicateKeyError as error:
        found = _DUPLICATE.match(error.problem or "")
        key = f"`{shorten(found['key'])}`" if found else "a key"
        raise ProblemError(f"{key} stands twice in one mapping", line=_line_of(error)) from error
    except YAMLError as error:
        raise _not_yaml(error) from error
    except _FAILURES as error:
        reason = shorten(first_line(error)) or "the parser gave up"
        raise ProblemError(f"it holds a value that cannot be read: {reason}") from error


def _not_yaml(error: YAMLError) -> ProblemError:
    problem = getattr(error, "problem", None) or first_line(error)
    if "'\\t'" in problem:
        return ProblemError(
            "a tab stands where YAML wants spaces", hint="indent with spaces", line=_line_of(error)
        )
    return ProblemError(f"it is not YAML: {shorten(problem)}", line=_line_of(error))


def _line_of(error: YAMLError) -> int | None:
    mark = error.problem_mark or error.context_mark if isinstance(error, MarkedYAMLError) else None
    return mark.line + 1 if mark else None


class _Scan:
    """The events of one document, checked one by one, so that no tree is made of what is refused."""

    def __init__(self) -> None:
        self._scalars: dict[YamlPosition, str] = {}
        self._anchors: set[str] = set()
        self._open: list[str | None] = []  # the anchor of each open collection
        self._documents = 0
        self._aliases = 0

    def run(self, text: str) -> dict[YamlPosition, str]:
        for number, event in enumerate(YAML(typ="rt", pure=True).parse(text)):
            line = event.start_mark.line + 1
            if number >= _MAX_EVENTS:
                raise ProblemError(f"it has more than {_MAX_EVENTS} entries", line=line)
            fact = self._look(event)
            if fact:
                raise ProblemError(fact, line=line)
        return self._scalars

    def _look(self, event: Event) -> str | None:
        """Return what is wrong with one event."""
        if isinstance(event, DocumentStartEvent):
            return self._document(event)
        if isinstance(event, AliasEvent):
            return self._alias()
        if isinstance(event, CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, NodeEvent):
            return self._node(event)
        return None

    def _document(self, event: DocumentStartEvent) -> str | None:
        self._documents += 1
        if self._documents > 1:
            return "a second document begins: one file is one environment"
        if event.version or event.tags:
            return "a `%` directive changes how YAML is read"
        return None

    def _alias(self) -> str | None:
        self._aliases += 1
        if any(self._open):
            return "an alias stands inside an anchor, so that it would multiply"
        if self._aliases > _MAX_ALIASES:
            return f"it has more than {_MAX_ALIASES} aliases"
        return None

    def _node(self, event: NodeEvent) -> str | None:
        anchor: str | None = event.anchor
        if anchor in self._anchors:
            return f"the anchor `{shorten(str(anchor))}` is defined twice"
        if anchor:
            self._anchors.add(anchor)
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if isinstance(event, CollectionStartEvent):
            self._open.append(anchor)
            if event.tag:
                return _tagged(event.tag)
            if len(self._open) > _MAX_DEPTH:
                return f"it is nested deeper than {_MAX_DEPTH} levels"
        return None

    def _scalar(self, event: ScalarEvent) -> str | None:
        if event.tag:
            return _tagged(event.tag)
        if len(event.value) > _MAX_SCALAR:
            return f"an entry is longer than {_MAX_SCALAR} characters"
        if event.style in (None, ""):
            if event.value == "<<":
                return "a merge key `<<` hides what the file lists"
            self._scalars[event.start_mark.line, event.start_mark.column] = event.value
        return None


def _tagged(tag: object) -> str:
    return f"a tag `{shorten(str(tag))}` asks for something other than text, lists and mappings"


def shorten(text: str) -> str:
    """Return the beginning of a text from the file in one line, short enough to be quoted."""
    text = " ".join(text[: 2 * _CLIP].split())
    return text if len(text) <= _CLIP else f"{text[:_CLIP]}..."
