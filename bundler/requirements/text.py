"""Stage 1: the text of the user's files, decoded and split into lines exactly as pip does it.

Specs: PEP 263 (``coding:``), pip's requirements file format.
"""

from __future__ import annotations

import codecs
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pip_requirements_parser import COMMENT_RE, TextLine, preprocess  # type: ignore[import-untyped]

from bundler.problems import ProblemError

__all__ = ["cut_off", "decode", "logical_lines", "read_bytes"]


# pip looks for these, and treats the rest of the file as that encoding; so must we.
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_LINE_END = re.compile(rb"\r\n|\r|\n")


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    :raises RefusedError: if there is none, if it is a folder or anything else that
        could not be read a second time, or if the system refuses.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ProblemError("it is a folder, not a file")
        if not stat.S_ISREG(mode):
            raise ProblemError("it is not a regular file, and pip could not read it again")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ProblemError("there is no such file") from error
    except OSError as error:
        raise ProblemError(f"it cannot be read: {(error.strerror or str(error)).lower()}") from error


def decode(content: bytes) -> tuple[str, str]:
    """Return the text of a file and the name of its encoding, exactly as pip will read it.

    UTF-8 with or without a byte order mark, and UTF-16 with one. A ``coding:``
    comment is honoured by pip, so one that would give another text than UTF-8
    is refused: what is checked must be what pip acts on.

    :raises RefusedError: with the line and the byte offset of the first bad byte.
    """
    mark, encoding = next((item for item in _BOMS if content.startswith(item[0])), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        offset = len(mark) + error.start
        raise ProblemError(
            f"byte 0x{content[offset]:02x} at offset {offset} is not {encoding.upper()}",
            hint="save the file as UTF-8",
            line=_line_at(content, offset),
        ) from error
    nul = text.find("\0")
    if nul >= 0:
        offset = len(mark) + len(text[:nul].encode(encoding))
        raise ProblemError(f"there is a NUL at byte offset {offset}", line=_line_at(content, offset))
    if not mark:
        _check_coding(content, text)
    return text, encoding


def _line_at(content: bytes, offset: int) -> int:
    return len(_LINE_END.findall(content, 0, offset)) + 1


def _check_coding(content: bytes, text: str) -> None:
    for number, line in enumerate(content.split(b"\n")[:2], start=1):
        found = _CODING.search(line) if line.startswith(b"#") else None
        if found is None:
            continue
        name = found[1].decode("ascii", "replace")
        try:
            same = content.decode(name) == text
        except (LookupError, ValueError):
            same = False
        if not same:
            raise ProblemError(
                f"its `coding: {name}` comment asks for another encoding than UTF-8",
                hint="save the file as UTF-8 and remove the comment",
                line=number,
            )
        return


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield each line of a requirements file as pip sees it, with the number of its first line.

    Comments and continuations are gone. Numbers are those of an editor: pip also
    ends lines at form feeds and the like, which do not count.

    >>> list(logical_lines("a \\\n b # c\n\nd"))
    [(1, 'a  b'), (4, 'd')]
    """
    numbers = [1]
    for line in text.splitlines(keepends=True):
        numbers.append(numbers[-1] + (line[-1] in "\r\n"))
    for found in preprocess(text):
        if isinstance(found, TextLine):
            yield numbers[found.line_number - 1], found.line


def cut_off(text: str) -> ProblemError | None:
    """Return what is wrong with a requirements file that ends in a continuation, or None."""
    lines = text.splitlines()
    if lines and lines[-1].endswith("\\") and not COMMENT_RE.match(lines[-1]):
        number = len(re.findall(r"\r\n|\r|\n", text.rstrip("\r\n"))) + 1
        return ProblemError("the file ends inside a line: nothing follows its last `\\`", line=number)
    return None
