"""Stage 3, effect: source distributions, local folders and repositories to wheels, under the target Python.

The build runs in an isolated environment (PEP 517, PEP 518) of the target's own
pip. What comes out is packed anew, so that two builds of one source are one
file, and is kept in the store by the source's digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from bundler.archive.zip import ZipReader
from bundler.digest import Sha256, hash_stream, parse_sha256
from bundler.errors import IntegrityError, ResolutionError
from bundler.resolve.lockfile import LockedDistribution
from bundler.resolve.pip import Toolchain, pip_failure
from bundler.store.store import key_of
from bundler.system.process import run_process, tail

if TYPE_CHECKING:
    from bundler.store.store import Store
    from bundler.target.target import Target

__all__ = ["BuiltWheel", "build_wheel", "hash_tree"]

BUILD_FORMAT = 1
"""To be raised with any change of how wheels are built, so that they are built anew."""

_PACK_SECONDS = 600
_USED = re.compile(r"^\s*Successfully installed (.+)$", re.MULTILINE)

# Not part of a project: what tools leave behind, and what differs between two checkouts.
_NOT_SOURCE = frozenset(
    {"__pycache__", ".git", ".hg", ".tox", ".nox", ".venv", ".mypy_cache", ".pytest_cache"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltWheel:
    """A wheel that was built here."""

    sha256: Sha256
    """Its digest in the store."""
    filename: str
    requires: tuple[str, ...]
    """What was in the build environment, ``name-version``, sorted."""
    build_dir: str = ""
    """Where it was built; empty if it came from the store."""


def hash_tree(folder: Path) -> Sha256:
    """Return the digest of a project folder: each file's path and content, sorted; no times, no modes.

    What tools leave behind (``__pycache__``, ``.git``, ...) does not count.
    Encoding: docs/format.md, "Local folders".
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
    """Return the wheel of a locked source, built now unless the store has it.

    :param toolchain: called only if something must be built.
    :raises ResolutionError: if the build fails; the evidence is the end of what it said.
    :raises IntegrityError: if a local folder is not the one that was locked.
    """
    source = locked.sha256 or f"{locked.location}@{locked.commit}#{locked.subdirectory or ''}"
    if locked.kind == "directory":
        source = hash_tree(Path(locked.location))
        if locked.sha256 not in (None, source):
            raise IntegrityError(
                f"the folder of `{locked.name}` has changed since it was locked",
                evidence=(
                    f"at      {locked.location}",
                    f"wanted  sha256 {locked.sha256}",
                    f"found   sha256 {source}",
                ),
                hint="lock again: `bundler lock -r requirements.txt -o pylock.toml`",
            )
    key = key_of("built", locked.kind, source, target.version, target.abi, target.platform, str(BUILD_FORMAT))
    if (known := _known(key, store)) is not None:
        return known
    with store.locked(key), store.scratch() as scratch:
        if (known := _known(key, store)) is not None:
            return known
        made = _build(locked, toolchain(), store, scratch)
        facts = {"filename": made.filename, "requires": list(made.requires), "sha256": made.sha256}
        store.bind("built", key, store.add(json.dumps(facts, sort_keys=True).encode()))
    return made


def _known(key: str, store: Store) -> BuiltWheel | None:
    facts_blob = store.lookup("built", key)
    if facts_blob is None:
        return None
    facts = json.loads(store.read(facts_blob))
    if store.lookup("file", facts["sha256"]) is None:
        return None
    return BuiltWheel(
        sha256=parse_sha256(facts["sha256"]), filename=facts["filename"], requires=tuple(facts["requires"])
    )


def _build(locked: LockedDistribution, toolchain: Toolchain, store: Store, scratch: Path) -> BuiltWheel:
    out = scratch / "out"
    arguments = ["wheel", "--verbose", "--no-deps", "--use-pep517", "--wheel-dir", str(out)]
    flags = f"-g0 {shlex.quote(f'-ffile-prefix-map={scratch}=.')}"
    ended = toolchain.run_pip(
        [*arguments, _source(locked, store, scratch)],
        cached=False,
        # Debug information would hold the path of the build.
        extra_env={"CFLAGS": flags, "CXXFLAGS": flags, "TMPDIR": str(scratch)},
    )
    wheels = sorted(out.glob("*.whl")) if out.is_dir() else []
    if ended.returncode != 0 or len(wheels) != 1:
        what = f"`{locked.name}` {locked.version or ''} cannot be built for Python {toolchain.target_version}"
        raise pip_failure(ended, " ".join(what.split()))
    said = ended.stderr + ended.stdout.decode("utf-8", "replace")
    used = sorted({item for match in _USED.finditer(said) for item in match[1].split()})
    packed = _pack(wheels[0], toolchain, scratch)
    with packed.open("rb") as stream, store.write() as blob:
        shutil.copyfileobj(stream, blob)
        sha256 = blob.commit().sha256
    store.bind("file", sha256, sha256)
    return BuiltWheel(sha256=sha256, filename=packed.name, requires=tuple(used), build_dir=str(scratch))


def _source(locked: LockedDistribution, store: Store, scratch: Path) -> str:
    """Return what pip is to build: a private copy, so that a build cannot write into the user's folder."""
    inside = f"#subdirectory={locked.subdirectory}" if locked.subdirectory else ""
    if locked.kind == "vcs":
        return f"git+{locked.location}@{locked.commit}{inside}"
    place = scratch / "source"
    place.mkdir()
    if locked.kind == "directory":
        copy = place / locked.filename
        for path in _source_files(Path(locked.location)):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(locked.location) / path, copy / path)
        return str(copy)
    if locked.sha256 is None:
        raise ResolutionError(f"`{locked.name}` has no sha256 in the lock")
    file = place / locked.filename
    with file.open("xb") as stream:
        store.copy(locked.sha256, stream.write)
    return file.as_uri() + inside if inside else str(file)


def _pack(wheel: Path, toolchain: Toolchain, scratch: Path) -> Path:
    """Pack a wheel anew with the PyPA's ``wheel``: sorted, one time, two modes, a RECORD that is right."""
    try:
        name, version, _, _ = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise ResolutionError(f"the build made `{wheel.name}`, which is not the name of a wheel") from error
    tree = scratch / "tree" / f"{name}-{version}"
    with wheel.open("rb") as stream:
        reader = ZipReader(stream, name=wheel.name)
        for member in reader.members.values():
            path = tree / member.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for chunk in reader.chunks(member):
                    file.write(chunk)
            path.chmod(0o755 if member.executable else 0o644)
    packed = scratch / "packed"
    packed.mkdir()
    argv = [sys.executable, "-I", "-m", "wheel", "pack", "--dest-dir", str(packed), str(tree)]
    env = toolchain.host.child_env(scratch)
    ended = run_process(argv, env=env, cwd=scratch, timeout=_PACK_SECONDS)
    made = sorted(packed.glob("*.whl"))
    if ended.returncode != 0 or len(made) != 1:
        raise ResolutionError(
            f"the wheel that the build made, `{wheel.name}`, is malformed", evidence=tail(ended.stderr)
        )
    return made[0]


def _source_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a project, relative to its folder; links are followed only to files."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name not in _NOT_SOURCE and not name.endswith(".egg-info")
        )
        for name in files:
            path = Path(parent) / name
            if path.is_file():
                yield path.relative_to(folder)
