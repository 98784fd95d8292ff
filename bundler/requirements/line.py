"""Parse one line of a requirements file, and check it against the policy.

Lines are parsed by pip's own parser. The policy allows no editable requirement, no
URL without a digest or a full commit, and no option that runs code.

Specs: pip's requirements file format, PEP 508, PEP 440 (direct references).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from optparse import OptionParser, Values
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pip_requirements_parser import (  # type: ignore[import-untyped]
    OptionParsingError,
    PipError,
    RequirementParts,
    break_args_options,
    build_parser,
    is_archive_file,
    is_url,
    parse_reqparts_from_string,
    url_to_path,
)

from bundler.data.synonyms import read_synonyms
from bundler.problems import ProblemError, closest, first_line
from bundler.redaction import redact, split_url
from bundler.requirements.local import MISSING, local_distribution
from bundler.requirements.mistakes import (
    probable_requirement,
    refuse_command,
    refuse_foreign,
    refuse_known,
    refuse_python,
    shown_character,
)
from bundler.requirements.repository import check_repository, editable_problem, refuse_repository

__all__ = [
    "RequirementKind",
    "RootRequirement",
    "absolute_line",
    "format_control",
    "parse_root",
    "split_options",
]

RequirementKind = Literal["index", "archive", "directory", "vcs"]

_DIGESTS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""The algorithms that pip accepts in ``--hash``, with their length in hexadecimal digits."""

_OPTIONS = frozenset(
    {
        *("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host"),
        *("--pre", "--prefer-binary", "--no-binary", "--only-binary", "--require-hashes", "--use-feature"),
        *("-r", "--requirement", "-c", "--constraint"),
    }
)
_NESTED = frozenset({"-r", "--requirement", "-c", "--constraint"})
_EDITABLE = frozenset({"-e", "--editable"})

_PLAIN = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==([0-9]+(?:\.[0-9]+)*)", re.ASCII)
_HASHES = re.compile(r"--hash=[a-z0-9]+:[0-9a-f]+(?: +--hash=[a-z0-9]+:[0-9a-f]+)*", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)
_WEAK = frozenset({"md5", "sha1", "sha224"})
_NAMED_PATH = re.compile(
    r"[A-Za-z0-9][\w.-]*\s*(?P<extras>\[[^\]]*\])?\s*@\s*(?P<path>[^\s;]+)(?P<marker>\s*;.*)?", re.ASCII
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RootRequirement:
    """A requirement of the user: by name, path or URL."""

    text: str
    """Normalized and without credentials: PEP 508, or the path or URL as written."""
    requirement: Requirement | None
    """The parsed requirement, its URL without credentials; None for a path or URL without a name."""
    origin: str
    """``requirements.txt:4``, ``pyproject.toml [dev]`` or ``command line``."""
    kind: RequirementKind
    """The source of the distribution."""
    location: str | None
    """An absolute path, or a URL without credentials; None for ``index``."""


@cache
def _parser() -> OptionParser:
    """Return pip's option parser; it can be reused, since the values are its only state."""
    parser: OptionParser = build_parser()
    return parser


def _no_options() -> Values:
    return Values({name: list(v) if isinstance(v, list) else v for name, v in _parser().defaults.items()})


_NO_OPTIONS = _no_options()


def split_options(line: str) -> tuple[str, Values]:
    """Split a line into its requirement, possibly empty, and its options.

    :raises ProblemError: if an option is malformed, or not allowed.
    """
    refuse_command(line)
    text, rest = break_args_options(line)
    if not rest:
        return text, _NO_OPTIONS
    if text and _HASHES.fullmatch(rest):  # the result of the parser, ten times as fast
        hashes = [word.partition("=")[2] for word in rest.split()]
        return text, Values({**_NO_OPTIONS.__dict__, "hashes": hashes})
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise ProblemError(f"cannot parse its options: {first_line(error)}") from error
    names = [
        word.partition("=")[0] if word.startswith("--") else word[:2] for word in words if word[0:1] == "-"
    ]
    for name in names:
        _check_option(name, text, words, line)
    given = _no_options()
    try:
        _, stray = _parser().parse_args(words, given)
    except OptionParsingError as error:
        reason = str(error.msg).partition("error: ")[2].strip()
        raise ProblemError(f"invalid options: {reason}") from error
    if stray:
        hint = "write the marker before the options" if stray[0].startswith(";") else None
        raise ProblemError(f"pip would ignore `{stray[0]}`, which is not an option", hint=hint)
    # pip uses the last `-r` of a line and ignores the others.
    if len(given.find_links) > 1 or (len(names) > 1 and _NESTED.intersection(names)):
        raise ProblemError("pip would read only one of its files", hint="write one option per line")
    return text, given


def format_control(line: str) -> Iterator[str]:
    """Yield the options ``--no-binary`` and ``--only-binary`` of a line, in order: a later one overrides."""
    words = iter(shlex.split(break_args_options(line)[1]))
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("--no-binary", "--only-binary"):
            yield f"{name}={value if equals else next(words)}"


def _check_option(name: str, text: str, words: Sequence[str], line: str) -> None:
    if name == "-":
        meant = probable_requirement(line)
        hint = f"write `{meant}`" if meant else "remove the `-` before the name"
        raise ProblemError("an item of a YAML list, not a requirement", hint=hint)
    if name in _EDITABLE:
        rest = " ".join(words[1:]) if words[0] == name else words[0].removeprefix(name).lstrip("=")
        raise editable_problem(rest)
    if name == "--hash" and not text:
        raise ProblemError("`--hash` without a requirement: the line before it does not end in `\\`")
    allowed = {"--hash"} if text else _OPTIONS
    if name not in allowed:
        same = (other for other in read_synonyms().options.get(name, ()) if other in allowed)
        near = next(same, None) or closest(name, allowed)
        place = "after a requirement" if text else "in a requirements file"
        hint = f"did you mean `{near}`?" if near else "remove the line"
        if text and not near:
            hint = "a comment starts with ` #`" if name == "--" else f"write `{text}`"
        raise ProblemError(f"the option `{name}` is not allowed {place}", hint=hint)


def parse_root(text: str, *, origin: str, cwd: Path, hashes: Sequence[str] = ()) -> RootRequirement:
    """Parse one requirement, and check it against the policy.

    :param text: the line without options and comments, with variables expanded.
    :param origin: the file and line, for messages.
    :param cwd: the directory that a relative path starts at.
    :param hashes: the values of its ``--hash`` options.
    :raises ProblemError: if it is malformed, or the policy does not allow it.
    """
    algorithms = {_check_digest(*item.partition(":")[::2]) for item in hashes}
    refuse_python(text, is_file=origin != "command line")
    plain = _PLAIN.fullmatch(text)
    if plain:
        refuse_known(canonicalize_name(plain[1]))
        requirement = _plain_requirement(plain[1], plain[2])
        return RootRequirement(text=text, requirement=requirement, origin=origin, kind="index", location=None)
    refuse_repository(text)
    refuse_foreign(text, is_file=origin != "command line")
    _refuse_path(text, cwd)
    parts = _parse_parts(text, cwd)
    named: Requirement | None = parts.requirement
    if named is not None:
        named.marker = parts.marker or named.marker
        named.extras |= parts.extras if parts.link else set()
    if named is not None:
        refuse_known(canonicalize_name(named.name))
    if parts.link is None and named is not None and named.url is None:
        return RootRequirement(text=str(named), requirement=named, origin=origin, kind="index", location=None)
    url = str(parts.link.url if parts.link else named and named.url)
    if parts.link is None and not is_url(url):
        probable = probable_requirement(text)
        hint = f"did you mean `{probable}`?" if probable and probable != str(named) else None
        raise ProblemError("the text after `@` is not a URL that pip can fetch", hint=hint)
    kind, location = _location(url, named, cwd, algorithms, origin)
    clean = _clean(url)
    if kind == "archive" and "/" not in clean:
        clean = f"./{clean}"  # without a slash, the name of a wheel could be that of a project
    if named is not None and named.url:
        named.url = clean
        clean = str(named)
    else:
        if parts.extras:
            clean += f"[{','.join(sorted(parts.extras))}]"
        if parts.marker:
            clean += f" ; {parts.marker}"
    return RootRequirement(text=clean, requirement=named, origin=origin, kind=kind, location=location)


def _location(
    url: str, named: Requirement | None, cwd: Path, algorithms: set[str], origin: str
) -> tuple[RequirementKind, str]:
    """Return the result of `_locate`, its errors as problems of the requirement."""
    try:
        return _locate(url, cwd, algorithms)
    except ProblemError as refused:
        if named is not None and refused.fact == MISSING and url.lower().startswith("file:///"):
            raise _frozen_path(named.name, refused) from None
        if refused.hint == f"pass `-r {origin.rpartition(':')[0]}`":
            refused.hint = "remove the line"  # the directory has no other file with requirements
        raise
    except ValueError as error:
        raise ProblemError(f"its URL is malformed: {first_line(error)}") from error


def _frozen_path(name: str, refused: ProblemError) -> ProblemError:
    """Return the problem of ``NAME @ file:///...`` whose path does not exist: `pip freeze` wrote it."""
    return ProblemError(
        f"the path of `{name}` does not exist here: `pip freeze` writes the path that a package was built in",
        details=refused.details,
        hint="write the file again with `pip list --format=freeze`, or pass the `env.yml` with `-f`",
    )


def _clean(url: str) -> str:
    """Return a URL without its credentials, and a path unchanged."""
    return redact(split_url(url)[0]) if "://" in url else url


def _plain_requirement(name: str, version: str) -> Requirement:
    """Return ``Requirement(f"{name}=={version}")`` without the parser, in a third of its time."""
    requirement = Requirement.__new__(Requirement)
    requirement.name, requirement.url, requirement.marker = name, None, None
    requirement.extras, requirement.specifier = set(), SpecifierSet(f"=={version}")
    return requirement


def _refuse_path(text: str, cwd: Path) -> None:
    """Refuse a path after the name of a project: ``six @ ./six-1.0-py3-none-any.whl``.

    :raises ProblemError: with the path alone, if it can be built.
    """
    match = _NAMED_PATH.fullmatch(text) if "@" in text else None
    path = match["path"] if match else ""
    if match is None or is_url(path) or not (path.startswith((".", "/")) or is_archive_file(path)):
        return
    _parse_parts(path, cwd)
    local_distribution(Path(os.path.normpath(cwd / path)), cwd)
    line = f"{path if '/' in path else f'./{path}'}{match['extras'] or ''}{match['marker'] or ''}"
    raise ProblemError("the text after `@` is a path, not a URL", hint=f"write `{line}`")


def _parse_parts(text: str, cwd: Path) -> RequirementParts:
    """Return the parts of a requirement, as parsed by pip.

    :raises ProblemError: if it is malformed.
    """
    if not text.replace("\t", " ").isprintable():
        hidden = next(char for char in text if char != "\t" and not char.isprintable())
        probable = probable_requirement(text)
        kind = "a control" if hidden < " " else "an invisible"
        raise ProblemError(
            f"it contains {kind} character: {shown_character(hidden)}",
            hint=f"did you mean `{probable}`?" if probable else None,
        )
    try:
        return parse_reqparts_from_string(text)
    except (PipError, ValueError) as error:
        name = re.split(r"[\s\[<>=!~;@(]", text, maxsplit=1)[0]
        foreign = next((char for char in name if not char.isascii()), None)
        probable = probable_requirement(text)
        meant = f"did you mean `{probable}`?" if probable is not None else None
        if foreign and "/" not in name and not is_archive_file(name):
            fact = f"invalid character in the name of the project: {shown_character(foreign)}"
            raise ProblemError(fact, hint=meant) from error
        path = re.split(r"[\[;]", text, maxsplit=1)[0].strip()
        if path.endswith(".whl") and not is_url(path):
            local_distribution(Path(os.path.normpath(cwd / path)), cwd)
            wanted = "wanted  NAME-VERSION-PYTHON-ABI-PLATFORM.whl"
            raise ProblemError("not a valid file name of a wheel", details=(wanted,)) from error
        cause = error.__context__ if isinstance(error.__context__, InvalidRequirement) else error
        if meant is not None:
            raise ProblemError("not a valid requirement", hint=meant) from error
        hint = "pin a version with `==`" if "Did you mean ==" in str(error) else None
        raise ProblemError(f"not a valid requirement: {first_line(cause)}", hint=hint) from error


def _locate(url: str, cwd: Path, algorithms: set[str]) -> tuple[RequirementKind, str]:
    """Return the kind of a URL or path, and its clean URL or absolute path.

    :raises ProblemError: if the policy does not allow it.
    """
    if not is_url(url):
        return local_distribution(Path(os.path.normpath(cwd / url)), cwd)
    parts = urlsplit(url)
    if parts.scheme == "file":
        return local_distribution(Path(os.path.normpath(cwd / url_to_path("file" + url[4:]))), cwd)
    location = _clean(url)
    if "+" in parts.scheme:
        check_repository(url)
        return "vcs", location
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProblemError(f"unsupported URL scheme `{parts.scheme}:`", hint="use https")
    digests = [
        (name, value) for name, value in parse_qsl(parts.fragment) if name in _WEAK or name in _DIGESTS
    ]
    algorithms = algorithms | {_check_digest(*item) for item in digests}
    if parts.path.rstrip("/").endswith("/simple"):
        repeated = f"repeat the option: `--extra-index-url {shlex.quote(redact(location))}`"
        raise ProblemError("the URL of an index, not a requirement", hint=repeated)
    if len(digests) > 1 or "sha256" not in algorithms:
        raise ProblemError(
            "a URL must have exactly one `#sha256=` fragment: its content may change at any time",
            hint="append `#sha256=` and the digest that `sha256sum` prints for the file",
        )
    return "archive", location


def _check_digest(algorithm: str, digest: str) -> str:
    """Return the algorithm of a digest, if it is secure and the digest is well-formed."""
    length = _DIGESTS.get(algorithm)
    if length is None:
        raise ProblemError(
            f"`{algorithm}` is not a secure digest", details=("wanted  sha256",), hint="use `--hash=sha256:`"
        )
    if len(digest) != length or not _HEX.fullmatch(digest):
        raise ProblemError(
            f"not a valid {algorithm} digest",
            details=(f"wanted  {length} hexadecimal digits", f"found   {len(digest)}: `{digest[:80]}`"),
        )
    return algorithm


_PATH = re.compile(r"[^\s\[;]+")


def absolute_line(line: str, root: RootRequirement) -> str:
    """Return the line of a requirement by path, with the path made absolute.

    >>> root = RootRequirement(text="", requirement=None, origin="", kind="archive", location="/b/a.whl")
    >>> absolute_line("./a.whl[x]", root)
    '/b/a.whl[x]'
    """
    if root.requirement is not None and " @ " in line:
        head, _, rest = line.partition(" @ ")
        _, *after = rest.split(maxsplit=1)
        return " ".join([head, "@", Path(str(root.location)).as_uri(), *after])
    return _PATH.sub(lambda _: str(root.location), line, count=1)
