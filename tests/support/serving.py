"""A build context that the real inference server serves."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from support.cli import BundlerCli

_PATIENCE = 600
"""Seconds until the server must answer: its packages are downloaded first."""


@contextmanager
def served(cli: BundlerCli, context: Path) -> Iterator[Callable[[Any], Any]]:
    """Serve a context; yield a function that posts a value as JSON, and returns the answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = context.parent / "serve.log"
    argv = [sys.executable, "-I", "-m", "bundler", "serve", str(context), "--port", str(port)]
    with log.open("wb") as stream:
        server = subprocess.Popen(argv, cwd=context.parent, env=cli.env, stdout=stream, stderr=stream)
    opener = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + _PATIENCE

    def ask(value: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        request = Request(f"http://127.0.0.1:{port}/score", json.dumps(value).encode(), headers)
        return json.loads(opener.open(request, timeout=60).read())

    try:
        while True:
            try:
                opener.open(f"http://127.0.0.1:{port}/", timeout=20).read()
                break
            except URLError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        yield ask
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
