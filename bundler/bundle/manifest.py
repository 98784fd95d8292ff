"""Stage 6, pure: what a bundle says of itself, and its identity.

The manifest is canonical JSON: one manifest, one sequence of bytes. The identity
of a bundle is the sha256 of its manifest without the section ``host``; the
compressed bytes of an archive are transport only.

Format: docs/format.md, "Manifest", with the JSON Schema in the package
(``manifest.schema.json``). JSON as in RFC 8259, read strictly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from packaging.utils import NormalizedName

from bundler.bundle.layer import Layer
from bundler.bundle.plan import ArchiveMember, BundlePlan, archive_order, check_name, folders_of
from bundler.digest import Sha256, canonical_json, parse_sha256, sha256_of
from bundler.errors import BundlerError, MalformedError
from bundler.paths import UnsafePathError, archive_path, printable
from bundler.resolve.lockfile import Lock

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
_TARGET = ("abi", "implementation", "platform", "python", "python_full_version", "sys_platform")
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
class OwnedFile:
    """One file of a bundle."""

    path: str
    size: int
    mode: int
    sha256: Sha256
    owner: str
    """The distribution it ships from; ``bundler`` for the lock."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest, checked; ``values`` is what its JSON says."""

    content: bytes
    """The canonical bytes."""
    values: Mapping[str, Any]
    files: tuple[OwnedFile, ...]
    """All files but the manifest itself, sorted bytewise by path."""

    @property
    def name(self) -> str:
        """The bundle's name, which is its root folder in an archive."""
        return str(self.values["name"])

    @property
    def version(self) -> str:
        """The bundle's version."""
        return str(self.values["version"])

    @property
    def epoch(self) -> int:
        """The time of every entry in an archive, seconds UTC."""
        return int(self.values["epoch"])

    @property
    def stem(self) -> str:
        """The name of the bundle's files without a suffix."""
        target = self.values["target"]
        python = "cp" + str(target["python"]).replace(".", "")
        return f"{self.name}-{self.version}-{python}-{target['platform']}"

    @property
    def identity(self) -> Sha256:
        """The sha256 of the manifest without the facts of the host that built it."""
        return sha256_of(_canonical({key: value for key, value in self.values.items() if key != "host"}))

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
        by_owner: dict[str, list[ArchiveMember]] = {}
        for file in self.files:
            member = ArchiveMember(
                path=archive_path(file.path), is_dir=False, size=file.size, mode=file.mode, sha256=file.sha256
            )
            by_owner.setdefault(file.owner, []).append(member)
        head += by_owner.pop("bundler")
        names = [item["name"] for item in self.values["distributions"]]
        yield from archive_order(head, [member for name in names for member in by_owner.get(name, [])])


def make_manifest(values: Mapping[str, Any]) -> Manifest:
    """Return the manifest of a bundle that is being built.

    :param values: all sections; ``format`` and ``format_version`` are added here.
    """
    return parse_manifest(
        _canonical({"format": FORMAT, "format_version": FORMAT_VERSION, **values}), "manifest.json"
    )


def parse_manifest(content: bytes, source: str) -> Manifest:
    """Return the manifest that ``content`` is, if it is canonical and consistent.

    :param source: where it came from, for messages.
    :raises MalformedError: if not; for a newer format, with both numbers.
    """
    values = _read_json(content, source)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise MalformedError(f"{source}: this is not the manifest of a bundle")
    found = values.get("format_version")
    # To Python, `true` and `1.0` equal 1.
    if type(found) is not int or found != FORMAT_VERSION:
        raise MalformedError(
            f"{source}: its format is not known to this bundler",
            evidence=(
                f"wanted  format version {FORMAT_VERSION}",
                f"found   format version {printable(str(found))}",
            ),
            hint="upgrade bundler: `pip install -U airgap-bundler`",
        )
    try:
        canonical = _canonical(values)
        files = tuple(_file(item) for item in values["files"])
        _check(values, files)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MalformedError(f"{source}: {_reason(error)}") from error
    except BundlerError as error:
        raise MalformedError(f"{source}: {error}") from error
    if canonical != content:
        raise MalformedError(
            f"{source}: it is not in canonical form", evidence=("see docs/format.md, `Manifest`",)
        )
    return Manifest(content=content, values=values, files=files)


def _file(item: Mapping[str, Any]) -> OwnedFile:
    if set(item) - {"also"} != {"path", "size", "mode", "sha256", "owner"}:
        raise ValueError("a file does not have exactly the fields of a file")
    size = item["size"]
    if type(size) is not int or size < 0:
        raise ValueError(f"`{printable(str(item['path']))}`: its size is not a number of bytes")
    if item["mode"] not in _MODES:
        raise ValueError(f"`{printable(str(item['path']))}`: its mode is not 0644 or 0755")
    return OwnedFile(
        path=archive_path(item["path"]),
        size=size,
        mode=_MODES[item["mode"]],
        sha256=parse_sha256(item["sha256"]),
        owner=str(item["owner"]),
    )


def _check(values: Mapping[str, Any], files: tuple[OwnedFile, ...]) -> None:
    """Check what holds between the fields.

    :raises ValueError: naming the first thing that does not hold.
    """
    _check_sections(values)
    check_name(values["name"], "name")
    check_name(values["version"], "version")
    if type(values["epoch"]) is not int or not 0 <= values["epoch"] < 1 << 33:
        raise ValueError("the epoch is not a time")
    if len(files) > _MAX_FILES:
        raise ValueError(f"it lists more than {_MAX_FILES} files")
    paths = [file.path for file in files]
    if paths != sorted(set(paths), key=str.encode):
        raise ValueError("its files are not sorted, or one is listed twice")
    if "manifest.json" in paths:
        raise ValueError("it lists itself")
    inside = set(paths).intersection(folders_of(paths))
    if inside:
        raise ValueError(f"`{printable(min(inside))}` is a file and a folder")
    names = [item["name"] for item in values["distributions"]]
    if names != sorted(set(names)):
        raise ValueError("its distributions are not sorted, or one is listed twice")
    strangers = {file.owner for file in files} - {*names, "bundler"}
    if strangers:
        raise ValueError(f"a file belongs to `{printable(min(strangers))}`, which it does not list")
    if [file.path for file in files if file.owner == "bundler"] != ["pylock.toml"]:
        raise ValueError("its lock is not among its files")
    if not all(isinstance(values["target"][key], str) for key in _TARGET):
        raise ValueError("its target is incomplete")
    check_name(f"x{values['target']['python']}-{values['target']['platform']}", "target")


def _check_sections(values: Mapping[str, Any]) -> None:
    """Check the fields that readers take for granted; the schema in the package says more.

    :raises TypeError: naming the first one that has another type.
    """
    base, verification = values["base"], values["verification"]
    _check_items("requirements", values["requirements"], str)
    _check_type("base.provided", base["provided"], dict)
    _check_items("base.provided", list(base["provided"].values()), str)
    _check_items("base.conda", base.get("conda", []), str)
    for item in values["distributions"]:
        _check_fields("distributions", item, _DISTRIBUTION)
        _check_items("distributions.requires_dist", item["requires_dist"], str)
        if item["built_here"] is not None:
            _check_type("distributions.built_here", item["built_here"], dict)
            _check_fields("built_here", item["built_here"], {"from": str})
    _check_type("verification.glibc", verification["glibc"], str)
    _check_type("verification.ways", verification["ways"], dict)
    for way, outcomes in verification["ways"].items():
        if way not in _WAYS:
            raise TypeError(f"`verification.ways` has the unknown key `{way}`")
        _check_items("verification.ways", outcomes, dict)
        for outcome in outcomes:
            _check_fields("ways", outcome, {"status": str})
    _check_items("verification.findings", verification["findings"], dict)
    for finding in verification["findings"]:
        _check_fields("findings", finding, _FINDING)


def _check_fields(where: str, item: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for key, kind in kinds.items():
        _check_type(f"{where}.{key}", item[key], kind)


def _check_items(where: str, items: Any, kind: type) -> None:
    _check_type(where, items, list)
    for item in items:
        _check_type(where, item, kind)


def _check_type(where: str, value: Any, kind: type) -> None:
    # Exact: to Python, `true` is a number.
    if type(value) is not kind:
        raise TypeError(f"`{where}` has a wrong type")


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
    if isinstance(error, KeyError):
        return f"the field `{printable(str(error.args[0]))}` is missing"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnsafePathError):
        return f"a path is not allowed: {error}"
    return printable(str(error))


def distribution_section(
    layer: Layer, lock: Lock, build_requires: Mapping[NormalizedName, Sequence[str]]
) -> dict[str, Any]:
    """Return the manifest's entry for one distribution.

    :param build_requires: of each distribution that was built here, what its build required.
    """
    locked = next(package for package in lock.packages if package.name == layer.name)
    requires = build_requires.get(layer.name)
    return {
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
    """Yield what the manifest says of each file but itself, sorted bytewise by path."""
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
