"""Decode the user's files and split them into logical lines, exactly as pip does it.

Specs: PEP 263 (``coding:``), pip's requirements file format.
"""

from __future__ import annotations

import codecs
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pip_requirements_parser import COMMENT_RE, TextLine, preprocess  # type: ignore[import-untyped]

from bundler.problems import ProblemError, closest

__all__ = ["INPUTS", "cut_off", "decode", "directory_problem", "logical_lines", "read_bytes"]


# The byte order marks that pip recognizes (pip/_internal/req/req_file.py).
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_LINE_END = re.compile(rb"\r\n|\r|\n")


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    :raises ProblemError: if the file is missing, is not a regular file (pip reads it a second time,
        which a pipe does not support), or cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise directory_problem(path, "a directory, not a file")
        if not stat.S_ISREG(mode):
            raise ProblemError("not a regular file, which pip could read a second time")
        return path.read_bytes()
    except FileNotFoundError as error:
        near = _similar_file(path)
        raise ProblemError("file not found", hint=f"did you mean `{near}`?" if near else None) from error
    except OSError as error:
        raise ProblemError(f"cannot read the file: {(error.strerror or str(error)).lower()}") from error


# The files of a directory that contain requirements, the option that reads each, the best first.
INPUTS = (
    ("requirements.txt", "-r"),
    ("conda.yaml", "-f"),
    ("pyproject.toml", "-r"),
    ("env.yml", "-f"),
    ("environment.yml", "-f"),
    ("pylock.toml", "--lock"),
)


def directory_problem(path: Path, fact: str) -> ProblemError:
    """Return the problem of a directory that is given instead of a file or a project.

    :param fact: the message, unless it is the directory of an MLflow model.
    """
    if (path / "MLmodel").is_file():
        fact = "the directory of an MLflow model, not a file or project with requirements"
    options = [f"{option} {path.name}/{name}" for name, option in INPUTS if (path / name).is_file()]
    return ProblemError(fact, hint=f"pass `{options[0]}`" if options else None)


def _similar_file(path: Path) -> str | None:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return None
    near = closest(path.name, names)
    return str(path.with_name(near).name) if near else None


def decode(content: bytes) -> tuple[str, str]:
    """Return the text of a file and the name of its encoding, as pip decodes it.

    The encoding is UTF-8 with or without a byte order mark, or UTF-16 with one. pip
    obeys a ``coding:`` comment, so a comment that would decode to another text than
    UTF-8 is rejected: pip must act on the text that is checked here.

    :raises ProblemError: with the line and the byte offset of the first invalid byte.
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
        raise ProblemError(f"NUL character at byte offset {offset}", line=_line_at(content, offset))
    if not mark:
        _check_coding(content, text)
    return text, encoding


def _line_at(content: bytes, offset: int) -> int:
    return len(_LINE_END.findall(content, 0, offset)) + 1


def _check_coding(content: bytes, text: str) -> None:
    # PEP 263: the comment is in the first or second line.
    for number, line in enumerate(content.split(b"\n")[:2], start=1):
        comment = _CODING.search(line) if line.startswith(b"#") else None
        if comment is None:
            continue
        name = comment[1].decode("ascii", "replace")
        try:
            same = content.decode(name) == text
        except (LookupError, ValueError):
            same = False
        if not same:
            raise ProblemError(
                f"its `coding: {name}` comment selects another encoding than UTF-8",
                hint="save the file as UTF-8 and remove the comment",
                line=number,
            )
        return


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield the logical lines of a requirements file, each with the number of its first line.

    Comments are removed and continuations joined, as in pip. Numbers are those of an
    editor: pip uses `str.splitlines`, which also ends lines at form feeds and others.

    >>> list(logical_lines("a \\\n b # c\n\nd"))
    [(1, 'a  b'), (4, 'd')]
    """
    numbers = [1]
    for line in text.splitlines(keepends=True):
        numbers.append(numbers[-1] + (line[-1] in "\r\n"))
    for logical in preprocess(text):
        if isinstance(logical, TextLine):
            yield numbers[logical.line_number - 1], logical.line


def cut_off(text: str) -> ProblemError | None:
    """Return the problem of a requirements file that ends in a continuation, or None."""
    lines = text.splitlines()
    if lines and lines[-1].endswith("\\") and not COMMENT_RE.match(lines[-1]):
        number = len(re.findall(r"\r\n|\r|\n", text.rstrip("\r\n"))) + 1
        return ProblemError("the file ends after a line continuation `\\`", line=number)
    return None
