"""The public API: docs/api.md lists all of it, and all of it has docstrings and types."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from support.paths import ROOT

import bundler.azureml
from bundler.data.azureml_names import service_of

PAGE = (ROOT / "docs/api.md").read_text("utf-8")

# The imports of the two documents of Azure ML that the facade follows.
DOCUMENTED_IMPORTS = {
    ("bundler.azureml.core", "Environment"),
    ("bundler.azureml.core.conda_dependencies", "CondaDependencies"),
}


def listed() -> dict[str, set[str]]:
    """Return the names that the page lists, by module."""
    modules = {}
    for section in re.split(r"^### ", PAGE.partition("\n## Exceptions")[0], flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        modules[heading.strip("`")] = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    return modules


LISTED = listed()
EXCEPTIONS = set(re.findall(r"^- `(\w+\.\w+)`$", PAGE.partition("\n## Exceptions")[2], re.MULTILINE))


def is_private(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("."))


def public_classes() -> dict[str, type]:
    """Return the classes on the page by name; aliases count once, under their own name."""
    values = (
        getattr(import_module(module), name)
        for module, names in LISTED.items()
        for name in sorted(names)
        if not name.startswith("_")
    )
    return {value.__name__: value for value in values if isinstance(value, type)}


CLASSES = public_classes()


def members(cls: type) -> Iterator[tuple[str, Callable[..., Any], bool]]:
    """Yield the functions of a class that are ours and public: the name, the function, whether it is a property."""
    for name in dir(cls):
        if is_private(name) and name != "__init__":
            continue
        value = inspect.getattr_static(cls, name)
        if isinstance(value, (classmethod, staticmethod)):
            function: object = value.__func__
        else:
            function = getattr(value, "fget", None) or getattr(value, "func", None) or value
        if inspect.isfunction(function) and function.__module__.startswith("bundler."):
            yield name, function, function is not value and not isinstance(value, (classmethod, staticmethod))


def attributes(cls: type) -> Iterator[tuple[str, ast.AST | None]]:
    """Yield the public attributes in the body of a class and its bases, each with the statement after it."""
    for base in cls.__mro__:
        if base.__module__.startswith("bundler.") and base.__module__ != "bundler.errors":
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(tree, ast.ClassDef)
            for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
                targets: list[ast.expr] = []
                if isinstance(statement, ast.AnnAssign):
                    targets = [statement.target]
                elif isinstance(statement, ast.Assign):
                    targets = statement.targets
                for target in targets:
                    if isinstance(target, ast.Name) and not is_private(target.id):
                        yield target.id, following


# --- the list is complete -----------------------------------------------------


def test_the_page_lists_every_public_module() -> None:
    found = {module.name for module in pkgutil.walk_packages(bundler.azureml.__path__, "bundler.azureml.")}

    assert {name for name in found if not is_private(name)} | {"bundler", "bundler.azureml"} == set(LISTED)


@pytest.mark.parametrize("module", [name for name in LISTED if name != "bundler"])
def test_the_page_lists_what_the_module_exports(module: str) -> None:
    exported = set(import_module(module).__all__)
    service = {name for name in exported if service_of(module.removeprefix("bundler.azureml."), name)}

    assert sorted(LISTED[module]) == sorted(exported - service)


def test_the_package_itself_exports_its_version_alone() -> None:
    own = {name for name, value in vars(bundler).items() if not inspect.ismodule(value)}

    assert {name for name in own if not name.startswith("_")} == set()
    assert LISTED["bundler"] == {"__version__"}
    assert isinstance(bundler.__version__, str)


@pytest.mark.parametrize("module", [name for name in LISTED if name.startswith("bundler.azureml")])
def test_a_name_that_is_listed_twice_is_one_object(module: str) -> None:
    for name in LISTED[module]:
        homes = [other for other, names in LISTED.items() if name in names]
        assert len({id(getattr(import_module(home), name)) for home in homes}) == 1


def imports(source: str) -> set[tuple[str, str]]:
    """Return the imports from bundler in a program."""
    return {
        (node.module or "", alias.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bundler")
        for alias in node.names
    }


def test_what_documents_and_examples_import_is_public() -> None:
    programs = [path.read_text("utf-8") for path in (ROOT / "examples").rglob("*.py")]
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")]:
        programs += re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    found = DOCUMENTED_IMPORTS.union(*map(imports, programs))

    assert found > DOCUMENTED_IMPORTS
    assert {(module, name) for module, name in found if name not in LISTED.get(module, ())} == set()


# --- what is listed has docstrings and types ------------------------------------


@pytest.mark.parametrize("module", LISTED)
def test_modules_have_docstrings(module: str) -> None:
    assert import_module(module).__doc__


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_and_members_have_docstrings(name: str) -> None:
    cls = CLASSES[name]
    undocumented = [
        member for member, function, _ in members(cls) if member != "__init__" and not function.__doc__
    ]
    undocumented += [
        attribute
        for attribute, following in attributes(cls)
        if not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant))
    ]

    assert cls.__doc__
    assert not undocumented


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_members_have_types(name: str) -> None:
    for member, function, _ in members(CLASSES[name]):
        signature = inspect.signature(function)
        untyped = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
        ]
        assert not untyped, member
        assert signature.return_annotation is not signature.empty, member


def types_in(hint: object) -> Iterator[type]:
    """Yield the classes in a type, however deep."""
    for part in (hint, typing.get_origin(hint)):
        if isinstance(part, type):
            yield part
    for argument in typing.get_args(hint):
        yield from types_in(argument)


def exposed(cls: type) -> Iterator[tuple[str, type]]:
    """Yield each type of bundler in the members of a class, with the member."""
    hints = {(name, name): hint for name, hint in typing.get_type_hints(cls).items()}
    for name, function, is_property in members(cls):
        if hasattr(cls, "__dataclass_fields__") and name == "__init__":
            continue  # its parameters are the fields
        for parameter, hint in typing.get_type_hints(function).items():
            hints[name, name if is_property else parameter] = hint
    for (member, parameter), hint in hints.items():
        if not is_private(member.removeprefix("__init__")) and not is_private(parameter):
            for part in types_in(hint):
                if part.__module__.startswith("bundler"):
                    yield f"{cls.__name__}.{member}", part


def test_members_expose_public_types_alone() -> None:
    """A base of a public class may be exposed, since what can be seen of it is inherited."""
    public = {base for cls in CLASSES.values() for base in cls.__mro__}
    internal = {member for cls in CLASSES.values() for member, part in exposed(cls) if part not in public}

    assert internal == EXCEPTIONS
