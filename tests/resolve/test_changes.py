"""The difference between two locks."""

from __future__ import annotations

from dataclasses import replace

from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.digest import sha256_of
from bundler.resolve.changes import LockChange, changes_between, changes_table
from bundler.resolve.lockfile import Lock, LockedDistribution


def package(name: str, version: str, content: bytes = b"") -> LockedDistribution:
    return LockedDistribution(
        name=canonicalize_name(name),
        version=Version(version),
        kind="wheel",
        location=f"https://host/{name}.whl",
        filename=f"{name}-{version}-py3-none-any.whl",
        sha256=sha256_of(content),
    )


def lock(*packages: LockedDistribution) -> Lock:
    return Lock(requirements=(), packages=packages)


def test_added_removed_and_changed_distributions() -> None:
    old = lock(package("a", "1"), package("b", "1"), package("c", "1"), package("same", "1"))
    new = lock(package("b", "2"), package("c", "1", b"other"), package("d", "1"), package("same", "1"))

    changes = changes_between(old, new)
    assert [(change.name, change.before, change.after) for change in changes[:2]] == [
        ("a", "1", ""),
        ("b", "1", "2"),
    ]
    assert changes[2].before.startswith("1 (c-1-py3-none-any.whl, ")
    assert changes[2].before != changes[2].after
    assert changes[3].to_json() == {"name": "d", "before": None, "after": "1"}
    assert changes_table(changes)[2] == "| a | 1 | - |"


def test_the_url_and_the_graph_are_no_difference() -> None:
    old = package("a", "1")
    new = replace(old, location="https://mirror/a.whl", dependencies=("b",), size=3)

    assert changes_between(lock(old), lock(new)) == ()
    assert changes_between(None, lock(new)) == (LockChange(name="a", before="", after="1"),)
