"""The command ``tree`` on the output of ``lock`` and ``build``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.hints import QUOTED, hint, message, suggested
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


def test_a_lock_and_its_bundle_have_the_same_tree(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "other", "1.0")
    make_wheel(
        index.folder,
        "app",
        "1.0",
        requires=["leaf>=1", "other; python_version>'3.8'", "missing; extra == 'x'"],
    )
    warm_cli.run("lock", "app", "other", cwd=tmp_path)
    built = warm_cli.run("build", "pylock.toml", "--for", "mount", "--json", cwd=tmp_path).json["result"]
    wanted = ["app 1.0", "└── leaf 1.0", "other 1.0"]

    locked = warm_cli.run("tree", "pylock.toml", cwd=tmp_path)
    bundled = warm_cli.run("tree", built["path"], cwd=tmp_path)
    assert (locked.returncode, locked.stdout.splitlines(), locked.stderr) == (0, wanted, "")
    assert bundled.stdout.splitlines() == [wanted[0], f"{wanted[1]}  (>=1)", wanted[2]]
    assert warm_cli.run("tree", built["path"], "--invert", "leaf").stdout.splitlines() == [
        "leaf 1.0",
        "└── app 1.0  (>=1)",
    ]
    # The lock inside a bundle, whose digest is its version, does not contain the graph.
    again = warm_cli.run("build", "app", "other", "--for", "mount", "--json", "-o", "b", cwd=tmp_path)
    assert again.json["result"]["version"] == built["version"]


def test_a_source_that_does_not_exist(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").touch()
    ended = bundler_cli.run("tree", "pylok.toml", cwd=tmp_path)

    assert ended.returncode == 3
    assert "did you mean `bundler tree pylock.toml`?" in ended.stderr


@pytest.mark.parametrize(
    ("file", "option"),
    [
        ("requirements.txt", "-r"),
        ("base.in", "-r"),
        ("app.py", "-s"),
        ("env.yml", "-f"),
        ("pyproject.toml", "-r"),
    ],
)
def test_requirements_are_locked_before_they_have_a_tree(
    file: str, option: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    script = "# /// script\n# dependencies = ['leaf']\n# ///\n"
    texts = {
        "app.py": script,
        "env.yml": "dependencies: [pip, {pip: [leaf]}]\n",
        "pyproject.toml": "[project]\nname = 'app'\nversion = '1'\ndependencies = ['leaf']\n",
    }
    (tmp_path / file).write_text(texts.get(file, "leaf\n"), "utf-8")
    ended = warm_cli.run("tree", file, cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (7, f"`{file}` is not a bundle or a lockfile")
    lock, tree = (shlex.split(command)[1:] for command in QUOTED.findall(hint(ended)))
    assert lock == ["lock", option, file]
    assert warm_cli.run(*lock, cwd=tmp_path).returncode == 0
    assert warm_cli.run(*tree, cwd=tmp_path).stdout == "leaf 1.0\n"
    assert suggested(warm_cli.run("tree", cwd=tmp_path)) == ["tree", "pylock.toml"]
    inverted = warm_cli.run("tree", "pylock.toml", "leaf", cwd=tmp_path)
    assert warm_cli.run(*suggested(inverted), cwd=tmp_path).stdout == "leaf 1.0\n"
