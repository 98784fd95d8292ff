"""Build wheels from sdists, local directories and repositories, under the target Python.

The target's own pip builds in an isolated environment (PEP 517, PEP 518). The
wheel is packed again, sorted and with one time stamp, so that two builds of one
source are identical, and is stored under the digest of its source.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from bundler.archive.zip import ZipReader
from bundler.digest import Sha256, hash_stream, parse_sha256
from bundler.errors import InputError, IntegrityError, ResolutionError
from bundler.resolve.failed_run import FailedRun
from bundler.resolve.failure import build_failure
from bundler.resolve.lockfile import LockedDistribution
from bundler.resolve.pip import Toolchain
from bundler.resolve.rpath import remove_host_rpath
from bundler.store.store import key_of
from bundler.system.process import own_module, run_process, tail

if TYPE_CHECKING:
    from bundler.store.store import Store
    from bundler.target.target import Target

__all__ = ["BuiltWheel", "build_wheel", "hash_tree"]

BUILD_FORMAT = 4
"""Part of the key of a built wheel; increment it with any change of the build, to rebuild all wheels."""

_PACK_SECONDS = 600

# Not sources of a project: caches and environments of tools, and metadata that differs between checkouts.
_NOT_SOURCE = frozenset(
    {"__pycache__", ".git", ".hg", ".tox", ".nox", ".venv", ".mypy_cache", ".pytest_cache"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltWheel:
    """A wheel that was built on this machine; the store contains one for each source and target."""

    sha256: Sha256
    """The digest of the wheel in the store."""
    filename: str
    requires: tuple[str, ...]
    """The distributions of the build environment, ``name==version --hash=sha256:...``, sorted."""
    build_dir: str = ""
    """The directory of this build; empty if the wheel was built by an earlier run."""

    def __post_init__(self) -> None:
        """Reject a value with an invalid digest: `Store.recall` then counts it as missing."""
        parse_sha256(self.sha256)


def hash_tree(folder: Path) -> Sha256:
    """Return the digest of a project directory, over the path and content of each file, sorted by path.

    Times, modes and the caches of tools (``__pycache__``, ``.git``, ...) do not count.
    Encoding: docs/format.md, "Local directories".
    """
    digest = hashlib.sha256(b"bundler folder v1\0")
    for path in sorted(
        _source_files(folder), key=lambda path: path.as_posix().encode("utf-8", "surrogateescape")
    ):
        with (folder / path).open("rb") as stream:
            content, _ = hash_stream(stream)
        for field in (path.as_posix().encode("utf-8", "surrogateescape"), content.encode()):
            digest.update(len(field).to_bytes(8, "big"))
            digest.update(field)
    return parse_sha256(digest.hexdigest())


def build_wheel(
    locked: LockedDistribution, target: Target, toolchain: Callable[[], Toolchain], store: Store
) -> BuiltWheel:
    """Return the wheel of a locked source from the store, or build it.

    :param toolchain: called only if the wheel must be built.
    :raises ResolutionError: if the build fails; the evidence is the end of its output.
    :raises IntegrityError: if the content of a local directory differs from the lock.
    """
    source = locked.sha256 or f"{locked.location}@{locked.commit}#{locked.subdirectory or ''}"
    if locked.kind == "directory":
        source = hash_tree(Path(locked.location))
        if locked.sha256 not in (None, source):
            raise IntegrityError(
                f"the directory of `{locked.name}` has changed since it was locked",
                evidence=(
                    f"at      {locked.location}",
                    f"wanted  sha256 {locked.sha256}",
                    f"found   sha256 {source}",
                ),
                hint="run the `bundler lock` that wrote the lock again",
            )
    key = key_of("built", locked.kind, source, target.version, target.abi, target.platform, str(BUILD_FORMAT))
    if (stored := _recall(key, store)) is not None:
        return stored
    with store.locked(key), store.scratch() as scratch:
        # Another process may have built the wheel while this one waited for the lock.
        if (stored := _recall(key, store)) is not None:
            return stored
        built = _build(locked, toolchain(), store, scratch)
        store.remember("built", key, replace(built, build_dir=""))
    return built


def _recall(key: str, store: Store) -> BuiltWheel | None:
    """Return the wheel of an earlier build, if the store still contains its file."""
    wheel = store.recall("built", key, BuiltWheel)
    if wheel is None or store.lookup("file", wheel.sha256) is None:
        return None
    return wheel


def _build(locked: LockedDistribution, toolchain: Toolchain, store: Store, scratch: Path) -> BuiltWheel:
    out, requires = scratch / "out", scratch / "requires"
    requires.mkdir()
    arguments = ["wheel", "--verbose", "--no-deps", "--use-pep517", "--wheel-dir", str(out)]
    flags = f"-g0 {shlex.quote(f'-ffile-prefix-map={scratch}=.')}"
    ended = toolchain.run_pip(
        [*arguments, _source(locked, store, scratch)],
        cached=False,
        # Debug information would contain the random path of the build directory.
        extra_env={
            "CFLAGS": flags,
            "CXXFLAGS": flags,
            "TMPDIR": str(scratch),
            # See `target/scripts/run_pip.py`: it fetches the requirements of the build by digest.
            "BUNDLER_BUILD_REQUIRES": str(requires),
        },
    )
    wheels = sorted(out.glob("*.whl")) if out.is_dir() else []
    if ended.returncode != 0 or len(wheels) != 1:
        project = f"`{locked.name}` {locked.version}" if locked.version else f"`{locked.name}`"
        run = FailedRun(ended=ended, settings=toolchain.settings, target=toolchain.target)
        raise build_failure(run, project, name=locked.name)
    used = sorted({line for path in requires.glob("*.txt") for line in path.read_text("utf-8").splitlines()})
    packed = _pack(wheels[0], toolchain, scratch)
    with packed.open("rb") as stream, store.write() as blob:
        shutil.copyfileobj(stream, blob)
        sha256 = blob.commit().sha256
    store.bind("file", sha256, sha256)
    return BuiltWheel(sha256=sha256, filename=packed.name, requires=tuple(used), build_dir=str(scratch))


def _source(locked: LockedDistribution, store: Store, scratch: Path) -> str:
    """Return the argument for ``pip wheel``: a URL, or a private copy of the source.

    A copy, since setuptools writes ``build/`` and ``*.egg-info`` into the directory that it builds.
    """
    fragment = f"#subdirectory={locked.subdirectory}" if locked.subdirectory else ""
    if locked.kind == "vcs":
        return f"git+{locked.location}@{locked.commit}{fragment}"
    parent = scratch / "source"
    parent.mkdir()
    if locked.kind == "directory":
        copy = parent / locked.filename
        for path in _source_files(Path(locked.location)):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(locked.location) / path, copy / path)
        return str(copy)
    if locked.sha256 is None:
        raise ResolutionError(f"the lock has no sha256 for `{locked.name}`")
    file = parent / locked.filename
    with file.open("xb") as stream:
        stream.writelines(store.chunks(locked.sha256))
    return file.as_uri() + fragment if fragment else str(file)


def _pack(wheel: Path, toolchain: Toolchain, scratch: Path) -> Path:
    """Repack a wheel with ``wheel pack``: sorted entries, one time, two modes, no RPATH of this host."""
    try:
        name, version, _, _ = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise ResolutionError(f"the build created `{wheel.name}`, an invalid wheel filename") from error
    tree = scratch / "tree" / f"{name}-{version}"
    with wheel.open("rb") as stream:
        reader = ZipReader(stream, name=wheel.name)
        for member in reader.members.values():
            path = tree / member.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for chunk in reader.chunks(member):
                    file.write(chunk)
            with path.open("r+b") as file:
                remove_host_rpath(file)
            path.chmod(0o755 if member.executable else 0o644)
    packed = scratch / "packed"
    packed.mkdir()
    argv = [*own_module("wheel"), "pack", "--dest-dir", str(packed), str(tree)]
    env = toolchain.host.child_env(scratch)
    ended = run_process(argv, env=env, cwd=scratch, timeout=_PACK_SECONDS)
    repacked = sorted(packed.glob("*.whl"))
    if ended.returncode != 0 or len(repacked) != 1:
        raise ResolutionError(f"the built wheel `{wheel.name}` is malformed", evidence=tail(ended.stderr))
    return repacked[0]


def _source_files(folder: Path) -> Iterator[Path]:
    """Yield the source files of a project, relative to its directory.

    Links to files are followed, links to directories are not: they may form a loop.

    :raises InputError: if a link leads out of the project, or of the git repository around it: the file
        would be packed.
    """
    root = folder.resolve()
    root = next((parent for parent in (root, *root.parents) if (parent / ".git").exists()), root)
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _NOT_SOURCE
            and not name.endswith(".egg-info")
            and not (Path(parent) / name / "pyvenv.cfg").is_file()  # a virtual environment (PEP 405)
        )
        for name in files:
            path = Path(parent) / name
            if path.is_file():
                if path.is_symlink() and not path.resolve().is_relative_to(root):
                    raise InputError(
                        f"`{path.relative_to(folder)}` of the project `{folder.name}` is a link out of it",
                        evidence=(f"found   {path.resolve()}",),
                        hint="replace the link by a copy of the file",
                    )
                yield path.relative_to(folder)
