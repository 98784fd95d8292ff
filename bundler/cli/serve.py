"""The command ``serve``."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.common import make_reporter
from bundler.cli.console import print_talk
from bundler.cli.options import store_option
from bundler.cli.paths import context_path
from bundler.data.inference_server import default_server
from bundler.deploy.context import context_python
from bundler.deploy.serve import run_server
from bundler.errors import UsageError
from bundler.pipeline.options import HOST_GLIBC, LockOptions
from bundler.requirements.requirement_set import IndexOptions
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment

__all__ = ["serve_command"]


@click.command("serve")
@click.argument("context", type=context_path)
@click.option(
    "--server",
    default=None,
    help="Run this version of the server  [default: the newest for the target].",
)
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--python",
    default=None,
    help="Run with this Python, a version or a path  [default: that of the context].",
)
@store_option
def serve_command(
    context: Path, server: str | None, port: int, python: str | None, store: Path | None
) -> None:
    """Run a build context under the real inference server, locally and without a container."""
    host = read_host_environment()
    reporter = make_reporter()
    python = python or context_python(context) or "3.7"
    version = server or default_server(python if python[:1].isdigit() else "3.7")
    if version is None:
        raise UsageError(f"no inference server is known for Python {python}", hint="bundler serve --help")
    options = LockOptions(python=python, requirements=None, index=IndexOptions(), target_glibc=HOST_GLIBC)
    code = run_server(
        context,
        options,
        version=version,
        port=port,
        host=host,
        store=open_store(store, host, reporter),
        reporter=reporter,
        on_line=print_talk,
    )
    if code:
        raise click.exceptions.Exit(code)
