"""What bundler packages, built, loaded and run by a real engine on a stand-in for Azure ML's image, without a network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cli import built
from support.paths import ROOT

from bundler.deploy.context import from_image, write_context
from bundler.digest import sha256_of
from bundler.oci.filetree import APP_ROOT, App, AppFile, AppLayer
from bundler.paths import archive_path

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.docker_engine import Docker

pytestmark = [pytest.mark.slow, pytest.mark.online, pytest.mark.xdist_group("docker")]

EXAMPLE = ROOT / "examples" / "sklearn-score"
ROWS = json.dumps({"data": [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]})
LISTING = ("find", "/var/azureml-app", "-printf", "%P %M %U %G %s\\n")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("package")


@pytest.fixture(scope="module")
def bundle(online_cli: BundlerCli, python37: Path, work: Path) -> Path:
    """The bundle of the example, tried under the server that the image has."""
    args = ("-r", str(EXAMPLE / "requirements.txt"), "--server", "0.8.4.2", "--name", "iris")
    return Path(built(online_cli, *args, cwd=work)["path"])


def package(cli: BundlerCli, bundle: Path, *args: str) -> dict[str, Any]:
    """Package the example, and return the result."""
    code = ("--source-dir", str(EXAMPLE / "code"), "--entry-script", "score.py")
    model = ("--model", f"iris:1={EXAMPLE / 'model' / 'iris.pkl'}")
    ended = cli.run("package", str(bundle), *code, *model, *args, "--json", cwd=bundle.parent)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = ended.json["result"]
    return result


@pytest.fixture(scope="module")
def context(online_cli: BundlerCli, bundle: Path, base_archive: Path, base_image: str) -> Path:
    """The build context, checked against the base."""
    out = bundle.parent / "context"
    package(online_cli, bundle, "--base", str(base_archive), "--base-image", base_image, "-o", str(out))
    return out


@pytest.fixture(scope="module")
def image(docker: Docker, context: Path) -> str:
    """The image that the engine makes of the context, with no network."""
    docker.build(context, "iris:context")
    return "iris:context"


@pytest.fixture(scope="module")
def running(docker: Docker, image: str) -> Iterator[str]:
    container = docker.start(image)
    try:
        docker.wait_healthy(container)
        yield container
    finally:
        docker.remove(container)


def test_a_container_without_a_network_answers_with_the_models_prediction(
    docker: Docker, running: str
) -> None:
    assert docker.get(running, "/").text == "Healthy"
    answer = docker.post(running, "/score", ROWS)
    assert (answer.status, answer.json) == (200, ["setosa", "virginica"]), docker.logs(running)


def test_nothing_in_it_is_root(docker: Docker, running: str) -> None:
    result = docker.exec(
        running, "bash", "-c", "id -un; cat /proc/[0-9]*/status | grep ^Uid | cut -f2 | sort -u"
    )
    user, *uids = result.output.split()

    assert user == "dockeruser"
    assert uids == [docker.exec(running, "id", "-u").output.strip()] != ["0"]


def test_an_image_written_without_a_daemon_is_the_same(
    docker: Docker, online_cli: BundlerCli, bundle: Path, base_archive: Path, image: str
) -> None:
    result = package(
        online_cli, bundle, "--base", str(base_archive), "--image", "iris.tar", "--tag", "iris:daemonless"
    )
    assert docker.load(bundle.parent / "iris.tar") == ["iris:daemonless"]
    assert docker.inspect("iris:daemonless")["Id"] == result["image"]["id"]

    listings = [docker.run(name, *LISTING).output.splitlines() for name in (image, "iris:daemonless")]
    assert sorted(listings[0]) == sorted(listings[1])
    configs = [docker.inspect(name)["Config"] for name in (image, "iris:daemonless")]
    for key in ("User", "Cmd", "Entrypoint", "ExposedPorts", "Labels"):
        assert configs[0][key] == configs[1][key], key
    assert sorted(configs[0]["Env"]) == sorted(configs[1]["Env"])

    container = docker.start("iris:daemonless")
    try:
        docker.wait_healthy(container)
        assert docker.post(container, "/score", ROWS).json == ["setosa", "virginica"]
    finally:
        docker.remove(container)


def test_wheels_are_installed_when_it_starts_without_an_index(
    docker: Docker, online_cli: BundlerCli, bundle: Path, base_image: str
) -> None:
    out = bundle.parent / "dynamic"
    package(online_cli, bundle, "--mode", "dynamic", "--base-image", base_image, "-o", str(out))
    docker.build(out, "iris:dynamic")
    container = docker.start("iris:dynamic")
    try:
        docker.wait_healthy(container, seconds=180)
        assert docker.post(container, "/score", ROWS).json == ["setosa", "virginica"]
    finally:
        docker.remove(container)


def program(cli: BundlerCli, code: str, folder: Path) -> str:
    """Run a program of Azure ML's SDK, ours, with a workspace of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**cli.env, "BUNDLER_WORKSPACE": str(folder / "workspace")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_image_of_an_environment_is_its_dockerfile_and_its_packages(
    docker: Docker, online_cli: BundlerCli, base_image: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {base_image}\nLABEL team=nlp\n")
    (tmp_path / "requirements.txt").write_text("requests==2.31.0\npyyaml==6.0.1\n")
    dockerfile = program(
        online_cli,
        "from bundler.azureml import Environment\n"
        "env = Environment.from_pip_requirements('nlp', 'requirements.txt')\n"
        "env.docker.base_image = None\n"
        "env.docker.base_dockerfile = './Dockerfile'\n"
        "env.environment_variables = {'TEAM': 'nlp $HOME \"x\"'}\n"
        "print(env.get_image_details(None)['ingredients']['dockerfile'], end='')\n"
        "env.build(context='context')\n",
        tmp_path,
    )
    assert (tmp_path / "context" / "Dockerfile").read_text() == dockerfile
    docker.build(tmp_path / "context", "nlp:environment")

    code = "import os, requests, yaml; print(requests.__version__, yaml.__file__, os.environ['TEAM'])"
    output = docker.run("nlp:environment", "python", "-c", code).output.split(maxsplit=2)
    site = "/var/azureml-app/bundle/lib/python3.7/site-packages"
    assert output == ["2.31.0", f"{site}/yaml/__init__.py", 'nlp $HOME "x"\n']
    config = docker.inspect("nlp:environment")["Config"]
    base = docker.inspect(base_image)["Config"]
    assert [config[key] for key in ("User", "Cmd")] == [base[key] for key in ("User", "Cmd")]
    assert config["Labels"]["team"] == "nlp"


def test_what_model_package_saves_and_pulls_answers(
    docker: Docker, online_cli: BundlerCli, base_archive: Path, base_image: str, tmp_path: Path
) -> None:
    program(
        online_cli,
        "from bundler.azureml import Environment, InferenceConfig, Model, Workspace\n"
        "ws = Workspace()\n"
        f"example = {str(EXAMPLE)!r}\n"
        "env = Environment.from_pip_requirements('iris', example + '/requirements.txt')\n"
        f"env.docker.base_image = {base_image!r}\n"
        "model = Model.register(ws, example + '/model/iris.pkl', 'iris')\n"
        "config = InferenceConfig('score.py', source_directory=example + '/code', environment=env)\n"
        "Model.package(ws, [model], config, generate_dockerfile=True).save('context')\n"
        f"base = {str(base_archive)!r}\n"
        "package = Model.package(ws, [model], config, image_name='iris', image_label='sdk', base=base)\n"
        "package.pull('iris.tar')\n",
        tmp_path,
    )
    docker.build(tmp_path / "context", "iris:saved")
    assert docker.load(tmp_path / "iris.tar") == ["iris:sdk"]
    for image in ("iris:saved", "iris:sdk"):
        container = docker.start(image)
        try:
            docker.wait_healthy(container)
            assert docker.post(container, "/score", ROWS).json == ["setosa", "virginica"]
        finally:
            docker.remove(container)


NO_LIB = {"AZUREML_EXTRA_PYTHON_LIB_PATH": ""}


@pytest.mark.parametrize(
    ("code", "env"),
    [
        pytest.param(97, {"AZUREML_EXTRA_PYTHON_LIB_PATH": "nowhere"}, id="97-missing"),
        pytest.param(97, {"AZUREML_EXTRA_PYTHON_LIB_PATH": "code/lib"}, id="97-doubled"),
        pytest.param(98, {**NO_LIB, "AZUREML_EXTRA_CONDA_YAML": "no.yml"}, id="98"),
        pytest.param(99, {**NO_LIB, "AZUREML_EXTRA_REQUIREMENTS_TXT": "no.txt"}, id="99"),
        pytest.param(95, {**NO_LIB, "AZUREML_EXTRA_REQUIREMENTS_TXT": "requirements.txt"}, id="95"),
        pytest.param(3, {"AZUREML_ENTRY_SCRIPT": "code/none.py"}, id="3-no-script"),
        pytest.param(3, {"AZUREML_ENTRY_SCRIPT": "/code/score.py"}, id="3-leading-slash"),
    ],
)
def test_every_exit_code_is_the_one_that_was_predicted(  # noqa: PLR0917 - its fixtures
    docker: Docker,
    online_cli: BundlerCli,
    context: Path,
    image: str,
    tmp_path: Path,
    code: int,
    env: dict[str, str],
) -> None:
    app = tmp_path / "azureml-app"
    shutil.copytree(context / "azureml-app", app)
    (app / "code" / "requirements.txt").write_text("no-such-distribution==1.0\n")
    variables = json.loads((context / "context.json").read_text())["env"] | env
    argv = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    predicted = online_cli.run("simulate", "--app-root", str(app), *argv, "--json")
    assert predicted.returncode == 10, predicted.stdout
    assert predicted.json["error"]["facts"]["exit_code"] == code

    mounted = f"--volume={app}:/var/azureml-app:ro"
    quick = {"BOOT_FAILURE_SLEEP": "1", "PIP_RETRIES": "0"}
    ended = docker.run(image, env={**env, **quick}, options=(mounted,), timeout=120)
    assert ended.returncode == code, ended.output


def test_the_mount_command_runs_the_base_as_it_is(
    docker: Docker, online_cli: BundlerCli, context: Path, base_image: str
) -> None:
    words = online_cli.run("mount-command", str(context)).stdout.split()
    assert words[:2] == ["docker", "run"]
    assert words[-1] == base_image
    env = dict(part.split("=", 1) for part in words if part.startswith(("AZUREML_", "PYTHONPATH")))
    volume = words[words.index("-v") + 1]

    container = docker.start(base_image, env=env, options=(f"--volume={volume}",))
    try:
        docker.wait_healthy(container)
        assert docker.post(container, "/score", ROWS).json == ["setosa", "virginica"]
    finally:
        docker.remove(container)


NAMES = [
    *("my code", "a$b", "${HOME}", "$(id)", "it's", 'say "x"', "all*", "any?", "v[1]"),
    *("{a,b}", "#x", "!x", "--from=x", "a;b", "größe x", "x\u00a0y"),
]


@pytest.mark.attack("contexts")
def test_no_name_is_interpreted_by_a_dockerfile(docker: Docker, tmp_path: Path) -> None:
    """Of a directory, and of a file at the top of the application."""
    contents = {f"{name}/x.py": name.encode() for name in NAMES} | {f"{name}.py": b"" for name in NAMES}
    files = [
        AppFile(
            path=archive_path(path),
            mode=0o644,
            size=len(content),
            sha256=sha256_of(content),
            chunks=[content].copy,
        )
        for path, content in sorted(contents.items(), key=lambda item: item[0].encode())
    ]
    layer = AppLayer(comment="code", files=tuple(files))
    app = App(layers=(layer,), env={}, user="", command=(), port=0, epoch=0, labels={})
    write_context(app, None, head=from_image("scratch"), out=tmp_path / "context")

    docker.build(tmp_path / "context", "names:1")
    container = docker.call("create", "names:1", "/none").strip()
    docker.call("export", "--output", str(tmp_path / "root.tar"), container)
    docker.remove(container)
    with tarfile.open(tmp_path / "root.tar") as archive:
        found = {member.name for member in archive if member.isfile()}

    assert {path for path in found if path.startswith(APP_ROOT)} == {
        f"{APP_ROOT}/{path}" for path in contents
    }
