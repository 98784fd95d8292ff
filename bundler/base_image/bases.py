"""Ground, effect: a directory of base images, found by the name of the image.

    BASES/NAME.tar     the archive of an image; an OCI layout is a directory NAME
    BASES/NAME.json    its profile with the name of the image; written by `add_base`

An archive without a profile, which the user put into the directory, counts, too: its name is in it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler.base_image.profile import BaseProfile, profile_json
from bundler.base_image.reader import export_problem, read_base
from bundler.data.inference_server import SERVER
from bundler.digest import read_chunks
from bundler.errors import BundlerError, InputError, OutputError
from bundler.jsonio import parse_json
from bundler.oci.blobs import is_image
from bundler.oci.reader import ImageArchive
from bundler.oci.reference import Reference, parse_reference
from bundler.paths import printable
from bundler.problems import closest
from bundler.system.atomic import output_error, replace_file, staged_dir, staged_file

if TYPE_CHECKING:
    from bundler.system.environ import HostEnvironment

__all__ = ["KnownBase", "add_base", "base_of_image", "bases_folder", "image_files", "known_bases"]

_NOT_IN_A_NAME = re.compile(r"[^\w.-]+", re.ASCII)
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_SHOWN = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownBase:
    """One base image of the directory."""

    reference: Reference
    path: Path
    """The archive."""
    profile: BaseProfile | None
    """None if the archive has several Pythons or cannot be read."""

    @property
    def server(self) -> str | None:
        """The version of its inference server, or None."""
        found = self.profile.distributions.get(SERVER) if self.profile else None
        return str(found.version) if found else None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return {
            "image": self.reference.familiar,
            "path": str(self.path),
            "python": self.profile.python_version if self.profile else None,
            "server": self.server,
            "glibc": self.profile.glibc if self.profile else None,
        }


def bases_folder(host: HostEnvironment) -> Path:
    """Return the directory of base images: BUNDLER_BASES, else one in the user's data directory."""
    configured = host.get("BUNDLER_BASES")
    if configured:
        return host.cwd / configured
    from platformdirs import user_data_path  # noqa: PLC0415 - not needed where the directory is named

    return user_data_path("bundler", appauthor=False) / "bases"


def add_base(folder: Path, archive: Path, *, name: str | None, prefer: str | None) -> KnownBase:
    """Copy the archive of an image into the directory, with its profile.

    :param name: the name of the image; None is the name in the archive.
    :param prefer: which Python of the image, as for `read_base`.
    :raises InputError: if it is not an image, has no name, or has several Pythons.
    :raises OutputError: if the directory has an image of this name, or cannot be written.
    """
    if not is_image(archive):
        found, hint = export_problem(archive)
        raise InputError(
            f"`{printable(str(archive))}` is not the archive of an image",
            evidence=("wanted  a tar of `docker save`, or an OCI layout", *filter(None, [found])),
            hint=hint,
        )
    profile = read_base(archive, prefer=prefer)
    with ImageArchive(archive) as image:
        wanted = name or image.name
    if wanted is None:
        raise InputError(
            f"`{printable(str(archive))}` does not contain the name of its image",
            hint=f"bundler base add {archive} --name NAME:TAG",
        )
    reference = parse_reference(wanted)
    stem = _NOT_IN_A_NAME.sub("_", reference.full)
    copy = folder / (stem if archive.is_dir() else f"{stem}.tar")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy(archive, copy)
    except FileExistsError as error:
        raise OutputError(f"the image `{reference.familiar}` already exists", hint=f"rm -r {copy}") from error
    except OSError as error:
        raise output_error(copy, error) from error
    document = {**profile_json(profile), "image": reference.full}
    replace_file(_profile_path(copy), json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")
    return KnownBase(reference=reference, path=copy, profile=profile)


def _profile_path(archive: Path) -> Path:
    """Return the path of the profile beside an archive."""
    suffix = next((suffix for suffix in _ARCHIVES if archive.name.endswith(suffix)), "")
    return archive.with_name(f"{archive.name.removesuffix(suffix)}.json")


def _copy(archive: Path, copy: Path) -> None:
    if archive.is_dir():
        with staged_dir(copy) as staging:
            shutil.copytree(archive, staging, dirs_exist_ok=True)
        return
    with archive.open("rb") as source, staged_file(copy) as stream:
        for chunk in read_chunks(source):
            stream.write(chunk)


def known_bases(folder: Path, *, with_profiles: bool = True) -> tuple[KnownBase, ...]:
    """Return the base images of the directory, sorted by name.

    :param with_profiles: whether archives without a profile are read for one, which takes time.
    :raises MalformedError: if a profile is malformed.
    """
    found = _found(folder, with_profiles=with_profiles)
    return tuple(sorted(found, key=lambda base: base.reference.full))


def _found(folder: Path, *, with_profiles: bool) -> Iterator[KnownBase]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not (path.is_dir() or path.name.endswith(_ARCHIVES)) or not is_image(path):
            continue
        stored = _profile_path(path)
        if stored.is_file():
            values = parse_json(stored.read_bytes(), str(stored))
            profile = BaseProfile.from_json(values, stored)
            reference = parse_reference(str(values.get("image")))
            yield KnownBase(reference=reference, path=path, profile=profile)
            continue
        try:
            with ImageArchive(path) as image:
                name = image.name
            if name is not None:
                profile_read = read_base(path) if with_profiles else None
                yield KnownBase(reference=parse_reference(name), path=path, profile=profile_read)
        except BundlerError:
            continue  # an archive that no one can use, or another file of the user


def image_files(folder: Path, image: str) -> list[Path]:
    """Return the archive of an image in the directory, and its profile; none if it is not in it."""
    try:
        archive = base_of_image(folder, image)
    except BundlerError:
        return []
    return [path for path in (archive, _profile_path(archive)) if path.exists()]


def base_of_image(folder: Path, image: str | None, option: str = "`--base FILE`") -> Path:
    """Return the archive of an image in the directory.

    An image without a tag is the only one of its repository, whatever its tag.

    :param option: what the caller sets to an archive elsewhere, for the message.

    :raises InputError: if the directory has no such image, or several.
    """
    known = known_bases(folder, with_profiles=False)
    fitting: list[KnownBase] = []
    if image is not None and "@" not in image:
        wanted = parse_reference(image)
        fitting = [base for base in known if base.reference == wanted]
        if not fitting and ":" not in image.rpartition("/")[2]:
            same = (wanted.domain, wanted.path)
            fitting = [base for base in known if (base.reference.domain, base.reference.path) == same]
    if len(fitting) == 1:
        return fitting[0].path
    shown = (fitting or list(known))[:_SHOWN]
    names = [f"found   {base.reference.familiar}" for base in shown] or ["found   no image"]
    where = printable(os.fspath(folder))
    if fitting:
        raise InputError(f"`{where}` has several images of `{image}`", evidence=tuple(names))
    near = closest(image or "", [base.reference.familiar for base in known], cutoff=0.905)
    subject = f"the base image `{printable(image)}`" if image else "the base image"
    raise InputError(
        f"no archive of {subject}",
        evidence=(f"wanted  an archive in `{where}` (BUNDLER_BASES), or {option}", *names),
        hint=f"did you mean `{near}`?"
        if near
        else f"docker save {image or 'NAME:TAG'} -o base.tar && bundler base add base.tar",
    )
