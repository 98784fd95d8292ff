"""Ground: credentials are taken off addresses at the door and never reach an output.

Whatever reads an address calls `split_url` at once; the secret goes into a
process-wide register, and every text that leaves (errors, notes, the output of
children, locks, manifests) passes through `redact`.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

__all__ = ["Credentials", "redact", "register_secret", "split_url", "url_filename"]

_MASK = "****"
_MIN_SECRET = 4
# No scheme is longer; without a bound a long word would be read once from each of its letters.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)[^/\s\"'<>]*@")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_secrets: set[str] = set()


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A user name and password for one origin."""

    user: str
    password: str

    def __repr__(self) -> str:
        """Never show the secret, not even in a traceback."""
        return "Credentials(****)"


def register_secret(secret: str) -> None:
    """Remember a live secret, in each spelling it may turn up in; shorter than 4 characters is ignored."""
    plain = unquote(secret)
    # urllib3 writes the hexadecimal digits of `%2f` in upper case, in errors too.
    upper = _ESCAPE.sub(lambda escape: escape[0].upper(), secret)
    for spelling in (secret, plain, upper, quote(secret, safe=""), quote(plain, safe="")):
        if len(spelling) >= _MIN_SECRET:
            _secrets.add(spelling)


def split_url(url: str) -> tuple[str, Credentials | None]:
    """Return ``url`` without user information and query, and the credentials that stood in it.

    The fragment (``#sha256=...``) is kept. A lone user name is a token and a
    secret too. Query strings carry signatures (``X-Amz-Signature``, ``sig``), so
    they are registered and dropped.
    """
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    credentials = None
    if at:
        user, _, password = userinfo.partition(":")
        credentials = Credentials(user=unquote(user), password=unquote(password))
        register_secret(password or user)
        pair = f"{credentials.user}:{credentials.password}".encode()
        register_secret(base64.b64encode(pair).decode("ascii"))
    if parts.query:
        register_secret(parts.query)
    return urlunsplit((parts.scheme, host, parts.path, "", parts.fragment)), credentials


def url_filename(url: str) -> str:
    """Return the last component of the path of a URL, decoded; it never contains a slash.

    Decoded before it is split, as pip does it: with ``%2F`` in a link, an index could otherwise
    choose the directory that a download is written to.

    >>> url_filename("https://index.example/files/a%2Bb-1.0.tar.gz#sha256=00")
    'a+b-1.0.tar.gz'
    """
    return unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]


def redact(text: str) -> str:
    """Return ``text`` without any registered secret and without user information in addresses.

    >>> redact("fetch https://me:hunter2@index.example/simple")
    'fetch https://****@index.example/simple'
    """
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _USERINFO.sub(rf"\g<scheme>{_MASK}@", text)
