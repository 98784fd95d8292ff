"""Pure: the metadata of an image: config, manifest and the two indexes, in canonical JSON.

Specs: OCI image config, manifest, index, layout (1.1); Docker image
specification v1.2 (``manifest.json``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bundler.archive.compression import Codec
from bundler.digest import Sha256, sha256_of
from bundler.errors import InputError
from bundler.jsonio import canonical_json, value_of
from bundler.oci.filetree import App
from bundler.oci.reference import Reference
from bundler.paths import printable

__all__ = [
    "LAYOUT",
    "Described",
    "Descriptor",
    "check_platform",
    "comments_of",
    "describe_image",
    "merge_config",
]

LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"}, ascii_only=True)
"""The content of ``oci-layout``."""

_TYPE = "application/vnd.oci.image"
_SUFFIX: Mapping[Codec | None, str] = {None: "", "gz": "+gzip", "zst": "+zstd"}
_MADE_BY = "bundler package"
_STALE = ("container", "container_config", "docker_version")
"""Keys of the base's config that describe its build container (Docker image specification v1.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """A layer as a manifest names it."""

    sha256: Sha256
    size: int
    """Bytes, as stored."""
    codec: Codec | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """The documents of an image that refer to its layers and to each other."""

    manifest: bytes
    index: bytes
    """``index.json``."""
    docker: bytes
    """``manifest.json``."""


def check_platform(base: Mapping[str, Any], arch: str) -> None:
    """Check the platform of an image.

    :raises InputError: if it is not ``linux/<arch>``.
    """
    found = (value_of(base, "os", str, ""), value_of(base, "architecture", str, ""))
    if found != ("linux", arch):
        raise InputError(
            "the base is for another machine",
            evidence=(f"wanted  linux/{arch}", f"found   {printable('/'.join(found))}"),
        )


def merge_config(base: Mapping[str, Any], app: App, layers: Sequence[tuple[Sha256, str]]) -> bytes:
    """Return the config of a base with an application on it; its digest is the image's ID.

    The base's settings stay; the environment is merged by name, in the base's
    order; the keys about the build container of the base are removed.

    :param layers: ``diff_id`` and comment of each new layer, the lowest first.
    :raises MalformedError: if the base's config is malformed.
    """
    rootfs = value_of(base, "rootfs", dict)
    diff_ids = [*value_of(rootfs, "diff_ids", list), *(f"sha256:{diff_id}" for diff_id, _ in layers)]
    created = _time(app.epoch)
    entries = [{"created": created, "created_by": _MADE_BY, "comment": comment} for _, comment in layers]
    merged = {
        **{key: value for key, value in base.items() if key not in _STALE},
        "config": _settings(value_of(base, "config", dict, {}) or {}, app),
        "created": created,
        "history": [*_history(base, created), *entries],
        "rootfs": {**rootfs, "diff_ids": diff_ids},
    }
    return _encoded(merged)


def _settings(base: Mapping[str, Any], app: App) -> dict[str, Any]:
    settings = {key: value for key, value in base.items() if key != "Hostname"}
    env = {}
    for pair in value_of(base, "Env", list, []):
        env[str(pair).partition("=")[0]] = str(pair)
    env |= {name: f"{name}={value}" for name, value in app.env.items()}
    labels = value_of(base, "Labels", dict, {}) | dict(app.labels)
    ports = value_of(base, "ExposedPorts", dict, {}) | ({f"{app.port}/tcp": {}} if app.port else {})
    merged = {
        "Env": [*env.values()],
        "Labels": labels,
        "ExposedPorts": ports,
        "User": app.user,
        "Cmd": list(app.command),
    }
    return settings | {key: value for key, value in merged.items() if value}


def _history(base: Mapping[str, Any], created: str) -> list[Any]:
    """Return the base's history, one entry for each layer that is not empty; a plain one if it has none."""
    history: list[Any] = value_of(base, "history", list, [])
    layers = value_of(value_of(base, "rootfs", dict), "diff_ids", list)
    filled = [one for one in history if isinstance(one, dict) and one.get("empty_layer") is not True]
    if len(filled) == len(layers):
        return history
    # Some builders write no or fewer entries; readers pair entries and layers by position, so replace all.
    return [{"created": created, "created_by": "base"} for _ in layers]


def comments_of(config: Mapping[str, Any]) -> list[str]:
    """Return the history comment of each layer: ours of added layers, "" for layers of the base."""
    history = value_of(config, "history", list, [])
    filled = [one for one in history if isinstance(one, dict) and one.get("empty_layer") is not True]
    return [str(one.get("comment", "")) if one.get("created_by") == _MADE_BY else "" for one in filled]


def describe_image(
    config: bytes, layers: Iterable[Descriptor], reference: Reference, *, arch: str
) -> Described:
    """Return the manifest and the indexes of an image."""
    layers = tuple(layers)
    image_id = sha256_of(config)
    manifest = _encoded(
        {
            "schemaVersion": 2,
            "mediaType": f"{_TYPE}.manifest.v1+json",
            "config": _descriptor("config.v1+json", image_id, len(config)),
            "layers": [
                _descriptor(f"layer.v1.tar{_SUFFIX[one.codec]}", one.sha256, one.size) for one in layers
            ],
        }
    )
    described = {
        **_descriptor("manifest.v1+json", sha256_of(manifest), len(manifest)),
        "platform": {"architecture": arch, "os": "linux"},
        "annotations": {
            "io.containerd.image.name": reference.full,
            "org.opencontainers.image.ref.name": reference.tag,
        },
    }
    index = {"schemaVersion": 2, "mediaType": f"{_TYPE}.index.v1+json", "manifests": [described]}
    docker = {
        "Config": f"blobs/sha256/{image_id}",
        "RepoTags": [reference.familiar],
        "Layers": [f"blobs/sha256/{one.sha256}" for one in layers],
    }
    return Described(manifest=manifest, index=_encoded(index), docker=_encoded([docker]))


def _descriptor(kind: str, digest: Sha256, size: int) -> dict[str, Any]:
    return {"mediaType": f"{_TYPE}.{kind}", "digest": f"sha256:{digest}", "size": size}


def _time(epoch: int) -> str:
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _encoded(value: Mapping[str, Any] | list[Any]) -> bytes:
    return canonical_json(value, ascii_only=True)
