"""Facts of Azure ML's inference images: ``azure_image.toml`` in this package, with its sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

from bundler.data.tables import read_table

__all__ = [
    "DEFAULT_SCRIPT",
    "EXIT_CODES",
    "EXTRA_SOURCES",
    "IMAGE_ROOT",
    "IMAGE_VARIANTS",
    "MISSPELT",
    "PUBLIC_PORT",
    "SERVER_PORT",
    "SERVICE_FOLDER",
    "USER",
    "VARIABLES",
    "ExtraSource",
    "ImageGlibc",
    "ImageVariant",
    "RelativeTo",
    "ValueKind",
    "Variable",
    "image_by_name",
    "image_glibc",
    "image_name",
    "image_python",
    "image_variant",
]

RelativeTo = Literal["", "absolute", "application root", "entry script"]
"""The start of a relative path; "absolute" if it must not be relative; empty if it is not a path."""
ValueKind = Literal["text", "path", "int", "bool"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One variable that the image or its server reads."""

    meaning: str
    name: str = ""
    default: str = ""
    """The value if it is not set; empty if it has none."""
    kind: ValueKind = "text"
    base: RelativeTo = ""
    wrong: str = ""
    """The effect of a wrong value."""
    setting: str = ""
    """Its other name in the server's ``config.json``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtraSource:
    """A variable that names further packages; an image uses the first one that is set, and no other."""

    variable: str
    missing: int
    """The exit code if its path does not exist."""
    installs: Literal["", "conda", "requirements"] = ""

    @property
    def is_folder(self) -> bool:
        """Whether it names a directory of installed packages."""
        return not self.installs


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageVariant:
    """The differences of one kind of image."""

    title: str
    images: tuple[str, ...] = ()
    """Patterns of the last component of its images' names."""
    python: str = ""
    """The minor version of its Python, "3.7"; empty if it differs between images."""
    reads_extra: bool = True
    """Whether its start script reads the AZUREML_EXTRA_ variables."""
    switch: str = "AZUREML_INFERENCE_SERVER_HTTP_ENABLED"
    """The variable that must not be empty for that; empty if there is none."""
    checks_server: bool = False
    """Whether its start script checks that the server is installed, before it starts it."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that the image sets; the user's replace them."""
    forced: Mapping[str, str] = field(default_factory=dict)
    """Variables that its start script sets in any case; ``{NAME}`` is the value of another variable."""

    @property
    def own_script(self) -> str:
        """The entry script that the image contains, absolute; empty without one."""
        root, script = self.env.get("AML_APP_ROOT"), self.env.get("AZUREML_ENTRY_SCRIPT")
        return f"{root}/{script}" if root and script else ""

    @property
    def lib_var(self) -> Literal["extra", "pythonpath"]:
        """The variable that adds packages: AZUREML_EXTRA_PYTHON_LIB_PATH, or PYTHONPATH if it is not read."""
        return "extra" if self.reads_extra else "pythonpath"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageGlibc:
    """The Python and the glibc of one image."""

    python: Annotated[str, msgspec.Meta(pattern=r"^3\.[0-9]+$")]
    glibc: Annotated[str, msgspec.Meta(pattern=r"^2\.[0-9]+$")]
    """As "2.27"."""
    image: str
    """The last component of its name, without a tag."""


class _ImageTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of ``azure_image.toml``."""

    image_root: str
    default_script: str
    service_folder: str
    public_port: int
    server_port: int
    user: str
    registry: str
    images_dated: Annotated[str, msgspec.Meta(pattern="^20[0-9]{2}-[0-9]{2}-[0-9]{2}$")]
    variables: dict[str, Variable]
    misspelt: dict[str, str]
    extra_sources: tuple[ExtraSource, ...]
    exit_codes: dict[Annotated[str, msgspec.Meta(pattern="^[0-9]+$")], str]
    variants: dict[str, ImageVariant]
    images: Annotated[tuple[ImageGlibc, ...], msgspec.Meta(min_length=1)]


_PYTHON_IN_NAME = re.compile(r"(?:^|/)python:(\d)\.(\d+)|\bpy(\d)(\d{1,2})\b")
_TABLES = read_table("azure_image.toml", _ImageTables)

IMAGE_ROOT: Final = _TABLES.image_root
"""The application root, unless AML_APP_ROOT names another."""
DEFAULT_SCRIPT: Final = _TABLES.default_script
"""The entry script, unless AZUREML_ENTRY_SCRIPT names another."""
SERVICE_FOLDER: Final = _TABLES.service_folder
"""The working directory of the start script, until it has installed packages."""
PUBLIC_PORT: Final = _TABLES.public_port
"""The port of the image: GET ``/`` (alive), ``/score``, ``/swagger.json``."""
SERVER_PORT: Final = _TABLES.server_port
"""The port of the server inside, behind the image's nginx."""
USER: Final = _TABLES.user
"""The user of every process; its id differs between images."""
VARIABLES: Final[Mapping[str, Variable]] = MappingProxyType(
    {name: replace(variable, name=name) for name, variable in _TABLES.variables.items()}
)
"""Every variable that the image or its server reads, by name."""
MISSPELT: Final[Mapping[str, str]] = MappingProxyType(_TABLES.misspelt)
"""Common misspellings, and the variable that is meant; others are found by similarity."""
EXTRA_SOURCES: Final = _TABLES.extra_sources
"""The variables that name further packages, in the order in which the image looks at them."""
EXIT_CODES: Final[Mapping[int, str]] = MappingProxyType(
    {int(code): meaning for code, meaning in _TABLES.exit_codes.items()}
)
"""The exit codes of the start script, with their meaning; the image stops on each of them."""
IMAGE_VARIANTS: Final[Mapping[str, ImageVariant]] = MappingProxyType(_TABLES.variants)
"""The differences between images."""


def image_variant(image: str | None, python: str | None) -> str | None:
    """Return the variant of an image, by its name or else by its Python; None if neither is known.

    :param image: the name of the image, with or without registry, tag and digest.
    :param python: the minor version of its Python.

    >>> image_variant("mcr.microsoft.com/azureml/minimal-py311-inference:latest", None)
    'stripped'
    >>> image_variant("registry.example:5000/mine", "3.7"), image_variant("mine@sha256:00", "3.12")
    ('classic', None)
    """
    name = _last_component(image or "")
    for variant, facts in IMAGE_VARIANTS.items():
        if any(fnmatchcase(name, pattern) for pattern in facts.images):
            return variant
    by_python = {facts.python: variant for variant, facts in IMAGE_VARIANTS.items() if facts.python}
    return by_python.get(python or "")


def image_python(image: str) -> str | None:
    """Return the minor version of Python that the name of an image has, or None.

    >>> image_python("registry.example:5000/python:3.11-slim"), image_python("minimal-py38-cpu-inference:1")
    ('3.11', '3.8')
    >>> image_python("mine:3.11")
    """
    match = _PYTHON_IN_NAME.search(image.partition("@")[0].lower())
    return ".".join(filter(None, match.groups())) if match else None


def image_by_name(image: str) -> ImageGlibc | None:
    """Return the facts of an image of the table, by its name with or without registry, tag and digest.

    >>> image_by_name("host:5000/azureml/minimal-py312-inference:7").glibc
    '2.35'
    """
    name = _last_component(image)
    return next((row for row in _TABLES.images if row.image == name), None)


def image_glibc(release: tuple[int, int]) -> ImageGlibc:
    """Return the first row for a Python, that of the oldest glibc; else for the next older Python.

    >>> image_glibc((3, 7)).glibc
    '2.27'
    """
    images: tuple[ImageGlibc, ...] = _TABLES.images
    return max([row for row in images if _release(row) <= release] or images[:1], key=_release)


def image_name(release: tuple[int, int]) -> str:
    """Return the whole name of an inference image for a Python, as `image_glibc` chooses it.

    >>> image_name((3, 7))
    'mcr.microsoft.com/azureml/minimal-ubuntu18.04-py37-cpu-inference:latest'
    """
    return f"{_TABLES.registry}/{image_glibc(release).image}:latest"


def _last_component(image: str) -> str:
    """Return the name of an image without registry, tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()


def _release(row: ImageGlibc) -> tuple[int, int]:
    major, minor = row.python.split(".")
    return int(major), int(minor)
