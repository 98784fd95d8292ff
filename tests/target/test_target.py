"""The target that the facts of a Python describe."""

from __future__ import annotations

from typing import Any

import pytest

from bundler.errors import InterpreterError
from bundler.target.target import target_from_probe

FACTS: dict[str, Any] = {
    "implementation": "cpython",
    "version": "3.7.16",
    "executable": "/usr/bin/python3.7",
    "abiflags": "m",
    "debug": False,
    "platform": "linux-x86_64",
    "libc": ["glibc", "2.31"],
    "markers": {"python_version": "3.7"},
}


def test_the_facts_of_a_python_become_the_terms_of_wheel_tags() -> None:
    target = target_from_probe(FACTS)

    assert (target.version, target.abi, target.platform) == ("3.7.16", "cp37m", "linux_x86_64")
    assert (target.libc, target.markers) == ("glibc 2.31", {"python_version": "3.7"})


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"debug": True}, "cpython 3.7.16 at `/usr/bin/python3.7` (debug build)"),
        ({"implementation": "pypy"}, "pypy 3.7.16 at `/usr/bin/python3.7`"),
        ({"version": "3.6.15"}, "cpython 3.6.15 at `/usr/bin/python3.7`"),
        ({"version": "2.7.18"}, "cpython 2.7.18 at `/usr/bin/python3.7`"),
    ],
)
def test_an_unsupported_python_is_refused(facts: dict[str, Any], found: str) -> None:
    with pytest.raises(InterpreterError, match="unsupported target Python") as caught:
        target_from_probe({**FACTS, **facts})

    assert caught.value.evidence == ("wanted  CPython 3.7 or newer, a release build", f"found   {found}")
