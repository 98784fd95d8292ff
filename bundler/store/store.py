"""A content-addressed store of bytes, with small named references to them.

A blob is named by its sha256 and never changes; a reference contains the digest
of a blob, as a ref of git contains that of an object. A blob is hashed again each
time it is read; if its content has changed, it is moved to the quarantine, and
`heal` repeats the work, which creates it again. A modification time derived from
the digest reveals a blob that was written to, also where it is not read.

    ROOT/v1/CACHEDIR.TAG
    ROOT/v1/blobs/ab/<sha256>           read-only
    ROOT/v1/refs/<kind>/ab/<key>        see `store.reference`; its mtime is the time of its last use
    ROOT/v1/scratch/<random>/           private directories of running commands
    ROOT/v1/quarantine/                 blobs and references that do not match their name
    ROOT/v1/pip/                        pip's cache of index pages
    ROOT/v1/locks/                      lock files, never deleted

Format: docs/architecture.md, "The store". Cache directory tagging: bford.info/cachedir.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from platformdirs import user_cache_dir

from bundler.digest import CHUNK, Sha256, parse_sha256
from bundler.errors import IntegrityError, MalformedError, OutputError, UsageError
from bundler.jsonio import decode
from bundler.paths import printable
from bundler.reporter import SILENT, Reporter
from bundler.store.reference import key_of, read_ref, ref_content
from bundler.system.atomic import output_error, publish_file, replace_file, temporary
from bundler.system.locks import locked_file
from bundler.system.memory import memory_folder

if TYPE_CHECKING:
    from bundler.system.environ import HostEnvironment

__all__ = ["Blob", "BlobWriter", "DamagedStoreError", "Store", "key_of", "open_store"]

T = TypeVar("T")

_LAYOUT = "v1"
_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by bundler; safe to delete when no bundler runs.\n"
)
_KIND = re.compile(r"[a-z][a-z-]*")
_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_READ_LIMIT = 1 << 28
_IF_FULL = "run `bundler store gc` to free space, or pass `--store` on another disk"


class DamagedStoreError(IntegrityError):
    """A blob is changed or missing, and was set aside: a repetition creates it again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """A blob of the store."""

    sha256: Sha256
    size: int
    """Bytes."""


def open_store(path: Path | None, host: HostEnvironment, reporter: Reporter) -> Store:
    """Return the store at ``path``, else at BUNDLER_STORE, else in the user's cache directory."""
    if path is None:
        path = Path(host.get("BUNDLER_STORE") or user_cache_dir("bundler", appauthor=False))
    root = (host.cwd / path).resolve()  # a sandbox does not show the directories before a `..`
    if not str(root).isprintable():
        text = f"the path of the store is not printable: `{printable(str(root))}`"
        raise UsageError(text, hint="pass another `--store`")
    return Store(root, reporter=reporter)


class BlobWriter:
    """A blob that is being written; hashes its content on the way."""

    def __init__(self, store: Store, stream: BinaryIO, staged: Path) -> None:
        self._store = store
        self._stream = stream
        self._staged = staged
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        """Append to the content, and return the number of bytes."""
        self._digest.update(data)
        self._size += len(data)
        self._stream.write(data)
        return len(data)

    def commit(self, expected: Sha256 | None = None) -> Blob:
        """Publish the written content under its digest.

        :param expected: the digest that the content must have; None accepts any.
        :raises IntegrityError: if the digest is a different one; nothing is published then.
        """
        digest = parse_sha256(self._digest.hexdigest())
        if expected is not None and digest != expected:
            raise IntegrityError(
                "the content does not have the expected digest",
                evidence=(f"wanted  sha256 {expected}", f"found   sha256 {digest}, {self._size} bytes"),
            )
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._staged.chmod(0o444)
        os.utime(self._staged, (_mark(digest), _mark(digest)))
        final = self._store.path_of(digest)
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another process may have published the same content first; its file is as good.
        if not self._store.has(digest):
            with suppress(FileExistsError):
                publish_file(self._staged, final)
        return Blob(sha256=digest, size=self._size)


class Store:
    """The store in the directory ``root``, which is created at the first write.

    :raises OutputError: if the directory belongs to another user, who could replace its content.
    """

    def __init__(self, root: Path, *, reporter: Reporter = SILENT) -> None:
        self.root = root / _LAYOUT
        self.reporter = reporter
        with suppress(FileNotFoundError, NotADirectoryError):
            owner = root.stat().st_uid
            if owner != os.geteuid():
                raise OutputError(
                    f"the store `{root}` belongs to another user",
                    evidence=(f"wanted  user {os.geteuid()}", f"found   user {owner}"),
                    hint="pass a `--store` of your own",
                )

    def path_of(self, digest: Sha256) -> Path:
        """Return the path of a blob, whether or not it exists."""
        return self.root / "blobs" / digest[:2] / digest

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Prevent garbage collection while the context is open."""
        self.prepare()
        with locked_file(self.root / "locks" / "use", shared=True, reporter=self.reporter):
            yield

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold an exclusive lock on ``key``, so that one process at a time creates the value."""
        self.prepare()
        with locked_file(self.root / "locks" / key, shared=False, reporter=self.reporter):
            yield

    @contextmanager
    def write(self) -> Iterator[BlobWriter]:
        """Open a new blob for writing; its content is removed unless it is committed.

        :raises OutputError: if the store cannot be written.
        """
        self.prepare()
        with temporary(self.root / "scratch" / f"{secrets.token_hex(16)}.blob") as staged:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                with os.fdopen(os.open(staged, flags, 0o600), "wb") as stream:
                    yield BlobWriter(self, stream, staged)
            except OSError as error:
                raise output_error(self.root, error, if_full=_IF_FULL) from error

    def add(self, content: bytes) -> Sha256:
        """Store bytes that are in memory, and return their digest."""
        with self.write() as blob:
            blob.write(content)
            return blob.commit().sha256

    def is_untouched(self, digest: Sha256) -> bool:
        """Return whether a blob exists with the modification time of its digest; it is not read."""
        try:
            facts = self.path_of(digest).lstat()
        except OSError:
            return False
        return stat.S_ISREG(facts.st_mode) and int(facts.st_mtime) == _mark(digest)

    def has(self, digest: Sha256) -> bool:
        """Return whether a blob exists; it is verified if its modification time is not that of its digest.

        A blob that was changed is quarantined.
        """
        path = self.path_of(digest)
        if not os.path.lexists(path):
            return False
        if self.is_untouched(digest):
            return True
        try:
            self.verified_path(digest)
        except DamagedStoreError:
            return False
        # A copy of the whole store, for example, has other times.
        with suppress(OSError):
            os.utime(path, (_mark(digest), _mark(digest)))
        return True

    def open(self, digest: Sha256) -> BinaryIO:
        """Open a blob for reading; the caller must verify its content.

        :raises IntegrityError: if the blob does not exist.
        """
        try:
            return self.path_of(digest).open("rb")
        except FileNotFoundError:
            raise DamagedStoreError(
                f"blob {digest[:12]} not found in the store", hint="run the same command again"
            ) from None
        except (IsADirectoryError, PermissionError) as error:
            raise self._quarantine(digest, error.strerror or "unreadable") from error

    def chunks(self, digest: Sha256) -> Iterator[bytes]:
        """Yield the content of a blob, and verify its digest.

        :raises IntegrityError: if its content has changed, after the last chunk; the blob is quarantined
            then.
        """
        actual = hashlib.sha256()
        with self.open(digest) as stream:
            while chunk := stream.read(CHUNK):
                actual.update(chunk)
                yield chunk
        if actual.hexdigest() != digest:
            raise self._quarantine(digest, f"sha256 {actual.hexdigest()}")

    def read(self, digest: Sha256, *, limit: int = _READ_LIMIT) -> bytes:
        """Return the verified content of a small blob.

        :param limit: the most bytes that are read; a larger blob fails the verification.
        :raises IntegrityError: if its content has changed; the blob is quarantined then.
        """
        with self.open(digest) as stream:
            content = stream.read(limit)
        actual = hashlib.sha256(content).hexdigest()
        if actual != digest:
            raise self._quarantine(digest, f"sha256 {actual}")
        return content

    def verified_path(self, digest: Sha256) -> Path:
        """Return the path of a blob after verifying its content.

        :raises IntegrityError: if its content has changed; the blob is quarantined then.
        """
        for _ in self.chunks(digest):
            pass
        return self.path_of(digest)

    def bind(self, kind: str, key: str, digest: Sha256) -> None:
        """Point a reference to a blob; an existing reference is replaced.

        :raises OutputError: if the reference cannot be written.
        """
        ref = self._ref(kind, key)
        try:
            ref.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(ref, error, if_full=_IF_FULL) from error
        replace_file(ref, ref_content(kind, key, digest), mode=0o600, if_full=_IF_FULL)

    def lookup(self, kind: str, key: str) -> Sha256 | None:
        """Return the digest a reference contains, or None if the reference or its blob is missing or damaged.

        Damaged ones are set aside. The mtime of the reference is set to the current time, for
        the garbage collection.
        """
        ref = self._ref(kind, key)
        digest = read_ref(ref)
        if digest is None or not self.has(digest):
            self._set_aside(ref)
            return None
        # A read-only store cannot record the use, and is not collected by this user either.
        with suppress(OSError):
            os.utime(ref)
        return digest

    def recall(self, kind: str, key: str, type_: type[T]) -> T | None:
        """Return a value stored by `remember`, or None.

        A value that does not decode as ``type_`` counts as missing: another release wrote it, or its
        blob was changed.

        :param type_: the type of the value: a msgspec struct, a dataclass, or a plain type.
        """
        digest = self.lookup(kind, key)
        if digest is None:
            return None
        try:
            return decode(self.read(digest), type_, f"{kind} {key[:12]}")
        except (IntegrityError, MalformedError):
            self._set_aside(self._ref(kind, key))
            return None

    def remember(self, kind: str, key: str, value: object) -> None:
        """Store a value under a key, as JSON with sorted keys."""
        import msgspec  # noqa: PLC0415 - 15 ms that `store info` does not need

        self.bind(kind, key, self.add(msgspec.json.encode(value, order="sorted")))

    def memo(self, kind: str, key: str, type_: type[T], make: Callable[[], T]) -> T:
        """Return the value under a key; create and store it if it is missing.

        :param make: creates the value; without `locked`, two processes may both call it.
        """
        value = self.recall(kind, key, type_)
        if value is None:
            value = make()
            self.remember(kind, key, value)
        return value

    @contextmanager
    def scratch(self, *, in_memory: bool = False) -> Iterator[Path]:
        """Create a private directory that is removed when the context ends.

        If the process is killed, `maintenance.remove_abandoned` removes the directory: its lock is free.

        :param in_memory: whether it is in `memory_folder`; one of that name in the store stands for it.
        :raises OutputError: if it cannot be created.
        """
        self.prepare()
        folder = self.root / "scratch" / secrets.token_hex(8)
        memory = memory_folder(folder.name)
        with temporary(folder.with_suffix(".lock")) as lock, temporary(folder), temporary(memory):
            try:
                folder.mkdir(mode=0o700)
                if in_memory:
                    memory.mkdir(mode=0o700)
            except OSError as error:
                raise output_error(folder, error, if_full=_IF_FULL) from error
            with locked_file(lock, shared=False, reporter=self.reporter):
                yield memory if in_memory else folder

    def prepare(self) -> None:
        """Create the directories of the store.

        :raises OutputError: if they cannot be created.
        """
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, *(self.root / name for name in ("blobs", "refs", "scratch", "locks"))):
                folder.mkdir(mode=0o700, exist_ok=True)
            tag = self.root / "CACHEDIR.TAG"
            if not tag.exists():
                replace_file(tag, _TAG, if_full=_IF_FULL)
        except OSError as error:
            raise output_error(self.root, error, if_full=_IF_FULL) from error

    def _ref(self, kind: str, key: str) -> Path:
        if not _KIND.fullmatch(kind) or not _KEY.fullmatch(key):
            raise ValueError(f"not a reference: {kind!r} {key!r}")
        return self.root / "refs" / kind / key[:2] / key

    def blobs(self) -> Iterator[Path]:
        """Yield the path of every blob."""
        return (self.root / "blobs").glob("??/*")

    def refs(self) -> Iterator[Path]:
        """Yield the path of every reference."""
        return (path for path in (self.root / "refs").glob("*/??/*") if not path.name.startswith("."))

    def scratch_directories(self) -> Iterator[Path]:
        """Yield the private directory of every running or killed command."""
        return (path for path in (self.root / "scratch").glob("*") if path.suffix != ".lock")

    def _quarantine(self, digest: Sha256, found: str) -> DamagedStoreError:
        """Move a changed blob to the quarantine, and return the error that reports it."""
        self._set_aside(self.path_of(digest))
        return DamagedStoreError(
            "a blob of the store has changed; it was moved to the quarantine",
            evidence=(f"wanted  sha256 {digest}", f"found   {found}"),
            hint="run the same command again",
        )

    def _set_aside(self, path: Path) -> None:
        """Move a damaged blob or reference to the quarantine; a read-only store stays as it is."""
        with suppress(OSError):
            if os.path.lexists(path):
                (self.root / "quarantine").mkdir(mode=0o700, exist_ok=True)
                path.replace(self.root / "quarantine" / f"{path.name}.{secrets.token_hex(4)}")


def _mark(digest: Sha256) -> int:
    """Return the modification time of an unchanged blob: even, since FAT has no others, and before 1979."""
    return int(digest[:7], 16) & ~1
