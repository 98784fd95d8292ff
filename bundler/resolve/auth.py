"""Credentials for indexes from where pip finds them: netrc and the ``keyring`` command.

pip and the downloads get the same ones. Children have a private HOME, so pip is given the path of
the user's netrc; requests finds it itself. The ``keyring`` command runs once for each index with a
user name and no password, in the user's own environment, which its backends need.

Source: pip documentation, "Authentication"; pip's ``KeyRingCliProvider``.
"""

from __future__ import annotations

import netrc
import shutil
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from bundler.redaction import register_secret
from bundler.system.environ import HostEnvironment
from bundler.system.process import run_process

__all__ = ["netrc_environment", "with_keyring"]

_SECONDS = 120


def netrc_environment(host: HostEnvironment) -> dict[str, str]:
    """Return the variable with which a child pip finds the user's netrc; its passwords are registered.

    The path is NETRC, else ``~/.netrc`` or ``~/_netrc``, as in requests.
    """
    home = host.get("HOME")
    places = [Path(home, name) for name in (".netrc", "_netrc")] if home else []
    if named := host.get("NETRC"):
        places = [host.cwd / named]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return {}
    # requests and pip ignore a malformed or unreadable netrc, too.
    with suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
        for _, _, password in netrc.netrc(str(path)).hosts.values():
            register_secret(password or "")
    return {"NETRC": str(path)}


def with_keyring(url: str, provider: str | None, host: HostEnvironment, scratch: Path) -> str:
    """Return a URL with the password that the ``keyring`` command knows; unchanged if it knows none.

    pip asks only if ``keyring-provider`` is set: the default, ``auto``, excludes commands without a
    terminal. With ``import``, pip would need keyring in the target's environment, which has none.

    :param provider: the value of ``keyring-provider``.
    """
    if provider not in ("subprocess", "import"):
        return url
    parts = urlsplit(url)
    userinfo, _, netloc = parts.netloc.rpartition("@")
    program = shutil.which("keyring", path=host.get("PATH"))
    if parts.scheme not in ("http", "https") or not userinfo or ":" in userinfo or program is None:
        return url
    env = {name: value for name, value in host.environ.items() if not name.startswith(("PYTHON", "LD_"))}
    bare = parts._replace(netloc=netloc, query="", fragment="").geturl()
    for service in (bare, netloc):
        ended = run_process(
            [program, "get", service, unquote(userinfo)], env=env, cwd=scratch, timeout=_SECONDS
        )
        password = ended.stdout.decode("utf-8", "replace").strip()
        if ended.returncode == 0 and password:
            return parts._replace(netloc=f"{userinfo}:{quote(password, safe='')}@{netloc}").geturl()
    return url
