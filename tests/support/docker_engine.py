"""A real Docker daemon for tests, without a network, and what is asked of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGES = ("docker.io", "mmdebstrap")
"""Packages of Debian that the engine and the stand-in base need."""

_START_SECONDS = 30
_STOP_SECONDS = 60
# The clients and daemons of other makers may come first on PATH; these belong together.
_PLACES = "/usr/bin:/usr/sbin"
# Sends one request and prints the status, a newline and the body. It is run by
# the image's own Python, inside a container that has no network but loopback.
_REQUEST = """
import json, sys, urllib.error, urllib.request
method, path, body = json.loads(sys.argv[1])
request = urllib.request.Request("http://127.0.0.1:5001" + path, method=method)
request.add_header("Content-Type", "application/json")
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    answer = opener.open(request, None if body is None else body.encode(), timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status if hasattr(answer, "status") else answer.code)
print(answer.read().decode(), end="")
"""


class NoEngineError(Exception):
    """There is no engine here, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the server in a container answered."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A container, or a command in one, that has ended."""

    returncode: int
    output: str
    """Both of its streams, as they came."""


class Docker:
    """The client of one daemon; nothing it starts has a network."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        client = shutil.which("docker", path=_PLACES)
        if client is None:
            raise NoEngineError("no `docker` in /usr/bin: apt-get install -y docker.io")
        self._argv = [client, "--host", f"unix://{socket}"]

    def load(self, archive: Path) -> list[str]:
        """Return the names or ids of the images of an archive."""
        lines = self.call("load", "--quiet", "--input", str(archive)).splitlines()
        return [line.split(": ", 1)[1] for line in lines if line.startswith("Loaded image")]

    def build(self, context: Path, tag: str, *args: str) -> str:
        """Build a folder, and return what the build printed."""
        return self.call("build", "--network=none", "--tag", tag, *args, str(context))

    def run(
        self,
        image: str,
        *command: str,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        options: Sequence[str] = (),
        timeout: float = 60,
    ) -> Ran:
        """Run a container to its end and remove it.

        :raises AssertionError: if it does not end in time; shows its log.
        """
        name = f"run-{uuid.uuid4().hex}"
        argv = ["run", "--rm", f"--name={name}", *self._options(env, user), *options, image, *command]
        try:
            return self._ended(argv, timeout)
        except subprocess.TimeoutExpired:
            said = self.logs(name)
            self.remove(name)
            raise AssertionError(f"the container does not end in {timeout:.0f} s\n{said}") from None

    def start(
        self,
        image: str,
        *command: str,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        options: Sequence[str] = (),
    ) -> str:
        """Start a container and return its id; `remove` it afterwards."""
        argv = ["run", "--detach", *self._options(env, user), *options, image, *command]
        return self.call(*argv).strip()

    def exec(self, container: str, *command: str, user: str | None = None) -> Ran:
        """Run a command in a running container."""
        return self._ended(["exec", *self._options(None, user)[1:], container, *command], 60)

    def wait(self, container: str, seconds: float) -> int:
        """Wait for a container's end and return its exit code."""
        return int(self.call("wait", container, timeout=seconds))

    def logs(self, container: str) -> str:
        """Return what a container has printed so far, on both streams."""
        return self._ended(["logs", container], 60).output

    def remove(self, container: str) -> None:
        """Stop a container at once and remove it."""
        self.call("rm", "--force", container)

    def inspect(self, name: str) -> dict[str, Any]:
        """Return all that is known of an image or a container."""
        (found,) = json.loads(self.call("inspect", name))
        return dict(found)

    def request(self, container: str, method: str, path: str, body: str | None = None) -> Answer:
        """Send a request to port 5001 from inside the container, by its own Python."""
        told = json.dumps([method, path, body])
        ended = self.exec(container, "python", "-I", "-c", _REQUEST, told)
        if ended.returncode != 0:
            raise ConnectionError(ended.output)
        status, _, text = ended.output.partition("\n")
        return Answer(status=int(status), text=text)

    def get(self, container: str, path: str) -> Answer:
        """Send a GET request from inside the container."""
        return self.request(container, "GET", path)

    def post(self, container: str, path: str, body: str) -> Answer:
        """Send a POST request from inside the container."""
        return self.request(container, "POST", path, body)

    def wait_healthy(self, container: str, seconds: float = 60) -> None:
        """Wait until the server answers.

        :raises AssertionError: if it does not in time, or the container ends; shows its log.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.get(container, "/").status == 200:
                    return
            except ConnectionError:
                if not self.inspect(container)["State"]["Running"]:
                    break
            time.sleep(0.2)
        raise AssertionError(f"the server does not answer\n{self.logs(container)}")

    def call(self, *args: str, timeout: float = 300) -> str:
        """Return what the client prints.

        :raises AssertionError: if it fails; shows what it said.
        """
        ended = subprocess.run(
            [*self._argv, *args],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=_client_env(self.socket.parent),
        )
        if ended.returncode != 0:
            said = f"{ended.stdout}{ended.stderr}"
            raise AssertionError(f"docker {' '.join(args)} exited with {ended.returncode}\n{said}")
        return ended.stdout

    def _ended(self, args: Sequence[str], timeout: float) -> Ran:
        ended = subprocess.run(
            [*self._argv, *args],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            env=_client_env(self.socket.parent),
        )
        return Ran(returncode=ended.returncode, output=ended.stdout)

    def _options(self, env: Mapping[str, str] | None, user: str | None) -> list[str]:
        options = ["--network=none"]
        if user is not None:
            options.append(f"--user={user}")
        for name, value in (env or {}).items():
            options.append(f"--env={name}={value}")
        return options


class DockerEngine:
    """A daemon of its own, with its own folders and socket; ended by its process id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Docker:
        _check_machine()
        docker = Docker(self.socket)
        said = []
        for driver in ("overlay2", "vfs"):
            try:
                self._start(docker, driver)
            except NoEngineError as error:
                said.append(f"{driver}: {error}")
                self._stop()
            else:
                return docker
        raise NoEngineError("dockerd does not start:\n" + "\n".join(said))

    def __exit__(self, *error: object) -> None:
        self._stop()

    def _start(self, docker: Docker, driver: str) -> None:
        options = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", driver]
        for option, name in (("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")):
            options += [option, str(self.folder / name)]
        config = self.folder / "daemon.json"
        config.write_text("{}", "utf-8")  # and not the machine's own
        log = self.folder / f"{driver}.log"
        # It ends even if the tests are killed, and so does the containerd that it starts.
        argv = ["setpriv", "--pdeathsig=TERM", "dockerd", f"--host=unix://{self.socket}"]
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [*argv, "--config-file", str(config), *options],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=_client_env(self.folder),
                start_new_session=True,  # Ctrl-C reaches the tests, which then end it
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                docker.call("version", timeout=10)
            except (AssertionError, subprocess.TimeoutExpired):
                time.sleep(0.1)
            else:
                return
        tail = log.read_text("utf-8", "replace").splitlines()[-5:]
        raise NoEngineError("\n".join(tail))

    def _stop(self) -> None:
        """End the daemon, which ends the containerd that it started, and what they left mounted."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise NoEngineError("dockerd must be started by root")
    absent = [
        name
        for name in ("docker", "dockerd", "containerd", "runc", "setpriv")
        if not shutil.which(name, path=_PLACES)
    ]
    if absent:
        raise NoEngineError(f"no {', '.join(absent)} in {_PLACES}: apt-get install -y docker.io")


def _client_env(home: Path) -> dict[str, str]:
    """Return an environment without proxies, contexts and credentials of the machine."""
    return {"PATH": f"{_PLACES}:/sbin:/bin", "HOME": str(home), "DOCKER_BUILDKIT": "0"}
