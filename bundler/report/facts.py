"""Pure: the data of the page, computed from a manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from packaging.utils import NormalizedName, canonicalize_name

from bundler.bundle.document import DistributionSection, FindingSection
from bundler.bundle.manifest import Manifest, OwnedFile
from bundler.checks.dependencies import requirement_chain
from bundler.checks.explain import requirements_in
from bundler.checks.findings import Finding
from bundler.checks.import_results import HARMLESS
from bundler.checks.report import USAGE_MODES
from bundler.data.finding_rules import rules_by_code
from bundler.report.comparison import compare_bundles
from bundler.report.libraries import NativeLibrary, highest_glibc, native_libraries
from bundler.report.summary import NOT_DECLARED, imported_count, verdict_of

__all__ = ["page_facts"]

_SMALL = 2_000
"""A directory below this part of the bundle (one 2,000th) is too small to see: it counts for its parent."""
_DEPTH = 5
"""Levels of directories below a distribution."""


def page_facts(manifest: Manifest, against: Manifest | None = None) -> dict[str, Any]:
    """Return the data of the page as plain values.

    :param against: the older bundle to compare with.
    :raises MalformedError: if the section ``shared_objects`` of a manifest is malformed.
    """
    document = manifest.document
    libraries = native_libraries(manifest)
    files = defaultdict(list)
    for file in manifest.files:
        files[file.owner].append(file)
    asked, edges = requirements_in(manifest)
    total = sum(file.size for file in manifest.files)
    return {
        "name": manifest.name,
        "version": manifest.version,
        "identity": manifest.identity,
        "verdict": asdict(verdict_of(manifest)),
        "target": {"python": document.target.python_full_version, "platform": document.target.platform},
        "requirements": list(document.requirements),
        "indexes": list(document.indexes),
        "base": {"provided": document.base.provided, "conda": list(document.base.conda)},
        "size": total,
        "files": len(manifest.files) + 1,  # and manifest.json, as `verify` counts
        "glibc": document.verification.glibc,
        "missing_promises": _missing_promises(document.host),
        "distributions": [
            {
                **_distribution(item, files[item.name], libraries),
                "because": list(requirement_chain(asked, edges, NormalizedName(item.name))),
            }
            for item in document.distributions
        ],
        "edges": [
            {"from": owner, "to": canonicalize_name(requirement.name), "requirement": str(requirement)}
            for owner, requirements in (("", asked), *edges.items())  # "" is the user
            for requirement in requirements
        ],
        "sizes": [
            *(_tree(item.name, files[item.name], total // _SMALL) for item in document.distributions),
            _tree("pylock.toml", files["bundler"], total),
        ],
        "modes": [
            {"mode": mode, "title": USAGE_MODES[mode], "ok": imported_count(results), "count": len(results)}
            for mode, results in document.verification.ways.items()
        ],
        "imports": list(_imports(manifest)),
        "findings": list(_findings(manifest)),
        "libraries": [
            {
                "path": library.path,
                "distribution": library.distribution,
                "glibc": library.glibc,
                "symbol": library.symbol,
                "versions": library.versions,
                "external": list(library.external),
            }
            for library in libraries
        ],
        "difference": compare_bundles(against, manifest).to_json() if against is not None else None,
    }


def _missing_promises(host: Mapping[str, Any]) -> list[str]:
    """Return the promises of the sandbox that the build host did not keep; the section is not validated."""
    sandbox = host.get("sandbox")
    missing = sandbox.get("missing") if isinstance(sandbox, dict) else None
    return [str(text) for text in missing] if isinstance(missing, list) else []


def _distribution(
    item: DistributionSection, files: list[OwnedFile], libraries: tuple[NativeLibrary, ...]
) -> dict[str, Any]:
    own = [library for library in libraries if library.distribution == item.name]
    return {
        "name": item.name,
        "version": item.version,
        "wheel": item.wheel,
        "built_from": item.built_here.from_ if item.built_here else "",
        "license": item.licence or NOT_DECLARED,
        "size": sum(file.size for file in files),
        "files": len(files),
        "libraries": len(own),
        "glibc": highest_glibc(own),
    }


def _tree(name: str, files: list[OwnedFile], small: int) -> dict[str, Any]:
    """Return the size of a distribution by directory; ``own`` counts files directly in a directory."""
    root: dict[str, Any] = {"name": name, "size": 0, "children": {}}
    for file in files:
        node = root
        node["size"] += file.size
        for part in _directories(file.path):
            node = node["children"].setdefault(part, {"name": part, "size": 0, "children": {}})
            node["size"] += file.size
    return _listed(root, small)


def _directories(path: str) -> list[str]:
    """Return the directories of a file below ``site-packages``, or below the bundle for others."""
    parts = path.split("/")[:-1]
    if "site-packages" in parts:
        parts = parts[parts.index("site-packages") + 1 :]
    return parts[:_DEPTH]


def _listed(node: dict[str, Any], small: int) -> dict[str, Any]:
    children = [_listed(child, small) for child in node["children"].values() if child["size"] > small]
    children.sort(key=lambda child: (-child["size"], child["name"]))
    result = {"name": node["name"], "size": node["size"]}
    return {**result, "children": children} if children else result


def _imports(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yield the outcomes of each module, by mode of use."""
    modules: dict[tuple[str, str], dict[str, dict[str, str]]] = defaultdict(dict)
    for mode, results in manifest.document.verification.ways.items():
        for result in results:
            modules[result.distribution, result.module][mode] = {
                "status": result.status,
                "detail": result.detail,
            }
    for (distribution, module), outcomes in sorted(modules.items()):
        failed = any(outcome["status"] not in HARMLESS for outcome in outcomes.values())
        yield {"distribution": distribution, "module": module, "modes": outcomes, "failed": failed}


def _findings(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yield the findings in the order of the manifest, each with the title and fix of its code."""
    rules = rules_by_code()
    for finding in manifest.document.verification.findings:
        rule = rules.get(finding.code)
        yield {
            "code": finding.code,
            "severity": finding.severity,
            "allowed": finding.allowed,
            "distribution": finding.distribution,
            "message": finding.message,
            "where": finding.where,
            "title": rule.title if rule else "",
            "fix": _remedy(finding) if rule else "",
        }


def _remedy(item: FindingSection) -> str:
    finding = Finding(code=item.code, message=item.message, distribution=item.distribution, where=item.where)
    return finding.remedy
