"""Parse YAML to a tree with comments and line numbers, and reject its unsafe features.

Tags, merge keys, nested aliases, directives, several documents and line breaks that
editors do not display are rejected from the events of the parser, before it builds a
tree: they could run constructors, grow exponentially, or hide entries.

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
# Characters outside of YAML's c-printable (YAML 1.2, 5.1), and the line breaks of YAML 1.1 that editors
# do not display: NEL, LS and PS.
_UNSEEN = re.compile(
    "[^\\t\\n\\r\\x20-\\x7e\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\U00010000-\U0010ffff]"
)
_LINE_END = re.compile(r"\r\n|\r|\n")
_DUPLICATE = re.compile(r'found duplicate key "(?P<key>.*?)" with value', re.DOTALL)
_CLIP = 80
# Exceptions that ruamel.yaml raises besides its own: for a date or number out of range, a mapping as a
# mapping key, and comments in places that it does not expect.
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


def load_yaml(text: str, *, longest: int = _MAX_SCALAR) -> Any:
    r"""Return the tree of a YAML document, with comments and line numbers (ruamel's round-trip types).

    :param longest: the characters that an entry may have.
    :raises ProblemError: with the line, if the text is not YAML, has several documents, tags,
        directives, merge keys or duplicate keys, or exceeds a limit: 1 MiB, 20,000 events,
        32 levels, 64 aliases, no alias inside of an anchored collection.

    >>> load_yaml("name: x")["name"]
    'x'
    """
    plain_scalars(text, longest=longest)
    with _parser_errors():
        return YAML(typ="rt", pure=True).load(text)


def plain_scalars(text: str, *, longest: int = _MAX_SCALAR) -> dict[YamlPosition, str]:
    """Return the source text of each unquoted scalar, by its position.

    For numbers and dates: the tree contains their value, not their spelling.

    :raises ProblemError: as `load_yaml`, except for duplicate keys and values out of range.
    """
    if len(text) > _MAX_SIZE or len(text.encode("utf-8", "surrogatepass")) > _MAX_SIZE:
        raise ProblemError("it is larger than 1 MiB")
    unseen = _UNSEEN.search(text)
    if unseen:
        raise ProblemError(
            f"invalid or invisible character U+{ord(unseen[0]):04X}",
            line=len(_LINE_END.findall(text, 0, unseen.start())) + 1,
        )
    with _parser_errors():
        return _Scan(longest).run(text)


@contextmanager
def _parser_errors() -> Iterator[None]:
    """Convert every exception of the parser to a `ProblemError`."""
    try:
        yield
    except ProblemError:
        raise
    except DuplicateKeyError as error:
        match = _DUPLICATE.match(error.problem or "")
        key = f"`{shorten(match['key'])}`" if match else "a key"
        raise ProblemError(f"{key} occurs twice in one mapping", line=_line_of(error)) from error
    except YAMLError as error:
        raise _not_yaml(error) from error
    except _FAILURES as error:
        reason = shorten(first_line(error)) or "the parser gave up"
        raise ProblemError(f"invalid value: {reason}") from error


def _not_yaml(error: YAMLError) -> ProblemError:
    problem = getattr(error, "problem", None) or first_line(error)
    if "'\\t'" in problem:
        return ProblemError("invalid indentation by a tab", hint="indent with spaces", line=_line_of(error))
    return ProblemError(f"not valid YAML: {shorten(problem)}", line=_line_of(error))


def _line_of(error: YAMLError) -> int | None:
    mark = None
    if isinstance(error, MarkedYAMLError):
        # A quote that is not closed is a mistake where it was opened, not at the end of the file.
        is_quoted = "quoted scalar" in (error.context or "")
        mark = (is_quoted and error.context_mark) or error.problem_mark or error.context_mark
    return mark.line + 1 if mark else None


class _Scan:
    """Checks the events of a document one by one, without building a tree."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
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
        """Return the problem of one event, or None."""
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
            return "a second document begins: a file must contain one environment"
        if event.version or event.tags:
            return "unsupported `%` directive"
        return None

    def _alias(self) -> str | None:
        self._aliases += 1
        if any(self._open):
            # Ten levels of such aliases expand to billions of nodes ("billion laughs").
            return "an alias inside of an anchored collection is unsupported"
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
                return f"nested more than {_MAX_DEPTH} levels deep"
        return None

    def _scalar(self, event: ScalarEvent) -> str | None:
        if event.tag:
            return _tagged(event.tag)
        if len(event.value) > self._longest:
            return f"an entry is longer than {self._longest} characters"
        if event.style in (None, ""):
            if event.value == "<<":
                return "unsupported merge key `<<`"
            self._scalars[event.start_mark.line, event.start_mark.column] = event.value
        return None


def _tagged(tag: object) -> str:
    return f"unsupported tag `{shorten(str(tag))}`: only text, lists and mappings are allowed"


def shorten(text: str) -> str:
    """Return the first 80 characters of a text, in one line, for quoting in a message."""
    text = " ".join(text[: 2 * _CLIP].split())
    return text if len(text) <= _CLIP else f"{text[:_CLIP]}..."
