"""Credentials from netrc, the keyring command, URLs and settings: they work, and are nowhere afterwards (T14)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.wheels import make_sdist, make_wheel

from bundler.redaction import Credentials, redact
from bundler.resolve.auth import netrc_environment, with_keyring
from bundler.system.environ import HostEnvironment

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

NEEDS_SECRET = (b"/pip\0", b"\0pip\0", b"/keyring\0", b"/uv\0")
CANARY = "hunter2-canary-7f3a9c01"


def fake_keyring(folder: Path, service: str, user: str, password: str) -> Path:
    """Install a `keyring` command that knows one password, and writes down how it is called."""
    folder.mkdir()
    program = folder / "keyring"
    program.write_text(
        f"""#!/bin/sh
echo "$@" >> '{folder}/calls'
env > '{folder}/env'
if [ "$1 $2 $3" = "get {service} {user}" ]; then echo '{password}'; else exit 1; fi
"""
    )
    program.chmod(0o755)
    return folder


def host(tmp_path: Path, **env: str) -> HostEnvironment:
    return HostEnvironment(environ={"HOME": str(tmp_path), "PATH": os.defpath, **env}, cwd=tmp_path)


@pytest.mark.parametrize("name", [".netrc", "_netrc", "elsewhere"])
def test_h12_the_netrc_of_the_user_is_found_as_by_pip(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("machine a.example login me password canary-netrc-1\n")
    variables = {"NETRC": name} if name == "elsewhere" else {}

    assert netrc_environment(host(tmp_path, **variables)) == {"NETRC": str(tmp_path / name)}
    assert redact("canary-netrc-1") == "****"


def test_without_a_netrc_nothing_is_set(tmp_path: Path) -> None:
    (tmp_path / ".netrc").mkdir()
    assert netrc_environment(host(tmp_path)) == {}
    assert netrc_environment(host(tmp_path, NETRC="missing")) == {}


def test_a_malformed_netrc_is_left_to_pip(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_bytes(b"machine \xff bogus")
    assert netrc_environment(host(tmp_path)) == {"NETRC": str(tmp_path / ".netrc")}


@pytest.mark.parametrize("service", ["https://index.example/simple", "index.example"])
@pytest.mark.parametrize("provider", ["subprocess", "import"])
def test_the_keyring_is_asked_for_the_url_and_then_for_the_host(
    tmp_path: Path, service: str, provider: str
) -> None:
    folder = fake_keyring(tmp_path / "bin", service, "me@corp", "p@ss/word")
    user = host(tmp_path, PATH=f"{folder}:{os.defpath}", PYTHONPATH="/evil", DBUS_SESSION_BUS_ADDRESS="x")
    url = with_keyring("https://me%40corp@index.example/simple?sig=1#x", provider, user, tmp_path)

    assert url == "https://me%40corp:p%40ss%2Fword@index.example/simple?sig=1#x"
    environment = (folder / "env").read_text()
    assert "DBUS_SESSION_BUS_ADDRESS=x" in environment
    assert "PYTHONPATH" not in environment


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://me@index.example/simple", None),
        ("https://me@index.example/simple", "auto"),
        ("https://me@index.example/simple", "disabled"),
        ("https://me:known@index.example/simple", "subprocess"),
        ("https://index.example/simple", "subprocess"),
        ("file:///wheels", "subprocess"),
        ("https://you@index.example/simple", "subprocess"),
    ],
)
def test_the_keyring_is_asked_only_for_a_user_without_a_password(
    tmp_path: Path, url: str, provider: str | None
) -> None:
    folder = fake_keyring(tmp_path / "bin", "index.example", "me", "secret")

    assert with_keyring(url, provider, host(tmp_path, PATH=f"{folder}:{os.defpath}"), tmp_path) == url
    assert (folder / "calls").exists() == ("you" in url)


def test_without_a_keyring_command_the_url_stays(tmp_path: Path) -> None:
    url = "https://me@index.example/simple"
    assert with_keyring(url, "subprocess", host(tmp_path, PATH=str(tmp_path)), tmp_path) == url


# --- the whole command ----------------------------------------------------------------------------


@contextmanager
def watched(pid: int) -> Iterator[list[tuple[bool, bytes, bytes]]]:
    """Collect all descendants of a process: whether pip or keyring started them, arguments, environment."""
    seen: list[tuple[bool, bytes, bytes]] = []
    stop = threading.Event()

    def look(parent: int, needs_secret: bool) -> None:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                for child in (task / "children").read_text().split():
                    found = [Path(f"/proc/{child}/{name}").read_bytes() for name in ("cmdline", "environ")]
                    # Between fork and exec, a child still is the process itself; at its end it has no arguments.
                    if not found[0] or b"\0bundler\0" in found[0]:
                        continue
                    needs = needs_secret or any(program in found[0] for program in NEEDS_SECRET)
                    seen.append((needs, found[0], found[1]))
                    look(int(child), needs)

    def watch() -> None:
        while not stop.is_set():
            look(pid, needs_secret=False)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def arrange(case: str, index: LocalIndex, cli: BundlerCli, tmp_path: Path) -> dict[str, str]:
    """Protect the index, and return the variables with which the user reaches it."""
    with_password = index.url.replace("http://", f"http://me:{CANARY}@")
    with_user = index.url.replace("http://", "http://me@")
    if case == "path":
        index.prefix = f"/{CANARY}"
        return {"PIP_INDEX_URL": index.url}
    if case == "proxy":
        return {
            "PIP_INDEX_URL": index.url.replace(f"127.0.0.1:{index.port}", "index.invalid"),
            "PIP_TRUSTED_HOST": "index.invalid",
            "http_proxy": f"http://me:{CANARY}@127.0.0.1:{index.port}",
            "NO_PROXY": "",
            "no_proxy": "",
        }
    index.require("me", CANARY)
    if case == "netrc":
        (cli.home / ".netrc").write_text(f"machine 127.0.0.1 login me password {CANARY}\n")
        (cli.home / ".netrc").chmod(0o600)
    elif case == "keyring":
        service = f"127.0.0.1:{index.port}"
        folder = fake_keyring(tmp_path / "keyring", service, "me", CANARY)
        path = f"{folder}:{cli.env['PATH']}"
        return {"PIP_INDEX_URL": with_user, "PIP_KEYRING_PROVIDER": "subprocess", "PATH": path}
    elif case == "pip.conf":
        (cli.home / "pip.conf").write_text(f"[global]\nindex-url = {with_password}\n")
        return {"PIP_INDEX_URL": "", "PIP_CONFIG_FILE": str(cli.home / "pip.conf")}
    elif case == "environment":
        return {"PIP_INDEX_URL": with_password}
    return {}


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("case", ["netrc", "keyring", "path", "proxy", "pip.conf", "environment"])
def test_t14_a_secret_reaches_the_index_and_nothing_else(
    case: str, index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    build_with_a_secret(case, index, bundler_cli, tmp_path)


@pytest.mark.parametrize("case", ["netrc", "keyring", "path", "proxy", "pip.conf", "environment"])
def test_uv_reaches_the_index_with_the_secret_of_pip(
    case: str, index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """Also for the metadata of a source distribution, which pip reads."""
    pytest.importorskip("uv")
    make_sdist(index.folder, "demo", "1.0", {"demo.py": "X = 1\n"})
    bundler_cli.env["BUNDLER_RESOLVER"] = "uv"

    build_with_a_secret(case, index, bundler_cli, tmp_path)


def build_with_a_secret(case: str, index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path) -> None:
    """Build `demo` from a protected index, and look for the secret everywhere else."""
    if not list(index.folder.glob("demo-*")):
        make_wheel(index.folder, "demo", "1.0", {"demo.py": "X = 1\n"})
    env = {**bundler_cli.env, **arrange(case, index, bundler_cli, tmp_path)}
    work = tmp_path / "work"
    work.mkdir()
    argv = [sys.executable, "-I", "-m", "bundler", "build", "demo", "--name", "app", "--format", "dir"]
    process = subprocess.Popen(
        argv, cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with watched(process.pid) as seen:
        output = process.communicate(timeout=300)[0]

    assert process.returncode == 0, output
    assert CANARY not in output
    for path in (*work.rglob("*"), *(bundler_cli.store / "v1").rglob("*")):
        cached = {bundler_cli.store / "v1" / tool for tool in ("pip", "uv")}
        if path.is_file() and cached.isdisjoint(path.parents):
            assert CANARY.encode() not in path.read_bytes(), path
    assert len({arguments for needs, arguments, _ in seen if not needs}) > 3
    for needs_secret, arguments, environment in seen:
        assert CANARY.encode() not in arguments
        # pip starts lsb_release for its User-Agent, which gets its environment.
        assert needs_secret or CANARY.encode() not in environment, arguments
    assert any("/demo-1.0" in request.path for request in index.requests)


@pytest.mark.attack("secrets")
def test_a_lock_without_its_token_is_fetched_with_that_of_the_index(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "demo", "1.0", {"demo.py": "X = 1\n"})
    index.prefix = f"/team/{CANARY}"
    settings: dict[str, Any] = {"cwd": tmp_path, "env": {"PIP_INDEX_URL": index.url}}
    assert bundler_cli.run("lock", "demo", **settings).returncode == 0
    text = (tmp_path / "pylock.toml").read_text()
    assert f"http://127.0.0.1:{index.port}/team/****/files/demo-1.0" in text
    assert f'index = "127.0.0.1:{index.port}"' in text

    args = ("build", "--lock", "pylock.toml", "--name", "app")
    missing = bundler_cli.run(*args, cwd=tmp_path, env={"PIP_INDEX_URL": index.url.replace(CANARY, "other")})
    assert missing.returncode == 9
    assert "a URL without its token" in missing.stderr
    assert bundler_cli.run(*args, **settings).returncode == 0


@pytest.mark.attack("secrets")
def test_credentials_stay_a_pair() -> None:
    assert repr(Credentials(user="me", password=CANARY)) == "Credentials(****)"
