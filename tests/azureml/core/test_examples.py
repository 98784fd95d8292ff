"""Azure ML's documents, run: each snippet as a program, with the command's own index and store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.archives import docker_members, installed, rootfs, write_archive
from support.paths import ROOT
from support.scoring_server import make_server
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

EXAMPLES = ROOT / "examples" / "azureml"
SITE = "lib/python3.7/site-packages"
IMAGE = "mcr.microsoft.com/azureml/sklearn-0.24.1-ubuntu18.04-py37-cpu-inference"


class Programs:
    """Runs programs in a copy of the examples, as a user would."""

    def __init__(self, cli: BundlerCli, folder: Path) -> None:
        self.cli = cli
        self.folder = folder
        self.env = {**cli.env, "BUNDLER_WORKSPACE": str(folder / "workspace")}

    def run(self, *argv: str, expect: int = 0) -> str:
        ended = self.ended(*argv)
        assert ended.returncode == expect, ended.stderr
        return ended.stdout

    def ended(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", *argv],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def code(self, text: str, expect: int = 0) -> str:
        return self.run("-c", text, expect=expect)


@pytest.fixture
def programs(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> Programs:
    make_wheel(index.folder, "requests", "2.31.0", {"requests/__init__.py": "__version__ = '2.31.0'\n"})
    make_wheel(
        index.folder, "PyYAML", "6.0.1", {"yaml/__init__.py": "def safe_dump(data): return str(data)\n"}
    )
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder)
    return Programs(warm_cli, folder)


def manifest_of(folder: Path) -> dict[str, object]:
    (manifest,) = (folder / "dist").glob("*.manifest.json")
    found: dict[str, object] = json.loads(manifest.read_text())
    return found


# --- the first document ---------------------------------------------------------


@pytest.mark.parametrize("script", ["from_pip.py", "from_conda.py"])
def test_an_environment_of_a_file_becomes_a_bundle(script: str, programs: Programs) -> None:
    printed = programs.run(script).strip()

    assert (programs.folder / printed).is_file()
    manifest = manifest_of(programs.folder)
    assert manifest["name"] == "nlp"
    names = [item["name"] for item in manifest["distributions"]]  # type: ignore[attr-defined]
    assert names == ["pyyaml", "requests"]


def test_conda_translations_are_logged(programs: Programs) -> None:
    output = programs.ended("from_conda.py").stderr

    assert "env.yml" not in output  # it is the environment that is built, not the file
    assert "`pyyaml=6.0.1` becomes `pyyaml==6.0.1.*`" in output


def test_the_sdk_writes_the_document_s_file(programs: Programs) -> None:
    programs.run("from_sdk.py")

    document = """\
# Conda environment specification. The dependencies defined in this file will
# be automatically provisioned for runs with userManagedDependencies=False.

# Details about the Conda environment file format:
# https://conda.io/docs/user-guide/tasks/manage-environments.html#create-env-file-manually

name: project_environment
dependencies:
  # The python interpreter version.
  # Currently Azure ML only supports 3.5.2 and later.
- python=3.7

- pip:
    # Required packages for AzureML execution, history, and data preparation.
  - azureml-defaults

  - pyyaml
- pytorch
- torchvision
channels:
- anaconda
- conda-forge
- pytorch
"""
    assert (programs.folder / "env_pytorch.yml").read_text() == document


def test_the_same_content_keeps_its_version(programs: Programs) -> None:
    again = (
        "from bundler.azureml import Environment, Workspace\n"
        "env = Environment.from_pip_requirements('nlp', 'requirements.txt')\n"
        "print(env.register(Workspace()).version)\n"
    )
    first = programs.run("register.py").splitlines()
    second = programs.code(again)
    (programs.folder / "requirements.txt").write_text("requests==2.31.0\n")
    third = programs.code(again)

    assert first[0] == "nlp 1"
    assert (programs.folder / first[1]).is_file()
    assert (second, third) == ("1\n", "2\n")
    listed = programs.run("list_environments.py").splitlines()
    assert listed == sorted(listed)
    assert {"nlp", "AzureML-Chainer-5.1.0-GPU", "AzureML-Scikit-learn-0.20.3"} <= set(listed)


def test_a_curated_environment_as_the_document_prints_it(programs: Programs) -> None:
    document = """\
channels:
- conda-forge
dependencies:
- python=3.6.2
- pip:
  - azureml-core==1.15.0
  - azureml-defaults==1.15.0
  - azureml-telemetry==1.15.0
  - azureml-train-restclients-hyperdrive==1.15.0
  - azureml-train-core==1.15.0
  - torch==1.1
  - torchvision==0.2.1
  - mkl==2018.0.3
  - horovod==0.16.1
  - tensorboard==1.14.0
  - future==0.17.1
name: azureml_eb61e39e20e87ad998ae2c88df1dd0af

"""
    assert programs.run("curated.py") == document


def test_the_dockerfile_is_no_secret(programs: Programs) -> None:
    dockerfile = programs.run("no_secrets.py")

    assert dockerfile.startswith("ARG BASE_IMAGE=mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04")
    assert "COPY --chown=0:0 azureml-app/bundle /var/azureml-app/bundle/\n" in dockerfile
    assert f'ENV PYTHONPATH="/var/azureml-app/bundle/{SITE}"\n' in dockerfile
    assert "EXAMPLE_ENV_VAR" not in dockerfile
    assert not any(line.startswith(("RUN", "USER", "CMD")) for line in dockerfile.splitlines())


def test_a_base_dockerfile_comes_first_and_is_exactly_what_is_built(programs: Programs) -> None:
    shown, _, _ = programs.run("base_dockerfile.py").rpartition("context-dockerfile\n")

    written = (programs.folder / "context-dockerfile" / "Dockerfile").read_text()
    assert written == shown.rstrip("\n") + "\n"
    assert written.startswith((EXAMPLES / "Dockerfile").read_text())
    assert (programs.folder / "context-dockerfile" / "azureml-app" / "bundle" / SITE / "yaml").is_dir()
    verified = subprocess.run(
        [sys.executable, "verify.py"],
        cwd=programs.folder / "context-dockerfile",
        check=False,
        capture_output=True,
    )
    assert verified.returncode == 0


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("env.docker.base_image = None", "the environment `nlp` has no base image"),
        (
            "env.environment_variables = {'PYTHONPATH': '/x'}",
            "sets PYTHONPATH, which its image needs for the packages",
        ),
        (
            "env.docker.base_dockerfile = 'FROM x\\nRUN a \\\\\\n'",
            "its last line ends with `\\`, a continuation",
        ),
        (
            "env.docker.base_dockerfile = '# escape=`\\nFROM x\\n'",
            "it sets another escape character than `\\`",
        ),
    ],
)
def test_what_is_wrong_with_an_image_is_said_before_it_is_built(
    broken: str, expected: str, programs: Programs
) -> None:
    ended = programs.ended(
        "-W",
        "ignore",
        "-c",
        "from bundler.azureml import Environment\n"
        "env = Environment.from_pip_requirements('nlp', 'requirements.txt')\n"
        f"{broken}\n"
        "env.build(context='context')\n",
    )

    assert expected in ended.stderr
    assert not (programs.folder / "dist").exists()
    assert not (programs.folder / "context").exists()


def test_the_typo_of_the_document_registers_and_says_so(programs: Programs) -> None:
    ended = programs.ended(
        "-W",
        "default",
        "-c",
        "from bundler.azureml import Environment, Workspace\n"
        "print(Environment('no-secrets').regester(Workspace()).version)",
    )

    assert ended.stdout == "1\n", ended.stderr
    assert "DeprecationWarning: `regester` is a misspelling: use `register`" in ended.stderr


def test_a_python_of_this_machine_is_looked_at(programs: Programs, python37: Path) -> None:
    # CPython without packages: the script's `requests` and `yaml` are missing.
    ended = programs.ended("custom_interpreter.py", str(python37.resolve()))

    assert ended.returncode != 0
    assert "ClosureError" in ended.stderr
    (programs.folder / "inference_dir" / "code" / "score.py").write_text(
        "import json\ndef init(): pass\ndef run(data): return json.dumps(data)\n"
    )
    printed = programs.run("custom_interpreter.py", str(python37.resolve()))
    assert printed.startswith("3.7.")
    assert printed.rstrip().endswith("('score.py',)")
    assert not (programs.folder / "dist").exists()


def test_the_python_of_an_image_is_looked_at(programs: Programs) -> None:
    site = f"opt/miniconda/{SITE}"
    files = {
        **rootfs(),
        "opt/miniconda/bin/python3.7": b"\x7fELF",
        **installed(site, "requests", "2.31.0", files=["requests/__init__.py"]),
    }
    image = programs.folder / "image.tar"
    write_archive(image, docker_members([files]))
    ended = programs.ended("custom_interpreter.py", "/opt/miniconda/bin/python", "image.tar")

    assert ended.returncode != 0
    assert "`code/score.py:6` imports `yaml`, which no distribution provides" in ended.stderr
    assert "imports `requests`" not in ended.stderr


def test_an_interpreter_that_is_nowhere(programs: Programs) -> None:
    ended = programs.ended("custom_interpreter.py", "/opt/no/such/python")

    assert ended.returncode != 0
    assert (
        "InterpreterError: no Python `/opt/no/such/python` on this machine, and no base image to read it from"
        in ended.stderr
    )


# --- the second document --------------------------------------------------------


def env_of(context: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((context / "context.json").read_text())["env"]
    return found


def test_dynamic_installation_needs_no_index(programs: Programs) -> None:
    programs.run("dynamic_installation.py")

    context = programs.folder / "context-dynamic"
    env = env_of(context)
    assert env["AZUREML_EXTRA_REQUIREMENTS_TXT"] == "../wheelhouse/requirements.txt"
    assert env["PIP_NO_INDEX"] == "1"
    assert sorted(path.name for path in (context / "azureml-app/wheelhouse").glob("*.whl")) == [
        "PyYAML-6.0.1-py3-none-any.whl",
        "requests-2.31.0-py3-none-any.whl",
    ]
    assert (context / "azureml-app/azureml-models/weights/1/model/weights.txt").read_text() == "weights\n"


def test_preinstalled_packages(programs: Programs) -> None:
    programs.run("preinstalled_packages.py")

    context = programs.folder / "context-preinstalled"
    assert env_of(context)["AZUREML_EXTRA_PYTHON_LIB_PATH"] == f"myenv/{SITE}"
    assert (context / "azureml-app/code/myenv" / SITE / "yaml/__init__.py").is_file()
    assert not (context / "azureml-app/bundle").exists()
    assert "USER dockeruser\n" in (context / "Dockerfile").read_text()
    assert programs.cli.run("simulate", str(context)).returncode == 0


def test_a_mount_path_that_is_off_by_a_folder_is_no_package(programs: Programs) -> None:
    script = programs.folder / "preinstalled_packages.py"
    script.write_text(script.read_text().replace('"myenv/lib', '"code/myenv/lib'))
    ended = programs.ended("preinstalled_packages.py")

    assert ended.returncode != 0
    assert "D601" in ended.stderr
    assert not (programs.folder / "context-preinstalled").exists()


def test_a_hand_made_virtual_environment_is_packed_without_its_python(
    programs: Programs, python37: Path
) -> None:
    environment = programs.folder / "inference_dir/code/myenv"
    subprocess.run(
        [sys.executable, "-m", "virtualenv", "-q", "--no-seed", "-p", python37, environment], check=False
    )
    if not environment.exists():
        subprocess.run([python37, "-m", "venv", "--without-pip", environment], check=True)
    (environment / SITE / "yaml").mkdir(parents=True)
    (environment / SITE / "yaml/__init__.py").write_text("")
    programs.run("preinstalled_packages.py")

    packed = programs.folder / "context-preinstalled/azureml-app/code/myenv"
    assert (packed / SITE / "yaml/__init__.py").is_file()
    assert not (packed / "bin/python3.7").exists()


def test_model_package_is_a_context(programs: Programs) -> None:
    programs.run("model_package.py")

    context = programs.folder / "context-model"
    env = env_of(context)
    assert env["AZUREML_ENTRY_SCRIPT"] == "code/score.py"
    assert env["AZUREML_EXTRA_PYTHON_LIB_PATH"] == f"../bundle/{SITE}"
    assert env["AZUREML_MODEL_DIR"] == "/var/azureml-app/azureml-models/weights/1"
    dockerfile = (context / "Dockerfile").read_text()
    assert dockerfile.startswith(f"ARG BASE_IMAGE={IMAGE}\n")
    assert "\nRUN" not in dockerfile


def test_model_package_is_an_image_without_a_daemon(programs: Programs) -> None:
    base = programs.folder / "base.tar"
    passwd = "root:x:0:0::/root:/bin/sh\ndockeruser:x:1000:1000::/home/dockeruser:/bin/sh\n"
    write_archive(base, docker_members([{**rootfs(), "etc/passwd": passwd}]))
    printed = programs.code(
        "from bundler.azureml import Environment, InferenceConfig, Model, Workspace\n"
        "ws = Workspace()\n"
        "env = Environment.from_pip_requirements('nlp', 'requirements.txt')\n"
        "model = Model.register(ws, 'model/weights.txt', 'weights')\n"
        "config = InferenceConfig('score.py', source_directory='inference_dir/code', environment=env)\n"
        "package = Model.package(ws, [model], config, image_name='nlp', image_label='3', base='base.tar')\n"
        "try:\n"
        "    package.save('context')\n"
        "except Exception as error:\n"
        "    print(error)\n"
        "print(package.pull('image.tar'))\n"
        "print(package.serialize())\n"
    ).splitlines()

    image = programs.folder / "image.tar"
    assert printed[0].startswith("the package was made for an image")
    assert printed[1:] == [
        str(image),
        f"{{'generateDockerfile': False, 'state': 'Succeeded', 'location': '{image}'}}",
    ]
    listed = subprocess.run(["tar", "tf", image], capture_output=True, text=True, check=True).stdout
    assert "manifest.json" in listed.splitlines()


def test_a_model_is_served_here(index: LocalIndex, programs: Programs) -> None:
    make_server(index.folder)

    assert programs.run("local_service.py").startswith("running {'answer': ")


def test_an_environment_that_does_not_build_leaves_no_package(programs: Programs) -> None:
    (programs.folder / "inference_dir/code/score.py").write_text(
        "import absent\ndef init(): pass\ndef run(d): pass\n"
    )
    ended = programs.ended("model_package.py")

    assert ended.returncode != 0
    assert "imports `absent`, which no distribution provides" in ended.stderr
    assert not (programs.folder / "context-model").exists()


# --- models ---------------------------------------------------------------------


def test_models_are_kept_by_content(programs: Programs) -> None:
    printed = programs.code(
        "from pathlib import Path\n"
        "from bundler.azureml import Model, Workspace\n"
        "ws = Workspace()\n"
        "first = Model.register(ws, 'model', 'weights', tags={'area': 'nlp'})\n"
        "same = Model.register(ws, 'model', 'weights', tags={'area': 'nlp'})\n"
        "Path('model/weights.txt').write_text('other')\n"
        "second = Model.register(ws, 'model', 'weights')\n"
        "print(first.id, same.id, second.id, [m.id for m in Model.list(ws)], Model(ws, 'weights').version)\n"
        "print(Model(ws, 'weights', version=1).download('out'))\n"
    ).splitlines()

    assert printed[0] == "weights:1 weights:1 weights:2 ['weights:1', 'weights:2'] 2"
    assert Path(printed[1], "weights.txt").read_text() == "weights\n"


def test_a_model_whose_bytes_changed_is_refused(programs: Programs) -> None:
    programs.code(
        "from bundler.azureml import Model, Workspace\nModel.register(Workspace(), 'model', 'weights')\n"
    )
    (blob,) = (path for path in (programs.folder / "workspace/blobs").rglob("*") if path.is_file())
    blob.chmod(0o644)
    blob.write_text("WEIGHTS\n")
    ended = programs.ended(
        "-c", "from bundler.azureml import Model, Workspace\nModel(Workspace(), 'weights').download('out')\n"
    )

    assert "IntegrityError" in ended.stderr
    assert not list((programs.folder / "out").iterdir())


# --- the command ----------------------------------------------------------------


def test_env_register_list_show_build_export(programs: Programs) -> None:
    def run(*args: str) -> str:
        ended = programs.cli.run(
            "env", *args, cwd=programs.folder, env={"BUNDLER_WORKSPACE": str(programs.folder / "workspace")}
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert run("register", "env.yml", "--label", "stable") == "nlp\t1\n"
    assert run("register", "env.yml") == "nlp\t1\n"
    assert run("register", "requirements.txt", "--name", "nlp") == "nlp\t2\n"
    assert run("list", "--no-curated") == "nlp\t2\n"
    assert "AzureML-PyTorch-1.1-GPU\tcurated\n" in run("list")
    assert "  - requests==2.31.0\n" in run("show", "nlp", "--label", "stable")
    assert "PYTHONPATH" in run("show", "nlp", "--dockerfile")
    assert json.loads(run("show", "nlp", "--json"))["result"]["version"] == "2"
    path, size, sha256 = run("build", "nlp", "--version", "1", "--context", "context").strip().split("\t")
    assert (programs.folder / path).stat().st_size == int(size)
    assert len(sha256) == len("0" * 64)
    assert (programs.folder / "context/Dockerfile").is_file()
    assert run("export", "nlp", "saved") == "saved\n"
    assert sorted(path.name for path in (programs.folder / "saved").iterdir()) == [
        "azureml_environment.json",
        "conda_dependencies.yml",
    ]
    assert run("register", "saved") == "nlp\t2\n"


@pytest.mark.parametrize(
    ("args", "code", "expected"),
    [
        (("show", "nlpp"), 3, "nlpp"),
        (("register", "requirements.txt"), 2, "--name requirements"),
        (("register", "env.yml", "--name", "AzureML-mine"), 3, "AzureML-mine"),
        (("build", "AzureML-PyTorch-1.1-GPU"), 3, "python=3.6.2"),
        (("show", "AzureML-Tutorial", "--version", "99"), 3, "99"),
    ],
)
def test_env_says_what_is_wrong(args: tuple[str, ...], code: int, expected: str, programs: Programs) -> None:
    env = {"BUNDLER_WORKSPACE": str(programs.folder / "workspace")}
    ended = programs.cli.run("env", *args, cwd=programs.folder, env=env)

    assert ended.returncode == code, ended.stderr
    assert expected in ended.stderr
    assert "Traceback" not in ended.stderr


def test_env_build_of_what_the_user_manages_builds_nothing(programs: Programs, python37: Path) -> None:
    programs.code(
        "from bundler.azureml import Environment, Workspace\n"
        "env = Environment('own')\n"
        "env.python.user_managed_dependencies = True\n"
        f"env.python.interpreter_path = {os.fspath(python37.resolve())!r}\n"
        "env.register(Workspace())\n"
    )
    env = {"BUNDLER_WORKSPACE": str(programs.folder / "workspace")}
    ended = programs.cli.run("env", "build", "own", cwd=programs.folder, env=env)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\t")[:1] == [os.fspath(python37.resolve())]
    assert not (programs.folder / "dist").exists()


@pytest.mark.online
def test_a_curated_environment_is_built(online_cli: BundlerCli, tmp_path: Path) -> None:
    name = "AzureML-minimal-ubuntu18.04-py37-cpu-inference"
    ended = online_cli.run("env", "build", name, cwd=tmp_path, env={"BUNDLER_WORKSPACE": str(tmp_path / "w")})

    assert ended.returncode == 0, ended.stderr
    assert "note      curated, as of 2026-11-21: built unchanged" in ended.stderr
    assert (tmp_path / ended.stdout.split("\t")[0]).is_file()


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text("utf-8")

    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in text] == []


def test_what_the_sdk_warns_of_is_a_line_of_the_command(programs: Programs) -> None:
    (programs.folder / "env.yml").write_text(
        "name: nlp\ndependencies:\n  - python=3.7\n  - pip:\n    - -r requirements.txt\n"
    )
    env = {"BUNDLER_WORKSPACE": str(programs.folder / "workspace")}
    ended = programs.cli.run("env", "register", "env.yml", cwd=programs.folder, env=env)

    assert (ended.returncode, ended.stdout) == (0, "nlp\t1\n")
    expected = "the registered environment `nlp` refers to local files: -r requirements.txt"
    place = f"note      registered in `{programs.folder / 'workspace'}`"
    assert ended.stderr.splitlines() == [f"warning   {expected}", place]
