"""Stage 5, pure: the facts in an ELF file that the dynamic loader acts on, from an open stream.

This reads the parts that the loader reads: the program headers and the dynamic segment. The
section headers may be stripped or wrong. pyelftools has the layouts; every read is bounded
here, so that a hostile file costs little.

Specs: ELF (System V gABI), symbol versions (LSB core, "Symbol Versioning").
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from bundler.errors import MalformedError
from bundler.paths import printable

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

__all__ = ["SharedObject", "is_elf", "numbers", "read_shared_object"]

_MAGIC = b"\x7fELF"
_PAGE = 4096
_MAX_SEGMENTS = 1024
_MAX_TAGS = 2048
_MAX_NEEDS = 4096
_MAX_STRING = 32 * 1024
_MAX_SYMBOLS = 1 << 22
_MAX_NAMED = 4096
"""How many symbols that need one version are looked up."""

# The names of platform.machine(), by e_machine, bits, and whether it is little-endian.
_MACHINES: Mapping[tuple[str, int, bool], str] = {
    ("EM_386", 32, True): "i686",
    ("EM_AARCH64", 64, True): "aarch64",
    ("EM_ARM", 32, True): "armv7l",
    ("EM_LOONGARCH", 64, True): "loongarch64",
    ("EM_PPC64", 64, False): "ppc64",
    ("EM_PPC64", 64, True): "ppc64le",
    ("EM_RISCV", 64, True): "riscv64",
    ("EM_S390", 64, False): "s390x",
    ("EM_X86_64", 32, True): "x32",
    ("EM_X86_64", 64, True): "x86_64",
}

# Tags whose value is where a table in memory begins; a table ends at the latest where the next one begins.
_TABLES = frozenset(
    {
        *("DT_FINI", "DT_FINI_ARRAY", "DT_GNU_HASH", "DT_HASH", "DT_INIT", "DT_INIT_ARRAY", "DT_JMPREL"),
        *("DT_PLTGOT", "DT_REL", "DT_RELA", "DT_RELR", "DT_STRTAB", "DT_SYMTAB", "DT_VERDEF", "DT_VERNEED"),
        "DT_VERSYM",
    }
)
_INDEX = 0x7FFF
"""The bits of a DT_VERSYM entry with the index of a version; the highest bit marks hidden symbols."""
_WEAK = 0x2
"""VER_FLG_WEAK: the loader only warns if this version is missing."""
_VERSION = re.compile(r"(?P<prefix>GLIBC|GLIBCXX|CXXABI)_(?P<version>\d{1,9}(?:\.\d{1,9}){0,3})", re.ASCII)
_EQUIVALENTS = {"GLIBC_ABI_DT_RELR": "GLIBC_2.36"}
"""Version names without a number, and the glibc that introduced them; older ones refuse the file."""

_MUSL = re.compile(r"ld-musl-.*|libc\.musl-.*|libc\.so")
_GLIBC = re.compile(r"ld-linux.*|libc\.so\.6")


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedObject:
    """The facts in one ELF file that the dynamic loader acts on."""

    path: str
    """Relative to the bundle's root, ``/`` between components."""
    machine: str
    """The name of platform.machine(), "x86_64"; "EM_..." for a machine without one."""
    soname: str
    """The name by which other objects need it (DT_SONAME); empty if it has none."""
    needed: tuple[str, ...]
    """The libraries it needs (DT_NEEDED), in the order of the file."""
    rpath: tuple[str, ...]
    """The directories it adds to the search (DT_RUNPATH; without it DT_RPATH, as in ld.so(8)), in order."""
    versions: Mapping[str, str]
    """The highest symbol version it needs, without the weak ones, by prefix: GLIBC, GLIBCXX, CXXABI."""
    symbol: str
    """The first symbol, sorted, that needs the highest version of GLIBC; empty if none does."""
    libc: str
    """The C library it was built for, "glibc" or "musl"; empty if it needs neither."""

    def to_json(self) -> dict[str, Any]:
        """Return the object as the plain values of a manifest."""
        return {
            "libc": self.libc,
            "machine": self.machine,
            "needed": list(self.needed),
            "path": self.path,
            "rpath": list(self.rpath),
            "soname": self.soname,
            "symbol": self.symbol,
            "versions": dict(self.versions),
        }


def is_elf(head: bytes) -> bool:
    """Return whether a file is ELF by its first bytes, four or more."""
    return head.startswith(_MAGIC)


def read_shared_object(stream: BinaryIO, path: str) -> SharedObject:
    """Read the facts that the dynamic loader acts on.

    A static program or an object file has no dynamic segment, so it needs nothing.

    :param stream: the file, open and seekable; the caller closes it.
    :param path: its path in the bundle.
    :raises MalformedError: if it is not an ELF file, or a part that the loader reads is truncated or wrong.
    """
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 - 60 ms that `--help` does not need
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    try:
        return _Image(ELFFile(stream)).shared_object(path)
    except (ELFError, _DamagedError) as error:
        raise MalformedError(
            f"`{printable(path)}` is not a valid ELF file", evidence=(f"found   {printable(str(error))}",)
        ) from error


class _DamagedError(ValueError):
    """A part of the file that breaks the ELF specification."""


class _LongStringError(_DamagedError):
    """A string beyond the limit of this reader, which the specification does not have."""


class _Image:
    """A file as the loader sees it: its segments in memory, and the tables its dynamic segment names."""

    def __init__(self, elf: ELFFile) -> None:
        header = elf.header
        # The loader does not use sections; with none, pyelftools does not read them either.
        header["e_shoff"] = 0
        ends = header["e_phoff"] + header["e_phnum"] * header["e_phentsize"]
        if header["e_phnum"] > _MAX_SEGMENTS or ends > elf.stream_len:
            raise _DamagedError("its program headers end beyond the file")
        self._elf = elf
        segments = list(elf.iter_segments())
        self._loads = [
            _mapping(segment, elf.stream_len) for segment in segments if segment["p_type"] == "PT_LOAD"
        ]
        self._tags: dict[str, list[int]] = defaultdict(list)
        for segment in segments:
            if segment["p_type"] == "PT_DYNAMIC":
                self._read_tags(segment["p_offset"], segment["p_filesz"])

    def shared_object(self, path: str) -> SharedObject:
        needed = tuple(self._string(index) for index in self._tags["DT_NEEDED"])
        rpath = self._tags["DT_RUNPATH"] or self._tags["DT_RPATH"]
        highest: dict[str, tuple[int, ...]] = {}
        indices: set[int] = set()
        """The indices of the highest GLIBC version: libc, libm and others each define it under an index."""
        for prefix, version, index in self._versions():
            found = highest.get(prefix, ())
            highest[prefix] = max(found, version)
            if prefix == "GLIBC" and version >= found:
                indices = {index} | (indices if version == found else set())
        return SharedObject(
            path=path,
            machine=self._machine(),
            soname="".join(self._string(index) for index in self._tags["DT_SONAME"][:1]),
            needed=needed,
            rpath=tuple(self._string(rpath[0]).split(":")) if rpath else (),
            versions={prefix: ".".join(map(str, version)) for prefix, version in sorted(highest.items())},
            symbol=self._first_symbol(indices) if indices else "",
            libc=_libc(needed, has_versions="GLIBC" in highest),
        )

    def _machine(self) -> str:
        machine = self._elf.header["e_machine"]
        if isinstance(machine, int):
            return f"EM_{machine}"
        return _MACHINES.get((machine, self._elf.elfclass, self._elf.little_endian), machine)

    def _read_tags(self, offset: int, size: int) -> None:
        layout = self._elf.structs.Elf_Dyn
        width = layout.sizeof()
        table = self._read(offset, min(size, width * _MAX_TAGS))
        for start in range(0, len(table) - width + 1, width):
            tag = layout.parse(table[start : start + width])
            if tag.d_tag == "DT_NULL":
                return
            self._tags[str(tag.d_tag)].append(tag.d_val)
        if table:
            raise _DamagedError("its dynamic segment does not end")

    def _versions(self) -> Iterator[tuple[str, tuple[int, ...], int]]:
        """Yield each version the object needs (DT_VERNEED): its prefix, its numbers and its index."""
        verneed, vernaux = self._elf.structs.Elf_Verneed, self._elf.structs.Elf_Vernaux
        left = _MAX_NEEDS
        for start in self._tags["DT_VERNEED"][:1]:
            for vaddr, library in self._chain(verneed, start, "vn_next"):
                for _, need in self._chain(vernaux, vaddr + library.vn_aux, "vna_next"):
                    left -= 1
                    if left < 0:
                        raise _DamagedError("it needs more versions than any library has")
                    name = self._string(need.vna_name)
                    match = _VERSION.fullmatch(_EQUIVALENTS.get(name, name))
                    if match and not need.vna_flags & _WEAK:
                        yield match["prefix"], numbers(match["version"]), need.vna_other & _INDEX

    def _chain(self, layout: Any, vaddr: int, following: str) -> Iterator[tuple[int, Any]]:
        """Yield the entries of a linked list, with their places in memory.

        Each entry has the distance to the next one, 0 in the last. A list longer than any real one
        ends silently: a cycle must not keep the reader busy.
        """
        for _ in range(_MAX_NEEDS):
            entry = layout.parse(self._memory(vaddr, layout.sizeof()))
            yield vaddr, entry
            if not entry[following]:
                return
            vaddr += entry[following]

    def _first_symbol(self, indices: Collection[int]) -> str:
        """Return the first name, sorted, of a symbol that needs one of these versions (DT_VERSYM), or "".

        The dynamic segment does not have the number of symbols, so both tables are read up to
        the next table or the end of their segment; there is at most padding between them.
        """
        if not self._tags["DT_VERSYM"] or not self._tags["DT_SYMTAB"]:
            return ""
        versym, symtab = self._tags["DT_VERSYM"][0], self._tags["DT_SYMTAB"][0]
        width = self._elf.structs.Elf_Sym.sizeof()
        count = min(self._extent(versym) // 2, self._extent(symtab) // width, _MAX_SYMBOLS)
        order = "<" if self._elf.little_endian else ">"
        versions = struct.unpack(f"{order}{count}H", self._memory(versym, count * 2))
        found = [number for number, version in enumerate(versions) if version & _INDEX in indices]
        names = (
            self._symbol_name(struct.unpack(f"{order}I", self._memory(symtab + number * width, 4))[0])
            for number in found[:_MAX_NAMED]
        )
        return min(filter(None, names), default="")

    def _symbol_name(self, index: int) -> str:
        """Return the name of a symbol, or "" for one beyond the limit: templates of C++ make such names."""
        try:
            return self._string(index)
        except _LongStringError:
            return ""

    def _string(self, index: int) -> str:
        if not self._tags["DT_STRTAB"]:
            raise _DamagedError("its string table is missing")
        vaddr = self._tags["DT_STRTAB"][0] + index
        content = self._memory(vaddr, min(_MAX_STRING, self._room(vaddr)))
        text, end, _ = content.partition(b"\0")
        if not end and self._room(vaddr) > _MAX_STRING:
            raise _LongStringError("a string does not end")
        if not end:
            raise _DamagedError("a string does not end")
        return text.decode("utf-8", "backslashreplace")

    def _extent(self, vaddr: int) -> int:
        """Return how many bytes of the segment are between a place in memory and the next table."""
        tables = [value for tag in _TABLES & self._tags.keys() for value in self._tags[tag] if value > vaddr]
        return min([self._room(vaddr), *(table - vaddr for table in tables)])

    def _room(self, vaddr: int) -> int:
        """Return how many bytes the file has from a place in memory to the end of its segment."""
        for start, _, size in self._loads:
            if start <= vaddr < start + size:
                room: int = start + size - vaddr
                return room
        raise _DamagedError(f"it refers to {vaddr:#x}, which is in no segment")

    def _memory(self, vaddr: int, size: int) -> bytes:
        if size > self._room(vaddr):
            raise _DamagedError(f"its data at {vaddr:#x} is truncated")
        start, offset, _ = next(load for load in self._loads if load[0] <= vaddr < load[0] + load[2])
        return self._read(offset + vaddr - start, size)

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size > self._elf.stream_len:
            raise _DamagedError("its dynamic segment ends beyond the file")
        self._elf.stream.seek(offset)
        return self._elf.stream.read(size)


def _mapping(segment: Any, length: int) -> tuple[int, int, int]:
    """Return where a segment is in memory and in the file, and how many bytes of the file it maps.

    Whole pages are mapped (System V gABI, "Program Loading"): after the end of a segment they have
    the next bytes of the file, unless zeros follow. patchelf puts strings there.

    :param length: the bytes of the file.
    """
    vaddr, offset, size = segment["p_vaddr"], segment["p_offset"], segment["p_filesz"]
    if offset + size > length:
        raise _DamagedError("a segment ends beyond the file")
    if segment["p_memsz"] == size:
        size = min(-(-(vaddr + size) // _PAGE) * _PAGE - vaddr, length - offset)
    return vaddr, offset, size


def _libc(needed: Iterable[str], *, has_versions: bool) -> str:
    if has_versions or any(_GLIBC.fullmatch(name) for name in needed):
        return "glibc"
    return "musl" if any(_MUSL.fullmatch(name) for name in needed) else ""


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, (2, 17) for "2.17"; empty if it does not start with one."""
    match = re.match(r"\d+(?:\.\d+)*", version, re.ASCII)
    return tuple(int(number) for number in match[0].split(".")) if match else ()
