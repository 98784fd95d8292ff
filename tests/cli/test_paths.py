"""Paths of bundles and contexts typed wrongly: the hint is the whole command, and it works."""

from __future__ import annotations

import shlex
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.bundles import make_bundle
from support.hints import hint, message, suggested
from support.wheels import make_wheel

from bundler.bundle.reader import read_manifest
from bundler.data.azure_image import image_name
from bundler.digest import sha256_of

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with the files that a build writes beside it."""
    path = make_bundle(tmp_path / "dist")
    stem = path.name.removesuffix(".tar.gz")
    path.with_name(f"{stem}.manifest.json").write_bytes(read_manifest(path).content)
    path.with_name(f"{stem}.sha256").write_text(f"{sha256_of(path.read_bytes())}  {path.name}\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("inspect dist", 7),
        ("verify dist", 7),
        ("tree dist", 7),
        ("unpack dist out", 7),
        ("diff dist dist", 7),
        ("report dist -o page.html", 7),
        ("verify {stem}.manifest.json", 7),
        ("inspect {stem}.sha256", 7),
        ("verify {stem}.manifest.json {stem}.sha256 {stem}.tar.gz", 7),
        ("inspect dist/smal-1.0.tar.gz", 11),
        ("verify missing.tar.gz", 11),
        ("unpack missing.tar.gz out", 11),
        ("report missing -o page.html", 11),
        ("explain {stem}.tar.gz pkg", 2),
        ("explain pgk {stem}.tar.gz", 3),
        ("inspect", 2),
        ("verify", 2),
        ("unpack", 2),
        ("extract {stem}.tar.gz -C out", 2),
        ("list", 2),
        ("check", 2),
        ("explain pgk", 2),
        ("explain nonsense", 2),
        ("explain M10", 3),
        ("explain X999", 3),
        ("build six --allow foo", 2),
    ],
)
def test_the_hint_is_a_command_that_works(
    typed: str, code: int, bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    stem = str(bundle.relative_to(tmp_path)).removesuffix(".tar.gz")
    ended = bundler_cli.run(*typed.format(stem=stem).split(), cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert "Traceback" not in ended.stderr

    followed = suggested(ended)
    while True:  # `diff dist dist` has two mistakes, of which each is answered
        again = bundler_cli.run(*followed, cwd=tmp_path)
        if typed != "diff dist dist" or again.returncode == 0:
            break
        typed, followed = "", suggested(again)
    assert again.returncode == 0, hint(ended)


def test_a_changed_directory_gets_the_command_that_unpacks_it_again(
    bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    assert bundler_cli.run("unpack", str(bundle), "un", cwd=tmp_path).returncode == 0
    (changed,) = (tmp_path / "un").rglob("pkg/__init__.py")
    changed.write_text("changed = True\n", "utf-8")
    ended = bundler_cli.run("verify", "un", cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (5, "`un` does not match its manifest")
    assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0
    assert bundler_cli.run("verify", "un-unpacked", cwd=tmp_path).returncode == 0

    (tmp_path / "trunc.tar.gz").write_bytes(bundle.read_bytes()[:-40])  # its manifest is whole
    again = bundler_cli.run("verify", "un", cwd=tmp_path)
    assert suggested(again) == ["unpack", str(bundle.relative_to(tmp_path)), "un-unpacked-2"]
    assert bundler_cli.run(*suggested(again), cwd=tmp_path).returncode == 0

    shutil.rmtree(tmp_path / "dist")
    assert hint(bundler_cli.run("verify", "un", cwd=tmp_path)) == "unpack or copy the bundle again"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("diff flask==2.2.5 flask==2.2.4", "build flask==2.2.5"),
        ("inspect flask", "build flask"),
        ("verify Flask[async]>=2", "build 'Flask[async]>=2'"),
        ("tree pkg==2.0", "build pkg==2.0"),
        ("inspect pkg==1.0", "explain pkg {bundle}"),
        ("tree pkg==1.0", "tree --invert pkg {bundle}"),
        ("show pkg", "explain pkg {bundle}"),
        ("show PKG --json", "explain PKG {bundle} --json"),
        ("show pkg {bundle}", "explain pkg {bundle}"),
        ("pip show pkg", "explain pkg {bundle}"),
        ("show {bundle}", "inspect {bundle}"),
        ("show", "inspect"),
    ],
)
def test_a_requirement_is_not_the_path_of_a_bundle(
    typed: str, meant: str, bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    name = str(bundle.relative_to(tmp_path))
    ended = bundler_cli.run(*typed.format(bundle=name).split(), cwd=tmp_path)

    wanted = shlex.split(meant.format(bundle=name))
    assert suggested(ended)[: len(wanted)] == wanted
    if not meant.startswith("build"):
        assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0


def test_a_directory_that_is_not_a_context_gets_one_or_the_command_that_writes_one(
    bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    assert "bundler package --help" in bundler_cli.run("mount-command", ".", cwd=tmp_path).stderr
    (code / "helper.py").write_text("", "utf-8")
    (code / "score.py").write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    ended = bundler_cli.run("mount-command", ".", cwd=tmp_path)
    assert (ended.returncode, message(ended)) == (3, "`.` is not a build context")

    packaged = bundler_cli.run(*suggested(ended), cwd=tmp_path)
    assert packaged.returncode == 0, packaged.stderr
    for typed in (["mount-command", "."], ["mount-command", "code"], ["mount-command"]):
        ended = bundler_cli.run(*typed, cwd=tmp_path)
        assert suggested(ended) == ["mount-command", "context"]
    assert bundler_cli.run("mount-command", "context", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", ["simulate", "serve", "mount-command"])
def test_a_bundle_in_place_of_a_context_gets_the_command_that_writes_one(
    command: str, bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    name = str(bundle.relative_to(tmp_path))
    without = bundler_cli.run(command, name, cwd=tmp_path)
    assert suggested(without) == ["package", name]
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    (tmp_path / "context").mkdir()
    ended = bundler_cli.run(command, name, cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (3, f"`{name}` is a bundle, not a build context")
    assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", ["simulate", "serve", "mount-command"])
def test_a_context_without_its_application_is_refused_before_any_work(
    command: str, bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    for name in ("code/a.py", "code/score.py"):
        (tmp_path / name).write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    options = ["--source-dir", "code", "--entry-script", "score.py"]
    image = ["--base-image", "mine:1"]
    packaged = bundler_cli.run("package", str(bundle), *options, "-o", "c5", *image, cwd=tmp_path)
    assert packaged.returncode == 0, packaged.stderr
    shutil.rmtree(tmp_path / "c5" / "azureml-app")
    ended = bundler_cli.run(command, "c5", cwd=tmp_path)

    assert (ended.returncode, ended.stdout) == (3, "")
    assert message(ended) == "`c5/azureml-app` not found: the context is incomplete"
    name = str(bundle.relative_to(tmp_path))
    assert suggested(ended) == ["package", name, *options, "-o", "context", *image]
    assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0
    assert bundler_cli.run("simulate", "context", cwd=tmp_path).returncode == 0


def test_a_context_without_its_entry_script_is_not_served(
    bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    options = ["--source-dir", ".", "--entry-script", "score.py", "--base-image", "mine:1"]
    assert bundler_cli.run("package", str(bundle), *options, "-o", "c5", cwd=tmp_path).returncode == 0
    (script,) = (tmp_path / "c5" / "azureml-app").rglob("score.py")
    script.unlink()
    ended = bundler_cli.run("serve", "c5", cwd=tmp_path)

    name = script.relative_to(tmp_path)
    assert (ended.returncode, message(ended)) == (3, f"`{name}` not found: the context is incomplete")
    assert "layers" not in ended.stderr


def test_another_file_is_not_a_damaged_archive(bundle: Path, bundler_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "app.py").touch()
    assert "hint" not in bundler_cli.run("verify", "app.py", cwd=tmp_path).stderr
    copy = shutil.copy(bundle, f"{bundle}.bak")
    ended = bundler_cli.run("verify", copy, cwd=tmp_path)
    assert (ended.returncode, suggested(ended)) == (7, ["verify", str(bundle)])
    bundle.write_bytes(bundle.read_bytes()[:-40])
    assert hint(bundler_cli.run("verify", str(bundle), cwd=tmp_path)) == "copy the archive again"


def test_the_reason_why_a_directory_is_not_unpacked_into(
    bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    ended = bundler_cli.run("unpack", str(bundle), ".", cwd=tmp_path)
    assert (ended.returncode, message(ended)) == (11, "`.` already exists and is not empty")
    below = bundler_cli.run("unpack", str(bundle), ".", cwd=tmp_path / "empty")
    assert message(below) == "`.` already exists and is not a new directory"


def test_a_page_is_html(bundle: Path, bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run("report", str(bundle), "-o", "a.PDF", cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (2, "`a.PDF`: the page is HTML")
    assert not (tmp_path / "a.PDF").exists()
    assert bundler_cli.run("report", str(bundle), *suggested(ended), cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.html").exists()


def test_an_empty_list_of_bases_says_where_they_would_be(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run("base", "list", cwd=tmp_path, env={"BUNDLER_BASES": str(tmp_path / "none")})

    assert (ended.returncode, ended.stdout) == (0, "")
    assert f"no base image in `{tmp_path / 'none'}`; `bundler base add`" in ended.stderr


AZURE = image_name((3, 7))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["build", "six", "--base", "python:3.7"], "docker save -o python.tar python:3.7"),
        (["profile", "host.example/team/app"], "docker save -o app.tar host.example/team/app"),
        (["verify", "{bundle}", "--base", "iris:1"], "docker save -o iris.tar iris:1"),
        (["base", "add", "python:3.7"], "docker save -o python.tar python:3.7"),
        (["build", "six", "--base", "my.data/base.tar"], f"docker save -o my.data/base.tar {AZURE}"),
        (["profile", "base.json"], None),
        (["verify", "{bundle}", "--base", "nobase.txt"], None),
        (["package", "{bundle}", "--base", "base.tar"], f"docker save -o base.tar {AZURE}"),
        (["join", "old.tar.zst", "delta.tar", "out"], None),
        (["env", "register", "requirements.txt"], None),
        (["env", "register", "python:3.7"], None),
        (["build", "six", "--base", "nothing"], None),
        (["build", "six", "--base", "No:1"], None),
    ],
)
def test_the_name_of_an_image_is_not_the_path_of_a_base(
    args: list[str], expected: str | None, bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run(*(word.format(bundle=bundle) for word in args), cwd=tmp_path)

    assert ended.returncode == 3
    if expected is None:
        assert hint(ended).endswith(" --help`")
    else:
        assert f"`{expected}`" in hint(ended)


def test_another_bundle_than_the_given_one_is_suggested(
    bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    given = str(bundle.relative_to(tmp_path))
    build = ["build", "-r", "requirements.txt"]
    (tmp_path / "requirements.txt").touch()
    for typed in ("missing.txt", f"{given}x", "dist/smal-1.0-cp37-linux_x86_64.tar.gz"):
        assert suggested(bundler_cli.run("diff", given, typed, cwd=tmp_path)) == build
    assert suggested(bundler_cli.run("diff", given, "pkg==1.0", cwd=tmp_path)) == ["build", "pkg==1.0"]
    other = str(make_bundle(tmp_path / "other").rename(tmp_path / "other.tar.gz").relative_to(tmp_path))

    for typed in ("missing.txt", f"{given}x", "pkg==1.0"):
        ended = bundler_cli.run("diff", given, typed, cwd=tmp_path)
        assert (ended.returncode, suggested(ended)) == (11, ["diff", given, other])
        assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0
        assert suggested(bundler_cli.run("diff", typed, given, cwd=tmp_path)) == ["diff", other, given]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("explain pkg==1.0 {bundle}", "explain pkg {bundle}"),
        ("explain Pkg>=3 {bundle}", "explain pkg {bundle}"),
        ("explain pkg[extra] {bundle}", "explain pkg {bundle}"),
        ("explain pkgs<2 {bundle}", "explain pkg {bundle}"),
        ("explain pkg==1.0", "explain pkg {bundle}"),
        ("explain flask==2.2.5 {bundle}", "inspect {bundle} --notes"),
        ("verify x/bundle/manifest.json", "verify x/bundle"),
        ("verify x/bundle/lib/python3.7/site-packages", "verify x/bundle"),
        ("inspect x/bundle/lib/python3.7/site-packages/pkg/__init__.py", "inspect x/bundle"),
        ("tree x/bundle/bin", "tree x/bundle"),
        ("simulate ctx/Dockerfile", "simulate ctx"),
        ("simulate ctx/azureml-app", "simulate ctx"),
        ("mount-command ctx/azureml-app/bundle", "mount-command ctx"),
        ("mount-command ctx/context.json", "mount-command ctx"),
        ("verify ctx", "verify ctx/azureml-app/bundle"),
    ],
)
def test_a_part_of_the_subject_gets_the_whole(
    typed: str, meant: str, bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    options = ["--source-dir", ".", "--entry-script", "score.py", "--base-image", "mine:1"]
    assert bundler_cli.run("package", str(bundle), *options, "-o", "ctx", cwd=tmp_path).returncode == 0
    (tmp_path / "x").mkdir()
    assert bundler_cli.run("unpack", str(bundle), "x/bundle", cwd=tmp_path).returncode == 0
    name = str(bundle.relative_to(tmp_path))
    ended = bundler_cli.run(*typed.format(bundle=name).split(), cwd=tmp_path)

    if typed.startswith("explain") and "{bundle}" in typed:
        assert message(ended) == f"`{typed.split()[1]}` is a requirement, not the name of a distribution"
    assert suggested(ended) == meant.format(bundle=name).split()
    assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0


def test_the_directory_of_a_bundle_from_below(bundle: Path, bundler_cli: BundlerCli, tmp_path: Path) -> None:
    assert bundler_cli.run("unpack", str(bundle), "x", cwd=tmp_path).returncode == 0
    below = tmp_path / "x" / "lib" / "python3.7"
    ended = bundler_cli.run("verify", ".", cwd=below)

    assert (ended.returncode, message(ended)) == (7, "`.` is a part of a bundle")
    assert suggested(ended) == ["verify", str(tmp_path / "x")]
    assert bundler_cli.run(*suggested(ended), cwd=below).returncode == 0


@pytest.mark.parametrize("typed", ["base add {}", "profile {}", "verify {bundle} --base {}"])
def test_the_files_of_a_container_are_not_an_image(
    typed: str, bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    for folder in ("etc", "usr/bin"):
        (tmp_path / "root" / folder).mkdir(parents=True)
    with tarfile.open(tmp_path / "export.tar", "w") as tar:  # as `docker export` writes it
        tar.add(tmp_path / "root", arcname="")
    ended = bundler_cli.run(*typed.format("export.tar", bundle=bundle).split(), cwd=tmp_path)

    assert (ended.returncode, ended.stdout) == (3, "")
    assert "found   the files of a container, as `docker export` writes them" in ended.stderr
    assert hint(ended) == "docker save -o base.tar IMAGE"
    with tarfile.open(tmp_path / "export.tar", "w") as tar:
        tar.add(bundle, arcname="etc")
    other = bundler_cli.run(*typed.format("export.tar", bundle=bundle).split(), cwd=tmp_path)
    assert (other.returncode, "docker export" in other.stderr) == (3, False)


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        (["--source-dir", "code/score.py"], ["--source-dir", "code"]),
        (["--source-dir=code/score.py"], ["--source-dir=code"]),
        (["--source-dir", "main.py"], ["--source-dir", "."]),
    ],
)
def test_a_script_in_place_of_its_directory(
    options: list[str], meant: list[str], bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    for name in ("main.py", "code/score.py"):
        (tmp_path / name).write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    others = ["--entry-script", Path(options[-1]).name, "-o", "ctx", "--base-image", "mine:1"]
    ended = bundler_cli.run("package", str(bundle), *options, *others, cwd=tmp_path)

    assert message(ended).endswith(".py: a file, not a directory (--source-dir)")
    assert suggested(ended) == ["package", str(bundle), *meant, *others]
    assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0


def test_a_script_is_not_a_part_of_a_context(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "score.py").touch()
    ended = bundler_cli.run("simulate", "score.py", cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (3, "`score.py` is a file, not a build context")
    assert "hint" not in ended.stderr


@pytest.mark.parametrize(
    ("tag", "meant", "found"),
    [
        ("My/Image:Latest", "my/image:Latest", "capitals in `Image`, which Docker forbids"),
        ("Image", "image", "capitals in `Image`, which Docker forbids"),
        ("host.example:5000/Team/app:1", "host.example:5000/team/app:1", "capitals in `Team/app`"),
        ("my image", None, "the name `my image`"),
    ],
)
def test_the_tag_of_a_context_is_the_name_of_an_image(
    tag: str, meant: str | None, found: str, bundle: Path, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text("def init(): pass\ndef run(data): return data\n", "utf-8")
    words = ["package", str(bundle), "--source-dir", ".", "--entry-script", "score.py", "-o", "ctx"]
    words += ["--base-image", "mine:1"]
    ended = bundler_cli.run(*words, "--tag", tag, cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (3, f"`{tag}` is not the name of an image")
    assert f"found   {found}" in ended.stderr
    assert not (tmp_path / "ctx").exists()
    if meant is None:
        assert "hint" not in ended.stderr
    else:
        assert suggested(ended) == ["--tag", meant]
        assert bundler_cli.run(*words, *suggested(ended), cwd=tmp_path).returncode == 0


def test_a_missing_lock_gets_the_command_that_writes_it(
    bundler_cli: BundlerCli, index: LocalIndex, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    missing = bundler_cli.run("tree", "pylock.toml", cwd=tmp_path)
    assert (missing.returncode, hint(missing)) == (3, "bundler lock --help")
    (tmp_path / "requirements.txt").write_text("leaf\n", "utf-8")
    (tmp_path / "pyproject.toml").touch()
    ended = bundler_cli.run("tree", "pylock.toml", cwd=tmp_path)

    assert message(ended) == "pylock.toml: file or directory not found"
    assert suggested(ended) == ["lock", "-r", "requirements.txt", "-o", "pylock.toml"]
    assert bundler_cli.run(*suggested(ended), cwd=tmp_path).returncode == 0
    assert bundler_cli.run("tree", "pylock.toml", cwd=tmp_path).returncode == 0
    near = bundler_cli.run("tree", "pylok.toml", cwd=tmp_path)
    assert suggested(near) == ["tree", "pylock.toml"]


@pytest.mark.parametrize(
    "args",
    [
        ["build", "-r", "nothing"],
        ["build", "six", "-c", "nothing"],
        ["build", "--lock", "nothing"],
        ["build", "six", "--base", "nothing"],
        ["build", "six", "--source-dir", "nothing", "--entry-script", "x.py"],
        ["profile", "nothing"],
        ["tree", "nothing.toml"],
        ["env", "register", "nothing"],
        ["serve", "nothing"],
        ["mount-command", "nothing"],
        ["simulate", "nothing"],
        ["join", "nothing", "nothing", "out"],
    ],
)
def test_a_missing_input_has_one_exit_code(args: list[str], bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run(*args, cwd=tmp_path)

    assert (ended.returncode, "not found" in ended.stderr) == (3, True)


@pytest.mark.parametrize("command", ["inspect", "verify", "tree", "report", "package"])
def test_a_missing_bundle_has_one_exit_code(command: str, bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run(command, "nothing", cwd=tmp_path)

    assert (ended.returncode, message(ended)) == (11, "nothing: file not found")
