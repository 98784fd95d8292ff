"""The directory of an MLflow model: the file that is read, and models without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import InputError
from bundler.requirements.files import read_requirements
from bundler.requirements.requirement_set import RequirementSet
from bundler.system.environ import HostEnvironment

DESCRIPTION = "flavors: {python_function: {loader_module: mlflow.sklearn, python_version: 3.8.2}}\nmlflow_version: 2.9.2\n"
CONDA = "dependencies: [python=3.9, {pip: [from-conda]}]\n"
PYTHON_ENV = "python: 3.10\ndependencies: [-r requirements.txt]\n"


def read(folder: Path, files: dict[str, str]) -> RequirementSet:
    for name, text in {"MLmodel": DESCRIPTION, **files}.items():
        path = folder / "model" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return read_requirements(HostEnvironment(cwd=folder, environ={}), files=[Path("model")])


@pytest.mark.parametrize(
    ("files", "python", "name"),
    [
        ({"conda.yaml": CONDA, "python_env.yaml": PYTHON_ENV}, "3.9", "from-conda"),
        ({"python_env.yaml": PYTHON_ENV}, "3.10", "listed"),
        ({}, "3.8", "listed"),
        (
            {
                "MLmodel": "mlflow_version: 3.0\nflavors: {python_function: {env: e/c.yaml}}",
                "e/c.yaml": CONDA,
            },
            "3.9",
            "from-conda",
        ),
    ],
)
def test_the_best_file_of_a_model_is_read(
    files: dict[str, str], python: str, name: str, tmp_path: Path
) -> None:
    found = read(
        tmp_path, {"requirements.txt": "-c constraints.txt\nlisted\n", "constraints.txt": "", **files}
    )

    assert found.conda is not None
    assert found.conda.read.lowest == python
    assert [root.text for root in found.roots] == [name]


@pytest.mark.parametrize("version", ["", "mlflow_version: 1.30.1\n", "mlflow_version: 1.9\n"])
def test_a_model_of_mlflow_1_needs_pkg_resources(version: str, tmp_path: Path) -> None:
    found = read(tmp_path, {"MLmodel": f"flavors: {{}}\n{version}", "conda.yaml": CONDA})

    assert [root.text for root in found.roots] == ["from-conda", "setuptools<82"]
    assert found.requirement_lines == ("from-conda", "setuptools<82")


def test_constraints_are_relative_to_the_model(tmp_path: Path) -> None:
    conda = "dependencies: [{pip: [six, -c constraints.txt]}]\n"
    found = read(tmp_path, {"conda.yaml": conda, "constraints.txt": "six==1.16.0\n"})

    assert [root.text for root in found.constraints] == ["six==1.16.0"]


def test_a_model_without_requirements_names_the_files_that_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, {})

    assert "the MLflow model has no file with its requirements" in str(refused.value)
    assert any("conda.yaml, python_env.yaml, requirements.txt" in line for line in refused.value.evidence)


def test_the_line_of_a_fault_is_that_of_the_file_that_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, {"python_env.yaml": PYTHON_ENV, "requirements.txt": "ok\n-e .\n"})

    assert "model/requirements.txt:2" in str(refused.value) + "".join(refused.value.evidence)


AZUREML = (
    "$schema: https://azuremlschemas.azureedge.net/latest/environment.schema.json\nname: x\nimage: base:1\n"
)
INLINE = "  dependencies: [python=3.9, {pip: [from-conda]}]\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{AZUREML}conda_file: ../conda.yaml\n",
        f"{AZUREML}conda_file:\n{INLINE}",
        "endpoint_name: e\nenvironment:\n  image: base:1\n  conda_file: ../conda.yaml\n",
        "name: x\nversion: '2'\npython:\n  userManagedDependencies: false\n  condaDependencies:\n  " + INLINE,
        "name: x\npython: {condaDependenciesFile: ../conda.yaml}\ndocker: {enabled: true}\n",
    ],
)
def test_a_file_of_azure_ml_names_its_conda_environment(text: str, tmp_path: Path) -> None:
    (tmp_path / "azureml").mkdir()
    (tmp_path / "azureml" / "env.yml").write_text(text)
    (tmp_path / "conda.yaml").write_text(CONDA)
    found = read_requirements(HostEnvironment(cwd=tmp_path, environ={}), files=[Path("azureml/env.yml")])

    assert found.conda is not None
    assert (found.conda.read.lowest, [root.text for root in found.roots]) == ("3.9", ["from-conda"])
    assert found.conda.where == ("azureml/env.yml" if "dependencies:" in text else "conda.yaml")


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (f"{AZUREML}conda_file: missing.yaml\n", "file not found"),
        (AZUREML, "unknown `image` key"),
        (f"{AZUREML}conda_file: [a]\n", "not an environment: expected a mapping"),
        ("conda_file: x\ndependencies: [six]\n", "unknown `conda_file` key"),
    ],
)
def test_a_file_of_azure_ml_without_a_conda_environment(text: str, fact: str, tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_text(text)
    with pytest.raises(InputError) as refused:
        read_requirements(HostEnvironment(cwd=tmp_path, environ={}), files=[Path("env.yml")])

    assert fact in " ".join([str(refused.value), *refused.value.evidence])


def test_the_interpreter_as_a_package_of_conda_is_the_target(tmp_path: Path) -> None:
    """As `conda env export` of conda-forge lists it, beside `python`."""
    (tmp_path / "env.yml").write_text("dependencies: [python=3.9.23, cpython=3.9.23=py39hd8ed1ab_0, six]\n")
    found = read_requirements(HostEnvironment(cwd=tmp_path, environ={}), files=[Path("env.yml")])

    assert [root.text for root in found.roots] == ["six"]
