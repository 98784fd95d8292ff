"""Remove the directories of the build host from the RPATH of a shared object.

A build Python links extension modules with the flags of its own build, so that the
dynamic loader of every target would search directories of the build host. Strings and
entries of the dynamic segment are overwritten in place: no byte moves, so nothing that
refers to an address has to change.

Specs: ELF (System V gABI), "Dynamic Section"; ld.so(8), RPATH and RUNPATH.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from elftools.elf.dynamic import DynamicSegment, DynamicTag
    from elftools.elf.elffile import ELFFile

__all__ = ["remove_host_rpath"]

_MAGIC = b"\x7fELF"
_RPATHS = frozenset({"DT_RPATH", "DT_RUNPATH"})
_NAMES = frozenset({"DT_NEEDED", "DT_SONAME", "DT_AUXILIARY", "DT_FILTER"})
"""The other tags whose value is an offset in the string table."""
_LONGEST = 1 << 16


def remove_host_rpath(stream: BinaryIO) -> None:
    """Remove the absolute directories from RPATH and RUNPATH; ``$ORIGIN`` and relative ones stay.

    A file that is not a valid ELF file stays as it is; the checks of a bundle report it.

    :param stream: the file, open for reading and writing; the caller closes it.
    """
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 - 60 ms that other commands do not need
    from elftools.elf.dynamic import DynamicSegment  # noqa: PLC0415
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    stream.seek(0)
    if stream.read(len(_MAGIC)) != _MAGIC:
        return
    try:
        elf = ELFFile(stream)
        dynamic = [segment for segment in elf.iter_segments() if isinstance(segment, DynamicSegment)]
        edits = [edit for segment in dynamic for edit in _edits(stream, elf, segment)]
    except (ELFError, ArithmeticError, AssertionError, AttributeError, LookupError, ValueError):
        return  # pyelftools raises these for a malformed file
    for offset, content in edits:
        stream.seek(offset)
        stream.write(content)


def _edits(stream: BinaryIO, elf: ELFFile, segment: DynamicSegment) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the new bytes of each part of the file that changes."""
    tags: list[DynamicTag] = list(segment.iter_tags())
    if not any(tag.entry.d_tag in _RPATHS for tag in tags):
        return
    _, strings = segment.get_table_offset("DT_STRTAB")
    used = set(_used_strings(elf, segment, tags))
    removed = set()
    for index, tag in enumerate(tags):
        if tag.entry.d_tag not in _RPATHS:
            continue
        start = tag.entry.d_val
        before, text = _string(stream, strings + start)
        kept = b":".join(part for part in text.split(b":") if part and not part.startswith(b"/"))
        if kept == text:
            continue
        # Linkers store a string that is the end of another one only once: `lib` in `/opt/lib`.
        ends = [other - start for other in used if start < other < start + len(text)]
        is_own = start not in used and before == b"\0"
        room = min(ends, default=len(text) + 1) if is_own else 0
        if kept and len(kept) >= room:
            continue
        if not kept:
            removed.add(index)
        if room:
            yield strings + start, kept.ljust(min(room, len(text)), b"\0")
    if removed:
        # The array ends at its first DT_NULL, so the entries behind a removed one move up.
        width = elf.structs.Elf_Dyn.sizeof()
        stream.seek(segment["p_offset"])
        table = [stream.read(width) for _ in tags]
        left = b"".join(entry for index, entry in enumerate(table) if index not in removed)
        yield segment["p_offset"], left.ljust(width * len(tags), b"\0")


def _string(stream: BinaryIO, offset: int) -> tuple[bytes, bytes]:
    """Return the byte before a string, and the string without its NUL."""
    stream.seek(offset - 1)
    content = stream.read(_LONGEST)
    return content[:1], content[1 : content.index(b"\0", 1)]


def _used_strings(elf: ELFFile, segment: DynamicSegment, tags: list[DynamicTag]) -> Iterator[int]:
    """Yield the offset of each string of the dynamic string table that is not an RPATH."""
    from elftools.elf.gnuversions import GNUVersionSection  # noqa: PLC0415

    yield from (tag.entry.d_val for tag in tags if tag.entry.d_tag in _NAMES)
    yield from (symbol["st_name"] for symbol in segment.iter_symbols())
    for section in elf.iter_sections():
        if isinstance(section, GNUVersionSection):  # the needed or the defined versions
            for version, auxiliaries in section.iter_versions():
                yield from (value for key, value in version.entry.items() if key == "vn_file")
                for auxiliary in auxiliaries:
                    yield from (
                        value for key, value in auxiliary.entry.items() if key in ("vna_name", "vda_name")
                    )
