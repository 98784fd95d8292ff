"""Stage 7, pure: predict ``pip install -r`` at the start of a container without a network.

It succeeds only from a directory of wheels. The working directory of pip is the service's, not
the application root: a relative ``PIP_FIND_LINKS`` starts there.

Source: pip 22.0.4, observed: it retries an unreachable index five times for each project, then
uses the directories of ``--find-links``.
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
from bundler.text import listing

__all__ = ["PipRun", "plan_pip"]

_MAX_VERSIONS = 5

_VARIABLE = "AZUREML_EXTRA_REQUIREMENTS_TXT"
_TRUE = frozenset({"1", "true", "yes", "y", "t", "on"})
_COMMENT = re.compile(r"(?:^|\s)#.*")
_OPTION = re.compile(r"(?:^|\s)(--no-index\b|(?:--find-links|-f)[=\s]+(\S+))")


@dataclass(frozen=True, kw_only=True, slots=True)
class PipRun:
    """The predicted result of ``pip install -r``."""

    fails: str
    """The reason why it fails; empty if it succeeds."""
    folders: tuple[str, ...]
    """The directories of wheels that it uses."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sources:
    """The sources of distributions that pip is configured for."""

    no_index: bool
    links: tuple[ResolvedPath, ...]
    remote: tuple[str, ...]


def plan_pip(boot: BootEnv, path: str, *, offline: bool) -> PipRun:
    """Predict the result of pip.

    :param path: the requirements file; it exists.
    :param offline: whether the container has no network.
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
            message = "pip tries the index for each project before the directory: `PIP_NO_INDEX` is not set"
            findings.append(Finding(code="D621", message=message, where=path))
    return PipRun(fails=fails, folders=tuple(place.display for place in folders), findings=tuple(findings))


def _why_not(boot: BootEnv, wanted: list[Requirement], sources: _Sources, folders: list[ResolvedPath]) -> str:
    """Return why pip fails without a network; empty if it succeeds, or if a directory is unknown."""
    remote = [item for item in wanted if item.url and item.url.startswith(("http:", "https:", "git+"))]
    if remote:
        return f"`{remote[0].name}` is required from a URL"
    if not folders:
        reasons = [f"directory not found: `{printable(place.display)}`" for place in sources.links]
        reasons += [f"`{printable(url)}` is on the network" for url in sources.remote]
        return reasons[0] if reasons else "no directory of wheels: `PIP_FIND_LINKS` is not set"
    if not all(place.known and place.path is not None and boot.files.is_dir(place.path) for place in folders):
        return ""
    present = [item for place in folders for item in _present(boot.files.names(place.display))]
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        versions = [version for project, version in present if project == name]
        # A marker is evaluated by the target's Python, which is not known here.
        if (
            requirement.marker is None
            and requirement.url is None
            and not any(requirement.specifier.contains(version, prereleases=True) for version in versions)
        ):
            listed = listing(map(str, sorted(versions)), _MAX_VERSIONS) or "none"
            return f"`{printable(folders[0].display)}` has no wheel for `{requirement}`: found {listed}"
    return ""


def _present(names: tuple[str, ...]) -> Iterator[tuple[NormalizedName, Version]]:
    """Yield name and version of each distribution among file names."""
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
            continue  # an option, a path or a URL


def _unpinned(wanted: list[Requirement], path: str) -> Iterator[Finding]:
    for requirement in wanted:
        pinned = any(specifier.operator in ("==", "===") for specifier in requirement.specifier)
        if requirement.url is None and not pinned:
            message = f"`{requirement}` is not pinned: the version can change with each start"
            name = canonicalize_name(requirement.name)
            yield Finding(code="D622", message=message, distribution=name, where=path)


def _sources(boot: BootEnv, path: str, lines: list[str]) -> _Sources:
    config = _config(boot)
    no_index = boot.env.get("PIP_NO_INDEX") or config.get("no-index", "")
    find_links = boot.env.get("PIP_FIND_LINKS") or config.get("find-links", "")
    named = [(link, "") for link in find_links.split()]
    options = [match for line in lines if line.startswith("-") for match in _OPTION.finditer(line)]
    named += [(match[2], posixpath.dirname(path)) for match in options if match[2]]
    remote = tuple(link for link, _ in named if "://" in link and not link.startswith("file://"))
    return _Sources(
        no_index=no_index.lower() in _TRUE or any(match[1] == "--no-index" for match in options),
        links=tuple(_link(boot, link, beside) for link, beside in named if link not in remote),
        remote=remote,
    )


def _link(boot: BootEnv, named: str, beside: str) -> ResolvedPath:
    """Resolve a directory of wheels; pip also tries options of a file relative to that file."""
    named = named.removeprefix("file://")
    near = boot.place(posixpath.join(beside, named))
    return near if beside and boot.is_dir(near) else boot.place(named)


def _config(boot: BootEnv) -> Mapping[str, str]:
    """Return pip's settings in PIP_CONFIG_FILE; empty if the file is unknown or malformed."""
    named = boot.env.get("PIP_CONFIG_FILE", "")
    place = boot.place(named)
    settings: dict[str, str] = {}
    if named and place.known and place.path is not None and boot.files.is_file(place.path):
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(boot.files.read(place.path).decode("utf-8", "replace"))
        except configparser.Error:
            return settings
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    return settings
