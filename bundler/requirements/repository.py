"""Pure: requirements from git repositories, and editable ones, which are refused.

Specs: pip, "VCS Support"; only git over https with a full commit ID has content that cannot change.
"""

from __future__ import annotations

import re
import shlex
from urllib.parse import urlsplit

from pip_requirements_parser import is_url  # type: ignore[import-untyped]

from bundler.problems import ProblemError

__all__ = ["check_repository", "editable_problem", "refuse_repository"]

_COMMIT = re.compile(r"[0-9a-fA-F]{40}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)
_HOSTS = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org")
_REST = r"(?P<path>[\w.~-]+(?:/[\w.~-]+)*?)/?(?:(?:@|/(?:-/)?tree/)(?P<ref>[^#\s]+))?(?:#\S*)?"
_CLONES = tuple(
    re.compile(pattern + _REST, re.ASCII)
    for pattern in (
        r"(?:git\+)?(?P<scheme>ssh|git|https?)://(?:[^@/\s]*@)?(?P<host>[\w.-]+)(?::\d+)?/",
        r"(?:git\+)?(?P<scheme>git|[\w.-]+)@(?P<host>[\w.-]+):",  # as git and ssh write it
        rf"(?P<scheme>)(?P<host>{'|'.join(map(re.escape, _HOSTS))})/",
    )
)
"""The forms of the URL of a repository."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def refuse_repository(text: str) -> None:
    """Refuse the URL of a repository without the prefix that makes pip clone it, also one for SSH.

    :raises ProblemError: with the requirement that has the same source.
    """
    # `git+https://` and the like are checked when the requirement is located.
    is_candidate = "/" in text and text[0] not in "/." and not ("git+" in text and "://" in text)
    if is_candidate and (hint := _clone_hint(text)) is not None:
        raise ProblemError("the URL of a git repository, without `git+https://` and a commit ID", hint=hint)


def _clone_hint(text: str) -> str | None:
    """Return the hint to require a repository over https, or None for another text."""
    name, at, url = text.rpartition(" @ ")
    match = next(filter(None, (pattern.fullmatch(url) for pattern in _CLONES)), None)
    if match is None or (match["scheme"] in ("http", "https", "") and not _is_repository(match)):
        return None
    path, ref = match["path"], match["ref"] or ""
    https = f"https://{match['host']}/{path}"
    if _COMMIT.fullmatch(ref):
        return f"write `{name}{at}git+{https}@{ref}`"
    command = shlex.join(["git", "ls-remote", https, ref or "HEAD"])
    return f"run `{command}`, and write `{name}{at}git+{https}@` and the ID that it prints"


def _is_repository(match: re.Match[str]) -> bool:
    """Return whether an https URL is that of a repository: by its suffix, or on a known host."""
    is_project = match["host"] in _HOSTS and match["path"].count("/") == 1
    return is_project or match["path"].endswith(".git")


def editable_problem(target: str) -> ProblemError:
    """Return the problem of an editable requirement, with the line that has the same source.

    :param target: the path or URL after ``-e``.
    """
    if not is_url(target) or target.lower().startswith("file:"):
        shown = target if "/" in target or not target else f"./{target}".replace("./.", ".", 1)
        hint = f"write `{shown}` without `-e`" if shown else None
        return ProblemError("an editable requirement depends on files of this host", hint=hint)
    try:
        check_repository(target)
    except ProblemError as refused:
        fact = f"an editable requirement is not supported, and {refused.fact.replace('the', 'its', 1)}"
        return ProblemError(fact, details=refused.details, hint=f"{refused.hint}, and omit `-e`")
    return ProblemError("an editable requirement is not supported", hint=f"write `{_named(target)}`")


def _named(url: str) -> str:
    """Return a requirement with the URL of a repository, and the name in its ``#egg=``.

    >>> _named("git+https://host/six@0#egg=six&subdirectory=lib"), _named("git+https://host/six@0")
    ('six @ git+https://host/six@0#subdirectory=lib', 'git+https://host/six@0')
    """
    address, _, fragment = url.partition("#")
    parts = [part for part in fragment.split("&") if part]
    name = next((part.removeprefix("egg=") for part in parts if part.startswith("egg=")), "")
    rest = "&".join(part for part in parts if not part.startswith("egg="))
    return f"{name} @ {address}{f'#{rest}' if rest else ''}" if name else url


def check_repository(url: str) -> None:
    """Check that the URL of a repository is for git over https, with a full commit ID."""
    parts = urlsplit(url)
    if parts.scheme != "git+https" and not (parts.scheme == "git+http" and parts.hostname in _LOOPBACK):
        raise ProblemError(
            f"unsupported URL scheme `{parts.scheme}`: only git over https is supported",
            hint=_clone_hint(url) or "use `git+https://` with a commit, or the path of a checkout",
        )
    _, _, commit = parts.path.rpartition("@")
    if not _COMMIT.fullmatch(commit) or "@" not in parts.path or not parts.hostname:
        path, at, ref = parts.path.partition("@")
        repository = f"{parts.scheme[4:]}://{parts.netloc.rpartition('@')[2]}{path}"
        command = f"`git ls-remote {shlex.quote(repository)} {shlex.quote(ref) if ref else 'HEAD'}`"
        if _HEX.fullmatch(ref):  # an abbreviated ID
            command = f"`git ls-remote {shlex.quote(repository)} | grep ^{ref}`"
        change = f"replace `{ref}` with" if ref else f"append {'' if at else '`@` and '}"
        raise ProblemError(
            "the URL must have a full commit ID: a branch or tag may move",
            details=("wanted  `@` and 40 hexadecimal digits", *((f"found   `{ref}`",) if ref else ())),
            hint=f"run {command}, and {change.rstrip()} the ID that it prints",
        )
