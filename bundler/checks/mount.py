"""Stage 5, pure: the hazards of a mount on PYTHONPATH, found without running anything.

A directory on PYTHONPATH comes before the standard library and the base's own packages,
its ``.pth`` files are not processed, and its ``bin`` is not on PATH. Azure ML's images put
the directory of AZUREML_EXTRA_PYTHON_LIB_PATH there.

Source: CPython's docs of ``site`` (``.pth`` files are processed in site directories only)
and of ``sys.path``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from packaging.utils import NormalizedName

from bundler.checks.findings import Finding
from bundler.checks.modules import DistributionFacts, top_level_modules
from bundler.data.pth_lines import is_known
from bundler.paths import printable
from bundler.text import listing

__all__ = ["mount_hazards", "pth_files", "pth_modules", "stdlib_twins", "unknown_pth"]

_LISTED = 5
_SHOWN_CODE = 120

# Modules of the standard library that no program needs: its tests and games.
_NEVER_NEEDED = frozenset({"test", "idlelib", "turtledemo", "antigravity", "this"})

# The complete module of a later Python, on which the standard library works: releases of azureml-core of
# 2021 and 2022 require it, and import with it (1.40 and 1.45, seen on Python 3.7 on 2026-11-26).
_COMPLETE = frozenset({"configparser"})

_AT_START = frozenset({"sitecustomize", "usercustomize"})


def stdlib_twins(
    distributions: Iterable[DistributionFacts], stdlib: Collection[str]
) -> Mapping[NormalizedName, tuple[str, ...]]:
    """Return the modules that hide one of the standard library, for each distribution with any."""
    found = {}
    for facts in distributions:
        # A namespace package hides no regular module (PEP 420); its modules have a dot in their names.
        tops = set(top_level_modules(facts.files))
        twins = tuple(sorted(tops & set(stdlib) - _NEVER_NEEDED))
        if twins:
            found[facts.name] = twins
    return found


def pth_files(facts: DistributionFacts) -> tuple[str, ...]:
    """Return the ``.pth`` files that ``site`` processes at every start of a virtual environment."""
    return tuple(sorted(path for path in facts.files if path.endswith(".pth") and "/" not in path))


def pth_modules(facts: DistributionFacts, folders: Sequence[str]) -> tuple[str, ...]:
    """Return the modules that can be imported only because a ``.pth`` file adds their directory.

    :param folders: the directories it adds, relative to site-packages.
    """
    found: set[str] = set()
    for folder in folders:
        prefix = f"{folder.strip('/')}/"
        inside = (path[len(prefix) :] for path in facts.files if path.startswith(prefix))
        found.update(top_level_modules(inside))
    return tuple(sorted(found - set(top_level_modules(facts.files))))


def unknown_pth(name: NormalizedName, pth_code: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the ``.pth`` files of a distribution with code that is not known, sorted."""
    return tuple(sorted(path for path, lines in pth_code.items() if not is_known(name, lines)))


def mount_hazards(
    distributions: Sequence[DistributionFacts],
    *,
    stdlib: Collection[str],
    scripts: Mapping[NormalizedName, Sequence[str]],
    pth_code: Mapping[NormalizedName, Mapping[str, Sequence[str]]],
    failed: Collection[NormalizedName],
) -> Iterator[Finding]:
    """Yield the parts of the bundle that do harm or have no effect on a mount.

    The codes are M101, M103, M104 and M106 to M109.

    :param stdlib: the top-level modules of the target's standard library.
    :param scripts: the console scripts of each distribution.
    :param pth_code: the lines of code in the ``.pth`` files of each distribution, by file.
    :param failed: the distributions with a module that does not import from the mount.
    """
    for name, twins in stdlib_twins(distributions, stdlib).items():
        for module in twins:
            yield Finding(
                code="M109" if name in _COMPLETE and name not in failed else "M101",
                message=f"`{name}` contains `{module}`, which hides the module of the standard library",
                distribution=name,
                where=module,
            )
    for facts in distributions:
        for module in sorted(_AT_START.intersection(top_level_modules(facts.files))):
            message = f"`{facts.name}` contains `{module}`, which runs at every start of Python"
            yield Finding(code="M107", message=message, distribution=facts.name, where=module)
        yield from _unknown_code(facts.name, pth_code.get(facts.name, {}))
        files = pth_files(facts)
        if not files:
            continue
        listed = ", ".join(f"`{path}`" for path in files)
        if not top_level_modules(facts.files):
            message = f"`{facts.name}` contains no modules, only {listed}, which a mount does not process"
            yield Finding(code="M104", message=message, distribution=facts.name, where=files[0])
        elif facts.name not in failed:
            message = f"{listed} of `{facts.name}` is not processed on a mount; its modules import without it"
            yield Finding(code="M103", message=message, distribution=facts.name, where=files[0])
    for facts in distributions:
        if names := scripts.get(facts.name):
            listed = listing((f"`{name}`" for name in names), _LISTED)
            message = f"{listed} of `{facts.name}`: `bin` is not on PATH on a mount"
            yield Finding(code="M106", message=message, distribution=facts.name)


def _unknown_code(name: NormalizedName, pth_code: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    for path in unknown_pth(name, pth_code):
        line = next(line for line in pth_code[path] if not is_known(name, [line]))
        shown = printable(line if len(line) <= _SHOWN_CODE else f"{line[:_SHOWN_CODE]}...")
        message = f"`{path}` of `{name}` runs code at every start of Python, but not on a mount: `{shown}`"
        yield Finding(code="M108", message=message, distribution=name, where=path)
