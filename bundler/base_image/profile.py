"""Ground, effect: the base, which is the image or host that a bundle is mounted into.

What is known of it is a profile: JSON that ``target/scripts/capture.py`` prints on the
target itself, or that is made here from a ``pip freeze``, from an unpacked root
filesystem or from an image in a file. A freeze knows least: neither the Python,
nor the libraries, nor which distribution requires which.

Format of a profile, version 1: ``format`` ("bundler-base"), ``format_version``,
``source``, ``python`` (facts as of ``target/scripts/probe.py``, each may be absent),
``libraries`` (sonames, or null), ``symbol_versions``, ``distributions`` (``name``,
``version``, ``requires``, ``top_level``, ``pth``), ``occupied`` (import name to
"namespace", "fixed" or "regular"), ``notes``. The last two may be absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.errors import InputError
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

_SOURCES = frozenset({"interpreter", "freeze", "rootfs", "archive"})
_OCCUPIED = frozenset({"namespace", "fixed", "regular"})


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
    """What is known of a base."""

    source: str
    """"interpreter", "freeze", "rootfs" or "archive"."""
    python_version: str | None
    """"3.7.16"; only "3.7" where the files do not say more; None where nothing is known."""
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
    """Whether it is known what requires what."""
    occupied: Mapping[str, str] = field(default_factory=dict)
    """Import names that do not give way to a bundle, and how (`base_image.installed.shadowing_names`)."""
    notes: tuple[str, ...] = ()
    """What could not be read, one line each."""

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
                    "name": one.name,
                    "version": str(one.version),
                    "requires": [str(requirement) for requirement in one.requires],
                    "top_level": list(one.top_level),
                    "pth": one.pth,
                }
                for _, one in sorted(self.distributions.items())
            ],
            "occupied": dict(sorted(self.occupied.items())),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, values: object, source: Path) -> BaseProfile:
        """Return the base that a profile describes.

        A version or requirement that PEP 440 or PEP 508 does not allow is no
        error, since the base has it all the same: it is left out with a note.

        :param values: what the JSON says.
        :param source: the file, for messages.
        :raises InputError: if it is no profile, of another format version, or a value is of the wrong type.
        """
        return _ProfileReader(source).base(values)


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
"""A base of which nothing is known."""


def profile_json(base: BaseProfile) -> dict[str, Any]:
    """Return what ``bundler profile`` prints."""
    return base.to_json()


# pip freeze.


# A profile.


class _ProfileReader:
    """Reads one profile; every error names its file and the place in it."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._notes: list[str] = []

    def base(self, values: object) -> BaseProfile:
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise InputError(
                f"`{self._source}` is not the profile of a base",
                evidence=(f'wanted  JSON with "format": "{FORMAT}"',),
                hint="run `python capture.py > base.json` on the base",
            )
        if values.get("format_version") != FORMAT_VERSION:
            raise InputError(
                f"`{self._source}`: its format is not known to this bundler",
                evidence=(
                    f"wanted  format version {FORMAT_VERSION}",
                    f"found   format version {printable(str(values.get('format_version')))}",
                ),
                hint="capture the profile again with this bundler's capture.py",
            )
        source = self._text(values, "source", "source")
        if source not in _SOURCES:
            self._fail("source", f"one of {', '.join(sorted(_SOURCES))}", source)
        libraries = values.get("libraries")
        distributions = dict(
            self._distributions(self._typed(values.get("distributions"), list, "distributions"))
        )
        return BaseProfile(
            source=source,
            **self._python(self._typed(values.get("python"), dict, "python")),
            libraries=None if libraries is None else frozenset(self._texts(libraries, "libraries")),
            symbol_versions=self._mapping(values.get("symbol_versions", {}), "symbol_versions"),
            distributions=MappingProxyType(distributions),
            requires_known=source != "freeze",
            occupied=self._occupied(values.get("occupied", {})),
            notes=(*self._texts(values.get("notes", []), "notes"), *self._notes),
        )

    def _python(self, facts: Mapping[str, Any]) -> dict[str, str | None]:
        """Return version, ABI, platform and glibc, as the probe or an earlier `to_json` says them."""
        where = "python"
        version = self._text(facts, "version", where) if "version" in facts else None
        if version is not None and not PLAIN_VERSION.fullmatch(version):
            self._fail(f"{where}.version", "a version, like 3.7.16", version)
        abi = self._text(facts, "abi", where) if "abi" in facts else None
        if abi is None and version is not None and "abiflags" in facts:
            kind = "cp" if facts.get("implementation", "cpython") == "cpython" else facts["implementation"]
            abi = "{}{}{}{}".format(kind, *version.split(".")[:2], self._text(facts, "abiflags", where))
        platform = self._text(facts, "platform", where) if "platform" in facts else None
        libc = self._texts(facts.get("libc", []), f"{where}.libc")
        return {
            "python_version": version,
            "abi": abi,
            "platform": None if platform is None else re.sub(r"[-.]", "_", platform),
            "glibc": libc[1]
            if libc[:1] == ("glibc",) and PLAIN_VERSION.fullmatch("".join(libc[1:]))
            else None,
        }

    def _distributions(self, items: list[Any]) -> Iterator[tuple[NormalizedName, BaseDistribution]]:
        for at, item in enumerate(items):
            where = f"distributions[{at}]"
            facts = self._typed(item, dict, where)
            name = canonicalize_name(self._text(facts, "name", where))
            text = self._text(facts, "version", where)
            requires = self._texts(facts.get("requires"), f"{where}.requires")
            top_level = self._texts(facts.get("top_level"), f"{where}.top_level")
            pth = self._typed(facts.get("pth"), bool, f"{where}.pth")
            try:
                version = Version(text)
            except InvalidVersion:
                fact = f"the version `{printable(text)}` of `{printable(name)}` cannot be compared"
                self._notes.append(f"{fact}; it is left out")
                continue
            found = tuple(self._requirements(name, requires))
            yield (
                name,
                BaseDistribution(name=name, version=version, requires=found, top_level=top_level, pth=pth),
            )

    def _requirements(self, name: str, texts: tuple[str, ...]) -> Iterator[Requirement]:
        for text in texts:
            try:
                yield Requirement(text)
            except (InvalidRequirement, RecursionError):
                self._notes.append(f"a requirement of `{name}` cannot be parsed: `{redact(printable(text))}`")

    def _occupied(self, values: object) -> Mapping[str, str]:
        found = self._mapping(values, "occupied")
        for name, how in found.items():
            if how not in _OCCUPIED:
                self._fail(f"occupied.{name}", f"one of {', '.join(sorted(_OCCUPIED))}", how)
        return found

    def _mapping(self, values: object, where: str) -> Mapping[str, str]:
        found = self._typed(values, dict, where)
        for name, value in found.items():
            self._typed(value, str, f"{where}.{name}")
        return MappingProxyType(dict(found))

    def _texts(self, values: object, where: str) -> tuple[str, ...]:
        found = self._typed(values, list, where)
        return tuple(self._typed(one, str, f"{where}[{at}]") for at, one in enumerate(found))

    def _text(self, values: Mapping[str, Any], key: str, where: str) -> str:
        text: str = self._typed(values.get(key), str, key if where == key else f"{where}.{key}")
        return text

    def _typed(self, value: Any, kind: type, where: str) -> Any:
        if not isinstance(value, kind):
            self._fail(where, f"a {kind.__name__}", "nothing" if value is None else type(value).__name__)
        return value

    def _fail(self, where: str, wanted: str, found: str) -> None:
        raise InputError(
            f"`{self._source}`: `{printable(where)}` is wrong",
            evidence=(f"wanted  {wanted}", f"found   {printable(found)}"),
            hint="capture the profile again",
        )
