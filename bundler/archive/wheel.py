"""Stage 3, pure: a wheel over an open archive, every claim it makes of itself checked.

The file name, the ``.dist-info`` folder, WHEEL and METADATA must name one
distribution. RECORD is checked both ways when the wheel is opened: each member
is listed, each row has its member. Digests are checked whenever content is
read, so no byte leaves a wheel that its RECORD does not vouch for.

Reads: `zipreader`. Read by: `layer`. Specs (PyPA): binary distribution format;
recording installed projects; entry points; core metadata.
"""

from __future__ import annotations

import base64
import configparser
import csv
import email
import email.errors
import hashlib
import itertools
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Literal, NoReturn, get_args

from installer.records import InvalidRecordEntry, RecordEntry, parse_record_file
from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.utils import InvalidName, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from bundler.archive.zip import Member, ZipReader
from bundler.digest import Sha256, parse_sha256, sha256_of
from bundler.errors import MalformedError
from bundler.paths import ArchivePath, UnsafePathError, archive_path, portability_note, printable
from bundler.redaction import redact

__all__ = ["EntryPoint", "Scheme", "Wheel", "WheelFile", "WheelMetadata", "read_wheel"]

Scheme = Literal["purelib", "platlib", "headers", "scripts", "data"]
"""Where the files of a wheel go (sysconfig's names of installation paths)."""

_SITE_PACKAGES = ("purelib", "platlib")
_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")

_RECORD_LIMIT = 64 << 20
_TEXT_LIMIT = 4 << 20
"""Bytes of METADATA or entry_points.txt."""
_WHEEL_LIMIT = 64 << 10
_MAX_DOTS = 30
"""In one Tag: each dot multiplies the tags it stands for."""
_LISTED = 5

# RECORD cannot hold its own digest, nor those of its signatures, which are made after it.
_UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_STRONG = {"sha256": 32, "sha384": 48, "sha512": 64}
"""The digests that a RECORD may use ("sha256 or better"), and their bytes."""

_INJECTED = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_OBJECT_REFERENCE = re.compile(
    r"(?P<module>[^:\[\]\s]+)\s*(?::\s*(?P<attribute>[^:\[\]\s]+)\s*)?(?:\[[^\[\]]*\])?"
)
_PYTHON = re.compile(r"python(?:3(?:\.[0-9]+)?)?", re.ASCII)

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
    """A file of a wheel, and where it is to go."""

    scheme: Scheme
    path: ArchivePath
    """Relative to the root of the scheme."""
    member: Member
    sha256: Sha256 | None
    """As RECORD has it; None for RECORD itself and its signatures alone."""
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryPoint:
    """A line of ``entry_points.txt``; its extras, which nothing reads any more, are left out."""

    group: str
    name: str
    module: str
    attribute: str
    """Dotted; empty if the entry point is the module, which that of a script is not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelMetadata:
    """What METADATA says, as far as a bundle needs it."""

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
    """A wheel whose structure is proved; usable as long as its source is open."""

    filename: str
    metadata: WheelMetadata
    tags: frozenset[Tag]
    """Those of the file name."""
    dist_info: str
    """The name of its ``.dist-info`` folder."""
    root_is_purelib: bool
    files: tuple[WheelFile, ...]
    """Sorted bytewise by scheme, then path."""
    entry_points: tuple[EntryPoint, ...]
    notes: tuple[str, ...]
    """What is odd about it, and no reason to refuse it."""
    reader: ZipReader

    def chunks(self, file: WheelFile) -> Iterator[bytes]:
        """Yield the content of a file in pieces.

        :raises MalformedError: at the latest after the last piece, if the
            content has not the size, CRC or digest that was promised.
        """
        return _checked_chunks(self.reader, file.member, file.sha256)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """A wheel of which RECORD is read."""

    reader: ZipReader
    dist_info: str
    digests: Mapping[ArchivePath, Sha256 | None]

    def dist_info_file(self, name: str, limit: int = _TEXT_LIMIT) -> bytes | None:
        """Return the checked content of a file of the ``.dist-info`` folder, None if there is none."""
        path = ArchivePath(f"{self.dist_info}/{name}")
        member = self.reader.members.get(path)
        if member is None:
            return None
        content = self.reader.read(member, limit=limit)
        _check_digest(self.reader, member, "sha256", sha256_of(content), self.digests[path])
        return content


def read_wheel(source: BinaryIO, filename: str) -> Wheel:
    """Return the wheel in an open archive; the caller keeps it open and closes it.

    :param filename: its name, which tells what it has to contain.
    :raises MalformedError: if it is not a zip archive that can be read in one
        way only, breaks the binary distribution format, or contradicts itself.
    """
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except ValueError as error:
        fact = f"`{printable(filename)}` is not the name of a wheel"
        raise MalformedError(fact, evidence=(f"found   {printable(str(error))}",)) from error
    reader = ZipReader(source, name=filename)
    dist_info = _find_dist_info(reader, name, version)
    wheel = _Opened(reader=reader, dist_info=dist_info, digests=dict(_read_record(reader, dist_info)))
    root_is_purelib, wheel_notes = _read_wheel_file(wheel, tags)
    metadata, metadata_notes = _read_metadata(wheel, name, version)
    files = _place_files(wheel, "purelib" if root_is_purelib else "platlib")
    return Wheel(
        filename=filename,
        metadata=metadata,
        tags=tags,
        dist_info=dist_info,
        root_is_purelib=root_is_purelib,
        files=files,
        entry_points=tuple(_read_entry_points(wheel)),
        notes=(*wheel_notes, *metadata_notes, *_file_notes(files)),
        reader=reader,
    )


def _find_dist_info(reader: ZipReader, name: NormalizedName, version: Version) -> str:
    """Return the one ``.dist-info`` folder, which is named as the file is."""
    tops = {path.partition("/")[0] for path in reader.members}
    found = sorted(top for top in tops if top.lower().endswith(".dist-info"))
    if len(found) != 1:
        fact = f"it has {len(found)} `.dist-info` folders, not one"
        _refuse(reader, fact, found=", ".join(found) or "none")
    stem = found[0].removesuffix(".dist-info")
    project, _, release = stem.rpartition("-")
    if canonicalize_name(project) != name or _version(release) != version:
        wanted = f"`{name}` {version}, as the file name has it"
        _refuse(reader, "its `.dist-info` folder contradicts its file name", found=found[0], wanted=wanted)
    return found[0]


# RECORD (recording installed projects, "The RECORD file").


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    line: int
    path: ArchivePath
    algorithm: str
    digest: bytes | None
    size: int | None


def _read_record(reader: ZipReader, dist_info: str) -> Iterator[tuple[ArchivePath, Sha256 | None]]:
    """Yield each member and its digest, having proved that RECORD lists all of them and nothing else."""
    unhashed = {ArchivePath(f"{dist_info}/{name}") for name in _UNHASHED}
    rows: dict[ArchivePath, _Row] = {}
    for row in _record_rows(reader, dist_info):
        if row.path in rows:
            lines = f"lines {rows[row.path].line} and {row.line}"
            _refuse(reader, f"its RECORD has duplicate rows for `{printable(row.path)}`", found=lines)
        if row.digest is None and row.path not in unhashed:
            _refuse(reader, f"line {row.line} of its RECORD has no digest", found=row.path)
        rows[row.path] = row
    _check_none(reader, "has no row in RECORD", reader.members.keys() - rows.keys() - unhashed)
    _check_none(reader, "is in RECORD, but not in the wheel", rows.keys() - reader.members.keys())
    for path, member in reader.members.items():
        yield path, _sha256_of(reader, member, rows[path]) if path in rows else None


def _record_rows(reader: ZipReader, dist_info: str) -> Iterator[_Row]:
    member = reader.members.get(ArchivePath(f"{dist_info}/RECORD"))
    if member is None:
        _refuse(reader, "it has no RECORD")
    try:
        text = reader.read(member, limit=_RECORD_LIMIT).decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(reader, "its RECORD is not UTF-8", found=error)
    if text.startswith("\ufeff"):
        _refuse(reader, "its RECORD starts with a byte order mark")
    rows = parse_record_file(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
    for line in itertools.count(1):
        try:
            if (elements := next(rows, None)) is None:
                return
            yield _parse_row(line, elements)
        except (InvalidRecordEntry, csv.Error, ValueError) as error:
            _refuse(reader, f"line {line} of its RECORD is malformed", found=error)


def _parse_row(line: int, elements: tuple[str, str, str]) -> _Row:
    """Return a row of RECORD.

    :raises ValueError: if its path is unsafe, or its digest weak or not what its algorithm makes.
    :raises InvalidRecordEntry: if it is no row at all.
    """
    try:
        path = archive_path(elements[0])
    except UnsafePathError as error:
        raise ValueError(f"`{elements[0]}`: {error}") from error
    entry = RecordEntry.from_elements(*elements)
    if entry.hash_ is None:
        return _Row(line=line, path=path, algorithm="", digest=None, size=entry.size)
    algorithm, value = entry.hash_.name, entry.hash_.value
    if algorithm not in _STRONG:
        raise ValueError(f"`{path}` has a digest by {algorithm}, wanted {', '.join(_STRONG)}")
    digest = _parse_digest(value, _STRONG[algorithm])
    if digest is None:
        raise ValueError(f"`{path}` has `{value}`, which is not a {algorithm} in unpadded urlsafe base64")
    return _Row(line=line, path=path, algorithm=algorithm, digest=digest, size=entry.size)


def _parse_digest(text: str, size: int) -> bytes | None:
    """Return a digest of ``size`` bytes, in unpadded urlsafe base64 or, as gmsh's wheels have it, in hex."""
    try:
        digest = bytes.fromhex(text) if len(text) == 2 * size else base64.urlsafe_b64decode(text + "==")
    except ValueError:
        return None
    spelled = base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
    return digest if len(digest) == size and text in (spelled, digest.hex()) else None


def _sha256_of(reader: ZipReader, member: Member, row: _Row) -> Sha256 | None:
    """Return the sha256 of a member as its row has it; one with a stronger digest is read for it."""
    if row.size not in (None, member.size):
        fact = f"line {row.line} of its RECORD has another size for `{printable(row.path)}`"
        _refuse(reader, fact, found=f"{member.size} bytes", wanted=f"{row.size} bytes")
    if row.digest is None:
        return None
    if row.algorithm == "sha256":
        return parse_sha256(row.digest.hex())
    promised, ours = hashlib.new(row.algorithm), hashlib.sha256()
    for chunk in reader.chunks(member):
        promised.update(chunk)
        ours.update(chunk)
    _check_digest(reader, member, row.algorithm, promised.hexdigest(), row.digest.hex())
    return parse_sha256(ours.hexdigest())


def _checked_chunks(reader: ZipReader, member: Member, sha256: Sha256 | None) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for chunk in reader.chunks(member):
        digest.update(chunk)
        yield chunk
    _check_digest(reader, member, "sha256", digest.hexdigest(), sha256)


def _check_digest(reader: ZipReader, member: Member, algorithm: str, found: str, wanted: str | None) -> None:
    if wanted not in (None, found):
        fact = f"`{printable(member.path)}` does not have the digest in RECORD"
        _refuse(reader, fact, found=f"{algorithm} {found}", wanted=f"{algorithm} {wanted}")


def _check_none(reader: ZipReader, fact: str, paths: Iterable[str]) -> None:
    """Refuse the wheel if there is any path of which ``fact`` is true."""
    ordered = sorted(paths)
    if ordered:
        listed = ", ".join(ordered[:_LISTED])
        more = f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else ""
        _refuse(reader, f"`{printable(ordered[0])}` {fact}", found=f"{listed}{more}")


# WHEEL and METADATA.


def _read_wheel_file(wheel: _Opened, tags: frozenset[Tag]) -> tuple[bool, list[str]]:
    """Return whether the root of the archive is purelib, and notes."""
    content = wheel.dist_info_file("WHEEL", _WHEEL_LIMIT)
    if content is None:
        _refuse(wheel.reader, "it has no WHEEL")
    try:
        headers = email.message_from_string(content.decode("utf-8"))
        inside = frozenset(tag for text in headers.get_all("Tag", []) for tag in _parse_tag(text.strip()))
    except ValueError as error:
        _refuse(wheel.reader, "its WHEEL is malformed", found=error)
    versions = headers.get_all("Wheel-Version", [])
    if len(versions) != 1 or not re.fullmatch(r"1\.[0-9]+", versions[0].strip(), re.ASCII):
        _refuse(wheel.reader, "its Wheel-Version is not supported", found=versions, wanted="one that is 1.x")
    purelib = [text.strip().lower() for text in headers.get_all("Root-Is-Purelib", [])]
    if purelib not in (["true"], ["false"]):
        _refuse(wheel.reader, "its Root-Is-Purelib is bad", found=purelib, wanted="one true or false")
    if inside == tags:
        return purelib == ["true"], []
    # Wheels are renamed for another platform after they are built (4 of 997 real ones);
    # that is odd. Only one for another interpreter or ABI is a contradiction, and not
    # even that where the name asks for no ABI (xgboost 1.6 was built so).
    ours, theirs = ({(tag.interpreter, tag.abi) for tag in some} for some in (inside, tags))
    found, wanted = (" ".join(sorted(map(str, some))) for some in (inside, tags))
    if not ours or (ours.isdisjoint(theirs) and {abi for _, abi in theirs} != {"none"}):
        _refuse(wheel.reader, "its Tag contradicts its file name", found=found, wanted=wanted)
    return purelib == ["true"], [f"its WHEEL has other tags than its file name: {printable(found)}"]


def _parse_tag(text: str) -> frozenset[Tag]:
    if text.count(".") > _MAX_DOTS:
        raise ValueError(f"a tag of {len(text)} characters stands for too many")
    return parse_tag(text)


def _read_metadata(wheel: _Opened, name: NormalizedName, version: Version) -> tuple[WheelMetadata, list[str]]:
    """Return what METADATA says, strict about name and version, lenient about the rest, and notes."""
    content = wheel.dist_info_file("METADATA")
    if content is None:
        _refuse(wheel.reader, "it has no METADATA")
    if injected := _INJECTED.search(_END_OF_HEADERS.split(content, maxsplit=1)[0]):
        _refuse(wheel.reader, "its METADATA has a control character in a header", found=injected[0])
    try:
        raw, unparsed = parse_email(content)
    except (ValueError, LookupError, AssertionError, RecursionError, email.errors.MessageError) as error:
        _refuse(wheel.reader, "its METADATA cannot be parsed", found=error)
    display_name = _same_name(wheel.reader, raw, name)
    if _version(raw.get("version", "")) != version:
        fact, found = "the Version in its METADATA contradicts its file name", raw.get("version", "not one")
        _refuse(wheel.reader, fact, found=found, wanted=version)
    notes: list[str] = []
    requirements = raw.get("requires_dist") or unparsed.get("requires-dist", [])
    metadata = WheelMetadata(
        name=name,
        display_name=display_name,
        version=version,
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
        fact = "the Name in its METADATA contradicts its file name"
        _refuse(reader, fact, found=display_name or "not one", wanted=name)
    return display_name


def _parse_requirements(texts: Iterable[str], notes: list[str]) -> Iterator[Requirement]:
    """Yield the requirements; one that cannot be parsed becomes a note: old wheels have such."""
    for text in texts:
        try:
            yield Requirement(text)
        except (ValueError, RecursionError):
            notes.append(f"its requirement `{redact(printable(text))}` cannot be parsed and is left out")


def _parse_requires_python(text: str, notes: list[str]) -> SpecifierSet | None:
    try:
        return SpecifierSet(text) if text.strip() else None
    except ValueError:
        notes.append(f"its Requires-Python `{printable(text)}` cannot be parsed and is left out")
        return None


def _licence(raw: RawMetadata) -> str:
    """Return the licence in one line: the expression, a short text, or the names in the classifiers."""
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


def _place_files(wheel: _Opened, root: Scheme) -> tuple[WheelFile, ...]:
    """Return where each member goes ("Installing a wheel": the root, and what is spread from ``.data``)."""
    placed: dict[tuple[Scheme, ArchivePath], WheelFile] = {}
    for path, member in wheel.reader.members.items():
        scheme, place = _place(wheel, root, path)
        if (scheme, place) in placed:
            found = placed[scheme, place].member.path
            _refuse(wheel.reader, f"`{printable(path)}` goes to the same place as another file", found=found)
        placed[scheme, place] = WheelFile(
            scheme=scheme, path=place, member=member, sha256=wheel.digests[path], size=member.size
        )
    return tuple(placed[key] for key in sorted(placed, key=lambda key: (key[0], key[1].encode())))


def _place(wheel: _Opened, root: Scheme, path: ArchivePath) -> tuple[Scheme, ArchivePath]:
    top, _, below = path.partition("/")
    if not below or not top.lower().endswith(".data"):
        return root, path
    data_dir = f"{wheel.dist_info.removesuffix('.dist-info')}.data"
    if top != data_dir:
        fact = f"`{printable(path)}` is in a data folder of another name"
        _refuse(wheel.reader, fact, found=top, wanted=data_dir)
    name, _, place = below.partition("/")
    scheme: Scheme | None = next((known for known in get_args(Scheme) if known == name and place), None)
    if scheme is None:
        fact = f"`{printable(path)}` has an unknown scheme"
        _refuse(wheel.reader, fact, found=name, wanted=", ".join(get_args(Scheme)))
    if scheme in _SITE_PACKAGES and place.partition("/")[0].lower().endswith(".dist-info"):
        _refuse(
            wheel.reader, f"`{printable(path)}` would be in a `.dist-info` folder besides the wheel's own"
        )
    return scheme, ArchivePath(place)


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


# Entry points.


def _read_entry_points(wheel: _Opened) -> Iterator[EntryPoint]:
    """Yield the entry points, strict about what becomes a launcher, lenient about the rest."""
    content = wheel.dist_info_file("entry_points.txt")
    if content is None:
        return
    parser = configparser.ConfigParser(
        delimiters=("=",), interpolation=None, default_section="", empty_lines_in_values=False
    )
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(content.decode("utf-8"))
    except (configparser.Error, ValueError) as error:
        _refuse(wheel.reader, "its entry_points.txt is malformed", found=error)
    launchers: set[str] = set()
    for group in parser.sections():
        for name, value in parser.items(group):
            match = _OBJECT_REFERENCE.fullmatch(value.strip())
            point = EntryPoint(
                group=group,
                name=name,
                module=match["module"] if match else value,
                attribute=(match["attribute"] or "") if match else "",
            )
            if group in _SCRIPT_GROUPS:
                _check_launcher(wheel.reader, point, value)
                if name in launchers:
                    _refuse(wheel.reader, f"two of its entry points are the launcher `{printable(name)}`")
                launchers.add(name)
            yield point


def _check_launcher(reader: ZipReader, point: EntryPoint, value: str) -> None:
    """Refuse an entry point whose launcher would be a file elsewhere, Python itself, or run other code."""
    shown_name = printable(point.name)
    try:
        archive_path(point.name)
    except UnsafePathError as error:
        _refuse(reader, f"its entry point name `{shown_name}` is not that of a file: {error}")
    if re.search(r"[/\s]", point.name):
        _refuse(reader, f"its entry point name `{shown_name}` has a slash or a space")
    if _PYTHON.fullmatch(point.name):
        _refuse(reader, f"its entry point name `{shown_name}` is reserved: it is that of Python")
    names = [*point.module.split("."), *point.attribute.split(".")]
    if not all(name.isidentifier() and not keyword.iskeyword(name) for name in names):
        fact = f"its entry point `{shown_name}` does not name an object"
        _refuse(reader, fact, found=value, wanted="`module:attribute`")


def _refuse(reader: ZipReader, fact: str, *, found: object = None, wanted: object = None) -> NoReturn:
    lines = {"wanted": wanted, "found": found}
    raise MalformedError(
        f"`{reader.name}`: {fact}",
        evidence=tuple(
            f"{label:<7} {printable(str(text))}" for label, text in lines.items() if text is not None
        ),
    )
