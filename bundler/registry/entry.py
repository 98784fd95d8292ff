"""Pure: the format of the files of the registry, and the alphabets of names and versions.

A record is one line of canonical JSON (sorted keys, no spaces, UTF-8). Its
digest covers only its content, in canonical JSON: the time, the workspace and
the name of the registration do not change it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec

from bundler.archive.streams import require_digest
from bundler.digest import Sha256, parse_sha256, sha256_of
from bundler.errors import InputError, MalformedError
from bundler.jsonio import canonical_json, convert
from bundler.paths import archive_path, portability_note, printable
from bundler.problems import closest

__all__ = [
    "LATEST",
    "NAME",
    "WORD",
    "RegisteredVersion",
    "check_name",
    "check_word",
    "decode_label",
    "decode_record",
    "encode_label",
    "encode_record",
    "existing_version",
    "malformed",
    "meant",
    "next_version",
    "some",
    "unknown_version",
]

# The rule of Azure's SDK for models (azureml-core 1.55, `model_name_validation`); directories can have it.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)
NAME_RULE = "letters, digits, `-`, `_` and `.`, a letter or digit first, 255 at most"
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
"""A version or a label."""
WORD_RULE = "letters, digits, `-`, `_` and `.`, a letter or digit first, 128 at most"

LATEST = "latest"
"""The label of the version that was registered last; it cannot be set."""

# Azure reserves these prefixes for its curated environments (azureml-core 1.55, `Environment`).
_RESERVED = ("microsoft", "azureml")
_LISTED = 20
_WHOLE = re.compile(r"[0-9]+", re.ASCII)
_FORMAT = "bundler-registry"
_LABEL_FORMAT = "bundler-registry-label"
_FORMAT_VERSION = 1


# `(?a:...)`: the alphabets are ASCII, and an annotation cannot hold a flag.
_Name = Annotated[str, msgspec.Meta(pattern=rf"\A(?a:{NAME.pattern})\Z")]
_Word = Annotated[str, msgspec.Meta(pattern=rf"\A(?a:{WORD.pattern})\Z")]


class _RecordDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a record besides its format; unknown fields are ignored."""

    name: _Name
    version: _Word
    content: dict[str, Any]
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    created: Annotated[str, msgspec.Meta(pattern=r"\A[0-9-]{10}T[0-9:]{8}[+]00:00\Z")]


class _LabelDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a label besides its format; unknown fields are ignored."""

    name: _Name
    label: _Word
    version: _Word


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredVersion:
    """One version of a name."""

    name: str
    version: str
    content: Mapping[str, Any]
    sha256: Sha256
    """The digest of the content alone, as canonical JSON."""
    created: str
    """The time of the registration, by the clock of the client: ISO 8601, UTC, whole seconds."""


def encode_record(record: RegisteredVersion) -> bytes:
    """Return the bytes of a record's file."""
    return canonical_json({"format": _FORMAT, "format_version": _FORMAT_VERSION, **asdict(record)}) + b"\n"


def decode_record(content: bytes, where: str) -> RegisteredVersion:
    """Return the record in a file.

    :param where: the file, for messages.
    :raises MalformedError: if the file is not a record, or has an unsupported format version.
    :raises IntegrityError: if the digest of its content differs from the recorded one.
    """
    document = convert(_envelope(content, where, _FORMAT), _RecordDocument, where)
    record = RegisteredVersion(
        name=document.name,
        version=document.version,
        content=document.content,
        sha256=parse_sha256(document.sha256),
        created=document.created,
    )
    require_digest(
        _content_digest(record.content, where),
        record.sha256,
        f"`{where}` has changed since it was registered",
    )
    return record


def encode_label(name: str, label: str, version: str) -> bytes:
    """Return the bytes of a label's file."""
    envelope = {"format": _LABEL_FORMAT, "format_version": _FORMAT_VERSION}
    return canonical_json({**envelope, "name": name, "label": label, "version": version}) + b"\n"


def decode_label(content: bytes, where: str) -> tuple[str, str, str]:
    """Return the name, the label and the version in the file of a label.

    :raises MalformedError: if the file is not a label, or has an unsupported format version.
    """
    document = convert(_envelope(content, where, _LABEL_FORMAT), _LabelDocument, where)
    return document.name, document.label, document.version


def check_name(name: str, kind: str) -> None:
    """Check that a name can be registered; raise `InputError` if not.

    :param kind: ``environments`` or ``models``.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"`{printable(name)[:300]}` is not a valid name", evidence=(f"wanted  {NAME_RULE}",))
    reason = portability_note(archive_path(name))
    if reason is not None:
        raise InputError(
            f"`{name}` is not a valid name: some systems cannot represent it",
            evidence=(f"found   {reason}",),
        )
    if kind == "environments" and name.lower().startswith(_RESERVED):
        raise InputError(
            f"`{name}` cannot be registered: the prefixes `Microsoft` and `AzureML` are reserved",
            hint=f"register it as `my-{name}`",
        )


def check_word(word: str, what: str) -> None:
    """Check the form of a version or a label; raise `InputError` if it is invalid."""
    if not WORD.fullmatch(word) or word.lower() == LATEST:
        raise InputError(
            f"`{printable(word)[:300]}` is not a valid {what}",
            evidence=(f"wanted  {WORD_RULE}, and not `{LATEST}`, which is automatic",),
        )


def unknown_version(name: str, version: str, records: Sequence[RegisteredVersion]) -> InputError:
    """Return the error for a version that does not exist, with the existing ones."""
    known = [record.version for record in records]
    return InputError(
        f"`{name}` has no version `{printable(version)[:300]}`",
        evidence=(f"known   {some(known)}",),
        hint=meant(version, known),
    )


def existing_version(
    known: Mapping[int, RegisteredVersion],
    deleted: Collection[int],
    name: str,
    sha256: Sha256,
    version: str | None,
) -> RegisteredVersion | None:
    """Return the existing record that satisfies a registration, or None.

    :param known: the records of the name by number.
    :param deleted: the numbers of those that are hidden.
    :raises InputError: if the version exists with other content, or the name in another spelling.
    """
    records = [known[number] for number in sorted(known)]
    if records and records[0].name != name:
        raise InputError(
            f"`{name}` conflicts with `{records[0].name}`: the names differ only in case",
            hint=f"register it as `{records[0].name}`, or choose another name",
        )
    for record in (known[number] for number in sorted(known.keys() - set(deleted), reverse=True)):
        if record.sha256 == sha256 and version in (None, record.version):
            return record
        if record.version == version:
            raise InputError(
                f"version `{version}` of `{name}` already exists with other content",
                evidence=(
                    "registered content is never changed",
                    f"wanted  sha256 {sha256}",
                    f"found   sha256 {record.sha256}, of {record.created}",
                ),
                hint="omit the version to register the next free one",
            )
    return None


def next_version(known: Iterable[RegisteredVersion]) -> str:
    """Return the version after the largest whole number among the versions."""
    whole = [int(record.version) for record in known if _WHOLE.fullmatch(record.version)]
    version = str(1 + max(whole, default=0))
    check_word(version, "version")
    return version


def some(known: Sequence[str]) -> str:
    """Return the last words, which are the newest versions, as text; "none" without words."""
    words = [f"`{word}`" for word in known[-_LISTED:]]
    if len(known) > len(words):
        words.append(f"and {len(known) - len(words)} more")
    return ", ".join(words) or "none"


def meant(word: str, known: Iterable[str]) -> str | None:
    """Return the hint that names the most similar of the known words, or None."""
    spelled = {each.lower(): each for each in known}
    near = closest(word.lower(), spelled)
    return f"did you mean `{spelled[near]}`?" if near else None


def malformed(where: str, reason: str) -> MalformedError:
    """Return the error for a malformed file of the registry."""
    return MalformedError(f"`{where}` is malformed", evidence=(f"found   {printable(reason)[:300]}",))


def _envelope(content: bytes, where: str, form: str) -> dict[str, Any]:
    try:
        envelope = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise malformed(where, f"invalid JSON: {error}") from error
    if not isinstance(envelope, dict) or envelope.get("format") != form:
        raise malformed(where, f"`format` is not `{form}`")
    if envelope.get("format_version") != _FORMAT_VERSION:
        found = printable(str(envelope.get("format_version")))[:20]
        raise MalformedError(
            f"`{where}` has an unsupported format version",
            evidence=(f"wanted  format_version {_FORMAT_VERSION}", f"found   format_version {found}"),
            hint="pip install --upgrade airgap-bundler",
        )
    return envelope


def _content_digest(content: Mapping[str, Any], where: str) -> Sha256:
    try:
        return sha256_of(canonical_json(content))
    except (ValueError, RecursionError) as error:
        raise malformed(where, "`content` contains a value that JSON cannot represent") from error


def blob_path(sha256: Sha256) -> str:
    """Return the path of a blob in the storage."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def is_entry_directory(name: str) -> bool:
    """Return whether a directory of this name can hold the versions of a name."""
    return NAME.fullmatch(name) is not None and name == name.lower()


def is_label_file(file: str) -> bool:
    """Return whether a file name has the form of a label's file."""
    return file.endswith(".json") and WORD.fullmatch(file.removesuffix(".json")) is not None
