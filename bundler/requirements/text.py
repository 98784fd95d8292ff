"""Decode the user's files and split them into logical lines, exactly as pip does it.

Specs: PEP 263 (``coding:``), pip's requirements file format.
"""

from __future__ import annotations

import codecs
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pip_requirements_parser import COMMENT_RE, TextLine, preprocess  # type: ignore[import-untyped]

from bundler.archive.content import CONTENT_START, recognized_content
from bundler.data.foreign_files import foreign_file
from bundler.paths import printable
from bundler.problems import ProblemError, closest, display_path, register_urls
from bundler.redaction import url_filename

__all__ = [
    "MODEL_FILE",
    "cut_off",
    "decode",
    "directory_problem",
    "explicit_path",
    "first_input",
    "inputs_in",
    "is_model_folder",
    "logical_lines",
    "project_hint",
    "read_bytes",
    "similar_path",
    "url_of",
    "url_problem",
]

MODEL_FILE = "MLmodel"
"""The description of an MLflow model, in the model's directory."""
# The byte order marks that pip recognizes (pip/_internal/req/req_file.py).
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_TEXT_END = r"\r\n|\r|\n"
_CONFLICT = re.compile(r"^(?:<{7}|>{7}) .*\S", re.MULTILINE)
"""A line that git writes into a file whose merge has conflicts."""


def read_bytes(path: Path, cwd: Path = Path("/")) -> bytes:
    """Return the content of a regular file.

    :param cwd: the working directory, for hints.
    :raises ProblemError: if the file is missing, is not a regular file (pip reads it a second time,
        which a pipe does not support), or cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise directory_problem(path, "a directory, not a file", cwd)
        if not stat.S_ISREG(mode):
            raise ProblemError("not a regular file, which pip could read a second time")
        return path.read_bytes()
    except FileNotFoundError as error:
        if url := url_of(path):
            raise url_problem(url, cwd) from error
        parts = path.name.split(",")
        if len(parts) > 1 and any(path.with_name(name).is_file() for name in parts):
            hint = f"repeat the option: `{' '.join(f'-r {shlex.quote(name)}' for name in parts if name)}`"
            raise ProblemError("file not found", hint=hint) from error
        near = _similar_file(path)
        meant = shlex.quote(display_path(near, cwd)) if near else None
        raise ProblemError("file not found", hint=f"did you mean `{meant}`?" if meant else None) from error
    except OSError as error:
        raise ProblemError(f"cannot read the file: {(error.strerror or str(error)).lower()}") from error


# The files of a directory that contain requirements, the option that reads each, the best first.
_INPUTS = (
    ("requirements.txt", "-r"),
    ("conda.yaml", "-f"),
    ("pyproject.toml", "-r"),
    ("env.yml", "-f"),
    ("environment.yml", "-f"),
    ("pylock.toml", "--lock"),
)


def inputs_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the option and the name of each file of a directory with requirements, the best first."""
    return ((option, name) for name, option in _INPUTS if (folder / name).is_file())


def is_model_folder(path: Path) -> bool:
    """Return whether a path is the directory of an MLflow model."""
    return (path / MODEL_FILE).is_file()


def first_input(folder: Path) -> tuple[str, str] | None:
    """Return the option and the name of the first file of a directory with requirements, or None."""
    return next(inputs_in(folder), None)


def directory_problem(path: Path, fact: str, cwd: Path) -> ProblemError:
    """Return the problem of a directory that is given instead of a file or a project.

    :param fact: the message, unless it is the directory of an MLflow model.
    :param cwd: the working directory, for the hint.
    """
    if is_model_folder(path):
        fact = "the directory of an MLflow model, not a file"
        return ProblemError(fact, hint=f"pass `-r {shlex.quote(display_path(path, cwd))}`")
    if (found := first_input(path)) is not None:
        option, name = found
        return ProblemError(fact, hint=f"pass `{option} {shlex.quote(display_path(path / name, cwd))}`")
    if hint := project_hint(path, explicit_path(display_path(path, cwd))):
        return ProblemError(fact, hint=hint)
    names: list[str] = []
    with suppress(OSError):
        names = sorted(entry.name for entry in path.iterdir())
    kinds = (kind for name in names if (kind := foreign_file(name)) is not None)
    hints = (kind.hint(display_path(path, cwd)) for kind in kinds)
    return ProblemError(fact, hint=next(filter(None, hints), None))


def explicit_path(shown: str) -> str:
    """Return a relative path that cannot be read as the name of a project."""
    return shown if shown.startswith((".", "/")) else f"./{shown}"


def project_hint(path: Path, shown: str) -> str | None:
    """Return how pip can build a directory with a ``setup.cfg`` alone; None for another directory.

    :param shown: the path as the user would write it.
    """
    if any((path / name).exists() for name in ("setup.py", "pyproject.toml")):
        return None
    with suppress(OSError, UnicodeDecodeError):
        if re.search(r"^\[(metadata|options)\]", (path / "setup.cfg").read_text("utf-8"), re.MULTILINE):
            script = shlex.quote(f"{shown}/setup.py")
            return (
                f"`echo 'import setuptools; setuptools.setup()' > {script}`, then pass `{shlex.quote(shown)}`"
            )
    return None


def url_of(path: Path) -> str | None:
    """Return the URL that was converted to a path, which joins its slashes; None for another path.

    >>> url_of(Path("/opt/x/https:/host/r.txt"))
    'https://host/r.txt'
    """
    for at, part in enumerate(path.parts):
        if part in ("http:", "https:"):
            return f"{part}//{'/'.join(path.parts[at + 1 :])}"
    return None


def url_problem(url: str, cwd: Path, fact: str = "a URL, not a file") -> ProblemError:
    """Return the problem of a URL in the place of a file, with a command that downloads it to a new file."""
    register_urls(url)
    # The page of a file on GitHub or GitLab is HTML; `raw` redirects to its text.
    url = re.sub(r"^(https://(?:github|gitlab)\.[^/]+/.+?/)blob/", r"\1raw/", url)
    path = Path(url_filename(url) or "requirements.txt")
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in range(2, 100))
    name = next((str(item) for item in (path, *numbered) if not (cwd / item).exists()), path.name)
    return ProblemError(
        fact,
        hint=f"download it first: `curl -fsSL -o {shlex.quote(name)} {shlex.quote(url)}`, and pass the file",
    )


def similar_path(path: Path) -> Path | None:
    """Return the path beside a missing one with the most similar name, or that in the directory above."""
    names: list[str] = []
    with suppress(OSError):  # there is no such directory, or it cannot be read
        names = [entry.name for entry in path.parent.iterdir()]
    near = closest(path.name, names)
    if near is None and (above := path.parent / ".." / path.name).is_file():
        return above
    return path.with_name(near) if near else None


def _similar_file(path: Path) -> Path | None:
    """Return the file that was meant by a missing one: a similar name, another input, or `similar_path`."""
    names: list[str] = []
    with suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    inputs = (name for name, _ in _INPUTS if name in names and Path(name).suffix == path.suffix)
    name = closest(path.name, names) or next(inputs, None)
    return path.with_name(name) if name else similar_path(path)


def decode(content: bytes) -> tuple[str, str]:
    """Return the text of a file and the name of its encoding, as pip decodes it.

    The encoding is UTF-8 with or without a byte order mark, or UTF-16 with one. pip
    obeys a ``coding:`` comment, so a comment that would decode to another text than
    UTF-8 is rejected: pip must act on the text that is checked here.

    :raises ProblemError: with the line and the byte offset of the first invalid byte.
    """
    other = recognized_content(content[:CONTENT_START]) if content else None
    if other is not None and other.hint:
        raise ProblemError(f"{other.label}, not a file with requirements", hint=other.hint)
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
    if conflict := _CONFLICT.search(text):
        raise ProblemError(
            "an unresolved conflict of a merge of git",
            details=(f"found   `{printable(conflict[0])}`",),
            hint="keep the lines of one side, and remove the lines `<<<<<<<`, `=======` and `>>>>>>>`",
            line=len(re.findall(_TEXT_END, text[: conflict.start()])) + 1,
        )
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
        number = len(re.findall(_TEXT_END, text.rstrip("\r\n"))) + 1
        fact = "the file ends after a line continuation `\\`"
        return ProblemError(fact, hint="remove the `\\` at its end", line=number)
    return None
