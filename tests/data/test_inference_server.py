"""The table of servers: consistent in itself, and as the wheels say."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from bundler.data.inference_server import AS_OF, SERVER, SERVERS, default_server, server_requirements
from bundler.errors import InputError


def test_every_row_can_be_read() -> None:
    assert sorted(SERVERS, key=Version) == list(SERVERS)
    for version, row in SERVERS.items():
        assert dt.date.fromisoformat(row.released) <= dt.date.fromisoformat(AS_OF)
        assert str(SpecifierSet(row.requires_python))
        assert {one.name for one in server_requirements(version)} >= {"gunicorn", "inference-schema"}


@pytest.mark.parametrize(
    ("python", "server"),
    [
        ("3.5", None),
        ("3.6", "0.7.7"),
        ("3.7", "0.8.4.2"),
        ("3.7.16", "0.8.4.2"),
        ("3.8.18", "1.3.4"),
        ("3.9", "1.5.1"),
        ("3.12", "1.5.1"),
        ("3.14.0rc1", "1.5.1"),
    ],
)
def test_the_newest_server_that_a_python_admits(python: str, server: str | None) -> None:
    assert default_server(python) == server


def test_a_version_may_be_spelled_otherwise() -> None:
    assert server_requirements("1.0") == server_requirements("v1.0.0") != ()


@pytest.mark.parametrize("version", ["0.8.4.3", "", "latest\x1b[2J"])
def test_an_unknown_server_names_the_known(version: str) -> None:
    with pytest.raises(InputError) as caught:
        server_requirements(version)

    told = "\n".join((caught.value.message, *caught.value.evidence))
    assert "0.8.4.2" in told
    assert "\x1b" not in told


@pytest.mark.online
@pytest.mark.parametrize("version", SERVERS)
def test_a_row_is_what_the_wheel_says(version: str, tmp_path: Path) -> None:
    """The day of the upload is not in a wheel; it was read from the index once."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
    argv += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(tmp_path)]
    subprocess.run([*argv, f"{SERVER}=={version}"], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields = HeaderParser().parsestr(archive.read(name).decode())

    wanted = {Requirement(text) for text in fields.get_all("Requires-Dist") or []}
    windows = {one for one in wanted if 'platform_system == "Windows"' in str(one.marker)}
    extras = {one for one in wanted if "extra ==" in str(one.marker)}
    assert set(server_requirements(version)) == wanted - windows - extras
    assert SERVERS[version].requires_python == fields["Requires-Python"]
