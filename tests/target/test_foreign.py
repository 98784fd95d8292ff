"""Targets of other platforms: their tags, and bundles for them that nothing has run."""

from __future__ import annotations

import json
import platform
import tarfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.elfs import make_elf
from support.wheels import make_sdist, make_wheel

from bundler.errors import UsageError
from bundler.target.foreign import foreign_target, parse_target_tag

if TYPE_CHECKING:
    from support.cli import BundlerCli, Ended
    from support.localindex import LocalIndex

HOST = platform.machine()
OTHER = "aarch64" if HOST == "x86_64" else "x86_64"
TAG = f"cp37-manylinux_2_17_{OTHER}"


# --- tags -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "abi", "platform", "libc", "first"),
    [
        ("cp37-manylinux_2_17_aarch64", "cp37m", "linux_aarch64", "glibc 2.17", "manylinux_2_17_aarch64"),
        ("cp37-manylinux2014_x86_64", "cp37m", "linux_x86_64", "glibc 2.17", "manylinux_2_17_x86_64"),
        ("cp38-manylinux2010_i686", "cp38", "linux_i686", "glibc 2.12", "manylinux_2_12_i686"),
        ("cp311-manylinux1_x86_64", "cp311", "linux_x86_64", "glibc 2.5", "manylinux_2_5_x86_64"),
        ("cp312-manylinux_2_28_ppc64le", "cp312", "linux_ppc64le", "glibc 2.28", "manylinux_2_28_ppc64le"),
        ("cp311-musllinux_1_2_x86_64", "cp311", "linux_x86_64", "musl 1.2", "musllinux_1_2_x86_64"),
    ],
)
def test_a_tag_names_the_target(tag: str, abi: str, platform: str, libc: str, first: str) -> None:
    parsed = parse_target_tag(tag)
    target = foreign_target(parsed, f"{parsed.python}.3")

    assert (target.abi, target.platform, target.libc) == (abi, platform, libc)
    best = target.tags[0]
    assert str(best) == f"{abi if abi != 'cp37m' else 'cp37'}-{abi}-{first}"
    assert target.markers["platform_machine"] == platform.removeprefix("linux_")
    assert target.markers["python_full_version"].endswith(".3")


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("cp312-win_amd64", "is not for Linux: bundles are"),
        ("cp312-macosx_11_0_arm64", "is not for Linux: bundles are"),
        ("cp36-manylinux_2_17_x86_64", "the oldest supported target is CPython 3.7"),
        ("cp27-manylinux1_x86_64", "is not the tag of a target"),
        ("cp37-cp37m-manylinux_2_17_aarch64", "is not the tag of a target"),
        ("cp37-linux_aarch64", "is not the tag of a target"),
        ("manylinux_2_17_aarch64", "is not the tag of a target"),
        ("cp37-manylinux_2_17", "is not the tag of a target"),
        ("cp37-manylinux_2_17_sparc", "is not the tag of a target"),
        ("pp37-manylinux_2_17_x86_64", "is not the tag of a target"),
        ("CP37-manylinux_2_17_aarch64", "is not the tag of a target"),
        ("", "is not the tag of a target"),
    ],
)
def test_another_text_is_not_a_target(tag: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        parse_target_tag(tag)

    assert error.value.hint == "--target cp37-manylinux_2_17_aarch64"


# --- the whole command ------------------------------------------------------


def run(cli: BundlerCli, command: str, *args: str, cwd: Path, tag: str = TAG, code: int = 0) -> Ended:
    ended = cli.run(command, *args, "--target", tag, cwd=cwd)
    assert ended.returncode == code, ended.stderr
    return ended


def native(machine: str, soname: str = "libc.so.6") -> dict[str, str | bytes]:
    """Return the files of a package with an extension module for a machine."""
    elf = make_elf(machine, needed=[soname], versions=[("libc.so.6", "GLIBC_2.17", "memcpy")])
    return {
        "ext/__init__.py": "from ext import _ext\n",
        f"ext/_ext.cpython-37m-{OTHER}-linux-gnu.so": elf,
        "ext/broken.py": "raise SystemExit('an import of it fails')\n",
    }


@pytest.fixture
def shelf(index: LocalIndex) -> LocalIndex:
    """`ext` for both machines, and distributions that only one of them requires."""
    for machine in (HOST, OTHER):
        make_wheel(
            index.folder,
            "ext",
            "1.0",
            native(machine),
            tag=f"cp37-cp37m-manylinux_2_17_{machine}",
            purelib=False,
            requires=[f"for-{name}; platform_machine == '{name}'" for name in (HOST, OTHER)],
        )
    make_wheel(
        index.folder, "ext", "2.0", native(OTHER), tag=f"cp37-cp37m-manylinux_2_28_{OTHER}", purelib=False
    )
    for name in (HOST, OTHER):
        make_wheel(index.folder, f"for-{name}", "1.0", {f"for_{name}.py": ""})
    return index


def names(folder: Path) -> list[str]:
    lock = tomllib.loads((folder / "pylock.toml").read_text("utf-8"))
    return [package["wheels"][0]["name"] for package in lock["packages"]]


@pytest.mark.parametrize("resolver", ["pip", "uv"])
def test_the_lock_is_that_of_the_target(
    resolver: str, shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """Its machine decides markers and wheels, its glibc the release."""
    if resolver == "uv":
        pytest.importorskip("uv")
    run(warm_cli, "lock", "ext", "--resolver", resolver, cwd=tmp_path)
    low = names(tmp_path)
    run(warm_cli, "lock", "ext", "-U", "--resolver", resolver, cwd=tmp_path, tag=TAG.replace("2_17", "2_28"))

    stem = f"for_{OTHER}-1.0-py3-none-any.whl"
    assert low == [f"ext-1.0-cp37-cp37m-manylinux_2_17_{OTHER}.whl", stem]
    assert names(tmp_path) == [f"ext-2.0-cp37-cp37m-manylinux_2_28_{OTHER}.whl"]


def test_a_bundle_that_nothing_has_run_says_so_everywhere(
    shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    built = run(warm_cli, "build", "ext", "--name", "app", "--json", cwd=tmp_path)
    result: dict[str, Any] = built.json["result"]
    manifest = json.loads(Path(result["manifest"]).read_text("utf-8"))
    archive = Path(result["path"])
    said = "no module was imported: the build host cannot run the target"

    assert f"on linux_{OTHER}, glibc 2.17: static checks only" in built.stderr
    assert "verify    static checks only: the code of the target cannot run here" in built.stderr
    assert "modules import" not in built.stderr
    assert archive.name.endswith(f"cp37-linux_{OTHER}.tar.gz")
    assert manifest["target"]["platform"] == f"linux_{OTHER}"
    assert manifest["verification"]["ways"] == {"mount": [], "venv": []}
    assert [item["code"] for item in manifest["verification"]["findings"] if item["severity"] != "note"] == [
        "I212"
    ]
    assert manifest["verification"]["glibc"] == "2.17"
    inspected = warm_cli.run("inspect", str(archive), cwd=tmp_path)
    assert f"verdict   passes the static checks; {said}" in inspected.stdout
    assert "I212" in inspected.stderr + inspected.stdout
    verified = warm_cli.run("verify", str(archive), cwd=tmp_path)
    assert verified.returncode == 0
    assert said in verified.stderr
    page = warm_cli.run("report", str(archive), "-o", "page.html", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    assert said in (tmp_path / "page.html").read_text("utf-8")
    with tarfile.open(archive) as tar:
        assert any(name.endswith("ext/__pycache__/broken.cpython-37.pyc") for name in tar.getnames())


def test_the_readme_of_a_context_says_it_too(shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text(
        "import ext\ndef init():\n    pass\ndef run(data):\n    return data\n"
    )
    code = ("--source-dir", "code", "--entry-script", "score.py")
    built = run(warm_cli, "build", "ext", *code, "--name", "app", "--json", cwd=tmp_path)
    bundle = built.json["result"]["path"]
    ended = warm_cli.run("package", bundle, *code, "--base-image", "base:1", "-o", "context", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    text = (tmp_path / "context/README.md").read_text("utf-8")
    assert "no module was imported: the build host cannot run the target" in text


def test_without_a_python_of_the_version_there_is_no_bytecode(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """Python 3.19 does not exist: the Python of bundler reads the sources."""
    make_wheel(index.folder, "leaf", "1.0", {"leaf.py": "import missing_module\n"})
    built = run(
        warm_cli, "build", "leaf", "--name", "app", "--json", cwd=tmp_path, tag="cp319-musllinux_1_2_s390x"
    )

    assert "static checks only, without bytecode: no CPython 3.19 here" in built.stderr
    result = built.json["result"]
    manifest = json.loads(Path(result["manifest"]).read_text("utf-8"))
    assert not any(file["path"].endswith(".pyc") for file in manifest["files"])
    assert any("missing_module" in item["message"] for item in manifest["verification"]["findings"])


def test_static_checks_find_what_they_can(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """An object for another machine, a newer glibc, a requirement that is missing: errors, as for any target."""
    make_wheel(
        index.folder, "ext", "1.0", native(HOST), tag=f"cp37-cp37m-manylinux_2_17_{OTHER}", purelib=False
    )
    elf = make_elf(OTHER, needed=["libc.so.6"], versions=[("libc.so.6", "GLIBC_2.30", "memcpy")])
    make_wheel(
        index.folder,
        "new",
        "1.0",
        {f"new.cpython-37m-{OTHER}-linux-gnu.so": elf},
        tag=f"cp37-cp37m-manylinux_2_17_{OTHER}",
        purelib=False,
    )

    ended = run(warm_cli, "build", "ext", "new", "--name", "app", cwd=tmp_path, code=10)

    assert (
        f"E401  `lib/python3.7/site-packages/ext/_ext.cpython-37m-{OTHER}-linux-gnu.so` is built"
        in ended.stderr
    )
    assert "E403" in ended.stderr
    assert not (tmp_path / "dist").exists() or not list((tmp_path / "dist").iterdir())


def test_sources_are_refused(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """By path, from an index and in a lock: nothing can be built for another platform."""
    make_sdist(index.folder, "made", "1.0", {"made.py": ""})
    sdist = make_sdist(tmp_path, "own", "1.0", {"own.py": ""})
    (tmp_path / "requirements.txt").write_text("--no-binary made\nmade\n")
    assert warm_cli.run("lock", "made", cwd=tmp_path).returncode == 0

    by_path = run(warm_cli, "lock", f"./{sdist.name}", "-o", "a.toml", cwd=tmp_path, code=3)
    option = run(warm_cli, "lock", "-r", "requirements.txt", "-o", "b.toml", cwd=tmp_path, code=3)
    by_name = run(warm_cli, "lock", "made", "-o", "c.toml", cwd=tmp_path, code=4)
    text = (tmp_path / "pylock.toml").read_text("utf-8").replace(HOST, OTHER)
    (tmp_path / "pylock.toml").write_text(text)
    locked = run(warm_cli, "build", "--lock", "pylock.toml", "--name", "app", cwd=tmp_path, code=3)

    for ended in (by_path, option, locked):
        assert f"source distributions cannot be built for cp37-linux_{OTHER} on this machine" in ended.stderr
    assert "made" in by_name.stderr


def test_a_target_that_this_machine_can_run_is_not_foreign(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")

    built = run(
        warm_cli,
        "build",
        "leaf",
        "--name",
        "app",
        "--for",
        "mount",
        cwd=tmp_path,
        tag=TAG.replace(OTHER, HOST),
    )

    assert "1 of 1 modules import mounted on PYTHONPATH" in built.stderr
    assert "up to 2.17: `--target` is for 2.17" in built.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--python", "3.8"), "`--python 3.8` is not the Python of `--target"),
        (("--run-init", "--source-dir", "code", "--entry-script", "score.py"), "`--run-init` runs code of"),
    ],
)
def test_options_that_need_the_target_are_refused(
    args: tuple[str, ...], message: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text("def init():\n    pass\ndef run(data):\n    return data\n")

    ended = run(warm_cli, "build", "leaf", "--name", "app", *args, cwd=tmp_path, code=2)

    assert message in ended.stderr
