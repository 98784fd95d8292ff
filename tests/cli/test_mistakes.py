"""Commands typed wrongly: the answer is right at the first reading, and its hint works when followed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.archives import make_base, tar_bytes
from support.bundles import make_bundle
from support.cli import built, built_locked
from support.hints import hint, message, suggested
from support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lokc six", "lock six"),
        ("lock six --quite", "lock six --quiet"),
        ("lock --requirments r.txt", "lock --requirement r.txt"),
        ("lock --requirment=r.txt", "lock --requirement=r.txt"),
        ("lock six --index-ulr http://x", "lock six --index-url http://x"),
        ("store inof", "store info"),
        ("-q store inof", "-q store info"),
        ("-v lokc six", "-v lock six"),
        ("env lsit", "env list"),
        ("exlpain I201", "explain I201"),
    ],
)
def test_a_misspelt_word_gets_the_whole_command(
    typed: str, meant: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run(*typed.split(), cwd=tmp_path)

    assert ended.returncode == 2
    assert suggested(ended) == meant.split()


@pytest.mark.parametrize("args", [[], ["store"], ["env"]])
def test_a_group_alone_prints_its_help(args: list[str], bundler_cli: BundlerCli) -> None:
    ended = bundler_cli.run(*args)

    assert ended.returncode in (0, 2)
    assert "error" not in ended.stderr
    assert "Commands:\n" in ended.stdout
    assert "\\n" not in ended.stdout


def test_a_misspelt_command_hides_the_password_of_its_arguments(
    bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run("lokc", "six", "-i", "https://me:hunter22@index.example/simple", cwd=tmp_path)

    assert "hunter22" not in ended.stderr
    assert ended.returncode == 2


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("requirements.txt", ["-r", "requirements.txt"]),
        ("pyproject.toml", ["-r", "pyproject.toml"]),
        ("env.yml", ["-f", "env.yml"]),
        ("pylock.toml", ["--lock", "pylock.toml"]),
    ],
)
def test_without_requirements_the_file_that_exists_is_suggested(
    file: str, words: list[str], bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / file).write_text("", "utf-8")
    ended = bundler_cli.run("build", cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (2, "no requirements given")
    assert suggested(ended) == ["build", *words]


@pytest.mark.parametrize(("file", "option"), [("limits.txt", "-r"), ("app.py", "-s"), ("no.txt", "-r")])
def test_constraints_alone_are_no_requirements(
    file: str, option: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "limits.txt").write_text("six<2\n", "utf-8")
    (tmp_path / "app.py").touch()
    ended = bundler_cli.run("lock", "-c", file, cwd=tmp_path)

    if file == "no.txt":
        assert (ended.returncode, message(ended)) == (2, "no requirements given")
    else:
        assert (ended.returncode, suggested(ended)) == (2, ["lock", option, file])
        assert message(ended) == "no requirements given: `-c` only limits their versions"


@pytest.mark.parametrize(
    ("python", "code", "text"),
    [
        ("37", 2, "is neither a version nor the path of a Python"),
        ("py37", 2, "is neither a version nor the path of a Python"),
        ("python3.7", 2, "is neither a version nor the path of a Python"),
        ("3.6", 8, "Python 3.6 is not supported as a target"),
        ("2.7", 8, "Python 2.7 is not supported as a target"),
    ],
)
def test_a_wrong_python_gets_the_right_one(
    python: str, code: int, text: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    ended = warm_cli.run("lock", "leaf", "--python", python, cwd=tmp_path)

    assert ended.returncode == code
    assert text in message(ended)
    assert suggested(ended) == ["--python", "3.7"]
    assert warm_cli.run("lock", "leaf", *suggested(ended), cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("build six --python 3.7 3.8", "build six --python 3.8"),
        ("build --python 3.7 3.8 six", "build --python 3.8 six"),
        ("build six --python=3.7 3.8.1 --for mount", "build six --python 3.8.1 --for mount"),
        ("build six --python 3.7,3.8", "build six --python 3.8"),
        ("lock six --python 3.7 3.8 3.9", "lock six --python 3.9"),
        ("env build NAME --python 3.7 3.8", "env build NAME --python 3.8"),
    ],
)
def test_a_build_has_one_python(typed: str, meant: str, bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run(*typed.split(), cwd=tmp_path)

    assert ended.returncode == 2
    assert message(ended).startswith("several values for `--python`: 3.7, 3.8")
    assert suggested(ended) == meant.split()


@pytest.mark.parametrize(
    ("file", "fact", "meant"),
    [
        ("code/score.py", "a Python script, not a requirements file", "{register} --name score"),
        ("code/score.py --name x", "a Python script, not a requirements file", "{register} --name x"),
        ("setup.py", "a file for the build of a project, not a requirements file", "{register} --name setup"),
        ("pylock.toml", "a lockfile, not a requirements file", "{register} --name pylock"),
        ("pyproject.toml", "a TOML file, not a requirements file", "{register} --name pyproject"),
        ("{bundle}", "a bundle, not an input of one", "inspect {bundle}"),
        ("{bundle} --name x", "a bundle, not an input of one", "inspect {bundle}"),
    ],
)
def test_an_environment_is_not_registered_from_a_file_of_another_kind(
    file: str, fact: str, meant: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    for name in ("code/score.py", "setup.py", "pylock.toml"):
        (tmp_path / name).write_text("import os\n", "utf-8")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'app'\nversion = '1'\n", "utf-8")
    bundle = str(make_bundle(tmp_path / "dist").relative_to(tmp_path))
    words = [word.format(bundle=bundle) for word in file.split()]
    place = {"BUNDLER_WORKSPACE": str(tmp_path / "workspace")}
    without = bundler_cli.run("env", "register", *words, cwd=tmp_path, env=place)
    (tmp_path / "requirements.txt").write_text("six\n", "utf-8")
    ended = bundler_cli.run("env", "register", *words, cwd=tmp_path, env=place)

    assert (ended.returncode, message(ended)) == (3, f"{words[0]}: {fact}")
    assert suggested(ended) == meant.format(register="env register requirements.txt", bundle=bundle).split()
    for command in (suggested(without), suggested(ended)):
        assert bundler_cli.run(*command, cwd=tmp_path, env=place).returncode == 0


@pytest.mark.parametrize("code", ["I299", "m1o1", "e499"])
def test_an_unknown_code_gets_those_of_its_letter(code: str, bundler_cli: BundlerCli, tmp_path: Path) -> None:
    allowed = bundler_cli.run("build", "six", "--allow", code, cwd=tmp_path)
    assert allowed.returncode == 2
    assert len(max(allowed.stderr.splitlines(), key=len)) < 100
    assert suggested(allowed)[0] == "--allow"

    if code != "m1o1":
        explained = bundler_cli.run("explain", code, cwd=tmp_path)
        assert explained.returncode == 3
        assert bundler_cli.run(*suggested(explained)).returncode == 0


@pytest.mark.parametrize("words", [["201"], ["i-201"], ["I", "201"], ["101"], ["m101"]])
def test_a_code_without_its_letter_or_with_a_separator_gets_the_code(
    words: list[str], bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run("explain", *words, cwd=tmp_path)
    if ended.returncode:
        assert suggested(ended)[:1] == ["explain"]
        code = suggested(ended)[1]
        assert code[1:] == words[-1][-3:]
        ended = bundler_cli.run("explain", code, cwd=tmp_path)
    assert ended.returncode == 0


def test_the_output_of_a_command_that_prints_is_redirected(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "freeze.txt").write_text("six==1.16.0\n", "utf-8")
    for option in (["-o", "base.json"], ["--output=base.json"], ["-obase.json"]):
        ended = bundler_cli.run("profile", "freeze.txt", *option, cwd=tmp_path)
        assert ended.returncode == 2
        assert hint(ended) == "bundler profile freeze.txt > base.json"


def test_an_option_with_two_values_names_both(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run("build", "six", "--python", "3.7", "--python=3.8", cwd=tmp_path)
    assert ended.returncode == 2
    assert "`--python` takes one value, but has several: `3.7` and `3.8`" in ended.stderr
    assert suggested(ended) == ["build", "six", "--python=3.8"]
    assert bundler_cli.run("config", "--json", "-q", "-q", cwd=tmp_path).returncode == 0


def test_a_base_of_names_and_versions_is_compared_with_nothing_else(
    bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "dist")
    (path,) = (tmp_path / "dist").glob("*.tar.gz")
    (tmp_path / "freeze.txt").write_text("idna==3.4\n", "utf-8")
    ended = bundler_cli.run("verify", str(path), "--base", "freeze.txt", cwd=tmp_path)
    assert ended.returncode == 0
    assert "`freeze.txt` contains names and versions only" in ended.stderr
    assert "the bundle fits its distributions" in ended.stderr


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("x-1.0-py3-none-any.whl", "neither a wheel nor an sdist: an HTML page"),
        ("x-1.0.tar.gz", "neither a wheel nor an sdist: an HTML page"),
        ("r.txt", "an HTML page, not a"),
        ("env.yml", "an HTML page, not a"),
        ("pylock.toml", "an HTML page, not a lockfile"),
    ],
)
def test_a_downloaded_page_is_not_an_input(
    name: str, fact: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("<!DOCTYPE html>\n<html><title>Sign in</title></html>\n", "utf-8")
    ended = bundler_cli.run("build", f"./{name}" if name.startswith("x") else name, cwd=tmp_path)
    assert ended.returncode == 3
    assert fact in ended.stderr
    assert hint(ended).startswith("download it again")


@pytest.mark.parametrize("command", [["verify"], ["inspect"], ["tree"], ["report", "-o", "r.html"]])
def test_a_bundle_with_the_name_of_a_second_download_gets_its_name(
    command: list[str], bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "dist")
    (path,) = (tmp_path / "dist").glob("*.tar.gz")
    path.rename(tmp_path / "b.tar.gz.1")
    ended = bundler_cli.run(*command, "b.tar.gz.1", cwd=tmp_path)
    assert ended.returncode == 7
    assert hint(ended) == "mv b.tar.gz.1 b.tar.gz"
    (tmp_path / "b.tar.gz.1").rename(tmp_path / "b.tar.gz")
    assert bundler_cli.run(*command, "b.tar.gz", cwd=tmp_path).returncode == 0


def test_explain_of_a_bundle_or_without_one(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    make_bundle(tmp_path / "dist")
    (path,) = (tmp_path / "dist").glob("*.tar.gz")
    for subject in (str(path), "pkg"):
        ended = bundler_cli.run("explain", subject, cwd=tmp_path)
        assert ended.returncode == 2
        assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0, hint(ended)


# Files.


@pytest.mark.parametrize(
    "args",
    [
        ["build", "-r", "nothing"],
        ["build", "--lock", "nothing"],
        ["build", "-s", "nothing"],
        ["build", "-f", "nothing.yml"],
        ["build", "six", "--base", "nothing"],
        ["build", "six", "--source-dir", "nothing"],
        ["verify", "nothing"],
        ["inspect", "nothing.tar.gz"],
        ["unpack", "nothing.tar.gz", "out"],
    ],
)
def test_a_missing_file_is_told_in_one_style(
    args: list[str], bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run(*args, cwd=tmp_path)

    assert ended.returncode in (2, 3, 11)
    name = next(word for word in args if word.startswith("nothing"))
    assert re.fullmatch(rf"{name}: file (or directory )?not found( \(--[a-z-]+\))?", message(ended))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["-r", "--source-dir", "--base"])
def test_a_misspelt_file_gets_the_one_that_exists(
    option: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements.txt").write_text("six\n", "utf-8")
    typed = "requirementz" if option == "--source-dir" else "requirement.txt"
    ended = bundler_cli.run("build", "six", option, typed, cwd=tmp_path)

    words = suggested(ended)
    assert option == "-r" or words[:3] == ["build", "six", option]
    assert (tmp_path / words[-1]).exists()


@pytest.mark.parametrize("output", ["file/dist", "/proc/nowhere"])
def test_an_unwritable_output_is_told_before_the_resolution(
    output: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    before = len(index.requests)
    for command in (["build", "six", "-o", output], ["lock", "six", "-o", f"{output}/pylock.toml"]):
        ended = warm_cli.run(*command, cwd=tmp_path)
        assert ended.returncode == 11
        assert message(ended).startswith("cannot write to `")
    assert len(index.requests) == before


def test_a_wrong_base_is_told_before_the_resolution(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "base").write_bytes(b"\0\1")
    before = len(index.requests)
    ended = warm_cli.run("build", "six", "--base", "base", cwd=tmp_path)

    assert ended.returncode == 3
    assert len(index.requests) == before


def test_an_input_without_requirements_builds_nothing(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_text("dependencies: []\n", "utf-8")
    ended = bundler_cli.run("build", "-f", "env.yml", cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (3, "no requirements in env.yml")
    assert [path.name for path in tmp_path.iterdir()] == ["env.yml"]


def test_a_damaged_archive_is_told_in_words(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    ended = bundler_cli.run("verify", str(path))

    assert ended.returncode == 5
    assert "does not match the checksum" in ended.stderr
    assert "Error -" not in ended.stderr


# Models of MLflow, and code.


@pytest.fixture
def model(tmp_path: Path, index: LocalIndex) -> Path:
    """A directory as MLflow writes it."""
    make_wheel(index.folder, "leaf", "1.0")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n", "utf-8")
    (folder / "requirements.txt").write_text("leaf\n", "utf-8")
    (folder / "python_env.yaml").write_text(
        "python: 3.7.5\nbuild_dependencies:\n- pip==22.0\ndependencies:\n- -r requirements.txt\n", "utf-8"
    )
    return folder


@pytest.mark.parametrize(
    "args",
    [
        ["model"],
        ["./model"],
        ["-r", "model"],
        ["-f", "model"],
        ["-r", "model/MLmodel"],
        ["-f", "model/MLmodel"],
        ["-f", "model/python_env.yaml"],
    ],
)
def test_a_model_of_mlflow_is_an_input(
    args: list[str], model: Path, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = warm_cli.run("lock", *args, cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert 'name = "leaf"' in (tmp_path / "pylock.toml").read_text("utf-8")
    assert "model/python_env.yaml:1: `python=3.7.5` is the target" in ended.stderr


def test_a_bundle_of_a_model_has_the_name_of_its_directory(
    model: Path, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    conda = "name: mlflow-env\ndependencies:\n- python=3.7.5\n- pip<=23\n- pip:\n  - leaf\n"
    (model / "conda.yaml").write_text(conda, "utf-8")
    assert built(warm_cli, "-f", "model", cwd=tmp_path)["name"] == "model"
    assert built(warm_cli, "model", cwd=tmp_path)["name"] == "model"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("flavors: [\n", "not valid YAML"),
        ("[]\n", "not the description of an MLflow model"),
        ("flavors: {python_function: {env: {conda: ../../x.yaml}}}\n", "outside of the directory"),
        ("flavors: {python_function: {loader_module: 3}}\n", "`loader_module`"),
    ],
)
def test_a_malformed_model_has_a_hint(
    text: str, fact: str, model: Path, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    (model / "MLmodel").write_text(text, "utf-8")
    ended = warm_cli.run("lock", "model", cwd=tmp_path)

    assert (ended.returncode, fact in ended.stderr) == (3, True), ended.stderr
    followed = warm_cli.run("lock", *suggested(ended), cwd=tmp_path)
    assert followed.returncode == 0, followed.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["--source-dir", "app"],
        ["--entry-script", "app/main.py"],
        ["--source-dir", "app", "--entry-script", "mian.py"],
        ["--source-dir", "app", "--run-init"],
    ],
)
def test_the_options_of_code_name_the_files_that_exist(
    args: list[str], index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    app = tmp_path / "app"
    app.mkdir()
    (app / "helper.py").write_text("", "utf-8")
    (app / "main.py").write_text("def init():\n    pass\n\ndef run(data):\n    pass\n", "utf-8")
    ended = warm_cli.run("build", "leaf", *args, cwd=tmp_path)

    assert ended.returncode in (2, 3)
    followed = warm_cli.run("build", "leaf", *suggested(ended), cwd=tmp_path)
    assert followed.returncode == 0, followed.stderr


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import PIL\n", "fix: add `Pillow` to the requirements"),
        (
            "import pandas.api\n",
            "fix: add `pandas` to the requirements",
        ),
        ("def init(): pass\n", "fix: add `def run(data):` at its top level"),
        (
            "match 1:\n    case 1: pass\n",
            "`app/main.py:1` is not valid Python for the target: invalid syntax",
        ),
    ],
)
def test_the_findings_about_code_name_the_remedy(
    code: str, text: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").write_text(code, "utf-8")
    ended = warm_cli.run("build", "leaf", "--source-dir", "app", "--entry-script", "main.py", cwd=tmp_path)

    assert ended.returncode == 10
    assert text in ended.stderr


def test_a_lock_of_other_requirements_gets_the_command_that_locks_them(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "other", "1.0")
    (tmp_path / "my reqs.in").write_text("leaf\n", "utf-8")
    assert warm_cli.run("lock", "-r", "my reqs.in", "-o", "a.toml", cwd=tmp_path).returncode == 0
    ended = warm_cli.run("build", "--lock", "a.toml", "-r", "my reqs.in", "other", cwd=tmp_path)

    assert ended.returncode == 3
    assert warm_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0
    assert (
        warm_cli.run("build", "--lock", "a.toml", "-r", "my reqs.in", "other", cwd=tmp_path).returncode == 0
    )


def test_a_build_names_the_modules_that_do_not_import_and_a_bundle_to_inspect(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "host", "1.0", {"host.py": "", "plugin.py": "import nothing_at_all\n"})
    make_wheel(index.folder, "leaf", "1.0", {"leaf.py": "import host\n"}, requires=["host"])
    ended = warm_cli.run("build", "leaf", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "          not imported: plugin (no requested module needs it)" in ended.stderr
    command = re.search(r"`(bundler inspect [^`]+)`", ended.stderr)
    assert command is not None
    inspected = warm_cli.run(*shlex.split(command[1])[1:], cwd=tmp_path)
    assert inspected.returncode == 0
    assert "nothing_at_all" in inspected.stdout


# Values of settings, and errors before the work.


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("BUNDLER_PYTHON", "abc", "`abc` is neither a version nor the path of a Python"),
        ("BUNDLER_PYTHON", "3.99", "CPython 3.99 not found"),
        ("BUNDLER_SERVER", "latest", "`latest` is not a known release of `azureml-inference-server-http`"),
        ("BUNDLER_TARGET_GLIBC", "9", "`9` is not a glibc version"),
        ("BUNDLER_NAME", "../x", "`../x` is not a valid name of a bundle"),
        ("BUNDLER_ALLOW", "foo", "`foo` does not name a finding"),
    ],
)
def test_an_error_about_a_setting_names_it(
    variable: str, value: str, text: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run("build", "six", cwd=tmp_path, env={variable: value})
    assert ended.returncode in (2, 3, 8)
    assert message(ended) == text
    assert f"  set by  {variable}\n" in ended.stderr

    if variable == "BUNDLER_PYTHON":  # an option precedes the variable
        ended = bundler_cli.run("build", "six", "--python", "xyz", cwd=tmp_path, env={variable: value})
        assert "`--python xyz`" in message(ended)
        assert variable not in ended.stderr
        (tmp_path / "pyproject.toml").write_text("[tool.bundler]\npython = 'py3'\n", "utf-8")
        ended = bundler_cli.run("build", "six", cwd=tmp_path)
        assert "  set by  python of [tool.bundler] in pyproject.toml\n" in ended.stderr


def test_a_wrong_server_is_reported_before_the_resolution(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    before = len(index.requests)
    for typed, meant in (
        ("latest", "0.8.4.2"),
        ("v1.2", "1.2.2"),
        ("==0.7.7", "0.7.7"),
        ("0.8.4.3", "0.8.4.2"),
    ):
        ended = warm_cli.run("build", "six", "--server", typed, cwd=tmp_path)
        assert ended.returncode == 3
        assert suggested(ended) == ["--server", meant]
    assert len(index.requests) == before


def test_an_early_error_is_alone_and_a_late_one_after_the_target(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    early = warm_cli.run("lock", "leaf==9", cwd=tmp_path)
    assert (early.returncode, early.stderr.splitlines()[0]) == (4, f"bundler: error: {message(early)}")
    verbose = warm_cli.run("-v", "lock", "leaf==9", cwd=tmp_path)
    assert verbose.stderr.startswith("target    CPython 3.7")

    right = warm_cli.run("lock", "leaf", cwd=tmp_path)
    names = [line.split()[0] for line in right.stderr.splitlines()]
    assert names[:2] == ["target", "glibc"]
    assert "lock" in names[2:]


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["-o", "out"],
        ["--entry-script", "score.py"],
        ["--entry-script", "code/score.py"],
        ["--source-dir", "code", "--base-image", "python:3.7"],
        ["--source-dir", "code", "--entry-script", "score.py", "--model", "m:1=model.pkl"],
    ],
)
def test_all_missing_options_of_a_package_are_in_one_command(
    args: list[str], bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    path = make_bundle(tmp_path)
    (tmp_path / "model.pkl").touch()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    ended = bundler_cli.run("package", path.name, *args, cwd=tmp_path)

    assert ended.returncode == 2
    assert message(ended).startswith("missing option")
    followed = bundler_cli.run(*suggested(ended), cwd=tmp_path)
    assert followed.returncode == 0, followed.stderr
    if "--model" in args:
        assert list((tmp_path / "context").rglob("model.pkl"))


@pytest.mark.parametrize(
    "typed",
    [
        "--source-dir code --entry-script score.py --user root --mode dynamic -o ctx9",
        "-octx9 --openshift --tag a:1 --lib-var both",
        "--image out.tar --delta-from old.tar --base base.tar --azureml-v2",
        "--entry-script score.py --store store --json",
        "--source-dir code --base-image python:3.7 --model m:1=base.tar",
    ],
)
def test_the_hint_for_a_package_has_every_typed_option(
    typed: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    path = make_bundle(tmp_path)
    for name in ("old.tar", "context"):
        (tmp_path / name).touch()
    (tmp_path / "base.tar").write_bytes(tar_bytes({"manifest.json": "[]"}))  # as much of an image as is read
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    ended = bundler_cli.run("-q", "package", path.name, *typed.split(), cwd=tmp_path)

    words = re.findall(r"hint: (bundler .*)", ended.stderr)[0].split()
    assert words[1 : len(typed.split()) + 4] == ["-q", "package", path.name, *typed.split()]
    assert all(words.count(option) == 1 for option in ("--source-dir", "--entry-script", "--base-image"))
    if "old.tar" not in typed and "dynamic" not in typed:  # a real image, and the wheels of a real build
        followed = bundler_cli.run(*words[1:], cwd=tmp_path)
        assert followed.returncode == 0, followed.stderr


@pytest.mark.parametrize("wrong", ["--model model.pkl", "--model=model.pkl", "--base-image REF"])
def test_the_hint_for_a_missing_option_of_a_package_has_no_other_mistake(
    wrong: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    path = make_bundle(tmp_path)
    (tmp_path / "model.pkl").touch()
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    ended = bundler_cli.run("package", path.name, "--entry-script=score.py", *wrong.split(), cwd=tmp_path)

    assert message(ended) == "2 problems in the command line"
    first, _ = re.findall(r"hint    (.*)", ended.stderr)
    followed = bundler_cli.run(*shlex.split(first)[1:], cwd=tmp_path)
    assert followed.returncode == 0, followed.stderr


@pytest.mark.parametrize("name", ["requirements.txt", "code/score.py"])
def test_a_package_of_another_file_names_the_file_alone(
    name: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / name).write_text("six\n", "utf-8")
    ended = bundler_cli.run("package", name, cwd=tmp_path)

    assert ended.returncode == 7
    assert f"`{name}` is not a bundle" in message(ended)


def test_missing_and_wrong_options_of_a_package_are_reported_together(
    bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    path = make_bundle(tmp_path)
    (tmp_path / "model.pkl").touch()
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    args = ["--source-dir", ".", "--entry-script", "scor.py", "--model", "model.pk", "--base-image", "REF"]
    ended = bundler_cli.run("package", path.name, *args, cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (2, "4 problems in the command line")
    image = "mcr.microsoft.com/azureml/minimal-ubuntu18.04-py37-cpu-inference:latest"
    hints = re.findall(r"^    hint    (.*)$", ended.stderr, re.MULTILINE)
    assert shlex.split(hints[0])[3:] == [
        *("--source-dir", ".", "--entry-script", "score.py", "--model", "model:1=model.pkl"),
        *("--base-image", image, "-o", "context"),
    ]
    assert [shlex.split(text)[-2:] for text in hints[1:]] == [
        ["--entry-script", "score.py"],
        ["--model", "model:1=model.pkl"],
        ["--base-image", image],
    ]
    wrong = bundler_cli.run("package", path.name, *args[:2], "--entry-script", "score.py", "-o", "out",
                            "--base-image", "python:3.7", "--model", "m:1=model.pk", cwd=tmp_path)  # fmt: skip
    assert (wrong.returncode, suggested(wrong)) == (3, ["--model", "m:1=model.pkl"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("typed", "fact", "expected"),
    [
        ("build six --proxy http://p:1", "PIP_PROXY", "bundler build --help"),
        ("lock six --timeout=3", "PIP_TIMEOUT", "bundler lock --help"),
        ("build six --cert x.pem", "PIP_CERT", "bundler build --help"),
        ("build six --retries 3", "PIP_RETRIES", "bundler build --help"),
        ("build six --require-hashes", "--hash=sha256:", "bundler build --help"),
        ("build six --channel conda-forge", "-f environment.yml", "bundler build --help"),
        ("build six --format json", "invalid value", "did you mean `bundler build six --json`?"),
        ("build --format=JSON six -q", "invalid value", "did you mean `bundler build --json six -q`?"),
        ("build six --format zip", "tar.gz, tar.zst, dir", "bundler build --help"),
        ("config set index-url x", "only shows", "export BUNDLER_INDEX_URL=x"),
        ("config set global.index-url 'a b'", "only shows", "export BUNDLER_INDEX_URL='a b'"),
        ("config set", "only shows", "bundler config"),
        ("config get index-url", "[tool.bundler]", "bundler config"),
        ("config list", "only shows", "bundler config"),
        ("config lokc", "not a command", "did you mean `bundler config lock`?"),
    ],
)
def test_the_way_of_another_tool_gets_that_of_bundler(
    typed: str, fact: str, expected: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run(*shlex.split(typed), cwd=tmp_path)

    assert (ended.returncode, hint(ended)) == (2, expected)
    assert fact in ended.stderr


# Lines of requirements.


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("python=3.8", "3.8"),
        ("python==3.8.*", "3.8"),
        ("python>=3.8,<3.11", "3.8"),
        ("Python", "3.7"),
        ("python3.8", "3.8"),
        ("python-3.8", "3.8"),
    ],
)
def test_the_interpreter_is_an_option(
    text: str, python: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run("build", "six", text, cwd=tmp_path)
    assert (ended.returncode, suggested(ended)) == (3, ["--python", python])

    (tmp_path / "requirements.txt").write_text(f"{text}\n", "utf-8")
    ended = bundler_cli.run("build", "-r", "requirements.txt", cwd=tmp_path)
    assert message(ended) == "requirements.txt:1: the interpreter is not a distribution"
    assert hint(ended) == f"pass `--python {python}` to the command, and remove the line"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-e git+https://h.example/six@1.16.0#egg=six", ("run `git ls-remote https://h.example/six 1.16.0`, and "
            "replace `1.16.0` with the ID that it prints, and omit `-e`")),
        ("-e git+https://me:pw99@h.example/six", ("run `git ls-remote https://h.example/six HEAD`, and append `@` "
            "and the ID that it prints, and omit `-e`")),
        ("six @ git+https://h.example/six@65486e4", ("run `git ls-remote https://h.example/six | grep ^65486e4`, and "
            "replace `65486e4` with the ID that it prints")),
        (f"-e git+https://h.example/six@{'0' * 40}#egg=six&subdirectory=a",
            f"write `six @ git+https://h.example/six@{'0' * 40}#subdirectory=a`"),
        ("-e proj", "write `./proj` without `-e`"),
        ("--editable=../proj", "write `../proj` without `-e`"),
        ("-e .", "write `.` without `-e`"),
    ],
)  # fmt: skip
def test_editable_lines_and_repositories_get_the_line_or_a_whole_command(
    line: str, expected: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text(f"{line}\n", "utf-8")
    ended = bundler_cli.run("build", "-r", "requirements.txt", cwd=tmp_path)

    assert (ended.returncode, hint(ended)) == (3, expected)
    assert "pw99" not in ended.stderr


@pytest.mark.parametrize("option", ["-r", "-c"])
def test_a_missing_file_gets_the_file_that_exists(
    option: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text("six\n", "utf-8")
    ended = bundler_cli.run("build", "six", option, "base.txt", cwd=tmp_path)

    assert (message(ended), suggested(ended)) == ("base.txt: file not found", ["requirements.txt"])


def test_a_release_without_a_wheel_can_be_built_here(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_sdist(index.folder, "source-only", "1.0", {"source_only.py": ""})
    ended = warm_cli.run("lock", "source-only", "--only-binary", cwd=tmp_path)

    assert hint(ended) == "build it here, with its own code: omit `--only-binary`"
    assert warm_cli.run("lock", "source-only", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("typed", ["lock --check", "lock -P flask", "lock --upgrade", "build --dry-run -q"])
def test_the_hint_for_missing_requirements_has_the_typed_options(
    typed: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").touch()
    ended = bundler_cli.run(*typed.split(), cwd=tmp_path)

    assert suggested(ended) == [*typed.split(), "-r", "requirements.txt"]


def test_an_upgrade_of_an_unknown_distribution_writes_nothing(
    bundler_cli: BundlerCli, index: LocalIndex, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaflet", "1.0")
    ended = bundler_cli.run("lock", "leaflet", "-P", "leaflt", cwd=tmp_path)

    assert (ended.returncode, hint(ended)) == (2, "did you mean `--upgrade-package leaflet`?")
    assert not (tmp_path / "pylock.toml").exists()


def test_a_tilde_that_the_shell_leaves_is_the_home_directory(
    bundler_cli: BundlerCli, index: LocalIndex, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    home = tmp_path / "home"
    home.mkdir()
    ended = bundler_cli.run("lock", "leaf", "--output=~/made.toml", cwd=tmp_path, env={"HOME": str(home)})

    assert ended.returncode == 0, ended.stderr
    assert (home / "made.toml").is_file()
    assert not (tmp_path / "~").exists()
    ended = bundler_cli.run("store", "info", cwd=tmp_path, env={"HOME": str(home), "BUNDLER_STORE": "~/kept"})
    assert str(home / "kept") in ended.stdout + ended.stderr


def test_a_broken_pyproject_is_left_unchanged_by_init(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n", "utf-8")
    ended = bundler_cli.run("init", cwd=tmp_path)

    assert ended.returncode == 3
    assert message(ended).startswith("pyproject.toml:1: not valid TOML")
    assert (tmp_path / "pyproject.toml").read_text("utf-8") == "[project\n"


def test_a_greater_sign_that_the_shell_took_for_a_redirection(
    bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    command = shlex.join([sys.executable, "-I", "-m", "bundler", "build", "six"])
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{command} >=1.16"],
        cwd=tmp_path,
        env=bundler_cli.env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2
    assert "the shell took `>` for a redirection" in ended.stderr
    assert "rm ./=1.16 && bundler build 'six>=1.16'" in ended.stderr


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("manylinux2014", "2.17"), ("manylinux_2_28_x86_64", "2.28"), ("glibc2.31", "2.31"), ("new", "2.27")],
)
def test_the_name_of_a_platform_is_not_a_glibc_version(
    asked: str, meant: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run("lock", "six", "--target-glibc", asked, cwd=tmp_path)

    assert hint(ended) == f"--target-glibc {meant}"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["build", "-requirement", "r.txt"], ["build", "--requirement", "r.txt"]),
        (["build", "-r=r.txt"], ["build", "--requirement=r.txt"]),
    ],
)
def test_one_dash_before_a_long_option(
    words: list[str], meant: list[str], bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "r.txt").touch()
    ended = bundler_cli.run(*words, cwd=tmp_path)

    assert (ended.returncode, suggested(ended)) == (2, meant)


def test_a_file_of_the_directory_above(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "src").mkdir()
    ended = bundler_cli.run("build", "-r", "requirements.txt", cwd=tmp_path / "src")

    assert hint(ended) == "did you mean `../requirements.txt`?"


@pytest.mark.parametrize(
    ("words", "fact", "expected"),
    [
        (["lock", "-r", "slashes.txt"], "slashes.txt:1: file or directory", "a comment starts with ` #`"),
        (
            [
                "lock",
                "six",
                "--extra-index-url",
                "https://index.example/a/simple",
                "https://index.example/b/simple",
            ],
            "command line: the URL of an index, not a requirement",
            "repeat the option: `--extra-index-url https://index.example/b/simple`",
        ),
        (["build", "--lock", "slashes.txt"], "slashes.txt: a requirements file", "pass `-r slashes.txt`"),
    ],
)
def test_a_word_of_another_kind(
    words: list[str], fact: str, expected: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "slashes.txt").write_text("six==1.16.0 // pinned\n", "utf-8")
    ended = bundler_cli.run(*words, cwd=tmp_path)

    assert message(ended).startswith(fact)
    assert hint(ended) == expected


def test_a_variable_that_begins_as_a_setting(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run(
        "lock", "-r", "no.txt", cwd=tmp_path, env={"BUNDLER_INDEX": "https://index.example"}
    )

    assert "BUNDLER_INDEX: unknown setting, ignored; did you mean `BUNDLER_INDEX_URL`?" in ended.stderr


@pytest.fixture
def shelf(tmp_path: Path, index: LocalIndex, bundler_cli: BundlerCli) -> Path:
    """A directory with an environment in a workspace, its file, and a bundle."""
    make_wheel(index.folder, "six", "1.16.0", {"six.py": ""})
    (tmp_path / "env.yml").write_text("name: mine\ndependencies:\n  - python=3.7\n  - pip:\n      - six\n")
    assert bundler_cli.run("env", "register", "env.yml", "-w", "ws", cwd=tmp_path).returncode == 0
    make_bundle(tmp_path / "b")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text("def init(): pass\ndef run(data): return data\n")
    (tmp_path / "Dockerfile").write_text("FROM python:3.7\nRUN pip install six\n")
    (tmp_path / "base.txt").write_text("six==1.16.0\n")
    (tmp_path / "index.txt").write_text("--index https://index.example/simple\nsix\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/Dockerfile").write_text("FROM python:3.7\n")
    make_base(tmp_path / "image.tar")
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "told", "meant"),
    [
        ("build six --python 3.77", "CPython 3.77 not found", "pass `--python 3.7`"),
        ("build six --target out", "is not the tag of a platform", "bundler build six --output out"),
        ("build six --target=3.12", "is not the tag of a platform", "bundler build six --python=3.12"),
        ("build six -c conda-forge", "not a channel of conda", "leave out `-c conda-forge`"),
        ("profile python3.7", "file or directory not found", "bundler profile --python 3.7"),
        ("store info --store nostore", "nostore: no store there", "bundler store info"),
        ("store fsck --store nostore", "nostore: no store there", "bundler store info"),
        ("env show mine:1 -w ws", "the version is an option", "bundler env show mine -w ws --version 1"),
        ("env show mine:live -w ws", "the version is an option", "bundler env show mine -w ws --label live"),
        ("env list -w wss", "wss: workspace not found", "did you mean `bundler env list -w ws`?"),
        ("env show mine -w wss", "workspace not found", "did you mean `bundler env show mine -w ws`?"),
        ("env list -w elsewhere", "elsewhere: workspace not found", "`bundler env register` creates"),
        ("env remove mine -w ws", "no such command: `remove`\n  a registered version never", ""),
        ("env export mine b -w ws", "`b` already exists", "bundler env export mine mine-export -w ws"),
        ("env register env.yml -w ws -e FOO", "`-e FOO` is not NAME=VALUE", "-e FOO=VALUE"),
        ("join b no.tar out.tar", "no.tar: file or directory not found", "--image no.tar --delta-from b`"),
        ("matrix", "bundles.toml: file not found", "printf '[bundle.app]\\ninputs ="),
        ("lock -r absent.in", "absent.in: file not found", "pass `-f env.yml`, which exists"),
        ("lock six -c absent.in", "absent.in: file not found", ""),
        ("env register nowhere -w ws", "nowhere: file", "did you mean `bundler env register env.yml -w ws`?"),
        (
            "env list -w env.yml",
            "env.yml: a file, not a workspace",
            "bundler env register env.yml -w workspace",
        ),
        (
            "build six --platform linux/arm64",
            "no such option: `--platform`\n  another platform",
            "build --help",
        ),
        ("lock six --generate-hashes", "a lock always has the hash of each file", "bundler lock --help"),
        ("build six -t my:1", "`bundler package --tag` that of an image", "bundler build --help"),
        ("build six --allow 'M101 enum34'", "does not name a finding", "pass `--allow M101:enum34`"),
        ("store fsck --store code", "code: no store there", "bundler store info"),
        ("store gc 7", "unexpected argument: `7`", "`bundler store gc --unused-days 7`"),
        ("report b -o pages/", "pages/: a directory, not a file", "--output pages/report.html"),
        ("env list --format json", "no such option: `--format`", "`bundler env list --json`"),
        ("env list -o json", "no such option: `-o`", "`bundler env list --json`"),
        ("config python 3.8", "only shows the settings", "export BUNDLER_PYTHON=3.8"),
        ("build install six", "install: a command of pip, not a requirement", "write `'install>=0'`"),
        ("build -f base.txt", "`-f base.txt` is a file with requirements", "pass `-r base.txt`"),
        ("build six -f absent.in", "`-f absent.in` is a file with requirements", "pass `-r absent.in`"),
        ("build six -f code/score.py", "is a file with requirements", "pass `-s code/score.py`"),
        ("build six==1.16.O", "not a valid requirement", "did you mean `six==1.16.0`?"),
        ("build 'six>=l.16'", "not a valid requirement", "did you mean `six>=1.16`?"),
        ("build -r index.txt", "the option `--index` is not allowed", "did you mean `--index-url`?"),
        (
            "build code",
            "code: a directory without a project or a file with requirements",
            "your own code is checked with `--source-dir code --entry-script score.py`",
        ),
        ("build images", "images: an existing directory", "$(docker build -q images) list"),
        (
            "build images/Dockerfile",
            "a Dockerfile, not a requirements file",
            "$(docker build -q images) list",
        ),
        (
            "verify image.tar",
            "`image.tar` is an image, not a bundle",
            "`bundler profile image.tar` shows its packages",
        ),
        ("verify base.txt", "`base.txt` is not a bundle", "`bundler build -r base.txt`"),
        ("inspect env.yml", "`env.yml` is not a bundle", "`bundler build -f env.yml`"),
        ("base add nowhere", "nowhere: file or directory not found", "see `bundler base add --help`"),
        (
            "build six --base Dockerfile",
            "found   a Dockerfile",
            "`docker build -t base -f Dockerfile . && docker save -o base.tar base`, then `--base base.tar`",
        ),
        (
            "package b --source-dir none --entry-script score.py --base-image mine -o ctx",
            "none: file or directory not found (--source-dir)",
            "pass `--source-dir code`, which has `score.py`",
        ),
        ("env create -f env.yml -w ws", "no such command", "`bundler env register env.yml -w ws`?"),
        ("env register --file env.yml -w ws", "no such option", "`bundler env register env.yml -w ws`?"),
        (
            "env register -r base.txt --name x",
            "no such option",
            "`bundler env register base.txt --name x`?",
        ),
        ("package b -f Dockerfile -t my:1 code", "it writes the Dockerfile itself", "package --help"),
        (
            "env register mine env.yml -w ws",
            "mine: file or",
            "`bundler env register env.yml --name mine -w ws`?",
        ),
        (
            "env register env.yml new",
            "unexpected argument: `new`",
            "`bundler env register env.yml --name new`?",
        ),
        ("matrix app", "app: file not found", "bundles.toml"),
        ("matrix env.yml", "`env.yml` has requirements, not bundles", "bundler build -f env.yml"),
        ("matrix base.txt", "`base.txt` has requirements, not bundles", "bundler build -r base.txt"),
        ("matrix --python 3.8", "no such option: `--python`", 'write `python = ["3.8"]` in the file'),
        ("matrix --no-index", "no such option: `--no-index`", "write `no-index = true` in the file"),
        ("matrix --format=dir", "no such option: `--format`", 'write `format = "dir"` in the file'),
        (
            "build six --base base.txt --omit-provided --for venv",
            "`--omit-provided` and `--for venv` exclude each other",
            "--for mount",
        ),
        (
            "package b --source-dir code/score.py --base-image mine -o ctx",
            "code/score.py: a file, not a directory",
            "`bundler package b --source-dir code --base-image mine -o ctx --entry-script score.py`?",
        ),
        (
            "package BUNDLE code/score.py -o ctx",
            "unexpected argument: `code/score.py`",
            "`bundler package BUNDLE -o ctx --source-dir code --entry-script score.py`?",
        ),
        (
            "package BUNDLE code",
            "unexpected",
            "`bundler package BUNDLE --source-dir code --entry-script score.py`?",
        ),
        (
            "package BUNDLE code score.py",
            "unexpected",
            "package BUNDLE --source-dir code --entry-script score.py`?",
        ),
        (
            "package BUNDLE --source-dir code --entry-script score.py --base-image 'python 3.7' -o ctx",
            "`python 3.7` is not the name of an image",
            "--base-image python:3.7",
        ),
        ("env show mine", "has no environment `mine`", "bundler env show mine -w ws"),
        (
            "env show other",
            "has no environment `other`",
            "`bundler env register env.yml`, or pass `-w PLACE`",
        ),
        ("env list -w azureml://x/workspaces/y", "not a workspace of Azure ML", ""),
        ("env list -w https://ml.example/y", "not a workspace of Azure ML", ""),
        (
            "env register env.yml -w ws --tag prod",
            "no such option: `--tag`",
            "`bundler env register env.yml -w ws --label prod`?",
        ),
        ("base remove nowhere", "a base image is a file in", "bundler base list"),
    ],
)
def test_a_mistake_in_a_small_project(
    typed: str, told: str, meant: str, shelf: Path, bundler_cli: BundlerCli
) -> None:
    bundle = "b/small-1.0-cp37-linux_x86_64.tar.gz"
    ended = bundler_cli.run(*shlex.split(typed.replace("BUNDLE", bundle)), cwd=shelf)

    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert told in ended.stderr
    assert meant.replace("BUNDLE", bundle) in (hint(ended) or "") if meant else True


@pytest.mark.parametrize(
    ("text", "typed", "told", "meant"),
    [
        ("[bundle.app]\n", "matrix app", "app: file not found", "`bundler matrix --only app`?"),
        ("[bundle.app]\n", "matrix apq", "apq: file not found", "`bundler matrix --only app`?"),
        ("[bundle.app]\n", "matrix bundels.toml", "file not found", "`bundler matrix bundles.toml`?"),
        ('[bundle]\ninputs = ["six"]\n', "matrix", "`bundle.inputs` is not a table", "[bundle.app]"),
        ("[bundle]\npython = '3.7'\n", "matrix", "`bundle.python` is not a table", "[bundle.app]"),
        (
            "[bundle.app]\ninputs = [requirements.txt]\n",
            "matrix",
            "bundles.toml:2: not valid TOML",
            'write `inputs = ["requirements.txt"]`',
        ),
        ("[bundle.app]\npython = 3.7.1\n", "matrix", "bundles.toml:2: not", 'write `python = "3.7.1"`'),
        ("[project]\n", "matrix pyproject.toml", "has requirements", "bundler build -r pyproject.toml"),
        ("[[packages]]\n", "matrix pylock.toml", "has requirements", "bundler build --lock pylock.toml"),
    ],
)
def test_a_mistake_in_a_file_of_bundles(
    text: str, typed: str, told: str, meant: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    name = next((word for word in typed.split() if word.startswith("py")), "bundles.toml")
    (tmp_path / name).write_text(text)
    ended = bundler_cli.run(*shlex.split(typed), cwd=tmp_path)
    assert ended.returncode != 0
    assert told in ended.stderr
    assert meant in (hint(ended) or "")


def test_the_start_of_a_name_is_completed(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    make_bundle(tmp_path / "dist")
    shutil.copytree(tmp_path / "dist", tmp_path / "other")
    for path in list((tmp_path / "other").iterdir()):
        path.rename(tmp_path / "dist" / path.name.replace("small", "zoo"))
    for name in ("small", "zoo"):
        found = hint(bundler_cli.run("inspect", name, cwd=tmp_path))
        assert found == f"bundler inspect dist/{name}-1.0-cp37-linux_x86_64.tar.gz"


def test_a_distribution_in_the_place_of_a_bundle(bundler_cli: BundlerCli, shelf: Path) -> None:
    built_locked(bundler_cli, "six", cwd=shelf)
    for command, words in (("inspect", "explain six"), ("tree", "tree --invert six")):
        meant = hint(bundler_cli.run(command, "six", cwd=shelf))
        assert meant is not None
        assert meant.startswith(f"bundler {words} dist/")
        assert bundler_cli.run(*shlex.split(meant)[1:], cwd=shelf).returncode == 0


def test_the_outputs_of_bundler_are_not_packed_with_the_code(bundler_cli: BundlerCli, shelf: Path) -> None:
    """A script in the directory of the work: the next context does not contain this one, or the bundle."""
    shutil.copy(shelf / "code/score.py", shelf)
    (shelf / "data.tar.gz").write_bytes(b"of the user")
    (bundle,) = (shelf / "b").glob("*.tar.gz")
    code = ("--source-dir", ".", "--entry-script", "score.py", "--base-image", "mine")
    for name in ("one", "two"):
        ended = bundler_cli.run("package", str(bundle), *code, "-o", name, cwd=shelf)
        assert ended.returncode == 0, ended.stderr
    packed = shelf / "two/azureml-app" / shelf.name
    assert not (packed / "one").exists()
    assert list((packed / "b").glob("*")) == []
    assert {"score.py", "data.tar.gz", "env.yml"} <= {path.name for path in packed.iterdir()}


def test_the_printed_file_of_bundles_works(shelf: Path, bundler_cli: BundlerCli) -> None:
    (shelf / "requirements.txt").write_text("six\n")
    line = hint(bundler_cli.run("matrix", cwd=shelf))
    assert line is not None
    subprocess.run(["sh", "-c", line], cwd=shelf, check=True)
    assert bundler_cli.run("matrix", cwd=shelf).returncode == 0
    (shelf / "bundles.toml").write_text('[bundle.app]\ninputs = ["requirements.txt"]\npython = ["3.77"]\n')
    ended = bundler_cli.run("matrix", cwd=shelf)
    assert 'hint: `python = ["3.7"]` in bundles.toml' in ended.stderr


def test_the_files_are_not_read_and_the_answer_names_the_command_that_does(
    shelf: Path, bundler_cli: BundlerCli
) -> None:
    bundle = next((shelf / "b").glob("*.tar.gz")).relative_to(shelf)
    shown = bundler_cli.run("inspect", str(bundle), cwd=shelf)
    assert f"`bundler verify {bundle}` checks the files" in shown.stderr
    compared = bundler_cli.run("diff", str(bundle), str(bundle), cwd=shelf)
    assert "The manifests are equal" in compared.stdout
    assert "`bundler verify BUNDLE` checks them" in compared.stdout


def test_a_private_project_is_no_misspelling_of_a_popular_one(shelf: Path, bundler_cli: BundlerCli) -> None:
    ended = bundler_cli.run("build", "sixx-local==1.0", cwd=shelf)
    assert ended.returncode == 4
    assert "did you mean" not in ended.stderr


def test_the_page_of_a_refused_bundle_has_the_findings_about_the_code(
    shelf: Path, bundler_cli: BundlerCli
) -> None:
    code = shelf / "code"
    (code / "score.py").write_text(
        "def init():\n    raise OSError('no model')\n\ndef run(data):\n    return data\n"
    )
    build = ("build", "six", "--source-dir", "code", "--entry-script", "score.py", "--run-init")
    assert bundler_cli.run(*build, "--name", "app", cwd=shelf).returncode == 10
    ended = bundler_cli.run("report", "-o", "page.html", cwd=shelf)
    assert ended.returncode == 0, ended.stderr
    assert "does not work on its target" in ended.stdout
    assert "U305" in (shelf / "page.html").read_text("utf-8")


def test_a_lock_that_was_edited_and_an_index_that_changed(shelf: Path, bundler_cli: BundlerCli) -> None:
    assert bundler_cli.run("lock", "six", cwd=shelf).returncode == 0
    text = (shelf / "pylock.toml").read_text("utf-8")
    digest = re.search(r"[0-9a-f]{64}", text)
    assert digest is not None
    (shelf / "pylock.toml").write_text(text.replace(digest[0], "0" * 64))
    ended = bundler_cli.run("build", "--lock", "pylock.toml", "--name", "app", cwd=shelf)
    assert ended.returncode == 5
    assert "if the lockfile was edited, lock again" in (hint(ended) or "")
