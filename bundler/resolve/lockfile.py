"""Read and write ``pylock.toml``: the resolved distributions, with their digests.

A `Lock` is for one target and contains one file or source of each distribution.
Other installers can read the lockfiles written here, and any PEP 751 lockfile that
supports the target can be read. URLs are written without credentials, and local
files relative to the lockfile.

Spec: pylock.toml (PEP 751), through `packaging.pylock`.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

import tomli_w
from packaging.markers import Marker
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.archive.content import CONTENT_START, recognized_content
from bundler.digest import Sha256, parse_sha256
from bundler.errors import InputError
from bundler.jsonio import parse_toml
from bundler.paths import printable
from bundler.redaction import index_name, redact, split_url, url_filename
from bundler.target.target import GLIBC_VERSION

if TYPE_CHECKING:
    from bundler.requirements.line import RootRequirement
    from bundler.target.target import Target

__all__ = [
    "Lock",
    "LockedDistribution",
    "PackageKind",
    "absent_dependencies",
    "check_lock",
    "is_lock",
    "locked_glibc",
    "parse_lock",
    "render_lock",
]

PackageKind = Literal["wheel", "sdist", "directory", "vcs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedDistribution:
    """One distribution of a lock, and its source."""

    name: NormalizedName
    version: Version | None
    """None only for a directory or repository locked by another tool: PEP 751 does not require it there."""
    kind: PackageKind
    location: str
    """An http(s) URL without credentials, or an absolute path on this machine."""
    filename: str
    """The filename of the wheel or sdist; the name of the directory or repository for the other kinds."""
    sha256: Sha256 | None
    """Of the file or of the directory tree (docs/format.md, "Local directories"); None for a repository."""
    size: int | None = None
    """Bytes, if known."""
    index: str | None = None
    """The name of its index, if known; see `IndexSettings.name_of`."""
    commit: str | None = None
    """The full commit ID of a repository."""
    subdirectory: str | None = None
    """The path of the project in an archive or repository."""
    requires_dist: tuple[str, ...] = ()
    """Its requirements, after a resolution; a lockfile does not contain them."""
    dependencies: tuple[str, ...] = ()
    """The names of the distributions of the lock that it requires on the target."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """The resolved distributions of a bundle."""

    requirements: tuple[str, ...]
    """The requirements it was resolved from, sorted; empty in the lockfile of another tool."""
    packages: tuple[LockedDistribution, ...]
    """Sorted by name, each name once."""
    base: tuple[str, ...] = ()
    """The requirements that the base must provide instead: conda packages without a project on the index."""
    glibc: str = ""
    """The glibc that the wheels were chosen for, "2.27"; empty if unknown."""
    resolver: str = ""
    """The program that chose the versions, ``pip`` or ``uv``; empty if unknown."""


def render_lock(lock: Lock, target: Target, place: Callable[[Path], str]) -> str:
    """Return the text of a lockfile.

    :param place: returns the path to write for a local file: relative to the lockfile, or
        the filename alone in a bundle, which must not contain paths of this machine.
    """
    pylock = Pylock(
        lock_version=Version("1.0"),
        created_by="bundler",
        requires_python=SpecifierSet(f"=={target.python_version}.*"),
        environments=[Marker(target.marker)],
        packages=[_to_package(package, place) for package in lock.packages],
        tool={
            "bundler": {
                "requirements": list(lock.requirements),
                **({"base": list(lock.base)} if lock.base else {}),
                **({"glibc": lock.glibc} if lock.glibc else {}),
                **({"resolver": lock.resolver} if lock.resolver else {}),
            }
        },
    )
    return tomli_w.dumps(dict(pylock.to_dict()), multiline_strings=False)


def is_lock(content: bytes) -> bool:
    r"""Return whether a file is a lockfile, also a malformed one: ``lock-version`` is above its first table.

    >>> is_lock(b'lock-version = "1.0"'), is_lock(b'[metadata]\nlock-version = "2.0"')
    (True, False)
    """
    head = re.split(rb"^\[", content, maxsplit=1, flags=re.MULTILINE)[0]
    return re.search(rb"^lock-version\s*=", head, re.MULTILINE) is not None


def parse_lock(text: str, *, source: Path, target: Target) -> Lock:
    """Return the distributions that a lockfile selects for ``target``.

    :param source: the path of the lockfile; relative paths in it start at its directory.
    :raises InputError: if it violates PEP 751, does not support the target, or has a file without sha256.
    """
    try:
        pylock = Pylock.from_dict(parse_toml(text))
    except tomllib.TOMLDecodeError as error:
        other = recognized_content(text.encode()[:CONTENT_START])
        if other is not None:
            raise InputError(f"{source.name}: {other.label}, not a lockfile", hint=other.hint) from error
        is_conflict = re.search(r"^<{7} ", text, re.MULTILINE) is not None  # of a merge of git
        hint = (
            "keep one side of the conflict of git, or write it again with `bundler lock`"
            if is_conflict
            else None
        )
        raise InputError(f"{source.name}: not valid TOML: {error}", hint=hint) from error
    except PylockUnsupportedVersionError as error:
        raise InputError(
            f"{source.name}: {error}", hint="upgrade bundler: `pip install -U airgap-bundler`"
        ) from error
    except PylockValidationError as error:
        raise _invalid(text, error, source) from error
    try:
        chosen = list(pylock.select(environment=target.environment, tags=target.tags))
    except PylockSelectError as error:
        raise _unsupported(pylock, error, source, target) from error
    base = source.resolve().parent
    packages = sorted(
        (_from_package(*pair, base=base, source=source) for pair in chosen), key=lambda item: item.name
    )
    ours = (pylock.tool or {}).get("bundler", {})
    return Lock(
        requirements=tuple(str(item) for item in ours.get("requirements", [])),
        packages=tuple(packages),
        base=tuple(str(item) for item in ours.get("base", [])),
        glibc=locked_glibc(text),
        resolver=str(ours.get("resolver", "")),
    )


def _invalid(text: str, error: PylockValidationError, source: Path) -> InputError:
    """Return the error for a file that violates PEP 751, with the line and the name of the package."""
    message = redact(str(error))
    starts = [number for number, line in enumerate(text.splitlines(), 1) if line.strip() == "[[packages]]"]
    place = re.search(r" in '?packages\[(\d+)\]", message)
    evidence: tuple[str, ...] = ()
    if place and int(place[1]) < len(starts):
        name = parse_toml(text)["packages"][int(place[1])].get("name", "")
        evidence = (f"package {printable(str(name))}, line {starts[int(place[1])]}",)
    return InputError(
        f"{source.name}: {message}", evidence=evidence, hint="write it again with `bundler lock`, not by hand"
    )


def absent_dependencies(text: str) -> Iterator[tuple[str, str]]:
    """Yield the distributions of a valid lockfile with a dependency that it does not contain, and that."""
    packages = parse_toml(text).get("packages", [])
    names = {package["name"] for package in packages}
    for package in packages:
        for item in package.get("dependencies", ()):
            if item.get("name", package["name"]) not in names:
                yield package["name"], item["name"]


def _unsupported(pylock: Pylock, error: PylockSelectError, source: Path, target: Target) -> InputError:
    """Return the error for a lock without a file for the target; it names the glibc if that is the reason."""
    if target.glibc is not None:
        with suppress(PylockSelectError):
            list(pylock.select(environment=target.environment, tags=replace(target, glibc=None).tags))
            return InputError(
                f"{source.name}: the lock has only wheels for a newer glibc",
                evidence=(
                    f"wanted  glibc {target.glibc.version} or older: {target.glibc.source}",
                    f"found   {redact(str(error))}",
                ),
                hint="lock again for this glibc"
                + ("" if target.glibc.is_fact else ", or pass `--target-glibc host`"),
            )
    return InputError(
        f"{source.name}: the lock does not support {target.name}",
        evidence=(redact(str(error)),),
        hint=f"lock again: `bundler lock {_asked(pylock)} {target.argument} -o {source}`",
    )


def locked_glibc(text: str) -> str:
    """Return the glibc that a lockfile was resolved for; empty if it records none, or is malformed."""
    try:
        glibc = parse_toml(text)["tool"]["bundler"]["glibc"]
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        return ""
    return glibc if isinstance(glibc, str) and GLIBC_VERSION.fullmatch(glibc) else ""


def _asked(pylock: Pylock) -> str:
    """Return the requirements that a lock was resolved from, as arguments; else the names it locks."""
    asked = (pylock.tool or {}).get("bundler", {}).get("requirements", [])
    return shlex.join(str(item) for item in asked) or shlex.join(package.name for package in pylock.packages)


def check_lock(
    lock: Lock, roots: Iterable[RootRequirement], target: Target, source: str, *, arguments: str
) -> None:
    """Check that a lock satisfies the requirements it is used with.

    :param arguments: the arguments of `bundler lock` that give the requirements, for the hint.
    :param source: the name of the lockfile, for the message.
    :raises InputError: if it does not, with one line of evidence for each difference.
    """
    roots = tuple(roots)
    by_name = {package.name: package for package in lock.packages}
    differences = []
    for root in roots:
        requirement = root.requirement
        if requirement is None or (requirement.marker and not requirement.marker.evaluate(target.markers)):
            continue
        locked = by_name.get(canonicalize_name(requirement.name))
        if locked is None:
            differences.append(f"+ {root.text}  ({root.origin}) is not in the lock")
        elif locked.version and not requirement.specifier.contains(locked.version, prereleases=True):
            differences.append(
                f"~ {root.text}  ({root.origin}) but the lock has {locked.name} {locked.version}"
            )
    required = {root.text for root in roots}
    # The lockfile of another tool does not list its requirements.
    if lock.requirements:
        reported = {line.split()[1] for line in differences}
        differences += [
            f"- {text}  is in the lock, but no longer required" for text in set(lock.requirements) - required
        ]
        differences += [
            f"+ {text}  is required, but was not when the lock was created"
            for text in required - set(lock.requirements)
            if text not in reported
        ]
    if differences:
        raise InputError(
            f"`{source}` does not match its requirements",
            evidence=tuple(sorted(differences)),
            hint=f"lock again: `bundler lock {arguments} -o {source}`",
        )


def _to_package(locked: LockedDistribution, place: Callable[[Path], str]) -> Package:
    is_url = locked.location.startswith(("http://", "https://"))
    where: dict[str, Any] = {"url": locked.location} if is_url else {"path": place(Path(locked.location))}
    hashes = {"sha256": str(locked.sha256)}
    common: dict[str, Any] = {"name": locked.name, "version": locked.version, "index": None}
    if locked.dependencies:
        common["dependencies"] = [{"name": name} for name in locked.dependencies]
    if locked.kind == "directory":
        folder = PackageDirectory(path=where["path"], editable=False)
        return Package(**common, directory=folder, tool={"bundler": {"tree-sha256": str(locked.sha256)}})
    if locked.kind == "vcs":
        vcs = PackageVcs(type="git", **where, commit_id=str(locked.commit), subdirectory=locked.subdirectory)
        return Package(**common, vcs=vcs)
    tool = {"bundler": {"index": locked.index}} if locked.index else None
    if locked.subdirectory:
        archive = PackageArchive(**where, size=locked.size, hashes=hashes, subdirectory=locked.subdirectory)
        return Package(**common, archive=archive, tool=tool)
    file: dict[str, Any] = {"name": locked.filename, **where, "size": locked.size, "hashes": hashes}
    if locked.kind == "wheel":
        return Package(**common, wheels=[PackageWheel(**file)], tool=tool)
    return Package(**common, sdist=PackageSdist(**file), tool=tool)


def _from_package(package: Package, chosen: object, *, base: Path, source: Path) -> LockedDistribution:
    tool: Mapping[str, Any] = (package.tool or {}).get("bundler", {})
    names = [str(item["name"]) for item in package.dependencies or () if "name" in item]
    common: dict[str, Any] = {"name": package.name, "version": package.version, "dependencies": tuple(names)}
    if isinstance(chosen, PackageDirectory):
        if chosen.editable:
            raise InputError(f"{source.name}: `{package.name}` is editable, which a bundle cannot be")
        folder = (base / chosen.path / (chosen.subdirectory or "")).resolve()
        tree = tool.get("tree-sha256")
        return LockedDistribution(
            **common,
            kind="directory",
            location=str(folder),
            filename=folder.name,
            sha256=tree and parse_sha256(tree),
        )
    if isinstance(chosen, PackageVcs):
        if chosen.type != "git" or chosen.url is None:
            raise InputError(
                f"{source.name}: `{package.name}` has a source of the type {chosen.type};"
                " only git URLs are supported"
            )
        url, _ = split_url(chosen.url)
        return LockedDistribution(
            **common,
            kind="vcs",
            location=url,
            filename=url_filename(url),
            sha256=None,
            commit=chosen.commit_id,
            subdirectory=chosen.subdirectory,
        )
    if not isinstance(chosen, (PackageWheel, PackageSdist, PackageArchive)):
        raise TypeError(chosen)
    location = _location(chosen.url, chosen.path, base)
    filename = url_filename(location) if isinstance(chosen, PackageArchive) else chosen.filename
    if "/" in filename or "\\" in filename:
        raise InputError(f"{source.name}: `{printable(filename)}` is not a file name")
    try:
        sha256 = parse_sha256(chosen.hashes["sha256"].lower())
    except (KeyError, ValueError):
        raise InputError(
            f"{source.name}: `{filename}` has no usable sha256",
            evidence=(f"found   {', '.join(sorted(chosen.hashes)) or 'no hash'}",),
        ) from None
    is_wheel = filename.endswith(".whl")
    return LockedDistribution(
        **common,
        kind="wheel" if is_wheel else "sdist",
        location=location,
        filename=filename,
        sha256=sha256,
        size=chosen.size,
        index=tool.get("index") or (index_name(split_url(package.index)[0]) if package.index else None),
        subdirectory=chosen.subdirectory if isinstance(chosen, PackageArchive) else None,
    )


def _location(url: str | None, path: str | None, base: Path) -> str:
    if path is not None:
        return str((base / path).resolve())
    clean, _ = split_url(url or "")
    parts = urlsplit(clean)
    return unquote(parts.path) if parts.scheme == "file" else clean.partition("#")[0]
