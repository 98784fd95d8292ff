"""The description of an MLflow model, in the shapes that releases of MLflow write."""

from __future__ import annotations

import pytest

from bundler.problems import ProblemError
from bundler.requirements.conda.envfile import parse_conda_file
from bundler.requirements.conda.mlflow import parse_model


@pytest.mark.parametrize(
    ("flavor", "environments"),
    [
        ("{}", ("conda.yaml", "python_env.yaml")),
        ("{env: conda.yaml}", ("conda.yaml", "python_env.yaml")),
        ("{env: env/conda.yaml}", ("env/conda.yaml", "python_env.yaml")),
        ("{env: {conda: c.yaml, virtualenv: v.yaml}}", ("c.yaml", "v.yaml")),
        ("{env: {virtualenv: v.yaml}}", ("conda.yaml", "v.yaml")),
        ("{env: null}", ("conda.yaml", "python_env.yaml")),
    ],
)
def test_the_environments_of_a_model(flavor: str, environments: tuple[str, ...]) -> None:
    assert parse_model(f"flavors: {{python_function: {flavor}}}").environments == environments


def test_the_facts_of_its_loader() -> None:
    model = parse_model(
        "artifact_path: model\nflavors:\n  python_function:\n    code: code\n    config: null\n"
        "    loader_module: mlflow.sklearn\n    python_version: 3.10.4\nmlflow_version: 2.9.2\n"
    )

    assert (model.loader, model.code, model.python) == ("mlflow.sklearn", "code", "3.10.4")
    assert parse_model("flavors: {crate: {version: 0.1}}").loader == ""
    assert parse_model("flavors: {python_function: {python_version: 'main'}}").python == ""


def test_the_signature_of_many_columns_is_one_long_text() -> None:
    """A model with 300 columns: longer than an entry of a conda environment file may be."""
    columns = ", ".join(f'{{"name": "column_{number}", "type": "double"}}' for number in range(300))

    assert parse_model(f"flavors: {{}}\nsignature:\n  inputs: '[{columns}]'\n").loader == ""


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "expected a mapping with `flavors`"),
        ("flavors: sklearn", "expected a mapping with `flavors`"),
        ("flavors: {python_function: mlflow.sklearn}", "`python_function` is not a mapping"),
        ("flavors: {python_function: {env: [conda.yaml]}}", "`env` of the flavor"),
        ("flavors: {python_function: {env: {conda: 3}}}", "`conda` of the flavor"),
        ("flavors: {python_function: {env: /etc/passwd}}", "`conda` is outside"),
        ("flavors: {python_function: {code: a/../../b}}", "`code` is outside"),
        ("flavors: !!python/object:os.system {}", "tag"),
        ("a: b: c", "not valid YAML"),
    ],
)
def test_a_malformed_description_is_one_fact(text: str, fact: str) -> None:
    with pytest.raises(ProblemError) as refused:
        parse_model(text)

    assert fact in refused.value.fact
    assert "\n" not in refused.value.fact


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("python: 3.10\nbuild_dependencies: [pip==22]\ndependencies: [-r requirements.txt]", ["python=3.10"]),
        ("python: '3.8.18'\ndependencies: []", ["python=3.8.18"]),
        ("python: 3.9.1", ["python=3.9.1"]),
    ],
)
def test_a_python_env_is_a_python_and_lines_of_requirements(text: str, entries: list[str]) -> None:
    file, problems = parse_conda_file(text)

    assert ([line.text for line in file.packages], problems) == (entries, ())
    assert [line.text for line in file.pip] == (["-r requirements.txt"] if "-r" in text else [])


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("python: main\ndependencies: []", "`python` is not a version of Python: `main`"),
        ("python:\ndependencies: []", "`python` is not a version of Python: `empty`"),
        ("python: 3.8\ndependencies: six", "`dependencies` is text, not a list"),
        ("name: x\npython: 3.8\ndependencies: [six]", "unknown `python` key"),
    ],
)
def test_a_malformed_python_env(text: str, fact: str) -> None:
    assert fact in parse_conda_file(text)[1][0].fact
