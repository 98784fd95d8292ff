"""A bundle that exists: its proof is replaced, its files never."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cli import built_locked, locked, manifest_of
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

ARGS = ("--name", "app", "--bundle-version", "1")


def check(path: Path, cli: BundlerCli) -> None:
    """Check a bundle and the files beside it."""
    assert cli.run("verify", str(path)).returncode == 0
    (sums,) = path.parent.glob("*.sha256")
    subprocess.run(["sha256sum", "-c", "--quiet", sums], cwd=path.parent, check=True)
    assert len(list(path.parent.iterdir())) == 3


@pytest.mark.parametrize("fmt", ["tar.gz", "dir"])
def test_another_check_replaces_the_proof_of_the_same_files(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path, fmt: str
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    args = (*ARGS, "--format", fmt)
    first = built_locked(warm_cli, "leaf", *args, "--for", "mount", cwd=tmp_path)
    second = built_locked(warm_cli, "leaf", *args, "--for", "both", cwd=tmp_path)

    assert (first["path"], first["identity"] == second["identity"]) == (second["path"], False)
    assert set(manifest_of(second)["verification"]["ways"]) == {"mount", "venv"}
    path = Path(second["path"])
    check(path, warm_cli)
    assert warm_cli.run("inspect", str(path), "--json").json["result"]["identity"] == second["identity"]

    # As after a crash: the same build writes the missing files.
    for beside in (path.parent / f"{path.name}.sha256", *path.parent.glob("*.manifest.json")):
        beside.unlink(missing_ok=True)
    built_locked(warm_cli, "leaf", *args, "--for", "both", cwd=tmp_path)
    check(path, warm_cli)


@pytest.mark.parametrize("fmt", ["tar.gz", "dir"])
@pytest.mark.parametrize("how", ["damaged", "linked", "other"])
def test_a_bundle_that_is_not_of_the_same_files_stays(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path, fmt: str, how: str
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "tree", "1.0")
    args = (*ARGS, "--format", fmt)
    path = Path(built_locked(warm_cli, "leaf", *args, "--for", "mount", cwd=tmp_path)["path"])
    wanted = "tree" if how == "other" else "leaf"
    if how == "linked":
        path.symlink_to(path.rename(tmp_path / path.name))
    elif how == "damaged":
        file = path if path.is_file() else path / "lib/python3.7/site-packages/leaf.py"
        file.write_bytes(file.read_bytes()[:-9] + b"x")
    before = {entry.name: entry.lstat().st_mtime_ns for entry in path.parent.iterdir()}

    ended = warm_cli.run("build", *locked(warm_cli, wanted, *args, "--for", "both"), cwd=tmp_path)

    assert ended.returncode in (5, 11), ended.stderr
    assert (
        "already exists with other content" in ended.stderr or "does not match its manifest" in ended.stderr
    )
    assert {entry.name: entry.lstat().st_mtime_ns for entry in path.parent.iterdir()} == before
