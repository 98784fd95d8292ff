"""The connections to the indexes, asked before pip is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.faultserver import Behaviour, Request, Server, in_turn, ok, serving, status

from bundler.requirements.requirement_set import IndexOptions
from bundler.resolve.index import IndexSettings, read_index_settings
from bundler.resolve.releases import answering
from bundler.system.environ import HostEnvironment


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def read(tmp_path: Path, **env: str) -> IndexSettings:
    around = {"PIP_CONFIG_FILE": "/dev/null", "PIP_RETRIES": "4", "PIP_TIMEOUT": "1", "HOME": str(tmp_path)}
    host = HostEnvironment(environ={**around, "PATH": "/usr/bin:/bin", **env}, cwd=tmp_path)
    return read_index_settings(host, tmp_path, flags=IndexOptions())


def drop(request: Request) -> None:
    """Close the connection without an answer."""
    with suppress(OSError):
        request.connection.close()


@pytest.mark.parametrize(
    ("behaviour", "retries"),
    [(ok(b"x"), 4), (status(404), 4), (status(503), 4), (drop, 0), (in_turn(drop, ok(b"x")), 4)],
    ids=["answers", "404", "503", "never answers", "answers the second time"],
)
def test_pip_repeats_requests_to_servers_that_answer(
    behaviour: Behaviour, retries: int, server: Server, tmp_path: Path
) -> None:
    server.add("/simple/pip/", behaviour)
    settings = answering(read(tmp_path, PIP_INDEX_URL=server.url("/simple/")))

    assert settings.retries == retries
    assert {seen.path for seen in server.seen} == {"/simple/pip/"}


def test_one_index_without_a_connection_ends_the_repetitions(server: Server, tmp_path: Path) -> None:
    server.add("/simple/pip/", ok(b"x"))
    with serving() as closed:
        url = closed.url("/simple")
    settings = read(tmp_path, PIP_INDEX_URL=server.url("/simple"), PIP_EXTRA_INDEX_URL=url)

    assert answering(settings).retries == 0


def test_a_local_index_and_links_get_no_request(server: Server, tmp_path: Path) -> None:
    local = {"PIP_INDEX_URL": tmp_path.as_uri(), "PIP_FIND_LINKS": server.url("/links/")}

    assert answering(read(tmp_path, **local)).retries == 4
    assert not server.seen
