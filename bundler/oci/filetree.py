"""Pure: the files of an application in layers, below one root, and the settings of its container.

A build context and an image that is written without a daemon are two forms of
one `App`, so their root filesystems are equal. Layers are ordered by how seldom
they change: the bundle's distributions, the models, the code.

Layout: that of azureml's ``Model.package`` (``azureml-app``, ``azureml-models``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bundler.archive.streams import verified
from bundler.archive.tree import TreeFile
from bundler.data.azure_image import IMAGE_ROOT
from bundler.paths import printable

__all__ = ["APP_FOLDER", "APP_ROOT", "App", "AppFile", "AppLayer", "group_mode"]

APP_ROOT = IMAGE_ROOT.removeprefix("/")
"""The location of the tree in an image, relative to its root."""
APP_FOLDER = APP_ROOT.rpartition("/")[2]
"""The directory name of the tree in a build context."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AppFile(TreeFile):
    """One file of an application, relative to the application root, with the source of its content."""

    chunks: Callable[[], Iterable[bytes]] = field(compare=False)
    """Returns its content anew at each call."""

    def verified(self) -> Iterator[bytes]:
        """Yield the content, compared with the planned digest.

        :raises IntegrityError: if the content changed; at most the planned size is yielded.
        """
        return verified(
            self.chunks(),
            f"`{printable(self.path)}` changed since it was planned",
            sha256=self.sha256,
            size=self.size,
            hint="run the same command again; a file that grows, such as a log, belongs elsewhere",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AppLayer:
    """Files that change together; one layer of an image."""

    comment: str
    """Its content: "numpy 1.21.6", "model iris 1", "code"."""
    files: tuple[AppFile, ...]
    """Sorted bytewise by path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class App:
    """An application: its files in layers, and how it is run."""

    layers: tuple[AppLayer, ...]
    """In the order of an image; no path is in two of them."""
    env: Mapping[str, str]
    """Variables that are set in the image, in order."""
    user: str
    """The user name of the process; empty keeps the base's."""
    command: tuple[str, ...]
    """The command of the container; empty keeps the base's."""
    port: int
    """The port that the image exposes; 0 for none."""
    epoch: int
    """The time of every file, seconds UTC."""
    labels: Mapping[str, str]
    group_writable: bool = False
    """Whether files belong to group 0 with the owner's rights, as OpenShift's arbitrary users need it."""


def group_mode(mode: int) -> int:
    """Return a mode in which the group has the owner's rights."""
    return mode | (mode & 0o700) >> 3
