"""The text of a lockfile, and what is refused before it is parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import InputError
from bundler.pipeline.inputs import read_lock_text


def test_line_ends_are_those_of_text(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_bytes("a = 'ä'\r\n".encode())

    assert read_lock_text(tmp_path / "pylock.toml") == "a = 'ä'\n"


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/zero", "not a lockfile: it is not a regular file"),
        ("/nowhere", "file not found"),
        ("/", "cannot be read: Is a directory"),
        ("/usr/bin/env", "not a lockfile: it is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_a_lock_is_refused(path: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        read_lock_text(Path(path))

    assert caught.value.message == f"{path}: {reason}"


@pytest.mark.attack("input")
def test_a_lock_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"
    with path.open("wb") as stream:
        stream.truncate((64 << 20) + 1)

    with pytest.raises(InputError, match="not a lockfile: it is larger than 64 MiB"):
        read_lock_text(path)
