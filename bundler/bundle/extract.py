"""Effect: put files below one folder and nowhere else.

Files are created through descriptors of folders that were opened without
following links, and nothing that exists is ever opened, so no name, link or
race leads out. ``tarfile.extractall`` is not used: its filters are no boundary
(CVE-2025-4517 and later ones).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from bundler.bundle.plan import ArchiveMember

__all__ = ["ExtractEntry", "extract_entries"]

ExtractEntry = tuple[ArchiveMember, Iterable[bytes]]
"""A member and the pieces of its content, none for a folder."""


def extract_entries(entries: Iterable[ExtractEntry], dest: Path) -> None:
    """Write entries below the folder ``dest``; a folder may exist there, a file may not."""
    with _Tree(dest) as tree:
        for member, content in entries:
            if member.is_dir:
                tree.make_folder(member.path)
            else:
                tree.write(member.path, member.mode, content)


class _Tree:
    """Creates folders and files below one folder, through descriptors where the system has them.

    Only the descriptors of one chain of folders are open at a time.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._chain: list[tuple[str, int]] = []
        self._use_descriptors = os.open in os.supports_dir_fd and os.mkdir in os.supports_dir_fd

    def __enter__(self) -> Self:
        if self._use_descriptors:
            self._chain = [("", os.open(self._root, os.O_RDONLY | os.O_DIRECTORY))]
        return self

    def __exit__(self, *_: object) -> None:
        while self._chain:
            os.close(self._chain.pop()[1])

    def make_folder(self, path: str) -> None:
        """Create a folder with mode 0755 unless it is there."""
        if not path:
            return
        parent, _, name = path.rpartition("/")
        descriptor, prefix = self._enter(parent)
        with suppress(FileExistsError):
            os.mkdir(prefix + name, 0o755, dir_fd=descriptor)
            # The umask may have taken bits away.
            os.chmod(prefix + name, 0o755, dir_fd=descriptor)  # noqa: S103 - a folder of a bundle is for all

    def write(self, path: str, mode: int, content: Iterable[bytes]) -> None:
        """Create a file; one that is there is never opened."""
        parent, _, name = path.rpartition("/")
        descriptor, prefix = self._enter(parent)
        flags = (
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        )
        with os.fdopen(os.open(prefix + name, flags, 0o600, dir_fd=descriptor), "wb") as stream:
            for piece in content:
                stream.write(piece)
            stream.flush()
            if os.name == "posix":
                os.fchmod(stream.fileno(), mode)

    def _enter(self, folder: str) -> tuple[int | None, str]:
        """Return the descriptor of ``folder`` and what a name in it must be prefixed with."""
        if not self._use_descriptors:
            return None, f"{self._root}{os.sep}{folder}{os.sep}" if folder else f"{self._root}{os.sep}"
        while self._chain[-1][0] and not f"{folder}/".startswith(f"{self._chain[-1][0]}/"):
            os.close(self._chain.pop()[1])
        while self._chain[-1][0] != folder:
            here, descriptor = self._chain[-1]
            rest = folder[len(here) + 1 :] if here else folder
            name = rest.partition("/")[0]
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            self._chain.append((f"{here}/{name}" if here else name, below))
        return self._chain[-1][1], ""
