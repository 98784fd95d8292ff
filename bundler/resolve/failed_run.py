"""A run of pip that failed, and the causes on the side of an index: its files, and the way to it.

pip continues without an index that it cannot read, and then reports that no version was found.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import BundlerError, IntegrityError, MalformedError, NetworkError, ResolutionError
from bundler.redaction import url_filename
from bundler.resolve.releases import default_index_url, find_files
from bundler.system.process import Completed

if TYPE_CHECKING:
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.resolve.index import IndexSettings
    from bundler.target.target import Target

__all__ = ["FailedRun", "http_error", "index_down", "index_failed", "refused", "wrong_hash"]

_HTTP = re.compile(r"HTTP error (?P<status>\d+) while getting (?P<url>\S+)")
_HOST = re.compile(r"host='(?P<host>[^']+)', port=(?P<port>\d+)")

_REFUSED = re.compile(r"^\s*ERROR: refused (?P<kind>[a-z ]+): (?P<text>.+)$", re.MULTILINE)
"""The line of ``target/scripts/run_pip.py`` for what pip must not fetch."""

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
    "MemoryError",  # a page that is compressed has no limit but that of pip's memory
)


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run of pip that failed, and its inputs."""

    ended: Completed
    settings: IndexSettings
    target: Target
    only_binary: bool = False
    requirements: RequirementSet | None = None
    """The user's requirements; None for requirements of bundler itself."""

    @property
    def output(self) -> str:
        """Standard error, then standard output, as pip writes both."""
        return self.ended.stderr + self.ended.stdout.decode("utf-8", "replace")

    @property
    def searched(self) -> tuple[str, ...]:
        """The locations that pip searched, without credentials."""
        default = (default_index_url(),) if self.settings.default_index else ()
        return (*default, *(index.url for index in self.settings.indexes))


def refused(run: FailedRun) -> BundlerError | None:
    """Return the error for a URL or a response that ``target/scripts/run_pip.py`` refused."""
    match = _REFUSED.search(run.ended.stderr)
    if match is None:
        return None
    kind, text = match["kind"], match["text"].strip()
    if kind == "dependency":
        direct, _, owner = text.rpartition(" of ")
        name, _, url = direct.partition(" @ ")
        if "#sha256=" in url:
            hint = f"if you trust it, require it yourself: `{direct}`"
        elif url.startswith(("http:", "https:")):
            digest = f"curl -sSL {shlex.quote(url)} | sha256sum"
            hint = f"if you trust it, require `{direct}#sha256=` and the digest of `{digest}`"
        else:
            hint = f"require another version of `{owner}`, or a wheel of `{name}` by its path"
        return ResolutionError(
            f"`{owner}` requires `{name}` by a URL, which can change, or belong to another owner",
            evidence=(f"found   {direct}",),
            hint=hint,
        )
    if kind in ("archive", "script"):
        noun = "a source distribution" if kind == "archive" else "a requirement of a build"
        return MalformedError(f"{noun} is unsafe", evidence=(f"found   {text}",))
    if kind == "requirement of a build":
        return ResolutionError(
            f"a source distribution requires a URL for its build: {text}",
            hint="require a wheel of it, or build the wheel yourself and require its path",
        )
    url, _, reason = text.partition(": " if kind == "response" else " of the page ")
    index = run.settings.name_of(url if kind == "response" else reason)
    named = f"index `{index}`" if index else "index"
    if kind == "link":
        return NetworkError(
            f"a page of the {named} links to a file of this machine",
            evidence=(f"found   {url}", f"page    {reason}"),
            hint="pass another index with `--index-url`, or the directory with `--find-links`",
        )
    return NetworkError(
        f"cannot read a response of the {named}",
        evidence=(f"found   {reason}", f"URL     {url}"),
        hint=f"check the response: `curl -sSIL {shlex.quote(url)}`",
    )


def wrong_hash(run: FailedRun) -> BundlerError | None:
    """Return the error for a file that does not have the hash of the requirements or of its page."""
    if "DO NOT MATCH THE HASHES" not in run.output:
        return None
    lines = (line.strip() for line in run.output.splitlines())
    hashes = tuple(line for line in lines if re.search(r"\b(Expected|Got|from)\b", line))
    return IntegrityError("a file of the index does not have the required hash", evidence=hashes)


def http_error(run: FailedRun) -> BundlerError | None:
    """Return the error for a file that an index refuses."""
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


def index_down(run: FailedRun) -> BundlerError | None:
    """Return the error for an index that failed while pip ran, and still does; pip continues without it."""
    if any(sign in run.output for sign in _NETWORK_SIGNS):
        try:
            find_files("pip", run.settings)
        except NetworkError as error:
            return error
    return None


def index_failed(run: FailedRun) -> BundlerError | None:
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
