"""Predictions of the start of Azure ML's images: each rule, each exit code, and the real server beside it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from support.facts import base_of

from bundler.base_image.profile import BaseProfile
from bundler.data.azure_image import (
    EXIT_CODES,
    EXTRA_SOURCES,
    IMAGE_VARIANTS,
    MISSPELT,
    VARIABLES,
    image_variant,
)
from bundler.data.finding_rules import rules_by_code
from bundler.deploy.startup.entry_script import read_script
from bundler.deploy.startup.files import AppFiles, FolderFiles, dockerfile_env, locate, open_context
from bundler.deploy.startup.simulate import (
    BASE_MODULES,
    STDLIB,
    Boot,
    check_start,
    render_start,
    simulate_start,
)
from bundler.deploy.startup.variables import profile_of
from bundler.digest import sha256_of
from bundler.errors import InputError
from bundler.oci.filetree import App, AppFile, AppLayer
from bundler.paths import archive_path

ROOT = "/var/azureml-app"
OK = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"
SCORE = {"code/score.py": OK}
SITE = "lib/python3.7/site-packages"
BUNDLE = {f"bundle/{SITE}/six.py": "", f"bundle/{SITE}/six-1.16.0.dist-info/METADATA": ""}
ENTRY = {"AZUREML_ENTRY_SCRIPT": "code/score.py"}
LIB = {"AZUREML_EXTRA_PYTHON_LIB_PATH": f"../bundle/{SITE}"}
REQUIREMENTS = {"AZUREML_EXTRA_REQUIREMENTS_TXT": "requirements.txt"}
WHEELS = {"wheelhouse/six-1.16.0-py2.py3-none-any.whl": "", "code/requirements.txt": "six==1.16.0\n"}
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{ROOT}/wheelhouse"}
CONDA = {"AZUREML_EXTRA_CONDA_YAML": "env.yml"}
MODEL = "azureml-models/iris/1"


def write(folder: Path, tree: Mapping[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def app(tree: Mapping[str, str]) -> AppFiles:
    """An application of one layer; most tests need no disk."""

    def file(path: str, text: str) -> AppFile:
        content = text.encode()
        return AppFile(
            path=archive_path(path),
            mode=0o644,
            size=len(content),
            sha256=sha256_of(content),
            chunks=lambda: [content],
        )

    files = tuple(file(path, tree[path]) for path in sorted(tree))
    layer = AppLayer(comment="all", files=files)
    return AppFiles(App(layers=(layer,), env={}, user="", command=(), port=0, epoch=0, labels={}))


def codes(boot: Boot) -> list[str]:
    return [one.code for one in boot.findings]


# Settings without findings.


def test_a_bundle_beside_the_code() -> None:
    """The layout that bundler writes: every path, and sys.path as the real server was seen to have it."""
    env = {**ENTRY, **LIB, "AZUREML_SOURCE_DIRECTORY": "code", "AZUREML_MODEL_DIR": f"{ROOT}/{MODEL}"}
    boot = simulate_start(env, app({**SCORE, **BUNDLE, f"{MODEL}/model.pkl": ""}))

    assert (boot.exit_code, boot.findings, boot.ok) == (0, (), True)
    assert boot.resolved == {
        "AML_APP_ROOT": ROOT,
        "AZUREML_ENTRY_SCRIPT": f"{ROOT}/code/score.py",
        "AZUREML_SOURCE_DIRECTORY": f"{ROOT}/code",
        "AZUREML_MODEL_DIR": f"{ROOT}/{MODEL}",
        "AZUREML_EXTRA_PYTHON_LIB_PATH": f"{ROOT}/bundle/{SITE}",
    }
    assert boot.sys_path[1:] == (f"{ROOT}/bundle/{SITE}", ROOT, STDLIB, BASE_MODULES, f"{ROOT}/code")
    assert boot.installs == ""


def test_the_lines_are_numbered_and_end_with_the_exit_code() -> None:
    boot = simulate_start({**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "code/lib"}, app(SCORE))

    assert render_start(boot) == (
        f" 1  ok    the directory of the entry script: {ROOT}/code",
        f" 2  FAIL  `AZUREML_EXTRA_PYTHON_LIB_PATH` leads to `{ROOT}/code/code/lib`: it does not exist",
        f"AML_APP_ROOT = {ROOT}",
        f"AZUREML_ENTRY_SCRIPT = {ROOT}/code/score.py",
        f"AZUREML_EXTRA_PYTHON_LIB_PATH = {ROOT}/code/code/lib",
        "exit code 97: the directory of AZUREML_EXTRA_PYTHON_LIB_PATH does not exist",
    )


RIGHT: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "default script": ({"main.py": OK}, {}),
    "empty is as unset": (
        {"main.py": OK},
        {"AZUREML_ENTRY_SCRIPT": "", "AML_APP_ROOT": "", "AZUREML_EXTRA_PYTHON_LIB_PATH": ""},
    ),
    "beside the script": (
        {"score.py": OK, f"myenv/{SITE}/six-1.dist-info/METADATA": ""},
        {"AZUREML_ENTRY_SCRIPT": "score.py", "AZUREML_EXTRA_PYTHON_LIB_PATH": f"myenv/{SITE}"},
    ),
    "requirements from wheels": ({**SCORE, **WHEELS}, {**ENTRY, **REQUIREMENTS, **OFFLINE}),
    "requirements beside code": (
        {**SCORE, "wheelhouse/requirements.txt": "# none\n"},
        {**ENTRY, "AZUREML_EXTRA_REQUIREMENTS_TXT": "../wheelhouse/requirements.txt"},
    ),
    "options of the file": (
        {
            **SCORE,
            **WHEELS,
            "code/requirements.txt": "--no-index\n-f ../wheelhouse\nsix==1.16.0 \\\n --hash=sha256:0\n",
        },
        {**ENTRY, **REQUIREMENTS},
    ),
    "pip.conf": (
        {
            **SCORE,
            **WHEELS,
            "pip.conf": f"[global]\nno_index = yes\n[install]\nfind-links =\n  {ROOT}/wheelhouse\n",
        },
        {**ENTRY, **REQUIREMENTS, "PIP_CONFIG_FILE": f"{ROOT}/pip.conf"},
    ),
    "a marker is the target's": (
        {**SCORE, **WHEELS, "code/requirements.txt": "dataclasses==0.8 ; python_version < '3.7'\n"},
        {**ENTRY, **REQUIREMENTS, **OFFLINE},
    ),
    "sdists": (
        {
            **SCORE,
            "wheelhouse/wrapt-1.12.1.tar.gz": "",
            "wheelhouse/x": "",
            "code/requirements.txt": "wrapt==1.12.1",
        },
        {**ENTRY, **REQUIREMENTS, **OFFLINE},
    ),
    "sibling": (
        {"code/score.py": "import helper\n" + OK, "code/helper.py": ""},
        {**ENTRY, "AZUREML_SOURCE_DIRECTORY": "code"},
    ),
    "sibling below the root": (
        {"app/score.py": "from app.helper import x\n" + OK, "app/helper.py": "x = 1"},
        {"AZUREML_ENTRY_SCRIPT": "app/score.py"},
    ),
    "absolute source": (
        {"code/score.py": "import helper\n" + OK, "code/helper.py": ""},
        {**ENTRY, "AZUREML_SOURCE_DIRECTORY": f"{ROOT}/code"},
    ),
    "sibling named like the standard library": (
        {"code/score.py": "import json\n" + OK, "code/json.py": ""},
        ENTRY,
    ),
    "config": ({**SCORE, "config.json": '{"SCORING_TIMEOUT_MS": "5", "scoring_timeout": 5}'}, ENTRY),
    "empty config": ({**SCORE, "config.json": ""}, ENTRY),
    "config behind a variable": (
        {**SCORE, "config.json": '{"scoring_timeout": "x"}'},
        {**ENTRY, "SCORING_TIMEOUT_MS": "5"},
    ),
    "debugpy in the bundle": (
        {**SCORE, **BUNDLE, f"bundle/{SITE}/debugpy/__init__.py": ""},
        {**ENTRY, **LIB, "AZUREML_DEBUG_PORT": "5678"},
    ),
    "debugpy may be installed": (
        {**SCORE, **WHEELS},
        {**ENTRY, **REQUIREMENTS, **OFFLINE, "AZUREML_DEBUG_PORT": "5678"},
    ),
    "a backport of what 3.7 has not": (
        {**SCORE, **BUNDLE, f"bundle/{SITE}/graphlib/__init__.py": ""},
        {**ENTRY, **LIB},
    ),
    "a namespace like the standard library": (
        {"code/score.py": OK, **BUNDLE, f"bundle/{SITE}/concurrent/x.py": ""},
        {**ENTRY, **LIB},
    ),
    "other variables": (SCORE, {**ENTRY, "PYTHONHASHSEED": "0", "AZUREML_RUN_ID": "x", "PATH": "/bin"}),
    "switches": (SCORE, {**ENTRY, "AML_FLASK_ONE_COMPATIBILITY": "On", "WORKER_COUNT": "2"}),
    "an MLflow model": (
        {**SCORE, f"{MODEL}/model/MLmodel": "", f"{MODEL}/model/requirements.txt": "six==1"},
        {**ENTRY, "AZUREML_MODEL_DIR": MODEL},
    ),
}


@pytest.mark.parametrize(("tree", "env"), RIGHT.values(), ids=RIGHT.keys())
def test_nothing_is_found(tree: dict[str, str], env: dict[str, str]) -> None:
    boot = simulate_start(env, app(tree))

    assert (boot.exit_code, codes(boot)) == (0, [])


# What ends the image. Each row: files, variables, exit code, the finding.

Row = tuple[dict[str, str], dict[str, str], int, str]


def script(text: str) -> dict[str, str]:
    return {"code/score.py": text}


ENDS: dict[str, Row] = {
    "97 not there": (SCORE, {**ENTRY, **LIB}, 97, "D601"),
    "97 a file": (
        {**SCORE, "code/lib": ""},
        {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "lib"},
        97,
        "D601",
    ),
    "97 absolute": (
        {**SCORE, **BUNDLE},
        {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": f"{ROOT}/bundle/{SITE}"},
        97,
        "D601",
    ),
    "97 doubled folder": (
        {**SCORE, "code/lib/x.dist-info/METADATA": ""},
        {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "code/lib"},
        97,
        "D601",
    ),
    "97 absolute script": (
        {**SCORE, "code/lib/x.dist-info/METADATA": ""},
        {"AZUREML_ENTRY_SCRIPT": f"{ROOT}/code/score.py", "AZUREML_EXTRA_PYTHON_LIB_PATH": "lib"},
        97,
        "D601",
    ),
    "97 dots through nothing": (
        {**SCORE, **BUNDLE},
        {"AZUREML_ENTRY_SCRIPT": "cod/score.py", **LIB},
        97,
        "D601",
    ),
    "97 before 99": (SCORE, {**ENTRY, **LIB, **REQUIREMENTS}, 97, "D601"),
    "97 relative root": (
        {**SCORE, **BUNDLE},
        {**ENTRY, **LIB, "AML_APP_ROOT": "var/azureml-app"},
        97,
        "D601",
    ),
    "98 not there": (SCORE, {**ENTRY, **CONDA}, 98, "D601"),
    "98 before 99": (SCORE, {**ENTRY, **CONDA, **REQUIREMENTS}, 98, "D601"),
    "98 absolute path": (
        {**SCORE, "code/env.yml": ""},
        {**ENTRY, **CONDA, "AZUREML_EXTRA_CONDA_YAML_ABS_PATH": f"{ROOT}/env.yml"},
        98,
        "D601",
    ),
    "95 conda": ({**SCORE, "code/env.yml": ""}, {**ENTRY, **CONDA}, 95, "D602"),
    "95 conda, absolute": (
        {**SCORE, "code/env.yml": ""},
        {**ENTRY, "AZUREML_EXTRA_CONDA_YAML_ABS_PATH": f"{ROOT}/code/env.yml"},
        95,
        "D602",
    ),
    "99 not there": (SCORE, {**ENTRY, **REQUIREMENTS}, 99, "D601"),
    "99 in the root": ({**SCORE, "requirements.txt": ""}, {**ENTRY, **REQUIREMENTS}, 99, "D601"),
    "95 no folder": ({**SCORE, **WHEELS}, {**ENTRY, **REQUIREMENTS}, 95, "D602"),
    "95 no folder there": (
        {**SCORE, "code/requirements.txt": "six==1.16.0"},
        {**ENTRY, **REQUIREMENTS, **OFFLINE},
        95,
        "D602",
    ),
    "95 relative folder": (
        {**SCORE, **WHEELS},
        {**ENTRY, **REQUIREMENTS, **OFFLINE, "PIP_FIND_LINKS": "wheelhouse"},
        95,
        "D602",
    ),
    "95 folder on the network": (
        {**SCORE, **WHEELS},
        {**ENTRY, **REQUIREMENTS, "PIP_FIND_LINKS": "https://index.example/wheels"},
        95,
        "D602",
    ),
    "95 no wheel": (
        {**SCORE, **WHEELS, "code/requirements.txt": "Six==1.15.0\n"},
        {**ENTRY, **REQUIREMENTS, **OFFLINE},
        95,
        "D602",
    ),
    "95 a URL": (
        {**SCORE, **WHEELS, "code/requirements.txt": "six @ https://index.example/six-1.16.0.tar.gz\n"},
        {**ENTRY, **REQUIREMENTS, **OFFLINE},
        95,
        "D602",
    ),
    "95 other switch": (
        {**SCORE, **WHEELS},
        {**ENTRY, **REQUIREMENTS, "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": ""},
        95,
        "D602",
    ),
    "94": (SCORE, {**ENTRY, "AZUREML_DEBUG_PORT": "5678"}, 94, "D607"),
    "1 enum34": ({**SCORE, **BUNDLE, f"bundle/{SITE}/enum/__init__.py": ""}, {**ENTRY, **LIB}, 1, "M101"),
    "1 enum in the root": ({**SCORE, **BUNDLE, "enum.py": ""}, {**ENTRY, **LIB}, 1, "D610"),
    "1 workers": (SCORE, {**ENTRY, "WORKER_COUNT": "two"}, 1, "D606"),
    "1 workers, empty": (SCORE, {**ENTRY, "WORKER_COUNT": ""}, 1, "D606"),
    "2 timeout": (SCORE, {**ENTRY, "WORKER_TIMEOUT": "5m"}, 2, "D606"),
    "3 number": (SCORE, {**ENTRY, "SCORING_TIMEOUT_MS": "1s"}, 3, "D606"),
    "3 switch": (SCORE, {**ENTRY, "AML_FLASK_ONE_COMPATIBILITY": "maybe"}, 3, "D606"),
    "3 config not JSON": ({**SCORE, "code/config.json": "{"}, ENTRY, 3, "D606"),
    "3 config no object": ({**SCORE, "config.json": "[1]"}, ENTRY, 3, "D606"),
    "3 config value": ({**SCORE, "config.json": '{"scoring_timeout": "x"}'}, ENTRY, 3, "D606"),
    "3 config by name": (
        {**SCORE, "s.json": '{"AML_FLASK_ONE_COMPATIBILITY": 7}'},
        {**ENTRY, "AZUREML_CONFIG_FILE": "s.json"},
        3,
        "D606",
    ),
    "3 no Python": (script("def init()\n    pass\n"), ENTRY, 3, "U301"),
    "3 NUL": (script("\0"), ENTRY, 3, "U301"),
    "3 no script": ({}, ENTRY, 3, "D603"),
    "3 no default script": (SCORE, {}, 3, "D603"),
    "3 leading slash": (SCORE, {"AZUREML_ENTRY_SCRIPT": "/code/score.py"}, 3, "D603"),
    "3 leading slash, with packages": (
        {**SCORE, **BUNDLE},
        {"AZUREML_ENTRY_SCRIPT": "/code/score.py", **LIB},
        3,
        "D603",
    ),
    "3 a folder": (SCORE, {"AZUREML_ENTRY_SCRIPT": "code"}, 3, "D603"),
    "3 no .py": ({"code/score.txt": OK}, {"AZUREML_ENTRY_SCRIPT": "code/score.txt"}, 3, "D603"),
    "3 no root": (SCORE, {**ENTRY, "AML_APP_ROOT": f"{ROOT}/src"}, 3, "D609"),
    "3 relative root": (SCORE, {**ENTRY, "AML_APP_ROOT": "var"}, 3, "D609"),
    "3 no init": (script("def run(data): pass\n"), ENTRY, 3, "U302"),
    "3 no run": (script("def init(): pass\n"), ENTRY, 3, "U302"),
    "3 run in a class": (script("class A:\n def init(): pass\n def run(d): pass\n"), ENTRY, 3, "U302"),
    "3 run with stars": (script("def init(): pass\ndef run(*data): pass\n"), ENTRY, 3, "D604"),
    "3 run with keywords": (script("def init(): pass\ndef run(data, **more): pass\n"), ENTRY, 3, "D604"),
    "3 run without data": (script("def init(): pass\ndef run(): pass\n"), ENTRY, 3, "D604"),
    "3 run with headers alone": (
        script("def init(): pass\ndef run(request_headers): pass\n"),
        ENTRY,
        3,
        "D604",
    ),
    "3 init with data": (script("def init(path): pass\ndef run(data): pass\n"), ENTRY, 3, "D604"),
    "3 init with a keyword": (script("def init(*, path): pass\ndef run(data): pass\n"), ENTRY, 3, "D604"),
    "3 relative import": (script("from . import helper\n" + OK), ENTRY, 3, "U303"),
    "3 sibling": ({**script("import helper.x\n" + OK), "code/helper/x.py": ""}, ENTRY, 3, "D605"),
    "3 sibling elsewhere": (
        {**script("from helper import x\n" + OK), "code/helper.py": "", "src/x.py": ""},
        {**ENTRY, "AZUREML_SOURCE_DIRECTORY": "src"},
        3,
        "D605",
    ),
    "3 sibling before a missing function": (
        {**script("import helper\n"), "code/helper.py": ""},
        ENTRY,
        3,
        "D605",
    ),
}


@pytest.mark.parametrize(("tree", "env", "exit_code", "code"), ENDS.values(), ids=ENDS.keys())
def test_the_image_ends(tree: dict[str, str], env: dict[str, str], exit_code: int, code: str) -> None:
    boot = simulate_start(env, app(tree))

    assert boot.exit_code == exit_code
    assert code in codes(boot)
    assert not boot.ok
    assert [step.ok for step in boot.steps] == [True] * (len(boot.steps) - 1) + [False]


def test_a_leading_slash_is_taken_off_for_the_folder_alone() -> None:
    boot = simulate_start({"AZUREML_ENTRY_SCRIPT": "/code/score.py"}, app(SCORE))

    assert boot.steps[0].detail == f"{ROOT}/code"
    assert boot.resolved["AZUREML_ENTRY_SCRIPT"] == "/code/score.py"


def test_the_image_has_no_server() -> None:
    """A plain base: conda asks for the server (96), newer scripts do (100), older ones just start it (127)."""
    tree = {**SCORE, "code/env.yml": ""}

    assert simulate_start({**ENTRY, **CONDA}, app(tree), server=False, offline=False).exit_code == 96
    assert simulate_start(ENTRY, app(tree), server=False, profile="stripped").exit_code == 100
    assert simulate_start(ENTRY, app(tree), server=False).exit_code == 127


def test_every_exit_code_is_reached() -> None:
    reached = {row[2] for row in ENDS.values()} | {0, 96, 100, 127}

    assert reached == set(EXIT_CODES)


# What works by luck.

DOUBTS: dict[str, tuple[dict[str, str], dict[str, str], list[str]]] = {
    "misspelt in the pages": (
        SCORE,
        {**ENTRY, "AZUREML_EXTRA_REQUIRMENTS_TXT": "requirements.txt"},
        ["D611"],
    ),
    "misspelt": (SCORE, {**ENTRY, "AZURML_EXTRA_PYTHON_LIB_PATH": "x"}, ["D611"]),
    "lower case": (SCORE, {**ENTRY, "azureml_model_dir": "x"}, ["D611"]),
    "two ways": (
        {**SCORE, **BUNDLE},
        {**ENTRY, **LIB, **REQUIREMENTS},
        ["D612"],
    ),
    "no distribution": (
        {**SCORE, "code/lib/six.py": ""},
        {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "lib"},
        ["D614"],
    ),
    "sibling in a function": (
        {"code/score.py": OK + "    import helper\n", "code/helper.py": ""},
        ENTRY,
        ["D629"],
    ),
    "another Python": (
        {**SCORE, "code/myenv/lib/python3.8/site-packages/six-1.dist-info/METADATA": ""},
        {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "myenv/lib/python3.8/site-packages"},
        ["D615"],
    ),
    "absolute script": (SCORE, {"AZUREML_ENTRY_SCRIPT": f"{ROOT}/code/score.py"}, ["D616"]),
    "packages outside": (SCORE, {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "../../../opt/lib"}, ["D616"]),
    "script outside": ({}, {"AZUREML_ENTRY_SCRIPT": "/opt/score.py"}, ["D616"]),
    "models outside": (SCORE, {**ENTRY, "AZUREML_MODEL_DIR": "/mnt/models"}, ["D616"]),
    "wheels outside": (
        {**SCORE, **WHEELS},
        {**ENTRY, **REQUIREMENTS, **OFFLINE, "PIP_FIND_LINKS": "file:///srv/wheels"},
        [],
    ),
    "no model": (SCORE, {**ENTRY, "AZUREML_MODEL_DIR": MODEL}, ["D617"]),
    "script in a model": (
        {f"{MODEL}/m/score.py": OK},
        {"AZUREML_ENTRY_SCRIPT": f"{MODEL}/m/score.py"},
        ["D618", "D618"],
    ),
    "requirements in a model": (
        {**SCORE, f"{MODEL}/m/requirements.txt": ""},
        ENTRY,
        ["D618"],
    ),
    "packages in a model": ({**SCORE, f"{MODEL}/m/env/{SITE}/x.py": ""}, ENTRY, ["D618"]),
    "a way into a model": (
        {**SCORE, f"{MODEL}/m/x.dist-info/METADATA": ""},
        {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": f"../{MODEL}/m"},
        ["D618"],
    ),
    "model in the source": (
        {"azureml-models/score.py": OK, f"{MODEL}/m.pkl": ""},
        {"AZUREML_ENTRY_SCRIPT": "azureml-models/score.py", "AZUREML_SOURCE_DIRECTORY": "azureml-models"},
        ["D618"],
    ),
    "the root as source": (
        {"score.py": OK, f"{MODEL}/m.pkl": ""},
        {"AZUREML_ENTRY_SCRIPT": "score.py", "AZUREML_SOURCE_DIRECTORY": "."},
        [],
    ),
    ".pth": ({**SCORE, **BUNDLE, f"bundle/{SITE}/x-nspkg.pth": ""}, {**ENTRY, **LIB}, ["D619"]),
    "config of a model": ({**SCORE, "code/config.json": '{"model_type": "bert"}'}, ENTRY, ["D620"]),
    "an index first": (
        {**SCORE, **WHEELS},
        {**ENTRY, **REQUIREMENTS, "PIP_FIND_LINKS": f"{ROOT}/wheelhouse"},
        ["D621"],
    ),
    "no source": (SCORE, {**ENTRY, "AZUREML_SOURCE_DIRECTORY": "src"}, ["D623"]),
    "no folder": (SCORE, {**ENTRY, "PYTHONPATH": f"{ROOT}/lib"}, ["D623"]),
    "no configuration": (SCORE, {**ENTRY, "AZUREML_CONFIG_FILE": "nope.json"}, ["D623"]),
    "tools": (
        {**SCORE, **BUNDLE, f"bundle/{SITE}/pip/__init__.py": ""},
        {**ENTRY, **LIB},
        ["D624"],
    ),
    "name of the script": (
        {"code/my-score.py": OK},
        {"AZUREML_ENTRY_SCRIPT": "code/my-score.py"},
        ["D626"],
    ),
    "keyword": ({"code/class.py": OK}, {"AZUREML_ENTRY_SCRIPT": "code/class.py"}, ["D626"]),
    "code hides code": ({**SCORE, **BUNDLE, "code/__init__.py": ""}, {**ENTRY, **LIB}, ["D610"]),
}


@pytest.mark.parametrize(("tree", "env", "expected"), DOUBTS.values(), ids=DOUBTS.keys())
def test_it_starts_with_doubts(tree: dict[str, str], env: dict[str, str], expected: list[str]) -> None:
    boot = simulate_start(env, app(tree))

    assert (boot.exit_code, codes(boot), boot.ok) == (0, expected, True)


CERTAIN: dict[str, tuple[dict[str, str], dict[str, str], list[str]]] = {
    "switched off": (
        {**SCORE, **BUNDLE},
        {**ENTRY, **LIB, "AZUREML_INFERENCE_SERVER_HTTP_ENABLED": ""},
        ["D613", "D627"],
    ),
    "requirements switched off": (
        {**SCORE, **WHEELS},
        {**ENTRY, **REQUIREMENTS, **OFFLINE, "AZUREML_INFERENCE_SERVER_HTTP_ENABLED": ""},
        ["D613"],
    ),
    "root of an environment": (
        {**SCORE, f"code/myenv/{SITE}/six-1.dist-info/METADATA": ""},
        {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "myenv"},
        ["D627"],
    ),
    "no variable for the bundle": ({**SCORE, **BUNDLE}, ENTRY, ["D627"]),
    "another variable for the bundle": ({**SCORE, **BUNDLE}, {**ENTRY, "PYTHONPATH": ROOT}, ["D627"]),
    "colon": (
        {**SCORE, "code/a:b/x.dist-info/METADATA": ""},
        {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "a:b"},
        ["D608"],
    ),
    "line break": (SCORE, {**ENTRY, "AZUREML_MODEL_DIR": "models\n"}, ["D608", "D617"]),
    "no workers": (SCORE, {**ENTRY, "WORKER_COUNT": "0"}, ["D606"]),
    "standard library": (
        {**SCORE, **BUNDLE, f"bundle/{SITE}/typing.py": ""},
        {**ENTRY, **LIB},
        ["M101"],
    ),
    "the bundle hides the user's": (
        {**BUNDLE, f"bundle/{SITE}/helper.py": "", "code/helper.py": "", **script("import helper\n" + OK)},
        {**ENTRY, **LIB, "AZUREML_SOURCE_DIRECTORY": "code"},
        ["M105"],
    ),
}


@pytest.mark.parametrize(("tree", "env", "expected"), CERTAIN.values(), ids=CERTAIN.keys())
def test_it_starts_and_is_wrong(tree: dict[str, str], env: dict[str, str], expected: list[str]) -> None:
    boot = simulate_start(env, app(tree))

    assert (boot.exit_code, codes(boot), boot.ok) == (0, expected, False)


def test_every_finding_is_tested() -> None:
    seen = {row[3] for row in ENDS.values()}
    for table in (DOUBTS, CERTAIN):
        seen |= {code for row in table.values() for code in row[2]}

    below = {"D622", "D625", "D628"}
    assert {code for code in rules_by_code() if code[0] == "D"} - seen == below


# Images differ.


def test_images_that_know_no_extra_variables_take_pythonpath() -> None:
    tree = {**SCORE, **BUNDLE}
    ignored = simulate_start({**ENTRY, **LIB}, app(tree), profile="stripped")
    taken = simulate_start({**ENTRY, "PYTHONPATH": f"{ROOT}/bundle/{SITE}"}, app(tree), profile="stripped")

    assert (codes(ignored), ignored.ok) == (["D613", "D627"], False)
    assert f"{ROOT}/bundle/{SITE}" not in ignored.sys_path
    assert codes(taken) == []
    # No `:` at its end, so that the application root stays behind the standard library.
    assert taken.sys_path[1:] == (f"{ROOT}/bundle/{SITE}", STDLIB, BASE_MODULES, ROOT)


def test_a_bundle_that_both_variables_name_is_found_by_every_image() -> None:
    env = {**ENTRY, **LIB, "PYTHONPATH": f"{ROOT}/bundle/{SITE}", "AML_APP_ROOT": ROOT}
    for profile in IMAGE_VARIANTS:
        boot = simulate_start(env, app({**SCORE, **BUNDLE}), profile=profile)
        if profile != "mlflow":  # it has no model here
            assert (profile, codes(boot)) == (profile, ["D615"] if profile == "py38" else [])
        assert f"{ROOT}/bundle/{SITE}" in boot.sys_path


@pytest.mark.parametrize(
    ("image", "python", "variant"),
    [
        ("mcr.microsoft.com/azureml/minimal-ubuntu18.04-py37-cpu-inference:latest", "3.7", "classic"),
        ("mcr.microsoft.com/azureml/sklearn-0.24.1-ubuntu18.04-py37-cpu-inference", None, "classic"),
        ("host:5000/minimal-ubuntu20.04-py38-cpu-inference@sha256:00", None, "py38"),
        ("host:5000/minimal-ubuntu20.04-py39-cuda11.6.2-inference:20240401.v1", None, "stripped"),
        ("minimal-ubuntu22.04-py311-cpu-inference", None, "stripped"),
        ("minimal-py312-cuda12.4-inference", "3.12", "stripped"),
        ("mlflow-py312-inference:7", "3.12", "mlflow"),
        ("mlflow-ubuntu20.04-py38-cpu-inference", "3.8", "mlflow"),
        ("registry.example/py37-inference/mine", None, None),
        ("registry.example/mine", "3.7", "classic"),
        ("registry.example/mine", "3.8", "py38"),
        ("registry.example/mine", "3.10", None),
        (None, None, None),
    ],
)
def test_an_image_is_known_by_its_name_or_its_python(
    image: str | None, python: str | None, variant: str | None
) -> None:
    assert image_variant(image, python) == variant


@pytest.mark.parametrize(
    ("image", "env", "profile"),
    [
        (None, {}, "classic"),
        (None, LIB, "classic"),
        (None, {"PYTHONPATH": "/x/lib/python3.11/site-packages"}, "stripped"),
        ("mine", {"AZUREML_EXTRA_PYTHON_LIB_PATH": "../bundle/lib/python3.9/site-packages"}, "stripped"),
        ("mlflow-py312-inference", {}, "mlflow"),
    ],
)
def test_the_variant_of_a_context(image: str | None, env: dict[str, str], profile: str) -> None:
    assert profile_of(image, env) == profile


def test_images_for_mlflow_take_the_model_s_environment() -> None:
    """Their start script names it itself, so that requirements are never looked at."""
    tree = {**SCORE, f"{MODEL}/mlflow_model_folder/conda.yaml": "", "code/requirements.txt": ""}
    env = {**ENTRY, **REQUIREMENTS, "AZUREML_MODEL_DIR": f"{ROOT}/{MODEL}", "AML_APP_ROOT": ROOT}
    boot = simulate_start(env, app(tree), profile="mlflow")
    elsewhere = simulate_start({}, app(tree), profile="mlflow")
    other = simulate_start({**env, "MLFLOW_MODEL_FOLDER": "m"}, app(tree), profile="mlflow")
    off = simulate_start({**env, "DYNAMIC_DEP_INSTALLATION": "false"}, app(tree), profile="mlflow")

    assert (boot.exit_code, boot.installs, codes(boot)[-1]) == (95, "conda", "D618")
    assert "D612" in codes(boot)
    assert other.exit_code == 98
    assert elsewhere.resolved["AZUREML_ENTRY_SCRIPT"] == "/var/mlflow_resources/mlflow_score_script.py"
    assert (off.exit_code, off.installs) == (0, "")


def test_a_network_lets_packages_be_installed() -> None:
    tree = {**SCORE, "code/requirements.txt": "six\nattrs==1\n", "code/env.yml": ""}
    pip = simulate_start({**ENTRY, **REQUIREMENTS}, app(tree), offline=False)
    conda = simulate_start({**ENTRY, **CONDA}, app(tree), offline=False)

    assert (pip.exit_code, pip.installs, codes(pip)) == (0, "requirements", ["D622"])
    assert pip.findings[0].distribution == "six"
    assert (conda.exit_code, conda.installs) == (0, "conda")
    assert conda.sys_path[0] == "/opt/miniconda/envs/userenv/bin"


def test_the_user_s_pythonpath_comes_after_the_packages() -> None:
    env = {**ENTRY, **LIB, "PYTHONPATH": f"{ROOT}/code"}

    assert simulate_start(env, app({**SCORE, **BUNDLE})).sys_path[1:3] == (
        f"{ROOT}/bundle/{SITE}",
        f"{ROOT}/code",
    )


# Messages.


@pytest.mark.parametrize(
    ("tree", "env", "ending"),
    [
        pytest.param(
            {**SCORE, "code/lib/x.py": ""},
            {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "code/lib"},
            "relative to the entry script it is `lib`",
            id="doubled",
        ),
        pytest.param(
            {**SCORE, **BUNDLE},
            {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": f"{ROOT}/bundle/{SITE}"},
            f"relative to the entry script it is `../bundle/{SITE}`",
            id="absolute",
        ),
        pytest.param(
            {"score.py": OK, f"{MODEL}/mymodel/requirements.txt": ""},
            {"AZUREML_ENTRY_SCRIPT": "score.py", **REQUIREMENTS},
            f"relative to the entry script it is `{MODEL}/mymodel/requirements.txt`",
            id="in a registered model",
        ),
        pytest.param(
            {"score.py": OK, f"{MODEL}/mymodel/requirements.txt": ""},
            {
                "AZUREML_ENTRY_SCRIPT": "score.py",
                "AZUREML_EXTRA_REQUIREMENTS_TXT": "mymodel/requirements.txt",
            },
            f"relative to the entry script it is `{MODEL}/mymodel/requirements.txt`",
            id="as the pages write it",
        ),
        pytest.param(
            {**SCORE, f"code/myenv/{SITE}/x.dist-info/METADATA": ""},
            {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": "myenv/lib"},
            f"the packages are in `{ROOT}/code/myenv/{SITE}`",
            id="deeper",
        ),
        pytest.param(
            SCORE,
            {**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PAHT": "x"},
            "did you mean `AZUREML_EXTRA_PYTHON_LIB_PATH`",
            id="misspelt",
        ),
    ],
)
def test_what_was_meant(tree: dict[str, str], env: dict[str, str], ending: str) -> None:
    assert any(one.message.endswith(ending) for one in simulate_start(env, app(tree)).findings)


def test_a_missing_path_names_what_is_near() -> None:
    tree = {**SCORE, "code/myenv/lib/python3.8/site-packages/x.py": ""}
    boot = simulate_start({**ENTRY, "AZUREML_EXTRA_PYTHON_LIB_PATH": f"myenv/{SITE}"}, app(tree))

    assert boot.findings[0].details == (f"nearest  `{ROOT}/code/myenv/lib`, which contains python3.8",)


def test_names_cannot_disturb_a_terminal() -> None:
    boot = simulate_start(
        {"AZUREML_ENTRY_SCRIPT": "a\x1b[31m.py", "AZUREML_MODEL_DIR": "\u202ex"}, app(SCORE)
    )

    text = "\n".join([*render_start(boot), *(one.message for one in boot.findings)])
    assert all(char.isprintable() or char == "\n" for char in "\n".join(one.message for one in boot.findings))
    assert "\\x1b[31m" in text


def test_a_script_for_a_newer_python_than_this_one() -> None:
    boot = simulate_start(ENTRY, app(script("def init()\n    pass\n")), python="3.99")

    assert (boot.exit_code, codes(boot), boot.ok) == (0, ["D625"], True)
    assert boot.findings[0].message.endswith(", which runs bundler: expected ':'")


def test_the_python_of_an_image_that_is_not_one_of_azure_ml() -> None:
    env, files = {**ENTRY, **LIB}, app({**SCORE, **BUNDLE})
    named = simulate_start(env, files, profile="other", python="3.9")
    read = simulate_start(env, files, profile="other", base=replace(base_of(), python_version="3.9.2"))
    same = simulate_start(env, files, profile="other", python="3.7")

    condition = "the packages work with another Python than theirs"
    assert condition in named.conditions
    assert condition in read.conditions
    assert condition not in same.conditions


def test_models_may_lie_elsewhere() -> None:
    tree = {**SCORE, "models/requirements.txt": ""}

    assert check_start(ENTRY, app(tree)) == ()
    assert [one.code for one in check_start(ENTRY, app(tree), models=[f"{ROOT}/models"])] == ["D618"]


def test_unknown_profile() -> None:
    with pytest.raises(InputError, match="unknown profile `new`"):
        simulate_start({}, app({}), profile="new")


# The script, read.


@pytest.mark.parametrize(
    "text",
    [
        "from helper import *\n",
        "from helper import init, run\n",
        "import init, x.y as run\n",
        "init = run = print\n",
        "if True:\n    def init(): pass\nelse:\n    init = None\ntry:\n    run = 1\nfinally:\n    pass\n",
        "globals()['init'] = globals()['run'] = print\n",
        "def make():\n    global init, run\n    init = run = print\nmake()\n",
        "for init in [print]:\n    pass\nwith open('x') as run:\n    pass\n",
        "def init(): pass\n@wrapped\ndef run(*a, **k): pass\n",
        "def init(): pass\ndef run(*a): pass\nrun = wrap(run)\n",
        "async def init(): pass\nasync def run(data): pass\n",
        "def init(path=None, *, more=1): pass\ndef run(*, data, request_headers): pass\n",
    ],
)
def test_scripts_that_the_server_may_take(text: str) -> None:
    script = read_script(text.encode())

    assert (script.lacks, script.refused, script.error) == ((), (), "")


def test_a_script_is_read_without_warnings_of_this_python() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert read_script(b'x = "\\d"\nassert (1, "x")\n').error == ""


# Views of files.


def test_a_folder_and_an_application_are_seen_alike(tmp_path: Path) -> None:
    tree = {**SCORE, **BUNDLE, "code/empty.txt": ""}
    one, other = FolderFiles(write(tmp_path / "app", tree)), app(tree)

    for path in (
        ROOT,
        f"{ROOT}/code",
        f"{ROOT}/code/score.py",
        f"{ROOT}/bundle/lib",
        f"{ROOT}/x",
        "/var",
        "/",
    ):
        assert one.covers(path) == other.covers(path), path
        assert one.is_file(path) == other.is_file(path), path
        assert one.is_dir(path) == other.is_dir(path), path
        assert one.names(path) == other.names(path), path
    assert one.read(f"{ROOT}/code/score.py") == other.read(f"{ROOT}/code/score.py") == OK.encode()


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"secret.py": OK})
    folder = write(tmp_path / "app", {**SCORE, "real/x.py": ""})
    (folder / "code/out.py").symlink_to(tmp_path / "secret.py")
    (folder / "lib64").symlink_to("real")
    files = FolderFiles(folder)

    assert not files.is_file(f"{ROOT}/code/out.py")
    assert files.names(f"{ROOT}/lib64") == ("x.py",)
    with pytest.raises(InputError):
        files.read(f"{ROOT}/code/out.py")


@given(st.lists(st.sampled_from(["code", "..", ".", "", "lib", "x", "score.py"]), max_size=8))
def test_a_path_is_found_as_the_system_finds_it(parts: list[str]) -> None:
    """Compared with the system's own walk, over a real folder."""
    files = FolderFiles(_REAL, at=_REAL.as_posix())
    written = "/".join([_REAL.as_posix(), *parts])
    found = locate(files, written)
    there = found is not None and files.covers(found) and (files.is_dir(found) or files.is_file(found))
    inside = os.path.normpath(written).startswith(_REAL.as_posix())

    if inside and not written.rstrip("./").endswith("score.py"):
        assert there == os.path.exists(written)  # noqa: PTH110 - the system's own walk


_REAL = Path(__file__).parent.resolve()


def test_variables_of_a_dockerfile() -> None:
    text = """
# syntax=docker/dockerfile:1
ARG BASE_IMAGE
FROM other AS first
ENV LOST=1
from ${BASE_IMAGE}
COPY azureml-app/code /var/azureml-app/code
ENV A=1 \\
    # a comment between
    B="two words" C='x' \\

    D=a\\ b
env OLD form of it
ENV E=$A/${B} F=$PATH:/x
LABEL ENV=no
CMD ["runsvdir", "/var/runit"]
"""
    assert dockerfile_env(text) == {
        "A": "1",
        "B": "two words",
        "C": "x",
        "D": "a b",
        "OLD": "form of it",
        "E": "1/two words",
        "F": "$PATH:/x",
    }


def test_a_build_context(tmp_path: Path) -> None:
    write(tmp_path / "azureml-app", {**SCORE, **BUNDLE})
    env = "".join(f"ENV {name}={value}\n" for name, value in {**ENTRY, **LIB}.items())
    (tmp_path / "Dockerfile").write_text(f"FROM base\n{env}")

    assert simulate_start(*open_context(tmp_path)).ok
    assert not simulate_start(*open_context(tmp_path, {"AZUREML_ENTRY_SCRIPT": "score.py"})).ok


@pytest.mark.parametrize("dockerfile", [None, "FROM x\nENV A='1\n"])
def test_no_build_context(dockerfile: str | None, tmp_path: Path) -> None:
    (tmp_path / "azureml-app").mkdir()
    if dockerfile:
        (tmp_path / "Dockerfile").write_text(dockerfile)

    with pytest.raises(InputError):
        open_context(tmp_path)


# Releases of the server.

SIBLING = {"code/score.py": "import helper\n" + OK, "code/helper.py": "", "score.py": OK}


@pytest.mark.parametrize(
    ("release", "env", "script", "last", "found"),
    [
        # Until 0.7.5 the directory of the script is the application root, which has its siblings.
        ("0.6.1", ENTRY, "code/score.py", f"{ROOT}/code", []),
        ("0.6.1", {**ENTRY, "AML_APP_ROOT": ROOT}, "code/score.py", f"{ROOT}/code", []),
        ("0.7.5", ENTRY, "code/score.py", f"{ROOT}/code", []),
        # Some releases keep AML_APP_ROOT, and look there for the name of the script.
        ("0.4.14", {**ENTRY, "AML_APP_ROOT": ROOT}, "score.py", ROOT, []),
        ("0.7.6", ENTRY, "code/score.py", ROOT, ["D605"]),
        ("1.5.1", ENTRY, "code/score.py", ROOT, ["D605"]),
    ],
)
def test_the_root_of_a_release(
    release: str, env: dict[str, str], script: str, last: str, found: list[str]
) -> None:
    boot = simulate_start(env, app(SIBLING), release=Version(release))
    server = base_of(azureml_inference_server_http=release)

    assert boot.resolved["AZUREML_ENTRY_SCRIPT"] == f"{ROOT}/{script}"
    assert boot.sys_path[-1] == last
    assert codes(boot) == found
    assert simulate_start(env, app(SIBLING), base=server) == boot


def test_a_release_that_keeps_the_root_does_not_find_a_script_below_it() -> None:
    boot = simulate_start({**ENTRY, "AML_APP_ROOT": ROOT}, app(SCORE), release=Version("0.4.14"))

    assert (boot.exit_code, codes(boot)) == (3, ["D603"])


# Imports of the entry script.


def script_env(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return files and variables of a script with the bundle, which has `six` and a part of `google`."""
    google = {f"bundle/{SITE}/google/auth/__init__.py": "", f"bundle/{SITE}/fast.cpython-37m.so": ""}
    own = {
        "code/mine/__init__.py": "",
        "code/mine/part.py": "from . import other\n",
        "code/mine/other.py": "",
    }
    tree = {**BUNDLE, **google, **own, "code/score.py": text + OK}
    return tree, {**ENTRY, **LIB, "AZUREML_SOURCE_DIRECTORY": "code"}


PROVIDED = [
    "import six, json, os.path\n",
    "import distutils.util, imp\n",
    "import fast\n",
    "import six.moves.urllib\n",
    "from google import auth\nimport google.auth.transport\n",
    "from mine.part import anything\nfrom mine import part\n",
    "import azureml_inference_server_http\n",
    "if TYPE_CHECKING:\n    import numpy\n",
    "if __name__ == '__main__':\n    import numpy\n",
    "from __future__ import annotations\n",
]


@pytest.mark.parametrize("text", PROVIDED)
@pytest.mark.parametrize("base", [None, base_of(libraries=set())], ids=["unknown", "known"])
def test_an_import_is_provided(text: str, base: BaseProfile | None) -> None:
    tree, env = script_env(text)
    boot = simulate_start(env, app(tree), base=base)

    assert (codes(boot), boot.exit_code) == ([], 0)


MISSING = {
    "import yaml\n": "yaml",
    "import yaml.cyaml as y\n": "yaml",
    "from yaml import safe_load\n": "yaml",
    "from google.cloud import storage\n": "google.cloud",
    "from google import cloud\n": "google.cloud",
    "from google import auth, cloud\n": "google.cloud",
    "import zoneinfo\n": "zoneinfo",
    "with open('x'):\n    import yaml\n": "yaml",
    "class A:\n    import yaml\n": "yaml",
    "from helper import x\n": "yaml",
    "import pack.sub\n": "yaml",
}
HELPERS = {
    "code/helper.py": "import yaml\n",
    "code/pack/__init__.py": "",
    "code/pack/sub.py": "from .deep import x\n",
    "code/pack/deep.py": "import yaml\n",
}


@pytest.mark.parametrize(("text", "module"), MISSING.items())
def test_a_missing_import_ends_the_server_if_the_base_is_known(text: str, module: str) -> None:
    tree, env = script_env(text)
    unknown = simulate_start(env, app({**tree, **HELPERS}))
    known = simulate_start(env, app({**tree, **HELPERS}), base=base_of(libraries=set(), numpy="1.21"))

    assert (codes(unknown), unknown.exit_code, unknown.ok) == (["D629"], 0, True)
    assert f"exit code 0: the server starts, if the image has `{module}`" in "\n".join(render_start(unknown))
    assert (codes(known), known.exit_code, known.ok) == (["D628"], 3, False)
    assert f"`{module}` is neither in the packages nor in the image" in known.findings[0].message


def test_the_base_provides_an_import() -> None:
    tree, env = script_env("import yaml\n")
    freeze = base_of(PyYAML="5.4", numpy="1.21")
    known = replace(
        freeze,
        source="rootfs",
        distributions={
            name: replace(item, top_level=("_yaml", "yaml") if name == "pyyaml" else ("numpy",))
            for name, item in freeze.distributions.items()
        },
    )

    assert simulate_start(env, app(tree), base=known).findings == ()
    # A freeze has no modules, so that only a distribution of the same name is certain.
    assert codes(simulate_start(env, app(tree), base=freeze)) == ["D629"]
    tree, env = script_env("import numpy\n")
    assert simulate_start(env, app(tree), base=freeze).findings == ()


UNCERTAIN = [
    "try:\n    import yaml\nexcept ImportError:\n    yaml = None\n",
    "def helper():\n    import yaml\n",
    "import os\nif os.name == 'x':\n    import yaml\n",
    "for x in ():\n    import yaml\n",
    "class A:\n    def init(self):\n        import yaml\n",
]


@pytest.mark.parametrize("text", UNCERTAIN)
def test_an_import_that_may_not_be_executed_is_a_warning(text: str) -> None:
    tree, env = script_env(text)
    boot = simulate_start(env, app(tree), base=base_of(libraries=set()))

    assert (codes(boot), boot.exit_code, boot.ok) == (["D629"], 0, True)


def test_init_is_called_at_the_start() -> None:
    tree, env = script_env("")
    tree["code/score.py"] = "def init():\n    import yaml\n\n\ndef run(data):\n    import more\n"
    boot = simulate_start(env, app(tree), base=base_of(libraries=set()))
    unknown = simulate_start(env, app(tree))

    assert (codes(boot), boot.exit_code) == (["D628"], 3)
    message = unknown.findings[0].message
    assert "do not have `yaml` (`code/score.py:2`), `more` (`code/score.py:6`): the image must" in message


# The tables.


def test_the_tables_agree() -> None:
    assert all(way.variable in VARIABLES and way.missing in EXIT_CODES for way in EXTRA_SOURCES)
    assert set(MISSPELT.values()) <= set(VARIABLES)
    assert not set(MISSPELT) & set(VARIABLES)
    assert all(set(image.env) | set(image.forced) <= set(VARIABLES) for image in IMAGE_VARIANTS.values())
    assert all((variable.kind == "path") == bool(variable.base) for name, variable in VARIABLES.items())


# The real server.

REAL: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "ok": (SCORE, ENTRY),
    "ok default": ({"main.py": OK}, {}),
    "ok sibling": (*RIGHT["sibling"],),
    "ok strange config": ({**SCORE, "code/config.json": '{"model_type": "bert"}'}, ENTRY),
    **{
        name: ENDS[name][:2]
        for name in (
            "3 no script",
            "3 leading slash",
            "3 no .py",
            "3 no run",
            "3 run with keywords",
            "3 init with data",
            "3 sibling",
            "3 config no object",
            "3 config value",
            "3 number",
            "3 switch",
            "2 timeout",
            "1 workers",
        )
    },
}


@pytest.fixture(scope="module")
def azmlinfsrv(python37: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server that the table was read from, installed for Python 3.7."""
    name = hashlib.sha256(str(python37).encode()).hexdigest()[:8]
    venv = tmp_path_factory.mktemp(f"server-{name}")
    subprocess.run([python37, "-m", "venv", venv], check=True, timeout=120)
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "azureml-inference-server-http==0.8.4.2"], check=True, timeout=500)
    return venv / "bin/azmlinfsrv"


@pytest.mark.online
@pytest.mark.xdist_group("online")
@pytest.mark.parametrize(("tree", "env"), REAL.values(), ids=REAL.keys())
def test_the_real_server_agrees(
    tree: dict[str, str], env: dict[str, str], azmlinfsrv: Path, tmp_path: Path
) -> None:
    root = write(tmp_path / "app", tree)
    predicted = simulate_start(env, FolderFiles(root)).exit_code

    assert really(azmlinfsrv, root, env, tmp_path / "log") == predicted


def really(server: Path, root: Path, env: Mapping[str, str], log: Path) -> int:
    """Start the server as the image does; return its exit code, 0 if it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = env.get("AZUREML_ENTRY_SCRIPT") or "main.py"
    variables = {
        "PATH": f"{server.parent}:/usr/bin:/bin",
        "HOME": str(root),
        "AML_APP_ROOT": str(root),
        **env,
    }
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [server, "--entry_script", script, "--port", str(port)],
            cwd=root,
            env=variables,
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
        )
    try:
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            if b"ready for serving traffic" in log.read_bytes():
                return 0
            time.sleep(0.05)
        assert child.returncode is not None, log.read_text()
        return child.returncode
    finally:
        child.terminate()
        child.wait(30)
