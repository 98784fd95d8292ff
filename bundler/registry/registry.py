"""Effect: a log of named, versioned records; a registered version never changes.

Each name is a log. A writer reads every record, then creates the next free number.
Of several writers exactly one succeeds (`Storage.create`); the others read the new
record and retry. So versions are unique, equal content is registered once, and the
numbers are the order of registration, without a lock.

    ROOT/<kind>/<name in lower case>/000001.json          a record; read-only
    ROOT/<kind>/<name in lower case>/000001.deleted       the record is hidden; empty
    ROOT/<kind>/<name in lower case>/labels/<label>.json  the version a label names; replaced
    ROOT/<kind>/<name in lower case>/annotations/<version>.json  values that may change; replaced
    ROOT/blobs/sha256/ab/<sha256>                         files that records name; read-only

A registration cannot be undone, so content with credentials is refused. A malformed file is an
error for whoever needs it, and a warning (`warnings`) in a list of several.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from bundler.archive.streams import require_digest
from bundler.digest import Sha256, hash_stream, sha256_of
from bundler.errors import BundlerError, InputError, IntegrityError, NetworkError, OutputError, UsageError
from bundler.jsonio import canonical_json
from bundler.paths import printable
from bundler.redaction import redact
from bundler.registry.annotations import annotate, annotations_of
from bundler.registry.credentials import check_content
from bundler.registry.entry import (
    LATEST,
    NAME,
    WORD,
    RegisteredVersion,
    blob_path,
    check_name,
    check_word,
    decode_label,
    decode_record,
    encode_label,
    encode_record,
    existing_version,
    is_entry_directory,
    is_label_file,
    malformed,
    meant,
    next_version,
    some,
    unknown_version,
)
from bundler.registry.storage import Storage
from bundler.system.atomic import staged_file

__all__ = ["RegisteredVersion", "Registry"]

_NUMBERED = re.compile(r"(?P<number>[0-9]{6,})(?P<suffix>\.json|\.deleted)", re.ASCII)
_CREATED = ".json"
_DELETED = ".deleted"


class Registry:
    """The environments or models of a workspace; safe for concurrent processes."""

    def __init__(self, storage: Storage, kind: Literal["environments", "models"]) -> None:
        self._storage = storage
        self._kind = kind

    def register(
        self, name: str, content: Mapping[str, Any], *, version: str | None = None
    ) -> RegisteredVersion:
        """Return the version of a name with this content; register it if it does not exist.

        :param version: the version to register; by default the newest version with
            this content, else the largest whole number among the versions, plus 1.
        :raises InputError: if the name or version is invalid, the content contains
            credentials or is not JSON, or the version exists with other content.
        """
        check_name(name, self._kind)
        if version is not None:
            check_word(version, "version")
        check_content(content)
        encoded = canonical_json(content)
        sha256 = sha256_of(encoded)
        known: dict[int, RegisteredVersion] = {}
        taken: set[int] = set()
        while True:
            deleted = self._look(name, known, taken)
            existing = existing_version(known, deleted, name, sha256, version)
            if existing is not None:
                return existing
            number = max(known, default=0) + 1
            record = RegisteredVersion(
                name=name,
                version=version or next_version(known.values()),
                content=json.loads(encoded),
                sha256=sha256,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            try:
                self._storage.create(self._record(name, number), encode_record(record))
            except FileExistsError:
                taken.add(number)
            else:
                return record

    def get(self, name: str, *, version: str | None = None, label: str | None = None) -> RegisteredVersion:
        """Return a version of a name, the latest by default.

        :param label: a label; ``latest`` names the most recently registered version.
        :raises UsageError: if both are given.
        :raises InputError: if there is no such name, version or label.
        """
        if version is not None and label is not None:
            raise UsageError("only one of version and label can be given")
        numbers = self._numbers(name)
        if label is not None and label.lower() != LATEST:
            version = self._labelled(name, label)
        if version is None:
            return self._read_spelled(name, numbers[-1:])[0]
        # A counted version equals its record number, unless an explicit version was registered before it.
        if version in map(str, numbers):
            (likely,) = self._read_spelled(name, [int(version)])
            if likely.version == version:
                return likely
        records, broken = self._intact([(name, number) for number in numbers])
        for record in self._spelled(name, records):
            if record.version == version:
                return record
        raise next(iter(broken), None) or unknown_version(name, version, records)

    def latest(self) -> tuple[RegisteredVersion, ...]:
        """Return the version of each name that was registered last, sorted by name.

        A name whose last record is malformed is omitted, with a warning.
        """
        found = {
            name: self._listed(name) for name in self._storage.names(self._kind) if is_entry_directory(name)
        }
        last = [(name, numbers[-1]) for name, numbers in found.items() if numbers]
        return tuple(sorted(self._warning(last), key=lambda record: record.name))

    def history(self, name: str) -> tuple[RegisteredVersion, ...]:
        """Return all versions of a name, in the order of their registration.

        A malformed record is omitted, with a warning.

        :raises InputError: if there is no such name.
        """
        records = self._warning([(name, number) for number in self._numbers(name)])
        return tuple(self._spelled(name, records))

    def set_labels(self, name: str, version: str, labels: Sequence[str]) -> None:
        """Assign labels to a version; each moves from its former version, other labels are unchanged.

        :raises InputError: if there is no such version, or a label is not allowed.
        """
        for label in labels:
            check_word(label, "label")
        record = self.get(name, version=version)
        for label in labels:
            content = encode_label(record.name, label, record.version)
            self._storage.replace(self._label(name, label), content)

    def labels(self, name: str) -> Mapping[str, str]:
        """Return the version that each label names, without ``latest``, sorted by label.

        A malformed label is omitted, with a warning.

        :raises InputError: if there is no such name.
        """
        self._read_spelled(name, self._numbers(name)[-1:])
        files = [file for file in self._storage.names(self._folder(name, "labels")) if is_label_file(file)]
        labels = {}
        for file in files:
            path = self._folder(name, f"labels/{file}")
            try:
                label, version = self._parse_label(path, self._contents([path])[path])
            except NetworkError:
                raise
            except BundlerError as error:
                _warn(error)
            else:
                labels[label] = version
        return dict(sorted(labels.items()))

    def delete(self, name: str, version: str) -> None:
        """Hide a version: it is not found any more; its record, number and files remain.

        :raises InputError: if there is no such version.
        """
        self.get(name, version=version)
        for number in self._numbers(name):
            (record,) = self._records([(name, number)])
            if record.version == version:
                with suppress(FileExistsError):
                    self._storage.create(self._folder(name, f"{number:06d}{_DELETED}"), b"")

    def annotations(self, record: RegisteredVersion) -> Mapping[str, Any]:
        """Return the values that were set for a version after its registration."""
        return annotations_of(self._storage, self._annotation(record), record)

    def annotate(self, record: RegisteredVersion, values: Mapping[str, Any]) -> None:
        """Set values of a version, in place of earlier ones; see `bundler.registry.annotations`."""
        annotate(self._storage, self._annotation(record), record, values)

    def put_blob(self, source: Path) -> tuple[Sha256, int]:
        """Store a file, unless it is stored already, and return its digest and its size in bytes.

        :raises InputError: if it cannot be read, or is not a regular file.
        """
        try:
            with _opened(source) as stream:
                sha256, size = hash_stream(stream)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"`{printable(str(source))}` cannot be read: {reason}") from error
        self._storage.put(blob_path(sha256), source, sha256)
        return sha256, size

    def fetch_blob(self, sha256: Sha256, destination: Path) -> int:
        """Write a stored file to a new path, and return its size in bytes.

        :raises IntegrityError: if the file is missing or has changed; nothing is written then.
        :raises OutputError: if the destination exists.
        """
        exists = OutputError(f"`{printable(str(destination))}` already exists")
        if os.path.lexists(destination):
            raise exists
        digest = hashlib.sha256()
        size = 0
        try:
            with staged_file(destination) as stream:

                def sink(chunk: bytes) -> None:
                    digest.update(chunk)
                    stream.write(chunk)

                # `staged_file` would report a missing blob as a missing destination.
                try:
                    self._storage.fetch(blob_path(sha256), sink)
                except FileNotFoundError:
                    raise IntegrityError(f"{sha256[:12]} is gone from `{self._storage.location}`") from None
                size = stream.tell()
                where = f"{self._storage.location}/{blob_path(sha256)}"
                require_digest(
                    Sha256(digest.hexdigest()), sha256, f"`{where}` has changed since it was registered"
                )
        except FileExistsError as error:
            raise exists from error
        return size

    def _folder(self, name: str, below: str) -> str:
        # One path for both spellings: on case-insensitive file systems `A` and `a` are the same file.
        return f"{self._kind}/{name.lower()}/{below}"

    def _record(self, name: str, number: int) -> str:
        return self._folder(name, f"{number:06d}.json")

    def _label(self, name: str, label: str) -> str:
        return self._folder(name, f"labels/{label.lower()}.json")

    def _annotation(self, record: RegisteredVersion) -> str:
        return self._folder(record.name, f"annotations/{record.version}.json")

    def _numbers(self, name: str) -> list[int]:
        """Return the numbers of the records of an existing name.

        :raises InputError: if the name does not exist.
        """
        numbers = self._listed(name) if NAME.fullmatch(name) else []
        if not numbers:
            raise self._unknown(name)
        return numbers

    def _listed(self, name: str) -> list[int]:
        """Return the numbers of the records that are not deleted, ascending."""
        created, deleted = self._all_numbers(name)
        return sorted(created - deleted)

    def _all_numbers(self, name: str) -> tuple[set[int], set[int]]:
        """Return the numbers of all records, and of the deleted ones; foreign files are ignored."""
        found: dict[str, set[int]] = {_CREATED: set(), _DELETED: set()}
        for file in self._storage.names(f"{self._kind}/{name.lower()}"):
            match = _NUMBERED.fullmatch(file)
            if match and file == f"{int(match['number']):06d}{match['suffix']}":
                found[match["suffix"]].add(int(match["number"]))
        return found[_CREATED], found[_DELETED]

    def _look(self, name: str, known: dict[int, RegisteredVersion], taken: Iterable[int]) -> set[int]:
        """Read the records missing from ``known``, and return the numbers of the deleted ones.

        :param taken: numbers that a late listing may omit.
        """
        created, deleted = self._all_numbers(name)
        new = sorted({*created, *taken} - known.keys())
        known.update(zip(new, self._records([(name, number) for number in new]), strict=True))
        return deleted

    def _contents(self, paths: Sequence[str]) -> dict[str, bytes]:
        try:
            return dict(zip(paths, self._storage.read_many(paths), strict=True))
        except FileNotFoundError as error:
            raise OutputError(
                f"a file of the registry in `{self._storage.location}` disappeared while it was read",
                evidence=(f"found   {redact(str(error))}",),
            ) from error

    def _records(self, places: Sequence[tuple[str, int]]) -> list[RegisteredVersion]:
        contents = self._contents([self._record(*place) for place in places])
        return [self._parse(*place, contents[self._record(*place)]) for place in places]

    def _read_spelled(self, name: str, numbers: Sequence[int]) -> list[RegisteredVersion]:
        """Read records and check the spelling of the name, so that `A` never finds `a`."""
        return self._spelled(name, self._records([(name, number) for number in numbers]))

    def _spelled(self, name: str, records: list[RegisteredVersion]) -> list[RegisteredVersion]:
        if records and records[0].name != name:
            raise self._unknown(name)
        return records

    def _intact(
        self, places: Sequence[tuple[str, int]]
    ) -> tuple[list[RegisteredVersion], list[BundlerError]]:
        """Return the records that can be read, and the errors of the others."""
        try:
            return self._records(places), []
        except NetworkError:
            raise
        except BundlerError as error:
            if len(places) == 1:
                return [], [error]
        parts = [self._intact([place]) for place in places]
        return [record for part in parts for record in part[0]], [
            error for part in parts for error in part[1]
        ]

    def _warning(self, places: Sequence[tuple[str, int]]) -> list[RegisteredVersion]:
        records, broken = self._intact(places)
        for error in broken:
            _warn(error)
        return records

    def _parse(self, name: str, number: int, content: bytes) -> RegisteredVersion:
        where = f"{self._storage.location}/{self._record(name, number)}"
        record = decode_record(content, where)
        if record.name.lower() != name.lower():
            raise malformed(where, f"record of `{record.name}`")
        return record

    def _labelled(self, name: str, label: str) -> str:
        if WORD.fullmatch(label):
            path = self._label(name, label)
            try:
                return self._parse_label(path, self._storage.read(path))[1]
            except FileNotFoundError:
                pass
        known = [*self.labels(name), LATEST]
        raise InputError(
            f"no version of `{name}` has the label `{printable(label)}`",
            evidence=(f"known   {some(known)}",),
            hint=meant(label, known),
        )

    def _parse_label(self, path: str, content: bytes) -> tuple[str, str]:
        where = f"{self._storage.location}/{path}"
        name, label, version = decode_label(content, where)
        if path != self._label(name, label):
            raise malformed(where, "the file of another name or label")
        return label, version

    def _unknown(self, name: str) -> InputError:
        known = [record.name for record in self.latest()]
        kind = self._kind.removesuffix("s")
        first = "register one: `bundler env register env.yml`" if kind == "environment" else None
        fact = f"`{self._storage.location}` has no {kind} `{printable(name)[:300]}`"
        hint = meant(name, known) if known else first
        return InputError(fact, evidence=(f"known   {some(known)}",), hint=hint)


def _warn(error: BundlerError) -> None:
    found = (line.removeprefix("found").strip() for line in error.evidence[:1])
    warnings.warn(": ".join(("skipped: " + error.message, *found)), stacklevel=4)


def _opened(source: Path) -> BinaryIO:
    # A pipe would block, and cannot be read twice.
    if not stat.S_ISREG(source.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return source.open("rb")
