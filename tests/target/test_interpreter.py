"""Programs that are named as the target Python, and are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundler.errors import InterpreterError, UsageError
from bundler.system.environ import HostEnvironment, read_host_environment
from bundler.target.interpreter import find_interpreter


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    "output", ["", "no JSON", "[]", "1", "{}", '{"stdlib": 1}', "null", '{"a":' * 100_000]
)
def test_a_program_that_is_not_python_is_refused(output: str, tmp_path: Path) -> None:
    program = tmp_path / "python3"
    (tmp_path / "output").write_text(output)
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/output\n")
    program.chmod(0o755)

    with pytest.raises(InterpreterError, match="is not a working Python"):
        find_interpreter(str(program), read_host_environment(), tmp_path)


@pytest.mark.attack("input")
@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/nowhere\n", b"text\n"])
@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_file_that_cannot_be_started_is_refused(content: bytes, mode: int, tmp_path: Path) -> None:
    program = tmp_path / "python3"
    program.write_bytes(content)
    program.chmod(mode)

    with pytest.raises(InterpreterError, match="is not a working Python"):
        find_interpreter(str(program), read_host_environment(), tmp_path)


@pytest.fixture
def fakes(tmp_path: Path) -> HostEnvironment:
    """A machine with programs that have the names of Python 3.9 and 3.20, and are none."""
    (tmp_path / "bin").mkdir()
    for minor in (9, 20):
        program = tmp_path / "bin" / f"python3.{minor}"
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    return HostEnvironment(environ={"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}, cwd=tmp_path)


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("37", "3.7"),
        ("py39", "3.9"),
        ("cpython-3.9.18", "3.9"),
        ("python3.6", "3.7"),
        ("python2.7", "3.7"),
        ("2.7", "3.7"),
        ("3.6", "3.7"),
        ("3", "3.7"),
        ("3.9+", "3.9"),
        ("3,9", "3.9"),
        ("3.x", "3.7"),
        (">=3.9,<3.10", "3.9"),
        ("==3.9.*", "3.9"),
        ("~=3.9.0", "3.9"),
        (">=3.15", "3.20"),
        ("latest", "3.20"),
        ("pypy3.9", "3.9"),
        ("pypy", "3.7"),
        ("nonsense", "3.7"),
        ("/opt/nowhere/python3.9", "3.9"),
        ("venv/", "venv/bin/python"),
        ("./venv", "./venv/bin/python"),
        ("3.99", "3.9"),
        ("3.22", "3.20"),
        ("4.0", "3.20"),
    ],
)
def test_a_wrong_python_gets_one_that_is_similar(
    wanted: str, meant: str, fakes: HostEnvironment, tmp_path: Path
) -> None:
    with pytest.raises((InterpreterError, UsageError)) as caught:
        find_interpreter(wanted, fakes, tmp_path)

    assert caught.value.hint == f"pass `--python {meant}`"


def test_pypy_is_named() -> None:
    with pytest.raises(UsageError, match="PyPy is not supported"):
        find_interpreter("pypy3.7", read_host_environment(), Path())


def test_a_missing_release_gets_the_one_that_is_installed(python37: Path, tmp_path: Path) -> None:
    host = read_host_environment()
    found = find_interpreter(str(python37), host, tmp_path).target.version
    with pytest.raises(InterpreterError, match=r"CPython 3\.7\.99 not found") as caught:
        find_interpreter(
            "3.7.99", replace(host, environ={**host.environ, "PATH": str(python37.parent)}), tmp_path
        )

    assert caught.value.hint == f"pass `--python {found}`"
