"""The command ``serve``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from bundler.cli.common import make_reporter
from bundler.cli.console import print_error, print_talk
from bundler.cli.options import store_option
from bundler.cli.paths import context_path
from bundler.data.azure_image import EXIT_CODES
from bundler.data.inference_server import default_server
from bundler.deploy.context import base_image_of, context_python
from bundler.deploy.serve import run_server
from bundler.deploy.startup.files import open_context
from bundler.deploy.startup.simulate import simulate_start
from bundler.deploy.startup.variables import profile_of
from bundler.errors import BundlerError, ClosureError, UsageError
from bundler.oci.filetree import APP_ROOT
from bundler.pipeline.options import HOST_GLIBC, LockOptions
from bundler.requirements.requirement_set import IndexOptions
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment

__all__ = ["serve_command"]

_KEPT = 1000
"""The last lines of the server in which the cause of its end is searched for."""
_EXCEPTION = re.compile(r"(?!azureml_inference_server_http\.)[\w.]*(?:Error|Exception)(?:: .*)?", re.ASCII)
"""The line of a traceback with the exception, other than those of the server, which wrap it."""


def _is_cause(line: str) -> bool:
    return _EXCEPTION.fullmatch(line) is not None


def _check_script(context: Path, python: str) -> None:
    """Check that the Python can parse the entry script, before a server is installed for it.

    :raises ClosureError: if it cannot.
    """
    env, files = open_context(context, {})
    release = python if re.fullmatch(r"3\.\d+", python) else None
    boot = simulate_start(env, files, profile=profile_of(base_image_of(context), env), python=release)
    if finding := next((item for item in boot.findings if item.code == "U301"), None):
        raise ClosureError(finding.message.replace(f"/{APP_ROOT}/", ""))


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
    _check_script(context, python)
    lines: list[str] = []

    def talk(line: str) -> None:
        lines.append(line)
        del lines[:-_KEPT]
        print_talk(line)

    options = LockOptions(python=python, requirements=None, index=IndexOptions(), target_glibc=HOST_GLIBC)
    code = run_server(
        context,
        options,
        version=version,
        port=port,
        host=host,
        store=open_store(store, host, reporter),
        reporter=reporter,
        on_line=talk,
    )
    if code:
        error = next(filter(_is_cause, lines), None)
        meaning = f": {EXIT_CODES[code]}" if code in EXIT_CODES else ""
        ended = f"the server ended with exit code {code}{meaning}"
        print_error(BundlerError(ended, evidence=(f"found   {error.strip()}",) if error else ()))
        raise click.exceptions.Exit(code)
