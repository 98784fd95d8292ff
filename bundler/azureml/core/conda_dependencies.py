"""Facade: ``CondaDependencies``, the packages of an environment as a conda environment file.

It is edited through its methods and keeps the comments of the file it came
from. Names are told apart as their tools do: PEP 508 for pip, a match
specification for conda.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Self

from bundler.azureml.core import _pip_lines
from bundler.azureml.core._arguments import (
    as_list,
    channel_name,
    checked_option,
    conda_name,
    conda_spec,
    pip_line,
    register_channel,
)
from bundler.azureml.core._env_file import EnvFile
from bundler.azureml.core._files import FileName, as_path, display_name, input_error_at, read_text
from bundler.errors import BundlerError, InputError, OutputError, UsageError
from bundler.paths import printable
from bundler.problems import ProblemError, register_urls
from bundler.requirements.conda.matchspec import MatchSpec, parse_match_spec
from bundler.requirements.conda.version import allows, checked_version, chosen_version
from bundler.system.atomic import replace_file
from bundler.target.target import DEFAULT_PYTHON

__all__ = ["CondaDependencies"]

_BASE = f"""\
# Conda environment specification. The dependencies defined in this file will
# be automatically provisioned for runs with userManagedDependencies=False.

# Details about the Conda environment file format:
# https://conda.io/docs/user-guide/tasks/manage-environments.html#create-env-file-manually

name: project_environment
dependencies:
  # The python interpreter version.
  # Currently Azure ML only supports 3.5.2 and later.
- python={DEFAULT_PYTHON}

- pip:
    # Required packages for AzureML execution, history, and data preparation.
  - azureml-defaults

channels:
- anaconda
- conda-forge
"""
"""What a new object holds, as Azure ML's documents show it."""

_RUN_CONFIG = ".azureml/auto_conda_dependencies.yml"


class CondaDependencies:
    """The channels, conda packages and pip lines of an environment.

    :param conda_dependencies_file_path: a conda environment file to begin with;
        without one, Python 3.7 and ``azureml-defaults``.
    :raises InputError: if the file cannot be read or has not the shape of one.
    """

    def __init__(
        self, conda_dependencies_file_path: FileName | None = None, *, _file: EnvFile | None = None
    ) -> None:
        if conda_dependencies_file_path is None:
            self._file = _file or EnvFile.parse(_BASE)
        else:
            path = as_path(conda_dependencies_file_path, "`conda_dependencies_file_path`")
            self._file = _parsed(read_text(path), display_name(path))
        register_urls("\n".join(self._file.pip_lines()))
        for channel in self._file.channels():
            register_channel(channel)

    @classmethod
    def from_text(cls, text: str, *, where: str = "conda dependencies") -> Self:
        """Return what the text of an environment file holds.

        :param where: what an error calls it.
        :raises InputError: if it has not the shape of one.
        """
        register_urls(text)
        return cls(_file=_parsed(text, where))

    @classmethod
    def from_plain(cls, value: object, where: str = "conda dependencies") -> Self:
        """Return what the JSON form of an environment file holds.

        :raises InputError: if it has not the shape of one.
        """
        try:
            return cls(_file=EnvFile.from_plain(value))
        except ProblemError as refused:
            raise input_error_at(f"`{where}`", refused) from refused

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str = DEFAULT_PYTHON,
        pin_sdk_version: bool = True,  # noqa: ARG004 - there is no SDK here whose version could be pinned
    ) -> CondaDependencies:
        """Return dependencies made of these packages.

        :param pip_indexurl: the one index pip asks; unlike the original, no public
            index is added to it, where anybody could register a private name.
        :param pip_packages: in place of ``azureml-defaults``.
        :param pin_sdk_version: accepted, without effect.
        :raises InputError: if a package or the version cannot be understood.
        """
        made = CondaDependencies()
        if pip_indexurl is not None:
            made.set_pip_index_url(pip_indexurl)
        made.set_python_version(python_version)
        if pip_packages is not None:
            made.remove_pip_package("azureml-defaults")
        for package in as_list(pip_packages, "pip_packages"):
            made.add_pip_package(package)
        for package in as_list(conda_packages, "conda_packages"):
            made.add_conda_package(package)
        return made

    @staticmethod
    def merge_requirements(requirements: Iterable[str]) -> list[str]:
        """Return requirements with those of one project made one: their extras and versions together.

        :raises InputError: if one cannot be understood.
        """
        try:
            return _pip_lines.merge(as_list(requirements, "requirements"))
        except ProblemError as refused:
            raise input_error_at("merge_requirements", refused) from refused

    # Channels

    @property
    def conda_channels(self) -> Iterator[str]:
        """The channels, in order."""
        return iter(self._file.channels())

    def add_channel(self, channel: str) -> None:
        """Add a channel behind the others, once.

        :raises InputError: if it is no name and no address.
        """
        channel = channel_name(channel)
        if channel not in self.conda_channels:
            self._file.add_channel(channel)

    def remove_channel(self, channel: str) -> None:
        """Remove a channel, if it is there."""
        for index, item in enumerate(self.conda_channels):
            if item == channel:
                self._file.drop_channel(index)
                return

    # Conda packages

    @property
    def conda_packages(self) -> Iterator[str]:
        """The match specifications, Python among them, in order."""
        return iter(self._file.packages())

    def add_conda_package(self, conda_package: str) -> None:
        """Add a package, or replace the one of its name where it stands.

        For ``python`` its version is set; of a range, the version it begins with:
        ``python>=3.7`` becomes ``python=3.7``.

        :raises InputError: if it is no match specification, or Python's names no version.
        """
        spec = conda_spec(conda_package, "add_conda_package")
        text = conda_package.strip()
        if spec.name == "python":
            text = self._python_entry(text, spec)
        self._file.put_package(self._find(spec.name), text)

    def remove_conda_package(self, conda_package: str) -> None:
        """Remove the package of this name, if it is there; a version given with it does not matter.

        :raises UsageError: for Python, which every environment has.
        :raises InputError: if it is no match specification.
        """
        name = conda_spec(conda_package, "remove_conda_package").name
        if name == "python":
            raise UsageError(
                "`python` cannot be removed from an environment", hint="set another with `set_python_version`"
            )
        found = self._find(name)
        if found is not None:
            self._file.drop_package(found)

    def get_python_version(self) -> str | None:
        """Return the version of Python, or None if there is none or no single one."""
        entry = self.python_entry()
        return chosen_version(entry[1]) if entry else None

    def set_python_version(self, version: str) -> None:
        """Set the version of Python, where it stands.

        :raises UsageError: if it is no text.
        :raises InputError: if it is no version.
        """
        if not isinstance(version, str):
            raise UsageError(
                f"a version is a text, not the {type(version).__name__} `{version}`",
                hint=f'write `set_python_version("{version}")`',
            )
        try:
            text = f"python={checked_version(version)}"
        except ProblemError as refused:
            raise input_error_at("set_python_version", refused) from refused
        self._file.put_package(self._find("python"), text)

    def python_entry(self) -> tuple[str, str | None] | None:
        """Return Python's entry and its constraint as they are written, or None."""
        found = self._find("python")
        if found is None:
            return None
        text = self._file.packages()[found]
        return text, parse_match_spec(text).version

    def _python_entry(self, text: str, spec: MatchSpec) -> str:
        """Return how an added ``python`` is written: one version, but channel and build as they are."""
        wanted = (chosen_version(spec.version), self.get_python_version(), DEFAULT_PYTHON)
        version = next((item for item in wanted if item is not None and allows(spec.version, item)), None)
        if version is None:
            raise no_single_python(text)
        return text if spec.channel or spec.build else f"python={version}"

    # The pip section

    @property
    def pip_packages(self) -> Iterator[str]:
        """The lines of the pip section that are no options, in order."""
        return iter([line for line in self._file.pip_lines() if not _pip_lines.is_option(line)])

    @property
    def pip_options(self) -> Iterator[str]:
        """The options of the pip section, in order."""
        return iter([line for line in self._file.pip_lines() if _pip_lines.is_option(line)])

    def add_pip_package(self, pip_package: str) -> None:
        """Add a requirement, path or address behind the others; the same project's older one goes.

        :raises InputError: if pip would not understand it, or it is an option.
        """
        line = pip_line(pip_package, "add_pip_package")
        self._remove_named(line)
        self._file.put_pip_line(None, line)

    def remove_pip_package(self, pip_package: str) -> None:
        """Remove the project of this name, if it is there; a version given with it does not matter.

        :raises InputError: if pip would not understand it, or it is an option.
        """
        self._remove_named(pip_line(pip_package, "remove_pip_package"))

    def set_pip_option(self, pip_option: str) -> None:
        """Set an option; one of the same name is replaced.

        :raises InputError: if it is no option.
        """
        option = checked_option(pip_option, "set_pip_option")
        same = self._same_option(option)
        self._file.put_pip_line(same[0] if same else None, option)
        for index in reversed(same[1:]):
            self._file.drop_pip_line(index)

    def remove_pip_option(self, pip_option: str) -> None:
        """Remove an option by its name, if it is there.

        :raises InputError: if it is no option.
        """
        option = checked_option(pip_option, "remove_pip_option")
        for index in reversed(self._same_option(option)):
            self._file.drop_pip_line(index)

    def set_pip_index_url(self, index_url: str) -> None:
        """Set the one index pip asks: its address, with or without ``--index-url`` before it.

        :raises InputError: if it is neither.
        """
        is_address = "://" in str(index_url) and not _pip_lines.is_option(str(index_url))
        self.set_pip_option(f"--index-url {index_url}" if is_address else index_url)

    def set_pip_requirements(self, pip_requirements: Iterable[str]) -> None:
        """Replace the whole pip section by the lines of a requirements file.

        :raises InputError: if pip would not understand one.
        """
        lines = _pip_lines.tidy(as_list(pip_requirements, "pip_requirements"))
        for line in lines:
            check = checked_option if _pip_lines.is_option(line) else pip_line
            check(line, "set_pip_requirements")
        self._file.set_pip_lines(lines)

    # Output

    def save(self, path: FileName | None = None) -> str:
        """Write the environment file, over an older one too, whole or not at all, and return its path.

        :raises UsageError: if the path is a folder, or none was given.
        :raises InputError: if there is no Python in it.
        :raises OutputError: if it cannot be written.
        """
        if path is None:
            raise UsageError("`save` needs a path", hint='write `save("env.yml")`')
        final = as_path(path, "`path`")
        if final.is_dir():
            raise UsageError(
                f"`{display_name(final)}` is a folder", hint=f"write `save({str(final / 'env.yml')!r})`"
            )
        if not final.parent.is_dir():
            raise OutputError(f"there is no folder `{display_name(final.parent)}` to write to")
        replace_file(final, self.checked_text().encode())
        return str(path).replace("\\", "/")

    def save_to_file(self, base_directory: FileName, conda_file_path: str | None = None) -> str:
        """Write the environment file below a folder; deprecated, use `save`."""
        warnings.warn("`save_to_file` is deprecated: use `save`", DeprecationWarning, stacklevel=2)
        name = (conda_file_path or _RUN_CONFIG).replace("\\", "/")
        final = as_path(base_directory, "`base_directory`") / name
        if conda_file_path is None:
            final.parent.mkdir(parents=True, exist_ok=True)
        self.save(final)
        return name

    def checked_text(self) -> str:
        """Return the environment file as it is written.

        :raises InputError: if there is no Python in it.
        """
        if self.python_entry() is None:
            raise InputError(
                "the environment has no `python`", hint='add it with `set_python_version("3.7")`'
            )
        return self.serialize_to_string()

    def serialize_to_string(self) -> str:
        """Return the environment file as text."""
        return self._file.text()

    def as_dict(self) -> dict[str, Any]:
        """Return the environment file as plain values."""
        return self._file.plain()

    def to_plain(self) -> dict[str, Any]:
        """Return what `as_dict` returns: the form it has in an environment's definition."""
        return self.as_dict()

    def __deepcopy__(self, memo: object) -> Self:
        """Copy through the text: ruamel's own copy loses the place of comments."""
        return self.from_text(self.serialize_to_string())

    def _find(self, name: str) -> int | None:
        """Return where the conda package of a name stands."""
        names = [conda_name(item) for item in self._file.packages()]
        return names.index(name) if name in names else None

    def _remove_named(self, line: str) -> None:
        name = _pip_lines.package_name(line)
        for index, other in reversed(list(enumerate(self._file.pip_lines()))):
            same = name is not None and _pip_lines.package_name(other) == name
            if not _pip_lines.is_option(other) and (other == line or same):
                self._file.drop_pip_line(index)

    def _same_option(self, option: str) -> list[int]:
        name = _pip_lines.option_name(option)
        lines = enumerate(self._file.pip_lines())
        return [i for i, line in lines if _pip_lines.is_option(line) and _pip_lines.option_name(line) == name]


def _parsed(text: str, where: str) -> EnvFile:
    try:
        return EnvFile.parse(text)
    except ProblemError as refused:
        raise input_error_at(where, refused) from refused


def no_single_python(entry: str) -> BundlerError:
    """Return the error for a ``python`` from which no version can be chosen."""
    return InputError(
        f"`{printable(entry)}` does not say which Python",
        hint=f"write one version, such as `python={DEFAULT_PYTHON}`",
    )
