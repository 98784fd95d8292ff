"""The main job, end to end, on wheels made here: real pip, real index on loopback, real CPython 3.7.

Rows H01 to H21 of the corpus (a hostile host), K13, K14, K15, K17, K20, W38, W39, W44, R06 to R29 as far as a resolution
meets them, and the promises T12 and T13.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.cli import SCHEMA, BundlerCli, built, built_locked, locked, manifest_of
from support.localindex import LocalIndex
from support.wheels import make_sdist, make_wheel, wheel_files, zip_bytes

from bundler.archive.tar import DEFAULT_EPOCH
from bundler.bundle.layer import Layer
from bundler.bundle.segment import SegmentFormat
from bundler.digest import Sha256
from bundler.store.maintenance import check_store
from bundler.store.store import Store

SITE = "lib/python3.7/site-packages"


@pytest.fixture
def shop(index: LocalIndex) -> LocalIndex:
    """An index with a small application: modules, a console script, data, a dependency."""
    fill_shop(index.folder)
    return index


def fill_shop(folder: Path) -> None:
    make_wheel(
        folder,
        "shop",
        "1.0",
        {
            "shop/__init__.py": "from basket import VERSION\n",
            "shop/cli.py": "import sys\nimport shop\ndef main():\n    print('shop', shop.VERSION, *sys.argv[1:])\n",
            "shop/data.txt": "data\n",
            "shop/sub/__init__.py": "",
        },
        requires=["basket>=1"],
        entry_points="[console_scripts]\nshop = shop.cli:main\n",
    )
    make_wheel(folder, "basket", "1.0")
    make_wheel(folder, "basket", "2.0")


def test_requirements_become_a_bundle_that_runs_after_a_move(
    shop: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text("shop\n")
    result = built(warm_cli, "-r", "requirements.txt", "--name", "app", "--bundle-version", "1", cwd=tmp_path)

    archive = Path(result["path"])
    assert archive.name == "app-1-cp37-linux_x86_64.tar.gz"
    assert result["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert result["distributions"] == {"basket": "2.0", "shop": "1.0"}
    beside = archive.with_name("app-1-cp37-linux_x86_64.sha256")
    subprocess.run(["sha256sum", "-c", beside.name], cwd=archive.parent, check=True, capture_output=True)
    jsonschema.validate(manifest_of(result), SCHEMA)

    for place in (tmp_path / "one", tmp_path / "two ä"):
        assert warm_cli.run("unpack", str(archive), str(place)).returncode == 0
        said = subprocess.run(
            [python37, "-c", "import shop; print(shop.VERSION, shop.__file__)"],
            env={"PYTHONPATH": str(place / SITE)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert said == f"2.0 {place / SITE}/shop/__init__.py\n"
        env = {"PATH": f"{python37.parent}:/usr/bin:/bin"}
        said = subprocess.run(
            [place / "bin/shop", "a b"], env=env, cwd="/", capture_output=True, text=True, check=True
        ).stdout
        assert said == "shop 2.0 a b\n"
        assert warm_cli.run("verify", str(place)).returncode == 0


def test_plain_tar_and_the_target_python_are_all_a_receiver_needs(
    shop: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    result = built_locked(warm_cli, "shop", "--name", "app", cwd=tmp_path)
    subprocess.run(["tar", "-xzf", result["path"]], cwd=tmp_path, check=True)
    code = (
        "import sys, tarfile; tarfile.open(sys.argv[1]).getnames(); import shop, shop.cli; "
        "print(shop.cli.__cached__, sys.modules['basket'].VERSION)"
    )
    said = subprocess.run(
        [python37, "-c", code, result["path"]],
        env={"PYTHONPATH": f"{tmp_path}/app/{SITE}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.split() == [f"{tmp_path}/app/{SITE}/shop/__pycache__/cli.cpython-37.pyc", "2.0"]


def test_no_file_holds_a_path_of_the_build(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    result = built_locked(warm_cli, "shop", "--name", "app", cwd=tmp_path)
    forbidden = [str(tmp_path).encode(), str(warm_cli.store).encode(), str(Path.home()).encode() + b"/"]

    with tarfile.open(result["path"]) as archive:
        for member in archive:
            content = archive.extractfile(member)
            text = content.read() if content else b""
            assert not [path for path in forbidden if path in text or path.decode() in member.name], (
                member.name
            )


def test_record_is_honest(shop: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path) -> None:
    """Every file is in the RECORD of its distribution with the digest it has, bytecode and launchers too."""
    result = built_locked(warm_cli, "shop", "--name", "app", "--format", "dir", cwd=tmp_path)
    root = Path(result["path"])
    listed = set()
    for record in root.glob(f"{SITE}/*.dist-info/RECORD"):
        for row in record.read_text().splitlines():
            name, digest, size = row.rsplit(",", 2)
            path = Path(os.path.normpath(root / SITE / name))
            listed.add(path)
            if digest:
                assert len(path.read_bytes()) == int(size)
    files = {path for path in root.rglob("*") if path.is_file()}
    assert files - listed == {root / "manifest.json", root / "pylock.toml"}
    assert not listed - files


# --- the same bytes, whatever surrounds the build -------------------------------------------------


def fake_distribution(folder: Path, name: str, version: str) -> None:
    """A distribution that pip, if it saw it, would take for installed, whatever its hash."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("")
    (folder / f"{name}.py").write_text("raise SystemExit('the poisoned module was imported')\n")


def poison(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Return hostile environments by the row of the corpus they stand for."""
    path = tmp_path / "poison"
    fake_distribution(path, "basket", "9.0")
    (path / "sitecustomize.py").write_text("raise SystemExit('sitecustomize ran')\n")
    user = tmp_path / "userbase"
    fake_distribution(user / SITE, "basket", "8.0")
    (user / SITE / "usercustomize.py").write_text("raise SystemExit('usercustomize ran')\n")
    startup = tmp_path / "startup.py"
    startup.write_text("raise SystemExit('startup ran')\n")
    conda = tmp_path / "conda"
    (conda / "bin").mkdir(parents=True)
    fake = conda / "bin" / "python3.7"
    fake.write_text("#!/bin/sh\necho poisoned python >&2\nexit 9\n")
    fake.chmod(0o755)
    other = str(tmp_path / "elsewhere")
    return {
        "H01-pythonpath": {"PYTHONPATH": str(path)},
        "H02-pythonhome": {"PYTHONHOME": "/nonexistent"},
        "H03-startup": {"PYTHONSTARTUP": str(startup)},
        "H04-user-site": {"PYTHONUSERBASE": str(user)},
        "H05-warnings": {"PYTHONWARNINGS": "error"},
        "H06-optimize": {"PYTHONOPTIMIZE": "2"},
        "H07-bytecode": {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": other},
        "H09-ascii": {
            "PYTHONIOENCODING": "ascii",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "LC_ALL": "POSIX",
        },
        "H10-pip": {
            "PIP_TARGET": other,
            "PIP_USER": "1",
            "PIP_PREFIX": other,
            "PIP_NO_BINARY": ":all:",
            "PIP_REQUIRE_VIRTUALENV": "1",
            "PIP_CONSTRAINT": other,
            "PIP_NO_DEPS": "1",
        },
        "H14-conda": {
            "CONDA_PREFIX": str(conda),
            "CONDA_DEFAULT_ENV": "base",
            "VIRTUAL_ENV": str(conda),
            "PATH": f"{conda}/bin:{os.environ['PATH']}",
        },
        "H21-loader": {"LD_LIBRARY_PATH": other},
    }


@pytest.mark.attack("command")
@pytest.mark.parametrize("at_once", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_hostile_host_changes_no_byte_and_is_reported(
    at_once: bool, shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """Each run resolves anew, makes its layers anew in an empty store, and gives the bytes of the clean run."""
    clean = built(bundler_cli, "shop", "--name", "app", "-o", "clean", cwd=tmp_path)
    rows = poison(tmp_path)
    together = [[*rows]]
    if not at_once:
        # One that keeps Python or pip from starting would hide the others of its group.
        together = [["H01-pythonpath"], ["H02-pythonhome"], ["H03-startup", "H04-user-site", "H05-warnings"]]
        together += [["H06-optimize", "H07-bytecode", "H09-ascii"], ["H10-pip", "H14-conda"], ["H21-loader"]]
        assert sorted(chain.from_iterable(together)) == sorted(rows)
    rows = {
        " ".join(group): {name: value for row in group for name, value in rows[row].items()}
        for group in together
    }
    for row, env in rows.items():
        store = tmp_path / f"store {row}"
        dirty = built(
            bundler_cli, "shop", "--name", "app", "-o", row, "--store", str(store), cwd=tmp_path, env=env
        )

        assert dirty["sha256"] == clean["sha256"], row
        named = {item.partition("=")[0] for item in dirty["neutralised"]}
        assert set(env) - {"PATH", "LC_ALL", "PYTHONDONTWRITEBYTECODE"} <= named, row


@pytest.mark.attack("command")
@pytest.mark.slow
def test_modules_in_the_working_directory_are_not_imported(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """H13 and H15."""
    clean = built_locked(warm_cli, "shop", "--name", "app", "-o", str(tmp_path / "clean"), cwd=tmp_path)
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("json.py", "random.py", "pip.py", "sitecustomize.py", "setuptools.py"):
        (hostile / name).write_text("raise SystemExit('imported from the working directory')\n")
    (hostile / "setup.cfg").write_text("[install]\nprefix=/nonexistent\n")
    store = str(tmp_path / "store2")

    dirty = built_locked(warm_cli, "shop", "--name", "app", "--store", store, cwd=hostile)

    assert dirty["sha256"] == clean["sha256"]
    assert {"./json.py", "./random.py", "./pip.py", "./sitecustomize.py"} <= set(dirty["neutralised"])


def test_two_builds_of_one_lock_are_one_file(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """T12: umask, zone, locale, HOME, hash seed, folder and number of cores differ."""
    assert warm_cli.run("lock", "shop", "-o", "pylock.toml", cwd=tmp_path).returncode == 0
    lock = str(tmp_path / "pylock.toml")
    results = []
    for number, (umask, env) in enumerate(
        [
            (0o022, {"TZ": "UTC", "PYTHONHASHSEED": "1"}),
            (0o077, {"TZ": "Pacific/Auckland", "PYTHONHASHSEED": "2", "LC_ALL": "C", "LANG": "de_DE.UTF-8"}),
            (0o000, {"HOME": str(tmp_path / "home")}),
        ]
    ):
        folder = tmp_path / f"run {number} ü"
        folder.mkdir()
        cores = os.sched_getaffinity(0)
        # The command inherits it.
        os.sched_setaffinity(0, sorted(cores)[:1] if number else cores)
        try:
            result = built(
                warm_cli,
                *("--lock", lock, "--name", "app", "--store", str(folder / "store")),
                cwd=folder,
                umask=umask,
                env=env,
            )
        finally:
            os.sched_setaffinity(0, cores)
        results.append(result)

    assert len({result["sha256"] for result in results}) == 1
    assert len({result["identity"] for result in results}) == 1


def test_a_build_from_a_lock_resolves_nothing_and_a_warm_one_asks_nobody(
    shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    bundler_cli.run("lock", "shop", "-o", "pylock.toml", cwd=tmp_path)
    shop.requests.clear()
    built(bundler_cli, "--lock", "pylock.toml", "--name", "app", "-o", "one", cwd=tmp_path)
    assert not [request for request in shop.requests if "/simple/" in request.path]

    shop.requests.clear()
    built(bundler_cli, "--lock", "pylock.toml", "--name", "app", "-o", "two", cwd=tmp_path)
    assert shop.requests == []


def test_pips_configuration_is_read_when_a_file_is_fetched_and_options_are_checked_at_once(
    shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    bundler_cli.run("lock", "shop", "-o", "pylock.toml", cwd=tmp_path)
    broken = tmp_path / "pip.conf"
    broken.write_text("[global\n")
    build = ("build", "--lock", "pylock.toml", "--name", "app", "-o", "out")
    env = {"PIP_CONFIG_FILE": str(broken)}
    ended = bundler_cli.run(*build, cwd=tmp_path, env=env)
    assert (ended.returncode, "cannot read its configuration" in ended.stderr) == (3, True), ended.stderr
    assert bundler_cli.run(*build, cwd=tmp_path).returncode == 0
    shutil.rmtree(tmp_path / "out")
    assert bundler_cli.run(*build, cwd=tmp_path, env=env).returncode == 0  # nothing is fetched
    ended = bundler_cli.run(*build, "-i", "htp://index", cwd=tmp_path)
    assert (ended.returncode, "is not the URL of an index" in ended.stderr) == (3, True), ended.stderr
    assert shop.folder.is_dir()


def test_the_same_build_again_is_no_error_and_another_one_never_replaces_it(
    shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    args = ("--name", "app", "--bundle-version", "1")
    first = built_locked(bundler_cli, "shop", *args, cwd=tmp_path)
    again = built_locked(bundler_cli, "shop", *args, cwd=tmp_path)
    assert (first.pop("cached"), again.pop("cached")) == ([], ["mount", "venv"])
    assert first == again

    ended = bundler_cli.run("build", *locked(bundler_cli, "basket", *args), cwd=tmp_path)

    assert ended.returncode == 11
    assert "already exists with other content" in ended.stderr
    assert hashlib.sha256(Path(first["path"]).read_bytes()).hexdigest() == first["sha256"]


def damage_file(path: Path, how: str, others: list[Path]) -> None:
    """Damage a file of the store: a bit, its end, all of it, its name, or its place."""
    content = path.read_bytes()
    path.chmod(0o644)
    if how == "removed":
        path.unlink()
    elif how == "exchanged":
        other = next(other for other in others if other.read_bytes() != content)
        other.chmod(0o644)
        swapped = other.read_bytes()
        other.write_bytes(content)
        path.write_bytes(swapped)
    elif how == "flipped":
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    else:
        path.write_bytes(content[: len(content) // 2] if how == "truncated" else b"")


@pytest.fixture(scope="module")
def stocked(toolchain: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BundlerCli, str]]:
    """A command whose store has all of a bundle with a wheel built here, and the digest of the bundle."""
    folder = tmp_path_factory.mktemp("stock")
    for wheel in toolchain.glob("*.whl"):
        shutil.copyfile(wheel, folder / wheel.name)
    fill_shop(folder)
    make_sdist(folder, "bought", "1.0", {"bought.py": "import basket\n"})
    with LocalIndex(folder) as index:
        cli = BundlerCli(tmp_path_factory.mktemp("stocked"), index.url)
        assert cli.run("lock", "shop", "bought", cwd=cli.home).returncode == 0
        yield cli, built(cli, "--lock", "pylock.toml", "--name", "app", cwd=cli.home)["sha256"]


HOW = ("flipped", "truncated", "emptied", "exchanged", "removed")


@pytest.mark.attack("store")
@pytest.mark.parametrize(
    ("how", "kept_time", "one_by_one"),
    [
        *((how, False, False) for how in HOW),
        pytest.param("removed", False, True, marks=pytest.mark.slow),
        # With the old time, only the content shows the damage.
        *(pytest.param(how, True, True, marks=pytest.mark.slow) for how in ("flipped", "exchanged")),
    ],
)
def test_p33_the_store_heals_while_a_bundle_is_built(
    stocked: tuple[BundlerCli, str], tmp_path: Path, how: str, kept_time: bool, one_by_one: bool
) -> None:
    """References of each kind, and the blobs they name: all at once, or one after the other."""
    stocked_cli, reference = stocked
    home = tmp_path / "home"
    shutil.copytree(stocked_cli.home, home, symlinks=True)  # with the times of the files
    bundler_cli = BundlerCli(home, stocked_cli.env["PIP_INDEX_URL"])
    args = ("--lock", str(home / "pylock.toml"), "--name", "app")
    store = Store(bundler_cli.store)
    kinds = {path.name: sorted(path.glob("*/*")) for path in (store.root / "refs").iterdir()}
    kinds.pop("pip-cache")  # of the resolution
    assert set(kinds) == {
        "file",
        "layer",
        "segment",
        "read",
        "content",
        "built",
        "imports",
        "scan",
        "elf",
    }
    cases = [(kind, of_blob) for of_blob in (False, True) for kind in kinds]
    half = len(kinds)
    for group in [[case] for case in cases] if one_by_one else [cases[:half], cases[half:]]:
        for kind, of_blob in group:
            refs = [ref for ref in kinds[kind] if ref.exists()]
            blobs = [path for ref in refs if (path := store.path_of(Sha256(ref.read_text()[:64]))).exists()]
            # The wheels of the toolchain are not part of a build from a lock.
            used = [kind != "file" or b"basket" in blob.read_bytes() for blob in blobs]
            places = blobs if of_blob else refs
            place = places[used.index(True)]
            before = place.stat().st_mtime
            damage_file(place, how, [*places, *kinds["layer"]])
            if kept_time and place.exists():
                os.utime(place, (before, before))
        shutil.rmtree(home / "dist")
        ended = bundler_cli.run("build", "--json", *args, cwd=home)
        assert ended.returncode == 0, (group, ended.stderr)
        assert ended.json["result"]["sha256"] == reference, group
        checked = check_store(store)
        if not kept_time:
            assert (checked.quarantined, checked.dropped) == ((), ()), (group, ended.stderr)


@pytest.mark.attack("store")
@pytest.mark.parametrize(
    "of", ["another layer", "another bundle", "another epoch", "another codec", "no files", "a smaller table"]
)
def test_a_segment_that_is_not_of_its_table_reaches_no_archive(
    shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, of: str
) -> None:
    """Both are intact blobs with intact references: only reading shows that they are of different layers."""
    make_wheel(shop.folder, "empty", "1.0", {})
    args = ("shop", "basket", "--name", "app")
    reference = built_locked(bundler_cli, *args, cwd=tmp_path)["sha256"]
    store = Store(bundler_cli.store)
    own = segments_of(store)
    more: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "another bundle": ((*args[:-1], "other"), {}),
        "another epoch": (args, {"SOURCE_DATE_EPOCH": "1600000000"}),
        "another codec": ((*args, "--format", "tar.zst"), {}),
        "no files": (("empty", "--name", "app"), {}),
    }
    if of in more:
        built_locked(bundler_cli, *more[of][0], "-o", "more", cwd=tmp_path, env=more[of][1])
    if of == "a smaller table":
        for key, layer in layers_of(store):
            smaller = replace(layer, files=layer.files[1:])
            store.remember("layer", key, smaller)
            segment = store.lookup("segment", FORMAT.key(layer.files))
            assert segment is not None
            store.bind("segment", FORMAT.key(smaller.files), segment)
    else:
        others = {key: digest for key, digest in segments_of(store).items() if key not in own} or own
        for key, digest in own.items():
            store.bind("segment", key, next(other for other in others.values() if other != digest))
    shutil.rmtree(tmp_path / "dist")
    ended = bundler_cli.run("build", "--json", *locked(bundler_cli, *args), cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert ended.json["result"]["sha256"] == reference
    assert bundler_cli.run("verify", ended.json["result"]["path"]).returncode == 0
    assert (check_store(store).quarantined, check_store(store).dropped) == ((), ())


FORMAT = SegmentFormat(root="app", codec="gz", epoch=DEFAULT_EPOCH)


@pytest.mark.attack("store")
@pytest.mark.parametrize("path", ["../store", "link", "link/../other", "../here/./store", "ü '\""])
def test_the_path_of_a_store_changes_no_verdict(
    shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, path: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "deep/store").mkdir(parents=True)
    (tmp_path / "here/link").symlink_to(tmp_path / "deep/store")
    make_sdist(shop.folder, "source", "1.0", {"source.py": "import basket\n"})
    result = built(bundler_cli, "source", "shop", "--name", "app", "--store", path, cwd=tmp_path / "here")

    assert result["built_here"] == ["source"]


@pytest.mark.parametrize("how", ["..", "link"])
def test_the_paths_of_python_and_code_change_no_verdict(
    shop: LocalIndex, bundler_cli: BundlerCli, python37: Path, tmp_path: Path, how: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text("import shop\ndef init(): pass\ndef run(data): return data\n")
    (tmp_path / "here/link").symlink_to(tmp_path / "code")
    (tmp_path / "here/python").symlink_to(python37.parent.parent)
    code = "../code" if how == ".." else "link"
    python = os.path.relpath(python37, tmp_path / "here") if how == ".." else "python/bin/python3.7"
    args = ("--source-dir", code, "--entry-script", "score.py", "--python", f"./{python}")
    built_locked(bundler_cli, "shop", "--name", "app", *args, cwd=tmp_path / "here")


def segments_of(store: Store) -> dict[str, Sha256]:
    refs = (store.root / "refs/segment").glob("*/*")
    return {ref.name: Sha256(ref.read_text()[:64]) for ref in refs}


def layers_of(store: Store) -> Iterator[tuple[str, Layer]]:
    for ref in list((store.root / "refs/layer").glob("*/*")):
        layer = store.recall("layer", ref.name, Layer)
        assert layer is not None
        yield ref.name, layer


def test_a_warm_build_reads_no_segment_again(
    shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """The checks of the first build have read them: the second one copies them."""
    args = locked(bundler_cli, "shop", "--name", "app")
    built(bundler_cli, *args, "-o", "one", cwd=tmp_path)
    reads = list((bundler_cli.store / "v1/refs/read").glob("*/*"))
    before = {ref: ref.stat().st_ino for ref in reads}
    built(bundler_cli, *args, "-o", "two", cwd=tmp_path)

    assert len(before) == 2
    assert {ref: ref.stat().st_ino for ref in reads} == before


def at_once(cli: BundlerCli, *commands: tuple[str, ...], cwd: Path) -> list[tuple[int, str]]:
    """Run builds at the same time; return the exit code and the standard error of each."""
    running = [
        subprocess.Popen(
            [sys.executable, "-I", "-m", "bundler", "build", *command],
            cwd=cwd,
            env=cli.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    errors = [process.communicate(timeout=300)[1] for process in running]
    return [(process.returncode, error) for process, error in zip(running, errors, strict=True)]


@pytest.mark.attack("parallel")
@pytest.mark.parametrize("fmt", ["tar.gz", "dir"])
def test_p11_several_builds_of_one_bundle_agree(
    shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, fmt: str
) -> None:
    args = locked(bundler_cli, "shop", "--name", "app", "--format", fmt)
    ended = at_once(bundler_cli, *[args] * 6, cwd=tmp_path)

    assert [code for code, _ in ended] == [0] * 6, ended
    (path,) = [path for path in (tmp_path / "dist").iterdir() if path.suffix not in (".json", ".sha256")]
    assert len(list((tmp_path / "dist").iterdir())) == 3
    assert bundler_cli.run("verify", str(path)).returncode == 0
    check = subprocess.run(
        ["sha256sum", "-c", "--quiet", *(tmp_path / "dist").glob("*.sha256")],
        cwd=tmp_path / "dist",
        check=False,
    )
    assert check.returncode == 0


@pytest.mark.attack("parallel")
@pytest.mark.parametrize("fmt", ["tar.gz", "dir"])
def test_p11_of_several_bundles_of_one_name_one_is_written(
    shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, fmt: str
) -> None:
    args = ("--name", "app", "--bundle-version", "1", "--format", fmt)
    commands = [locked(bundler_cli, name, *args) for name in ("shop", "basket") * 3]
    ended = at_once(bundler_cli, *commands, cwd=tmp_path)

    assert sorted(code for code, _ in ended) == [0] * 3 + [11] * 3, ended
    for code, error in ended:
        assert ("already exists with other content" in error) == (code == 11)
    (path,) = [path for path in (tmp_path / "dist").iterdir() if path.suffix not in (".json", ".sha256")]
    assert bundler_cli.run("verify", str(path)).returncode == 0


@pytest.mark.parametrize("there", ["directory", "link"])
def test_an_output_of_another_kind_is_refused(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path, there: str
) -> None:
    args = locked(warm_cli, "basket", "--name", "app", "--bundle-version", "1")
    path = tmp_path / "dist/app-1-cp37-linux_x86_64.tar.gz"
    path.parent.mkdir()
    if there == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "missing")

    ended = warm_cli.run("build", *args, cwd=tmp_path)

    assert ended.returncode == 11
    assert "already exists with other content" in ended.stderr
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("fmt", ["tar.gz", pytest.param("tar.zst", marks=pytest.mark.slow), "dir"])
def test_every_format_holds_the_same_bundle(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path, fmt: str
) -> None:
    reference = built_locked(warm_cli, "shop", "--name", "app", "-o", "reference", cwd=tmp_path)

    result = built_locked(warm_cli, "shop", "--name", "app", "--format", fmt, cwd=tmp_path)

    assert result["identity"] == reference["identity"]
    (beside,) = (tmp_path / "dist").glob("*.sha256")
    subprocess.run(["sha256sum", "-c", beside.name], cwd=beside.parent, check=True, capture_output=True)
    assert warm_cli.run("verify", result["path"]).returncode == 0


def test_source_date_epoch_is_honoured_and_a_bad_one_refused(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    result = built_locked(
        warm_cli,
        "shop",
        "--name",
        "app",
        cwd=tmp_path,
        env={"SOURCE_DATE_EPOCH": "1600000000"},
    )
    with tarfile.open(result["path"]) as archive:
        assert {member.mtime for member in archive} == {1600000000}

    ended = warm_cli.run(
        "build", *locked(warm_cli, "shop"), cwd=tmp_path, env={"SOURCE_DATE_EPOCH": "yesterday"}
    )
    assert (ended.returncode, "SOURCE_DATE_EPOCH" in ended.stderr) == (2, True)


# --- what is refused ------------------------------------------------------------------------------


def refused(cli: BundlerCli, code: int, *args: str, cwd: Path, **given: Any) -> str:
    """Expect an exit code, an error without a traceback, and nothing left behind."""
    before = sorted(path.name for path in cwd.iterdir())
    ended = cli.run("build", *args, cwd=cwd, **given)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr.split("bundler: error:")[0]
    assert [path.name for path in (cwd / "dist").iterdir()] == [] if (cwd / "dist").exists() else True
    assert sorted(path.name for path in cwd.iterdir() if path.name != "dist") == before
    text: str = ended.stderr[ended.stderr.index("bundler: error:") :]
    return text


def test_r07_no_such_version(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    told = refused(warm_cli, 4, "basket==9", cwd=tmp_path)

    assert "basket 9 does not exist" in told
    assert "found   2.0, 1.0\n" in told


def test_r08_requirements_that_exclude_each_other(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(shop.folder, "old", "1.0", requires=["basket<2"])
    make_wheel(shop.folder, "new", "1.0", requires=["basket>=2"])

    told = refused(warm_cli, 4, "old", "new", cwd=tmp_path)

    assert "old" in told
    assert "new" in told


@pytest.mark.attack("input")
def test_r15_a_wrong_hash_in_the_requirements(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(f"basket==2.0 --hash=sha256:{'0' * 64}\n")

    told = refused(warm_cli, 5, "-r", "requirements.txt", cwd=tmp_path)

    assert "0" * 64 in told


@pytest.mark.attack("input")
def test_a_fake_installed_distribution_does_not_pass_for_one_with_the_right_hash(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """pip takes what it finds on PYTHONPATH for installed and never looks at the hash."""
    fake_distribution(tmp_path / "poison", "basket", "2.0")
    (tmp_path / "requirements.txt").write_text(f"basket==2.0 --hash=sha256:{'0' * 64}\n")

    env = {"PYTHONPATH": str(tmp_path / "poison")}
    told = refused(warm_cli, 5, "-r", "requirements.txt", cwd=tmp_path, env=env)

    assert "0" * 64 in told


@pytest.mark.attack("input")
def test_r10_a_direct_address_is_taken_with_its_hash_only(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    wheel = shop.folder / "basket-1.0-py3-none-any.whl"
    url = shop.url.replace("/simple/", f"/files/{wheel.name}")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()

    refused(warm_cli, 3, f"basket @ {url}", cwd=tmp_path)
    result = built(warm_cli, f"basket @ {url}#sha256={digest}", "--name", "app", cwd=tmp_path)

    assert result["distributions"] == {"basket": "1.0"}


def test_r20_a_version_that_excludes_the_target(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(shop.folder, "modern", "1.0", requires_python=">=3.8")

    assert "3.8" in refused(warm_cli, 4, "modern", cwd=tmp_path)


def test_r21_only_binary_refuses_a_source(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    make_sdist(shop.folder, "source", "1.0", {"source.py": ""})

    refused(warm_cli, 4, "source", "--only-binary", cwd=tmp_path)


@pytest.mark.attack("input")
def test_l08_a_stale_lock(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    warm_cli.run("lock", "shop", "-o", "pylock.toml", cwd=tmp_path)
    (tmp_path / "requirements.txt").write_text("shop\nbasket<2\n")

    told = refused(warm_cli, 3, "-r", "requirements.txt", "--lock", "pylock.toml", cwd=tmp_path)

    assert "~ basket<2  (requirements.txt:2) but the lock has basket 2.0" in told


@pytest.mark.attack("input")
def test_one_edited_hash_is_refused_before_the_file_is_opened(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    warm_cli.run("lock", "shop", "-o", "pylock.toml", cwd=tmp_path)
    lock = tmp_path / "pylock.toml"
    found = re.findall(r'sha256 = "([0-9a-f]{64})"', lock.read_text())
    lock.write_text(lock.read_text().replace(found[0], found[0][::-1]))

    told = refused(warm_cli, 5, "--lock", "pylock.toml", cwd=tmp_path)

    assert found[0] in told
    assert found[0][::-1] in told


@pytest.mark.attack("input")
def test_t1_a_file_the_index_swapped_is_refused(
    shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    bundler_cli.run("lock", "shop", "-o", "pylock.toml", cwd=tmp_path)
    make_wheel(shop.folder, "basket", "2.0", {"basket.py": "VERSION = 'evil'\n"})

    assert "basket-2.0" in refused(bundler_cli, 5, "--lock", "pylock.toml", cwd=tmp_path)


@pytest.mark.attack("input")
def test_k14_code_of_two_distributions_at_one_path_is_refused_unless_allowed(
    shop: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    make_wheel(shop.folder, "one", "1.0", {"one.py": "", "common.py": "ONE = 1\n"})
    make_wheel(shop.folder, "two", "1.0", {"two.py": "", "common.py": "TWO = 2\n"})

    told = refused(warm_cli, 10, *locked(warm_cli, "one", "two"), cwd=tmp_path)

    message = "`one` and `two` install different code at `common.py`; the bundle has that of `one`"
    assert f"W704  {message}" in told
    assert "--allow W704:one`" in told
    result = built_locked(
        warm_cli, "one", "two", "--allow", "W704:one", "--name", "app", "--format", "dir", cwd=tmp_path
    )
    (allowed,) = (item for item in result["verification"]["findings"] if item["code"] == "W704")
    assert (allowed["allowed"], allowed["message"]) == (True, message)
    code = "import common; common.ONE"
    subprocess.run([python37, "-c", code], env={"PYTHONPATH": f"{result['path']}/{SITE}"}, check=True)


def test_k14_files_that_nothing_imports_and_launchers_have_a_fixed_owner(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """As requests-aws4auth 1.1.1 and rsa 4.8 have them; the results of one build do not affect another."""
    script = {"{}-1.0.data/scripts/tool": "#!python\nprint('{}')\n"}
    for name, requires in (("aaa", []), ("zzz", ["aaa"])):
        files = {
            f"{name}.py": "",
            "LICENSE": name,
            "tests/__init__.py": f"try:\n    import {name}_missing\nexcept ImportError:\n    pass\n",
            f"tests/test_{name}.py": f"import {name}_gone\n",
            **{path.format(name): text.format(name) for path, text in script.items()},
        }
        make_wheel(shop.folder, name, "1.0", files, requires=requires)

    result = built_locked(warm_cli, "zzz", "aaa", "--name", "app", "--format", "dir", cwd=tmp_path)
    assert (Path(result["path"]) / SITE / "LICENSE").read_text() == "aaa"

    warm_cli.run("lock", "zzz", "-o", "pylock.toml", cwd=tmp_path)
    args = ("--lock", "pylock.toml", "zzz", "--name", "asked", "--format", "dir")
    result = built(warm_cli, *args, cwd=tmp_path)
    root = Path(result["path"])
    owners = {item["path"]: (item["owner"], item.get("also")) for item in manifest_of(result)["files"]}

    for path in (f"{SITE}/LICENSE", f"{SITE}/tests/__init__.py", "libexec/tool"):
        assert owners[path] == ("zzz", ["aaa"])
        assert "zzz" in (root / path).read_text()
    found = {item["code"]: item for item in result["verification"]["findings"]}
    assert found["W702"]["message"] == (
        "`zzz` and `aaa` install different files at `LICENSE`, `tests/__init__.py`; the bundle has those of `zzz`"
    )
    assert found["W703"]["severity"] == "warning"
    assert found["W703"]["where"] == "libexec/tool"
    missing = {
        (item["distribution"], item["where"])
        for item in result["verification"]["findings"]
        if "_missing" in item["message"] and item["code"][0] == "I"
    }
    assert {owner for owner, where in missing if where.startswith("tests/__init__.py:")} == {"zzz"}
    ended = warm_cli.run("verify", str(root), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr


def test_k14_the_same_file_twice_ships_once_and_is_listed(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(shop.folder, "one", "1.0", {"one.py": "", "common.py": "SAME = 1\n"})
    make_wheel(shop.folder, "two", "1.0", {"two.py": "", "common.py": "SAME = 1\n"})

    result = built_locked(warm_cli, "one", "two", "--name", "app", cwd=tmp_path)

    files = {item["path"]: item for item in manifest_of(result)["files"]}
    assert files[f"{SITE}/common.py"]["owner"] == "one"
    assert files[f"{SITE}/common.py"]["also"] == ["two"]
    with tarfile.open(result["path"]) as archive:
        assert archive.getnames().count(f"app/{SITE}/common.py") == 1


@pytest.mark.attack("input")
def test_k15_a_file_where_another_has_a_folder(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(shop.folder, "one", "1.0", {"thing/__init__.py": ""})
    make_wheel(shop.folder, "two", "1.0", {"thing": "a file", "two.py": ""})

    assert "a file of two, a directory of one" in refused(
        warm_cli, 7, *locked(warm_cli, "one", "two"), cwd=tmp_path
    )


def test_k17_namespace_packages_are_merged(
    shop: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """PEP 420, and pkgutil style with another line ending in each wheel."""
    declare = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)"
    make_wheel(
        shop.folder, "one", "1.0", {"ns/one/__init__.py": "", "old/__init__.py": declare, "old/a.py": ""}
    )
    make_wheel(
        shop.folder, "two", "1.0", {"ns/two.py": "", "old/__init__.py": f"# x\n{declare}\n\n", "old/b.py": ""}
    )

    result = built_locked(warm_cli, "one", "two", "--name", "app", "--format", "dir", cwd=tmp_path)

    code = "import ns.one, ns.two, old.a, old.b"
    subprocess.run([python37, "-c", code], env={"PYTHONPATH": f"{result['path']}/{SITE}"}, check=True)


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param("hook.pth", "import hook", id="purelib"),
        pytest.param("hook.pth", "import\thook", id="tab"),
        pytest.param("hook-1.0-nspkg.pth", "import hook", id="name-of-a-known-file"),
        pytest.param(f"hook-1.0.data/data/{SITE}/hook.pth", "import hook", id="data-scheme"),
        pytest.param("hook-1.0.data/platlib/hook.pth", "\ufeffimport hook", id="byte-order-mark"),
        # One line for Python 3.7; str.splitlines ends a line at the form feed.
        pytest.param("hook.pth", "import sys, types, os\f;print(1)", id="form-feed"),
        pytest.param("hook.pth", "sub\rimport hook", id="carriage-return"),
    ],
)
def test_w44_a_pth_that_runs_code_is_refused_unless_allowed(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path, path: str, code: str
) -> None:
    make_wheel(shop.folder, "hook", "1.0", {"hook.py": "", path: f"{code}\n# a comment\n"})
    name = path.rpartition("/")[2]

    told = refused(warm_cli, 10, *locked(warm_cli, "hook"), cwd=tmp_path)
    assert f"M108  `{name}` of `hook` runs code at every start of Python, but not on a mount: `import" in told
    result = built_locked(warm_cli, "hook", "--allow-pth", "Hook", "--name", "app", cwd=tmp_path)
    manifest = manifest_of(result)
    assert manifest["distributions"][0]["pth"] == [name]
    assert manifest["verification"]["allowed"] == ["M108:hook"]


@pytest.mark.attack("input")
def test_w44_in_an_environment_the_code_would_run(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(shop.folder, "hook", "1.0", {"hook.py": "", "hook.pth": "import hook\n"})
    args = (*locked(warm_cli, "hook"), "--for", "venv", "--name", "app")

    assert "hook: hook.pth" in refused(warm_cli, 7, *args, cwd=tmp_path)
    built(warm_cli, *args, "--allow-pth", "hook", cwd=tmp_path)


def test_a_wheel_with_clerical_faults_becomes_a_bundle_with_a_record_of_its_own(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """As selenium 4.1.0, decord 0.6.0, catboost 0.14 and ddtrace 2.5.1 have them, in one wheel."""
    info = "odd-1.0.dist-info"
    members = wheel_files("odd", "1.0", {"odd.py": "ODD = 1\n", "odd-1.0.0.data/scripts/odd": "#!python\n"})
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nTag: \n"
    members[f"{info}/METADATA"] = (
        b"Metadata-Version: 2.1\nName: odd\nVersion: 1.0+cpu\nLicense: GPL\n        \x0c        \n"
    )
    record = "/odd.py,md5=,1\ngone.c,sha256=abc=,3\nodd/,,\n"
    wheel = shop.folder / "odd-1.0-py3-none-any.whl"
    wheel.write_bytes(zip_bytes({**members, f"{info}/RECORD": record.encode()}))

    result = built_locked(warm_cli, "odd", "--name", "app", "--format", "dir", cwd=tmp_path)

    site = Path(result["path"]) / SITE
    rows = list(csv.reader((site / info / "RECORD").read_text().splitlines()))
    for path, digest, size in rows[:-1]:
        content = (site / path).read_bytes()
        assert (
            digest
            == f"sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')}"
        )
        assert size == str(len(content))
    assert {"odd.py", "../../../bin/odd", f"{info}/METADATA"} <= {row[0] for row in rows}
    assert (site / "odd.py").read_text() == "ODD = 1\n"
    faults = sorted(item["message"] for item in result["verification"]["findings"] if item["code"] == "W701")
    name = "`odd-1.0-py3-none-any.whl`: "
    assert all(fault.startswith(name) for fault in faults)
    assert [fault.removeprefix(name) for fault in faults] == [
        "a Tag in its WHEEL is empty",
        "its METADATA has a form feed or vertical tab in a header",
        f"its RECORD does not list: `odd-1.0.0.data/scripts/odd`, `{info}/METADATA`, `{info}/WHEEL`",
        "its RECORD has absolute paths: `/odd.py`",
        "its RECORD has another size for: `odd.py`",
        "its RECORD has no digest for: `odd.py`",
        "its RECORD lists files that are missing from it: `gone.c`, `odd`",
        "its Root-Is-Purelib is not one true or false: missing",
        "its `.data` directory is not named as its `.dist-info` directory: `odd-1.0.0.data`",
        "its `.dist-info` directory has version 1.0, its METADATA 1.0+cpu",
        "its file name has version 1.0, its METADATA 1.0+cpu",
    ]
    (distribution,) = manifest_of(result)["distributions"]
    assert (distribution["version"], distribution["notes"]) == ("1.0+cpu", [])
    listed = warm_cli.run("inspect", result["path"], "--notes", cwd=tmp_path).stdout
    assert "W701" in listed


def test_k13_a_missing_dependency_fails_the_build_with_its_module(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(shop.folder, "hungry", "1.0", {"hungry.py": "import undeclared_thing\n"})

    told = refused(warm_cli, 10, *locked(warm_cli, "hungry"), cwd=tmp_path)

    assert "hungry" in told
    assert "ModuleNotFoundError: No module named 'undeclared_thing'" in told
    result = built_locked(
        warm_cli,
        "hungry",
        "--allow-import-failure",
        "hungry",
        "--name",
        "app",
        cwd=tmp_path,
    )
    verification = manifest_of(result)["verification"]
    assert verification["allowed"] == ["hungry"]
    assert "undeclared_thing" in json.dumps(verification["ways"]["mount"])


@pytest.mark.slow
def test_k13_a_part_that_needs_an_extra_is_noted_and_warned_of_if_the_extra_does_not_help(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(
        shop.folder,
        "parts",
        "1.0",
        {"parts/__init__.py": "", "parts_rpc.py": "import rpclib\n"},
        requires=["rpclibpy; extra == 'rpc'"],
        extras=["rpc"],
    )
    make_wheel(shop.folder, "rpclibpy", "1.0", {"rpclibother.py": ""})

    result = built_locked(warm_cli, "parts", "--name", "app", cwd=tmp_path)

    statuses = {item["module"]: item["status"] for item in result["verification"]["ways"]["venv"]}
    assert statuses == {"parts": "ok", "parts_rpc": "optional"}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = built(warm_cli, "parts[rpc]", cwd=elsewhere)
    (warning,) = (one for one in result["verification"]["findings"] if one["code"] == "I209")
    assert "ModuleNotFoundError: No module named 'rpclib'" in warning["message"]


def test_l10_a_declared_dependency_that_the_lock_lacks(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    warm_cli.run("lock", "shop", "-o", "pylock.toml", cwd=tmp_path)
    lock = tmp_path / "pylock.toml"
    text = lock.read_text()
    first, second = (match.start() for match in re.finditer(r"\[\[packages\]\]", text))
    lock.write_text(text[:first] + text[second:])

    assert "basket" in refused(warm_cli, 10, "--lock", "pylock.toml", cwd=tmp_path)


def test_l11_distributions_that_require_each_other(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "hen", "1.0", {"hen.py": ""}, requires=["egg"])
    make_wheel(index.folder, "egg", "1.0", {"egg.py": ""}, requires=["hen"])

    assert built_locked(warm_cli, "hen", cwd=tmp_path)["distributions"] == {
        "egg": "1.0",
        "hen": "1.0",
    }


def test_r26_nothing_required_is_refused(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# nothing\n")

    told = refused(warm_cli, 3, "-r", "requirements.txt", cwd=tmp_path)

    assert "no requirements in requirements.txt" in told


def test_h16_a_python_that_is_not_there(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    told = refused(warm_cli, 8, "shop", "--python", "3.7.99", cwd=tmp_path)
    assert "PATH, pyenv, conda environments" in told
    assert re.search(r"pass `--python 3\.7\.\d+`", told)

    broken = tmp_path / "python3.7"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert "is not a working Python" in refused(warm_cli, 8, "shop", "--python", str(broken), cwd=tmp_path)


# --- sources --------------------------------------------------------------------------------------


def test_a_source_distribution_is_built_under_the_target_and_recorded(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    setup = (
        "import sys\nfrom setuptools import setup\n"
        "open('made.py', 'w').write('BY = %r' % (sys.version_info[:2],))\n"
        "setup(name='source', version='1.0', py_modules=['made'])\n"
    )
    make_sdist(shop.folder, "source", "1.0", {}, setup_py=setup)

    result = built(warm_cli, "source", "--name", "app", "--format", "dir", cwd=tmp_path)

    assert result["built_here"] == ["source"]
    assert (Path(result["path"]) / SITE / "made.py").read_text() == "BY = (3, 7)"
    (made,) = manifest_of(result)["distributions"]
    assert made["built_here"]["from"] == "source-1.0.tar.gz"
    assert any(name.startswith("setuptools==") for name in made["built_here"]["requires"])


@pytest.mark.slow
def test_two_builds_of_a_source_are_one_file(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler here")
    setup = (
        "from setuptools import setup, Extension\n"
        "setup(name='native', version='1.0', ext_modules=[Extension('native', ['native.c'])])\n"
    )
    code = (
        "#include <Python.h>\nstatic const char *where = __FILE__;\n"
        'static struct PyModuleDef d = {PyModuleDef_HEAD_INIT, "native", NULL, -1, NULL};\n'
        "PyMODINIT_FUNC PyInit_native(void) { return where ? PyModule_Create(&d) : NULL; }\n"
    )
    make_sdist(shop.folder, "native", "1.0", {"native.c": code}, setup_py=setup)
    warm_cli.run("lock", "native", "-o", "pylock.toml", cwd=tmp_path)

    results = [
        built(
            warm_cli,
            *("--lock", "pylock.toml", "--name", "app", "-o", name, "--store", name),
            cwd=tmp_path,
        )
        for name in ("one", "two and a longer name")
    ]

    assert results[0]["sha256"] == results[1]["sha256"]


@pytest.mark.slow
def test_local_wheels_sdists_and_folders_are_inputs(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "w", "local", "1.0")
    make_sdist(tmp_path / "w", "packed", "1.0", {"packed.py": ""})
    project = tmp_path / "my project"
    project.mkdir()
    (project / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='mine', version='3', py_modules=['mine'])\n"
    )
    (project / "mine.py").write_text("X = 1\n")
    before = sorted(path.name for path in project.iterdir())
    (tmp_path / "requirements.txt").write_text(
        "./w/local-1.0-py3-none-any.whl\n./w/packed-1.0.tar.gz\n./my project\n"
    )

    result = built(warm_cli, "-r", "requirements.txt", "--name", "app", "--format", "dir", cwd=tmp_path)

    assert result["distributions"] == {"local": "1.0", "mine": "3", "packed": "1.0"}
    assert sorted(path.name for path in project.iterdir()) == before
    assert str(tmp_path) not in (Path(result["path"]) / "pylock.toml").read_text()


@pytest.mark.slow
def test_a_local_folder_that_changed_since_it_was_locked_is_refused(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='mine', py_modules=['mine'])\n"
    )
    (project / "mine.py").write_text("X = 1\n")
    assert warm_cli.run("lock", "./project", "-o", "pylock.toml", cwd=tmp_path).returncode == 0
    built(warm_cli, "--lock", "pylock.toml", "--name", "app", "-o", "out", cwd=tmp_path)
    (project / "mine.py").write_text("X = 2\n")

    ended = warm_cli.run("build", "--lock", "pylock.toml", cwd=tmp_path)

    assert (ended.returncode, "has changed since it was locked" in ended.stderr) == (5, True)


def test_pyproject_extras_and_groups(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    make_wheel(shop.folder, "plugin", "1.0")
    make_wheel(shop.folder, "checker", "1.0")
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname='x'\nversion='1'\ndependencies=['basket<2']\n"
        "[project.optional-dependencies]\nplug=['plugin']\n[dependency-groups]\ntest=['checker']\n"
    )

    result = built(
        warm_cli,
        *("-r", "pyproject.toml", "--extra", "plug", "--group", "test", "--name", "app"),
        cwd=tmp_path,
    )

    assert result["distributions"] == {"basket": "1.0", "checker": "1.0", "plugin": "1.0"}


# --- launchers and data ---------------------------------------------------------------------------


def test_scripts_and_data_schemes_land_where_they_run(
    shop: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """W38, W39 and K20."""
    data = "schemed-1.0.data"
    make_wheel(
        shop.folder,
        "schemed",
        "1.0",
        {
            "schemed.py": "WORD = 'schemed'\n",
            f"{data}/scripts/python-script": "#!python\nfrom __future__ import annotations\nimport schemed, sys\nprint(schemed.WORD, sys.argv[1])\n",
            f"{data}/scripts/shell-script": "#!/bin/sh\necho shell $1\n",
            f"{data}/data/share/schemed/file.txt": "data\n",
            f"{data}/headers/schemed.h": "/* */\n",
        },
    )
    result = built_locked(warm_cli, "schemed", "--name", "app", "--format", "dir", cwd=tmp_path)
    root = tmp_path / ("moved ä " + "x" * 130)
    shutil.move(result["path"], root)

    env = {"PATH": f"{python37.parent}:/usr/bin:/bin"}
    said = [
        subprocess.run(
            [root / "bin" / name, "1 2"], env=env, capture_output=True, text=True, check=True
        ).stdout
        for name in ("python-script", "shell-script")
    ]
    assert said == ["schemed 1 2\n", "shell 1 2\n"]
    assert (root / "share/schemed/file.txt").read_text() == "data\n"
    assert (root / "include/site/python3.7/schemed/schemed.h").is_file()


def test_a_launcher_follows_links_and_says_when_there_is_no_python(
    shop: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    result = built_locked(warm_cli, "shop", "--name", "app", "--format", "dir", cwd=tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "shop").symlink_to(Path(result["path"]) / "bin" / "shop")

    env = {"PATH": "/usr/bin:/bin", "BUNDLER_PYTHON": str(python37)}
    said = subprocess.run([tools / "shop"], env=env, capture_output=True, text=True, check=True).stdout
    assert said == "shop 2.0\n"

    for name in ("sh", "dirname", "readlink"):
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    ended = subprocess.run(
        [tools / "shop"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 127
    assert ended.stderr == "shop: Python 3.7 was not found; put it on PATH or set BUNDLER_PYTHON\n"


@pytest.mark.parametrize("version", ["3.8", "3.12", "3.13"])
def test_newer_targets(
    version: str, pythons: dict[str, Path], shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    if version not in pythons:
        pytest.skip(f"no Python {version} here")
    result = built_locked(
        warm_cli,
        "shop",
        "--python",
        version,
        "--name",
        "app",
        "--format",
        "dir",
        cwd=tmp_path,
    )

    env = {"PATH": f"{pythons[version].parent}:/usr/bin:/bin"}
    tool = Path(result["path"]) / "bin/shop"
    assert subprocess.run([tool], env=env, capture_output=True, text=True, check=True).stdout == "shop 2.0\n"
    assert (Path(result["path"]) / f"lib/python{version}/site-packages/shop/__init__.py").is_file()


@pytest.mark.attack("secrets")
def test_credentials_reach_no_output(shop: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path) -> None:
    """T14: an index with a password works, and the password is nowhere afterwards."""
    shop.require("user", "hunter2-canary")
    env = {"PIP_INDEX_URL": shop.url_with_credentials}

    ended = bundler_cli.run("build", "shop", "--name", "app", "--json", cwd=tmp_path, env=env)

    assert ended.returncode == 0, ended.stderr
    assert "canary" not in ended.stdout + ended.stderr
    for path in [*tmp_path.rglob("*"), *bundler_cli.store.rglob("*")]:
        if path.is_file() and "pip" not in path.relative_to(path.anchor).parts[-6:]:
            assert b"hunter2-canary" not in path.read_bytes(), path


def test_r11_a_repository_at_a_commit(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """Over http, from loopback; a branch is refused before anything is fetched."""
    if shutil.which("git") is None:
        pytest.skip("no git here")
    source = tmp_path / "source"
    source.mkdir()
    (source / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='versioned', version='4', py_modules=['versioned'])\n"
    )
    (source / "versioned.py").write_text("X = 4\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    subprocess.run(["git", "clone", "-q", "--bare", source, tmp_path / "web" / "repo.git"], check=True)
    subprocess.run(["git", "update-server-info"], cwd=tmp_path / "web" / "repo.git", check=True)
    handler = partial(QuietHandler, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            url = f"git+http://127.0.0.1:{server.server_port}/repo.git"
            refused(warm_cli, 3, f"versioned @ {url}@main", cwd=tmp_path)
            result = built(warm_cli, f"versioned @ {url}@{commit}", "--name", "app", cwd=tmp_path)
        finally:
            server.shutdown()
            thread.join()

    assert result["distributions"] == {"versioned": "4"}
    (made,) = manifest_of(result)["distributions"]
    assert made["built_here"]["kind"] == "vcs"
    with tarfile.open(result["path"]) as archive:
        lock = archive.extractfile("app/pylock.toml")
        assert lock is not None
        assert f'commit-id = "{commit}"' in lock.read().decode()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.attack("command")
def test_a_script_named_python_is_refused(shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """Launchers take a Python beside them for the target's."""
    make_wheel(
        shop.folder, "sly", "1.0", {"sly.py": "", "sly-1.0.data/scripts/python3.7": "#!/bin/sh\necho sly\n"}
    )

    assert "contains `bin/python3.7`, which is reserved for the bundle" in refused(
        warm_cli, 7, *locked(warm_cli, "sly"), cwd=tmp_path
    )


@pytest.mark.slow
def test_a_segment_made_from_another_is_the_same_bytes(
    shop: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """Another name makes another segment, from the one that is there; a fresh store makes it from the wheel."""
    noise = random.Random(1).randbytes(3_000_001)
    files: dict[str, str | bytes] = {
        "big/__init__.py": "",
        "big/a": noise,
        "big/b": noise[::2] + bytes(700_001),
        "big/c.py": "X = 1\n" * 9000,
    }
    make_wheel(shop.folder, "big", "1.0", files)
    built_locked(warm_cli, "big", "--name", "first", cwd=tmp_path)

    made = built_locked(warm_cli, "big", "--name", "app", "-o", "one", cwd=tmp_path)
    fresh = built_locked(
        warm_cli,
        "big",
        "--name",
        "app",
        "-o",
        "two",
        "--store",
        str(tmp_path / "s"),
        cwd=tmp_path,
    )

    assert made["sha256"] == fresh["sha256"]
