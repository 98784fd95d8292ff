"""Layers that machines share, and a matrix on a real cluster: separate processes, each with its own store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.locks import write_lock
from support.s3server import serve_s3
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

NAMES = ("one", "two", "three", "four")


@pytest.fixture
def project(index: LocalIndex, tmp_path: Path) -> Path:
    """A directory with four bundles, each of its own distribution and of one that all of them need."""
    make_wheel(index.folder, "shared", "1.0")
    text = "[defaults]\nfor = 'mount'\n"
    for name in NAMES:
        make_wheel(index.folder, name, "1.0", requires=["shared"])
        write_lock(index.folder, [name], tmp_path / "project" / name / "pylock.toml")
        text += f"[bundle.{name}]\nlock = '{name}/pylock.toml'\n"
    (tmp_path / "project/bundles.toml").write_text(text)
    return tmp_path / "project"


def run(cli: BundlerCli, cwd: Path, *args: str, **env: str) -> tuple[dict[str, Any], str]:
    """Run the matrix, and return the row of each bundle and the report."""
    ended = cli.run("matrix", "--json", *args, cwd=cwd, env=env)
    assert ended.returncode == 0, ended.stderr
    return {row["bundle"]: row for row in ended.json["result"]["bundles"]}, ended.stderr


def made(share: Path) -> dict[str, int]:
    """Return the references of layers in a directory, with a number that changes when one is written again."""
    return {path.name: path.stat().st_ino for path in (share / "refs/layer").rglob("*") if path.is_file()}


def test_a_second_machine_makes_no_layer_again_and_a_damaged_one_itself(
    project: Path, python37: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    args = ("--only", "one", "--share", str(share))
    first, _ = run(bundler_cli, project, *args)
    before = made(share)
    assert len(before) == 2

    def again(name: str) -> str:
        """Build on a machine with an empty store, and return the report: the bytes are the same."""
        out = tmp_path / name
        text = (
            (project / "bundles.toml")
            .read_text("utf-8")
            .replace("[defaults]", f"[defaults]\noutput = '{out}'")
        )
        (project / f"{name}.toml").write_text(text)
        rows, report = run(
            bundler_cli, project, f"{name}.toml", *args, BUNDLER_STORE=str(tmp_path / f"{name}-store")
        )
        assert (rows["one"]["status"], rows["one"]["sha256"]) == ("built", first["one"]["sha256"])
        return report

    assert "warning" not in again("second")
    assert made(share) == before

    # A changed byte in any file: the machine reports it, makes the layers itself and replaces the files.
    files = sorted(path for path in share.rglob("*") if path.is_file())
    assert len(files) > 6
    for number, path in enumerate([*files[:: len(files) // 2], None]):
        for changed in files if path is None else [path]:
            changed.chmod(0o644)
            changed.write_bytes(changed.read_bytes()[:-2] + b"xx")
        assert "layers are made again" in again(f"damaged-{number}"), path
        assert "warning" not in again(f"healed-{number}"), path
    assert made(share).keys() == before.keys()


def test_a_bundle_of_another_machine_is_not_built_again(
    project: Path, python37: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    args = ("--share", str(tmp_path / "share"))
    first, _ = run(bundler_cli, project, *args)
    store = {"BUNDLER_STORE": str(tmp_path / "second-store")}
    second, _ = run(bundler_cli, project, *args, **store)
    assert [row["status"] for row in second.values()] == ["unchanged"] * len(NAMES)
    assert [row["sha256"] for row in second.values()] == [row["sha256"] for row in first.values()]
    changed = Path(first["two"]["path"])
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    again = bundler_cli.run("matrix", "--json", *args, cwd=project, env=store)
    assert again.returncode != 0, "a changed file is neither unchanged nor replaced"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--scheduler", "tcp://127.0.0.1:9"), 9, "cannot connect to the scheduler `tcp://127.0.0.1:9`"),
        (("--scheduler", "nonsense"), 9, "cannot connect to the scheduler `nonsense`"),
        (("--share", "s3://user:secret@bucket"), 2, "contains credentials"),
        (("--share", "ftp://x/y"), 11, "cannot store a workspace"),
    ],
)
def test_a_wrong_scheduler_or_share(
    args: tuple[str, ...], code: int, message: str, project: Path, bundler_cli: BundlerCli
) -> None:
    if "--scheduler" in args:
        pytest.importorskip("distributed")
    ended = bundler_cli.run("matrix", *args, cwd=project)

    assert (ended.returncode, message in ended.stderr, "secret" in ended.stderr) == (code, True, False), (
        ended.stderr
    )
    assert "Traceback" not in ended.stderr


@dataclass(frozen=True)
class Cluster:
    """A scheduler and two workers, each as its own machine."""

    url: str
    workers: list[subprocess.Popen[bytes]]
    stores: list[Path]
    env: Mapping[str, str]

    def arguments(self) -> tuple[str, ...]:
        return ("--scheduler", self.url, "--share", "s3://fleet/layers")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an object store that keeps every version of an object."""
    pytest.importorskip("moto")
    boto = pytest.importorskip("botocore.session")
    pytest.importorskip("s3fs")
    with serve_s3() as url:
        names = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        for name, value in {**names, "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}.items():
            monkeypatch.setenv(name, value)
        client = boto.get_session().create_client("s3")
        client.create_bucket(Bucket="fleet")
        client.put_bucket_versioning(Bucket="fleet", VersioningConfiguration={"Status": "Enabled"})
        yield client


@pytest.fixture
def cluster(s3: Any, bundler_cli: BundlerCli, tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    env = {**bundler_cli.env, **aws, "NO_PROXY": "127.0.0.1"}
    # A lock of a killed worker is free after this time.
    env["DASK_DISTRIBUTED__SCHEDULER__LOCKS__LEASE_TIMEOUT"] = "5s"
    file = tmp_path / "scheduler.json"
    stores = [tmp_path / f"machine-{number}" for number in (1, 2)]
    with ExitStack() as stack:

        def start(*args: str, **variables: str) -> subprocess.Popen[bytes]:
            argv = [sys.executable, "-m", "distributed.cli." + args[0], *args[1:], "--no-dashboard"]
            with (tmp_path / f"{args[0]}.log").open("ab") as log:
                process = subprocess.Popen(argv, env=env | variables, stdout=log, stderr=log, cwd=tmp_path)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        wait_for(file.exists)
        worker = ("dask_worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny")
        workers = [start(*worker, BUNDLER_STORE=str(store)) for store in stores]
        distributed: Any = pytest.importorskip("distributed")
        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(len(workers), timeout=60)
            url = client.scheduler.address
        yield Cluster(url=url, workers=workers, stores=stores, env=env)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def versions(s3: Any) -> list[int]:
    """Return how many times each layer was written to the object store."""
    counts: dict[str, int] = {}
    for version in s3.list_object_versions(Bucket="fleet", Prefix="layers/refs/layer/")["Versions"]:
        counts[version["Key"]] = counts.get(version["Key"], 0) + 1
    return list(counts.values())


@pytest.mark.slow
def test_two_machines_build_what_one_builds_and_make_no_layer_twice(
    project: Path, python37: Path, cluster: Cluster, s3: Any, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    aws = {name: value for name, value in cluster.env.items() if name not in bundler_cli.env}
    rows, report = run(bundler_cli, project, *cluster.arguments(), **aws)
    assert [row["status"] for row in rows.values()] == ["built"] * len(NAMES), report
    assert list(rows) == list(NAMES)
    assert all((store / "v1").exists() for store in cluster.stores)
    assert versions(s3) == [1] * (len(NAMES) + 1)

    text = (project / "bundles.toml").read_text("utf-8").replace("[defaults]", "[defaults]\noutput = 'here'")
    (project / "here.toml").write_text(text)
    here, _ = run(bundler_cli, project, "here.toml")
    assert {name: row["sha256"] for name, row in here.items()} == {
        name: row["sha256"] for name, row in rows.items()
    }


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_loses_nothing(
    project: Path,
    index: LocalIndex,
    python37: Path,
    cluster: Cluster,
    bundler_cli: BundlerCli,
    tmp_path: Path,
) -> None:
    # The import of one bundle waits until the test lets it end, so that its worker is killed in the middle.
    make_wheel(
        index.folder, "three", "1.0", {"three.py": "import time\ntime.sleep(4)\n"}, requires=["shared"]
    )
    write_lock(index.folder, ["three"], project / "three/pylock.toml")
    aws = {name: value for name, value in cluster.env.items() if name not in bundler_cli.env}
    argv = [sys.executable, "-I", "-m", "bundler", "matrix", *cluster.arguments()]
    with subprocess.Popen(
        argv, cwd=project, env={**bundler_cli.env, **aws}, stdout=subprocess.PIPE
    ) as command:
        distributed: Any = pytest.importorskip("distributed")
        with distributed.Client(cluster.url, set_as_default=False) as client:
            wait_for(lambda: any(client.processing().values()))
        wait_for(lambda: any((store / "v1/scratch").exists() for store in cluster.stores))
        killed = 0 if (cluster.stores[0] / "v1/scratch").exists() else 1
        wait_for(lambda: any((cluster.stores[killed] / "v1/scratch").iterdir()))
        os.kill(cluster.workers[killed].pid, signal.SIGKILL)
        assert command.stdout is not None
        printed = command.stdout.read().decode().splitlines()
        assert command.wait(timeout=240) == 0
    assert len(printed) == len(NAMES)
    assert len(list((project / "dist").glob("*.tar.gz"))) == len(NAMES)
    for line in printed:
        path, _, _ = line.partition("\t")
        assert bundler_cli.run("verify", path, cwd=project).returncode == 0
