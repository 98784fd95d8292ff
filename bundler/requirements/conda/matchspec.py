"""Parse match specifications of conda, and translate them to requirements.

No index and no channel is queried: a dated table (`data.conda_names`) maps conda
packages to projects, and a name that it lacks is taken as the name of the project.

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
# Anaconda adds the date of its build to releases of setuptools: `46.1.3.post20200330`.
_BUILD_DATE = re.compile(r"(?<=[0-9])\.post20[0-9]{6}(?![0-9])")
_BUILD = re.compile(r"[^\s=,|<>~-]+")
_VERSION_BUILD = re.compile(rf"(?P<version>.*[^=<>!~,|])=(?P<build>{_BUILD.pattern})")
_FIELD = re.compile(
    r"\s*(?P<key>[A-Za-z0-9_]+)\s*=\s*(?:'(?P<a>[^']*)'|\"(?P<b>[^\"]*)\"|(?P<c>[^\s,'\"]+))(?:\s*,|\s+|\Z)"
)
_FIELDS = ("version", "build", "build_number", "channel", "subdir")
_FILE = (".conda", ".tar.bz2")
_URL = re.compile(r"://[^\s\"'<>]+")
# Characters before a match that may belong to the scheme or host; bounded, so that the search is linear.
_SCHEME_LENGTH = 20
_HOST = re.compile(r"(?:://|\w\.\w)\S*\Z")
_HOST_LENGTH = 300
_TOKEN = re.compile(r"/t/(?P<token>[^/\s\"'<>]+)")
_USER = re.compile(r"(?P<user>[^/@]+)@")


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchSpec:
    """A conda package, with the accepted versions, builds and channel."""

    name: str
    """The name in lower case."""
    version: str | None
    """``==1.2``, ``1.2.*``, ``>=1,<2|3.*``, without spaces; None accepts any."""
    build: str | None
    """The build string, possibly with globs; None accepts any."""
    channel: str | None
    """The channel, without credentials; None is the default of conda."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation:
    """The meaning of a match specification without conda."""

    spec: MatchSpec
    """The translated specification."""
    role: Role
    """The source of the package: an index, the target Python, the base image, or none."""
    requirement: Requirement | None
    """The requirement, if the role is ``requirement``."""
    python: SpecifierSet | None
    """The accepted versions of Python, if the role is ``python``."""
    libraries: tuple[str, ...]
    """Prefixes of shared library names, if the role is ``base``: a base with one of them has the package."""
    assumed: bool
    """Whether the name of the project is assumed, so that an index may not have it."""
    notes: tuple[str, ...]
    """The inexact and assumed parts of the translation, one line each."""


def parse_match_spec(text: str) -> MatchSpec:
    """Parse a match specification of an ``env.yml``.

    ``name=1.2`` is any 1.2 release (``1.2.*``); ``name==1.2``, ``name 1.2`` and
    ``name=1.2=build`` are exactly 1.2.

    :raises ProblemError: if conda rejects it, or conda's tools disagree about its meaning.

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
    """Translate a match specification to a requirement, a version of Python, or a system package.

    :raises ProblemError: if it is required and cannot be translated: a package that no index
        has, alternative version ranges, a version that is invalid in PEP 440.

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
        if spec.build:
            notes.append(f"build `{spec.build}` is ignored")
        if spec.channel:
            notes.append(f"channel `{spec.channel}` is ignored")
    return Translation(
        spec=spec,
        role=known.role,
        requirement=requirement,
        python=python,
        libraries=known.libraries,
        assumed=known.assumed,
        notes=tuple(notes),
    )


def register_channels(text: str) -> None:
    """Register the credentials and tokens of all URLs in ``text`` for redaction; in linear time.

    The token of a private channel is a path component: ``https://host/t/TOKEN/channel``.
    """
    for url in _URL.finditer(text):
        register_urls(text[max(0, url.start() - _SCHEME_LENGTH) : url.end()])
    for token in _TOKEN.finditer(text):
        if _HOST.search(text, max(0, token.start() - _HOST_LENGTH), token.start()):
            register_secret(token["token"])


def clean_channel(text: str) -> str:
    """Return a channel without its credentials and token, which are registered for redaction.

    :raises ProblemError: if its URL is malformed.

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
            raise ProblemError("the URL of a channel is malformed") from error
    user = _USER.match(text)
    if not user:
        return text
    _register_user(user["user"])
    return text[user.end() :]


def _register_user(user: str) -> None:
    register_secret(user)
    register_secret(user.rpartition(":")[2])


def _check_form(text: str) -> None:
    """Reject text that is not a match specification: a file, a condition, a requirement of pip."""
    if not text:
        raise ProblemError("the name of a package is missing")
    if len(text) > _MAX_LENGTH:
        raise ProblemError(f"a package has more than {_MAX_LENGTH} characters")
    if not text.isascii() or not text.isprintable():
        raise ProblemError(f"`{text}` contains a character that is invalid in conda packages")
    if text.endswith(_FILE):
        raise ProblemError(
            f"`{text}` is a package file of conda, which is unsupported", hint="write `name=1.2`"
        )
    if ";" in text or " if " in text:
        raise ProblemError(f"`{text}` has a condition", hint="move it to the `pip` section")
    if "@" in text.rpartition("::")[2]:
        raise ProblemError(f"`{text}` is not a conda package", hint="move it to the `pip` section")
    if "(" in text or ")" in text:
        raise ProblemError(f"conda's tools disagree about the meaning of the parentheses in `{text}`")


def _fields(text: str) -> tuple[str, dict[str, str]]:
    """Return ``text`` without its brackets, and the ``key=value`` fields inside them.

    :raises ProblemError: if the brackets are malformed, or a field is unknown, empty or repeated.
    """
    text, bracket, inside = text.partition("[")
    if not bracket:
        return text, {}
    inside, closing, after = inside.rpartition("]")
    if not closing or after.strip():
        raise ProblemError(f"`{text}[` has no `]` at its end")
    fields: dict[str, str] = {}
    position = 0
    while position < len(inside):
        field = _FIELD.match(inside, position)
        if not field:
            hint = None if "=" in inside else "move a name with extras to the `pip` section"
            raise ProblemError(f"`[{inside}]` is not a list of `key=value`", hint=hint)
        key, value = field["key"], next(item for item in field.group("a", "b", "c") if item is not None)
        if key not in _FIELDS:
            near = closest(key, _FIELDS)
            raise ProblemError(f"unsupported field `{key}`", hint=near and f"did you mean `{near}`?")
        if key in fields:
            raise ProblemError(f"the field `{key}` is given twice")
        if not value.strip():
            raise ProblemError(f"the field `{key}` is empty")
        fields[key] = _without_spaces(value)
        position = field.end()
    return text, fields


def _bad_name(name: str, text: str) -> ProblemError:
    if not name:
        return ProblemError(f"`{text}` does not begin with the name of a package")
    if "*" in name:
        return ProblemError(f"`{name}` is a pattern, not one package")
    version = re.fullmatch(r"([\w.-]+):(\d[\w.*]*)", name)
    hint = "write `channel::name`" if "/" in name or ":" in name else None
    hint = f"write `{version[1]}={version[2]}`" if version else hint
    return ProblemError(f"`{name}` is not the name of a conda package", hint=hint)


def _without_spaces(text: str) -> str:
    """Return ``text`` without the spaces that conda allows around operators."""
    return _SPACED.sub(lambda match: match[1] or match[2], text.strip())


def _version_and_build(text: str) -> tuple[str, str]:
    """Return the version and the build string after a name, each possibly empty.

    They are separated by ``=`` (``=1.2=py37_0``) or by a space (``1.2 py37_0``).
    """
    version, space, build = _without_spaces(text).partition(" ")
    if not space:
        parts = _VERSION_BUILD.fullmatch(version)
        return (parts["version"], parts["build"]) if parts else (version, "")
    if _BUILD.fullmatch(build.strip().removeprefix("=")):
        return version, build.strip().removeprefix("=")
    bounds = f"{version},{build.strip()}"
    raise ProblemError(
        f"`{build.strip()}` is not a build string",
        hint=f"write `{bounds}`" if re.match(r"[<>!=~]=?[0-9]", build.strip()) else None,
    )


def _python(spec: MatchSpec, notes: list[str]) -> SpecifierSet:
    if "pypy" in (spec.build or "").lower():
        raise ProblemError(f"build `{spec.build}` of `python` is PyPy; only CPython is supported")
    accepted = SpecifierSet(",".join(specifiers(spec.name, spec.version, notes) if spec.version else ()))
    notes += [
        f"`{item}` is {item.version}.0 only; write `python={item.version}` for all its releases"
        for item in accepted
        if item.operator == "==" and item.version.count(".") == 1 and "*" not in item.version
    ]
    return accepted


def _requirement(spec: MatchSpec, known: Known, notes: list[str]) -> Requirement:
    version = spec.version and _BUILD_DATE.sub("", spec.version)
    if version != spec.version:
        notes.append(
            f"`{spec.version}` is taken as `{version}`: the date of a build is not part of a release"
        )
    clauses = specifiers(spec.name, version, notes, longer=known.longer) if version else ()
    try:
        requirement = Requirement(known.project + ",".join(clauses))
        canonicalize_name(requirement.name, validate=True)
    except (InvalidName, InvalidRequirement) as error:
        raise ProblemError(f"`{known.project}` is not a valid project name") from error
    return requirement
