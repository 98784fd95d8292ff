"""Effect: extract files into one directory, and nowhere else.

Files are created relative to descriptors of directories, which are opened without
following links, and an existing file is never opened: so no name, link or race
leads outside. ``tarfile.extractall`` is not used: its filters are not a security
boundary (CVE-2025-4517 and later ones).
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
"""A member and the chunks of its content; none for a directory."""


def extract_entries(entries: Iterable[ExtractEntry], dest: Path) -> None:
    """Extract entries into the directory ``dest``; directories may exist, files must not."""
    with _Tree(dest) as tree:
        for member, content in entries:
            if member.is_dir:
                tree.make_folder(member.path)
            else:
                tree.write(member.path, member.mode, content)


class _Tree:
    """Creates directories and files in one directory, relative to descriptors where supported.

    Only the descriptors of one chain of directories are open at a time.
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
        """Create a directory with mode 0755, unless it exists."""
        if not path:
            return
        parent, _, name = path.rpartition("/")
        descriptor, prefix = self._enter(parent)
        with suppress(FileExistsError):
            os.mkdir(prefix + name, 0o755, dir_fd=descriptor)
            # mkdir applies the umask to the mode.
            os.chmod(prefix + name, 0o755, dir_fd=descriptor)  # noqa: S103 - directories of a bundle are readable by all

    def write(self, path: str, mode: int, content: Iterable[bytes]) -> None:
        """Create a file; an existing one is never opened (``O_EXCL``)."""
        parent, _, name = path.rpartition("/")
        descriptor, prefix = self._enter(parent)
        flags = (
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        )
        file = os.open(prefix + name, flags, 0o600, dir_fd=descriptor)
        try:
            # Not a file object, which asks the system three more questions for each of thousands of files.
            for chunk in content:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(file, rest) :]
            if os.name == "posix":
                os.fchmod(file, mode)
        finally:
            os.close(file)

    def _enter(self, folder: str) -> tuple[int | None, str]:
        """Return the descriptor of ``folder`` and the prefix of names in it.

        Without ``dir_fd`` support the descriptor is None, and the prefix is the absolute path.
        """
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
