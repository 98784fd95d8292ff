"""Expand the environment variables of a line of a requirements file, as pip does it.

Spec: pip's requirements file format, "Using environment variables".
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from bundler.problems import ProblemError, register_urls
from bundler.redaction import register_secret
from bundler.system.environ import HostEnvironment

__all__ = ["VARIABLE", "expand_variables"]

# As in pip: `${NAME}`, upper case only.
VARIABLE = re.compile(r"(\$\{([A-Z0-9_]+)\})")
# pip expands variables itself, from its environment: one of these names would change the isolated pip.
_UNSAFE_VARIABLE = re.compile(r"(PYTHON|PIP_|LD_|DYLD_)")


def expand_variables(line: str, host: HostEnvironment) -> tuple[str, frozenset[str]]:
    """Return ``line`` with its variables expanded, and their names.

    A value inside a URL is registered as a secret, unless it is part of the host.

    :raises ProblemError: if a variable is unset, or has another value in the isolated pip.
    """
    isolated = host.child_env(Path(os.devnull))
    expanded, names = line, set()
    for reference, name in VARIABLE.findall(line):
        value = host.get(name)
        if value is None:
            raise ProblemError(f"the environment variable `{name}` is not set")
        if _UNSAFE_VARIABLE.match(name) or isolated.get(name, value) != value:
            raise ProblemError(f"`{name}` has another value in the isolated build; use another variable")
        if _in_url(reference, line):
            register_secret(value)
        names.add(name)
        expanded = expanded.replace(reference, value)
    register_urls(expanded)
    return expanded, frozenset(names)


def _in_url(reference: str, line: str) -> bool:
    """Return whether a variable is in the user information, path, query or fragment of a URL."""
    for word in line.split():
        authority, *rest = re.split(r"[/?#]", word.partition("://")[2], maxsplit=1)
        if reference in authority.rpartition("@")[0] or any(reference in part for part in rest):
            return True
    return False
