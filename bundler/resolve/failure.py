"""The error for a pip that failed to resolve: the cause, the requirement's own line, and a remedy.

pip's exit code is always 1. Its output is only used to classify the failure and to find the
requirement that caused it; the facts of the message are those of the indexes and of the user's files.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    canonicalize_name,
    parse_sdist_filename,
)

from bundler.archive.wheel import read_wheel
from bundler.data.import_names import provider_of
from bundler.errors import BundlerError, IntegrityError, NetworkError, ResolutionError
from bundler.redaction import url_filename
from bundler.resolve.failed_run import FailedRun
from bundler.resolve.refusal import refused
from bundler.resolve.releases import find_files
from bundler.resolve.unmet import (
    COMMAND_LINE,
    IndexFile,
    Wanted,
    explain_unmet,
    newest_wheel,
    python_in,
    similar_names,
)
from bundler.system.process import tail
from bundler.text import listing

__all__ = ["build_failure", "explain_failure"]

_UNMET = re.compile(
    r"^ERROR: Could not find a version that satisfies the requirement (.+?) \(from versions: ", re.MULTILINE
)
_PARENT = re.compile(r"^(?P<requirement>.+?)(?: \(from (?P<parent>[^()]+)\))?$")
_FETCHED = re.compile(
    r"^\s*(?:Downloading|Using cached|Processing|Saved|Link requires.*) (?P<file>\S+)", re.MULTILINE
)
_CONFLICT = re.compile(r"^The conflict is caused by:\n((?:[ \t]+.*\n?)+)", re.MULTILINE)
_USER = re.compile(r"^The user requested (?P<constraint>\(constraint\) )?(?P<text>.+)$")
_DEPENDS = re.compile(r"^(?P<owner>\S+ \S+) depends on (?P<text>.+)$")
_PYTHON = re.compile(
    r"Package '(?P<name>[^']+)' requires a different Python: (?P<found>\S+) not in '(?P<wanted>[^']+)'"
)
# As `pip._internal.exceptions.HashMismatch` prints it; each further hash has `or` for its algorithm.
_HASHES = re.compile(
    r"^ {4,}(?P<item>\S+).*:\n(?P<wanted> +Expected (?P<algorithm>\w+) .*\n(?: +Expected +or .*\n)*)"
    r" +Got +(?P<found>[0-9a-f]+)$",
    re.MULTILINE,
)
_HTTP = re.compile(r"HTTP error (?P<status>\d+) while getting (?P<url>\S+)")
_BUILD = re.compile(
    r"subprocess-exited-with-error|metadata-generation-failed|Failed to build|Failed building wheel"
)
_OUTPUT = re.compile(
    r"╰─> \[\d+ lines? of output\]\n(?P<text>.*?)^\s*\[end of output\]", re.MULTILINE | re.DOTALL
)
_HOST = re.compile(r"host='(?P<host>[^']+)', port=(?P<port>\d+)")

# pip's output if it cannot reach an index. It then continues, and reports that no version was
# found, which hides the cause.
_NETWORK_SIGNS = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "NameResolutionError",
    "ReadTimeoutError",
    "ProtocolError",
    "IncompleteRead",
    "Connection broken",
    "SSLError",
    "ProxyError",
    "Could not fetch URL",
    "HTTP error 5",
    "Max retries exceeded",
    " redirects.",
    "[Errno 27]",
    "MemoryError",
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
        _wrong_hash,
        _damaged,
        _http_error,
        _index_down,
        _failed_build,
        _no_release,
        _unmet_dependency,
        _conflict,
        _wrong_python,
        _network,
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
    known = refused(run) or _wrong_hash(run) or _http_error(run)
    return known or _build_error(run, project, name=name)


# The causes, in the order in which they are tried.


def _wrong_hash(run: FailedRun) -> BundlerError | None:
    if "DO NOT MATCH THE HASHES" not in run.output:
        return None
    message = "does not have the required hash"
    blocks = list(_HASHES.finditer(run.output))
    if not blocks:
        return IntegrityError(f"a file of the index {message}")
    evidence = []
    for block in blocks:
        algorithm = block["algorithm"]
        digests = re.findall(r"([0-9a-f]+)$", block["wanted"], re.MULTILINE)
        evidence += [f"wanted  {algorithm} {digest}" for digest in digests]
        evidence.append(f"found   {algorithm} {block['found']}, {block['item']}")
    first = blocks[0]
    origin = place = ""
    with suppress(InvalidRequirement):
        wanted = run.wanted(Requirement(Requirement(first["item"]).name), None)
        origin, place = wanted.origin, wanted.place
    option = f"--hash={first['algorithm']}:{first['found']}"
    return IntegrityError(
        f"the file of `{first['item']}` {message}{place}",
        evidence=tuple(evidence),
        hint=f"if its author publishes the found hash, write `{option}`{f' in {origin}' if origin else ''}",
    )


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


def _http_error(run: FailedRun) -> BundlerError | None:
    match = _HTTP.search(run.output)
    if match is None:
        return None
    index = run.settings.name_of(match["url"])
    return NetworkError(
        f"cannot fetch `{url_filename(match['url'])}`",
        evidence=(
            f"found   HTTP {match['status']}",
            f"URL     {match['url']}",
            *((f"index   {index}",) if index else ()),
        ),
        hint=f"check the file on the index: `curl -sSIL {shlex.quote(match['url'])}`",
    )


def _index_down(run: FailedRun) -> BundlerError | None:
    """Return the error for an index that failed while pip ran, and still does; pip continues without it."""
    if any(sign in run.output for sign in _NETWORK_SIGNS):
        try:
            find_files("pip", run.settings)
        except NetworkError as error:
            return error
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
    wanted = run.wanted(requirement, parts["parent"])
    return _explained(run, wanted, files) or (
        _constrained(run, wanted) if files else _unknown_name(run, wanted)
    )


def _unmet_dependency(run: FailedRun) -> BundlerError | None:
    """Return the error for a dependency that no release meets; pip reports it as a conflict of its owners."""
    match = _CONFLICT.search(run.output)
    for line in match[1].splitlines() if match else ():
        with suppress(InvalidRequirement, NetworkError):
            if depends := _DEPENDS.match(line.strip()):
                requirement = Requirement(depends["text"].replace(" and ", ","))
                wanted = run.wanted(requirement, depends["owner"].partition(" ")[0])
                if error := _explained(run, wanted, find_files(requirement.name, run.settings)):
                    return error
    return None


def _explained(run: FailedRun, wanted: Wanted, files: Sequence[IndexFile]) -> BundlerError | None:
    """Return the error for a requirement that none of the files of its project meets."""
    explained = explain_unmet(wanted, files, run.target, only_binary=run.only_binary) if files else None
    if explained is None:
        return None
    facts = {"requirement": wanted.requirement.name}
    return ResolutionError(explained.message, evidence=explained.evidence, hint=explained.hint, facts=facts)


def _unknown_name(run: FailedRun, wanted: Wanted) -> BundlerError:
    """Return the error for a project that no index has, with the most similar one that exists."""
    own = [root.requirement.name for root in run.declared if root.requirement]
    names = similar_names(wanted.requirement.name, own, lambda name: bool(find_files(name, run.settings)))
    near = next(names, None)
    if wanted.requirement.name in sys.stdlib_module_names:
        hint = "leave it out: Python itself contains this module"
    elif near:
        hint = f"did you mean `{near}`? {wanted.change(near)}"
    elif run.settings.no_index and (command := run.download(str(wanted.requirement))) is not None:
        hint = f"add it: `{command}`"
    else:
        hint = "check the spelling, or pass the index that has it with `--extra-index-url`"
    searched = f"searched  {listing(run.searched, _SHOWN)}"
    facts = {"requirement": wanted.requirement.name}
    message = f"`{wanted.requirement.name}` not found {run.where}{wanted.place}"
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
        roots = run.requirements.constraints if user["constraint"] and run.requirements else run.declared
        for root in roots:
            if root.text.replace(" ", "") == user["text"].replace(" ", ""):
                name = root.requirement.name if root.requirement else root.text
                kind = "the constraint " if user["constraint"] else ""
                place = "on the command line" if root.origin == COMMAND_LINE else f"in {root.origin}"
                return f"{kind}`{root.text}` ({root.origin})", f"write `{name}` without a version {place}"
        return f"`{user['text']}`", ""
    if depends := _DEPENDS.match(line):
        name, _, version = depends["owner"].partition(" ")
        wanted = run.wanted(Requirement(f"{canonicalize_name(name.partition('[')[0])}=={version}"), None)
        chain = [*wanted.parents, wanted.origin] if wanted.origin else [*wanted.parents]
        by = f" ({', '.join(chain)})" if chain else ""
        return f"`{depends['text']}`, required by {name} {version}{by}", ""
    return line, ""


def _wrong_python(run: FailedRun) -> BundlerError | None:
    match = _PYTHON.search(run.output)
    if match is None:
        return None
    wanted = run.wanted(Requirement(canonicalize_name(match["name"])), None)
    lowest = python_in(match["wanted"])
    return ResolutionError(
        f"{match['name']} needs Python {match['wanted']}{wanted.place}; the target is {match['found']}",
        hint=f"build for a newer Python: `--python {lowest}`" if lowest else None,
    )


def _network(run: FailedRun) -> BundlerError | None:
    """Return the error for an index that failed while pip ran, although it answers now."""
    line = next(
        (line.strip() for line in run.output.splitlines() if any(sign in line for sign in _NETWORK_SIGNS)),
        None,
    )
    if line is None:
        return None
    host = _HOST.search(line)
    origin = f"{host['host']}:{host['port']}" if host else ""
    named = [url for url in run.searched if origin and origin in url] or run.searched[:1]
    reason = line.partition("connection broken by ")[2] or line
    return NetworkError(
        f"cannot read the index `{named[0] if named else origin}`",
        evidence=(f"found   {reason[:300]}",),
        hint="run the command again: the index answered after pip had given up",
    )


def _build_error(run: FailedRun, project: str, *, name: str = "") -> ResolutionError:
    """Return the error for a source distribution whose build failed, with a release that has a wheel."""
    outputs = _OUTPUT.findall(run.ended.stderr)
    # The sandbox refuses the answer of a hook that succeeded: its own output shows no fault.
    answers = [line for line in run.ended.stderr.splitlines() if line.lstrip().startswith(_REFUSED_ANSWER)]
    evidence = answers or tail(outputs[-1] if outputs else run.ended.stderr, _SHOWN)
    wanted = run.wanted(Requirement(name), None) if name else None
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
