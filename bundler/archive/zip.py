"""Pure: a zip archive read so strictly that there is one way to read it.

Other readers may start at the front, at the end, or believe either of the two
headers of a member; an archive that is one thing to them and another to us is
how a wheel smuggles files in. So every byte is accounted for: members tile the
archive up to the central directory, the directory tiles it up to the end
record, and repeated values are equal. Sizes and digests are capped
before anything is inflated and held to while it is.

Format: PKWARE APPNOTE 6.3, sections 4.3 to 4.6. Rules: PyPA, binary
distribution format; the archives that PyPI rejects since August 2025.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO, NoReturn

from isal import isal_zlib

from bundler.archive import zip_format as fmt
from bundler.archive.zip_format import Member, ZipLimits
from bundler.digest import CHUNK
from bundler.errors import MalformedError
from bundler.paths import ArchivePath, UnsafePathError, archive_path, find_collision, printable

__all__ = ["ZipReader"]


_Directory = tuple[int, int, int]
"""Where the central directory starts, its length in bytes, its count of entries."""


class ZipReader:
    """A zip archive whose structure is proved before the first member is given out.

    The archive must stay open, and unchanged, as long as the reader is used.
    Not for several threads at once: they would share the archive's position.

    :param source: the archive, seekable and buffered.
    :param name: its name in messages.
    :param limits: the largest archive that is read.
    :raises MalformedError: if it is not a zip archive, or not one that can be read in one way only.
    """

    members: Mapping[ArchivePath, Member]
    """The files, in the order their data has in the archive."""
    name: str
    """The name of the archive in messages."""
    comment: str
    """Its comment, plain text; empty in nearly all wheels."""

    def __init__(self, source: BinaryIO, *, name: str, limits: ZipLimits = fmt.LIMITS) -> None:
        self._source = source
        self._limits = limits
        self.name, self.comment = printable(name), ""
        first = self._read_at(0, fmt.HEAD)
        if not first.startswith(fmt.LOCAL_SIGN):
            fact = "it is not a wheel: it does not start with a zip member"
            self._refuse(fact, found=first or "nothing")
        start, length, count = self._find_directory(source.seek(0, 2))
        entries = self._entries(self._read_at(start, length), start, count)
        self._check_names(entries)
        self.members = MappingProxyType(dict(self._members(entries, start)))

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member in pieces of at most `CHUNK` bytes.

        :raises MalformedError: as soon as it is longer than declared; at its
            end, if it is shorter or has another CRC than declared.
        """
        crc = size = 0
        for piece in self._inflated(member) if member.deflated else self._stored(member):
            size += len(piece)
            if size > member.size:
                self._refuse("is longer than declared", member.path, "more", f"{member.size} bytes")
            crc = isal_zlib.crc32(piece, crc)
            yield piece
        found, wanted = f"{size} bytes, CRC {crc:08x}", f"{member.size} bytes, CRC {member.crc:08x}"
        if found != wanted:
            self._refuse("does not match its header", member.path, found, wanted)

    def read(self, member: Member, *, limit: int) -> bytes:
        """Return the whole content of a member.

        :raises MalformedError: if it is larger than ``limit`` bytes, or as `chunks` does.
        """
        if member.size > limit:
            self._refuse("is too large", member.path, f"{member.size} bytes", f"at most {limit} bytes")
        return b"".join(self.chunks(member))

    def _stored(self, member: Member) -> Iterator[bytes]:
        end = member.start + member.size
        for at in range(member.start, end, CHUNK):
            yield self._read_at(at, min(CHUNK, end - at))

    def _inflated(self, member: Member) -> Iterator[bytes]:
        """Yield the inflated data, at most one byte more than declared, which proves an excess."""
        engine = isal_zlib.decompressobj(-15)
        at, end = member.start, member.start + member.compressed_size
        left = member.size + 1
        pending = b""
        while not engine.eof and left:
            if not pending:
                pending = self._read_at(at, min(fmt.INPUT, end - at))
                at += len(pending)
            ended = not pending
            try:
                piece = engine.decompress(pending, min(CHUNK, left))
            except isal_zlib.error as error:  # type: ignore[misc]  # its stub has an instance
                self._refuse("cannot be inflated", member.path, str(error))
            pending = engine.unconsumed_tail
            left -= len(piece)
            if piece:
                yield piece
            elif ended:
                self._refuse("cannot be inflated", member.path, "data that ends too early")
        if at < end or engine.unused_data:
            self._refuse("has data after the end of its deflate stream", member.path)

    # What follows runs once, in this order, when the archive is opened.

    def _find_directory(self, size: int) -> _Directory:
        """Return where the central directory starts, its length in bytes and its count of entries."""
        end = max(size - fmt.END.size, 0)
        raw = self._read_at(end, fmt.END.size)
        if not raw.startswith(fmt.END_SIGN):
            first = max(size - fmt.COMMENTED_END, 0)
            tail = self._read_at(first, fmt.COMMENTED_END)
            at, self.comment = fmt.commented_end(tail) or self._refuse_end(size)
            end, raw = first + at, tail[at : at + fmt.END.size]
        disk, first_disk, here, count, length, start, comment = fmt.END.unpack(raw)
        if comment != len(self.comment):
            self._refuse_end(size)
        if (disk, first_disk, here) != (0, 0, count):
            found, wanted = f"{here} members on disk {disk}", f"{count} on disk 0"
            self._refuse("it is one part of a split archive", found=found, wanted=wanted)
        raw = self._read_at(max(end - fmt.LOCATOR.size, 0), fmt.LOCATOR.size)
        if raw.startswith(fmt.LOCATOR_SIGN):
            end -= fmt.LOCATOR.size + fmt.END64.size
            start, length, count = self._find_directory64(raw, end, (start, length, count))
        if start + length != end:
            fact = "there is a gap or an overlap between its central directory and its end record"
            self._refuse(fact, found=f"a directory up to byte {start + length}", wanted=f"up to byte {end}")
        if count > self._limits.members or length > self._limits.directory:
            found, wanted = (
                f"{count} in {length} bytes",
                f"at most {self._limits.members} in {self._limits.directory} bytes",
            )
            self._refuse("it has too many members", found=found, wanted=wanted)
        return start, length, count

    def _find_directory64(self, locator: bytes, end: int, narrow: _Directory) -> _Directory:
        """Return the result of `_find_directory` from the zip64 end record, which starts at byte ``end``."""
        disk, at, disks = fmt.LOCATOR.unpack(locator)
        if (disk, at, disks) != (0, end, 1):
            found, wanted = f"byte {at} of disk {disk} of {disks}", f"byte {end} of disk 0 of 1"
            self._refuse("its zip64 locator does not point before itself", found=found, wanted=wanted)
        raw = self._read_at(end, fmt.END64.size)
        *fixed, here, count, length, start = fmt.END64.unpack(raw)
        if fixed != [fmt.END64_SIGN, fmt.END64.size - 12, 0, 0] or here != count:
            self._refuse("its zip64 end record is malformed", found=raw.hex())
        wide = (start, length, count)
        for few, many, limit in zip(narrow, wide, (fmt.MAX32, fmt.MAX32, fmt.MAX16), strict=True):
            if few not in (many, limit):
                self._refuse("its end record differs from its zip64 end record", found=narrow, wanted=wide)
        return wide

    def _refuse_end(self, size: int) -> NoReturn:
        """Report why the archive does not end with an end record."""
        tail = self._read_at(max(size - fmt.END.size - fmt.MAX16, 0), fmt.END.size + fmt.MAX16)
        at = tail.rfind(fmt.END_SIGN)
        after = len(tail) - at - fmt.END.size
        if at < 0 or after < 0:
            self._refuse("it is truncated: the end record is missing", found=f"{size} bytes")
        if comment := fmt.END.unpack_from(tail, at)[-1]:
            self._refuse("it has an archive comment", found=f"{comment} bytes")
        self._refuse("it has bytes after its end record", found=f"{after} bytes")

    def _entries(self, directory: bytes, start: int, count: int) -> list[fmt.CentralEntry]:
        """Return the entries of the central directory, sorted by the offset of their members."""
        entries: list[fmt.CentralEntry] = []
        at = total = 0
        while at < len(directory):
            if not directory.startswith(fmt.CENTRAL_SIGN, at):
                self._refuse("its central directory has a gap", found=f"no entry at byte {start + at}")
            entry, at = self._entry(directory, at)
            entries.append(entry)
            total += entry.size
            if total > self._limits.size:
                self._refuse(
                    "it is too large", found=f"{total} bytes", wanted=f"at most {self._limits.size} bytes"
                )
        if (len(entries), at) != (count, len(directory)):
            found, wanted = f"{len(entries)} in {at} bytes", f"{count} in {len(directory)} bytes"
            self._refuse("its end record miscounts its members", found=found, wanted=wanted)
        return sorted(entries, key=lambda entry: entry.offset)

    def _entry(self, directory: bytes, at: int) -> tuple[fmt.CentralEntry, int]:
        """Return the entry at an offset of the central directory, and the offset of the next one."""
        header = directory[at : at + fmt.CENTRAL.size].ljust(fmt.CENTRAL.size, b"\0")
        system, flags, method, crc, compressed_size, size, *more = fmt.CENTRAL.unpack(header)
        name_length, extra_length, comment_length, disk, attributes, offset = more
        names = at + fmt.CENTRAL.size
        extras = names + name_length
        end = extras + extra_length
        raw, extra = directory[names:extras], directory[extras:end]
        if disk or comment_length:
            self._refuse("has a comment, or is on another disk", raw)
        path, is_folder = self._path(raw, flags)
        size, compressed_size, offset = self._widened((size, compressed_size, offset), extra, raw)
        self._check_kind(raw, attributes >> 16, is_folder=is_folder)
        entry = fmt.CentralEntry(
            raw=raw,
            path=path,
            is_folder=is_folder,
            flags=flags,
            method=method,
            crc=crc,
            compressed_size=compressed_size,
            size=size,
            offset=offset,
            mode=attributes >> 16 if system in fmt.UNIX_SYSTEMS else 0,
        )
        self._check_method(entry)
        self._check_sizes(entry)
        return entry, end

    def _path(self, raw: bytes, flags: int) -> tuple[ArchivePath, bool]:
        """Return the path of a name, and whether it is a directory."""
        try:
            name = raw.decode("utf-8" if flags & fmt.UTF8 else "ascii")
        except UnicodeDecodeError:
            self._refuse("has a name that is not valid UTF-8, or not marked as UTF-8", raw)
        try:
            return archive_path(name.removesuffix("/")), name.endswith("/")
        except UnsafePathError as error:
            self._refuse(f"has an unsafe name: {error}", raw)

    def _check_kind(self, raw: bytes, mode: int, *, is_folder: bool) -> None:
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFLNK:
            self._refuse("is a link; links are not allowed in wheels", raw, f"mode {mode:#o}")
        if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
            wanted = "a directory, by its name" if is_folder else "a regular file, by its name"
            self._refuse("is a special file", raw, f"mode {mode:#o}", wanted)

    def _check_method(self, entry: fmt.CentralEntry) -> None:
        if entry.flags & fmt.ENCRYPTED:
            self._refuse("is encrypted", entry.raw, f"flags {entry.flags:#06x}")
        if entry.flags & ~fmt.ALLOWED_FLAGS:
            self._refuse("has flags that are not allowed", entry.raw, f"flags {entry.flags:#06x}")
        if entry.method not in (fmt.STORED, fmt.DEFLATED):
            self._refuse("has an unsupported compression method", entry.raw, entry.method, "0 or 8")

    def _check_sizes(self, entry: fmt.CentralEntry) -> None:
        size, compressed_size = f"{entry.size} bytes", f"{entry.compressed_size} bytes"
        if entry.is_folder and (entry.size or entry.crc):
            self._refuse("is a directory with content", entry.raw, f"{size}, CRC {entry.crc:08x}")
        if entry.method == fmt.STORED and entry.size != entry.compressed_size:
            self._refuse("is stored, but has two sizes", entry.raw, size, compressed_size)
        if entry.size > self._limits.free + self._limits.ratio * entry.compressed_size:
            wanted = f"at most {self._limits.ratio} times {compressed_size}, and {self._limits.free}"
            self._refuse("grows too much when it is inflated", entry.raw, size, wanted)

    def _widened(self, values: tuple[int, ...], extra: bytes, raw: bytes) -> tuple[int, ...]:
        """Return header values, those that are 0xFFFFFFFF replaced from the zip64 extra field (4.5.3).

        Bazel's wheels repeat the sizes there where nothing is to be replaced.
        """
        if not extra and fmt.MAX32 not in values:
            return values
        try:
            fields = fmt.extra_fields(extra)
        except ValueError as error:
            self._refuse(str(error), raw)
        name = b"\1" + isal_zlib.crc32(raw).to_bytes(4, "little") + raw
        if fields.get(fmt.UNICODE_PATH_FIELD, name) != name:
            found_name = fields[fmt.UNICODE_PATH_FIELD][5:]
            self._refuse("has a unicode path that differs from its name", raw, found_name)
        wide = fields.get(fmt.ZIP64_FIELD, b"")
        count = values.count(fmt.MAX32)
        if len(wide) != 8 * count and (count or wide != struct.pack(f"<{len(values)}Q", *values)):
            fact = "has a zip64 extra field that does not fit its header"
            self._refuse(fact, raw, f"{len(wide)} bytes for {count} values")
        found = iter(struct.unpack(f"<{count}Q", wide[: 8 * count]))
        return tuple(next(found) if value == fmt.MAX32 else value for value in values)

    def _check_names(self, entries: list[fmt.CentralEntry]) -> None:
        length = sum(len(entry.raw) * (entry.raw.count(b"/") + 1) for entry in entries)
        if length > self._limits.names:
            fact = "its names are too long and too deep"
            self._refuse(fact, found=f"{length} bytes", wanted=f"at most {self._limits.names}")
        names: dict[str, bool] = {}
        for entry in entries:
            if entry.path in names:
                self._refuse("is a duplicate: two members have this name", entry.raw)
            names[entry.path] = entry.is_folder
        for entry in entries:
            parent = entry.path.rpartition("/")[0]
            while parent:
                if not names.get(parent, True):
                    self._refuse("is below a file", entry.raw, parent)
                parent = parent.rpartition("/")[0]
        if collision := find_collision(names):
            first, second = (f"{name} ({name!a})" for name in collision)
            self._refuse("two names are equal on some file systems", found=first, wanted=f"not also {second}")

    def _members(self, entries: list[fmt.CentralEntry], end: int) -> Iterator[tuple[ArchivePath, Member]]:
        """Yield the files, after checking that all members cover bytes 0 to ``end`` without a gap."""
        borders = [*(entry.offset for entry in entries), end]
        if borders[0] != 0:
            self._refuse("it has bytes before its first member, a gap", found=f"{borders[0]} bytes")
        for entry, border in zip(entries, borders[1:], strict=True):
            member = Member(
                path=entry.path,
                size=entry.size,
                crc=entry.crc,
                executable=bool(entry.mode & 0o111),
                dropped_bits=entry.mode & 0o7002,
                start=self._check_place(entry, end, border),
                compressed_size=entry.compressed_size,
                deflated=entry.method == fmt.DEFLATED,
            )
            if not entry.is_folder:
                yield entry.path, member
            elif entry.compressed_size:
                for _ in self.chunks(member):  # a directory may only have an empty deflate stream
                    pass

    def _check_place(self, entry: fmt.CentralEntry, end: int, border: int) -> int:
        """Return the offset of a member's data, after checking that the member ends at ``border``."""
        start = self._check_local(entry, end)
        at = start + entry.compressed_size
        if entry.flags & fmt.DESCRIPTOR and at <= border:
            at += self._check_descriptor(entry, at, border)
        if at != border:
            fact = "overlaps what follows it" if at > border else "is followed by a gap, which hides bytes"
            self._refuse(fact, entry.raw, f"its end at byte {at}", f"byte {border}")
        return start

    def _check_local(self, entry: fmt.CentralEntry, end: int) -> int:
        """Return the offset of a member's data, after comparing its local header with the central one."""
        header = self._read_at(min(entry.offset, end), fmt.LOCAL.size)
        if not header.startswith(fmt.LOCAL_SIGN):
            self._refuse("has no local header", entry.raw, f"something else at byte {entry.offset}")
        flags, method, crc, compressed_size, size, name_length, extra_length = fmt.LOCAL.unpack(header)
        rest = self._read_at(entry.offset + fmt.LOCAL.size, name_length + extra_length)
        raw = rest[:name_length]
        pairs = {"name": (raw, entry.raw), "flags": (flags, entry.flags), "method": (method, entry.method)}
        size, compressed_size = self._widened((size, compressed_size), rest[name_length:], raw)
        if not flags & fmt.DESCRIPTOR or crc or size or compressed_size:
            pairs["CRC"] = (crc, entry.crc)
            pairs["size"] = (size, entry.size)
            pairs["compressed size"] = (compressed_size, entry.compressed_size)
        for field, (local, central) in pairs.items():
            if local != central:
                self._refuse(f"has a different {field} in its local header", entry.raw, local, central)
        start: int = entry.offset + fmt.LOCAL.size + name_length + extra_length
        return start

    def _check_descriptor(self, entry: fmt.CentralEntry, at: int, border: int) -> int:
        """Return the length of the data descriptor (4.3.9), which must end at ``border``."""
        numbers = (entry.crc, entry.compressed_size, entry.size)
        forms = [struct.pack("<LQQ", *numbers)]
        if max(numbers) <= fmt.MAX32:
            forms.append(struct.pack("<LLL", *numbers))
        found = self._read_at(at, min(border - at, fmt.HEAD))
        # Without signature, and with a CRC that looks like it, there would be two readings.
        if found.removeprefix(fmt.DESCRIPTOR_SIGN) not in forms:
            fact = "has a data descriptor that differs from its central header"
            self._refuse(
                fact,
                entry.raw,
                found.hex() or "none",
                f"{fmt.DESCRIPTOR_SIGN.hex()} {forms[-1].hex()}",
            )
        return len(found)

    def _read_at(self, at: int, length: int) -> bytes:
        self._source.seek(at)
        return self._source.read(length)

    def _refuse(
        self, fact: str, member: str | bytes | None = None, found: object = None, wanted: object = None
    ) -> NoReturn:
        where = f"`{self.name}`:" if member is None else f"`{self.name}`: `{fmt.text_of(member)}`"
        lines = {"wanted": wanted, "found": found}
        raise MalformedError(
            f"{where} {fact}",
            evidence=tuple(
                f"{label:<7} {fmt.text_of(value)}" for label, value in lines.items() if value is not None
            ),
        )
