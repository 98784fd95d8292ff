"""Pure: the project that provides a module, for messages.

The table is ``import_names.toml``; a module that it lacks is assumed to be named as its project.
"""

from __future__ import annotations

import msgspec

from bundler.data.tables import read_table

__all__ = ["known_project", "project_of_module"]


class _ImportNames(msgspec.Struct, forbid_unknown_fields=True):
    modules: dict[str, str]


def known_project(module: str) -> str | None:
    """Return the project of a top-level module, or None if the table lacks it.

    >>> known_project("PIL"), known_project("numpy")
    ('pillow', None)
    """
    table: _ImportNames = read_table("import_names.toml", _ImportNames)
    return table.modules.get(module)


def project_of_module(module: str) -> str:
    """Return the probable project of a module.

    >>> project_of_module("yaml.reader"), project_of_module("numpy")
    ('pyyaml', 'numpy')
    """
    top = module.partition(".")[0]
    return known_project(top) or top
