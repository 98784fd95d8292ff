"""Stage 5, pure: will the shared objects of a bundle load on the target?

`checks.elf` reads one file; this module compares its facts with the target, and with a base
if one is known. The libraries that a wheel may need without containing them are those of
auditwheel: "lib_whitelist" of manylinux_2_17 in manylinux-policy.json.

Specs: manylinux (PEP 599 and 600), names of extension modules (PEP 3149), ld.so(8).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bundler.checks.elf import SharedObject, is_elf, numbers, read_shared_object
from bundler.checks.findings import Finding, sorted_findings
from bundler.data.shared_libraries import MANYLINUX, MUSLLINUX, NOT_IN_SLIM
from bundler.errors import MalformedError
from bundler.paths import printable
from bundler.target.target import Target

__all__ = [
    "SharedObject",
    "check_shared_objects",
    "damaged",
    "glibc_floor",
    "is_elf",
    "read_shared_object",
]

_DEVICES = frozenset({"EM_AMDGPU", "EM_BPF", "EM_CUDA"})
"""Machines of code for a GPU or the kernel, which neither the dynamic loader nor an import loads."""

_ANY_LIBC = re.compile(
    r"ld-(?:linux|musl)[\w.-]*|ld64\.so\.\d|ld\.so\.1|libc\.so(?:\.6)?|libc\.musl-[\w.-]+", re.ASCII
)

_LIBPYTHON = re.compile(r"libpython\d[\w.]*\.so.*", re.ASCII)

# PEP 3149 and PEP 425: `x.cpython-37m-x86_64-linux-gnu.so`, `x.abi3.so`, `x.so`.
_EXTENSION = re.compile(
    r"(?P<module>[^./]+)(?:\.(?P<tag>(?:abi3|cpython-\d|cp\d|pypy\d|graalpy\d)[\w-]*))?\.so", re.ASCII
)
_ABI3T_SINCE = (3, 15)
"""PEP 803: the stable ABI of free-threaded builds, which all builds of this version load."""
# The default directories of ld.so(8), and those below them.
_SYSTEM_FOLDER = re.compile(r"/(?:usr/)?lib[^/]*(?:/.*)?", re.DOTALL)
# auditwheel puts eight digits of the content's digest into a name.
_OPENMP = re.compile(r"(?P<stem>libgomp|libiomp5|libomp)(?:-(?P<digest>\w+))?\.so(?:\..*)?", re.ASCII)


def glibc_floor(objects: Iterable[SharedObject]) -> str:
    """Return the oldest glibc that loads all the objects, "2.17"; empty if none of them needs glibc."""
    return max(
        (shared.versions["GLIBC"] for shared in objects if "GLIBC" in shared.versions),
        key=numbers,
        default="",
    )


def damaged(distribution: str, path: str, error: MalformedError) -> Finding:
    """Return the finding for a file that `read_shared_object` refused."""
    return Finding(
        code="E407",
        distribution=distribution,
        where=path,
        message=": ".join([error.message, *(line.removeprefix("found").strip() for line in error.evidence)]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hit:
    """One fault of one file."""

    code: str
    distribution: str
    about: str
    """Hits of one code, distribution and subject become one finding."""
    path: str
    text: str
    """The message after the path."""
    first: tuple[int, ...] = ()
    """A finding names the hit with the highest value."""


def check_shared_objects(  # noqa: PLR0913 - each is a fact of its own source
    objects: Iterable[tuple[str, SharedObject]],
    target: Target,
    *,
    bundled: Collection[str],
    base_libraries: Collection[str] | None,
    base_versions: Mapping[str, str] = {},
    built_here: Collection[str] = (),
    loaded: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Return the faults of shared objects that prevent their loading on the target, or may do so.

    One finding covers all files of a distribution with the same fault, and names one of them.
    Some distributions contain a library for each machine: a file for another machine is
    ignored if the distribution has one for the target's too, unless its name is that of an
    extension module. Only Linux targets are checked.

    :param objects: the normalized name of the distribution, and the object.
    :param bundled: the base names of all files in the bundle.
    :param base_libraries: the sonames of the base's libraries; None if they are not known.
    :param base_versions: the highest GLIBCXX and CXXABI of the base's libstdc++, if known.
    :param built_here: the distributions that were built from source on this machine.
    :param loaded: the paths of the objects that a needed import maps, relative to the bundle's root.
    """
    limits = _limits(target, base_versions)
    if not target.platform.startswith("linux_"):
        return ()
    ordered = sorted(
        (pair for pair in objects if pair[1].machine not in _DEVICES),
        key=lambda pair: (pair[0], pair[1].path),
    )
    fitting = [(name, shared) for name, shared in ordered if not _misfit(shared, target)]
    have = {*bundled, *(shared.soname for _, shared in fitting if shared.soname)}
    hits = [*_foreign(ordered, {name for name, _ in fitting}, target), *_other_python(fitting, target)]
    for name, shared in fitting:
        where = f"; it was built here, with {target.libc}" if name in built_here else ""
        hits += [replace(hit, text=hit.text + where) for hit in _too_new(name, shared, limits, have)]
        hits += _absent(name, shared, have, base_libraries)
        hits += _searches(name, shared)
    if base_libraries is not None:
        certain = list(_unloadable(fitting, hits, loaded))
        reported = {(hit.distribution, hit.about) for hit in certain}
        # E408 names the same library with its consequence: E404 for it would only repeat that.
        hits = [hit for hit in hits if hit.code != "E404" or (hit.distribution, hit.about) not in reported]
        hits += certain
    return sorted_findings([*_grouped(hits), *_openmp(fitting, have)])


def _grouped(hits: Iterable[_Hit]) -> Iterator[Finding]:
    """Yield one finding for all hits of one code, distribution and subject."""
    groups: dict[tuple[str, str, str], list[_Hit]] = defaultdict(list)
    for hit in hits:
        groups[hit.code, hit.distribution, hit.about].append(hit)
    for group in groups.values():
        hit = max(group, key=lambda hit: hit.first)  # of equal ones the first in the order of paths
        more = len({hit.path for hit in group}) - 1
        others = ""
        if more:
            others = f" (and {more} more file{'' if more == 1 else 's'})"
        yield Finding(
            code=hit.code,
            distribution=hit.distribution,
            where=hit.path,
            message=f"`{printable(hit.path)}` {hit.text}{others}",
        )


def _misfit(shared: SharedObject, target: Target) -> str:
    """Return why the dynamic loader of the target refuses an object; empty if it does not."""
    wanted = target.platform.removeprefix("linux_")
    if _kind(shared.machine) != _kind(wanted):
        return f"is built for {shared.machine}, the target is {wanted}"
    libc = target.libc.partition(" ")[0]
    if shared.libc and libc and shared.libc != libc:
        return f"is built for {shared.libc}, the target has {libc}"
    return ""


def _kind(machine: str) -> str:
    """Return the same name for machines that load each other's objects: i386 to i686, armv6l to armv8l."""
    if re.fullmatch("i[3-6]86", machine):
        return "i686"
    return "armv7l" if re.fullmatch("armv[6-8]l", machine) else machine


def _foreign(
    objects: Iterable[tuple[str, SharedObject]], at_home: Collection[str], target: Target
) -> Iterator[_Hit]:
    """Yield E401: objects for another machine or C library.

    :param at_home: the distributions that have an object for the target as well.
    """
    for name, shared in objects:
        why = _misfit(shared, target)
        match = _EXTENSION.fullmatch(_base(shared.path))
        if why and (name not in at_home or (match and match["tag"])):
            yield _Hit(code="E401", distribution=name, about=why, path=shared.path, text=why)


def _other_python(objects: Sequence[tuple[str, SharedObject]], target: Target) -> Iterator[_Hit]:
    """Yield E402: extension modules of which no file has a name that the target imports.

    A distribution may contain one module for several Pythons; one that fits is enough.
    """
    found = [
        (name, shared.path, match)
        for name, shared in objects
        if (match := _EXTENSION.fullmatch(_base(shared.path)))
    ]
    imported = {
        (_folder(path), match["module"]) for _, path, match in found if _imports(match["tag"], target)
    }
    for name, path, match in found:
        if (_folder(path), match["module"]) not in imported:
            text = f"is named for `{match['tag']}`, the target imports `{_own_tag(target)}`"
            yield _Hit(code="E402", distribution=name, about=match["tag"], path=path, text=text)


def _own_tag(target: Target) -> str:
    return f"cpython-{target.abi.removeprefix('cp')}"


def _imports(tag: str | None, target: Target) -> bool:
    """Return whether the target imports an extension module with this tag (PEP 3149) in its file name."""
    if tag is None:
        return True
    if tag.startswith("abi3t"):
        return target.release >= _ABI3T_SINCE
    if tag.startswith("abi3"):
        return not target.abi.endswith("t")
    return tag == _own_tag(target) or tag.startswith(f"{_own_tag(target)}-")


def _limits(target: Target, base_versions: Mapping[str, str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the highest version that is available on the target, by prefix, with its source in words."""
    known = [(prefix, version, f"the base has {version}") for prefix, version in base_versions.items()]
    libc, _, version = target.libc.partition(" ")
    if target.glibc is not None:
        known.append(("GLIBC", target.glibc.version, target.glibc.source))
    elif libc == "glibc":
        known.append(("GLIBC", version, f"this machine has {version}"))
    limits: dict[str, tuple[tuple[int, ...], str]] = {}
    for prefix, version, words in known:
        if found := numbers(version):
            limits[prefix] = min(limits.get(prefix, (found, words)), (found, words))
    return limits


def _too_new(
    name: str, shared: SharedObject, limits: Mapping[str, tuple[tuple[int, ...], str]], have: Collection[str]
) -> Iterator[_Hit]:
    """Yield E403: symbol versions above those of the target.

    A library defines its symbol versions cumulatively (LSB core, "Symbol Versioning"): glibc 2.27
    has all of GLIBC_2.0 to GLIBC_2.27, so comparing the highest one that an object needs is enough.
    """
    for prefix, version in shared.versions.items():
        if prefix != "GLIBC" and ("libstdc++.so.6" in have or "libstdc++.so.6" not in shared.needed):
            continue  # GLIBCXX and CXXABI are of the bundle's libstdc++, or of none that it loads
        limit, words = limits.get(prefix, ((), ""))
        if limit and numbers(version) > limit:
            symbol = f"{printable(shared.symbol)}@" if prefix == "GLIBC" and shared.symbol else ""
            yield _Hit(
                code="E403",
                distribution=name,
                about=prefix,
                path=shared.path,
                text=f"needs `{symbol}{prefix}_{version}`, {words}",
                first=numbers(version),
            )


def _absent(
    name: str, shared: SharedObject, have: Collection[str], base: Collection[str] | None
) -> Iterator[_Hit]:
    """Yield E404: needed libraries that may be missing on the target.

    :param have: the base names and sonames of the bundle.
    """
    for library in shared.needed:
        # ld.so(8): a name with a slash is loaded from that path alone, any other is searched for.
        if not library.startswith("/") and _base(library) in have:
            continue
        if why := _absence(library, base, is_musl=shared.libc == "musl"):
            text = f"needs `{printable(library)}`: {why}"
            yield _Hit(code="E404", distribution=name, about=library, path=shared.path, text=text)


def _absence(library: str, base: Collection[str] | None, *, is_musl: bool) -> str | None:
    """Return why a library that the bundle lacks may be missing on the target, or None."""
    if _ANY_LIBC.fullmatch(library) or (base is not None and library in base):
        return None
    if _LIBPYTHON.fullmatch(library):
        return "an extension must not link to libpython"
    policy, allowed = ("musllinux", MUSLLINUX) if is_musl else ("manylinux", MANYLINUX)
    if library not in allowed:
        nor = "" if base is None else ", nor in the base"
        return f"not in the bundle, not on the {policy} list{nor}"
    if base is not None:
        return f"on the {policy} list, but the base lacks it"
    return f"on the {policy} list, but absent from slim images" if NOT_IN_SLIM.fullmatch(library) else None


def _unloadable(
    objects: Sequence[tuple[str, SharedObject]], hits: Iterable[_Hit], loaded: Collection[str]
) -> Iterator[_Hit]:
    """Yield E408: the loaded objects that the base's loader refuses, since a library is missing.

    A library is missing for an object if the object, or a library of the bundle that it needs
    directly or indirectly, needs it: the loader maps the closure of DT_NEEDED before ``dlopen``
    returns, and fails as a whole. Which objects are loaded is not guessed from their names: for
    those that no needed import maps, such as plug-ins, the warning E404 remains.
    """
    # ld.so(8) searches DT_RPATH (without DT_RUNPATH), LD_LIBRARY_PATH, DT_RUNPATH, the cache of
    # ldconfig, and the default directories, in this order, and matches a name that is already
    # loaded by its soname before any of them. Here a name counts as present wherever in the bundle
    # it is: which directory an RPATH reaches depends on the mount, and auditwheel's wheels preload
    # libraries by path, so that the soname decides. This errs on the side of silence, as an error
    # must be certain.
    lacks: dict[str, list[str]] = defaultdict(list)
    for hit in hits:
        if hit.code == "E404":
            lacks[hit.path].append(hit.about)
    by_name = {name: shared for _, shared in objects for name in (_base(shared.path), shared.soname) if name}
    for owner, shared in objects:
        if shared.path not in loaded:
            continue
        # Breadth first over DT_NEEDED, the loader's own order, so that the path named is the shortest.
        seen, waiting = {shared.path}, [shared]
        while waiting:
            part = waiting.pop(0)
            through = "" if part is shared else f" through `{printable(_base(part.path))}`"
            for library in lacks[part.path]:
                text = (
                    f"is loaded by an import: it needs `{printable(library)}`{through}, which the base lacks"
                )
                # The object that leads to the one with the need says more than that one itself.
                first = (len(through),)
                yield _Hit(
                    code="E408", distribution=owner, about=library, path=shared.path, text=text, first=first
                )
            below = [by_name[name] for name in map(_base, part.needed) if name in by_name]
            waiting += [other for other in below if other.path not in seen]
            seen.update(other.path for other in below)


def _searches(name: str, shared: SharedObject) -> Iterator[_Hit]:
    """Yield E405: entries of DT_RUNPATH or DT_RPATH that name a directory of the build machine.

    A relative entry (``Pillow.libs``) names none: the loader starts it at the working directory.
    """
    for folder in shared.rpath:
        if folder.startswith("/") and not _SYSTEM_FOLDER.fullmatch(folder):
            text = f"searches `{printable(folder)}`"
            yield _Hit(code="E405", distribution=name, about=folder, path=shared.path, text=text)


def _openmp(objects: Sequence[tuple[str, SharedObject]], have: Collection[str]) -> Iterator[Finding]:
    """Yield one finding if the bundle uses two OpenMP runtimes, or two builds of one.

    :param have: the base names and sonames of the bundle; a runtime that is needed, but not one
        of them, is the system's.
    """
    bundled: dict[tuple[str, str], tuple[str, set[str]]] = {}
    system: dict[str, set[str]] = defaultdict(set)
    for name, shared in objects:
        if match := _OPENMP.fullmatch(_base(shared.path)):
            key = match["stem"], match["digest"] or ""
            bundled.setdefault(key, (_base(shared.path), set()))[1].add(name)
        for library in shared.needed:
            if library not in have and _OPENMP.fullmatch(library):
                system[library].add(name)
    used = [f"`{printable(file)}` of {_and(sorted(names))}" for _, (file, names) in sorted(bundled.items())]
    used += [f"the system's `{file}` through {_and(sorted(names))}" for file, names in sorted(system.items())]
    if len(used) > 1:
        yield Finding(code="E406", message=f"the bundle uses {_and(used, quote='')}")


def _and(names: Sequence[str], quote: str = "`") -> str:
    return " and ".join(f"{quote}{name}{quote}" for name in names)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
