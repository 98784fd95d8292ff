"""The main job on real packages from the real index, as users meet them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import BundlerCli

pytestmark = [pytest.mark.online, pytest.mark.xdist_group("online")]

EXAMPLE = Path(__file__).parent.parent / "examples" / "sklearn-score"
SITE = "lib/python3.7/site-packages"


def built(cli: BundlerCli, *args: str, cwd: Path) -> dict[str, Any]:
    ended = cli.run("build", "--json", *args, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = ended.json["result"]
    return result


def test_the_example_scores_with_the_target_python_and_pythonpath_alone(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    result = built(online_cli, "-r", str(EXAMPLE / "requirements.txt"), cwd=tmp_path)
    assert Path(result["path"]).name.startswith("sklearn-score-")
    assert result["distributions"]["pandas"] == "1.3.5"
    assert result["distributions"]["numpy"] == "1.21.6"

    moved = tmp_path / "moved ä"
    assert online_cli.run("unpack", result["path"], str(moved)).returncode == 0
    shutil.copy(EXAMPLE / "score.py", tmp_path / "score.py")
    code = "import score; score.init(); print(score.run('{\"data\": [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]}'))"
    said = subprocess.run(
        [python37, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(moved / SITE)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said == "['setosa', 'virginica']\n"
    assert online_cli.run("verify", str(moved)).returncode == 0


def test_two_stores_make_one_file_of_real_packages(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    requirements = ("numpy", "pandas", "scikit-learn", "flask", "requests")
    assert online_cli.run("lock", *requirements, "-o", "pylock.toml", cwd=tmp_path).returncode == 0
    first = built(online_cli, "--lock", "pylock.toml", "--name", "app", "-o", "one", cwd=tmp_path)
    second = built(
        online_cli,
        *("--lock", "pylock.toml", "--name", "app", "-o", "two", "--store", str(tmp_path / "store two")),
        cwd=tmp_path,
    )

    assert first["sha256"] == second["sha256"]
    assert {module["status"] for way in first["verification"]["ways"].values() for module in way} == {"ok"}
    assert first["network"] == "namespace"


def test_the_inference_server_and_its_source_distribution(
    online_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """wrapt 1.12.1 has no wheel for 3.7; two projects share the namespace package opencensus."""
    result = built(
        online_cli,
        "azureml-inference-server-http==0.8.4.2",
        "--name",
        "server",
        "--format",
        "dir",
        cwd=tmp_path,
    )

    assert result["built_here"] == ["wrapt"]
    root = Path(result["path"])
    env = {"PATH": f"{python37.parent}:/usr/bin:/bin", "AML_APP_ROOT": str(tmp_path)}
    # Its help ends with 1 on 3.7, however it is started; what counts is what it says.
    said = subprocess.run(
        [root / "bin" / "azmlinfsrv", "--help"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "--entry_script" in said
    (wrapt,) = (item for item in _manifest(result)["distributions"] if item["name"] == "wrapt")
    assert wrapt["built_here"]["from"] == "wrapt-1.12.1.tar.gz"
    assert "setuptools-68.0.0" in wrapt["built_here"]["requires"]


def _manifest(result: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(Path(result["manifest"]).read_text("utf-8"))
    return values
