"""Stage 7, effect: run the application of a build context on this machine, without a container.

The inference server is installed into a virtual environment of the target Python; the bundle
precedes its packages on sys.path. The variables are those of the context, but their
paths lead to the context on this machine instead of to the application root of an image.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.archive.tar import DEFAULT_EPOCH
from bundler.bundle.segment import SegmentFormat
from bundler.checks.environments import fill_environment
from bundler.data.inference_server import SERVER
from bundler.deploy.context import read_context_facts
from bundler.errors import InterpreterError
from bundler.oci.filetree import APP_FOLDER, APP_ROOT
from bundler.pipeline.options import LockOptions
from bundler.pipeline.run import open_run
from bundler.pipeline.stages import plan_requirements
from bundler.system.process import run_process
from bundler.target.venv import create_venv

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["run_server"]

_YEAR = 365 * 86400


def run_server(  # noqa: PLR0913 - each is a fact of the run
    context: Path,
    options: LockOptions,
    *,
    version: str,
    port: int,
    host: HostEnvironment,
    store: Store,
    reporter: Reporter,
    on_line: Callable[[str], None],
) -> int:
    """Run the server until it ends or is interrupted, and return its exit code.

    :param context: the directory of the build context.
    :param options: the target Python and the index for the server's own packages.
    :param version: the version of azureml-inference-server-http.
    :param port: the port on the loopback interface.
    :param on_line: called with each line of the server's output.
    :raises InputError: if the directory is not a valid context.
    :raises InterpreterError: if a signal ended the server.
    """
    root, env = _read(context)
    with open_run(options, host, store, reporter) as run, store.scratch() as scratch:
        segment_format = SegmentFormat(root="server", codec="gz", epoch=DEFAULT_EPOCH)
        plan = plan_requirements(run, [f"{SERVER}=={version}"], segment_format, jobs=os.cpu_count() or 1)
        folder = scratch / "server"
        python = create_venv(run.interpreter, folder, host, scratch)
        fill_environment(folder, plan, segment_format, store)
        lib = env.get("AZUREML_EXTRA_PYTHON_LIB_PATH")
        script = env["AZUREML_ENTRY_SCRIPT"]
        if lib:  # the start script appends a `:`, an empty entry: the working directory
            env["PYTHONPATH"] = f"{(root / script).parent / lib}{os.pathsep}"
        else:
            env.setdefault("PYTHONPATH", "")
        argv = [
            str(python),
            "-m",
            "azureml_inference_server_http",
            "--entry_script",
            script,
            "--port",
            str(port),
        ]
        reporter.stage("serve", f"http://127.0.0.1:{port}/score, {SERVER} {version}; Ctrl-C ends it")
        ended = run_process(
            argv,
            env=host.child_env(scratch, **{**host.network_environment(), **env}, AML_APP_ROOT=str(root)),
            cwd=root,
            timeout=_YEAR,
            on_stderr=on_line,
            on_stdout=lambda line: on_line(line.decode("utf-8", "replace").rstrip()),
        )
    if ended.returncode < 0:
        raise InterpreterError(f"signal {-ended.returncode} ended the server")
    return ended.returncode


def _read(context: Path) -> tuple[Path, dict[str, str]]:
    """Return the application root of a context, and its variables with paths on this machine."""
    root = (context / APP_FOLDER).resolve()
    env = read_context_facts(context).env
    return root, {name: value.replace(f"/{APP_ROOT}", str(root)) for name, value in env.items()}
