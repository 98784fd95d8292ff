"""Wrong URLs of indexes, directories that do not exist, and proxies: told before pip ignores them."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.hints import QUOTED, hint, message, pasted_words, suggested
from support.wheels import make_wheel

from bundler.errors import InputError
from bundler.requirements.requirement_set import IndexOptions
from bundler.resolve.index import IndexSettings, read_index_settings
from bundler.resolve.locations import check_proxies, probable_url, simple_urls
from bundler.resolve.transport import explain_failure
from bundler.system.environ import HostEnvironment

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("index.example/simple", "https://index.example/simple"),
        ("https:index.example/simple", "https://index.example/simple"),
        ("https//index.example/simple", "https://index.example/simple"),
        ("htps://index.example/simple", "https://index.example/simple"),
        ("http:/index.example:8080/simple", "http://index.example:8080/simple"),
        ("localhost:8080/simple", "http://localhost:8080/simple"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("//index.example/simple", "https://index.example/simple"),
        ("me:secret@index.example/simple", "https://me:secret@index.example/simple"),
        ("wheels", None),
        ("./pypi/simple", None),
        ("../wheels", None),
        ("/srv/index.example", None),
        ("", None),
    ],
)
def test_the_url_that_was_meant(text: str, meant: str | None) -> None:
    assert probable_url(text) == meant


def settings(folder: Path, flags: IndexOptions | None = None, **environ: str) -> IndexSettings:
    scratch = folder / ".scratch"
    scratch.mkdir(exist_ok=True)
    host = HostEnvironment(environ={"PIP_CONFIG_FILE": "/dev/null", **environ}, cwd=folder)
    return read_index_settings(
        host, scratch, flags=flags or IndexOptions(), download="pip setuptools wheel six"
    )


@pytest.mark.parametrize(
    ("option", "value", "message_", "hint_"),
    [
        (
            "--index-url",
            "index.example/simple",
            "`--index-url index.example/simple` is neither a URL, which has a scheme, nor a directory",
            "--index-url https://index.example/simple",
        ),
        (
            "--extra-index-url",
            "localhost:1/simple",
            "`localhost:1/simple` is not the URL of an index",
            "--extra-index-url http://localhost:1/simple",
        ),
        (
            "--extra-index-url",
            "htps://index.example/simple",
            "`htps://index.example/simple` is not the URL of an index",
            "--extra-index-url https://index.example/simple",
        ),
        (
            "--find-links",
            "./wheelhouze",
            "`--find-links ./wheelhouze`: directory not found",
            "did you mean `--find-links wheelhouse`?",
        ),
        (
            "--find-links",
            "my files",
            "`--find-links my files`: directory not found",
            "fill it: `python3 -m pip download --dest 'my files' pip setuptools wheel six`",
        ),
        (
            "--index-url",
            "./mirror",
            "`--index-url ./mirror`: directory not found",
            "pass the URL of an index: `--index-url https://index.example/simple`",
        ),
    ],
)
def test_a_location_that_pip_would_ignore(
    option: str, value: str, message_: str, hint_: str, tmp_path: Path
) -> None:
    (tmp_path / "wheelhouse").mkdir()
    field = {"--index-url": "index_url", "--extra-index-url": "extra_index_urls"}.get(option, "find_links")
    flags = IndexOptions(**{field: value if field == "index_url" else (value,)})  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        settings(tmp_path, flags)
    assert (caught.value.message, caught.value.hint) == (message_, hint_)

    if "wheelhouse" in hint_ or "https://" in hint_:
        name, given = pasted_words(hint_)
        assert name == option
        flags = IndexOptions(**{field: given if field == "index_url" else (given,)})  # type: ignore[arg-type]
        assert len(settings(tmp_path, flags).indexes) == 1


def test_a_directory_of_a_file_is_required_without_an_index_only(tmp_path: Path) -> None:
    """pip warns; a requirements file may name a directory that only the machine of its author has."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    host = HostEnvironment(environ={"PIP_CONFIG_FILE": "/dev/null"}, cwd=tmp_path)
    links = IndexOptions(find_links=(str(tmp_path / "gone"),))
    found = read_index_settings(host, scratch, flags=IndexOptions(), from_files=links)
    assert [index.kind for index in found.indexes] == ["find-links"]
    with pytest.raises(InputError, match="directory not found"):
        read_index_settings(host, scratch, flags=IndexOptions(no_index=True), from_files=links)


def test_a_directory_of_the_configuration_may_be_missing(tmp_path: Path) -> None:
    configured = settings(tmp_path, PIP_FIND_LINKS="/nowhere", PIP_EXTRA_INDEX_URL="file:///nowhere/simple")
    assert len(configured.indexes) == 2
    with pytest.raises(InputError, match="is neither a URL"):
        settings(tmp_path, PIP_INDEX_URL="index.example/simple")


@pytest.mark.parametrize(
    ("name", "value", "found", "meant"),
    [
        ("HTTPS_PROXY", "proxy.corp:abc", "proxy.corp:abc", "http://proxy.corp:8080"),
        ("https_proxy", "http://me:pa/ss@proxy.corp:80", "proxy.corp:80", "http://proxy.corp:8080"),
        ("ALL_PROXY", "http://", "http://", "http://proxy.example:8080"),
        ("HTTP_PROXY", "http://proxy.corp:99999", "http://proxy.corp:99999", "http://proxy.corp:8080"),
        ("http_proxy", "[::1", "[::1", "http://proxy.example:8080"),
    ],
)
def test_a_malformed_proxy_is_named_with_its_variable(
    name: str, value: str, found: str, meant: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        settings(tmp_path, None, **{name: value})
    assert caught.value.message == f"the variable `{name}` is not the URL of a proxy"
    assert caught.value.evidence == ("wanted  http://host:port", f"found   {found}")
    assert caught.value.hint == f"export {name}={meant}"
    check_proxies(HostEnvironment(environ={name: meant}, cwd=tmp_path))
    # Without an index on the network, a proxy has no effect.
    settings(tmp_path, IndexOptions(no_index=True, find_links=(str(tmp_path),)), **{name: value})


@pytest.mark.parametrize(
    "value", ["proxy.corp", "proxy.corp:3128", "http://u:p@proxy:80/", "socks5h://p:1", ""]
)
def test_a_proxy_as_pip_accepts_it(value: str, tmp_path: Path) -> None:
    check_proxies(HostEnvironment(environ={"HTTPS_PROXY": value}, cwd=tmp_path))


def test_a_refused_proxy_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    from requests.exceptions import ProxyError  # noqa: PLC0415 - slow to import

    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "me:hunter2@proxy.corp:9")
    fault = explain_failure(ProxyError(OSError("refused")), "https://index.example/simple")
    assert fault.found == "the proxy of `ALL_PROXY`, http://proxy.corp:9, cannot be used: refused"
    assert fault.hint == "correct the variable, or `unset ALL_PROXY`"
    assert fault.transient
    set_ = explain_failure(ProxyError(OSError("refused")), "https://index.example/simple", "http://proxy:1")
    assert (set_.found, set_.hint) == ("the proxy cannot be used: refused", None)
    assert not explain_failure(ProxyError(OSError("407 denied")), "https://index.example/simple").transient


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://index.example/", ["https://index.example/simple/", "https://index.example/+simple/"]),
        (
            "https://index.example/simple/six/",
            ["https://index.example/simple/six/simple/", "https://index.example/simple/"],
        ),
        (
            "https://index.example/repo/pypi",
            [
                "https://index.example/repo/pypi/simple/",
                "https://index.example/repo/simple/",
                "https://index.example/simple/",
            ],
        ),
    ],
)
def test_the_places_of_the_simple_api(url: str, expected: list[str]) -> None:
    urls = list(islice(simple_urls(url), 12))
    assert [item for item in urls if item in expected] == expected


@pytest.mark.parametrize("page", ["", "/simple/leaf", "/pypi"])
def test_another_page_of_an_index_gets_the_index(
    page: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    root = index.url.removesuffix("/").removesuffix("/simple")
    ended = warm_cli.run("lock", "leaf", "--index-url", f"{root}{page}/", cwd=tmp_path)
    assert ended.returncode == 3, ended.stderr
    assert message(ended) == f"`{root}{page}/` is not a package index, but another page of its server"

    followed = warm_cli.run("lock", "leaf", *suggested(ended), cwd=tmp_path)
    assert followed.returncode == 0, followed.stderr


def test_a_refused_proxy_is_named_before_an_index_that_has_no_toolchain(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{free.getsockname()[1]}"
    env = {"http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}
    ended = warm_cli.run("lock", "leaf", "-i", "http://index.example/simple", cwd=tmp_path, env=env)

    assert ended.returncode == 9, ended.stderr
    assert f"the proxy of `http_proxy`, {proxy}, cannot be used" in ended.stderr
    assert hint(ended) == "correct the variable, or `unset http_proxy`"


def test_a_directory_of_wheels_is_filled_by_the_commands_of_the_hints(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """Without an index, each hint is a `pip download`; it runs here, against the local index."""
    make_wheel(index.folder, "leaf", "1.0", requires=["other"])
    make_wheel(index.folder, "other", "1.0")
    env = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.url}

    def follow(command: str) -> None:
        words = shlex.split(command)
        assert words[:4] == ["python3", "-m", "pip", "download"]
        subprocess.run([sys.executable, *words[1:]], env=env, cwd=tmp_path, check=True, capture_output=True)

    args = ("lock", "leaf", "--no-index", "--find-links", "my wheels")
    missing = bundler_cli.run(*args, cwd=tmp_path)
    assert (missing.returncode, message(missing)) == (3, "`--find-links my wheels`: directory not found")
    (tmp_path / "my wheels").mkdir()
    empty = bundler_cli.run(*args, cwd=tmp_path)
    assert message(empty).endswith("which resolve and build, are not in the directories of `--find-links`")
    follow(QUOTED.findall(hint(empty))[0])
    lacking = bundler_cli.run(*args, cwd=tmp_path)
    assert message(lacking) == "`leaf` not found in the directories of `--find-links`"
    follow(QUOTED.findall(hint(lacking))[0])
    assert bundler_cli.run(*args, cwd=tmp_path).returncode == 0

    shutil.rmtree(tmp_path / "my wheels")
    follow(QUOTED.findall(hint(missing))[0])
    assert bundler_cli.run(*args, cwd=tmp_path).returncode == 0
