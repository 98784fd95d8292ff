"""The distributions that provide modules of other names: ``import_names.toml`` in this package."""

from __future__ import annotations

from bundler.data.tables import read_table

__all__ = ["IMPORT_NAMES_TABLE", "provider_of"]

IMPORT_NAMES_TABLE = dict[str, str]
"""The shape of ``import_names.toml``."""


def provider_of(module: str) -> str:
    """Return the distribution to require for a module, for a hint: by its top-level name.

    >>> provider_of("yaml.nodes"), provider_of("requests")
    ('PyYAML', 'requests')
    """
    name = module.partition(".")[0]
    table: dict[str, str] = read_table("import_names.toml", IMPORT_NAMES_TABLE)
    return table.get(name, name)
