"""A release: the same bytes everywhere, installed outside of the checkout, and in an image made of its own bundle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cli import built
from support.locks import write_lock
from support.paths import ROOT
from support.wheels import make_wheel

from bundler import __version__
from bundler.errors import BundlerError
from bundler.system.environ import read_host_environment
from bundler.target.interpreter import find_interpreter

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.docker_engine import Docker
    from support.localindex import LocalIndex

INPUTS = ("bundler", "scripts", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "test", "tests", "site-packages", "config-3*", "idlelib")


def copy_source(folder: Path) -> Path:
    """Copy the files of a release to a new directory, as a clone has them."""
    folder.mkdir(parents=True)
    for name in INPUTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=NOT_COPIED)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def build(source: Path, out: Path, *args: str, umask: int = 0o022, **env: str) -> dict[str, bytes]:
    """Run the build frontend, with the backend of this environment, and return the files by their names."""
    variables = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    argv = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *args, str(source)]
    subprocess.run(argv, check=True, umask=umask, env=variables | env, capture_output=True, timeout=120)
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a sdist, and of the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("release")
    build(copy_source(folder / "source"), folder / "dist")
    return folder / "dist"


def wheel_of(release: Path) -> Path:
    return release / f"airgap_bundler-{__version__}-py3-none-any.whl"


def test_a_release_has_the_same_bytes_in_another_checkout(release: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in release.iterdir()}
    assert set(first) == {wheel_of(release).name, f"airgap_bundler-{__version__}.tar.gz"}
    other = copy_source(tmp_path / "another/place")
    (other / "bundler/__pycache__").mkdir()
    (other / "bundler/__pycache__/x.cpython-311.pyc").write_bytes(b"x")
    (other / "build/lib").mkdir(parents=True)
    (other / "build/lib/x.py").touch()
    for path in other.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if path.is_file():
            path.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)

    assert build(other, tmp_path / "dist", umask=0o077, TZ="Asia/Tokyo", LC_ALL="C") == first
    # The checkout and the sdist build the same wheel.
    wheel = build(other, tmp_path / "wheel", "--wheel")
    assert wheel == {wheel_of(release).name: first[wheel_of(release).name]}


def test_a_release_contains_every_file_of_the_package(release: Path) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "bundler").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel_of(release)) as archive:
        names = set(archive.namelist())
        assert {name for name in names if name.startswith("bundler/")} == wanted
        (script,) = (name for name in names if ".data/scripts/" in name)
        assert archive.read(script) == (ROOT / "scripts/bundler").read_bytes()
        licenses = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}
    assert licenses == {"LICENSE", "bundler/report/page/d3/LICENSE"}
    with tarfile.open(release / f"airgap_bundler-{__version__}.tar.gz") as archive:
        assert {(member.uid, member.gid, member.uname, member.mode & 0o777) for member in archive} <= {
            (0, 0, "", 0o644),
            (0, 0, "", 0o755),
        }


def test_the_fragments_become_a_section_of_the_changelog(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "changes", tmp_path / "changes")
    before = (tmp_path / "CHANGELOG.md").read_text("utf-8")
    argv = [sys.executable, "-m", "towncrier"]
    create = [*argv, "create", "17.added.md", "--content", "The command `x` is new."]
    subprocess.run(create, check=True, cwd=tmp_path, capture_output=True, timeout=60)
    build = [*argv, "build", "--yes", "--version", "9.9", "--date", "2030-01-01"]
    subprocess.run(build, check=True, cwd=tmp_path, capture_output=True, timeout=60)

    text = (tmp_path / "CHANGELOG.md").read_text("utf-8")
    head, _, rest = text.partition("## 9.9 (2030-01-01)\n")
    section, _, older = rest.partition(f"## {__version__} (")
    assert "### Added\n" in section
    assert "\n- The command `x` is new. (17)\n" in section
    assert older == before.partition(f"## {__version__} (")[2] != ""
    assert head == before.partition(f"## {__version__} (")[0]
    assert not (tmp_path / "changes/17.added.md").exists()


@pytest.mark.slow
@pytest.mark.online
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_a_release_runs_outside_of_the_checkout(
    version: str, release: Path, index: LocalIndex, python37: Path, online_cli: BundlerCli, tmp_path: Path
) -> None:
    try:
        python = find_interpreter(version, read_host_environment(), tmp_path).python
    except BundlerError as error:
        pytest.skip(f"no CPython {version}: {error}")
    venv = tmp_path / "venv"
    subprocess.run([python, "-I", "-m", "venv", "--without-pip", venv], check=True, timeout=60)
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin/python"), "install", "--quiet"]
    subprocess.run([*pip, str(wheel_of(release))], check=True, env=online_cli.env, cwd=tmp_path, timeout=300)

    def run(*args: str) -> str:
        env = {**online_cli.env, "PATH": f"{venv}/bin:{os.environ['PATH']}"}
        argv = [str(venv / "bin/bundler"), *args]
        ended = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert run("--version") == f"bundler, version {__version__}\n"
    make_wheel(tmp_path / "wheels", "leaf", "1.0")
    lock = write_lock(tmp_path / "wheels", ["leaf"], tmp_path / "pylock.toml")
    archive = run("build", str(lock), "--name", "leaf").partition("\t")[0]
    assert run("verify", archive).startswith(archive)
    assert "M108" in run("explain", "M108")  # the package data


@pytest.fixture
def python_image(docker: Docker, base_image: str, tmp_path: Path) -> str:
    """The stand-in base with the Python of this test."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix = Path(sys.base_prefix)
    context = tmp_path / "python"
    (context / "python/bin").mkdir(parents=True)
    shutil.copy(prefix / "bin" / name, context / "python/bin")
    shutil.copytree(prefix / "lib" / name, context / "python/lib" / name, ignore=NOT_COPIED)
    for library in (prefix / "lib").glob("libpython*.so*"):
        shutil.copy(library, context / "python/lib")
    (context / "Dockerfile").write_text(
        f"FROM {base_image}\nUSER root\nCOPY python /opt/python\nENV PATH=/opt/python/bin:$PATH\n"
        "RUN echo /opt/python/lib >/etc/ld.so.conf.d/python.conf && ldconfig\n"
    )
    docker.build(context, f"test-{name}")
    return f"test-{name}"


@pytest.mark.slow
@pytest.mark.online
@pytest.mark.xdist_group("docker")
def test_the_image_of_bundler_is_built_from_its_own_bundle(
    release: Path, docker: Docker, python_image: str, online_cli: BundlerCli, tmp_path: Path
) -> None:
    python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    args = ("--python", str(python), "--for", "mount", "--name", "bundler", "-o", "image")
    archive = Path(built(online_cli, str(wheel_of(release)), *args, cwd=tmp_path)["path"])
    shutil.copy(ROOT / "examples/image/Dockerfile", tmp_path / "image")
    docker.build(tmp_path / "image", "bundler:test", "--build-arg", f"BASE={python_image}")

    work = ("--volume", f"{tmp_path / 'image'}:/work:ro")
    assert docker.run("bundler:test", "--version").output == f"bundler, version {__version__}\n"
    verified = docker.run("bundler:test", "verify", archive.name, options=work)
    assert (verified.returncode, "files match the manifest" in verified.output) == (0, True), verified.output
    config = docker.inspect("bundler:test")["Config"]
    assert config["User"] == "10001:10001"
    damaged = tmp_path / "image" / archive.name
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert docker.run("bundler:test", "verify", archive.name, options=work).returncode == 5
