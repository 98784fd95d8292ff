"""Ground, pure: the form of a record of the registry, and the alphabets of names and versions.

A record is one line of canonical JSON (sorted keys, no spaces, UTF-8). Its
digest is that of its content, written so: when, where and under which name it
was registered makes no difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bundler.digest import Sha256, parse_sha256, sha256_of
from bundler.errors import IntegrityError, MalformedError
from bundler.jsonio import canonical_json
from bundler.paths import printable

__all__ = [
    "NAME",
    "NAME_RULE",
    "WORD",
    "WORD_RULE",
    "RegisteredVersion",
    "decode_label",
    "decode_record",
    "encode_label",
    "encode_record",
    "malformed",
    "require_agreement",
]

# The rule of Azure's SDK for models (azureml-core 1.55, `model_name_validation`); a folder can have it, too.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)
NAME_RULE = "letters, digits, `-`, `_` and `.`, a letter or digit first, 255 at most"
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
"""A version or a label."""
WORD_RULE = "letters, digits, `-`, `_` and `.`, a letter or digit first, 128 at most"

_FORMAT = "bundler-registry"
_LABEL_FORMAT = "bundler-registry-label"
_FORMAT_VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CREATED = re.compile(r"[0-9-]{10}T[0-9:]{8}[+]00:00", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredVersion:
    """One version of a name."""

    name: str
    version: str
    content: Mapping[str, Any]
    sha256: Sha256
    """The digest of the content alone, as canonical JSON."""
    created: str
    """When it was registered, by the clock of who did: ISO 8601, UTC, whole seconds."""


def encode_record(record: RegisteredVersion) -> bytes:
    """Return the file of a record."""
    return canonical_json({"format": _FORMAT, "format_version": _FORMAT_VERSION, **asdict(record)}) + b"\n"


def decode_record(content: bytes, where: str) -> RegisteredVersion:
    """Return the record in a file.

    :param where: the file, for messages.
    :raises MalformedError: if it is none, or one of another format version.
    :raises IntegrityError: if its content does not have its digest.
    """
    envelope = _envelope(content, where, _FORMAT)
    record = RegisteredVersion(
        name=_text(envelope, "name", NAME, where),
        version=_text(envelope, "version", WORD, where),
        content=_object(envelope, where),
        sha256=parse_sha256(_text(envelope, "sha256", _SHA256, where)),
        created=_text(envelope, "created", _CREATED, where),
    )
    require_agreement(record.sha256, _content_digest(record.content, where), where)
    return record


def encode_label(name: str, label: str, version: str) -> bytes:
    """Return the file of a label."""
    envelope = {"format": _LABEL_FORMAT, "format_version": _FORMAT_VERSION}
    return canonical_json({**envelope, "name": name, "label": label, "version": version}) + b"\n"


def decode_label(content: bytes, where: str) -> tuple[str, str, str]:
    """Return the name, the label and the version in the file of a label.

    :raises MalformedError: if it is none, or one of another format version.
    """
    envelope = _envelope(content, where, _LABEL_FORMAT)
    forms = {"name": NAME, "label": WORD, "version": WORD}
    name, label, version = (_text(envelope, key, form, where) for key, form in forms.items())
    return name, label, version


def malformed(where: str, reason: str) -> MalformedError:
    """Return the error for a file that breaks its format."""
    return MalformedError(f"`{where}` breaks its format", evidence=(f"found   {printable(reason)[:300]}",))


def require_agreement(wanted: Sha256, found: Sha256, where: str) -> None:
    """Refuse bytes that do not have their digest.

    :raises IntegrityError: if the digests differ.
    """
    if found != wanted:
        raise IntegrityError(
            f"`{where}` has changed since it was registered",
            evidence=(f"wanted  sha256 {wanted}", f"found   sha256 {found}"),
        )


def _envelope(content: bytes, where: str, form: str) -> dict[str, Any]:
    try:
        envelope = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise malformed(where, f"it is not JSON: {error}") from error
    if not isinstance(envelope, dict) or envelope.get("format") != form:
        raise malformed(where, f"it is not `{form}`")
    if envelope.get("format_version") != _FORMAT_VERSION:
        found = printable(str(envelope.get("format_version")))[:20]
        raise MalformedError(
            f"`{where}` has a form that this version cannot read",
            evidence=(f"wanted  format_version {_FORMAT_VERSION}", f"found   format_version {found}"),
            hint="pip install --upgrade airgap-bundler",
        )
    return envelope


def _text(envelope: Mapping[str, Any], key: str, form: re.Pattern[str], where: str) -> str:
    value = envelope.get(key)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise malformed(where, f"`{key}` is not there, or is not what it should be")
    return value


def _object(envelope: Mapping[str, Any], where: str) -> dict[str, Any]:
    value = envelope.get("content")
    if not isinstance(value, dict):
        raise malformed(where, "`content` is not there, or is not an object")
    return value


def _content_digest(content: Mapping[str, Any], where: str) -> Sha256:
    try:
        return sha256_of(canonical_json(content))
    except (ValueError, RecursionError) as error:
        raise malformed(where, "`content` cannot be written as JSON again") from error


def blob_path(sha256: Sha256) -> str:
    """Return the path of a blob in the storage."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def is_entry_directory(name: str) -> bool:
    """Return whether a directory of this name can hold the versions of a name."""
    return NAME.fullmatch(name) is not None and name == name.lower()


def is_label_file(file: str) -> bool:
    """Return whether a file of this name can be a label."""
    return file.endswith(".json") and WORD.fullmatch(file.removesuffix(".json")) is not None
