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

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.base_image.rootfs import profile_of, read_layers, read_root_directory
from bundler.errors import InputError
from bundler.oci.blobs import is_image
from bundler.oci.reader import ImageArchive
from bundler.paths import printable
from bundler.redaction import redact

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "NO_BASE",
    "BaseDistribution",
    "BaseProfile",
    "profile_json",
    "read_base",
]

FORMAT: Final = "bundler-base"
FORMAT_VERSION: Final = 1

_SOURCES = frozenset({"interpreter", "freeze", "rootfs", "archive"})
_OCCUPIED = frozenset({"namespace", "fixed", "regular"})
_TEXT_LIMIT = 64 << 20
_WANTED = (
    "wanted  a profile (JSON of capture.py), a `pip freeze`, the folder of a root filesystem,",
    "        or an image: a tar of `docker save`, an OCI layout",
)
_VERSION = re.compile(r"\d+(\.\d+)+\w*", re.ASCII)


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
    """Import names that do not give way to a bundle, and how (`installed.occupied`)."""
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


def read_base(path: Path, *, prefer: str | None = None) -> BaseProfile:
    """Return what a file or folder says of a base; its content decides what it is.

    :param path: a profile, a ``pip freeze``, a root filesystem or an image.
    :param prefer: which Python of a root filesystem or an image: its prefix
        ("/opt/conda") or its version ("3.7").
    :raises InputError: if it is none of these, or says of several Pythons.
    :raises IntegrityError: if a part of an image is not what its digest names.
    :raises MalformedError: if an image breaks its format.
    """
    if path.is_dir():
        return _read_folder(path, prefer)
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
            content = b"" if _is_binary(head) else head + stream.read(_TEXT_LIMIT)
    except OSError as error:
        raise InputError(
            f"`{path}` cannot be read", evidence=(*_WANTED, f"found   {error.strerror or error}")
        ) from error
    if not content:
        return _read_image(path, prefer) if head else _refuse(path, "an empty file")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return _read_image(path, prefer)
    if text.lstrip().startswith("{"):
        return BaseProfile.from_json(_parse_json(text, path), path)
    return _parse_freeze(text, path)


def _is_binary(head: bytes) -> bool:
    """Return whether this is no text: text has no zeros, and compressed files start with their magic."""
    return b"\0" in head or head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))


def _refuse(path: Path, found: str) -> BaseProfile:
    raise InputError(f"`{path}` does not describe a base", evidence=(*_WANTED, f"found   {found}"))


def _read_folder(path: Path, prefer: str | None) -> BaseProfile:
    if is_image(path):
        return _read_image(path, prefer)
    if not any((path / name).is_dir() for name in ("etc", "usr")):
        return _refuse(path, "a folder without `etc` and `usr`, and without an image's index")
    return BaseProfile.from_json(profile_of(read_root_directory(path), source="rootfs", prefer=prefer), path)


def _read_image(path: Path, prefer: str | None) -> BaseProfile:
    if not is_image(path):
        return _refuse(path, "neither text nor a tar with `manifest.json` or `index.json`")
    with ImageArchive(path) as image:
        return BaseProfile.from_json(profile_of(read_layers(image), source="archive", prefer=prefer), path)


def _parse_json(text: str, path: Path) -> object:
    try:
        values: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"`{path}` is not JSON", evidence=(*_WANTED, f"found   {error}")) from error
    return values


# pip freeze.


def _parse_freeze(text: str, path: Path) -> BaseProfile:
    """Return the base of a ``pip freeze``: names and versions, and nothing else."""
    found: dict[NormalizedName, BaseDistribution] = {}
    notes = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition(" #")[0].strip().lstrip("\ufeff")
        if not line or line.startswith("#"):
            continue
        where = f"{path}:{number}"
        if line.startswith(("-e ", "--editable ", "-e\t")) or " @ " in line:
            name = line.partition(" @ ")[0] if " @ " in line else line
            notes.append(f"the version of `{redact(printable(name))}` is not known; it is left out")
            continue
        name, version = _pinned(line, where)
        if found.setdefault(name, _bare(name, version)).version != version:
            raise InputError(
                f"{where}: `{name}` has two versions",
                evidence=(f"first   {found[name].version}", f"then    {version}"),
            )
    if not found and not notes:
        return _refuse(path, "a text without `name==version`")
    return BaseProfile(
        source="freeze",
        python_version=None,
        abi=None,
        platform=None,
        glibc=None,
        libraries=None,
        symbol_versions=MappingProxyType({}),
        distributions=MappingProxyType(found),
        requires_known=False,
        notes=tuple(notes),
    )


def _pinned(line: str, where: str) -> tuple[NormalizedName, Version]:
    name, equals, version = line.partition("==")
    try:
        if not equals:
            raise InvalidVersion(line)
        return canonicalize_name(name.strip(), validate=True), Version(version.lstrip("="))
    except (InvalidName, InvalidVersion):
        raise InputError(
            f"{where}: this is no line of `pip freeze`",
            evidence=("wanted  name==version", f"found   {redact(printable(line[:200]))}"),
            hint="run `python -m pip freeze --all > base.txt` on the base",
        ) from None


def _bare(name: NormalizedName, version: Version) -> BaseDistribution:
    return BaseDistribution(name=name, version=version, requires=(), top_level=(), pth=False)


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
        if version is not None and not _VERSION.fullmatch(version):
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
            "glibc": libc[1] if libc[:1] == ("glibc",) and _VERSION.fullmatch("".join(libc[1:])) else None,
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
