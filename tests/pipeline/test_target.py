"""The glibc of the target: the flag and the base, else the lock, else the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.facts import ENVIRONMENT

from bundler.data.azure_image import image_glibc
from bundler.errors import InputError, UsageError
from bundler.pipeline.target import check_applicable, limit_glibc
from bundler.reporter import Silent
from bundler.requirements.files import read_requirements
from bundler.requirements.requirement_set import RequirementSet
from bundler.system.environ import HostEnvironment
from bundler.target.target import Target


def target(version: str = "3.7.16", libc: str = "glibc 2.36") -> Target:
    major, minor, _ = version.split(".")
    return Target(
        version=version, abi=f"cp{major}{minor}", platform="linux_x86_64", libc=libc, markers=ENVIRONMENT
    )


@pytest.mark.parametrize(
    ("asked", "base", "locked", "expected"),
    [
        (None, None, "", "Azure ML's image minimal-ubuntu18.04-py37-cpu-inference has 2.27"),
        (None, None, "2.17", "the lock is for 2.17"),
        (None, "2.31", "2.17", "the base has 2.31"),
        ("2.28", "2.31", "2.17", "`--target-glibc` is 2.28"),
        ("2.35", "2.31", "", "the base has 2.31"),
        ("2.9", "2.31", "", "`--target-glibc` is 2.9"),
        ("2.35", None, "2.17", "`--target-glibc` is 2.35"),
        ("host", "2.31", "2.17", "the base has 2.31"),
        ("host", None, "2.17", None),
        (None, "2.31-ubuntu", "", "Azure ML's image minimal-ubuntu18.04-py37-cpu-inference has 2.27"),
    ],
)
def test_the_source_of_the_limit(
    asked: str | None, base: str | None, locked: str, expected: str | None
) -> None:
    limit = limit_glibc(target(), asked, base=base, locked=locked).glibc

    assert (limit and limit.source) == expected
    assert limit is None or limit.is_fact == limit.source.startswith("the base"), "host would not lift it"


def test_another_libc_has_no_limit() -> None:
    assert limit_glibc(target(libc="musl 1.2"), "2.27", base="2.31", locked="2.17").glibc is None


@pytest.mark.parametrize("asked", ["2", "3.1", "new", ""])
def test_a_wrong_value_is_refused_for_any_libc(asked: str) -> None:
    with pytest.raises(UsageError, match="is not a glibc version"):
        limit_glibc(target(libc="musl 1.2"), asked, base=None, locked="")


@pytest.mark.parametrize(
    ("release", "glibc"),
    [
        ((3, 7), "2.27"),
        ((3, 9), "2.31"),
        ((3, 10), "2.35"),
        ((3, 11), "2.31"),
        ((3, 14), "2.35"),
        ((3, 6), "2.27"),
    ],
)
def test_the_images(release: tuple[int, int], glibc: str) -> None:
    assert image_glibc(release).glibc == glibc


def test_the_limit_removes_tags_and_adds_none() -> None:
    limited = limit_glibc(target(), "2.17", base=None, locked="")
    tags = {tag.platform for tag in limited.tags}

    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64", "linux_x86_64"} <= tags
    assert "manylinux_2_18_x86_64" not in tags
    above = limit_glibc(target(), "2.99", base=None, locked="")
    assert above.tags == target().tags


class RecordedReporter(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def required(folder: Path, *lines: str) -> RequirementSet:
    (folder / "r.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return read_requirements(HostEnvironment(environ={}, cwd=folder), files=[Path("r.txt")])


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        (['six; python_version > "3.8"'], "--python 3.9"),
        (['six; python_version >= "3.11"', 'idna; python_full_version >= "3.10.0"'], "--python 3.10"),
        (['six; sys_platform == "win32"'], "change its marker"),
        (['six; sys_platform == "win32"', 'idna; platform_machine == "riscv64"'], "change their markers"),
        (['./proj[dev] ; python_version == "3.12"'], "--python 3.12"),
        (['six; extra == "dev"'], "change its marker"),
    ],
)
def test_markers_that_exclude_every_requirement(lines: list[str], hint: str, tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj/pyproject.toml").touch()
    requirements = required(tmp_path, *lines)
    with pytest.raises(InputError, match="no requirement applies to CPython") as caught:
        check_applicable(requirements, target(), RecordedReporter())

    assert caught.value.hint == hint
    assert [line.partition(":")[0] for line in caught.value.evidence] == ["r.txt"] * len(lines)
    if hint.startswith("--python"):
        other = target(f"{hint.split()[1]}.0")
        markers = {**ENVIRONMENT, "python_version": hint.split()[1], "python_full_version": other.version}
        check_applicable(requirements, replace(other, markers=markers), RecordedReporter())


def test_markers_that_exclude_some_requirements(tmp_path: Path) -> None:
    reporter = RecordedReporter()
    lines = ["six", 'colorama; sys_platform == "win32"', 'idna; python_version < "3.8"']
    check_applicable(required(tmp_path, *lines), target(), reporter)
    check_applicable(required(tmp_path, "six"), target(), reporter)

    assert reporter.notes == [
        'not for this target, by its marker: `colorama; sys_platform == "win32"` (r.txt:2)'
    ]
