"""The page of a bundle: one HTML file with its styles, scripts and data, which requests nothing.

The parts are package data in ``page/``. A content security policy permits exactly these
scripts and styles and no connection, so neither a name from a manifest nor a fault of the
page can run or load anything else.

Specs: HTML (restrictions for contents of script elements), CSP Level 3 (hash sources).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Annotated, Any

import msgspec

from bundler import __version__
from bundler.bundle.manifest import Manifest
from bundler.report.facts import page_facts
from bundler.report.summary import summary_lines

__all__ = ["ChartLibrary", "chart_library", "is_page", "render_page"]

# In JSON, these characters occur in strings only. Escaped, no string ends the element that contains it.
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_GENERATOR = b'<meta name="generator" content="bundler '
_HEAD_SIZE = 4096


class ChartLibrary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The chart library in this package: ``page/d3/d3.toml``."""

    name: str
    version: str
    license: str
    homepage: str
    source: str
    sha256: dict[str, Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]]
    """The digest of each file."""


def chart_library() -> ChartLibrary:
    """Return the name, version, license and digests of the chart library."""
    return msgspec.toml.decode(_part("d3/d3.toml"), type=ChartLibrary)


def render_page(manifest: Manifest, against: Manifest | None = None) -> str:
    """Return the page of a bundle.

    :param against: the older bundle to compare with.
    :raises MalformedError: if the section ``shared_objects`` of a manifest is malformed.
    """
    library = chart_library()
    style = _part("page.css")
    scripts = (_part("d3/d3.min.js"), _part("charts.js"), _part("page.js"))
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src {_hash_source(style)}",
            f"script-src {' '.join(map(_hash_source, scripts))}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return _filled(
        _part("page.html"),
        {
            "policy": policy,
            "title": escape(f"{manifest.name} {manifest.version}"),
            "style": f"<style>{style}</style>",
            "summary": escape("\n".join(summary_lines(manifest))),
            "facts": _json(page_facts(manifest, against)),
            "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
            "library": escape(f"{library.name} {library.version} ({library.license})"),
            "license": escape(_part("d3/LICENSE"), quote=False),
            "generator": escape(f"bundler {__version__}"),
        },
    )


def is_page(content: bytes) -> bool:
    """Return whether the content of a file is a page of `render_page`, of any version."""
    return _GENERATOR in content[:_HEAD_SIZE]


def _part(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text("utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_UNSAFE)


def _hash_source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Replace each ``{{name}}`` of a template once, so that a value cannot contain a placeholder."""
    head, *rest = template.split("{{")
    parts = [head]
    for piece in rest:
        name, _, text = piece.partition("}}")
        parts += [values[name], text]
    return "".join(parts)
