"""Ground: dated facts of the inference server that Azure ML's prebuilt images start.

The rows are copied from the METADATA of the published wheels; a test marked
``online`` compares each with the wheel again. Left out: requirements of extras,
and those for Windows alone, on which no image runs. Releases between two rows
are left out too: the rows are the last of each minor version and those that
images are known to carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.errors import InputError
from bundler.paths import printable

__all__ = [
    "AS_OF",
    "SERVER",
    "SERVERS",
    "SERVER_MODULES",
    "ServerRelease",
    "default_server",
    "server_requirements",
]

AS_OF: Final = "2026-11-21"
"""The day on which the table was compared with the index."""

SERVER: Final[NormalizedName] = canonicalize_name("azureml-inference-server-http")
"""The distribution whose ``azmlinfsrv`` the images start."""

SERVER_MODULES: Final = MappingProxyType(
    {
        "azureml_inference_server_http.amlserver": Version("0"),
        "azureml_inference_server_http.amlserver_linux": Version("0"),
        # Before, it loaded the user's script when it was imported.
        "azureml_inference_server_http.server.create_app": Version("0.8.4"),
    }
)
"""What its master and its workers import before they load the user's script, and since which release."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerRelease:
    """One release of the server."""

    released: str
    """The day of its upload, ISO 8601."""
    requires_python: str
    requires: tuple[str, ...]
    """Its Requires-Dist on Linux, without extras."""


SERVERS: Mapping[str, ServerRelease] = {
    "0.4.14": ServerRelease(
        released="2022-08-05",
        requires_python=">=3.6",
        requires=(
            "applicationinsights>=0.11.7",
            "click<8.0,>=5.1",
            "flask==1.0.3",
            'gunicorn==20.1.0; platform_system != "Windows"',
            "inference-schema==1.3.0",
            "itsdangerous<2.0,>=0.24",
            "Jinja2<3.1,>=2.10.1",
            "opencensus-ext-azure~=1.1.0",
            "Werkzeug<2.0,>=0.15",
        ),
    ),
    "0.6.1": ServerRelease(
        released="2022-04-25",
        requires_python=">=3.6",
        requires=(
            "click<8.0,>=5.1",
            "flask==1.0.3",
            'gunicorn==20.1.0; platform_system != "Windows"',
            "inference-schema~=1.4.0",
            "itsdangerous<2.0,>=0.24",
            "Jinja2<3.1,>=2.10.1",
            "opencensus-ext-azure~=1.1.0",
            "Werkzeug<2.0,>=0.15",
        ),
    ),
    "0.7.7": ServerRelease(
        released="2022-11-02",
        requires_python=">=3.6",
        requires=(
            "flask-cors~=3.0.1",
            'gunicorn==20.1.0; platform_system != "Windows"',
            'inference-schema~=1.4.0; python_version < "3.7"',
            'inference-schema~=1.5.0; python_version >= "3.7"',
            "opencensus-ext-azure~=1.1.0",
        ),
    ),
    "0.8.0": ServerRelease(
        released="2022-12-16",
        requires_python=">=3.7",
        requires=(
            "flask-cors~=3.0.1",
            "flask<2.3.0",
            'gunicorn==20.1.0; platform_system != "Windows"',
            "inference-schema~=1.5.0",
            "opencensus-ext-azure~=1.1.0",
            "pydantic<1.11,>=1.9",
        ),
    ),
    "0.8.4.2": ServerRelease(
        released="2023-09-11",
        requires_python=">=3.7",
        requires=(
            "flask-cors~=3.0.1",
            "flask<2.3.0",
            'gunicorn==20.1.0; platform_system != "Windows"',
            "inference-schema~=1.7.0",
            "opencensus-ext-azure~=1.1.0",
            "pydantic<1.11,>=1.9",
        ),
    ),
    "1.0.0": ServerRelease(
        released="2023-10-03",
        requires_python=">=3.8",
        requires=(
            "flask-cors~=3.0.1",
            "flask<2.3.0",
            'gunicorn==20.1.0; platform_system != "Windows"',
            "inference-schema~=1.7.0",
            "opencensus-ext-azure~=1.1.0",
            "pydantic<1.11,>=1.9",
        ),
    ),
    "1.1.0": ServerRelease(
        released="2024-02-29",
        requires_python=">=3.8",
        requires=(
            "flask-cors~=3.0.1",
            "flask<=2.3.2",
            'gunicorn==20.1.0; platform_system != "Windows"',
            "inference-schema~=1.7.0",
            "opencensus-ext-azure~=1.1.0",
            "pydantic-settings",
            "pydantic~=2.0",
            "werkzeug<3.0.0",
        ),
    ),
    "1.2.2": ServerRelease(
        released="2024-05-15",
        requires_python=">=3.8",
        requires=(
            "flask-cors~=3.0.1",
            "flask<=2.3.2",
            'gunicorn==22.0.0; platform_system != "Windows"',
            "inference-schema~=1.7.0",
            "opencensus-ext-azure~=1.1.0",
            "pydantic-settings",
            "pydantic~=2.0",
            "werkzeug>=3.0.3",
        ),
    ),
    "1.3.4": ServerRelease(
        released="2024-10-22",
        requires_python=">=3.8",
        requires=(
            "certifi>=2024.7.4",
            "flask-cors~=5.0.0",
            "flask<=2.3.2",
            'gunicorn>=23.0.0; platform_system != "Windows"',
            "inference-schema~=1.8.0",
            "opencensus-ext-azure~=1.1.0",
            "pydantic-settings",
            "pydantic~=2.9.0",
            "werkzeug>=3.0.3",
        ),
    ),
    "1.4.1": ServerRelease(
        released="2025-06-11",
        requires_python=">=3.9",
        requires=(
            "certifi>=2024.7.4",
            "flask-cors~=6.0.0",
            "flask~=3.1.0",
            'gunicorn>=23.0.0; platform_system != "Windows"',
            "inference-schema~=1.8.0",
            "opencensus-ext-azure~=1.1.0",
            "pydantic-settings",
            "pydantic~=2.11.0",
            "werkzeug>=3.0.3",
        ),
    ),
    "1.5.1": ServerRelease(
        released="2025-12-18",
        requires_python=">=3.9",
        requires=(
            "azure-monitor-opentelemetry-exporter",
            "certifi>=2024.7.4",
            "flask-cors~=6.0.0",
            "flask~=3.1.0",
            'gunicorn>=23.0.0; platform_system != "Windows"',
            "inference-schema~=1.8.0",
            "opentelemetry-api==1.33.0",
            "opentelemetry-sdk==1.33.0",
            "opentelemetry-semantic-conventions",
            "pydantic-settings",
            "pydantic~=2.12.0",
            "werkzeug>=3.0.3",
        ),
    ),
}
"""Releases of the server, oldest version first."""


def server_requirements(version: str) -> tuple[Requirement, ...]:
    """Return what a release of the server requires on Linux.

    :param version: any spelling that PEP 440 takes for the same ("1.0" is "1.0.0").
    :raises InputError: if the table has no such release; names those it has.

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
        f"what `{SERVER}` {printable(version)} requires is not known",
        evidence=(
            f"wanted  one of {', '.join(SERVERS)}",
            f"found   {printable(version)}",
            f"as of   {AS_OF}",
        ),
        hint="capture a profile on the image, which says what its server requires",
    )


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
