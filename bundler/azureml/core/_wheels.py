"""Facade: wheels of the user in a workspace, which the pip section of an environment names by URL."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from bundler.archive.wheel import read_wheel
from bundler.azureml.core._files import display_name
from bundler.azureml.exceptions import ExistsError, MissingError
from bundler.errors import UsageError
from bundler.system.atomic import replace_file
from bundler.system.environ import read_host_environment

__all__ = ["add_wheel"]

_FOLDER = "wheels"


def add_wheel(location: str, wheel: Path, *, exist_ok: bool) -> str:
    """Copy a wheel into a workspace, and return the URL of the copy.

    :param location: the directory of the workspace.
    :param exist_ok: whether a wheel of that name with the same content may exist.
    :raises MissingError: if the file does not exist.
    :raises MalformedError: if it is not a wheel.
    :raises UsageError: if the workspace is a URL.
    :raises ExistsError: if another wheel of that name exists.
    """
    if "://" in location:
        raise UsageError(
            "a wheel can be added only to a workspace in a directory",
            evidence=(f"found   {location}",),
            hint=f"CondaDependencies.add_pip_package({wheel.absolute().as_uri()!r})",
        )
    if not wheel.is_file():
        raise MissingError(f"{display_name(wheel)}: file not found")
    content = wheel.read_bytes()
    read_wheel(BytesIO(content), wheel.name)
    copy = read_host_environment().cwd / location / _FOLDER / wheel.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        replace_file(copy, content)
        return copy.resolve().as_uri()
    same = copy.read_bytes() == content
    if not (exist_ok and same):
        raise ExistsError(
            f"the workspace already has a wheel `{wheel.name}`" + ("" if same else " with other content"),
            hint="pass `exist_ok=True`" if same else "raise the version of the wheel",
        )
    return copy.resolve().as_uri()
