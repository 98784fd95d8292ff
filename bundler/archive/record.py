"""Pure: the RECORD of a wheel, compared with its members.

The lock pins a wheel by its digest, and a layer has a RECORD of its own. So a clerical fault of
RECORD, which installers ignore, is a note: a missing row, a row without a file, a digest in
another encoding. A digest that the content of a module contradicts remains an error.

Specs (PyPA): recording installed projects, "The RECORD file"; binary distribution
format, "The .dist-info directory".
"""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from bundler.archive.streams import verified
from bundler.archive.zip import ZipReader
from bundler.archive.zip_format import Member
from bundler.digest import Sha256, parse_sha256
from bundler.errors import MalformedError
from bundler.paths import ArchivePath, UnsafePathError, archive_path, printable
from bundler.text import listing

__all__ = ["OpenedWheel", "Record"]

_RECORD_LIMIT = 64 << 20
_TEXT_LIMIT = 4 << 20
"""Bytes of METADATA or entry_points.txt."""
_LISTED = 3
_SPARE_ROWS = 10_000
"""Lines of RECORD beyond two for each member: each costs time, and names nothing."""
_FIELDS = 3
# RECORD cannot contain its own digest, nor those of its signatures, which are computed from it.
_UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_DIGEST_SIZES = {"md5": 16, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}
"""Bytes of a digest, by hash algorithm."""
_WEAK = ("md5", "sha1", "sha224")
"""Algorithms that RECORD must not have ("sha256 or better")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The content of RECORD, as far as it describes the members of the wheel."""

    digests: Mapping[ArchivePath, Sha256 | None]
    """For each member: the sha256 that its content must have; None if RECORD has no digest of it."""
    faults: tuple[str, ...]
    """The deviations from the specification, each in one line."""


@dataclass(slots=True)
class _Faults:
    """The paths with each fault, in the order of RECORD."""

    paths: dict[str, list[str]] = field(default_factory=dict)

    def add(self, fault: str, path: str) -> None:
        self.paths.setdefault(fault, []).append(f"`{printable(path)}`")

    def lines(self) -> Iterator[str]:
        for fault, paths in self.paths.items():
            yield f"its RECORD {fault}: {listing(paths, _LISTED)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Digest:
    """A digest of RECORD."""

    algorithm: str
    value: bytes


def read_record(reader: ZipReader, dist_info: str) -> Record:
    """Return the digests of RECORD, and its faults.

    :raises MalformedError: if RECORD is missing or not a table, if a path in it is unsafe, or if a digest
        other than sha256 is not that of a file outside of the ``.dist-info`` directory.
    """
    unhashed = {ArchivePath(f"{dist_info}/{name}") for name in _UNHASHED}
    faults = _Faults()
    rows: dict[ArchivePath, tuple[_Digest | None, str]] = {}
    folders = _directories(reader)
    for path, digest_text, size in _rows(reader, dist_info, faults):
        member = reader.members.get(path)
        if member is None:
            faults.add(
                "lists directories" if path in folders else "lists files that are missing from it", path
            )
            continue
        digest = _parse_digest(digest_text, path, faults) if path not in unhashed else None
        if path in rows and rows[path] != (digest, size):
            faults.add("has different rows for one file", path)
        if path not in rows or rows[path][0] is None:
            rows[path] = digest, size
    digests: dict[ArchivePath, Sha256 | None] = {}
    for path, member in reader.members.items():
        digests[path] = None
        if path in unhashed:
            continue
        if path not in rows:
            faults.add("does not list", path)
            continue
        digest, size = rows[path]
        if size not in ("", str(member.size)):
            faults.add("has another size for", path)
        digests[path] = _sha256_of(
            reader, member, digest, faults, in_dist_info=path.startswith(f"{dist_info}/")
        )
    return Record(digests=digests, faults=tuple(faults.lines()))


def _directories(reader: ZipReader) -> set[str]:
    """Return every directory above the members."""
    found: set[str] = set()
    for path in reader.members:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def _rows(reader: ZipReader, dist_info: str, faults: _Faults) -> Iterator[tuple[ArchivePath, str, str]]:
    """Yield the path, digest and size of each row."""
    member = reader.members.get(ArchivePath(f"{dist_info}/RECORD"))
    if member is None:
        refuse(reader, "it has no RECORD")
    try:
        text = reader.read(member, limit=_RECORD_LIMIT).decode("utf-8")
    except UnicodeDecodeError as error:
        refuse(reader, "its RECORD is not UTF-8", found=error)
    if text.startswith("\ufeff"):
        faults.add("starts with a byte order mark", member.path)
    lines = text.removeprefix("\ufeff").removesuffix("\n").split("\n") if text else []
    table = csv.reader(line.removesuffix("\r") for line in lines)
    while True:
        try:
            row = next(table, None)
        except csv.Error as error:
            refuse(reader, f"line {table.line_num} of its RECORD is malformed", found=error)
        if row is None:
            return
        if table.line_num > 2 * len(reader.members) + _SPARE_ROWS:
            wanted = f"at most {2 * len(reader.members) + _SPARE_ROWS} for {len(reader.members)} files"
            refuse(reader, "its RECORD has too many lines", wanted=wanted, found=len(lines))
        if not row:
            refuse(reader, f"line {table.line_num} of its RECORD is malformed", found="an empty line")
        if len(row) != _FIELDS:
            faults.add(f"has rows without {_FIELDS} fields", f"line {table.line_num}")
        name, digest, size, *_ = (*row, "", "")
        yield _path(reader, table.line_num, name, faults), digest, size


def _path(reader: ZipReader, line: int, name: str, faults: _Faults) -> ArchivePath:
    """Return the path of a row; without the slash at the start that some build tools write."""
    if name in reader.members:
        return ArchivePath(name)
    if name.startswith("/"):
        faults.add("has absolute paths", name)
    try:
        return archive_path(name.lstrip("/").removeprefix("./").removesuffix("/"))
    except UnsafePathError as error:
        refuse(reader, f"line {line} of its RECORD is malformed", found=f"`{name}`: {error}")


def _parse_digest(text: str, path: ArchivePath, faults: _Faults) -> _Digest | None:
    """Return a digest of RECORD, None if it has none that can be compared."""
    algorithm, _, value = text.partition("=")
    if not value:
        faults.add("has no digest for", path)
        return None
    digest = _decode(value, _DIGEST_SIZES[algorithm]) if algorithm in _DIGEST_SIZES else None
    if digest is None:
        faults.add("has an invalid digest for", path)
        return None
    if value not in (_encoded(digest), digest.hex()):
        faults.add("has a digest in another encoding for", path)
    if algorithm in _WEAK:
        faults.add(f"has a weak digest ({algorithm}) for", path)
    return _Digest(algorithm=algorithm, value=digest)


def _decode(text: str, size: int) -> bytes | None:
    """Return a digest of ``size`` bytes from base64, in either alphabet, or from hex (wheels of gmsh)."""
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        digest = bytes.fromhex(text) if len(text) == 2 * size else base64.urlsafe_b64decode(f"{plain}==")
    except ValueError:
        return None
    return digest if len(digest) == size and plain in (_encoded(digest), digest.hex()) else None


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def _sha256_of(
    reader: ZipReader, member: Member, digest: _Digest | None, faults: _Faults, *, in_dist_info: bool
) -> Sha256 | None:
    """Return the sha256 of a member from RECORD; compute it for metadata, and for another algorithm.

    Metadata may differ from RECORD: tools edit it after the build (``top_level.txt`` of decord 0.6.0).
    """
    if not in_dist_info and (digest is None or digest.algorithm == "sha256"):
        return parse_sha256(digest.value.hex()) if digest else None
    recorded = hashlib.new(digest.algorithm, usedforsecurity=False) if digest else None
    sha256 = hashlib.sha256()
    for chunk in reader.chunks(member):
        sha256.update(chunk)
        if recorded is not None:
            recorded.update(chunk)
    if digest is not None and recorded is not None and recorded.digest() != digest.value:
        if not in_dist_info:
            fact = f"`{printable(member.path)}` does not match its digest in RECORD"
            found, wanted = (
                f"{digest.algorithm} {value.hex()}" for value in (recorded.digest(), digest.value)
            )
            refuse(reader, fact, found=found, wanted=wanted)
        faults.add("has another digest for", member.path)
    return parse_sha256(sha256.hexdigest())


def checked_chunks(reader: ZipReader, member: Member, sha256: Sha256 | None) -> Iterator[bytes]:
    """Yield the content of a member in pieces.

    :raises MalformedError: after the last piece, if the digest differs from RECORD.
    """
    chunks = reader.chunks(member)
    if sha256 is None:
        return chunks
    fact = f"`{reader.name}`: `{printable(member.path)}` does not match its digest in RECORD"
    return verified(chunks, fact, sha256=sha256, error=MalformedError)


def refuse(reader: ZipReader, fact: str, *, found: object = None, wanted: object = None) -> NoReturn:
    """Raise the error for a wheel that breaks a rule.

    :raises MalformedError: always.
    """
    lines = {"wanted": wanted, "found": found}
    raise MalformedError(
        f"`{reader.name}`: {fact}",
        evidence=tuple(
            f"{label:<7} {printable(str(text))}" for label, text in lines.items() if text is not None
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedWheel:
    """A wheel after RECORD was read and compared."""

    reader: ZipReader
    dist_info: str
    record: Record

    def dist_info_file(self, name: str, limit: int = _TEXT_LIMIT) -> bytes | None:
        """Return the content of a file of the ``.dist-info`` directory, None if there is none."""
        member = self.reader.members.get(ArchivePath(f"{self.dist_info}/{name}"))
        return None if member is None else self.reader.read(member, limit=limit)
