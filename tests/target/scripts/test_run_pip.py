"""The programs that pip starts: their limits, their environment, and the URLs of a project's metadata."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.attack("sdists")
@pytest.mark.parametrize(
    ("field", "is_refused"),
    [
        ("a @ http://h/a.whl", True),
        ("a[x,y]@http://h/a.whl", True),
        ("a\n  @ http://h/a.whl", True),
        ("a @ git+ssh://h/a ; python_version > '3'", True),
        ("a @ file:///etc/passwd", True),
        ("a @ http://own/a.whl", False),
        ("a @ http://own/a.whl;x", True),
        ("a>=1 ; extra == 'b@c'", False),
        ("a", False),
    ],
)
def test_a_url_of_the_metadata_is_one_of_the_requirements(
    field: str, is_refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "METADATA").write_text(
        f"Name: x\nRequires-Dist: {field}\n\nRequires-Dist: y @ http://text/\n"
    )
    (tmp_path / "requirements.txt").write_text("b\na @ http://own/a.whl --hash=sha256:00\n")
    monkeypatch.setattr(sys, "argv", ["pip", "install", "-r", str(tmp_path / "requirements.txt")])

    assert (SCRIPT.url_dependency(str(tmp_path / "METADATA")) is not None) == is_refused


@pytest.mark.attack("network")
def test_a_file_without_an_end_is_too_large(tmp_path: Path) -> None:
    """pip writes a response to a file, whatever its length."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "guard.json").write_text(json.dumps({}))
    (tmp_path / "pip/__main__.py").write_text(
        "with open('file', 'wb') as stream:\n    stream.seek(8 << 30)\n    stream.write(b'x')\n    stream.flush()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-I", script("run_pip"), tmp_path / "guard.json", tmp_path / "pip"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stderr.rstrip().endswith("OSError: [Errno 27] File too large")
    assert (tmp_path / "file").stat().st_size <= 8 << 30
