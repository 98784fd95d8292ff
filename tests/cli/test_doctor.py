"""The command ``doctor``: this machine, and the variables of a container."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.hints import suggested

if TYPE_CHECKING:
    from support.cli import BundlerCli, Ended


SITE = "lib/python3.7/site-packages"


def verdicts(ended: Ended, topic: str) -> list[tuple[str, str]]:
    checks: list[dict[str, Any]] = ended.json["result"]["checks"]
    for check in checks:
        assert bool(check["fix"]) == (check["verdict"] != "pass"), check
    return [(check["verdict"], check["fact"]) for check in checks if check["topic"] == topic]


def test_a_machine_that_can_build(bundler_cli: BundlerCli, python37: Path, tmp_path: Path) -> None:
    env = {"PYTHONPATH": "/x", "PIP_NO_DEPS": "1"}
    ended = bundler_cli.run("doctor", "--json", cwd=tmp_path, env=env)

    assert ended.returncode == 0, ended.stdout
    assert verdicts(ended, "python")[0][1].endswith(f" at {python37}")
    assert verdicts(ended, "settings") == [("pass", "without an effect on a bundle: PIP_NO_DEPS, PYTHONPATH")]
    ((verdict, fact),) = verdicts(ended, "index")
    assert (verdict, bundler_cli.env["PIP_INDEX_URL"] in fact, "of pip" in fact) == ("pass", True, True)
    # Each promise of the sandbox passes, or is one that is missing here.
    assert len(verdicts(ended, "sandbox")) == 4
    assert len(verdicts(ended, "disk")) == 3
    assert list(tmp_path.iterdir()) == []

    plain = bundler_cli.run("doctor", cwd=tmp_path, env=env)
    assert plain.stdout.splitlines()[-1].endswith(" 0 failed")
    assert plain.stdout.count("fix: ") == plain.stdout.count("\nwarn  ")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/simple", "https://me:hunter22@127.0.0.1:9/simple"])
def test_an_index_that_cannot_be_reached_fails_without_its_password(
    url: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run("doctor", "--json", cwd=tmp_path, env={"PIP_INDEX_URL": url})

    assert ended.returncode == 1
    assert [verdict for verdict, _ in verdicts(ended, "index")] == ["fail", "fail"]
    assert "hunter22" not in ended.stdout + ended.stderr


def test_a_damaged_store_is_noticed(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    bundler_cli.run("lock", "pip", "-q", cwd=tmp_path)
    blobs = [path for path in bundler_cli.store.rglob("blobs/*/*") if path.is_file()]
    blobs[0].chmod(0o644)
    blobs[0].write_bytes(b"x")
    ended = bundler_cli.run("doctor", "--json", cwd=tmp_path)

    assert ended.returncode == 0
    ((verdict, fact),) = verdicts(ended, "store")
    assert (verdict, "1 of them touched" in fact) == ("warn", True)
    # Its fix: the damaged file is set aside.
    bundler_cli.run("store", "fsck")
    (first, second) = verdicts(bundler_cli.run("doctor", "--json", cwd=tmp_path), "store")
    assert (first[0], second) == ("pass", ("warn", "1 damaged file set aside, and made again when needed"))


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The directory of the documents' question: the requirements are in that of the registered model."""
    (tmp_path / "mymodel/deps").mkdir(parents=True)
    (tmp_path / "mymodel/requirements.txt").touch()
    (tmp_path / "main.py").write_text("def init(): pass\ndef run(data): return data\n")
    return tmp_path


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (
            "AZUREML_EXTRA_REQUIREMENTS_TXT=requirements.txt",
            "AZUREML_EXTRA_REQUIREMENTS_TXT=mymodel/requirements.txt",
        ),
        (
            "AZUREML_EXTRA_REQUIREMENTS_TXT=model/requirements.txt",
            "AZUREML_EXTRA_REQUIREMENTS_TXT=mymodel/requirements.txt",
        ),
        ("AZUREML_EXTRA_PYTHON_LIB_PATH=deps", "AZUREML_EXTRA_PYTHON_LIB_PATH=mymodel/deps"),
        ("AZUREML_EXTRA_PYTHON_LIB_PATH=/deps", "AZUREML_EXTRA_PYTHON_LIB_PATH=mymodel/deps"),
    ],
)
def test_why_requirements_are_not_found_in_the_container(
    wrong: str, right: str, app: Path, bundler_cli: BundlerCli
) -> None:
    ended = bundler_cli.run("doctor", "--container", "-e", wrong, cwd=app)

    assert ended.returncode == 1
    assert f"      fix: -e {right}\n" in ended.stdout
    followed = bundler_cli.run("doctor", "--container", "-e", right, "--json", cwd=app)
    name, _, path = right.partition("=")
    assert verdicts(followed, "variables") == [("pass", f"{name} is /var/azureml-app/{path}")]


def test_a_path_is_relative_to_the_entry_script(app: Path, bundler_cli: BundlerCli) -> None:
    (app / "code").mkdir()
    (app / "main.py").rename(app / "code/main.py")
    args = ("doctor", "--container", "-e", "AZUREML_ENTRY_SCRIPT=code/main.py", "-e")
    ended = bundler_cli.run(*args, "AZUREML_EXTRA_PYTHON_LIB_PATH=mymodel/deps", cwd=app)

    assert "fix: -e AZUREML_EXTRA_PYTHON_LIB_PATH=../mymodel/deps\n" in ended.stdout
    assert bundler_cli.run(*args, "AZUREML_EXTRA_PYTHON_LIB_PATH=../mymodel/deps", cwd=app).returncode == 0


def test_a_variable_that_is_missing_or_misspelt(app: Path, bundler_cli: BundlerCli) -> None:
    ended = bundler_cli.run(
        "doctor", "--container", "-e", "AZUREML_EXTRA_REQUIREMENT_TXT=mymodel/requirements.txt", cwd=app
    )

    assert ended.stdout.startswith("warn  variables no variable names a requirements.txt")
    assert "did you mean `AZUREML_EXTRA_REQUIREMENTS_TXT`" in ended.stdout
    assert bundler_cli.run("doctor", "-e", "A=b", cwd=app).returncode == 2


@pytest.mark.parametrize("command", ["doctor --container", "simulate"])
@pytest.mark.parametrize("root", ["ctx", "ctx/azureml-app/code", "."])
def test_a_build_context_is_not_an_application_root(
    command: str, root: str, tmp_path: Path, bundler_cli: BundlerCli
) -> None:
    app = tmp_path / "ctx/azureml-app"
    (app / "bundle/lib/python3.7/site-packages/x-1.dist-info").mkdir(parents=True)
    (app / "code").mkdir()
    (app / "code/score.py").write_text("def init(): pass\ndef run(data): return data\n")
    (tmp_path / "ctx/Dockerfile").write_text("FROM x\n")
    (tmp_path / "ctx/context.json").write_text("{}")
    env = ("AZUREML_ENTRY_SCRIPT=code/score.py", f"AZUREML_EXTRA_PYTHON_LIB_PATH=../bundle/{SITE}")
    words = [*command.split(), "-e", env[0], "-e", env[1], "--app-root", root]
    ended = bundler_cli.run(*words, cwd=tmp_path)

    assert ended.returncode == 3
    assert suggested(ended) == [*words[:-1], "ctx/azureml-app"]
    assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0


def test_a_fix_is_never_the_value_that_was_typed(app: Path, bundler_cli: BundlerCli) -> None:
    (app / "deps").write_text("a file of the name")
    ended = bundler_cli.run("doctor", "--container", "-e", "AZUREML_EXTRA_PYTHON_LIB_PATH=deps", cwd=app)

    assert (ended.returncode, "fix: -e AZUREML_EXTRA_PYTHON_LIB_PATH=deps\n" in ended.stdout) == (1, False)
