"""Effect: an image in a file, read as a stream and never unpacked.

Two forms, as a tar (also one that was compressed as a whole) or as a directory: what
``docker save`` writes (``manifest.json``, with ``<id>/layer.tar`` or blobs), and
the OCI image layout (``index.json``). Where both exist, the layout takes precedence, as it does
for containerd: it names every blob by digest.

Nothing in an image is trusted: each blob is compared with the digest that names
it, and each layer's content with its ``diff_id`` in the config.

Specs: OCI image layout, image index, manifest, config (1.1); Docker image
specification v1.2 (``manifest.json``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self

from bundler.digest import Sha256, parse_sha256, sha256_of
from bundler.errors import InputError, MalformedError
from bundler.jsonio import digest_in, parse_json, value_of
from bundler.oci.blobs import Blobs, FolderBlobs, TarBlobs
from bundler.oci.layer import ImageLayer, check_digest
from bundler.paths import printable

__all__ = ["ImageArchive"]

_JSON_LIMIT = 16 << 20
_DEPTH = 8
"""How deeply indexes may be nested."""
_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", re.ASCII)
_SELF_REFERENTIAL = "vnd.docker.reference.type"


class ImageArchive:
    """One image in an archive, open until the ``with`` block ends.

    :param path: a tar or a folder.
    :param arch: which image to take where a layout has several, as Go names
        machines ("amd64").
    :raises InputError: if it contains no image for Linux, or several.
    :raises MalformedError: if it is malformed.
    :raises IntegrityError: if the config or a manifest does not match its digest.
    """

    config: Mapping[str, Any]
    """The image's config, verified."""
    content: bytes
    """The config as it is stored; its digest is the image's ID."""
    name: str | None
    """The reference the archive gives it, in full or not; None if there is none."""

    def __init__(self, path: Path, *, arch: str = "amd64") -> None:
        self._path = path
        self._arch = arch
        self._stack = ExitStack()
        try:
            self._blobs: Blobs = FolderBlobs(path) if path.is_dir() else TarBlobs(path, self._stack)
            index = self._optional("index.json") if self._optional("oci-layout") is not None else None
            if index is not None:
                self._read_layout(self._json(index, "index.json"))
            else:
                self._read_docker()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        """Return the image itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the archive."""
        self._stack.close()

    @property
    def env(self) -> Mapping[str, str]:
        """The environment that the image sets."""
        settings = value_of(self.config, "config", dict, {}) or {}
        pairs = [
            text.partition("=") for text in value_of(settings, "Env", list, []) or [] if isinstance(text, str)
        ]
        return {name: value for name, _, value in pairs}

    def layers(self) -> Iterator[ImageLayer]:
        """Yield the layers, the lowest first."""
        yield from self._layers

    # The OCI layout.

    def _read_layout(self, index: Mapping[str, Any]) -> None:
        found = {item["digest"]: item for item in self._images(index, "index.json", 0)}
        images = list(found.values())
        if len(images) > 1:
            fitting = [one for one in images if _platform(one).get("architecture", self._arch) == self._arch]
            images = fitting or images
        if len(images) != 1:
            raise InputError(
                f"`{self._path}` contains {'several images' if images else 'no image for Linux'}",
                evidence=(
                    f"wanted  one image for linux/{self._arch}",
                    *(f"found   {_label(one)}" for one in images[:8]),
                ),
                hint=_save_one(map(_name, images)),
            )
        self.name = _name(images[0])
        manifest = self._json(*self._blob(images[0]))
        layers = value_of(manifest, "layers", list)
        config, name = self._blob(value_of(manifest, "config", dict))
        blobs = [_digest(item) for item in layers]
        self._set(config, name, [(f"sha256:{blob}", _blob_path(blob), blob) for blob in blobs])

    def _images(self, index: Mapping[str, Any], where: str, depth: int) -> Iterator[Mapping[str, Any]]:
        """Yield the descriptors of image manifests for Linux, those of nested indexes too."""
        if depth > _DEPTH:
            raise MalformedError(f"`{self._path}`: its indexes are nested too deeply")
        for item in value_of(index, "manifests", list):
            if not isinstance(item, dict):
                raise MalformedError(f"`{self._path}`: `{where}` breaks its format")
            _digest(item)
            platform = _platform(item)
            if _SELF_REFERENTIAL in (value_of(item, "annotations", dict, {}) or {}):
                continue
            if platform.get("os", "linux") != "linux":
                continue
            kind = str(item.get("mediaType", ""))
            if "index" in kind or "manifest.list" in kind:
                yield from self._images(self._json(*self._blob(item)), str(item["digest"]), depth + 1)
            else:
                yield item

    def _blob(self, descriptor: Mapping[str, Any]) -> tuple[bytes, str]:
        """Return a blob that is JSON, verified, and its name."""
        digest = _digest(descriptor)
        content = self._optional(_blob_path(digest))
        if content is None:
            raise MalformedError(f"`{self._path}` lacks the blob `sha256:{digest}`")
        check_digest(f"blob `sha256:{digest}`", digest, sha256_of(content))
        return content, f"sha256:{digest}"

    # What docker save writes.

    def _read_docker(self) -> None:
        content = self._optional("manifest.json")
        if content is None:
            raise InputError(
                f"`{self._path}` is not an image archive",
                evidence=("wanted  manifest.json (docker save) or oci-layout and index.json in it",),
            )
        images = self._json(content, "manifest.json", list)
        if len(images) != 1:
            tags = [str(tag) for one in images if isinstance(one, dict) for tag in one.get("RepoTags") or ()]
            raise InputError(
                f"`{self._path}` holds {len(images)} images",
                evidence=("wanted  one image", *(f"found   {printable(tag)}" for tag in tags[:8])),
                hint=_save_one(tags),
            )
        if not isinstance(images[0], dict):
            raise MalformedError(f"`{self._path}`: `manifest.json` breaks its format")
        name = value_of(images[0], "Config", str)
        config = self._optional(name)
        if config is None:
            raise MalformedError(f"`{self._path}` lacks its config `{printable(name)}`")
        if digest := _HEX.search(name):
            check_digest(f"config `{printable(name)}`", digest[0], sha256_of(config))
        names = value_of(images[0], "Layers", list)
        layers = []
        for name in names:
            blob = _HEX.fullmatch(name.removeprefix("blobs/sha256/")) if isinstance(name, str) else None
            layers.append((str(name), str(name), parse_sha256(blob[0]) if blob else None))
        tags = value_of(images[0], "RepoTags", list, []) or []
        self.name = str(tags[0]) if tags else None
        self._set(config, "the config", layers)

    def _set(self, content: bytes, name: str, layers: list[tuple[str, str, Sha256 | None]]) -> None:
        """Take the config, and the name, member and digest of each layer."""
        config = self._json(content, name)
        diff_ids = [
            digest_in(text, "the config")
            for text in value_of(value_of(config, "rootfs", dict), "diff_ids", list)
        ]
        if len(diff_ids) != len(layers):
            raise MalformedError(
                f"`{self._path}`: its config and its manifest name different layers",
                evidence=(f"wanted  {len(diff_ids)} layers, as in the config", f"found   {len(layers)}"),
            )
        self.content = content
        self.config = config
        self._layers = tuple(
            ImageLayer(
                name=name,
                blob=blob,
                diff_id=diff_id,
                held=self._holds(member),
                open=lambda member=member: self._open(member),  # type: ignore[misc]
            )
            for (name, member, blob), diff_id in zip(layers, diff_ids, strict=True)
        )

    def _holds(self, name: str) -> bool:
        opened = self._blobs.open(name)
        if opened is not None:
            opened.close()
        return opened is not None

    def _open(self, name: str) -> BinaryIO:
        opened = self._blobs.open(name)
        if opened is None:
            raise MalformedError(f"`{self._path}` lacks the layer `{printable(name)}`")
        return opened

    def _optional(self, name: str) -> bytes | None:
        opened = self._blobs.open(name)
        if opened is None:
            return None
        with opened:
            content = opened.read(_JSON_LIMIT + 1)
        if len(content) > _JSON_LIMIT:
            raise MalformedError(f"`{self._path}`: `{printable(name)}` is too large")
        return content

    def _json(self, content: bytes, name: str, kind: type = dict) -> Any:
        return parse_json(content, f"{self._path}: {name}", kind)


def _platform(descriptor: Mapping[str, Any]) -> Mapping[str, Any]:
    platform: Mapping[str, Any] = value_of(descriptor, "platform", dict, {})
    return platform


def _name(descriptor: Mapping[str, Any]) -> str | None:
    notes = value_of(descriptor, "annotations", dict, {}) or {}
    name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name")
    return str(name) if name else None


def _save_one(names: Iterable[str | None]) -> str | None:
    """Return how to save the first of several images alone."""
    name = next(filter(None, names), None)
    return f"docker save {shlex.quote(printable(name))} -o image.tar" if name else None


def _label(descriptor: Mapping[str, Any]) -> str:
    name = _name(descriptor) or ""
    platform = _platform(descriptor)
    machine = f" ({platform.get('os', '?')}/{platform.get('architecture', '?')})" if platform else ""
    return printable(f"{name} {descriptor['digest']}{machine}".strip())


def _digest(descriptor: Any) -> Sha256:
    if not isinstance(descriptor, dict):
        raise MalformedError("the image is malformed: a descriptor is not an object")
    return digest_in(descriptor.get("digest"), "a descriptor")


def _blob_path(digest: Sha256) -> str:
    return f"blobs/sha256/{digest}"
