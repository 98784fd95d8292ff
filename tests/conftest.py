"""What all tests share: real interpreters, a real index on loopback, the real command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from figures import AREAS
from filelock import FileLock
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from support.cli import BundlerCli
from support.docker_engine import Docker, DockerEngine, NoEngineError
from support.localindex import LocalIndex
from support.paths import ROOT

from bundler.errors import BundlerError
from bundler.system.environ import read_host_environment
from bundler.target.interpreter import find_interpreter

VERSIONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


# One profile for every law: machines are slow and fixtures that only hold a directory may be shared.
hypothesis_settings.register_profile(
    "bundler",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis_settings.load_profile("bundler")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all", action="store_true", help="run the long proofs and those that need the internet"
    )
    parser.addoption(
        "--require-docker", action="store_true", help="no Docker engine or Chromium is an error, not a skip"
    )


# A test with one of these starts the whole command, or an interpreter, an index or an engine.
END_TO_END = frozenset(
    {"bundler_cli", "warm_cli", "online_cli", "toolchain", "built_bundle", "docker", "base_archive"}
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if END_TO_END.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.e2e)
        if attack := item.get_closest_marker("attack"):
            (area,) = attack.args
            if area not in AREAS:
                raise pytest.UsageError(f"{item.nodeid}: `{area}` is not an area of scripts/figures.py")
            item.user_properties += [("attack", area), ("attacks", attack.kwargs.get("count", 1))]
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


@pytest.fixture
def bundler_cli(index: LocalIndex, tmp_path_factory: pytest.TempPathFactory) -> BundlerCli:
    """The command, set up for the local index."""
    return BundlerCli(tmp_path_factory.mktemp("home"), index.url, index.folder)


@pytest.fixture(scope="session")
def worker_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for all tests of a worker that are not about stores: the toolchain is installed once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def warm_cli(index: LocalIndex, worker_store: Path, tmp_path_factory: pytest.TempPathFactory) -> BundlerCli:
    """The command, set up for the local index, with a store that is used by many tests."""
    return BundlerCli(tmp_path_factory.mktemp("home"), index.url, index.folder, store=worker_store)


@pytest.fixture(scope="session")
def online_cli(tmp_path_factory: pytest.TempPathFactory) -> BundlerCli:
    """The command, set up for the real index, with one store for the session."""
    return BundlerCli(tmp_path_factory.mktemp("home"), None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; it takes root to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if (
        os.geteuid() != 0
        or shutil.which("mount") is None
        or subprocess.run(argv, check=False).returncode != 0
    ):
        pytest.skip("needs root and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


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
            # An empty cache, as on a new machine: a wheel that was built before hides missing build tools.
            env={**os.environ, "PIP_CACHE_DIR": str(tmp_path_factory.mktemp("pip-cache"))},
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


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The system's Chromium, driven by playwright."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    absent = "NO CHROMIUM, NOT TESTED: apt-get install chromium" if program is None else ""
    if find_spec("playwright") is None:
        absent = "NO PLAYWRIGHT, NOT TESTED: pip install '.[test-browser]'"
    if absent:
        if request.config.getoption("--require-docker"):
            pytest.fail(absent)
        pytest.skip(absent)
    with import_module("playwright.sync_api").sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Save the coverage of this process: a worker that does not end in time is killed, and its data lost."""
    measured = sys.modules.get("coverage")
    current = measured.Coverage.current() if measured is not None else None
    if current is not None:
        current.save()
