"""Effect: the storage of a workspace in an object store, through fsspec.

Of concurrent writers of one file, on any number of machines, exactly one must
succeed. Object stores guarantee that by a condition on the request (S3 and Azure:
``If-None-Match: *``; Google: ``ifGenerationMatch=0``). File systems of fsspec that
check first and write later are unsupported, and a service that ignores the
condition is detected before the first file is created.

fsspec and its drivers are optional, and imported when a URL needs them.
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

from bundler.archive.streams import require_digest
from bundler.digest import CHUNK, Sha256, hash_stream
from bundler.errors import BundlerError, IntegrityError, NetworkError, OutputError, UsageError
from bundler.paths import UnsafePathError, archive_path, printable
from bundler.redaction import redact, split_url

__all__ = ["Remote", "open_remote", "relative_path", "stream_to"]

_QUERY = re.compile(r"(?P<bare>://[^\s?'\"]+)\?[^\s'\"]+")
_DETAIL_LENGTH = 500
_PROBE = ".exclusive"
_PROBE_CONTENT = b"bundler has made sure here that a file which is there is not made again\n"
# One thread at a time: fsspec's in-memory file system has no lock of its own.
_turn = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Driver:
    """A driver of fsspec, with the arguments that make its writes exclusive."""

    package: str
    exclusive: Mapping[str, Any]
    """Arguments of ``pipe_file``; a version without these parameters would silently ignore them."""
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
    """A storage behind fsspec; see `open_storage`.

    :param file_system: an fsspec file system without a cache of listings.
    :param root: the path of the storage in it.
    :param exclusive: arguments of its ``pipe_file`` for a write that fails if the file exists.
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
        # Some services list the directory itself as an empty object; a file lists itself.
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
            # Unlike `cat`, `cat_ranges` does not expand glob patterns in paths.
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
        # The driver read the source by itself: hash it again to detect a change meanwhile.
        with source.open("rb") as file:
            found = hash_stream(file)[0]
        try:
            require_digest(found, sha256, f"`{printable(str(source))}` changed while it was copied")
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
        """Check once that the service refuses to create an existing file: the second attempt must fail.

        :raises OutputError: if it overwrites: then two writers could both believe they succeeded.
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
            f"`{self.location}` overwrites existing objects: it ignores conditional writes",
            evidence=("wanted  a service with conditional writes (S3: `If-None-Match: *`)",),
            hint="use a directory, or a service that supports them, for the workspace",
        )

    @contextmanager
    def _service(self, path: str, *, writing: bool = False) -> Iterator[None]:
        """Translate the exceptions of a driver into `BundlerError`."""
        try:
            yield
        except FileNotFoundError as error:
            if not writing:
                raise
            raise OutputError(
                f"`{self.location}` does not exist",
                evidence=(_detail(error),),
                hint="create the bucket or container first",
            ) from error
        except (FileExistsError, BundlerError):
            raise
        # Each driver has its own exceptions; none may reach the user as a traceback.
        except Exception as error:
            kind = OutputError if _is_answer(error) else NetworkError
            verb = "refuses the request" if kind is OutputError else "is unreachable"
            raise kind(
                f"`{self.location}` {verb}", evidence=(f"for     {printable(redact(path))}", _detail(error))
            ) from error


def open_remote(location: str) -> Remote:
    """Return the storage at a URL of fsspec, without any request.

    :raises UsageError: if the URL contains credentials, or its driver is not installed or not configured.
    :raises OutputError: if the service has no exclusive creation of files.
    """
    protocol = location.partition("://")[0].lower()
    _refuse_credentials(location, protocol)
    where = printable(redact(location)).rstrip("/")
    driver = _DRIVERS.get(protocol)
    if driver is None or "::" in location:
        wanted = "a service with exclusive creation of files"
        if protocol in {"azureml", "http", "https"}:
            wanted = "a directory, or the URL of a storage service, not a workspace of Azure ML"
        raise OutputError(
            f"`{where}` cannot store a workspace",
            evidence=(
                f"wanted  {wanted}",
                f"known   {', '.join(f'`{name}://`' for name in sorted(_DRIVERS))}, `file://`, directories",
            ),
        )
    file_system, root = _connect(location, where, driver)
    if not root.strip("/"):
        raise UsageError(f"`{where}` does not name a bucket, container or directory")
    # Async drivers implement `_pipe_file`; their public `pipe_file` is a wrapper without the parameters.
    pipe_file = getattr(file_system, "_pipe_file", file_system.pipe_file)
    if not driver.exclusive.keys() <= inspect.signature(pipe_file).parameters.keys():
        raise OutputError(
            f"this version of {driver.package} has no exclusive creation of files",
            hint=f"pip install --upgrade {driver.package}",
        )
    return Remote(file_system, root, location=where, exclusive=driver.exclusive)


def _connect(location: str, where: str, driver: _Driver) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # noqa: PLC0415 - optional

        # Other processes write too: disable the caches of instances and of listings.
        found: tuple[Any, str] = url_to_fs(location, skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        raise UsageError(
            f"`{where}` needs {driver.package}, which is not installed",
            evidence=(_detail(error),),
            hint=driver.install,
        ) from error
    except Exception as error:
        raise UsageError(f"`{where}` cannot be opened", evidence=(_detail(error),)) from error
    return found


def _refuse_credentials(location: str, protocol: str) -> None:
    """Check that a URL has no user information and no query.

    In Azure's ``abfs://CONTAINER@ACCOUNT...`` the part before ``@`` is not a user.
    """
    try:
        parts = urlsplit(location)
        userinfo, at, _ = parts.netloc.rpartition("@")
    except ValueError as error:
        raise UsageError(f"`{printable(redact(location))}` is not a URL", evidence=(str(error),)) from error
    is_container = _DRIVERS.get(protocol) is _AZURE and ":" not in userinfo
    if (at and not is_container) or parts.query:
        bare, _ = split_url(location)
        raise UsageError(
            f"the URL of the workspace `{printable(bare)}` contains credentials or a query",
            hint="remove them, and set the environment variables of the driver",
        )


def relative_path(path: str) -> str:
    """Return a path that is safe to join to the root of a storage.

    :raises ValueError: if it could leave the root; that is a bug of the caller.
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
    """Read a stream, each read inside ``guard``; exceptions of ``sink`` pass unchanged."""
    with guard():
        stream = start()
    with closing(stream):
        while True:
            with guard():
                chunk = stream.read(CHUNK)
            if not chunk:
                return
            sink(chunk)


def _is_answer(error: Exception) -> bool:
    """Return whether the service responded: drivers map its responses to built-in exceptions."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return False
    return isinstance(error, OSError) and type(error).__module__ == "builtins"


def _is_refused_condition(error: OSError) -> bool:
    """Return whether S3's 412 caused an error; s3fs maps only the code of Amazon's own service."""
    response = getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code in ("PreconditionFailed", "412")


def _detail(error: Exception) -> str:
    """Return the message of a driver in one line, without credentials and queries (signatures)."""
    text = " ".join(str(error).split()) or "no message"
    text = _QUERY.sub(r"\g<bare>?****", redact(text))
    return f"found   {type(error).__name__}: {printable(text)[:_DETAIL_LENGTH]}"
