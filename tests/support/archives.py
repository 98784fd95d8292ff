"""Images made in the tests, as ``docker save`` and as the OCI layout write them, with any part changed on the way."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundler.archive.compression import Codec, compressor


class Link(str):
    """The target of a symbolic link."""

    __slots__ = ()


class Hard(str):
    """The target of a hard link."""

    __slots__ = ()


Entries = Mapping[str, str | bytes | Link | Hard]
"""Path to content or link; a path that ends with a slash is a folder."""
Members = dict[str, bytes | Link]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar_bytes(entries: Entries | bytes) -> bytes:
    """Return a tar of the entries, in their order; what is a tar already stays as it is."""
    if isinstance(entries, bytes):
        return entries
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, content in entries.items():
            entry = tarfile.TarInfo(path.rstrip("/"))
            data = b""
            if path.endswith("/"):
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, Link | Hard):
                entry.type = tarfile.SYMTYPE if isinstance(content, Link) else tarfile.LNKTYPE
                entry.linkname = str(content)
            else:
                data = content.encode() if isinstance(content, str) else content
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def compressed(content: bytes, codec: Codec | None) -> bytes:
    if codec is None:
        return content
    unit = compressor(codec)
    return unit.compress(content) + unit.flush()


def config_bytes(layers: Sequence[bytes], env: Mapping[str, str], **changes: Any) -> bytes:
    """Return the config of an image with these (expanded) layers."""
    values: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [f"{name}={value}" for name, value in env.items()]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(one)}" for one in layers]},
    }
    return json.dumps({**values, **changes}).encode()


def docker_members(
    layers: Sequence[Entries | bytes],
    *,
    env: Mapping[str, str] | None = None,
    blobs: bool = False,
    codec: Codec | None = None,
    changes: Mapping[str, Any] | None = None,
    tags: Sequence[str] = ("base:1",),
) -> Members:
    """Return the members of what ``docker save`` writes: old folders, or blobs as since Docker 25.

    As the old versions do, a layer that is there twice is a link the second time.
    """
    tars = [tar_bytes(one) for one in layers]
    config = config_bytes(tars, env or {}, **(changes or {}))
    members: Members = {}
    names = []
    first: dict[bytes, str] = {}
    for at, tar in enumerate(tars):
        stored = compressed(tar, codec)
        name = f"blobs/sha256/{digest(stored)}" if blobs else f"{at:064x}/layer.tar"
        names.append(name)
        if not blobs and tar in first:
            members[name] = Link(f"../{first[tar]}")
        else:
            members[name] = stored
            first[tar] = name
    config_name = f"blobs/sha256/{digest(config)}" if blobs else f"{digest(config)}.json"
    members[config_name] = config
    manifest = [{"Config": config_name, "RepoTags": list(tags), "Layers": names}]
    members["manifest.json"] = json.dumps(manifest).encode()
    return members


def oci_image(
    members: Members,
    layers: Sequence[Entries | bytes],
    *,
    env: Mapping[str, str] | None = None,
    codec: Codec | None = None,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Add the blobs of an image to a layout and return the descriptor of its manifest."""
    tars = [tar_bytes(one) for one in layers]

    def add(content: bytes, kind: str) -> dict[str, Any]:
        members[f"blobs/sha256/{digest(content)}"] = content
        kind = f"application/vnd.oci.image.{kind}"
        return {"mediaType": kind, "digest": f"sha256:{digest(content)}", "size": len(content)}

    suffix = {"gz": "+gzip", "zst": "+zstd", None: ""}[codec]
    manifest = {
        "schemaVersion": 2,
        "config": add(config_bytes(tars, env or {}, **(changes or {})), "config.v1+json"),
        "layers": [add(compressed(tar, codec), f"layer.v1.tar{suffix}") for tar in tars],
    }
    return add(json.dumps(manifest).encode(), "manifest.v1+json")


def oci_members(images: Sequence[Mapping[str, Any]], members: Members, *, nested: bool = False) -> Members:
    """Return a layout of images whose blobs are in ``members``."""
    index: dict[str, Any] = {"schemaVersion": 2, "manifests": list(images)}
    if nested:
        content = json.dumps(index).encode()
        members[f"blobs/sha256/{digest(content)}"] = content
        inner = {
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": f"sha256:{digest(content)}",
            "size": len(content),
        }
        index = {"schemaVersion": 2, "manifests": [inner]}
    return {
        **members,
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
    }


def write_archive(path: Path, members: Members, *, codec: Codec | None = None) -> Path:
    """Write the members as one tar, compressed as a whole if asked."""
    path.write_bytes(compressed(tar_bytes(members), codec))
    return path


def write_layout(folder: Path, members: Members) -> Path:
    """Write the members as files."""
    for name, content in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(str(content))
        else:
            path.write_bytes(content)
    return folder


# What lies in an image.


def library(machine: int = 62, *strings: str) -> bytes:
    """Return the start of a 64-bit ELF file for a machine, and some strings."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + machine.to_bytes(2, "little")
    return header + bytes(44) + b"".join(text.encode() + b"\0" for text in strings)


LIBC = library(62, "GNU C Library (Ubuntu GLIBC 2.31-0ubuntu9.9) stable release version 2.31.\n")
LIBSTDCXX = library(
    62, "GLIBCXX_3.4", "GLIBCXX_3.4.9", "GLIBCXX_3.4.28", "CXXABI_1.3.12", "CXXABI_1.3", "GLIBCXX_DEBUG"
)


def installed(
    site: str, name: str, version: str, *, requires: Sequence[str] = (), files: Sequence[str] = ()
) -> dict[str, str]:
    """Return the files of an installed distribution, its metadata last."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    files = files or (f"{name.replace('-', '_')}/__init__.py",)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires) + "\nRequires-Dist: not-this\n"
    found = {f"{site}/{path}": "" for path in files}
    found[f"{site}/{info}/METADATA"] = metadata
    found[f"{site}/{info}/RECORD"] = "".join(
        f"{path},,\n" for path in (*files, f"{info}/METADATA", f"{info}/RECORD")
    )
    return found


ENV = "azureml-envs/minimal"
SITE = f"{ENV}/lib/python3.7/site-packages"


def rootfs() -> dict[str, str | bytes | Link | Hard]:
    """Return the files of a small image with one conda environment, as an Azure image has it."""
    multi = "lib/x86_64-linux-gnu"
    return {
        "etc/": "",
        "etc/os-release": "ID=ubuntu\n",
        "lib": Link("usr/lib"),
        f"usr/{multi}/libc.so.6": Link("libc-2.31.so"),
        f"usr/{multi}/libc-2.31.so": LIBC,
        f"usr/{multi}/libz.so.1": Link("libz.so.1.2.11"),
        f"usr/{multi}/libz.so.1.2.11": library(),
        f"usr/{multi}/libgone.so.1": Link("libgone.so.1.0"),
        f"usr/{multi}/libalt.so.3": Link("/etc/alternatives/libalt.so.3"),
        "etc/alternatives/libalt.so.3": Link(f"../../usr/{multi}/alt/libalt.so.3.1"),
        f"usr/{multi}/alt/libalt.so.3.1": library(),
        f"usr/{multi}/libstdc++.so.6": library(62, "GLIBCXX_3.4.25", "CXXABI_1.3.11"),
        f"{ENV}/bin/python3.7": library(),
        f"{ENV}/bin/python": Link("python3.7"),
        f"{ENV}/conda-meta/python-3.7.16-h7a1cb2a_0.json": "{}",
        f"{ENV}/lib/libstdc++.so.6": Link("libstdc++.so.6.0.28"),
        f"{ENV}/lib/libstdc++.so.6.0.28": LIBSTDCXX,
        "opt/miniconda/pkgs/six-1.16.0/lib/python3.7/site-packages/six-1.16.0.dist-info/METADATA": "Name: six\nVersion: 1.16.0\n",
        f"{SITE}/six-1.16.0.dist-info/METADATA": Hard(
            "opt/miniconda/pkgs/six-1.16.0/lib/python3.7/site-packages/six-1.16.0.dist-info/METADATA"
        ),
        f"{SITE}/six-1.16.0.dist-info/RECORD": "six.py,,\n",
        **installed(
            SITE, "Flask", "1.0.3", requires=["Werkzeug (>=0.15)", "click>=5.1"], files=["flask/__init__.py"]
        ),
    }


def make_base(path: Path, *, python: str = "3.7") -> Path:
    """Write the archive of a small base image with one Python and the user of Azure ML's images."""
    layer = {
        name.replace("python3.7", f"python{python}").replace("python-3.7.16", f"python-{python}.1"): content
        for name, content in rootfs().items()
    }
    layer["etc/passwd"] = "root:x:0:0::/root:/bin/sh\ndockeruser:x:1000:1000::/home/dockeruser:/bin/sh\n"
    env = {"AZUREML_CONDA_ENVIRONMENT_PATH": "/azureml-envs/minimal"}
    return write_archive(path, docker_members([layer], env=env))
