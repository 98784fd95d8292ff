"""Effect: leave out files of a layer, and debug symbols of its shared objects (``--slim``).

A layer's RECORD lists the files that ship. The checks import and read the same files.

Specs: ELF-64 (System V ABI, "Program Header", "Sections"); strip(1) of GNU binutils.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName, parse_wheel_filename

from bundler.archive.wheel import Wheel, WheelFile
from bundler.bundle.layer import PlannedFile
from bundler.data.slim import SlimLevel, omitted_files
from bundler.errors import InputError
from bundler.paths import printable
from bundler.system.process import run_process

if TYPE_CHECKING:
    from bundler.system.environ import HostEnvironment

__all__ = ["Slim", "Source", "Stripper", "find_stripper", "without_omitted"]

Source = WheelFile | bytes | Path
"""The content of a file of a layer: a member of its wheel, generated, or a file in a private directory."""

_FORMAT = 1
"""A part of the key of a layer. Raise it with any change of the omitted files."""
_NAME = re.compile(r"[^/]+\.so(?:\.\d+)*")
_SECONDS = 600
_MAGIC = b"\x7fELF\x02\x01"
_LOAD = 1
"""PT_LOAD: a segment that is mapped into memory."""
_ALLOC = 2
"""SHF_ALLOC: a section that is part of one."""
_NOBITS = 8
"""SHT_NOBITS: a section of zeros, without bytes in the file."""
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stripper:
    """The program ``strip``."""

    program: Path
    version: str
    """The first line of ``strip --version``."""
    host: HostEnvironment

    def strip(self, source: Path, output: Path) -> bool:
        """Write a shared object without its debug symbols, and return whether the result may replace it.

        It may if it is smaller and each section is mapped at the same address with the same bytes. Tools
        that repair wheels move sections, and ``strip`` damages some of the files that they write.

        :param output: a new path in a private directory.
        """
        ended = run_process(
            [str(self.program), "--strip-debug", "-o", str(output), str(source)],
            env=self.host.child_env(output.parent),
            cwd=output.parent,
            timeout=_SECONDS,
        )
        if ended.returncode != 0 or not output.is_file():
            return False  # not ELF, or of another architecture
        before, after = source.read_bytes(), output.read_bytes()
        return len(after) < len(before) and _same_in_memory(before, after)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slim:
    """The files that layers leave out."""

    level: SlimLevel
    whole: frozenset[NormalizedName] = frozenset()
    """The distributions that are not changed."""
    stripper: Stripper | None = None
    """Removes debug symbols; required by the level ``max``."""

    @property
    def key_parts(self) -> tuple[str, ...]:
        """The inputs of a layer that this is: equal ones give the same layer."""
        version = self.stripper.version if self.stripper else ""
        return ("slim", self.level, str(_FORMAT), version)

    def of(self, wheel: str) -> Slim | None:
        """Return this for a wheel, by its filename; None for one that is not changed."""
        return None if parse_wheel_filename(wheel)[0] in self.whole else self

    def strip(
        self, wheel: Wheel, sources: dict[str, tuple[int, Source]], scratch: Path, pool: Executor
    ) -> int:
        """Replace each shared object in ``sources`` by one without debug symbols, and return the bytes saved.

        :param scratch: an existing private directory; the new files stay there.
        """
        stripper = self.stripper
        if stripper is None:
            return 0

        def extracted() -> Iterator[tuple[str, Path]]:
            for number, (path, (_, source)) in enumerate(sources.items()):
                if isinstance(source, WheelFile) and is_shared_object(path):
                    whole = scratch / f"{number}.whole"
                    with whole.open("xb") as stream:
                        stream.writelines(wheel.chunks(source))
                    yield path, whole

        def work(item: tuple[str, Path]) -> tuple[str, int, Path | None]:
            path, whole = item
            stripped = whole.with_suffix(".stripped")
            may_replace = stripper.strip(whole, stripped)
            size = whole.stat().st_size
            whole.unlink()
            return path, size, stripped if may_replace else None

        saved = 0
        # `map` takes all files from `extracted` in this thread: a wheel is read by one at a time.
        for path, size, found in pool.map(work, extracted()):
            if found is not None:
                sources[path] = (sources[path][0], found)
                saved += size - found.stat().st_size
        return saved


def without_omitted(
    planned: list[PlannedFile], slim: Slim | None, site_packages: str
) -> tuple[list[PlannedFile], dict[str, int]]:
    """Return the files that ship, and those that are left out with their bytes.

    :param site_packages: the directory of modules, relative to the root of the bundle.
    """
    if slim is None:
        return planned, {}
    sizes = {str(file.path): _size(file) for file in planned}
    omitted = {path: sizes[path] for path in sorted(omitted_files(sizes, slim.level, site_packages))}
    return [file for file in planned if file.path not in omitted], omitted


def _size(file: PlannedFile) -> int:
    return file.source.size if isinstance(file.source, WheelFile) else len(file.source)


def find_stripper(host: HostEnvironment, scratch: Path) -> Stripper:
    """Return the ``strip`` on PATH.

    :param scratch: an existing private directory for the child.
    :raises InputError: if there is none, or it does not run.
    """
    env = host.child_env(scratch)
    program = shutil.which("strip", path=env["PATH"])
    ended = run_process([program, "--version"], env=env, cwd=scratch, timeout=_SECONDS) if program else None
    version = ended.stdout.decode("utf-8", "replace").partition("\n")[0] if ended else ""
    if program is None or ended is None or ended.returncode != 0 or not version:
        raise InputError(
            "`--slim max` removes debug symbols with `strip`, which this machine does not have",
            evidence=(f"searched  {printable(env['PATH'])}",),
            hint="install it: `apt-get install binutils`, or pass `--slim safe`",
        )
    return Stripper(program=Path(program), version=printable(version), host=host)


def is_shared_object(path: str) -> bool:
    """Return whether a file is a shared object, by its name.

    >>> is_shared_object("numpy.libs/libopenblas-1.so.0"), is_shared_object("a/b.py")
    (True, False)
    """
    return _NAME.fullmatch(path.rpartition("/")[2]) is not None


class _Elf:
    """The parts of an ELF-64 file that are mapped into memory.

    :param content: the whole file.
    :raises ValueError: if it is another file, or damaged.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        if content[:6] != _MAGIC:
            raise ValueError("not ELF-64 of little endian")
        (fields,) = self._table(_HEADER, 0, _HEADER.size, 1)
        programs = self._table(_PROGRAM_HEADER, fields[5], fields[9], fields[10])
        sections = self._table(_SECTION_HEADER, fields[6], fields[11], fields[12])
        self._loads = [(row[2], row[3], row[5], row[6]) for row in programs if row[0] == _LOAD]
        self.segments = [(row[0], row[1], row[3], row[7]) for row in programs]
        """Type, flags, address and alignment of each program header."""
        # "p_vaddr should equal p_offset, modulo p_align": the loader refuses a file where it does not.
        self.is_aligned = all((row[3] - row[2]) % max(1, row[7]) == 0 for row in programs if row[0] == _LOAD)
        self.sections = [(row[3], row[5], row[1] != _NOBITS) for row in sections if row[2] & _ALLOC]
        """Address and size of each section in memory, and whether the file has its bytes."""

    def _table(self, row: struct.Struct, start: int, size: int, count: int) -> list[tuple[int, ...]]:
        if count and size != row.size:
            raise ValueError("a table of another format")
        try:
            return [row.unpack_from(self._content, start + number * size) for number in range(count)]
        except struct.error as error:
            raise ValueError("a table outside of the file") from error

    def mapped(self, address: int, size: int, *, from_file: bool) -> bytes | None:
        """Return the bytes that are mapped at an address; None if no segment has all of them.

        :param from_file: whether they are in the file; else they are zeros, and an empty string is returned.
        """
        for offset, start, in_file, in_memory in self._loads:
            if start <= address and address + size <= start + (in_file if from_file else in_memory):
                begin = offset + address - start
                return self._content[begin : begin + size] if from_file else b""
        return None


def _same_in_memory(before: bytes, after: bytes) -> bool:
    """Return whether each section of ``before`` that is mapped into memory is mapped there by ``after``."""
    try:
        old, new = _Elf(before), _Elf(after)
    except ValueError:
        return False
    return (
        old.segments == new.segments
        and new.is_aligned
        and all(
            (wanted := old.mapped(address, size, from_file=from_file)) is not None
            and wanted == new.mapped(address, size, from_file=from_file)
            for address, size, from_file in old.sections
        )
    )
