"""Lockfiles: what is written is read back, what is wrong is told; rows L05 to L09 of the corpus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.digest import sha256_of
from bundler.errors import InputError
from bundler.requirements.line import RootRequirement
from bundler.resolve.lockfile import (
    Lock,
    LockedDistribution,
    check_lock,
    locked_glibc,
    parse_lock,
    render_lock,
)
from bundler.target.target import GlibcLimit, Target

TARGET = Target(
    version="3.7.16",
    abi="cp37m",
    platform="linux_x86_64",
    libc="glibc 2.31",
    markers={
        "implementation_name": "cpython",
        "implementation_version": "3.7.16",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": "3.7.16",
        "python_version": "3.7",
        "sys_platform": "linux",
    },
)
DIGEST = sha256_of(b"six")


def locked(name: str = "six", version: str = "1.16.0", **changes: Any) -> LockedDistribution:
    values: dict[str, Any] = {
        "name": canonicalize_name(name),
        "version": Version(version),
        "kind": "wheel",
        "location": f"https://index.example/files/{name}-{version}-py3-none-any.whl",
        "filename": f"{name}-{version}-py3-none-any.whl",
        "sha256": DIGEST,
    }
    return LockedDistribution(**{**values, **changes})


def root(text: str, origin: str = "requirements.txt:1") -> RootRequirement:
    return RootRequirement(
        text=text, requirement=Requirement(text), origin=origin, kind="index", location=None
    )


def test_a_lock_is_read_back_as_it_was(tmp_path: Path) -> None:
    lock = Lock(
        requirements=("six", "wrapt==1.12.1"),
        packages=(
            locked("local", "1.0", location=str(tmp_path / "w" / "local-1.0-py3-none-any.whl")),
            locked("folder", "2.0", kind="directory", location=str(tmp_path / "folder"), filename="folder"),
            locked(index="index.example/simple", size=11),
            locked(
                "repo",
                "0.1",
                kind="vcs",
                location="https://git.example/repo",
                filename="repo",
                sha256=None,
                commit="a" * 40,
            ),
            locked(
                "wrapt",
                "1.12.1",
                kind="sdist",
                location="https://index.example/files/wrapt-1.12.1.tar.gz",
                filename="wrapt-1.12.1.tar.gz",
            ),
        ),
    )
    text = render_lock(lock, TARGET, lambda path: path.relative_to(tmp_path).as_posix())

    found = parse_lock(text, source=tmp_path / "pylock.toml", target=TARGET)

    assert sorted(found.packages, key=lambda item: item.name) == sorted(
        lock.packages, key=lambda item: item.name
    )
    assert found.requirements == lock.requirements
    assert str(tmp_path) not in text


def test_a_lock_is_what_pep_751_says(tmp_path: Path) -> None:
    text = render_lock(Lock(requirements=("six",), packages=(locked(),)), TARGET, str)

    assert 'lock-version = "1.0"' in text
    assert 'requires-python = "==3.7.*"' in text
    assert f'sha256 = "{DIGEST}"' in text
    assert parse_lock(text, source=tmp_path / "pylock.toml", target=TARGET).packages == (locked(),)


GOOD = render_lock(Lock(requirements=("six",), packages=(locked(),)), TARGET, str)


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(GOOD[: len(GOOD) // 2], "not valid TOML", id="L05-truncated"),
        pytest.param(f"<<<<<<< HEAD\n{GOOD}", "not valid TOML", id="L05-conflict-markers"),
        pytest.param(GOOD + GOOD[GOOD.index("[[packages]]") : GOOD.index("[tool")], "six", id="L05-twice"),
        pytest.param(GOOD.replace(DIGEST, "x" * 64), "no usable sha256", id="L05-bad-hash"),
        pytest.param(GOOD.replace("sha256 =", "md5 ="), "no usable sha256", id="L05-weak-hash"),
        pytest.param(GOOD.replace('lock-version = "1.0"', 'lock-version = "2.0"'), "2.0", id="L06-newer"),
        pytest.param(
            GOOD.replace("x86_64", "aarch64"),
            "the lock does not support cp37-linux_x86_64",
            id="L07-other-machine",
        ),
        pytest.param(
            GOOD.replace("==3.7.*", "==3.8.*"),
            "the lock does not support cp37-linux_x86_64",
            id="L07-other-python",
        ),
        pytest.param(
            GOOD.replace('name = "six-1.16.0-py3', 'name = "../../six-1.16.0-py3'),
            "wheel filename",
            id="L09-traversal",
        ),
        pytest.param("", "lock-version", id="empty"),
    ],
)
def test_a_bad_lock_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        parse_lock(text, source=tmp_path / "pylock.toml", target=TARGET)

    assert told in str(caught.value) + "".join(caught.value.evidence)
    assert str(caught.value).startswith("pylock.toml: ")


@pytest.mark.attack("input")
def test_a_lock_that_does_not_match_is_refused_with_the_difference() -> None:
    """L08."""
    lock = Lock(requirements=("gone", "six"), packages=(locked(), locked("gone", "1.0")))

    with pytest.raises(InputError) as caught:
        check_lock(
            lock,
            [root("six>=2", "r.txt:1"), root("new", "r.txt:2")],
            TARGET,
            "pylock.toml",
            arguments="-r r.txt",
        )

    assert caught.value.evidence == (
        "+ new  (r.txt:2) is not in the lock",
        "- gone  is in the lock, but no longer required",
        "- six  is in the lock, but no longer required",
        "~ six>=2  (r.txt:1) but the lock has six 1.16.0",
    )


def test_a_lock_that_matches_is_taken() -> None:
    lock = Lock(requirements=("six<2", "win; sys_platform == 'win32'"), packages=(locked(),))

    check_lock(
        lock,
        [root("six<2"), root("win; sys_platform == 'win32'")],
        TARGET,
        "pylock.toml",
        arguments="-r r.txt",
    )


def test_a_lock_of_another_tool_is_held_against_the_requirements_alone() -> None:
    lock = Lock(requirements=(), packages=(locked(), locked("dependency", "1.0")))

    check_lock(lock, [root("six")], TARGET, "pylock.toml", arguments="-r r.txt")
    with pytest.raises(InputError, match="does not match"):
        check_lock(lock, [root("six==1.15")], TARGET, "pylock.toml", arguments="-r r.txt")


@pytest.mark.attack("secrets")
def test_credentials_in_a_lock_are_dropped(tmp_path: Path) -> None:
    text = GOOD.replace("https://index.example", "https://user:hunter22@index.example")

    (package,) = parse_lock(text, source=tmp_path / "pylock.toml", target=TARGET).packages

    assert package.location == "https://index.example/files/six-1.16.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("limit", "kind", "digest"),
    [
        pytest.param(None, "wheel", "3", id="the target has glibc 2.31, so the newest is not for it"),
        pytest.param("2.40", "wheel", "3", id="a higher limit adds none"),
        pytest.param("2.17", "wheel", "3", id="equal"),
        pytest.param("2.12", "sdist", "5", id="a lower one leaves the sdist"),
    ],
)
def test_a_lock_of_uv_for_many_targets_gives_the_file_for_this_one(
    limit: str | None, kind: str, digest: str, tmp_path: Path
) -> None:
    def wheel(tag: str, digest: str) -> str:
        return f'{{ url = "https://index.example/w-1.0-{tag}.whl", hashes = {{ sha256 = "{digest * 64}" }} }}'

    text = (
        'lock-version = "1.0"\ncreated-by = "uv"\nrequires-python = ">=3.7"\n\n[[packages]]\nname = "w"\n'
        'version = "1.0"\nsdist = { url = "https://index.example/w-1.0.tar.gz", hashes = { sha256 = "'
        + "5" * 64
        + '" } }\nwheels = ['
        + ", ".join(
            [
                wheel("cp311-cp311-manylinux_2_17_x86_64", "1"),
                wheel("cp37-cp37m-macosx_11_0_x86_64", "2"),
                wheel("cp37-cp37m-manylinux_2_17_x86_64.manylinux2014_x86_64", "3"),
                wheel("cp37-cp37m-manylinux_2_35_x86_64", "4"),
            ]
        )
        + ']\n\n[[packages]]\nname = "win"\nversion = "1.0"\nmarker = "sys_platform == \'win32\'"\n'
        + 'wheels = [{ url = "https://index.example/win-1.0-py3-none-any.whl", hashes = { sha256 = "'
        + "6" * 64
        + '" } }]\n'
    )

    glibc = GlibcLimit(version=limit, source="asked") if limit else None
    (package,) = parse_lock(text, source=tmp_path / "p.toml", target=replace(TARGET, glibc=glibc)).packages

    assert (package.kind, package.sha256) == (kind, digest * 64)


def test_a_lock_with_wheels_for_a_newer_glibc_alone_names_it(tmp_path: Path) -> None:
    lock = Lock(
        requirements=(), packages=(locked(filename="six-1.16.0-cp37-cp37m-manylinux_2_28_x86_64.whl"),)
    )
    text = render_lock(lock, TARGET, Path.as_posix)
    low = replace(TARGET, glibc=GlibcLimit(version="2.27", source="the base has 2.27"))

    with pytest.raises(InputError, match="only wheels for a newer glibc") as caught:
        parse_lock(text, source=tmp_path / "p.toml", target=low)
    assert caught.value.evidence[0] == "wanted  glibc 2.27 or older: the base has 2.27"
    assert len(parse_lock(text, source=tmp_path / "p.toml", target=TARGET).packages) == 1


def test_a_lock_records_the_glibc(tmp_path: Path) -> None:
    text = render_lock(Lock(requirements=(), packages=(locked(),), glibc="2.17"), TARGET, Path.as_posix)

    assert locked_glibc(text) == parse_lock(text, source=tmp_path / "p.toml", target=TARGET).glibc == "2.17"


@pytest.mark.attack("input")
@pytest.mark.parametrize("value", ['"new"', '"2"', "2.27", "[]", '"3.1"'])
def test_a_malformed_record_is_none(value: str) -> None:
    assert not locked_glibc(f"[tool.bundler]\nglibc = {value}\n")


@pytest.mark.parametrize("text", ["", "[", "tool = 1", "[tool]\nbundler = 1"])
def test_no_record(text: str) -> None:
    assert not locked_glibc(text)
