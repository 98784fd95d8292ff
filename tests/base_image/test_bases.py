"""Base images are found by their names in a directory, with what each of them has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.archives import (
    ENV,
    SITE,
    Members,
    docker_members,
    installed,
    oci_image,
    oci_members,
    rootfs,
    write_archive,
    write_layout,
)
from support.bundles import make_bundle
from support.cli import BundlerCli

from bundler.base_image.bases import add_base, base_of_image, known_bases
from bundler.errors import InputError, OutputError

SERVER = "azureml-inference-server-http"


def archive(path: Path, *tags: str, server: str | None = None) -> Path:
    """Write the archive of an image with Python 3.7 and glibc, as `docker save` writes it."""
    files = rootfs()
    if server:
        files |= installed(SITE, SERVER, server, files=["azureml_inference_server_http/__init__.py"])
    return write_archive(path, docker_members([files], tags=tags))


def test_an_image_is_added_listed_and_found(tmp_path: Path) -> None:
    folder = tmp_path / "bases"
    source = archive(tmp_path / "a.tar", "mcr.example/azureml/minimal:20230101.v1", server="0.7.7")
    added = add_base(folder, source, name=None, prefer=None)
    source.unlink()
    (known,) = known_bases(folder)

    assert known == added
    assert known.to_json() == {
        "image": "mcr.example/azureml/minimal:20230101.v1",
        "path": str(folder / "mcr.example_azureml_minimal_20230101.v1.tar"),
        "python": "3.7.16",
        "server": "0.7.7",
        "glibc": "2.31",
    }
    for name in ("mcr.example/azureml/minimal:20230101.v1", "mcr.example/azureml/minimal"):
        assert base_of_image(folder, name) == known.path


def layout(path: Path, name: str | None = None) -> Path:
    """Write the OCI layout of an image."""
    members: Members = {}
    image = oci_image(members, [rootfs()])
    notes = {"annotations": {"io.containerd.image.name": name}} if name else {}
    return write_layout(path, oci_members([{**image, **notes}], members))


@pytest.mark.parametrize(
    "name",
    [
        "mcr.example/azureml/minimal:other",
        "mcr.example/azureml/other",
        "azureml/minimal:1",
        f"mcr.example/azureml/minimal@sha256:{'0' * 64}",
        None,
    ],
)
def test_another_image_is_not_taken(name: str | None, tmp_path: Path) -> None:
    archive(tmp_path / "a.tar", "mcr.example/azureml/minimal:1")
    with pytest.raises(InputError, match="no archive of the base image") as caught:
        base_of_image(tmp_path, name)

    assert "found   mcr.example/azureml/minimal:1" in caught.value.evidence
    assert str(caught.value.hint).startswith(
        f"docker save {name or 'NAME:TAG'} -o base.tar && bundler base add"
    )


def test_an_archive_that_the_user_put_there_counts(tmp_path: Path) -> None:
    archive(tmp_path / "a.tar", "mine:1")
    layout(tmp_path / "b", "docker.io/library/mine:2")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "broken.tar").write_text("no tar")
    (tmp_path / "empty").mkdir()
    known = known_bases(tmp_path)

    assert [(base.reference.familiar, base.path.name, base.server) for base in known] == [
        ("mine:1", "a.tar", None),
        ("mine:2", "b", None),
    ]
    assert base_of_image(tmp_path, "docker.io/library/mine:2") == tmp_path / "b"
    with pytest.raises(InputError, match="several images of `mine`"):
        base_of_image(tmp_path, "mine")


def test_an_oci_layout_is_added(tmp_path: Path) -> None:
    source = layout(tmp_path / "layout")
    with pytest.raises(InputError, match="does not contain the name"):
        add_base(tmp_path / "bases", source, name=None, prefer=None)
    assert not (tmp_path / "bases").exists()
    added = add_base(tmp_path / "bases", source, name="mine:1.0", prefer=None)

    assert (added.path / "oci-layout").is_file()
    assert known_bases(tmp_path / "bases") == (added,)


def test_what_cannot_be_added_leaves_nothing(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.tar", "mine:1")
    folder = tmp_path / "bases"
    (tmp_path / "text").write_text("six==1.0\n")
    with pytest.raises(InputError, match="is not the archive of an image"):
        add_base(folder, tmp_path / "text", name="x:1", prefer=None)
    with pytest.raises(InputError, match="is not the name of an image"):
        add_base(folder, source, name="Mine 1", prefer=None)
    with pytest.raises(InputError, match="no such Python"):
        add_base(folder, source, name=None, prefer="/opt/none")
    assert not folder.exists()
    added = add_base(folder, source, name=None, prefer=f"/{ENV}")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    with pytest.raises(OutputError, match="the image `mine:1` already exists"):
        add_base(folder, source, name=None, prefer=None)

    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before
    assert known_bases(folder) == (added,)


def test_the_command_shows_python_server_and_glibc(warm_cli: BundlerCli, tmp_path: Path) -> None:
    archive(tmp_path / "a.tar", "mine:1", server="0.8.4.2")
    env = {"BUNDLER_BASES": str(tmp_path / "bases")}
    empty = warm_cli.run("base", "list", cwd=tmp_path, env=env)
    added = warm_cli.run("base", "add", "a.tar", cwd=tmp_path, env=env)
    listed = warm_cli.run("base", "list", cwd=tmp_path, env=env)
    as_json = warm_cli.run("base", "list", "--json", cwd=tmp_path, env=env)

    assert (empty.returncode, empty.stdout) == (0, "")
    assert added.stdout == listed.stdout == "mine:1\tPython 3.7.16\tserver 0.8.4.2\tglibc 2.31\n"
    assert [base["image"] for base in json.loads(as_json.stdout)["result"]["bases"]] == ["mine:1"]
    again = warm_cli.run("base", "add", "a.tar", cwd=tmp_path, env=env)
    assert (again.returncode, "the image `mine:1` already exists" in again.stderr) == (11, True)


def test_a_known_image_is_named_where_another_word_was_typed(warm_cli: BundlerCli, tmp_path: Path) -> None:
    archive(tmp_path / "a.tar", "mine/py37:1")
    env = {"BUNDLER_BASES": str(tmp_path / "bases")}
    assert warm_cli.run("base", "add", "a.tar", cwd=tmp_path, env=env).returncode == 0
    file = tmp_path / "bases/docker.io_mine_py37_1.tar"
    bundle = make_bundle(tmp_path / "b").relative_to(tmp_path)
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(data): return data\n")
    package = ("package", str(bundle), "--source-dir", ".", "--entry-script", "score.py", "--image", "i.tar")

    def told(*words: str) -> str:
        ended = warm_cli.run(*words, cwd=tmp_path, env=env)
        assert ended.returncode != 0
        return ended.stderr

    whole = " ".join(("bundler", *package))
    misspelt = told(*package, "--base-image", "mien/py37:1")
    assert "(BUNDLER_BASES), or `--base FILE`" in misspelt
    assert "hint: did you mean `mine/py37:1`?" in misspelt
    assert f"did you mean `{whole} --base-image mine/py37:1`?" in told(*package, "--base", "mine/py37:1")
    assert f"--base {file}`?" in told(*package, "--base-image", "x", "--base", "mine/py37:1")
    assert f"`bundler build six --base={file}`?" in told("build", "six", "--base=mine/py37:1")
    removed = told("base", "remove", "mine/py37:1")
    assert f"hint: rm -r {file} {file.with_suffix('.json')}" in removed
