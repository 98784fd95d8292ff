"""Distributions that are built here: the glibc that they need, and no trace of this machine."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cli import built
from support.elfs import make_elf
from support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

SETUP = """
from setuptools import Distribution, setup
class Binary(Distribution):
    def has_ext_modules(self):
        return True
setup(name="made", version="1.0", packages=["made"], package_data={"made": ["*.so"]}, distclass=Binary)
"""


@pytest.fixture
def made(index: LocalIndex) -> LocalIndex:
    """An sdist whose build gives a library that needs glibc 2.29 and searches a directory of the host."""
    library = make_elf(
        platform.machine(),
        needed=["libc.so.6", "libm.so.6"],
        rpath="/opt/host-python/lib:$ORIGIN/../made.libs",
        versions=[("libc.so.6", "GLIBC_2.2.5", "printf"), ("libm.so.6", "GLIBC_2.29", "exp")],
    )
    files: dict[str, str | bytes] = {
        "made/__init__.py": "",
        "made/libmade.so": library,
        "MANIFEST.in": "include made/*.so\n",
    }
    make_sdist(index.folder, "made", "1.0", files, setup_py=SETUP)
    return index


def test_the_glibc_of_a_built_distribution_is_reported(
    made: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = warm_cli.run("build", "made", "--target-glibc", "2.29", "--format", "dir", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "made was built here: it needs glibc 2.29 or newer" in ended.stderr
    (library,) = (tmp_path / "dist").rglob("libmade.so")
    assert b"host-python" not in library.read_bytes()
    assert b"$ORIGIN/../made.libs" in library.read_bytes()


def test_a_built_distribution_above_the_limit_is_refused(
    made: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """By default for the image of the Python; the fix of the message works when it is followed."""
    ended = warm_cli.run("build", "made", cwd=tmp_path)

    assert ended.returncode == 10
    assert "needs `exp@GLIBC_2.29`, Azure ML's image minimal-ubuntu18.04-py37-cpu-inference" in ended.stderr
    assert "it was built here, with glibc" in ended.stderr
    assert "made was built here: it needs glibc 2.29 or newer" in ended.stderr
    assert not list((tmp_path / "dist").glob("*")) if (tmp_path / "dist").exists() else True


def test_a_lock_is_built_for_the_glibc_that_it_records(
    made: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """The flag of the build replaces the record; the lock in the bundle has none, so it is the same bundle."""
    assert warm_cli.run("lock", "made", "--target-glibc", "2.30", cwd=tmp_path).returncode == 0
    args = ("--lock", "pylock.toml", "--name", "made")

    first = built(warm_cli, *args, cwd=tmp_path)
    refused = warm_cli.run("build", *args, "--target-glibc", "2.28", cwd=tmp_path)
    second = built(warm_cli, "made", "--target-glibc", "2.29", "--name", "made", "-o", "other", cwd=tmp_path)

    assert refused.returncode == 10
    assert "`--target-glibc` is 2.28" in refused.stderr
    assert first["sha256"] == second["sha256"]


def test_a_lock_whose_wheels_are_for_a_newer_glibc_warns_before_it_builds(
    made: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """As in a universal lock of uv, which lists every file of a release."""
    tag = f"cp37-cp37m-manylinux_2_29_{platform.machine()}"
    wheel = make_wheel(made.folder, "made", "1.0", tag=tag, purelib=False)
    files = [
        f'{{ url = "{made.url.replace("simple/", "files/")}{file.name}",'
        f' hashes = {{ sha256 = "{hashlib.sha256(file.read_bytes()).hexdigest()}" }} }}'
        for file in (wheel, made.folder / "made-1.0.tar.gz")
    ]
    (tmp_path / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "uv"\n[[packages]]\nname = "made"\nversion = "1.0"\n'
        f"wheels = [{files[0]}]\nsdist = {files[1]}\n"
    )

    low = warm_cli.run("build", "--lock", "pylock.toml", "--name", "low", cwd=tmp_path)
    high = warm_cli.run(
        "build", "--lock", "pylock.toml", "--target-glibc", "2.29", "--name", "high", cwd=tmp_path
    )

    assert low.returncode == 10
    assert (
        f"`{wheel.name}` is for a newer glibc than 2.27, so the sdist of `made` is built;"
        " `--target-glibc host` accepts it" in low.stderr
    )
    assert high.returncode == 0, high.stderr
    assert "sdist" not in high.stderr
    assert "1 fetched" in high.stderr
