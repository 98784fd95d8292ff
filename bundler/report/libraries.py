"""Pure: the native libraries that the manifest of a bundle lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from bundler.bundle.manifest import Manifest
from bundler.checks.elf import numbers
from bundler.jsonio import convert

__all__ = ["NativeLibrary", "highest_glibc", "native_libraries"]

# PEP 3149 and PEP 425: the tag between the module's name and `.so`.
_TAG = re.compile(r"\.(?:abi3|cpython-\d|cp\d)[\w-]*(?=\.so$)")
# auditwheel adds eight digits of the digest of the content to the name of a library that it copies.
_DIGEST = re.compile(r"-[0-9a-f]{8}(?=[.-])")


class NativeLibrary(msgspec.Struct, frozen=True, kw_only=True):
    """A shared object of a bundle, and its needs."""

    path: str
    needed: tuple[str, ...]
    versions: dict[str, str]
    symbol: str = ""
    distribution: str = ""
    external: tuple[str, ...] = ()
    """The libraries it needs that are not in the bundle."""
    key: str = ""
    """Its path without the parts that differ in every build: Python, platform and digest."""

    @property
    def glibc(self) -> str:
        """The glibc it needs; empty if it needs none."""
        return self.versions.get("GLIBC", "")


def native_libraries(manifest: Manifest) -> tuple[NativeLibrary, ...]:
    """Return the shared objects of a bundle, sorted by path.

    :raises MalformedError: if the manifest lists one in another form.
    """
    owners: dict[str, str] = {file.path: file.owner for file in manifest.files}
    bundled = {path.rpartition("/")[2] for path in owners}
    prefix = f"{manifest.target.site_packages}/"
    return tuple(
        msgspec.structs.replace(
            library,
            distribution=owners.get(library.path, ""),
            external=tuple(name for name in library.needed if name not in bundled),
            key=_DIGEST.sub("", _TAG.sub("", library.path.removeprefix(prefix))),
        )
        for library in sorted(map(_library, _listed(manifest)), key=lambda library: library.path)
    )


def highest_glibc(libraries: Iterable[NativeLibrary]) -> str:
    """Return the oldest glibc that all of these load with; empty if none of them needs one."""
    return max((library.glibc for library in libraries), key=numbers, default="")


def _listed(manifest: Manifest) -> tuple[dict[str, Any], ...]:
    return manifest.document.verification.shared_objects


def _library(values: dict[str, Any]) -> NativeLibrary:
    fields = ("path", "needed", "versions", "symbol")
    known = {name: values[name] for name in fields if name in values}
    return convert(known, NativeLibrary, "manifest.json: $.verification.shared_objects")
