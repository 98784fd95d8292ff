"""Programs that are named as the target Python, and are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import InterpreterError
from bundler.system.environ import read_host_environment
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
