"""The Python that a bundle is built for: version, ABI, platform, tags and markers.

A `Target` is created from the output of the probe script, or from a manifest. It does
not depend on the Python that runs bundler, whose version, markers and tags differ.

Specs: platform compatibility tags (PEP 425, 600, 656), dependency specifiers
(PEP 508, "Environment markers").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.version import Version

from bundler.errors import InterpreterError

if TYPE_CHECKING:
    from packaging.markers import Environment

__all__ = [
    "DEFAULT_PYTHON",
    "GLIBC_VERSION",
    "OLDEST",
    "GlibcLimit",
    "Target",
    "glibc_in",
    "site_packages_of",
    "target_from_probe",
]

DEFAULT_PYTHON = "3.7"
"""The Python of Azure ML's prebuilt inference images."""

OLDEST = Version("3.7")
"""The oldest supported target: hash-based bytecode files (PEP 552) were added in it."""

GLIBC_VERSION = re.compile(r"2\.\d{1,4}(\.\d{1,4})?", re.ASCII)
"""Matches a version of glibc; all since 1997 start with 2."""

# The glibc minor versions of the legacy manylinux tags (PEP 600, "Legacy manylinux tags").
_LEGACY_MANYLINUX = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST_GLIBC_MINOR = 5


def glibc_in(text: str) -> str | None:
    """Return the glibc version that a name of a platform or of a glibc means, or None.

    >>> glibc_in("manylinux2014_x86_64"), glibc_in("manylinux_2_28"), glibc_in("glibc-2.31"), glibc_in("x")
    ('2.17', '2.28', '2.31', None)
    """
    for minor, name in _LEGACY_MANYLINUX.items():
        if text.startswith(name):
            return f"2.{minor}"
    match = re.search(r"(?<!\d)2[._](\d{1,3})(?!\d)", text)
    return f"2.{match[1]}" if match else None


# Markers that depend on the kernel of one machine, not on the target.
_HOST_MARKERS = frozenset({"platform_release", "platform_version"})


@dataclass(frozen=True, kw_only=True, slots=True)
class GlibcLimit:
    """The glibc of the machine that a bundle is for; its wheels must not need a newer one."""

    version: str
    """Two or more numbers, "2.27"."""
    source: str
    """Its source in words, for messages: "the base has 2.27"."""
    is_fact: bool = False
    """Whether it is that of the base, so that `--target-glibc host` does not lift it."""

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor version, (2, 27)."""
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A CPython version on a platform."""

    version: str
    """The full version, "3.7.16"; markers and Requires-Python may depend on its micro number."""
    abi: str
    """The ABI tag, "cp37m"."""
    platform: str
    """The platform tag, "linux_x86_64"."""
    libc: str
    """The C library, "glibc 2.31" or "musl 1.2"; empty if it is unknown."""
    markers: Mapping[str, str]
    """The environment of markers (PEP 508)."""
    glibc: GlibcLimit | None = None
    """The limit of the wheels; None if the libc is not glibc, or only this machine limits them."""
    tag: str = ""
    """The value of ``--target`` for another platform, "cp37-manylinux_2_17_aarch64"; else empty."""

    @cached_property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        version = Version(self.version)
        return version.major, version.minor

    @property
    def python_version(self) -> str:
        """Major and minor version, "3.7"."""
        return "{}.{}".format(*self.release)

    @property
    def argument(self) -> str:
        """The option that selects the target, for hints."""
        return f"--target {self.tag}" if self.tag else f"--python {self.python_version}"

    @property
    def python_tag(self) -> str:
        """The interpreter tag, "cp37"."""
        return "cp{}{}".format(*self.release)

    @property
    def cache_tag(self) -> str:
        """The tag in the names of bytecode files, "cpython-37" (PEP 3147)."""
        return "cpython-{}{}".format(*self.release)

    @property
    def name(self) -> str:
        """The name of the target in filenames, "cp37-linux_x86_64"."""
        return f"{self.python_tag}-{self.platform}"

    @property
    def site_packages(self) -> str:
        """The path of site-packages in a bundle, relative to its root."""
        return site_packages_of(self.python_version)

    @property
    def newest_glibc(self) -> tuple[int, int] | None:
        """The newest glibc that wheels may need, (2, 27); None if the C library is not glibc 2."""
        libc, _, version = self.libc.partition(" ")
        if libc != "glibc" or not version.startswith("2."):
            return None
        minor = int(version.split(".")[1])
        return 2, min(minor, self.glibc.numbers[1]) if self.glibc is not None else minor

    @cached_property
    def environment(self) -> Environment:
        """The markers, in the type that `packaging` expects."""
        environment: Any = dict(self.markers)
        return environment  # type: ignore[no-any-return]

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The supported wheel tags, in order of preference."""
        platforms = list(self._platforms())
        return (
            *cpython_tags(self.release, abis=[self.abi], platforms=platforms),
            *compatible_tags(self.release, interpreter=self.python_tag, platforms=platforms),
        )

    @property
    def marker(self) -> str:
        """The marker that identifies this target in the ``environments`` of a lockfile (PEP 751)."""
        return (
            f"implementation_name == 'cpython' and python_version == '{self.python_version}'"
            f" and sys_platform == '{self.markers['sys_platform']}'"
            f" and platform_machine == '{self.markers['platform_machine']}'"
        )

    def to_json(self) -> dict[str, str]:
        """Return the ``target`` section of a manifest; without the libc, which depends on the machine."""
        return {
            "abi": self.abi,
            "implementation": self.markers["implementation_name"],
            "platform": self.platform,
            "python": self.python_version,
            "python_full_version": self.version,
            "sys_platform": self.markers["sys_platform"],
        }

    @classmethod
    def of_manifest(
        cls, *, python: str, python_full_version: str, abi: str, platform: str, sys_platform: str
    ) -> Target:
        """Return the target of a manifest; markers that a manifest does not contain are empty."""
        return cls(
            version=python_full_version,
            abi=abi,
            platform=platform,
            libc="",
            markers={
                "implementation_name": "cpython",
                "implementation_version": python_full_version,
                "os_name": "nt" if sys_platform == "win32" else "posix",
                "platform_machine": platform.partition("_")[2],
                "platform_python_implementation": "CPython",
                "platform_release": "",
                "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}.get(
                    sys_platform, ""
                ),
                "platform_version": "",
                "python_full_version": python_full_version,
                "python_version": python,
                "sys_platform": sys_platform,
            },
        )

    def _platforms(self) -> Iterator[str]:
        """Yield the platform tags in order of preference (PEP 600 and 656 for Linux)."""
        system, _, arch = self.platform.partition("_")
        if system == "macosx":
            major, minor, *_ = (int(part) for part in arch.split("_")[:2])
            yield from mac_platforms((major, minor), arch.split("_", 2)[2])
            return
        libc, _, version = self.libc.partition(" ")
        if system == "linux" and version:
            major, minor = (int(part) for part in version.split(".")[:2])
            if self.newest_glibc is not None:
                for older in range(self.newest_glibc[1], _OLDEST_GLIBC_MINOR - 1, -1):
                    yield f"manylinux_2_{older}_{arch}"
                    if older in _LEGACY_MANYLINUX:
                        yield f"{_LEGACY_MANYLINUX[older]}_{arch}"
            elif libc == "musl":
                yield from (f"musllinux_{major}_{older}_{arch}" for older in range(minor, -1, -1))
        yield self.platform


def site_packages_of(python: str) -> str:
    """Return the path of site-packages in a bundle for a minor version of Python, relative to its root.

    >>> site_packages_of("3.7")
    'lib/python3.7/site-packages'
    """
    return f"lib/python{python}/site-packages"


def target_from_probe(facts: Mapping[str, Any]) -> Target:
    """Return the target for the output of the probe script.

    :raises InterpreterError: if the Python is not CPython, too old, or a debug build.
    """
    version = str(facts["version"])
    wanted = f"CPython {OLDEST} or newer, a release build"
    found = f"{facts['implementation']} {version} at `{facts['executable']}`"
    if facts["implementation"] != "cpython" or Version(version) < OLDEST or facts["debug"]:
        raise InterpreterError(
            "unsupported target Python",
            evidence=(f"wanted  {wanted}", f"found   {found}{' (debug build)' if facts['debug'] else ''}"),
        )
    libc = " ".join(facts["libc"]).strip()
    return Target(
        version=version,
        abi="cp{}{}{}".format(*version.split(".")[:2], facts["abiflags"]),
        platform=str(facts["platform"]).replace("-", "_").replace(".", "_"),
        libc=libc,
        markers={name: str(value) for name, value in facts["markers"].items()},
    )
