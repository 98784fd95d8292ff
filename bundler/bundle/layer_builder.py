"""Effect: build the layers of wheels concurrently, each once for a target."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bundler.archive.tree import TreeFile
from bundler.archive.wheel import Wheel, WheelFile, read_wheel
from bundler.bundle.launcher import is_python_script
from bundler.bundle.layer import (
    Layer,
    PlannedFile,
    layer_key_parts,
    plan_layer,
    record_bytes,
)
from bundler.bundle.segment import SegmentFormat, bind_content, write_segment
from bundler.bundle.slim import Slim, Source, without_omitted
from bundler.digest import Sha256, hash_stream, read_chunks, sha256_of
from bundler.errors import BundlerError, MalformedError
from bundler.paths import ArchivePath, archive_path
from bundler.store.store import key_of
from bundler.system.memory import has_memory_for
from bundler.system.process import run_process, tail

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment
    from bundler.target.interpreter import Interpreter

from bundler.target.scripts import in_shares, script

__all__ = ["LayerBuilder", "WheelRef"]

_COMPILE_SECONDS = 1800
_WAITING = 4
"""Layers beside those that are compiled: a small one waits for the disk most of its time."""
_HEAD = 256
"""Bytes of a script that are searched for a shebang."""

_PTH_LINE = 4096
"""Characters of a line of code in a ``.pth`` file that a layer keeps."""


class _CompileJob(NamedTuple):
    source: Path
    name: str
    """The path of the module in the layer, and its file name in tracebacks."""
    size: int
    output: Path
    bytecode: ArchivePath


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelRef:
    """A wheel in the store, as input of a layer."""

    sha256: Sha256
    filename: str
    forbidden: bytes = b""
    """A byte string that no file may contain: the build directory of a wheel that was built here."""


@dataclass(frozen=True, kw_only=True)
class LayerBuilder:
    """Builds layers for one target."""

    interpreter: Interpreter
    store: Store
    host: HostEnvironment
    segment_format: SegmentFormat
    """The form of the segment that is made with a new layer."""
    slim: Slim | None = None
    """The files to omit; None ships every file of a wheel."""

    def build_all(self, wheels: Sequence[WheelRef], *, jobs: int, reporter: Reporter) -> tuple[Layer, ...]:
        """Return the layer of each wheel, in order.

        :param jobs: number of target Pythons that compile at a time; `_WAITING` more layers are in work.
        """
        jobs = max(1, jobs)
        with (
            reporter.task("layers", len(wheels)) as task,
            ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="compile") as compilers,
            ThreadPoolExecutor(max_workers=jobs + _WAITING, thread_name_prefix="layer") as pool,
        ):

            def make(wheel: WheelRef) -> Layer:
                task.name(wheel.filename)
                layer = self.make(wheel, compilers)
                task.advance()
                return layer

            # The largest first: the last one to end should be a small one.
            largest = sorted(wheels, key=self._size, reverse=True)
            futures = {wheel.sha256: pool.submit(make, wheel) for wheel in largest}
            try:
                return tuple(futures[wheel.sha256].result() for wheel in wheels)
            except BaseException:
                for future in futures.values():
                    future.cancel()
                raise

    def _size(self, wheel: WheelRef) -> int:
        """Return the bytes of a wheel; 0 if it is missing, which is an error where it is read."""
        path = self.store.path_of(wheel.sha256)
        return path.stat().st_size if path.exists() else 0

    def make(self, wheel: WheelRef, compilers: Executor) -> Layer:
        """Return the layer of one wheel, from the store if it exists there."""
        slim = self.slim.of(wheel.filename) if self.slim else None
        target, compiles = self.interpreter.target, self.interpreter.compiles
        parts = layer_key_parts(wheel.sha256, target, compiles=compiles)
        key = key_of("layer", *parts, *(slim.key_parts if slim else ()))
        layer = self.store.recall("layer", key, Layer)
        if layer is not None and layer.wheel_sha256 == wheel.sha256:
            return layer
        # Under the lock `memo` looks again: another process may have built the layer meanwhile.
        with self.store.locked(key):
            return self.store.memo("layer", key, Layer, lambda: self._make(wheel, slim, compilers))

    def _make(self, wanted: WheelRef, slim: Slim | None, compilers: Executor) -> Layer:
        path = self.store.verified_path(wanted.sha256)
        with ExitStack() as stack:
            wheel = read_wheel(stack.enter_context(path.open("rb")), wanted.filename)
            sizes = [file.size for file in wheel.files if file.path.endswith(".py")]
            # The bytecode is about as large as its source.
            in_memory = has_memory_for(2 * sum(sizes), 2 * len(sizes))
            scratch = stack.enter_context(self.store.scratch(in_memory=in_memory))
            planned = plan_layer(wheel, self.interpreter.target, heads=_python_scripts(wheel))
            planned, omitted = without_omitted(planned, slim, self.interpreter.target.site_packages)
            sources: dict[str, tuple[int, Source]] = {file.path: (file.mode, file.source) for file in planned}
            compiled = self._compile(wheel, planned, sources, scratch, compilers)
            saved = slim.strip(wheel, sources, scratch, compilers) if slim is not None else 0
            files = self._table(wheel, sources)
            pth = _pth(wheel, planned, self.interpreter.target.site_packages)
            layer = replace(_describe(wheel, wanted, files, compiled, pth), omitted=omitted, saved=saved)
            write_segment(files, _contents(wheel, sources, wanted), self.segment_format, self.store)
        bind_content(layer, self.segment_format, self.store)
        return layer

    def _compile(
        self,
        wheel: Wheel,
        planned: Iterable[PlannedFile],
        sources: dict[str, tuple[int, Source]],
        scratch: Path,
        compilers: Executor,
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """Extract the modules of a wheel, compile them and add the bytecode to ``sources``.

        Without a Python of the target's version there is no bytecode.

        :return: the paths of the modules that are not valid for the target, and the digests of package code.
        """
        if not self.interpreter.compiles:
            return (), {}
        target = self.interpreter.target
        jobs: list[_CompileJob] = []
        for number, file in enumerate(planned):
            folder, _, name = file.path.rpartition("/")
            if not isinstance(file.source, WheelFile) or not name.endswith(".py"):
                continue
            if not f"{folder}/".startswith(f"{target.site_packages}/"):
                continue
            extracted = scratch / f"{number}.py"
            with extracted.open("xb") as stream:
                for chunk in wheel.chunks(file.source):
                    stream.write(chunk)
            sources[file.path] = (file.mode, extracted)
            bytecode = f"{folder}/__pycache__/{name[:-3]}.{target.cache_tag}.pyc"
            output = scratch / f"{number}.pyc"
            jobs.append(_CompileJob(extracted, file.path, file.source.size, output, archive_path(bytecode)))
        failed: set[str] = set()
        code: dict[str, str] = {}
        run = partial(self._run_compiler, scratch=scratch, filename=wheel.filename)
        for not_valid, digests in compilers.map(run, in_shares(jobs, lambda job: job.size)):
            failed |= not_valid
            code |= digests
        for job in jobs:
            if job.name not in failed:
                sources[job.bytecode] = (0o644, job.output)
        return tuple(sorted(failed)), code

    def _run_compiler(
        self, jobs: Sequence[_CompileJob], *, scratch: Path, filename: str
    ) -> tuple[set[str], dict[str, str]]:
        listed = [[str(job.source), job.name, str(job.output)] for job in jobs]
        # No -I: it would ignore PYTHONHASHSEED, and the order of a set of
        # strings in bytecode follows the hash seed.
        argv = [str(self.interpreter.python), "-s", "-S", "-B", str(script("compile"))]
        env = self.host.child_env(scratch)
        ended = run_process(
            argv, env=env, cwd=scratch, stdin=json.dumps(listed).encode(), timeout=_COMPILE_SECONDS
        )
        try:
            result = json.loads(ended.stdout)
        except ValueError:
            raise BundlerError(
                f"cannot compile the modules of `{filename}`", evidence=tail(ended.stderr)
            ) from None
        return set(result["failed"]), result["code"]

    def _table(self, wheel: Wheel, sources: dict[str, tuple[int, Source]]) -> tuple[TreeFile, ...]:
        """Return the table of a layer, and add its RECORD to ``sources``."""
        target = self.interpreter.target
        files = [_layer_file(wheel, path, mode, source) for path, (mode, source) in sources.items()]
        files.sort(key=lambda file: file.path.encode())
        record = archive_path(f"{target.site_packages}/{wheel.dist_info}/RECORD")
        content = record_bytes(files, record, target)
        sources[record] = (0o644, content)
        files.append(TreeFile(path=record, mode=0o644, size=len(content), sha256=sha256_of(content)))
        return tuple(sorted(files, key=lambda file: file.path.encode()))


def _python_scripts(wheel: Wheel) -> dict[str, bytes]:
    """Return the scripts of a wheel that are to run on the target's Python, with their first bytes."""
    heads = {}
    for file in wheel.files:
        if file.scheme == "scripts":
            head = b""
            for chunk in wheel.chunks(file):
                head += chunk[:_HEAD]
            if is_python_script(head[:_HEAD]):
                heads[str(file.path)] = head[:_HEAD]
    return heads


def _layer_file(wheel: Wheel, path: str, mode: int, source: Source) -> TreeFile:
    checked = archive_path(path)
    if isinstance(source, bytes):
        return TreeFile(path=checked, mode=mode, size=len(source), sha256=sha256_of(source))
    if isinstance(source, Path):
        with source.open("rb") as stream:
            digest, size = hash_stream(stream)
        return TreeFile(path=checked, mode=mode, size=size, sha256=digest)
    sha256 = source.sha256
    if sha256 is None:
        hasher = hashlib.sha256()
        for chunk in wheel.chunks(source):
            hasher.update(chunk)
        sha256 = Sha256(hasher.hexdigest())
    return TreeFile(path=checked, mode=mode, size=source.size, sha256=sha256)


def _contents(
    wheel: Wheel, sources: dict[str, tuple[int, Source]], wanted: WheelRef
) -> Callable[[TreeFile], Iterable[bytes]]:
    def contents(file: TreeFile) -> Iterable[bytes]:
        _, source = sources[file.path]
        chunks = _chunks(wheel, source)
        return (
            _without(chunks, wanted.forbidden, f"{wanted.filename}: {file.path}")
            if wanted.forbidden
            else chunks
        )

    return contents


def _chunks(wheel: Wheel, source: Source) -> Iterable[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with source.open("rb") as stream:
            yield from read_chunks(stream)
    else:
        yield from wheel.chunks(source)


def _without(chunks: Iterable[bytes], forbidden: bytes, where: str) -> Iterable[bytes]:
    """Yield ``chunks``, after checking that none contains the build path, also across chunk borders."""
    before = b""
    for chunk in chunks:
        window = before + chunk
        if forbidden in window:
            raise MalformedError(
                f"`{where}` contains the path of its build directory, so it is not relocatable",
                hint="build the wheel without debug information, and require it by path",
            )
        before = window[-len(forbidden) :]
        yield chunk


def _describe(
    wheel: Wheel,
    wanted: WheelRef,
    files: tuple[TreeFile, ...],
    compiled: tuple[tuple[str, ...], Mapping[str, str]],
    pth: tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]],
) -> Layer:
    metadata = wheel.metadata
    uncompiled, code = compiled
    pth_code, pth_folders = pth
    launchers = sorted(file.path[4:] for file in files if file.path.startswith("bin/"))
    return Layer(
        name=metadata.name,
        display_name=metadata.display_name,
        version_text=str(metadata.version),
        wheel=wheel.filename,
        wheel_sha256=wanted.sha256,
        licence=metadata.license,
        requires_dist=tuple(str(requirement) for requirement in metadata.requires_dist),
        requires_python=str(metadata.requires_python or ""),
        scripts=tuple(launchers),
        pth_code=pth_code,
        pth_folders=pth_folders,
        uncompiled=uncompiled,
        code=code,
        notes=wheel.notes,
        faults=wheel.faults,
        files=files,
    )


def _pth(
    wheel: Wheel, planned: Iterable[PlannedFile], site_packages: str
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the lines of code in the ``.pth`` files of a layer, by file, and the directories that they name.

    ``site`` processes the files of site-packages, whatever their scheme in the wheel. A line that starts
    with import runs; any other one, but for comments, is a directory. Python 3.13 ignores a byte order mark.
    """
    code: dict[str, tuple[str, ...]] = {}
    folders: set[str] = set()
    for file in planned:
        folder, _, name = file.path.rpartition("/")
        if folder != site_packages or not name.endswith(".pth") or not isinstance(file.source, WheelFile):
            continue
        text = b"".join(wheel.chunks(file.source)).decode("utf-8-sig", "replace")
        # Lines end as in a text file, and since Python 3.13 at form feeds, too: both readings count.
        split = dict.fromkeys(line.strip() for line in (*io.StringIO(text, newline=None), *text.splitlines()))
        lines = [line for line in split if line and not line.startswith("#")]
        running = [line for line in lines if line.startswith(("import ", "import\t"))]
        folders.update(line for line in lines if line not in running)
        if running:
            # A line that is cut is never a known one.
            code[name] = tuple(
                line if len(line) <= _PTH_LINE else f"{line[:_PTH_LINE]}..." for line in running
            )
    return code, tuple(sorted(folders))
