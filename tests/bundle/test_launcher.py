"""Launchers: they find Python and the bundle, wherever both are, and the bundle comes first."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bundler.archive.entry_points import EntryPoint
from bundler.bundle.launcher import (
    LAUNCHER_FORMAT,
    entry_point_launcher,
    is_python_script,
    script_launcher,
)

RELEASE = sys.version_info[:2]
PYTHON = "python{}.{}".format(*RELEASE)
SITE = f"lib/{PYTHON}/site-packages"
MAIN = EntryPoint(group="console_scripts", name="tool", module="tool.cli", attribute="main")
CODE = """\
import os, sys
def main():
    print(*sys.argv[1:], sep="|")
    return 3
class Command:
    class Sub:
        @staticmethod
        def run():
            print("sub")
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A bundle of one module, in a directory that needs quoting."""
    root = tmp_path / "a b $x ä"
    package = root / SITE / "tool"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(CODE)
    install(root, "tool", entry_point_launcher(MAIN, RELEASE))
    return root


def install(root: Path, name: str, content: bytes) -> Path:
    path = root / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory for PATH with what a launcher needs, and no Python."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("readlink", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def add_python(folder: Path, name: str, mark: str) -> None:
    """Add a Python of the right version that leaves a mark in the environment."""
    script = f'#!/bin/sh\nMARK={mark} exec "{sys.executable}" "$@"\n'
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def run(*argv: Path | str, cwd: Path | str = ".", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(argv), env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def marked(root: Path) -> Path:
    """Install a tool that prints the mark of its Python."""
    (root / SITE / "tool/cli.py").write_text("import os\ndef main():\n    print(os.environ['MARK'])\n")
    return root / "bin/tool"


# --- the text -------------------------------------------------------------------------------------


def test_the_text_changes_only_with_its_format() -> None:
    """It is part of the key of a layer: a stored layer with another text would be used for ever."""
    texts = [
        entry_point_launcher(MAIN, (3, 7)),
        entry_point_launcher(EntryPoint(group="", name="", module="m", attribute="A.b.c"), (3, 12)),
        script_launcher("it's", (3, 7)),
    ]
    digests = [hashlib.sha256(text).hexdigest()[:16] for text in texts]

    assert {LAUNCHER_FORMAT: digests} == {1: ["c81057e87539922a", "80abe71e6946765f", "9c6f5d8d2a018d6a"]}


# --- what is run ----------------------------------------------------------------------------------


def test_an_entry_point_gets_the_arguments_and_returns_the_exit_code(root: Path, programs: Path) -> None:
    add_python(programs, PYTHON, "x")
    ended = run(root / "bin/tool", "a b", "", "*", PATH=str(programs))

    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "a b||*\n", "")


def test_an_entry_point_may_be_an_attribute_of_a_class(root: Path) -> None:
    point = EntryPoint(group="gui_scripts", name="sub", module="tool.cli", attribute="Command.Sub.run")
    ended = run(install(root, "sub", entry_point_launcher(point, RELEASE)), BUNDLER_PYTHON=sys.executable)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "sub\n", "")


@pytest.mark.parametrize("name", ["script", 'it\'s a "{script}"', "%s"])
def test_a_script_is_run_unchanged_as_the_main_module(root: Path, name: str) -> None:
    """Its first line may be one that must come first."""
    script = root / "libexec" / name
    script.parent.mkdir()
    script.write_text(
        "#!python\nfrom __future__ import annotations\nimport sys\nprint(__name__, sys.argv[1:])\nsys.exit(4)\n"
    )
    ended = run(install(root, name, script_launcher(name, RELEASE)), "x", BUNDLER_PYTHON=sys.executable)

    assert (ended.returncode, ended.stdout, ended.stderr) == (4, "__main__ ['x']\n", "")


# --- where it is ----------------------------------------------------------------------------------


def test_a_bundle_may_be_moved(root: Path, tmp_path: Path) -> None:
    moved = root.rename(tmp_path / "moved")

    for argv0, cwd in (
        (moved / "bin/tool", tmp_path),
        ("moved/bin/tool", tmp_path),
        ("./tool", moved / "bin"),
    ):
        ended = run("/bin/sh", "-c", '"$0" x', argv0, cwd=cwd, BUNDLER_PYTHON=sys.executable, CDPATH="/")
        assert (ended.returncode, ended.stdout) == (3, "x\n"), ended.stderr


def test_a_launcher_may_be_linked(root: Path, tmp_path: Path) -> None:
    """Through relative and absolute links, each relative to its own directory."""
    first = tmp_path / "one" / "first"
    second = tmp_path / "two" / "second"
    first.parent.mkdir()
    second.parent.mkdir()
    first.symlink_to(Path("..") / root.name / "bin" / "tool")
    second.symlink_to(first)

    for link in (first, second):
        assert run(link, "x", BUNDLER_PYTHON=sys.executable).stdout == "x\n"


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox"])
def test_every_shell_can_run_it(root: Path, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell}")
    argv = [program, "sh"] if shell == "busybox" else [program]

    assert run(*argv, root / "bin/tool", "x", BUNDLER_PYTHON=sys.executable).stdout == "x\n"


# --- which Python ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        pytest.param(["named", "beside full", "path full"], "named", id="the-one-that-is-named"),
        pytest.param(["beside full", "beside python", "path full"], "beside full", id="beside-by-version"),
        pytest.param(["beside python", "path full"], "beside python", id="beside"),
        pytest.param(["path full", "path python3", "path python"], "path full", id="path-by-version"),
        pytest.param(["path python3", "path python"], "path python3", id="path-python3"),
        pytest.param(["path python"], "path python", id="path-python"),
    ],
)
def test_the_first_python_of_the_right_version_is_used(
    root: Path, programs: Path, there: list[str], chosen: str
) -> None:
    env = {"PATH": str(programs)}
    for one in there:
        place, _, name = one.partition(" ")
        folder = root / "bin" if place == "beside" else programs
        add_python(folder, {"full": PYTHON, "": "other"}.get(name, name), one.replace(" ", "-"))
        if place == "named":
            env["BUNDLER_PYTHON"] = str(programs / "other")

    ended = run(marked(root), cwd=".", **env)
    assert (ended.stdout.strip(), ended.stderr) == (chosen.replace(" ", "-"), "")


def test_a_python_of_another_version_is_passed_over(root: Path, programs: Path) -> None:
    (programs / PYTHON).write_text("#!/bin/sh\necho noise\necho noise >&2\nexit 1\n")
    (programs / PYTHON).chmod(0o755)
    add_python(programs, "python3", "right")

    ended = run(marked(root), PATH=str(programs))
    assert (ended.stdout.strip().splitlines()[-1], ended.stderr) == ("right", "")


def test_no_python_is_an_error_with_a_hint(root: Path, programs: Path) -> None:
    launcher = install(root, "tool", entry_point_launcher(MAIN, (3, 99)))
    add_python(programs, "python3", "wrong")
    ended = run(launcher, PATH=str(programs))

    assert ended.returncode == 127
    assert ended.stderr == "tool: Python 3.99 was not found; put it on PATH or set BUNDLER_PYTHON\n"


def test_a_named_python_of_another_version_is_an_error(root: Path) -> None:
    """The bundle's bytecode and extension modules are for one version."""
    launcher = install(root, "tool", entry_point_launcher(MAIN, (3, 99)))
    ended = run(launcher, BUNDLER_PYTHON=sys.executable)

    assert ended.returncode == 1
    assert ended.stderr == f"{launcher}: made for Python 3.99, this is {PYTHON.removeprefix('python')}\n"


# --- sys.path -------------------------------------------------------------------------------------


def path_of(root: Path, **env: str) -> list[str]:
    """Return sys.path as a program of the bundle sees it."""
    (root / SITE / "tool/cli.py").write_text("import sys\ndef main():\n    print(*sys.path, sep='\\n')\n")
    ended = run(root / "bin/tool", cwd=".", BUNDLER_PYTHON=sys.executable, **env)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_the_bundle_comes_before_pythonpath_and_bin_is_not_a_place_for_modules(root: Path) -> None:
    path = path_of(root, PYTHONPATH=f"/elsewhere{os.pathsep}{root / SITE}")

    assert path[:2] == [str(root / SITE), "/elsewhere"]
    assert path.count(str(root / SITE)) == 1
    assert str(root / "bin") not in path


def test_pth_files_of_the_bundle_count_and_come_after_it(root: Path) -> None:
    (root / SITE / "vendored").mkdir()
    (root / SITE / "x.pth").write_text("vendored\nimport sys; sys.marked = 1\n")

    assert path_of(root, PYTHONPATH="/elsewhere")[:3] == [
        str(root / SITE),
        str(root / SITE / "vendored"),
        "/elsewhere",
    ]


def test_a_module_of_the_bundle_wins(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "tool"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    (root / "bin" / "tool.py").write_text("raise SystemExit('the wrong one')\n")

    ended = run(root / "bin/tool", "x", BUNDLER_PYTHON=sys.executable, PYTHONPATH=str(other.parent))
    assert ended.stdout == "x\n", ended.stderr


# --- is_python_script -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        b"#!python",
        b"#!python\n",
        b"#!pythonw\r\n",
        b"#!python3.7 -E\n",
        b"#!/usr/bin/python3\n",
        b"#!/opt/some dir/bin/python3.7\n",
        b"#!/usr/bin/env python\n",
        b"#!/usr/bin/env pythonw3.11\n",
        b"#!/usr/bin/env python3 -u\n",
    ],
)
def test_a_python_shebang_is_recognized(first: bytes) -> None:
    assert is_python_script(first)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"python\n",
        b"# !python\n",
        b"\n#!python\n",
        b"#!/bin/sh\n",
        b"#!/bin/sh\n/usr/bin/python\n",
        b"#!pythonic\n",
        b"#!/usr/bin/ipython\n",
        b"#!/usr/bin/pypy3\n",
        b"#!/usr/bin/env bash\n",
        b"#!/usr/bin/env ipython\n",
        b"#!/usr/bin/env pythonic\n",
        b"\x7fELF#!python",
    ],
)
def test_any_other_first_line_is_not_a_python_shebang(first: bytes) -> None:
    assert not is_python_script(first)
