"""The commands ``build`` and ``lock``: words that are files, the dry run, locks that keep their versions."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


@pytest.fixture
def leaves(index: LocalIndex) -> LocalIndex:
    for name in ("leaf", "tree"):
        for version in ("1.0", "2.0"):
            requires = ["leaf"] if name == "tree" else []
            make_wheel(index.folder, name, version, requires=requires)
    return index


def lock(cli: BundlerCli, cwd: Path, *args: str, code: int = 0) -> str:
    ended = cli.run("lock", "-q", *args, cwd=cwd)
    assert ended.returncode == code, ended.stderr
    return ended.stdout if code == 0 else ended.stderr


def versions(cwd: Path) -> dict[str, str]:
    lock = tomllib.loads((cwd / "pylock.toml").read_text("utf-8"))
    return {package["name"]: package["version"] for package in lock["packages"]}


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("requirements.txt", "leaf\n", "here"),
        ("env.yml", "name: conda\ndependencies:\n- python=3.7\n- pip:\n  - leaf\n", "conda"),
        ("job.py", "# /// script\n# dependencies = ['leaf']\n# ///\n", "job"),
        ("pyproject.toml", "[project]\nname = 'My.Project'\ndependencies = ['leaf']\n", "My.Project"),
        (
            "sub/pyproject.toml",
            "[tool]\n[dependency-groups]\nx = []\n[project]\ndependencies = ['leaf']\n",
            "sub",
        ),
    ],
)
def test_a_file_is_what_is_built(
    file: str, text: str, name: str, leaves: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    (here / file).parent.mkdir(parents=True)
    (here / file).write_text(text, "utf-8")
    ended = warm_cli.run("build", file, "--for", "mount", "--json", cwd=here)

    assert ended.returncode == 0, ended.stderr
    result = ended.json["result"]
    assert (result["name"], result["distributions"]) == (name, {"leaf": "2.0"})


def test_a_lockfile_and_a_project_are_built(leaves: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='proj', version='1', py_modules=['m'])\n"
    )
    (here / "m.py").touch()
    lock(warm_cli, here, "leaf==1.0")

    locked = warm_cli.run("build", "pylock.toml", "--for", "mount", "--json", cwd=here).json["result"]
    assert (locked["name"], locked["distributions"]) == ("here", {"leaf": "1.0"})
    built = warm_cli.run("build", ".", "--for", "mount", "--json", cwd=here).json["result"]
    assert (built["name"], built["built_here"]) == ("here", ["proj"])

    for args in (["lock", "pylock.toml"], ["build", "pylock.toml", "--lock", "pylock.toml"]):
        assert warm_cli.run(*args, cwd=here).returncode == 2


def test_a_dry_run_lists_everything_and_writes_nothing(
    leaves: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_sdist(leaves.folder, "source", "3.0", {"source.py": ""})
    ended = warm_cli.run("build", "tree", "source", "--dry-run", "--json", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.iterdir()) == []
    result = ended.json["result"]
    rows = {row["name"]: row for row in result["distributions"]}
    assert {name: row["version"] for name, row in rows.items()} == {
        "leaf": "2.0",
        "source": "3.0",
        "tree": "2.0",
    }
    for row in rows.values():
        assert row["size"] == (leaves.folder / row["file"]).stat().st_size
    assert [name for name, row in rows.items() if row["built_here"]] == ["source"]
    assert result["size"] == sum(row["size"] for row in rows.values())
    assert result["download"] == sum(row["size"] for row in rows.values() if not row["stored"])

    plain = warm_cli.run("build", "tree", "source", "--dry-run", cwd=tmp_path).stdout.splitlines()
    assert len(plain) == 4
    assert ("built here" in plain[1], "1 to build here" in plain[3]) == (True, True)


def test_a_dry_run_of_a_lock_changed_by_hand_reports_what_the_build_reports(
    leaves: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    assert warm_cli.run("lock", "tree", "-o", "pylock.toml", cwd=tmp_path).returncode == 0
    text = (tmp_path / "pylock.toml").read_text("utf-8")
    digest = re.findall(r'sha256 = "([0-9a-f]{64})"', text)[0]
    leaf = re.search(r'\[\[packages\]\]\nname = "leaf".*?(?=\[\[packages\]\]|\[tool)', text, re.DOTALL)
    assert leaf
    line = text.splitlines().index('name = "leaf"')
    for edited, code, fact in (
        (text.replace(f'sha256 = "{digest}"', ""), 3, f"package leaf, line {line}"),
        (text.replace(digest, digest[:60]), 3, "no usable sha256"),
        (text.replace('name = "leaf"', 'name = "lead"'), 3, f"package lead, line {line}"),
        (text.replace(digest, digest.upper()), 0, ""),
        (text.replace('lock-version = "1.0"\n', ""), 3, "lock-version"),
        (text.replace(leaf[0], ""), None, "depends on `leaf`, which the file does not contain"),
        (text.replace(digest, "0" * 64), None, ""),  # the last one: its file is not in the store
    ):
        (tmp_path / "pylock.toml").write_text(edited, "utf-8")
        planned = warm_cli.run("build", "pylock.toml", "--dry-run", cwd=tmp_path)
        built = warm_cli.run("build", "pylock.toml", cwd=tmp_path)
        assert fact in planned.stderr, planned.stderr
        assert fact in built.stderr, built.stderr
        if code is not None:
            assert (planned.returncode, built.returncode) == (code, code), (fact, planned.stderr)
        else:  # only the files show it
            assert built.returncode
            unknown = "the digest is checked by the download" in planned.stderr
            assert unknown == ("0" * 64 in edited)


def test_a_dry_run_checks_the_output_and_the_interpreter(
    leaves: LocalIndex, warm_cli: BundlerCli, tmp_path: Path, small_disk: Path
) -> None:
    make_wheel(leaves.folder, "big", "1.0", {"big.bin": random.Random(1).randbytes(600_000)})
    (tmp_path / "file").touch()
    for args, code, text in (
        (("leaf", "-o", "file/below"), 11, "is not a directory"),
        (("leaf", "--python", "3.6"), 8, "is not supported as a target"),
        (("big", "-o", "disk"), 11, "not enough space for the bundle"),
    ):
        ended = warm_cli.run("build", "--dry-run", *args, cwd=tmp_path)
        assert (ended.returncode, text in ended.stderr) == (code, True), ended.stderr
    assert warm_cli.run("build", "--dry-run", "leaf", "-o", "disk", cwd=tmp_path).returncode == 0
    assert (sorted(path.name for path in tmp_path.iterdir()), list(small_disk.iterdir())) == (
        ["disk", "file"],
        [],
    )


def test_a_lock_keeps_its_versions_until_they_are_upgraded(
    leaves: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    lock(warm_cli, tmp_path, "leaf==1.0", "tree==1.0")
    assert versions(tmp_path) == {"leaf": "1.0", "tree": "1.0"}
    content = (tmp_path / "pylock.toml").read_bytes()

    assert lock(warm_cli, tmp_path, "leaf", "tree") == "pylock.toml\t2\n"
    assert versions(tmp_path) == {"leaf": "1.0", "tree": "1.0"}
    assert lock(warm_cli, tmp_path, "leaf", "tree", "-P", "Leaf").splitlines() == [
        "| distribution | before | after |",
        "|---|---|---|",
        "| leaf | 1.0 | 2.0 |",
        "pylock.toml\t2",
    ]
    (tmp_path / "pylock.toml").write_bytes(content)
    assert "| tree | 1.0 | 2.0 |" in lock(warm_cli, tmp_path, "leaf", "tree", "--upgrade")
    assert versions(tmp_path) == {"leaf": "2.0", "tree": "2.0"}
    assert "| tree | 2.0 | - |" in lock(warm_cli, tmp_path, "leaf")


def test_a_kept_version_that_prevents_a_resolution_is_dropped_alone(
    leaves: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(leaves.folder, "top", "1.0", requires=["leaf>=2"])
    lock(warm_cli, tmp_path, "leaf==1.0", "tree==1.0")
    table = lock(warm_cli, tmp_path, "tree", "top")

    assert versions(tmp_path) == {"leaf": "2.0", "top": "1.0", "tree": "1.0"}
    assert "| top | - | 1.0 |" in table
    # A version that the index no longer has is not kept either.
    for wheel in leaves.folder.glob("tree-1.0-*"):
        wheel.unlink()
    lock(warm_cli, tmp_path, "tree", "top")
    assert versions(tmp_path) == {"leaf": "2.0", "top": "1.0", "tree": "2.0"}


def test_check_writes_nothing(leaves: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    assert "pylock.toml: file not found" in lock(warm_cli, tmp_path, "leaf", "--check", code=3)
    assert list(tmp_path.iterdir()) == []
    lock(warm_cli, tmp_path, "leaf==1.0")
    content = (tmp_path / "pylock.toml").read_bytes()

    lock(warm_cli, tmp_path, "leaf==1.0", "--check")
    stderr = lock(warm_cli, tmp_path, "leaf==1.0", "tree", "--check", code=3)
    assert "bundler: error: `pylock.toml` is not up to date" in stderr
    assert "  | tree | - | 2.0 |" in stderr
    # Another requirement that the same versions satisfy is a difference of the lock, too.
    lock(warm_cli, tmp_path, "leaf", "--check", code=3)
    assert (tmp_path / "pylock.toml").read_bytes() == content

    hint = next(line for line in stderr.splitlines() if "hint" in line).partition("bundler lock ")[2]
    lock(warm_cli, tmp_path, *hint.split())
    lock(warm_cli, tmp_path, *hint.split(), "--check")
