"""Facade: sections of checked settings, read from JSON and written as JSON.

A section is a class whose attributes are declared with `setting`, in the order of the file:
a name for programs (``user_managed_dependencies``), a key for the file
(``userManagedDependencies``) and a check. An assignment to any other attribute is an error,
since a misspelt name would be lost silently. Unknown keys of a file are kept and written again.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from bundler.azureml.exceptions import UnknownAttributeError
from bundler.errors import InputError, UsageError
from bundler.paths import printable
from bundler.problems import ProblemError, closest
from bundler.redaction import redact

__all__ = [
    "Section",
    "boolean",
    "instance_of",
    "json_value",
    "masked",
    "nested",
    "optional",
    "setting",
    "string",
    "strings",
    "wrong_type",
]

T = TypeVar("T")
SettingCheck = Callable[[object], T]

_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class _Setting:
    """The declaration of one setting; see `setting`."""

    key: str
    check: SettingCheck[Any]
    new: Callable[[], Any]
    parse: Callable[[object, str], Any] | None
    default_in_file: bool

    def read(self, plain: Mapping[str, Any], where: str) -> Any:
        """Return the value that a file sets; ``where`` is the path of the setting in it."""
        if self.parse is not None:
            return self.parse(plain.get(self.key), where)
        if self.key not in plain and self.default_in_file:
            return self.new()
        return _checked_in_file(self.check, plain.get(self.key), where)


def setting(
    key: str,
    check: SettingCheck[Any],
    *,
    default: Any = None,
    factory: Callable[[], Any] | None = None,
    parse: Callable[[object, str], Any] | None = None,
    default_in_file: bool = True,
) -> Any:
    """Declare a setting, as ``dataclasses.field`` declares a field; the annotation is its type.

    :param key: its key in the file.
    :param check: returns an assigned value, converted if necessary, or raises `ProblemError`.
    :param default: the immutable value in a new section; ``factory`` makes a mutable one.
    :param parse: replaces ``check`` for values of a file; its arguments are the value, None if
        the key is missing, and the path of the setting.
    :param default_in_file: a file without the key gets the default; otherwise ``check(None)``.
    """
    return _Setting(key, check, factory or (lambda: default), parse, default_in_file)


def nested(key: str, cls: type[Section]) -> Any:
    """Declare a setting whose value is a section."""
    return setting(key, instance_of(cls), factory=cls, parse=cls.from_plain)


class Section:
    """An object whose only attributes are its settings, and properties that have a setter."""

    _settings: ClassVar[Mapping[str, _Setting]] = {}
    _properties: ClassVar[frozenset[str]] = frozenset()
    _unknown: dict[str, Any]

    def __init_subclass__(cls) -> None:
        """Collect the declarations of a class; its instances have the values."""
        super().__init_subclass__()
        own = {name: value for name, value in vars(cls).items() if isinstance(value, _Setting)}
        for name in own:
            delattr(cls, name)
        properties = {name for name, value in vars(cls).items() if isinstance(value, property) and value.fset}
        cls._settings = {**cls._settings, **own}
        cls._properties = cls._properties | properties

    def __init__(self) -> None:
        # The values are put into `__dict__`, past the checks of `__setattr__`.
        self.__dict__.update({name: declared.new() for name, declared in self._settings.items()}, _unknown={})

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._settings:
            self.__dict__[name] = self._checked(name, value)
        elif name in self._properties:
            super().__setattr__(name, value)
        else:
            public = [known for known in (*self._settings, *self._properties) if not known.startswith("_")]
            near = closest(name, public)
            raise UnknownAttributeError(
                f"`{type(self).__name__}` has no attribute `{printable(name)}`",
                hint=f"did you mean `{near}`?" if near else None,
            )

    def _checked(self, name: str, value: object) -> Any:
        try:
            return self._settings[name].check(value)
        except ProblemError as refused:
            where = f"{type(self).__name__}.{name}"
            raise UsageError(
                f"`{where}`: {refused.fact}", evidence=refused.details, hint=refused.hint
            ) from refused

    @classmethod
    def from_plain(cls, plain: object, where: str) -> Self:
        """Return the section that a file describes.

        :param plain: the JSON object, or None if the file has no such section.
        :param where: the path of the section in the file, for errors; empty for the whole file.
        :raises InputError: if a value fails its check; the message has the path of the value.
        """
        plain = {} if plain is None else plain
        if not isinstance(plain, Mapping):
            raise InputError(f"`{where}` is not a JSON object")
        section = cls.__new__(cls)
        prefix = f"{where}." if where else ""
        for name, declared in cls._settings.items():
            section.__dict__[name] = declared.read(plain, f"{prefix}{declared.key}")
        known = {declared.key for declared in cls._settings.values()}
        section.__dict__["_unknown"] = {
            str(key): _checked_in_file(json_value, value, f"{prefix}{key}")
            for key, value in plain.items()
            if key not in known
        }
        return section

    def to_plain(self) -> dict[str, Any]:
        """Return the section as JSON values in the order of the file, secrets included.

        :raises UsageError: if an item that was added to a list or dictionary fails the check.
        """
        plain = {}
        for name, declared in self._settings.items():
            value = self.__dict__[name]
            if isinstance(value, (dict, list)) and declared.parse is None:
                value = self._checked(name, value)  # items may have been added since the assignment
            plain[declared.key] = value.to_plain() if hasattr(value, "to_plain") else copy.deepcopy(value)
        return plain | copy.deepcopy(self._unknown)

    def __repr__(self) -> str:
        """Show the settings as JSON, without secrets."""
        return redact(json.dumps(masked(self.to_plain()), indent=4, sort_keys=True))


# The keys of secrets at any depth of a definition, and the objects whose keys are the user's own names.
_SECRETS = frozenset({"password", "authToken"})
_NAMED_BY_USERS = frozenset({"environmentVariables", "condaDependencies"})


def masked(plain: Any, mask: str | None = "****") -> Any:
    """Return JSON values with ``mask`` in place of every secret that is set."""
    if isinstance(plain, list):
        return [masked(item, mask) for item in plain]
    if not isinstance(plain, dict):
        return plain
    return {
        key: value if key in _NAMED_BY_USERS else mask if key in _SECRETS and value else masked(value, mask)
        for key, value in plain.items()
    }


def wrong_type(expected: str, value: object) -> ProblemError:
    """Return the problem for a value of another type; the value is shown without secrets, cut off."""
    shown = printable(redact(repr(value)))
    shown = f"{shown[:_MAX_SHOWN]}..." if len(shown) > _MAX_SHOWN else shown
    return ProblemError(f"expected {expected}", details=(f"found   {shown} ({type(value).__name__})",))


def boolean(value: object) -> bool:
    """Return True or False; a string such as "false", which is true in Python, is refused."""
    if not isinstance(value, bool):
        raise wrong_type("True or False", value)
    return value


def string(value: object) -> str:
    """Return a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise wrong_type("a non-empty string", value)
    return value


def strings(value: object) -> list[str]:
    """Return a list of strings."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong_type("a list of strings", value)
    return value


def json_value(value: object) -> Any:
    """Return a value that JSON can represent, unchanged; NaN and infinities are refused."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise wrong_type("a JSON value", value) from error
    return value


def _checked_in_file(check: SettingCheck[Any], value: object, where: str) -> Any:
    """Return a checked value of a file; the error has its path in the file."""
    try:
        return check(value)
    except ProblemError as refused:
        raise InputError(f"`{where}`: {refused.fact}", evidence=refused.details) from refused


def optional(check: SettingCheck[T]) -> SettingCheck[T | None]:
    """Return a check that also accepts None and the empty string, and returns None for both."""

    def checked(value: object) -> T | None:
        return None if value is None or value == "" else check(value)

    return checked


def instance_of(cls: type[T]) -> SettingCheck[T]:
    """Return a check that accepts instances of a class."""

    def checked(value: object) -> T:
        if not isinstance(value, cls):
            raise wrong_type(f"a `{cls.__name__}`", value)
        return value

    return checked
