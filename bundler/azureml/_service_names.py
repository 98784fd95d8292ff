"""Facade: the names of the SDK that need the service of Azure ML exist, and fail when they are used.

A program can import them and annotate with them; a call, or an attribute of such a name, raises
`ServiceError`, whose message names the offline alternative. The names are data
(`bundler.data.azureml_names`).
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from bundler.azureml.exceptions import ServiceError
from bundler.data.azureml_names import (
    AZUREML_VERSION,
    ServiceNames,
    constants_of,
    is_module,
    members_of,
    modules_of_names,
    packages,
    service_of,
    service_of_member,
    works_in,
)
from bundler.errors import BundlerError, UsageError
from bundler.problems import closest

__all__ = [
    "NeedsService",
    "ServiceMembers",
    "ServiceModules",
    "add_modules",
    "check_parameters",
    "find_name",
    "missing_member",
]

_ROOT = __name__.rpartition(".")[0]


class NeedsService(type):
    """The class of the names that need the service."""

    _service: ServiceNames

    def __call__(cls, *_args: Any, **_values: Any) -> Any:
        """Raise the error of the name.

        :raises ServiceError: always.
        """
        raise ServiceError(cls.__name__, cls._service.does, cls._service.offline)

    def __getattr__(cls, name: str) -> Any:
        """Raise the error of the name, unless Python itself asks for the attribute.

        :raises ServiceError: for a name of the SDK.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        raise ServiceError(f"{cls.__name__}.{name}", cls._service.does, cls._service.offline)


def find_name(module: str, name: str) -> Any:
    """Return a name of a module that has no definition in it.

    :param module: the full name of the module.
    :raises AttributeError: if the SDK has no such name in it.
    """
    short = module.removeprefix(f"{_ROOT}.")
    home = works_in(short, name)
    if home is not None:
        return getattr(import_module(f"{_ROOT}.{home[0]}"), home[1])
    constants = {**constants_of(short), "VERSION": AZUREML_VERSION, "__version__": AZUREML_VERSION}
    if name in constants:
        return constants[name]
    service = service_of(short, name)
    if not name.startswith("__") and service is not None:
        return _placeholder(module, name)
    if name.endswith("Exception") and short in modules_of_names():
        return BundlerError
    near = closest(name, modules_of_names().get(short, ()))
    hint = f"; did you mean `{near}`?" if near else ""
    raise AttributeError(f"module `{module}` has no attribute `{name}`{hint}")


@cache
def _placeholder(module: str, name: str) -> type:
    service = service_of(module.removeprefix(f"{_ROOT}."), name)
    return NeedsService(name, (), {"__module__": module, "_service": service})


class ServiceModules(MetaPathFinder, Loader):
    """Find the modules of the table that do not exist as files; ``sys.meta_path`` asks it last."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the table, or None."""
        del path, target
        short = fullname.removeprefix(f"{_ROOT}.")
        if short == fullname:
            return None
        if is_module(short):
            return ModuleSpec(fullname, self, is_package=True)
        package = short.partition(".")[0]
        if package in packages():
            return None
        near = closest(package, packages())
        raise ModuleNotFoundError(
            f"`azureml.{package}` is not a package of the SDK, "
            + (
                f"did you mean `{near}`?"
                if near
                else f"import it from its own distribution, as `azureml.{short}`"
            ),
            name=fullname,
        )

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python create the module."""
        del spec

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its names."""
        module.__doc__ = "Facade: names of azureml, of which most need the service of Azure ML."
        module.__getattr__ = partial(find_name, module.__name__)  # type: ignore[method-assign]
        module.__dict__["__all__"] = modules_of_names().get(module.__name__.removeprefix(f"{_ROOT}."), ())


def add_modules() -> None:
    """Make the modules of the table importable; a second call changes nothing."""
    if not any(isinstance(finder, ServiceModules) for finder in sys.meta_path):
        sys.meta_path.append(ServiceModules())


class ServiceMembers(type):
    """The metaclass of classes that have members which need the service."""

    def __getattr__(cls, name: str) -> Any:
        """Raise the error of a missing member of the class.

        :raises ServiceError: if the class of the original has it.
        :raises AttributeError: if not.
        """
        raise missing_member(cls, name)


def missing_member(cls: type, name: str) -> Exception:
    """Return the error for a member that a class here has not.

    It is a `ServiceError` if the class of the original has it, else an ``AttributeError``.
    """
    for base in cls.__mro__:
        service = service_of_member(base.__name__, name)
        if service is not None:
            return ServiceError(f"{cls.__name__}.{name}", service.does, service.offline)
    known = {member for base in cls.__mro__ for member in (*vars(base), *members_of(base.__name__))}
    near = None if name.startswith("_") else closest(name, sorted(known))
    return AttributeError(
        f"`{cls.__name__}` has no attribute `{name}`" + (f"; did you mean `{near}`?" if near else "")
    )


def check_parameters(method: str, names: Iterable[str], known: Collection[str]) -> None:
    """Check that a method has parameters of these names.

    :raises UsageError: if one is not known; the hint has the most similar one.
    """
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        near = closest(unknown, known)
        raise UsageError(
            f"`{method}` has no parameter `{unknown}`", hint=f"did you mean `{near}`?" if near else None
        )
