"""Pure: the target of a platform whose Python does not run on this machine, from its tag.

Specs: platform compatibility tags (PEP 425, 600, 656), dependency specifiers (PEP 508, "Environment
markers").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from packaging.version import Version

from bundler.errors import UsageError
from bundler.paths import printable
from bundler.target.target import OLDEST, Target, glibc_in

__all__ = ["TargetTag", "foreign_target", "parse_target_tag"]

_TAG = re.compile(
    r"cp3(?P<minor>\d{1,2})-(?:(?P<manylinux>manylinux(?:1|2010|2014|_2_\d{1,3}))|musllinux_(?P<musl>\d_\d{1,2}))"
    r"_(?P<machine>[a-z0-9_]+)",
    re.ASCII,
)
_MACHINES = ("x86_64", "aarch64", "ppc64le", "s390x", "riscv64", "loongarch64", "armv7l", "i686")
"""The machines of manylinux and musllinux tags."""
_EXAMPLE = "cp37-manylinux_2_17_aarch64"


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetTag:
    """The value of ``--target``: a Python, a C library and a machine."""

    text: str
    python: str
    """Major and minor version, "3.7"."""
    libc: str
    """The C library as `Target.libc`, "glibc 2.17" or "musl 1.2"."""
    machine: str
    """As `platform.machine()` of the target, "aarch64"."""


def parse_target_tag(text: str) -> TargetTag:
    """Return the target that a tag names.

    >>> parse_target_tag("cp37-manylinux2014_aarch64").libc
    'glibc 2.17'

    :raises UsageError: if it is not the tag of a CPython on Linux.
    """
    match = _TAG.fullmatch(text)
    if match is None or match["machine"] not in _MACHINES:
        is_other = re.search(r"(?:-|^)(?:win|macosx)", text) is not None
        fact = "is not for Linux: bundles are" if is_other else "is not the tag of a target"
        raise UsageError(
            f"`--target {printable(text)}` {fact}",
            evidence=("wanted  cpXY-manylinux_2_Z_MACHINE or cpXY-musllinux_1_Z_MACHINE",),
            hint=f"--target {_EXAMPLE}",
        )
    python = f"3.{int(match['minor'])}"
    if Version(python) < OLDEST:
        raise UsageError(
            f"`--target {text}`: the oldest supported target is CPython {OLDEST}", hint=f"--target {_EXAMPLE}"
        )
    manylinux = match["manylinux"]
    libc = f"glibc {glibc_in(manylinux)}" if manylinux else f"musl {match['musl'].replace('_', '.')}"
    return TargetTag(text=text, python=python, libc=libc, machine=match["machine"])


def foreign_target(tag: TargetTag, version: str) -> Target:
    """Return the target of a tag.

    :param version: its full version.
    """
    platform = f"linux_{tag.machine}"
    digits = tag.python.replace(".", "")
    # Since 3.8, the ABI flag `m` is not used (bpo-36707).
    abi = f"cp{digits}m" if Version(tag.python) < Version("3.8") else f"cp{digits}"
    target = Target.of_manifest(
        python=tag.python, python_full_version=version, abi=abi, platform=platform, sys_platform="linux"
    )
    return replace(target, libc=tag.libc, tag=tag.text)
