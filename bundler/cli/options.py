"""Options that several commands share, each group with a dataclass of its values."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args

import click

from bundler.cli.parsing import target_tag, typed_words, with_value, with_word
from bundler.cli.settings import source_of
from bundler.data.slim import SlimLevel
from bundler.errors import InputError, UsageError
from bundler.redaction import redact
from bundler.text import listing

__all__ = [
    "REQUIREMENT",
    "BundleArguments",
    "InputPath",
    "RequirementArguments",
    "ResolveArguments",
    "bundle_options",
    "file_path",
    "group",
    "json_option",
    "requirement_options",
    "resolve_options",
    "store_option",
]

Decorator = Callable[[Callable[..., Any]], Any]


def group(parameter: str, kind: type[Any], *options: Decorator) -> Decorator:
    """Return a decorator that gives a command several options, their values in one dataclass.

    :param parameter: the parameter of the command that receives the dataclass.
    :param kind: the dataclass: one field for each option.
    :raises TypeError: when the command is defined, if options and fields differ.
    """
    names = [field.name for field in fields(kind)]

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def call(**values: Any) -> Any:
            arguments = kind(**{name: values.pop(name) for name in names})
            return function(**{parameter: arguments}, **values)

        command: Any = call
        before = {option.name for option in getattr(command, "__click_params__", [])}
        for option in reversed(options):
            command = option(command)
        added = {option.name for option in command.__click_params__} - before
        if added != set(names):
            raise TypeError(f"{kind.__name__}: fields and options differ: {added ^ set(names)}")
        return command

    return decorate


class InputPath(click.Path):
    """A path of the command line; a wrong one is an error in the words and with the code of other files."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, checked as `click.Path` does it."""
        if not self.dir_okay and str(value).endswith("/") and isinstance(param, click.Option):
            name = Path(str(param.default)).name if isinstance(param.default, str) else ""
            hint = f"{param.opts[-1]} {shlex.quote(f'{value}{name}')}" if name else None
            raise UsageError(f"{value}: a directory, not a file ({param.opts[-1]})", hint=hint)
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            from bundler.requirements.text import similar_path  # noqa: PLC0415 - only for an error

            text = str(value)
            reason = next((new for old, new in _REASONS.items() if old in error.message), error.message)
            near = similar_path(Path(text)) if "not found" in reason else None
            meant = redact(shlex.join(with_word(ctx, text, str(near)))) if near else None
            hint = f"did you mean `{meant}`?" if meant else None
            if reason == _REASONS["is a file"] and ctx is not None and isinstance(param, click.Option):
                typed = typed_words(ctx)
                given = (name for name in param.opts if name in typed)
                option = next(given, max(param.opts, key=len))
                words = with_value(["bundler", *typed], option, str(Path(text).parent))
                if option == "--source-dir" and text.endswith(".py"):
                    words = with_value(words, "--entry-script", Path(text).name)
                hint = redact(f"did you mean `{shlex.join(words)}`?")
            if "not found" in reason and not near and param is not None and ctx is not None:
                from bundler.cli.examples import existing_path  # noqa: PLC0415 - only for an error

                hint = existing_path(text, param, ctx)
            if source := source_of(ctx, param):
                raise UsageError(f"{source}: {text}: {reason}", hint="bundler config") from None
            option = f" ({param.opts[-1]})" if param is not None and param.opts[-1].startswith("-") else ""
            error_class = InputError if self.exists else UsageError
            raise error_class(f"{text}: {reason}{option}", hint=hint) from None


_PYTHON = re.compile(r"\d+\.\d+(?:\.\d+)?")
"""A version of Python, which is not a requirement."""
_REASONS = {
    "does not exist": "file or directory not found",
    "is a directory": "a directory, not a file",
    "is a file": "a file, not a directory",
    "is not readable": "cannot read the file: permission denied",
}
"""The messages of `click.Path`, and the words for them."""

file_path = InputPath(path_type=Path, dir_okay=False)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
store_option = click.option(
    "--store",
    type=InputPath(path_type=Path, file_okay=False),
    help="Use this store  [default: BUNDLER_STORE, or the user's cache directory].",
)


@dataclass(frozen=True, kw_only=True)
class ResolveArguments:
    """Options of every command that resolves requirements."""

    strict: bool
    python: str | None
    only_binary: bool
    prefer_binary: bool
    target: str | None
    target_glibc: str | None
    resolver: Literal["pip", "uv"]
    exclude_newer: str | None
    index_url: str | None
    extra_index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    no_index: bool
    trusted_hosts: tuple[str, ...]
    store: Path | None
    as_json: bool


def _one_python(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the value of ``--python``, unless further Pythons follow it.

    :raises UsageError: if they do, with the command for the last one.
    """
    typed = typed_words(ctx)
    for at, word in enumerate(typed):
        start = at + 2 if word in param.opts else at + 1
        if word.partition("=")[0] not in param.opts or start > len(typed):
            continue
        first = typed[start - 1].rpartition("=")[2]
        more = [*takewhile(_PYTHON.fullmatch, typed[start:])]
        pythons = [*filter(None, first.split(",")), *more]
        if len(pythons) > 1:
            raise UsageError(
                f"several values for `--python`: {listing(pythons, len(pythons))}",
                evidence=("wanted  one Python per build; `bundler matrix` builds for several",),
                hint=redact(
                    shlex.join(["bundler", *typed[:at], "--python", pythons[-1], *typed[start + len(more) :]])
                ),
            )
    return value


resolve_options = group(
    "resolve",
    ResolveArguments,
    click.option("--strict", is_flag=True, help="Refuse conda packages without a counterpart on the index."),
    click.option(
        "--python",
        callback=_one_python,
        help="Build for this target Python, a version or a path  [default: that of env.yml, or 3.7].",
    ),
    click.option("--only-binary", is_flag=True, help="Refuse source distributions."),
    click.option(
        "--prefer-binary/--no-prefer-binary",
        default=True,
        help="Prefer an older release with a wheel to a newer one that must be built  [default: prefer].",
    ),
    click.option(
        "--target",
        metavar="TAG",
        callback=target_tag,
        help="Build for another platform, such as cp37-manylinux_2_17_aarch64: wheels, static checks alone.",
    ),
    click.option(
        "--target-glibc",
        metavar="VERSION",
        help="Choose wheels for this glibc, refuse shared objects that need a newer one; `host` is this"
        " machine's  [default: that of --base, or of Azure ML's image for the Python].",
    ),
    click.option(
        "--resolver",
        type=click.Choice(["pip", "uv"]),
        default="pip",
        show_default=True,
        help="Choose the versions with the target's pip, or with uv, which is faster (extra `uv`).",
    ),
    click.option(
        "--exclude-newer",
        metavar="DATE",
        help="Ignore files that were uploaded after this day or time (UTC); the index must list the times.",
    ),
    click.option("-i", "--index-url", help="Use this package index."),
    click.option("--extra-index-url", "extra_index_urls", multiple=True, help="Use this index as well."),
    click.option(
        "-f",
        "--find-links",
        multiple=True,
        help="Search this directory or URL for distributions (a .yml file is read as --file).",
    ),
    click.option("--no-index", is_flag=True, help="Ignore all indexes; use only --find-links."),
    click.option(
        "--trusted-host", "trusted_hosts", multiple=True, help="Do not verify the certificate of this host."
    ),
    store_option,
    json_option,
)


@dataclass(frozen=True, kw_only=True)
class RequirementArguments:
    """Requirements: on the command line and in files."""

    requirement: tuple[str, ...]
    files: tuple[Path, ...]
    constraints: tuple[Path, ...]
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    scripts: tuple[Path, ...]


REQUIREMENT = "[REQ|FILE|DIRECTORY]..."
"""The argument of the commands that read requirements."""
requirement_options = group(
    "requirements",
    RequirementArguments,
    click.argument("requirement", nargs=-1, metavar=REQUIREMENT),
    click.option(
        "-r",
        "--requirement",
        "--file",
        "files",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Read a requirements file, a pyproject.toml or a conda env.yml.",
    ),
    click.option(
        "-c", "--constraint", "constraints", type=file_path, multiple=True, help="Read a constraints file."
    ),
    click.option(
        "-s",
        "--script",
        "scripts",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Read the inline metadata of a Python script (PEP 723).",
    ),
    click.option("--extra", "extras", multiple=True, help="Include this extra of the pyproject.toml."),
    click.option("--group", "groups", multiple=True, help="Include this group of the pyproject.toml."),
)


@dataclass(frozen=True, kw_only=True)
class BundleArguments:
    """Options of every command that builds a bundle."""

    name: str | None
    version: str | None
    folder: Path
    fmt: Literal["tar.gz", "tar.zst", "dir"]
    use: Literal["mount", "venv", "both"] | None
    source_dir: Path | None
    entry_script: str | None
    run_init: bool
    model_dir: Path | None
    base: Path | None
    omit_provided: bool
    server: str | None
    slim: SlimLevel | None
    keep: tuple[str, ...]
    reverify: bool
    allow: tuple[str, ...]
    allow_import_failure: tuple[str, ...]
    allow_pth: tuple[str, ...]


bundle_options = group(
    "bundle",
    BundleArguments,
    click.option(
        "--name",
        help="Name the bundle  [default: that of env.yml or the project, or of the directory of the file].",
    ),
    click.option(
        "--bundle-version",
        "version",
        help="Set its version  [default: from the digest of the lock].",
    ),
    click.option(
        "-o",
        "--output",
        "folder",
        type=InputPath(path_type=Path, file_okay=False),
        default="dist",
        show_default=True,
        help="Write the bundle into this directory.",
    ),
    click.option(
        "--format",
        "fmt",
        type=click.Choice(["tar.gz", "tar.zst", "dir"]),
        default="tar.gz",
        show_default=True,
        help="Write an archive, or a directory.",
    ),
    click.option(
        "--for",
        "use",
        type=click.Choice(["mount", "venv", "both"]),
        help="Check the bundle on PYTHONPATH (mount), installed (venv), or both"
        "  [default: both; mount with --base].",
    ),
    click.option(
        "--source-dir",
        type=InputPath(path_type=Path, file_okay=False, exists=True),
        help="Check the imports of the code in this directory.",
    ),
    click.option(
        "--entry-script", metavar="FILE", help="The script with init() and run(), relative to --source-dir."
    ),
    click.option("--run-init", is_flag=True, help="Run the entry script and call init(), without a network."),
    click.option(
        "--model-dir",
        type=InputPath(path_type=Path, exists=True, file_okay=False),
        help="Set AZUREML_MODEL_DIR to this directory for --run-init.",
    ),
    click.option(
        "--base",
        type=InputPath(path_type=Path, exists=True),
        help="Check against this base: a profile, a pip freeze, a root filesystem or an image archive.",
    ),
    click.option(
        "--omit-provided",
        is_flag=True,
        help="Leave out distributions that --base already provides in a compatible version.",
    ),
    click.option(
        "--server",
        metavar="VERSION",
        help="Check under this azureml-inference-server-http as well.",
    ),
    click.option(
        "--slim",
        type=click.Choice(get_args(SlimLevel)),
        help="Leave out tests, type stubs, documentation and static libraries; with max also headers,"
        " C sources and debug symbols.",
    ),
    click.option(
        "--keep", multiple=True, metavar="NAME", help="Leave nothing out of this distribution with --slim."
    ),
    click.option("--reverify", is_flag=True, help="Repeat checks that an earlier build has passed."),
    click.option(
        "--allow",
        multiple=True,
        metavar="CODE[:NAME]",
        help="Accept this error and record it in the manifest.",
    ),
    click.option(
        "--allow-import-failure",
        multiple=True,
        metavar="NAME",
        help="Allow this distribution or module to fail to import.",
    ),
    click.option(
        "--allow-pth",
        multiple=True,
        metavar="NAME",
        help="Allow the .pth files of this distribution to run code.",
    ),
)
