"""The stand-in for a prebuilt inference image does what those images do; a real engine builds on it and runs it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.docker_engine import Docker

pytestmark = pytest.mark.slow

SCORE = """
import json
import os

import greeting


def init():
    global model
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.txt")) as file:
        model = file.read()


def run(raw):
    return {"said": greeting.greet(json.loads(raw)["name"]), "model": model, "uid": os.getuid()}
"""
DOCKERFILE = """
FROM {base}
COPY azureml-app /var/azureml-app
ENV AZUREML_ENTRY_SCRIPT=code/score.py \\
    AZUREML_EXTRA_PYTHON_LIB_PATH=../bundle/lib/python3.7/site-packages \\
    AZUREML_MODEL_DIR=/var/azureml-app/azureml-models/tiny/1 \\
    PIP_RETRIES=0 \\
    BOOT_FAILURE_SLEEP=1
"""
PACKAGES = "bundle/lib/python3.7/site-packages"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


@pytest.fixture(scope="module")
def app_image(docker: Docker, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An application on the base, built by the engine with no network."""
    context = tmp_path_factory.mktemp("context")
    files = {
        "code/score.py": SCORE,
        f"{PACKAGES}/greeting.py": "def greet(name):\n    return 'hello ' + name\n",
        "azureml-models/tiny/1/model.txt": "seven",
        "code/environment.yml": "dependencies: [python=3.7]\n",
        "code/requirements.txt": "no-such-distribution==1.0\n",
    }
    write(context / "azureml-app", **files)
    write(context, Dockerfile=DOCKERFILE.format(base=base_image))
    docker.build(context, "app:1")
    return "app:1"


@pytest.fixture(scope="module")
def app(docker: Docker, app_image: str) -> Iterator[str]:
    """The application, running."""
    container = docker.start(app_image)
    try:
        docker.wait_healthy(container)
        yield container
    finally:
        docker.remove(container)


def test_the_image_says_what_a_prebuilt_one_says(docker: Docker, base_image: str) -> None:
    """A build on it inherits the configuration."""
    config: dict[str, Any] = docker.inspect(base_image)["Config"]

    assert config["User"] == "dockeruser"
    assert config["Cmd"] == ["runsvdir", "/var/runit"]
    assert not config["Entrypoint"]
    assert list(config["ExposedPorts"]) == ["5001/tcp"]
    assert "AZUREML_INFERENCE_SERVER_HTTP_ENABLED=True" in config["Env"]
    assert "AML_APP_ROOT=/var/azureml-app" in config["Env"]
    assert "AZUREML_CONDA_ENVIRONMENT_PATH=/azureml-envs/minimal" in config["Env"]


def test_the_folders_belong_to_the_user(docker: Docker, base_image: str) -> None:
    """What the user must be able to write, and nothing of Python itself."""
    owned = ["/var/runit", "/var/log", "/var/lib/nginx", "/run", "/opt/miniconda", "/var/azureml-app"]
    others = ["/azureml-envs/minimal", "/etc", "/IMAGE_INFORMATION"]

    listed = docker.run(base_image, "stat", "-c", "%n %U", *owned, *others)

    assert listed.output.splitlines() == [f"{name} dockeruser" for name in owned] + [
        f"{name} root" for name in others
    ]


def test_python_finds_itself_where_it_was_put(docker: Docker, base_image: str) -> None:
    """The Python is found where it was put, not where it came from, and can be trusted to be whole."""
    code = (
        "import ssl, sqlite3, ctypes, bz2, lzma, zlib, hashlib, readline, uuid, sys, sysconfig, json; "
        "print(json.dumps([sys.prefix, sys.version_info[:2], sys.flags.no_site, sys.path, sysconfig.get_config_var('prefix')]))"
    )

    ended = docker.run(base_image, "python", "-I", "-c", code)

    library = "/azureml-envs/minimal/lib/python3"
    path = [f"{library}7.zip", f"{library}.7", f"{library}.7/lib-dynload", f"{library}.7/site-packages"]
    assert json.loads(ended.output) == ["/azureml-envs/minimal", [3, 7], 0, path, "/azureml-envs/minimal"]


def test_it_does_not_run_as_root(docker: Docker, app: str) -> None:
    """Every process, not only a new one."""
    status = docker.exec(app, "bash", "-c", "id; cat /proc/[0-9]*/status | grep ^Uid")

    first, *uids = status.output.splitlines()
    assert "(dockeruser)" in first
    assert len(uids) > 5
    assert {line.split()[1] for line in uids} == {first.removeprefix("uid=").split("(")[0]} != {"0"}


def test_the_server_answers_on_the_port_of_nginx(docker: Docker, app: str) -> None:
    """The request goes through nginx to the server, which finds the bundle and the model."""
    answer = docker.post(app, "/score", json.dumps({"name": "Ada"}))

    assert answer.status == 200, docker.logs(app)
    assert answer.json == {
        "said": "hello Ada",
        "model": "seven",
        "uid": int(docker.exec(app, "id", "-u").output),
    }
    assert docker.get(app, "/").text == "Healthy"


def test_a_failing_request_is_the_servers_to_answer(docker: Docker, app: str) -> None:
    """The error of a request ends neither the server nor the container."""
    assert docker.post(app, "/score", "{").status == 500
    assert docker.get(app, "/").status == 200


NONE = {"AZUREML_EXTRA_PYTHON_LIB_PATH": ""}
FAILURES = [
    pytest.param(
        97, {"AZUREML_EXTRA_PYTHON_LIB_PATH": "nowhere"}, "/var/azureml-app/code/nowhere", id="97-lib-path"
    ),
    pytest.param(
        97, {"AZUREML_EXTRA_PYTHON_LIB_PATH": f"/var/azureml-app/{PACKAGES}"}, "code//var", id="97-absolute"
    ),
    pytest.param(
        98, {**NONE, "AZUREML_EXTRA_CONDA_YAML": "no.yml"}, "/var/azureml-app/code/no.yml", id="98-conda"
    ),
    pytest.param(
        99, {**NONE, "AZUREML_EXTRA_REQUIREMENTS_TXT": "no.txt"}, "code/no.txt", id="99-requirements"
    ),
    pytest.param(
        95,
        {**NONE, "AZUREML_EXTRA_REQUIREMENTS_TXT": "requirements.txt"},
        "no-such-distribution",
        id="95-pip",
    ),
    pytest.param(95, {**NONE, "AZUREML_EXTRA_CONDA_YAML": "environment.yml"}, "conda", id="95-conda"),
    pytest.param(94, {"AZUREML_DEBUG_PORT": "5678"}, "debugpy", id="94-debug-port"),
    pytest.param(3, {"AZUREML_ENTRY_SCRIPT": "code/none.py"}, "none.py", id="3-no-script"),
    pytest.param(3, {"AZUREML_ENTRY_SCRIPT": "/code/score.py"}, "/code/score.py", id="3-leading-slash"),
    pytest.param(3, {"AZUREML_MODEL_DIR": "/nowhere"}, "/nowhere/model.txt", id="3-init-fails"),
    pytest.param(3, {"AZUREML_INFERENCE_SERVER_HTTP_ENABLED": ""}, "greeting", id="3-extras-ignored"),
]


@pytest.mark.parametrize(("code", "env", "named"), FAILURES)
def test_each_wrong_setting_has_its_exit_code(
    docker: Docker, app_image: str, code: int, env: dict[str, str], named: str
) -> None:
    """The container itself ends with the code, and its log names the reason."""
    ended = docker.run(app_image, env=env)

    assert ended.returncode == code, ended.output
    assert named in ended.output


def test_only_the_first_extra_counts(docker: Docker, app_image: str) -> None:
    """With a folder of packages set, a missing requirements file is never looked at."""
    container = docker.start(app_image, env={"AZUREML_EXTRA_REQUIREMENTS_TXT": "no.txt"})
    try:
        docker.wait_healthy(container)
    finally:
        docker.remove(container)


def test_a_server_that_is_not_installed_is_100(docker: Docker, app_image: str) -> None:
    """The check is the image's, before the server starts."""
    hidden = (
        "mv /azureml-envs/minimal/lib/python3.7/site-packages/azureml_inference_server_http-*.dist-info /tmp"
    )

    ended = docker.run(app_image, "bash", "-c", f"{hidden}; runsvdir /var/runit", user="root")

    assert ended.returncode == 100, ended.output


def test_a_stop_ends_it_soon(docker: Docker, app_image: str) -> None:
    """`docker stop` needs no kill."""
    container = docker.start(app_image)
    try:
        docker.wait_healthy(container)
        docker.call("stop", "--time", "15", container)

        assert docker.inspect(container)["State"]["ExitCode"] == 143
    finally:
        docker.remove(container)


def test_the_archive_is_made_once(base_archive: Path) -> None:
    """It says first what it was made from, so that the next run can leave it."""
    with tarfile.open(base_archive) as archive:
        names = archive.getnames()

    assert names[0] == "manifest.json"
    assert len(names) == 3
