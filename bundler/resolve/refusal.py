"""The errors for URLs, responses, archives and scripts that ``target/scripts/restrict_pip.py`` refuses."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from bundler.errors import BundlerError, MalformedError, NetworkError, ResolutionError

if TYPE_CHECKING:
    from bundler.resolve.failed_run import FailedRun

__all__ = ["refused"]

_REFUSED = re.compile(r"^\s*ERROR: refused (?P<kind>[a-z ]+): (?P<text>.+)$", re.MULTILINE)
"""A line of ``restrict_pip.py``; see `Toolchain.run_pip` for its mark."""


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
