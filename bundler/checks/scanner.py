"""Stage 5, effect: read source files with the target's parser, and shared objects.

What parses is `target/scripts/scan_imports.py`; nothing that is read is run. The answer for a
layer depends on its files and the target alone, so it is kept in the store.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import NormalizedName

from bundler.bundle.layer import Layer
from bundler.checks.findings import Finding
from bundler.checks.shared_objects import SharedObject, damaged, is_elf, read_shared_object
from bundler.checks.source_imports import FileImports
from bundler.checks.user_code import UserCode, own_files
from bundler.errors import BundlerError, MalformedError
from bundler.store.store import key_of
from bundler.system.process import run_process, tail
from bundler.target.interpreter import Interpreter
from bundler.target.scripts import script

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["Objects", "Scanner", "exists_in"]

_FORMAT = "2"
"""To be raised with any change of what a scan says, so that kept answers are made anew."""
_ELF_FORMAT = "1"
_SMALLEST_ELF = 52
"""Bytes of the header of a 32-bit file."""
_SECONDS = 1800
_MAX_FILES = 10_000
"""Of the user's code: more means that an environment or a data folder lies in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objects:
    """The shared objects of a bundle."""

    found: tuple[tuple[NormalizedName, SharedObject], ...]
    """Each with its distribution, sorted by distribution and path."""
    damaged: tuple[Finding, ...]


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
        """Return what the modules of each layer import, their paths relative to site-packages.

        :param tree: returns a folder that holds the files of all layers; called if any is to be scanned.
        """
        found = {layer.name: self._known(layer) for layer in layers}
        missing = [layer for layer in layers if found[layer.name] is None]
        if missing:
            root = tree()
            with (
                reporter.task("scanning", len(missing)) as task,
                ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="scan") as pool,
            ):

                def scan(layer: Layer) -> tuple[FileImports, ...]:
                    scanned = self._scan(layer, root)
                    task.advance()
                    return scanned

                for layer, scanned in zip(missing, pool.map(scan, missing), strict=True):
                    found[layer.name] = scanned
        return {name: scans or () for name, scans in found.items()}

    def objects(self, layers: Sequence[Layer], tree: Callable[[], Path], *, jobs: int) -> Objects:
        """Return what each shared object of the layers needs.

        :param tree: returns a folder that holds the files of all layers; called if any is to be read.
        """
        kept = {layer.name: self._store.lookup("elf", key_of(_ELF_FORMAT, layer.digest)) for layer in layers}
        root = tree() if None in kept.values() else None  # made here, not by several threads at once

        def read(layer: Layer) -> tuple[list[Any], list[Any]]:
            known = kept[layer.name]
            if known is not None or root is None:
                found, broken = json.loads(self._store.read(known)) if known is not None else ([], [])
                return found, broken
            return self._read_objects(layer, root)

        with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="elf") as pool:
            pairs = list(zip(layers, pool.map(read, layers), strict=True))
        return Objects(
            found=tuple(
                (layer.name, SharedObject.from_json(values))
                for layer, (found, _) in pairs
                for values in found
            ),
            damaged=tuple(
                damaged(layer.name, path, MalformedError(message, evidence=tuple(evidence)))
                for layer, (_, broken) in pairs
                for path, message, evidence in broken
            ),
        )

    def _read_objects(self, layer: Layer, root: Path) -> tuple[list[Any], list[Any]]:
        """Return the objects of one layer as plain values, and why others cannot be read."""
        found, broken = [], []
        for file in layer.files:
            if file.size < _SMALLEST_ELF or file.path.endswith((".py", ".pyc")):
                continue
            with (root / file.path).open("rb") as stream:
                if not is_elf(stream.read(4)):
                    continue
                stream.seek(0)
                try:
                    found.append(read_shared_object(stream, file.path).to_json())
                except MalformedError as error:
                    broken.append([file.path, error.message, list(error.evidence)])
        content = json.dumps([found, broken]).encode()
        self._store.bind("elf", key_of(_ELF_FORMAT, layer.digest), self._store.add(content))
        return found, broken

    def code(self, code: UserCode) -> dict[str, FileImports]:
        """Return the files of the user's code that the entry script reaches, by path, itself first.

        :raises BundlerError: if there are very many.
        """
        found: dict[str, FileImports] = {}
        waiting = [code.script]
        while waiting:
            for scan in self.files(code.folder, waiting, defines=True):
                found[scan.path] = scan
            reached = [
                file
                for path in waiting
                for one in found[path].imports
                for file in own_files(path, one, code.folder.name, exists_in(code.folder))
            ]
            waiting = [path for path in dict.fromkeys(reached) if path not in found]
            if len(found) + len(waiting) > _MAX_FILES:
                raise BundlerError(f"`{code.script}` reaches more than {_MAX_FILES} files")
        return found

    def files(self, root: Path, paths: Sequence[str], *, defines: bool = False) -> list[FileImports]:
        """Return what files below ``root`` import, in order."""
        found: list[FileImports] = []
        while len(found) < len(paths):
            found += self._answers(root, paths[len(found) :], defines=defines)
        return found

    def _answers(self, root: Path, paths: Sequence[str], *, defines: bool) -> list[FileImports]:
        """Return the answers for files, up to the first one that crashes the target's parser."""
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
        answers = [_parsed(json.loads(line)) for line in lines]
        # The parser of 3.7 has no limit of its own. An interrupt ends children by another signal.
        if -ended.returncode in (signal.SIGSEGV, signal.SIGABRT) and len(lines) < len(paths):
            return [*answers, FileImports(path=paths[len(lines)], error="0: it crashes the target's parser")]
        if ended.returncode != 0 or len(lines) != len(paths):
            raise BundlerError("the imports of source files could not be read", evidence=tail(ended.stderr))
        return answers

    def _key(self, layer: Layer) -> str:
        return key_of(_FORMAT, layer.digest, self._interpreter.target.version)

    def _known(self, layer: Layer) -> tuple[FileImports, ...] | None:
        kept = self._store.lookup("scan", self._key(layer))
        if kept is None:
            return None
        return tuple(FileImports.from_json(values) for values in json.loads(self._store.read(kept)))

    def _scan(self, layer: Layer, root: Path) -> tuple[FileImports, ...]:
        prefix = f"{self._interpreter.target.site_packages}/"
        paths = [
            file.path[len(prefix) :]
            for file in layer.files
            if file.path.startswith(prefix) and file.path.endswith(".py")
        ]
        # A file without imports says nothing, and most of the text is of those.
        scans = tuple(one for one in self.files(root / prefix, paths) if one.imports)
        content = json.dumps([one.to_json() for one in scans]).encode()
        self._store.bind("scan", self._key(layer), self._store.add(content))
        return scans


def exists_in(folder: Path) -> Callable[[str], bool]:
    """Return what tells whether there is a file of a relative path in a folder."""
    return lambda path: (folder / path).is_file()


def _parsed(line: Mapping[str, object]) -> FileImports:
    values = [line["file"], line.get("imports", []), line.get("defines", []), line.get("error", "")]
    return FileImports.from_json(values)
