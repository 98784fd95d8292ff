"""URLs of repositories: each form gets the requirement over https with the commit, once that is known."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from support.hints import QUOTED

from bundler.problems import ProblemError
from bundler.requirements.line import parse_root

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WITHOUT = "the URL of a git repository, without `git+https://` and a commit ID"


@pytest.mark.parametrize(
    ("text", "https", "ref"),
    [
        ("git@github.com:x/y.git", "https://github.com/x/y.git", "HEAD"),
        ("git+git@github.com:x/y.git", "https://github.com/x/y.git", "HEAD"),
        ("y @ git@github.com:x/y.git@v1", "https://github.com/x/y.git", "v1"),
        ("https://github.com/x/y", "https://github.com/x/y", "HEAD"),
        ("https://me:hunter2@github.com/x/y/", "https://github.com/x/y", "HEAD"),
        ("https://github.com/x/y/tree/v1.0", "https://github.com/x/y", "v1.0"),
        ("https://gitlab.com/x/y/-/tree/a'b", "https://gitlab.com/x/y", "a'b"),
        ("https://git.corp/a/b/c.git#egg=c", "https://git.corp/a/b/c.git", "HEAD"),
        ("ssh://git@host.corp:22/x/y.git", "https://host.corp/x/y.git", "HEAD"),
        ("git+ssh://git@github.com/x/y.git@main", "https://github.com/x/y.git", "main"),
        ("git://host.corp/x", "https://host.corp/x", "HEAD"),
        ("github.com/x/y", "https://github.com/x/y", "HEAD"),
    ],
)
def test_a_repository_gets_the_command_that_prints_its_commit(
    text: str, https: str, ref: str, tmp_path: Path
) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_root(text, origin="command line", cwd=tmp_path)

    assert caught.value.fact in (
        WITHOUT,
        "unsupported URL scheme `git+ssh`: only git over https is supported",
    )
    command, start = QUOTED.findall(str(caught.value.hint))
    assert shlex.split(command) == ["git", "ls-remote", https, ref]
    assert "hunter2" not in str(caught.value.hint)
    root = parse_root(f"{start}{COMMIT}", origin="command line", cwd=tmp_path)
    assert (root.kind, root.location) == ("vcs", f"git+{https}@{COMMIT}")


def test_a_commit_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_root(f"y @ git@github.com:x/y@{COMMIT}", origin="command line", cwd=tmp_path)

    (pasted,) = re.findall("write `([^`]+)`", str(caught.value.hint))
    assert parse_root(pasted, origin="command line", cwd=tmp_path).kind == "vcs"


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/x/y/archive/main.zip",
        "https://github.com/x",
        "https://host.corp/x/y",
        "github.example/x/y",
        "./github.com/x/y",
        "a/b",
    ],
)
def test_another_url_is_not_a_repository(text: str, tmp_path: Path) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_root(text, origin="command line", cwd=tmp_path)
    assert caught.value.fact != WITHOUT
