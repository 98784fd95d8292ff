"""Stage 7, pure: the variables of a container as its start script reads them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from bundler.data.azure_image import (
    DEFAULT_SCRIPT,
    EXTRA_SOURCES,
    IMAGE_ROOT,
    IMAGE_VARIANTS,
    SERVICE_FOLDER,
    VARIABLES,
    ExtraSource,
    ImageVariant,
)
from bundler.deploy.startup.files import Files, locate
from bundler.errors import InputError

__all__ = ["BootEnv", "ResolvedPath", "boot_env"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedPath:
    """Where a variable leads."""

    written: str
    """As the start script puts it together, with ``..`` and doubled ``/``."""
    path: str | None
    """Without them; None where the system would refuse it."""
    known: bool
    """Whether what is there is known."""

    @property
    def display(self) -> str:
        """The path, or what was written where it leads nowhere."""
        return self.path or self.written


@dataclass(frozen=True, kw_only=True)
class BootEnv:
    """The variables of a container and the image that reads them."""

    env: Mapping[str, str]
    """With those that the image sets."""
    profile: ImageVariant
    files: Files

    @property
    def root(self) -> str:
        """The application root as it is written."""
        return self.env.get("AML_APP_ROOT") or IMAGE_ROOT

    @property
    def entry(self) -> str:
        """The entry script as it is written."""
        return self.env.get("AZUREML_ENTRY_SCRIPT") or DEFAULT_SCRIPT

    @property
    def entry_folder(self) -> str:
        """What the AZUREML_EXTRA_ variables are relative to, as it is written."""
        named = self.env.get("AZUREML_ENTRY_SCRIPT")
        return f"{self.root}/{_dirname(named.removeprefix('/'))}" if named else self.root

    @property
    def script(self) -> ResolvedPath:
        """The entry script as the server opens it: from the application root."""
        return self.place(posixpath.join(self.root, self.entry))

    @property
    def source(self) -> ResolvedPath | None:
        """AZUREML_SOURCE_DIRECTORY as the server puts it on sys.path."""
        named = self.env.get("AZUREML_SOURCE_DIRECTORY")
        return self.place(posixpath.join(self.root, named)) if named else None

    @property
    def model_dir(self) -> ResolvedPath | None:
        """AZUREML_MODEL_DIR as init() finds it."""
        named = self.env.get("AZUREML_MODEL_DIR")
        return self.place(posixpath.join(self.root, named)) if named else None

    @property
    def off(self) -> str:
        """Why the AZUREML_EXTRA_ variables are not read; empty if they are."""
        if not self.profile.reads_extra:
            return "the image's start script does not read it"
        if self.profile.switch and not self.env.get(self.profile.switch):
            return f"`{self.profile.switch}` is empty"
        return ""

    @cached_property
    def extra_sources(self) -> tuple[ExtraSource, ...]:
        """The ways to further packages that are set, the one that is used first."""
        return tuple(source for source in EXTRA_SOURCES if self.env.get(source.variable))

    def place_of(self, source: ExtraSource) -> ResolvedPath:
        """Return where the variable of a way leads."""
        value = self.env[source.variable]
        if VARIABLES[source.variable].base == "absolute":
            return self.place(value)
        return self.place(f"{self.entry_folder}/{value}")

    def place(self, written: str) -> ResolvedPath:
        """Return where a path leads; one that is relative is so to the start script's own folder."""
        absolute = written if written.startswith("/") else f"{SERVICE_FOLDER}/{written}"
        path = locate(self.files, absolute)
        # A relative root leads below the folder of the service, where nobody's files are.
        known = path is None or not written.startswith("/") or self.files.covers(path)
        return ResolvedPath(written=written, path=path, known=known)

    def is_file(self, place: ResolvedPath) -> bool:
        """Return whether a file is there, as far as is known."""
        return place.path is not None and (not place.known or self.files.is_file(place.path))

    def is_dir(self, place: ResolvedPath) -> bool:
        """Return whether a folder is there, as far as is known."""
        return place.path is not None and (not place.known or self.files.is_dir(place.path))

    @cached_property
    def libraries(self) -> tuple[str, ...]:
        """The folders that PYTHONPATH names before Python starts, in order; absolute."""
        return tuple(posixpath.normpath(posixpath.join(self.root, one)) for one in self._pythonpath())

    def _pythonpath(self) -> Iterator[str]:
        """Yield the parts of PYTHONPATH; an empty one is the working directory."""
        text = self.env.get("PYTHONPATH", "")
        if not self.off and self.extra_sources and self.extra_sources[0].is_folder:
            text = f"{self.place_of(self.extra_sources[0]).written}:{text}"
        if text:
            yield from text.split(":")

    def model_folders(self) -> tuple[str, ...]:
        """Return the version folders of registered models: ``azureml-models/NAME/VERSION``."""
        above = posixpath.join(self.root, "azureml-models")
        return tuple(
            f"{above}/{name}/{version}"
            for name in self.files.names(above)
            for version in self.files.names(f"{above}/{name}")
            if self.files.is_dir(f"{above}/{name}/{version}")
        )


def boot_env(env: Mapping[str, str], files: Files, profile: str) -> BootEnv:
    """Return the variables as an image of a profile sees them.

    :raises InputError: if there is no such profile.
    """
    if profile not in IMAGE_VARIANTS:
        raise InputError(
            f"there is no profile `{profile}`",
            evidence=(f"known   {', '.join(IMAGE_VARIANTS)}",),
            hint="--profile classic",
        )
    image = IMAGE_VARIANTS[profile]
    merged = {**image.env, **env}
    values = {name: merged.get(name) or variable.default for name, variable in VARIABLES.items()}
    merged.update({name: text.format_map(values) for name, text in image.forced.items()})
    return BootEnv(env=merged, profile=image, files=files)


def _dirname(path: str) -> str:
    """Return what ``dirname`` prints.

    >>> _dirname("code/score.py"), _dirname("score.py"), _dirname("code/score.py/")
    ('code', '.', 'code')
    """
    return posixpath.dirname(path.rstrip("/")) or "."
