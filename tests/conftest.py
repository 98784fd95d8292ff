"""What all tests share: real interpreters, a real index on loopback, the real command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker_engine import Docker, DockerEngine, NoEngineError
from filelock import FileLock
from localindex import LocalIndex

from bundler.errors import BundlerError
from bundler.system.environ import read_host_environment
from bundler.target.interpreter import find_interpreter

ROOT = Path(__file__).parent.parent
VERSIONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
# What reaches a test's children from around the test run: how the real index is
# reached, and nothing that would change a bundle.
PASSED_ON = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all", action="store_true", help="run the long proofs and those that need the internet"
    )
    parser.addoption("--require-docker", action="store_true", help="no Docker engine is an error, not a skip")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    for item in items:
        for name in ("online", "slow"):
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"{name}: scripts/test --all"))


@pytest.fixture(scope="session")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Interpreters by version, found as the command finds them."""
    scratch = tmp_path_factory.mktemp("find")
    found = {}
    for version in VERSIONS:
        try:
            found[version] = find_interpreter(version, read_host_environment(), scratch).python
        except BundlerError:
            continue
    return found


@pytest.fixture(scope="session")
def python37(pythons: dict[str, Path]) -> Path:
    """CPython 3.7; CI must have it."""
    if "3.7" not in pythons:
        reason = "no CPython 3.7 was found"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return pythons["3.7"]


@pytest.fixture(scope="session")
def toolchain(pythons: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pip, setuptools and wheel for each target, fetched once from the real index."""
    named = os.environ.get("BUNDLER_TEST_CACHE")
    # The parent of a worker's base folder is common to all workers of a run.
    cache = Path(named) if named else tmp_path_factory.getbasetemp().parent / "toolchain"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock"):
        for version in sorted(pythons):
            done = cache / f".{version}"
            if not done.exists():
                full = find_version(pythons[version])
                argv = [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--only-binary",
                    ":all:",
                ]
                argv += ["--disable-pip-version-check", "--python-version", full, "--dest", str(cache)]
                subprocess.run([*argv, "pip", "setuptools", "wheel"], check=True, timeout=300)
                done.touch()
    return cache


def find_version(python: Path) -> str:
    code = "import platform; print(platform.python_version())"
    return subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def index(toolchain: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalIndex]:
    """An index that holds the toolchain and whatever a test puts into its folder."""
    folder = tmp_path_factory.mktemp("index")
    for wheel in toolchain.glob("*.whl"):
        try:
            (folder / wheel.name).hardlink_to(wheel)
        except OSError:
            shutil.copyfile(wheel, folder / wheel.name)
    with LocalIndex(folder) as served:
        yield served


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> Any:
        """The envelope of ``--json``."""
        return json.loads(self.stdout)


class BundlerCli:
    """The real command in a child, with a store and a HOME of its own."""

    def __init__(self, home: Path, index_url: str | None) -> None:
        self.home = home
        self.store = home / "store"
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.env |= {"HOME": str(home), "BUNDLER_STORE": str(self.store)}
        if index_url is None:
            # The real index, reached as pip is configured to reach it here.
            self.env |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        else:
            self.env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index_url, "PIP_RETRIES": "0"}

    def run(
        self,
        *args: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        umask: int = -1,
        timeout: float = 900,
    ) -> Ended:
        """Run the command to its end."""
        started = time.monotonic()
        # Isolated, so that what a test does to PYTHONPATH or the working
        # directory reaches the command's children, which it is about, and not
        # the command's own start.
        ended = subprocess.run(
            [sys.executable, "-I", "-m", "bundler", *args],
            cwd=cwd,
            env={**self.env, **(env or {})},
            umask=umask,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        return Ended(
            returncode=ended.returncode,
            stdout=ended.stdout.decode("utf-8", "replace"),
            stderr=ended.stderr.decode("utf-8", "replace"),
            seconds=time.monotonic() - started,
        )


@pytest.fixture
def bundler_cli(index: LocalIndex, tmp_path_factory: pytest.TempPathFactory) -> BundlerCli:
    """The command, set up for the local index."""
    return BundlerCli(tmp_path_factory.mktemp("home"), index.url)


@pytest.fixture(scope="session")
def worker_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for all tests of a worker that are not about stores: the toolchain is installed once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def warm_cli(index: LocalIndex, worker_store: Path, tmp_path_factory: pytest.TempPathFactory) -> BundlerCli:
    """The command, set up for the local index, with a store that is used by many tests."""
    cli = BundlerCli(tmp_path_factory.mktemp("home"), index.url)
    cli.store = worker_store
    cli.env["BUNDLER_STORE"] = str(worker_store)
    return cli


@pytest.fixture(scope="session")
def online_cli(tmp_path_factory: pytest.TempPathFactory) -> BundlerCli:
    """The command, set up for the real index, with one store for the session."""
    return BundlerCli(tmp_path_factory.mktemp("home"), None)


@pytest.fixture(scope="session")
def docker(request: pytest.FixtureRequest) -> Iterator[Docker]:
    """A real daemon, started for this process and ended after it."""
    # Its own short folder: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="docker-") as folder, ExitStack() as stack:
        try:
            client = stack.enter_context(DockerEngine(Path(folder)))
        except NoEngineError as error:
            if request.config.getoption("--require-docker"):
                pytest.fail(f"no Docker engine: {error}")
            pytest.skip(f"NO DOCKER ENGINE, NOT TESTED: {error}")
        yield client


@pytest.fixture(scope="session")
def base_archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for a prebuilt inference image, made once for all workers and kept in BUNDLER_TEST_CACHE."""
    named = os.environ.get("BUNDLER_TEST_CACHE")
    cache = Path(named) if named else tmp_path_factory.getbasetemp().parent / "base"
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / "test-base.tar"
    with FileLock(cache / ".test-base.lock"):
        made = subprocess.run(
            [sys.executable, ROOT / "scripts/test_base/make.py", archive],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=540,
        )
    if made.returncode != 0:
        if request.config.getoption("--require-docker"):
            pytest.fail(made.stderr)
        pytest.skip(f"NO STAND-IN BASE, NOT TESTED: {made.stderr.strip()}")
    return archive


@pytest.fixture(scope="session")
def base_image(docker: Docker, base_archive: Path) -> str:
    """The name of the stand-in, loaded."""
    (name,) = docker.load(base_archive)
    return name
