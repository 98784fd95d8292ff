"""Effect: write an image without a daemon: the unchanged layers of a base, and an application on top.

The archive holds both indexes, ``manifest.json`` and the OCI layout, so that
``docker load``, podman, skopeo and containerd take it. Nothing in it depends on
a clock, and the image's ID not even on the form of the base.

A delta leaves out the layers that a site already has in an older image. If these
are the lowest ones, as they are when the code alone has changed, ``docker load``
takes the delta where the older image is in Docker's classic store (run with
20.10). All other loaders need all layers: the site first joins the delta with an
archive of the older image, with `join_delta` or by hand (``DELTA.txt`` in the
delta has the commands): unpack both into one directory, the delta second, and pack that again.

Specs: OCI image layout (1.1); Docker image
specification v1.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bundler.digest import Sha256, parse_sha256, read_chunks
from bundler.errors import InputError, MalformedError
from bundler.jsonio import digest_in, parse_json, value_of
from bundler.oci.base_filesystem import read_base_filesystem
from bundler.oci.config import check_platform, comments_of, merge_config
from bundler.oci.filetree import App
from bundler.oci.layer import ImageLayer, StoredLayer
from bundler.oci.plan import LayerPlan, layer_chunks, plan_layers, root_paths
from bundler.oci.reader import ImageArchive
from bundler.oci.reference import parse_reference
from bundler.oci.writer import Archive, LayerDescriptor, Part, WrittenImage, publish_image
from bundler.reporter import SILENT, Reporter

__all__ = ["LayerDescriptor", "WrittenImage", "join_delta", "write_image"]

_JSON_LIMIT = 16 << 20


def write_image(  # noqa: PLR0913 - inputs and output of an image
    app: App,
    base: Path,
    out: Path,
    *,
    tag: str,
    arch: str = "amd64",
    delta_from: Path | None = None,
    reporter: Reporter = SILENT,
) -> WrittenImage:
    """Write an application on a base as one archive.

    Every file is read twice, to name its layer and to write it; no layer is
    held in memory or on disk.

    :param base: an image as ``docker save`` or as an OCI layout, tar or folder.
    :param out: the archive; an existing file must have the same content.
    :param tag: the image's name, with a tag or without ("latest").
    :param arch: the machine, as Go names it.
    :param delta_from: the OCI manifest of an older image, or an archive of it:
        layers that it has are left out. `join_delta` puts them back.
    :raises InputError: if the tag is not a valid name; if the base is for another
        machine or lacks the user; if it has too many layers.
    :raises IntegrityError: if the base or a file does not match its digest.
    :raises MalformedError: if the base is malformed, or has a link or a file
        where the application needs a directory.
    :raises OutputError: if the archive cannot be written, or exists with other content.
    """
    reference = parse_reference(tag)
    known = _known_layers(delta_from, arch) if delta_from is not None else None
    with _open_image(base, arch) as image:
        check_platform(image.config, arch)
        below = read_base_filesystem(image, root_paths(app))
        if app.user:
            below.check_user(app.user)
        plans = plan_layers(app, below)
        parts = [
            *(_base_part(layer, stored) for layer, stored in zip(image.layers(), below.stored, strict=True)),
            *(_new_part(plan) for plan in plans),
        ]
        added = [(part.layer.diff_id, part.layer.comment) for part in parts[len(below.stored) :]]
        config = merge_config(image.config, app, added)
        parts = [_marked(part, new=part.layer.digest not in (known or ())) for part in parts]
        archive = Archive(config=config, parts=parts, reference=reference, arch=arch, known=known)
        return publish_image(archive, out, reporter)


def join_delta(old_archive: Path, delta: Path, out: Path, *, reporter: Reporter = SILENT) -> WrittenImage:
    """Make the whole archive of an image out of a delta and an archive of the older image.

    The older image may come in any form: also as ``docker save`` wrote it at the
    site, which stores the same layers uncompressed. Then the image's ID is still
    the same. With the archive that the delta was made from, the result is
    byte for byte what `write_image` would have written whole.

    :raises InputError: if the older archive lacks a layer, or one of the two is not an image.
    :raises IntegrityError: if a layer does not match its digest.
    :raises MalformedError: if an archive is malformed.
    :raises OutputError: as `write_image`.
    """
    with _open_image(delta, "") as new, _open_image(old_archive, "") as old:
        if new.name is None:
            raise MalformedError(f"`{delta}` does not name its image")
        comments = comments_of(new.config)
        older = {layer.diff_id: layer for layer in old.layers() if layer.held}
        parts = []
        for at, layer in enumerate(new.layers()):
            comment = comments[at] if at < len(comments) else ""
            source = layer if layer.held else older.get(layer.diff_id)
            if source is None:
                raise InputError(
                    f"`{old_archive}` is not the image that the delta was made from",
                    evidence=(
                        f"wanted  layer {at + 1}, {comment or 'of the base'}, {layer.diff_id}",
                        f"found   {len(older)} other layers",
                    ),
                )
            part = _base_part(source, source.verify(), comment=comment)
            parts.append(_marked(part, new=layer.held))
        arch = value_of(new.config, "architecture", str)
        archive = Archive(config=new.content, parts=parts, reference=parse_reference(new.name), arch=arch)
        return publish_image(archive, out, reporter)


def _open_image(path: Path, arch: str) -> ImageArchive:
    if not path.exists():
        raise InputError(f"`{path}` not found", evidence=("wanted  an image archive, a tar or a directory",))
    return ImageArchive(path, arch=arch)


def _known_layers(path: Path, arch: str) -> tuple[Sha256, ...]:
    """Return the digests of an older image's layers in order, from its manifest or an archive of it."""
    if path.is_file():
        with path.open("rb") as stream:
            content = stream.read(_JSON_LIMIT) if stream.peek(1)[:1] == b"{" else b""
        if content:
            manifest = parse_json(content, str(path))
            if "layers" not in manifest:
                raise InputError(
                    f"`{path}` is not the manifest of a single image",
                    evidence=("wanted  an OCI manifest with `layers`, or an archive",),
                )
            layers = value_of(manifest, "layers", list)
            return tuple(digest_in(_digest_of(layer), "a layer") for layer in layers)
    with _open_image(path, arch) as image:
        # Without a blob digest (`docker save`) a layer is stored uncompressed, so its diff_id is its digest.
        return tuple(layer.blob or layer.diff_id for layer in image.layers())


def _digest_of(descriptor: Any) -> object:
    return descriptor.get("digest") if isinstance(descriptor, dict) else None


# Layers.


def _base_part(layer: ImageLayer, stored: StoredLayer, *, comment: str = "") -> Part:
    made = LayerDescriptor(
        digest=stored.sha256, diff_id=layer.diff_id, size=stored.size, comment=comment, new=True
    )

    def chunks() -> Iterator[bytes]:
        with layer.open() as stream:
            yield from read_chunks(stream)

    return Part(layer=made, stored=stored, chunks=chunks)


def _new_part(plan: LayerPlan) -> Part:
    digest = hashlib.sha256()
    size = 0
    for chunk in layer_chunks(plan):
        digest.update(chunk)
        size += len(chunk)
    sha256 = parse_sha256(digest.hexdigest())
    made = LayerDescriptor(digest=sha256, diff_id=sha256, size=size, comment=plan.comment, new=True)
    stored = StoredLayer(sha256=sha256, size=size, codec=None)
    return Part(layer=made, stored=stored, chunks=lambda: layer_chunks(plan))


def _marked(part: Part, *, new: bool) -> Part:
    return replace(part, layer=replace(part.layer, new=new))
