"""Effect: the values of a registered version that may change, in a file beside its record.

A record never changes (`bundler.registry.registry`). An annotation has the digest of the record that
it describes, and is ignored for another record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from bundler.jsonio import canonical_json, decode
from bundler.registry.credentials import check_content
from bundler.registry.entry import RegisteredVersion
from bundler.registry.storage import Storage

__all__ = ["annotate", "annotations_of"]


class _Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an annotation; unknown fields are ignored."""

    format: Literal["bundler-registry-annotation"]
    format_version: Literal[1]
    sha256: str
    values: dict[str, Any]


def annotations_of(storage: Storage, path: str, record: RegisteredVersion) -> Mapping[str, Any]:
    """Return the values that were set for a record; empty without any.

    :param path: the file of its annotation.
    :raises MalformedError: if the file is malformed.
    """
    try:
        content = storage.read(path)
    except FileNotFoundError:
        return {}
    annotation = decode(content, _Annotation, f"{storage.location}/{path}")
    return annotation.values if annotation.sha256 == record.sha256 else {}


def annotate(storage: Storage, path: str, record: RegisteredVersion, values: Mapping[str, Any]) -> None:
    """Set the values of a record, in place of earlier ones.

    :param path: the file of its annotation.
    :raises InputError: if a value contains credentials or is not JSON.
    """
    check_content(values)
    document = {
        "format": "bundler-registry-annotation",
        "format_version": 1,
        "sha256": record.sha256,
        "values": dict(values),
    }
    storage.replace(path, canonical_json(document) + b"\n")
