"""The native libraries of a manifest."""

from __future__ import annotations

from typing import Any

import pytest
from support.bundles import VERIFICATION
from support.scoring import scoring_manifest, shared

from bundler.errors import MalformedError
from bundler.report.libraries import highest_glibc, native_libraries


def test_libraries_have_their_distribution_and_their_needs_from_the_system() -> None:
    libz, core, blas = native_libraries(scoring_manifest())

    assert (libz.distribution, libz.glibc, libz.external) == ("fast", "", ())
    assert (core.distribution, core.glibc, core.external) == ("fast", "2.14", ("libc.so.6",))
    assert (blas.glibc, blas.external) == ("2.17", ("libgomp.so.1", "libc.so.6"))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("fast/core.cpython-37m-x86_64-linux-gnu.so", "fast/core.so"),
        ("fast/core.cpython-312-x86_64-linux-gnu.so", "fast/core.so"),
        ("fast/core.abi3.so", "fast/core.so"),
        ("fast/core.so", "fast/core.so"),
        ("fast.libs/libopenblasp-r0-2d23e62b.3.17.so", "fast.libs/libopenblasp-r0.3.17.so"),
        ("fast.libs/libgomp-a34b3233.so.1.0.0", "fast.libs/libgomp.so.1.0.0"),
        ("fast/lib-abc.so", "fast/lib-abc.so"),
    ],
)
def test_the_key_is_the_same_in_every_build(path: str, key: str) -> None:
    manifest = scoring_manifest(verification={**VERIFICATION, "shared_objects": [shared(path, "2.4", ())]})

    assert [library.key for library in native_libraries(manifest)] == [key]


def test_the_highest_glibc_is_compared_by_number() -> None:
    objects = [shared(f"{number}.so", glibc, ()) for number, glibc in enumerate(("2.9", "2.17", "", "2.2.5"))]
    manifest = scoring_manifest(verification={**VERIFICATION, "shared_objects": objects})

    assert highest_glibc(native_libraries(manifest)) == "2.17"
    assert highest_glibc(()) == ""


@pytest.mark.parametrize(
    "change", [{"path": 1}, {"needed": "libc.so.6"}, {"versions": {"GLIBC": 2}}, {"symbol": None}]
)
def test_a_malformed_entry_is_refused(change: dict[str, Any]) -> None:
    objects = [{**shared("a.so", "2.4", ()), **change}]
    manifest = scoring_manifest(verification={**VERIFICATION, "shared_objects": objects})

    with pytest.raises(
        MalformedError, match=rf"^manifest.json: \$\.verification\.shared_objects: \$\.{next(iter(change))}"
    ):
        native_libraries(manifest)
