"""Stage 7, pure: find doubtful settings of a container that its start does not fail on.

Source: Microsoft's pages on the prebuilt images ("Best Practices", "Common problems"), and the
observed behavior of images and servers.
"""

from __future__ import annotations

import difflib
import posixpath
import sys
from collections.abc import Iterator, Mapping, Sequence

from packaging.version import Version

from bundler.checks.findings import Finding, sorted_findings
from bundler.data.azure_image import MISSPELT, VARIABLES
from bundler.deploy.startup.entry_script import is_importable_name, is_python_file
from bundler.deploy.startup.files import Files
from bundler.deploy.startup.imports import ADDED
from bundler.deploy.startup.variables import PYTHON_FOLDER, BootEnv, ResolvedPath, boot_env
from bundler.paths import printable

__all__ = ["check_start", "site_packages_below"]

_TOOLS = ("pip", "setuptools", "wheel", "pkg_resources")
_OURS = ("az", "aml", "python")
_ALIKE = 0.9  # a high ratio, since different variables share long parts (`AZUREML_EXTRA_`)


def check_start(
    env: Mapping[str, str],
    files: Files,
    *,
    models: Sequence[str] = (),
    profile: str = "classic",
    release: Version | None = None,
    python: str | None = None,
) -> tuple[Finding, ...]:
    """Return the findings about a container's settings, sorted.

    :param env: the variables that the user sets.
    :param files: the files below the application root.
    :param models: absolute directories of registered models in the image, in addition to those
        in ``azureml-models``.
    :param profile: the image variant, a key of `IMAGE_VARIANTS`.
    :param release: the release of the server, if known.
    :param python: the minor version of the image's Python; by default that of the variant.
    :raises InputError: if the profile is unknown.
    """
    boot = boot_env(env, files, profile, release, python)
    folders = (*boot.model_folders(), *models)
    return sorted_findings(
        [
            *_misspelt(env),
            *_several(boot),
            *_ignored(boot),
            *_unreached(boot),
            *_breaking(boot),
            *_script_name(boot),
            *_fragile(boot),
            *_library(boot),
            *_hiding(boot),
            *_missing_folders(boot),
            *_models(boot, folders),
        ]
    )


def _misspelt(env: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the variables that nothing reads and whose names resemble known ones."""
    known = {name.casefold(): name for name in VARIABLES}
    for name in env:
        if name in VARIABLES or not name.casefold().startswith(_OURS):
            continue
        bare = name.strip().casefold()
        intended = MISSPELT.get(name.strip().upper()) or known.get(bare) or _alike(bare, known)
        if intended is not None:
            message = f"unknown variable `{printable(name)}`: did you mean `{intended}`"
            yield Finding(code="D611", message=message)


def _alike(name: str, known: Mapping[str, str]) -> str | None:
    matches = difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)
    return known[matches[0]] if matches else None


def _several(boot: BootEnv) -> Iterator[Finding]:
    """Yield the sources of packages after the first, which the start script never reads."""
    first, *others = (source.variable for source in boot.extra_sources) if boot.extra_sources else ("",)
    # Those that the start script sets are ignored as intended.
    others = [f"`{name}`" for name in others if name not in boot.profile.forced]
    if others and not boot.off:
        message = f"`{first}` is used, {' and '.join(others)} ignored"
        yield Finding(code="D612", message=message)


def _ignored(boot: BootEnv) -> Iterator[Finding]:
    """Yield the variables for further packages that the image does not read.

    A directory that PYTHONPATH names as well is found there, as in a context for an unknown image.
    """
    if boot.off:
        for source in boot.extra_sources:
            if not (source.is_folder and boot.place_of(source).path in boot.libraries):
                yield Finding(code="D613", message=f"`{source.variable}` is ignored: {boot.off}")


def _unreached(boot: BootEnv) -> Iterator[Finding]:
    """Yield the bundle of a build context if no variable leads to it."""
    folder = posixpath.join(posixpath.normpath(boot.root), "bundle")
    packages = site_packages_below(boot.files, folder)
    if packages and packages not in boot.libraries:
        message = f"the packages in `{printable(packages)}` are not found: no variable puts them on sys.path"
        yield Finding(code="D627", message=message, where=packages)


def _breaking(boot: BootEnv) -> Iterator[Finding]:
    """Yield the paths with a line break, and those with a ``:``, the separator of PYTHONPATH."""
    for name, variable in VARIABLES.items():
        if variable.kind == "path" and any(char in boot.env.get(name, "") for char in "\n\r\0"):
            yield Finding(code="D608", message=f"`{name}` has a line break: `{printable(boot.env[name])}`")
    source = next((source for source in boot.extra_sources if source.is_folder), None)
    if source is not None and ":" in (written := boot.place_of(source).written):
        message = f"`{printable(written)}` has a `:`, at which PYTHONPATH is split into two directories"
        yield Finding(code="D608", message=message)


def _script_name(boot: BootEnv) -> Iterator[Finding]:
    path = boot.entry.rstrip("/")
    if is_python_file(path) and not is_importable_name(path):
        message = (
            f"azureml's SDK refuses the entry script `{printable(boot.entry)}`: its name is not an identifier"
        )
        yield Finding(code="D626", message=message)


def _fragile(boot: BootEnv) -> Iterator[Finding]:
    """Yield paths that are correct only by chance, or whose files are unknown here."""
    entry = boot.env.get("AZUREML_ENTRY_SCRIPT", "")
    if entry.startswith(f"{boot.root}/"):
        start = printable(boot.entry_folder)
        message = f"`AZUREML_ENTRY_SCRIPT` is absolute: with it, AZUREML_EXTRA_ paths start at `{start}`"
        yield Finding(code="D616", message=message)
    places: list[tuple[str, ResolvedPath]] = [
        (source.variable, boot.place_of(source)) for source in boot.extra_sources[:1]
    ]
    places += [
        (name, place)
        for name, place in (
            ("AZUREML_MODEL_DIR", boot.model_dir),
            ("AZUREML_SOURCE_DIRECTORY", boot.source),
        )
        if place is not None
    ]
    for name, place in places:
        if not place.known:
            message = (
                f"`{name}` leads to `{printable(place.display)}`, outside of the known files of the image"
            )
            yield Finding(code="D616", message=message)


def _library(boot: BootEnv) -> Iterator[Finding]:
    """Yield the findings about each directory of packages on PYTHONPATH."""
    for folder in boot.libraries:
        names = boot.files.names(folder)
        if folder == posixpath.normpath(boot.root) or not boot.files.is_dir(folder):
            continue
        if not any(name.endswith((".dist-info", ".egg-info")) for name in names):
            deeper = site_packages_below(boot.files, folder)
            message = f"`{printable(folder)}` has no installed distribution"
            if not deeper:
                yield Finding(code="D614", message=message, where=folder)
            elif deeper not in boot.libraries:
                message += f"; the packages are in `{printable(deeper)}`"
                yield Finding(code="D627", message=message, where=folder)
        python = PYTHON_FOLDER.findall(folder)
        if boot.profile.python and python and python[-1] != boot.profile.python:
            message = f"`{printable(folder)}` is for Python {python[-1]}, the image has {boot.profile.python}"
            yield Finding(code="D615", message=message, where=folder)
        for name in names:
            if name.endswith(".pth"):
                message = f"`{printable(name)}` is not processed in a directory on PYTHONPATH"
                yield Finding(code="D619", message=message, where=f"{folder}/{name}")
        tools = [f"`{name}`" for name in _TOOLS if name in names]
        if tools:
            yield Finding(
                code="D624", message=f"{' and '.join(tools)} would replace the image's", where=folder
            )


def site_packages_below(files: Files, folder: str) -> str:
    """Return the site-packages of a virtual environment; empty if there is none.

    :param folder: the root of the environment, or its ``lib``.
    """
    for lib in (f"{folder}/lib", folder):
        for name in (*(name for name in files.names(lib) if name.startswith("python3.")), "."):
            site_packages = posixpath.normpath(f"{lib}/{name}/site-packages")
            if files.is_dir(site_packages):
                return site_packages
    return ""


def _hiding(boot: BootEnv) -> Iterator[Finding]:
    """Yield modules that hide those of the standard library, since PYTHONPATH precedes it.

    A directory without ``__init__.py`` hides nothing: regular packages precede namespace packages.
    """
    python = tuple(map(int, boot.profile.python.split("."))) if boot.profile.python else (3, 99)
    for folder in dict.fromkeys(boot.libraries):
        for name in boot.files.names(folder):
            module = name.removesuffix(".py")
            if module not in sys.stdlib_module_names or ADDED.get(module, (3, 0)) > python:
                continue
            path = f"{folder}/{name}"
            if name.endswith(".py") or boot.files.is_file(f"{path}/__init__.py"):
                message = f"`{printable(path)}` hides the standard library's `{module}`"
                code = "D610" if folder == posixpath.normpath(boot.root) else "M101"
                yield Finding(code=code, message=message, where=path)


def _missing_folders(boot: BootEnv) -> Iterator[Finding]:
    """Yield the variables whose directory or file does not exist."""
    model, source = boot.model_dir, boot.source
    if model is not None and not boot.is_dir(model):
        where = printable(model.display)
        yield Finding(code="D617", message=f"`AZUREML_MODEL_DIR` leads to `{where}`, which does not exist")
    if source is not None and not boot.is_dir(source):
        where = printable(source.display)
        yield Finding(
            code="D623", message=f"`AZUREML_SOURCE_DIRECTORY` leads to `{where}`, which does not exist"
        )
    for folder in boot.env.get("PYTHONPATH", "").split(":"):
        place = boot.place(posixpath.join(boot.root, folder))
        if folder and not boot.is_dir(place):
            yield Finding(
                code="D623", message=f"PYTHONPATH names `{printable(folder)}`, which does not exist"
            )
    config = boot.env.get("AZUREML_CONFIG_FILE", "")
    if config and not boot.is_file(boot.place(posixpath.join(boot.root, config))):
        yield Finding(
            code="D623", message=f"`AZUREML_CONFIG_FILE` names `{printable(config)}`, which does not exist"
        )


def _models(boot: BootEnv, folders: Sequence[str]) -> Iterator[Finding]:
    """Yield files and variables that mix code or packages with a registered model."""
    script = boot.script.path or ""
    source = boot.source.path if boot.source else None
    for folder in dict.fromkeys(map(posixpath.normpath, folders)):
        if source and source != posixpath.normpath(boot.root) and _overlap(source, folder):
            message = (
                f"the source directory `{printable(source)}` and `{printable(folder)}`, a model's, overlap"
            )
            yield Finding(code="D618", message=message, where=folder)
        for path, kind in _foreign_files(boot, folder):
            message = f"`{printable(path)}` in a model directory is {kind}"
            yield Finding(code="D618", message=message, where=path)
        for extra in boot.extra_sources:
            place = boot.place_of(extra)
            if place.path is not None and place.path.startswith(f"{folder}/"):
                message = f"`{extra.variable}` leads into the model directory `{printable(folder)}`"
                yield Finding(code="D618", message=message, where=folder)
        if script.startswith(f"{folder}/"):
            message = f"the entry script is in the model directory `{printable(folder)}`"
            yield Finding(code="D618", message=message, where=folder)


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _foreign_files(boot: BootEnv, folder: str) -> Iterator[tuple[str, str]]:
    """Yield path and kind of files that do not belong to a model, in its directory or one level below."""
    entry = posixpath.basename(boot.entry.rstrip("/"))
    below = [f"{folder}/{name}" for name in boot.files.names(folder)]
    for place in (folder, *filter(boot.files.is_dir, below)):
        names = boot.files.names(place)
        for name in names:
            path = f"{place}/{name}"
            if name in (entry, "score.py") and boot.files.is_file(path):
                yield path, "a scoring script"
            elif name == "requirements.txt" and "MLmodel" not in names:  # MLflow's models have one
                yield path, "a requirements file, which belongs into the source directory"
            elif name == "site-packages" or site_packages_below(boot.files, path):
                yield path, "a directory of packages"
