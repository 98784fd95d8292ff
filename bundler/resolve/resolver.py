"""The protocol of resolvers, and the one with pip.

The target's pip resolves under the target Python, in an empty environment, and
installs nothing (``--dry-run --report``). `resolve.uv_resolver` has the other one.

Spec: pip's installation report, version 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.digest import Sha256, parse_sha256
from bundler.errors import ResolutionError, UsageError
from bundler.problems import closest
from bundler.redaction import redact, split_url, url_filename
from bundler.resolve.failed_run import FailedRun
from bundler.resolve.failure import explain_failure
from bundler.resolve.locations import file_path
from bundler.resolve.lockfile import Lock, LockedDistribution
from bundler.resolve.pip import Toolchain
from bundler.resolve.sdist import hash_tree
from bundler.resolve.unmet import COMMAND_LINE
from bundler.text import listing

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.resolve.index import IndexSettings
    from bundler.system.process import Completed

__all__ = ["PipResolver", "Resolver", "Source", "location_of", "sha256_in"]

_REQUIREMENTS = "requirements.txt"
_CONSTRAINTS = "constraints.txt"
_PREFERRED = "preferred.txt"
_UPLOADED_PRIOR_TO = Version("26.0")
"""The first pip with the option ``--uploaded-prior-to``."""
_NO_EXTRA = re.compile(r"^WARNING: (\S+) (\S+) does not provide the extra '([^']+)'", re.MULTILINE)
_COLLECTING = re.compile(rb"^\s*(?:Collecting|Processing|Downloading|Using cached) (\S+)")


class Resolver(Protocol):
    """Selects one distribution of each required project, dependencies included."""

    @property
    def name(self) -> str:
        """The program, with its version."""

    def resolve(
        self, requirements: RequirementSet, *, reporter: Reporter, preferred: Sequence[str] = ()
    ) -> Lock:
        """Return the lock.

        :param preferred: pins (``six==1.16.0``) that are kept unless they prevent a resolution.
        :raises ResolutionError: if no set of distributions satisfies the requirements.
        :raises NetworkError: if the index cannot be reached.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A distribution without its dependencies."""

    locked: LockedDistribution
    metadata: Mapping[str, Any]
    """Its core metadata, as JSON (PEP 566)."""
    extras: tuple[str, ...]
    """The extras that the requirement names."""


class PipResolver:
    """Resolves with the target's pip.

    :param toolchain: the pip; see `resolve.pip`.
    :param only_binary: whether to reject source distributions.
    :param exclude_newer: the time from which files count as not uploaded yet, in RFC 3339.
    """

    def __init__(
        self, toolchain: Toolchain, *, only_binary: bool = False, exclude_newer: str | None = None
    ) -> None:
        self._toolchain = toolchain
        self._only_binary = only_binary
        self._exclude_newer = exclude_newer

    @property
    def name(self) -> str:
        """The program, with its version."""
        return f"pip {self._toolchain.versions['pip']}"

    def resolve(
        self, requirements: RequirementSet, *, reporter: Reporter, preferred: Sequence[str] = ()
    ) -> Lock:
        """Run pip and read its report; again without the preferred pins that it could not satisfy."""
        items = self._report(requirements, reporter=reporter, preferred=preferred)
        constrained = {
            canonicalize_name(root.requirement.name) for root in requirements.constraints if root.requirement
        }
        for item in items:
            if item["is_direct"] and not item["requested"]:
                _refuse_url(item, constrained)
        packages = [self._locked(item, reporter) for item in items]
        texts = sorted({root.text for root in requirements.roots})
        return Lock(
            requirements=tuple(texts),
            packages=tuple(sorted(packages, key=lambda item: item.name)),
            resolver="pip",
        )

    def sources(self, requirements: RequirementSet, *, reporter: Reporter) -> list[Source]:
        """Return the distributions of requirements, without their dependencies.

        :raises ResolutionError: if a requirement cannot be satisfied.
        :raises NetworkError: if a file cannot be fetched.
        """
        return [
            Source(
                locked=self._locked(item, reporter),
                metadata=item["metadata"],
                extras=tuple(item.get("requested_extras", ())),
            )
            for item in self._report(requirements, reporter=reporter, options=["--no-deps"])
        ]

    def _report(
        self,
        requirements: RequirementSet,
        *,
        reporter: Reporter,
        preferred: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return the distributions of pip's report.

        :param options: further options of pip.
        """
        report_file = self._toolchain.scratch / "resolution.json"
        arguments = [
            "install",
            "--dry-run",
            "--ignore-installed",
            "--no-warn-script-location",
            "--use-pep517",
            *options,
        ]
        arguments += ["--report", str(report_file), *self._arguments(requirements, preferred)]
        with reporter.task("lock", None) as task:

            def advance(line: bytes) -> None:
                if match := _COLLECTING.match(line):
                    task.name(url_filename(match[1].decode("utf-8", "replace")))
                    task.advance(line.startswith((b"Collecting", b"Processing")))

            ended = self._toolchain.run_pip(
                arguments,
                on_stdout=advance,
                extra_env={
                    name: self._toolchain.host.environ.get(name, "") for name in requirements.variables
                },
            )
        if ended.returncode != 0:
            run = FailedRun(
                ended=ended,
                settings=self._toolchain.settings,
                target=self._toolchain.target,
                only_binary=self._only_binary,
                requirements=requirements,
            )
            shown = _with_origins(ended, requirements, self._toolchain.scratch)
            for line in replace(run, ended=shown).output.splitlines():
                reporter.detail(line)
            failure = explain_failure(run)
            if preferred and isinstance(failure, ResolutionError):
                fitting = _fitting(preferred, ended)
                return self._report(requirements, reporter=reporter, preferred=fitting, options=options)
            raise failure
        items: list[dict[str, Any]] = json.loads(report_file.read_text("utf-8"))["install"]
        for warning in _unknown_extras(ended, requirements, items):
            reporter.warn(warning)
        return items

    def _arguments(self, requirements: RequirementSet, preferred: Sequence[str]) -> Sequence[str]:
        """Return the options, files first, so that those of the command line override them."""
        arguments = [*requirements.pip_options]
        if requirements.require_hashes:
            arguments.append("--require-hashes")
        if self._only_binary:
            arguments += ["--only-binary", ":all:"]
        if self._toolchain.is_foreign:
            arguments += self._platform_options()
        if self._exclude_newer:
            arguments += ["--uploaded-prior-to", self._checked_time(self._exclude_newer)]
        arguments += ["-r", self._written(_REQUIREMENTS, requirements.requirement_lines)]
        if requirements.constraint_lines:
            arguments += ["-c", self._written(_CONSTRAINTS, requirements.constraint_lines)]
        if preferred:
            arguments += ["-c", self._written(_PREFERRED, preferred)]
        return arguments

    def _platform_options(self) -> Iterator[str]:
        """Yield the options for another platform; `target/scripts/run_pip.py` gets its markers."""
        target = self._toolchain.target
        yield from ("--target", str(self._toolchain.scratch / "nowhere"), "--implementation", "cp")
        yield from ("--python-version", target.version, "--abi", target.abi)
        for platform in dict.fromkeys(tag.platform for tag in target.tags if tag.platform != "any"):
            yield from ("--platform", platform)

    def _checked_time(self, time: str) -> str:
        """Return the time from which files are ignored.

        :raises UsageError: if the pip of the target does not support it.
        """
        version = self._toolchain.versions["pip"]
        if Version(version) < _UPLOADED_PRIOR_TO:
            raise UsageError(
                f"`--exclude-newer` needs pip {_UPLOADED_PRIOR_TO}, or uv",
                evidence=(f"found   pip {version}, the newest one for the target",),
                hint="--resolver uv",
            )
        return time

    def _written(self, name: str, lines: Sequence[str]) -> str:
        """Write a private file for pip.

        Not as arguments: a URL may contain a token, and other users can read the
        arguments of a process.
        """
        path = self._toolchain.scratch / name
        path.touch(mode=0o600)
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return str(path)

    def _locked(self, item: dict[str, Any], reporter: Reporter) -> LockedDistribution:
        requires = tuple(item["metadata"].get("requires_dist", ()))
        return replace(self._source(item, reporter), requires_dist=requires)

    def _source(self, item: dict[str, Any], reporter: Reporter) -> LockedDistribution:
        info = item["download_info"]
        metadata = item["metadata"]
        name = canonicalize_name(metadata["name"])
        version = Version(metadata["version"])
        if item.get("is_yanked"):
            reporter.warn(f"`{name}` {version} was yanked by its authors")
        url = split_url(info["url"])[0].partition("#")[0]
        url = self._toolchain.origins.get(url, url)
        subdirectory = info.get("subdirectory")
        if "vcs_info" in info:
            return LockedDistribution(
                name=name,
                version=version,
                kind="vcs",
                location=url,
                filename=url_filename(url),
                sha256=None,
                commit=info["vcs_info"]["commit_id"],
                subdirectory=subdirectory,
            )
        if "dir_info" in info:
            folder = Path(file_path(url))
            return LockedDistribution(
                name=name,
                version=version,
                kind="directory",
                location=str(folder),
                filename=folder.name,
                sha256=hash_tree(folder),
            )
        filename = url_filename(url)
        return LockedDistribution(
            name=name,
            version=version,
            kind="wheel" if filename.endswith(".whl") else "sdist",
            location=location_of(url, self._toolchain.settings),
            filename=filename,
            sha256=sha256_in(info.get("archive_info", {}).get("hashes", {}), filename),
            index=None if item["is_direct"] else self._toolchain.settings.name_of(url),
            subdirectory=subdirectory,
        )


def _fitting(preferred: Sequence[str], ended: Completed) -> list[str]:
    """Return the pins without those that pip names as a cause of its failure; none if it names none.

    A conflict names pins as constraints, beside distributions that merely take part in it.
    """
    conflict = ended.stdout.decode("utf-8", "replace").partition("The conflict is caused by:")[2]
    constraints = "\n".join(line for line in conflict.splitlines() if "(constraint)" in line)
    for errors in (constraints, ended.stderr + conflict):
        fitting = [pin for pin in preferred if not _is_named(pin, errors)]
        if len(fitting) < len(preferred):
            return fitting
    return []


def _is_named(pin: str, text: str) -> bool:
    """Return whether a text names the project of a pin, in any spelling of the name."""
    name = re.escape(pin.partition("==")[0]).replace(r"\-", "[-_.]+")
    return re.search(rf"(?<![\w.-]){name}(?![\w-])", text, re.IGNORECASE) is not None


def location_of(url: str, settings: IndexSettings) -> str:
    """Return the location of a file in a lock: a path, or a URL without credentials."""
    url = split_url(url)[0].partition("#")[0]
    # An index can have a token in its path, and so can the URLs of its files.
    return str(Path(file_path(url))) if url.startswith("file:") else settings.without_tokens(url)


def sha256_in(hashes: Mapping[str, str], filename: str) -> Sha256:
    """Return the sha256 of a file.

    :param hashes: its hashes, by algorithm.
    :raises ResolutionError: if there is none.
    """
    try:
        return parse_sha256(hashes["sha256"])
    except (KeyError, ValueError):
        raise ResolutionError(
            f"the index provides no sha256 for `{filename}`",
            evidence=(f"found   {redact(', '.join(sorted(hashes))) or 'no hash'}",),
            hint="download the file, and require it by its path",
        ) from None


def _unknown_extras(
    ended: Completed, requirements: RequirementSet, installed: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Yield a warning for each extra that a distribution does not have, which pip leaves out."""
    origins = {
        canonicalize_name(root.requirement.name): root.origin
        for root in requirements.roots
        if root.requirement is not None
    }
    for name, version, extra in dict.fromkeys(_NO_EXTRA.findall(ended.stderr)):
        key = canonicalize_name(name)
        # pip also writes it about releases that it considered, and did not choose.
        chosen = [
            item["metadata"]
            for item in installed
            if (canonicalize_name(item["metadata"]["name"]), item["metadata"]["version"]) == (key, version)
        ]
        if not chosen:
            continue
        known = [canonicalize_name(item) for item in chosen[0].get("provides_extra", ())]
        near = closest(canonicalize_name(extra), known, cutoff=0.6)
        origin = origins.get(key, "")
        place = f" ({origin})" if origin not in ("", COMMAND_LINE) else ""
        others = f"; its extras are {listing(known, 5)}" if known else ""
        meant = f"; did you mean `{name}[{near}]`?" if near else others
        yield f"`{name}` {version} has no extra `{extra}`{place}: it is left out{meant}"


def _refuse_url(item: dict[str, Any], constrained: Collection[str]) -> None:
    """Raise an error for a dependency by URL, which an index such as PyPI does not permit either.

    :param constrained: the names for which the user wrote a constraint, which may contain the URL.
    """
    name = canonicalize_name(item["metadata"]["name"])
    if name in constrained:
        return
    info = item["download_info"]
    url, _ = split_url(info["url"])
    if "vcs_info" in info:
        url = f"{info['vcs_info']['vcs']}+{url}@{info['vcs_info']['commit_id']}"
    elif "sha256" in (hashes := info.get("archive_info", {}).get("hashes", {})):
        url = f"{url.partition('#')[0]}#sha256={hashes['sha256']}"
    raise ResolutionError(
        f"a dependency requires `{name}` by a URL, which can change, or belong to another owner",
        evidence=(f"found   {url}",),
        hint=f"if you trust it, require it yourself: `{name} @ {url}`",
    )


def _with_origins(ended: Completed, requirements: RequirementSet, scratch: Path) -> Completed:
    """Return the output of pip, with the origins of the user's requirements for the lines of our files."""
    origins = {_REQUIREMENTS: requirements.roots, _CONSTRAINTS: requirements.constraints}
    names = "|".join(re.escape(name) for name in origins)
    # pip quotes a line as `-r PATH (line 4)`.
    place = re.compile(rf"-[rc] {re.escape(str(scratch))}/({names}) \(line (\d+)\)")

    def origin(match: re.Match[str]) -> str:
        return origins[match[1]][int(match[2]) - 1].origin

    stdout = place.sub(origin, ended.stdout.decode("utf-8", "replace"))
    return replace(ended, stdout=stdout.encode(), stderr=place.sub(origin, ended.stderr))
