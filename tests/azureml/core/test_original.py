"""The Environment SDK beside the original, ``azureml-core`` 1.55 on Python 3.7, both ways.

Each child of the original reads and writes JSON; it is slow to start, so a
whole table goes through one.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from bundler.azureml.core import CondaDependencies, Environment
from bundler.errors import BundlerError

pytestmark = pytest.mark.online

_ORIGINAL = "azureml-core==1.55.0.post2"

Ask = Callable[[str, object], Any]
"""Runs a program of the original on a value and returns its result."""

_PROLOGUE = """
import io, json, sys, warnings
warnings.simplefilter("ignore")
from azureml.core import Environment
from azureml.core.conda_dependencies import CondaDependencies

def run(text, calls):
    path = "given.yml"
    with open(path, "w") as stream:
        stream.write(text)
    conda = CondaDependencies(path)
    try:
        for name, *arguments in calls:
            getattr(conda, name)(*arguments)
    except Exception as error:
        return "refused"
    return conda.as_dict()

given = json.load(sys.stdin)
"""


@pytest.fixture(scope="session")
def original(python37: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the original, made once for all workers and kept in BUNDLER_TEST_CACHE."""
    named = os.environ.get("BUNDLER_TEST_CACHE")
    cache = Path(named) if named else tmp_path_factory.getbasetemp().parent
    venv = cache / "azureml-core"
    done = venv / ".done"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".azureml-core.lock"):
        if not done.exists():
            python = venv / "bin" / "python"
            pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([python37, "-m", "venv", "--clear", venv], check=True, timeout=100)
            # The pip that 3.7 comes with tries versions for ten minutes; the last one for 3.7 does not.
            subprocess.run([*pip, "--upgrade", "pip"], check=True, timeout=100)
            subprocess.run([*pip, "--only-binary=:all:", _ORIGINAL], check=True, timeout=400)
            done.touch()
    return venv / "bin" / "python"


@pytest.fixture
def ask(original: Path, tmp_path: Path) -> Ask:
    """The original, asked."""

    def asked(program: str, given: object) -> Any:
        ended = subprocess.run(
            [original, "-I", "-c", _PROLOGUE + program],
            input=json.dumps(given),
            cwd=tmp_path,
            # It looks for its settings and writes its logs below HOME.
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout.strip().splitlines()[-1])

    return asked


Calls = list[list[Any]]

BASE = """\
name: x
dependencies:
# which
- python=3.6
- numpy=1.18
- pip:
  - --pre
  - azureml-defaults
  - Flask[async]>=1
channels:
- conda-forge
"""

SAME: dict[str, Calls] = {
    "nothing": [],
    "documented": [
        ["add_channel", "pytorch"],
        ["add_conda_package", "python=3.7"],
        ["add_conda_package", "pytorch"],
        ["add_conda_package", "torchvision"],
        ["add_pip_package", "pyyaml"],
    ],
    "channel-twice": [["add_channel", "pytorch"], ["add_channel", "pytorch"]],
    "channel-removed": [["remove_channel", "conda-forge"], ["remove_channel", "none"]],
    "python-set": [["set_python_version", "3.8.13"]],
    "python-added-as-package": [["add_conda_package", "python=3.8"]],
    "python-at-least": [["add_conda_package", "python>=3.7"]],
    "python-exactly": [["add_conda_package", "python==3.7.16"]],
    "python-removed": [["remove_conda_package", "python=3.6"]],
    "python-like": [["add_conda_package", "python-dateutil"]],
    "conda-same-again": [["add_conda_package", "numpy=1.18"]],
    "conda-removed": [["remove_conda_package", "numpy=1.18"], ["remove_conda_package", "none"]],
    "conda-pip": [["add_conda_package", "pip"], ["add_conda_package", "pip"]],
    "pip-added": [["add_pip_package", "six==1.16.0"]],
    "pip-replaced": [["add_pip_package", "azureml-defaults==1.54.0"]],
    "pip-extras-replaced": [["add_pip_package", "Flask==2.0"]],
    "pip-same-again": [["add_pip_package", "azureml-defaults"]],
    "pip-removed": [["remove_pip_package", "Flask"], ["remove_pip_package", "none"]],
    "pip-removed-by-version": [["remove_pip_package", "azureml-defaults==9"]],
    "pip-wheel": [
        ["add_pip_package", "six==1"],
        ["add_pip_package", "https://index.example/six-1.16.0-py2.py3-none-any.whl"],
    ],
    "pip-option-as-package": [["add_pip_package", "-e ."]],
    "pip-option-removed-as-package": [["remove_pip_package", "--pre"]],
    "option-added": [["set_pip_option", "--find-links ./a"]],
    "option-replaced": [["set_pip_option", "--find-links ./a"], ["set_pip_option", "--find-links ./b"]],
    "option-removed": [["remove_pip_option", "--pre"], ["remove_pip_option", "--none"]],
    "option-wrong": [["set_pip_option", "pre"]],
    "option-wrongly-removed": [["remove_pip_option", "pre"]],
    "index": [["set_pip_index_url", "--index-url https://index.example/simple"]],
    "pip-section": [["set_pip_requirements", ["--pre", "six", "idna>=2"]], ["add_pip_package", "six==2"]],
    "emptied": [["remove_pip_package", "azureml-defaults"], ["remove_pip_package", "Flask"], ["remove_pip_option", "--pre"]],
}  # fmt: skip

# What ours does otherwise on purpose: the calls, what only ours makes of them, and why.
OTHERWISE: dict[str, tuple[Calls, Callable[[Any, Any], bool], str]] = {
    "python-not-a-version": (
        [["set_python_version", "banana"]],
        lambda ours, theirs: ours == "refused" and theirs["dependencies"][0] == "python=banana",
        "no such Python can be installed",
    ),
    "python-range": (
        [["add_conda_package", "python>=3.7,<3.9"]],
        lambda ours, theirs: (ours["dependencies"][0], theirs["dependencies"][0]) == ("python=3.7", "python=3.9"),
        "the range excludes 3.9",
    ),
    "python-without-version": (
        [["add_conda_package", "python"]],
        lambda ours, theirs: ours["dependencies"][0] == "python=3.6" and theirs == "refused",
        "the original fails with a TypeError; the version stays",
    ),
    "conda-two-versions": (
        [["add_conda_package", "numpy=1.19"]],
        lambda ours, theirs: "numpy=1.18" not in ours["dependencies"] and "numpy=1.18" in theirs["dependencies"],
        "two versions of one package cannot be installed",
    ),
    "conda-removed-by-name": (
        [["remove_conda_package", "numpy"]],
        lambda ours, theirs: "numpy=1.18" not in ours["dependencies"] and "numpy=1.18" in theirs["dependencies"],
        "as for pip; the original does nothing without a word",
    ),
    "pip-case": (
        [["add_pip_package", "flask==2"]],
        lambda ours, theirs: len(pip_of(ours)) == 3 and len(pip_of(theirs)) == 4,
        "names are normalized (PEP 503): it is one project",
    ),
    "pip-marker": (
        [["add_pip_package", "Flask ; python_version < '3.8'"]],
        lambda ours, theirs: len(pip_of(ours)) == 3 and len(pip_of(theirs)) == 4,
        "a requirement is PEP 508, and a marker no part of the name",
    ),
    "pip-address": (
        [["add_pip_package", "Flask @ https://index.example/flask.zip"]],
        lambda ours, theirs: len(pip_of(ours)) == 3 and len(pip_of(theirs)) == 4,
        "the same for a URL",
    ),
    "pip-nonsense": (
        [["add_pip_package", "banana split"]],
        lambda ours, theirs: ours == "refused" and pip_of(theirs)[-1] == "banana split",
        "pip could not read it",
    ),
    "option-short": (
        [["set_pip_option", "-f ./a"], ["set_pip_option", "--find-links ./b"]],
        lambda ours, theirs: len(pip_of(ours)) == 4 and len(pip_of(theirs)) == 5,
        "they are one option",
    ),
    "index-bare": (
        [["set_pip_index_url", "https://index.example/simple"]],
        lambda ours, theirs: pip_of(ours)[-1].startswith("--index-url ") and theirs == "refused",
        "the name of the method asks for a URL",
    ),
    "pip-comments": (
        [["set_pip_requirements", ["# tools", "", "six"]]],
        lambda ours, theirs: pip_of(ours) == ["six"] and pip_of(theirs) == ["# tools", "", "six"],
        "they are not requirements",
    ),
}  # fmt: skip


def pip_of(plain: Any) -> list[str]:
    return next(item["pip"] for item in plain["dependencies"] if isinstance(item, dict))


def run(text: str, calls: Calls) -> Any:
    """What ours makes of calls."""
    conda = CondaDependencies.from_text(text)
    try:
        for name, *arguments in calls:
            getattr(conda, name)(*arguments)
    except BundlerError:
        return "refused"
    return conda.as_dict()


def test_the_same_calls_give_the_same_file(ask: Ask) -> None:
    theirs = ask("print(json.dumps({n: run(given['base'], c) for n, c in given['calls'].items()}))", {"base": BASE, "calls": SAME})  # fmt: skip

    assert {name: run(BASE, made) for name, made in SAME.items()} == theirs
    assert sum(value == "refused" for value in theirs.values()) == 5


def test_what_is_otherwise_is_so_on_purpose(ask: Ask) -> None:
    calls = {name: calls for name, (calls, _, _) in OTHERWISE.items()}
    theirs = ask("print(json.dumps({n: run(given['base'], c) for n, c in given['calls'].items()}))", {"base": BASE, "calls": calls})  # fmt: skip
    for name, (made, differ, why) in OTHERWISE.items():
        ours = run(BASE, made)
        assert ours != theirs[name], name
        assert differ(ours, theirs[name]), f"{name}: {why}: {ours} {theirs[name]}"


def test_new_objects_differ_in_the_python_alone(ask: Ask) -> None:
    """Ours is for Python 3.7, which is what bundler builds for; 1.55 names 3.8.13, and mixes line ends."""
    theirs = ask(
        "c = CondaDependencies(); e = Environment('x')\n"
        "s = c.serialize_to_string().replace('\\r', '')\n"
        "print(json.dumps([c.as_dict(), Environment._serialize_to_dict(e), str(e), repr(e), s]))",
        None,
    )
    conda, env = CondaDependencies(), Environment("x")
    conda.set_python_version("3.8.13")
    env.python.conda_dependencies = conda
    text = conda.serialize_to_string().replace("3.5.2 and later", "3.8 and later")

    assert [conda.as_dict(), env.to_definition(), str(env), repr(env), text] == theirs


def test_created_dependencies_are_the_same(ask: Ask) -> None:
    given = {"pip_packages": ["six", "azureml-core"], "conda_packages": ["numpy"], "python_version": "3.7"}
    theirs = ask("print(json.dumps(CondaDependencies.create(**given).as_dict()))", given)

    assert CondaDependencies.create(**given).as_dict() == theirs  # type: ignore[arg-type]


def test_merged_requirements_are_the_same(ask: Ask) -> None:
    given = ["a>=1", "b", "a<2", "c==1"]
    theirs = ask("print(json.dumps(CondaDependencies.merge_requirements(given)))", given)

    assert CondaDependencies.merge_requirements(given) == theirs


def environments(folder: Path) -> dict[str, Environment]:
    """Environments with everything that a folder can hold."""
    (folder / "r.txt").write_text("six==1.16.0\nidna>=2\n", "utf-8")
    (folder / "env.yml").write_text(BASE, "utf-8")
    own = Environment("own")
    own.version = "4"
    own.python.user_managed_dependencies = True
    own.python.interpreter_path = "/opt/miniconda/bin/python"
    own.docker.arguments = ["--rm"]
    own.docker.enabled = True
    own.docker.shared_volumes = False
    own.docker.shm_size = "1g"
    own.docker.platform.architecture = "arm64"
    own.docker.base_image_registry.address = "registry.example"
    own.docker.base_image_registry.username = "me"
    own.environment_variables = {"A": "1"}
    own.inferencing_stack_version = "latest"
    own.spark.packages = [{"group": "g", "artifact": "a", "version": "1"}]
    own.spark.repositories = ["https://index.example/maven"]
    own.databricks.pypi_libraries = [{"package": "six", "repo": ""}]
    own.asset_id = "azureml://x"
    return {
        "new": Environment("new"),
        "own": own,
        "pip": Environment.from_pip_requirements("pip", folder / "r.txt", pip_version="21.0"),
        "conda": Environment.from_conda_specification("conda", folder / "env.yml"),
        "dockerfile": Environment.from_dockerfile("dockerfile", "FROM a\n# x\nRUN é\n", pip_requirements=folder / "r.txt"),
        "image": Environment.from_docker_image("image", "registry.example/image:1"),
        "clone": own.clone("clone"),
    }  # fmt: skip


def test_what_ours_saves_the_original_loads(ask: Ask, tmp_path: Path) -> None:
    made = environments(tmp_path)
    for name, env in made.items():
        env.save_to_directory(tmp_path / "saved" / name)
    theirs = ask(
        "print(json.dumps({n: Environment._serialize_to_dict(Environment.load_from_directory('saved/' + n))"
        " for n in given}))",
        list(made),
    )

    assert {name: env.to_definition() for name, env in made.items()} == theirs


_MAKE_THEIRS = """
from azureml.core.environment import *
from azureml.core.container_registry import ContainerRegistry
def pip(name):
    return Environment.from_pip_requirements(name, "r.txt", pip_version="21.0")
own = Environment("own")
own.version = "4"
own.python.user_managed_dependencies = True
own.python.interpreter_path = "/opt/x"
own.docker.arguments = ["--rm"]
own.docker.shm_size = "1g"
own.docker.base_image_registry.address = "registry.example"
own.environment_variables = {"A": "1"}
own.inferencing_stack_version = "latest"
own.spark.packages = [SparkPackage("g", "a", "1")]
own.r = RSection()
own.r.r_version = "3.6"
context = DockerBuildContext(DockerBuildContext.LocationType.Git, "https://git.example/x")
made = [
    Environment("new"), own, pip("pip"), own.clone("clone"),
    Environment.from_conda_specification("conda", "env.yml"),
    Environment.from_dockerfile("dockerfile", "FROM a\\nRUN b\\n"),
    Environment.from_docker_image("image", "registry.example/image:1"),
    Environment.from_docker_build_context("context", context),
]
for env in made:
    env.save_to_directory("theirs/" + env.name)
print(json.dumps({env.name: [Environment._serialize_to_dict(env), str(env), repr(env)] for env in made}))
"""


def test_what_the_original_saves_ours_loads(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("six==1.16.0\nidna>=2\n", "utf-8")
    (tmp_path / "env.yml").write_text(BASE, "utf-8")
    (tmp_path / "theirs").mkdir()
    theirs = ask(_MAKE_THEIRS, None)
    assert len(theirs) == 8
    for name, (definition, text, shown) in theirs.items():
        env = Environment.load_from_directory(tmp_path / "theirs" / name)

        assert env.to_definition() == definition, name
        assert (str(env), repr(env)) == (text, shown)
        assert Environment.from_definition(definition).to_definition() == definition
        env.save_to_directory(tmp_path / "again" / name)
        for file in (tmp_path / "theirs" / name).iterdir():
            assert file.read_bytes() == (tmp_path / "again" / name / file.name).read_bytes(), file
