"""Arguments for suggestions: the bundles, build contexts and inputs below the working directory."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.bundle.reader import read_manifest
from bundler.checks.user_code import is_script_name
from bundler.cli.parsing import read_line, typed_words, with_word
from bundler.data.azure_image import image_name
from bundler.errors import BundlerError, InputError
from bundler.oci.filetree import APP_FOLDER
from bundler.problems import closest
from bundler.redaction import redact

__all__ = [
    "ARCHIVES",
    "bundle_meant",
    "bundle_with",
    "bundles_here",
    "bundles_in",
    "contexts_in",
    "example_of",
    "existing_bundles",
    "existing_path",
    "find_script",
    "free_name",
    "inference_image",
    "input_words",
    "known_image_files",
    "newest_bundle",
    "option_of",
    "package_command",
]

ARCHIVES = (".tar.gz", ".tar.zst")
_BESIDE = (".manifest.json", ".sha256")
_FILES = (".gz", ".json", ".tar", ".tgz", ".toml", ".txt", ".yaml", ".yml", ".zst")
"""The suffixes of files, which the name of an image without a tag does not have."""
_PLACES = (".", "dist")
_OPTIONS = {".in": "-r", ".txt": "-r", ".yaml": "-f", ".yml": "-f"}
"""The option of ``build`` that reads a file with requirements, by its suffix."""
_PYTHON_NAME = re.compile(r"(?:python|py|cp)?(\d\.\d+(?:\.\d+)?)")
"""The name of a program of Python, or its version."""
_IMAGES = ("archive", "base", "source", "old", "delta_from")
"""The parameters that accept an image."""


def bundles_in(folder: Path) -> list[Path]:
    """Return the bundles in a directory, the newest first."""
    archives = [path for path in folder.glob("*.tar.*") if path.name.endswith(ARCHIVES)]
    folders = [path.parent for path in folder.glob("*/manifest.json")]
    newest_first = sorted([*archives, *folders], key=lambda path: path.stat().st_mtime, reverse=True)
    return [path for path in newest_first if _is_bundle(path)]


def bundles_here() -> Iterator[Path]:
    """Yield the bundles in this directory, then those in ``dist``, the newest of each first."""
    return (path for place in _PLACES for path in bundles_in(Path(place)))


def existing_bundles(names: Iterable[str]) -> list[str]:
    """Return those names that are the paths of bundles."""
    return [name for name in names if name and _is_bundle(Path(name))]


def bundle_meant(path: Path, typed: Sequence[str] = ()) -> Path | None:
    """Return the bundle for a path that is not one: in it, beside it, of a similar name, or the newest.

    :param typed: the other words of the command line, which are suggested only for a directory with them.
    """
    if path.is_dir():
        inside = [*bundles_in(path), *bundles_in(path / APP_FOLDER)]
        return next((item for item in inside if str(item) not in typed), next(iter(inside), None))
    for suffix in _BESIDE:
        stem = path.name.removesuffix(suffix)
        archives = existing_bundles(str(path.with_name(stem + end)) for end in (*ARCHIVES, ""))
        if stem != path.name and path.is_file():
            return Path(archives[0]) if archives else None
    beside = [item for item in bundles_in(path.parent) if str(item) not in typed]
    near = closest(path.name, [item.name for item in beside])
    others = [item for item in (*beside, *bundles_here()) if str(item) not in typed]
    named = (item for item in others if item.name.startswith(f"{path.name}-"))
    return path.with_name(near) if near else next(named, next(iter(others), None))


def bundle_with(requirement: Requirement, typed: Sequence[str] = ()) -> Path | None:
    """Return the newest bundle in this directory or in ``dist`` with a distribution that is required.

    :param typed: the other words of the command line, which are not suggested again.
    """
    name = canonicalize_name(requirement.name)
    for path in (item for item in bundles_here() if str(item) not in typed):
        for item in read_manifest(path).document.distributions:
            if item.name == name and requirement.specifier.contains(item.version, prereleases=True):
                return path
    return None


def newest_bundle() -> Path | None:
    """Return the newest bundle in this directory or, if it has none, in ``dist``."""
    return next(bundles_here(), None)


def _is_bundle(path: Path) -> bool:
    if not (path / "manifest.json").is_file() and not (path.name.endswith(ARCHIVES) and path.is_file()):
        return False
    try:
        read_manifest(path)
    except (BundlerError, OSError):
        return False
    return True


def contexts_in(folder: Path) -> list[Path]:
    """Return the build contexts in a directory."""
    return [path.parent for path in sorted(folder.glob("*/context.json"))]


def find_script(folder: Path | None = None, name: str | None = None) -> tuple[Path, str] | None:
    """Return a source directory and its entry script: of a name, else one with ``run()``, else the first.

    :param folder: the source directory, if it is known; else this directory and those in it.
    :param name: the entry script, if it is known; a path is one from this directory.
    """
    folders = [folder] if folder is not None else [Path(), *sorted(Path().glob("*/"))]
    if name is not None:
        named = [(item, name) for item in folders if (item / name).is_file()]
        if folder is None and (path := Path(name)).is_file():
            return path.parent, path.name
        if named:
            return named[0]
    scripts = [path for item in folders for path in sorted(item.glob("*.py")) if is_script_name(path.name)]
    near = closest(name or "", [path.name for path in scripts])
    servable = [path for path in scripts if "def run(" in path.read_text("utf-8", "replace")]
    similar = [path for path in scripts if path.name == near]
    return next(((path.parent, path.name) for path in (*similar, *servable, *scripts)), None)


def free_name(name: str) -> str:
    """Return a name that no file of this directory has: the wanted one, else one with a number."""
    names = (name, *(f"{name}-{number}" for number in range(2, 100)))
    return next((item for item in names if not Path(item).exists()), name)


def inference_image(bundle: Path | None) -> str:
    """Return the name of Azure ML's image for the Python of a bundle, without one for the default Python."""
    release = (3, 7)
    with suppress(BundlerError, OSError):
        release = read_manifest(bundle).target.release if bundle is not None else release
    return image_name(release)


def package_command(
    bundle: Path | None = None, *, script_name: str | None = None, image: str | None = None
) -> str | None:
    """Return the command that writes a build context for a bundle and the script found here.

    :param bundle: None is the newest bundle.
    :param script_name: the entry script, if it is known.
    :param image: the base image, if it is known.
    """
    bundle, script = bundle or newest_bundle(), find_script(name=script_name)
    if bundle is None or script is None:
        return None
    code = ["--source-dir", str(script[0]), "--entry-script", script[1]]
    outputs = ["-o", free_name("context"), "--base-image", image or inference_image(bundle)]
    return shlex.join(["bundler", "package", str(bundle), *code, *outputs])


def example_of(param: click.Parameter, values: Mapping[str, Any], words: Sequence[str]) -> str | None:
    """Return a value for a missing argument that works here, or None.

    :param values: the values of the other parameters.
    :param words: the command line, whose words are not suggested again.
    """
    name = param.human_readable_name
    if name.endswith("LOCKFILE") and (locks := sorted(map(str, Path().glob("pylock*.toml")))):
        return locks[0]
    if name.startswith("BUNDLE") or name in ("BEFORE", "AFTER"):
        return next((path for path in map(str, bundles_here()) if path not in words), None)
    if name == "DEST":
        stem = Path(str(values.get("bundle"))).name
        for suffix in ARCHIVES:
            stem = stem.removesuffix(suffix)
        return stem if not Path(stem).exists() else f"{stem}-unpacked"
    if name == "CONTEXT":
        return next(map(str, contexts_in(Path())), None)
    if name == "SOURCE":
        return next((name for option, name in _inputs() if option != "--lock"), None)
    return None


def input_words() -> tuple[str, str] | tuple[()]:
    """Return the option and the name of a file with requirements in this directory; empty without any."""
    return next(_inputs(), ())


def option_of(path: Path) -> str | None:
    """Return the option of ``build`` that reads a file with requirements; None for another file."""
    return "-r" if path.name == "pyproject.toml" else _OPTIONS.get(path.suffix)


def _inputs() -> Iterator[tuple[str, str]]:
    from bundler.requirements.text import inputs_in  # noqa: PLC0415 - the parser of pip, only for a suggestion

    return inputs_in(Path())


def known_image_files(name: str) -> list[Path]:
    """Return the archive of an image in BUNDLER_BASES, and its profile; none if it is not there."""
    from bundler.base_image.bases import bases_folder, image_files  # noqa: PLC0415 - only for an error
    from bundler.system.environ import read_host_environment  # noqa: PLC0415 - the same

    return image_files(bases_folder(read_host_environment()), name)


def _known_image(text: str, ctx: click.Context) -> str | None:
    """Return the command with the archive of an image whose name was passed, if BUNDLER_BASES has it."""
    files = known_image_files(text)
    if not files:
        return None
    words, name = ["bundler", *typed_words(ctx)], "--base-image"
    if ctx.command.name == "package" and not any(word.split("=")[0] == name for word in words):
        meant = [f"{name}{word[6:]}" if word.split("=")[0] == "--base" else word for word in words]
    else:
        swaps = {text: str(files[0]), f"--base={text}": f"--base={files[0]}"}
        meant = [swaps.get(word, word) for word in words]
    return f"did you mean `{redact(shlex.join(meant))}`?"


def _saved_image(text: str) -> str | None:
    """Return the command that saves an image to a path, or the one whose name was passed."""
    from bundler.oci.reference import parse_reference  # noqa: PLC0415 - only for an error

    if Path(text).suffix == ".tar":
        image = image_name((3, 7))
        return f"write it: `docker save -o {shlex.quote(text)} {image}`, or with another image"
    try:
        name = parse_reference(text.partition("@")[0])
    except InputError:
        return None
    domain, _, path = text.partition("/")
    if ":" not in text and ("." not in domain or not path or Path(path).suffix in _FILES):  # `base.txt`
        return None
    file = f"{name.path.rpartition('/')[2]}.tar"
    return f"an image is read from a file: `docker save -o {file} {shlex.quote(text)}`, then pass `{file}`"


def _with_source(ctx: click.Context) -> list[str] | None:
    """Return the command that was meant by one with further arguments: ``env register NAME env.yml``."""
    from bundler.cli.correction import corrections  # noqa: PLC0415 - it imports this module

    root = ctx.find_root().command
    if not isinstance(root, click.Group) or (line := read_line(typed_words(ctx), root)).fault != "extra":
        return None
    meant = next(corrections(line, root), None)
    return ["bundler", *meant] if meant else None


def existing_path(text: str, param: click.Parameter, ctx: click.Context) -> str | None:
    """Return what to do about a path of the command line that does not exist, and that none is similar to.

    It is a path that exists for the parameter, the command that writes it, or the command's help.
    """
    version = _PYTHON_NAME.fullmatch(Path(text).name)
    hint = None
    if param.name == "delta":
        old = str(ctx.params.get("old") or "OLD")
        words = ["bundler", "package", "BUNDLE", "--image", text, "--delta-from", old]
        hint = f"write it: `{shlex.join(words)}`"
    elif ctx.command.name == "profile" and version:
        hint = f"bundler profile --python {version[1]}"
    elif param.name == "source_dir" and (script := find_script(name=ctx.params.get("entry_script"))):
        hint = f"pass `--source-dir {shlex.quote(str(script[0]))}`, which has `{script[1]}`"
    elif param.name == "document" and (meant := _with_source(ctx)):
        hint = f"did you mean `{redact(shlex.join(meant))}`?"
    elif param.name == "document" and (document := example_of(param, {}, ())):
        hint = f"did you mean `{shlex.join(with_word(ctx, text, document))}`?"
    elif param.name in _IMAGES:
        hint = _known_image(text, ctx) or _saved_image(text)
    return hint or f"see `{ctx.command_path} --help`"
