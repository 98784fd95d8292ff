"""Stage 7, pure: can pip install requirements while a container starts without a network?

It can from a folder of wheels. pip is run in the folder of the service, not in
the application root, so that a relative ``PIP_FIND_LINKS`` leads elsewhere.
Tried with pip 22.0.4: an index that cannot be reached is asked five times for
each project and then passed over, if a folder of wheels is named too.
"""

from __future__ import annotations

import configparser
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from bundler.checks.findings import Finding
from bundler.deploy.startup.variables import BootEnv, ResolvedPath
from bundler.paths import printable

__all__ = ["PipRun", "plan_pip"]

_VARIABLE = "AZUREML_EXTRA_REQUIREMENTS_TXT"
_TRUE = frozenset({"1", "true", "yes", "y", "t", "on"})
_COMMENT = re.compile(r"(?:^|\s)#.*")
_OPTION = re.compile(r"(?:^|\s)(--no-index\b|(?:--find-links|-f)[=\s]+(\S+))")


@dataclass(frozen=True, kw_only=True, slots=True)
class PipRun:
    """How ``pip install -r`` would end."""

    fails: str
    """Why it would fail; empty if it would not."""
    folders: tuple[str, ...]
    """Where wheels are taken from."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sources:
    no_index: bool
    links: tuple[ResolvedPath, ...]
    remote: tuple[str, ...]


def plan_pip(boot: BootEnv, path: str, *, offline: bool) -> PipRun:
    """Return how pip would end.

    :param path: the requirements, a file that is there.
    :param offline: whether there is no network.
    """
    lines = list(_lines(boot.files.read(path).decode("utf-8", "replace")))
    wanted = list(_requirements(lines))
    sources = _sources(boot, path, lines)
    findings = list(_unpinned(wanted, path)) if not sources.no_index else []
    folders = [place for place in sources.links if boot.is_dir(place) or boot.is_file(place)]
    fails = ""
    if (offline or sources.no_index) and any(not line.startswith("-") for line in lines):
        fails = _why_not(boot, wanted, sources, folders)
        if not fails and not sources.no_index:
            message = (
                "an index is asked for each project before the folder is used: `PIP_NO_INDEX` is not set"
            )
            findings.append(Finding(code="D621", message=message, where=path))
    return PipRun(fails=fails, folders=tuple(place.display for place in folders), findings=tuple(findings))


def _why_not(boot: BootEnv, wanted: list[Requirement], sources: _Sources, folders: list[ResolvedPath]) -> str:
    remote = [one for one in wanted if one.url and one.url.startswith(("http:", "https:", "git+"))]
    if remote:
        return f"`{remote[0].name}` is taken from an address"
    if not folders:
        named = [*(f"`{printable(one.display)}` is not there" for one in sources.links)]
        named += [f"`{printable(one)}` is on the network" for one in sources.remote]
        return named[0] if named else "no folder of wheels is named: `PIP_FIND_LINKS`"
    if not all(place.known and place.path is not None and boot.files.is_dir(place.path) for place in folders):
        return ""
    present = [one for place in folders for one in _present(boot.files.names(place.display))]
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        versions = [version for found, version in present if found == name]
        if (
            requirement.marker is None
            and requirement.url is None
            and not any(requirement.specifier.contains(one, prereleases=True) for one in versions)
        ):
            found = f"it has {', '.join(map(str, sorted(versions)))}" if versions else "it has none"
            return f"`{printable(folders[0].display)}` has no wheel for `{requirement}`: {found}"
    return ""


def _present(names: tuple[str, ...]) -> Iterator[tuple[NormalizedName, Version]]:
    for name in names:
        try:
            if name.endswith(".whl"):
                yield parse_wheel_filename(name)[:2]
            else:
                yield parse_sdist_filename(name)
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue


def _lines(text: str) -> Iterator[str]:
    """Yield the logical lines of a requirements file, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        if bare := _COMMENT.sub("", line).strip():
            yield bare


def _requirements(lines: list[str]) -> Iterator[Requirement]:
    for line in lines:
        try:
            yield Requirement(line.partition(" --")[0])
        except InvalidRequirement:
            continue  # an option, a path or an address


def _unpinned(wanted: list[Requirement], path: str) -> Iterator[Finding]:
    for one in wanted:
        if one.url is None and not any(spec.operator in ("==", "===") for spec in one.specifier):
            message = f"`{one}` may be another version at the next start"
            yield Finding(code="D622", message=message, distribution=canonicalize_name(one.name), where=path)


def _sources(boot: BootEnv, path: str, lines: list[str]) -> _Sources:
    config = _config(boot)
    no_index = boot.env.get("PIP_NO_INDEX") or config.get("no-index", "")
    named = [(one, "") for one in (boot.env.get("PIP_FIND_LINKS") or config.get("find-links", "")).split()]
    options = [match for line in lines if line.startswith("-") for match in _OPTION.finditer(line)]
    named += [(match[2], posixpath.dirname(path)) for match in options if match[2]]
    remote = tuple(one for one, _ in named if "://" in one and not one.startswith("file://"))
    return _Sources(
        no_index=no_index.lower() in _TRUE or any(match[1] == "--no-index" for match in options),
        links=tuple(_link(boot, one, beside) for one, beside in named if one not in remote),
        remote=remote,
    )


def _link(boot: BootEnv, named: str, beside: str) -> ResolvedPath:
    """Return where a folder of wheels is; those that the file names may lie beside it."""
    named = named.removeprefix("file://")
    near = boot.place(posixpath.join(beside, named))
    return near if beside and boot.is_dir(near) else boot.place(named)


def _config(boot: BootEnv) -> Mapping[str, str]:
    """Return pip's settings of PIP_CONFIG_FILE, as far as they are known."""
    named = boot.env.get("PIP_CONFIG_FILE", "")
    place = boot.place(named)
    found: dict[str, str] = {}
    if named and place.known and place.path is not None and boot.files.is_file(place.path):
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(boot.files.read(place.path).decode("utf-8", "replace"))
        except configparser.Error:
            return found
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    return found
