"""The strict zip reader against archives that are wrong in one field each (rows W01-W43)."""

from __future__ import annotations

import io
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bundler.archive.zip import ZipReader
from bundler.archive.zip_format import INPUT, LIMITS, ZipLimits
from bundler.digest import CHUNK
from bundler.errors import MalformedError

UTF8 = 0x800
DESCRIPTOR = 0x8
MAX32 = 0xFFFFFFFF


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
    """The stored bytes, instead of the right compression."""
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
    count = sum(item.in_central for item in items)
    right = {"disk": 0, "first_disk": 0, "count": count, "length": len(directory), "start": len(body)}
    narrow = {**right, **(end or {})}
    at = len(body) + len(directory)
    body += directory
    if end64 is not None:
        wide = {"rest": 44, "at": at, "locator_disk": 0, "disks": 1, **right, **end64}
        body += struct.pack("<4sQ2H2L4Q", b"PK\6\6", wide["rest"], 45, 45, *_end_fields(wide))
        body += struct.pack("<4sLQL", b"PK\6\7", wide["locator_disk"], wide["at"], wide["disks"])
    body += struct.pack("<4s4H2LH", b"PK\5\6", *_end_fields(narrow), len(comment))
    return bytes(body) + comment + after


def _end_fields(fields: Mapping[str, int]) -> tuple[int, ...]:
    here = fields.get("here", fields["count"])
    return (fields["disk"], fields["first_disk"], here, fields["count"], fields["length"], fields["start"])


def _local_header(fields: Mapping[str, Any]) -> bytes:
    name, extra = fields["name"], fields["extra"]
    numbers = (fields["crc"], fields["compressed"], fields["size"], len(name), len(extra))
    header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, fields["flags"], fields["method"], 0, 33, *numbers)
    return b"".join((header, name, extra))


def _central_header(item: ZipItem, fields: Mapping[str, Any]) -> bytes:
    texts = (fields["name"], fields["extra"], fields["comment"])
    numbers = (fields["crc"], fields["compressed"], fields["size"], *map(len, texts))
    made_by, first = item.system << 8 | 20, (fields["flags"], fields["method"], 0, 33)
    last = (fields["disk"], 0, item.mode << 16, fields["offset"])
    header = struct.pack("<4s6H3L5H2L", b"PK\1\2", made_by, 20, *first, *numbers, *last)
    return b"".join((header, *texts))


def read(archive: bytes, limits: ZipLimits = LIMITS) -> dict[str, bytes]:
    """Return all files of an archive, read whole."""
    reader = ZipReader(io.BytesIO(archive), name="demo.whl", limits=limits)
    return {path: b"".join(reader.chunks(member)) for path, member in reader.members.items()}


def refused(archive: bytes, limits: ZipLimits = LIMITS) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        read(archive, limits)
    assert "demo.whl" in caught.value.message
    assert all(line.isprintable() for line in (caught.value.message, *caught.value.evidence))
    return caught.value


def zip64(*values: int) -> bytes:
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def unicode_path(name: bytes, crc: int) -> bytes:
    return struct.pack("<2HBL", 0x7075, 5 + len(name), 1, crc) + name


def case(row: str, content: bytes, *telling: str) -> Any:
    return pytest.param(content, telling, id=row)


def one(**fields: Any) -> bytes:
    return raw_zip([ZipItem(**{"name": b"a", **fields})])


def patched(archive: bytes, at: int, new: bytes) -> bytes:
    return archive[:at] + new + archive[at + len(new) :]


A, B = ZipItem(name=b"a", content=b"first"), ZipItem(name=b"b", content=b"second")
HIDDEN = ZipItem(name=b"hidden", in_central=False)
GOOD = raw_zip([A, B])

# Names.

BAD_NAMES = [
    ("W01", b"../evil.py", "`..` is not allowed"),
    ("W01-inside", b"a/../../evil.py", "`..` is not allowed"),
    ("W02", b"/etc/x", "absolute"),
    ("W02-two", b"//x", "absolute"),
    ("W03", b"C:\\x", "backslash"),
    ("W03-relative", b"C:x", "drive"),
    ("W03-slash", b"C:/x", "drive"),
    ("W04-unc", b"\\\\srv\\share\\x", "backslash"),
    ("W04-device", b"//?/C:/x", "absolute"),
    ("W05", b"a\\..\\..\\x", "backslash"),
    ("W06-dot", b"a/./b", "`.` is not allowed"),
    ("W06-double", b"a//b", "`` is not allowed"),
    ("W06-end", b"a/..", "`..` is not allowed"),
    ("W06-folder", b"a/../", "`..` is not allowed"),
    ("W06-slashes", b"a//", "`` is not allowed"),
    ("W06-empty", b"", "empty"),
    ("W06-root", b"/", "empty"),
    ("W41-nul", b"a\0b", "control"),
    ("W41-bell", b"a\x07b", "control"),
    ("W43-component", b"a" * 256, "255 bytes"),
    ("W43-path", b"/".join([b"a" * 200] * 21), "4096 bytes"),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("name", "telling"), [pytest.param(*rest, id=row) for row, *rest in BAD_NAMES])
def test_a_name_that_is_no_path_inside_a_folder_is_refused(name: bytes, telling: str) -> None:
    error = refused(one(name=name))

    assert telling in error.message
    assert error.exit_code == 7


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("name", "flags", "telling", "as_shown"),
    [
        pytest.param("a\u202eb".encode(), UTF8, "bidirectional", "a\\u202eb", id="W41-bidi"),
        pytest.param(b"a\xed\xa0\x80", UTF8, "not valid UTF-8", "a\\xed\\xa0\\x80", id="W41-surrogate"),
        pytest.param(b"a\x82", UTF8, "not valid UTF-8", "a\\x82", id="W41-invalid"),
        pytest.param(b"a\x82", 0, "not marked as UTF-8", "a\\x82", id="W41-cp437"),
        pytest.param("é".encode(), 0, "not marked as UTF-8", "é", id="W41-unmarked"),
    ],
)
def test_a_name_is_marked_and_valid_utf8_and_shown_escaped(
    name: bytes, flags: int, telling: str, as_shown: str
) -> None:
    error = refused(one(name=name, flags=flags))

    assert telling in error.message
    assert f"`{as_shown}`" in error.message


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("A.py", "a.py", id="W40-case"),
        pytest.param("é", unicodedata.normalize("NFD", "é"), id="W40-nfd"),
        pytest.param("\u017f", "s", id="W40-long-s"),
        pytest.param("ﬁ", "fi", id="W40-ligature"),
        pytest.param("A/x", "a/y", id="W40-folder"),
        pytest.param("A/", "a/y", id="W40-folder-entry"),
    ],
)
def test_names_that_are_one_to_some_file_systems_are_refused(first: str, second: str) -> None:
    items = [
        ZipItem(name=name.encode(), content=b"", method=0, mode=0, flags=UTF8) for name in (first, second)
    ]

    assert "equal on some file systems" in refused(raw_zip(items)).message


@pytest.mark.attack("archives")
def test_names_are_compared_only_up_to_a_cap() -> None:
    limits = ZipLimits(names=18)

    assert read(one(name=b"a/b/cd"), limits)  # 6 bytes, 3 deep
    assert "too deep" in refused(one(name=b"a/b/cde"), limits).message


# One field of one header at a time.

MALFORMED = [
    case("W07", raw_zip([A, ZipItem(name=b"a", content=b"other")]), "`a` is a duplicate"),
    case("W07-folder", raw_zip([A, ZipItem(name=b"a/", content=b"", mode=0)]), "is a duplicate"),
    case("W07-below-file", raw_zip([A, ZipItem(name=b"a/b/c")]), "`a/b/c` is below a file"),
    case(
        "W08",
        raw_zip([A, ZipItem(name=b"a", content=b"other", in_central=False)]),
        "`a` is followed by a gap",
    ),
    case("W09", one(local={"name": b"c"}), "different name in its local header", "wanted  a", "found   c"),
    case("W09-longer", one(local={"name": b"aa"}), "different name", "found   aa"),
    case("W10-first", raw_zip([HIDDEN, A]), "before its first member"),
    case("W10-middle", raw_zip([A, HIDDEN, B]), "`a` is followed by a gap"),
    case("W10-last", raw_zip([A, HIDDEN]), "`a` is followed by a gap"),
    case("W10-slack", raw_zip([A], before_directory=b"\0"), "`a` is followed by a gap"),
    case("W11", raw_zip([A, ZipItem(name=b"b", in_local=False)]), "`b` has no local header"),
    case(
        "W11-past-end",
        raw_zip([A, ZipItem(name=b"b", central={"offset": 1 << 31})]),
        "`a` is followed by a gap",
    ),
    case("W12-crc", one(local={"crc": 1}), "different CRC in its local header", "found   1"),
    case("W12-size", one(local={"size": 8}), "different size", "wanted  7", "found   8"),
    case("W12-compressed", one(local={"compressed": 8}), "different compressed size", "found   8"),
    case("W12-flags", one(local={"flags": 2}), "different flags"),
    case("W12-method", one(method=0, local={"method": 8}), "different method", "wanted  0", "found   8"),
    case("W12-central-compressed", one(central={"compressed": 99}), "different compressed size"),
    case("W12-both", one(local={"compressed": 4}, central={"compressed": 4}), "`a` is followed by a gap"),
    case(
        "W12-stored",
        one(method=0, central={"size": 8}, local={"size": 8}),
        "has two sizes",
        "8 bytes",
        "7 bytes",
    ),
    case("W14", raw_zip([A], before=b"#!/bin/sh\n"), "not a wheel", "#!/bin/sh"),
    case(
        "W14-like-a-member", raw_zip([A], before=b"PK\3\4" * 8), "before its first member", "found   32 bytes"
    ),
    case("W15", GOOD + b"\n", "bytes after its end record", "found   1 bytes"),
    case("W15-much", GOOD + bytes(70000), "the end record is missing"),
    case("W16-comment", raw_zip([A], comment=b"hello\n"), "archive comment", "found   6 bytes"),
    case("W16-long-comment", raw_zip([A], comment=b"x" * 65), "archive comment", "found   65 bytes"),
    case("W16-member-in-comment", raw_zip([A], comment=b"a PK b"), "archive comment", "found   6 bytes"),
    case("W16-bytes-after-a-comment", raw_zip([A], comment=b"zip-rs", after=b"x"), "archive comment"),
    case("W16-short-comment", raw_zip([A], comment=b"zip-rs")[:-1], "archive comment", "found   6 bytes"),
    case("W16-two-ends", GOOD + GOOD[-22:], "a gap or an overlap"),
    case("W16-end-in-comment", raw_zip([A], comment=GOOD[-22:]), "a gap or an overlap"),
    case("W16-member-comment", one(central={"comment": b"x"}), "has a comment"),
    case("W16-other-disk", one(central={"disk": 1}), "another disk"),
    case("W16-cut-comment", patched(GOOD, len(GOOD) - 2, b"\5\0"), "archive comment", "found   5 bytes"),
    case("W16-split", raw_zip([A], end={"disk": 1}), "split archive"),
    case("W16-split-directory", raw_zip([A], end={"first_disk": 1}), "split archive"),
    case("W16-split-count", raw_zip([A], end={"here": 0}), "split archive", "found   0 members"),
    case("W16-no-entry", patched(GOOD, GOOD.rindex(b"PK\1\2"), b"PK\1\3"), "central directory has a gap"),
    case("W16-cut-entry", patched(GOOD, GOOD.rindex(b"PK\1\2") + 30, b"\4"), "miscounts its members"),
    case("W16-counts-more", raw_zip([A], end={"count": 2}), "miscounts its members"),
    case("W16-counts-less", raw_zip([A, B], end={"count": 1}), "miscounts its members"),
    case(
        "W16-directory-gap",
        raw_zip([A, B], end={"start": len(raw_zip([A])), "length": 5}),
        "gap or an overlap",
    ),
    case("W17-locator", raw_zip([A], end64={"at": 5}), "zip64 locator", "found   byte 5"),
    case("W17-split", raw_zip([A], end64={"locator_disk": 1}), "zip64 locator", "disk 1"),
    case("W17-split-count", raw_zip([A], end64={"here": 0}), "zip64 end record is malformed"),
    case("W17-disks", raw_zip([A], end64={"disks": 2}), "zip64 locator", "of 2"),
    case("W17-record", raw_zip([A], end64={"rest": 45}), "zip64 end record is malformed"),
    case("W17-start", raw_zip([A], end64={"start": 1}), "differs from its zip64 end record"),
    case("W17-count", raw_zip([A], end64={"count": 2}), "differs from its zip64 end record"),
    case("W17-extra-odd", one(local={"extra": b"\1\0\0"}), "3 odd bytes"),
    case("W17-extra-cut", one(central={"extra": b"\7\0\4\0ab"}), "longer than its header"),
    case("W17-extra-twice", one(central={"extra": b"\7\0\0\0" * 2}), "duplicate extra field 0x0007"),
    case("W17-zip64-short", one(central={"size": MAX32, "extra": b"\1\0\4\0abcd"}), "zip64 extra field"),
    case("W17-zip64-none", one(central={"size": MAX32}), "zip64 extra field", "0 bytes for 1 values"),
    case("W17-zip64-more", one(central={"size": MAX32, "extra": zip64(7, 9)}), "zip64 extra field"),
    case("W17-zip64-needless", one(local={"extra": zip64(7, 1)}), "zip64 extra field"),
    case("W17-zip64-lies", one(local={"size": MAX32, "extra": zip64(8)}), "different size", "found   8"),
    case("W18", one(central={"extra": unicode_path(b"b", zlib.crc32(b"a"))}), "unicode path", "found   b"),
    case("W18-local", one(local={"extra": unicode_path(b"b", zlib.crc32(b"a"))}), "unicode path"),
    case("W18-crc", one(central={"extra": unicode_path(b"a", 1)}), "unicode path"),
    case("W22-encrypted", one(flags=1), "is encrypted"),
    case("W22-patch", one(flags=0x20), "flags that are not allowed", "0x0020"),
    case("W22-masked", one(flags=0x2000), "flags that are not allowed"),
    *(
        case(f"W22-{method}", one(method=method), "unsupported compression method", f"found   {method}")
        for method in (1, 9, 12, 14, 93, 99)
    ),
    case("W23-absolute", one(content=b"/etc", mode=0o120777), "links are not allowed"),
    case("W23-sibling", one(content=b"b", mode=0o120644, system=0), "links are not allowed"),
    case("W24-fifo", one(mode=0o010644), "special file", "a regular file"),
    case("W24-character", one(mode=0o020644), "special file"),
    case("W24-block", one(mode=0o060644), "special file"),
    case("W24-socket", one(mode=0o140644), "special file"),
    case("W24-folder-by-mode", one(mode=0o040755), "special file"),
    case("W24-file-by-mode", one(name=b"a/", content=b"", mode=0o100644), "special file", "a directory"),
    case("W24-folder-content", one(name=b"a/", mode=0), "directory with content"),
    case("W26", (b"name" + bytes(508)) + GOOD, "not a wheel"),
    case("W28-html", b"<!DOCTYPE html>\x1b[2J", "not a wheel", "<!DOCTYPE html>\\x1b[2J"),
    case("W28-empty", b"", "not a wheel", "found   nothing"),
    case("W28-no-members", GOOD[-22:], "not a wheel"),
    case("W28-signature-only", b"PK\3\4", "the end record is missing"),
]


@pytest.mark.parametrize("comment", [b"", b"x", b"zip-rs", b"P" + b"~" * 63])
def test_a_short_comment_of_plain_text_is_accepted(comment: bytes) -> None:
    """pyo3-pack wrote "zip-rs" (orjson 2.0.0)."""
    reader = ZipReader(io.BytesIO(raw_zip([A], comment=comment)), name="x")

    assert reader.comment == comment.decode()
    assert [reader.read(member, limit=99) for member in reader.members.values()] == [
        reader.read(member, limit=99)
        for reader in [ZipReader(io.BytesIO(raw_zip([A])), name="x")]
        for member in reader.members.values()
    ]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("archive", "telling"), MALFORMED)
def test_an_archive_with_two_readings_is_refused(archive: bytes, telling: Sequence[str]) -> None:
    error = refused(archive)

    said = "\n".join((error.message, *error.evidence))
    assert all(text in said for text in telling)


@pytest.mark.attack("archives")
@pytest.mark.parametrize("sixteenth", range(16), ids=lambda number: f"W27-{number}")
def test_a_truncated_archive_is_refused(sixteenth: int) -> None:
    refused(GOOD[: len(GOOD) * sixteenth // 16])


@pytest.mark.attack("archives")
def test_overlapping_members_are_refused() -> None:
    """W19: two entries for one local header, and one member that quotes the whole of the next."""
    inner = raw_zip([B])[: 30 + 1 + len(B.packed())]
    shared = raw_zip([A, ZipItem(name=b"a2", in_local=False, central={"offset": 0})])
    quoting = ZipItem(name=b"a", method=0, content=inner)
    shifted = ZipItem(name=b"b", content=B.content, in_local=False, central={"offset": 31})

    assert "overlaps what follows it" in refused(shared).message
    assert "overlaps what follows it" in refused(raw_zip([quoting, shifted])).message


# Data descriptors (W13).

PACKED = ZipItem(name=b"a").packed()
NUMBERS = (zlib.crc32(b"content"), len(PACKED), 7)
ZERO = {"crc": 0, "compressed": 0, "size": 0}


def described(descriptor: bytes, local: Mapping[str, Any] | None = None) -> bytes:
    item = ZipItem(name=b"a", flags=DESCRIPTOR, local=local or ZERO, descriptor=descriptor)
    return raw_zip([item, B])


@pytest.mark.parametrize("form", ["<LLL", "<LQQ"])
@pytest.mark.parametrize("sign", [b"", b"PK\7\x08"], ids=["plain", "signed"])
def test_a_data_descriptor_that_agrees_is_accepted(sign: bytes, form: str) -> None:
    descriptor = sign + struct.pack(form, *NUMBERS)

    assert read(described(descriptor)) == {"a": b"content", "b": b"second"}
    assert read(described(descriptor, {"extra": b""}))["a"] == b"content"


@pytest.mark.attack("archives")
@pytest.mark.parametrize("form", ["<LLL", "<LQQ"])
@pytest.mark.parametrize("sign", [b"", b"PK\7\x08"], ids=["plain", "signed"])
@pytest.mark.parametrize("wrong", range(3), ids=["crc", "compressed", "size"])
def test_a_data_descriptor_that_differs_is_refused(sign: bytes, form: str, wrong: int) -> None:
    numbers = [number + (index == wrong) for index, number in enumerate(NUMBERS)]

    assert "data descriptor" in refused(described(sign + struct.pack(form, *numbers))).message


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(described(b""), id="none"),
        pytest.param(described(struct.pack("<LLL", *NUMBERS) + b"\0"), id="longer"),
        pytest.param(described(struct.pack("<LLL", *NUMBERS)[:-1]), id="shorter"),
        pytest.param(described(struct.pack("<LLL", *NUMBERS), {"size": 8}), id="local-differs"),
        pytest.param(one(local=ZERO), id="zeros-without-the-flag"),
        pytest.param(
            raw_zip([ZipItem(name=b"a", descriptor=struct.pack("<LLL", *NUMBERS)), B]), id="without-the-flag"
        ),
    ],
)
def test_a_data_descriptor_belongs_to_its_flag_and_fills_the_gap(archive: bytes) -> None:
    refused(archive)


@pytest.mark.attack("archives")
def test_a_member_with_a_descriptor_overlaps_too() -> None:
    item = ZipItem(name=b"a", flags=DESCRIPTOR, local=ZERO, central={"compressed": 1000})

    assert "overlaps what follows it" in refused(raw_zip([item, B])).message


def test_a_descriptor_whose_crc_looks_like_the_signature_needs_one() -> None:
    crc = int.from_bytes(b"PK\7\x08", "little")
    descriptor = struct.pack("<LLL", crc, len(PACKED), 7)
    item = ZipItem(name=b"a", flags=DESCRIPTOR, local=ZERO, central={"crc": crc}, descriptor=descriptor)

    assert "data descriptor" in refused(raw_zip([item])).message


# Sizes.


def lying(
    content: bytes, size: int, crc: int | None = None, data: bytes | None = None, method: int = 8
) -> bytes:
    says = {"size": size, "crc": zlib.crc32(content) if crc is None else crc}
    return one(content=content, local=says, central=says, data=data, method=method)


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("archive", "telling"),
    [
        pytest.param(lying(bytes(50 << 20), 10), "longer than declared", id="W20-bomb"),
        pytest.param(lying(b"content", 6), "longer than declared", id="W20-longer"),
        pytest.param(lying(b"content", 8), "does not match its header", id="W20-shorter"),
        pytest.param(lying(b"content", 7, crc=1), "does not match its header", id="W20-crc"),
        pytest.param(
            one(method=0, local={"crc": 1}, central={"crc": 1}),
            "does not match its header",
            id="W20-stored-crc",
        ),
        pytest.param(lying(b"content", 7, data=PACKED + b"x"), "data after the end", id="W20-after-stream"),
        pytest.param(
            lying(b"content", 7, data=PACKED + bytes(1 << 17)), "data after the end", id="W20-much-after"
        ),
        pytest.param(lying(b"content", 7, data=PACKED[:-1]), "cannot be inflated", id="W20-cut-stream"),
        pytest.param(lying(b"content", 7, data=b"\xff" * 9), "cannot be inflated", id="W20-no-stream"),
        pytest.param(lying(b"content", 7, data=b""), "cannot be inflated", id="W20-no-data"),
        pytest.param(lying(b"", 0, data=PACKED), "longer than declared", id="W20-empty"),
    ],
)
def test_a_member_is_what_its_header_says(archive: bytes, telling: str) -> None:
    assert telling in refused(archive).message


@pytest.mark.attack("archives")
def test_inflation_stops_one_byte_after_the_declared_size() -> None:
    """W20: the output before the refusal never exceeds the declared size."""
    size = CHUNK + 5
    reader = ZipReader(io.BytesIO(lying(bytes(50 << 20), size)), name="demo.whl")
    given: list[int] = []

    with pytest.raises(MalformedError):
        given.extend(len(piece) for piece in reader.chunks(reader.members[next(iter(reader.members))]))
    assert given == [CHUNK]


@pytest.mark.attack("archives")
def test_data_after_a_stream_that_ends_where_a_read_ends_is_found() -> None:
    size = INPUT - 5  # a stored block of deflate has 5 bytes of header
    stream = struct.pack("<BHH", 1, size, size ^ 0xFFFF) + bytes(size)

    assert read(one(content=bytes(size), data=stream)) == {"a": bytes(size)}
    assert "data after the end" in refused(one(content=bytes(size), data=stream + b"x")).message


EXBIBYTES = (1 << 64) - 1
HUGE = {"size": MAX32, "extra": zip64(EXBIBYTES)}
HUGE_STORED = {"size": MAX32, "compressed": MAX32, "extra": zip64(9 << 30, 9 << 30)}


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("archive", "telling"),
    [
        pytest.param(one(local=HUGE, central=HUGE), "grows too much", id="W21-16-EiB"),
        pytest.param(
            one(method=0, local=HUGE_STORED, central=HUGE_STORED), "it is too large", id="W21-9-GiB"
        ),
        pytest.param(lying(b"", (1 << 20) + 2001), "grows too much", id="W20-ratio"),
        pytest.param(
            raw_zip([A], end={"count": 0xFFFF}, end64={"count": 200_001}), "too many", id="W21-count"
        ),
        pytest.param(raw_zip([A], end={"count": 0xFFFF}, end64={"count": 70_000}), "miscounts", id="W21-lie"),
        pytest.param(
            raw_zip([A], end={"length": MAX32}, end64={"length": 1 << 63}), "overlap", id="W21-directory"
        ),
        pytest.param(
            raw_zip([A], end={"start": MAX32}, end64={"start": EXBIBYTES}),
            "overlap",
            id="W21-directory-start",
        ),
    ],
)
def test_sizes_and_counts_are_capped_before_anything_is_read(archive: bytes, telling: str) -> None:
    assert telling in refused(archive).message


def test_the_caps_themselves() -> None:
    limits = ZipLimits(members=2, size=len(A.content + B.content), directory=2 * (46 + 1))

    assert len(read(raw_zip([A, B]), limits)) == 2
    assert "too large" in refused(raw_zip([A, ZipItem(name=b"b", content=b"seconds")]), limits).message
    assert "too many" in refused(raw_zip([A, ZipItem(name=b"bb", content=b"")]), limits).message
    many = raw_zip([A, B, ZipItem(name=b"c", content=b"")])
    assert "too many" in refused(many, replace(limits, directory=1 << 20)).message


def test_what_deflate_can_really_do_is_no_bomb() -> None:
    """A test file of onnx grows 1016 times."""
    content = bytes(2_560_000)

    assert len(content) > 1000 * len(ZipItem(name=b"a", content=content).packed())
    assert read(one(content=content)) == {"a": content}


# Accepted archives.


def test_members_come_in_archive_order_with_what_they_declare() -> None:
    items = [ZipItem(name=b"z/b", mode=0o100755), ZipItem(name=b"z/", content=b"", mode=0o040755), A]
    reader = ZipReader(io.BytesIO(raw_zip(items)), name="demo.whl")

    assert list(reader.members) == ["z/b", "a"]
    first = next(iter(reader.members.values()))
    assert (first.path, first.size, first.crc, first.executable) == ("z/b", 7, zlib.crc32(b"content"), True)


@pytest.mark.parametrize(
    ("mode", "system", "executable", "dropped"),
    [
        pytest.param(0o100644, 3, False, 0, id="plain"),
        pytest.param(0o100744, 3, True, 0, id="one-x"),
        pytest.param(0, 3, False, 0, id="no-mode"),
        pytest.param(0o100777, 0, False, 0, id="not-unix"),
        pytest.param(0o100755, 19, True, 0, id="darwin"),
        pytest.param(0o104755, 3, True, 0o4000, id="W25-setuid"),
        pytest.param(0o102755, 3, True, 0o2000, id="W25-setgid"),
        pytest.param(0o101644, 3, False, 0o1000, id="W25-sticky"),
        pytest.param(0o100666, 3, False, 0o2, id="W25-world-write"),
    ],
)
def test_modes(mode: int, system: int, executable: bool, dropped: int) -> None:
    reader = ZipReader(io.BytesIO(one(mode=mode, system=system)), name="demo.whl")

    (member,) = reader.members.values()
    assert (member.executable, member.dropped_bits) == (executable, dropped)


def with_zipfile(write: Callable[[zipfile.ZipFile], None], stream: io.BytesIO) -> bytes:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        write(archive)
    return stream.getvalue()


class Pipe(io.BytesIO):
    """A stream that cannot seek, so that zipfile writes data descriptors."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise OSError(offset, whence)


@pytest.mark.parametrize("stream", [io.BytesIO, Pipe])
@pytest.mark.parametrize("force_zip64", [False, True])
def test_what_zipfile_writes_is_accepted(stream: type[io.BytesIO], force_zip64: bool) -> None:
    def write(archive: zipfile.ZipFile) -> None:
        archive.mkdir("folder")
        for name in ("folder/a", "é"):
            with archive.open(name, "w", force_zip64=force_zip64) as member:
                member.write(name.encode() * 1000)

    assert read(with_zipfile(write, stream())) == {name: name.encode() * 1000 for name in ("folder/a", "é")}


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(raw_zip([A], end64={}), id="zip64-end"),
        pytest.param(
            raw_zip([A], end={"start": MAX32, "length": MAX32, "count": 0xFFFF}, end64={}), id="saturated"
        ),
        pytest.param(
            one(
                name=b"a",
                content=b"first",
                central={"size": MAX32, "offset": MAX32, "extra": zip64(5, 0)},
            ),
            id="zip64-central",
        ),
        pytest.param(one(content=b"first", local={"size": MAX32, "extra": zip64(5)}), id="zip64-local"),
        pytest.param(
            one(content=b"first", local={"extra": zip64(5, len(A.packed()))}), id="zip64-repeated-by-bazel"
        ),
        pytest.param(one(content=b"first", flags=6), id="deflate-level"),
        pytest.param(one(content=b"first", method=0), id="stored"),
        pytest.param(
            one(content=b"first", central={"extra": unicode_path(b"a", zlib.crc32(b"a"))}), id="unicode-path"
        ),
        pytest.param(one(content=b"first", local={"extra": b"UT\5\0\1abcd"}), id="local-times"),
        pytest.param(raw_zip([A, ZipItem(name=b"f/", content=b"", mode=0o040755)]), id="deflated-folder"),
        pytest.param(raw_zip([A, ZipItem(name=b"f/", content=b"", method=0, mode=0)]), id="stored-folder"),
    ],
)
def test_odd_archives_with_one_reading_are_accepted(archive: bytes) -> None:
    assert read(archive) == {"a": b"first"}


@pytest.mark.attack("archives")
def test_a_folder_cannot_hide_bytes() -> None:
    hiding = ZipItem(name=b"f/", content=b"", data=b"\3\0hidden", mode=0)

    assert "data after the end" in refused(raw_zip([A, hiding])).message


def test_content_comes_in_pieces_and_readers_may_interleave() -> None:
    contents = {"a": bytes(range(256)) * 20_000, "b": b"b" * (3 * CHUNK), "c": b""}
    items = [
        ZipItem(name=name.encode(), content=content, method=0 if name == "a" else 8)
        for name, content in contents.items()
    ]
    reader = ZipReader(io.BytesIO(raw_zip(items)), name="demo.whl")
    found = dict.fromkeys(contents, b"")
    running = {path: reader.chunks(member) for path, member in reader.members.items()}
    while running:
        for path in list(running):
            piece = next(running[path], None)
            if piece is None:
                del running[path]
            else:
                assert 0 < len(piece) <= CHUNK
                found[path] += piece

    assert found == contents


@pytest.mark.attack("archives")
def test_read_refuses_what_is_above_the_limit() -> None:
    reader = ZipReader(io.BytesIO(one()), name="demo.whl")
    (member,) = reader.members.values()

    assert reader.read(member, limit=7) == b"content"
    with pytest.raises(MalformedError, match="too large"):
        reader.read(member, limit=6)


@pytest.mark.attack("archives")
def test_an_archive_that_changes_under_the_reader_is_refused() -> None:
    for method in (0, 8):
        source = io.BytesIO(one(method=method))
        reader = ZipReader(source, name="demo.whl")
        source.truncate(33)
        with pytest.raises(MalformedError):
            reader.read(next(iter(reader.members.values())), limit=7)
