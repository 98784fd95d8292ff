"""Files whose content is not what their name promises: the message has it, and a command that helps."""

from __future__ import annotations

import gzip
import io
import re
import shlex
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.archive.content import check_content, recognized_content
from bundler.errors import MalformedError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 12345\n"


@pytest.mark.parametrize(
    ("start", "label"),
    [
        (b"<!DOCTYPE html>\n<html>", "an HTML page"),
        (b"\n  <HTML><head>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "an XML document"),
        (LFS, "a pointer of Git LFS"),
        (b'{"message": "Not Found"}', "a JSON document"),
        (b"", "an empty file"),
        (b"PK\x03\x04", "a zip archive"),
        (gzip.compress(b"x"), "a gzip archive"),
    ],
)
def test_the_content_is_recognized(start: bytes, label: str) -> None:
    content = recognized_content(start)
    assert content is not None
    assert content.label == label


@pytest.mark.parametrize("start", [b"six==1.16.0\n", b"name: x\n", b"[project]\n", b"<six", b"\x7fELF"])
def test_other_content_is_not(start: bytes) -> None:
    assert recognized_content(start) is None


def tar_of(content: bytes = b"x") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("b/manifest.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def zip_of(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, tar_of())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "result"),
    [
        ("b.tar.gz.1", lambda: gzip.compress(tar_of()), "b.tar.gz"),
        ("b.tar.zst", lambda: gzip.compress(tar_of()), "b.tar.gz"),
        ("b.bin", lambda: gzip.compress(tar_of()), "b.tar.gz"),
        ("b.tar", tar_of, "b.tar.gz"),
        ("b.tar.gz", tar_of, "b.tar.gz"),
        ("b.zip", lambda: zip_of("b.tar.gz"), "b/b.tar.gz"),
    ],
)
def test_the_command_of_the_hint_makes_an_archive_of_the_right_name(
    name: str, content: Callable[[], bytes], result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.write_bytes(content())
    suffix = next((item for item in (".tar.gz", ".tar.zst") if name.endswith(item)), None)
    with path.open("rb") as stream, pytest.raises(MalformedError) as caught:
        check_content(path, stream, suffix)

    hint = str(caught.value.hint)
    command = (
        (re.findall("`(.+)`", hint) or [hint])[0]
        .replace("unzip", "python3 -m zipfile -e")
        .replace(" -d ", " ")
    )
    subprocess.run(["sh", "-ec", command], check=True)
    assert Path(result).is_file()
    assert not path.exists() or name.endswith(".zip") or name == result


def test_an_existing_file_is_never_the_target_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz.1"
    path.write_bytes(gzip.compress(tar_of()))
    (tmp_path / "b.tar.gz").write_bytes(b"the first download")
    with path.open("rb") as stream, pytest.raises(MalformedError) as caught:
        check_content(path, stream, None)
    assert shlex.split(str(caught.value.hint)) == ["mv", str(path), str(tmp_path / "b-1.tar.gz")]


def test_the_right_content_is_accepted_and_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_bytes(gzip.compress(tar_of()))
    with path.open("rb") as stream:
        check_content(path, stream, ".tar.gz")
        assert stream.read(2) == b"\x1f\x8b"
