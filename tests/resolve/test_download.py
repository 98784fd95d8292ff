"""Downloads from a server that misbehaves: rows N02 to N16 of the corpus."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.faultserver import (
    CERTIFICATE,
    EXPIRED,
    Behaviour,
    Request,
    Server,
    chunked,
    guarded,
    in_turn,
    infinite,
    longer,
    ok,
    portal,
    redirect,
    serving,
    slow,
    stall,
    status,
    truncate,
)

from bundler.digest import sha256_of
from bundler.errors import BundlerError, IntegrityError, NetworkError
from bundler.requirements.requirement_set import IndexOptions
from bundler.resolve.download import Download, DownloadLimits, fetch_all
from bundler.resolve.index import IndexSettings, read_index_settings
from bundler.store.maintenance import store_info
from bundler.store.store import Store
from bundler.system.environ import HostEnvironment

BODY = bytes(range(256)) * 40
QUICK = DownloadLimits(window=1.0, backoff=0.01, longest_wait=0.05, max_size=1 << 20)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def settings(tmp_path: Path, **env: str) -> IndexSettings:
    """Return the settings pip has in an environment that says only this."""
    (tmp_path / "scratch").mkdir(exist_ok=True)
    around = {"PIP_CONFIG_FILE": "/dev/null", "PIP_TIMEOUT": "1", "PIP_RETRIES": "2", **env}
    around |= {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    host = HostEnvironment(environ=around, cwd=tmp_path)
    return read_index_settings(host, tmp_path / "scratch", flags=IndexOptions())


def download(url: str, *, body: bytes = BODY, size: int | None = None) -> Download:
    return Download(name="x", url=url, sha256=sha256_of(body), size=size, filename="x-1.0-py3-none-any.whl")


def fetch(url: str, store: Store, tmp_path: Path, *, size: int | None = None, **env: str) -> None:
    fetch_all([download(url, size=size)], store, settings(tmp_path, **env), patience=QUICK)


def told(error: BundlerError) -> str:
    return "\n".join((error.message, *error.evidence, error.hint or ""))


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(ok(BODY), id="plain"),
        pytest.param(chunked(BODY), id="chunked"),
        pytest.param(in_turn(status(503), status(500), ok(BODY)), id="N08-twice-down"),
        pytest.param(in_turn(status(429, b"", **{"Retry-After": "99999"}), ok(BODY)), id="N08-capped-wait"),
        pytest.param(in_turn(truncate(BODY, at=100), ok(BODY)), id="N06-truncated-then-whole"),
    ],
)
def test_what_arrives_whole_is_stored(
    behaviour: Behaviour, server: Server, store: Store, tmp_path: Path
) -> None:
    fetch(server.add("/x.whl", behaviour), store, tmp_path)

    digest = sha256_of(BODY)
    assert store.lookup("file", digest) == digest
    assert store.read(digest) == BODY


@pytest.mark.attack("network")
@pytest.mark.parametrize(
    ("behaviour", "kind", "telling", "requests"),
    [
        pytest.param(stall(BODY, after=100), NetworkError, "127.0.0.1", None, id="N04-stall"),
        pytest.param(slow(BODY, delay=0.2), NetworkError, "", None, id="N05-slow"),
        pytest.param(truncate(BODY, at=100), NetworkError, "", 3, id="N06-truncated"),
        pytest.param(chunked(BODY, cut_short=True), NetworkError, "", 3, id="N06-chunks-cut"),
        pytest.param(infinite(), NetworkError, "", None, id="N07-infinite"),
        pytest.param(status(503), NetworkError, "503", 3, id="N08-down"),
        pytest.param(status(404), NetworkError, "404", 1, id="N09-not-found"),
        pytest.param(status(410), NetworkError, "410", 1, id="N09-gone"),
        pytest.param(status(403), NetworkError, "403", 1, id="N09-forbidden"),
        pytest.param(guarded("u", "p", ok(BODY)), NetworkError, "401", 1, id="N10-no-login"),
        pytest.param(ok(BODY[::-1]), IntegrityError, sha256_of(BODY), 1, id="N11-wrong-bytes"),
        pytest.param(portal(), IntegrityError, "", 1, id="N18-portal"),
        pytest.param(redirect("file:///etc/passwd"), NetworkError, "", 1, id="N15-file"),
        pytest.param(redirect("ftp://127.0.0.1/x"), NetworkError, "", 1, id="N15-ftp"),
    ],
)
def test_what_does_not_is_refused_and_nothing_is_stored(  # noqa: PLR0917 - a table
    behaviour: Behaviour,
    kind: type[BundlerError],
    telling: str,
    requests: int | None,
    server: Server,
    store: Store,
    tmp_path: Path,
) -> None:
    with pytest.raises(kind) as caught:
        fetch(server.add("/x.whl", behaviour), store, tmp_path)

    assert telling in told(caught.value)
    assert requests is None or server.count("/x.whl") == requests
    assert (store_info(store).blobs, store_info(store).scratch) == (0, 0)


@pytest.mark.attack("network")
def test_n07_a_body_longer_than_the_lock_says(server: Server, store: Store, tmp_path: Path) -> None:
    with pytest.raises(BundlerError):
        fetch(server.add("/x.whl", longer(BODY, extra=b"more")), store, tmp_path, size=len(BODY) - 1)
    assert store_info(store).blobs == 0


@pytest.mark.attack("network")
def test_n15_redirects_are_followed_so_far(server: Server, store: Store, tmp_path: Path) -> None:
    last = server.add("/last.whl", ok(BODY))
    fetch(server.add("/first.whl", redirect(last)), store, tmp_path)
    assert store.has(sha256_of(BODY))

    url = server.add("/loop.whl", redirect("/loop.whl"))
    other = Download(
        name="y", url=url, sha256=sha256_of(b"other"), size=None, filename="y-1-py3-none-any.whl"
    )
    with pytest.raises(NetworkError) as caught:
        fetch_all([other], store, settings(tmp_path), patience=QUICK)
    assert "redirect" in told(caught.value)


@pytest.mark.attack("secrets")
def test_credentials_go_to_their_origin_and_nowhere_else(
    server: Server, store: Store, tmp_path: Path
) -> None:
    """T14 and N15: not to another host, not into an error."""
    stranger = server.add("/stranger.whl", ok(BODY), host="localhost")
    url = server.add("/x.whl", guarded("user", "secret-canary", redirect(stranger)))
    index = f"http://user:secret-canary@127.0.0.1:{server.port}/simple"

    fetch(url, store, tmp_path, PIP_INDEX_URL=index)

    by_path = {seen.path: seen.authorization for seen in server.seen}
    assert by_path["/x.whl"] is not None
    assert by_path["/stranger.whl"] is None

    refused = server.add("/refused.whl", guarded("other", "other", ok(b"")))
    other = Download(name="y", url=refused, sha256=sha256_of(b""), size=None, filename="y.whl")
    with pytest.raises(NetworkError) as caught:
        fetch_all([other], store, settings(tmp_path, PIP_INDEX_URL=index), patience=QUICK)
    assert "canary" not in told(caught.value)


@pytest.mark.attack("network")
def test_n02_nobody_listens(store: Store, tmp_path: Path) -> None:
    with serving() as gone:
        url = gone.url("/x.whl")
    with pytest.raises(NetworkError) as caught:
        fetch(url, store, tmp_path)
    assert "127.0.0.1" in told(caught.value)


@pytest.mark.attack("network")
@pytest.mark.parametrize(("certificate", "works"), [(CERTIFICATE, True), (EXPIRED, False)])
def test_n16_a_certificate_counts(certificate: str, works: bool, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    with serving_tls(certificate, tmp_path) as secure:
        url = secure.add("/x.whl", ok(BODY), host="localhost")
        with pytest.raises(NetworkError) as caught:
            fetch(url, store, tmp_path)
        assert "cert" in told(caught.value).lower()
        file.write_text(certificate)
        if works:
            fetch(url, store, tmp_path, PIP_CERT=str(file))
            assert store.has(sha256_of(BODY))
        else:
            with pytest.raises(NetworkError):
                fetch(url, store, tmp_path, PIP_CERT=str(file))


CA_VARIABLES = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_a_certificate_of_the_environment_counts_unless_one_is_configured(
    variable: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests and OpenSSL read them from the process; pip's `cert` replaces them."""
    file = tmp_path / "certificate.pem"
    file.write_text(CERTIFICATE)
    other = tmp_path / "other.pem"
    other.write_text(EXPIRED)
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(file))
    with serving_tls(CERTIFICATE, tmp_path) as secure:
        url = secure.add("/x.whl", ok(BODY), host="localhost")
        with pytest.raises(NetworkError, match="cannot fetch"):
            fetch(url, store, tmp_path, PIP_CERT=str(other))
        fetch(url, store, tmp_path)
    assert store.has(sha256_of(BODY))


def serving_tls(certificate: str, tmp_path: Path) -> AbstractContextManager[Server]:
    from support.faultserver import KEY  # noqa: PLC0415

    both = tmp_path / "server.pem"
    both.write_text(KEY + certificate)
    return serving(certificate=both)


def test_files_are_fetched_at_once(server: Server, store: Store, tmp_path: Path) -> None:
    """Each answer waits until all four have been asked for."""
    bodies = [BODY + bytes([number]) for number in range(4)]
    asked = threading.Barrier(4, timeout=20)

    def meeting(body: bytes) -> Behaviour:
        def behave(request: Request) -> None:
            asked.wait()
            ok(body)(request)

        return behave

    wanted = [
        download(server.add(f"/{number}.whl", meeting(body)), body=body) for number, body in enumerate(bodies)
    ]

    fetch_all(wanted, store, settings(tmp_path, PIP_TIMEOUT="20"), patience=DownloadLimits(window=30.0))

    assert server.most_at_once == 4


def test_what_is_stored_is_not_asked_for(server: Server, store: Store, tmp_path: Path) -> None:
    url = server.add("/x.whl", ok(BODY))
    fetch(url, store, tmp_path)
    fetch(url, store, tmp_path)

    assert server.count("/x.whl") == 1


@pytest.mark.parametrize("as_url", [False, True])
def test_a_local_file_is_taken_by_its_digest(as_url: bool, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "a b.whl"
    file.write_bytes(BODY)
    location = file.as_uri() if as_url else str(file)
    fetch(location, store, tmp_path)
    assert hashlib.sha256(store.read(sha256_of(BODY))).hexdigest() == sha256_of(BODY)

    shutil.rmtree(store.root)
    file.write_bytes(BODY[::-1])
    with pytest.raises(IntegrityError) as caught:
        fetch(location, store, tmp_path)
    assert caught.value.evidence[:2] == (
        f"wanted   sha256 {sha256_of(BODY)}",
        f"found    sha256 {sha256_of(BODY[::-1])}, {len(BODY)} bytes",
    )
    file.unlink()
    with pytest.raises(BundlerError, match=r"x-1\.0"):
        fetch(location, store, tmp_path)
