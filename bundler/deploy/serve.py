"""Stage 7, effect: run the application of a build context on this machine, without a container.

The inference server is installed into a virtual environment of the target Python; the bundle
precedes its packages on sys.path. The variables are those of the context, but their
paths lead to the context on this machine instead of to the application root of an image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from bundler.archive.tar import DEFAULT_EPOCH
from bundler.bundle.segment import SegmentFormat
from bundler.checks.environments import fill_environment
from bundler.data.inference_server import (
    ROOT_IS_CWD,
    SERVER,
    SERVER_ENTRY_POINT,
    parse_release,
    server_constraints,
)
from bundler.deploy.client import check_free, free_port, is_alive
from bundler.deploy.context import context_python, read_context_facts
from bundler.errors import InputError, InterpreterError, UsageError
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
_INTERVAL = 0.2
"""Seconds between two requests to a server that starts."""


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
    on_start: Callable[[Callable[[], None]], None] | None = None,
) -> int:
    """Run the server until it ends or is interrupted, and return its exit code.

    :param context: the directory of the build context.
    :param options: the target Python and the index for the server's own packages.
    :param version: the version of azureml-inference-server-http.
    :param port: the port on the loopback interface.
    :param on_line: called with each line of the server's output.
    :param on_start: called with a function that ends the server.
    :raises InputError: if the directory is not a valid context, or the version is malformed.
    :raises UsageError: if another program listens on the port, or the target is another Python than the
        context's.
    :raises InterpreterError: if a signal ended the server.
    """
    root, env = _read(context)
    release = parse_release(version)
    check_free(port, f"--port {free_port()}")
    with open_run(options, host, store, reporter) as run, store.scratch() as scratch:
        _check_python(context, run.interpreter.target.python_version)
        segment_format = SegmentFormat(root="server", codec="gz", epoch=DEFAULT_EPOCH)
        jobs = os.cpu_count() or 1
        plan = plan_requirements(
            run,
            [f"{SERVER}=={release}"],
            segment_format,
            jobs=jobs,
            pins=server_constraints(release),
        )
        folder = scratch / "server"
        python = create_venv(run.interpreter, folder, host, scratch)
        fill_environment(folder, plan, segment_format, store, jobs=jobs)
        lib = env.get("AZUREML_EXTRA_PYTHON_LIB_PATH")
        script = env["AZUREML_ENTRY_SCRIPT"]
        env.setdefault("PYTHONPATH", "")
        env["PYTHONDONTWRITEBYTECODE"] = "1"  # the context may be transferred afterwards, as it was written
        if lib:  # the start script appends a `:`, an empty entry: the working directory
            env["PYTHONPATH"] = f"{(root / script).parent / lib}{os.pathsep}{env['PYTHONPATH']}"
        if release >= ROOT_IS_CWD:
            env["AML_APP_ROOT"] = str(root)
        else:  # the root is the directory of the script, unless the variable names another
            env.pop("AML_APP_ROOT", None)
        argv = [str(python), str(_start_script(scratch)), "--entry_script", script, "--port", str(port)]
        reporter.stage("serve", f"http://127.0.0.1:{port}/score, {SERVER} {version}; Ctrl-C ends it")
        with _when_ready(port, reporter):
            ended = run_process(
                argv,
                # Unbuffered, so that the reason of a failure is the last line of the log.
                env=host.child_env(scratch, **{**host.network_environment(), "PYTHONUNBUFFERED": "1", **env}),
                cwd=root,
                timeout=_YEAR,
                on_stderr=on_line,
                on_stdout=lambda line: on_line(line.decode("utf-8", "replace").rstrip()),
                on_start=on_start,
            )
    if ended.returncode < 0:
        raise InterpreterError(f"signal {-ended.returncode} ended the server")
    return ended.returncode


def _check_python(context: Path, found: str) -> None:
    """Refuse a Python that differs from the one of the image: what runs here would prove nothing.

    :raises UsageError: with the option that fits.
    """
    wanted = context_python(context)
    if wanted is not None and found != wanted:
        raise UsageError(
            f"`{context}` is for Python {wanted}, the server would run with {found}",
            hint=f"--python {wanted}",
        )


@contextmanager
def _when_ready(port: int, reporter: Reporter) -> Iterator[None]:
    """Report once the server answers, while the context is open."""
    ended = Event()

    def ask() -> None:
        while not ended.wait(_INTERVAL):
            if is_alive(port):
                reporter.stage("ready", f"http://127.0.0.1:{port}/ answers")
                return

    asking = Thread(target=ask, daemon=True)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join(_INTERVAL)


def _start_script(scratch: Path) -> Path:
    """Write the script of the server's entry point, as pip does, and return its path.

    Releases until 0.7.2 have no ``__main__``. The launcher of a layer would put the server's packages
    before PYTHONPATH, and so before the bundle.
    """
    module, _, function = SERVER_ENTRY_POINT.partition(":")
    path = scratch / "start" / "azmlinfsrv"
    path.parent.mkdir()
    path.write_text(f"import sys\nfrom {module} import {function}\n\nsys.exit({function}())\n", "utf-8")
    return path


def _read(context: Path) -> tuple[Path, dict[str, str]]:
    """Return the application root of a context, and its variables with paths on this machine.

    :raises InputError: if the context has no entry script, as its variables name it.
    """
    root = (context / APP_FOLDER).resolve()
    env = read_context_facts(context).env
    script = env.get("AZUREML_ENTRY_SCRIPT")
    if script is None:
        raise InputError(
            f"`{context}` has no entry script, which the server would run",
            hint="pass `--source-dir` and `--entry-script` to `bundler package`",
        )
    if not (root / script).is_file():
        raise InputError(
            f"`{context / APP_FOLDER / script}` not found: the context is incomplete",
            hint="write the context again: `bundler package --help`",
        )
    return root, {name: value.replace(f"/{APP_ROOT}", str(root)) for name, value in env.items()}
