"""The command ``tree``: the requirements of a bundle or of a lockfile."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from bundler.bundle.reader import read_manifest
from bundler.checks.tree import lock_graph, manifest_graph, tree_lines
from bundler.cli.common import make_reporter
from bundler.cli.console import print_envelope, print_line
from bundler.cli.examples import option_of
from bundler.cli.options import json_option
from bundler.cli.paths import bundle_path
from bundler.errors import MalformedError

__all__ = ["tree_command"]


@click.command("tree")
@click.argument("source", metavar="BUNDLE|LOCKFILE", type=bundle_path)
@click.option("--invert", metavar="NAME", help="Show the distributions that require this one.")
@json_option
def tree_command(source: Path, invert: str | None, as_json: bool) -> None:
    """Show the requirements of a bundle or a pylock.toml as a tree.

    `(*)` marks a distribution whose requirements are shown above.
    """
    option = option_of(source) or ("-s" if source.suffix == ".py" else None)
    if source.is_file() and option:
        raise _not_locked(source, option)
    if source.suffix == ".toml" and not source.is_dir():
        from bundler.pipeline.inputs import read_lock_text  # noqa: PLC0415 - 100 ms that a bundle does not need

        graph = lock_graph(read_lock_text(source), source.name)
    else:
        graph = manifest_graph(read_manifest(source))
    lines = list(tree_lines(graph, invert=invert))
    if as_json:
        print_envelope("tree", result=graph.to_json())
        return
    if not graph.is_complete:
        make_reporter().warn(f"`{source.name}` does not contain the requirements of its distributions")
    for line in lines:
        print_line(line)


def _not_locked(source: Path, option: str) -> MalformedError:
    """Return the error for a file with requirements, whose own requirements are not known before a lock."""
    lock = shlex.join(["bundler", "lock", option, str(source)])
    return MalformedError(
        f"`{source}` is not a bundle or a lockfile",
        evidence=("wanted  a bundle, or a pylock.toml of `bundler lock`",),
        hint=f"`{lock}`, then `bundler tree pylock.toml`",
    )
