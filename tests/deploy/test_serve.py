"""The real command starts a server that is made here, as the image starts its own."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cli import BundlerCli, built_locked
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import Ended
    from support.localindex import LocalIndex

SITE = "lib/python3.7/site-packages"
# A server that shows its start: no `__main__`, like the releases until 0.7.2.
SERVER = {
    "azureml_inference_server_http/__init__.py": "",
    "azureml_inference_server_http/amlserver.py": (
        "import json, os, sys\nimport jinja2, shared\n\n\ndef run():\n"
        "    sys.path.append('src')\n    import score\n"
        "    names = ('AML_APP_ROOT', 'PYTHONPATH')\n"
        "    env = {name: os.environ.get(name) for name in names}\n"
        "    print(json.dumps([sys.argv, shared.WHO, jinja2.V, os.getcwd(), env]))\n    return 3\n"
    ),
}


@pytest.fixture
def context(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> Path:
    """A context whose bundle has another version of a module of the server."""
    make_wheel(index.folder, "shared", "1.0", {"shared.py": "WHO = 'bundle'\n"})
    make_wheel(index.folder, "shared", "2.0", {"shared.py": "WHO = 'server'\n"})
    for version in ("0.4.14", "0.7.5", "0.7.6"):
        point = "[console_scripts]\nazmlinfsrv=azureml_inference_server_http.amlserver:run\n"
        make_wheel(
            index.folder,
            "azureml-inference-server-http",
            version,
            SERVER,
            requires=["shared", "Jinja2"],
            entry_points=point,
        )
    for version in ("3.0.3", "3.1.0"):
        make_wheel(index.folder, "Jinja2", version, {"jinja2.py": f"V = '{version}'\n"})
    code = tmp_path / "src"
    code.mkdir()
    (code / "score.py").write_text("import shared\ndef init(): pass\ndef run(data): return data\n")
    bundle = built_locked(warm_cli, "shared==1.0", cwd=tmp_path)["path"]
    args = ("--source-dir", "src", "--entry-script", "score.py", "--base-image", "mine:1", "-o", "context")
    ended = warm_cli.run("package", bundle, *args, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    return tmp_path / "context"


def test_a_malformed_version_is_an_error(warm_cli: BundlerCli, context: Path) -> None:
    ended = warm_cli.run("serve", str(context), "--server", "banana")

    assert (ended.returncode, "`--server banana` is not a version of" in ended.stderr) == (3, True)


def test_a_port_that_is_in_use_is_refused_before_anything_is_built(
    warm_cli: BundlerCli, context: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = warm_cli.run("serve", str(context), "--port", str(port))

    assert ended.returncode == 2
    assert f"port {port} is in use" in ended.stderr
    assert "layers" not in ended.stderr
    assert re.search(r"hint: --port \d+$", ended.stderr.strip())


def shown(ended: Ended) -> str:
    """Return the line in which the server shows its start."""
    return next(line for line in ended.stderr.splitlines() if line.startswith("[["))


@pytest.mark.parametrize(
    ("version", "jinja2", "has_root"),
    [("0.4.14", "3.0.3", False), ("0.7.5", "3.1.0", False), ("0.7.6", "3.1.0", True)],
)
def test_a_release_is_started_by_its_entry_point(
    version: str, jinja2: str, has_root: bool, warm_cli: BundlerCli, context: Path
) -> None:
    ended = warm_cli.run("serve", str(context), "--server", version, "--port", "5099")
    root = context / "azureml-app"
    argv, who, found, folder, env = json.loads(shown(ended))

    assert ended.returncode == 3, ended.stderr
    assert argv[1:] == ["--entry_script", "src/score.py", "--port", "5099"]
    assert Path(argv[0]).name == "azmlinfsrv"
    assert (who, found, folder) == ("bundle", jinja2, str(root))
    assert env["AML_APP_ROOT"] == (str(root) if has_root else None)
    assert env["PYTHONPATH"] == f"{root}/src/../bundle/{SITE}:"


def test_a_context_is_unchanged_after_it_was_served(warm_cli: BundlerCli, context: Path) -> None:
    """Python writes no bytecode beside the code: `verify.py` accepts the context, which may be transferred."""
    ended = warm_cli.run("serve", str(context), "--server", "0.7.6", "--port", "5099")
    assert ended.returncode == 3, ended.stderr

    verified = subprocess.run(
        [sys.executable, context / "verify.py"], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout


def test_the_last_word_is_about_the_script(warm_cli: BundlerCli, context: Path) -> None:
    script = context / "azureml-app/src/score.py"
    script.write_text("import shared\nraise OSError('no model')\n")
    ended = warm_cli.run("serve", str(context), "--server", "0.7.6", "--port", "5099")
    assert ended.returncode != 0
    last = ended.stderr.splitlines()[-2:]
    assert last[0].startswith("bundler: error: the server ended with exit code ")
    assert last[1] == "  found   OSError: no model"

    script.write_text("import shared\ndef init()\n    pass\n")
    ended = warm_cli.run("serve", str(context), "--python", "3.7")
    assert ended.returncode == 10
    assert "bundler: error: `src/score.py:2` is not valid Python" in ended.stderr


def test_another_python_than_the_contexts_is_refused(warm_cli: BundlerCli, context: Path) -> None:
    ended = warm_cli.run("serve", str(context), "--python", sys.executable)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"

    assert ended.returncode == 2
    assert f"is for Python 3.7, the server would run with {here}" in ended.stderr
    assert ended.stderr.strip().endswith("hint: --python 3.7")
