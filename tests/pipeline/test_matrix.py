"""The command ``matrix``: many bundles, the failed ones alone fail, and equal inputs are not built again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.locks import write_lock
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

BUNDLES = """
[defaults]
for = "mount"

[bundle.leaf]
lock = "leaf/pylock.toml"

[bundle.broken]
lock = "broken/pylock.toml"

[bundle.tree]
lock = "tree/pylock.toml"
format = "dir"
source-dir = "code"
entry_script = "score.py"
base = "base.txt"
"""


@pytest.fixture
def project(index: LocalIndex, tmp_path: Path) -> Path:
    """A directory with the bundles ``leaf``, ``tree``, and one whose wheel is not the locked one."""
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "leaf", "2.0")
    make_wheel(index.folder, "tree", "1.0", requires=["leaf"])
    for name, requirement in (("leaf", "leaf==1.0"), ("tree", "tree"), ("broken", "leaf==2.0")):
        write_lock(index.folder, [requirement], tmp_path / name / "pylock.toml")
    lock = tmp_path / "broken/pylock.toml"
    digest = lock.read_text("utf-8").partition('sha256 = "')[2][:64]
    lock.write_text(lock.read_text("utf-8").replace(digest, "0" * 64), "utf-8")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text("import tree\ndef init(): pass\ndef run(data): pass\n")
    (tmp_path / "base.txt").write_text("six==1.16.0\n")
    (tmp_path / "bundles.toml").write_text(BUNDLES)
    return tmp_path


def statuses(cli: BundlerCli, cwd: Path, *args: str, code: int = 0) -> dict[str, str]:
    ended = cli.run("matrix", "--json", *args, cwd=cwd)
    assert ended.returncode == code, ended.stderr
    envelope = ended.json
    rows = envelope["result" if envelope["ok"] else "error"]
    rows = rows["bundles"] if envelope["ok"] else rows["facts"]["bundles"]
    return {row["bundle"]: row["status"] for row in rows}


def test_one_failure_stops_no_other_bundle_and_what_exists_is_not_built_again(
    project: Path, python37: Path, bundler_cli: BundlerCli
) -> None:
    first = bundler_cli.run("matrix", cwd=project)

    assert first.returncode == 5, first.stderr
    printed = [line.split("\t") for line in first.stdout.splitlines()]
    names = ["leaf-*-cp37-linux_x86_64.tar.gz", "tree-*-cp37-linux_x86_64"]
    assert [Path(path).match(name) for (path, _, _), name in zip(printed, names, strict=True)] == [True, True]
    archive = project / printed[0][0]
    assert (
        archive.stat().st_size,
        archive.with_suffix("").with_suffix(".sha256").read_text().split()[0],
    ) == (
        int(printed[0][1]),
        printed[0][2],
    )
    assert first.stderr.splitlines()[-2:] == [
        "bundler: error: 1 of 3 bundles failed",
        next(
            f"  broken: {line[16:]}"
            for line in first.stderr.splitlines()
            if line.startswith("bundler: error")
        ),
    ]
    assert "2 built, 0 unchanged, 1 failed" in first.stderr

    # Other times, and the same contents: not one of the two is built again, and the failed one is tried.
    for path in (*project.rglob("*"), *bundler_cli.store.rglob("ref*")):
        if path.is_file():
            os.utime(path, (10, 10))
    made = {path: path.read_bytes() for path in (project / "dist").rglob("*") if path.is_file()}
    again = statuses(bundler_cli, project, code=5)
    assert again == {"leaf": "unchanged", "broken": "failed", "tree": "unchanged"}
    ended = bundler_cli.run("matrix", "--only", "leaf", "--only", "tree", "-q", cwd=project)
    assert (ended.returncode, ended.stdout) == (0, first.stdout)
    # From another directory too; the paths of the file start at its own directory.
    ended = bundler_cli.run("matrix", f"{project.name}/bundles.toml", "--only", "leaf", cwd=project.parent)
    assert ended.stdout == f"{project.name}/{first.stdout.splitlines()[0]}\n"
    assert "0 built, 1 unchanged" in ended.stderr
    assert {path: path.read_bytes() for path in (project / "dist").rglob("*") if path.is_file()} == made


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda project: (project / name).write_text(text, "utf-8")


def remove(pattern: str) -> Callable[[Path], object]:
    def change(project: Path) -> None:
        for path in project.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(project: Path) -> None:
        text = (project / name).read_text("utf-8")
        assert old in text
        (project / name).write_text(text.replace(old, new), "utf-8")

    return change


# Each change, in this order, and the bundles that it builds again.
CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "the file of another bundle": (write("broken/pylock.toml", ""), set()),
    "a lock": (lambda project: shutil.copy(project / "newer.toml", project / "leaf/pylock.toml"), {"leaf"}),
    "an option": (replace("bundles.toml", "[bundle.leaf]", "[bundle.leaf]\nallow = ['W702']"), {"leaf"}),
    "a default": (replace("bundles.toml", '"mount"', '"venv"'), {"leaf", "tree"}),
    "a missing archive": (remove("dist/leaf*.tar.gz"), {"leaf"}),
    "a missing file beside it": (remove("dist/leaf*.sha256"), {"leaf"}),
    "the code": (write("code/score.py", "import leaf\ndef init(): pass\ndef run(data): pass\n"), {"tree"}),
    "the base": (write("base.txt", "six==1.15.0\n"), {"tree"}),
    "a missing directory": (remove("dist/tree*64"), {"tree"}),
    "a request": (replace("bundles.toml", "[bundle.tree]", "[bundle.tree]\nreverify = true"), {"tree"}),
}


def test_each_change_of_an_input_or_output_builds_its_bundle_again(
    project: Path, index: LocalIndex, python37: Path, bundler_cli: BundlerCli
) -> None:
    only = ("--only", "leaf", "--only", "tree")
    write_lock(index.folder, ["leaf==2.0"], project / "newer.toml")
    (project / "newer.toml").write_text(
        (project / "newer.toml").read_text().replace('path = "', 'path = "../')
    )
    assert set(statuses(bundler_cli, project, *only).values()) == {"built"}
    for name, (change, rebuilt) in CHANGES.items():
        change(project)
        found = statuses(bundler_cli, project, *only)
        assert {bundle for bundle, status in found.items() if status == "built"} == rebuilt, name


def test_a_damaged_bundle_fails_and_is_not_replaced(
    project: Path, python37: Path, warm_cli: BundlerCli
) -> None:
    statuses(warm_cli, project, "--only", "leaf")
    (archive,) = (project / "dist").glob("leaf*.tar.gz")
    damaged = archive.read_bytes()[:-1] + b"x"
    archive.write_bytes(damaged)

    ended = warm_cli.run("matrix", "--only", "leaf", cwd=project)
    assert (ended.returncode, archive.read_bytes()) == (11, damaged)
    assert "already exists with other content" in ended.stderr


def test_a_bundle_for_two_pythons_is_two_bundles(
    project: Path, pythons: dict[str, Path], warm_cli: BundlerCli
) -> None:
    versions = [version for version in ("3.7", "3.11", "3.12", "3.13") if version in pythons][:2]
    (project / "bundles.toml").write_text(
        f"[defaults]\npython = {versions}\nlock = 'leaf/pylock.toml'\n[bundle.leaf]\n[bundle.other]\npython='3.99'\n"
    )
    ended = warm_cli.run("matrix", "--json", cwd=project)

    rows = ended.json["error"]["facts"]["bundles"]
    assert [(row["python"], row["status"]) for row in rows] == [
        *((version, "built") for version in versions),
        ("3.99", "failed"),
    ]
    tags = [f"-cp{version.replace('.', '')}-" for version in versions]
    assert [tag in row["path"] for tag, row in zip(tags, rows, strict=False)] == [True, True]
    assert (ended.returncode, rows[2]["error"]["kind"]) == (8, "interpreter")
    for row in rows[:2]:
        assert json.loads(Path(row["manifest"]).read_text())["name"] == "leaf"


def test_two_bundles_with_one_output_are_refused_before_any_is_built(
    project: Path, pythons: dict[str, Path], python37: Path, warm_cli: BundlerCli
) -> None:
    def run(*tables: str) -> tuple[int, str]:
        text = "[defaults]\nlock = 'leaf/pylock.toml'\npython = '3.7'\n"
        (project / "bundles.toml").write_text(text + "".join(f"[bundle.{table}\n" for table in tables))
        ended = warm_cli.run("matrix", cwd=project)
        return ended.returncode, ended.stderr

    for second in (
        "b]\nname = 'a'",
        f"b]\nname = 'a'\npython = '{python37}'",
        "b]\nname = 'a'\nformat = 'dir'\noutput = 'code/../dist'",
    ):
        code, text = run("a]", second)
        assert (code, "`a (Python 3.7)`, `b" in text) == (3, True), text
        assert "dist/a-*-cp37" in text
        assert not (project / "dist").exists()
    assert run("a]\npython = ['3.7', '3.7']")[0] == 3
    other = "b]\nname = 'a'\n"
    code, text = run(
        "a]\nbundle-version = '1'", f"{other}bundle-version = '2'", "c]\nname = 'a'\noutput = 'x'"
    )
    assert code == 0, text
