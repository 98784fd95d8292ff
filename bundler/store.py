"""Effect: a content-addressed store of bytes, and small named references to them.

Blobs are named by their sha256 and never change; a reference names a blob, as a
ref of git names an object. Whatever is copied out is hashed again: what does
not agree is set aside, and made anew by whoever needs it.

    ROOT/v1/CACHEDIR.TAG
    ROOT/v1/blobs/ab/<sha256>           read-only
    ROOT/v1/refs/<kind>/ab/<key>        the sha256 of a blob; touched when it is used
    ROOT/v1/scratch/<random>/           private folders of running commands
    ROOT/v1/quarantine/                 blobs that did not agree with their name
    ROOT/v1/pip/                        pip's cache of index pages
    ROOT/v1/locks/                      files that are locked, and never deleted

Format: docs/architecture.md, "The store". Cache directory tagging: bford.info/cachedir.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bundler.digest import CHUNK, Sha256, parse_sha256
from bundler.errors import IntegrityError, OutputError
from bundler.reporter import SILENT, Reporter
from bundler.system.atomic import output_error, publish_file, replace_file
from bundler.system.locks import locked_file, try_lock

if TYPE_CHECKING:
    from bundler.system.environ import HostEnvironment

__all__ = ["Blob", "BlobWriter", "FsckReport", "GcReport", "Store", "StoreInfo", "key_of", "open_store"]

_LAYOUT = "v1"
_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by bundler; safe to delete when no bundler runs.\n"
)
_KIND = re.compile(r"[a-z][a-z-]*")
_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DAY = 86400
_READ_LIMIT = 1 << 28
_KEY_DOMAIN = b"bundler key v1\0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """Bytes in the store."""

    sha256: Sha256
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreInfo:
    """How large the store is."""

    path: str
    blobs: int
    bytes: int
    references: int
    scratch: int
    """Private folders, of commands that run and of commands that were killed."""
    quarantined: int

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class GcReport:
    """What was removed."""

    references: int
    blobs: int
    bytes: int
    scratch: int

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class FsckReport:
    """What a check of everything found."""

    checked: int
    quarantined: tuple[str, ...]
    """The digests of blobs whose bytes had changed."""
    dropped: tuple[str, ...]
    """References that named nothing."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return {**asdict(self), "quarantined": list(self.quarantined), "dropped": list(self.dropped)}


def open_store(path: Path | None, host: HostEnvironment, reporter: Reporter) -> Store:
    """Return the store: the one that is named, that of BUNDLER_STORE, or the user's own."""
    if path is None:
        named = host.get("BUNDLER_STORE")
        path = Path(named) if named else _cache_folder()
    return Store(host.cwd / path, reporter=reporter)


def _cache_folder() -> Path:
    from platformdirs import user_cache_path  # noqa: PLC0415 - not needed where the store is named

    return user_cache_path("bundler", appauthor=False)


def key_of(*parts: str | bytes) -> str:
    """Return the key of a reference: one digest over all parts, each with its length before it.

    >>> key_of("ab", "c") == key_of("a", "bc")
    False
    """
    digest = hashlib.sha256(_KEY_DOMAIN)
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


class BlobWriter:
    """Bytes on their way into the store, hashed as they are written."""

    def __init__(self, store: Store, stream: BinaryIO, staged: Path) -> None:
        self._store = store
        self._stream = stream
        self._staged = staged
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        """Add to the content."""
        self._digest.update(data)
        self._size += len(data)
        self._stream.write(data)
        return len(data)

    def commit(self, expected: Sha256 | None = None) -> Blob:
        """Publish what was written under its digest.

        :param expected: the only digest that will do.
        :raises IntegrityError: if it is another one; nothing is published then.
        """
        found = parse_sha256(self._digest.hexdigest())
        if expected is not None and found != expected:
            raise IntegrityError(
                "these are not the bytes that were asked for",
                evidence=(f"wanted  sha256 {expected}", f"found   sha256 {found}, {self._size} bytes"),
            )
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._staged.chmod(0o444)
        final = self._store.path_of(found)
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another process may have been quicker with the same bytes: then ours are dropped.
        with suppress(FileExistsError):
            publish_file(self._staged, final)
        return Blob(sha256=found, size=self._size)


class Store:
    """The store at ``root``; it is made when something is first written.

    :raises OutputError: if the folder belongs to somebody else.
    """

    def __init__(self, root: Path, *, reporter: Reporter = SILENT) -> None:
        self.root = root / _LAYOUT
        self._reporter = reporter
        with suppress(FileNotFoundError, NotADirectoryError):
            owner = root.stat().st_uid
            if os.name == "posix" and owner != os.geteuid():
                raise OutputError(
                    f"the store `{root}` belongs to another user",
                    evidence=(f"wanted  user {os.geteuid()}", f"found   user {owner}"),
                    hint="pass a `--store` of your own",
                )

    def path_of(self, digest: Sha256) -> Path:
        """Return where a blob lies, or would."""
        return self.root / "blobs" / digest[:2] / digest

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep `gc` away while a command works."""
        self._prepare()
        with locked_file(self.root / "locks" / "use", shared=True, reporter=self._reporter):
            yield

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Let one process at a time do the work that ``key`` names; a process that is killed lets go."""
        self._prepare()
        with locked_file(self.root / "locks" / key, shared=False, reporter=self._reporter):
            yield

    @contextmanager
    def write(self) -> Iterator[BlobWriter]:
        """Open a blob for writing; nothing of it is left unless it is committed."""
        self._prepare()
        staged = self.root / "scratch" / f"{secrets.token_hex(16)}.blob"
        try:
            flags = (
                os.O_WRONLY
                | os.O_CREAT
                | os.O_EXCL
                | getattr(os, "O_CLOEXEC", 0)
                | getattr(os, "O_BINARY", 0)
            )
            with os.fdopen(os.open(staged, flags, 0o600), "wb") as stream:
                yield BlobWriter(self, stream, staged)
        except OSError as error:
            raise output_error(self.root, error) from error
        finally:
            with suppress(FileNotFoundError):
                staged.unlink()

    def add(self, content: bytes) -> Sha256:
        """Store a small content and return its digest."""
        with self.write() as blob:
            blob.write(content)
            return blob.commit().sha256

    def has(self, digest: Sha256) -> bool:
        """Return whether there is a blob of that name; its bytes are not looked at."""
        return self.path_of(digest).is_file()

    def open(self, digest: Sha256) -> BinaryIO:
        """Open a blob for reading; the reader is to check what it reads.

        :raises IntegrityError: if there is none.
        """
        try:
            return self.path_of(digest).open("rb")
        except FileNotFoundError:
            raise IntegrityError(
                f"{digest[:12]} is gone from the store", hint="run the same command again"
            ) from None

    def copy(self, digest: Sha256, sink: Callable[[bytes], object]) -> int:
        """Hand a blob to ``sink`` piece by piece, hashing it again, and return its size.

        :raises IntegrityError: if its bytes have changed; it is set aside then.
        """
        found = hashlib.sha256()
        size = 0
        with self.open(digest) as stream:
            while chunk := stream.read(CHUNK):
                found.update(chunk)
                size += len(chunk)
                sink(chunk)
        if found.hexdigest() != digest:
            self._set_aside(digest, found.hexdigest())
        return size

    def read(self, digest: Sha256, *, limit: int = _READ_LIMIT) -> bytes:
        """Return a small blob, hashed again.

        :raises IntegrityError: if its bytes have changed; it is set aside then.
        """
        with self.open(digest) as stream:
            content = stream.read(limit)
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            self._set_aside(digest, found)
        return content

    def verified_path(self, digest: Sha256) -> Path:
        """Return where a blob lies, after hashing it again.

        :raises IntegrityError: if its bytes have changed; it is set aside then.
        """
        self.copy(digest, lambda _: None)
        return self.path_of(digest)

    def bind(self, kind: str, key: str, digest: Sha256) -> None:
        """Let a reference name a blob; it may have named another one."""
        ref = self._ref(kind, key)
        try:
            ref.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(ref, error) from error
        replace_file(ref, f"{digest}\n".encode(), mode=0o600)

    def lookup(self, kind: str, key: str) -> Sha256 | None:
        """Return the blob a reference names, and note that it was used; None if nothing is there."""
        ref = self._ref(kind, key)
        digest = _read_ref(ref)
        if digest is None or not self.has(digest):
            return None
        # The store may be read-only for us; then nobody collects it either.
        with suppress(OSError):
            os.utime(ref)
        return digest

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a private folder that is removed at the end; `gc` removes those of killed processes."""
        self._prepare()
        folder = self.root / "scratch" / secrets.token_hex(8)
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise output_error(folder, error) from error
        try:
            with locked_file(folder.with_suffix(".lock"), shared=False, reporter=self._reporter):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(FileNotFoundError):
                folder.with_suffix(".lock").unlink()

    def info(self) -> StoreInfo:
        """Count what is there."""
        sizes = [path.stat().st_size for path in self._blobs()]
        return StoreInfo(
            path=str(self.root.parent),
            blobs=len(sizes),
            bytes=sum(sizes),
            references=sum(1 for _ in self._refs()),
            scratch=sum(1 for _ in self._scratch_folders()),
            quarantined=sum(1 for _ in (self.root / "quarantine").glob("*")),
        )

    def gc(self, *, unused_days: int) -> GcReport:
        """Remove references that were not used for so many days, and blobs that no reference names.

        Waits until no other command works. Leftovers of killed commands and what
        was set aside go too.
        """
        self._prepare()
        with locked_file(self.root / "locks" / "use", shared=False, reporter=self._reporter):
            oldest = time.time() - unused_days * _DAY
            stale = [ref for ref in self._refs() if ref.stat().st_mtime <= oldest or _read_ref(ref) is None]
            for ref in stale:
                ref.unlink()
            named = {_read_ref(ref) for ref in self._refs()}
            doomed = [path for path in self._blobs() if path.name not in named]
            size = sum(path.stat().st_size for path in doomed)
            for path in doomed:
                path.unlink()
            shutil.rmtree(self.root / "quarantine", ignore_errors=True)
            for path in (self.root / "pip").rglob("*"):
                if path.is_file() and path.stat().st_mtime <= oldest:
                    path.unlink()
            return GcReport(references=len(stale), blobs=len(doomed), bytes=size, scratch=self._sweep())

    def fsck(self) -> FsckReport:
        """Hash every blob and follow every reference; what is wrong is set aside or dropped."""
        checked = 0
        bad = []
        with self.in_use():
            for path in list(self._blobs()):
                checked += 1
                try:
                    self.verified_path(parse_sha256(path.name))
                except (IntegrityError, ValueError):
                    bad.append(path.name)
            lost = [ref for ref in self._refs() if (named := _read_ref(ref)) is None or not self.has(named)]
            for ref in lost:
                ref.unlink()
        dropped = tuple(sorted(ref.relative_to(self.root / "refs").as_posix() for ref in lost))
        return FsckReport(checked=checked, quarantined=tuple(sorted(bad)), dropped=dropped)

    def _prepare(self) -> None:
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, *(self.root / name for name in ("blobs", "refs", "scratch", "locks"))):
                folder.mkdir(mode=0o700, exist_ok=True)
            tag = self.root / "CACHEDIR.TAG"
            if not tag.exists():
                replace_file(tag, _TAG)
        except OSError as error:
            raise output_error(self.root, error) from error

    def _ref(self, kind: str, key: str) -> Path:
        if not _KIND.fullmatch(kind) or not _KEY.fullmatch(key):
            raise ValueError(f"not a reference: {kind!r} {key!r}")
        return self.root / "refs" / kind / key[:2] / key

    def _blobs(self) -> Iterator[Path]:
        return (self.root / "blobs").glob("??/*")

    def _refs(self) -> Iterator[Path]:
        return (path for path in (self.root / "refs").glob("*/??/*") if not path.name.startswith("."))

    def _scratch_folders(self) -> Iterator[Path]:
        return (path for path in (self.root / "scratch").glob("*") if path.suffix != ".lock")

    def _set_aside(self, digest: Sha256, found: str) -> None:
        """Move a blob that has changed out of the way.

        :raises IntegrityError: always.
        """
        quarantine = self.root / "quarantine"
        quarantine.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            self.path_of(digest).replace(quarantine / f"{digest}.{secrets.token_hex(4)}")
        raise IntegrityError(
            "a file of the store has changed; it was set aside",
            evidence=(f"wanted  sha256 {digest}", f"found   sha256 {found}"),
            hint="run the same command again",
        )

    def _sweep(self) -> int:
        """Remove the private folders of processes that are gone; their lock is free then."""
        swept = 0
        for path in list(self._scratch_folders()):
            lock = path.with_suffix(".lock")
            if lock.exists() and not try_lock(lock):
                continue
            if stat.S_ISDIR(path.lstat().st_mode):
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
            swept += 1
        return swept


def _read_ref(ref: Path) -> Sha256 | None:
    """Return what a reference names, None if it is absent or torn."""
    try:
        text = ref.read_text("ascii")
        return parse_sha256(text[:-1]) if text.endswith("\n") else None
    except (OSError, ValueError):
        return None
