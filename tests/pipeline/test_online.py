"""The main job on real packages from the real index, as users meet them."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from support.cli import built
from support.paths import ROOT

if TYPE_CHECKING:
    from support.cli import BundlerCli

pytestmark = [pytest.mark.online, pytest.mark.xdist_group("online")]

EXAMPLE = ROOT / "examples" / "sklearn-score"
SITE = "lib/python3.7/site-packages"


def test_the_example_scores_with_the_target_python_and_pythonpath_alone(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    code = ("--source-dir", str(EXAMPLE / "code"), "--entry-script", "score.py", "--run-init")
    model = ("--model-dir", str(EXAMPLE / "model"))
    result = built(online_cli, "-r", str(EXAMPLE / "requirements.txt"), *code, *model, cwd=tmp_path)
    assert Path(result["path"]).name.startswith("sklearn-score-")
    assert result["distributions"]["pandas"] == "1.3.5"
    assert result["distributions"]["numpy"] == "1.21.6"

    moved = tmp_path / "moved ä"
    assert online_cli.run("unpack", result["path"], str(moved)).returncode == 0
    shutil.copy(EXAMPLE / "code" / "score.py", tmp_path / "score.py")
    program = "import score; score.init(); print(score.run('{\"data\": [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]}'))"
    said = subprocess.run(
        [python37, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(moved / SITE), "AZUREML_MODEL_DIR": str(EXAMPLE / "model")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said == "['setosa', 'virginica']\n"
    assert online_cli.run("verify", str(moved)).returncode == 0


def test_two_stores_make_one_file_of_real_packages(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    requirements = ("numpy", "pandas", "scikit-learn", "flask", "requests")
    assert online_cli.run("lock", *requirements, "-o", "pylock.toml", cwd=tmp_path).returncode == 0
    first = built(online_cli, "--lock", "pylock.toml", "--name", "app", "-o", "one", cwd=tmp_path)
    second = built(
        online_cli,
        *("--lock", "pylock.toml", "--name", "app", "-o", "two", "--store", str(tmp_path / "store two")),
        cwd=tmp_path,
    )

    assert first["sha256"] == second["sha256"]
    assert {module["status"] for way in first["verification"]["ways"].values() for module in way} == {"ok"}
    assert first["sandbox"]["network"] == "namespace"


def test_the_inference_server_and_its_source_distribution(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """wrapt 1.12.1 has no wheel for 3.7; two projects share the namespace package opencensus."""
    result = built(
        online_cli,
        "azureml-inference-server-http==0.8.4.2",
        "--name",
        "server",
        "--format",
        "dir",
        cwd=tmp_path,
    )

    assert result["built_here"] == ["wrapt"]
    root = Path(result["path"])
    env = {"PATH": f"{python37.parent}:/usr/bin:/bin", "AML_APP_ROOT": str(tmp_path)}
    # Its help ends with 1 on 3.7, however it is started; what counts is what it says.
    said = subprocess.run(
        [root / "bin" / "azmlinfsrv", "--help"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "--entry_script" in said
    (wrapt,) = (item for item in _manifest(result)["distributions"] if item["name"] == "wrapt")
    assert wrapt["built_here"]["from"] == "wrapt-1.12.1.tar.gz"
    assert any(
        text.startswith("setuptools==68.0.0 --hash=sha256:") for text in wrapt["built_here"]["requires"]
    )


def _manifest(result: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(Path(result["manifest"]).read_text("utf-8"))
    return values


# --- what fails once it is mounted ------------------------------------------


def codes(cli: BundlerCli, *args: str, cwd: Path) -> dict[str, list[str]]:
    """Build, expect a refusal by the closure, and return the errors' messages by code."""
    ended = cli.run("build", "--json", *args, cwd=cwd)
    assert ended.returncode == 10, ended.stderr
    found: dict[str, list[str]] = {}
    for one in ended.json["error"]["facts"]["findings"]:
        if one["severity"] == "error":
            found.setdefault(one["code"], []).append(one["message"])
    return found


def test_enum34_kills_a_mount_and_is_harmless_when_installed(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    errors = codes(online_cli, "enum34==1.1.10", cwd=tmp_path)

    assert errors == {
        "M101": ["`enum34` contains `enum`, which hides the module of the standard library"],
        "M102": [
            (
                "Python does not start with the bundle mounted on PYTHONPATH: "
                "AttributeError: module 'enum' has no attribute 'IntFlag'"
            )
        ],
    }
    built(online_cli, "enum34==1.1.10", "--for", "venv", cwd=tmp_path)


def test_pydantic_2_breaks_the_inference_server(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    errors = codes(online_cli, "pydantic==2.5.3", "--server", "0.8.4.2", cwd=tmp_path)

    assert errors["B502"] == [
        "the base's server requires `pydantic<1.11,>=1.9`, the bundle has `pydantic` 2.5.3"
    ]
    assert "azureml_inference_server_http.server.create_app" in errors["B506"][0]


def test_the_opencv_twins_want_one_path(online_cli: BundlerCli, python37: Path, tmp_path: Path) -> None:
    twins = ("opencv-python==4.5.5.64", "opencv-python-headless==4.5.5.64")
    ended = online_cli.run("build", *twins, cwd=tmp_path)

    assert ended.returncode == 10
    assert "W704  `opencv-python` and `opencv-python-headless` install different code" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("release", "args"),
    [("1.37.*", ("--python", "3.7")), ("1.50.*", ("setuptools<82", "--python", "3.9"))],
)
def test_azureml_defaults_of_2021_to_2024(
    release: str, args: tuple[str, ...], online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """Two of the releases in docs/environments.md, which is written from a build of each."""
    args = (f"azureml-defaults=={release}", *args, "--for", "mount", "--name", "azure")
    result = built(online_cli, *args, cwd=tmp_path)

    assert {"azureml-core", "azureml-defaults"} <= set(result["distributions"])


def test_old_namespace_packages_work_under_the_server(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """protobuf and google-cloud-storage live by nspkg.pth files, which a mount does not read."""
    args = ("protobuf==3.20.3", "google-cloud-storage==2.10.0", "--server", "0.8.4.2")
    result = built(online_cli, *args, "--name", "gcs", cwd=tmp_path)

    ways = result["verification"]["ways"]
    assert sorted(ways) == ["mount", "server", "venv"]
    for way in ways.values():
        statuses = {one["module"]: one["status"] for one in way}
        assert statuses["google.cloud.storage"] == statuses["google.protobuf"] == "ok"
    found = {one["code"] for one in result["verification"]["findings"]}
    assert {"I209", "M103"} <= found, "google.cloud.obsolete, and protobuf's nspkg.pth"


def test_the_shared_libraries_of_tensorflow(online_cli: BundlerCli, python37: Path, tmp_path: Path) -> None:
    # Imported on its own it registers a file system that tensorflow has registered for it.
    allowed = ("--allow-import-failure", "tensorflow_io_gcs_filesystem")
    args = ("tensorflow-cpu==2.11.0", "--for", "mount", "--name", "tf", *allowed)
    result = built(online_cli, *args, "--target-glibc", "2.27", cwd=tmp_path)

    assert result["verification"]["glibc"] == "2.18", "a program that tensorboard brings"
    machines = {one["machine"] for one in result["verification"]["shared_objects"]}
    assert machines == {"x86_64"}
    errors = codes(online_cli, *args, "--target-glibc", "2.17", cwd=tmp_path)
    assert set(errors) == {"E403"}
    assert "tensorboard_data_server/bin/server" in errors["E403"][0]
    assert "`__cxa_thread_atexit_impl@GLIBC_2.18`" in errors["E403"][0]


SLIM = ("c.so.6", "dl.so.2", "gcc_s.so.1", "m.so.6", "pthread.so.0", "rt.so.1", "stdc++.so.6", "z.so.1")


def test_a_library_that_the_base_lacks(online_cli: BundlerCli, python37: Path, tmp_path: Path) -> None:
    """The pain of many: opencv needs a libGL that slim images do not have, by way of Qt."""
    base = tmp_path / "base.json"
    facts = {
        "format": "bundler-base",
        "format_version": 1,
        "source": "interpreter",
        "python": {},
        "libraries": [f"lib{name}" for name in SLIM],
        "symbol_versions": {},
        "distributions": [],
    }
    base.write_text(json.dumps(facts))
    errors = codes(online_cli, "opencv-python==4.5.5.64", "--base", str(base), cwd=tmp_path)

    assert list(errors) == ["E408"]
    (message,) = errors["E408"]
    assert "import `cv2` of `opencv-python` fails without `libGL.so.1`" in message
    assert "libGL.so.1: cannot open shared object file: No such file or directory" in message
    built(online_cli, "opencv-python-headless==4.5.5.64", "--base", str(base), cwd=tmp_path)


def test_a_context_is_served_here_by_the_real_server(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    bundle = built(online_cli, "-r", str(EXAMPLE / "requirements.txt"), cwd=tmp_path)["path"]
    code = ("--source-dir", str(EXAMPLE / "code"), "--entry-script", "score.py")
    model = ("--model", f"iris:1={EXAMPLE / 'model' / 'iris.pkl'}")
    args = ("package", bundle, *code, *model, "--base-image", "base:1", "-o", "context")
    assert online_cli.run(*args, cwd=tmp_path).returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-I", "-m", "bundler", "serve", "context", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(argv, cwd=tmp_path, env=online_cli.env, stdout=log, stderr=log)
    try:
        rows = json.dumps({"data": [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]}).encode()
        request = Request(f"http://127.0.0.1:{port}/score", rows, {"Content-Type": "application/json"})
        opener = build_opener(ProxyHandler({}))
        deadline = time.monotonic() + 300
        answer = b""
        while not answer:
            try:
                answer = opener.open(request, timeout=20).read()
            except URLError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.5)
        while " answers\n" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
            time.sleep(0.2)
    finally:
        server.send_signal(signal.SIGINT)
        ended = server.wait(60)

    assert json.loads(answer) == ["setosa", "virginica"]
    assert ended == 130
    log_text = (tmp_path / "log").read_text()
    assert f"ready     http://127.0.0.1:{port}/ answers" in log_text
