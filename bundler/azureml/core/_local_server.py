"""Facade: the inference server of a local web service: packages, a process, its log and its end."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from bundler.azureml.core._build_settings import BuildSettings, index_options, path_setting
from bundler.azureml.core._inference import InferenceConfig
from bundler.azureml.core._log import LogReporter
from bundler.azureml.core._package import ModelPackage
from bundler.azureml.core._registered_model import RegisteredModel
from bundler.data.inference_server import default_server
from bundler.deploy.client import check_free, is_alive
from bundler.deploy.serve import run_server
from bundler.errors import BundlerError, UsageError
from bundler.pipeline.options import HOST_GLIBC, LockOptions
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment
from bundler.system.process import tail

__all__ = ["LocalServer"]

_POLL = 0.2
_PATIENCE = 900.0
_END = 30.0


class LocalServer:
    """One run of the inference server for models and code; it ends with this program.

    :param port: the port of the loopback interface.
    :raises UsageError: if the port is in use, or the packages are user-managed.
    :raises BundlerError: if the environment cannot be built; see `Environment.build`.
    """

    def __init__(
        self, models: Sequence[RegisteredModel], config: InferenceConfig, port: int, settings: BuildSettings
    ) -> None:
        self.port = port
        self.error: BundlerError | None = None
        self._lines: list[str] = []
        check_free(port, "LocalWebservice.deploy_configuration() selects a free one")
        package = ModelPackage(
            models=models, config=config, generate_dockerfile=True, tag=None, settings=settings
        )
        python = package.python_version
        if python is None:
            raise UsageError(
                "the packages are user-managed: they are in the image alone, so no local server can use them",
                hint="Model.package(workspace, models, inference_config, generate_dockerfile=True)",
            )
        self._folder = Path(tempfile.mkdtemp(prefix="bundler-service-"))
        package.save(self._folder / "context")
        self._kill: list[Callable[[], None]] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(python, settings), daemon=True)
        self._end = weakref.finalize(self, _end, self._ending, self._kill, self._thread, self._folder)
        self._thread.start()

    def _serve(self, python: str, settings: BuildSettings) -> None:
        host = read_host_environment()
        reporter = LogReporter()
        try:
            version = settings.get("server") or default_server(python)
            if version is None:
                raise UsageError(f"no inference server is known for Python {python}", hint="server='VERSION'")
            run_server(
                self._folder / "context",
                LockOptions(
                    python=python, requirements=None, index=index_options(settings), target_glibc=HOST_GLIBC
                ),
                version=version,
                port=self.port,
                host=host,
                store=open_store(path_setting(settings, "store", host), host, reporter),
                reporter=reporter,
                on_line=self._lines.append,
                on_start=self._started,
            )
        except BundlerError as error:
            self.error = error

    def _started(self, kill: Callable[[], None]) -> None:
        self._kill.append(kill)
        if self._ending.is_set():
            kill()

    @property
    def is_running(self) -> bool:
        """Whether the server, or its installation, has not ended."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Wait until the server answers.

        :raises BundlerError: if it ends before, with its last lines, or does not answer in 15 minutes.
        """
        deadline = time.monotonic() + _PATIENCE
        while self.is_running:
            if self._kill and is_alive(self.port):
                return
            if time.monotonic() > deadline:
                raise BundlerError("the server does not answer", evidence=tail(self.log()))
            time.sleep(_POLL)
        raise self.error or BundlerError("the server ended before it answered", evidence=tail(self.log()))

    def log(self, lines: int = 0) -> str:
        """Return the last lines of the server's output; 0 is all of them."""
        return "".join(f"{line}\n" for line in self._lines[-lines:])

    def end(self) -> None:
        """End the server, and remove its files; a second call has no effect."""
        self._end()


def _end(
    ending: threading.Event, kill: Sequence[Callable[[], None]], thread: threading.Thread, folder: Path
) -> None:
    ending.set()
    for function in kill:
        function()
    thread.join(_END)
    shutil.rmtree(folder, ignore_errors=True)
