"""Check the locations of indexes, find-links and proxies before pip reads them: pip ignores a wrong one.

pip takes a URL without a scheme for a directory, skips a directory that does not exist, and only
warns about an index that has no page.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bundler.errors import InputError
from bundler.paths import printable
from bundler.problems import display_path
from bundler.redaction import redact, split_url
from bundler.requirements.text import similar_path
from bundler.system.environ import PROXIES, HostEnvironment

__all__ = ["check_proxies", "file_path", "missing_location", "probable_url", "simple_urls"]

_HOST = re.compile(
    r"(?:localhost|\d+(?:\.\d+){3}|\[[0-9a-fA-F:]+\]|[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,})(?::\d+)?"
)
_SCHEME = re.compile(r"(?:(?P<scheme>[HTPShtps]{3,8})?(?::/*|/{2,}))?(?P<rest>.*)", re.DOTALL)
"""A scheme of letters of `https`, in any order, with any slashes."""
_PLAIN = re.compile(r"localhost|127\.|\[")


def file_path(url: str) -> str:
    """Return the path of a ``file:`` URL."""
    return url2pathname(urlsplit(url).path)


def probable_url(text: str) -> str | None:
    """Return the URL that was meant by one without a scheme or with a misspelt one, or None.

    >>> [probable_url(text) for text in ("index.example/simple", "htps:/index.example/simple", "wheels")]
    ['https://index.example/simple', 'https://index.example/simple', None]
    """
    match = _SCHEME.fullmatch(text)
    scheme, rest = (match["scheme"] or "", match["rest"]) if match else ("", text)
    if scheme and re.match(r"\d+(/|$)", rest):  # `localhost:8080/simple`
        scheme, rest = "", text
    host = rest.partition("/")[0].rpartition("@")[2]
    if not _HOST.fullmatch(host):
        return None
    if scheme.lower() != "http" and not (not scheme and _PLAIN.match(host)):
        return f"https://{rest}"
    return f"http://{rest}"


def missing_location(option: str, text: str, path: Path, host: HostEnvironment, download: str) -> InputError:
    """Return the error for a directory that does not exist, which may be a URL without its scheme.

    :param option: the option that names it, such as ``--index-url``.
    :param text: its value.
    :param path: the directory.
    :param download: the words of `pip download` that fill a directory of wheels.
    """
    shown = printable(redact(text))
    meant = probable_url(text)
    if meant is not None:
        split_url(meant)
        return InputError(
            f"`{option} {shown}` is neither a URL, which has a scheme, nor a directory",
            hint=f"{option} {shlex.quote(redact(meant))}",
        )
    near = similar_path(path)
    folder = shlex.quote(display_path(path, host.cwd))
    if near:
        hint = f"did you mean `{option} {shlex.quote(display_path(near, host.cwd))}`?"
    elif option == "--find-links":
        hint = f"fill it: `python3 -m pip download --dest {folder} {download}`"
    else:
        hint = f"pass the URL of an index: `{option} https://index.example/simple`"
    return InputError(f"`{option} {shown}`: directory not found", hint=hint)


def check_proxies(host: HostEnvironment) -> None:
    """Check the proxies of the environment.

    :raises InputError: if one is not a URL, with the name of its variable.
    """
    for name in PROXIES:
        text = host.get(name) or ""
        url = text if "://" in text else f"http://{text}"
        try:
            parts = urlsplit(url)
            is_valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            is_valid = False
        if text and not is_valid:
            # A password with an unescaped slash fails here, as a port: quote nothing before the last `@`.
            found = text.rpartition("@")[2]
            known = re.match(r"[A-Za-z0-9][\w.-]+", found.rpartition("://")[2])
            raise InputError(
                f"the variable `{name}` is not the URL of a proxy",
                evidence=("wanted  http://host:port", f"found   {printable(found)}"),
                hint=f"export {name}=http://{known[0] if known else 'proxy.example'}:8080",
            )


def simple_urls(url: str) -> Iterator[str]:
    """Return the URLs that the simple API of an index has, if the given one is another page of its server.

    >>> list(simple_urls("https://index.example/project/six/"))[:2]
    ['https://index.example/project/six/simple/', 'https://index.example/project/six/+simple/']
    """
    parts = urlsplit(url)
    folders: Sequence[str] = [step for step in parts.path.split("/") if step]
    urls = []
    for depth in range(len(folders), -1, -1):
        head = "/".join((f"{parts.scheme}://{parts.netloc}", *folders[:depth]))
        urls += [f"{head}/simple/", f"{head}/+simple/"]
    return iter(dict.fromkeys(urls))
