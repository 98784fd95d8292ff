"""Packages without an entry script: MLflow models, and images with a server of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cli import BundlerCli, built, built_locked
from support.serving import served
from support.wheels import make_wheel

from bundler.requirements.conda.yaml import load_yaml

if TYPE_CHECKING:
    from support.cli import Ended

SITE = "lib/python3.7/site-packages"
PLAIN = "mcr.microsoft.com/azureml/minimal-ubuntu18.04-py37-cpu-inference"
MLFLOW = "mcr.microsoft.com/azureml/mlflow-ubuntu18.04-py37-cpu-inference"
DESCRIPTION = "flavors: {python_function: {loader_module: LOADER, code: code, env: conda.yaml}}\n"


@pytest.fixture(scope="module")
def built_bundle(worker_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with the modules that the script for MLflow imports."""
    folder = tmp_path_factory.mktemp("bundle")
    cli = BundlerCli(folder / "home", "", folder / "wheels", store=worker_store)
    pyfunc = {"mlflow/__init__.py": "", "mlflow/pyfunc.py": ""}
    make_wheel(folder / "wheels", "mlflow", "1.0", pyfunc, requires=["numpy", "pandas"])
    make_wheel(folder / "wheels", "numpy", "1.0")
    make_wheel(folder / "wheels", "pandas", "1.0")
    args = ("mlflow", "--name", "app", "--bundle-version", "1")
    return Path(built_locked(cli, *args, cwd=folder)["path"])


@pytest.fixture
def bundle(built_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(built_bundle, tmp_path))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "iris"
    folder.mkdir()
    (folder / "MLmodel").write_text(DESCRIPTION.replace("LOADER", "mlflow.sklearn"))
    (folder / "model.pkl").write_bytes(b"model")
    return folder


def package(cli: BundlerCli, bundle: Path, *args: str, image: str = PLAIN) -> Ended:
    return cli.run("package", str(bundle), "--base-image", image, "-o", "out", *args, cwd=bundle.parent)


def env_of(bundle: Path) -> dict[str, str]:
    env: dict[str, str] = json.loads((bundle.parent / "out" / "context.json").read_text())["env"]
    return env


def test_a_model_of_mlflow_needs_no_entry_script(warm_cli: BundlerCli, bundle: Path, model: Path) -> None:
    ended = package(warm_cli, bundle, "--model", "iris")
    assert ended.returncode == 0, ended.stderr

    assert env_of(bundle) == {
        "AZUREML_SOURCE_DIRECTORY": "mlflow_scoring",
        "AZUREML_ENTRY_SCRIPT": "mlflow_scoring/score.py",
        "AZUREML_EXTRA_PYTHON_LIB_PATH": f"../bundle/{SITE}",
        "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/iris/1",
        "MLFLOW_MODEL_FOLDER": "iris",
    }
    assert "the server starts" in ended.stderr
    assert (bundle.parent / "out/azureml-app/azureml-models/iris/1/iris/MLmodel").is_file()


def test_an_image_for_mlflow_starts_its_own_script(warm_cli: BundlerCli, bundle: Path, model: Path) -> None:
    """Its start script would create the environment of the model, which needs a network."""
    ended = package(warm_cli, bundle, "--model", f"iris:3={model}", image=MLFLOW)
    assert ended.returncode == 0, ended.stderr

    assert env_of(bundle) == {
        "AZUREML_EXTRA_PYTHON_LIB_PATH": f"../azureml-app/bundle/{SITE}",
        "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/iris/3",
        "MLFLOW_MODEL_FOLDER": "iris",
    }
    dockerfile = (bundle.parent / "out" / "Dockerfile").read_text()
    assert not [line for line in dockerfile.splitlines() if line.startswith(("USER", "CMD", "EXPOSE", "RUN"))]
    assert "warning" not in ended.stderr
    simulated = warm_cli.run("simulate", str(bundle.parent / "out"))
    assert simulated.returncode == 0, simulated.stderr
    assert f"/var/azureml-app/bundle/{SITE}" in simulated.stdout
    assert "`/var/mlflow_resources/mlflow_score_script.py` is loaded: it is in the image" in simulated.stdout


def test_one_model_of_several_is_served(warm_cli: BundlerCli, bundle: Path, model: Path) -> None:
    (bundle.parent / "words.txt").touch()
    assert package(warm_cli, bundle, "--model", "iris", "--model", "words:2=words.txt").returncode == 0
    assert env_of(bundle)["MLFLOW_MODEL_FOLDER"] == "iris/1/iris"
    assert env_of(bundle)["AZUREML_MODEL_DIR"] == "/var/azureml-app/azureml-models"

    shutil.rmtree(bundle.parent / "out")
    ended = package(warm_cli, bundle, "--model", "iris", "--model", "other:1=iris")
    assert (ended.returncode, "several MLflow models" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("flavors: [", "not valid YAML"),
        ("flavors: {crate: {}}", "no `loader_module`"),
        ("x", "expected a mapping with `flavors`"),
    ],
)
def test_a_model_that_python_cannot_load(
    text: str, fact: str, warm_cli: BundlerCli, bundle: Path, model: Path
) -> None:
    (model / "MLmodel").write_text(text)
    ended = package(warm_cli, bundle, "--model", "iris")

    assert (ended.returncode, fact in ended.stderr) == (3, True), ended.stderr
    assert "MLmodel" in ended.stderr
    assert not (bundle.parent / "out").exists()


@pytest.mark.parametrize(
    ("loader", "file", "is_missing"),
    [
        ("own_loader", None, True),
        ("own_loader.sub", "code/own_loader.py", False),
        ("own_loader", "code/own_loader/__init__.py", False),
        ("mlflow.pyfunc.model", None, False),
        ("numpy", None, False),
    ],
)
def test_the_module_of_the_loader_is_looked_for(
    loader: str, file: str | None, is_missing: bool, warm_cli: BundlerCli, bundle: Path, model: Path
) -> None:
    (model / "MLmodel").write_text(DESCRIPTION.replace("LOADER", loader))
    if file is not None:
        (model / file).parent.mkdir(parents=True)
        (model / file).touch()
    ended = package(warm_cli, bundle, "--model", "iris")

    assert ended.returncode == 0, ended.stderr
    assert ("neither the bundle nor the model contains `own_loader`" in ended.stderr) is is_missing


def test_a_bundle_without_mlflow_is_warned_of(warm_cli: BundlerCli, tmp_path: Path, model: Path) -> None:
    cli = BundlerCli(tmp_path / "home", "", tmp_path / "wheels", store=warm_cli.store)
    make_wheel(tmp_path / "wheels", "leaf", "1.0")
    bundle = Path(built_locked(cli, "leaf", cwd=tmp_path)["path"])
    ended = cli.run("package", str(bundle), "--model", "iris", "--base-image", PLAIN, "-o", "o", cwd=tmp_path)

    assert ended.returncode == 0, "the image may have it"
    assert "warning   D629  the packages do not have `mlflow` (`" in ended.stderr
    assert "add `mlflow`, `numpy`, `pandas` to the requirements of the bundle" in ended.stderr
    assert "boot      if the image has `mlflow`, `numpy`, `pandas`, the server starts with" in ended.stderr


# Images with a server of their own (BYOC).

ROUTES = ("--route", "liveness=8080/ping", "--route", "scoring=8080/predictions/iris")


def test_an_image_with_its_own_server_gets_packages_and_models(
    warm_cli: BundlerCli, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "iris.mar").touch()
    args = ("--model", "iris:2=iris.mar", "--azureml-v2", *ROUTES)
    ended = package(warm_cli, bundle, *args, image="registry.example/torchserve:1")
    assert ended.returncode == 0, ended.stderr

    out = bundle.parent / "out"
    assert env_of(bundle) == {
        "PYTHONPATH": f"/var/azureml-app/bundle/{SITE}",
        "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/iris/2",
    }
    lines = (out / "Dockerfile").read_text().splitlines()
    assert not [line for line in lines if line.startswith(("USER", "CMD", "EXPOSE"))]
    deployment: dict[str, Any] = load_yaml((out / "deployment.yml").read_text())
    assert deployment["environment"]["inference_config"] == {
        "liveness_route": {"path": "/ping", "port": 8080},
        "readiness_route": {"path": "/ping", "port": 8080},
        "scoring_route": {"path": "/predictions/iris", "port": 8080},
    }


def test_routes_mean_that_the_image_loads_the_model_itself(
    warm_cli: BundlerCli, bundle: Path, model: Path
) -> None:
    assert package(warm_cli, bundle, "--model", "iris", *ROUTES, image="mlserver:1").returncode == 0
    assert "AZUREML_ENTRY_SCRIPT" not in env_of(bundle)


@pytest.mark.parametrize(
    ("image", "args", "status", "fact"),
    [
        ("torchserve:1", ("--azureml-v2",), 2, "needs the routes of the image's own server"),
        ("torchserve:1", ("--azureml-v2", "--route", "scoring=8080/x"), 2, "missing route: liveness"),
        ("torchserve:1", ("--route", "health=8080/x"), 2, "invalid `--route health=8080/x`"),
        ("torchserve:1", ("--route", "scoring=8080"), 2, "invalid `--route scoring=8080`"),
        ("torchserve:1", (*ROUTES, "--route", "liveness=1/"), 2, "invalid `--route liveness=1/`"),
        ("torchserve:1", ("--route", "scoring=70000/x"), 2, "invalid `--route scoring=70000/x`"),
        ("torchserve:1", ("--mode", "dynamic"), 2, "`--mode` needs an entry script"),
        ("torchserve:1", ("--lib-var", "sagemaker"), 2, "`--lib-var` needs an entry script"),
        (PLAIN, (), 2, "missing options: `--source-dir`, `--entry-script`"),
        (MLFLOW, (), 2, "serves an MLflow model, and none is given"),
        (PLAIN, ("--source-dir", "."), 2, "missing option: `--entry-script`"),
        ("torchserve:1", ("--entry-script", "x.py"), 2, "missing option: `--source-dir`"),
    ],
)
def test_what_an_image_without_code_lacks(
    image: str, args: tuple[str, ...], status: int, fact: str, warm_cli: BundlerCli, bundle: Path
) -> None:
    ended = package(warm_cli, bundle, *args, image=image)

    assert (ended.returncode, fact in ended.stderr) == (status, True), ended.stderr
    assert not (bundle.parent / "out").exists()


SAVE = """
import mlflow.pyfunc, sys
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import ColSpec, Schema
class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return model_input * 2 if hasattr(model_input, "columns") else model_input.sum(axis=1)
needed = ["mlflow-skinny==1.30.1", "pandas==1.3.5", "numpy==1.21.6", "cloudpickle==2.2.1"]
mlflow.pyfunc.save_model("plain", python_model=Twice(), pip_requirements=needed)
signature = ModelSignature(Schema([ColSpec("double", "a"), ColSpec("double", "b")]))
mlflow.pyfunc.save_model("typed", python_model=Twice(), pip_requirements=needed, signature=signature)
"""


@pytest.mark.online
@pytest.mark.slow
@pytest.mark.xdist_group("online")
def test_a_model_that_mlflow_saved_is_built_packaged_and_served(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    subprocess.run([python37, "-m", "venv", tmp_path / "mlflow"], check=True)
    python = tmp_path / "mlflow" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, "mlflow-skinny==1.30.1", "pandas==1.3.5", "numpy==1.21.6"], check=True)
    subprocess.run([python, "-c", SAVE], check=True, cwd=tmp_path)

    result = built(online_cli, "plain", cwd=tmp_path)
    assert result["name"] == "plain"
    assert {"mlflow-skinny", "setuptools"} <= set(result["distributions"]), "MLflow 1 needs pkg_resources"
    for name in ("plain", "typed"):
        args = ("package", result["path"], "--model", name, "--base-image", PLAIN, "-o", f"out-{name}")
        ended = online_cli.run(*args, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr

    with served(online_cli, tmp_path / "out-plain") as ask:
        assert ask({"input_data": {"columns": ["a"], "index": [7], "data": [[3]]}}) == [{"a": 6}]
        assert ask({"input_data": [[1, 2], [3, 4]]}) == [3, 7]
        assert ask([[1, 2]]) == [3]
    with served(online_cli, tmp_path / "out-typed") as ask:  # integers are accepted for doubles
        table = {"columns": ["b", "a"], "data": [[1, 2]]}
        assert ask({"input_data": table}) == [{"a": 4.0, "b": 2.0}]
