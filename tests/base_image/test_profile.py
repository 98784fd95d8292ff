"""A base is told the same whether it is captured, frozen, unpacked or in an image; and nothing wrong is believed."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from support.archives import (
    ENV,
    LIBC,
    SITE,
    Entries,
    Hard,
    Link,
    Members,
    compressed,
    config_bytes,
    digest,
    docker_members,
    installed,
    library,
    oci_image,
    oci_members,
    rootfs,
    tar_bytes,
    write_archive,
    write_layout,
)
from support.paths import CAPTURE
from support.venvs import NSPKG, OLD_NSPKG, make_venv
from support.wheels import make_wheel

from bundler.base_image.profile import BaseProfile, profile_json
from bundler.base_image.reader import read_base
from bundler.errors import BundlerError, InputError, IntegrityError, MalformedError
from bundler.reporter import Silent, Task

AZURE = {"AZUREML_CONDA_ENVIRONMENT_PATH": f"/{ENV}"}


def names(base: BaseProfile) -> dict[str, str]:
    return {name: str(one.version) for name, one in base.distributions.items()}


# --- capture.py --------------------------------------------------------------


def fill(site: Path, scratch: Path) -> None:
    """Install distributions of every kind, as pip and conda leave them."""
    wheels = [
        make_wheel(
            scratch,
            "Flask-Like",
            "1.0.3",
            {"flask_like/__init__.py": "", "flask_like/data.txt": "x", "one.py": ""},
            requires=["six>=1.5", "extra-thing; extra == 'all'"],
            extras=["all"],
        ),
        make_wheel(
            scratch,
            "google-api-core",
            "1.31.6",
            {
                "google/api_core/__init__.py": "",
                "google_api_core-1.31.6-py3.9-nspkg.pth": NSPKG.format("google"),
            },
        ),
        make_wheel(
            scratch,
            "mixing",
            "2",
            {"mixing/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"},
        ),
    ]
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)  # noqa: S202 - a wheel made above
    egg = site / "old_egg-0.9-py3.7.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.1\nName: old_egg\nVersion: 0.9\n")
    (egg / "requires.txt").write_text(
        "six\n\n[ssl]\ncerts>=1\n\n[ssl:python_version < '3.8']\nback\n[:os_name=='nt']\nwin\n"
    )
    (egg / "installed-files.txt").write_text("../old_egg/__init__.py\n../old_egg.so\nPKG-INFO\n")
    (site / "distutilish-1.5.egg-info").write_text(
        "Metadata-Version: 1.0\nName: distutilish\nVersion: 1.5\nSummary: two\n  lines\n\nRequires-Dist: no\n"
    )
    for name, text, has_init in (
        ("fixed_new", NSPKG, True),
        ("fixed_old", OLD_NSPKG, False),
        ("plain_old", OLD_NSPKG, True),
    ):
        (site / f"{name}-nspkg.pth").write_text(text.format(name))
        (site / name).mkdir()
        (site / name / ("__init__.py" if has_init else "x.py")).write_text("")
    broken = site / "leftover-1.0.dist-info"
    broken.mkdir()
    (broken / "INSTALLER").write_text("pip\n")


def capture(python: Path, *args: str, script: Path = CAPTURE, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(script), *args], env={"LC_ALL": "C", **env}, capture_output=True, text=True, check=False
    )


@pytest.fixture(params=["3.7", "3.13"])
def python(request: pytest.FixtureRequest, pythons: dict[str, Path]) -> Path:
    if request.param not in pythons:
        pytest.skip(f"no CPython {request.param} was found")
    return pythons[request.param]


def test_a_captured_environment_and_its_unpacked_files_say_the_same(python: Path, tmp_path: Path) -> None:
    """capture.py and `installed` hold the same rules twice; this keeps them one."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    program, site = make_venv(python, root / "opt" / "env")
    fill(site, tmp_path)

    ended = capture(program)
    assert (ended.returncode, ended.stderr) == (0, "")
    ended.stdout.encode("ascii")
    profile = tmp_path / "base.json"
    profile.write_text(ended.stdout)
    live, dead = read_base(profile), read_base(root, prefer="/opt/env")

    assert live.source == "interpreter"
    assert dead.source == "rootfs"
    assert live.distributions == dead.distributions
    assert live.occupied == dead.occupied
    assert live.occupied == {
        "fixed_new": "fixed",
        "fixed_old": "fixed",
        "flask_like": "regular",
        "google": "namespace",
        "one": "regular",
        "plain_old": "regular",
    }
    assert (live.abi, dead.python_version) == (dead.abi, ".".join((live.python_version or "").split(".")[:2]))
    assert names(live) == {
        "distutilish": "1.5",
        "flask-like": "1.0.3",
        "google-api-core": "1.31.6",
        "mixing": "2",
        "old-egg": "0.9",
    }
    flask = live.distributions[next(name for name in live.distributions if name == "flask-like")]
    assert flask.top_level == ("flask_like", "one")
    assert [str(one) for one in flask.requires] == ["six>=1.5", 'extra-thing; extra == "all"']
    egg = live.distributions[next(name for name in live.distributions if name == "old-egg")]
    assert [str(one) for one in egg.requires] == [
        "six",
        'certs>=1; extra == "ssl"',
        'back; python_version < "3.8" and extra == "ssl"',
        'win; os_name == "nt"',
    ]
    assert egg.top_level == ("old_egg",)
    assert {name for name, one in live.distributions.items() if one.pth} == {"google-api-core"}


def test_a_capture_names_the_interpreter_and_its_libraries(python: Path, tmp_path: Path) -> None:
    """It needs nothing beside it, and what lies beside it does not reach it."""
    folder = tmp_path / "ä b"
    folder.mkdir()
    script = folder / "capture.py"
    script.write_bytes(CAPTURE.read_bytes())
    for name in ("json", "platform", "subprocess", "csv"):
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    own = folder / "lib"
    own.mkdir()
    (own / "libmine.so.3").write_bytes(library())

    ended = capture(python, script=script, LD_LIBRARY_PATH=str(own))
    assert ended.returncode == 0, ended.stderr
    values = json.loads(ended.stdout)
    (tmp_path / "p.json").write_text(ended.stdout)
    base = read_base(tmp_path / "p.json")

    assert base.python_version == values["python"]["markers"]["python_full_version"]
    assert values["python"].keys() >= {"soabi", "executable", "prefix", "libc", "markers"}
    assert not values["python"].keys() & {"paths", "stdlib", "base_prefix"}
    assert (
        base.abi == "cp" + "".join(values["python"]["version"].split(".")[:2]) + values["python"]["abiflags"]
    )
    assert base.libraries is not None
    assert "libmine.so.3" in base.libraries
    if values["python"]["libc"][0] == "glibc":
        assert base.glibc == values["python"]["libc"][1]
        assert "libc.so.6" in base.libraries
    assert base.platform == values["python"]["platform"].replace("-", "_")


def test_the_first_on_the_path_wins(python37: Path, tmp_path: Path) -> None:
    program, site = make_venv(python37, tmp_path / "env")
    first = tmp_path / "first"
    for folder, version in ((site, "1.0"), (first, "2.0")):
        for name, text in installed(".", "twice", version).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    values = json.loads(capture(program, PYTHONPATH=str(first)).stdout)

    assert [(one["name"], one["version"]) for one in values["distributions"]] == [("twice", "2.0")]


def manifest(python: str, **changes: Any) -> dict[str, Any]:
    target = {
        "abi": "cp37m",
        "platform": "linux_x86_64",
        "python": python,
        "python_full_version": f"{python}.1",
    }
    return {"target": target, "verification": {"glibc": ""}, **changes}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        pytest.param({}, "", id="fits"),
        pytest.param({"base": {"provided": {}}}, "", id="nothing-provided"),
        pytest.param(
            {"base": {"provided": {"distutilish": "1.5.0", "flask-like": "1.0.3"}}}, "", id="provided"
        ),
        pytest.param({"verification": {"glibc": "2.5"}}, "", id="old-glibc"),
        pytest.param(
            {"base": {"provided": {"distutilish": "1.6"}}},
            "FAIL  distutilish: wanted 1.6, found 1.5",
            id="other-version",
        ),
        pytest.param(
            {"base": {"provided": {"ab\u00e9": "1"}}}, "FAIL  ab\\xe9: wanted 1, found none", id="missing"
        ),
        pytest.param(
            {"verification": {"glibc": "2.99"}}, "FAIL  glibc: wanted 2.99 or newer, found ", id="new-glibc"
        ),
        pytest.param({"target": {"python": "3.6"}}, "FAIL  python: wanted 3.6, found 3.7", id="python"),
        pytest.param({"target": {"abi": "cp37"}}, "FAIL  abi: wanted cp37, found cp37m", id="abi"),
        pytest.param(
            {"target": {"platform": "win32"}}, "FAIL  platform: wanted win32, found ", id="platform"
        ),
    ],
)
def test_a_check_names_each_expectation(
    filled37: Path, tmp_path: Path, change: dict[str, Any], line: str
) -> None:
    values = manifest("3.7")
    values["target"]["platform"] = json.loads(capture(filled37).stdout)["python"]["platform"].replace(
        "-", "_"
    )
    values["target"].update(change.get("target", {}))
    values.update({key: value for key, value in change.items() if key != "target"})
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(values))

    ended = capture(filled37, "--check", str(path))

    assert ended.stderr == ""
    failed = [found for found in ended.stdout.splitlines() if not found.startswith("ok    ")]
    assert (ended.returncode, len(failed)) == ((10, 1) if line else (0, 0)), ended.stdout
    assert all(found.startswith(line) for found in failed)


@pytest.fixture(scope="module")
def filled37(python37: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    program, site = make_venv(python37, folder / "env")
    fill(site, folder)
    return program


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"target": 1}', "\xff"])
def test_a_check_refuses_what_is_no_manifest(python37: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(content, "latin-1")

    ended = capture(python37, "--check", str(path))

    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    assert capture(python37, "--nonsense").returncode == 2


# --- a profile ---------------------------------------------------------------


def profile(**changes: Any) -> dict[str, Any]:
    distribution = {
        "name": "Six",
        "version": "1.16.0",
        "requires": ["a>=1"],
        "top_level": ["six"],
        "pth": False,
    }
    values: dict[str, Any] = {
        "format": "bundler-base",
        "format_version": 1,
        "source": "interpreter",
        "python": {
            "version": "3.7.16",
            "abiflags": "m",
            "platform": "linux-x86_64",
            "libc": ["glibc", "2.27"],
        },
        "libraries": ["libc.so.6"],
        "symbol_versions": {"GLIBCXX": "3.4.28"},
        "distributions": [distribution],
    }
    return {**values, **changes}


def test_a_profile_survives_a_round_trip(tmp_path: Path) -> None:
    base = BaseProfile.from_json(profile(occupied={"google": "fixed"}), tmp_path)

    assert (base.python_version, base.abi, base.platform, base.glibc) == (
        "3.7.16",
        "cp37m",
        "linux_x86_64",
        "2.27",
    )
    assert names(base) == {"six": "1.16.0"}
    assert BaseProfile.from_json(json.loads(json.dumps(profile_json(base))), tmp_path) == base


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param([], "is not the profile of a base", id="list"),
        pytest.param({"format": "bundler-manifest"}, "is not the profile of a base", id="manifest"),
        pytest.param(profile(format_version=2), "found   format version 2", id="newer"),
        pytest.param(profile(source="guess"), "base.json: $.source: invalid enum value 'guess'", id="source"),
        pytest.param(profile(python=None), "base.json: $.python: expected `object`, got `null`", id="python"),
        pytest.param(
            profile(python={"version": 3.7}),
            "base.json: $.python.version: expected `str`, got `float`",
            id="version-type",
        ),
        pytest.param(
            profile(python={"version": "seven"}),
            "base.json: $.python.version: expected `str` matching regex",
            id="version-text",
        ),
        pytest.param(
            profile(libraries=["a", 1]),
            "base.json: $.libraries[1]: expected `str`, got `int`",
            id="libraries",
        ),
        pytest.param(
            profile(symbol_versions={"GLIBCXX": 3}),
            "base.json: $.symbol_versions[...]: expected `str`, got `int`",
            id="symbols",
        ),
        pytest.param(
            profile(distributions={}),
            "base.json: $.distributions: expected `array`, got `object`",
            id="distributions",
        ),
        pytest.param(
            profile(distributions=[{"name": "x"}]),
            "base.json: $.distributions[0]: object missing required field `version`",
            id="no-version",
        ),
        pytest.param(
            profile(
                distributions=[{"name": "x", "version": "1", "requires": [], "top_level": [], "pth": "no"}]
            ),
            "base.json: $.distributions[0].pth: expected `bool`, got `str`",
            id="pth",
        ),
        pytest.param(
            profile(occupied={"a": "maybe"}),
            "base.json: $.occupied[...]: invalid enum value 'maybe'",
            id="occupied",
        ),
    ],
)
def test_a_wrong_profile_is_refused_with_its_place(tmp_path: Path, values: Any, told: str) -> None:
    with pytest.raises(InputError) as caught:
        BaseProfile.from_json(values, Path("base.json"))

    assert told in "\n".join((caught.value.message, *caught.value.evidence))
    assert "base.json" in caught.value.message


def test_what_pep_440_and_508_do_not_know_is_left_out_with_a_note(tmp_path: Path) -> None:
    odd = {"name": "odd", "version": "1.0-dirty~x", "requires": [], "top_level": [], "pth": False}
    bad = {"name": "bad", "version": "1", "requires": ["a (>1", "b"], "top_level": [], "pth": False}

    base = BaseProfile.from_json(profile(distributions=[odd, bad]), tmp_path)

    assert names(base) == {"bad": "1"}
    assert len(base.notes) == 2
    assert [str(one) for one in base.distributions[next(iter(base.distributions))].requires] == ["b"]


# --- pip freeze --------------------------------------------------------------


def test_a_freeze_gives_names_and_versions_alone(tmp_path: Path) -> None:
    path = tmp_path / "freeze.txt"
    path.write_text(
        "# comment\n\ncertifi @ file:///croot/certifi_1671487769961/src/certifi\nFlask==1.0.3\n"
        "-e git+https://user:secret@git.example/x@abc#egg=x\nWerkzeug==0.16.1  # why\nlegacy===1.0\n"
    )

    base = read_base(path)

    assert names(base) == {"flask": "1.0.3", "werkzeug": "0.16.1", "legacy": "1.0"}
    assert (base.source, base.requires_known, base.python_version, base.libraries) == (
        "freeze",
        False,
        None,
        None,
    )
    assert len(base.notes) == 2
    assert "`certifi`" in base.notes[0]
    assert "secret" not in "".join(base.notes)
    assert BaseProfile.from_json(json.loads(json.dumps(base.to_json())), path) == base


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a==1\nflask>=1.0\n", "freeze.txt:2"),
        ("a==1\nb==not a version\n", "freeze.txt:2"),
        ("a==1\na==2\n", "freeze.txt:2"),
        ("# nothing\n", "does not describe a base"),
        ("", "does not describe a base"),
        ("{", "is not JSON"),
    ],
)
def test_a_bad_freeze_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "freeze.txt"
    path.write_text(text)

    with pytest.raises(InputError) as caught:
        read_base(path)

    assert told in caught.value.message


# --- images ------------------------------------------------------------------

UPPER: Entries = {
    "usr/local/lib/libnew.so.1": library(),
    f"{SITE}/.wh.six-1.16.0.dist-info": "",
    f"{SITE}/Flask-1.0.3.dist-info/.wh..wh..opq": "",
    **installed(SITE, "Flask", "1.0.4", requires=["Werkzeug<2"], files=["flask/__init__.py"]),
}


def as_docker(folder: Path) -> Path:
    return write_archive(folder / "image.tar", docker_members([rootfs(), UPPER], env=AZURE))


def as_docker_gz(folder: Path) -> Path:
    return write_archive(folder / "image.tar.gz", docker_members([rootfs(), UPPER], env=AZURE), codec="gz")


def as_docker_25(folder: Path) -> Path:
    return write_archive(
        folder / "image.tar", docker_members([rootfs(), UPPER], env=AZURE, blobs=True, codec="gz")
    )


def as_oci(folder: Path, *, nested: bool = False, archive: bool = False, outer: Any = None) -> Path:
    members: Members = {}
    other = oci_image(members, [{"etc/": ""}], codec="gz") | {
        "platform": {"os": "linux", "architecture": "arm64"}
    }
    note = {"vnd.docker.reference.type": "attestation-manifest"}
    proof = {**other, "annotations": note, "platform": {}}
    windows = {**other, "platform": {"os": "windows", "architecture": "amd64"}}
    right = oci_image(members, [rootfs(), UPPER], env=AZURE, codec="zst")
    right["platform"] = {"os": "linux", "architecture": "amd64"}
    layout = oci_members([other, proof, windows, right, {**right, "annotations": {}}], members, nested=nested)
    return (
        write_archive(folder / "oci.tar", layout, codec=outer)
        if archive
        else write_layout(folder / "oci", layout)
    )


def as_folder(folder: Path) -> Path:
    """The same files, unpacked."""
    root = folder / "root"
    for path, content in rootfs().items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            place.mkdir()
        elif isinstance(content, Link):
            place.symlink_to(content)
        elif isinstance(content, Hard):
            place.hardlink_to(root / content)
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


FORMS: list[Callable[[Path], Path]] = [
    as_docker,
    as_docker_gz,
    as_docker_25,
    as_oci,
    lambda folder: as_oci(folder, nested=True, archive=True),
    lambda folder: as_oci(folder, archive=True, outer="zst"),
]


@pytest.mark.parametrize(
    "write", FORMS, ids=["docker", "docker-gz", "docker-25", "oci", "oci-nested-tar", "oci-zst"]
)
def test_an_image_says_what_its_layers_make_together(write: Callable[[Path], Path], tmp_path: Path) -> None:
    base = read_base(write(tmp_path))

    assert names(base) == {"flask": "1.0.4"}
    assert [str(one) for one in base.distributions[next(iter(base.distributions))].requires] == ["Werkzeug<2"]
    assert (base.source, base.python_version, base.abi) == ("archive", "3.7.16", "cp37m")
    assert (base.platform, base.glibc) == ("linux_x86_64", "2.31")
    assert base.symbol_versions == {"CXXABI": "1.3.12", "GLIBCXX": "3.4.28"}
    assert base.libraries is not None
    assert set(base.libraries) == {
        "libc.so.6",
        "libc-2.31.so",
        "libalt.so.3",
        "libalt.so.3.1",
        "libz.so.1",
        "libz.so.1.2.11",
        "libnew.so.1",
        "libstdc++.so.6",
        "libstdc++.so.6.0.28",
    }
    assert BaseProfile.from_json(json.loads(json.dumps(base.to_json())), tmp_path) == base


def test_an_unpacked_filesystem_says_the_same(tmp_path: Path) -> None:
    base = read_base(as_folder(tmp_path), prefer=f"/{ENV}")
    image = read_base(write_archive(tmp_path / "image.tar", docker_members([rootfs()], env=AZURE)))

    assert names(base) == {"flask": "1.0.3", "six": "1.16.0"}
    assert {**base.to_json(), "source": ""} == {**image.to_json(), "source": ""}


@pytest.mark.attack("archives")
def test_no_link_leads_out_of_an_unpacked_filesystem(tmp_path: Path) -> None:
    root = as_folder(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "libsecret.so.1").write_bytes(library())
    (root / "usr" / "lib64").symlink_to(outside)
    (root / "lib64").symlink_to("/../../../../../outside")

    base = read_base(root, prefer="3.7")

    assert base.libraries is not None
    assert "libsecret.so.1" not in base.libraries


def test_a_layer_that_is_there_twice_is_a_link_the_second_time(tmp_path: Path) -> None:
    members = docker_members([rootfs(), UPPER, rootfs()], env=AZURE)
    assert sum(isinstance(content, Link) for content in members.values()) == 1

    base = read_base(write_archive(tmp_path / "i.tar", members))

    assert names(base) == {"flask": "1.0.3", "six": "1.16.0"}


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        pytest.param({f"{SITE}/.wh.Flask-1.0.3.dist-info": ""}, {"six"}, id="whiteout-folder"),
        pytest.param({f"{ENV}/lib/python3.7/.wh.site-packages": ""}, set(), id="whiteout-above"),
        pytest.param({f"{SITE}/.wh..wh..opq": ""}, set(), id="opaque"),
        pytest.param(
            {f"{SITE}/.wh..wh..opq": "", f"{SITE}/b-1.dist-info/METADATA": "Name: b\nVersion: 1\n"},
            {"b"},
            id="opaque-first",
        ),
        pytest.param(
            {f"{SITE}/b-1.dist-info/METADATA": "Name: b\nVersion: 1\n", f"{SITE}/.wh..wh..opq": ""},
            {"b"},
            id="opaque-last",
        ),
        pytest.param({f"{SITE}/Flask-1.0.3.dist-info": "a file"}, {"six"}, id="file-over-folder"),
        pytest.param({f"{SITE}/Flask-1.0.3.dist-info": Link("/nowhere")}, {"six"}, id="link-over-folder"),
        pytest.param({f"{SITE}/Flask-1.0.3.dist-info/": ""}, {"six", "flask"}, id="folder-over-folder"),
        pytest.param({f"./{SITE}/.wh.six-1.16.0.dist-info": ""}, {"flask"}, id="dot-slash"),
        pytest.param({f"/{SITE}/.wh.six-1.16.0.dist-info": ""}, {"flask"}, id="absolute"),
        pytest.param({f"{SITE}/.wh.six-1.16.0": ""}, {"six", "flask"}, id="whiteout-of-a-prefix"),
        pytest.param(
            {f"{SITE}/b-1.dist-info/METADATA": "Name: b\n", f"{SITE}/c-1.dist-info/METADATA": "Version: 1\n"},
            {"six", "flask", "c"},
            id="without-a-version",
        ),
    ],
)
def test_a_layer_hides_what_is_below_it(tmp_path: Path, upper: Entries, left: set[str]) -> None:
    path = write_archive(tmp_path / "i.tar", docker_members([rootfs(), upper], env=AZURE))

    assert set(names(read_base(path))) == left


def test_a_folder_over_a_link_takes_its_place(tmp_path: Path) -> None:
    lower = {
        "usr/lib/x/libc.so.6": LIBC,
        "lib": Link("usr/lib/x"),
        **{k: v for k, v in rootfs().items() if k.startswith(ENV)},
    }
    path = write_archive(
        tmp_path / "i.tar", docker_members([lower, {"lib/": "", "lib/libown.so.1": library()}], env=AZURE)
    )

    base = read_base(path)

    assert base.libraries is not None
    assert "libown.so.1" in base.libraries
    assert base.glibc is None


def change(members: Members, name: str, content: bytes | Link | None) -> Members:
    found = next(key for key in members if key.startswith(name) or key.endswith(name))
    changed = {key: value for key, value in members.items() if key != found}
    return changed if content is None else {**changed, found: content}


def one_layer(layer: bytes) -> Members:
    """Return a docker archive of one layer with these bytes, right by its digests."""
    config = config_bytes([layer], AZURE)
    manifest = [{"Config": f"{digest(config)}.json", "RepoTags": None, "Layers": ["0/layer.tar"]}]
    return {
        "0/layer.tar": layer,
        f"{digest(config)}.json": config,
        "manifest.json": json.dumps(manifest).encode(),
    }


def blob_of(members: Members, kind: str) -> tuple[str, bytes]:
    """Return the name and bytes of a layer, manifest or config of a layout."""
    for name, content in members.items():
        if name.startswith("blobs/") and isinstance(content, bytes):
            text = content.startswith(b"{")
            if (kind == "layer" and not text) or (text and f'"{kind}"'.encode() in content):
                return name, content
    raise AssertionError(kind)


def small_layout(codec: Any = "gz") -> Members:
    members: Members = {}
    return oci_members([oci_image(members, [rootfs()], env=AZURE, codec=codec)], members)


@pytest.mark.attack("archives")
@pytest.mark.parametrize("codec", [None, "gz", "zst"])
@pytest.mark.parametrize("kind", ["layer", "layers", "rootfs"])
def test_a_blob_that_differs_from_its_digest_is_refused(tmp_path: Path, kind: str, codec: Any) -> None:
    """One byte in a layer, in the manifest or in the config."""
    members = small_layout(codec)
    name, content = blob_of(members, kind)
    at = len(content) // 2
    members[name] = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    with pytest.raises(IntegrityError) as caught:
        read_base(write_archive(tmp_path / "i.tar", members))

    wanted = name.removeprefix("blobs/sha256/")
    assert wanted in caught.value.message
    assert caught.value.evidence == (f"wanted  {wanted}", f"found   {digest(members[name])}")  # type: ignore[arg-type]


@pytest.mark.attack("archives")
@pytest.mark.parametrize("codec", [None, "gz", "zst"])
def test_a_layer_that_is_cut_short_is_refused(tmp_path: Path, codec: Any) -> None:
    members = small_layout(codec)
    name, content = blob_of(members, "layer")
    members[name] = content[: len(content) // 2]

    with pytest.raises(IntegrityError):
        read_base(write_archive(tmp_path / "i.tar", members))


@pytest.mark.attack("archives")
def test_other_bytes_of_the_same_content_are_refused_too(tmp_path: Path) -> None:
    members = small_layout("gz")
    name, content = blob_of(members, "layer")
    members[name] = compressed(b"", "gz") + content

    with pytest.raises(IntegrityError, match=r"^blob"):
        read_base(write_archive(tmp_path / "i.tar", members))


@pytest.mark.attack("archives")
def test_what_follows_the_end_of_a_layer_is_hashed_with_it(tmp_path: Path) -> None:
    layer = tar_bytes(rootfs()) + bytes(3 << 20)

    assert "flask" in names(read_base(write_archive(tmp_path / "i.tar", one_layer(layer)), prefer="3.7"))


@pytest.mark.attack("archives")
def test_a_docker_layer_is_compared_with_its_diff_id(tmp_path: Path) -> None:
    """Old archives name no digest of the stored bytes; the config names the content's."""
    other = tar_bytes({**rootfs(), "etc/added": "x"})
    members = change(docker_members([rootfs()], env=AZURE), "layer.tar", other)

    with pytest.raises(IntegrityError) as caught:
        read_base(write_archive(tmp_path / "i.tar", members))

    assert caught.value.evidence == (f"wanted  {digest(tar_bytes(rootfs()))}", f"found   {digest(other)}")


@pytest.mark.attack("archives")
def test_a_docker_config_is_compared_with_its_name(tmp_path: Path) -> None:
    members = docker_members([rootfs()], env=AZURE)
    name = next(name for name in members if name.endswith(".json") and name != "manifest.json")
    members[name] = config_bytes([tar_bytes(rootfs())], {})

    with pytest.raises(IntegrityError):
        read_base(write_archive(tmp_path / "i.tar", members))


def huge_name() -> bytes:
    """Return a tar whose pax record claims to be header is too large."""
    entry = tarfile.TarInfo("././@PaxHeader")
    entry.type, entry.size = tarfile.XHDTYPE, 2 << 20
    return entry.tobuf() + bytes(2 << 20) + tar_bytes({"etc/": ""})


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("layer", "told"),
    [
        pytest.param(tar_bytes({"../etc/x": "x"}), "contains a path outside of its root", id="traversal"),
        pytest.param(
            tar_bytes({"a/../../x": "x"}), "contains a path outside of its root", id="traversal-inside"
        ),
        pytest.param(
            tar_bytes({"x": Hard("../y")}), "contains a path outside of its root", id="traversal-link"
        ),
        pytest.param(huge_name(), "header is too large", id="huge-name"),
        pytest.param(b"BZh91AY&SY" + bytes(600), "has an unsupported compression", id="bzip2"),
        pytest.param(b"no tar" * 300, "is not a complete tar", id="no-tar"),
    ],
)
def test_a_hostile_layer_is_refused(tmp_path: Path, layer: bytes, told: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read_base(write_archive(tmp_path / "i.tar", one_layer(layer)))

    assert told in caught.value.message


@pytest.mark.attack("archives")
def test_a_kept_file_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bundler.oci.layer.FILE_LIMIT", 100)
    path = write_archive(tmp_path / "i.tar", docker_members([rootfs()], env=AZURE))

    with pytest.raises(MalformedError, match="too large"):
        read_base(path)


@pytest.mark.attack("archives")
def test_a_link_that_leads_nowhere_or_round_in_a_circle_is_no_layer(tmp_path: Path) -> None:
    for target in ("../0/layer.tar", "../../../../etc/passwd", "../gone/layer.tar"):
        members: Members = {**one_layer(tar_bytes(rootfs())), "0/layer.tar": Link(target)}
        with pytest.raises(MalformedError, match="lacks the layer"):
            read_base(write_archive(tmp_path / "i.tar", members))


@pytest.mark.attack("archives")
def test_a_layer_in_a_folder_may_not_lie_outside_of_it(tmp_path: Path) -> None:
    members = one_layer(tar_bytes(rootfs()))
    (tmp_path / "layer.tar").write_bytes(members["0/layer.tar"])  # type: ignore[arg-type]
    members["0/layer.tar"] = Link("../../layer.tar")

    with pytest.raises(MalformedError, match="lacks the layer"):
        read_base(write_layout(tmp_path / "image", members))


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("members", "error", "told"),
    [
        pytest.param({"manifest.json": b"[]"}, InputError, "holds 0 images", id="none"),
        pytest.param(
            {"manifest.json": b'[{"RepoTags":["a:1"]},{"RepoTags":["b:1"]}]'},
            InputError,
            "holds 2 images",
            id="two",
        ),
        pytest.param({"manifest.json": b"{"}, MalformedError, "is not JSON", id="no-json"),
        pytest.param({"manifest.json": b"[1]"}, MalformedError, "breaks its format", id="number"),
        pytest.param(
            {"manifest.json": b'[{"Config":"x","Layers":[]}]'},
            MalformedError,
            "lacks its config",
            id="no-config",
        ),
        pytest.param(
            {"manifest.json": b'[{"Config":"x","Layers":["a"]}]', "x": config_bytes([], {})},
            MalformedError,
            "name different layers",
            id="count",
        ),
        pytest.param({"other.txt": b"x"}, InputError, "does not describe a base", id="no-image"),
        pytest.param(change(small_layout(), "blobs/", None), MalformedError, "lacks the", id="no-blob"),
        pytest.param(oci_members([], {}), InputError, "no image for Linux", id="empty-layout"),
        pytest.param(oci_members([{"digest": "md5:1"}], {}), MalformedError, "has no sha256", id="md5"),
    ],
)
def test_an_archive_that_is_no_image_is_refused(
    tmp_path: Path, members: Members, error: type[BundlerError], told: str
) -> None:
    with pytest.raises(error) as caught:
        read_base(write_archive(tmp_path / "i.tar", members))

    assert told in caught.value.message


def test_two_images_for_one_machine_are_refused_by_their_names(tmp_path: Path) -> None:
    members: Members = {}
    images = [
        oci_image(members, [rootfs()], env={"N": name})
        | {"annotations": {"org.opencontainers.image.ref.name": name}}
        for name in ("one", "two")
    ]

    with pytest.raises(InputError) as caught:
        read_base(write_archive(tmp_path / "i.tar", oci_members(images, members)))

    assert "several images" in caught.value.message
    assert any("one sha256:" in line for line in caught.value.evidence)
    assert caught.value.hint == "docker save one -o image.tar"


@pytest.mark.parametrize(
    "content",
    [
        b"\x1f\x8b\x08\x00 not really",
        b"\x28\xb5\x2f\xfd no",
        bytes(2000),
        os.urandom(4000),
        b"PK\x03\x04\x00",
    ],
)
def test_other_files_are_told_what_was_expected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)

    with pytest.raises(InputError) as caught:
        read_base(path)

    assert "does not describe a base" in caught.value.message
    assert "pip freeze" in caught.value.evidence[0]


def test_other_folders_and_missing_paths_are_told_so(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError) as caught:
            read_base(path)
        assert str(path) in caught.value.message


# --- which Python --------------------------------------------------------------


def several() -> dict[str, Any]:
    """A Debian Python, a conda base and two environments, as older images have them."""
    files: dict[str, Any] = {"usr/bin/python3.9": library(), "etc/": ""}
    files |= installed("usr/lib/python3/dist-packages", "debian", "1")
    files |= installed("usr/local/lib/python3.9/dist-packages", "local", "1")
    for prefix, minor, name in (
        ("opt/miniconda", "3.9", "conda"),
        ("opt/miniconda/envs/amlenv", "3.7", "server"),
        ("opt/miniconda/envs/other", "3.8", "other"),
    ):
        files[f"{prefix}/bin/python{minor}"] = library()
        files |= installed(f"{prefix}/lib/python{minor}/site-packages", name, "1")
    files["opt/miniconda/pkgs/python-3.8.1/bin/python3.8"] = library()
    files |= installed("opt/miniconda/pkgs/python-3.8.1/lib/python3.8/site-packages", "cached", "1")
    files |= installed("var/azureml-app/bundle/lib/python3.7/site-packages", "bundled", "1")
    return files


@pytest.mark.parametrize(
    ("env", "prefer", "found"),
    [
        pytest.param("/opt/miniconda/envs/other", None, {"other"}, id="env"),
        pytest.param("/opt/miniconda/envs/other/", "3.7", {"other"}, id="env-before-version"),
        pytest.param("/opt/miniconda/envs/other", "/opt/miniconda", {"conda"}, id="path-before-env"),
        pytest.param(None, "3.7", {"server"}, id="version"),
        pytest.param(None, "3.7.16", {"server"}, id="full-version"),
        pytest.param(None, "3.8", {"other"}, id="no-conda-cache"),
        pytest.param(None, "/usr", {"debian", "local"}, id="debian"),
        pytest.param(
            None, "/opt/miniconda/envs/amlenv/lib/python3.7/site-packages", {"server"}, id="site-packages"
        ),
    ],
)
def test_one_of_several_pythons_is_chosen(
    tmp_path: Path, env: str | None, prefer: str | None, found: set[str]
) -> None:
    setting = {"AZUREML_CONDA_ENVIRONMENT_PATH": env} if env else {}
    path = write_archive(tmp_path / "i.tar", docker_members([several()], env=setting))

    assert set(names(read_base(path, prefer=prefer))) == found


@pytest.mark.parametrize(
    ("prefer", "told", "lines"),
    [
        pytest.param(None, "several Pythons", 4, id="ambiguous"),
        pytest.param("3.9", "several Pythons", 2, id="ambiguous-version"),
        pytest.param("3.6", "no such Python", 4, id="version"),
        pytest.param("/nowhere", "no such Python", 4, id="path"),
    ],
)
def test_an_ambiguous_base_lists_its_pythons(
    tmp_path: Path, prefer: str | None, told: str, lines: int
) -> None:
    path = write_archive(tmp_path / "i.tar", docker_members([several()]))

    with pytest.raises(InputError) as caught:
        read_base(path, prefer=prefer)

    assert told in caught.value.message
    assert len([line for line in caught.value.evidence if line.startswith("found")]) == lines
    offered = re.fullmatch(r"pass `--python-in (/\S+)`", caught.value.hint or "")
    assert offered
    assert names(read_base(path, prefer=offered[1])), "the hint works"


def test_reading_a_base_is_a_task_of_the_progress(tmp_path: Path) -> None:
    """An image of gigabytes takes minutes."""

    class Recorder(Silent):
        def task(
            self, name: str, total: int | None, *, in_bytes: bool = False
        ) -> AbstractContextManager[Task]:
            shown.append(name)
            return super().task(name, total, in_bytes=in_bytes)

    shown: list[str] = []
    read_base(write_archive(tmp_path / "i.tar", docker_members([rootfs()])), reporter=Recorder())

    assert shown == ["base"]


def test_the_version_comes_from_the_header_where_conda_does_not_say_it(tmp_path: Path) -> None:
    files: Entries = {
        "usr/local/bin/python3.7": library(),
        "usr/local/include/python3.7m/patchlevel.h": '#define PY_MINOR_VERSION 7\n#define PY_VERSION      "3.7.9+"\n',
        **installed("usr/local/lib/python3.7/site-packages", "a", "1"),
    }

    base = read_base(write_archive(tmp_path / "i.tar", docker_members([files])))

    assert base.python_version == "3.7.9"
    assert Version(base.python_version) == Version("3.7.9")
    assert (base.glibc, base.platform) == (None, None)


def test_a_musl_base_has_a_machine_and_no_glibc(tmp_path: Path) -> None:
    files: Entries = {"usr/bin/python3.12": library(), "lib/ld-musl-aarch64.so.1": library(183), "etc/": ""}

    base = read_base(write_archive(tmp_path / "i.tar", docker_members([files])))

    assert (base.platform, base.glibc, base.abi) == ("linux_aarch64", None, "cp312")


def test_an_image_is_read_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is unpacked, not even into a temporary folder."""
    path = as_docker_gz(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    empty = tmp_path / "t"
    monkeypatch.setattr("tempfile.tempdir", str(empty))

    read_base(path)

    assert sorted(tmp_path.rglob("*")) == before
    assert io.BytesIO(compressed(b"x", "gz")).read(2) == path.read_bytes()[:2]


def test_an_image_without_a_python_is_refused_in_words(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "i.tar", one_layer(tar_bytes({"etc/os-release": "ID=x\n"})))
    with pytest.raises(InputError, match="the base has no Python"):
        read_base(archive)
