"""The paths of a command line that bundler wrote: bundles and build contexts.

A wrong one is an error with the command for the path that was meant, if it is below this directory.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from packaging.requirements import InvalidRequirement, Requirement

from bundler.cli.options import InputPath
from bundler.cli.parsing import read_line, typed_words, with_value, with_word
from bundler.errors import InputError, MalformedError, OutputError
from bundler.oci.filetree import APP_FOLDER
from bundler.problems import closest
from bundler.redaction import redact

__all__ = ["bundle_path", "check_app_root", "context_path"]

_ARCHIVES = (".tar.gz", ".tar.zst")
_WANTED = "wanted  a directory that `bundler package -o` wrote"
_BESIDE = (".manifest.json", ".sha256")
_OF_DISTRIBUTION = {"inspect": ("explain",), "tree": ("tree", "--invert")}
"""The words of a command about a distribution, for those that read a bundle."""


class BundlePath(click.Path):
    """A bundle: an archive or a directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, if it exists, and is not a directory with bundles or a file beside a bundle."""
        try:
            path = Path(str(super().convert(value, param, ctx)))
        except click.BadParameter as error:
            if "not readable" not in error.message:
                raise
            raise OutputError(
                f"{value}: cannot read the file: permission denied",
                hint=f"chmod u+r {shlex.quote(str(value))}",
            ) from None
        is_beside = path.name.endswith(_BESIDE)
        if path.suffix == ".toml" and not path.exists():
            raise _no_lock(ctx, path, str(value))
        is_archive = path.is_file() and path.name.endswith(_ARCHIVES)
        if path.suffix == ".toml" or (path / "manifest.json").exists() or is_archive:
            return path
        from bundler.cli.examples import bundle_meant, bundle_with, existing_bundles, input_words  # noqa: PLC0415 - only for an error

        if whole := _enclosing(path, lambda folder: bool(existing_bundles([str(folder)]))):
            raise MalformedError(f"`{path}` is a part of a bundle", hint=_command(ctx, str(value), whole))
        if path.is_file() and not is_beside:
            _check_kind(ctx, path)
            return path
        requirement = None if path.exists() else _requirement(str(value))
        typed = [word for word in typed_words(ctx) if word != str(value)]
        meant = bundle_with(requirement, typed) if requirement else bundle_meant(path, typed)
        hint = _command(ctx, str(value), meant) if meant else None
        if hint and requirement and ctx is not None and ctx.command.name in _OF_DISTRIBUTION:
            hint = shlex.join(["bundler", *_OF_DISTRIBUTION[ctx.command.name], requirement.name, str(meant)])
        if not path.exists():
            hint = _swapped(ctx, str(value)) or hint
            words = (redact(str(value)),) if requirement else input_words()
            build = shlex.join(["bundler", "build", *words]) if words else "bundler build --help"
            raise OutputError(f"{path}: file not found", hint=hint or f"build a bundle first: `{build}`")
        if meant is None:
            return path
        kind = "a directory with bundles" if path.is_dir() else "a file beside a bundle"
        raise MalformedError(f"`{path}` is {kind}, not a bundle", hint=hint)


def _check_kind(ctx: click.Context | None, path: Path) -> None:
    """Check that a file that is not named as a bundle is neither an image nor a file with requirements.

    :raises MalformedError: with the command that reads it.
    """
    from bundler.cli.examples import option_of  # noqa: PLC0415 - only for an error
    from bundler.oci.blobs import is_image  # noqa: PLC0415 - the same

    if path.suffix == ".tar" and is_image(path):
        hint = shlex.join(["bundler", "profile", str(path)])
        raise MalformedError(f"`{path}` is an image, not a bundle", hint=f"`{hint}` shows its packages")
    option = option_of(path)
    if option and ctx is not None and ctx.command.name != "tree":  # which reads requirements, too
        build = shlex.join(["bundler", "build", option, str(path)])
        raise MalformedError(f"`{path}` is not a bundle", hint=f"build a bundle first: `{build}`")


def _swapped(ctx: click.Context | None, typed: str) -> str | None:
    """Return the running ``unpack`` with its arguments in the other order, if that has a bundle first."""
    from bundler.cli.examples import existing_bundles  # noqa: PLC0415 - only for an error

    words = typed_words(ctx)
    others = [word for word in words if word != typed and existing_bundles([word])]
    if ctx is None or ctx.command.name != "unpack" or len(others) != 1 or typed not in words:
        return None
    swap = {typed: others[0], others[0]: typed}
    return redact(shlex.join(["bundler", *(swap.get(word, word) for word in words)]))


def _enclosing(path: Path, accepts: Callable[[Path], bool]) -> Path | None:
    """Return the innermost directory that contains an existing path and is accepted, or None."""
    if not path.exists():
        return None
    folders = path.parents if path.is_absolute() else (*path.parents, *Path.cwd().parents)
    return next(filter(accepts, folders), None)


def _requirement(text: str) -> Requirement | None:
    """Return the requirement that was typed in place of a bundle: one with versions, or a known name."""
    from bundler.data.popular_names import most_downloaded  # noqa: PLC0415 - only for an error

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    return requirement if requirement.specifier or text.lower() in most_downloaded() else None


def _no_lock(ctx: click.Context | None, path: Path, typed: str) -> InputError:
    """Return the error for a lock that does not exist, with a similar one or the command that writes it."""
    from bundler.cli.examples import input_words  # noqa: PLC0415 - only for an error

    near = closest(path.name, [item.name for item in path.parent.glob("pylock*.toml")])
    words = [word for word in input_words() if path.name.startswith("pylock")]
    hint = "bundler lock --help"
    if near:
        hint = f"did you mean `{_command(ctx, typed, path.with_name(near))}`?"
    elif words and words[0] != "--lock":
        hint = f"write it first: `{shlex.join(['bundler', 'lock', *words, '-o', str(path)])}`"
    return InputError(f"{typed}: file or directory not found", hint=hint)


class ContextPath(InputPath):
    """The directory of a build context."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, if it exists and has the files of a build context."""
        from bundler.cli.examples import contexts_in, existing_bundles, package_command  # noqa: PLC0415 - only for an error

        if Path(str(value)).is_file() and existing_bundles([str(value)]):
            packaged = package_command(Path(str(value))) or shlex.join(["bundler", "package", str(value)])
            raise InputError(f"`{value}` is a bundle, not a build context", hint=packaged)
        typed = Path(str(value))
        if not _is_context(typed) and (whole := _enclosing(typed, _is_context)):
            raise InputError(f"`{value}` is a part of a build context", hint=_command(ctx, str(value), whole))
        if typed.is_file():
            raise InputError(
                f"`{value}` is a file, not a build context",
                evidence=(_WANTED,),
                hint=package_command(),
            )
        path = Path(str(super().convert(value, param, ctx)))
        if _is_context(path) and not (path / APP_FOLDER).is_dir():
            raise _incomplete(path)
        if _is_context(path) or (path / "Dockerfile").is_file():
            return path
        meant = next(iter((*contexts_in(path), *contexts_in(Path()))), None)
        hint = _command(ctx, str(value), meant) if meant else package_command()
        raise InputError(
            f"`{path}` is not a build context",
            evidence=(_WANTED,),
            hint=hint or "bundler package --help",
        )


def _incomplete(context: Path) -> InputError:
    """Return the error for a context without its application, with the command that writes it again."""
    from bundler.cli.examples import package_command  # noqa: PLC0415 - only for an error
    from bundler.deploy.context import read_context_facts  # noqa: PLC0415 - only for an error

    facts = read_context_facts(context)
    again = package_command(script_name=facts.env.get("AZUREML_ENTRY_SCRIPT"), image=facts.base_image)
    return InputError(
        f"`{context / APP_FOLDER}` not found: the context is incomplete",
        hint=f"write the context again: `{again}`" if again else "bundler package --help",
    )


def _is_context(folder: Path) -> bool:
    return (folder / "context.json").is_file()


def check_app_root(folder: Path, script: str | None) -> None:
    """Check that a directory of ``--app-root`` is not a build context, nor above or below its application.

    :param script: the value of AZUREML_ENTRY_SCRIPT; a directory that contains it is right.
    :raises InputError: with the command that has the application root instead.
    """
    from bundler.cli.examples import contexts_in  # noqa: PLC0415 - read only by two commands

    is_here = script is not None and (folder / script.lstrip("/")).is_file()
    own = folder / APP_FOLDER
    if not is_here and own.is_dir() and (_is_context(folder) or (folder / "Dockerfile").is_file()):
        raise _no_app_root(f"`{folder}` is a build context, not its application root", own)
    if is_here or script is None:
        return
    whole = _enclosing(folder, _is_context)
    for context in [*([whole] if whole else []), *contexts_in(folder)]:
        root = context / APP_FOLDER
        if root.resolve() != folder.resolve() and (root / script.lstrip("/")).is_file():
            raise _no_app_root(
                f"`{folder}` is not the application root of the build context `{context}`", root
            )


def _no_app_root(message: str, root: Path) -> InputError:
    """Return the error for a wrong ``--app-root``, with the running command for the right one."""
    words = with_value(["bundler", *typed_words(click.get_current_context())], "--app-root", str(root))
    evidence = ("wanted  the directory that is mounted at /var/azureml-app",)
    return InputError(message, evidence=evidence, hint=redact(shlex.join(words)))


def _command(ctx: click.Context | None, typed: str, meant: Path) -> str:
    """Return the running command with another path, and without the words that it does not accept."""
    from bundler.cli.correction import corrections  # noqa: PLC0415 - only for an error

    words = with_word(ctx, typed, str(meant))
    root = ctx.find_root().command if ctx is not None else None
    if isinstance(root, click.Group) and len(words) > 1:
        words = ["bundler", *next(corrections(read_line(words[1:], root), root), words[1:])]
    return redact(shlex.join(words))


bundle_path = BundlePath(path_type=Path)
context_path = ContextPath(path_type=Path, file_okay=False, exists=True)
