"""Pure: detect credentials in JSON before it is registered, since records are permanent.

Detected are user information in URLs, conda's token paths, signed queries, and
values under keys that name a secret. An error contains the path of a value, never the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from bundler.errors import InputError
from bundler.paths import printable

__all__ = ["check_content"]

# Bounded, since no scheme is longer: otherwise a long word is scanned again from each letter (quadratic).
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30})://(?P<user>[^/\s@\"'<>?#]+)@")
# The user of ssh is not a secret, nor is the container in abfs://CONTAINER@ACCOUNT of Azure.
_PLAIN_USER = re.compile(r"(?:.*[+])?ssh|abfss?|wasbs?", re.IGNORECASE)
# conda: `conda.common.url.split_anaconda_token`.
_TOKEN_PATH = re.compile(r"/t/[A-Za-z0-9-]+(?:/|\Z)")
_SIGNATURE = re.compile(
    r"[?&](?:sig|x-amz-signature|x-goog-signature|(?:access_)?token)=[^&\s]", re.IGNORECASE
)
_SEPARATORS = re.compile(r"[-_. ]|(?<=[a-z0-9])(?=[A-Z])")
_SECRET_LAST = frozenset({"password", "passwd", "secret"})
_SECRET_KEYS = frozenset(
    {"accesstoken", "accountkey", "apikey", "authtoken", "connectionstring", "sastoken", "secretkey", "token"}
)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


def check_content(content: Mapping[str, object]) -> None:
    """Check that content has no credentials, and only values that JSON can represent.

    :raises InputError: with the path of each such value, without the value.
    """
    try:
        problems = tuple(_problems(content, ""))
    except RecursionError as error:
        raise InputError("the content is nested too deeply to be registered") from error
    if problems:
        raise InputError(
            "the content cannot be registered: records are permanent and readable by others",
            evidence=tuple(f"found   {what} at `{where or '.'}`" for where, what in problems),
            hint="configure credentials on the build host: in pip's configuration or a keyring",
        )


def _problems(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _key_problems(key, item, where)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _problems(item, f"{where}[{number}]")
    elif isinstance(value, str):
        yield from ((where, what) for what in _leaks(value))
    elif isinstance(value, float) and not math.isfinite(value):
        yield where, "a number that JSON cannot represent"
    elif not isinstance(value, (bool, int, float, type(None))):
        yield where, f"a value that JSON cannot represent (`{type(value).__name__}`)"


def _key_problems(key: object, item: object, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(key, str):
        yield where, "a key that is not a string"
        return
    in_key = tuple(_leaks(key))
    yield from ((where, f"{what} in a key") for what in in_key)
    if not in_key:
        below = _below(where, key)
        if item and _names_secret(key):
            yield below, "a secret"
        else:
            yield from _problems(item, below)


def _leaks(text: str) -> Iterator[str]:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        yield "text that is not valid Unicode"
    for match in _USERINFO.finditer(text):
        if ":" in match["user"] or not _PLAIN_USER.fullmatch(match["scheme"]):
            yield "credentials in a URL"
            break
    if any(_TOKEN_PATH.search(word.partition("://")[2]) for word in text.split()):
        yield "a token in the path of a URL"
    if _SIGNATURE.search(text):
        yield "a signature or token in a URL"


def _names_secret(key: str) -> bool:
    """Return whether a key names a secret, however it is spelled.

    >>> [_names_secret(key) for key in ("sasToken", "DB_PASSWORD", "tokenizer", "pad_token")]
    [True, True, False, False]
    """
    words = [word.lower() for word in _SEPARATORS.split(key) if word]
    return bool(words) and (words[-1] in _SECRET_LAST or "".join(words) in _SECRET_KEYS)


def _below(where: str, key: str) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return f"{where}.{key}" if where else key
    return f'{where}["{printable(key)}"]'
