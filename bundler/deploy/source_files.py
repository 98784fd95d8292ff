"""Effect: the files of the user's directories that are packed into an application.

From a source directory, the files that ``.amlignore`` (Azure ML's; the syntax of ``.gitignore``) or
``.dockerignore`` excludes are left out. A file that is likely a secret is refused, unless a line with
``!`` of these files includes it explicitly.

Sources: Azure ML's documentation, "snapshots"; Dockerfile reference, ".dockerignore file".
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pathspec import GitIgnoreSpec

from bundler.bundle.reader import read_manifest
from bundler.deploy.secrets import CONTENT_LIMIT, may_contain_secret, secret_in_content, secret_in_name
from bundler.digest import Sha256, hash_stream, read_chunks
from bundler.errors import BundlerError, InputError
from bundler.oci.filetree import APP_FOLDER, AppFile
from bundler.paths import UnsafePathError, archive_path, printable
from bundler.text import first_lines

__all__ = ["app_file", "code_files", "tree_files"]

_IGNORE = ".amlignore"
_DOCKER_IGNORE = ".dockerignore"
_SHOWN = 10
_BESIDE = re.compile(r"\.(?:manifest\.json|sha256)$")
# Directories that tools create beside code; they are not packed.
_SKIPPED = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "__pycache__",
        ".venv",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".ipynb_checkpoints",
    }
)


def tree_files(path: Path, below: str) -> list[AppFile]:
    """Return a file, or all files of a directory, sorted bytewise by path.

    :param below: the path of the file or directory in the application.
    :raises InputError: if it has no files, or one is a link, a special file, or has an invalid path.
    """
    files = [_read(below, path)] if path.is_file() else [_read(*found) for found in _walk(path, below)]
    if not files:
        raise InputError(f"`{printable(str(path))}` has no files")
    return sorted(files, key=lambda file: file.path.encode())


def code_files(folder: Path, script: str) -> list[AppFile]:
    """Return the files of a source directory, below its name.

    :param script: the entry script, relative to the directory.
    :raises InputError: if the entry script is excluded, a file is likely a secret, or one is a link,
        a special file, or has an invalid path.
    """
    rules = _read_rules(folder)

    def is_excluded(path: str) -> bool:
        return any(rule.check_file(path).include for rule in rules)

    if is_excluded(script):
        raise InputError(
            f"the entry script `{printable(script)}` is excluded by `{_IGNORE}` or `{_DOCKER_IGNORE}`",
            hint=f"echo {shlex.quote(f'!/{script}')} >> {shlex.quote(str(folder / _IGNORE))}",
        )
    found = list(_walk(folder, folder.name, is_excluded))
    secrets = {}
    for path, source in found:
        name = path.removeprefix(f"{folder.name}/")
        if any(rule.check_file(name).include is False for rule in rules):
            continue
        if kind := _secret(name, source):
            secrets[name] = kind
    if secrets:
        first = next(iter(secrets))
        command = f"echo {shlex.quote(f'/{first}')} >> {shlex.quote(str(folder / _IGNORE))}"
        raise InputError(
            f"`{printable(folder.name)}` contains files that are likely secrets",
            evidence=first_lines([f"{printable(name)}: {kind}" for name, kind in secrets.items()], _SHOWN),
            hint=f"{command}  # leaves it out; {shlex.quote(f'!/{first}')} packs it",
        )
    return [_read(path, source) for path, source in found]


def _secret(name: str, source: Path) -> str | None:
    """Return the kind of secret that a file likely is, or None."""
    if not may_contain_secret(name, 0):
        return None
    if kind := secret_in_name(name):
        return kind
    with _opened(source) as stream:
        if not may_contain_secret(name, os.fstat(stream.fileno()).st_size):
            return None
        return secret_in_content(name, stream.read(CONTENT_LIMIT))


def _read_rules(folder: Path) -> list[GitIgnoreSpec]:
    """Return the rules of each ignore file of a directory."""
    rules = []
    readers: tuple[tuple[str, Callable[[str], str]], ...] = (
        (_IGNORE, lambda line: line),
        (_DOCKER_IGNORE, _from_docker),
    )
    for name, convert in readers:
        path = folder / name
        if not path.is_file():
            continue
        try:
            lines = path.read_text("utf-8-sig").splitlines()
            rules.append(GitIgnoreSpec.from_lines(map(convert, lines)))
        except (OSError, ValueError) as error:
            raise InputError(
                f"`{printable(str(path))}` cannot be read", evidence=(f"found   {error}",)
            ) from error
    return rules


def _from_docker(line: str) -> str:
    """Return a pattern of a ``.dockerignore`` as one of ``.gitignore``: it starts at the root.

    >>> [_from_docker(line) for line in ("# a", "*.env", "!docs/../keep.env", "/**/x/", ".")]
    ['', '/*.env', '!/keep.env', '/**/x', '']
    """
    text = line.strip()
    negated = text.startswith("!")
    path = posixpath.normpath("/" + text.removeprefix("!").strip()).lstrip("/")
    if not text or text.startswith("#") or not path:
        return ""
    return f"{'!' if negated else ''}/{path}"


def _walk(
    folder: Path,
    below: str,
    is_excluded: Callable[[str], bool] = lambda _: False,
    *,
    prefix: str = "",
    is_venv: bool = False,
) -> Iterator[tuple[str, Path]]:
    """Yield the path in the application and the source of each file of a user's directory.

    The directories that tools create are skipped, and the outputs of bundler: the next run in the same
    directory would pack those of this one. A link is an error, since its target may be
    outside of the directory. Only the links of a virtual environment are skipped: they lead to the
    Python of this machine, not of the image. Its packages are packed.

    :param is_excluded: decides for a path relative to the first directory.
    """
    is_venv = is_venv or (folder / "pyvenv.cfg").is_file()
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise InputError(f"`{printable(str(folder))}` cannot be read: {error.strerror}") from error
    names = {entry.name for entry in listed}
    for entry in listed:
        path, relative = f"{below}/{entry.name}", f"{prefix}{entry.name}"
        is_folder = entry.is_dir(follow_symlinks=False)
        # A directory that is excluded can contain files that are included again.
        if entry.name in _SKIPPED or (not is_folder and is_excluded(relative)):
            continue
        if _is_output(entry, names):  # after the rules, which read no file
            continue
        if entry.is_symlink() and is_venv:
            continue
        if entry.is_symlink():
            raise InputError(
                f"`{printable(path)}` is a symbolic link; links are not packed",
                hint="replace the link by a copy of its target",
            )
        if is_folder:
            yield from _walk(Path(entry.path), path, is_excluded, prefix=f"{relative}/", is_venv=is_venv)
        elif entry.is_file():
            yield path, Path(entry.path)
        else:
            raise InputError(f"`{printable(path)}` is neither a file nor a directory")


def _is_output(entry: os.DirEntry[str], names: Collection[str]) -> bool:
    """Return whether an entry is a bundle, a file beside one, or a build context.

    :param names: all names of its directory.
    """
    stem = _BESIDE.sub("", entry.name)
    if stem != entry.name:
        return {f"{stem}.manifest.json", f"{stem}.sha256"} <= set(names)
    if entry.name.endswith((".tar.gz", ".tar.zst")) and entry.is_file(follow_symlinks=False):
        with suppress(BundlerError):
            read_manifest(Path(entry.path))
            return True
    return entry.is_dir(follow_symlinks=False) and all(
        (Path(entry.path) / name).exists() for name in ("context.json", APP_FOLDER)
    )


def _read(path: str, source: Path) -> AppFile:
    """Return a user's file; of its mode, only the owner's permission to execute is kept."""
    with _opened(source) as stream:
        digest, size = hash_stream(stream)
        executable = os.fstat(stream.fileno()).st_mode & stat.S_IXUSR
    return app_file(path, source, 0o755 if executable else 0o644, size, digest)


def _opened(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise InputError(f"`{printable(str(source))}` cannot be read: {error.strerror}") from error


def app_file(path: str, source: Path, mode: int, size: int, digest: Sha256) -> AppFile:
    """Return a file of the application, read from this machine when it is written.

    :raises InputError: if the path is not valid in an image.
    """

    def chunks() -> Iterator[bytes]:
        with source.open("rb") as stream:
            yield from read_chunks(stream)

    try:
        checked = archive_path(path)
    except UnsafePathError as error:
        raise InputError(f"invalid path for an image: `{printable(path)}`: {error}") from error
    return AppFile(path=checked, mode=mode, size=size, sha256=digest, chunks=chunks)
