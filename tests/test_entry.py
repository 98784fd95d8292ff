"""The start of the command: nothing around it changes how its own Python starts, or a byte of a bundle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cli import locked
from support.paths import ROOT
from support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli

PACKAGES = Path(pytest.__file__).parent.parent
LAUNCHER = str(Path(sys.executable).with_name("bundler"))
MODULE = (sys.executable, "-m", "bundler")
BOOM = "open(__file__ + '.ran', 'a').close()\nraise SystemExit('poisoned')\n"

# Modules that the command or Python itself imports, as a file on PYTHONPATH.
SHADOWS = [
    "click", "packaging", "json", "platformdirs", "msgspec", "re", "hashlib", "zlib", "tomllib", "logging",
    "argparse", "subprocess", "sitecustomize", "usercustomize", "types", "functools", "bundler", "pip",
    "encodings", "isal",
]  # fmt: skip
VARIABLES = [
    {"PYTHONHOME": "/nowhere"},
    {"PYTHONHASHSEED": "bogus"},
    {"PYTHONINSPECT": "1"},
    {"PYTHONDEVMODE": "1"},
    {"PYTHONMALLOC": "debug"},
    {"PYTHONSTARTUP": "startup.py"},
    {"PYTHONWARNINGS": "error"},
    {"PYTHONOPTIMIZE": "2"},
    {"PYTHONUTF8": "bogus"},
    {"PYTHONIOENCODING": "utf-16"},
    {"PYTHONPLATLIBDIR": "nowhere"},
    {"PYTHONNOUSERSITE": ""},
    {"LD_LIBRARY_PATH": "/nowhere", "LD_PRELOAD": ""},
    {"PYTHONPYCACHEPREFIX": "cache", "PYTHONDONTWRITEBYTECODE": ""},
]
# With these, Python itself does not reach the first line of a `python -m`.
BEFORE_ANY_CODE = ("PYTHONHOME", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONPLATLIBDIR")
BEFORE_MODULE = (
    "sitecustomize",
    "usercustomize",
    "types",
    "functools",
    "bundler",
    "re",
    "encodings",
    "logging",
)


def start(
    argv: tuple[str, ...], cli: BundlerCli, env: Mapping[str, str], *, cwd: Path
) -> subprocess.CompletedProcess[str]:
    environ = {**cli.env, **env}
    if argv[: len(MODULE)] == MODULE:
        # A measured interpreter imports coverage, and with it json, before it looks for the module.
        environ.pop("COVERAGE_PROCESS_CONFIG", None)
    return subprocess.run(
        argv, cwd=cwd, env=environ, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def args(warm_cli: BundlerCli) -> tuple[str, ...]:
    assert warm_cli.wheels is not None
    make_wheel(warm_cli.wheels, "demo", "1.0", {"demo.py": "NAMES = {'a', 'b', 'c', 'd'}\n"})
    return ("build", "--name", "app", *locked(warm_cli, "demo"))


def digest(started: subprocess.CompletedProcess[str]) -> str:
    assert started.returncode == 0, started.stderr
    return started.stdout.split("\t")[-1].strip()


@pytest.mark.attack("command", count=len(SHADOWS))
def test_twenty_poisons_give_one_digest(warm_cli: BundlerCli, args: tuple[str, ...], tmp_path: Path) -> None:
    """The command, and `python -m` where Python itself lets it start."""
    reference = digest(start((LAUNCHER, *args), warm_cli, {}, cwd=tmp_path))
    for name in SHADOWS:
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(BOOM)
        poison = {"PYTHONPATH": str(folder)}
        started = start((LAUNCHER, *args), warm_cli, poison, cwd=tmp_path)
        assert digest(started) == reference, name
        assert "ignored setting: PYTHONPATH" in started.stderr
        if name not in BEFORE_MODULE:
            assert digest(start((*MODULE, *args), warm_cli, poison, cwd=tmp_path)) == reference, name
            assert not (folder / f"{name}.py.ran").exists()


@pytest.mark.attack("command", count=len(VARIABLES))
def test_variables_of_python_and_of_the_loader_give_one_digest(
    warm_cli: BundlerCli, args: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "startup.py").write_text(BOOM)
    reference = digest(start((LAUNCHER, *args), warm_cli, {}, cwd=tmp_path))
    for poison in VARIABLES:
        started = start((LAUNCHER, *args), warm_cli, poison, cwd=tmp_path)
        assert digest(started) == reference, poison
        if not set(poison).intersection(BEFORE_ANY_CODE):
            started = start((*MODULE, *args), warm_cli, poison, cwd=tmp_path)
            assert digest(started) == reference, poison
        named = [name for name, value in poison.items() if value]
        assert [name for name in named if f"ignored setting: {name}" not in started.stderr] == [], poison
    # `cache` is of the Python that a `python -m` starts before the isolated one.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "dist", "startup.py"]


@pytest.mark.attack("command")
@pytest.mark.parametrize("name", ["json", "click", "hashlib", "zlib", "pip", "sitecustomize"])
def test_a_file_of_the_working_directory_is_not_imported(
    name: str, warm_cli: BundlerCli, args: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / f"{name}.py").write_text(BOOM)

    started = start((*MODULE, *args), warm_cli, {}, cwd=tmp_path)

    digest(started)
    assert not (tmp_path / f"{name}.py.ran").exists()


@pytest.mark.attack("command")
def test_arguments_and_the_exit_code_pass_the_second_start(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    odd = "a b\n'\"$x*é"
    for argv in ((LAUNCHER,), MODULE):
        started = start((*argv, "verify", odd), bundler_cli, {"LC_ALL": "C.UTF-8"}, cwd=tmp_path)
        assert started.returncode == 11
        assert "a b\\n'\"$x*é: file not found" in started.stderr


@pytest.mark.attack("command")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("argv", [(LAUNCHER,), MODULE], ids=["launcher", "module"])
def test_a_closed_stream_changes_nothing(
    argv: tuple[str, ...], closed: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    command = ("sh", "-c", f'"$@" {closed}', "sh", *argv, "store", "info", "--store", "store")
    started = start(command, bundler_cli, {}, cwd=tmp_path)

    assert (started.returncode, started.stderr) == (0, "")
    assert ("blobs" in started.stdout) == (closed in ("2>&-", "<&-"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The site-packages of an environment with bundler, in `tmp_path / "venv"`."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", venv], check=True)
    shutil.copy(LAUNCHER, venv / "bin/bundler")
    (folder,) = venv.glob("lib/python3.*/site-packages")
    (folder / "packages.pth").write_text(f"{PACKAGES}\n{ROOT}\n")
    return folder


@pytest.mark.parametrize(
    ("argv", "env", "starts"),
    [
        (["bundler"], {}, 1),
        (["python", "-I", "-m", "bundler"], {}, 1),
        (["python", "-m", "bundler"], {}, 2),
        (["bundler"], {"LD_LIBRARY_PATH": "/nowhere"}, 2),
    ],
)
def test_an_isolated_start_is_not_repeated(
    argv: list[str], env: dict[str, str], starts: int, site: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (site / "sitecustomize.py").write_text(f"open({str(tmp_path / 'starts')!r}, 'a').write('x')\n")
    program = tmp_path / "venv/bin" / argv[0]

    started = start((str(program), *argv[1:], "--version"), bundler_cli, env, cwd=tmp_path)

    assert started.stdout.startswith("bundler, version "), started.stderr
    assert (tmp_path / "starts").read_text() == "x" * starts


def test_the_launcher_works_through_links_and_without_a_directory(
    bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").symlink_to(LAUNCHER)
    for argv, cwd in (
        ((str(tmp_path / "elsewhere"),), tmp_path),
        (("./bundler",), Path(LAUNCHER).parent),
        (("sh", "bundler"), Path(LAUNCHER).parent),
    ):
        started = start((*argv, "--version"), bundler_cli, {}, cwd=cwd)
        assert started.stdout.startswith("bundler, version "), started.stderr


@pytest.mark.attack("command")
@pytest.mark.parametrize("variable", ["PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"])
def test_a_variable_does_not_replace_the_environment_of_the_command(
    variable: str, site: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """Python takes its path, and so its site-packages, from them, although it is isolated."""
    evil = tmp_path / "evil"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", evil], check=True)
    (folder,) = evil.glob("lib/python3.*/site-packages")
    (folder / "bundler.py").write_text("print('evil')")

    poison = {variable: str(evil / "bin/python3")}
    started = start((str(tmp_path / "venv/bin/bundler"), "--version"), bundler_cli, poison, cwd=tmp_path)

    assert started.stdout.startswith("bundler, version "), (started.stdout, started.stderr)


@pytest.mark.attack("command")
def test_a_shell_that_finds_the_launcher_starts_no_program_of_the_working_directory(
    bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\necho evil\n")
    (tmp_path / "python3").chmod(0o755)
    path = {"PATH": f"{Path(LAUNCHER).parent}:{os.environ['PATH']}"}

    started = start(("bash", "bundler", "--version"), bundler_cli, path, cwd=tmp_path)

    assert started.stdout.startswith("bundler, version "), started.stdout + started.stderr


@pytest.mark.attack("command")
def test_a_program_of_path_does_not_lead_the_launcher_elsewhere(
    bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "bin/evil").mkdir(parents=True)
    for name, lines in {
        "readlink": f"echo {tmp_path}/bin/evil/bundler",
        "python3": "echo evil",
        "evil/python3": "echo evil",
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "elsewhere").symlink_to(LAUNCHER)
    path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}

    started = start((str(tmp_path / "elsewhere"), "--version"), bundler_cli, path, cwd=tmp_path)

    assert started.stdout.startswith("bundler, version "), started.stderr


def copy_packages(site: Path) -> None:
    """Make a directory a site-packages with bundler and all that it needs."""
    site.mkdir(parents=True)
    for entry in (*PACKAGES.iterdir(), ROOT / "bundler"):
        if entry.suffix != ".pth":
            (site / entry.name).symlink_to(entry)


def base_python() -> Path:
    return Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")


@pytest.fixture(params=["user", "target", "bundle"])
def installed(request: pytest.FixtureRequest, bundler_cli: BundlerCli, tmp_path: Path) -> Path:
    """The command as `pip install --user` or `--target` installs it, or in a bundle: no Python is beside it."""
    local = bundler_cli.home / (".local" if request.param == "user" else "place")
    python = base_python()
    copy_packages(local if request.param == "target" else local / "lib" / python.name / "site-packages")
    if request.param == "bundle":
        (local / "manifest.json").touch()
    (local / "bin").mkdir()
    shutil.copy(LAUNCHER, local / "bin/bundler")
    # On PATH, the first python3 is not that of the installation with --user.
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / python.name).symlink_to(python)
    if request.param == "target":
        (tmp_path / "python/python3").symlink_to(python)
    else:
        (tmp_path / "python/python3").write_text("#!/bin/sh\necho another python >&2\nexit 3\n")
        (tmp_path / "python/python3").chmod(0o755)
    bundler_cli.env["PATH"] = f"{tmp_path}/python:{os.environ['PATH']}"
    return local / "bin/bundler"


def test_a_command_beside_no_python_builds_a_source(
    installed: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """Also its own children, such as virtualenv and wheel, find their modules."""
    assert bundler_cli.wheels is not None
    make_sdist(bundler_cli.wheels, "source", "1.0", {"source.py": ""})
    started = start((str(installed), "build", "source", "--name", "app"), bundler_cli, {}, cwd=tmp_path)

    digest(started)


@pytest.mark.attack("command")
def test_nothing_around_a_command_beside_no_python_changes_its_start(
    installed: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    for name in ("json", "click", "sitecustomize", "bundler"):
        (tmp_path / f"{name}.py").write_text(BOOM)
    for env in ({}, {"PYTHONPATH": str(tmp_path)}, {"LD_LIBRARY_PATH": "/nowhere"}, {"PYTHONHOME": "/none"}):
        started = start((str(installed), "--version"), bundler_cli, env, cwd=tmp_path)
        assert started.stdout.startswith("bundler, version "), (env, started.stderr)
    assert list(tmp_path.glob("*.ran")) == []


def test_a_python_without_the_dependencies_is_named(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    """As the one that is first on PATH after `pip install --user` with another."""
    (tmp_path / "bundler").symlink_to(ROOT / "bundler")
    argv = (str(base_python()), "-I", "-S", str(tmp_path / "bundler/__main__.py"), "--version")
    started = start(argv, bundler_cli, {}, cwd=tmp_path)

    assert started.returncode == 8
    assert started.stderr.splitlines()[0] == (
        f"bundler: error: `{base_python()}` cannot run bundler: No module named 'click'"
    )
    assert "Traceback" not in started.stderr


@pytest.mark.attack("command")
def test_startup_code_of_the_environment_is_reported(
    site: Path, warm_cli: BundlerCli, tmp_path: Path, args: tuple[str, ...]
) -> None:
    """It runs before bundler, also isolated: it cannot be prevented."""
    (site / "sitecustomize.py").write_text("")
    (site / "evil.pth").write_text("import sys; sys.evil = True\n")
    (site / "distutils-precedence.pth").write_text("import os\n")

    started = start((str(tmp_path / "venv/bin/bundler"), *args), warm_cli, {}, cwd=tmp_path)

    lines = [line for line in started.stderr.splitlines() if "when the Python of bundler starts" in line]
    assert [line.split("`")[1] for line in lines] == [str(site / "sitecustomize.py"), str(site / "evil.pth")]


@pytest.mark.attack("command")
@pytest.mark.parametrize("umask", [0o777, 0o700, 0o400, 0o277, 0o077, 0o027, 0o002, 0])
def test_a_umask_changes_no_byte_and_opens_no_file(
    umask: int, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """H17: an import that cannot read its own file would be a wrong verdict."""
    assert bundler_cli.wheels is not None
    make_wheel(bundler_cli.wheels, "demo", "1.0")
    lock = locked(bundler_cli, "demo")
    digests = set()
    for mask, folder in ((0o022, "usual"), (umask, "other")):
        argv = (
            LAUNCHER,
            "build",
            *lock,
            "--name",
            "app",
            "-o",
            f"new/{folder}",
            "--store",
            f"store {folder}",
        )
        started = subprocess.run(
            argv, cwd=tmp_path, env=bundler_cli.env, capture_output=True, text=True, check=False, umask=mask
        )
        digests.add(digest(started))
    assert len(digests) == 1
    for path in (tmp_path / "new", tmp_path / "new/other", *(tmp_path / "store other").rglob("*")):
        mode = path.lstat().st_mode
        assert not mode & 0o002, path
        assert mode & 0o400, path


@pytest.mark.attack("command")
@pytest.mark.parametrize(
    "value",
    ["bash_source", "zsh_source", "fish_source", "bash_complete", "zsh_complete", "fish_complete", "x"],
)
def test_the_variable_of_completion_replaces_no_command(
    value: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """A pipeline that sets it would print a script, with exit code 0, and build nothing."""
    env = {
        "_BUNDLER_COMPLETE": value,
        "COMP_WORDS": "bundler ver",
        "COMP_CWORD": "ver" if "fish" in value else "1",
    }
    started = start((LAUNCHER, "verify", "missing"), bundler_cli, env, cwd=tmp_path)

    assert (started.returncode, started.stdout) == (11, "")
    assert "missing: file not found" in started.stderr
    if value != "x":
        started = start((LAUNCHER,), bundler_cli, env, cwd=tmp_path)
        assert started.returncode == 0
        assert ("verify" in started.stdout) == value.endswith("complete")
        assert ("_BUNDLER_COMPLETE" in started.stdout) == value.endswith("source")
