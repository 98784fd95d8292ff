"""Facade: objects of checked settings that become JSON and come back, and that refuse a misspelt attribute.

A section declares its settings in the order of the file. A setting has a name
for programs (``user_managed_dependencies``), a key for the file
(``userManagedDependencies``) and a check. Keys of a file that no setting knows
are kept and written again.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, Generic, Self, TypeVar, overload

from bundler.azureml.exceptions import UnknownAttributeError
from bundler.errors import InputError, UsageError
from bundler.paths import printable
from bundler.problems import ProblemError, closest
from bundler.redaction import redact

__all__ = [
    "Section",
    "Setting",
    "flag",
    "json_value",
    "masked",
    "nested",
    "none_default",
    "optional",
    "text",
    "texts",
]

T = TypeVar("T")
SettingCheck = Callable[[object], T]

_MAX_SHOWN = 60


class Setting(Generic[T]):
    """One attribute of a section.

    :param key: its name in the file.
    :param check: returns what an attribute is set to as a value of the right
        type, or raises `ProblemError`.
    :param default: makes the value of a new section.
    :param absent: makes the value of a section read from a file without the
        key; the default if None.
    :param parse: the same as ``check`` for what stands in a file, None if
        nothing does, and the place of it; ``check`` if None.
    :param hidden: whether None leaves the key out of the file.
    """

    def __init__(
        self,
        key: str,
        check: SettingCheck[T],
        *,
        default: Callable[[], T],
        absent: Callable[[], T] | None = None,
        parse: Callable[[object, str], T] | None = None,
        hidden: bool = False,
    ) -> None:
        self.key = key
        self.check = check
        self.default = default
        self.absent = absent or default
        self.parse = parse
        self.hidden = hidden
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, section: None, owner: type) -> Self: ...

    @overload
    def __get__(self, section: Section, owner: type) -> T: ...

    def __get__(self, section: Section | None, owner: type) -> Self | T:
        if section is None:
            return self
        value: T = section._values[self.name]  # noqa: SLF001 - the two are one thing
        return value

    def __set__(self, section: Section, value: T) -> None:
        try:
            section._values[self.name] = self.check(value)  # noqa: SLF001
        except ProblemError as refused:
            where = f"{type(section).__name__}.{self.name}"
            raise UsageError(
                f"`{where}`: {refused.fact}", evidence=refused.details, hint=refused.hint
            ) from refused

    def read(self, plain: Mapping[str, Any], where: str) -> T:
        """Return what a file says under the key as a value of the program.

        :raises InputError: naming the place, if it does not fit.
        """
        if self.parse is not None:
            return self.parse(plain.get(self.key), where)
        if self.key not in plain:
            return self.absent()
        try:
            return self.check(plain[self.key])
        except ProblemError as refused:
            raise InputError(f"`{where}`: {refused.fact}", evidence=refused.details) from refused


class Section:
    """An object whose attributes are its settings and nothing else."""

    _values: dict[str, Any]
    _unknown: dict[str, Any]

    def __init__(self) -> None:
        self.__dict__["_values"] = {setting.name: setting.default() for setting in self._settings()}
        self.__dict__["_unknown"] = {}

    @classmethod
    def _settings(cls) -> list[Setting[Any]]:
        return [
            value
            for kind in reversed(cls.__mro__)
            for value in vars(kind).values()
            if isinstance(value, Setting)
        ]

    def __setattr__(self, name: str, value: object) -> None:
        known = [name for name in dir(type(self)) if _is_settable(type(self), name)]
        if name not in known:
            near = closest(name, [name for name in known if not name.startswith("_")])
            raise UnknownAttributeError(
                f"`{type(self).__name__}` has no attribute `{printable(name)}`",
                hint=f"did you mean `{near}`?" if near else None,
            )
        super().__setattr__(name, value)

    @classmethod
    def from_plain(cls, plain: object, where: str) -> Self:
        """Return a section as a file tells it; without any defaults if it tells nothing.

        :param where: the path of it in the file, for errors.
        :raises InputError: if a value does not fit its setting.
        """
        plain = {} if plain is None else plain
        if not isinstance(plain, Mapping):
            raise InputError(f"`{where}` is not an object of settings")
        section = cls.__new__(cls)
        known = {setting.key: setting for setting in cls._settings()}
        prefix = f"{where}." if where else ""
        section.__dict__["_values"] = {
            setting.name: setting.read(plain, f"{prefix}{key}") for key, setting in known.items()
        }
        section.__dict__["_unknown"] = {
            str(key): _checked_json(value, f"{prefix}{key}")
            for key, value in plain.items()
            if key not in known
        }
        return section

    def to_plain(self) -> dict[str, Any]:
        """Return the section as plain values, secrets included, in the order of the file.

        :raises UsageError: if a list or dictionary was filled with what does not fit.
        """
        plain = {}
        for setting in self._settings():
            value = self._values[setting.name]
            if isinstance(value, (dict, list)) and setting.parse is None:
                setting.__set__(self, value)  # it may have been filled since it was checked
            if value is not None or not setting.hidden:
                plain[setting.key] = value.to_plain() if hasattr(value, "to_plain") else copy.deepcopy(value)
        return plain | copy.deepcopy(self._unknown)

    def __repr__(self) -> str:
        """Show the settings, without secrets."""
        return redact(json.dumps(masked(self.to_plain()), indent=4, sort_keys=True))


def _is_settable(cls: type, name: str) -> bool:
    found = getattr(cls, name, None)
    return isinstance(found, Setting) or (isinstance(found, property) and found.fset is not None)


# What counts as a secret, wherever in a definition it stands, and where any name may stand.
_SECRETS = frozenset({"password", "authToken"})
_NAMED_BY_USERS = frozenset({"environmentVariables", "condaDependencies"})


def masked(plain: Any, mask: str | None = "****") -> Any:
    """Return plain values with each secret that is set replaced."""
    if isinstance(plain, list):
        return [masked(item, mask) for item in plain]
    if not isinstance(plain, dict):
        return plain
    return {
        key: value if key in _NAMED_BY_USERS else mask if key in _SECRETS and value else masked(value, mask)
        for key, value in plain.items()
    }


def _refused(wanted: str, value: object) -> ProblemError:
    found = printable(redact(repr(value)))
    found = f"{found[:_MAX_SHOWN]}..." if len(found) > _MAX_SHOWN else found
    return ProblemError(f"it takes {wanted}", details=(f"found   {found} ({type(value).__name__})",))


def none_default() -> None:
    """Return None: the default of what is not set."""


def flag(value: object) -> bool:
    """Return a truth value; a text such as "false" is none."""
    if not isinstance(value, bool):
        raise _refused("True or False", value)
    return value


def text(value: object) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise _refused("a text", value)
    return value


def texts(value: object) -> list[str]:
    """Return a list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _refused("a list of texts", value)
    return value


def json_value(value: object) -> Any:
    """Return a value that JSON can hold, as it is."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _refused("what JSON can hold", value) from error
    return value


def _checked_json(value: object, where: str) -> Any:
    try:
        return json_value(value)
    except ProblemError as refused:
        raise InputError(f"`{where}`: {refused.fact}", evidence=refused.details) from refused


def optional(check: SettingCheck[T]) -> SettingCheck[T | None]:
    """Return a check that takes None and the empty text too, both as None."""

    def checked(value: object) -> T | None:
        return None if value is None or value == "" else check(value)

    return checked


def nested(cls: type[T]) -> SettingCheck[T]:
    """Return a check that takes an object of one class."""

    def checked(value: object) -> T:
        if not isinstance(value, cls):
            raise _refused(f"a `{cls.__name__}`", value)
        return value

    return checked
