"""Facade: ``CondaDependencies``, the packages of an environment as a conda environment file.

Its methods edit the file and keep its comments. The name of a package is parsed by the rules of
its tool: PEP 508 for pip, match specifications for conda.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Self

from bundler.azureml._service_names import find_name
from bundler.azureml.core import _pip_lines
from bundler.azureml.core._arguments import (
    as_list,
    channel_name,
    checked_option,
    conda_name,
    conda_spec,
    no_single_python,
    pip_line,
    register_channel,
)
from bundler.azureml.core._env_file import NEW_FILE, EnvFile
from bundler.azureml.core._files import FileName, as_path, display_name, input_error_at, read_text
from bundler.azureml.core._framework_packages import FrameworkPackages
from bundler.errors import InputError, OutputError, UsageError
from bundler.problems import ProblemError, register_urls
from bundler.requirements.conda.matchspec import MatchSpec, parse_match_spec
from bundler.requirements.conda.version import allows, checked_version, chosen_version
from bundler.system.atomic import replace_file
from bundler.target.target import DEFAULT_PYTHON

__all__ = ["CondaDependencies"]

_RUN_CONFIG = ".azureml/auto_conda_dependencies.yml"


class CondaDependencies(FrameworkPackages):
    """The channels, conda packages and pip lines of an environment.

    :param conda_dependencies_file_path: a conda environment file (``env.yml``) to read; the
        default is Python 3.7 and ``azureml-defaults``.
    :raises MissingError: if the file does not exist.
    :raises InputError: if the file cannot be read or is not a valid environment file; the
        message has the line.
    """

    def __init__(
        self, conda_dependencies_file_path: FileName | None = None, *, _file: EnvFile | None = None
    ) -> None:
        if conda_dependencies_file_path is None:
            self._file = _file or EnvFile.parse(NEW_FILE)
        else:
            path = as_path(conda_dependencies_file_path, "`conda_dependencies_file_path`")
            self._file = _parsed(read_text(path), display_name(path))
        register_urls("\n".join(self._file.pip_lines()))
        for channel in self._file.channels():
            register_channel(channel)

    @classmethod
    def from_text(cls, text: str, *, where: str = "conda dependencies") -> Self:
        """Parse the text of an environment file.

        :param text: YAML; credentials in URLs are registered, so that no message shows them.
        :param where: the name of the text in messages.
        :raises InputError: if it is not a valid environment file; the message has the line.
        """
        register_urls(text)
        return cls(_file=_parsed(text, where))

    @classmethod
    def from_plain(cls, value: object, where: str = "conda dependencies") -> Self:
        """Read the JSON form of an environment file, as `as_dict` returns it.

        :param where: the name of the value in messages.
        :raises InputError: if it is not a valid environment file.
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
        pin_sdk_version: bool = True,  # noqa: ARG004 - of the original; it pins the version of Azure's SDK
    ) -> CondaDependencies:
        """Return dependencies with these packages.

        :param pip_indexurl: the URL of the only index. Unlike the original, PyPI is not added: a
            private name could be registered there by an attacker (dependency confusion).
        :param pip_packages: requirements of pip, which replace ``azureml-defaults``.
        :param conda_packages: match specifications of conda.
        :param python_version: the version of Python; the default is 3.7.
        :param pin_sdk_version: ignored; accepted for compatibility.
        :raises InputError: if a package, the URL or the version is invalid.
        :raises UsageError: if packages are one string instead of a list.
        """
        dependencies = CondaDependencies()
        if pip_indexurl is not None:
            dependencies.set_pip_index_url(pip_indexurl)
        dependencies.set_python_version(python_version)
        if pip_packages is not None:
            dependencies.remove_pip_package("azureml-defaults")
        for package in as_list(pip_packages, "pip_packages"):
            dependencies.add_pip_package(package)
        for package in as_list(conda_packages, "conda_packages"):
            dependencies.add_conda_package(package)
        return dependencies

    @staticmethod
    def merge_requirements(requirements: Iterable[str]) -> list[str]:
        """Merge the requirements of each project: extras are united, version specifiers joined.

        Requirements with different markers stay separate, URLs and paths unchanged.

        :raises InputError: if one is not a valid requirement.
        :raises UsageError: if it is one string instead of a list.
        """
        try:
            return _pip_lines.merge(as_list(requirements, "requirements"))
        except ProblemError as refused:
            raise input_error_at("merge_requirements", refused) from refused

    # Channels

    @property
    def conda_channels(self) -> Iterator[str]:
        """The channels, in order of priority."""
        return iter(self._file.channels())

    def add_channel(self, channel: str) -> None:
        """Append a channel unless it is listed already.

        :param channel: a name or a URL.
        :raises InputError: if it is empty, or has a space or a control character.
        """
        channel = channel_name(channel)
        if channel not in self.conda_channels:
            self._file.add_channel(channel)

    def remove_channel(self, channel: str) -> None:
        """Remove a channel if it is listed."""
        for index, item in enumerate(self.conda_channels):
            if item == channel:
                self._file.drop_channel(index)
                return

    # Conda packages

    @property
    def conda_packages(self) -> Iterator[str]:
        """The match specifications, ``python`` included, in order."""
        return iter(self._file.packages())

    def add_conda_package(self, conda_package: str) -> None:
        """Add a package, or replace the entry of the same name in its place.

        For ``python`` the version is set: an environment has one Python, so of a range the
        version at its start is used, and ``python>=3.7`` becomes ``python=3.7``.

        :param conda_package: a match specification, such as ``numpy=1.18``.
        :raises InputError: if it is not a valid match specification, or no version of Python
            satisfies it.
        """
        spec = conda_spec(conda_package, "add_conda_package")
        text = conda_package.strip()
        if spec.name == "python":
            text = self._python_entry(text, spec)
        self._file.put_package(self._find(spec.name), text)

    def remove_conda_package(self, conda_package: str) -> None:
        """Remove the package with this name if it is listed.

        :param conda_package: a match specification; only its name is used.
        :raises UsageError: for ``python``, which every environment needs.
        :raises InputError: if it is not a valid match specification.
        """
        name = conda_spec(conda_package, "remove_conda_package").name
        if name == "python":
            raise UsageError(
                "`python` cannot be removed from an environment", hint="set another with `set_python_version`"
            )
        index = self._find(name)
        if index is not None:
            self._file.drop_package(index)

    def get_python_version(self) -> str | None:
        """Return the version of Python; None without ``python``, or if its constraint selects no version."""
        entry = self.python_entry()
        return chosen_version(entry[1]) if entry else None

    def set_python_version(self, version: str) -> None:
        """Set the version of Python, in the place of its entry.

        :param version: a string such as ``3.7`` or ``3.7.16``; the number 3.10 would be 3.1.
        :raises UsageError: if it is not a string.
        :raises InputError: if it is not a version with a major and a minor number.
        """
        if not isinstance(version, str):
            raise UsageError(
                f"a version must be a string, not the {type(version).__name__} `{version}`",
                hint=f'write `set_python_version("{version}")`',
            )
        try:
            text = f"python={checked_version(version)}"
        except ProblemError as refused:
            raise input_error_at("set_python_version", refused) from refused
        self._file.put_package(self._find("python"), text)

    def python_entry(self) -> tuple[str, str | None] | None:
        """Return the ``python`` entry and its version constraint as written; None without an entry."""
        index = self._find("python")
        if index is None:
            return None
        text = self._file.packages()[index]
        return text, parse_match_spec(text).version

    def _python_entry(self, text: str, spec: MatchSpec) -> str:
        """Return the entry for an added ``python``: one version, unless it has a channel or build.

        The version is the first that the constraint allows of: its own, the present one, 3.7.
        """
        wanted = (chosen_version(spec.version), self.get_python_version(), DEFAULT_PYTHON)
        version = next((item for item in wanted if item is not None and allows(spec.version, item)), None)
        if version is None:
            raise no_single_python(text)
        return text if spec.channel or spec.build else f"python={version}"

    # The pip section

    @property
    def pip_packages(self) -> Iterator[str]:
        """The requirements, paths and URLs of the pip section, in order."""
        return iter([line for line in self._file.pip_lines() if not _pip_lines.is_option(line)])

    @property
    def pip_options(self) -> Iterator[str]:
        """The options of the pip section, in order."""
        return iter([line for line in self._file.pip_lines() if _pip_lines.is_option(line)])

    def add_pip_package(self, pip_package: str) -> None:
        """Append a requirement, path or URL, and remove the other lines of the same project.

        :param pip_package: one line of a requirements file, such as ``numpy==1.18``.
        :raises InputError: if it is not a valid requirement, or is an option.
        """
        line = pip_line(pip_package, "add_pip_package")
        self._remove_named(line)
        self._file.put_pip_line(None, line)

    def remove_pip_package(self, pip_package: str) -> None:
        """Remove the lines of a project.

        :param pip_package: a requirement; only its name is used.
        :raises InputError: if it is not a valid requirement, or is an option.
        """
        self._remove_named(pip_line(pip_package, "remove_pip_package"))

    def set_pip_option(self, pip_option: str) -> None:
        """Set an option of pip, in place of the options of the same name (``-f`` is ``--find-links``).

        :param pip_option: the option with its value, such as ``--find-links ./wheels``.
        :raises InputError: if it does not start with ``-``.
        """
        option = checked_option(pip_option, "set_pip_option")
        same = self._same_option(option)
        self._file.put_pip_line(same[0] if same else None, option)
        for index in reversed(same[1:]):
            self._file.drop_pip_line(index)

    def remove_pip_option(self, pip_option: str) -> None:
        """Remove the options of a name.

        :param pip_option: the option; only its name is used.
        :raises InputError: if it does not start with ``-``.
        """
        option = checked_option(pip_option, "remove_pip_option")
        for index in reversed(self._same_option(option)):
            self._file.drop_pip_line(index)

    def set_pip_index_url(self, index_url: str) -> None:
        """Set the URL of pip's index.

        :param index_url: the URL, or the whole option ``--index-url URL``.
        :raises InputError: if it is neither.
        """
        is_bare_url = "://" in str(index_url) and not _pip_lines.is_option(str(index_url))
        self.set_pip_option(f"--index-url {index_url}" if is_bare_url else index_url)

    def set_pip_requirements(self, pip_requirements: Iterable[str]) -> None:
        """Replace the pip section by the lines of a requirements file.

        :param pip_requirements: requirements and options; comments and blank lines are removed.
        :raises InputError: if a line is neither a valid requirement nor an option.
        :raises UsageError: if it is one string instead of a list.
        """
        lines = _pip_lines.tidy(as_list(pip_requirements, "pip_requirements"))
        for line in lines:
            check = checked_option if _pip_lines.is_option(line) else pip_line
            check(line, "set_pip_requirements")
        self._file.set_pip_lines(lines)

    # Output

    def save(self, path: FileName | None = None) -> str:
        """Write the environment file atomically, replace an existing file, and return the path.

        :param path: the file; the original's default, a run's directory, does not exist here.
        :raises UsageError: if the path is missing or is a directory.
        :raises InputError: if the environment has no ``python``.
        :raises OutputError: if the parent directory does not exist, or the file cannot be written.
        """
        if path is None:
            raise UsageError("`save` needs a path", hint='write `save("env.yml")`')
        final = as_path(path, "`path`")
        if final.is_dir():
            raise UsageError(
                f"`{display_name(final)}` is a directory", hint=f"write `save({str(final / 'env.yml')!r})`"
            )
        if not final.parent.is_dir():
            raise OutputError(f"directory not found: `{display_name(final.parent)}`")
        replace_file(final, self.checked_text().encode())
        return str(path).replace("\\", "/")

    def save_to_file(self, base_directory: FileName, conda_file_path: str | None = None) -> str:
        """Write the environment file into a directory; deprecated, use `save`.

        :param base_directory: the directory.
        :param conda_file_path: the file, relative to it; the default is
            ``.azureml/auto_conda_dependencies.yml``, whose directory is created.
        :raises BundlerError: as `save`.
        """
        warnings.warn("`save_to_file` is deprecated: use `save`", DeprecationWarning, stacklevel=2)
        name = (conda_file_path or _RUN_CONFIG).replace("\\", "/")
        final = as_path(base_directory, "`base_directory`") / name
        if conda_file_path is None:
            final.parent.mkdir(parents=True, exist_ok=True)
        self.save(final)
        return name

    def checked_text(self) -> str:
        """Return the text that `save` writes.

        :raises InputError: if the environment has no ``python``.
        """
        if self.python_entry() is None:
            raise InputError(
                "the environment has no `python`", hint='add it with `set_python_version("3.7")`'
            )
        return self.serialize_to_string()

    def serialize_to_string(self) -> str:
        """Return the environment file as text, with its comments."""
        return self._file.text()

    def as_dict(self) -> dict[str, Any]:
        """Return the environment file as JSON values; changes to them have no effect on this object."""
        return self._file.plain()

    def to_plain(self) -> dict[str, Any]:
        """Return the same as `as_dict`, for the definition of an environment."""
        return self.as_dict()

    def __deepcopy__(self, memo: object) -> Self:
        """Copy through the text: ruamel's own copy loses the positions of comments."""
        return self.from_text(self.serialize_to_string())

    def _find(self, name: str) -> int | None:
        """Return the index of the conda package with a name."""
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


__getattr__ = partial(find_name, __name__)
