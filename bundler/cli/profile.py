"""The command ``profile``: the facts of a base."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from bundler.base_image.profile import profile_json
from bundler.base_image.reader import read_base
from bundler.cli.common import make_reporter
from bundler.cli.console import print_text
from bundler.cli.options import InputPath
from bundler.errors import UsageError
from bundler.system.environ import read_host_environment
from bundler.target.interpreter import capture_profile, find_interpreter
from bundler.target.scripts import script

__all__ = ["profile_command"]


@click.command("profile")
@click.argument("source", required=False, type=InputPath(path_type=Path, exists=True))
@click.option("--python", help="Capture this Python, a version or a path  [default: 3.7].")
@click.option("--python-in", metavar="PATH", help="Choose the Python of an image by its prefix or version.")
@click.option(
    "--script", "as_script", is_flag=True, help="Print the script that captures a profile on the target."
)
def profile_command(source: Path | None, python: str | None, python_in: str | None, as_script: bool) -> None:
    """Print the profile of a base: of a Python on this machine, or of SOURCE.

    SOURCE is a pip freeze, an unpacked root filesystem, or an image: a tar of
    `docker save` or an OCI layout. On a target without bundler, run the script:
    `bundler profile --script > capture.py`, then `python3.7 capture.py > base.json`.
    """
    if (source is not None) + (python is not None) + as_script > 1:
        raise UsageError(
            "SOURCE, `--python` and `--script` exclude each other", hint="bundler profile --help"
        )
    if as_script:
        text = script("capture").read_text("utf-8")
    elif source is not None:
        profile = read_base(source, prefer=python_in, compared=False, reporter=make_reporter())
        text = json.dumps(profile_json(profile), indent=1, sort_keys=True)
    else:
        host = read_host_environment()
        with tempfile.TemporaryDirectory(prefix="bundler-") as folder:
            found = find_interpreter(python or "3.7", host, Path(folder))
            text = capture_profile(found, host, Path(folder))
    print_text(text)
