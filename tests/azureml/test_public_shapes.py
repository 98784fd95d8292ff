"""Programs in the shapes of public ones, with the command's own index and store.

Their shapes are those of programs that use azureml-core; their text is not. The inference server of the
local index answers as the real one: GET / when init() has returned, POST /score with run().
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.archives import docker_members, installed, rootfs, write_archive
from support.scoring_server import make_server
from support.wheels import make_wheel

from bundler.deploy.client import is_free

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

SITE = "lib/python3.7/site-packages"
SCORE = """\
import json
from azureml.core.model import Model
import six


def init():
    global weights
    with open(Model.get_model_path("iris")) as stream:
        weights = stream.read()


def run(data):
    return [weights, json.loads(data)["x"] + STEP, six.V]


STEP = 1
"""


class Folder:
    """A directory with the files of a program, which runs there."""

    def __init__(self, cli: BundlerCli, path: Path) -> None:
        self.path = path
        self.env = {**cli.env, "BUNDLER_WORKSPACE": str(path / "workspace")}
        path.mkdir()
        (path / "model.pkl").write_text("weights")
        (path / "env.yml").write_text(
            "name: e\nchannels: [conda-forge]\ndependencies:\n- python=3.7\n- pip\n- pip:\n  - six==1.0\n"
        )
        (path / "score.py").write_text(SCORE)

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", text],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def printed(self, text: str) -> list[str]:
        ended = self.run(text)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()


@pytest.fixture
def folder(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> Folder:
    make_wheel(index.folder, "six", "1.0", {"six.py": "V = '1.0'\n"})
    make_server(index.folder)
    return Folder(warm_cli, tmp_path / "program")


HEAD = """\
import bundler.azureml.core
from bundler.azureml.core import Environment, Workspace
from bundler.azureml.core.authentication import InteractiveLoginAuthentication
from bundler.azureml.core.conda_dependencies import CondaDependencies
from bundler.azureml.core.model import InferenceConfig, Model
from bundler.azureml.core.resource_configuration import ResourceConfiguration
from bundler.azureml.core.webservice import AciWebservice, AksWebservice, LocalWebservice, Webservice

ws = Workspace.from_config(path="./.azureml", auth=InteractiveLoginAuthentication(), _file_name="config.json")
"""
REGISTER = (
    'model = Model.register(workspace=ws, model_path="model.pkl", model_name="iris", tags={"a": 0.5})\n'
)
CONFIG = """\
env = Environment.from_conda_specification(name="e", file_path="./env.yml")
config = InferenceConfig(entry_script="./score.py", environment=env)
"""


def test_the_first_lines_of_most_programs(folder: Folder) -> None:
    printed = folder.printed(
        HEAD + 'print("SDK", bundler.azureml.core.VERSION)\n'
        'print(ws.name, ws.resource_group, ws.location, ws.subscription_id, sep="|")\n'
        "print(sorted(ws.get_details())[:2], ws.models, len(ws.environments) > 20)\n"
    )

    assert printed[0].startswith("SDK 1.55")
    assert printed[1] == f"workspace||{folder.path / 'workspace'}|"
    assert printed[2] == "['id', 'location'] {} True"


def test_a_local_deployment_answers_from_the_real_files(folder: Folder) -> None:
    program = (
        HEAD
        + REGISTER
        + CONFIG
        + """
target = LocalWebservice.deploy_configuration()
service = Model.deploy(ws, "iris-service", [model], config, target, overwrite=True)
service.wait_for_deployment(True)
print(service.state, service.compute_type, service.scoring_uri == f"http://localhost:{service.port}/score")
print(service.run('{"x": 1}'), service.run({"x": 2}))
print("init() has returned" in service.get_logs(), Webservice(ws, "iris-service") is service, len(ws.webservices))
try:
    service.run('{"y": 1}')
except Exception as error:
    print(type(error).__name__, error, error.evidence)
with open("score.py") as stream:
    text = stream.read()
with open("score.py", "w") as stream:
    stream.write(text.replace("STEP = 1", "STEP = 10"))
port = service.port
service.reload(wait=True)
print(service.run({"x": 1}), service.port == port)
with open("model.pkl", "w") as stream:
    stream.write("other")
service.update(models=[Model.register(ws, "model.pkl", "iris")], wait=True)
print(service.run({"x": 1}))
try:
    Model.deploy(ws, "iris-service", [model], config, target)
except Exception as error:
    print(error)
try:
    Model.deploy(ws, "second", [model], config, LocalWebservice.deploy_configuration(port=port))
except Exception as error:
    print(error)
service.delete()
print(service.state, ws.webservices)
try:
    service.run({"x": 1})
except Exception as error:
    print(error)
"""
    )
    printed = folder.printed(program)

    assert printed[:3] == [
        "running Local True",
        "['weights', 2, '1.0'] ['weights', 3, '1.0']",
        "True True 1",
    ]
    assert printed[3] == """BundlerError the server answered with an error ("found   status 500: 'x'",)"""
    assert printed[4] == "['weights', 11, '1.0'] True"
    assert printed[5] == "['other', 11, '1.0']"
    assert printed[6] == "the web service `iris-service` already exists"
    assert printed[7].startswith("port ")
    assert printed[7].endswith(" is in use")
    assert printed[8:] == ["deleted {}", "the web service `iris-service` is deleted"]


def test_a_script_that_fails_is_reported_with_its_last_lines(folder: Folder) -> None:
    (folder.path / "score.py").write_text(
        "def init():\n    raise ValueError('no weights')\ndef run(data): pass\n"
    )
    ended = folder.run(
        HEAD
        + REGISTER
        + CONFIG
        + 'service = Model.deploy(ws, "s", [model], config, LocalWebservice.deploy_configuration())\n'
        "try:\n    service.wait_for_deployment()\nfinally:\n    print(service.state)\n"
    )

    assert (ended.returncode, ended.stdout) == (1, "failed\n")
    assert "the server ended before it answered" in ended.stderr
    assert "ValueError: no weights" in ended.stderr.partition("the server ended")[2]


def test_the_reason_is_the_same_when_the_program_waits_late(folder: Folder) -> None:
    (folder.path / "score.py").write_text(
        "def init():\n    raise ValueError('no weights')\ndef run(data): pass\n"
    )
    printed = folder.printed(
        HEAD
        + REGISTER
        + CONFIG
        + """
import time
service = Model.deploy(ws, "s", [model], config, LocalWebservice.deploy_configuration())
while service.state != "failed":
    time.sleep(0.1)
for _ in range(2):
    try:
        service.wait_for_deployment(show_output=True)
    except Exception as error:
        print(error, "ValueError: no weights" in str(error.evidence))
service.delete()
try:
    service.wait_for_deployment()
except Exception as error:
    print(error)
"""
    )

    assert printed == [
        "the server ended before it answered True",
        "the server ended before it answered True",
        "the web service `s` is deleted",
    ]


def test_a_step_that_registers_the_model_of_its_run(folder: Folder) -> None:
    program = (
        HEAD
        + """
from bundler.azureml.core import Experiment, Run
run = Run.get_context()
if hasattr(run, "experiment"):
    ws = run.experiment.workspace
best = None
for score in ("0.7", "0.9", "0.8"):
    Model.register(ws, "model.pkl", "iris", properties={"score": score})
for model in Model.list(ws):
    if best is None or float(model.properties["score"]) > float(best.properties["score"]):
        best = model
print(best.version, best.run_id, best.experiment_name)
"""
    )
    printed = folder.printed(program)
    ended = folder.run(program + "print('end')\nrun.experiment.workspace\n")

    assert printed == ["2 None None"]
    assert (ended.returncode, ended.stdout.splitlines()) == (1, ["2 None None", "end"])
    assert (
        "Error: `Run.experiment` needs the service of Azure ML, which runs training; offline: "
        in (ended.stderr.splitlines()[-1])
    )


def test_a_server_ends_with_its_program(folder: Folder) -> None:
    (port,) = folder.printed(
        HEAD
        + REGISTER
        + CONFIG
        + 'service = Model.deploy(ws, "s", [model], config, LocalWebservice.deploy_configuration())\n'
        "service.wait_for_deployment()\nprint(service.port)\n"
    )

    assert is_free(int(port))


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("AciWebservice.deploy_configuration(cpu_cores=1, memory_gb=1, tags={'a': 'b'})", "AciWebservice"),
        ("AksWebservice.deploy_configuration(autoscale_enabled=True)", "AksWebservice"),
        ("None", "deployment_target"),
    ],
)
def test_a_deployment_to_azure_ends_in_one_line_with_the_way(target: str, name: str, folder: Folder) -> None:
    ended = folder.run(
        HEAD
        + REGISTER
        + CONFIG
        + f"Model.deploy(ws, 'svc', models=[model], inference_config=config, deployment_config={target})\n"
    )
    last = ended.stderr.splitlines()[-1]

    assert ended.returncode == 1
    assert f"`{name}` needs the service of Azure ML, which runs containers; offline: `Model.package(" in last


def test_the_parts_of_an_inference_configuration_are_packaged(folder: Folder) -> None:
    printed = folder.printed(
        HEAD
        + REGISTER
        + 'deps = CondaDependencies.create(conda_packages=["pip"], pip_packages=["six==1.0"])\n'
        'with open("myenv.yml", "w") as stream:\n    stream.write(deps.serialize_to_string())\n'
        'config = InferenceConfig(runtime="python", entry_script="score.py", conda_file="myenv.yml")\n'
        "package = Model.package(ws, [model], config, generate_dockerfile=True)\n"
        'package.wait_for_creation(show_output=True)\npackage.save("context")\nprint(package.location)\n'
        "log = package.get_logs()\nprint(package.package_build_log_uri, package.get_logs(offset=4) == log[4:] != '')\n"
        "try:\n    package.get_container_registry()\nexcept Exception as error:\n    print(error)\n"
        "try:\n    package.save('context')\nexcept Exception as error:\n"
        "    print(error.message)\n    print(error.hint)\n"
    )
    root = folder.path / "context" / "azureml-app"

    assert printed[:2] == [str(folder.path / "context"), "None True"]
    assert "offline: `pull` writes the image to a file" in printed[2]
    assert printed[3:5] == ["`context` already exists", "package.save('context-2')"]
    assert {path.name for path in (root / "azureml").rglob("*.py")} == {"__init__.py", "model.py"}


def test_a_private_wheel_is_in_the_bundle(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    wheel = make_wheel(tmp_path / "wheels", "mine", "1.0", {"mine.py": "V = 1\n"})
    program = (
        HEAD
        + f"""
url = Environment.add_private_pip_wheel(workspace=ws, file_path={str(wheel)!r}, exist_ok=True)
deps = CondaDependencies()
deps.remove_pip_package("azureml-defaults")
deps.add_pip_package(url)
env = Environment("private")
env.python.conda_dependencies = deps
env.docker.gpu_support = False
env = env.register(workspace=ws)
built = env.build_local(ws, useDocker=True, output="dist")
built.wait_for_completion(show_output=True)
print(built.status, [item.name for item in built.built.manifest.document.distributions])
print(Environment.add_private_pip_wheel(ws, {str(wheel)!r}, exist_ok=True) == url)
try:
    Environment.add_private_pip_wheel(ws, {str(wheel)!r})
except Exception as error:
    print(error)
"""
    )
    printed = folder.printed(program)

    assert printed == [
        "Succeeded ['mine']",
        "True",
        "the workspace already has a wheel `mine-1.0-py3-none-any.whl`",
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none-1.0-py3-none-any.whl", "none-1.0-py3-none-any.whl: file not found"),
        ("model.pkl", "`model.pkl` is not the name of a wheel"),
    ],
)
def test_what_is_not_a_wheel_is_refused(path: str, message: str, folder: Folder) -> None:
    ended = folder.run(HEAD + f"Environment.add_private_pip_wheel(ws, {path!r})\n")

    assert ended.returncode == 1
    assert not (folder.path / "workspace" / "wheels").exists()
    assert message in ended.stderr


# A script and the modules that it finds by sys.path

BESIDE = """\
import os, sys
HERE = os.path.dirname(os.path.abspath(__file__))
LIB = os.path.join(HERE, "detector")
if LIB not in sys.path:
    sys.path.append(LIB)
from parts.common import scale
import tools


def init():
    pass


def run(data):
    return scale(tools.read(data))
"""


@pytest.fixture
def detector(folder: Folder) -> Folder:
    """A directory with a script whose modules are in a directory below it."""
    code = folder.path / "scoring"
    (code / "detector" / "parts").mkdir(parents=True)
    (code / "detector" / "parts" / "common.py").write_text(
        "import six\nimport tools\ndef scale(x): return x * 2\n"
    )
    (code / "detector" / "tools.py").write_text("import json\ndef read(data): return json.loads(data)['x']\n")
    (code / "score.py").write_text(BESIDE)
    return folder


DETECTOR = """\
env = Environment.from_conda_specification(name="e", file_path="./env.yml")
config = InferenceConfig(CONFIG, environment=env)
"""


def test_modules_in_a_directory_that_the_script_adds_are_found(detector: Folder) -> None:
    program = (
        HEAD
        + REGISTER
        + DETECTOR.replace("CONFIG", "'score.py', source_directory='scoring'")
        + "service = Model.deploy(ws, 'd', [model], config, LocalWebservice.deploy_configuration())\n"
        "service.wait_for_deployment()\nprint(service.run('{\"x\": 4}'))\nservice.delete()\n"
    )

    assert detector.printed(program)[-1] == "8"
    (detector.path / "scoring/detector/parts/common.py").write_text("import absent\n")
    broken = detector.run(program)
    assert broken.returncode == 1
    assert "`scoring/detector/parts/common.py:1` imports `absent`" in broken.stderr


def test_a_script_without_its_source_directory_gets_the_directory(detector: Folder) -> None:
    program = (
        HEAD
        + REGISTER
        + DETECTOR
        + "Model.package(ws, [model], config, generate_dockerfile=True).save(OUT)\n"
    )
    alone = detector.run(program.replace("CONFIG", "'scoring/score.py'").replace("OUT", "'alone'"))
    hint = re.search(r"hint: InferenceConfig\((.*), environment=env\)", alone.stderr)

    assert alone.returncode == 1
    assert "without a source directory, the package has only the script: parts, tools" in alone.stderr
    assert hint is not None, alone.stderr
    whole = detector.run(program.replace("CONFIG", hint[1]).replace("OUT", "'whole'"))
    assert whole.returncode == 0, whole.stderr
    assert (detector.path / "whole/azureml-app/scoring/detector/tools.py").is_file()


# The base image by its name

IMAGE = "mcr.microsoft.com/azureml/sklearn-0.24.1-ubuntu18.04-py37-cpu-inference"


@pytest.fixture
def bases(folder: Folder) -> Folder:
    """The directory of base images with the one of the documentation."""
    passwd = "root:x:0:0::/root:/bin/sh\ndockeruser:x:1000:1000::/home/dockeruser:/bin/sh\n"
    files = {
        **rootfs(),
        "etc/passwd": passwd,
        "opt/miniconda/bin/python3.7": b"\x7fELF",
        **installed(f"opt/miniconda/{SITE}", "six", "1.0", files=["six.py"]),
    }
    place = folder.path.parent / "bases"
    place.mkdir()
    env = {"AZUREML_CONDA_ENVIRONMENT_PATH": "/azureml-envs/minimal"}
    write_archive(place / "base.tar", docker_members([files], tags=[f"{IMAGE}:20211026.v1"], env=env))
    folder.env["BUNDLER_BASES"] = str(place)
    return folder


def test_the_literal_call_of_the_documentation_writes_an_image(bases: Folder) -> None:
    printed = bases.printed(
        HEAD
        + REGISTER
        + CONFIG
        + f"env.docker.base_image = {IMAGE!r}\n"
        + "package = Model.package(ws, [model], config)\n"
        "package.wait_for_creation(show_output=True)\npackage.pull()\nprint(package.state)\n"
    )

    assert printed == ["Succeeded"]
    listed = subprocess.run(
        ["tar", "tf", bases.path / "image.tar"], capture_output=True, text=True, check=True
    ).stdout
    assert "manifest.json" in listed.splitlines()


def test_an_image_that_is_not_there_is_named_with_the_commands(bases: Folder) -> None:
    ended = bases.run(HEAD + REGISTER + CONFIG + "Model.package(ws, [model], config)\n")

    assert ended.returncode == 1
    assert "no archive of the base image `mcr.microsoft.com/azureml/openmpi" in ended.stderr
    assert f"found   {IMAGE}:20211026.v1" in ended.stderr
    assert "bundler base add base.tar" in ended.stderr


MANAGED = (
    HEAD
    + REGISTER
    + "env = Environment('managed')\nenv.python.user_managed_dependencies = True\n"
    + f"env.docker.base_image = {IMAGE!r}\n"
    + "config = InferenceConfig('score.py', environment=env)\n"
)


def test_the_python_of_the_image_is_checked(bases: Folder) -> None:
    (bases.path / "score.py").write_text("import six\ndef init(): pass\ndef run(data): return data\n")
    program = (
        MANAGED + "env.python.interpreter_path = 'PATH'\nModel.package(ws, [model], config).pull('OUT')\n"
    )
    good = bases.run(program.replace("PATH", "/opt/miniconda/bin/python").replace("OUT", "good.tar"))
    other = bases.run(program.replace("PATH", "/opt/other/bin/python").replace("OUT", "other.tar"))
    (bases.path / "score.py").write_text("import absent\ndef init(): pass\ndef run(data): return data\n")
    missing = bases.run(program.replace("PATH", "/opt/miniconda/bin/python").replace("OUT", "missing.tar"))

    assert good.returncode == 0, good.stderr
    assert (bases.path / "good.tar").is_file()
    assert (other.returncode, missing.returncode) == (1, 1)
    assert "the base has no such Python" in other.stderr
    hint = re.search(r"hint: env\.python\.interpreter_path = '(\S+)'", other.stderr)
    assert hint is not None, other.stderr
    again = bases.run(program.replace("PATH", hint[1]).replace("OUT", "again.tar"))
    assert "the base has no such Python" not in again.stderr
    assert "imports `absent`, which no distribution provides" in missing.stderr
    assert not (bases.path / "other.tar").exists()
    assert not (bases.path / "missing.tar").exists()


@pytest.mark.parametrize(
    ("name", "value"), [("weights", "mymodel/requirements.txt"), ("mymodel", "mymodel/sub/r.txt")]
)
def test_the_requirements_of_a_registered_model_are_found(name: str, value: str, bases: Folder) -> None:
    model = bases.path / ("mymodel" if name == "weights" else "files")
    (model / "sub").mkdir(parents=True)
    for file in ("requirements.txt", "sub/r.txt"):
        (model / file).write_text("six==1.0\n")
    (bases.path / "score.py").write_text("import six\ndef init(): pass\ndef run(data): return data\n")
    program = (
        MANAGED
        + f"model = Model.register(ws, {model.name!r}, {name!r})\n"
        + "env.environment_variables = {'AZUREML_EXTRA_REQUIREMENTS_TXT': 'VALUE'}\n"
        + "Model.package(ws, [model], config, generate_dockerfile=True).save('OUT')\n"
    )
    good = bases.run(program.replace("VALUE", value).replace("OUT", "context"))
    wrong = bases.run(program.replace("VALUE", "other/requirements.txt").replace("OUT", "wrong"))
    wheels = [path.name for path in (bases.path / "context/azureml-app/wheelhouse").glob("*.whl")]

    assert good.returncode == 0, good.stderr
    assert wheels == ["six-1.0-py3-none-any.whl"]
    assert wrong.returncode == 1
    assert "`other/requirements.txt` not found, the value of `AZUREML_EXTRA_REQUIREMENTS_TXT`" in wrong.stderr
    assert f"found   model `{name}`, `{model.name}`" in wrong.stderr
    assert not (bases.path / "wrong").exists()
