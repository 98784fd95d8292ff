"""Effect: share layers between machines through a storage, and run the jobs of a matrix on a cluster of Dask.

The storage contains the blobs and references of layers as a store has them, and every blob is hashed
when it is fetched. Who can write to it can change layers, as on each of the machines: it needs the
same trust. The checks of a bundle are made by the machine that builds it.

    URL/refs/<kind>/ab/<key>     see `store.reference`
    URL/blobs/ab/<sha256>
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundler import __version__
from bundler.digest import Sha256, parse_sha256
from bundler.errors import BundlerError, InputError, IntegrityError, NetworkError, UsageError
from bundler.paths import printable
from bundler.pipeline.matrix import Job, Outcome, run_job
from bundler.pipeline.options import count_cores
from bundler.redaction import redact
from bundler.registry.storage import Storage, open_storage
from bundler.reporter import Reporter, Silent
from bundler.resolve.sdist import BuiltWheel
from bundler.store.reference import ref_content
from bundler.store.store import Store, open_store
from bundler.system.environ import HostEnvironment, read_host_environment

__all__ = ["Fleet", "SharedStore", "open_shared", "run_on_cluster"]

_SHARED = frozenset({"layer", "segment", "content", "built", "matrix"})
"""The kinds of references that are shared: of layers, of wheels built here, and of finished bundles."""
_CONNECT_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The cluster that runs the jobs."""

    scheduler: str
    """The URL of Dask's scheduler, such as ``tcp://host:8786``."""
    share: str | None
    """The URL of the storage of shared layers."""


class SharedStore(Store):
    """A store that fetches layers which it lacks from a storage, and copies those to it that it makes.

    :param lock: returns a context that is exclusive on all machines; by default on this one only.
    """

    def __init__(
        self,
        root: Path,
        storage: Storage,
        *,
        reporter: Reporter,
        lock: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        super().__init__(root, reporter=reporter)
        self._storage = storage
        self._lock = lock
        self._is_damaged = False
        """Whether a file of the storage was damaged: nothing is fetched then, and new files replace it."""

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """See `Store.locked`; other machines wait, too."""
        with super().locked(key), self._lock(key):
            yield

    def lookup(self, kind: str, key: str) -> Sha256 | None:
        """See `Store.lookup`; a blob of the storage is stored here once it has its digest."""
        digest = super().lookup(kind, key)
        if digest is not None or kind not in (*_SHARED, "file") or self._is_damaged:
            return digest
        try:
            digest = self._fetch(kind, key)
        except FileNotFoundError:
            return None
        except IntegrityError as error:
            self._is_damaged = True
            self.reporter.warn(
                f"`{self._storage.location}`: {kind} {key[:12]}: {error.message}; layers are made again"
            )
            return None
        super().bind(kind, key, digest)
        return digest

    def bind(self, kind: str, key: str, digest: Sha256) -> None:
        """See `Store.bind`; a shared kind is copied to the storage."""
        super().bind(kind, key, digest)
        if kind not in _SHARED:
            return
        if kind == "built":
            wheel = self.recall(kind, key, BuiltWheel)
            if wheel is not None:
                self._publish("file", wheel.sha256, wheel.sha256)
        self._publish(kind, key, digest)

    def _fetch(self, kind: str, key: str) -> Sha256:
        content = self._storage.read(_ref(kind, key))
        try:
            digest = parse_sha256(content[:64].decode("ascii"))
        except ValueError as error:
            raise IntegrityError("the reference is malformed") from error
        if content != ref_content(kind, key, digest):
            raise IntegrityError("the reference is that of another value")
        if not self.has(digest):
            with self.write() as blob:
                self._storage.fetch(_blob(digest), blob.write)
                blob.commit(digest)
        return digest

    def _publish(self, kind: str, key: str, digest: Sha256) -> None:
        # The reference last: where it exists, its blob is complete.
        if self._is_damaged:
            self._storage.replace(_blob(digest), self.path_of(digest).read_bytes())
        self._storage.put(_blob(digest), self.path_of(digest), digest)
        self._storage.replace(_ref(kind, key), ref_content(kind, key, digest))


def _ref(kind: str, key: str) -> str:
    return f"refs/{kind}/{key[:2]}/{key}"


def _blob(digest: Sha256) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def open_shared(
    path: Path | None,
    share: str,
    host: HostEnvironment,
    reporter: Reporter,
    *,
    lock: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> SharedStore:
    """Return the store of `open_store`, with the layers of a storage.

    :param share: the URL of the storage, or a directory.
    :param lock: see `SharedStore`.
    """
    root = open_store(path, host, reporter).root.parent
    return SharedStore(root, open_storage(share, host.cwd), reporter=reporter, lock=lock)


def run_on_cluster(
    jobs: Sequence[Job], fleet: Fleet, host: HostEnvironment, reporter: Reporter
) -> Iterator[tuple[Job, Outcome]]:
    """Run jobs on the workers of a cluster, and yield each with its outcome when it ends.

    A job whose worker ends is run by another one. Each worker uses its own store and index settings; the
    directory of the file and the outputs have the same paths on all machines.

    :param host: the environment with the directory of the file.
    :raises UsageError: if Dask is not installed.
    :raises NetworkError: if the scheduler cannot be reached.
    """
    with _connect(fleet.scheduler) as client:
        from distributed import as_completed  # type: ignore[import-not-found]  # noqa: PLC0415 - optional

        futures = {
            client.submit(_work, job, fleet.share, str(host.cwd), __version__, pure=False): job
            for job in jobs
        }
        for future in as_completed(futures):
            job = futures[future]
            if (fault := future.exception()) is not None:
                text = printable(redact(f"{type(fault).__name__}: {fault}"))
                yield job, Outcome(status="failed", error=BundlerError("the worker failed", evidence=(text,)))
                continue
            outcome, lines = future.result()
            for name, text in lines:
                reporter.stage(name, text)
            yield job, outcome


def _connect(url: str) -> Any:
    """Return a client of the scheduler, after a first connection: a client that fails cannot be closed."""
    try:
        from distributed import Client  # noqa: PLC0415 - optional
        from distributed.comm import connect  # type: ignore[import-not-found]  # noqa: PLC0415
        from distributed.utils import LoopRunner, sync  # type: ignore[import-not-found]  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("`--scheduler` needs Dask", hint="pip install 'airgap-bundler[dask]'") from error

    async def probe() -> None:
        await (await connect(url, timeout=_CONNECT_SECONDS)).close()

    runner = LoopRunner()
    runner.start()
    try:
        sync(runner.loop, probe)
    except (OSError, ValueError) as error:
        raise NetworkError(
            f"cannot connect to the scheduler `{printable(url)}`",
            evidence=(printable(redact(str(error))),),
            hint="--scheduler tcp://HOST:8786",
        ) from error
    finally:
        runner.stop()
    return Client(url, timeout=_CONNECT_SECONDS)


def _work(job: Job, share: str | None, cwd: str, version: str) -> tuple[Outcome, list[tuple[str, str]]]:
    """Run a job on a worker; return its outcome and the lines of its report."""
    from distributed import Lock, get_worker  # noqa: PLC0415 - optional

    if version != __version__:
        text = f"the worker has bundler {__version__}, the command {version}"
        return Outcome(status="failed", error=InputError(text)), []
    reporter = _Lines()
    host = replace(read_host_environment(), cwd=Path(cwd))
    worker = get_worker()

    def lock(key: str) -> AbstractContextManager[Any]:
        # Also in the threads of a build, which do not know the worker.
        held: AbstractContextManager[Any] = Lock(
            f"bundler-{key}", scheduler_rpc=worker.scheduler, loop=worker.loop
        )
        return held

    try:
        store = (
            open_shared(None, share, host, reporter, lock=lock)
            if share is not None
            else open_store(None, host, reporter)
        )
        job = replace(job, options=replace(job.options, jobs=count_cores()))
        outcome = run_job(job, host=host, store=store, reporter=reporter)
    except BundlerError as error:
        outcome = Outcome(status="failed", error=error)
    if outcome.error is not None:
        outcome = replace(outcome, error=_redacted(outcome.error))
    return outcome, [(name, redact(text)) for name, text in reporter.lines]


def _redacted(error: BundlerError) -> BundlerError:
    """Return an error without the secrets that only this process knows."""
    return type(error)(
        redact(error.message),
        evidence=tuple(map(redact, error.evidence)),
        hint=redact(error.hint) if error.hint else None,
    )


class _Lines(Silent):
    """Collects the lines of a report, for the command."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def stage(self, name: str, outcome: str) -> None:
        """Collect the line."""
        self.lines.append((name, outcome))

    def note(self, message: str) -> None:
        """Collect the note."""
        self.lines.append(("note", message))

    def warn(self, message: str) -> None:
        """Collect the warning."""
        self.lines.append(("warning", message))
