"""Facade, pure: the one version of Python that a conda specification stands for.

An environment has one Python, and a bundle one target. Conda's constraint may
name it (``=3.7``, ``==3.7.16``, ``3.7.*``), begin with it (``>=3.7,<3.9``), or
say nothing that picks one (``<3.9``).

Spec: conda, "Package match specifications", the version constraint.
"""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from bundler.problems import ProblemError

__all__ = ["allows", "checked_version", "chosen_version"]

_VERSION = re.compile(r"[0-9]+\.[0-9]+(?:\.[0-9]+)?(?:(?:a|b|rc)[0-9]+)?", re.ASCII)
_CLAUSE = re.compile(r"(?P<operator>[=<>!~]*)\s*(?P<version>[^\s=<>!~*]+?)?(?P<any>\.?\*)?", re.ASCII)
_NAMING = frozenset({"", "=", "==", ">=", "~="})


def checked_version(version: str) -> str:
    """Return a version of Python as it was written, without ``.*``.

    :raises RefusedError: if it is none: it needs a major and a minor number.

    >>> checked_version("3.7.*")
    '3.7'
    """
    plain = version.strip().removesuffix(".*")
    if not _VERSION.fullmatch(plain):
        raise ProblemError(f"`{version}` is no version of Python", details=("wanted  3.7 or 3.7.16",))
    return plain


def chosen_version(constraint: str | None) -> str | None:
    """Return the version that a constraint names or begins with, and allows; None if there is none.

    Of alternatives (``3.7|3.8``) it is the first that has one.

    >>> chosen_version(">=3.7,<3.9"), chosen_version("=3.8.*"), chosen_version("<3.9")
    ('3.7', '3.8', None)
    """
    for alternative in (constraint or "").split("|"):
        for clause in alternative.split(","):
            found = _CLAUSE.fullmatch(clause.strip())
            if found is None or found["operator"] not in _NAMING or not found["version"]:
                continue
            if _VERSION.fullmatch(found["version"]) and allows(alternative, found["version"]):
                return found["version"]
    return None


def allows(constraint: str | None, version: str) -> bool:
    """Return whether a version meets a constraint; one that cannot be read is met by none.

    >>> allows("3", "3.7"), allows("<3.7", "3.7"), allows(None, "3.7")
    (True, False, True)
    """
    return any(_meets(version, alternative) for alternative in (constraint or "").split("|"))


def _meets(version: str, alternative: str) -> bool:
    try:
        wanted = SpecifierSet(",".join(_as_pep440(clause.strip()) for clause in alternative.split(",")))
        return wanted.contains(version, prereleases=True)
    except InvalidSpecifier:
        return False


def _as_pep440(clause: str) -> str:
    """Return one clause in Python's words: conda's ``3.7`` and ``=3.7`` are both ``==3.7.*``."""
    found = _CLAUSE.fullmatch(clause)
    if found is None or found["operator"] not in ("", "="):
        return clause
    if not found["version"]:
        return ""
    return (
        f"=={found['version']}.*" if found["version"].replace(".", "").isdigit() else f"=={found['version']}"
    )
