"""Read the requirements of a ``pyproject.toml``, its extras and dependency groups.

No build backend runs: a project with ``dynamic`` dependencies is rejected, and can be
passed as a directory instead.

Specs: PyPA "pyproject.toml", PEP 735 (dependency groups), PEP 685 (extra names).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from configparser import Error as ConfigParserError
from configparser import RawConfigParser
from typing import Any

from packaging.dependency_groups import DependencyGroupResolver
from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bundler.data.foreign_files import foreign_file
from bundler.jsonio import parse_toml
from bundler.problems import ProblemError, closest, first_line, register_urls
from bundler.requirements.mistakes import probable_requirement
from bundler.requirements.toml import toml_problem

__all__ = ["project_name", "read_project", "requires_python", "setup_cfg_python"]


LabeledRequirement = tuple[str, Requirement]
"""The table of a requirement (empty, ``[extra]`` or ``[group name]``), and the requirement."""


def read_project(
    text: str, *, extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> Iterator[LabeledRequirement | ProblemError]:
    r"""Yield the requirements and the problems of a ``pyproject.toml``.

    The order is ``[project] dependencies``, the extras, the groups, each in the given
    order. A requirement on the project itself (``all = ["name[dev]"]``) is replaced by
    the requirements of its extras. A file without ``[project]`` may contain groups.

    :param extras: names of extras to include.
    :param groups: names of dependency groups to include.

    >>> list(read_project("[project]\nname = 'x'\ndependencies = ['six']"))
    [('', <Requirement('six')>)]
    """
    try:
        document = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        yield toml_problem(text, error)
        return
    project = document.get("project")
    if isinstance(project, dict):
        yield from _from_project(project, extras)
    elif extras or not groups:
        yield _no_project(document)
    yield from _from_groups(document.get("dependency-groups", {}), groups)


def _no_project(document: Mapping[str, Any]) -> ProblemError:
    """Return the problem of a file without ``[project]``; pip builds its directory if it can."""
    tools = document.get("tool", {})
    poetry = tools.get("poetry") if isinstance(tools, dict) else None
    fact = "missing `[project]` table"
    if "build-system" in document:
        hint = "pass the project's directory (`.`) to let pip build it"
    elif isinstance(poetry, dict) and "dependencies" in poetry and (kind := foreign_file("poetry.lock")):
        fact, hint = f"{fact}: its requirements are in `[tool.poetry.dependencies]`", kind.hint() or ""
    else:
        near = closest("project", document, cutoff=0.8)
        hint = "write the requirements into a `requirements.txt`, and pass `-r requirements.txt`"
        if near is not None:
            hint = f"write `[project]` instead of `[{near}]`"
        elif "dependencies" in document:
            hint = "write `[project]` above `dependencies`"
    return ProblemError(fact, hint=hint)


def requires_python(text: str) -> str:
    """Return the `requires-python` of a ``pyproject.toml``; empty if it has none, or is malformed."""
    return _project_text(text, "requires-python")


def setup_cfg_python(text: str) -> str:
    r"""Return the `python_requires` of a ``setup.cfg``; empty if it has none, or is malformed.

    >>> setup_cfg_python("[options]\npython_requires = >=3.9")
    '>=3.9'
    """
    parser = RawConfigParser()
    try:
        parser.read_string(text)
    except ConfigParserError:
        return ""
    return parser.get("options", "python_requires", fallback="")


def project_name(text: str) -> str:
    """Return the name of the project of a ``pyproject.toml``; empty if it has none, or is malformed."""
    return _project_text(text, "name")


def _project_text(text: str, field: str) -> str:
    try:
        project = parse_toml(text).get("project", {})
    except tomllib.TOMLDecodeError:
        return ""
    return str(project.get(field, "")) if isinstance(project, dict) else ""


def _from_project(
    project: Mapping[str, Any], extras: Sequence[str]
) -> Iterator[LabeledRequirement | ProblemError]:
    dynamic = project.get("dynamic", [])
    fields = ["dependencies", "optional-dependencies"] if extras else ["dependencies"]
    for field in fields:
        if isinstance(dynamic, list) and field in dynamic:
            yield ProblemError(
                f"`{field}` is dynamic: only the build backend can compute it",
                hint="pass the project's directory (`.`) to let pip build it",
            )
            return
    near = closest("dependencies", project.keys() - {"optional-dependencies"})
    if near is not None and "dependencies" not in project:
        yield ProblemError(f"unknown `{near}` in `[project]`", hint="did you mean `dependencies`?")
    optional = project.get("optional-dependencies", {})
    if not isinstance(optional, dict):
        yield ProblemError("`project.optional-dependencies` is not a table")
        return
    tables = {"": ("project.dependencies", project.get("dependencies", []))}
    for name, values in optional.items():
        normal = canonicalize_name(name)
        if normal in tables:
            yield ProblemError(f"the extra `{name}` is defined twice")
        tables[normal] = (f"project.optional-dependencies.{name}", values)
    for name in extras:
        if canonicalize_name(name) not in tables or not name:
            yield _unknown("extra", name, tables.keys() - {""})
    yield from _expanded(canonicalize_name(str(project.get("name", ""))), tables, extras)


def _expanded(
    own: str, tables: Mapping[str, tuple[str, Any]], extras: Sequence[str]
) -> Iterator[LabeledRequirement | ProblemError]:
    """Yield the requirements of the selected tables, and of the extras they refer to.

    :param own: the normalized name of the project.
    :param tables: the label and the value of each table, by the name of its extra.
    """
    unconditional: frozenset[str] = frozenset()
    pending = [("", "", unconditional)]
    pending += [(canonicalize_name(name), f"[{name}]", unconditional) for name in extras]
    # Extras may refer to each other in a loop; each is expanded once under each set of markers.
    seen = set()
    while pending:
        step = pending.pop(0)
        name, label, conditions = step
        if step in seen or name not in tables:
            continue
        seen.add(step)
        for item in _listed(*tables[name]):
            if isinstance(item, ProblemError):
                yield item
            elif canonicalize_name(item.name) == own and not item.url:
                below = conditions | {str(item.marker)} if item.marker else conditions
                inner = [(canonicalize_name(extra), label, below) for extra in sorted(item.extras)]
                yield from (
                    _unknown("extra", extra, tables.keys() - {""})
                    for extra, _, _ in inner
                    if extra not in tables
                )
                pending = inner + pending
            else:
                yield label, _under(item, conditions)


def _listed(table: str, values: object) -> Iterator[Requirement | ProblemError]:
    if not isinstance(values, list):
        kind = "a table" if isinstance(values, dict) else "text" if isinstance(values, str) else "a value"
        texts = _requirements_of(values)
        section, _, key = table.rpartition(".")
        listed = ", ".join(f'"{text}"' if '"' not in text else f"'{text}'" for text in texts)
        hint = f"write `{key} = [{listed}]` below `[{section}]`" if texts else None
        yield ProblemError(f"`{table}` is {kind}, not a list of requirements", hint=hint)
        return
    for value in values:
        register_urls(str(value))
        try:
            yield Requirement(value)
        except InvalidRequirement as error:
            meant = probable_requirement(value)
            yield ProblemError(
                f"`{value}` in `{table}` is not a valid requirement"
                + (f": {first_line(error)}" if meant is None else ""),
                hint=f"did you mean `{meant}`?" if meant else None,
            )
        except TypeError:
            meant = next(iter(_requirements_of(value)), None)
            fact = f"an item of `{table}` is not text: `{value}`"
            yield ProblemError(fact, hint=f'write `"{meant}"`' if meant else None)


def _requirements_of(value: object) -> list[str]:
    """Return the requirements of a table of Poetry, of a table of uv's fields, or of a text."""
    if isinstance(value, str):
        texts = [item.strip() for item in re.split(r"[,\s]+(?=[A-Za-z])", value)]
    elif isinstance(value, dict) and isinstance(value.get("name"), str):
        texts = [f"{value['name']} {value.get('version', '')}"]
    elif isinstance(value, dict):
        rows = value.items()
        versions = {name: item.get("version", "") if isinstance(item, dict) else item for name, item in rows}
        texts = [f"{name} {version}" for name, version in versions.items() if name != "python"]
    else:
        return []
    meant = [probable_requirement(text.removesuffix("*")) for text in texts]
    return [text for text in meant if text] if all(meant) else []


def _under(requirement: Requirement, conditions: frozenset[str]) -> Requirement:
    """Return ``requirement`` with a marker that is true only if all ``conditions`` are."""
    if conditions:
        own = {str(requirement.marker)} if requirement.marker else set()
        requirement.marker = Marker(" and ".join(f"({text})" for text in sorted(conditions | own)))
    return requirement


def _from_groups(table: object, groups: Sequence[str]) -> Iterator[LabeledRequirement | ProblemError]:
    if not groups:
        return
    if not isinstance(table, dict):
        yield ProblemError("`dependency-groups` is not a table")
        return
    try:
        resolver = DependencyGroupResolver(table)
    except ExceptionGroup as failures:
        yield from _each(failures)
        return
    for group in groups:
        if canonicalize_name(group) not in resolver.dependency_groups:
            yield _unknown("group", group, resolver.dependency_groups)
            continue
        try:
            for requirement in resolver.resolve(group):
                yield f"[group {group}]", requirement
        except ExceptionGroup as failures:
            yield from _each(failures)


def _each(failures: ExceptionGroup[Exception]) -> Iterator[ProblemError]:
    for error in failures.exceptions:
        yield ProblemError(f"`dependency-groups` is malformed: {first_line(error)}")


def _unknown(kind: str, name: str, known: Iterable[str]) -> ProblemError:
    names = sorted(known)
    near = closest(canonicalize_name(name), names)
    return ProblemError(
        f"unknown {kind} `{name}`",
        details=(f"known   {', '.join(f'`{item}`' for item in names) or 'none'}",),
        hint=f"did you mean `--{kind} {near}`?" if near else None,
    )
