"""Stage 5, pure: will the shared objects of a bundle load on the target?

`checks.elf` reads one file; here is decided what its facts mean for a target, and
for a base where one is known. The list of what a wheel may need without bringing
it is auditwheel's, "lib_whitelist" of manylinux_2_17 in manylinux-policy.json.

Specs: manylinux (PEP 599 and 600), names of extension modules (PEP 3149).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bundler.checks.elf import SharedObject, is_elf, numbers, read_shared_object
from bundler.checks.findings import Finding, sorted_findings
from bundler.data.shared_libraries import MANYLINUX, MUSLLINUX, NOT_IN_SLIM
from bundler.errors import MalformedError, UsageError
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
"""Code for a GPU or for the kernel: nothing that the loader or an import would load."""

_ANY_LIBC = re.compile(
    r"ld-(?:linux|musl)[\w.-]*|ld64\.so\.\d|ld\.so\.1|libc\.so(?:\.6)?|libc\.musl-[\w.-]+", re.ASCII
)

_LIBPYTHON = re.compile(r"libpython\d[\w.]*\.so.*", re.ASCII)

# PEP 3149 and PEP 425: `x.cpython-37m-x86_64-linux-gnu.so`, `x.abi3.so`, `x.so`.
_EXTENSION = re.compile(
    r"(?P<module>[^./]+)(?:\.(?P<tag>(?:abi3|cpython-\d|cp\d|pypy\d|graalpy\d)[\w-]*))?\.so", re.ASCII
)
_ABI3T_SINCE = (3, 15)
_SYSTEM_FOLDER = re.compile(r"/(?:usr/)?lib[^/]*(?:/.*)?", re.DOTALL)
# auditwheel puts eight digits of the content's digest into a name.
_OPENMP = re.compile(r"(?P<stem>libgomp|libiomp5|libomp)(?:-(?P<digest>\w+))?\.so(?:\..*)?", re.ASCII)


def glibc_floor(objects: Iterable[SharedObject]) -> str:
    """Return the oldest glibc that all the objects load with, "2.17"; empty if none of them needs one."""
    return max((one.versions["GLIBC"] for one in objects if "GLIBC" in one.versions), key=numbers, default="")


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
    """One file that something is wrong with."""

    code: str
    distribution: str
    about: str
    """Hits of one code, distribution and subject become one finding."""
    path: str
    text: str
    """What follows the path in a message."""
    first: tuple[int, ...] = ()
    """The hit with the highest value is the one that is told."""


def check_shared_objects(  # noqa: PLR0913 - each is a fact of its own source
    objects: Iterable[tuple[str, SharedObject]],
    target: Target,
    *,
    bundled: Collection[str],
    base_libraries: Collection[str] | None,
    base_libc: str = "",
    host_libc: str = "",
    target_glibc: str | None,
    base_versions: Mapping[str, str] = {},
) -> tuple[Finding, ...]:
    """Return what keeps shared objects from being loaded on the target, or makes it doubtful.

    One finding stands for all files of a distribution with the same trouble, and
    names one of them. A file for another machine beside those for the target's
    is passed over, unless its name says that it is an extension module: some
    distributions carry one library for each machine. Only Linux is judged.

    :param objects: the normalised name of the distribution, and the object.
    :param bundled: the base names of all files in the bundle.
    :param base_libraries: the sonames that the base has; None where that is not known.
    :param base_libc: the base's glibc, "2.27", where it is known.
    :param host_libc: the glibc of this machine, which imports are tried on; less counts if a base is known.
    :param target_glibc: the glibc that the user promised to have (``--target-glibc``).
    :param base_versions: the highest GLIBCXX and CXXABI of the base's libstdc++, where they are known.
    :raises UsageError: if ``target_glibc`` is no version.
    """
    limits = _limits(target_glibc, base_libc, host_libc, base_versions)
    if not target.platform.startswith("linux_"):
        return ()
    ordered = sorted(
        (pair for pair in objects if pair[1].machine not in _DEVICES),
        key=lambda pair: (pair[0], pair[1].path),
    )
    fitting = [(name, one) for name, one in ordered if not _misfit(one, target)]
    have = {*bundled, *(one.soname for _, one in fitting if one.soname)}
    hits = [*_foreign(ordered, {name for name, _ in fitting}, target), *_other_python(fitting, target)]
    for name, one in fitting:
        hits += _too_new(name, one, limits, have)
        hits += _absent(name, one, have, base_libraries)
        hits += _searches(name, one)
    if base_libraries is not None:
        certain = list(_unloadable(fitting, hits, target))
        told = {(hit.distribution, hit.about) for hit in certain}
        hits = [one for one in hits if one.code != "E404" or (one.distribution, one.about) not in told]
        hits += certain
    return sorted_findings([*_told(hits), *_openmp(fitting)])


def _told(hits: Iterable[_Hit]) -> Iterator[Finding]:
    groups: dict[tuple[str, str, str], list[_Hit]] = defaultdict(list)
    for hit in hits:
        groups[hit.code, hit.distribution, hit.about].append(hit)
    for group in groups.values():
        hit = max(group, key=lambda one: one.first)  # of equal ones the first, and they are sorted
        more = len({one.path for one in group}) - 1
        others = f" (and {more} more file{'s' * (more > 1)})" if more else ""
        yield Finding(
            code=hit.code,
            distribution=hit.distribution,
            where=hit.path,
            message=f"`{printable(hit.path)}` {hit.text}{others}",
        )


def _misfit(one: SharedObject, target: Target) -> str:
    """Return why the loader of the target refuses an object, or an empty text."""
    wanted = target.platform.removeprefix("linux_")
    if _kind(one.machine) != _kind(wanted):
        return f"is built for {one.machine}, the target is {wanted}"
    libc = target.libc.partition(" ")[0]
    if one.libc and libc and one.libc != libc:
        return f"is built for {one.libc}, the target has {libc}"
    return ""


def _kind(machine: str) -> str:
    """Return one word for the machines that load each other's objects."""
    if re.fullmatch("i[3-6]86", machine):
        return "i686"
    return "armv7l" if re.fullmatch("armv[6-8]l", machine) else machine


def _foreign(
    objects: Iterable[tuple[str, SharedObject]], at_home: Collection[str], target: Target
) -> Iterator[_Hit]:
    for name, one in objects:
        why = _misfit(one, target)
        match = _EXTENSION.fullmatch(_base(one.path))
        if why and (name not in at_home or (match and match["tag"])):
            yield _Hit(code="E401", distribution=name, about=why, path=one.path, text=why)


def _other_python(objects: Sequence[tuple[str, SharedObject]], target: Target) -> Iterator[_Hit]:
    found = [
        (name, one.path, match) for name, one in objects if (match := _EXTENSION.fullmatch(_base(one.path)))
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
    """Return whether the target imports an extension module whose name has a tag, or none."""
    if tag is None:
        return True
    if tag.startswith("abi3t"):
        return target.release >= _ABI3T_SINCE
    if tag.startswith("abi3"):
        return not target.abi.endswith("t")
    return tag == _own_tag(target) or tag.startswith(f"{_own_tag(target)}-")


def _limits(
    target_glibc: str | None, base_libc: str, host_libc: str, base_versions: Mapping[str, str]
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return, by prefix, the highest version there is, and the words that say so."""
    if target_glibc is not None and not numbers(target_glibc):
        raise UsageError(f"`{printable(target_glibc)}` is no version of glibc", hint="--target-glibc 2.27")
    known = [(prefix, version, f"the base has {version}") for prefix, version in base_versions.items()]
    known += [("GLIBC", base_libc, f"the base has {base_libc}")]
    if not base_libc and not target_glibc:
        known += [("GLIBC", host_libc, f"this machine has {host_libc}")]
    known += [("GLIBC", target_glibc or "", f"`--target-glibc` is {target_glibc}")]
    limits: dict[str, tuple[tuple[int, ...], str]] = {}
    for prefix, version, words in known:
        if found := numbers(version):
            limits[prefix] = min(limits.get(prefix, (found, words)), (found, words))
    return limits


def _too_new(
    name: str, one: SharedObject, limits: Mapping[str, tuple[tuple[int, ...], str]], have: Collection[str]
) -> Iterator[_Hit]:
    for prefix, version in one.versions.items():
        if prefix != "GLIBC" and ("libstdc++.so.6" in have or "libstdc++.so.6" not in one.needed):
            continue  # it comes with the bundle
        limit, words = limits.get(prefix, ((), ""))
        if limit and numbers(version) > limit:
            symbol = f"{printable(one.symbol)}@" if prefix == "GLIBC" and one.symbol else ""
            yield _Hit(
                code="E403",
                distribution=name,
                about=prefix,
                path=one.path,
                text=f"needs `{symbol}{prefix}_{version}`, {words}",
                first=numbers(version),
            )


def _absent(
    name: str, one: SharedObject, have: Collection[str], base: Collection[str] | None
) -> Iterator[_Hit]:
    for library in one.needed:
        if not library.startswith("/") and _base(library) in have:
            continue  # an absolute path is looked for there and nowhere else
        if why := _absence(library, base, is_musl=one.libc == "musl"):
            text = f"needs `{printable(library)}`: {why}"
            yield _Hit(code="E404", distribution=name, about=library, path=one.path, text=text)


def _absence(library: str, base: Collection[str] | None, *, is_musl: bool) -> str | None:
    """Return why a library that is not in the bundle may not be on the target, or None."""
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
    objects: Sequence[tuple[str, SharedObject]], hits: Iterable[_Hit], target: Target
) -> Iterator[_Hit]:
    """Yield the extension modules that the base's loader will refuse, for what they or their libraries lack.

    A library that only a plugin needs, one that a program opens by itself, is no such case.
    """
    lacks: dict[str, list[str]] = defaultdict(list)
    for hit in hits:
        if hit.code == "E404":
            lacks[hit.path].append(hit.about)
    found = {name: one for _, one in objects for name in (_base(one.path), one.soname) if name}
    for owner, one in objects:
        match = _EXTENSION.fullmatch(_base(one.path))
        if match is None or match["module"].startswith("lib") or not _imports(match["tag"], target):
            continue
        seen, waiting = {one.path}, [one]
        while waiting:
            part = waiting.pop(0)
            through = "" if part is one else f" through `{printable(_base(part.path))}`"
            for library in lacks[part.path]:
                text = f"cannot be imported: it needs `{printable(library)}`{through}, which the base lacks"
                yield _Hit(code="E408", distribution=owner, about=library, path=one.path, text=text)
            below = [found[name] for name in map(_base, part.needed) if name in found]
            waiting += [other for other in below if other.path not in seen]
            seen.update(other.path for other in below)


def _searches(name: str, one: SharedObject) -> Iterator[_Hit]:
    for folder in one.rpath:
        if (
            folder
            and not folder.startswith(("$ORIGIN", "${ORIGIN}"))
            and not _SYSTEM_FOLDER.fullmatch(folder)
        ):
            text = f"searches `{printable(folder)}`"
            yield _Hit(code="E405", distribution=name, about=folder, path=one.path, text=text)


def _openmp(objects: Iterable[tuple[str, SharedObject]]) -> Iterator[Finding]:
    """Yield one finding if the bundle brings two OpenMP runtimes, or two builds of one."""
    runtimes: dict[tuple[str, str], tuple[str, set[str]]] = {}
    for name, one in objects:
        if match := _OPENMP.fullmatch(_base(one.path)):
            key = match["stem"], match["digest"] or ""
            runtimes.setdefault(key, (_base(one.path), set()))[1].add(name)
    if len(runtimes) > 1:
        told = [
            f"`{printable(file)}` of {_and(sorted(names))}" for _, (file, names) in sorted(runtimes.items())
        ]
        yield Finding(code="E406", message=f"the bundle brings {_and(told, quote='')}")


def _and(names: Sequence[str], quote: str = "`") -> str:
    return " and ".join(f"{quote}{name}{quote}" for name in names)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
