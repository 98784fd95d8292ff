"""Stage 1, pure: conda's match specifications, and what each asks of a Python package index.

Nothing is asked of an index or of conda: which project a package is comes from a
dated table, and a name that is in no table is assumed to be the project's.

Specs: CEP 26 (names), CEP 29 (match specifications), PEP 508.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidName, canonicalize_name

from bundler.data.conda_names import Known, Role, look_up
from bundler.problems import ProblemError, closest, register_urls
from bundler.redaction import register_secret, split_url
from bundler.requirements.conda.version import parse_ranges, specifiers

__all__ = [
    "MatchSpec",
    "Role",
    "Translation",
    "clean_channel",
    "parse_match_spec",
    "register_channels",
    "translate",
]

_MAX_LENGTH = 1000
_NAME = re.compile(r"_{0,2}[a-z0-9]+(?:[._-][a-z0-9]+)*[._-]?")
_NAME_END = re.compile(r"[\s=<>!~;@,|]")
_SPACED = re.compile(r"\s*([,|])\s*|([~=!<>]=|[=<>])\s+")
_BUILD = re.compile(r"[^\s=,|<>~-]+")
_VERSION_BUILD = re.compile(rf"(?P<version>.*[^=<>!~,|])=(?P<build>{_BUILD.pattern})")
_FIELD = re.compile(
    r"\s*(?P<key>[A-Za-z0-9_]+)\s*=\s*(?:'(?P<a>[^']*)'|\"(?P<b>[^\"]*)\"|(?P<c>[^\s,'\"]+))(?:\s*,|\s+|\Z)"
)
_FIELDS = ("version", "build", "build_number", "channel", "subdir")
_FILE = (".conda", ".tar.bz2")
_ADDRESS = re.compile(r"://[^\s\"'<>]+")
_SCHEME = 20
_HOST = re.compile(r"(?:://|\w\.\w)\S*\Z")
_HOST_LENGTH = 300
_TOKEN = re.compile(r"/t/(?P<token>[^/\s\"'<>]+)")
_USER = re.compile(r"(?P<user>[^/@]+)@")


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchSpec:
    """One conda package, and the releases of it that will do."""

    name: str
    """In lower case."""
    version: str | None
    """``==1.2``, ``1.2.*``, ``>=1,<2|3.*``, without spaces; None is any."""
    build: str | None
    """The build string, which may hold globs; None is any."""
    channel: str | None
    """Where conda would take it from, without credentials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation:
    """What a match specification means where there is no conda."""

    spec: MatchSpec
    """What was asked."""
    role: Role
    """Where the package comes from."""
    requirement: Requirement | None
    """What to ask of the index, for ``requirement``."""
    python: SpecifierSet | None
    """The releases of Python that will do, for ``python``."""
    libraries: tuple[str, ...]
    """How names of shared libraries begin, any one of which shows that a base has it, for ``base``."""
    notes: tuple[str, ...]
    """What was lost or assumed."""


def parse_match_spec(text: str) -> MatchSpec:
    """Return the parts of a specification as ``env.yml`` has it.

    ``name=1.2`` is any 1.2 release (``1.2.*``); ``name==1.2``, ``name 1.2`` and
    ``name=1.2=build`` are exactly 1.2.

    :raises RefusedError: if conda would not take it, or its own tools read it differently.

    >>> parse_match_spec("conda-forge::numpy=1.21").version
    '1.21.*'
    """
    register_channels(text)
    text = text.partition("#")[0].strip()
    _check_form(text)
    text, fields = _fields(text)
    channel, _, text = text.rpartition("::")
    end = _NAME_END.search(text)
    name = text[: end.start() if end else len(text)].lower()
    if not _NAME.fullmatch(name):
        raise _bad_name(name, text)
    version, build = _version_and_build(text[len(name) :])
    if version and "version" in fields:
        raise ProblemError(f"`{name}` has a version inside and outside of its brackets")
    version = version or fields.get("version", "*")
    alternatives = [",".join(map(str, item)) for item in parse_ranges(version, exact=bool(build))]
    channel, build = fields.get("channel", channel), fields.get("build", build)
    return MatchSpec(
        name=name,
        version="|".join(alternatives) if all(alternatives) else None,
        build=None if build in ("", "*") else build,
        channel=clean_channel(channel) if channel else None,
    )


def translate(spec: MatchSpec) -> Translation:
    """Return what ``spec`` means where there is no conda.

    :raises RefusedError: if it is needed and cannot be asked for: a package that is on
        no index, alternatives that are more than one range, a version unknown to PEP 440.

    >>> str(translate(parse_match_spec("pytorch=1.13=py3.7_cuda11.7_0")).requirement)
    'torch==1.13'
    """
    known = look_up(spec.name)
    if known.refused:
        raise ProblemError(f"`{spec.name}` {known.refused}", hint=known.hint)
    notes = list(known.notes)
    requirement = python = None
    if known.role == "python":
        python = _python(spec, notes)
    elif known.role == "requirement":
        requirement = _requirement(spec, known, notes)
        notes += [f"build `{spec.build}` is left out"] if spec.build else []
        notes += [f"channel `{spec.channel}` is left out"] if spec.channel else []
    return Translation(
        spec=spec,
        role=known.role,
        requirement=requirement,
        python=python,
        libraries=known.libraries,
        notes=tuple(notes),
    )


def register_channels(text: str) -> None:
    """Register each credential and token of an address in ``text``; linear in its length."""
    for found in _ADDRESS.finditer(text):
        register_urls(text[max(0, found.start() - _SCHEME) : found.end()])
    for found in _TOKEN.finditer(text):
        if _HOST.search(text, max(0, found.start() - _HOST_LENGTH), found.start()):
            register_secret(found["token"])


def clean_channel(text: str) -> str:
    """Return a channel without its credentials and its token, which are registered as secrets.

    >>> clean_channel("https://me:hunter2@conda.example/t/secret-1/main")
    'https://conda.example/main'
    """
    for token in _TOKEN.finditer(text):
        register_secret(token["token"])
    text = _TOKEN.sub("", text)
    if "://" in text:
        try:
            return split_url(text)[0]
        except ValueError as error:
            _register_user(text.partition("://")[2].rpartition("@")[0])
            raise ProblemError("the address of a channel cannot be read") from error
    user = _USER.match(text)
    if not user:
        return text
    _register_user(user["user"])
    return text[user.end() :]


def _register_user(user: str) -> None:
    register_secret(user)
    register_secret(user.rpartition(":")[2])


def _check_form(text: str) -> None:
    """Refuse what is no specification at all: a file, a condition, an expression."""
    if not text:
        raise ProblemError("the name of a package is missing")
    if len(text) > _MAX_LENGTH:
        raise ProblemError(f"a package has more than {_MAX_LENGTH} characters")
    if not text.isascii() or not text.isprintable():
        raise ProblemError(f"`{text}` holds a character that no conda package has")
    if text.endswith(_FILE):
        raise ProblemError(f"`{text}` is a file for conda alone", hint="write `name=1.2`")
    if ";" in text or " if " in text:
        raise ProblemError(f"`{text}` has a condition", hint="move it to the `pip` section")
    if "@" in text.rpartition("::")[2]:
        raise ProblemError(f"`{text}` is not a conda package", hint="move it to the `pip` section")
    if "(" in text or ")" in text:
        raise ProblemError(f"conda's tools do not agree on what the parentheses of `{text}` are")


def _fields(text: str) -> tuple[str, dict[str, str]]:
    """Return ``text`` without its brackets, and the fields that stood in them."""
    text, bracket, inside = text.partition("[")
    if not bracket:
        return text, {}
    inside, closing, after = inside.rpartition("]")
    if not closing or after.strip():
        raise ProblemError(f"`{text}[` has no `]` at its end")
    fields: dict[str, str] = {}
    position = 0
    while position < len(inside):
        found = _FIELD.match(inside, position)
        if not found:
            hint = None if "=" in inside else "move a name with extras to the `pip` section"
            raise ProblemError(f"`[{inside}]` is not a list of `key=value`", hint=hint)
        key, value = found["key"], next(item for item in found.group("a", "b", "c") if item is not None)
        if key not in _FIELDS:
            near = closest(key, _FIELDS)
            raise ProblemError(
                f"the field `{key}` means nothing without conda", hint=near and f"did you mean `{near}`?"
            )
        if key in fields or not value.strip():
            raise ProblemError(f"the field `{key}` is {'given twice' if key in fields else 'empty'}")
        fields[key] = _closed_up(value)
        position = found.end()
    return text, fields


def _bad_name(name: str, text: str) -> ProblemError:
    if not name:
        return ProblemError(f"`{text}` does not begin with the name of a package")
    if "*" in name:
        return ProblemError(f"`{name}` is a pattern, not one package")
    hint = "write `channel::name`" if "/" in name or ":" in name else None
    return ProblemError(f"`{name}` is not the name of a conda package", hint=hint)


def _closed_up(text: str) -> str:
    """Return ``text`` without the spaces that conda lets stand around its operators."""
    return _SPACED.sub(lambda found: found[1] or found[2], text.strip())


def _version_and_build(text: str) -> tuple[str, str]:
    """Return what follows a name as a version and a build string; empty is none."""
    version, space, build = _closed_up(text).partition(" ")
    if not space:
        found = _VERSION_BUILD.fullmatch(version)
        return (found["version"], found["build"]) if found else (version, "")
    if _BUILD.fullmatch(build.strip().removeprefix("=")):
        return version, build.strip().removeprefix("=")
    bounds = f"{version},{build.strip()}"
    raise ProblemError(
        f"`{build.strip()}` is not a build string",
        hint=f"write `{bounds}`" if re.match(r"[<>!=~]=?[0-9]", build.strip()) else None,
    )


def _python(spec: MatchSpec, notes: list[str]) -> SpecifierSet:
    if "pypy" in (spec.build or "").lower():
        raise ProblemError(f"build `{spec.build}` of `python` is PyPy, and only CPython is bundled for")
    found = SpecifierSet(",".join(specifiers(spec.name, spec.version, notes) if spec.version else ()))
    notes += [
        f"`{item}` is {item.version}.0 alone; `python={item.version}` is the series"
        for item in found
        if item.operator == "==" and item.version.count(".") == 1 and "*" not in item.version
    ]
    return found


def _requirement(spec: MatchSpec, known: Known, notes: list[str]) -> Requirement:
    asked = specifiers(spec.name, spec.version, notes, longer=known.longer) if spec.version else ()
    try:
        requirement = Requirement(known.project + ",".join(asked))
        canonicalize_name(requirement.name, validate=True)
    except (InvalidName, InvalidRequirement) as error:
        raise ProblemError(f"`{known.project}` cannot be the name of a project") from error
    return requirement
