"""From a bundle to a build context, a started boot on paper, and a server that answers, on wheels made here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.archives import make_base
from support.cli import BundlerCli, built_locked, locked
from support.elfs import make_elf
from support.facts import base_of
from support.hints import hint
from support.wheels import make_wheel

from bundler.deploy.online_endpoint import endpoint_files
from bundler.requirements.conda.yaml import load_yaml

if TYPE_CHECKING:
    from support.cli import Ended
    from support.localindex import LocalIndex

SITE = "lib/python3.7/site-packages"


@pytest.fixture(scope="module")
def built_bundle(worker_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an archive with one module and its dependency, built once."""
    folder = tmp_path_factory.mktemp("bundle")
    cli = BundlerCli(folder / "home", "", folder / "wheels", store=worker_store)
    make_wheel(folder / "wheels", "shop", "1.0", {"shop.py": "import basket\n"}, requires=["basket"])
    make_wheel(folder / "wheels", "basket", "2.0")
    args = ("shop", "--name", "app", "--bundle-version", "1")
    return Path(built_locked(cli, *args, cwd=folder)["path"]).parent


@pytest.fixture
def bundle(built_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the archive."""
    shutil.copytree(built_bundle, tmp_path / "dist")
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    return archive


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "score.cpython-37.pyc").write_bytes(b"left behind")
    (folder / "score.py").write_text("import shop\ndef init(): pass\ndef run(data): return data\n")
    (folder / "helper.sh").write_text("#!/bin/sh\n")
    (folder / "helper.sh").chmod(0o775)
    return folder


BundleFor = Callable[[str], tuple[Path, str]]


@pytest.fixture
def bundle_for(warm_cli: BundlerCli, bundle: Path, pythons: dict[str, Path]) -> BundleFor:
    """Return a function from a Python to a bundle for it, and the bundle's directory of packages."""

    def build(version: str) -> tuple[Path, str]:
        if version == "3.7":
            return bundle, SITE
        if version not in pythons:
            pytest.skip(f"no CPython {version} was found")
        make_wheel(Path(str(warm_cli.wheels)), "shop", "1.0")
        built = built_locked(warm_cli, "shop", "--python", version, cwd=bundle.parent.parent)
        return Path(built["path"]), f"lib/python{version}/site-packages"

    return build


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"model")
    return path


def package(cli: BundlerCli, bundle: Path, code: Path, *args: str, script: str = "score.py") -> Ended:
    return cli.run(
        "package", str(bundle), "--source-dir", str(code), "--entry-script", script, *args, cwd=bundle.parent
    )


def context(cli: BundlerCli, bundle: Path, code: Path, *args: str, script: str = "score.py") -> Path:
    out = bundle.parent / "context"
    ended = package(cli, bundle, code, "--base-image", "base:1", "-o", str(out), *args, script=script)
    assert ended.returncode == 0, ended.stderr
    return out


def tree(folder: Path) -> dict[str, str]:
    """Return the mode of every file and folder below one."""
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*")
    }


def test_a_context_is_what_model_package_makes_without_a_network_or_root(
    warm_cli: BundlerCli, bundle: Path, code: Path, model: Path
) -> None:
    out = context(warm_cli, bundle, code, "--model", f"iris:3={model}")
    lines = (out / "Dockerfile").read_text().splitlines()

    assert not [line for line in lines if line.startswith(("RUN", "ADD", "USER root"))]
    assert [line for line in lines if line.startswith("USER")] == ["USER dockeruser"]
    assert lines[-1] == 'CMD ["runsvdir", "/var/runit"]'
    env = json.loads((out / "context.json").read_text())["env"]
    assert env == {
        "AZUREML_SOURCE_DIRECTORY": "src",
        "AZUREML_ENTRY_SCRIPT": "src/score.py",
        "AZUREML_EXTRA_PYTHON_LIB_PATH": f"../bundle/{SITE}",
        "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/iris/3",
    }
    found = tree(out / "azureml-app")
    assert found["azureml-models/iris/3/model.pkl"] == "0o644"
    assert found["src/helper.sh"] == "0o755"
    assert found["src"] == "0o755"
    assert f"bundle/{SITE}/shop.py" in found
    assert not [path for path in found if path.startswith("src/__pycache__")]
    assert json.loads((out / "azureml-app" / "model_config_map.json").read_text())["accountContext"] == {}


def test_a_context_checks_itself_and_names_what_is_wrong(
    warm_cli: BundlerCli, bundle: Path, code: Path, python37: Path
) -> None:
    out = context(warm_cli, bundle, code)

    def check() -> tuple[int, str]:
        ended = subprocess.run([python37, out / "verify.py"], capture_output=True, text=True, check=False)
        return ended.returncode, ended.stdout

    assert check()[0] == 0
    app = out / "azureml-app"
    (app / "src" / "score.py").write_text("changed\n")
    (app / "src" / "more.py").write_text("")
    (app / "model_config_map.json").unlink()
    status, output = check()
    assert status == 5
    words = {line.split()[0]: line.split()[1] for line in output.splitlines()[:3]}
    assert words == {
        "extra": "azureml-app/src/more.py",
        "missing": "azureml-app/model_config_map.json",
        "changed": "azureml-app/src/score.py:",
    }


@pytest.mark.parametrize(
    ("args", "env", "there"),
    [
        pytest.param(
            ("--lib-var", "pythonpath"),
            {"PYTHONPATH": f"/var/azureml-app/bundle/{SITE}"},
            f"bundle/{SITE}/shop.py",
            id="for-images-that-ignore-the-variable",
        ),
        pytest.param(("--lib-var", "sagemaker"), {}, "src/lib/shop.py", id="sagemaker"),
        pytest.param(
            ("--mode", "dynamic"),
            {
                "AZUREML_EXTRA_REQUIREMENTS_TXT": "../wheelhouse/requirements.txt",
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": "/var/azureml-app/wheelhouse",
            },
            "wheelhouse/shop-1.0-py3-none-any.whl",
            id="dynamic",
        ),
    ],
)
def test_other_ways_to_the_packages(
    warm_cli: BundlerCli, bundle: Path, code: Path, args: tuple[str, ...], env: dict[str, str], there: str
) -> None:
    out = context(warm_cli, bundle, code, *args)

    found = json.loads((out / "context.json").read_text())["env"]
    assert {name: value for name, value in found.items() if not name.startswith("AZUREML_")} == {
        name: value for name, value in env.items() if not name.startswith("AZUREML_")
    }
    assert env.items() <= found.items()
    assert "AZUREML_EXTRA_PYTHON_LIB_PATH" not in found
    assert (out / "azureml-app" / there).is_file()


LIB = "AZUREML_EXTRA_PYTHON_LIB_PATH"


@pytest.mark.parametrize(
    ("version", "image", "names"),
    [
        ("3.7", "mcr.microsoft.com/azureml/minimal-ubuntu18.04-py37-cpu-inference:latest", {LIB}),
        ("3.11", "mcr.microsoft.com/azureml/minimal-py311-inference:latest", {"PYTHONPATH"}),
        ("3.7", "host:5000/mine:1", {LIB}),
        ("3.12", "mlflow-py312-inference", {LIB, "AML_APP_ROOT"}),
    ],
)
def test_the_variable_is_one_that_the_image_reads(
    version: str, image: str, names: set[str], warm_cli: BundlerCli, bundle_for: BundleFor, code: Path
) -> None:
    bundle, site = bundle_for(version)
    out = bundle.parent / "context"
    ended = package(warm_cli, bundle, code, "--base-image", image, "-o", str(out))
    assert ended.returncode == 0, ended.stderr
    env = json.loads((out / "context.json").read_text())["env"]

    assert env.keys() - {"AZUREML_SOURCE_DIRECTORY", "AZUREML_ENTRY_SCRIPT"} == names
    simulated = warm_cli.run("simulate", str(out))
    assert (simulated.returncode, f"/bundle/{site}" in simulated.stdout) == (0, True), simulated.stderr


def test_a_variable_that_the_image_ignores_is_refused(
    warm_cli: BundlerCli, bundle_for: BundleFor, code: Path, tmp_path: Path
) -> None:
    bundle, _ = bundle_for("3.12")
    image = "minimal-py312-inference"
    for args in (("--lib-var", "extra"), ("--mode", "dynamic")):
        ended = package(warm_cli, bundle, code, "--base-image", image, "-o", "context", *args)
        assert (ended.returncode, "D613" in ended.stderr) == (10, True), ended.stderr
        assert not (tmp_path / "dist" / "context").exists()

    out = context(warm_cli, bundle_for("3.7")[0], code)
    simulated = warm_cli.run("simulate", str(out), "--profile", "stripped")
    assert (simulated.returncode, "D627" in simulated.stdout) == (10, True), simulated.stdout


def test_an_image_that_is_not_known_gets_both_variables(
    warm_cli: BundlerCli, bundle_for: BundleFor, code: Path
) -> None:
    bundle, site = bundle_for("3.10")
    out = context(warm_cli, bundle, code)
    env = json.loads((out / "context.json").read_text())["env"]

    assert env[LIB] == f"../bundle/{site}"
    assert env["PYTHONPATH"] == f"/var/azureml-app/bundle/{site}"
    for profile in ("stripped", "other"):
        assert warm_cli.run("simulate", str(out), "--profile", profile).returncode == 0


def test_simulate_reads_the_imports_of_the_script_against_a_base(
    warm_cli: BundlerCli, bundle: Path, code: Path, tmp_path: Path
) -> None:
    (code / "score.py").write_text("import yaml\ndef init(): pass\ndef run(data): return data\n")
    out = context(warm_cli, bundle, code)
    unknown = warm_cli.run("simulate", str(out))
    profile = base_of(libraries={"libc.so.6"}, numpy="1.21").to_json()
    (tmp_path / "base.json").write_text(json.dumps(profile))
    known = warm_cli.run("simulate", str(out), "--base", str(tmp_path / "base.json"), "--json")

    assert unknown.returncode == 0, unknown.stderr
    assert "fix: add `PyYAML` to the requirements of the bundle, or pass the image" in unknown.stdout
    assert known.returncode == 10
    assert known.json["error"]["facts"]["exit_code"] == 3
    assert "`yaml` is neither in the packages nor in the image" in known.stdout


@pytest.mark.parametrize(
    ("version", "status", "text"),
    [
        ("0.6.1", 0, "] = /var/azureml-app/src\n"),
        ("0.7.6", 0, "AZUREML_ENTRY_SCRIPT = /var/azureml-app/src/score.py\n"),
        ("banana", 3, "`--server banana` is not a version of `azureml-inference-server-http`"),
    ],
)
def test_simulate_knows_the_release_of_the_server(
    warm_cli: BundlerCli, bundle: Path, code: Path, version: str, status: int, text: str
) -> None:
    out = context(warm_cli, bundle, code)
    ended = warm_cli.run("simulate", str(out), "--server", version)

    assert (ended.returncode, text in ended.stdout + ended.stderr) == (status, True), ended.stderr


def test_a_version_that_the_server_refuses_is_shown(warm_cli: BundlerCli, code: Path, tmp_path: Path) -> None:
    make_wheel(Path(str(warm_cli.wheels)), "pydantic", "2.5.3")
    make_wheel(
        Path(str(warm_cli.wheels)), "shop", "1.0", {"shop.py": "import pydantic\n"}, requires=["pydantic"]
    )
    ended = warm_cli.run("build", *locked(warm_cli, "shop", "pydantic"), cwd=tmp_path)
    message = "B507  `azureml-inference-server-http` 0.8.4.2 requires `pydantic<1.11,>=1.9`"

    assert (ended.returncode, message in ended.stderr) == (0, True), ended.stderr
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    packaged = package(warm_cli, archive, code, "--base-image", "base:1", "-o", "context")
    assert (packaged.returncode, message in packaged.stderr) == (0, True), packaged.stderr


def test_the_wheelhouse_installs_without_an_index(
    warm_cli: BundlerCli, bundle: Path, code: Path, python37: Path, tmp_path: Path
) -> None:
    house = context(warm_cli, bundle, code, "--mode", "dynamic") / "azureml-app" / "wheelhouse"
    argv = [python37, "-m", "pip", "install", "--no-index", "--find-links", house, "--target", tmp_path / "t"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    ended = subprocess.run(
        [*map(str, argv), "-r", str(house / "requirements.txt")],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "t" / "shop.py").is_file()


@pytest.mark.parametrize(
    ("line", "has_module"),
    [
        ("from azureml.core.model import Model", True),
        ("    from azureml.core import Model", True),
        ("import azureml.core.model as m", True),
        ("text = 'from azureml.core.model import Model'", False),
        ("from azureml.corelib import x", False),
        ("# import azureml.core", False),
    ],
)
def test_the_context_has_the_path_of_a_model_if_the_code_asks_for_it(  # noqa: PLR0917 - fixtures
    line: str, has_module: bool, warm_cli: BundlerCli, bundle: Path, code: Path, model: Path, python37: Path
) -> None:
    (code / "score.py").write_text(
        f"import shop\n\ndef init():\n    pass\n\ndef run(data):\n    return data\n\ndef unused():\n    pass\n{line}\n"
    )
    out = context(warm_cli, bundle, code, "--model", f"iris:3={model}")
    root = out / "azureml-app"

    assert (root / "azureml").exists() == has_module
    if has_module:
        ask = "from azureml.core.model import Model; print(Model.get_model_path('iris'))"
        ended = subprocess.run(
            [python37, "-B", "-c", ask], cwd=root, capture_output=True, text=True, check=True, env={}
        )
        assert ended.stdout.strip() == str(root / "azureml-models/iris/3/model.pkl")
        assert subprocess.run([python37, out / "verify.py"], check=False, env={}).returncode == 0


def test_the_azureml_of_the_user_is_left_alone(warm_cli: BundlerCli, bundle: Path, code: Path) -> None:
    (code / "azureml" / "core").mkdir(parents=True)
    (code / "azureml" / "core" / "model.py").write_text("class Model: pass\n")
    (code / "score.py").write_text(
        "from azureml.core.model import Model\ndef init(): pass\ndef run(data): return data\n"
    )

    assert not (context(warm_cli, bundle, code) / "azureml-app" / "azureml").exists()


def test_the_imports_of_files_that_are_not_packed_do_not_count(
    warm_cli: BundlerCli, bundle: Path, code: Path
) -> None:
    (code / ".amlignore").write_text("old.py\n")
    (code / ".venv").mkdir()
    for name in ("old.py", ".venv/module.py"):
        (code / name).write_text("from azureml.core.model import Model\n")

    assert not (context(warm_cli, bundle, code) / "azureml-app" / "azureml").exists()


def test_an_entry_script_in_a_subfolder_and_several_models(
    warm_cli: BundlerCli, bundle: Path, code: Path, model: Path
) -> None:
    (code / "sub").mkdir()
    shutil.move(code / "score.py", code / "sub" / "score.py")
    models = ("--model", f"a:1={model}", "--model", f"b:2={model}")
    out = context(warm_cli, bundle, code, *models, script="sub/score.py")

    env = json.loads((out / "context.json").read_text())["env"]
    assert env["AZUREML_EXTRA_PYTHON_LIB_PATH"] == f"../../bundle/{SITE}"
    assert env["AZUREML_MODEL_DIR"] == "/var/azureml-app/azureml-models"
    assert warm_cli.run("simulate", str(out)).returncode == 0


@pytest.mark.attack("contexts")
@pytest.mark.parametrize(
    ("args", "code_", "message"),
    [
        pytest.param(("--model", "x"), 3, "invalid `--model x`", id="model-form"),
        pytest.param(
            ("--model", "m:1=nowhere"),
            3,
            "nowhere: file or directory not found (--model)",
            id="model-missing",
        ),
        pytest.param(
            ("--no-user-managed-dependencies",),
            2,
            "which runs as root and needs a network",
            id="installed-in-the-image",
        ),
        pytest.param((), 2, "missing option: `--base-image`", id="no-base-image"),
        pytest.param(("--user", "a\nRUN id"), 3, "`a\\nRUN id` is not the name of a user", id="user"),
        pytest.param(
            ("--base-image", "a\nRUN id", "--user", ""), 3, "`a\\nRUN id` is not the name", id="base-image"
        ),
        pytest.param(
            ("--image", "o.tar"),
            2,
            "missing options: `--base-image`, `--base`\n  `--image` needs the base image as a file",
            id="no-base",
        ),
    ],
)
def test_bad_usage_leaves_nothing(
    warm_cli: BundlerCli, bundle: Path, code: Path, args: tuple[str, ...], code_: int, message: str
) -> None:
    more = () if code_ == 2 or "--base-image" in args else ("--base-image", "b")
    ended = package(warm_cli, bundle, code, "-o", "context", *args, *more)

    assert (ended.returncode, message in ended.stderr) == (code_, True), ended.stderr
    assert not (bundle.parent / "context").exists()


@pytest.mark.attack("contexts")
def test_a_tampered_bundle_and_a_script_without_run_are_refused(
    warm_cli: BundlerCli, bundle: Path, code: Path, tmp_path: Path
) -> None:
    (code / "score.py").write_text("def init(): pass\n")
    ended = package(warm_cli, bundle, code, "--base-image", "b", "-o", "context")
    assert (ended.returncode, "run()" in ended.stderr) == (10, True), ended.stderr

    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    ended = package(warm_cli, bundle, code, "--base-image", "b", "-o", "context")
    assert ended.returncode in (5, 7), ended.stderr
    assert not (bundle.parent / "context").exists()


@pytest.mark.attack("contexts")
def test_an_existing_context_is_refused_before_the_bundle_is_read(
    warm_cli: BundlerCli, code: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"not a bundle")
    for out in (".", "/", "there"):
        (tmp_path / "there").mkdir(exist_ok=True)
        ended = package(warm_cli, tmp_path / "x.tar.gz", code, "--base-image", "b", "-o", out)
        assert (ended.returncode, "already exists" in ended.stderr) == (11, True), ended.stderr


@pytest.mark.attack("contexts")
def test_likely_secrets_in_the_code_are_refused(warm_cli: BundlerCli, bundle: Path, code: Path) -> None:
    (code / ".env").write_text("PASSWORD=x\n")
    (code / "data.log").write_text("")
    ended = package(warm_cli, bundle, code, "--base-image", "b", "-o", "context")
    assert (ended.returncode, ".env: environment variables" in ended.stderr) == (3, True), ended.stderr

    (code / ".amlignore").write_text("*.log\n!.env\n")
    out = context(warm_cli, bundle, code)
    names = {path.name for path in (out / "azureml-app" / code.name).rglob("*")}
    assert (".env" in names, "data.log" in names) == (True, False)


@pytest.mark.attack("contexts")
def test_a_link_in_the_code_is_refused(warm_cli: BundlerCli, bundle: Path, code: Path) -> None:
    (code / "link").symlink_to("/etc/passwd")
    ended = package(warm_cli, bundle, code, "--base-image", "b", "-o", "context")

    assert (ended.returncode, "is a symbolic link" in ended.stderr) == (3, True)


def test_the_mount_command_names_the_resolved_values(warm_cli: BundlerCli, bundle: Path, code: Path) -> None:
    out = context(warm_cli, bundle, code)
    command = warm_cli.run("mount-command", str(out), "--image", "img:2").stdout

    assert command.startswith("docker run --rm -ti -p 5001:5001 -v ")
    assert f"{out}/azureml-app:/var/azureml-app:ro" in command
    assert command.rstrip().endswith(" img:2")
    assert f"-e AZUREML_EXTRA_PYTHON_LIB_PATH=../bundle/{SITE}" in command
    assert warm_cli.run("mount-command", str(out.parent)).returncode == 3
    for image, meant in (("MyReg.example/Foo:1", "myreg.example/foo:1"), ("python 3.7", "python:3.7")):
        wrong = warm_cli.run("mount-command", str(out), "--image", image)
        assert (wrong.returncode, wrong.stdout) == (3, "")
        assert f"`{image}` is not the name of an image" in wrong.stderr
        assert f"hint: --image {meant}" in wrong.stderr
    simulated = warm_cli.run("simulate", str(out), "-e", "AZUREML_ENTRY_SCRIPT=Score.py")
    assert f"      fix: -e AZUREML_ENTRY_SCRIPT={code.name}/score.py" in simulated.stdout
    lines = simulated.stdout.splitlines()
    found = [at for at, line in enumerate(lines) if line.startswith(("error ", "warning "))]
    assert found
    assert all(lines[at + 1].startswith("      fix: ") for at in found)


# --- an image without a daemon ----------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base that has a Python 3.7 for our eyes, and the user."""
    return make_base(tmp_path / "base.tar")


def test_context_and_image_hold_the_same_files(
    warm_cli: BundlerCli, bundle: Path, code: Path, model: Path, base: Path
) -> None:
    out = bundle.parent / "context"
    args = ("--base", str(base), "--image", "image.tar", "--base-image", "base:1", "-o", str(out))
    ended = package(warm_cli, bundle, code, "--model", f"iris:3={model}", *args, "--json")
    assert ended.returncode == 0, ended.stderr

    found: dict[str, tuple[str, int, int]] = {}
    with tarfile.open(bundle.parent / "image.tar") as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        config = json.load(archive.extractfile(entry["Config"]))  # type: ignore[arg-type]
        for name in entry["Layers"][1:]:
            with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                for member in layer:
                    if member.name.startswith("var/azureml-app/"):
                        path = member.name.removeprefix("var/azureml-app/").rstrip("/")
                        found[path] = (oct(member.mode), member.uid, member.gid)
    assert found == {path: (mode, 0, 0) for path, mode in tree(out / "azureml-app").items()}
    assert config["config"]["User"] == "dockeruser"
    assert config["config"]["Cmd"] == ["runsvdir", "/var/runit"]
    assert "AZUREML_ENTRY_SCRIPT=src/score.py" in config["config"]["Env"]
    assert [entry["comment"] for entry in config["history"] if "comment" in entry][-1] == "code"
    assert ended.json["result"]["image"]["id"].startswith("sha256:")


def test_a_changed_script_ships_one_layer(warm_cli: BundlerCli, bundle: Path, code: Path, base: Path) -> None:
    args = ("--base", str(base))
    assert package(warm_cli, bundle, code, *args, "--image", "one.tar").returncode == 0
    (code / "score.py").write_text("import shop\ndef init(): pass\ndef run(data): return 1\n")
    ended = package(warm_cli, bundle, code, *args, "--image", "two.tar", "--delta-from", "one.tar")

    assert ended.returncode == 0, ended.stderr
    with tarfile.open(bundle.parent / "two.tar") as archive:
        entry = json.load(archive.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        there = set(archive.getnames())
    assert len([layer for layer in entry["Layers"] if layer in there]) == 1
    assert package(warm_cli, bundle, code, *args, "--image", "whole.tar").returncode == 0
    assert warm_cli.run("join", "one.tar", "two.tar", "joined.tar", cwd=bundle.parent).returncode == 0
    assert (bundle.parent / "joined.tar").read_bytes() == (bundle.parent / "whole.tar").read_bytes()


def test_a_bundle_that_does_not_fit_the_base_is_refused(
    warm_cli: BundlerCli, bundle: Path, code: Path, tmp_path: Path
) -> None:
    other = make_base(tmp_path / "other.tar", python="3.9")
    ended = package(warm_cli, bundle, code, "--base", str(other), "--image", "image.tar")

    assert (ended.returncode, "B503" in ended.stderr) == (10, True), ended.stderr
    assert all(value in ended.stderr for value in ("3.7", "3.9"))
    assert not (bundle.parent / "image.tar").exists()


def test_openshifts_arbitrary_users_own_by_their_group(
    warm_cli: BundlerCli, bundle: Path, code: Path, base: Path
) -> None:
    out = bundle.parent / "context"
    args = (
        "--openshift",
        "--base",
        str(base),
        "--image",
        "image.tar",
        "--base-image",
        "base:1",
        "-o",
        str(out),
    )
    assert package(warm_cli, bundle, code, *args).returncode == 0

    modes = set(tree(out / "azureml-app").values())
    assert modes == {"0o664", "0o775"}
    with tarfile.open(bundle.parent / "image.tar") as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        with tarfile.open(fileobj=archive.extractfile(entry["Layers"][-1])) as layer:
            ours = [member for member in layer if member.name.startswith("var/azureml-app/")]
    assert {oct(member.mode) for member in ours} == {"0o664", "0o775"}
    assert {(member.uid, member.gid) for member in ours} == {(0, 0)}


@pytest.mark.parametrize(
    "image",
    ["python:3.11-slim", "registry.example/library/python:3.11", "mine/minimal-py311-inference:latest"],
)
def test_an_image_for_another_python_is_refused(
    image: str, warm_cli: BundlerCli, bundle: Path, code: Path
) -> None:
    ended = package(warm_cli, bundle, code, "--base-image", image, "-o", "ctx")

    assert ended.returncode == 10
    assert f"error: B503  the bundle is for Python 3.7, `{image}` has 3.11\n" in ended.stderr
    azure = "mcr.microsoft.com/azureml/minimal-ubuntu18.04-py37-cpu-inference:latest"
    rebuild = "bundler build shop --name app --bundle-version 1 --python 3.11"
    assert f"hint: pass `--base-image {azure}`, or build again: `{rebuild}`\n" in ended.stderr
    assert not (bundle.parent / "ctx").exists()


def test_an_image_with_an_older_glibc_is_refused(
    index: LocalIndex, warm_cli: BundlerCli, code: Path, tmp_path: Path
) -> None:
    new = make_elf(needed=["libc.so.6"], versions=[("libc.so.6", "GLIBC_2.34", "dlsym")])
    make_wheel(index.folder, "shop", "1.0", {"shop.py": "", "shop_data/libnew.so": new})
    bundle = Path(built_locked(warm_cli, "shop", "--target-glibc", "2.34", cwd=tmp_path)["path"])
    old = package(warm_cli, bundle, code, "--base-image", "minimal-ubuntu18.04-py37-cpu-inference", "-o", "a")
    fitting = package(warm_cli, bundle, code, "--base-image", "mine", "-o", "b")

    image = "minimal-ubuntu18.04-py37-cpu-inference"
    assert f"B503  the bundle needs glibc 2.34, `{image}` has 2.27" in old.stderr
    assert (old.returncode, fitting.returncode) == (10, 0)
    assert re.search(r"build again: `bundler build .* --target-glibc 2\.27`", old.stderr)
    assert "has glibc" not in fitting.stderr


@pytest.mark.parametrize("image", ["python:3.7-slim", "mine:3.11", "python:latest", "copy:1"])
def test_an_image_that_is_not_azures_is_assumed_to_start_alike(
    image: str, warm_cli: BundlerCli, bundle: Path, code: Path
) -> None:
    ended = package(warm_cli, bundle, code, "--base-image", image, "-o", "ctx")

    assert ended.returncode == 0, ended.stderr
    assert f"`{image}` is not checked, and assumed to start as Azure ML's images do" in ended.stderr


# Managed online endpoints


def test_the_files_of_a_managed_online_endpoint(
    warm_cli: BundlerCli, bundle: Path, code: Path, python37: Path
) -> None:
    out = context(warm_cli, bundle, code, "--azureml-v2", "--tag", "registry.example/team/app:7")
    environment, deployment = (
        load_yaml((out / name).read_text()) for name in ("environment.yml", "deployment.yml")
    )

    routes = {
        "liveness_route": {"path": "/", "port": 5001},
        "readiness_route": {"path": "/", "port": 5001},
        "scoring_route": {"path": "/score", "port": 5001},
    }
    assert environment == {
        "$schema": "https://azuremlschemas.azureedge.net/latest/environment.schema.json",
        "name": "app",
        "version": "1",
        "image": "registry.example/team/app:7",
        "inference_config": routes,
    }
    assert deployment == {
        "$schema": "https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json",
        "name": "blue",
        "endpoint_name": "app",
        "environment": {key: environment[key] for key in ("name", "image", "inference_config")},
        "environment_variables": json.loads((out / "context.json").read_text())["env"],
        "instance_type": "Standard_DS3_v2",
        "instance_count": 1,
    }
    checked = subprocess.run([python37, out / "verify.py"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "!azureml-app\n" in (out / ".dockerignore").read_text(), "docker build does not send them"


def test_the_files_of_an_endpoint_need_a_build_context(
    warm_cli: BundlerCli, bundle: Path, code: Path, tmp_path: Path
) -> None:
    ended = package(warm_cli, bundle, code, "--azureml-v2", "--image", "x.tar", "--base", str(bundle))

    assert ended.returncode == 2
    assert "`--azureml-v2` adds files to a build context" in ended.stderr


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("app", "app"),
        ("My_App.2", "my-app-2"),
        ("3d", "endpoint-3d"),
        ("a", "endpoint-a"),
        ("x" * 40, "x" * 32),
        (f"{'x' * 31}-y", "x" * 31),
    ],
)
def test_an_endpoint_has_a_valid_name(name: str, endpoint: str) -> None:
    text = endpoint_files(name, "1", "t:1", {})["deployment.yml"].decode()

    assert load_yaml(text)["endpoint_name"] == endpoint


@pytest.mark.online
def test_azure_mls_own_package_loads_the_files(
    warm_cli: BundlerCli, bundle: Path, code: Path, tmp_path: Path
) -> None:
    out = context(warm_cli, bundle, code, "--azureml-v2")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "azure"], check=True)
    python = tmp_path / "azure" / "bin" / "python"
    requires = ("azure-ai-ml==1.15.0", "marshmallow<3.24", "setuptools<70")
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requires]
    subprocess.run(install, check=True, capture_output=True)
    program = (
        "import sys\nfrom azure.ai.ml import load_environment, load_online_deployment\n"
        "environment = load_environment(sys.argv[1])\n"
        "deployment = load_online_deployment(sys.argv[2])\n"
        "print(environment.image, deployment.environment.image, deployment.endpoint_name,"
        " deployment.environment.inference_config.scoring_route.path)\n"
    )
    files = [out / name for name in ("environment.yml", "deployment.yml")]
    ended = subprocess.run([python, "-c", program, *files], capture_output=True, text=True, check=False)

    assert ended.stdout.split() == ["app:1", "app:1", "app", "/score"], ended.stderr


@pytest.mark.parametrize(
    ("content", "found", "saved"),
    [
        ("FROM python:3.7\n", "a Dockerfile", "python:3.7"),
        ("", "an empty file", "py37-cpu-inference:latest"),
        (None, "a bundle", "py37-cpu-inference:latest"),
    ],
)
def test_the_base_of_an_image_that_is_none_is_saved_by_the_hint(
    content: str | None, found: str, saved: str, warm_cli: BundlerCli, bundle: Path, code: Path
) -> None:
    base = bundle
    if content is not None:
        base = bundle.parent / "Dockerfile"
        base.write_text(content)
    ended = package(warm_cli, bundle, code, "--image", "img.tar", "--base", str(base))

    assert (ended.returncode, f"found   {found}" in ended.stderr) == (3, True)
    line = hint(ended)
    assert line.startswith("docker save -o base.tar ")
    assert line.partition(" && ")[0].endswith(saved)
    make_base(bundle.parent / "base.tar")
    followed = warm_cli.run(*shlex.split(line.partition(" && bundler ")[2]), cwd=bundle.parent)
    assert followed.returncode == 0, followed.stderr


def test_simulate_without_a_context_names_one_that_is_here(
    warm_cli: BundlerCli, bundle: Path, code: Path
) -> None:
    out = context(warm_cli, bundle, code)
    ended = warm_cli.run("simulate", cwd=out.parent)

    assert (ended.returncode, hint(ended)) == (2, "bundler simulate context")
    assert warm_cli.run("simulate", "context", cwd=out.parent).returncode == 0
    assert hint(warm_cli.run("simulate", cwd=out)) == "bundler simulate ."
    both = warm_cli.run("simulate", "context", "--app-root", ".", cwd=out.parent)
    assert hint(both) == "bundler simulate context"
    (out / "context.json").unlink()
    (out / "Dockerfile").unlink()
    assert hint(warm_cli.run("simulate", cwd=code)).endswith("--app-root . -e AZUREML_ENTRY_SCRIPT=score.py")
