"""Pure: the RECORD of a wheel, checked in both directions.

Every member of the archive has a row and every row has a member. The digest of a
row is checked whenever its content is read, so content without a matching digest
never leaves a wheel.

Specs (PyPA): recording installed projects, "The RECORD file"; binary distribution
format, "The .dist-info directory".
"""

from __future__ import annotations

import base64
import csv
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from installer.records import InvalidRecordEntry, RecordEntry, parse_record_file

from bundler.archive.streams import verified
from bundler.archive.zip import ZipReader
from bundler.archive.zip_format import Member
from bundler.digest import Sha256, parse_sha256, sha256_of
from bundler.errors import MalformedError
from bundler.paths import ArchivePath, UnsafePathError, archive_path, printable
from bundler.text import listing

__all__ = ["OpenedWheel"]

_RECORD_LIMIT = 64 << 20
_TEXT_LIMIT = 4 << 20
"""Bytes of METADATA or entry_points.txt."""
_LISTED = 5
# RECORD cannot contain its own digest, nor those of its signatures, which are computed from it.
_UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_STRONG = {"sha256": 32, "sha384": 48, "sha512": 64}
"""The hash algorithms of RECORD ("sha256 or better"), with the digest size in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    line: int
    path: ArchivePath
    algorithm: str
    digest: bytes | None
    size: int | None


def read_record(reader: ZipReader, dist_info: str) -> Iterator[tuple[ArchivePath, Sha256 | None]]:
    """Yield each member and its digest, after checking that RECORD lists exactly the members.

    :raises MalformedError: if a row or a member is missing, duplicate or malformed.
    """
    unhashed = {ArchivePath(f"{dist_info}/{name}") for name in _UNHASHED}
    rows: dict[ArchivePath, _Row] = {}
    for row in _record_rows(reader, dist_info):
        if row.path in rows:
            lines = f"lines {rows[row.path].line} and {row.line}"
            refuse(reader, f"its RECORD has duplicate rows for `{printable(row.path)}`", found=lines)
        if row.digest is None and row.path not in unhashed:
            refuse(reader, f"line {row.line} of its RECORD has no digest", found=row.path)
        rows[row.path] = row
    _check_none(reader, "has no row in RECORD", reader.members.keys() - rows.keys() - unhashed)
    _check_none(reader, "is in RECORD but missing from the wheel", rows.keys() - reader.members.keys())
    for path, member in reader.members.items():
        yield path, _sha256_of(reader, member, rows[path]) if path in rows else None


def _record_rows(reader: ZipReader, dist_info: str) -> Iterator[_Row]:
    member = reader.members.get(ArchivePath(f"{dist_info}/RECORD"))
    if member is None:
        refuse(reader, "it has no RECORD")
    try:
        text = reader.read(member, limit=_RECORD_LIMIT).decode("utf-8")
    except UnicodeDecodeError as error:
        refuse(reader, "its RECORD is not UTF-8", found=error)
    if text.startswith("\ufeff"):
        refuse(reader, "its RECORD starts with a byte order mark")
    rows = parse_record_file(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
    for line in itertools.count(1):
        try:
            if (elements := next(rows, None)) is None:
                return
            yield _parse_row(line, elements)
        except (InvalidRecordEntry, csv.Error, ValueError) as error:
            refuse(reader, f"line {line} of its RECORD is malformed", found=error)


def _parse_row(line: int, elements: tuple[str, str, str]) -> _Row:
    """Return a row of RECORD.

    :raises ValueError: if its path is unsafe, or its digest weak or malformed.
    :raises InvalidRecordEntry: if a field is malformed.
    """
    try:
        path = archive_path(elements[0])
    except UnsafePathError as error:
        raise ValueError(f"`{elements[0]}`: {error}") from error
    entry = RecordEntry.from_elements(*elements)
    if entry.hash_ is None:
        return _Row(line=line, path=path, algorithm="", digest=None, size=entry.size)
    algorithm, value = entry.hash_.name, entry.hash_.value
    if algorithm not in _STRONG:
        raise ValueError(f"`{path}` has a digest by {algorithm}, wanted {', '.join(_STRONG)}")
    digest = _parse_digest(value, _STRONG[algorithm])
    if digest is None:
        raise ValueError(f"`{path}` has `{value}`, which is not a {algorithm} in unpadded urlsafe base64")
    return _Row(line=line, path=path, algorithm=algorithm, digest=digest, size=entry.size)


def _parse_digest(text: str, size: int) -> bytes | None:
    """Return a digest of ``size`` bytes, from unpadded urlsafe base64, or from hex (wheels of gmsh)."""
    try:
        digest = bytes.fromhex(text) if len(text) == 2 * size else base64.urlsafe_b64decode(text + "==")
    except ValueError:
        return None
    spelled = base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
    return digest if len(digest) == size and text in (spelled, digest.hex()) else None


def _sha256_of(reader: ZipReader, member: Member, row: _Row) -> Sha256 | None:
    """Return the sha256 of a member from its row; compute it if the row has another algorithm."""
    if row.size not in (None, member.size):
        fact = f"line {row.line} of its RECORD has a different size for `{printable(row.path)}`"
        refuse(reader, fact, found=f"{member.size} bytes", wanted=f"{row.size} bytes")
    if row.digest is None:
        return None
    if row.algorithm == "sha256":
        return parse_sha256(row.digest.hex())
    recorded, sha256 = hashlib.new(row.algorithm), hashlib.sha256()
    for chunk in reader.chunks(member):
        recorded.update(chunk)
        sha256.update(chunk)
    check_digest(reader, member, row.algorithm, recorded.hexdigest(), row.digest.hex())
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


def check_digest(reader: ZipReader, member: Member, algorithm: str, found: str, wanted: str | None) -> None:
    """Compare the digest of a member with the one in RECORD, if RECORD has one.

    :raises MalformedError: if they differ.
    """
    if wanted not in (None, found):
        fact = f"`{printable(member.path)}` does not match its digest in RECORD"
        refuse(reader, fact, found=f"{algorithm} {found}", wanted=f"{algorithm} {wanted}")


def _check_none(reader: ZipReader, fact: str, paths: Iterable[str]) -> None:
    """Refuse the wheel if ``paths``, which violate a rule, is not empty."""
    ordered = sorted(paths)
    if ordered:
        refuse(reader, f"`{printable(ordered[0])}` {fact}", found=listing(ordered, _LISTED))


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
    """A wheel after RECORD was read and checked."""

    reader: ZipReader
    dist_info: str
    digests: Mapping[ArchivePath, Sha256 | None]

    def dist_info_file(self, name: str, limit: int = _TEXT_LIMIT) -> bytes | None:
        """Return the checked content of a file of the ``.dist-info`` directory, None if there is none."""
        path = ArchivePath(f"{self.dist_info}/{name}")
        member = self.reader.members.get(path)
        if member is None:
            return None
        content = self.reader.read(member, limit=limit)
        check_digest(self.reader, member, "sha256", sha256_of(content), self.digests[path])
        return content
