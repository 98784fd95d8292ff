"""Wheels and sdists made in the tests, from a mapping of path to content."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
Files = Mapping[str, str | bytes]


def as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def record_row(path: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{path},sha256={digest},{len(content)}\n"


def wheel_files(
    name: str,
    version: str,
    files: Files,
    *,
    requires: Sequence[str] = (),
    requires_python: str = "",
    extras: Sequence[str] = (),
    entry_points: str = "",
    tags: Sequence[str] = ("py3-none-any",),
    purelib: bool = True,
) -> dict[str, bytes]:
    """Return every member of a correct wheel but its RECORD, in the order it is written."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {item}\n" for item in requires]
    metadata += [f"Provides-Extra: {item}\n" for item in extras]
    if requires_python:
        metadata.append(f"Requires-Python: {requires_python}\n")
    members = {path: as_bytes(content) for path, content in files.items()}
    members[f"{info}/METADATA"] = "".join(metadata).encode()
    members[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {str(purelib).lower()}\n"
        + "".join(f"Tag: {tag}\n" for tag in tags)
    ).encode()
    if entry_points:
        members[f"{info}/entry_points.txt"] = entry_points.encode()
    return members


def with_record(members: Mapping[str, bytes], info: str) -> dict[str, bytes]:
    """Return ``members`` and the RECORD that lists them."""
    record = f"{info}/RECORD"
    rows = "".join(record_row(path, content) for path, content in members.items())
    return {**members, record: f"{rows}{record},,\n".encode()}


def zip_bytes(members: Mapping[str, bytes], *, modes: Mapping[str, int] | None = None) -> bytes:
    """Return a plain zip archive of ``members``; ``modes`` overrides 0o644 for some."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in members.items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.create_system = 3
            entry.external_attr = (0o100000 | (modes or {}).get(path, 0o644)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Files | None = None,
    *,
    requires: Sequence[str] = (),
    requires_python: str = "",
    extras: Sequence[str] = (),
    entry_points: str = "",
    tag: str = "py3-none-any",
    purelib: bool = True,
    modes: Mapping[str, int] | None = None,
) -> Path:
    """Write a correct wheel into ``folder`` and return its path.

    Without ``files`` it holds one module, named as the project, with ``VERSION``.
    """
    stem = name.replace("-", "_")
    if files is None:
        files = {f"{stem}.py": f"VERSION = {version!r}\n"}
    members = wheel_files(
        name,
        version,
        files,
        requires=requires,
        requires_python=requires_python,
        extras=extras,
        entry_points=entry_points,
        tags=(tag,),
        purelib=purelib,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{version}-{tag}.whl"
    path.write_bytes(zip_bytes(with_record(members, f"{stem}-{version}.dist-info"), modes=modes))
    return path


def make_sdist(folder: Path, name: str, version: str, files: Files, *, setup_py: str | None = None) -> Path:
    """Write a setuptools sdist into ``folder`` and return its path.

    The default ``setup.py`` packs every top-level module of ``files``; the
    toolchain of the target (setuptools, wheel) is all it needs.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    modules = [path[:-3] for path in files if path.endswith(".py") and "/" not in path]
    setup = setup_py or (
        f"from setuptools import setup\nsetup(name={name!r}, version={version!r}, py_modules={modules!r})\n"
    )
    members = {
        "setup.py": setup.encode(),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        **{path: as_bytes(content) for path, content in files.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(f"{stem}/{member}")
            entry.size = len(content)
            entry.mtime = 315532800
            archive.addfile(entry, io.BytesIO(content))
    return path


@dataclass(frozen=True, kw_only=True)
class ZipItem:
    """A member of `raw_zip`; ``local`` and ``central`` make single fields of its headers wrong."""

    name: bytes
    content: bytes = b"content"
    method: int = 8
    flags: int = 0
    mode: int = 0o100644
    system: int = 3
    data: bytes | None = None
    """What stands for the content in the archive, instead of its right compression."""
    descriptor: bytes = b""
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)
    in_local: bool = True
    in_central: bool = True

    def packed(self) -> bytes:
        if self.data is not None:
            return self.data
        if self.method != 8:
            return self.content
        engine = zlib.compressobj(9, zlib.DEFLATED, -15)
        return engine.compress(self.content) + engine.flush()

    def fields(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        right = {
            "name": self.name,
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.content),
            "compressed": len(self.packed()),
            "size": len(self.content),
            "extra": b"",
            "comment": b"",
            "disk": 0,
        }
        return {**right, **overrides}


def raw_zip(
    items: Sequence[ZipItem],
    *,
    before: bytes = b"",
    before_directory: bytes = b"",
    end: Mapping[str, int] | None = None,
    end64: Mapping[str, int] | None = None,
    comment: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """Return a zip archive written field by field, with a zip64 end record if ``end64`` is given."""
    body, directory = bytearray(before), bytearray()
    for item in items:
        offset = len(body)
        if item.in_local:
            body += _local_header(item.fields(item.local)) + item.packed() + item.descriptor
        if item.in_central:
            directory += _central_header(item, {"offset": offset, **item.fields(item.central)})
    body += before_directory
    right = {
        "count": sum(item.in_central for item in items),
        "length": len(directory),
        "start": len(body),
        "disk": 0,
    }
    narrow = {**right, **(end or {})}
    at = len(body) + len(directory)
    body += directory
    if end64 is not None:
        wide = {"rest": 44, "at": at, "disks": 1, **right, **end64}
        body += struct.pack("<4sQ2H2L4Q", b"PK\6\6", wide["rest"], 45, 45, wide["disk"], 0, wide["count"],
                            wide["count"], wide["length"], wide["start"])  # fmt: skip
        body += struct.pack("<4sLQL", b"PK\6\7", 0, wide["at"], wide["disks"])
    body += struct.pack("<4s4H2LH", b"PK\5\6", narrow["disk"], 0, narrow["count"], narrow["count"],
                        narrow["length"], narrow["start"], len(comment))  # fmt: skip
    return bytes(body) + comment + after


def _local_header(fields: Mapping[str, Any]) -> bytes:
    return (
        struct.pack("<4s5H3L2H", b"PK\3\4", 20, fields["flags"], fields["method"], 0, 33, fields["crc"],
                    fields["compressed"], fields["size"], len(fields["name"]), len(fields["extra"]))
        + fields["name"]
        + fields["extra"]
    )  # fmt: skip


def _central_header(item: ZipItem, fields: Mapping[str, Any]) -> bytes:
    return (
        struct.pack("<4s6H3L5H2L", b"PK\1\2", item.system << 8 | 20, 20, fields["flags"], fields["method"], 0, 33,
                    fields["crc"], fields["compressed"], fields["size"], len(fields["name"]), len(fields["extra"]),
                    len(fields["comment"]), fields["disk"], 0, item.mode << 16, fields["offset"])
        + fields["name"]
        + fields["extra"]
        + fields["comment"]
    )  # fmt: skip
