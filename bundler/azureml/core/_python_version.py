"""Facade, pure: the Python version that a conda version constraint selects.

An environment has one Python, and a bundle one target. A constraint of conda can name the version
(``=3.7``, ``==3.7.16``, ``3.7.*``), start with it (``>=3.7,<3.9``), or select none (``<3.9``).

Spec: conda, "Package match specifications", the version constraint.
"""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from bundler.errors import InputError
from bundler.paths import printable
from bundler.problems import ProblemError
from bundler.target.target import DEFAULT_PYTHON

__all__ = ["allows", "checked_version", "chosen_version", "no_single_python"]

_VERSION = re.compile(r"[0-9]+\.[0-9]+(?:\.[0-9]+)?(?:(?:a|b|rc)[0-9]+)?", re.ASCII)
_CLAUSE = re.compile(r"(?P<operator>[=<>!~]*)\s*(?P<version>[^\s=<>!~*]+?)?(?P<any>\.?\*)?", re.ASCII)
_NAMING = frozenset({"", "=", "==", ">=", "~="})


def checked_version(version: str) -> str:
    """Return a version of Python as written, but without ``.*``.

    :raises ProblemError: if it is not a version with at least a major and a minor number.

    >>> checked_version("3.7.*")
    '3.7'
    """
    plain = version.strip().removesuffix(".*")
    if not _VERSION.fullmatch(plain):
        raise ProblemError(f"invalid Python version `{version}`", details=("wanted  3.7 or 3.7.16",))
    return plain


def chosen_version(constraint: str | None) -> str | None:
    """Return the version that a constraint names or starts with, and allows; None without one.

    Of alternatives (``3.7|3.8``), the first with a version is used.

    >>> chosen_version(">=3.7,<3.9"), chosen_version("=3.8.*"), chosen_version("<3.9")
    ('3.7', '3.8', None)
    """
    for alternative in (constraint or "").split("|"):
        for clause in alternative.split(","):
            match = _CLAUSE.fullmatch(clause.strip())
            if match is None or match["operator"] not in _NAMING or not match["version"]:
                continue
            if _VERSION.fullmatch(match["version"]) and allows(alternative, match["version"]):
                return match["version"]
    return None


def allows(constraint: str | None, version: str) -> bool:
    """Return whether a version satisfies a constraint; an invalid constraint allows no version.

    >>> allows("3", "3.7"), allows("<3.7", "3.7"), allows(None, "3.7")
    (True, False, True)
    """
    return any(_meets(version, alternative) for alternative in (constraint or "").split("|"))


def no_single_python(entry: str) -> InputError:
    """Return the error for a ``python`` entry that selects no version."""
    return InputError(
        f"`{printable(entry)}` does not select a version of Python",
        hint=f"write one version, such as `python={DEFAULT_PYTHON}`",
    )


def _meets(version: str, alternative: str) -> bool:
    try:
        wanted = SpecifierSet(",".join(_as_pep440(clause.strip()) for clause in alternative.split(",")))
        return wanted.contains(version, prereleases=True)
    except InvalidSpecifier:
        return False


def _as_pep440(clause: str) -> str:
    """Return one clause as a PEP 440 specifier: conda's ``3.7`` and ``=3.7`` are both ``==3.7.*``.

    A pre-release (``3.13.0rc1``) is matched exactly: PEP 440 allows no ``.*`` after it.
    """
    match = _CLAUSE.fullmatch(clause)
    if match is None or match["operator"] not in ("", "="):
        return clause
    version = match["version"]
    if not version:
        return ""
    return f"=={version}.*" if version.replace(".", "").isdigit() else f"=={version}"
