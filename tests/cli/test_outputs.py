"""No output replaces an input or a file of the user: the refusal names another path that works."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.bundles import make_bundle
from support.hints import hint, message, suggested
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("args", "output", "reason"),
    [
        ("-r requirements.txt", "requirements.txt", "it is an input"),
        ("-r ./requirements.txt", "sub/../requirements.txt", "it is an input"),
        ("-r nested.txt", "requirements.txt", "it is an input"),
        ("-r requirements.txt", "link.txt", "it is an input"),
        ("leaf -c limits.txt", "limits.txt", "it is an input"),
        ("-f env.yml", "env.yml", "it is an input"),
        ("-r pyproject.toml", "pyproject.toml", "it is an input"),
        ("-s script.py", "script.py", "it is an input"),
        ("./leaf-1.0-py3-none-any.whl", "leaf-1.0-py3-none-any.whl", "it is an input"),
        ("leaf", "notes.toml", "it exists, and is not a lockfile"),
        ("leaf", "poetry.lock", "it exists, and is not a lockfile"),
        ("leaf", "/dev/null", "it is not a regular file"),
    ],
)
def test_a_lockfile_replaces_nothing_but_a_lockfile(
    args: str, output: str, reason: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(tmp_path, "leaf", "1.0")
    (tmp_path / "sub").mkdir()
    for name, text in {
        "requirements.txt": "leaf\n",
        "nested.txt": "-r requirements.txt\n",
        "limits.txt": "leaf<2\n",
        "env.yml": "dependencies: [{pip: [leaf]}]\n",
        "pyproject.toml": "[project]\nname = 'x'\ndependencies = ['leaf']\n",
        "script.py": "# /// script\n# dependencies = ['leaf']\n# ///\n",
        "notes.toml": "[leaf]\nversion = 1\n",
        "poetry.lock": "[[package]]\nname = 'leaf'\n\n[metadata]\nlock-version = '2.0'\n",
    }.items():
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "link.txt").hardlink_to(tmp_path / "requirements.txt")
    before = contents(tmp_path)
    options: list[str] = []
    for check in (["--check"], []):
        ended = warm_cli.run("lock", *args.split(), *check, "-o", output, cwd=tmp_path)
        assert ended.returncode == 11
        assert message(ended).endswith(f" is not overwritten: {reason}")
        assert contents(tmp_path) == before
        options = suggested(ended)
    if output not in ("requirements.txt", "/dev/null", "poetry.lock"):
        return  # the hint is the same as for these
    followed = warm_cli.run("lock", *args.split(), *options, cwd=tmp_path)
    assert followed.returncode == 0, followed.stderr
    changed = contents(tmp_path)
    assert {name: changed[name] for name in before} == before


@pytest.mark.parametrize("name", ["reqs.txt", "reqs.in", "env.yml", "sub/pyproject.toml"])
def test_a_lockfile_has_no_name_of_a_requirements_file(
    name: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    (tmp_path / "sub").mkdir()
    ended = warm_cli.run("lock", "leaf", "-o", name, cwd=tmp_path)
    assert ended.returncode == 2
    assert contents(tmp_path) == {}

    assert warm_cli.run("lock", "leaf", *suggested(ended), cwd=tmp_path).returncode == 0
    assert list(contents(tmp_path)) == [str(Path(name).with_name("pylock.toml"))]


@pytest.mark.parametrize("before", [b"", b'lock-version = "1.0"\n<<<<<<< HEAD\n', None])
def test_a_lockfile_replaces_an_older_one(
    before: bytes | None, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    if before is None:
        assert warm_cli.run("lock", "leaf", cwd=tmp_path).returncode == 0
    else:
        (tmp_path / "pylock.toml").write_bytes(before)
    ended = warm_cli.run("lock", "leaf", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert b'name = "leaf"' in (tmp_path / "pylock.toml").read_bytes()


@pytest.mark.parametrize(
    ("output", "args", "reason"),
    [
        ("b.tar.gz", "", "it is an input"),
        ("c.tar.gz", "--against c.tar.gz", "it is an input"),
        ("small-1.0.manifest.json", "", "it exists, and is not a page of `bundler report`"),
        ("index.html", "", "it exists, and is not a page of `bundler report`"),
        ("report.html", "", "it exists, and is not a page of `bundler report`"),
        ("/dev/null", "", "it is not a regular file"),
        ("/dev/stdout", "", "it is not a regular file"),
    ],
)
def test_a_page_replaces_nothing_but_a_page(
    output: str, args: str, reason: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    make_bundle(tmp_path).rename(tmp_path / "b.tar.gz")
    (tmp_path / "c.tar.gz").write_bytes((tmp_path / "b.tar.gz").read_bytes())
    for name in ("index.html", "small-1.0.manifest.json", "report.html"):
        (tmp_path / name).write_text("<!DOCTYPE html>\n<title>mine</title>\n", "utf-8")
    before = contents(tmp_path)
    ended = bundler_cli.run("report", "b.tar.gz", "-o", output, *args.split(), cwd=tmp_path)

    assert ended.returncode == 11
    assert message(ended) == f"`{output}` is not overwritten: {reason}"
    assert contents(tmp_path) == before
    assert Path("/dev/null").is_char_device()

    followed = bundler_cli.run("report", "b.tar.gz", *args.split(), *suggested(ended), cwd=tmp_path)
    assert followed.returncode == 0, followed.stderr
    again = bundler_cli.run("report", "b.tar.gz", *args.split(), *suggested(ended), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    changed = contents(tmp_path)
    assert {name: changed[name] for name in before} == before


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("my.tar.gz", "-o . --name my"),
        ("out/my bundle.zip", "-o out --name 'my bundle'"),
        ("pylock.toml", "-o . --name pylock"),
        ("six.tar.zst", "-o . --name six"),
        (".tgz", "-o . --name bundle"),
    ],
)
def test_a_build_makes_no_directory_with_the_name_of_an_archive(
    output: str, options: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run("build", "leaf", "-o", output, cwd=tmp_path)

    assert ended.returncode == 2
    assert hint(ended) == f"pass `{options}`"
    assert list(tmp_path.iterdir()) == []


def test_a_build_with_the_suggested_name_writes_that_archive(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    ended = warm_cli.run("build", "leaf", "-o", "my.tar.gz", cwd=tmp_path)
    built = warm_cli.run("build", "leaf", *suggested(ended), cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    assert list(tmp_path.glob("my-*.tar.gz"))

    (tmp_path / "a.tar.gz").mkdir()
    assert warm_cli.run("build", "leaf", "-o", "a.tar.gz", cwd=tmp_path).returncode == 0
    assert shlex.split(hint(ended).partition("`")[2].rstrip("`")) == suggested(ended)
