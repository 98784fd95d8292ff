"""Stage 5, effect: read source files with the target's parser, and shared objects.

The child runs `target/scripts/scan_imports.py` in the target Python; it parses files and runs
none. The result for a layer depends on its files and the target alone, so it is stored under
a key of these.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName

from bundler.archive.tree import TreeFile
from bundler.bundle.layer import Layer
from bundler.checks.findings import Finding
from bundler.checks.shared_objects import SharedObject, damaged, is_elf, read_shared_object
from bundler.checks.source_imports import FileImports, FoundImport, When
from bundler.checks.user_code import UserCode, added_folders, own_files
from bundler.errors import BundlerError, MalformedError
from bundler.jsonio import decode
from bundler.store.store import key_of
from bundler.system.process import run_process, tail
from bundler.target.interpreter import Interpreter
from bundler.target.scripts import in_shares, script

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["Objects", "Scanner", "exists_in"]

_SCAN_FORMAT = "5"
"""A part of every key of a scan. Raise it with any change of the scan script or of `FileImports`: stored
results of older releases are then not read."""
_ELF_FORMAT = "4"
"""The same for shared objects: raise it with any change of `read_shared_object` or `_LayerObjects`."""
_SMALLEST_ELF = 52
"""Bytes of the header of a 32-bit ELF file; a smaller file is not one."""
_SECONDS = 1800
_MAX_FILES = 10_000
"""Files of the user's code; more suggest that the source directory contains an environment or data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objects:
    """The shared objects of a bundle."""

    found: tuple[tuple[NormalizedName, SharedObject], ...]
    """Each with its distribution, sorted by distribution and path."""
    damaged: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _DamagedFile:
    """An ELF file that cannot be read, with the parts of the error."""

    path: str
    message: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _LayerObjects:
    """The shared objects of one layer, as the store keeps them."""

    found: tuple[SharedObject, ...] = ()
    damaged: tuple[_DamagedFile, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _ScanLine:
    """One line of the protocol of ``target/scripts/scan_imports.py``."""

    file: str
    imports: tuple[tuple[str, int, int, When, tuple[str, ...]], ...] = ()
    """Module, level, line, when it runs, names."""
    defines: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    error: str = ""


class Scanner:
    """Scans files for one target."""

    def __init__(self, interpreter: Interpreter, store: Store, host: HostEnvironment, scratch: Path) -> None:
        self._interpreter = interpreter
        self._store = store
        self._host = host
        self._scratch = scratch

    def layers(
        self, layers: Sequence[Layer], tree: Callable[[], Path], *, jobs: int, reporter: Reporter
    ) -> dict[NormalizedName, tuple[FileImports, ...]]:
        """Return the imports of each layer's modules, paths relative to site-packages.

        :param tree: returns a directory with the files of all layers; called at most once, and only
            if the store lacks a layer.
        """
        found = {
            layer.name: self._store.recall("scan", self._scan_key(layer), tuple[FileImports, ...])
            for layer in layers
        }
        missing = [layer for layer in layers if found[layer.name] is None]
        if missing:
            modules = {layer.name: self._modules(layer) for layer in missing}
            scans = self._scan([*chain.from_iterable(modules.values())], tree(), jobs, reporter)
            for layer in missing:
                # No check asks about files without imports, and they are most of the files.
                in_order = (scans[file.path] for file in modules[layer.name])
                found[layer.name] = scanned = tuple(scan for scan in in_order if scan.imports)
                self._store.remember("scan", self._scan_key(layer), scanned)
        return {name: scans or () for name, scans in found.items()}

    def objects(self, layers: Sequence[Layer], tree: Callable[[], Path], *, jobs: int) -> Objects:
        """Return the needs of each shared object of the layers, and the files that cannot be read.

        :param tree: as for `layers`.
        """
        known = {layer.name: self._store.recall("elf", _elf_key(layer), _LayerObjects) for layer in layers}
        # The tree is created here: several threads must not create it at once.
        root = tree() if None in known.values() else None

        def read(layer: Layer) -> _LayerObjects:
            objects = known[layer.name]
            if objects is None and root is not None:
                objects = _read_objects(layer, root)
                self._store.remember("elf", _elf_key(layer), objects)
            return objects or _LayerObjects()

        with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="elf") as pool:
            pairs = list(zip(layers, pool.map(read, layers), strict=True))
        return Objects(
            found=tuple((layer.name, shared) for layer, objects in pairs for shared in objects.found),
            damaged=tuple(
                damaged(layer.name, file.path, MalformedError(file.message, evidence=file.evidence))
                for layer, objects in pairs
                for file in objects.damaged
            ),
        )

    def code(self, code: UserCode) -> dict[str, FileImports]:
        """Return the user's files that the entry script reaches by imports, by path, the script first.

        :raises BundlerError: if there are more than 10,000.
        """
        found: dict[str, FileImports] = {}
        waiting = [code.script]
        folders: tuple[str, ...] = ()
        while waiting:
            for scan in self.files(code.folder, waiting, defines=True):
                found[scan.path] = scan
            before, folders = folders, added_folders(found)
            reached = [
                file
                for path in (waiting if folders == before else found)
                for statement in found[path].imports
                for file in own_files(path, statement, code.folder.name, exists_in(code.folder), folders)
            ]
            waiting = [path for path in dict.fromkeys(reached) if path not in found]
            if len(found) + len(waiting) > _MAX_FILES:
                raise BundlerError(
                    f"`{code.script}` imports more than {_MAX_FILES} files of the source directory"
                )
        return found

    def files(self, root: Path, paths: Sequence[str], *, defines: bool = False) -> list[FileImports]:
        """Return the imports of files below ``root``, in the order of ``paths``.

        :param defines: whether to return the names that the top level binds, too.
        :raises BundlerError: if the target Python cannot scan at all.
        """
        found: list[FileImports] = []
        while len(found) < len(paths):
            found += self._answers(root, paths[len(found) :], defines=defines)
        return found

    def _answers(self, root: Path, paths: Sequence[str], *, defines: bool) -> list[FileImports]:
        """Return the imports of files, up to and with the first one that crashes the target's parser."""
        argv = [str(self._interpreter.python), "-I", "-S", "-B", "-W", "ignore", str(script("scan_imports"))]
        request = {"root": str(root), "files": list(paths), "defines": defines}
        ended = run_process(
            argv,
            env=self._host.child_env(self._scratch),
            cwd=self._scratch,
            stdin=json.dumps(request).encode("ascii"),
            timeout=_SECONDS,
        )
        lines = [line for line in ended.stdout.splitlines(keepends=True) if line.endswith(b"\n")]
        answers = [_file_imports(line) for line in lines]
        # The parser of 3.7 recurses without a limit, so that a long expression overflows the C stack
        # (SIGSEGV; SIGABRT where CPython notices). An interrupt ends children by SIGINT or SIGTERM.
        if -ended.returncode in (signal.SIGSEGV, signal.SIGABRT) and len(lines) < len(paths):
            return [*answers, FileImports(path=paths[len(lines)], error="0: it crashes the target's parser")]
        if ended.returncode != 0 or len(lines) != len(paths):
            raise BundlerError("cannot read the imports of source files", evidence=tail(ended.stderr))
        return answers

    def _scan_key(self, layer: Layer) -> str:
        return key_of(_SCAN_FORMAT, layer.digest, self._interpreter.own.version)

    def _modules(self, layer: Layer) -> list[TreeFile]:
        prefix = f"{self._interpreter.target.site_packages}/"
        invalid = frozenset(layer.uncompiled)
        return [
            file
            for file in layer.files
            if file.path.startswith(prefix) and file.path.endswith(".py") and file.path not in invalid
        ]

    def _scan(
        self, files: Sequence[TreeFile], root: Path, jobs: int, reporter: Reporter
    ) -> dict[str, FileImports]:
        """Return the imports of modules below ``root``, by the path in the layer."""
        prefix = f"{self._interpreter.target.site_packages}/"
        shares = in_shares(files, lambda file: file.size)
        with (
            reporter.task("verify", len(files)) as task,
            ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="scan") as pool,
        ):

            def scan(share: Sequence[TreeFile]) -> list[FileImports]:
                scans = self.files(root / prefix, [file.path.removeprefix(prefix) for file in share])
                task.advance(len(scans))
                return scans

            return {prefix + scan.path: scan for scans in pool.map(scan, shares) for scan in scans}


def exists_in(folder: Path) -> Callable[[str], bool]:
    """Return a predicate: whether a relative path is a file in this directory."""
    return lambda path: (folder / path).is_file()


def _elf_key(layer: Layer) -> str:
    return key_of(_ELF_FORMAT, layer.digest)


def _read_objects(layer: Layer, root: Path) -> _LayerObjects:
    """Read the shared objects among the files of a layer below ``root``."""
    found, broken = [], []
    for file in layer.files:
        if file.size < _SMALLEST_ELF or file.path.endswith((".py", ".pyc")):
            continue
        with (root / file.path).open("rb") as stream:
            if not is_elf(stream.read(4)):
                continue
            stream.seek(0)
            try:
                found.append(read_shared_object(stream, file.path))
            except MalformedError as error:
                damage = _DamagedFile(path=file.path, message=error.message, evidence=tuple(error.evidence))
                broken.append(damage)
    return _LayerObjects(found=tuple(found), damaged=tuple(broken))


def _file_imports(line: bytes) -> FileImports:
    """Return the imports of one file from a line of the scan script."""
    scan = decode(line, _ScanLine, "the answer of the import scan")
    return FileImports(
        path=scan.file,
        imports=tuple(
            FoundImport(module=module, level=level, line=line_number, when=when, names=names)
            for module, level, line_number, when, names in scan.imports
        ),
        defines=scan.defines,
        folders=scan.folders,
        error=scan.error,
    )
