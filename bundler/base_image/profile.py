"""Pure: the profile of a base, the image or host that a bundle is mounted into.

A profile is JSON that ``target/scripts/capture.py`` prints on the target itself,
or that `base_image.reader` derives from a ``pip freeze``, from an unpacked root
filesystem or from an image archive. A freeze contains least: neither the Python,
nor the libraries, nor the requirements of a distribution.

Format of a profile, version 1: ``format`` ("bundler-base"), ``format_version``,
``source``, ``python`` (facts as of ``target/scripts/probe.py``, each may be absent),
``libraries`` (sonames, or null), ``symbol_versions``, ``distributions`` (``name``,
``version``, ``requires``, ``top_level``, ``pth``), ``occupied`` (import name to
"namespace", "fixed" or "regular"), ``notes``. The last two may be absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.errors import InputError
from bundler.jsonio import convert
from bundler.paths import printable
from bundler.redaction import redact

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "NO_BASE",
    "PLAIN_VERSION",
    "BaseDistribution",
    "BaseProfile",
    "profile_json",
]

FORMAT: Final = "bundler-base"
FORMAT_VERSION: Final = 1
PLAIN_VERSION = re.compile(r"\d+(\.\d+)+\w*", re.ASCII)
"""Versions of Python and of libc as they occur in profiles."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseDistribution:
    """One distribution that the base has installed."""

    name: NormalizedName
    version: Version
    requires: tuple[Requirement, ...]
    """Its Requires-Dist, those of extras too; empty where `Base.requires_known` is false."""
    top_level: tuple[str, ...]
    """The import names it installs, sorted."""
    pth: bool
    """Whether it installs a ``.pth`` file, which the base processes at start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseProfile:
    """The Python, libraries and distributions of a base, as far as they are known."""

    source: str
    """"interpreter", "freeze", "rootfs" or "archive"."""
    python_version: str | None
    """"3.7.16"; only "3.7" where the files contain no patch version; None where unknown."""
    abi: str | None
    """Its ABI tag, "cp37m"."""
    platform: str | None
    """Its platform tag, "linux_x86_64"."""
    glibc: str | None
    """"2.27"; None where it is not known, or not the GNU C library."""
    libraries: frozenset[str] | None
    """The names of its shared libraries; None where they are not known."""
    symbol_versions: Mapping[str, str]
    """The newest versions its C++ library defines: "GLIBCXX" to "3.4.28"."""
    distributions: Mapping[NormalizedName, BaseDistribution]
    requires_known: bool
    """Whether the requirements between distributions are known."""
    occupied: Mapping[str, str] = field(default_factory=dict)
    """Import names that do not give way to a bundle, and how (`base_image.installed.shadowing_names`)."""
    notes: tuple[str, ...] = ()
    """Facts that could not be read, one line each."""

    @property
    def fit_label(self) -> str:
        """The result of a comparison without an error: without a Python, only distributions are compared."""
        return "the bundle fits" if self.python_version else "the bundle fits its distributions"

    def to_json(self) -> dict[str, Any]:
        """Return the profile as plain values; `from_json` of it is this base again."""
        python: dict[str, Any] = {}
        if self.python_version is not None:
            python["version"] = self.python_version
        if self.abi is not None:
            python["abi"] = self.abi
        if self.platform is not None:
            python["platform"] = self.platform
        if self.glibc is not None:
            python["libc"] = ["glibc", self.glibc]
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "source": self.source,
            "python": python,
            "libraries": None if self.libraries is None else sorted(self.libraries),
            "symbol_versions": dict(sorted(self.symbol_versions.items())),
            "distributions": [
                {
                    "name": item.name,
                    "version": str(item.version),
                    "requires": [str(requirement) for requirement in item.requires],
                    "top_level": list(item.top_level),
                    "pth": item.pth,
                }
                for _, item in sorted(self.distributions.items())
            ],
            "occupied": dict(sorted(self.occupied.items())),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, values: object, source: Path) -> BaseProfile:
        """Return the base that a profile describes.

        A version or requirement that PEP 440 or PEP 508 does not allow is not an
        error, since the base is installed like that: it is ignored, with a note.

        :param values: the decoded JSON.
        :param source: the file, for messages.
        :raises InputError: if the document is not a profile, has another format version, or has a
            value of the wrong type; the message contains its path (``$.distributions[3].pth``).
        """
        _check_format(values, source)
        document = convert(values, _ProfileDocument, str(source), error=InputError)
        notes = list(document.notes)
        distributions = [_distribution(facts, notes) for facts in document.distributions]
        python = document.python
        return cls(
            source=document.source,
            python_version=None if python.version is msgspec.UNSET else python.version,
            abi=python.abi_tag(),
            platform=python.platform_tag(),
            glibc=python.glibc(),
            libraries=None if document.libraries is None else frozenset(document.libraries),
            symbol_versions=MappingProxyType(document.symbol_versions),
            distributions=MappingProxyType({item.name: item for item in distributions if item is not None}),
            requires_known=document.source != "freeze",
            occupied=MappingProxyType(document.occupied),
            notes=tuple(notes),
        )


NO_BASE: Final = BaseProfile(
    source="freeze",
    python_version=None,
    abi=None,
    platform=None,
    glibc=None,
    libraries=None,
    symbol_versions={},
    distributions={},
    requires_known=False,
)
"""A base without any known fact."""


def profile_json(base: BaseProfile) -> dict[str, Any]:
    """Return the JSON document that ``bundler profile`` prints."""
    return base.to_json()


_PlainVersion = Annotated[str, msgspec.Meta(pattern=rf"\A(?a:{PLAIN_VERSION.pattern})\Z")]


class _PythonFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about the interpreter, from the probe or from `BaseProfile.to_json`; other fields are ignored."""

    version: _PlainVersion | msgspec.UnsetType = msgspec.UNSET
    abi: str | msgspec.UnsetType = msgspec.UNSET
    implementation: str = "cpython"
    abiflags: str | msgspec.UnsetType = msgspec.UNSET
    platform: str | msgspec.UnsetType = msgspec.UNSET
    libc: tuple[str, ...] = ()
    """Name and version, ("glibc", "2.27")."""

    def abi_tag(self) -> str | None:
        """Return the ABI tag, derived from version and flags where the profile has none ("cp37m")."""
        if self.abi is not msgspec.UNSET:
            return self.abi
        if self.version is msgspec.UNSET or self.abiflags is msgspec.UNSET:
            return None
        prefix = "cp" if self.implementation == "cpython" else self.implementation
        major, minor = self.version.split(".")[:2]
        return f"{prefix}{major}{minor}{self.abiflags}"

    def platform_tag(self) -> str | None:
        """Return the platform in the spelling of wheel tags ("linux_x86_64")."""
        return None if self.platform is msgspec.UNSET else re.sub(r"[-.]", "_", self.platform)

    def glibc(self) -> str | None:
        """Return the version of glibc; None for another C library, or a version in another form."""
        name, version = self.libc[:1], "".join(self.libc[1:])
        return self.libc[1] if name == ("glibc",) and PLAIN_VERSION.fullmatch(version) else None


class _DistributionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One installed distribution; the texts of version and requirements are parsed later, leniently."""

    name: str
    version: str
    requires: tuple[str, ...]
    top_level: tuple[str, ...]
    pth: bool


class _ProfileDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A profile of format version 1; unknown fields are ignored, so that later releases may add some."""

    source: Literal["interpreter", "freeze", "rootfs", "archive"]
    python: _PythonFacts
    libraries: tuple[str, ...] | None = None
    symbol_versions: dict[str, str] = {}
    distributions: tuple[_DistributionFacts, ...]
    occupied: dict[str, Literal["namespace", "fixed", "regular"]] = {}
    notes: tuple[str, ...] = ()


def _check_format(values: object, source: Path) -> None:
    """Check format and version before the fields, which another version may have changed.

    :raises InputError: if the document is not a profile, or has another format version.
    """
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(
            f"`{source}` is not the profile of a base",
            evidence=(f'wanted  JSON with "format": "{FORMAT}"',),
            hint="`bundler profile --script > capture.py`, then on the base `python3 capture.py > base.json`",
        )
    if values.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"`{source}`: unsupported format version",
            evidence=(
                f"wanted  format version {FORMAT_VERSION}",
                f"found   format version {printable(str(values.get('format_version')))}",
            ),
            hint="capture the profile again with this bundler's capture.py",
        )


def _distribution(facts: _DistributionFacts, notes: list[str]) -> BaseDistribution | None:
    """Return an installed distribution; None, and a note, if its version is not one of PEP 440."""
    name = canonicalize_name(facts.name)
    try:
        version = Version(facts.version)
    except InvalidVersion:
        fact = f"the version `{printable(facts.version)}` of `{printable(name)}` is invalid"
        notes.append(f"{fact}; the distribution is ignored")
        return None
    return BaseDistribution(
        name=name,
        version=version,
        requires=tuple(_requirements(name, facts.requires, notes)),
        top_level=facts.top_level,
        pth=facts.pth,
    )


def _requirements(name: str, texts: Iterable[str], notes: list[str]) -> Iterator[Requirement]:
    """Yield the requirements that PEP 508 allows, and add a note for each other one."""
    for text in texts:
        try:
            yield Requirement(text)
        except (InvalidRequirement, RecursionError):
            notes.append(f"cannot parse a requirement of `{name}`: `{redact(printable(text))}`")
