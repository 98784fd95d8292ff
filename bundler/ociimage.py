"""Ground, effect: an image in a file, read as a stream and never unpacked.

Two forms, as a tar (also one that was compressed as a whole) or as a folder: what
``docker save`` writes (``manifest.json``, with ``<id>/layer.tar`` or blobs), and
the OCI image layout (``index.json``). Where both are there, the layout counts, as it does
for containerd: it names every blob by digest.

Nothing in an image is trusted: each blob is compared with the digest that names
it, and each layer's content with its ``diff_id`` in the config.

Specs: OCI image layout, image index, manifest, config (1.1); Docker image
specification v1.2 (``manifest.json``).
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Self, cast

from bundler.codec import Codec, decompressed
from bundler.digest import Sha256, parse_sha256, read_chunks, sha256_of
from bundler.errors import InputError, IntegrityError, MalformedError
from bundler.imageblobs import Blobs, Entry, FolderBlobs, TarBlobs, damage
from bundler.paths import shown

__all__ = ["FILE_LIMIT", "ImageArchive", "Layer"]

FILE_LIMIT = 64 << 20
"""Bytes of one file that is read into memory."""

_JSON_LIMIT = 16 << 20
_DEPTH = 8
"""How deeply indexes may be nested."""
_PLAIN: Mapping[bytes, Codec | None] = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst"}
_REFUSED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", re.ASCII)
_SELF_REFERENTIAL = "vnd.docker.reference.type"


class _Stream:
    """Chunks as a file that is read forward, hashed on the way."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self._chunk = b""
        self._at = 0

    @property
    def digest(self) -> str:
        """The sha256 of what has come so far."""
        return self._hash.hexdigest()

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        pieces = []
        while size:
            if self._at == len(self._chunk):
                self._chunk, self._at = next(self._chunks, b""), 0
                if not self._chunk:
                    break
                self._hash.update(self._chunk)
            piece = self._chunk[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def drain(self) -> None:
        """Read what is left, so that the digest covers all."""
        for chunk in self._chunks:
            self._hash.update(chunk)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer of an image."""

    name: str
    """The blob, or the member of the archive, that holds it."""
    blob: Sha256 | None
    """The digest of the bytes as they are stored; None where the archive does not say."""
    diff_id: Sha256
    """The digest of the tar that they are, once expanded."""
    open: Callable[[], BinaryIO]
    """Opens the bytes as they are stored; the caller closes them. They are not yet verified."""

    def members(
        self, wants: Callable[[tarfile.TarInfo], bool]
    ) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
        """Yield each entry in order, with its content if ``wants`` says so of its header.

        What came counts only when the iteration has ended: then the digests were compared.

        :raises IntegrityError: if the bytes are not those that the image names.
        :raises MalformedError: if they are, and are no tar, or a wanted file is larger than `FILE_LIMIT`.
        """
        with self.open() as stored:
            raw = _Stream(read_chunks(stored))
            try:
                content = _Stream(self._expanded(raw))
                yield from _entries(content, wants)
                content.drain()
                raw.drain()
            except _failures() as error:
                # A damaged layer is told by its digest, if the archive names one.
                with suppress(*damage()):
                    raw.drain()
                self._check_blob(raw)
                if isinstance(error, (IntegrityError, MalformedError)):
                    raise
                fact = f"layer `{shown(self.name)}` is not a whole tar"
                raise MalformedError(fact, evidence=(str(error),)) from error
            self._check_blob(raw)
            _check_digest(f"layer `{shown(self.name)}`, expanded,", self.diff_id, content.digest)

    def _check_blob(self, raw: _Stream) -> None:
        if self.blob is not None:
            _check_digest(f"blob `{shown(self.name)}`", self.blob, raw.digest)

    def _expanded(self, raw: _Stream) -> Iterator[bytes]:
        head = raw.read(6)
        rest = iter(lambda: raw.read(1 << 20), b"")
        for magic, name in _REFUSED.items():
            if head.startswith(magic):
                raise MalformedError(
                    f"layer `{shown(self.name)}` is compressed in a way that is not read",
                    evidence=("wanted  no compression, gzip or zstd", f"found   {name}"),
                )
        chunks = _chain(head, rest)
        codec = next((codec for magic, codec in _PLAIN.items() if head.startswith(magic)), None)
        return chunks if codec is None else decompressed(chunks, codec, self.name)


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _failures() -> tuple[type[Exception], ...]:
    return (IntegrityError, MalformedError, *damage())


def _entries(
    content: _Stream, wants: Callable[[tarfile.TarInfo], bool]
) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    fileobj = cast("IO[bytes]", content)
    with tarfile.open(fileobj=fileobj, mode="r|", tarinfo=Entry, encoding="utf-8") as tar:
        while (member := tar.next()) is not None:
            cast("Any", tar).members.clear()  # it would keep every header
            if member.isreg() and wants(member):
                if member.size > FILE_LIMIT:
                    raise MalformedError(
                        f"`{shown(member.name)}` in the image is too large to be what its name says",
                        evidence=(f"wanted  at most {FILE_LIMIT} bytes", f"found   {member.size} bytes"),
                    )
                opened = tar.extractfile(member)
                yield member, opened.read() if opened is not None else None
            else:
                yield member, None


def _check_digest(what: str, wanted: str, found: str) -> None:
    if wanted != found:
        raise IntegrityError(
            f"{what} does not have the digest that the image names",
            evidence=(f"wanted  {wanted}", f"found   {found}"),
            hint="copy or save the image again",
        )


class ImageArchive:
    """One image in an archive, open until the ``with`` block ends.

    :param path: a tar or a folder.
    :param arch: which image to take where a layout has several, as Go names
        machines ("amd64").
    :raises InputError: if it holds no image, or several.
    :raises MalformedError: if it breaks its format.
    :raises IntegrityError: if the config or a manifest is not what its digest names.
    """

    config: Mapping[str, Any]
    """The image's config, verified."""

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
        settings = _get(self.config, "config", dict, {}) or {}
        pairs = [
            text.partition("=") for text in _get(settings, "Env", list, []) or [] if isinstance(text, str)
        ]
        return {name: value for name, _, value in pairs}

    def layers(self) -> Iterator[Layer]:
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
                f"`{self._path}` holds {'several images' if images else 'no image for Linux'}",
                evidence=(
                    f"wanted  one image for linux/{self._arch}",
                    *(f"found   {_label(one)}" for one in images[:8]),
                ),
                hint="save one image alone: `docker save NAME:TAG -o image.tar`" if images else None,
            )
        manifest = self._blob_json(images[0])
        layers = _get(manifest, "layers", list)
        config = self._blob_json(_get(manifest, "config", dict))
        blobs = [_digest(item) for item in layers]
        self._set(config, [(f"sha256:{blob}", _blob_path(blob), blob) for blob in blobs])

    def _images(self, index: Mapping[str, Any], where: str, depth: int) -> Iterator[Mapping[str, Any]]:
        """Yield the descriptors of image manifests for Linux, those of nested indexes too."""
        if depth > _DEPTH:
            raise MalformedError(f"`{self._path}`: its indexes are nested too deeply")
        for item in _get(index, "manifests", list):
            if not isinstance(item, dict):
                raise MalformedError(f"`{self._path}`: `{where}` breaks its format")
            _digest(item)
            platform = _platform(item)
            if _SELF_REFERENTIAL in (_get(item, "annotations", dict, {}) or {}):
                continue
            if platform.get("os", "linux") != "linux":
                continue
            kind = str(item.get("mediaType", ""))
            if "index" in kind or "manifest.list" in kind:
                yield from self._images(self._blob_json(item), str(item["digest"]), depth + 1)
            else:
                yield item

    def _blob_json(self, descriptor: Mapping[str, Any]) -> Mapping[str, Any]:
        digest = _digest(descriptor)
        content = self._optional(_blob_path(digest))
        if content is None:
            raise MalformedError(f"`{self._path}` lacks the blob `sha256:{digest}`")
        _check_digest(f"blob `sha256:{digest}`", digest, sha256_of(content))
        values: Mapping[str, Any] = self._json(content, f"sha256:{digest}")
        return values

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
                evidence=("wanted  one image", *(f"found   {shown(tag)}" for tag in tags[:8])),
                hint="save one image alone: `docker save NAME:TAG -o image.tar`",
            )
        if not isinstance(images[0], dict):
            raise MalformedError(f"`{self._path}`: `manifest.json` breaks its format")
        name = _get(images[0], "Config", str)
        config = self._optional(name)
        if config is None:
            raise MalformedError(f"`{self._path}` lacks its config `{shown(name)}`")
        if digest := _HEX.search(name):
            _check_digest(f"config `{shown(name)}`", digest[0], sha256_of(config))
        names = _get(images[0], "Layers", list)
        layers = []
        for name in names:
            blob = _HEX.fullmatch(name.removeprefix("blobs/sha256/")) if isinstance(name, str) else None
            layers.append((str(name), str(name), parse_sha256(blob[0]) if blob else None))
        self._set(self._json(config, "the config"), layers)

    def _set(self, config: Mapping[str, Any], layers: list[tuple[str, str, Sha256 | None]]) -> None:
        """Take the config, and the name, member and digest of each layer."""
        diff_ids = [
            _parse_digest(text, "the config") for text in _get(_get(config, "rootfs", dict), "diff_ids", list)
        ]
        if len(diff_ids) != len(layers):
            raise MalformedError(
                f"`{self._path}`: its config and its manifest name different layers",
                evidence=(f"wanted  {len(diff_ids)} layers, as in the config", f"found   {len(layers)}"),
            )
        self.config = config
        self._layers = tuple(
            Layer(name=name, blob=blob, diff_id=diff_id, open=lambda member=member: self._open(member))  # type: ignore[misc]
            for (name, member, blob), diff_id in zip(layers, diff_ids, strict=True)
        )

    def _open(self, name: str) -> BinaryIO:
        opened = self._blobs.open(name)
        if opened is None:
            raise MalformedError(f"`{self._path}` lacks the layer `{shown(name)}`")
        return opened

    def _optional(self, name: str) -> bytes | None:
        opened = self._blobs.open(name)
        if opened is None:
            return None
        with opened:
            content = opened.read(_JSON_LIMIT + 1)
        if len(content) > _JSON_LIMIT:
            raise MalformedError(f"`{self._path}`: `{shown(name)}` is too large to be what it says")
        return content

    def _json(self, content: bytes, name: str, kind: type = dict) -> Any:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise MalformedError(
                f"`{self._path}`: `{shown(name)}` is not JSON", evidence=(str(error),)
            ) from error
        if not isinstance(value, kind):
            raise MalformedError(f"`{self._path}`: `{shown(name)}` breaks its format")
        return value


def _get(values: Mapping[str, Any], key: str, kind: type, default: Any = ...) -> Any:
    """Return a value of a JSON object, if it is of its kind.

    :raises MalformedError: if it is not; if it is not there and has no default.
    """
    value = values.get(key, default)
    if value is None and default is not ...:
        return default
    if not isinstance(value, kind):
        raise MalformedError(f"the image breaks its format: `{key}` is not there, or is no {kind.__name__}")
    return value


def _platform(descriptor: Mapping[str, Any]) -> Mapping[str, Any]:
    platform: Mapping[str, Any] = _get(descriptor, "platform", dict, {})
    return platform


def _label(descriptor: Mapping[str, Any]) -> str:
    notes = _get(descriptor, "annotations", dict, {})
    name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or ""
    platform = _platform(descriptor)
    machine = f" ({platform.get('os', '?')}/{platform.get('architecture', '?')})" if platform else ""
    return shown(f"{name} {descriptor['digest']}{machine}".strip())


def _digest(descriptor: Any) -> Sha256:
    if not isinstance(descriptor, dict):
        raise MalformedError("the image breaks its format: a descriptor is no object")
    return _parse_digest(descriptor.get("digest"), "a descriptor")


def _parse_digest(text: object, where: str) -> Sha256:
    try:
        return parse_sha256(str(text).removeprefix("sha256:"))
    except ValueError as error:
        raise MalformedError(
            f"the image breaks its format: {where} has no sha256", evidence=(shown(str(text)),)
        ) from error


def _blob_path(digest: Sha256) -> str:
    return f"blobs/sha256/{digest}"
