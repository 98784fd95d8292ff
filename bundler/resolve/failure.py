"""The error for a pip that failed to resolve: the cause, the requirement's own line, and a remedy.

pip's exit code is always 1. Its output is only used to classify the failure and to find the
requirement that caused it; the facts of the message are those of the indexes and of the user's files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    canonicalize_name,
    parse_sdist_filename,
)

from bundler.archive.wheel import read_wheel
from bundler.data.import_names import provider_of
from bundler.errors import BundlerError, NetworkError, ResolutionError
from bundler.redaction import url_filename
from bundler.resolve.failed_run import (
    FailedRun,
    http_error,
    index_down,
    index_failed,
    refused,
    wrong_hash,
)
from bundler.resolve.releases import find_files
from bundler.resolve.unmet import Wanted, explain_unmet, newest_wheel, similar_names
from bundler.system.process import tail
from bundler.text import listing

if TYPE_CHECKING:
    from bundler.requirements.line import RootRequirement

__all__ = ["build_failure", "explain_failure"]

_UNMET = re.compile(
    r"^ERROR: Could not find a version that satisfies the requirement (.+?) \(from versions: ", re.MULTILINE
)
_PARENT = re.compile(r"^(?P<requirement>.+?)(?: \(from (?P<parent>[^()]+)\))?$")
# pip writes the chain behind a distribution, the nearest first; files of requirements as `-r FILE (line N)`.
_COLLECTED = re.compile(
    r"^(?:Collecting|Processing) (?P<item>\S+).*?(?: \(from (?P<chain>.+)\))?$", re.MULTILINE
)
_FETCHED = re.compile(
    r"^\s*(?:Downloading|Using cached|Processing|Saved|Link requires.*) (?P<file>\S+)", re.MULTILINE
)
_CONFLICT = re.compile(r"^The conflict is caused by:\n((?:[ \t]+.*\n?)+)", re.MULTILINE)
_USER = re.compile(r"^The user requested (?P<constraint>\(constraint\) )?(?P<text>.+)$")
_DEPENDS = re.compile(r"^(?P<owner>\S+ \S+) depends on (?P<text>.+)$")
_PYTHON = re.compile(
    r"Package '(?P<name>[^']+)' requires a different Python: (?P<found>\S+) not in '(?P<wanted>[^']+)'"
)
_BUILD = re.compile(
    r"subprocess-exited-with-error|metadata-generation-failed|Failed to build|Failed building wheel"
)
_OUTPUT = re.compile(
    r"╰─> \[\d+ lines? of output\]\n(?P<text>.*?)^\s*\[end of output\]", re.MULTILINE | re.DOTALL
)
_REFUSED_ANSWER = "ERROR: a build backend returned "
"""How ``target/scripts/run_pip.py`` begins the line for a hook whose answer leads out of the sandbox."""
_SHOWN = 6


def explain_failure(run: FailedRun) -> BundlerError:
    """Return the error for a pip that failed to resolve.

    :return: a NetworkError, an IntegrityError, a MalformedError or a ResolutionError.
    """
    explain = (
        refused,
        wrong_hash,
        _damaged,
        http_error,
        index_down,
        _failed_build,
        _no_release,
        _conflict,
        _wrong_python,
        index_failed,
    )
    for step in explain:
        error = step(run)
        if error is not None:
            return error
    lines = [
        line.removeprefix("ERROR: ").strip() for line in run.output.splitlines() if line.startswith("ERROR:")
    ]
    # After a crash, pip prints this line and a traceback, whose last line is the reason.
    evidence = tuple(line[:400] for line in dict.fromkeys(lines) if line != "Exception:")
    return ResolutionError(
        "pip cannot resolve the requirements",
        evidence=evidence[:_SHOWN] or tail(run.output, 1),
        hint="run the command again with `-v` for the output of pip",
    )


def build_failure(run: FailedRun, project: str, *, name: str) -> BundlerError:
    """Return the error for a locked source distribution that cannot be built.

    :param project: its name and version, for the message.
    :param name: its name.
    """
    for step in (refused, wrong_hash, http_error):
        if (error := step(run)) is not None:
            return error
    return _build_error(run, project, name=name)


# The causes, in the order in which they are tried.


def _damaged(run: FailedRun) -> BundlerError | None:
    """Return the error of the first wheel among the requirements that is malformed."""
    for root in run.requirements.roots if run.requirements else ():
        path = Path(root.location or "")
        if root.kind == "archive" and path.suffix == ".whl" and path.is_file():
            try:
                with path.open("rb") as stream:
                    read_wheel(stream, path.name)
            except BundlerError as error:
                return type(error)(
                    f"{error.message} ({root.origin})", evidence=error.evidence, hint="copy the file again"
                )
    return None


def _failed_build(run: FailedRun) -> BundlerError | None:
    if _BUILD.search(run.output) is None:
        return None
    sdist = None
    for match in _FETCHED.finditer(run.ended.stdout.decode("utf-8", "replace")):
        with suppress(InvalidSdistFilename, ValueError):
            sdist = parse_sdist_filename(url_filename(match["file"]))
    if sdist is None:
        return _build_error(run, "a source distribution")
    name, version = sdist
    return _build_error(run, f"`{name}` {version}", name=name)


def _no_release(run: FailedRun) -> BundlerError | None:
    match = _UNMET.search(run.output)
    parts = _PARENT.fullmatch(match[1]) if match else None
    if parts is None:
        return None
    if not run.searched:
        return ResolutionError(
            f"`{parts['requirement']}` not found: `--no-index` without `--find-links` searches nothing",
            hint="remove `--no-index`, or pass the directory of the wheels by `--find-links`",
        )
    try:
        requirement = Requirement(parts["requirement"])
        files = find_files(requirement.name, run.settings)
    except NetworkError as error:
        return error
    except InvalidRequirement:
        return None
    wanted = _wanted(run, requirement, parts["parent"])
    explained = explain_unmet(wanted, files, run.target, only_binary=run.only_binary)
    if explained is None or not files:
        return _unknown_name(run, wanted, explained.message) if explained else _constrained(run, wanted)
    facts = {"requirement": requirement.name}
    return ResolutionError(explained.message, evidence=explained.evidence, hint=explained.hint, facts=facts)


def _unknown_name(run: FailedRun, wanted: Wanted, message: str) -> BundlerError:
    """Return the error for a project that no index has, with the most similar one that exists."""
    own = [root.requirement.name for root in _all(run) if root.requirement]
    names = similar_names(wanted.requirement.name, own, lambda name: bool(find_files(name, run.settings)))
    near = next(names, None)
    if near:
        hint = f"did you mean `{near}`? {wanted.change(near)}"
    else:
        hint = "check the spelling, or pass the index that has it with `--extra-index-url`"
    searched = f"searched  {listing(run.searched, _SHOWN)}"
    facts = {"requirement": wanted.requirement.name}
    return ResolutionError(message, evidence=(searched,), hint=hint, facts=facts)


def _constrained(run: FailedRun, wanted: Wanted) -> BundlerError | None:
    """Return the error for a requirement that a constraint of the user excludes."""
    name = canonicalize_name(wanted.requirement.name)
    for root in run.requirements.constraints if run.requirements else ():
        if root.requirement is not None and canonicalize_name(root.requirement.name) == name:
            return ResolutionError(
                f"`{wanted.requirement}`{wanted.place} and the constraint `{root.text}` ({root.origin}) "
                "exclude each other",
                hint=f"change the constraint in {root.origin}",
            )
    return None


def _conflict(run: FailedRun) -> BundlerError | None:
    match = _CONFLICT.search(run.output)
    if match is None:
        return None
    causes = list(dict.fromkeys(_cause(run, line.strip()) for line in match[1].splitlines() if line.strip()))
    first, second = causes[0], causes[1] if len(causes) > 1 else ("", "")
    message = f"{first[0]} and {second[0]} exclude each other" if second[0] else f"{first[0]} cannot be met"
    rest = [text for text, _ in causes[2:]]
    owner = first[1] or second[1]
    hint = f"require other versions: {owner}" if owner else None
    return ResolutionError(
        message,
        evidence=(f"also    {listing(rest, _SHOWN)}",) if rest else (),
        hint=hint,
    )


def _cause(run: FailedRun, line: str) -> tuple[str, str]:
    """Return one side of a conflict with the place it comes from, and a change that removes it."""
    if user := _USER.match(line):
        roots = run.requirements.constraints if user["constraint"] and run.requirements else _all(run)
        for root in roots:
            if root.text.replace(" ", "") == user["text"].replace(" ", ""):
                name = root.requirement.name if root.requirement else root.text
                kind = "the constraint " if user["constraint"] else ""
                place = "on the command line" if root.origin == "command line" else f"in {root.origin}"
                return f"{kind}`{root.text}` ({root.origin})", f"write `{name}` without a version {place}"
        return f"`{user['text']}`", ""
    if depends := _DEPENDS.match(line):
        name, _, version = depends["owner"].partition(" ")
        wanted = _wanted(run, Requirement(f"{canonicalize_name(name.partition('[')[0])}=={version}"), None)
        chain = [*wanted.parents, wanted.origin] if wanted.origin else [*wanted.parents]
        by = f" ({', '.join(chain)})" if chain else ""
        return f"`{depends['text']}`, required by {name} {version}{by}", ""
    return line, ""


def _wrong_python(run: FailedRun) -> BundlerError | None:
    match = _PYTHON.search(run.output)
    if match is None:
        return None
    wanted = _wanted(run, Requirement(canonicalize_name(match["name"])), None)
    return ResolutionError(
        f"{match['name']} needs Python {match['wanted']}{wanted.place}; the target is {match['found']}",
        hint="pass another target with `--python`",
    )


# The user's requirements behind a distribution.


def _all(run: FailedRun) -> tuple[RootRequirement, ...]:
    if run.requirements is None:
        return ()
    return (*run.requirements.roots, *run.requirements.constraints)


def _wanted(run: FailedRun, requirement: Requirement, parent: str | None) -> Wanted:
    """Return a requirement with the place it comes from.

    :param parent: the distribution that requires it, or None if the user does, or it is not known.
    """
    chain = [*([parent] if parent else []), *_chain(run, parent or requirement.name)]
    for name in [requirement.name, *chain] if not parent else chain:
        for root in run.requirements.roots if run.requirements else ():
            if root.requirement and canonicalize_name(root.requirement.name) == canonicalize_name(name):
                parents = tuple(reversed(chain[: chain.index(name) + 1])) if name in chain else ()
                return Wanted(requirement=requirement, origin=root.origin, parents=parents)
    return Wanted(requirement=requirement, origin="", parents=tuple(reversed(chain)))


def _chain(run: FailedRun, name: str) -> Iterator[str]:
    """Yield the distributions that lead to ``name`` by pip's output, the nearest first."""
    key = canonicalize_name(name)
    for match in _COLLECTED.finditer(run.ended.stdout.decode("utf-8", "replace")):
        item = re.split(r"[\[<>=!~;]", url_filename(match["item"]))[0]
        item = item.partition("-")[0] if item.endswith((".whl", ".gz", ".zip")) else item
        if canonicalize_name(item) == key and match["chain"]:
            for step in match["chain"].split("->"):
                if step.startswith(("-r ", "-c ")):
                    return
                yield re.split(r"[\[<>=!~;]", step)[0]
            return


def _build_error(run: FailedRun, project: str, *, name: str = "") -> ResolutionError:
    """Return the error for a source distribution whose build failed, with a release that has a wheel."""
    outputs = _OUTPUT.findall(run.ended.stderr)
    # The sandbox refuses the answer of a hook that succeeded: its own output shows no fault.
    refused = [line for line in run.ended.stderr.splitlines() if line.lstrip().startswith(_REFUSED_ANSWER)]
    evidence = refused or tail(outputs[-1] if outputs else run.ended.stderr, _SHOWN)
    wanted = _wanted(run, Requirement(name), None) if name else None
    hint = _instead(run, wanted) if wanted else None
    place = wanted.place if wanted else ""
    return ResolutionError(
        f"{project} cannot be built for Python {run.target.version}{place}: its source distribution failed",
        evidence=tuple(line.strip() for line in evidence),
        hint=hint or "install the programs that its last lines name, or require a release with a wheel",
    )


def _instead(run: FailedRun, wanted: Wanted) -> str | None:
    """Return the hint to require a release with a wheel, or the project of a module."""
    name = wanted.requirement.name
    project = provider_of(name)
    if canonicalize_name(project) != canonicalize_name(name):
        return f"did you mean `{project}`? {wanted.change(project)}"
    with suppress(NetworkError):
        newest = newest_wheel(find_files(name, run.settings), run.target)
        if newest:
            return f"{wanted.change(f'{name}=={newest}')}, the newest release with a wheel"
    return None
