"""The real command in a child."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.locks import write_lock
from support.paths import PACKAGE

SCHEMA = json.loads((PACKAGE / "bundle/manifest.schema.json").read_text("utf-8"))
# What reaches a test's children from around the test run: how the real index is
# reached, and nothing that would change a bundle.
PASSED_ON = (
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "NO_PROXY",
    "no_proxy",
    "COVERAGE_PROCESS_CONFIG",  # set by `coverage run`, read when Python starts: also with -I
)


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> Any:
        """The envelope of ``--json``."""
        return json.loads(self.stdout)


class BundlerCli:
    """The real command in a child, with a store and a HOME of its own."""

    def __init__(
        self, home: Path, index_url: str | None, wheels: Path | None = None, *, store: Path | None = None
    ) -> None:
        """Set up the command.

        :param index_url: None for the real index.
        :param wheels: the directory of the index.
        :param store: one that is shared with other tests; by default one of its own.
        """
        self.home = home
        self.wheels = wheels
        self.locks = 0
        self.store = store or home / "store"
        home.mkdir(exist_ok=True)
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.env |= {"HOME": str(home), "BUNDLER_STORE": str(self.store)}
        if index_url is None:
            # The real index, reached as pip is configured to reach it here.
            self.env |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        else:
            self.env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index_url, "PIP_RETRIES": "0"}

    def run(
        self,
        *args: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        umask: int = -1,
        timeout: float = 900,
    ) -> Ended:
        """Run the command to its end."""
        started = time.monotonic()
        # Isolated, so that what a test does to PYTHONPATH or the working
        # directory reaches the command's children, which it is about, and not
        # the command's own start.
        ended = subprocess.run(
            [sys.executable, "-I", "-m", "bundler", *args],
            cwd=cwd,
            env={**self.env, **(env or {})},
            umask=umask,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        return Ended(
            returncode=ended.returncode,
            stdout=ended.stdout.decode("utf-8", "replace"),
            stderr=ended.stderr.decode("utf-8", "replace"),
            seconds=time.monotonic() - started,
        )


def locked(cli: BundlerCli, *args: str) -> tuple[str, ...]:
    """Return the arguments of a build with their leading requirements as a lock of the wheels of the index.

    A build from a lock asks no pip, which is most of the time of a small build.
    """
    count = next((at for at, text in enumerate(args) if text.startswith("-")), len(args))
    cli.locks += 1
    assert cli.wheels is not None
    lock = write_lock(cli.wheels, args[:count], cli.home / f"lock-{cli.locks}" / "pylock.toml")
    return ("--lock", str(lock), *args[count:])


def built(cli: BundlerCli, *args: str, **given: Any) -> dict[str, Any]:
    """Build, expect success and return the result of the envelope."""
    ended = cli.run("build", "--json", *args, **given)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = ended.json["result"]
    return result


def built_locked(cli: BundlerCli, *args: str, **given: Any) -> dict[str, Any]:
    """Build from a lock of the wheels of the index, expect success and return the result."""
    return built(cli, *locked(cli, *args), **given)


def manifest_of(result: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(Path(result["manifest"]).read_text("utf-8"))
    return values
