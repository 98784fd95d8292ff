"""A resolution that fails: the cause, the requirement's own line, and a hint that works when followed."""

from __future__ import annotations

import gzip
import hashlib
import re
import shlex
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.hints import hint, message, suggested
from support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli, Ended
    from support.localindex import LocalIndex

CHANGE = re.compile(r"(?:write|pass|add) `(?P<text>[^`]+)`.*? in (?P<file>\S+):(?P<line>\d+)")


def lock(cli: BundlerCli, folder: Path, *args: str, **env: str) -> Ended:
    return cli.run("lock", "-o", "out.toml", *args, cwd=folder, env=env)


def follow(ended: Ended, folder: Path) -> None:
    """Change the line of the file that the hint names."""
    match = CHANGE.search(hint(ended))
    assert match is not None, hint(ended)
    path = folder / match["file"]
    lines = path.read_text("utf-8").splitlines()
    lines[int(match["line"]) - 1] = match["text"]
    path.write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture
def shop(index: LocalIndex) -> LocalIndex:
    """An index with a project for each way to fail."""
    make_wheel(index.folder, "numpi", "1.21.6")
    make_wheel(index.folder, "numpi", "1.22.0", requires_python=">=3.8")
    make_wheel(index.folder, "numpi", "1.23.0", requires_python=">=3.9")
    make_wheel(index.folder, "requests", "2.31.0")
    make_wheel(index.folder, "foreign", "1.0", tag="cp37-cp37m-macosx_10_9_x86_64")
    make_wheel(index.folder, "foreign", "0.9")
    make_wheel(index.folder, "modern", "2.0", tag="cp37-cp37m-manylinux_2_28_x86_64.manylinux_2_30_x86_64")
    make_wheel(index.folder, "modern-only", "2.0", tag="cp37-cp37m-manylinux_2_28_x86_64")
    make_wheel(index.folder, "modern", "1.0")
    make_wheel(index.folder, "newonly", "1.0", requires_python=">=3.8")
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "leaf", "2.0")
    make_wheel(index.folder, "wants-new", "1.0", requires=["leaf>=2"])
    make_wheel(index.folder, "wants-old", "1.0", requires=["leaf<2"])
    make_wheel(index.folder, "lacking", "1.0", requires=["nowhere-to-be-found>=3"])
    make_sdist(index.folder, "broken", "2.0", {}, setup_py="import sys\nsys.exit('cc: command not found')\n")
    make_wheel(index.folder, "broken", "1.0")
    make_wheel(index.folder, "wants-broken", "1.0", requires=["broken>=2"])
    return index


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (
            "leaf\n\nnumpi==1.22\n",
            "numpi 1.22 needs Python >=3.8 (r.txt:3); the newest release for 3.7 is 1.21.6",
        ),
        (
            "numpi>=1.22  # new\n",
            "`numpi>=1.22` needs Python >=3.8 (r.txt:1); the newest release for 3.7 is 1.21.6",
        ),
        (
            "leaf\nleaf-x\nrequests==99\n",
            "requests 99 does not exist (r.txt:3); the newest release for 3.7 is 2.31.0",
        ),
        ("leaf==1.5\n", "leaf 1.5 does not exist (r.txt:1); the nearest release for 3.7 is 1.0"),
        ("reqeusts\n", "`reqeusts` not found on the index (r.txt:1)"),
        (
            "foreign==1.0\n",
            "foreign 1.0 has no file for cp37-linux_x86_64 (r.txt:1); the newest release for 3.7 is 0.9",
        ),
        (
            "modern==2.0\n",
            (
                "modern 2.0 needs glibc 2.28 or newer, Azure ML's image minimal-ubuntu18.04-py37-cpu-inference "
                "has 2.27 (r.txt:1); the newest release for 3.7 is 1.0"
            ),
        ),
        (
            "wants-old\nleaf==2.0\n",
            "`leaf==2.0` (r.txt:2) and `leaf<2`, required by wants-old 1.0 (r.txt:1) exclude each other",
        ),
    ],
)
def test_the_cause_is_named_with_its_line_and_the_hint_works(
    lines: str, text: str, shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(shop.folder, "leaf-x", "1.0")
    (tmp_path / "r.txt").write_text(lines, "utf-8")
    ended = lock(warm_cli, tmp_path, "-r", "r.txt")

    assert (ended.returncode, message(ended)) == (4, text)
    assert "ERROR:" not in ended.stderr
    assert "from versions" not in ended.stderr
    assert not (tmp_path / "out.toml").exists()

    follow(ended, tmp_path)
    assert lock(warm_cli, tmp_path, "-r", "r.txt").returncode == 0


def test_wheels_for_a_newer_glibc_alone_have_the_option_as_hint(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = lock(warm_cli, tmp_path, "modern-only", "--target-glibc", "2.17")

    assert message(ended) == ("`modern-only` needs glibc 2.28 or newer, `--target-glibc` is 2.17")
    assert hint(ended) == "if the target has it: `--target-glibc 2.28`"
    assert lock(warm_cli, tmp_path, "modern-only", "--target-glibc", "2.28").returncode == 0


def test_two_distributions_that_exclude_each_other_are_both_named(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = lock(warm_cli, tmp_path, "wants-new", "wants-old")

    assert ended.returncode == 4
    assert message(ended) == (
        "`leaf>=2`, required by wants-new 1.0 (command line) and `leaf<2`, required by wants-old 1.0"
        " (command line) exclude each other"
    )


def test_a_dependency_that_no_release_meets_is_not_a_conflict(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """As azureml-dataprep, whose native part of 2021 is not on the index: pip tries each of its releases."""
    for version in ("1.0", "1.1"):
        make_wheel(shop.folder, "wrapper", version, requires=["native<1.10.0a,>=1.9.0.dev0"])
    make_wheel(shop.folder, "native", "1.19.1")
    ended = lock(warm_cli, tmp_path, "wrapper>=1")

    assert ended.returncode == 4
    assert message(ended).startswith("no release matches `native"), message(ended)


def test_a_constraint_is_named_with_its_line(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("# old\nleaf<2\n", "utf-8")
    ended = lock(warm_cli, tmp_path, "wants-new", "-c", "c.txt")

    assert message(ended) == (
        "`leaf>=2`, required by wants-new 1.0 (command line) and the constraint `leaf<2` (c.txt:2) exclude each other"
    )
    follow(ended, tmp_path)
    assert lock(warm_cli, tmp_path, "wants-new", "-c", "c.txt").returncode == 0


def test_a_requirement_that_no_release_meets_here_gets_a_python(
    shop: LocalIndex, warm_cli: BundlerCli, pythons: dict[str, Path], tmp_path: Path
) -> None:
    ended = lock(warm_cli, tmp_path, "newonly")

    assert message(ended) == "`newonly` needs Python >=3.8; no release supports 3.7"
    option = re.search(r"`(--python [^`]+)`", hint(ended))
    assert option is not None
    if "3.8" in pythons:
        assert lock(warm_cli, tmp_path, "newonly", *option[1].split()).returncode == 0


def test_a_missing_dependency_names_its_parent(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = lock(warm_cli, tmp_path, "lacking")

    assert message(ended) == "`nowhere-to-be-found` not found on the index (required by lacking)"
    assert shop.url in ended.stderr


@pytest.mark.parametrize("requirement", ["broken==2.0", "wants-broken"])
def test_a_failed_sdist_is_named_and_a_release_with_a_wheel_suggested(
    requirement: str, shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "r.txt").write_text(f"{requirement}\n", "utf-8")
    ended = lock(warm_cli, tmp_path, "-r", "r.txt")

    assert ended.returncode == 4
    assert message(ended).startswith("`broken` 2.0 cannot be built for Python 3.7.")
    assert "cc: command not found" in ended.stderr
    assert "broken==1.0" in hint(ended)
    if requirement.startswith("broken"):
        follow(ended, tmp_path)
        assert lock(warm_cli, tmp_path, "-r", "r.txt").returncode == 0


def test_the_output_of_pip_needs_verbose(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    quiet, verbose = (lock(warm_cli, tmp_path, "requests==99", *flag) for flag in ((), ("-v",)))

    assert "Could not find a version" not in quiet.stderr
    assert "Could not find a version" in verbose.stderr
    assert message(quiet) == message(verbose)


def test_a_damaged_wheel_is_malformed_not_unresolved(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "cut", "1.0")
    wheel.write_bytes(wheel.read_bytes()[:200])
    ended = lock(warm_cli, tmp_path, f"./{wheel.name}")

    assert ended.returncode == 7
    assert wheel.name in message(ended)
    assert "truncated" in message(ended)


def test_no_index_without_find_links_is_told(warm_cli: BundlerCli, tmp_path: Path) -> None:
    ended = lock(warm_cli, tmp_path, "leaf", "--no-index")

    assert "`--no-index` without `--find-links` searches nothing" in message(ended)


# Network errors are network errors, and name the index.


@pytest.mark.attack("network")
@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ({"/simple/leaf/": 401}, "HTTP 401"),
        ({"/simple/leaf/": 403}, "HTTP 403"),
        ({"/simple/leaf/": 500}, "HTTP 500"),
        ({"/simple/leaf/": 503}, "HTTP 503"),
        ({"/simple/leaf/": 302}, "redirect"),
        ({"/simple/": 302}, "redirect"),
        ({"/files/leaf": 302}, "redirect"),
        ({"/simple/": 403}, "HTTP 403"),
        ({"/simple/": 500}, "HTTP 500"),
        ({"/files/leaf": 401}, "HTTP 401"),
        ({"/files/leaf": 403}, "HTTP 403"),
        ({"/files/leaf": 404}, "HTTP 404"),
        ({"/files/leaf": 500}, "500"),
    ],
)
def test_a_status_is_a_network_error(
    statuses: dict[str, int], found: str, shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    shop.statuses = statuses
    ended = lock(warm_cli, tmp_path, "leaf")

    assert ended.returncode == 9, ended.stderr
    assert found in ended.stderr
    assert f"127.0.0.1:{shop.url.split(':')[2].split('/')[0]}" in ended.stderr
    assert "WARNING" not in ended.stderr


@pytest.mark.attack("network")
def test_a_wrong_password_names_the_index_and_not_the_password(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    shop.require("me", "right-password")
    url = shop.url.replace("http://", "http://me:wrong-password@")
    ended = lock(warm_cli, tmp_path, "leaf", "--index-url", url)

    assert (ended.returncode, message(ended)) == (9, f"cannot read the index `{shop.url}`")
    assert "HTTP 401" in ended.stderr
    assert "wrong-password" not in ended.stderr


@pytest.mark.attack("network")
def test_a_refused_connection_names_the_index(warm_cli: BundlerCli, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/simple/"
    ended = lock(warm_cli, tmp_path, "leaf", "--index-url", url)

    assert (ended.returncode, message(ended)) == (9, f"cannot read the index `{url}`")
    assert "Connection refused" in ended.stderr
    assert "Retrying" not in ended.stderr
    command = re.search(r"`(curl [^`]+)`", hint(ended))
    assert command is not None
    assert shlex.split(command[1])[-1] == url


@pytest.mark.attack("network")
@pytest.mark.parametrize("at", ["/simple/leaf/", "/files/leaf"])
def test_a_stalled_response_is_a_network_error(
    at: str, shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    shop.stalls = {at}
    ended = lock(warm_cli, tmp_path, "leaf", PIP_TIMEOUT="1")

    assert ended.returncode == 9, ended.stderr
    assert "127.0.0.1" in ended.stderr


@pytest.mark.attack("network")
@pytest.mark.parametrize(
    ("at", "kind"),
    [
        ("/simple/leaf/", "text/html"),
        ("/simple/leaf/", "application/vnd.pypi.simple.v1+json"),
        ("/simple/leaf/", "application/octet-stream"),
        ("/simple/pip/", "text/html"),
        ("/files/leaf", "application/zip"),
    ],
)
def test_a_response_without_an_end_is_a_network_error(
    at: str, kind: str, shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """pip keeps a page in memory, and a file on the disk; a JSON page and one without a type are pages, too."""
    shop.endless = {at: b" "}
    shop.content_types = {at: kind}
    # The largest file is 8 GiB: that takes too long for a test, and test_run_pip.py has it.
    if at.startswith("/files/"):
        shop.endless, shop.slow = {}, {at}
    ended = lock(warm_cli, tmp_path, "leaf", PIP_TIMEOUT="1")

    assert ended.returncode == 9, ended.stderr
    assert f"127.0.0.1:{shop.port}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.seconds < 60


@pytest.mark.attack("network")
def test_a_compressed_page_is_limited(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """A megabyte of it is a gigabyte of pip's memory."""
    shop.endless = {"/simple/leaf/": gzip.compress(bytes(64 << 20))}
    ended = lock(warm_cli, tmp_path, "leaf")

    assert ended.returncode == 9, ended.stderr
    assert f"127.0.0.1:{shop.port}" in ended.stderr
    assert "MemoryError" not in ended.stderr


@pytest.mark.attack("network")
@pytest.mark.parametrize("at", ["/simple/leaf/", "/simple/pip/", "/files/leaf"])
def test_a_response_that_drips_is_a_network_error(
    at: str, shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """No read times out: pip alone would wait for an hour."""
    shop.slow = {at}
    ended = lock(warm_cli, tmp_path, "leaf", PIP_TIMEOUT="1")

    assert ended.returncode == 9, ended.stderr
    assert f"127.0.0.1:{shop.port}" in ended.stderr
    assert ended.seconds < 60


@pytest.mark.attack("network")
@pytest.mark.parametrize(
    "link", ["file://{}", "file://localhost{}", "FILE://{}", "file:{}", "file://{}#sha256=" + "0" * 64]
)
def test_a_page_does_not_link_to_a_file_of_this_machine(
    link: str, shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """A private file would become a part of the bundle, and a pipe would be waited for."""
    secret = make_wheel(tmp_path / "private", "secret", "1.0")
    shop.pages = {"secret": f'<a href="{link.format(secret)}">{secret.name}</a>'}
    ended = lock(warm_cli, tmp_path, "secret")

    assert ended.returncode == 9, ended.stderr
    assert "links to a file of this machine" in message(ended)
    assert str(secret) in ended.stderr
    assert not (tmp_path / "out.toml").exists()


@pytest.mark.attack("network")
@pytest.mark.parametrize("at", ["/simple/secret/", "/simple/pip/", "/files/secret"])
def test_an_index_does_not_redirect_to_a_file_of_this_machine(
    at: str, shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    secret = make_wheel(tmp_path / "private", "secret", "1.0")
    (secret.parent / "index.html").write_text(f'<a href="{secret.name}">{secret.name}</a>')
    make_wheel(shop.folder, "secret", "1.0")
    target = secret if at.startswith("/files") else secret.parent / "index.html"
    shop.redirects = {at: target.as_uri()}
    ended = lock(warm_cli, tmp_path, "secret")

    assert ended.returncode == 9, ended.stderr
    assert f"a redirect to {target.as_uri()}" in ended.stderr.replace("`", "")


def test_a_local_page_links_to_local_files(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """A mirror in a directory has its files beside its pages."""
    wheel = make_wheel(tmp_path / "mirror/files", "near", "1.0")
    page = tmp_path / "mirror/simple/near/index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../files/{wheel.name}">{wheel.name}</a>')
    for path in ("mirror/simple", page.parent):
        extra = ("--extra-index-url", str(tmp_path / path)) if path == "mirror/simple" else ("-f", str(page))
        ended = lock(warm_cli, tmp_path, "near", *extra)
        assert ended.returncode == 0, ended.stderr


# Hashes, and a Python that only the metadata of a wheel excludes.


@pytest.mark.parametrize("count", [1, 2])
def test_a_wrong_hash_is_shown_with_its_line_and_the_hash_of_the_file(
    count: int, shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    digest = hashlib.sha256((shop.folder / "leaf-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    wrong = [f"{number}" * 64 for number in range(count)]
    options = " ".join(f"--hash=sha256:{text}" for text in wrong)
    (tmp_path / "r.txt").write_text(f"# pinned\nleaf==1.0 {options}\n", "utf-8")
    ended = lock(warm_cli, tmp_path, "-r", "r.txt")

    assert ended.returncode == 5
    assert message(ended) == "the file of `leaf==1.0` does not have the required hash (r.txt:2)"
    shown = ended.stderr.splitlines()
    assert [line.split()[-1] for line in shown if line.startswith("  wanted")] == wrong
    assert [line for line in shown if line.startswith("  found")] == [f"  found   sha256 {digest}, leaf==1.0"]
    assert "Collecting" not in ended.stderr
    assert "/scratch" not in ended.stderr
    assert hint(ended) == f"if its author publishes the found hash, write `--hash=sha256:{digest}` in r.txt:2"
    (tmp_path / "r.txt").write_text(f"# pinned\nleaf==1.0 --hash=sha256:{digest}\n", "utf-8")
    assert lock(warm_cli, tmp_path, "-r", "r.txt").returncode == 0


def test_a_wheel_for_another_python_gets_one_that_it_supports(
    pythons: dict[str, Path], warm_cli: BundlerCli, index: LocalIndex, tmp_path: Path
) -> None:
    make_wheel(tmp_path, "later", "1.0", requires_python=">=3.8")
    ended = lock(warm_cli, tmp_path, "./later-1.0-py3-none-any.whl")

    assert message(ended).startswith("later needs Python >=3.8; the target is 3.7.")
    assert suggested(ended) == ["--python", "3.8"]
    if "3.8" in pythons:
        followed = lock(warm_cli, tmp_path, "./later-1.0-py3-none-any.whl", *suggested(ended))
        assert followed.returncode == 0, followed.stderr
