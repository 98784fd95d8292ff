"""Stage 5, pure: the remedies of failed imports."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping

from bundler.checks.import_results import ImportResult
from bundler.data.import_names import provider_of

__all__ = ["remedy"]

_NO_MODULE = re.compile(r"No module named '([^']+)'")
# CPython, Python/ceval.c, import_from().
_NO_NAME = re.compile(
    r"cannot import name '(?P<name>[^']+)' from (?:partially initialized module )?'(?P<module>[^']+)'"
)
_NO_ATTRIBUTE = re.compile(r"module '(?P<module>[^']+)' has no attribute '(?P<name>[^']+)'")


def remedy(
    result: ImportResult,
    owner_of: Callable[[str], str],
    versions: Mapping[str, str],
    omitted: Collection[str] = (),
) -> str:
    """Return the remedy for a failed import, in one line; empty if the failure does not show one.

    :param owner_of: returns the distribution in the bundle that provides a module; empty if none does.
    :param versions: the versions of the distributions in the bundle.
    :param omitted: the modules that ``--slim`` left out.
    """
    for lost in _modules_of(result.detail):
        if lost in omitted:
            return f"`--keep {owner_of(lost.partition('.')[0])}`: `--slim` left out `{lost}`"
    if result.missing and result.declared is None:  # a library; "declared" is known of modules alone
        return f"install `{result.missing.partition(' ')[0]}` in the base image"
    if result.missing:
        top = result.missing.partition(".")[0]
        if owner := owner_of(top):  # the distribution is there, in a release without this module
            return _other_release(owner, versions, result.missing)
        name = provider_of(result.missing)
        return f"add `{name}` to your requirements" + ("" if name == top else f", it provides `{top}`")
    for pattern in (_NO_NAME, _NO_ATTRIBUTE):
        match = pattern.search(result.detail)
        if match and (owner := owner_of(match["module"])) and owner != result.distribution:
            return _other_release(owner, versions, f"{match['module']}.{match['name']}")
    return ""


def _modules_of(detail: str) -> Iterator[str]:
    """Yield the modules that an import did not find, from the text of its exception."""
    if match := _NO_MODULE.search(detail):
        yield match[1]
    if match := _NO_NAME.search(detail):
        yield f"{match['module']}.{match['name']}"


def _other_release(owner: str, versions: Mapping[str, str], name: str) -> str:
    return f"pin another release of `{owner}`: {versions[owner]} has no `{name}`"
