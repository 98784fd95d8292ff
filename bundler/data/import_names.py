"""The distributions that provide modules of other names: ``import_names.toml`` in this package."""

from __future__ import annotations

from bundler.data.tables import read_table

__all__ = ["IMPORT_NAMES_TABLE", "provider_of", "requirement_of"]

IMPORT_NAMES_TABLE = dict[str, str]
"""The shape of ``import_names.toml``."""


def requirement_of(module: str) -> str:
    """Return the requirement that provides a module, for a hint: by its top-level name.

    >>> requirement_of("yaml.nodes"), requirement_of("pkg_resources"), requirement_of("requests")
    ('PyYAML', 'setuptools<82', 'requests')
    """
    name = module.partition(".")[0]
    table: dict[str, str] = read_table("import_names.toml", IMPORT_NAMES_TABLE)
    return table.get(name, name)


def provider_of(module: str) -> str:
    """Return the distribution that provides a module, for a hint: by its top-level name.

    >>> provider_of("yaml.nodes"), provider_of("pkg_resources")
    ('PyYAML', 'setuptools')
    """
    return requirement_of(module).partition("<")[0]
