"""A real server of S3 on loopback, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# One request at a time: its conditional writes are given, our use of them is tested. Its buckets whose name
# begins with "blind" do not know the condition, as some services do not.
SERVER = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
app = DomainDispatcherApplication(create_backend_app)
def blind(environ, start):
    if environ["PATH_INFO"].startswith("/blind"):
        environ.pop("HTTP_IF_NONE_MATCH", None)
    return app(environ, start)
server = make_server("127.0.0.1", 0, blind)
print(server.port, flush=True)
server.serve_forever()
"""


@contextmanager
def serve_s3() -> Iterator[str]:
    """Start a server, and yield its URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
