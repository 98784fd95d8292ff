"""Pure: the manifest of a bundle, and its identity.

The manifest is canonical JSON: one manifest, one sequence of bytes. The identity
of a bundle is the sha256 of its manifest without the section ``host``; the
compressed bytes of an archive are transport only.

Format: docs/format.md, "Manifest", with the JSON Schema in the package
(``manifest.schema.json``). JSON as in RFC 8259, read strictly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import msgspec
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from bundler.archive.tree import TreeFile
from bundler.bundle.document import DistributionSection, FileSection, ManifestDocument
from bundler.bundle.layer import Layer
from bundler.bundle.plan import ArchiveMember, BundlePlan, archive_order, check_name, folders_of
from bundler.digest import Sha256, sha256_of
from bundler.errors import BundlerError, MalformedError
from bundler.jsonio import canonical_json, convert, decode
from bundler.paths import UnsafePathError, archive_path, printable
from bundler.resolve.lockfile import Lock
from bundler.target.target import Target

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "LIMIT",
    "Manifest",
    "OwnedFile",
    "distribution_section",
    "files_section",
    "make_manifest",
    "parse_manifest",
]

FORMAT = "bundler-manifest"
FORMAT_VERSION = 1

LIMIT = 256 << 20
"""Bytes: a larger manifest is refused before it is read (200,000 files make about 40 MiB)."""

_MAX_FILES = 500_000
_PROOF = ("verification", "host")
"""The sections that differ between two checks of the same files."""
_MODES = {"0644": 0o644, "0755": 0o755}
_WAYS = ("mount", "venv", "server")
_DISTRIBUTION = {
    "name": str,
    "version": str,
    "wheel": str,
    "size": int,
    "licence": str,
    "requires_dist": list,
}
_FINDING = {"allowed": bool, "code": str, "distribution": str, "message": str, "severity": str, "where": str}


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnedFile(TreeFile):
    """One file of a bundle, with its owner."""

    owner: str
    """The distribution it ships from; ``bundler`` for the lock."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest, checked."""

    content: bytes
    """The canonical bytes."""
    document: ManifestDocument
    files: tuple[OwnedFile, ...]
    """All files but the manifest itself, sorted bytewise by path."""

    @property
    def name(self) -> str:
        """The bundle's name, which is its root directory in an archive."""
        return self.document.name

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.document.version

    @property
    def epoch(self) -> int:
        """The time of every entry in an archive, seconds UTC."""
        return self.document.epoch

    @property
    def stem(self) -> str:
        """The name of the bundle's files without a suffix."""
        target = self.document.target
        python = "cp" + target.python.replace(".", "")
        return f"{self.name}-{self.version}-{python}-{target.platform}"

    @property
    def target(self) -> Target:
        """The target of the bundle, its markers as far as a manifest has them."""
        target = self.document.target
        return Target.of_manifest(
            python=target.python,
            python_full_version=target.python_full_version,
            abi=target.abi,
            platform=target.platform,
            sys_platform=target.sys_platform,
        )

    @property
    def identity(self) -> Sha256:
        """The sha256 of the manifest without the facts of the host that built it."""
        sections = [
            b"%b:%b" % (canonical_json(key), text) for key, text in self._sections().items() if key != "host"
        ]
        return sha256_of(b"{%b}\n" % b",".join(sections))

    @property
    def contents(self) -> dict[str, bytes]:
        """The manifest without the proof: the results of the checks, and the host that ran them."""
        return {key: text for key, text in self._sections().items() if key not in _PROOF}

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON values."""
        return decode(self.content, dict[str, Any], "manifest.json")

    def _sections(self) -> dict[str, bytes]:
        """Return the JSON text of each section, in their order: a part of a canonical text is canonical."""
        sections = decode(self.content, dict[str, msgspec.Raw], "manifest.json")
        return {key: bytes(text) for key, text in sections.items()}

    def members(self) -> Iterator[ArchiveMember]:
        """Yield every entry of an archive of this bundle, in its order."""
        head = [
            ArchiveMember(
                path=archive_path("manifest.json"),
                is_dir=False,
                size=len(self.content),
                mode=0o644,
                sha256=sha256_of(self.content),
            )
        ]
        by_owner: dict[str, list[OwnedFile]] = {}
        for file in self.files:
            by_owner.setdefault(file.owner, []).append(file)
        head += map(_member, by_owner.pop("bundler"))
        names = [distribution.name for distribution in self.document.distributions]
        yield from archive_order(head, [_member(file) for name in names for file in by_owner.get(name, ())])


def make_manifest(values: Mapping[str, Any]) -> Manifest:
    """Return the manifest of a bundle that is being built.

    :param values: all sections; ``format`` and ``format_version`` are added here.
    """
    values = {"format": FORMAT, "format_version": FORMAT_VERSION, **values}
    # The same bytes as `_canonical`, for values without numbers that have a fraction, in a tenth of the time.
    content = msgspec.json.encode(values, order="sorted") + b"\n"
    # Converted, not read from the text: the texts of 200,000 files are those of their layers.
    return _manifest(content, convert(values, ManifestDocument, "manifest.json"), "manifest.json")


def parse_manifest(content: bytes, source: str) -> Manifest:
    """Return the manifest in ``content``, after checking that it is canonical and consistent.

    :param source: its file, for messages.
    :raises MalformedError: if not; for an unsupported format version, with both numbers.
    """
    values = _read_json(content, source)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise MalformedError(f"{source}: not the manifest of a bundle")
    version = values.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise MalformedError(
            f"{source}: unsupported format version",
            evidence=(
                f"wanted  format version {FORMAT_VERSION}",
                f"found   format version {printable(json.dumps(version))[:80]}",
            ),
            hint="upgrade bundler: `pip install -U airgap-bundler`",
        )
    manifest = _manifest(content, convert(values, ManifestDocument, source), source)
    try:
        canonical = _canonical(values)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{source}: {_reason(error)}") from error
    if canonical != content:
        raise MalformedError(f"{source}: not in canonical form", evidence=("see docs/format.md, `Manifest`",))
    return manifest


def _manifest(content: bytes, document: ManifestDocument, source: str) -> Manifest:
    """Return the manifest with this document, after checking that it is consistent.

    :param content: its canonical form.
    :raises MalformedError: if not.
    """
    try:
        files = tuple(map(_owned_file, document.files))
        _check(document)
    except ValueError as error:
        raise MalformedError(f"{source}: {_reason(error)}") from error
    except BundlerError as error:
        raise MalformedError(f"{source}: {error}") from error
    return Manifest(content=content, document=document, files=files)


def _member(file: OwnedFile) -> ArchiveMember:
    return ArchiveMember(path=file.path, is_dir=False, size=file.size, mode=file.mode, sha256=file.sha256)


def _owned_file(file: FileSection) -> OwnedFile:
    return OwnedFile(
        path=archive_path(file.path),
        size=file.size,
        mode=_MODES[file.mode],
        sha256=Sha256(file.sha256),
        owner=file.owner,
    )


def _check(document: ManifestDocument) -> None:
    """Check the rules between fields, and the texts that readers parse.

    :raises ValueError: naming the first breach.
    """
    check_name(document.name, "name")
    check_name(document.version, "version")
    check_name(f"x{document.target.python}-{document.target.platform}", "target")
    _check_files(document)
    names = [distribution.name for distribution in document.distributions]
    if names != sorted(set(names)):
        raise ValueError("its distributions are not sorted, or one is listed twice")
    strangers = {file.owner for file in document.files} - {*names, "bundler"}
    if strangers:
        raise ValueError(f"a file belongs to `{printable(min(strangers))}`, which it does not list")
    if [file.path for file in document.files if file.owner == "bundler"] != ["pylock.toml"]:
        raise ValueError("its lock is not among its files")
    for number, distribution in enumerate(document.distributions):
        _check_texts(f"$.distributions[{number}]", distribution)
    for name, version in document.base.provided.items():
        _parsed(Version, version, f"$.base.provided.{name}")


def _check_files(document: ManifestDocument) -> None:
    if len(document.files) > _MAX_FILES:
        raise ValueError(f"it lists more than {_MAX_FILES} files")
    paths = [file.path for file in document.files]
    if paths != sorted(set(paths), key=str.encode):
        raise ValueError("its files are not sorted, or one is listed twice")
    if "manifest.json" in paths:
        raise ValueError("it lists itself")
    inside = set(paths).intersection(folders_of(paths))
    if inside:
        raise ValueError(f"`{printable(min(inside))}` is a file and a directory")


def _check_texts(place: str, distribution: DistributionSection) -> None:
    _parsed(partial(canonicalize_name, validate=True), distribution.name, f"{place}.name")
    _parsed(Version, distribution.version, f"{place}.version")
    for number, requirement in enumerate(distribution.requires_dist):
        _parsed(Requirement, requirement, f"{place}.requires_dist[{number}]")


def _parsed(parse: Callable[[str], object], text: str, place: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        raise ValueError(f"{place}: {str(error).partition(chr(10))[0]}") from error


def _canonical(values: Mapping[str, Any]) -> bytes:
    """Return canonical JSON with one newline at the end."""
    return canonical_json(values) + b"\n"


def _read_json(content: bytes, source: str) -> Any:
    """Read JSON strictly: no duplicate keys, no NaN, no deep nesting, UTF-8 without a mark."""
    if len(content) > LIMIT:
        raise MalformedError(f"{source}: it is larger than {LIMIT >> 20} MiB")
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{source}: not valid JSON: {_reason(error)}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is repeated")
    return values


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnsafePathError):
        return f"a path is not allowed: {error}"
    return printable(str(error))


def distribution_section(
    layer: Layer, lock: Lock, build_requires: Mapping[NormalizedName, Sequence[str]]
) -> dict[str, Any]:
    """Return the manifest's entry for one distribution.

    :param build_requires: the build requirements of each distribution that was built here.
    """
    locked = next(package for package in lock.packages if package.name == layer.name)
    requires = build_requires.get(layer.name)
    omitted = {"files": len(layer.omitted), "size": sum(layer.omitted.values()), "symbols": layer.saved}
    return {
        **({"omitted": omitted} if any(omitted.values()) else {}),
        "built_here": None
        if requires is None
        else {"from": locked.filename, "kind": locked.kind, "requires": list(requires)},
        "index": locked.index,
        "layer": layer.digest,
        "licence": layer.licence,
        "name": layer.name,
        "notes": list(layer.notes),
        "pth": list(layer.pth),
        "requires_dist": list(layer.requires_dist),
        "requires_python": layer.requires_python,
        "scripts": list(layer.scripts),
        "size": layer.size,
        "uncompiled": list(layer.uncompiled),
        "version": str(layer.version),
        "wheel": layer.wheel,
        "wheel_sha256": layer.wheel_sha256,
    }


def files_section(plan: BundlePlan, lock: bytes) -> Iterator[dict[str, Any]]:
    """Yield the manifest entries of all files except the manifest, sorted bytewise by path."""
    listed: dict[str, dict[str, Any]] = {
        "pylock.toml": {
            "path": "pylock.toml",
            "size": len(lock),
            "mode": "0644",
            "sha256": sha256_of(lock),
            "owner": "bundler",
        }
    }
    for layer, file in plan.files():
        listed[file.path] = {
            "path": file.path,
            "size": file.size,
            "mode": f"{file.mode:04o}",
            "sha256": file.sha256,
            "owner": layer.name,
        }
        if file.path in plan.shared:
            listed[file.path]["also"] = list(plan.shared[file.path][1:])
    return (listed[path] for path in sorted(listed, key=str.encode))
