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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from bundler.digest import CHUNK, Sha256, parse_sha256
from bundler.errors import IntegrityError, MalformedError, OutputError
from bundler.jsonio import decode
from bundler.reporter import SILENT, Reporter
from bundler.system.atomic import output_error, publish_file, replace_file
from bundler.system.locks import locked_file

if TYPE_CHECKING:
    from bundler.system.environ import HostEnvironment

__all__ = ["Blob", "BlobWriter", "Store", "key_of", "open_store", "read_ref"]

T = TypeVar("T")

_LAYOUT = "v1"
_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by bundler; safe to delete when no bundler runs.\n"
)
_KIND = re.compile(r"[a-z][a-z-]*")
_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_READ_LIMIT = 1 << 28
_KEY_DOMAIN = b"bundler key v1\0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """Bytes in the store."""

    sha256: Sha256
    size: int


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
        self.reporter = reporter
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
        self.prepare()
        with locked_file(self.root / "locks" / "use", shared=True, reporter=self.reporter):
            yield

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Let one process at a time do the work that ``key`` names; a process that is killed lets go."""
        self.prepare()
        with locked_file(self.root / "locks" / key, shared=False, reporter=self.reporter):
            yield

    @contextmanager
    def write(self) -> Iterator[BlobWriter]:
        """Open a blob for writing; nothing of it is left unless it is committed."""
        self.prepare()
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
        digest = read_ref(ref)
        if digest is None or not self.has(digest):
            return None
        # The store may be read-only for us; then nobody collects it either.
        with suppress(OSError):
            os.utime(ref)
        return digest

    def recall(self, kind: str, key: str, type_: type[T]) -> T | None:
        """Return a value that `remember` stored, or None.

        A value of another shape counts as absent: an older release stored it, or somebody changed it.
        """
        digest = self.lookup(kind, key)
        if digest is None:
            return None
        try:
            return decode(self.read(digest), type_, f"{kind} {key[:12]}")
        except (IntegrityError, MalformedError):
            return None

    def remember(self, kind: str, key: str, value: object) -> None:
        """Store a value under a key, as JSON."""
        import msgspec  # noqa: PLC0415 - `store info` needs none

        self.bind(kind, key, self.add(msgspec.json.encode(value, order="sorted")))

    def memo(self, kind: str, key: str, type_: type[T], make: Callable[[], T]) -> T:
        """Return the value under a key, made and stored now if there is none.

        :param make: called if there is none; two processes may both call it.
        """
        value = self.recall(kind, key, type_)
        if value is None:
            value = make()
            self.remember(kind, key, value)
        return value

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a private folder that is removed at the end; `gc` removes those of killed processes."""
        self.prepare()
        folder = self.root / "scratch" / secrets.token_hex(8)
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise output_error(folder, error) from error
        try:
            with locked_file(folder.with_suffix(".lock"), shared=False, reporter=self.reporter):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(FileNotFoundError):
                folder.with_suffix(".lock").unlink()

    def prepare(self) -> None:
        """Make the directories of the store.

        :raises OutputError: if they cannot be made.
        """
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

    def blobs(self) -> Iterator[Path]:
        """Yield the path of every blob."""
        return (self.root / "blobs").glob("??/*")

    def refs(self) -> Iterator[Path]:
        """Yield the path of every reference."""
        return (path for path in (self.root / "refs").glob("*/??/*") if not path.name.startswith("."))

    def scratch_directories(self) -> Iterator[Path]:
        """Yield the private directory of every command, also of those that were killed."""
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


def read_ref(ref: Path) -> Sha256 | None:
    """Return what a reference names, None if it is absent or torn."""
    try:
        text = ref.read_text("ascii")
        return parse_sha256(text[:-1]) if text.endswith("\n") else None
    except (OSError, ValueError):
        return None
