"""Pure: installed distributions and libraries, from the bytes of their files.

Each relevant file is first reduced to a few facts, so that those of a whole image
fit in memory. ``target/scripts/capture.py`` implements the same rules without any
import; a test compares both on one environment.

Specs: core metadata, recording installed projects (PyPA); the egg formats of
setuptools; ELF.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from packaging.utils import canonicalize_name

__all__ = ["extract_facts", "is_relevant", "list_installed", "shadowing_names"]

_METADATA = re.compile(r"(?:.*/)?[^/]+(?:\.dist-info/METADATA|\.egg-info(?:/PKG-INFO)?)")
_RECORD = re.compile(r"(?:.*/)?[^/]+\.dist-info/RECORD")
_EGG_FILES = re.compile(r"(?:.*/)?[^/]+\.egg-info/installed-files\.txt")
_AS_IS = re.compile(
    r"(?:.*/)?[^/]+(?:\.(?:dist|egg)-info/(?:top_level|requires)\.txt"
    r"|(?:site|dist)-packages/[^/]+\.pth|/python3[^/]*/patchlevel\.h)"
    r"|(?:.*/)?(?:site|dist)-packages/[^/]+\.pth|(?:.*/)?include/python3[^/]*/patchlevel\.h"
)
_INIT = re.compile(r"(?:.*/)?(?:site|dist)-packages/[^/]+/(?:[^/]+/)?__init__\.py")
_ELF = re.compile(r"(?:.*/)?(?:libc(?:-2\.\d+)?\.so(?:\.6)?|libstdc\+\+\.so\.6[^/]*)")
_NAMES = re.compile(
    r"(?:.*/)?(?:lib[^/]*\.so(?:\.[^/]*)?|ld-musl-\w+\.so\.1|bin/python3?(?:\.\d+)?"
    r"|conda-meta/python-3[^/]*\.json|(?:site|dist)-packages/[^/]+\.py)"
)
_MADE_AT_START = re.compile(r"sys\.modules\.setdefault\('([\w.]+)'")
_GLIBC = re.compile(rb"GNU C Library [^\n\0]{0,200}? version (\d+\.\d+)")
_MACHINES = {
    3: "i686",
    21: "ppc64le",
    22: "s390x",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
}


def is_relevant(path: str) -> bool | None:
    """Return whether the content of a file matters; None if not even its name does."""
    if any(pattern.fullmatch(path) for pattern in (_METADATA, _RECORD, _EGG_FILES, _AS_IS, _INIT, _ELF)):
        return True
    return False if _NAMES.fullmatch(path) else None


def extract_facts(path: str, content: bytes) -> bytes:
    """Return the relevant facts of a file.

    The fields of a METADATA; the top-level names and ``.pth`` files of a RECORD;
    of a package's ``__init__`` whether it extends its path; of a library the facts in it.
    """
    if _METADATA.fullmatch(path):
        return re.split(rb"\r?\n[ \t]*\r?\n", content, maxsplit=1)[0]
    if _RECORD.fullmatch(path):
        return "\n".join(_tops(_record_paths(content))).encode()
    if _EGG_FILES.fullmatch(path):
        lines = content.decode("utf-8", "replace").splitlines()
        return "\n".join(_tops(line[3:] for line in lines if line.startswith("../"))).encode()
    if _INIT.fullmatch(path):
        return b"extends" if b"extend_path" in content or b"declare_namespace" in content else b""
    if _ELF.fullmatch(path):
        return "\n".join(f"{name}={value}" for name, value in _elf_facts(content).items()).encode()
    return content if _AS_IS.fullmatch(path) else b""


def _elf_facts(content: bytes) -> dict[str, str]:
    """Return the machine, the version of the C library and the newest symbol versions of a library."""
    facts = {}
    if content[:4] == b"\x7fELF" and len(content) >= 20:  # noqa: PLR2004 - e_machine ends there
        machine = int.from_bytes(content[18:20], "big" if content[5] == 2 else "little")  # noqa: PLR2004
        facts["machine"] = _MACHINES.get(machine, f"elf{machine}")
    if match := _GLIBC.search(content):
        facts["glibc"] = match[1].decode("ascii")
    for family in ("CXXABI", "GLIBCXX"):
        numbers = re.findall(family.encode() + rb"_(\d+(?:\.\d+)+)\0", content)
        if numbers:
            newest = max(numbers, key=lambda number: tuple(map(int, number.split(b"."))))
            facts[family] = newest.decode("ascii")
    return facts


def _record_paths(content: bytes) -> list[str]:
    try:
        return [row[0] for row in csv.reader(io.StringIO(content.decode("utf-8", "replace"))) if row]
    except csv.Error:
        return []


def _tops(paths: Iterable[str]) -> list[str]:
    """Return the top-level import names among installed paths, and the top-level .pth files."""
    names = set()
    for path in paths:
        first, _, rest = path.replace("\\", "/").partition("/")
        if not rest and first.endswith(".pth"):
            names.add(first)
            continue
        if not rest:
            first = first.split(".")[0] if first.endswith((".py", ".so", ".pyd", ".pyc")) else ""
        if first.isidentifier() and first != "__pycache__":
            names.add(first)
    return sorted(names)


def list_installed(files: Mapping[str, bytes], sites: Sequence[str]) -> list[dict[str, Any]]:
    """Return the distributions in site directories, by name; the first directory with a name wins.

    :param files: path to reduced content.
    :param sites: the directories, in the order of sys.path.
    """
    found: dict[str, dict[str, Any]] = {}
    for site in sites:
        for info in sorted({path for path in map(_info, files) if path and posixpath.dirname(path) == site}):
            facts = _described(files, info)
            if facts is not None:
                found.setdefault(facts["name"], facts)
    return [found[name] for name in sorted(found)]


def _info(path: str) -> str:
    """Return the ``.dist-info`` or ``.egg-info`` whose metadata a path is; empty if it is none."""
    if not _METADATA.fullmatch(path):
        return ""
    return path if path.endswith(".egg-info") else posixpath.dirname(path)


def _described(files: Mapping[str, bytes], info: str) -> dict[str, Any] | None:
    fields = _fields(
        next(files[path] for path in (info, f"{info}/METADATA", f"{info}/PKG-INFO") if path in files)
    )
    stem = info.rpartition(".")[0]
    name = fields.get("name", [posixpath.basename(stem).split("-")[0]])[0]
    version = fields.get("version", [""])[0]
    if not name or not version:
        return None
    tops = _lines(files, f"{info}/RECORD") or _lines(files, f"{info}/installed-files.txt")
    names = [top for top in tops if not top.endswith(".pth")]
    return {
        "name": canonicalize_name(name),
        "version": version,
        "requires": fields.get("requires-dist") or _egg_requires(_lines(files, f"{info}/requires.txt")),
        "top_level": sorted(names or _lines(files, f"{info}/top_level.txt")),
        "pth": len(names) < len(tops) or f"{stem}-nspkg.pth" in files,
    }


def _lines(files: Mapping[str, bytes], path: str) -> list[str]:
    text = files.get(path, b"").decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _fields(content: bytes) -> dict[str, list[str]]:
    """Return the fields of a METADATA, each with all its values."""
    fields: dict[str, list[str]] = {}
    last: list[str] | None = None
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.strip():
            break
        if line[0] in " \t" and last:
            last[-1] += " " + line.strip()
            continue
        key, _, value = line.partition(":")
        last = fields.setdefault(key.strip().lower(), [])
        last.append(value.strip())
    return fields


def _egg_requires(lines: Iterable[str]) -> list[str]:
    """Return requires.txt of an egg-info as Requires-Dist (the conversion that importlib.metadata does)."""
    requires = []
    extra = marker = ""
    for line in lines:
        if line.startswith("[") and line.endswith("]"):
            extra, _, marker = line[1:-1].partition(":")
        elif not line.startswith("#"):
            conditions = [f"({marker})" if extra else marker] if marker else []
            conditions += [f'extra == "{extra}"'] if extra else []
            space = " " if "@" in line else ""
            requires.append(line + (f"{space}; {' and '.join(conditions)}" if conditions else ""))
    return requires


def shadowing_names(files: Mapping[str, bytes], sites: Sequence[str]) -> dict[str, str]:
    """Return the import names that a bundle before them on sys.path does not simply override.

    "namespace": a ``.pth`` file makes the module at start, and its path follows
    sys.path, but a package before it is never imported. "fixed": it is made at
    start, and its path stays. "regular": a module or package that does not extend its path: a
    namespace portion before it is never found (PEP 420).
    """
    names: dict[str, str] = {}
    inside = {site: sorted(path for path in files if path.startswith(f"{site}/")) for site in sites}
    for site, paths in inside.items():
        for path in paths:
            if path.endswith(".pth") and posixpath.dirname(path) == site:
                for name, how in _made_at_start(files, site, path):
                    names.setdefault(name, how)
    for site, paths in inside.items():
        for path in paths:
            parts = path.removeprefix(f"{site}/").split("/")
            if len(parts) == 1 and parts[0].endswith(".py"):
                name, how = parts[0].removesuffix(".py"), "regular"
            elif parts[1:] == ["__init__.py"]:
                name, how = parts[0], "extends" if files[path] else "regular"
            else:
                continue
            if name.isidentifier():
                names.setdefault(name, how)
    return {name: how for name, how in sorted(names.items()) if how != "extends"}


def _made_at_start(files: Mapping[str, bytes], site: str, pth: str) -> Iterable[tuple[str, str]]:
    for line in files[pth].decode("utf-8", "replace").splitlines():
        follows = "module_from_spec" in line
        for name in _MADE_AT_START.findall(line):
            has_init = f"{site}/{name.replace('.', '/')}/__init__.py" in files
            if follows or not has_init:
                yield name, "namespace" if follows and not has_init else "fixed"
