"""Facade: the keyword arguments of a build, as options of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from bundler.azureml.core._files import FileName
from bundler.bundle.plan import check_name
from bundler.checks.user_code import UserCode, find_user_code
from bundler.errors import InputError, UsageError
from bundler.pipeline.options import BuildOptions
from bundler.problems import display_path
from bundler.reporter import Reporter
from bundler.requirements.requirement_set import IndexOptions, RequirementSet
from bundler.requirements.text import similar_path
from bundler.system.environ import HostEnvironment

__all__ = [
    "BuildSettings",
    "index_options",
    "options_of_settings",
    "path_setting",
    "user_code",
]

_FORMATS = ("tar.gz", "tar.zst", "dir")


class BuildSettings(TypedDict, total=False):
    """Keyword arguments of ``Environment.build`` and ``Model.package``; all are optional.

    Relative paths start at the working directory.
    """

    output: FileName
    """The directory to which the bundle is written; the default is ``dist``."""
    format: str
    """``tar.gz`` (the default), ``tar.zst`` or ``dir``."""
    context: FileName
    """A new directory, to which the build context of the environment's image is written as well."""
    source_directory: FileName
    """The directory of the code that will use the packages; its imports are checked."""
    entry_script: str
    """The script with init() and run(), relative to ``source_directory``; the two go together."""
    base: FileName
    """A description of the base image: a profile, a ``pip freeze``, a root filesystem or an image archive."""
    server: str
    """The version of azureml-inference-server-http with which the bundle must be compatible."""
    python: str
    """The target Python, a version or a path, if the environment does not name one."""
    strict: bool
    """Fail if a conda package has no counterpart on an index; the default is a warning."""
    only_binary: bool
    """Use wheels only, never build a distribution from source; the default is False."""
    target_glibc: str
    """The glibc that the packages may need; the default is that of ``base``, or of Azure ML's image."""
    allow: Sequence[str]
    """Errors to accept and to record in the manifest: CODE or CODE:NAME."""
    allow_import_failure: Sequence[str]
    """Distributions or modules that may fail to import."""
    index_url: str
    """The URL of the package index; the default is the one that pip is configured for."""
    find_links: Sequence[str]
    """Directories or URLs to search for distributions, as for pip."""
    no_index: bool
    """Ignore all indexes and use only ``find_links``; the default is False."""
    store: FileName
    """The cache of wheels and layers; the default is the user's cache directory."""
    reporter: Reporter
    """The receiver of progress and warnings; the default is the logger ``bundler``."""


def options_of_settings(
    name: str, requirements: RequirementSet | None, settings: BuildSettings, host: HostEnvironment
) -> BuildOptions:
    """Return the settings as options of the pipeline.

    :param name: the name of the environment, which becomes the name of the bundle.
    :raises UsageError: if the format is unknown.
    :raises InputError: if the name is not valid for a bundle.
    """
    fmt = settings.get("format", "tar.gz")
    if fmt not in _FORMATS:
        raise UsageError(f"unsupported bundle format `{fmt}`", evidence=(f"known   {', '.join(_FORMATS)}",))
    base = path_setting(settings, "base", host)
    return BuildOptions(
        python=settings.get("python"),
        requirements=requirements,
        index=index_options(settings),
        only_binary=settings.get("only_binary", False),
        target_glibc=settings.get("target_glibc"),
        lock=None,
        name=check_name(name, "environment"),
        version=None,
        folder=host.cwd / settings.get("output", "dist"),
        codec="zst" if fmt == "tar.zst" else "gz",
        as_folder=fmt == "dir",
        epoch=host.epoch(),
        modes=("mount",) if base else ("mount", "venv"),
        code=user_code(settings, host),
        base=base,
        server=settings.get("server"),
        allow=tuple(settings.get("allow", ())),
        allow_import_failure=tuple(settings.get("allow_import_failure", ())),
    )


def index_options(settings: BuildSettings) -> IndexOptions:
    """Return the index of a build."""
    return IndexOptions(
        index_url=settings.get("index_url"),
        find_links=tuple(settings.get("find_links", ())),
        no_index=settings.get("no_index", False),
    )


def path_setting(settings: BuildSettings, name: str, host: HostEnvironment) -> Path | None:
    """Return the path of a setting, below the working directory unless absolute; None without one."""
    value: FileName | None = settings.get(name)  # type: ignore[assignment]
    return host.cwd / value if value is not None else None


def user_code(settings: BuildSettings, host: HostEnvironment) -> UserCode | None:
    """Return the user's code, None without any.

    :raises UsageError: if only one of ``source_directory`` and ``entry_script`` is set.
    :raises InputError: if there is no such directory or script, or the server cannot load it.
    """
    folder, script = path_setting(settings, "source_directory", host), settings.get("entry_script")
    if folder is None and script is None:
        return None
    if folder is None or script is None:
        raise UsageError(
            "`source_directory` and `entry_script` must be used together",
            hint="source_directory='code', entry_script='score.py'",
        )
    if not folder.is_dir():
        near = similar_path(folder)
        name = display_path(near, host.cwd) if near is not None and near.is_dir() else None
        raise InputError(
            f"{display_path(folder, host.cwd)}: directory not found",
            hint=f"did you mean `source_directory={name!r}`?" if name else None,
        )
    return find_user_code(folder, script, "entry_script={script!r}")
