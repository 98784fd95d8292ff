"""The glibc of the target: the flag and the base, else the lock, else the images."""

from __future__ import annotations

import pytest
from support.facts import ENVIRONMENT

from bundler.data.azure_image import image_glibc
from bundler.errors import UsageError
from bundler.pipeline.target import limit_glibc
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
