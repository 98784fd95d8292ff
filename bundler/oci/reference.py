"""Pure: the name of an image, as Docker reads it.

Spec: distribution/reference, grammar and normalization ("iris:1" is
"docker.io/library/iris:1").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bundler.errors import InputError
from bundler.paths import printable

__all__ = ["Reference", "corrected_reference", "parse_reference"]

_DEFAULT_DOMAIN = "docker.io"
_OFFICIAL = "library/"
_MAX_NAME = 255
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_SCHEME = re.compile(r"(?:docker|oci|https?)://")
_BEFORE_TAG = re.compile(r"(?:\s*=+\s*|\s+|\s*:\s+)(?=(?:v?\d[\w.-]*|latest)$)", re.ASCII)
"""What is written before a tag in place of `:`."""
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A name with a tag."""

    domain: str
    path: str
    tag: str

    @property
    def full(self) -> str:
        """All of it, as containerd stores it."""
        return f"{self.domain}/{self.path}:{self.tag}"

    @property
    def familiar(self) -> str:
        """The form that Docker shows: without its default registry and ``library/``."""
        if self.domain != _DEFAULT_DOMAIN:
            return self.full
        path = self.path.removeprefix(_OFFICIAL)
        # `library/a/b` keeps its prefix: Docker would read `a/b` as another repository.
        return f"{self.path if '/' in path else path}:{self.tag}"


def parse_reference(text: str) -> Reference:
    """Return the name of an image; the tag is "latest" if it has none.

    :raises InputError: if the name is invalid.

    >>> parse_reference("iris:1").full
    'docker.io/library/iris:1'
    >>> parse_reference("registry.example:5000/team/iris").familiar
    'registry.example:5000/team/iris:latest'
    """
    first, slash, rest = text.partition("/")
    if slash and (any(mark in first for mark in ".:") or first == "localhost" or first != first.lower()):
        domain, remote = first, rest
    else:
        domain, remote = _DEFAULT_DOMAIN, text
    path, colon, tag = remote.partition(":")
    if domain in ("index.docker.io", _DEFAULT_DOMAIN):
        domain = _DEFAULT_DOMAIN
        path = path if "/" in path else f"{_OFFICIAL}{path}"
    problem = _problem(domain, path, tag if colon else "latest")
    if problem is not None:
        raise InputError(
            f"`{printable(text)}` is not the name of an image",
            evidence=("wanted  NAME:TAG or HOST/NAME:TAG, in lower case", f"found   {problem}"),
        )
    return Reference(domain=domain, path=path, tag=tag if colon else "latest")


def corrected_reference(text: str) -> str | None:
    """Return the name that was meant by an invalid one: without capitals, and with `:` before its tag.

    Only a tag may have capitals. None is returned if the result is not valid either.

    >>> corrected_reference("My/Image:Latest"), corrected_reference("my image")
    ('my/image:Latest', None)
    >>> corrected_reference("docker://python 3.7"), corrected_reference("python==3.7-slim")
    ('python:3.7', 'python:3.7-slim')
    """
    text = _BEFORE_TAG.sub(":", _SCHEME.sub("", text.strip()))
    head, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    lowered = f"{head}{slash}{name}".lower() + colon + tag
    try:
        parse_reference(lowered)
    except InputError:
        return None
    return lowered


def _problem(domain: str, path: str, tag: str) -> str | None:
    """Return the invalid part of a name, with the reason; None if the name is valid."""
    name = path.removeprefix(_OFFICIAL)
    checks = (
        ("@" in path + tag, "a digest, which an image has only when it is written"),
        (name != name.lower(), f"capitals in `{printable(name)}`, which Docker forbids"),
        (not _DOMAIN.fullmatch(domain), f"the host `{printable(domain)}`"),
        (not _PATH.fullmatch(path), f"the name `{printable(name)}`"),
        (_ID.fullmatch(name), "an ID instead of a name"),
        (len(f"{domain}/{path}") > _MAX_NAME, f"a name longer than {_MAX_NAME} characters"),
        (not _TAG.fullmatch(tag), f"the tag `{printable(tag)}`"),
    )
    return next((text for is_wrong, text in checks if is_wrong), None)
