"""What is proved before a bundle is written, end to end, on wheels made here.

Rows K06, K10, K11, K13, K17 and K18 of the corpus, and each way a bundle is used.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.cli import SCHEMA, built_locked, locked, manifest_of
from support.elfs import make_elf
from support.wheels import make_wheel

from bundler.target.scripts import script

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


def refused(cli: BundlerCli, *args: str, cwd: Path) -> dict[str, list[str]]:
    """Build from a lock, expect a refusal by the checks, and return the messages of the errors by code."""
    ended = cli.run("build", "--json", *locked(cli, *args), cwd=cwd)
    assert ended.returncode == 10, ended.stderr
    assert not list(cwd.glob("dist/*"))
    errors: dict[str, list[str]] = {}
    for one in ended.json["error"]["facts"]["findings"]:
        if one["severity"] == "error" and not one["allowed"]:
            errors.setdefault(one["code"], []).append(one["message"])
            assert f"{one['code']}  {one['message']}" in ended.stderr
    return errors


def findings(result: dict[str, Any]) -> dict[str, list[str]]:
    """Return the messages in a manifest by code."""
    found: dict[str, list[str]] = {}
    for one in manifest_of(result)["verification"]["findings"]:
        found.setdefault(one["code"], []).append(one["message"])
    return found


NSPKG = (
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);"
    "p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('old',));"
    "importlib = has_mfs and __import__('importlib.util');"
    "has_mfs and __import__('importlib.machinery');"
    "m = has_mfs and sys.modules.setdefault('old', importlib.util.module_from_spec("
    "importlib.machinery.PathFinder.find_spec('old', [os.path.dirname(p)])));"
    "m = m or sys.modules.setdefault('old', types.ModuleType('old'));"
    "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)\n"
)
"""What setuptools writes for a declared namespace package `old`."""

# --- mounted or installed ---------------------------------------------------


def test_a_backport_that_is_harmless_when_installed_kills_a_mount(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "enumlike", "1.0", {"enum.py": "class Enum: pass\n"})

    errors = refused(warm_cli, "enumlike", cwd=tmp_path)

    assert errors["M101"] == ["`enumlike` contains `enum`, which hides the module of the standard library"]
    assert errors["M102"][0].startswith("Python does not start with the bundle mounted on PYTHONPATH: ")
    result = built_locked(warm_cli, "enumlike", "--for", "venv", "--name", "app", cwd=tmp_path)
    assert list(result["verification"]["ways"]) == ["venv"]
    assert "M101" not in findings(result)


def test_an_error_may_be_allowed_and_is_recorded(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "colors", "1.0", {"colorsys.py": ""})
    assert list(refused(warm_cli, "colors", cwd=tmp_path)) == ["M101"]

    result = built_locked(warm_cli, "colors", "--allow", "M101:Colors", "--name", "app", cwd=tmp_path)

    (hazard,) = (one for one in result["verification"]["findings"] if one["code"] == "M101")
    assert hazard["allowed"] is True
    assert manifest_of(result)["verification"]["allowed"] == ["M101:Colors"]
    assert warm_cli.run("build", "colors", "--allow", "M999", cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_k18_what_lives_by_a_pth_file(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """As pywin32 does: a .pth names the folder that the modules lie in."""
    make_wheel(
        index.folder,
        "winlike",
        "1.0",
        {"winlike.pth": "winlike/lib\n", "winlike/__init__.py": "", "winlike/lib/winapi.py": ""},
    )
    make_wheel(index.folder, "editable", "1.0", {"editable.pth": "elsewhere\n"})

    errors = refused(warm_cli, "winlike", "editable", cwd=tmp_path)

    assert errors == {
        "M102": [
            (
                "import `winapi` of `winlike` (mounted on PYTHONPATH): failed: "
                "ModuleNotFoundError: No module named 'winapi'"
            )
        ],
        "M104": ["`editable` contains no modules, only `editable.pth`, which a mount does not process"],
    }
    built_locked(warm_cli, "winlike", "--for", "venv", "--name", "app", cwd=tmp_path)


def test_k17_namespaces_of_every_kind_are_imported_from_a_mount(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "old-a", "1.0", {"old_a-1.0-nspkg.pth": NSPKG, "old/a/__init__.py": ""})
    make_wheel(index.folder, "old-b", "1.0", {"old/b/__init__.py": ""})
    extend = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    make_wheel(index.folder, "pk-a", "1.0", {"pk/__init__.py": extend, "pk/a.py": ""})
    make_wheel(index.folder, "pk-b", "1.0", {"pk/__init__.py": extend, "pk/b.py": ""})

    result = built_locked(warm_cli, "old-a", "old-b", "pk-a", "pk-b", "--name", "app", cwd=tmp_path)

    modules = {one["module"]: one["status"] for one in result["verification"]["ways"]["mount"]}
    assert modules == dict.fromkeys(("old.a", "old.b", "pk", "pk.a", "pk.b"), "ok")
    assert findings(result)["M103"] == [
        "`old_a-1.0-nspkg.pth` of `old-a` is not processed on a mount; its modules import without it"
    ]


# --- imports, met and not ---------------------------------------------------


def test_k13_imports_that_nobody_declared(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    make_wheel(index.folder, "lucky", "1.0", {"lucky.py": "import basket\n"}, requires=["carrier"])
    make_wheel(index.folder, "carrier", "1.0", {"carrier.py": ""}, requires=["basket"])
    make_wheel(index.folder, "basket", "1.0")
    make_wheel(
        index.folder,
        "parts",
        "1.0",
        {
            "parts/__init__.py": "",
            "parts/rare.py": "import nowhere\n",
            "parts/soft.py": "def f():\n    import nox\n",
        },
    )

    result = built_locked(warm_cli, "lucky", "parts", "--name", "app", cwd=tmp_path)

    found = findings(result)
    lucky = (
        "`lucky` imports `basket` without declaring it; it is installed because `carrier` requires `basket`"
    )
    assert found["I205"] == [lucky]
    assert found["I203"] == ["`parts` imports `nowhere` (not found) at module level"]
    assert found["I204"] == ["`parts` imports `nox` (not found) in a function"]
    jsonschema.validate(manifest_of(result), SCHEMA)


def test_only_what_was_asked_for_must_import(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """Each a dependency that does not import, and that the import of `app` does not need."""
    bad = "raise RuntimeError('no device')\n"
    names = ["idle", "lazy", "perhaps", "remote", "guarded", "plugin", "fragile"]
    for name in names:
        make_wheel(index.folder, name, "1.0", {f"{name}.py": bad})
    make_wheel(index.folder, "plugin", "1.0", {"plugin.py": "import absent_host\n"})
    make_wheel(
        index.folder,
        "fragile",
        "1.0",
        {"fragile.py": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"},
    )
    app = {
        "app/__init__.py": (
            "import os\n"
            "def f():\n    import lazy\n"
            "if os.environ.get('NEVER_SET'):\n    import perhaps\n"
            "try:\n    import guarded\nexcept RuntimeError:\n    pass\n"
        ),
        "app/extra.py": "import remote\n",
        "stray/__init__.py": "import absent_host\n",
    }  # fmt: skip
    make_wheel(index.folder, "app", "1.0", app, requires=names)

    result = built_locked(warm_cli, "app", "--name", "app", cwd=tmp_path)

    assert {text.split("`")[1] for text in findings(result)["I209"]} == {*names, "stray"}
    assert (
        "`plugin` of `plugin` does not import, and no requested module needs it: ModuleNotFoundError: "
        "No module named 'absent_host' (if you use it: add `absent_host` to your requirements)"
    ) in findings(result)["I209"]
    place = tmp_path / "named"
    place.mkdir()
    assert refused(warm_cli, "app", "idle", cwd=place) == {
        "I201": ["import `idle` of `idle`: failed: RuntimeError: no device"]
    }


def test_a_needed_failure_is_named_once_with_its_root_and_who_brought_it(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "top", "1.0", {"top.py": "import middle\n"}, requires=["middle"])
    make_wheel(index.folder, "other", "1.0", {"other.py": "import middle\n"}, requires=["middle"])
    make_wheel(index.folder, "middle", "1.0", {"middle.py": "import root_cause\n"}, requires=["root-cause"])
    make_wheel(index.folder, "root-cause", "1.0", {"root_cause.py": "import pkg_resources\n"})

    ended = warm_cli.run("build", *locked(warm_cli, "top", "other"), cwd=tmp_path)

    assert ended.returncode == 10
    assert ended.stderr.count("I201  ") == 1
    for line in (
        "I201  import `root_cause` of `root-cause`, which `other` imports: missing-dependency `pkg_resources`",
        ", which it does not declare: ModuleNotFoundError: No module named 'pkg_resources'",
        "because  your requirements ask for `other`",
        "because  `other` requires `middle`",
        "because  `middle` requires `root-cause`",
        "fix: add `setuptools<82` to your requirements, it provides `pkg_resources`",
    ):
        assert line in ended.stderr
    explained = warm_cli.run("explain", "root_cause", cwd=tmp_path)
    assert explained.stdout.splitlines()[0] == "root-cause 1.0  root_cause-1.0-py3-none-any.whl"
    assert "because      `middle` requires `root-cause`" in explained.stdout
    assert "error     I201  import `root_cause`" in explained.stdout


def test_a_part_that_only_its_package_can_load(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """As tensorflow_io_gcs_filesystem after tensorflow; and a module that may run only once."""
    host = "import sys\nsys.host_is_ready = True\nimport part\nimport once\n"
    make_wheel(index.folder, "host", "1.0", {"host.py": host}, requires=["part", "once"])
    make_wheel(index.folder, "part", "1.0", {"part.py": "import sys\nassert sys.host_is_ready\n"})
    once = "import sys\nif hasattr(sys, 'once'):\n    raise RuntimeError('twice')\nsys.once = True\n"
    make_wheel(index.folder, "once", "1.0", {"once.py": once})

    result = built_locked(warm_cli, "host", "--name", "app", cwd=tmp_path)

    modules = {one["module"]: one["status"] for one in result["verification"]["ways"]["mount"]}
    assert modules == {"host": "ok", "once": "ok", "part": "loaded"}
    assert [text.split(":")[0] for text in findings(result)["I211"]] == [
        "`part` of `part` does not import alone, but other modules import with it"
    ]
    jsonschema.validate(manifest_of(result), SCHEMA)


@pytest.mark.slow
def test_a_frozen_list_builds_as_the_one_line_does(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    names = [f"leaf{number}" for number in range(10)]
    for name in names:
        make_wheel(index.folder, name, "1.0", {f"{name}.py": ""})
    make_wheel(index.folder, "leaf0", "1.0", {"leaf0.py": "import no_such_device\n"})
    make_wheel(index.folder, "whole", "1.0", {"whole.py": ""}, requires=names)

    frozen = [f"{name}==1.0" for name in ("whole", *names)]
    result = built_locked(warm_cli, *frozen, "--name", "app", cwd=tmp_path)

    assert len(findings(result)["I209"]) == 1
    place = tmp_path / "by-hand"
    place.mkdir()
    assert list(refused(warm_cli, "whole", "leaf0==1.0", cwd=place)) == ["I201"]


def test_k06_a_write_at_import_is_reported_and_changes_nothing(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    text = "import os\ntry:\n    open(os.path.join(os.path.dirname(__file__), 'cache'), 'w').close()\nexcept OSError: pass\n"
    make_wheel(index.folder, "writer", "1.0", {"writer.py": text})

    result = built_locked(warm_cli, "writer", "--name", "app", cwd=tmp_path)

    assert findings(result)["I206"] == [
        "import `writer` of `writer` writes to `lib/python3.7/site-packages/cache`"
    ]
    assert warm_cli.run("verify", result["path"]).returncode == 0


# --- what earlier runs found ------------------------------------------------


@pytest.mark.slow
def test_what_passed_once_is_kept_shown_as_kept_and_tried_again_on_demand(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "kept", "1.0")
    args = ("kept", "--name", "app", "--bundle-version", "1")
    first = built_locked(warm_cli, *args, cwd=tmp_path)
    again = built_locked(warm_cli, *args, cwd=tmp_path)
    forced = built_locked(warm_cli, *args, "--reverify", cwd=tmp_path)

    assert (first["cached"], again["cached"], forced["cached"]) == ([], ["mount", "venv"], [])
    assert first["verification"] == again["verification"] == forced["verification"]
    told = warm_cli.run("build", *args, cwd=tmp_path).stderr
    assert "1 of 1 modules import mounted on PYTHONPATH (from an earlier run)" in told


@pytest.mark.slow
def test_a_hang_is_not_kept(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    make_wheel(index.folder, "crash", "1.0", {"crash.py": "import ctypes\nctypes.string_at(0)\n"})
    args = ("crash", "--allow-import-failure", "crash", "--name", "app", "--bundle-version", "1")

    assert [built_locked(warm_cli, *args, cwd=tmp_path)["cached"] for _ in range(2)] == [[], []]


# --- the user's own code ----------------------------------------------------


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "score.py").write_text(
        "import os\nimport basket\nimport helper\n"
        "def init():\n    open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'model.txt')).close()\n"
        "def run(data):\n    return data\n"
    )
    (folder / "helper.py").write_text("import json\nfrom code_parts import part\n")
    (folder / "code_parts").mkdir()
    (folder / "code_parts" / "part.py").write_text(
        "try:\n    import nothing\nexcept ImportError:\n    pass\n"
    )
    return folder


def test_the_users_code_is_followed_and_run(
    index: LocalIndex, warm_cli: BundlerCli, code: Path, tmp_path: Path
) -> None:
    make_wheel(index.folder, "basket", "1.0")
    model = tmp_path / "model"
    model.mkdir()
    args = ("basket", "--name", "app", "--source-dir", str(code), "--entry-script", "score.py")

    result = built_locked(warm_cli, *args, cwd=tmp_path)
    assert result["entry"] == {
        "entry_script": "score.py",
        "files": ["code_parts/part.py", "helper.py", "score.py"],
        "init": False,
    }
    codes = [one["code"] for one in result["verification"]["findings"]]
    assert codes == ["U304"]
    assert findings(result) == {}, "the user's code is no part of the manifest"

    run = (*args, "--run-init", "--model-dir", str(model), "-o", "dist2")
    errors = refused(warm_cli, *run, cwd=tmp_path / "code")
    (failed,) = errors["U305"]
    assert failed.startswith("init() of the entry script `score.py` failed: FileNotFoundError")
    assert failed.endswith("'$AZUREML_MODEL_DIR/model.txt'"), "the path is not cut"
    (model / "model.txt").write_text("")
    assert built_locked(warm_cli, *run, cwd=tmp_path)["entry"]["init"] is True


@pytest.mark.parametrize(
    ("files", "errors"),
    [
        pytest.param(
            {"score.py": "import nowhere\ndef init(): pass\ndef run(x): pass\n"},
            {"U303": ["`code/score.py:1` imports `nowhere`, which no distribution provides"]},
            id="nothing-brings-it",
        ),
        pytest.param(
            {"score.py": "def init(): pass\n"},
            {"U302": ["the entry script `score.py` does not define run()"]},
            id="no-run",
        ),
        pytest.param(
            {
                "score.py": "import helper\ndef init(): pass\ndef run(x): pass\n",
                "helper.py": "if (n := 1): pass\n",
            },
            {"U301": ["`code/helper.py:1` is not valid Python for the target: invalid syntax"]},
            id="newer-grammar",
        ),
        pytest.param(
            {"score.py": "import basket\ndef init(): pass\ndef run(x): pass\n", "basket.py": ""},
            {"M105": ["`basket` of `basket` hides the `basket.py` that `code/score.py:1` imports"]},
            id="hidden",
        ),
        pytest.param(
            {"score.py": "from broken import part\ndef init(): pass\ndef run(x): pass\n"},
            {
                "U303": [
                    (
                        "`code/score.py:1` imports `broken.part`, which does not import: "
                        "ModuleNotFoundError: No module named 'nowhere'"
                    )
                ]
            },
            id="does-not-import",
        ),
    ],
)
def test_what_is_wrong_with_the_users_code(
    index: LocalIndex,
    warm_cli: BundlerCli,
    tmp_path: Path,
    files: dict[str, str],
    errors: dict[str, list[str]],
) -> None:
    make_wheel(index.folder, "basket", "1.0")
    make_wheel(
        index.folder, "broken", "1.0", {"broken/__init__.py": "", "broken/part.py": "import nowhere\n"}
    )
    folder = tmp_path / "code"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    args = ("basket", "broken", "--source-dir", str(folder), "--entry-script", "score.py")

    assert refused(warm_cli, *args, cwd=tmp_path) == errors


# --- shared objects ---------------------------------------------------------


def test_k10_k11_shared_objects(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    new = make_elf(needed=["libc.so.6"], versions=[("libc.so.6", "GLIBC_2.34", "dlsym")])
    make_wheel(index.folder, "newlib", "1.0", {"newlib.py": "", "newlib_data/libnew.so": new})
    make_wheel(index.folder, "armlib", "1.0", {"armlib.py": "", "armlib_data/libarm.so": make_elf("aarch64")})

    result = built_locked(warm_cli, "newlib", "--name", "app", "--target-glibc", "2.34", cwd=tmp_path)
    verification = manifest_of(result)["verification"]
    assert verification["glibc"] == "2.34"
    assert [one["path"].rpartition("/")[2] for one in verification["shared_objects"]] == ["libnew.so"]

    place = tmp_path / "other"
    place.mkdir()
    errors = refused(warm_cli, "newlib", cwd=place)
    assert "minimal-ubuntu18.04-py37-cpu-inference has 2.27" in errors["E403"][0]
    errors = refused(warm_cli, "newlib", "armlib", "--target-glibc", "2.26", cwd=place)
    assert sorted(errors) == ["E401", "E403"]
    assert all(word in errors["E403"][0] for word in ("libnew.so", "dlsym", "2.34", "2.26"))


# --- the base ---------------------------------------------------------------

SERVER = {
    "azureml_inference_server_http/__init__.py": "",
    "azureml_inference_server_http/server/__init__.py": "",
    "azureml_inference_server_http/server/create_app.py": "from pydantic import BaseSettings\n",
}


@pytest.fixture
def server(index: LocalIndex) -> LocalIndex:
    """An index with a server that cannot live with pydantic 2, as the real one."""
    requires = ["pydantic<1.11,>=1.9", "broken-anyway"]
    make_wheel(index.folder, "azureml-inference-server-http", "0.8.4.2", SERVER, requires=requires)
    make_wheel(index.folder, "broken-anyway", "1.0", {"broken_anyway.py": "import nowhere\n"})
    make_wheel(index.folder, "pydantic", "1.10.13", {"pydantic.py": "class BaseSettings: pass\n"})
    make_wheel(index.folder, "pydantic", "2.5.3", {"pydantic.py": ""})
    return index


@pytest.mark.slow
def test_pins_that_the_bases_server_cannot_live_with(
    server: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    errors = refused(warm_cli, "pydantic", "--server", "0.8.4.2", cwd=tmp_path)

    assert errors["B502"] == [
        "the base's server requires `pydantic<1.11,>=1.9`, the bundle has `pydantic` 2.5.3"
    ]
    assert "azureml_inference_server_http.server.create_app" in errors["B506"][0]
    alone = built_locked(warm_cli, "pydantic", "--name", "alone", cwd=tmp_path)
    assert len(findings(alone)["B507"]) == 1
    result = built_locked(warm_cli, "pydantic<2", "--server", "0.8.4.2", "--name", "app", cwd=tmp_path)
    statuses = {one["module"]: one["status"] for one in result["verification"]["ways"]["server"]}
    assert statuses.pop("broken_anyway") == "unused", "as it is without the bundle"
    assert set(statuses.values()) == {"ok"}


def test_what_the_base_has_is_left_out_proved_and_checked_again_on_the_target(
    server: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    make_wheel(server.folder, "basket", "1.0")
    make_wheel(server.folder, "basket", "2.0")
    make_wheel(server.folder, "shop", "1.0", {"shop.py": "import basket\n"}, requires=["basket>=1"])
    base = tmp_path / "base.txt"
    base.write_text("basket==1.0\npip==20.0\n")
    args = ("shop", "--base", str(base), "--name", "app")

    whole = built_locked(warm_cli, *args, cwd=tmp_path)
    assert whole["distributions"] == {"basket": "2.0", "shop": "1.0"}
    assert len(findings(whole)["B501"]) == 1

    result = built_locked(warm_cli, *args, "--omit-provided", "--bundle-version", "thin", cwd=tmp_path)
    assert result["distributions"] == {"shop": "1.0"}
    assert manifest_of(result)["base"] == {"provided": {"basket": "1.0"}}
    assert list(result["verification"]["ways"]) == ["server"]
    assert warm_cli.run("verify", result["path"], "--base", str(base)).returncode == 0
    base.write_text("basket==2.0\n")
    ended = warm_cli.run("verify", result["path"], "--base", str(base))
    assert (ended.returncode, "B504" in ended.stderr) == (10, True)

    # On the target, with nothing but its Python and one file.
    check = subprocess.run(
        [python37, script("capture"), "--check", result["manifest"]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 10
    assert "FAIL" in check.stdout
    assert "basket" in check.stdout


def test_a_base_of_another_python_is_refused(
    index: LocalIndex, warm_cli: BundlerCli, pythons: dict[str, Path], tmp_path: Path
) -> None:
    other = next((path for version, path in pythons.items() if version != "3.7"), None)
    if other is None:
        pytest.skip("only one Python is here")
    make_wheel(index.folder, "basket", "1.0")
    profile = tmp_path / "base.json"
    captured = warm_cli.run("profile", "--python", str(other))
    assert captured.returncode == 0, captured.stderr
    profile.write_text(captured.stdout)
    assert json.loads(captured.stdout)["format"] == "bundler-base"

    errors = refused(warm_cli, "basket", "--base", str(profile), cwd=tmp_path)

    assert list(errors) == ["B503"]
    assert warm_cli.run("build", "basket", "--omit-provided", cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_parts_of_a_namespace_in_bundle_and_base_find_each_other(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """As google-api-core in the base and google-cloud-storage in the bundle; the base's .pth comes first."""
    make_wheel(index.folder, "old-a", "1.0", {"old_a-1.0-nspkg.pth": NSPKG, "old/a/__init__.py": ""})
    make_wheel(index.folder, "old-b", "1.0", {"old/b/__init__.py": "import old.a\nimport elsewhere\n"})
    make_wheel(index.folder, "elsewhere", "1.0")
    base = {
        "format": "bundler-base",
        "format_version": 1,
        "source": "interpreter",
        "python": {},
        "libraries": None,
        "symbol_versions": {},
        "distributions": [
            {"name": name, "version": "1.0", "requires": [], "top_level": [top], "pth": name == "old-a"}
            for name, top in (("elsewhere", "elsewhere"), ("old-a", "old"), ("unrelated", "unrelated"))
        ],
    }
    (tmp_path / "base.json").write_text(json.dumps(base))
    result = built_locked(warm_cli, "old-b", "--base", "base.json", "--name", "app", cwd=tmp_path)

    (way,) = result["verification"]["ways"].values()
    assert {one["module"]: one["status"] for one in way} == dict.fromkeys(
        ("elsewhere", "old.a", "old.b"), "ok"
    )
    place = tmp_path / "alone"
    place.mkdir()
    assert list(refused(warm_cli, "old-b", cwd=place)) == ["I201"]


# --- the libraries of the base ------------------------------------------------

SYSTEM_LIBRARY = "libmount.so.1"
"""Of util-linux, which every Debian has, and which no module of the standard library needs."""


def base_with(path: Path, *libraries: str) -> str:
    """Write the profile of a base that has the C library and these libraries."""
    profile = {
        "format": "bundler-base",
        "format_version": 1,
        "source": "rootfs",
        "python": {},
        "libraries": sorted(["libc.so.6", "libm.so.6", *libraries]),
        "symbol_versions": {},
        "distributions": [],
    }
    path.write_text(json.dumps(profile))
    return str(path)


def test_a_needed_import_runs_without_the_libraries_that_the_base_lacks(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """As `ctypes.CDLL("libgomp.so.1")`; no header of the bundle shows that need."""
    load = f"import ctypes\nctypes.CDLL('{SYSTEM_LIBRARY}')\n"
    make_wheel(index.folder, "needy", "1.0", {"needy.py": load})
    fallback = "try:\n    import needy\nexcept OSError:\n    pass\n"
    make_wheel(index.folder, "flexible", "1.0", {"flexible.py": fallback}, requires=["needy"])
    bare = base_with(tmp_path / "bare.json")
    full = base_with(tmp_path / "full.json", SYSTEM_LIBRARY)

    errors = refused(warm_cli, "needy", "--base", bare, cwd=tmp_path)

    assert [text.split(":")[0] for text in errors["E408"]] == [
        f"import `needy` of `needy` fails without `{SYSTEM_LIBRARY}`, which the base lacks"
    ]
    there = f"OSError: {SYSTEM_LIBRARY}: cannot open shared object file: No such file or directory"
    assert errors["E408"][0].endswith(there), "not the empty file that hides it here"
    built_locked(warm_cli, "needy", "--base", full, "--name", "full", cwd=tmp_path)
    built_locked(warm_cli, "flexible", "--base", bare, "--name", "flexible", cwd=tmp_path)


def test_an_import_that_only_the_base_can_prove_is_no_error(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "gpu", "1.0", {"gpu.py": "import ctypes\nctypes.CDLL('libno-such-gpu.so.1')\n"})
    base = base_with(tmp_path / "base.json", "libno-such-gpu.so.1")

    result = built_locked(warm_cli, "gpu", "--base", base, "--name", "app", cwd=tmp_path)

    assert findings(result)["I210"] == [
        "`gpu` of `gpu` cannot be imported here without `libno-such-gpu.so.1`, which the base has"
    ]
    place = tmp_path / "alone"
    place.mkdir()
    assert list(refused(warm_cli, "gpu", cwd=place)) == ["I201"]
