"""Pure: a wheel in an open archive, validated against its own metadata.

The file name, the ``.dist-info`` directory, WHEEL and METADATA must name one
distribution. Digests of RECORD are checked whenever content is read. Clerical faults that
pip accepts are faults of the result, not errors.

Specs (PyPA): binary distribution format;
recording installed projects; entry points; core metadata.
"""

from __future__ import annotations

import email
import email.errors
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, get_args

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.utils import InvalidName, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from bundler.archive.entry_points import EntryPoint, read_entry_points
from bundler.archive.record import OpenedWheel, checked_chunks, read_record, refuse
from bundler.archive.zip import ZipReader
from bundler.archive.zip_format import Member
from bundler.digest import Sha256
from bundler.errors import MalformedError
from bundler.paths import ArchivePath, portability_note, printable
from bundler.redaction import redact

__all__ = ["Scheme", "Wheel", "WheelFile", "WheelMetadata", "read_wheel", "same_release"]

Scheme = Literal["purelib", "platlib", "headers", "scripts", "data"]
"""Where the files of a wheel go (sysconfig's names of installation paths)."""

_SITE_PACKAGES = ("purelib", "platlib")

_WHEEL_LIMIT = 64 << 10
_MAX_DOTS = 30
"""Maximum in one Tag: each dot multiplies the number of expanded tags (PEP 425)."""
_INJECTED = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
# In a continuation line a form feed or vertical tab is white space (license texts: python-daemon 3.1.2).
_CONTINUATION = re.compile(rb"^[ \t].*[\x0b\x0c].*$", re.MULTILINE)
_FEEDS = re.compile(rb"[\x0b\x0c]")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")

# Names that exist on every system; pathvalidate would take 150 microseconds for each.
_PLAIN = re.compile(
    r"(?:(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:[./]|\Z))[\w+.-]*[\w+-](?:/(?!\Z)|\Z))+",
    re.ASCII | re.IGNORECASE,
)
_PLAIN_LENGTH = 200
_LICENCE_LENGTH = 100
_LICENCE_CLASSIFIER = re.compile(r"License ::(?: .+ ::)? (?!OSI Approved\Z)(?P<name>.+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelFile:
    """A file of a wheel, with its installation scheme."""

    scheme: Scheme
    path: ArchivePath
    """Relative to the root of the scheme."""
    member: Member
    sha256: Sha256 | None
    """Its digest; None only for RECORD itself and its signatures."""
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelMetadata:
    """The fields of METADATA that a bundle needs."""

    name: NormalizedName
    display_name: str
    version: Version
    requires_dist: tuple[Requirement, ...]
    requires_python: SpecifierSet | None
    provides_extra: tuple[NormalizedName, ...]
    license: str
    """An expression, a name, or several names from the classifiers; empty if it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A validated wheel; usable as long as its source is open."""

    filename: str
    metadata: WheelMetadata
    tags: frozenset[Tag]
    """Those of the file name."""
    dist_info: str
    """The name of its ``.dist-info`` directory."""
    root_is_purelib: bool
    files: tuple[WheelFile, ...]
    """Sorted bytewise by scheme, then path."""
    entry_points: tuple[EntryPoint, ...]
    notes: tuple[str, ...]
    """Properties that a layer does not keep, and values that are ignored."""
    faults: tuple[str, ...]
    """Deviations from the specification that pip accepts, each in one line."""
    reader: ZipReader

    def chunks(self, file: WheelFile) -> Iterator[bytes]:
        """Yield the content of a file in pieces.

        :raises MalformedError: at the latest after the last piece, if the
            size, CRC or digest do not match.
        """
        return checked_chunks(self.reader, file.member, file.sha256)


def read_wheel(source: BinaryIO, filename: str) -> Wheel:
    """Return the wheel in an open archive; the caller keeps it open and closes it.

    :param filename: its file name: distribution, version and tags must match the content.
    :raises MalformedError: if it is not an unambiguous zip archive, violates the binary
        distribution format, or is inconsistent.
    """
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except ValueError as error:
        fact = f"`{printable(filename)}` is not the name of a wheel"
        raise MalformedError(fact, evidence=(f"found   {printable(str(error))}",)) from error
    reader = ZipReader(source, name=filename)
    dist_info = _find_dist_info(reader, name, version)
    wheel = OpenedWheel(reader=reader, dist_info=dist_info, record=read_record(reader, dist_info))
    faults = [f"it has an archive comment: `{reader.comment}`"] if reader.comment else []
    faults += wheel.record.faults
    root_is_purelib, wheel_notes = _read_wheel_file(wheel, tags, faults)
    metadata, metadata_notes = _read_metadata(wheel, name, version, faults)
    _check_labels(metadata.version, version, dist_info, faults)
    files = _place_files(wheel, "purelib" if root_is_purelib else "platlib", faults)
    return Wheel(
        filename=filename,
        metadata=metadata,
        tags=tags,
        dist_info=dist_info,
        root_is_purelib=root_is_purelib,
        files=files,
        entry_points=tuple(read_entry_points(wheel)),
        notes=(*wheel_notes, *metadata_notes, *_file_notes(files)),
        faults=tuple(faults),
        reader=reader,
    )


def _find_dist_info(reader: ZipReader, name: NormalizedName, version: Version) -> str:
    """Return the only ``.dist-info`` directory, whose name must match the file name."""
    tops = {path.partition("/")[0] for path in reader.members}
    found = sorted(top for top in tops if top.lower().endswith(".dist-info"))
    if len(found) != 1:
        fact = f"it has {len(found)} `.dist-info` directories, not 1"
        refuse(reader, fact, found=", ".join(found) or "none")
    if not _names(found[0], ".dist-info", name, version):
        wanted = f"`{name}` {version}, as the file name has it"
        refuse(
            reader, "its `.dist-info` directory does not match its file name", found=found[0], wanted=wanted
        )
    return found[0]


def _names(directory: str, suffix: str, name: NormalizedName, version: Version) -> bool:
    """Return whether a ``.dist-info`` or ``.data`` directory is that of a release, in any spelling."""
    project, _, release = directory.removesuffix(suffix).rpartition("-")
    parsed = _version(release)
    return canonicalize_name(project) == name and parsed is not None and same_release(parsed, version)


def same_release(one: Version, other: Version) -> bool:
    """Return whether two versions are equal, or differ only in a local label that one of them lacks.

    >>> same_release(Version("1.12.1"), Version("1.12.1+cu102"))
    True
    """
    return one == other or (one.public == other.public and None in (one.local, other.local))


def _check_labels(version: Version, of_file: Version, dist_info: str, faults: list[str]) -> None:
    """Add a fault if the file name or the ``.dist-info`` directory has another local label than METADATA."""
    directory = dist_info.removesuffix(".dist-info").rpartition("-")[2]
    for place, found in (("file name", of_file), ("`.dist-info` directory", Version(directory))):
        if found != version:
            faults.append(f"its {place} has version {found}, its METADATA {version}")


# WHEEL and METADATA.


def _read_wheel_file(wheel: OpenedWheel, tags: frozenset[Tag], faults: list[str]) -> tuple[bool, list[str]]:
    """Return whether the root of the archive is purelib, and notes; pip does not read Tag."""
    content = wheel.dist_info_file("WHEEL", _WHEEL_LIMIT)
    if content is None:
        refuse(wheel.reader, "it has no WHEEL")
    try:
        headers = email.message_from_string(content.decode("utf-8"))
    except ValueError as error:
        refuse(wheel.reader, "its WHEEL is malformed", found=error)
    versions = headers.get_all("Wheel-Version", [])
    if len(versions) != 1 or not re.fullmatch(r"1(\.[0-9]+)*", versions[0].strip(), re.ASCII):
        refuse(wheel.reader, "unsupported Wheel-Version", found=versions, wanted="one that is 1.x")
    purelib = [text.strip().lower() for text in headers.get_all("Root-Is-Purelib", [])]
    if purelib not in (["true"], ["false"]):
        found = ", ".join(f"`{printable(text)}`" for text in purelib) or "missing"
        faults.append(f"its Root-Is-Purelib is not one true or false: {found}")
    is_purelib = purelib[:1] == ["true"]
    listed = [text.strip() for text in headers.get_all("Tag", [])]
    try:
        inside = frozenset(tag for text in filter(None, listed) for tag in _parse_tag(text))
    except ValueError as error:
        faults.append(f"a Tag in its WHEEL is malformed: {printable(str(error))}")
        return is_purelib, []
    if not inside:
        faults.append("its WHEEL has no Tag" if not listed else "a Tag in its WHEEL is empty")
        return is_purelib, []
    if inside == tags:
        return is_purelib, []
    # Some wheels are renamed for another platform after the build (4 of 997): only a
    # note. A different interpreter or ABI is an error, unless the file name has no ABI
    # ("none": xgboost 1.6).
    ours, theirs = ({(tag.interpreter, tag.abi) for tag in some} for some in (inside, tags))
    found, wanted = (" ".join(sorted(map(str, some))) for some in (inside, tags))
    if ours.isdisjoint(theirs) and {abi for _, abi in theirs} != {"none"}:
        refuse(wheel.reader, "its Tag does not match its file name", found=found, wanted=wanted)
    return is_purelib, [f"its WHEEL has other tags than its file name: {printable(found)}"]


def _parse_tag(text: str) -> frozenset[Tag]:
    if text.count(".") > _MAX_DOTS:
        raise ValueError(f"a tag of {len(text)} characters expands to too many")
    return parse_tag(text)


def _read_metadata(
    wheel: OpenedWheel, name: NormalizedName, version: Version, faults: list[str]
) -> tuple[WheelMetadata, list[str]]:
    """Return the metadata, and notes: strict about name and version only.

    :param version: that of the file name; the local label of METADATA may differ.
    """
    content = wheel.dist_info_file("METADATA")
    if content is None:
        refuse(wheel.reader, "it has no METADATA")
    headers, *body = _END_OF_HEADERS.split(content, maxsplit=1)
    if _CONTINUATION.search(headers):
        headers = _CONTINUATION.sub(lambda line: _FEEDS.sub(b" ", line[0]), headers)
        content = b"\n\n".join((headers, *body))
        faults.append("its METADATA has a form feed or vertical tab in a header")
    if injected := _INJECTED.search(headers):
        refuse(wheel.reader, "its METADATA has a control character in a header", found=injected[0])
    try:
        raw, unparsed = parse_email(content)
    except (ValueError, LookupError, AssertionError, RecursionError, email.errors.MessageError) as error:
        refuse(wheel.reader, "its METADATA is malformed", found=error)
    display_name = _same_name(wheel.reader, raw, name)
    own = _version(raw.get("version", ""))
    if own is None or not same_release(own, version):
        fact = "the Version in its METADATA does not match its file name"
        refuse(wheel.reader, fact, found=raw.get("version", "not one"), wanted=version)
    notes: list[str] = []
    requirements = raw.get("requires_dist") or unparsed.get("requires-dist", [])
    metadata = WheelMetadata(
        name=name,
        display_name=display_name,
        version=own,
        requires_dist=tuple(_parse_requirements(requirements, notes)),
        requires_python=_parse_requires_python(raw.get("requires_python", ""), notes),
        provides_extra=tuple(canonicalize_name(extra.strip()) for extra in raw.get("provides_extra", [])),
        license=_licence(raw),
    )
    return metadata, notes


def _same_name(reader: ZipReader, raw: RawMetadata, name: NormalizedName) -> str:
    display_name = raw.get("name", "").strip(" \t")
    try:
        same = canonicalize_name(display_name, validate=True) == name
    except InvalidName:
        same = False
    if not same:
        fact = "the Name in its METADATA does not match its file name"
        refuse(reader, fact, found=display_name or "not one", wanted=name)
    return display_name


def _parse_requirements(texts: Iterable[str], notes: list[str]) -> Iterator[Requirement]:
    """Yield the requirements; an invalid one, common in old wheels, becomes a note."""
    for text in texts:
        try:
            yield Requirement(text)
        except (ValueError, RecursionError):
            notes.append(f"its requirement `{redact(printable(text))}` is invalid and ignored")


def _parse_requires_python(text: str, notes: list[str]) -> SpecifierSet | None:
    try:
        return SpecifierSet(text) if text.strip() else None
    except ValueError:
        notes.append(f"its Requires-Python `{printable(text)}` is invalid and ignored")
        return None


def _licence(raw: RawMetadata) -> str:
    """Return the license in one line: the expression, a short text, or the names in the classifiers."""
    if expression := raw.get("license_expression"):
        return printable(expression)
    text = raw.get("license", "").strip()
    if text not in ("", "UNKNOWN") and len(text) <= _LICENCE_LENGTH and "\n" not in text:
        return printable(text)
    found = (_LICENCE_CLASSIFIER.fullmatch(text.strip()) for text in raw.get("classifiers", []))
    return printable(", ".join(match["name"] for match in found if match))


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except ValueError:
        return None


# Files.


def _place_files(wheel: OpenedWheel, root: Scheme, faults: list[str]) -> tuple[WheelFile, ...]:
    """Return the installation scheme and path of each member ("Installing a wheel", "Spread")."""
    data_dirs = {path.partition("/")[0] for path in wheel.reader.members if _is_data(path)}
    faults += (
        f"its `.data` directory is not named as its `.dist-info` directory: `{found}`"
        for found in sorted(data_dirs - {_data_dir(wheel)})
    )
    placed: dict[tuple[Scheme, ArchivePath], WheelFile] = {}
    for path, member in wheel.reader.members.items():
        scheme, place = _place(wheel, root, path)
        if (scheme, place) in placed:
            found = placed[scheme, place].member.path
            refuse(
                wheel.reader,
                f"`{printable(path)}` has the same installation path as another file",
                found=found,
            )
        placed[scheme, place] = WheelFile(
            scheme=scheme, path=place, member=member, sha256=wheel.record.digests[path], size=member.size
        )
    return tuple(placed[key] for key in sorted(placed, key=lambda key: (key[0], key[1].encode())))


def _place(wheel: OpenedWheel, root: Scheme, path: ArchivePath) -> tuple[Scheme, ArchivePath]:
    top, _, below = path.partition("/")
    if not _is_data(path):
        return root, path
    project, _, release = wheel.dist_info.removesuffix(".dist-info").rpartition("-")
    if not _names(top, ".data", canonicalize_name(project), Version(release)):
        fact = f"`{printable(path)}` is in a `.data` directory of another name"
        refuse(wheel.reader, fact, found=top, wanted=_data_dir(wheel))
    name, _, place = below.partition("/")
    scheme: Scheme | None = next((known for known in get_args(Scheme) if known == name and place), None)
    if scheme is None:
        fact = f"`{printable(path)}` has an unknown scheme"
        refuse(wheel.reader, fact, found=name, wanted=", ".join(get_args(Scheme)))
    if scheme in _SITE_PACKAGES and place.partition("/")[0].lower().endswith(".dist-info"):
        refuse(wheel.reader, f"`{printable(path)}` would be installed into another `.dist-info` directory")
    return scheme, ArchivePath(place)


def _is_data(path: ArchivePath) -> bool:
    top, slash, _ = path.partition("/")
    return bool(slash) and top.lower().endswith(".data")


def _data_dir(wheel: OpenedWheel) -> str:
    return f"{wheel.dist_info.removesuffix('.dist-info')}.data"


def _file_notes(files: Iterable[WheelFile]) -> Iterator[str]:
    dropped = [file.member.path for file in files if file.member.dropped_bits]
    if dropped:
        bits = "setuid, setgid, sticky or world-write bits"
        yield f"{bits} are dropped from {len(dropped)} files, first `{printable(min(dropped))}`"
    for file in files:
        if len(file.path) > _PLAIN_LENGTH or not _PLAIN.fullmatch(file.path):
            note = portability_note(file.path)
            if note:
                yield f"`{printable(file.path)}` cannot exist on every system: {printable(note)}"
