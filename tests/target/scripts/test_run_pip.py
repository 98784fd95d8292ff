"""The programs that pip starts: their limits, their environment, and the URLs of a project's metadata."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pip
import pytest
from support.wheels import make_wheel

from bundler.target.scripts import run_pip, script

SCRIPT: Any = run_pip  # without types: it runs on Python 3.7


@pytest.mark.attack("sdists")
@pytest.mark.parametrize(
    ("hook", "seconds"),
    [("get_requires_for_build_wheel", 600), ("prepare_metadata_for_build_wheel", 600), ("build_wheel", 3000)],
)
def test_a_hook_has_a_limit_that_is_shorter_than_that_of_pip(
    hook: str, seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    guard: dict[str, Any] = {"command": ["sandbox"], "places": False, "home": str(tmp_path)}
    command, _ = SCRIPT.sandboxed(guard, ["python", "_in_process.py", hook, str(tmp_path)], tmp_path, {})

    assert command[:3] == ["sandbox", "--seconds", str(seconds)]


@pytest.mark.attack("sdists")
@pytest.mark.parametrize(("program", "proxy"), [("git", True), ("/usr/bin/hg", True), ("lsb_release", False)])
def test_a_program_of_the_system_gets_no_index(program: str, proxy: bool) -> None:
    env = {"PATH": "p", "PIP_INDEX_URL": "i", "NETRC": "n", "HTTPS_PROXY": "s", "http_proxy": "s"}

    left = SCRIPT.without_secrets(program, env)

    assert left == {"PATH": "p", **({"HTTPS_PROXY": "s", "http_proxy": "s"} if proxy else {})}


def run(folder: Path, guard: dict[str, Any], pip: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a pip as `resolve.pip` does."""
    (folder / "guard.json").write_text(json.dumps(guard))
    argv: list[str | Path] = [sys.executable, "-I", script("run_pip"), folder / "guard.json", pip, *args]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
    }
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.attack("sdists")
@pytest.mark.parametrize(
    ("field", "is_refused"),
    [
        ("a @ http://127.0.0.1:9/a-1.0-py3-none-any.whl", True),
        ("a[x,y]@http://127.0.0.1:9/a-1.0-py3-none-any.whl", True),
        ("a @ git+ssh://127.0.0.1:9/a ; python_version > '3'", True),
        ("a @ file:///etc/passwd", True),
        ("a @ {own}?x", True),
        ("a @ {own}", False),
        ("a @ http://127.0.0.1:9/a-1.0-py3-none-any.whl ; extra == 'b'", False),
        ("a>=1 ; extra == 'b@c'", False),
        ("a", False),
    ],
)
def test_a_dependency_by_url_is_one_of_the_requirements(field: str, is_refused: bool, tmp_path: Path) -> None:
    """Of the metadata of a wheel, too; pip would fetch it before the report."""
    own = make_wheel(tmp_path / "wheels", "a", "1.0").as_uri()
    make_wheel(tmp_path / "wheels", "x", "1.0", requires=[field.format(own=own)])
    (tmp_path / "requirements.txt").write_text(f"x\na @ {own}\n")
    args = ("install", "--dry-run", "--ignore-installed", "--no-index", "--find-links", "wheels")
    if not is_refused and own not in field.format(own=own):
        (tmp_path / "requirements.txt").write_text("x\n")
    ended = run(tmp_path, {}, Path(pip.__file__).parent, *args, "-r", "requirements.txt")

    assert ("ERROR: refused dependency: a @ " in ended.stderr) == is_refused, ended.stderr
    assert (ended.returncode == 0) != is_refused, ended.stderr


@pytest.mark.attack("sdists")
@pytest.mark.parametrize(
    "argv",
    [
        [sys.executable, "_in_process.py", "build_wheel", "control"],
        ["/usr/bin/python3", "_in_process.py", "build_wheel", "control"],
        ["{here}/build-env/bin/python", "_in_process.py", "build_wheel", "control"],
        ["python", "setup.py"],
        ["sh", "-c", "true"],
        ["./lsb_release.sh"],
    ],
)
def test_a_program_that_is_not_known_runs_in_the_sandbox(argv: list[str], tmp_path: Path) -> None:
    """A pip that starts hooks with the Python of the build environment, as with `venv-isolation`."""
    folder = tmp_path / "pip"
    folder.mkdir()
    command = [text.format(here=tmp_path) for text in argv]
    (folder / "__main__.py").write_text(f"import subprocess\nsubprocess.call({command!r})\n")
    link_pip(folder)
    sandbox = {"command": ["/bin/echo", "IN THE SANDBOX"], "places": False, "home": str(tmp_path)}
    ended = run(tmp_path, sandbox, folder)

    assert ended.stdout.startswith("IN THE SANDBOX --seconds "), ended


def link_pip(folder: Path) -> None:
    """Make a directory the package of the pip of the tests, but for its main module."""
    for name in ("__init__.py", "_internal", "_vendor"):
        (folder / name).symlink_to(Path(pip.__file__).parent / name)


@pytest.mark.attack("network")
def test_a_file_without_an_end_is_too_large(tmp_path: Path) -> None:
    """pip writes a response to a file, whatever its length."""
    (tmp_path / "pip").mkdir()
    link_pip(tmp_path / "pip")
    (tmp_path / "pip/__main__.py").write_text(
        "with open('file', 'wb') as stream:\n    stream.seek(8 << 30)\n    stream.write(b'x')\n    stream.flush()\n"
    )
    ended = run(tmp_path, {}, tmp_path / "pip")

    assert ended.stderr.rstrip().endswith("OSError: [Errno 27] File too large")
    assert (tmp_path / "file").stat().st_size <= 8 << 30
