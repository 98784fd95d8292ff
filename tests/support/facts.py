"""Distributions and a target, as values, for tests of what is pure."""

from __future__ import annotations

from dataclasses import replace

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.base_image.profile import NO_BASE, BaseDistribution, BaseProfile
from bundler.checks.modules import DistributionFacts
from bundler.checks.source_imports import FoundImport, When

ENVIRONMENT = {
    "implementation_name": "cpython",
    "implementation_version": "3.7.16",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "6.1",
    "platform_system": "Linux",
    "platform_version": "#1",
    "python_full_version": "3.7.16",
    "python_version": "3.7",
    "sys_platform": "linux",
}


def facts(
    name: str, version: str = "1.0", *, requires: tuple[str, ...] = (), files: tuple[str, ...] = ()
) -> DistributionFacts:
    return DistributionFacts(
        name=canonicalize_name(name),
        display_name=name,
        version=Version(version),
        requires_dist=tuple(Requirement(text) for text in requires),
        files=files,
    )


def base_of(*, libraries: set[str] | None = None, **installed: str) -> BaseProfile:
    """A base of which only libraries and distributions are known."""
    return replace(
        NO_BASE,
        source="rootfs" if libraries is not None else "freeze",
        libraries=None if libraries is None else frozenset(libraries),
        distributions={
            canonicalize_name(name): BaseDistribution(
                name=canonicalize_name(name), version=Version(version), requires=(), top_level=(), pth=False
            )
            for name, version in installed.items()
        },
    )


def an_import(text: str, *, when: When = "top", line: int = 1) -> FoundImport:
    """Return the import that ``..a.b(c,d)`` stands for."""
    dotted, _, names = text.partition("(")
    module = dotted.lstrip(".")
    return FoundImport(
        module=module,
        level=len(dotted) - len(module),
        line=line,
        when=when,
        names=tuple(filter(None, names.rstrip(")").split(","))),
    )
