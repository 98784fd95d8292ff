"""What pip does outside of the sandbox: archives and scripts that lead out of their directories."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.wheels import make_sdist, make_wheel

from bundler.target.scripts import run_pip

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

SCRIPT: Any = sys.modules[run_pip.restrict_pip.__name__]  # type: ignore[attr-defined]  # beside the script
Member = tuple[str, bytes, str]
SETUP = b"from setuptools import setup\nsetup(name='evil', version='1.0', py_modules=['evil'])\n"
GOOD: list[Member] = [
    ("evil-1.0", tarfile.DIRTYPE, ""),
    ("evil-1.0/setup.py", tarfile.REGTYPE, ""),
    ("evil-1.0/evil.py", tarfile.REGTYPE, ""),
    ("evil-1.0/a/b/c.py", tarfile.REGTYPE, ""),
]


def tar_of(members: list[Member]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            content = SETUP if name.endswith("setup.py") else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def fault_of(members: list[Member]) -> str | None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(members))) as tar:
        fault: str | None = SCRIPT.tar_fault(tar)
    return fault


LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
BAD: dict[str, list[Member]] = {
    "absolute": [("evil-1.0/l", LINK, "/tmp")],
    "up": [("evil-1.0/l", LINK, "..")],
    "up from below": [("evil-1.0/a/l", LINK, "../..")],
    "up behind a name": [("evil-1.0/a/l", LINK, "b/../../..")],
    "up through a link": [("evil-1.0/a/x", LINK, ".."), ("evil-1.0/a/b/l", LINK, "../x/../../y")],
    "below a link": [("evil-1.0/l", LINK, "a"), ("evil-1.0/l/x", tarfile.REGTYPE, "")],
    "below a link that follows": [("evil-1.0/l/x", tarfile.REGTYPE, ""), ("evil-1.0/l", LINK, "a")],
    "a link, then a file": [("evil-1.0/l", LINK, "a/n"), ("evil-1.0/l", tarfile.REGTYPE, "")],
    "another spelling": [("evil-1.0/l", LINK, "a"), ("./evil-1.0//l/./x", tarfile.REGTYPE, "")],
    "hard link out": [("evil-1.0/l", HARD, "/etc/passwd")],
    "hard link to a link": [("evil-1.0/l", LINK, "a"), ("evil-1.0/h", HARD, "evil-1.0/l")],
    "absolute name": [("/tmp/x", tarfile.REGTYPE, "")],
    "name up": [("evil-1.0/../../x", tarfile.REGTYPE, "")],
    "name up and down": [("evil-1.0/a/../x", tarfile.REGTYPE, "")],
    "fifo": [("evil-1.0/f", tarfile.FIFOTYPE, "")],
    "device": [("evil-1.0/d", tarfile.CHRTYPE, "")],
    "top directory": [("top", LINK, ".")],
}


@pytest.mark.attack("sdists", count=len(BAD))
@pytest.mark.parametrize("members", BAD.values(), ids=list(BAD))
def test_a_member_that_leads_out_of_an_sdist_is_a_fault(members: list[Member]) -> None:
    assert fault_of([*GOOD, *members]) is not None
    assert fault_of([*members, *GOOD]) is not None


@pytest.mark.parametrize(
    "members",
    [
        [],
        [("evil-1.0/l", LINK, "a/b/c.py")],
        [("evil-1.0/a/b/l", LINK, "../../evil.py")],
        [("evil-1.0/a/l", LINK, "./b")],
        [("evil-1.0/h", HARD, "evil-1.0/evil.py")],
        [("./evil-1.0/x", tarfile.REGTYPE, ""), ("evil-1.0/dangling", LINK, "missing")],
        [("evil-1.0/evil.py", tarfile.REGTYPE, "")],
    ],
)
def test_links_within_an_sdist_are_usual(members: list[Member]) -> None:
    assert fault_of([*GOOD, *members]) is None


@pytest.mark.attack("sdists", count=3)
def test_a_size_that_is_negative_or_too_large_is_a_fault() -> None:
    """A negative one is an endless loop of tarfile (CVE-2025-8194)."""

    def members(size: int) -> list[Any]:
        info = tarfile.TarInfo("evil-1.0/x")
        info.size = size
        return [info]

    assert SCRIPT.tar_fault(members(-512)) is not None
    assert SCRIPT.tar_fault(members((4 << 30) + 1)) is not None
    assert SCRIPT.tar_fault(members(1 << 30) * 5) is not None
    assert SCRIPT.tar_fault(members(1 << 20)) is None


@pytest.mark.attack("sdists")
@pytest.mark.parametrize("version", ["3.7", "3.8", "3.12"])
@pytest.mark.parametrize("as_requirement", [False, True], ids=["sdist", "build requirement"])
def test_an_sdist_writes_nothing_through_its_links(
    index: LocalIndex,
    bundler_cli: BundlerCli,
    pythons: dict[str, Path],
    tmp_path: Path,
    version: str,
    as_requirement: bool,
) -> None:
    """pip unpacks it outside of the sandbox."""
    if version not in pythons:
        pytest.skip(f"no CPython {version} here")
    outside = tmp_path / "outside"
    outside.mkdir()
    members = [*GOOD, ("evil-1.0/l", LINK, str(outside)), ("evil-1.0/l/setup.py", tarfile.REGTYPE, "")]
    (index.folder / "evil-1.0.tar.gz").write_bytes(tar_of(members))
    name = "evil"
    if as_requirement:
        name = "source"
        project = '[build-system]\nrequires = ["setuptools", "wheel", "evil"]\n'
        make_sdist(index.folder, "source", "1.0", {"pyproject.toml": project, "source.py": ""})
    ended = bundler_cli.run("lock", name, "--python", version, cwd=tmp_path)

    assert list(outside.iterdir()) == []
    assert ended.returncode == 7, ended.stderr
    assert "`evil-1.0/l` is a link to" in ended.stderr


@pytest.mark.attack("sdists")
@pytest.mark.parametrize("version", ["3.7", "3.12"])
@pytest.mark.parametrize("where", ["{}/pwned", "../../../../../../../../../../../..{}/pwned"])
def test_a_build_requirement_installs_no_script_elsewhere(
    index: LocalIndex,
    bundler_cli: BundlerCli,
    pythons: dict[str, Path],
    tmp_path: Path,
    version: str,
    where: str,
) -> None:
    """pip installs it outside of the sandbox."""
    if version not in pythons:
        pytest.skip(f"no CPython {version} here")
    entry = f"[console_scripts]\n{where.format(tmp_path)} = helper:main\n"
    make_wheel(index.folder, "helper", "1.0", entry_points=entry)
    project = '[build-system]\nrequires = ["setuptools", "wheel", "helper"]\n'
    make_sdist(index.folder, "source", "1.0", {"pyproject.toml": project, "source.py": ""})
    ended = bundler_cli.run("lock", "source", "--python", version, cwd=tmp_path)

    assert not (tmp_path / "pwned").exists()
    assert ended.returncode in (4, 7), ended.stderr
