"""Stage 3, effect: bring every locked file into the store, in parallel, hashed while it streams.

A file enters the store only if its sha256 is the locked one, and nothing opens
it before. Redirects are followed here, hop by hop, so that each hop gets the
scheme check, the trust and the credentials of its own origin. A broken answer
is asked for again from its first byte: no two answers are ever spliced.

Certificates and proxy come from the index settings. Where those are silent, the
usual variables count (REQUESTS_CA_BUNDLE, SSL_CERT_FILE, HTTPS_PROXY ...) and
the user's netrc, for the host it names: requests and OpenSSL read them from the
process, as pip does. They decide whom we ask, never what we accept.
"""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bundler.digest import CHUNK, Sha256
from bundler.errors import BundlerError, InputError, IntegrityError, NetworkError
from bundler.paths import printable
from bundler.redaction import redact, split_url
from bundler.reporter import SILENT, Reporter, Task
from bundler.resolve.index import IndexSettings, origin_of
from bundler.resolve.lockfile import LockedDistribution
from bundler.resolve.transport import (
    MAX_HOPS,
    FaultError,
    body_chunks,
    explain_failure,
    is_trusted,
    make_session,
    next_hop,
    refused_response,
)
from bundler.store.store import Store

if TYPE_CHECKING:
    import requests

__all__ = ["Download", "DownloadLimits", "download_of", "fetch_all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """One file of the lock."""

    url: str
    """Where it is: http(s), ``file:`` or a path; without credentials."""
    sha256: Sha256
    """The only bytes that will do."""
    size: int | None
    """Its size in bytes, if the lock knows it."""
    filename: str
    """The name of the wheel or sdist."""
    name: str
    """The distribution it belongs to, for messages."""


def download_of(package: LockedDistribution) -> Download:
    """Return the download of a locked file.

    :raises InputError: if the lock has no sha256 for it.
    """
    if package.sha256 is None:
        raise InputError(f"`{package.name}` has no sha256 in the lock")
    return Download(
        name=package.name,
        url=package.location,
        sha256=package.sha256,
        size=package.size,
        filename=package.filename,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadLimits:
    """How long a slow, broken or endless answer is put up with."""

    window: float | None = None
    """Seconds over which the rate is averaged, and that headers may take; None is four times the timeout."""
    min_rate: int = 1024
    """Bytes a second below which a download fails."""
    backoff: float = 0.5
    """Seconds before the first repetition; doubled for each further one, and jittered."""
    longest_wait: float = 30.0
    """Seconds at most before any repetition, whatever ``Retry-After`` asks for."""
    max_size: int = 8 << 30
    """Bytes at most where neither the lock nor the server names a size."""


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
    """Bring each file that is not in the store into it, bound as a reference of the kind ``file``.

    On a failure the others are cancelled and the first error is raised; what
    was complete stays in the store, so that the next run goes on from there.

    :param settings: timeout, retries, certificates, proxy and credentials.
    :param jobs: how many files are fetched at once.
    :param patience: the limits for servers that misbehave.
    :raises NetworkError: if a file cannot be had: no answer, a refusal, an
        unsafe redirect, an answer that breaks off, crawls or never ends.
    :raises IntegrityError: if a file is not the locked one.
    """
    missing = _missing(downloads, store)
    if not missing:
        return
    sizes = [download.size for download in missing if download.size is not None]
    total = sum(sizes) if len(sizes) == len(missing) else None
    with (
        warnings.catch_warnings(),
        reporter.task("fetch", total, in_bytes=True) as task,
        closing(_Fetcher(store, settings, patience, task)) as fetcher,
        ThreadPoolExecutor(min(jobs, len(missing)), thread_name_prefix="fetch") as pool,
    ):
        # Of a trusted host: the user asked for it, and the digest decides.
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        futures = [pool.submit(fetcher.fetch, download) for download in missing]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            # Also on an interrupt: the pool waits for its threads, so they must end.
            fetcher.stopped.set()
            pool.shutdown(cancel_futures=True)


def _missing(downloads: Sequence[Download], store: Store) -> list[Download]:
    """Return what must be fetched, each digest once, the largest first, so that no long one starts last."""
    missing: dict[Sha256, Download] = {}
    for download in downloads:
        if not store.has(download.sha256):
            missing.setdefault(download.sha256, download)
        elif store.lookup("file", download.sha256) is None:
            store.bind("file", download.sha256, download.sha256)
    return sorted(missing.values(), key=lambda download: -(download.size or 0))


class _StoppedError(Exception):
    """Another download has failed."""


class _Fetcher:
    """The downloads of one call: a session for each thread, one stop for all."""

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
        """Bring one file into the store, however many tries it takes."""
        bring = self._copy if origin_of(download.url) is None else self._try
        for attempt in range(self._settings.retries + 1):
            try:
                bring(download)
                break
            except FaultError as fault:
                if not fault.passing or attempt == self._settings.retries:
                    # The cause is not chained: its text may hold a signed address.
                    raise _error(download, fault, tries=attempt + 1, settings=self._settings) from None
                jittered = self._patience.backoff * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - no secret
                wait = jittered if fault.retry_after is None else fault.retry_after
                self.stopped.wait(min(wait, self._patience.longest_wait))

    def _try(self, download: Download) -> None:
        """Ask once, and write the answer into the store."""
        with closing(self._open(download.url)) as response:
            try:
                length = response.headers.get("Content-Length", "")
                declared = int(length) if length.isascii() and length.isdigit() else None
                self._receive(
                    download, body_chunks(response, self._window, self._patience.min_rate), declared
                )
            except FaultError as fault:
                if response.headers.get("Content-Type", "").lower().startswith("text/html"):
                    fault.hint = f"run `curl -sSIL {redact(download.url)}`: a web page answers, not the index"
                raise

    def _copy(self, download: Download) -> None:
        """Bring a file of this machine into the store."""
        is_url = download.url.startswith("file:")
        path = Path(url2pathname(urlsplit(download.url).path) if is_url else download.url)
        try:
            if path.exists() and not path.is_file():  # a pipe would block for ever
                raise FaultError(found="no regular file")
            with path.open("rb") as source:
                chunks = iter(lambda: source.read(CHUNK), b"")
                self._receive(download, chunks, path.stat().st_size)
        except OSError as error:
            raise FaultError(found=error.strerror or str(error)) from error

    def _open(self, url: str) -> requests.Response:
        """Return the answer at the end of all redirects; the caller closes it."""
        for _ in range(MAX_HOPS + 1):
            response = self._get(url)
            target = self._session().get_redirect_target(response)
            if target is None and response.status_code == HTTPStatus.OK:
                return response
            response.close()
            if target is None:
                raise refused_response(response, url)
            url = next_hop(url, target)
        raise FaultError(found=f"more than {MAX_HOPS} redirects", at=url)

    def _get(self, url: str) -> requests.Response:
        """Ask one server, with the credentials, the trust and the proxy that are meant for it."""
        self._check_stopped()
        secret = self._settings.credentials_for(url)
        proxy = self._settings.proxy
        try:
            return self._session().get(
                url,
                # As bytes: requests would spell a str in Latin-1.
                auth=(secret.user.encode(), secret.password.encode()) if secret else None,  # type: ignore[arg-type]
                # The bytes as they are: a compressed answer has another digest.
                headers={"Accept-Encoding": "identity"},
                stream=True,
                allow_redirects=False,
                timeout=self._settings.timeout,
                verify=False if is_trusted(url, self._settings) else self._settings.cert or True,
                cert=self._settings.client_cert,
                proxies={"http": proxy, "https": proxy} if proxy else None,
            )
        except (OSError, ValueError) as error:  # every error of requests is an OSError
            raise explain_failure(error, url) from error

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = make_session(self._settings)
            self._sessions.append(session)
        return session

    def _receive(self, download: Download, chunks: Iterator[bytes], declared: int | None) -> None:
        """Write a file into the store while it is counted and hashed; ``declared`` is the sender's size."""
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
                        raise FaultError(found="more than that", wanted=f"{limit} bytes")
                    writer.write(chunk)
                # Without a declared size, hanging up is how an answer ends, and how it breaks off.
                if declared is None and received < (known or 0):
                    found = f"{received} bytes, then the end"
                    raise FaultError(found=found, wanted=f"{known} bytes", passing=True)
                try:
                    writer.commit(download.sha256)
                except IntegrityError as error:
                    found = " ".join(error.evidence)
                    raise FaultError(found=found, kind=IntegrityError) from error
        except BaseException:
            self._task.advance(-received)
            raise
        self._store.bind("file", download.sha256, download.sha256)

    def _check_stopped(self) -> None:
        if self.stopped.is_set():
            raise _StoppedError


def _error(download: Download, fault: FaultError, *, tries: int, settings: IndexSettings) -> BundlerError:
    """Return the error the user sees: the file, the host, wanted and found."""
    at = split_url(fault.at or download.url)[0]
    origin = origin_of(at)
    place = f" from `{printable(origin[1])}`" if origin else ""
    verb = "cannot fetch" if fault.kind is NetworkError else "not the locked file:"
    lines = {
        "wanted": fault.wanted or f"sha256 {download.sha256}",
        "found": fault.found + (f" (tried {tries} times)" if tries > 1 else ""),
        "for": download.name,
        "address": download.url,
        "reached": "" if at == download.url else at,
        "index": settings.name_of(download.url) or "",
    }
    return fault.kind(
        redact(f"{verb} `{printable(download.filename)}`{place}"),
        evidence=tuple(redact(f"{label:<8} {printable(text)}") for label, text in lines.items() if text),
        hint=fault.hint,
    )
