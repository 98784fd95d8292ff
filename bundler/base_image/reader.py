"""Ground, effect: read a base from a profile, a ``pip freeze``, a root filesystem or an image in a file."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from packaging.utils import InvalidName, NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.archive.content import recognized_content
from bundler.base_image.profile import NO_BASE, BaseDistribution, BaseProfile
from bundler.base_image.rootfs import profile_of, read_layers, read_root_directory
from bundler.errors import InputError
from bundler.oci.blobs import is_container_export, is_image
from bundler.oci.reader import ImageArchive
from bundler.paths import printable
from bundler.redaction import redact
from bundler.reporter import SILENT, Reporter

__all__ = ["export_problem", "read_base"]


_TEXT_LIMIT = 64 << 20
_WANTED = (
    "wanted  a profile (JSON of `bundler profile`), a `pip freeze`, the directory of a root filesystem,",
    "        or an image: a tar of `docker save`, an OCI layout",
)


def read_base(
    path: Path, *, prefer: str | None = None, compared: bool = True, reporter: Reporter = SILENT
) -> BaseProfile:
    """Return the profile of a base from a file or directory, whose form is detected from its content.

    :param path: a profile, a ``pip freeze``, a root filesystem or an image.
    :param prefer: which Python of a root filesystem or an image: its prefix
        ("/opt/conda") or its version ("3.7").
    :param compared: report which facts of the base are missing for a comparison with a bundle.
    :param reporter: receives the progress.
    :raises InputError: if the form is unknown, or several Pythons match.
    :raises IntegrityError: if a part of an image does not match its digest.
    :raises MalformedError: if an image is malformed.
    """
    with reporter.task("base", None):
        base = _read_base(path, prefer)
    if compared and base.source == "freeze" and base.python_version is None:
        reporter.note(
            f"`{path}` contains names and versions only: the Python, platform and libraries of the base"
            " are not compared; an image contains them: `docker save -o base.tar IMAGE`, `--base base.tar`"
        )
    return base


def _read_base(path: Path, prefer: str | None) -> BaseProfile:
    if path.is_dir():
        return _read_folder(path, prefer)
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
            content = b"" if _is_binary(head) else head + stream.read(_TEXT_LIMIT)
    except OSError as error:
        raise InputError(
            f"`{path}` cannot be read", evidence=(*_WANTED, f"found   {error.strerror or error}")
        ) from error
    if not content:
        return _read_image(path, prefer) if head else _refuse(path, "an empty file")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return _read_image(path, prefer)
    other = recognized_content(head)
    if other is not None and other.hint:
        evidence = (*_WANTED, f"found   {other.label}")
        raise InputError(f"`{path}` does not describe a base", evidence=evidence, hint=other.hint)
    if text.lstrip().startswith("{"):
        return BaseProfile.from_json(_parse_json(text, path), path)
    return _parse_freeze(text, path)


def _is_binary(head: bytes) -> bool:
    """Return whether a file is binary: it contains NUL, or starts with the magic of gzip or zstd."""
    return b"\0" in head or head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))


def _refuse(path: Path, found: str) -> BaseProfile:
    raise InputError(f"`{path}` does not describe a base", evidence=(*_WANTED, f"found   {found}"))


def _read_folder(path: Path, prefer: str | None) -> BaseProfile:
    if is_image(path):
        return _read_image(path, prefer)
    if not any((path / name).is_dir() for name in ("etc", "usr")):
        return _refuse(path, "a directory without `etc` and `usr`, and without an image's index")
    return BaseProfile.from_json(profile_of(read_root_directory(path), source="rootfs", prefer=prefer), path)


def export_problem(path: Path) -> tuple[str, str] | tuple[None, None]:
    """Return the words for a tar of `docker export`, which is not an image, and a hint; else None."""
    if not is_container_export(path):
        return None, None
    found = "found   the files of a container, as `docker export` writes them"
    return found, "docker save -o base.tar IMAGE"


def _read_image(path: Path, prefer: str | None) -> BaseProfile:
    if not is_image(path):
        found, hint = export_problem(path)
        if found:
            raise InputError(f"`{path}` does not describe a base", evidence=(*_WANTED, found), hint=hint)
        return _refuse(path, "neither text nor a tar with `manifest.json` or `index.json`")
    with ImageArchive(path) as image:
        return BaseProfile.from_json(profile_of(read_layers(image), source="archive", prefer=prefer), path)


def _parse_json(text: str, path: Path) -> object:
    try:
        values: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"`{path}` is not JSON", evidence=(*_WANTED, f"found   {error}")) from error
    return values


def _parse_freeze(text: str, path: Path) -> BaseProfile:
    """Return the base of a ``pip freeze``: names and versions, and nothing else."""
    if re.search(r"^FROM\s+\S", text, re.MULTILINE):
        build = shlex.join(["docker", "build", "-t", "base", "-f", str(path), str(path.parent)])
        raise InputError(
            f"`{path}` does not describe a base",
            evidence=(*_WANTED, "found   a Dockerfile"),
            hint=f"pass the image: `{build} && docker save -o base.tar base`, then `--base base.tar`",
        )
    found: dict[NormalizedName, BaseDistribution] = {}
    notes = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition(" #")[0].strip().lstrip("\ufeff")
        if not line or line.startswith("#"):
            continue
        where = f"{path}:{number}"
        if line.startswith(("-e ", "--editable ", "-e\t")) or " @ " in line:
            name = line.partition(" @ ")[0] if " @ " in line else line
            notes.append(
                f"the version of `{redact(printable(name))}` is unknown; the distribution is ignored"
            )
            continue
        name, version = _pinned(line, where)
        if found.setdefault(name, _bare(name, version)).version != version:
            raise InputError(
                f"{where}: `{name}` has two versions",
                evidence=(f"first   {found[name].version}", f"then    {version}"),
            )
    if not found and not notes:
        return _refuse(path, "a text without `name==version`")
    return replace(NO_BASE, distributions=MappingProxyType(found), notes=tuple(notes))


def _pinned(line: str, where: str) -> tuple[NormalizedName, Version]:
    name, equals, version = line.partition("==")
    try:
        if not equals:
            raise InvalidVersion(line)
        return canonicalize_name(name.strip(), validate=True), Version(version.lstrip("="))
    except (InvalidName, InvalidVersion):
        raise InputError(
            f"{where}: not a line of `pip freeze`",
            evidence=("wanted  name==version", f"found   {redact(printable(line[:200]))}"),
            hint="run `python -m pip freeze --all > base.txt` on the base",
        ) from None


def _bare(name: NormalizedName, version: Version) -> BaseDistribution:
    return BaseDistribution(name=name, version=version, requires=(), top_level=(), pth=False)
