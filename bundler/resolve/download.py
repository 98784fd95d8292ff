"""Download the files of a lock into the store, in parallel, hashed while they stream.

A file enters the store only if its sha256 is the locked one; no other code reads it
before. Redirects are followed here, hop by hop, so that each hop gets the scheme
check, the verification and the credentials of its own origin. After a broken
response the file is requested again from its first byte: parts of two responses
are never combined.

Certificates and proxy come from the index settings, else from the usual variables
(REQUESTS_CA_BUNDLE, SSL_CERT_FILE, HTTPS_PROXY ...) and the user's netrc: requests
and OpenSSL read those from the process, as in pip. They select the server; the
digest alone decides which content is accepted.
"""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.digest import CHUNK, Sha256
from bundler.errors import BundlerError, InputError, IntegrityError, NetworkError
from bundler.paths import printable
from bundler.redaction import redact, split_url
from bundler.reporter import SILENT, SILENT_TASK, Reporter, Task
from bundler.resolve.index import IndexSettings, origin_of
from bundler.resolve.locations import file_path
from bundler.resolve.lockfile import LockedDistribution
from bundler.resolve.transport import (
    FaultError,
    body_chunks,
    make_session,
    open_response,
)
from bundler.store.store import Store

if TYPE_CHECKING:
    import requests

__all__ = ["Download", "DownloadLimits", "download_of", "fetch_all", "find_sizes", "missing_files"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """One file to download."""

    url: str
    """An http(s) or ``file:`` URL, or a path; without credentials."""
    sha256: Sha256
    """The digest that the file must have."""
    size: int | None
    """Its size in bytes, if the lock contains it."""
    filename: str
    """The filename of the wheel or sdist."""
    name: str
    """The name of its distribution, for messages."""


def download_of(package: LockedDistribution) -> Download:
    """Return the download of a locked file.

    :raises InputError: if the lock has no sha256 for it.
    """
    if package.sha256 is None:
        raise InputError(f"the lock has no sha256 for `{package.name}`")
    return Download(
        name=package.name,
        url=package.location,
        sha256=package.sha256,
        size=package.size,
        filename=package.filename,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadLimits:
    """Limits for slow, stalled or unbounded responses."""

    window: float | None = None
    """Seconds over which the rate is averaged; None is four times the timeout."""
    min_rate: int = 1024
    """Bytes per second; a slower download fails."""
    backoff: float = 0.5
    """Seconds before the first repetition; doubled for each further one, with jitter."""
    longest_wait: float = 30.0
    """Maximum seconds before a repetition; a longer ``Retry-After`` is cut to it."""
    max_size: int = 8 << 30
    """Maximum bytes of a file whose size neither the lock nor the server states."""


PATIENCE = DownloadLimits()


def fetch_all(
    downloads: Sequence[Download],
    store: Store,
    settings: IndexSettings,
    *,
    reporter: Reporter = SILENT,
    jobs: int = 8,
    patience: DownloadLimits = PATIENCE,
) -> None:
    """Download the files that the store lacks, and bind each as a reference of the kind ``file``.

    After a failure the other downloads are canceled and the first error is raised;
    complete files stay in the store, so that the next run continues from there.

    :param settings: timeout, retries, certificates, proxy and credentials.
    :param jobs: number of parallel downloads.
    :param patience: limits for the responses of the servers.
    :raises NetworkError: if a file cannot be downloaded: no response, an error status, an
        unsafe redirect, a response that is incomplete, too slow or too long.
    :raises IntegrityError: if a file does not have the locked digest or size.
    """
    missing = missing_files(downloads, store)
    if not missing:
        return
    sizes = [download.size for download in missing if download.size is not None]
    total = sum(sizes) if len(sizes) == len(missing) else None
    with (
        warnings.catch_warnings(),
        reporter.task("wheels", total, in_bytes=True) as task,
        closing(_Fetcher(store, settings, patience, task)) as fetcher,
        ThreadPoolExecutor(min(jobs, len(missing)), thread_name_prefix="fetch") as pool,
    ):
        # urllib3 warns for each trusted host: the user asked for it, and the digest is verified.
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        futures = [pool.submit(fetcher.fetch, download) for download in missing]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            # Also after an interrupt: leaving the pool waits for its threads, so they must end.
            fetcher.stopped.set()
            pool.shutdown(cancel_futures=True)


def find_sizes(
    downloads: Sequence[Download], store: Store, settings: IndexSettings, *, jobs: int = 8
) -> dict[Sha256, int | None]:
    """Return the size of each file in bytes, by its digest; None if the server does not state it.

    Only the headers of a response are read.

    :raises NetworkError: if a file cannot be requested.
    """
    with (
        closing(_Fetcher(store, settings, PATIENCE, SILENT_TASK)) as fetcher,
        ThreadPoolExecutor(jobs) as pool,
    ):
        sizes = pool.map(fetcher.size_of, downloads)
        return {download.sha256: size for download, size in zip(downloads, sizes, strict=True)}


def missing_files(downloads: Sequence[Download], store: Store) -> list[Download]:
    """Return the files the store lacks, each digest once, the largest first, so that it ends early.

    Those that the store has are bound as references of the kind ``file``.
    """
    missing: dict[Sha256, Download] = {}
    for download in downloads:
        if not store.has(download.sha256):
            missing.setdefault(download.sha256, download)
        elif store.lookup("file", download.sha256) is None:
            store.bind("file", download.sha256, download.sha256)
    return sorted(missing.values(), key=lambda download: -(download.size or 0))


class _StoppedError(Exception):
    """This download was canceled because another one failed."""


class _Fetcher:
    """The downloads of one `fetch_all`: a session for each thread, one event that stops all."""

    def __init__(self, store: Store, settings: IndexSettings, patience: DownloadLimits, task: Task) -> None:
        self.stopped = threading.Event()
        self._store = store
        self._settings = settings
        self._patience = patience
        self._window = patience.window if patience.window is not None else 4 * settings.timeout
        self._task = task
        self._own = threading.local()
        self._sessions: list[requests.Session] = []

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    def fetch(self, download: Download) -> None:
        """Copy or download one file into the store, and repeat transient failures."""
        self._task.name(download.filename)
        attempt_once = self._copy if origin_of(download.url) is None else self._request
        for attempt in range(self._settings.retries + 1):
            try:
                attempt_once(download)
                break
            except FaultError as fault:
                if not fault.transient or attempt == self._settings.retries:
                    # The cause is not chained: its text may contain a signed URL.
                    raise _error(download, fault, tries=attempt + 1, settings=self._settings) from None
                jittered = self._patience.backoff * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - no secret
                wait = jittered if fault.retry_after is None else fault.retry_after
                self.stopped.wait(min(wait, self._patience.longest_wait))

    def size_of(self, download: Download) -> int | None:
        """Return the size of a file in bytes, if the lock, the file system or the server states it."""
        if download.size is not None:
            return download.size
        if self._store.has(download.sha256):
            return self._store.path_of(download.sha256).stat().st_size
        try:
            if origin_of(download.url) is None:
                return _local_path(download.url).stat().st_size
            with closing(self._open(download)) as response:
                return _declared(response)
        except (FaultError, OSError) as error:
            fault = error if isinstance(error, FaultError) else FaultError(found=error.strerror or str(error))
            raise _error(download, fault, tries=1, settings=self._settings) from None

    def _open(self, download: Download) -> requests.Response:
        url = self._settings.with_tokens(download.url)
        if url is None:
            raise FaultError(
                found="a URL without its token",
                hint="pass `--index-url` with the token in its path, as for the lock",
            )
        return open_response(url, self._settings, self._session)

    def _request(self, download: Download) -> None:
        """Request a file once, and write the response to the store."""
        with closing(self._open(download)) as response:
            try:
                self._receive(
                    download,
                    body_chunks(response, self._window, self._patience.min_rate),
                    _declared(response),
                )
            except FaultError as fault:
                if response.headers.get("Content-Type", "").lower().startswith("text/html"):
                    url = redact(download.url)
                    fault.hint = (
                        f"run `curl -sSIL {url}`: the response is a web page, not a file of the index"
                    )
                raise

    def _copy(self, download: Download) -> None:
        """Copy a local file to the store."""
        path = _local_path(download.url)
        try:
            if path.exists() and not path.is_file():  # opening a pipe would block forever
                raise FaultError(found="not a regular file")
            with path.open("rb") as source:
                chunks = iter(lambda: source.read(CHUNK), b"")
                self._receive(download, chunks, path.stat().st_size)
        except OSError as error:
            raise FaultError(found=error.strerror or str(error)) from error

    def _session(self) -> requests.Session:
        self._check_stopped()
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = make_session(self._settings)
            self._sessions.append(session)
        return session

    def _receive(self, download: Download, chunks: Iterator[bytes], declared: int | None) -> None:
        """Write a file to the store, and verify its size and digest.

        :param declared: the size of a local file, or the Content-Length of a response.
        :raises FaultError: if the size or the digest is wrong.
        """
        known = download.size if download.size is not None else declared
        limit = known if known is not None else self._patience.max_size
        if declared is not None and declared > limit:
            raise FaultError(found=f"{declared} bytes", wanted=f"{limit} bytes", kind=IntegrityError)
        received = 0
        try:
            with self._store.write() as writer:
                for chunk in chunks:
                    self._check_stopped()
                    received += len(chunk)
                    self._task.advance(len(chunk))
                    if received > limit:
                        raise FaultError(found=f"more than {limit} bytes", wanted=f"{limit} bytes")
                    writer.write(chunk)
                # Without a Content-Length, a closed connection is the end of a complete and of an
                # incomplete response alike (RFC 9112, 6.3): only the size of the lock shows which.
                if declared is None and received < (known or 0):
                    found = f"the response ended after {received} bytes"
                    raise FaultError(found=found, wanted=f"{known} bytes", transient=True)
                try:
                    writer.commit(download.sha256)
                except IntegrityError as error:
                    found = error.evidence[-1].removeprefix("found").lstrip()
                    raise FaultError(found=found, kind=IntegrityError) from error
        except BaseException:
            self._task.advance(-received)
            raise
        self._store.bind("file", download.sha256, download.sha256)

    def _check_stopped(self) -> None:
        if self.stopped.is_set():
            raise _StoppedError


def _local_path(url: str) -> Path:
    return Path(file_path(url) if url.startswith("file:") else url)


def _declared(response: requests.Response) -> int | None:
    """Return the Content-Length of a response, if it has a valid one."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else None


_NOT_LOCKED = "if the lockfile was edited, lock again with `bundler lock`; if not, do not trust this index"


def _error(download: Download, fault: FaultError, *, tries: int, settings: IndexSettings) -> BundlerError:
    """Return the error for the user: the file, the host, wanted and found."""
    at = split_url(fault.at or download.url)[0]
    origin = origin_of(at)
    place = f" from `{printable(origin[1])}`" if origin else ""
    verb = "cannot fetch" if fault.kind is NetworkError else "not the locked file:"
    lines = {
        "wanted": fault.wanted or f"sha256 {download.sha256}",
        "found": fault.found + (f" (tried {tries} times)" if tries > 1 else ""),
        "for": download.name,
        "URL": download.url,
        "reached": "" if at == download.url else at,
        "index": settings.name_of(download.url) or "",
    }
    return fault.kind(
        redact(f"{verb} `{printable(download.filename)}`{place}"),
        evidence=tuple(redact(f"{label:<8} {printable(text)}") for label, text in lines.items() if text),
        hint=fault.hint or (_NOT_LOCKED if fault.kind is IntegrityError else None),
    )
