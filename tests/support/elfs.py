"""ELF files made in the tests, as small as the loader would take them: no compiler is needed."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

# By machine: e_machine, bits, byte order.
MACHINES = {
    "i686": (3, 32, "<"),
    "ppc64le": (21, 64, "<"),
    "s390x": (22, 64, ">"),
    "armv7l": (40, 32, "<"),
    "x86_64": (62, 64, "<"),
    "aarch64": (183, 64, "<"),
    "EM_CUDA": (190, 64, "<"),
    "EM_60000": (60000, 64, "<"),
}
DT = {"NULL": 0, "NEEDED": 1, "STRTAB": 5, "SYMTAB": 6, "STRSZ": 10, "SYMENT": 11, "SONAME": 14, "RPATH": 15}
DT |= {"RUNPATH": 29, "VERSYM": 0x6FFFFFF0, "VERNEED": 0x6FFFFFFE, "VERNEEDNUM": 0x6FFFFFFF}


@dataclass
class Strings:
    """A string table that grows."""

    content: bytearray = field(default_factory=lambda: bytearray(b"\0"))

    def add(self, text: str) -> int:
        start = len(self.content)
        self.content += text.encode() + b"\0"
        return start


def make_elf(
    machine: str = "x86_64",
    *,
    needed: Sequence[str] = (),
    rpath: str = "",
    runpath: str = "",
    soname: str = "",
    versions: Sequence[tuple[str, str, str]] = (),
    weak: Collection[str] = (),
    section_headers: bytes = b"",
    dynamic: bool = True,
    last: str = "",
) -> bytes:
    """Return a shared object.

    :param versions: a library, the version of it that is needed, and the symbol that needs it, or "".
    :param weak: those of the versions that are weak.
    :param section_headers: what is found where the section headers should be; nothing says how many there are.
    :param dynamic: whether it has a dynamic segment.
    :param last: the table that stands behind all others, "SYMTAB" or "VERSYM".
    """
    number, bits, order = MACHINES[machine]
    is64 = bits == 64
    strings = Strings()
    tags = [("NEEDED", strings.add(name)) for name in needed]
    tags += [(tag, strings.add(text)) for tag, text in (("RPATH", rpath), ("RUNPATH", runpath)) if text]
    tags += [("SONAME", strings.add(soname))] if soname else []
    verneed, indices = version_needs(order, strings, versions, weak)
    symbols = [(strings.add(symbol), indices[lib, version]) for lib, version, symbol in versions if symbol]
    symbols.insert(0, (0, 0))
    start = 64 + 56 * 2
    parts = {
        "STRTAB": bytes(strings.content),
        "SYMTAB": b"".join(
            struct.pack(order + "I20x" if is64 else order + "I12x", name) for name, _ in symbols
        ),
        "VERSYM": b"".join(struct.pack(order + "H", index) for _, index in symbols),
        "VERNEED": verneed,
    }
    if last:
        parts[last] = parts.pop(last)
    body = b""
    for tag, content in parts.items():
        if content:
            tags.append((tag, start + len(body)))
            body += content.ljust(-(-len(content) // 8) * 8, b"\0")
    tags += [("STRSZ", len(strings.content)), ("SYMENT", 24 if is64 else 16)]
    tags += [("VERNEEDNUM", len({lib for lib, _, _ in versions})), ("NULL", 0)]
    table = b"".join(struct.pack(order + ("QQ" if is64 else "II"), DT[tag], value) for tag, value in tags)
    end = start + len(body) + len(table)
    segments = [(1, 0, end), (2, start + len(body), len(table))][: 1 + dynamic]  # PT_LOAD, PT_DYNAMIC
    head = b"\x7fELF" + bytes([2 if is64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    sizes = (64, 56, len(segments), 64, 0, 0) if is64 else (52, 32, len(segments), 40, 0, 0)
    layout = order + ("HHIQQQI6H" if is64 else "HHIIIII6H")
    head += struct.pack(
        layout, 3, number, 1, 0, len(head) + struct.calcsize(layout), end if section_headers else 0, 0, *sizes
    )
    for kind, offset, size in segments:
        if is64:
            head += struct.pack(order + "II6Q", kind, 4, offset, offset, offset, size, size, 8)
        else:
            head += struct.pack(order + "8I", kind, offset, offset, offset, size, size, 4, 4)
    return head.ljust(start, b"\0") + body + table + section_headers


def version_needs(
    order: str, strings: Strings, versions: Sequence[tuple[str, str, str]], weak: Collection[str]
) -> tuple[bytes, dict[tuple[str, str], int]]:
    """Return the table of needed versions, and the index that each of them was given."""
    libraries: dict[str, list[str]] = {}
    for library, version, _ in versions:
        if version not in libraries.setdefault(library, []):
            libraries[library].append(version)
    table, indices = b"", dict[tuple[str, str], int]()
    for place, (library, names) in enumerate(libraries.items(), 1):
        last = place == len(libraries)
        table += struct.pack(
            order + "HHIII", 1, len(names), strings.add(library), 16, 0 if last else 16 * (len(names) + 1)
        )
        for nth, version in enumerate(names, 1):
            indices[library, version] = len(indices) + 2
            flags, following = 2 * (version in weak), (0 if nth == len(names) else 16)
            fields = 0, flags, indices[library, version], strings.add(version), following
            table += struct.pack(order + "IHHII", *fields)
    return table, indices
