"""Ground, effect: files at whatever fsspec reaches, for a workspace.

Of all who create one file one must succeed, however many machines they run on.
A service of objects promises that by a condition on the request (S3
``If-None-Match: *``, Azure the same, Google ``ifGenerationMatch=0``). File
systems of fsspec that only look first and then write are not used, and a
service that ignores the condition is found out before the first file is made.

fsspec and its drivers are optional, and imported when an address asks for them.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from bundler.digest import CHUNK, Sha256, hash_stream
from bundler.errors import BundlerError, IntegrityError, NetworkError, OutputError, UsageError
from bundler.paths import UnsafePathError, archive_path, printable
from bundler.redaction import redact, split_url

__all__ = ["Remote", "open_remote", "relative_path", "require_digest", "stream_to"]

_QUERY = re.compile(r"(?P<bare>://[^\s?'\"]+)\?[^\s'\"]+")
_TOLD = 500
_PROBE = ".exclusive"
_PROBE_CONTENT = b"bundler has made sure here that a file which is there is not made again\n"
# The threads of one process take turns: fsspec's file system in memory has no other guard.
_turn = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Driver:
    """How a file system of fsspec is asked to create a file and never to replace one."""

    package: str
    exclusive: Mapping[str, Any]
    """Arguments of its ``pipe_file``; a version that does not name them would ignore them."""
    install: str


_MODE_CREATE = MappingProxyType({"mode": "create"})
_NO_OVERWRITE = MappingProxyType({"overwrite": False})
_S3 = _Driver(package="s3fs", exclusive=_MODE_CREATE, install="pip install 'airgap-bundler[s3]'")
_GCS = _Driver(package="gcsfs", exclusive=_MODE_CREATE, install="pip install gcsfs")
_AZURE = _Driver(package="adlfs", exclusive=_NO_OVERWRITE, install="pip install adlfs")
_MEMORY = _Driver(package="fsspec", exclusive=_MODE_CREATE, install="pip install 'airgap-bundler[s3]'")
_DRIVERS = MappingProxyType(
    {
        "abfs": _AZURE,
        "abfss": _AZURE,
        "az": _AZURE,
        "gcs": _GCS,
        "gs": _GCS,
        "memory": _MEMORY,
        "s3": _S3,
        "s3a": _S3,
    }
)


class Remote:
    """A storage behind fsspec; made by `open_storage`.

    :param file_system: an fsspec file system without a cache of listings.
    :param root: the path of the storage in it.
    :param exclusive: the arguments with which its ``pipe_file`` never replaces.
    """

    def __init__(self, file_system: Any, root: str, *, location: str, exclusive: Mapping[str, Any]) -> None:
        self.location = location
        self._files = file_system
        self._root = root.rstrip("/")
        self._exclusive = exclusive
        self._proved = False

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        path = self._path(folder)
        try:
            with self._service(path):
                self._files.invalidate_cache()
                listed = self._files.ls(path, detail=False)
        except FileNotFoundError:
            return []
        # Some services list the folder itself, as an empty object; a file lists itself.
        below = path.strip("/") + "/"
        found = {name.strip("/").removeprefix(below) for name in listed if name.strip("/").startswith(below)}
        return sorted(found)

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        return self.read_many([path])[0]

    def read_many(self, paths: Sequence[str]) -> list[bytes]:
        """See `Storage.read_many`."""
        wanted = [self._path(path) for path in paths]
        if not wanted:
            return []
        with self._service(wanted[0]):
            # Unlike `cat`, it takes paths as they are, and not as patterns.
            return list(self._files.cat_ranges(wanted, None, None, on_error="raise"))

    def create(self, path: str, content: bytes) -> None:
        """See `Storage.create`."""
        final = self._path(path)
        with _turn:
            self._prove()
            self._create(final, content)

    def replace(self, path: str, content: bytes) -> None:
        """See `Storage.replace`."""
        final = self._path(path)
        with self._service(final, writing=True):
            self._files.pipe_file(final, content)

    def put(self, path: str, source: Path, sha256: Sha256) -> None:
        """See `Storage.put`."""
        final = self._path(path)
        with self._service(final, writing=True):
            self._files.invalidate_cache()
            if self._files.exists(final):
                return
            self._files.put_file(str(source), final)
        # The driver has read the source on its own: look whether it was still the same.
        with source.open("rb") as file:
            found = hash_stream(file)[0]
        try:
            require_digest(sha256, found, source)
        except IntegrityError:
            with self._service(final):
                self._files.rm_file(final)
            raise

    def fetch(self, path: str, sink: Callable[[bytes], object]) -> None:
        """See `Storage.fetch`."""
        found = self._path(path)
        stream_to(lambda: self._files.open(found, "rb"), lambda: self._service(found), sink)

    def _path(self, path: str) -> str:
        return f"{self._root}/{relative_path(path)}"

    def _create(self, path: str, content: bytes) -> None:
        with self._service(path, writing=True):
            try:
                self._files.pipe_file(path, content, **self._exclusive)
            except OSError as error:
                if _is_refused_condition(error):
                    raise FileExistsError(path) from error
                raise

    def _prove(self) -> None:
        """Make sure, once, that the service does not make a file again.

        :raises OutputError: if it does: then two writers could both believe they have succeeded.
        """
        if self._proved:
            return
        for _ in range(2):
            try:
                self._create(f"{self._root}/{_PROBE}", _PROBE_CONTENT)
            except FileExistsError:
                self._proved = True
                return
        raise OutputError(
            f"`{self.location}` makes a file that is there already again, without a word",
            evidence=("wanted  a service that honours conditional writes (S3: `If-None-Match: *`)",),
            hint="keep the workspace in a folder, or at a service that does",
        )

    @contextmanager
    def _service(self, path: str, *, writing: bool = False) -> Iterator[None]:
        """Turn what a driver raises into errors of ours."""
        try:
            yield
        except FileNotFoundError as error:
            if not writing:
                raise
            raise OutputError(
                f"`{self.location}` is not there",
                evidence=(_told(error),),
                hint="make the bucket or container first",
            ) from error
        except (FileExistsError, BundlerError):
            raise
        # Each driver has errors of its own, and none may end as a traceback.
        except Exception as error:
            kind = OutputError if _is_answer(error) else NetworkError
            what = "refuses" if kind is OutputError else "cannot be reached"
            raise kind(
                f"`{self.location}` {what}", evidence=(f"for     {printable(redact(path))}", _told(error))
            ) from error


def open_remote(location: str) -> Remote:
    """Return the storage at an address of fsspec; nothing is asked or made yet.

    :raises UsageError: if it holds credentials, or its driver is not installed or not set up.
    :raises OutputError: if files cannot be created there so that one of many writers succeeds.
    """
    protocol = location.partition("://")[0].lower()
    _refuse_credentials(location, protocol)
    where = printable(redact(location)).rstrip("/")
    driver = _DRIVERS.get(protocol)
    if driver is None or "::" in location:
        raise OutputError(
            f"a workspace cannot be kept at `{where}`",
            evidence=(
                "wanted  a service that creates a file for one of many writers",
                f"known   {', '.join(f'`{name}://`' for name in sorted(_DRIVERS))}, `file://` and folders",
            ),
        )
    file_system, root = _connect(location, where, driver)
    if not root.strip("/"):
        raise UsageError(f"`{where}` names no bucket, container or folder")
    # The async drivers have the function itself under this name, and a wrapper under the public one.
    pipe_file = getattr(file_system, "_pipe_file", file_system.pipe_file)
    if not driver.exclusive.keys() <= inspect.signature(pipe_file).parameters.keys():
        raise OutputError(
            f"this version of {driver.package} cannot create a file without replacing another",
            hint=f"pip install --upgrade {driver.package}",
        )
    return Remote(file_system, root, location=where, exclusive=driver.exclusive)


def _connect(location: str, where: str, driver: _Driver) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # noqa: PLC0415 - optional

        # Others write too: neither a listing nor an instance that holds one is kept.
        found: tuple[Any, str] = url_to_fs(location, skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        raise UsageError(
            f"`{where}` needs {driver.package}, which is not installed",
            evidence=(_told(error),),
            hint=driver.install,
        ) from error
    except Exception as error:
        raise UsageError(f"`{where}` cannot be opened", evidence=(_told(error),)) from error
    return found


def _refuse_credentials(location: str, protocol: str) -> None:
    """Refuse user information and queries; Azure writes ``abfs://CONTAINER@ACCOUNT...``, which is none."""
    try:
        parts = urlsplit(location)
        userinfo, at, _ = parts.netloc.rpartition("@")
    except ValueError as error:
        raise UsageError(
            f"`{printable(redact(location))}` is not an address", evidence=(str(error),)
        ) from error
    is_container = _DRIVERS.get(protocol) is _AZURE and ":" not in userinfo
    if (at and not is_container) or parts.query:
        bare, _ = split_url(location)
        raise UsageError(
            f"the address of the workspace `{printable(bare)}` holds credentials or a query",
            hint="leave them out, and set the variables that the driver reads",
        )


def relative_path(path: str) -> str:
    """Return a path that stays below the folder it is joined to.

    :raises ValueError: if it would not; the caller has not checked what it was given.
    """
    try:
        return archive_path(path)
    except UnsafePathError as error:
        raise ValueError(f"not a path in a storage: {path!r}: {error}") from error


def stream_to(
    start: Callable[[], Any],
    guard: Callable[[], AbstractContextManager[None]],
    sink: Callable[[bytes], object],
) -> None:
    """Read a stream under a guard; what ``sink`` raises is the caller's own."""
    with guard():
        stream = start()
    with closing(stream):
        while True:
            with guard():
                chunk = stream.read(CHUNK)
            if not chunk:
                return
            sink(chunk)


def require_digest(wanted: Sha256, found: Sha256, source: Path) -> None:
    """Refuse what was copied from a file that somebody wrote to meanwhile.

    :raises IntegrityError: if the digests differ.
    """
    if found != wanted:
        raise IntegrityError(
            f"`{printable(str(source))}` has changed while it was copied",
            evidence=(f"wanted  sha256 {wanted}", f"found   sha256 {found}"),
        )


def _is_answer(error: Exception) -> bool:
    """Return whether a service was reached: drivers turn its answers into the system's own errors."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return False
    return isinstance(error, OSError) and type(error).__module__ == "builtins"


def _is_refused_condition(error: OSError) -> bool:
    """Return whether S3's 412 is behind an error; s3fs knows it in the form of Amazon's own service alone."""
    response = getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code in ("PreconditionFailed", "412")


def _told(error: Exception) -> str:
    """Return one line of what a driver said, without credentials and queries, which hold signatures."""
    text = " ".join(str(error).split()) or "nothing more"
    text = _QUERY.sub(r"\g<bare>?****", redact(text))
    return f"told    {type(error).__name__}: {printable(text)[:_TOLD]}"
