"""Dated facts of the inference server of Azure ML's images: ``inference_server.toml`` in this package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.data.tables import read_table
from bundler.errors import InputError
from bundler.paths import printable

__all__ = [
    "AS_OF",
    "ROOT_IS_CWD",
    "SERVER",
    "SERVERS",
    "SERVER_ENTRY_POINT",
    "SERVER_MODULES",
    "ServerRelease",
    "default_server",
    "parse_release",
    "root_is_script_folder",
    "server_constraints",
    "server_requirements",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerRelease:
    """One release of the server."""

    released: str
    """The date of its upload, ISO 8601."""
    requires_python: str
    requires: tuple[str, ...]
    """Its Requires-Dist on Linux, without extras."""


class _ServerTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of ``inference_server.toml``."""

    as_of: Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    entry_point: str
    root_is_cwd: str
    keeps_root: tuple[str, ...]
    flask_one_before: str
    flask_one: tuple[str, ...]
    flask_two_before: str
    flask_two: tuple[str, ...]
    modules: dict[str, str]
    releases: dict[str, ServerRelease]


_TABLES = read_table("inference_server.toml", _ServerTables)

AS_OF: Final = _TABLES.as_of
"""The date on which the table was compared with the index."""
SERVER: Final[NormalizedName] = canonicalize_name("azureml-inference-server-http")
"""The distribution whose ``azmlinfsrv`` the images start."""
SERVER_ENTRY_POINT: Final = _TABLES.entry_point
"""The ``module:function`` of its command ``azmlinfsrv``."""
ROOT_IS_CWD: Final = Version(_TABLES.root_is_cwd)
"""The first release whose application root is the working directory, unless AML_APP_ROOT is set."""
SERVER_MODULES: Final[Mapping[str, Version]] = MappingProxyType(
    {module: Version(since) for module, since in _TABLES.modules.items()}
)
"""The modules its master and workers import before the user's script, and the first release with each."""
SERVERS: Final[Mapping[str, ServerRelease]] = MappingProxyType(_TABLES.releases)
"""Releases of the server, oldest version first."""


def server_requirements(version: str) -> tuple[Requirement, ...]:
    """Return the requirements of a release of the server on Linux.

    :param version: any version that PEP 440 considers equal ("1.0" is "1.0.0").
    :raises InputError: if the table has no such release; lists its releases.

    >>> [str(one) for one in server_requirements("0.7.7")][:2]
    ['flask-cors~=3.0.1', 'gunicorn==20.1.0; platform_system != "Windows"']
    """
    try:
        wanted = Version(version)
    except InvalidVersion:
        wanted = None
    for known, release in SERVERS.items():
        if Version(known) == wanted:
            return tuple(Requirement(text) for text in release.requires)
    raise InputError(
        f"`--server {printable(version)}` is not a known release of `{SERVER}`",
        evidence=(f"wanted  one of {', '.join(SERVERS)}", f"as of   {AS_OF}"),
        hint=f"--server {_release_meant(version)}",
    )


def _release_meant(text: str) -> str:
    """Return the newest release that starts with the numbers of a text, else that for Azure ML's Python.

    >>> _release_meant("v0.8"), _release_meant("latest")
    ('0.8.4.2', '0.8.4.2')
    """
    named = re.search(r"\d+(\.\d+)*", text)
    same = [known for known in SERVERS if named and f"{known}.".startswith(f"{named[0]}.")]
    return max(same, key=Version, default=default_server("3.7") or max(SERVERS, key=Version))


def parse_release(version: str) -> Version:
    """Return a version of the server; it may be one that the table does not have.

    :raises InputError: if it is malformed.
    """
    try:
        return Version(version)
    except InvalidVersion:
        raise InputError(
            f"`--server {printable(version)}` is not a version of `{SERVER}`",
            hint=f"--server {_release_meant(version)}",
        ) from None


def root_is_script_folder(version: Version, *, root_is_set: bool) -> bool:
    """Return whether the application root of a release is the directory of the entry script.

    :param root_is_set: whether AML_APP_ROOT is set.

    >>> root_is_script_folder(Version("0.6.1"), root_is_set=True)
    True
    """
    keeps = root_is_set and version in map(Version, _TABLES.keeps_root)
    return version < ROOT_IS_CWD and not keeps


def server_constraints(version: Version) -> tuple[str, ...]:
    """Return the constraints without which a release that is installed today does not start.

    >>> server_constraints(Version("0.3.2"))[0], server_constraints(Version("0.7.7"))
    ('click<8.0', ())
    >>> server_constraints(Version("0.7.1"))
    ('Werkzeug<3.0',)
    """
    bounds: tuple[str, ...] = ()
    if version < Version(_TABLES.flask_one_before):
        bounds = _TABLES.flask_one
    elif version < Version(_TABLES.flask_two_before):
        bounds = _TABLES.flask_two
    return bounds


def default_server(python: str) -> str | None:
    """Return the newest release whose Requires-Python admits a Python, or None.

    :param python: "3.7" or "3.7.16".

    >>> default_server("3.7")
    '0.8.4.2'
    """
    admitted = [
        version
        for version, release in SERVERS.items()
        if SpecifierSet(release.requires_python).contains(python, prereleases=True)
    ]
    return max(admitted, key=Version, default=None)
