"""Effect: read an untrusted bundle, check every byte, and unpack it.

The manifest is the first file of an archive and determines every byte that is
not content. So headers are generated and compared, never parsed: a link, a device
or a path outside of the bundle cannot occur.

Format: docs/format.md, "Archive".
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from bundler.archive.compression import SUFFIXES, Codec, decompressed
from bundler.archive.content import check_content
from bundler.archive.streams import ExactReader, require_digest, verified
from bundler.archive.tar import BLOCK, END, directory_header, file_header, padding
from bundler.bundle.extract import ExtractEntry, extract_entries
from bundler.bundle.manifest import LIMIT, Manifest, parse_manifest
from bundler.bundle.plan import ArchiveMember
from bundler.digest import Sha256, hash_stream, parse_sha256, read_chunks, sha256_of
from bundler.errors import IntegrityError, MalformedError, OutputError
from bundler.paths import UnsafePathError, archive_path, portability_note, printable
from bundler.system.atomic import staged_dir
from bundler.system.threads import read_ahead
from bundler.text import first_lines

if TYPE_CHECKING:
    from bundler.reporter import Reporter

__all__ = ["Checked", "read_archive", "read_manifest", "unpack_bundle", "verify_bundle"]

_CODECS: tuple[tuple[str, Codec], ...] = ((".tar.gz", "gz"), (".tgz", "gz"), (".tar.zst", "zst"))
_SHOWN = 10
_UNSAFE = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH
"""Permission bits that no file of a bundle has."""
_DIRECTORY_MODE = 0o755
_REPACKED = "if it was packed again, unpack it with `tar -xf`, and verify the directory"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A bundle whose every byte was checked against its manifest."""

    path: Path
    manifest: Manifest
    sha256: Sha256 | None
    """Of the archive; None for a folder."""
    size: int
    """Bytes of the archive, or of all files of a folder."""
    companions: tuple[str, ...]
    """The files beside the archive that were compared with it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The paths that cannot be unpacked everywhere; notes, since containment does not rest on it."""
        found = ((file.path, portability_note(archive_path(file.path))) for file in self.manifest.files)
        return tuple(islice((f"{printable(path)}: {reason}" for path, reason in found if reason), _SHOWN))


def verify_bundle(path: Path, *, reporter: Reporter, alone: bool = False) -> Checked:
    """Check a bundle, an archive or an unpacked directory, against its manifest.

    :param alone: whether to ignore the files beside an archive.
    :raises IntegrityError: if a file is changed or missing; the message contains its path.
    :raises MalformedError: if it has an extra file, or is not a bundle.
    """
    if path.is_dir():
        return _verify_folder(path, reporter)
    with _opened(path) as (stream, codec):
        sha256, size, companions = _check_companions(path, stream, alone=alone)
        with (
            reporter.task("verify", size, in_bytes=True) as task,
            read_ahead(decompressed(_chunks(stream, task.advance), codec, path.name)) as chunks,
        ):
            manifest, entries = read_archive(chunks, path.name)
            deque((piece for _, content in entries for piece in content), maxlen=0)
    if not alone:
        _check_manifest_beside(path, manifest)
    return Checked(path=path, manifest=manifest, sha256=sha256, size=size, companions=companions)


def unpack_bundle(path: Path, dest: Path, *, reporter: Reporter) -> Checked:
    """Check an archive and write it to ``dest``, which becomes the bundle's root and must not exist.

    An empty directory counts as not existing. On failure nothing is left.

    :raises OutputError: if ``dest`` exists; nothing is read then.
    """
    if path.is_dir():
        raise OutputError(f"`{path}` is a directory: it is unpacked already", hint=f"bundler verify {path}")
    if os.path.lexists(dest) and not _is_replaceable(dest):
        raise _exists(dest)
    with _opened(path) as (stream, codec):
        sha256, size, companions = _check_companions(path, stream)
        try:
            with (
                staged_dir(dest) as staging,
                reporter.task("unpack", size, in_bytes=True) as task,
                read_ahead(decompressed(_chunks(stream, task.advance), codec, path.name)) as chunks,
            ):
                manifest, entries = read_archive(chunks, path.name)
                _check_manifest_beside(path, manifest)
                extract_entries(entries, staging)
                with suppress(OSError):
                    dest.rmdir()
        except FileExistsError as error:
            raise _exists(dest) from error
    return Checked(path=dest, manifest=manifest, sha256=sha256, size=size, companions=companions)


def _is_replaceable(dest: Path) -> bool:
    """Return whether a path is an empty directory, and not the working directory or a root."""
    with suppress(OSError):
        return bool(dest.name) and not dest.is_symlink() and not any(dest.iterdir())
    return False


def _exists(dest: Path) -> OutputError:
    message = f"`{dest}` already exists"
    with suppress(OSError):
        message += " and is not empty" if any(dest.iterdir()) else " and is not a new directory"
    return OutputError(message, hint="pass a new directory, for example `unpacked`")


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of an archive or of a directory; nothing else is checked."""
    if path.is_dir():
        return _folder_manifest(path)
    with _opened(path) as (stream, codec):
        return read_archive(decompressed(_chunks(stream), codec, path.name), path.name)[0]


def read_archive(chunks: Iterator[bytes], name: str) -> tuple[Manifest, Iterator[ExtractEntry]]:
    """Return the manifest of an archive, and its entries, which are checked as they are read.

    :param chunks: its decompressed content.
    :param name: the archive, for messages.
    """
    reader = ExactReader(chunks)
    first = reader.exactly(BLOCK)
    root = _root_of(first, name)
    header = reader.exactly(BLOCK)
    size = _manifest_size(header, root, name)
    content = reader.exactly(size)
    _check_padding(reader, size, name, "manifest.json")
    manifest = parse_manifest(content, f"{name}: manifest.json")
    if manifest.name != root:
        raise MalformedError(
            f"{name}: its directory is not the one its manifest names",
            evidence=(f"wanted  {manifest.name}", f"found   {printable(root)}"),
        )
    expected = (
        directory_header(root, epoch=manifest.epoch),
        file_header(f"{root}/manifest.json", size=size, mode=0o644, epoch=manifest.epoch),
    )
    for wanted, found, path in zip(expected, (first, header), ("", "manifest.json"), strict=True):
        if wanted != found:
            raise _differs(name, manifest, path, found)
    return manifest, _entries(reader, manifest, content, name)


def _entries(reader: ExactReader, manifest: Manifest, content: bytes, name: str) -> Iterator[ExtractEntry]:
    members = manifest.members()
    yield next(members), ()
    yield next(members), (content,)
    for member in members:
        path = f"{manifest.name}/{member.path}"
        if member.is_dir:
            wanted = directory_header(path, epoch=manifest.epoch)
        else:
            wanted = file_header(path, size=member.size, mode=member.mode, epoch=manifest.epoch)
        found = reader.exactly(len(wanted))
        if found != wanted:
            raise _differs(name, manifest, member.path, found)
        if member.is_dir:
            yield member, ()
            continue
        pieces = _checked(reader, member, name)
        yield member, pieces
        for _ in pieces:
            pass
        _check_padding(reader, member.size, name, member.path)
    end = reader.exactly(len(END))
    if end != END:
        raise _differs(name, manifest, None, end[:BLOCK])
    if reader.exactly(1, short=True):
        raise MalformedError(f"{name}: unexpected data after its end")


def _check_padding(reader: ExactReader, size: int, name: str, path: str) -> None:
    if reader.exactly(len(padding(size))) != padding(size):
        raise MalformedError(f"{name}: unexpected data after `{printable(path)}`")


def _checked(reader: ExactReader, member: ArchiveMember, name: str) -> Iterator[bytes]:
    fact = f"{name}: `{printable(member.path)}` does not match the manifest"
    return verified(reader.pieces(member.size), fact, sha256=member.sha256 or "")


def _differs(name: str, manifest: Manifest, path: str | None, header: bytes) -> MalformedError:
    """Return the error for an entry that is not the expected one, classified by the name in its header.

    :param path: the entry that was expected, None for the end.
    """
    front, rest = header[345:500].rstrip(b"\0"), header[:100].rstrip(b"\0")
    entry = (front + b"/" + rest if front else rest).decode("utf-8", "replace").rstrip("/")
    found = entry.removeprefix(f"{manifest.name}/")
    known = any(member.path == found for member in manifest.members())
    if path is not None and found == path:
        return MalformedError(
            f"{name}: the size, mode, owner, time or type of `{printable(path)}` is changed"
        )
    if found and not known:
        return MalformedError(f"{name}: `{printable(found)}` is extra, its manifest does not list it")
    if path is None:
        return MalformedError(f"{name}: `{printable(found)}` is in it twice")
    return MalformedError(
        f"{name}: `{printable(path)}` is missing",
        evidence=(f"found   {printable(found) or 'the end'} in its place",),
    )


def _root_of(header: bytes, name: str) -> str:
    """Return the directory an archive starts with, one component; the header is compared in full later."""
    raw = header[:100].rstrip(b"\0")
    try:
        root = archive_path(raw.decode("utf-8").removesuffix("/"))
    except (UnsafePathError, UnicodeDecodeError):
        root = archive_path("?")
    if "/" in root or root == "?":
        wanted = "wanted  one directory, named as the bundle, first"
        hint = _REPACKED if header[257:262] == b"ustar" else None
        raise MalformedError(f"{name}: this is not a bundle", evidence=(wanted,), hint=hint)
    return root


def _manifest_size(header: bytes, root: str, name: str) -> int:
    field = header[124:135]
    if header[:100].rstrip(b"\0") != f"{root}/manifest.json".encode() or not field.isdigit():
        raise MalformedError(
            f"{name}: this is not a bundle", evidence=(f"wanted  `{root}/manifest.json` first",)
        )
    size = int(field, 8) if set(field) <= set(b"01234567") else LIMIT + 1
    if size > LIMIT:
        raise MalformedError(f"{name}: its manifest is larger than {LIMIT >> 20} MiB")
    return size


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, Codec]]:
    """Open an archive once, so that the checked file is the one that is read."""
    codec = next((codec for suffix, codec in _CODECS if path.name.endswith(suffix)), None)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise OutputError(f"{path}: file not found") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"{path}: cannot read the file: {reason}") from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise MalformedError(f"`{path}` is not a regular file")
        check_content(path, stream, codec and SUFFIXES[codec])
        yield stream, cast("Codec", codec)


def _chunks(stream: BinaryIO, advance: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    for chunk in read_chunks(stream):
        advance(len(chunk))
        yield chunk


def _stem(path: Path) -> str:
    return next((path.name[: -len(suffix)] for suffix, _ in _CODECS if path.name.endswith(suffix)), path.name)


def _check_companions(
    path: Path, stream: BinaryIO, *, alone: bool = False
) -> tuple[Sha256, int, tuple[str, ...]]:
    """Hash an archive, compare it with the ``.sha256`` beside it if there is one, and rewind."""
    sha256, size = hash_stream(stream)
    stream.seek(0)
    beside = path.with_name(f"{_stem(path)}.sha256")
    if alone or not beside.is_file():
        return sha256, size, ()
    try:
        promised = parse_sha256(beside.read_text("utf-8").split()[0])
    except (ValueError, IndexError) as error:
        raise MalformedError(f"`{beside}` does not contain a sha256") from error
    require_digest(
        sha256,
        promised,
        f"`{path.name}` is not the file that `{beside.name}` was made for",
        hint="copy the archive again",
    )
    return sha256, size, (beside.name,)


def _check_manifest_beside(path: Path, manifest: Manifest) -> None:
    beside = path.with_name(f"{_stem(path)}.manifest.json")
    if beside.is_file() and beside.stat().st_size <= LIMIT and beside.read_bytes() != manifest.content:
        raise IntegrityError(
            f"`{beside.name}` is not the manifest inside `{path.name}`",
            evidence=(
                f"beside  sha256 {sha256_of(beside.read_bytes())}",
                f"inside  sha256 {sha256_of(manifest.content)}",
            ),
        )


def _folder_manifest(folder: Path) -> Manifest:
    try:
        with _open_regular(folder / "manifest.json") as stream:
            return parse_manifest(stream.read(LIMIT + 1), "manifest.json")
    except OSError as error:
        raise MalformedError(
            f"`{folder}` is not an unpacked bundle", evidence=(f"manifest.json: {error.strerror}",)
        ) from error


def _verify_folder(folder: Path, reporter: Reporter) -> Checked:
    manifest = _folder_manifest(folder)
    wanted = {member.path: member for member in manifest.members() if member.path}
    found = dict(_walk(folder, ""))
    problems = [f"missing  {printable(path)}" for path in wanted if path not in found]
    problems += [f"extra    {printable(path)}" for path in found if path not in wanted]
    if reason := _wrong_mode(folder.stat(), _DIRECTORY_MODE):
        problems.append(f"changed  the directory itself: {reason}")
    with reporter.task("verify", len(wanted)) as task:
        for path, member in wanted.items():
            if path in found and (reason := _differs_on_disk(folder / path, found[path], member)):
                problems.append(f"changed  {printable(path)}: {reason}")
            task.advance()
    if problems:
        raise IntegrityError(
            f"`{folder}` does not match its manifest", evidence=first_lines(sorted(problems), _SHOWN)
        )
    return Checked(
        path=folder,
        manifest=manifest,
        sha256=None,
        size=sum(file.size for file in manifest.files),
        companions=(),
    )


def _walk(folder: Path, below: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder / below) as entries:
        for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            path = f"{below}/{entry.name}" if below else entry.name
            facts = entry.stat(follow_symlinks=False)
            yield path, facts
            if stat.S_ISDIR(facts.st_mode):
                yield from _walk(folder, path)


def _differs_on_disk(path: Path, facts: os.stat_result, member: ArchiveMember) -> str | None:
    if member.is_dir:
        return _wrong_mode(facts, member.mode) if stat.S_ISDIR(facts.st_mode) else "not a directory"
    if not stat.S_ISREG(facts.st_mode):
        return "it is not a regular file"
    if reason := _wrong_mode(facts, member.mode):
        return reason
    if facts.st_size != member.size:
        return f"it has {facts.st_size} bytes, not {member.size}"
    with _open_regular(path) as stream:
        digest, _ = hash_stream(stream)
    return None if digest == member.sha256 else f"its sha256 is {digest[:12]}, not {str(member.sha256)[:12]}"


def _wrong_mode(facts: os.stat_result, wanted: int) -> str | None:
    """Return the difference of a mode that matters: permission to execute, setuid, setgid, writable by all.

    Other differences are allowed: a umask, or a copy of the directory, may have removed permissions.
    """
    mode = stat.S_IMODE(facts.st_mode)
    # A directory inherits setgid from its parent, where it only determines the group of new files.
    unsafe = _UNSAFE & ~stat.S_ISGID if stat.S_ISDIR(facts.st_mode) else _UNSAFE
    if os.name != "posix" or (not mode & unsafe and bool(mode & 0o111) == bool(wanted & 0o111)):
        return None
    return f"its mode is {mode:04o}, not {wanted:04o}"


def _open_regular(path: Path) -> BinaryIO:
    flags = (
        os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    return os.fdopen(os.open(path, flags), "rb")
