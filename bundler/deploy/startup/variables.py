"""Stage 7, pure: resolve the variables of a container by the rules of its start script."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from packaging.version import Version

from bundler.data.azure_image import (
    DEFAULT_SCRIPT,
    EXTRA_SOURCES,
    IMAGE_ROOT,
    IMAGE_VARIANTS,
    SERVICE_FOLDER,
    VARIABLES,
    ExtraSource,
    ImageVariant,
    image_variant,
)
from bundler.data.inference_server import ROOT_IS_CWD, root_is_script_folder
from bundler.deploy.startup.files import Files, locate
from bundler.errors import InputError

__all__ = ["PYTHON_FOLDER", "BootEnv", "ResolvedPath", "boot_env", "profile_of"]

PYTHON_FOLDER = re.compile(r"(?:^|/)python(3\.\d+)(?=/|$)")
"""A component of a path that names the Python of the packages below it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedPath:
    """The path of a variable in the image."""

    written: str
    """The path as the start script composes it, with ``..`` and repeated ``/``."""
    path: str | None
    """The path without them; None if the system cannot resolve it (see `locate`)."""
    known: bool
    """Whether the files at the path are known."""

    @property
    def display(self) -> str:
        """The path for messages: resolved, or as written if it cannot be resolved."""
        return self.path or self.written


@dataclass(frozen=True, kw_only=True)
class BootEnv:
    """The variables of a container and the image that reads them."""

    env: Mapping[str, str]
    """The variables by name, those that the image sets included."""
    profile: ImageVariant
    files: Files
    """The files below the application root."""
    release: Version | None = None
    """The release of the server; None for one whose application root is its working directory."""

    @property
    def root(self) -> str:
        """The application root as written."""
        return self.env.get("AML_APP_ROOT") or IMAGE_ROOT

    @property
    def entry(self) -> str:
        """The entry script as written."""
        return self.env.get("AZUREML_ENTRY_SCRIPT") or DEFAULT_SCRIPT

    @property
    def entry_folder(self) -> str:
        """The directory at which relative AZUREML_EXTRA_ paths start, as written."""
        script = self.env.get("AZUREML_ENTRY_SCRIPT")
        return f"{self.root}/{_dirname(script.removeprefix('/'))}" if script else self.root

    @property
    def server_root(self) -> str:
        """The application root as the server takes it: old releases take the directory of the script."""
        is_set = bool(self.env.get("AML_APP_ROOT"))
        if self.release is None or not root_is_script_folder(self.release, root_is_set=is_set):
            return self.root
        return posixpath.dirname(posixpath.join(self.root, self.entry))

    @property
    def script(self) -> ResolvedPath:
        """The entry script as the server opens it: relative to the application root."""
        is_old = self.release is not None and self.release < ROOT_IS_CWD
        entry = posixpath.basename(self.entry) if is_old else self.entry
        return self.place(posixpath.join(self.server_root, entry))

    @property
    def source(self) -> ResolvedPath | None:
        """AZUREML_SOURCE_DIRECTORY as the server adds it to sys.path; None if it is not set."""
        directory = self.env.get("AZUREML_SOURCE_DIRECTORY")
        return self.place(posixpath.join(self.server_root, directory)) if directory else None

    @property
    def model_dir(self) -> ResolvedPath | None:
        """AZUREML_MODEL_DIR as init() resolves it; None if it is not set."""
        directory = self.env.get("AZUREML_MODEL_DIR")
        return self.place(posixpath.join(self.root, directory)) if directory else None

    @property
    def off(self) -> str:
        """The reason why the AZUREML_EXTRA_ variables are not read; empty if they are."""
        if not self.profile.reads_extra:
            return "the image's start script does not read it"
        if self.profile.switch and not self.env.get(self.profile.switch):
            return f"`{self.profile.switch}` is empty"
        return ""

    @cached_property
    def extra_sources(self) -> tuple[ExtraSource, ...]:
        """The variables for further packages that are set; the image uses only the first."""
        return tuple(source for source in EXTRA_SOURCES if self.env.get(source.variable))

    def place_of(self, source: ExtraSource) -> ResolvedPath:
        """Return the path of a variable for further packages."""
        value = self.env[source.variable]
        if VARIABLES[source.variable].base == "absolute":
            return self.place(value)
        return self.place(f"{self.entry_folder}/{value}")

    def place(self, written: str) -> ResolvedPath:
        """Resolve a path; a relative one starts at the directory of the start script."""
        absolute = written if written.startswith("/") else f"{SERVICE_FOLDER}/{written}"
        path = locate(self.files, absolute)
        # A relative path leads below the directory of the service, which has no files of the user.
        known = path is None or not written.startswith("/") or self.files.covers(path)
        return ResolvedPath(written=written, path=path, known=known)

    def is_file(self, place: ResolvedPath) -> bool:
        """Return whether a file exists, or could: paths with unknown files count."""
        return place.path is not None and (not place.known or self.files.is_file(place.path))

    def is_dir(self, place: ResolvedPath) -> bool:
        """Return whether a directory exists, or could: paths with unknown files count."""
        return place.path is not None and (not place.known or self.files.is_dir(place.path))

    @cached_property
    def libraries(self) -> tuple[str, ...]:
        """The entries of PYTHONPATH when Python starts, in order, as absolute paths."""
        return tuple(posixpath.normpath(posixpath.join(self.root, entry)) for entry in self._pythonpath())

    def _pythonpath(self) -> Iterator[str]:
        """Yield the entries of PYTHONPATH; an empty entry is the working directory.

        The start script prepends AZUREML_EXTRA_PYTHON_LIB_PATH and a ``:``, even to an empty
        PYTHONPATH, which so puts the application root on sys.path.
        """
        text = self.env.get("PYTHONPATH", "")
        if not self.off and self.extra_sources and self.extra_sources[0].is_folder:
            text = f"{self.place_of(self.extra_sources[0]).written}:{text}"
        if text:
            yield from text.split(":")

    @property
    def python(self) -> str:
        """The minor version of its Python, by the image or else by its packages; empty if unknown."""
        of_packages = (match[1] for folder in self.libraries for match in PYTHON_FOLDER.finditer(folder))
        return self.profile.python or next(of_packages, "")

    def model_folders(self) -> tuple[str, ...]:
        """Return the directories of registered models: ``azureml-models/NAME/VERSION``."""
        above = posixpath.join(self.root, "azureml-models")
        return tuple(
            f"{above}/{name}/{version}"
            for name in self.files.names(above)
            for version in self.files.names(f"{above}/{name}")
            if self.files.is_dir(f"{above}/{name}/{version}")
        )


def profile_of(image: str | None, env: Mapping[str, str]) -> str:
    """Return the image variant of a container: by the name of its image, else by the Python of its packages.

    An unknown image for 3.9 or newer is taken as one that ignores the AZUREML_EXTRA_ variables.
    """
    paths = (env.get(name, "") for name in ("AZUREML_EXTRA_PYTHON_LIB_PATH", "PYTHONPATH"))
    python = next((match[1] for path in paths for match in PYTHON_FOLDER.finditer(path)), None)
    return image_variant(image, python) or ("stripped" if python else "classic")


def boot_env(
    env: Mapping[str, str],
    files: Files,
    profile: str,
    release: Version | None = None,
    python: str | None = None,
) -> BootEnv:
    """Return the variables of a container, those of its image added.

    :param env: the variables that the user sets; they replace defaults of the image, but not
        the variables that its start script forces.
    :param profile: the image variant, a key of `IMAGE_VARIANTS`.
    :param python: the minor version of the image's Python, "3.9"; by default that of the variant.
    :raises InputError: if the profile is unknown.
    """
    if profile not in IMAGE_VARIANTS:
        raise InputError(
            f"unknown profile `{profile}`",
            evidence=(f"known   {', '.join(IMAGE_VARIANTS)}",),
            hint="--profile classic",
        )
    image = IMAGE_VARIANTS[profile]
    if python:
        image = replace(image, python=python)
    merged = {**image.env, **env}
    values = {name: merged.get(name) or variable.default for name, variable in VARIABLES.items()}
    merged.update({name: text.format_map(values) for name, text in image.forced.items()})
    return BootEnv(env=merged, profile=image, files=files, release=release)


def _dirname(path: str) -> str:
    """Return the output of the command ``dirname``, which the start script uses.

    >>> _dirname("code/score.py"), _dirname("score.py"), _dirname("code/score.py/")
    ('code', '.', 'code')
    """
    return posixpath.dirname(path.rstrip("/")) or "."
