"""`Environment`: Azure's documents, the original's files to the byte, and its traps closed."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bundler.azureml.core
from bundler.azureml.core import ContainerRegistry, Environment
from bundler.azureml.core.conda_dependencies import CondaDependencies
from bundler.azureml.core.environment import DEFAULT_CPU_IMAGE, DockerBuildContext, PythonSection
from bundler.azureml.exceptions import ExistsError, MissingError, ServiceError, UnknownAttributeError
from bundler.errors import BundlerError, InputError, OutputError, UsageError

# What azureml-core 1.55 writes for a new environment, but for its password and with our Python.
SAVED = """\
{
    "name": "pytorch",
    "version": null,
    "environmentVariables": {
        "EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"
    },
    "python": {
        "userManagedDependencies": false,
        "interpreterPath": "python",
        "condaDependenciesFile": null,
        "baseCondaEnvironment": null
    },
    "docker": {
        "enabled": false,
        "baseImage": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:20240304.v1",
        "baseDockerfile": null,
        "buildContext": null,
        "sharedVolumes": true,
        "shmSize": "2g",
        "arguments": [],
        "baseImageRegistry": {
            "address": null,
            "username": null,
            "password": null,
            "registryIdentity": null
        },
        "platform": {
            "os": "Linux",
            "architecture": "amd64"
        }
    },
    "spark": {
        "repositories": [],
        "packages": [],
        "precachePackages": true
    },
    "databricks": {
        "mavenLibraries": [],
        "pypiLibraries": [],
        "rcranLibraries": [],
        "jarLibraries": [],
        "eggLibraries": []
    },
    "r": null,
    "inferencingStackVersion": null,
    "assetId": null
}"""

DOCKERFILE = "FROM base.example/image:1\nRUN pip install six\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pip_section(env: Environment) -> list[str]:
    """The whole pip section."""
    conda = env.python.conda_dependencies
    assert conda is not None
    return next(item["pip"] for item in conda.as_dict()["dependencies"] if isinstance(item, dict))


def files_of(path: Path) -> dict[str, str]:
    return {file.name: file.read_text("utf-8") for file in path.iterdir()}


# The documents' programs


def test_documented_from_pip(folder: Path) -> None:
    Path("requirements.txt").write_text("six==1.16.0\nflask\n", "utf-8")
    env = Environment.from_pip_requirements("name", "requirements.txt")

    assert env.name == "name"
    assert env.python.conda_dependencies is not None
    assert env.python.conda_dependencies.as_dict() == {
        "name": "project_environment",
        "dependencies": ["python=3.7", {"pip": ["six==1.16.0", "flask"]}, "pip"],
        "channels": ["anaconda", "conda-forge"],
    }


def test_documented_from_conda(folder: Path) -> None:
    Path("env.yml").write_text("name: x\ndependencies:\n- python=3.6.2\n", "utf-8")
    for make in (Environment.from_conda_specifications, Environment.from_conda_specification):
        env = make("name", "env.yml")

        assert env.python.conda_dependencies is not None
        assert env.python.conda_dependencies.serialize_to_string() == Path("env.yml").read_text("utf-8")


def test_documented_from_sdk() -> None:
    conda = CondaDependencies()
    conda.add_conda_package("pytorch")
    env = Environment("pytorch")
    env.python.conda_dependencies = conda

    assert env.to_definition()["python"]["condaDependencies"] == conda.as_dict()


def test_documented_custom_image(folder: Path) -> None:
    """The documents set `base_image` to None first: then there is nothing to warn of."""
    Path("Dockerfile").write_text(DOCKERFILE, "utf-8")
    env = Environment("pytorch")
    env.docker.base_image = None
    env.docker.base_dockerfile = "./Dockerfile"
    env.python.user_managed_dependencies = True
    env.python.interpreter_path = "/opt/miniconda/bin/python"

    assert env.docker.base_dockerfile == DOCKERFILE
    assert env.docker.base_image is None
    assert env.to_definition()["python"]["userManagedDependencies"] is True


def test_the_packages_give_the_names_of_the_original() -> None:
    assert bundler.azureml.core.Environment is Environment
    assert set(dir(bundler.azureml.core)) >= {"Environment", "CondaDependencies", "ContainerRegistry"}
    with pytest.raises(AttributeError, match="has no attribute `Enviroment`"):
        bundler.azureml.core.Enviroment  # noqa: B018


# Attributes


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (
            lambda env: setattr(env.python, "user_managed_dependancies", True),
            "did you mean `user_managed_dependencies`?",
        ),
        (lambda env: setattr(env.docker, "base_dockerfil", "x"), "did you mean `base_dockerfile`?"),
        (lambda env: setattr(env.docker.platform, "arch", "arm64"), None),
        (lambda env: setattr(env.docker.base_image_registry, "adress", "x"), "did you mean `address`?"),
        (lambda env: setattr(env, "enviroment_variables", {}), "did you mean `environment_variables`?"),
        (lambda env: setattr(env, "_hidden", 1), None),
        (lambda env: setattr(env, "to_definition", 1), None),
    ],
)
def test_a_misspelt_attribute_is_refused(change: Callable[[Environment], None], hint: str | None) -> None:
    """The original takes it for the platform."""
    with pytest.raises(UnknownAttributeError, match="has no attribute") as caught:
        change(Environment("x"))

    assert caught.value.hint == hint
    assert isinstance(caught.value, AttributeError)
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda env: setattr(env.python, "user_managed_dependencies", "false"), "expected True or False"),
        (lambda env: setattr(env.python, "interpreter_path", None), "expected a non-empty string"),
        (lambda env: setattr(env.python, "conda_dependencies", "env.yml"), "expected a `CondaDependencies`"),
        (lambda env: setattr(env, "python", None), "expected a `PythonSection`"),
        (lambda env: setattr(env, "version", 1), "expected a non-empty string"),
        (lambda env: setattr(env, "name", ""), "expected a non-empty string"),
        (lambda env: setattr(env, "name", "a/b"), "a control character or a slash"),
        (lambda env: setattr(env, "r", object()), "expected a JSON value"),
        (lambda env: setattr(env, "environment_variables", []), "expected a dictionary of strings"),
        (lambda env: setattr(env, "environment_variables", {"A": 1}), "the value of `A` is not a string"),
        (
            lambda env: setattr(env, "environment_variables", {"A=B": ""}),
            "`A=B` is not a valid name of an environment variable",
        ),
        (lambda env: setattr(env.docker, "shm_size", "much"), "invalid memory size `much`"),
        (lambda env: setattr(env.docker, "shm_size", 2), "expected a non-empty string"),
        (lambda env: setattr(env.docker, "arguments", "--rm"), "expected a list of strings"),
        (lambda env: setattr(env.docker, "base_image", "two words"), "invalid image name `two words`"),
        (lambda env: setattr(env.docker, "build_context", {}), "expected a `DockerBuildContext`"),
        (
            lambda env: setattr(env.docker, "base_dockerfile", 5),
            "expected the path of a Dockerfile, its text, or an open file",
        ),
        (lambda env: setattr(env.docker, "base_image_registry", {}), "expected a `ContainerRegistry`"),
        (lambda env: setattr(env.spark, "packages", "x"), "expected a list"),
    ],
)
def test_a_value_of_another_type_is_refused(change: Callable[[Environment], None], message: str) -> None:
    env = Environment("x")
    before = env.to_plain()
    with pytest.raises(UsageError, match=message):
        change(env)

    assert env.to_plain() == before


def test_what_was_put_into_a_list_is_checked_when_it_is_written() -> None:
    spoils: list[Callable[[Any], object]] = [
        lambda env: env.environment_variables.update(A=1),
        lambda env: env.docker.arguments.append(1),
        lambda env: env.spark.packages.append(object()),
    ]
    for spoil in spoils:
        env = Environment("x")
        spoil(env)
        with pytest.raises(UsageError):
            env.to_definition()


def test_values_that_were_passed_are_kept_and_none_resets() -> None:
    env = Environment("x")
    env.environment_variables = {"A": "1"}
    env.environment_variables["B"] = "2"
    env.docker.shm_size = "512m"
    env.docker.enabled = True
    env.docker.arguments = ["--rm"]
    env.inferencing_stack_version = "latest"
    env.version = "3"
    definition = env.to_definition()

    assert definition["environmentVariables"] == {"A": "1", "B": "2"}
    assert definition["docker"]["shmSize"] == "512m"
    assert definition["docker"]["enabled"] is True
    assert definition["docker"]["arguments"] == ["--rm"]
    assert definition["inferencingStackVersion"] == "latest"
    assert definition["version"] == "3"
    definition["environmentVariables"]["C"] = "3"
    assert env.environment_variables == {"A": "1", "B": "2"}
    env.environment_variables = None  # type: ignore[assignment]
    env.docker.shm_size = None
    assert env.to_definition()["environmentVariables"] == {}
    assert env.to_definition()["docker"]["shmSize"] is None


def test_two_environments_share_nothing() -> None:
    first, second = Environment("a"), Environment("b")
    first.environment_variables["X"] = "1"
    first.docker.arguments.append("--rm")
    first.python.conda_dependencies.add_pip_package("six")  # type: ignore[union-attr]

    assert second.to_plain() == Environment("b").to_plain()


def test_the_deprecated_file_is_read(folder: Path) -> None:
    """The original keeps the name and goes on with azureml-defaults."""
    Path("env.yml").write_text("dependencies:\n- python=3.8\n", "utf-8")
    env = Environment("x")
    with pytest.warns(DeprecationWarning, match="from_conda_specification"):
        env.python.conda_dependencies_file = "env.yml"

    assert env.python.conda_dependencies_file == "env.yml"
    assert env.to_definition()["python"]["condaDependenciesFile"] == "env.yml"
    assert env.to_definition()["python"]["condaDependencies"] == {"dependencies": ["python=3.8"]}


# The image


def test_a_dockerfile_may_be_a_path_a_text_or_an_open_file(folder: Path) -> None:
    path = folder / "Dockerfile"
    path.write_text(DOCKERFILE, "utf-8")
    for given in ("Dockerfile", path, DOCKERFILE, io.StringIO(DOCKERFILE), io.BytesIO(DOCKERFILE.encode())):
        assert Environment.from_dockerfile("x", given).docker.base_dockerfile == DOCKERFILE
    staged = f"# syntax=x\nARG A\n{DOCKERFILE}"
    assert Environment.from_dockerfile("x", staged).docker.base_dockerfile == staged
    one_line = "from base.example/image:1"
    assert Environment.from_dockerfile("x", one_line).docker.base_dockerfile == one_line


def test_the_directory_of_a_dockerfile_gets_the_path_of_the_file(folder: Path) -> None:
    (folder / "deploy").mkdir()
    (folder / "deploy" / "Dockerfile").write_text(DOCKERFILE, "utf-8")
    with pytest.raises(InputError) as caught:
        Environment.from_dockerfile("x", "deploy")

    assert caught.value.hint == "pass `deploy/Dockerfile`"
    assert Environment.from_dockerfile("x", "deploy/Dockerfile").docker.base_dockerfile == DOCKERFILE


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("./NoSuchDockerfile", MissingError, "NoSuchDockerfile: file not found"),
        ("RUN true\nCMD true\n", InputError, "not a Dockerfile: `FROM` is missing"),
        ("# FROM base\nRUN true\n", InputError, "not a Dockerfile: `FROM` is missing"),
        ("empty", InputError, "empty: not a Dockerfile: `FROM` is missing"),
        (".", InputError, "a directory, not a file"),
        (io.StringIO("RUN true"), InputError, "the open file: not a Dockerfile: `FROM` is missing"),
    ],
)
def test_what_is_no_dockerfile_is_refused(
    given: Any, error: type[BundlerError], message: str, folder: Path
) -> None:
    """The original takes the name of a missing file for the text of the Dockerfile."""
    Path("empty").write_text("", "utf-8")
    env = Environment("x")
    with pytest.raises(error, match=message):
        env.docker.base_dockerfile = given

    assert env.docker.base_image == DEFAULT_CPU_IMAGE


def test_of_two_bases_the_last_one_counts() -> None:
    env = Environment("x")
    with pytest.warns(UserWarning, match="`base_image` is reset, because `base_dockerfile` is set") as said:
        env.docker.base_dockerfile = DOCKERFILE
    assert said[0].filename == __file__
    assert env.to_definition()["docker"]["baseImage"] is None
    with pytest.warns(UserWarning, match="`base_dockerfile` is reset, because `base_image` is set"):
        env.docker.base_image = "base.example/other:1"
    docker = env.to_definition()["docker"]

    assert (docker["baseImage"], docker["baseDockerfile"]) == ("base.example/other:1", None)


def test_from_an_image_without_packages_its_own_python_is_used() -> None:
    registry = ContainerRegistry()
    registry.address = "registry.example"
    env = Environment.from_docker_image("x", "registry.example/image:1", container_registry=registry)

    assert env.docker.base_image == "registry.example/image:1"
    assert env.docker.base_image_registry.address == "registry.example"
    assert env.python.user_managed_dependencies is True


def test_from_an_image_with_packages(folder: Path) -> None:
    Path("r.txt").write_text("six\n", "utf-8")
    Path("env.yml").write_text("dependencies:\n- python=3.8\n- pip: [idna]\n", "utf-8")
    with_pip = Environment.from_docker_image("x", "i", pip_requirements="r.txt")
    with_conda = Environment.from_dockerfile("x", DOCKERFILE, conda_specification="env.yml")

    assert pip_section(with_pip) == ["six"]
    assert pip_section(with_conda) == ["idna"]
    assert with_pip.python.user_managed_dependencies is False
    with pytest.raises(UsageError, match="`conda_specification` and `pip_requirements` exclude each other"):
        Environment.from_docker_image("x", "i", conda_specification="env.yml", pip_requirements="r.txt")


@pytest.mark.parametrize(
    "call",
    [
        lambda: Environment.from_existing_conda_environment("x", "base"),
    ],
)
def test_what_makes_no_sense_offline_is_refused_with_the_way_out(call: Callable[[], object]) -> None:
    with pytest.raises(UsageError) as caught:
        call()

    assert caught.value.hint is not None
    assert "Environment.from_" in caught.value.hint


# Requirements files


def test_the_files_a_requirements_file_names_are_taken_in(folder: Path) -> None:
    """The original copies `-r other.txt`, which means nothing where the environment is built."""
    below = folder / "sub"
    (below / "wheels").mkdir(parents=True)
    (below / "pkg").mkdir()
    (folder / "six-1.16.0-py3-none-any.whl").touch()
    (below / "limits.txt").write_text("six<2\n", "utf-8")
    (folder / "requirements.txt").write_text(
        "# all\n--index-url https://index.example/simple\n-r sub/base.txt\nflask  # web\n./six-1.16.0-py3-none-any.whl\n",
        "utf-8",
    )
    (below / "base.txt").write_text(
        "-c limits.txt\n--find-links=wheels\n-e sub/pkg\n--requirement=more.txt\n"
        f"idna==3.4 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}\n",
        "utf-8",
    )
    (below / "more.txt").write_text(
        f"-f https://index.example/{'f' * 300}\nurllib3 ; python_version < '3.8'\n", "utf-8"
    )

    env = Environment.from_pip_requirements("x", folder / "requirements.txt")

    assert pip_section(env) == [
        "--index-url https://index.example/simple",
        f"-c {below}/limits.txt",
        f"--find-links {below}/wheels",
        f"-e {below}/pkg",
        f"-f https://index.example/{'f' * 300}",
        "urllib3 ; python_version < '3.8'",
        f"idna==3.4 --hash=sha256:{'0' * 64} --hash=sha256:{'1' * 64}",
        "flask",
        f"{folder}/six-1.16.0-py3-none-any.whl",
    ]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("six\n-r none.txt\n", MissingError, r"r\.txt:2: file not found: `none\.txt`"),
        ("six\n-r r.txt\n", InputError, r"r\.txt:2: the files include each other in a loop"),
        ("-r again.txt\n", InputError, r"again\.txt:2: the files include each other in a loop"),
        ("six==1 \\\n", InputError, r"r\.txt:1: the file ends after a line continuation"),
        ("banana split\n", InputError, "it is not a requirement"),
        ("six\0\n", InputError, "NUL"),
    ],
)
def test_a_broken_requirements_file_is_refused(
    text: str, error: type[BundlerError], message: str, folder: Path
) -> None:
    Path("r.txt").write_text(text, "utf-8")
    Path("again.txt").write_text("six\n-r ./r.txt\n", "utf-8")
    with pytest.raises(error, match=message):
        Environment.from_pip_requirements("x", "r.txt")


def test_a_missing_requirements_file_is_refused(folder: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.txt: file not found"):
        Environment.from_pip_requirements("x", "none.txt")


def test_pip_itself_may_be_pinned(folder: Path) -> None:
    Path("r.txt").write_text("six\n", "utf-8")
    env = Environment.from_pip_requirements("x", "r.txt", pip_version="21.0")

    assert "pip=21.0" in list(env.python.conda_dependencies.conda_packages)  # type: ignore[union-attr]


@pytest.mark.parametrize("python", ["", "- python\n", "- python=3\n", "- python<3.9\n"])
def test_without_a_version_of_python_it_is_37_and_said(python: str, folder: Path) -> None:
    Path("env.yml").write_text(f"dependencies:\n- numpy\n{python}", "utf-8")
    with pytest.warns(UserWarning, match=r"env\.yml: Python 3\.7 is used, since no version is selected"):
        env = Environment.from_conda_specification("x", "env.yml")

    assert env.python.conda_dependencies.as_dict() == {"dependencies": ["numpy", "python=3.7"]}  # type: ignore[union-attr]


def test_a_python_that_37_is_not_must_be_named(folder: Path) -> None:
    Path("env.yml").write_text("dependencies:\n- python>3.8\n", "utf-8")
    with pytest.raises(InputError, match=r"`python>3\.8` does not select a version of Python"):
        Environment.from_conda_specification("x", "env.yml")


# Folders and definitions


def test_a_folder_is_what_the_original_writes(folder: Path) -> None:
    Environment("pytorch").save_to_directory("deep/saved")

    assert files_of(folder / "deep/saved") == {
        "azureml_environment.json": SAVED,
        "conda_dependencies.yml": CondaDependencies().serialize_to_string(),
    }


def test_a_dockerfile_stands_in_a_file_of_its_own(folder: Path) -> None:
    Environment.from_dockerfile("x", DOCKERFILE).save_to_directory("saved")
    files = files_of(folder / "saved")

    assert files["BaseDockerfile"] == DOCKERFILE
    assert "baseDockerfile" not in json.loads(files["azureml_environment.json"])["docker"]
    loaded = Environment.load_from_directory("saved")
    assert loaded.docker.base_dockerfile == DOCKERFILE
    assert loaded.docker.base_image is None


def full() -> dict[str, Any]:
    """A definition in which every key is set, and some are not known."""
    definition: dict[str, Any] = json.loads(SAVED)
    definition |= {
        "version": "7",
        "assetId": "azureml://x",
        "inferencingStackVersion": "latest",
        "future": [1],
    }
    definition["r"] = {"rVersion": "3.6", "cranPackages": [{"name": "x"}]}
    definition["python"] |= {
        "baseCondaEnvironment": "base",
        "condaDependenciesFile": "a.yml",
        "later": {"a": None},
    }
    definition["python"]["condaDependencies"] = {"dependencies": ["python=3.8", {"pip": ["six"]}]}
    definition["docker"] |= {"shmSize": "1g", "arguments": ["-v"], "enabled": True, "gpu": True}
    definition["docker"]["platform"] |= {"variant": "v8"}
    definition["spark"]["packages"] = [{"group": "g", "artifact": "a", "version": "1"}]
    definition["databricks"] |= {"cluster": {"nodeType": "x"}}
    return definition


def test_nothing_of_a_definition_is_lost(folder: Path) -> None:
    env = Environment.from_definition(full())
    env.save_to_directory("saved")
    loaded = Environment.load_from_directory("saved")

    assert env.to_definition() == full()
    assert loaded.to_definition() == full()
    assert loaded.clone("other").to_definition() == full() | {
        "name": "other",
        "version": None,
        "assetId": None,
    }


def test_a_definition_that_tells_little_gets_no_defaults() -> None:
    env = Environment.from_definition({"name": "x"})

    assert env.docker.base_image is None
    assert env.docker.shm_size is None
    assert env.python.conda_dependencies is None
    assert env.environment_variables == {}
    assert "condaDependencies" not in env.to_definition()["python"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "the definition of an environment has no `name`"),
        ({"python": []}, "`python` is not a JSON object"),
        (
            {"python": {"userManagedDependencies": "no"}},
            "`python.userManagedDependencies`: expected True or False",
        ),
        (
            {"python": {"condaDependencies": {"pakages": []}}},
            "`python.condaDependencies`: unknown `pakages` key in environment specification",
        ),
        ({"python": {"condaDependencies": []}}, "`python.condaDependencies`: it is not a mapping"),
        ({"docker": {"platform": {"os": 1}}}, "`docker.platform.os`: expected a non-empty string"),
        (
            {"docker": {"baseDockerfile": "/etc/hostname"}},
            "`docker.baseDockerfile`: not a Dockerfile: `FROM` is missing",
        ),
        ({"docker": {"baseDockerfile": 5}}, "`docker.baseDockerfile`: expected a string"),
        ({"docker": {"buildContext": "x"}}, "`docker.buildContext` is not a JSON object"),
        (
            {"docker": {"baseImage": "a", "buildContext": {}}},
            "`baseImage` and `buildContext` are set, but an image has one base",
        ),
        (
            {"docker": {"baseImage": "a", "baseDockerfile": "FROM a"}},
            "`baseImage` and `baseDockerfile` are set, but an image has one base",
        ),
        ({"environmentVariables": {"A": 1}}, "`environmentVariables`: the value of `A` is not a string"),
        ({"new": object()}, "`new`: expected a JSON value"),
    ],
)
def test_a_wrong_definition_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        Environment.from_definition({"name": "x"} | change)


def test_a_build_context_is_kept() -> None:
    context = {"locationType": "git", "location": "https://git.example/x", "dockerfilePath": "Dockerfile"}
    env = Environment.from_definition({"name": "x", "docker": {"buildContext": context}})
    assert env.to_definition()["docker"]["buildContext"] == context
    with pytest.warns(UserWarning, match="`build_context` is reset"):
        env.docker.base_image = "a"

    assert env.docker.build_context is None


def test_an_existing_folder_is_not_touched(folder: Path) -> None:
    (folder / "saved").mkdir()
    with pytest.raises(ExistsError, match="`saved` already exists") as caught:
        Environment("x").save_to_directory("saved")

    assert isinstance(caught.value, FileExistsError)
    assert isinstance(caught.value, OutputError)
    assert caught.value.hint == "pass `overwrite=True`"
    assert list((folder / "saved").iterdir()) == []
    Path("file").write_text("mine", "utf-8")
    with pytest.raises(ExistsError, match="`file` already exists"):
        Environment("x").save_to_directory("file", overwrite=True)
    assert Path("file").read_text("utf-8") == "mine"


def test_an_overwritten_folder_keeps_nothing_of_the_older_environment(folder: Path) -> None:
    """The original leaves the older Dockerfile, and loads it instead of the image."""
    Environment.from_dockerfile("old", DOCKERFILE).save_to_directory("saved")
    Path("saved/notes.txt").write_text("mine", "utf-8")
    new = Environment.from_definition({"name": "new", "docker": {"baseImage": "a"}})
    new.save_to_directory("saved", overwrite=True)

    assert set(files_of(folder / "saved")) == {"azureml_environment.json", "notes.txt"}
    assert Environment.load_from_directory("saved").to_definition() == new.to_definition()


def test_a_folder_that_says_two_bases_is_refused(folder: Path) -> None:
    Environment("x").save_to_directory("saved")
    Path("saved/BaseDockerfile").write_text(DOCKERFILE, "utf-8")
    with pytest.raises(
        InputError, match="`baseImage` and `baseDockerfile` are set, but an image has one base"
    ):
        Environment.load_from_directory("saved")


def test_what_cannot_be_written_leaves_nothing(folder: Path) -> None:
    env = Environment("x")
    env.python.conda_dependencies = CondaDependencies.from_text("dependencies:\n- numpy\n")
    with pytest.raises(InputError, match="has no `python`"):
        env.save_to_directory("saved")

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({}, MissingError, "`saved` is not a saved environment"),
        ({"azureml_environment.json": "{\n"}, InputError, r"azureml_environment\.json:2: not valid JSON"),
        ({"azureml_environment.json": "[]"}, InputError, "azureml_environment.json: not a JSON object"),
        (
            {"azureml_environment.json": '{"name": "x", "docker": 5}', "BaseDockerfile": "FROM x"},
            InputError,
            "`docker` is not a JSON object",
        ),
        (
            {"azureml_environment.json": '{"name": "x"}', "conda_dependencies.yml": "x: 1\n"},
            InputError,
            r"conda_dependencies\.yml:1: unknown `x` key in environment specification",
        ),
    ],
)
def test_a_broken_folder_is_refused(
    files: dict[str, str], error: type[BundlerError], message: str, folder: Path
) -> None:
    Path("saved").mkdir()
    for name, content in files.items():
        Path("saved", name).write_text(content, "utf-8")
    with pytest.raises(error, match=message):
        Environment.load_from_directory("saved")


# Secrets and texts


def test_a_password_is_shown_and_written_nowhere(folder: Path) -> None:
    env = Environment("x")
    env.docker.base_image_registry.password = "hunter2hunter2"
    env.docker.base_image_registry.username = "me"
    env.r = {"githubPackages": [{"authToken": "tok-tok-tok"}]}
    with pytest.warns(UserWarning, match="the password of environment `x` is not written"):
        env.save_to_directory("saved")

    texts = [*files_of(folder / "saved").values(), repr(env), str(env), repr(env.docker.base_image_registry)]
    assert not any("hunter2" in text or "tok-tok" in text for text in texts)
    assert '"username": "me"' in texts[0] + texts[1]
    assert '"password": "****"' in repr(env)
    assert env.clone("y").docker.base_image_registry.password == "hunter2hunter2"
    env.environment_variables = {"ALSO": "hunter2hunter2"}
    assert "hunter2" not in repr(env)


def test_a_variable_may_be_called_password() -> None:
    env = Environment("x")
    env.environment_variables = {"password": "prompt"}

    assert env.to_definition()["environmentVariables"] == {"password": "prompt"}


def test_a_token_in_a_channel_is_not_shown() -> None:
    env = Environment("x")
    env.python.conda_dependencies = CondaDependencies.from_text(
        "dependencies:\n- python=3.7\nchannels:\n- https://conda.example/t/tok-en-1234/main\n"
    )

    assert "tok-en-1234" not in repr(env)


def test_credentials_in_a_definition_are_not_shown() -> None:
    conda = {
        "dependencies": [
            "python=3.7",
            {"pip": ["-i https://index.example/s?sig=pass-w0rd", "six @ file:///six.whl"]},
        ]
    }
    env = Environment.from_definition({"name": "x", "python": {"condaDependencies": conda}})

    assert "pass-w0rd" not in repr(env)
    assert "six @ file:///six.whl" in repr(env)


def test_a_clone_shares_nothing_and_is_not_registered() -> None:
    env = Environment("x")
    env.version = "3"
    copy = env.clone("y")
    copy.environment_variables["A"] = "1"
    copy.python.conda_dependencies.add_pip_package("six")  # type: ignore[union-attr]

    assert (copy.name, copy.version, copy.asset_id) == ("y", None, None)
    assert env.environment_variables == {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"}
    assert pip_section(env) == ["azureml-defaults"]
    with pytest.raises(UsageError):
        env.clone("")


def test_texts_have_the_shape_of_the_original() -> None:
    env = Environment("x")
    definition = json.loads(repr(env))

    assert str(env) == "Environment(Name: x,\nVersion: None)"
    assert definition == env.to_definition()
    assert list(definition) == sorted(definition)
    assert json.loads(repr(PythonSection())) == definition["python"]


def test_making_saving_and_loading_warns_of_nothing(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Environment("x").save_to_directory("saved")
        Environment.load_from_directory("saved")


# The small things of the original


def test_packages_of_frameworks_replace_the_others_of_the_framework() -> None:
    deps = CondaDependencies.create(
        pip_packages=["tensorflow==1.15", "tensorflow-gpu", "numpy"], conda_packages=["tensorflow=1.13"]
    )
    deps.add_tensorflow_conda_package(core_type="gpu", version="2.4")
    deps.add_tensorflow_pip_package()
    deps.add_cntk_package("GPU")

    assert list(deps.conda_packages)[-1] == "tensorflow-gpu=2.4"
    assert "tensorflow=1.13" not in list(deps.conda_packages)
    assert list(deps.pip_packages) == ["numpy", "tensorflow==2.2.0", "cntk-gpu==2.7"]
    with pytest.raises(UsageError, match="unknown core type `tpu`"):
        deps.add_tensorflow_pip_package("tpu")


def test_gpu_support_is_accepted_with_a_warning() -> None:
    env = Environment("x")
    before = env.to_plain()
    with pytest.warns(DeprecationWarning, match="`gpu_support` is deprecated"):
        env.docker.gpu_support = False

    assert env.docker.gpu_support is True
    assert env.to_plain() == before


def test_a_build_context_is_stored_and_its_image_is_built_by_docker(folder: Path) -> None:
    context = folder / "context"
    context.mkdir()
    with pytest.raises(MissingError):
        DockerBuildContext.from_local_directory(None, context)
    (context / "Dockerfile").write_text("FROM python:3.8\nCOPY requirements.txt .\n")
    env = Environment.from_docker_build_context("x", DockerBuildContext.from_local_directory(None, context))
    again = Environment.from_definition(json.loads(json.dumps(env.to_definition())))

    assert env.docker.base_image is None
    assert env.python.user_managed_dependencies
    assert again.to_plain() == env.to_plain()
    assert env.docker.build_context == {
        "locationType": None,
        "location": str(context),
        "dockerfilePath": "Dockerfile",
    }
    with pytest.raises(InputError, match="another build context") as caught:
        env.get_image_details()
    assert "docker build -t NAME:TAG" in str(caught.value.hint)
    (context / "Dockerfile").write_text("COPY . .\n")
    with pytest.raises(InputError, match="`FROM` is missing"):
        DockerBuildContext.from_local_directory(None, context)


def test_only_linux_is_built_locally() -> None:
    with pytest.raises(UsageError, match="unsupported platform `Windows`"):
        Environment("x").build_local(platform="Windows")


def test_other_parameters_are_ignored_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="`Environment` ignores the parameter `workspace`"):
        env = Environment(workspace=None, name="e")

    assert env.name == "e"
    assert "workspace" not in env.to_definition()


def test_the_image_of_a_dockerfile_is_built_by_docker() -> None:
    env = Environment.from_dockerfile("e", DOCKERFILE)
    with pytest.raises(ServiceError) as caught:
        env.build()

    assert str(caught.value) == (
        "`Environment.build` needs the service of Azure ML, which builds the image of a Dockerfile; offline: "
        "`docker build` and `docker save` create `image.tar`, which `env.build(base='image.tar')` checks"
    )
