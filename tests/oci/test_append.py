"""An image is the base's layers as they are, and ours on top: the same bytes each time, and refused where they cannot fit."""

from __future__ import annotations

import io
import itertools
import json
import random
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.archives import (
    Entries,
    Link,
    Members,
    compressed,
    digest,
    docker_members,
    oci_image,
    oci_members,
    tar_bytes,
    write_archive,
    write_layout,
)

from bundler.digest import sha256_of
from bundler.errors import BundlerError, InputError, IntegrityError, MalformedError, OutputError
from bundler.oci.append import WrittenImage, join_delta, write_image
from bundler.oci.filetree import App, AppFile, AppLayer
from bundler.oci.plan import fit_layers
from bundler.oci.reference import parse_reference
from bundler.paths import archive_path

EPOCH = 1_600_000_000
WHEN = "2020-09-13T12:26:40Z"
APP = "var/azureml-app"
PASSWD = "root:x:0:0::/root:/bin/sh\ndockeruser:x:1000:1000::/home/dockeruser:/bin/sh\n"


# --- joining -----------------------------------------------------


def file(path: str, content: str | bytes = b"x", *, mode: int = 0o644) -> AppFile:
    data = content.encode() if isinstance(content, str) else content
    return AppFile(
        path=archive_path(path),
        mode=mode,
        size=len(data),
        sha256=sha256_of(data),
        chunks=lambda: [data[at : at + 1000] for at in range(0, len(data), 1000)],
    )


def layer(comment: str, *files: AppFile) -> AppLayer:
    return AppLayer(comment=comment, files=tuple(sorted(files, key=lambda one: one.path.encode())))


SITE = "bundle/lib/python3.7/site-packages"
SIX = layer("six 1.16.0", file(f"{SITE}/six.py", "six"), file(f"{SITE}/six-1.16.0.dist-info/RECORD", ""))
MODEL = layer("model iris 1", file("azureml-models/iris/1/model.bin", bytes(3000)))
CODE = layer("code", file("src/score.py", "def run(): ..."), file("src/run.sh", "#!/bin/sh\n", mode=0o755))


def make_app(*layers: AppLayer, **changes: Any) -> App:
    app = App(
        layers=layers or (SIX, MODEL, CODE),
        env={"AZUREML_ENTRY_SCRIPT": "src/score.py", "PATH": "/opt/bin:/bin"},
        user="dockeruser",
        command=("runsvdir", "/var/runit"),
        port=5001,
        epoch=EPOCH,
        labels={"app": "iris"},
    )
    return replace(app, **changes)


def owned(entries: Mapping[str, tuple[int, int, int]]) -> bytes:
    """Return a layer of folders, each with its mode and owner."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, (mode, uid, gid) in entries.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, uid, gid
            tar.addfile(entry)
    return buffer.getvalue()


ROOT: Entries = {"etc/": "", "etc/passwd": PASSWD, "etc/group": "root:x:0:\ndocker:x:1000:\n"}
OWNED = owned({"./var": (0o755, 0, 0), f"./{APP}/": (0o2775, 1000, 1000)})
SETTINGS: dict[str, Any] = {
    "Env": ["PATH=/bin", "LANG=C.UTF-8"],
    "User": "root",
    "Entrypoint": ["/init"],
    "Cmd": ["sh"],
    "WorkingDir": "/",
    "Hostname": "0123456789ab",
    "ExposedPorts": {"80/tcp": {}},
    "Labels": {"app": "base", "from": "base"},
}
HISTORY = [
    {"created": "2020-01-01T00:00:00Z", "created_by": "ADD rootfs.tar /"},
    {"created": "2020-01-01T00:00:00Z", "created_by": "ENV LANG=C.UTF-8", "empty_layer": True},
    {"created": "2020-01-01T00:00:01Z", "created_by": "RUN mkdir"},
]
CHANGES: dict[str, Any] = {
    "config": SETTINGS,
    "history": HISTORY,
    "container": "0123456789ab",
    "container_config": {"Hostname": "0123456789ab"},
    "docker_version": "20.10.24",
    "created": "2020-01-01T00:00:01Z",
}
LAYERS: Sequence[Entries | bytes] = (ROOT, OWNED)


def old_docker(folder: Path, layers: Sequence[Entries | bytes] = LAYERS, **changes: Any) -> Path:
    return write_archive(folder / "base.tar", docker_members(layers, changes={**CHANGES, **changes}))


def new_docker(folder: Path) -> Path:
    return write_archive(folder / "base.tar", docker_members(LAYERS, changes=CHANGES, blobs=True))


def gzipped_docker(folder: Path) -> Path:
    return write_archive(folder / "b.tar", docker_members(LAYERS, changes=CHANGES, codec="gz"), codec="gz")


def layout(codec: Any = None, layers: Sequence[Entries | bytes] = LAYERS) -> Members:
    members: Members = {}
    return oci_members([oci_image(members, layers, codec=codec, changes=CHANGES)], members)


def oci_gz(folder: Path) -> Path:
    return write_archive(folder / "base.tar", layout("gz"))


def oci_folder_zst(folder: Path) -> Path:
    return write_layout(folder / "layout", layout("zst"))


FORMS = [old_docker, new_docker, gzipped_docker, oci_gz, oci_folder_zst]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base with a user, and with a folder for the application that is the user's."""
    return old_docker(tmp_path)


# --- reading back --------------------------------------------------------


def members_of(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        found: dict[str, bytes] = {}
        for one in tar.getmembers():
            assert one.name not in found
            assert (one.uid, one.gid, one.uname, one.gname) == (0, 0, "", "")
            opened = tar.extractfile(one)
            found[one.name] = opened.read() if opened else b""
        return found


def entries_of(image: WrittenImage, comment: str) -> dict[str, tarfile.TarInfo]:
    """Return the entries of the layer with a comment, in order."""
    (found,) = [one for one in image.layers if one.comment == comment]
    content = members_of(image.path)[f"blobs/sha256/{found.digest}"]
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        entries = tar.getmembers()
    assert len({one.name for one in entries}) == len(entries)
    return {one.name: one for one in entries}


def config_of(image: WrittenImage) -> dict[str, Any]:
    content = members_of(image.path)[f"blobs/sha256/{image.image_id.removeprefix('sha256:')}"]
    values: dict[str, Any] = json.loads(content)
    return values


def digests(image: WrittenImage) -> list[str]:
    return [one.digest for one in image.layers]


def write(app: App, base: Path, name: str = "image.tar", **options: Any) -> WrittenImage:
    return write_image(app, base, base.parent / name, **{"tag": "iris:1", **options})


# --- the archive --------------------------------------------------------------


def test_an_archive_names_everything_by_its_digest(base: Path) -> None:
    """Both indexes lead to the same config and the same layers, and every digest and size is right."""
    image = write(make_app(), base)
    members = members_of(image.path)

    assert (image.size, image.sha256) == (
        base.with_name("image.tar").stat().st_size,
        digest(image.path.read_bytes()),
    )
    assert list(members)[:3] == ["oci-layout", "index.json", "manifest.json"]
    for name, content in members.items():
        assert not name.startswith("blobs/sha256/") or name == f"blobs/sha256/{digest(content)}"
    index = json.loads(members["index.json"])
    (listed,) = index["manifests"]
    assert listed["platform"] == {"architecture": "amd64", "os": "linux"}
    assert listed["annotations"] == {
        "io.containerd.image.name": "docker.io/library/iris:1",
        "org.opencontainers.image.ref.name": "1",
    }
    manifest = json.loads(members[f"blobs/sha256/{listed['digest'].removeprefix('sha256:')}"])
    for one in (listed, manifest["config"], *manifest["layers"]):
        assert len(members[f"blobs/sha256/{one['digest'].removeprefix('sha256:')}"]) == one["size"]
    assert manifest["config"]["digest"] == image.image_id
    docker = {
        "Config": f"blobs/sha256/{image.image_id.removeprefix('sha256:')}",
        "RepoTags": ["iris:1"],
        "Layers": [f"blobs/sha256/{one}" for one in digests(image)],
    }
    assert json.loads(members["manifest.json"]) == [docker]
    assert [one["digest"] for one in manifest["layers"]] == [f"sha256:{one}" for one in digests(image)]
    assert config_of(image)["rootfs"]["diff_ids"] == [f"sha256:{one.diff_id}" for one in image.layers]


@pytest.mark.parametrize("form", FORMS)
def test_the_image_id_does_not_depend_on_the_form_of_the_base(
    form: Callable[[Path], Path], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    image = write(make_app(), form(tmp_path))

    assert image.image_id == write(make_app(), old_docker(tmp_path / "other")).image_id


@pytest.mark.parametrize(("codec", "kind"), [(None, "tar"), ("gz", "tar+gzip"), ("zst", "tar+zstd")])
def test_layers_of_the_base_are_copied_byte_for_byte(codec: Any, kind: str, tmp_path: Path) -> None:
    image = write(make_app(), write_archive(tmp_path / "base.tar", layout(codec)))
    members = members_of(image.path)
    wanted = [compressed(tar_bytes(one), codec) for one in LAYERS]

    assert [members[f"blobs/sha256/{one}"] for one in digests(image)[:2]] == wanted
    listed = json.loads(members["index.json"])["manifests"][0]["digest"].removeprefix("sha256:")
    types = [one["mediaType"] for one in json.loads(members[f"blobs/sha256/{listed}"])["layers"]]
    assert types == [f"application/vnd.oci.image.layer.v1.{one}" for one in (kind, kind, "tar", "tar", "tar")]


def test_a_layer_that_the_base_has_twice_is_there_once(tmp_path: Path) -> None:
    image = write(make_app(), old_docker(tmp_path, [ROOT, ROOT, OWNED]))

    assert len(digests(image)) == 6
    assert f"blobs/sha256/{digest(tar_bytes(ROOT))}" in members_of(image.path)


def test_two_runs_give_the_same_bytes(base: Path) -> None:
    """Nothing of the clock, the process or the order of a set gets in; the second one may be there already."""
    first = write(make_app(), base, "a.tar")
    second = write(make_app(), base, "b.tar")

    assert first.path.read_bytes() == second.path.read_bytes()
    assert write(make_app(), base, "a.tar") == first


@pytest.mark.attack("archives")
def test_a_file_that_differs_is_not_replaced(base: Path) -> None:
    base.with_name("image.tar").write_bytes(b"mine")

    with pytest.raises(OutputError, match="already exists with other content"):
        write(make_app(), base)

    assert base.with_name("image.tar").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["file/image.tar", "file/deeper/image.tar"])
def test_a_place_that_cannot_be_written_is_told(name: str, base: Path) -> None:
    (base.parent / "file").write_bytes(b"")

    refused(OutputError, "cannot write", base.parent, lambda: write(make_app(), base, name))


# --- the layers ---------------------------------------------------------------


def test_a_layer_holds_its_files_and_every_folder_once(base: Path) -> None:
    image = write(make_app(), base)

    assert [one.comment for one in image.layers] == ["", "", "six 1.16.0", "model iris 1", "code"]
    assert all(one.new for one in image.layers)
    entries = entries_of(image, "code")
    assert list(entries) == ["var", APP, f"{APP}/src", f"{APP}/src/run.sh", f"{APP}/src/score.py"]
    assert {one.mtime for one in entries.values()} == {EPOCH}
    assert {(one.uname, one.gname) for one in entries.values()} == {("", "")}
    assert [oct(one.mode) for one in entries.values()] == ["0o755", "0o2775", "0o755", "0o755", "0o644"]


def test_entries_are_sorted_by_their_bytes(base: Path) -> None:
    paths = ["b", "a/x", "a-b/x", "aa", "B", "é", "z"]
    entries = list(entries_of(write(make_app(layer("code", *map(file, paths))), base), "code"))

    assert entries == sorted(entries, key=str.encode)
    assert len(entries) == 2 + 2 + len(paths)


def test_a_folder_of_the_base_keeps_its_mode_and_owner(base: Path) -> None:
    """Without an entry of their own, folders above a file become root's in Docker and podman."""
    image = write(make_app(), base)

    for comment in ("six 1.16.0", "model iris 1", "code"):
        entries = entries_of(image, comment)
        found = {name: (one.mode, one.uid, one.gid) for name, one in entries.items() if one.isdir()}
        assert found["var"] == (0o755, 0, 0)
        assert found[APP] == (0o2775, 1000, 1000)
        assert {one for name, one in found.items() if name not in ("var", APP)} == {(0o755, 0, 0)}


@pytest.mark.parametrize(
    ("upper", "wanted"),
    [
        pytest.param({}, (0o2775, 1000, 1000), id="nothing"),
        pytest.param(owned({APP: (0o700, 5, 6)}), (0o700, 5, 6), id="last-wins"),
        pytest.param({f"{APP}/file": "x"}, (0o2775, 1000, 1000), id="file-below"),
        pytest.param({"var/.wh.azureml-app": ""}, (0o755, 0, 0), id="whiteout"),
        pytest.param({".wh.var": ""}, (0o755, 0, 0), id="whiteout-above"),
        pytest.param({"var/.wh..wh..opq": ""}, (0o755, 0, 0), id="opaque"),
        pytest.param({f"{APP}/.wh..wh..opq": ""}, (0o2775, 1000, 1000), id="opaque-inside"),
        pytest.param({".wh..wh..opq": ""}, (0o755, 0, 0), id="opaque-root"),
        pytest.param({"var/.wh.azureml": ""}, (0o2775, 1000, 1000), id="whiteout-of-another"),
        pytest.param(
            owned({APP: (0o770, 7, 7), "var/.wh..wh..opq": (0o644, 0, 0)}),
            (0o770, 7, 7),
            id="hides-only-below",
        ),
        pytest.param(owned({APP: (0o755, 3_000_000, 2**31)}), (0o755, 3_000_000, 2**31), id="large-owner"),
    ],
)
def test_whiteouts_hide_what_is_below(
    upper: Entries | bytes, wanted: tuple[int, int, int], tmp_path: Path
) -> None:
    image = write(make_app(user="1000"), old_docker(tmp_path, [ROOT, OWNED, upper]))
    found = entries_of(image, "code")[APP]

    assert (found.mode, found.uid, found.gid) == wanted


def test_a_folder_that_was_a_file_or_became_one_again(tmp_path: Path) -> None:
    """A file takes the place of a folder and its content; a folder in its place starts empty."""
    layers: list[Entries | bytes] = [ROOT, OWNED, {"var": "file"}, owned({"var": (0o711, 1, 1)})]
    entries = entries_of(write(make_app(), old_docker(tmp_path, layers)), "code")

    assert (entries["var"].mode, entries["var"].uid) == (0o711, 1)
    assert (entries[APP].mode, entries[APP].uid) == (0o755, 0)


def test_group_writable_gives_group_0_the_rights_of_the_owner(base: Path) -> None:
    """The entries of the base are unchanged."""
    entries = entries_of(write(make_app(group_writable=True), base), "code")

    found = {name.removeprefix(f"{APP}/"): (oct(one.mode), one.gid) for name, one in entries.items()}
    assert found["src"] == ("0o775", 0)
    assert found["src/run.sh"] == ("0o775", 0)
    assert found["src/score.py"] == ("0o664", 0)
    assert found["var"] == ("0o755", 0)
    assert found[APP] == ("0o2775", 1000)


def test_a_changed_file_changes_one_layer(base: Path) -> None:
    changed = layer("code", file("src/score.py", "def run(): return 1"), CODE.files[0])
    first, second = write(make_app(), base, "a.tar"), write(make_app(SIX, MODEL, changed), base, "b.tar")

    assert first.image_id != second.image_id
    differ = [
        one.comment
        for one, other in zip(first.layers, second.layers, strict=True)
        if one.digest != other.digest
    ]
    assert differ == ["code"]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(f"{'d' * 90}/{'f' * 90}", id="over-100"),
        pytest.param(f"{'d' * 200}/{'e' * 200}/{'f' * 200}", id="over-255"),
        pytest.param("f" * 250, id="long-name"),
        pytest.param("données/模型.bin", id="not-ascii"),
        pytest.param("with space/tab-less 'quote'", id="space"),
    ],
)
def test_long_and_foreign_names_arrive(path: str, base: Path) -> None:
    entries = entries_of(write(make_app(layer("code", file(path, "content"))), base), "code")

    assert entries[f"{APP}/{path}"].isreg()
    assert f"{APP}/{path}".rpartition("/")[0] in entries


# --- the config ---------------------------------------------------------------


def test_the_config_is_the_bases_with_ours_merged_in(base: Path) -> None:
    image = write(make_app(), base)
    config = config_of(image)

    assert config["config"] == {
        "Env": ["PATH=/opt/bin:/bin", "LANG=C.UTF-8", "AZUREML_ENTRY_SCRIPT=src/score.py"],
        "User": "dockeruser",
        "Entrypoint": ["/init"],
        "Cmd": ["runsvdir", "/var/runit"],
        "WorkingDir": "/",
        "ExposedPorts": {"80/tcp": {}, "5001/tcp": {}},
        "Labels": {"app": "iris", "from": "base"},
    }
    added = [
        {"created": WHEN, "created_by": "bundler package", "comment": comment}
        for comment in ("six 1.16.0", "model iris 1", "code")
    ]
    assert config["history"] == [*HISTORY, *added]
    assert config["created"] == WHEN
    assert sorted(config) == ["architecture", "config", "created", "history", "os", "rootfs"]


def test_what_an_app_does_not_say_stays_the_bases(base: Path) -> None:
    app = make_app(user="", command=(), port=0, env={}, labels={})
    settings = {key: value for key, value in SETTINGS.items() if key != "Hostname"}

    assert config_of(write(app, base))["config"] == settings


def test_a_base_without_settings_gets_ours_alone(tmp_path: Path) -> None:
    found = config_of(write(make_app(), old_docker(tmp_path, config=None)))["config"]

    assert found["Env"] == ["AZUREML_ENTRY_SCRIPT=src/score.py", "PATH=/opt/bin:/bin"]


@pytest.mark.parametrize("history", [None, [], HISTORY[:2]])
def test_a_history_that_fits_no_layers_is_replaced(history: Any, tmp_path: Path) -> None:
    """Readers pair the entries that are not empty with the layers, by position."""
    found = config_of(write(make_app(), old_docker(tmp_path, history=history)))["history"]

    assert [one["created_by"] for one in found] == ["base", "base", *["bundler package"] * 3]


# --- the budget ---------------------------------------------------------------


def many(count: int, *, bumped: int | None = None) -> list[AppLayer]:
    """Return distributions of different sizes, one of them in a new version."""
    layers = []
    for at in range(count):
        version = "2.0" if at == bumped else "1.0"
        content = version.encode() + bytes(10 * ((at * 7919) % count))
        layers.append(layer(f"d{at} {version}", file(f"{SITE}/d{at}.py", content)))
    return layers


def test_an_image_stays_in_its_budget(base: Path) -> None:
    image = write(make_app(*many(300), MODEL, CODE), base)

    assert len(image.layers) <= 124
    assert image.layers[-1].comment == "code"
    assert sum(one.comment.count("d") for one in image.layers if one.comment.startswith("d")) == 300
    names = [name for one in image.layers if one.comment for name in entries_of(image, one.comment)]
    assert sum(name.endswith(".py") for name in names) == 301


@pytest.mark.parametrize("room", [2, 5, 40, 122, 302])
def test_layers_fit_and_hold_all_files_in_order(room: int) -> None:
    layers = [*many(300), MODEL, CODE]
    fitted = fit_layers(layers, room)

    assert len(fitted) <= room
    assert fitted[-1] == CODE
    found = [one.path for fit in fitted for one in fit.files]
    assert sorted(found) == sorted(one.path for made in layers for one in made.files)
    for fit in fitted:
        assert list(fit.files) == sorted(fit.files, key=lambda one: one.path.encode())


@pytest.mark.parametrize("bumped", [0, 1, 17, 120, 299])
def test_a_new_version_changes_one_layer_in_a_full_image_too(bumped: int) -> None:
    """Large or small: which layer a small one shares depends on its name alone."""
    before = fit_layers([*many(300), CODE], 100)
    after = fit_layers([*many(300, bumped=bumped), CODE], 100)

    assert len(before) == len(after)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


def test_the_order_of_equal_layers_does_not_matter() -> None:
    layers = [layer(f"d{at} 1.0", file(f"{SITE}/d{at}.py")) for at in range(50)]
    mixed = random.Random(1).sample(layers, len(layers))

    assert set(fit_layers([*layers, CODE], 20)) == set(fit_layers([*mixed, CODE], 20))


def test_all_goes_into_one_layer_where_one_fits(tmp_path: Path) -> None:
    layers: list[Entries | bytes] = [ROOT, OWNED, *[{f"l{at}": "x"} for at in range(121)]]
    image = write(make_app(), old_docker(tmp_path, layers, history=[]))

    assert len(image.layers) == 124
    assert image.layers[-1].comment == "six 1.16.0, model iris 1, code"


@pytest.mark.attack("archives")
def test_a_base_that_is_full_is_refused(tmp_path: Path) -> None:
    layers: list[Entries | bytes] = [ROOT, OWNED, *[{f"l{at}": "x"} for at in range(122)]]

    with pytest.raises(InputError, match="so many layers") as caught:
        write(make_app(), old_docker(tmp_path, layers, history=[]))

    assert caught.value.evidence == ("wanted  fewer than 124 layers", "found   124")


# --- refusals ----------------------------------------------------------


def refused(error: type[BundlerError], told: str, folder: Path, act: Callable[[], object]) -> BundlerError:
    """Check that it fails so, and that nothing was written."""
    before = sorted(folder.iterdir())
    with pytest.raises(error) as caught:
        act()
    assert told in caught.value.message
    assert sorted(folder.iterdir()) == before
    assert not any("/tmp" in line for line in caught.value.evidence)
    return caught.value


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("upper", "told", "evidence"),
    [
        pytest.param(
            {"var": Link("usr/var")},
            "`/var` is a symbolic link to `usr/var` in the base",
            (
                f"wanted  a directory, for `{APP}/{SITE}/six-1.16.0.dist-info/RECORD`",
                "found   a symbolic link to `usr/var`",
            ),
            id="link-above",
        ),
        pytest.param(
            {APP: Link("/mnt")}, f"`/{APP}` is a symbolic link to `/mnt`", None, id="link-at-root-of-the-app"
        ),
        pytest.param({f"{APP}/src": "x"}, f"`/{APP}/src` is a file in the base", None, id="file-above"),
        pytest.param(
            {f"{APP}/src/score.py": Link("/etc/passwd")},
            f"`/{APP}/src/score.py` is a symbolic link to `/etc/passwd`",
            ("wanted  a file, or nothing, there", "found   a symbolic link to `/etc/passwd`"),
            id="link",
        ),
        pytest.param(
            {f"{APP}/src/score.py/": ""},
            f"`/{APP}/src/score.py` is a directory",
            None,
            id="folder-for-a-file",
        ),
    ],
)
def test_a_path_that_the_base_has_otherwise_is_refused(
    upper: Entries, told: str, evidence: tuple[str, ...] | None, tmp_path: Path
) -> None:
    base = old_docker(tmp_path, [ROOT, OWNED, upper], history=[])

    found = refused(MalformedError, told, tmp_path, lambda: write(make_app(), base))

    assert evidence is None or found.evidence == evidence


def test_a_link_that_is_hidden_or_a_file_that_is_replaced_is_no_obstacle(tmp_path: Path) -> None:
    layers: list[Entries | bytes] = [
        ROOT,
        {"var": Link("x"), f"{APP}/src/score.py": "old"},
        owned({"var": (0o755, 0, 0)}),
    ]
    again = [*layers, {f"{APP}/src/score.py": "old"}]

    assert write(make_app(), old_docker(tmp_path, again, history=[])).layers


@pytest.mark.attack("archives")
@pytest.mark.parametrize("path", [".wh.x", "a/.wh.b/c", ".wh..wh..opq"])
def test_a_name_that_would_hide_files_is_refused(path: str, base: Path) -> None:
    app = make_app(layer("code", file(path)))

    refused(MalformedError, "would hide another file", base.parent, lambda: write(app, base))


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ((layer("a", file("x")), layer("b", file("x"))), "is in the application twice"),
        ((layer("a", file("x")), layer("b", file("x/y"))), "is a file and a directory in the application"),
        ((layer("a", file("x/y")), layer("b", file("x"))), "is a file and a directory in the application"),
    ],
)
def test_an_app_that_contradicts_itself_is_refused(
    layers: tuple[AppLayer, ...], told: str, base: Path
) -> None:
    refused(MalformedError, told, base.parent, lambda: write(make_app(*layers), base))


@pytest.mark.parametrize("user", ["", "dockeruser", "dockeruser:docker", "1000", "1000:0", "nobody-here"])
def test_a_user_must_be_one_of_the_base(user: str, base: Path) -> None:
    if user != "nobody-here":
        assert config_of(write(make_app(user=user), base))["config"]["User"] == (user or "root")
        return
    found = refused(
        InputError,
        "the base has no user `nobody-here`",
        base.parent,
        lambda: write(make_app(user=user), base),
    )
    assert found.evidence == ("wanted  `nobody-here` in the base's /etc/passwd", "found   root, dockeruser")


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    "user", ["dockeruser:staff", "4294967295", "-1", "dockeruser:", ":0", "root\n", "\u0661"]
)
def test_a_strange_user_is_refused(user: str, base: Path) -> None:
    refused(InputError, "the base has no", base.parent, lambda: write(make_app(user=user), base))


def test_the_last_list_of_users_counts(tmp_path: Path) -> None:
    base = old_docker(tmp_path, [ROOT, OWNED, {"etc/passwd": "root:x:0:0::/:\n"}], history=[])

    refused(InputError, "has no user `dockeruser`", tmp_path, lambda: write(make_app(), base))


@pytest.mark.attack("archives")
@pytest.mark.parametrize("change", [{"architecture": "arm64"}, {"os": "windows"}, {"architecture": None}])
def test_a_base_for_another_machine_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    base = old_docker(tmp_path, **change)

    found = refused(InputError, "the base is for another machine", tmp_path, lambda: write(make_app(), base))

    assert found.evidence[0] == "wanted  linux/amd64"


def test_a_base_for_another_machine_can_be_asked_for(tmp_path: Path) -> None:
    image = write(make_app(), old_docker(tmp_path, architecture="arm64"), arch="arm64")
    listed = json.loads(members_of(image.path)["index.json"])["manifests"][0]

    assert listed["platform"]["architecture"] == "arm64"


@pytest.mark.attack("archives")
@pytest.mark.parametrize("codec", [None, "gz", "zst"])
def test_a_layer_with_a_wrong_digest_is_refused(codec: Any, tmp_path: Path) -> None:
    members = layout(codec)
    name = f"blobs/sha256/{digest(compressed(OWNED, codec))}"
    content = members[name]
    assert isinstance(content, bytes)
    members[name] = content[:-1] + bytes([content[-1] ^ 1])
    base = write_archive(tmp_path / "base.tar", members)

    refused(IntegrityError, "does not match its digest", tmp_path, lambda: write(make_app(), base))


@pytest.mark.attack("archives")
def test_a_config_that_names_other_layers_is_refused(tmp_path: Path) -> None:
    other = {"type": "layers", "diff_ids": [f"sha256:{digest(tar_bytes(ROOT))}", f"sha256:{'0' * 64}"]}
    base = old_docker(tmp_path, rootfs=other)
    refused(IntegrityError, "does not match its digest", tmp_path, lambda: write(make_app(), base))

    other["diff_ids"] = other["diff_ids"][:1]
    base = old_docker(tmp_path, rootfs=other)
    refused(MalformedError, "name different layers", tmp_path, lambda: write(make_app(), base))


@pytest.mark.attack("archives")
@pytest.mark.parametrize("settings", [{"Env": "A=B"}, {"Labels": []}, {"ExposedPorts": ["80"]}, []])
def test_settings_that_break_their_format_are_refused(settings: Any, tmp_path: Path) -> None:
    base = old_docker(tmp_path, config=settings or {"Env": 1})

    refused(MalformedError, "the image is malformed", tmp_path, lambda: write(make_app(), base))


@pytest.mark.attack("archives")
def test_a_number_that_json_does_not_have_is_refused_when_it_is_read(tmp_path: Path) -> None:
    base = old_docker(tmp_path, config={"Env": [], "x": float("inf")})

    refused(MalformedError, "is not JSON", tmp_path, lambda: write(make_app(), base))


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    "tag",
    [
        "",
        "Iris",
        "iris:",
        "iris:a b",
        "iris@sha256:" + "0" * 64,
        "0" * 64,
        "a//b",
        "-a",
        "iris:" + "t" * 129,
        "ho st/iris",
        "x/" + "y" * 255,
        "iris:\n",
        "host.example:port/iris",
        "iris:1:2",
        "iris/",
        "iris:é",
    ],
)
def test_a_name_that_docker_would_not_take_is_refused(tag: str, base: Path) -> None:
    refused(InputError, "is not the name of an image", base.parent, lambda: write(make_app(), base, tag=tag))


@pytest.mark.parametrize(
    ("tag", "full", "familiar"),
    [
        ("iris", "docker.io/library/iris:latest", "iris:latest"),
        ("team/iris:1.0-rc_1", "docker.io/team/iris:1.0-rc_1", "team/iris:1.0-rc_1"),
        (
            "registry.example:5000/a/b__c:1",
            "registry.example:5000/a/b__c:1",
            "registry.example:5000/a/b__c:1",
        ),
        ("Host/iris:1", "Host/iris:1", "Host/iris:1"),
        ("localhost/iris:1", "localhost/iris:1", "localhost/iris:1"),
        ("docker.io/library/iris:1", "docker.io/library/iris:1", "iris:1"),
        ("index.docker.io/iris:1", "docker.io/library/iris:1", "iris:1"),
        ("docker.io/library/a/b:1", "docker.io/library/a/b:1", "library/a/b:1"),
        ("[::1]:5000/iris:1", "[::1]:5000/iris:1", "[::1]:5000/iris:1"),
    ],
)
def test_names_are_read_as_docker_reads_them(tag: str, full: str, familiar: str) -> None:
    assert (parse_reference(tag).full, parse_reference(tag).familiar) == (full, familiar)
    assert parse_reference(full) == parse_reference(familiar) == parse_reference(tag)


@pytest.mark.attack("archives")
@pytest.mark.parametrize("content", [b"short", b"x" * 5000])
def test_a_file_that_is_not_what_was_said_is_refused(content: bytes, base: Path) -> None:
    said = replace(file("src/score.py", b"x" * 1500), chunks=lambda: [content])

    refused(
        IntegrityError,
        "changed since it was planned",
        base.parent,
        lambda: write(make_app(layer("code", said)), base),
    )


@pytest.mark.attack("archives")
def test_a_file_that_changes_between_the_two_readings_leaves_nothing(base: Path) -> None:
    """Its layer is named at the first reading and written at the second."""
    contents = itertools.chain([b"before"], itertools.repeat(b"behind"))
    said = replace(file("src/score.py", b"before"), chunks=lambda: [next(contents)])

    refused(
        IntegrityError,
        "changed since it was planned",
        base.parent,
        lambda: write(make_app(layer("code", said)), base),
    )


@pytest.mark.attack("archives")
def test_a_base_that_changes_while_it_is_copied_leaves_nothing(tmp_path: Path) -> None:
    base = write_layout(tmp_path / "layout", layout())
    blob = base / "blobs/sha256" / digest(OWNED)

    def meddle() -> Iterable[bytes]:
        blob.write_bytes(OWNED[:-1] + b"x")
        return [b"x"]

    said = replace(file("src/score.py", b"x"), chunks=meddle)

    refused(
        IntegrityError,
        "a layer changed while it was read",
        tmp_path,
        lambda: write(make_app(layer("code", said)), base),
    )


@pytest.mark.attack("archives")
@pytest.mark.parametrize("content", [b"", b"no tar", b"\x1f\x8bbroken"])
def test_a_base_that_is_no_image_is_refused(content: bytes, tmp_path: Path) -> None:
    base = tmp_path / "base.tar"
    refused(InputError, "not found", tmp_path, lambda: write(make_app(), base))

    base.write_bytes(content)
    refused(BundlerError, "`", tmp_path, lambda: write(make_app(), base))


@pytest.mark.attack("archives")
def test_a_hostile_name_in_the_base_cannot_disturb_a_terminal(tmp_path: Path) -> None:
    base = old_docker(tmp_path, [ROOT, OWNED, {APP: Link("\x1b[2J\u202e")}], history=[])

    found = refused(MalformedError, r"\x1b[2J\u202e", tmp_path, lambda: write(make_app(), base))

    assert all(line.isprintable() for line in (found.message, *found.evidence))


# --- a delta ------------------------------------------------------------------

BUMPED = layer("six 1.17.0", file(f"{SITE}/six.py", "six of one"))


@pytest.fixture
def old(base: Path) -> WrittenImage:
    """The image that a site has."""
    return write(make_app(), base, "old.tar", tag="iris:0")


def new_app() -> App:
    return make_app(BUMPED, MODEL, CODE)


def manifest_file(image: WrittenImage) -> Path:
    members = members_of(image.path)
    listed = json.loads(members["index.json"])["manifests"][0]["digest"].removeprefix("sha256:")
    path = image.path.with_name("old.json")
    path.write_bytes(members[f"blobs/sha256/{listed}"])
    return path


@pytest.mark.parametrize("known_by", ["archive", "manifest"])
def test_a_delta_and_the_old_archive_are_the_new_archive(
    known_by: str, old: WrittenImage, base: Path
) -> None:
    whole = write(new_app(), base, "whole.tar")
    known = old.path if known_by == "archive" else manifest_file(old)
    delta = write(new_app(), base, "delta.tar", delta_from=known)

    assert (delta.image_id, digests(delta)) == (whole.image_id, digests(whole))
    assert [one.comment for one in delta.layers if one.new] == ["six 1.17.0"]
    blobs = {name for name in members_of(delta.path) if name.startswith("blobs/sha256/")}
    assert [one.comment for one in delta.layers if f"blobs/sha256/{one.digest}" in blobs] == ["six 1.17.0"]
    joined = join_delta(old.path, delta.path, base.with_name("joined.tar"))
    assert joined.path.read_bytes() == whole.path.read_bytes()
    assert [one.new for one in joined.layers] == [one.new for one in delta.layers]
    assert replace(joined, path=whole.path, layers=whole.layers) == whole
    assert (delta.needs_join, whole.needs_join) == (True, False)
    assert [one.comment for one in joined.layers] == [one.comment for one in whole.layers]


def test_a_delta_says_how_it_is_put_together(old: WrittenImage, base: Path, tmp_path: Path) -> None:
    """The commands in it are run unchanged, except for the daemon's."""
    delta = write(new_app(), base, "delta.tar", delta_from=old.path)
    text = members_of(delta.path)["DELTA.txt"].decode()
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(old.path, folder / "OLDER.tar")
    shutil.copy(delta.path, folder / "DELTA.tar")
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    commands = [line for line in commands if line.startswith(("mkdir", "tar"))]
    assert len(commands) == 4
    for command in commands:
        subprocess.run(command.split(), check=True, cwd=folder)

    base = folder / "image.tar"
    again = write(make_app(layer("more", file("more")), user=""), base, "again.tar")
    assert digests(again)[:-1] == digests(delta)
    assert all(one.digest in text for one in delta.layers if not one.new)


@pytest.mark.parametrize(
    ("layers", "needs_join"),
    [
        pytest.param((SIX, MODEL, layer("code", file("src/score.py", "new"))), False, id="top"),
        pytest.param((SIX, MODEL), False, id="removed"),
        pytest.param((SIX, MODEL, CODE, layer("more", file("more"))), False, id="added"),
        pytest.param((BUMPED, MODEL, CODE), True, id="below"),
        pytest.param((MODEL, SIX, CODE), True, id="order"),
        pytest.param((MODEL, CODE), True, id="removed-below"),
    ],
)
def test_docker_takes_a_delta_if_the_images_start_alike(
    layers: tuple[AppLayer, ...], needs_join: bool, old: WrittenImage, base: Path
) -> None:
    """A delta that Docker's own store completes contains that command; any other the commands to join it."""
    delta = write(make_app(*layers), base, "delta.tar", delta_from=old.path)

    assert delta.needs_join is needs_join
    assert (b"docker load -i DELTA.tar" in members_of(delta.path)["DELTA.txt"]) is not needs_join


@pytest.mark.parametrize("known", ["whole", "nothing"])
def test_a_delta_of_everything_and_of_nothing(known: str, base: Path, tmp_path: Path) -> None:
    empty = tmp_path / "other.json"
    empty.write_text('{"schemaVersion": 2, "layers": []}')
    whole = write(make_app(), base, "whole.tar")
    delta = write(make_app(), base, "delta.tar", delta_from=whole.path if known == "whole" else empty)

    assert {one.new for one in delta.layers} == {known == "nothing"}
    joined = join_delta(whole.path, delta.path, tmp_path / "joined.tar")
    assert joined.path.read_bytes() == whole.path.read_bytes()


def test_a_delta_joins_with_what_the_site_saved_itself(tmp_path: Path) -> None:
    """Docker saves layers uncompressed whatever they came as; the image's ID stays the same."""
    base = oci_gz(tmp_path)
    old = write(make_app(), base, "old.tar")
    delta = write(new_app(), base, "delta.tar", delta_from=old.path)
    found = members_of(old.path)
    tars = [tar_bytes(ROOT), OWNED, *(found[f"blobs/sha256/{one}"] for one in digests(old)[2:])]
    config = {key: value for key, value in config_of(old).items() if key != "rootfs"}
    saved = write_archive(tmp_path / "saved.tar", docker_members(tars, changes=config))

    joined = join_delta(saved, delta.path, tmp_path / "joined.tar")

    assert joined.image_id == delta.image_id
    assert [one.diff_id for one in joined.layers] == [one.diff_id for one in delta.layers]
    assert digests(joined)[:2] == [digest(tars[0]), digest(tars[1])]


@pytest.mark.attack("archives")
def test_a_delta_for_another_image_is_refused(old: WrittenImage, base: Path, tmp_path: Path) -> None:
    delta = write(new_app(), base, "delta.tar", delta_from=old.path)
    join = lambda: join_delta(base, delta.path, tmp_path / "joined.tar")  # noqa: E731

    found = refused(InputError, "is not the image that the delta was made from", tmp_path, join)

    assert found.evidence[0] == f"wanted  layer 4, model iris 1, {delta.layers[3].diff_id}"


@pytest.mark.attack("archives")
@pytest.mark.parametrize("which", ["old", "delta"])
def test_a_damaged_part_is_not_joined(which: str, old: WrittenImage, base: Path, tmp_path: Path) -> None:
    delta = write(new_app(), base, "delta.tar", delta_from=old.path)
    path, one = (old.path, old.layers[3]) if which == "old" else (delta.path, delta.layers[2])
    members = members_of(path)
    content = members[f"blobs/sha256/{one.digest}"]
    path.write_bytes(path.read_bytes().replace(content, content[:-1] + b"x"))

    refused(
        IntegrityError,
        "does not match its digest",
        tmp_path,
        lambda: join_delta(old.path, delta.path, tmp_path / "joined.tar"),
    )


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("content", "error", "told"),
    [
        ("{", MalformedError, "is not JSON"),
        ('{"manifests": []}', InputError, "is not the manifest of a single image"),
        ('{"layers": 1}', MalformedError, "is malformed"),
        ('{"layers": [1]}', MalformedError, "has no sha256"),
        ('{"layers": [{"digest": "sha256:../../x"}]}', MalformedError, "has no sha256"),
        ("[]", MalformedError, "is not a complete tar"),
        (None, InputError, "not found"),
    ],
)
def test_an_older_image_that_cannot_be_read_is_refused(
    content: str | None, error: type[BundlerError], told: str, base: Path
) -> None:
    path = base.with_name("old.json")
    if content is not None:
        path.write_text(content)

    refused(error, told, base.parent, lambda: write(make_app(), base, delta_from=path))


# --- with the programs that read images ---------------------------------------


def run(*argv: str) -> bytes:
    done = subprocess.run(argv, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="no skopeo")
needs_podman = pytest.mark.skipif(shutil.which("podman") is None, reason="no podman")


@pytest.mark.slow
@needs_skopeo
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("form", FORMS[:4])
def test_skopeo_reads_both_forms(form: Callable[[Path], Path], kind: str, tmp_path: Path) -> None:
    image = write(make_app(), form(tmp_path))
    told = json.loads(run("skopeo", "inspect", "--config", f"{kind}:{image.path}"))
    assert told == config_of(image)

    # A change of format writes the config anew; a copy to a folder keeps it.
    run("skopeo", "copy", "--insecure-policy", f"{kind}:{image.path}", f"oci:{tmp_path / 'layout'}:1")
    run("skopeo", "copy", "--insecure-policy", f"{kind}:{image.path}", f"dir:{tmp_path / 'folder'}")

    manifest = json.loads((tmp_path / "folder" / "manifest.json").read_text())
    assert manifest["config"]["digest"] == image.image_id
    assert len(manifest["layers"]) == len(image.layers)


@pytest.mark.slow
@needs_podman
def test_podman_loads_it_with_modes_and_owners(base: Path, tmp_path: Path) -> None:
    """The root filesystem that podman makes of it has the base's folders as they were, and our files."""
    short = tempfile.mkdtemp(prefix="p")  # podman takes no long path
    where = ["podman", "--root", f"{short}/root", "--runroot", f"{short}/run", "--storage-driver=vfs"]
    old = write(make_app(), base, "old.tar")
    delta = write(new_app(), base, "delta.tar", delta_from=old.path)
    image = join_delta(old.path, delta.path, tmp_path / "joined.tar")
    try:
        run(*where, "load", "-i", str(image.path))
        told = json.loads(run(*where, "image", "inspect", image.image_id.removeprefix("sha256:")))[0]
        assert told["Config"]["User"] == "dockeruser"
        assert any(name.endswith("iris:1") for name in told["RepoTags"])
        container = run(*where, "create", "iris:1").decode().strip()
        exported = run(*where, "export", container)
    finally:
        run(*where, "rmi", "--all", "--force")
        shutil.rmtree(short)
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        found = {one.name.rstrip("/"): one for one in tar.getmembers()}
    assert (oct(found[APP].mode & 0o7777), found[APP].uid, found[APP].gid) == ("0o2775", 1000, 1000)
    assert oct(found[f"{APP}/src/run.sh"].mode & 0o7777) == "0o755"
    assert found[f"{APP}/{SITE}/six.py"].size == len("six of one")
