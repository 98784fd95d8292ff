"""``Model.get_model_path`` in a container without azureml-core: the rules of the original, on Python 3.7."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bundler.target.scripts import script

ASK = """
import json, sys
from azureml.core.model import Model
from azureml.core import Model as Same
assert Same is Model
found = []
for name, version in json.loads(sys.argv[1]):
    try:
        found.append(Model.get_model_path(name, version))
    except Exception as error:
        found.append("%s: %s" % (type(error).__name__, error))
print(json.dumps(found))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An application root as `bundler package` writes it, with models."""
    root = tmp_path / "azureml-app"
    core = root / "azureml" / "core"
    core.mkdir(parents=True)
    (root / "azureml" / "__init__.py").write_text(
        "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    )
    (core / "__init__.py").write_text("from azureml.core.model import Model\n")
    shutil.copyfile(script("model_path"), core / "model.py")
    for name, version, entry in (
        ("iris", "2", "model.pkl"),
        ("iris", "10", "other.pkl"),
        ("many", "1", "a"),
        ("many", "1", "b"),
    ):
        folder = root / "azureml-models" / name / version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / entry).touch()
    (root / "azureml-models" / "folder" / "1" / "saved").mkdir(parents=True)
    (root / "local.pkl").touch()
    models: dict[str, dict[str, str]] = {f"iris:{version}": {} for version in (2, 10)}
    (root / "model_config_map.json").write_text(json.dumps({"modelsInfo": models}))
    return root


def answers(
    python: Path, root: Path, asked: list[tuple[str, int | None]], cwd: Path, env: dict[str, str]
) -> list[str]:
    ended = subprocess.run(
        [python, "-c", ASK, json.dumps(asked)],
        cwd=cwd,
        env={"PYTHONPATH": str(root), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[str] = json.loads(ended.stdout)
    return found


ASKED: list[tuple[str, int | None]] = [
    ("iris", None),
    ("iris", 2),
    ("folder", None),
    ("local.pkl", None),
    ("iris", 3),
    ("unknown", None),
    ("many", 1),
]


def test_a_model_is_found_by_name_and_version(python37: Path, root: Path) -> None:
    models = root / "azureml-models"
    found = answers(python37, root, ASKED, root, {"AML_APP_ROOT": str(root)})

    assert found[:4] == [
        str(models / "iris" / "10" / "other.pkl"),
        str(models / "iris" / "2" / "model.pkl"),
        str(models / "folder" / "1" / "saved"),
        "local.pkl",
    ]
    assert found[4] == "FileNotFoundError: model `iris:3` not found; known: iris:10, iris:2"
    assert found[5] == "FileNotFoundError: model `unknown` not found; known: iris:10, iris:2"
    assert found[6].startswith("ValueError: ")
    assert found[6].endswith("contains 2 entries, expected one file or directory")


def test_the_models_beside_the_module_are_found_from_anywhere(
    python37: Path, root: Path, tmp_path: Path
) -> None:
    (found,) = answers(python37, root, [("iris", 2)], tmp_path, {})

    assert found == str(root / "azureml-models" / "iris" / "2" / "model.pkl")


def test_the_root_of_the_variable_goes_first(python37: Path, root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "azureml-models" / "iris" / "2"
    other.mkdir(parents=True)
    (other / "mine.pkl").touch()
    found = answers(python37, root, [("iris", None)], root, {"AML_APP_ROOT": str(tmp_path / "other")})

    assert found == [str(other / "mine.pkl")]
