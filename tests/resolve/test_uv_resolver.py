"""Real uv beside real pip: the same requirements become the same lock, and nothing foreign runs in uv."""

from __future__ import annotations

import hashlib
import platform
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.localindex import LocalIndex
from support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli, Ended

pytest.importorskip("uv")
ARCH = platform.machine()


def lock(cli: BundlerCli, *args: str, cwd: Path, resolver: str = "uv", **given: object) -> Ended:
    return cli.run("lock", "--resolver", resolver, *args, cwd=cwd, **given)  # type: ignore[arg-type]


def both(cli: BundlerCli, *args: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Lock with both resolvers, and return the text that both locks have, without the resolver."""
    texts = {}
    for resolver in ("pip", "uv"):
        ended = lock(cli, *args, "-o", f"pylock.{resolver}.toml", cwd=cwd, resolver=resolver, env=env)
        assert ended.returncode == 0, ended.stderr
        text = (cwd / f"pylock.{resolver}.toml").read_text("utf-8")
        line = f'resolver = "{resolver}"\n'
        assert line in text
        texts[resolver] = text.replace(line, "")
    assert texts["uv"] == texts["pip"]
    return texts["uv"]


def files_of(text: str) -> str:
    """Return the filenames of a lock, those of pure wheels as name and version."""
    names = []
    for package in tomllib.loads(text)["packages"]:
        (file,) = package.get("wheels") or [package.get("sdist") or package.get("directory")]
        names.append((file.get("name") or file["path"]).removesuffix("-py3-none-any.whl"))
    return " ".join(names)


@pytest.fixture
def shelf(index: LocalIndex) -> LocalIndex:
    """Releases of many shapes."""
    folder = index.folder
    make_wheel(folder, "leaf", "1.0")
    make_wheel(folder, "leaf", "2.0")
    make_wheel(folder, "leaf", "3.0", requires_python=">=3.12")
    make_wheel(folder, "leaf", "4.0rc1")
    make_wheel(folder, "only-pre", "1.0b1")
    make_wheel(folder, "old", "1.0", requires=["leaf<2"])
    make_wheel(folder, "marked", "1.0", requires=["leaf; python_version<'3.8'", "old; sys_platform=='win32'"])
    make_wheel(folder, "full", "1.0", requires=["leaf<2; python_full_version>='3.7.10'"])
    make_wheel(
        folder,
        "extra",
        "1.0",
        requires=["extra[a]; extra=='all'", "old; extra=='a'", "marked; extra=='b'", "ring"],
        extras=["a", "b", "all"],
    )
    make_wheel(folder, "ring", "1.0", requires=["extra"])
    make_wheel(folder, "two", "1.0", tag=f"cp37-cp37m-manylinux2014_{ARCH}", purelib=False)
    make_wheel(folder, "two", "1.0", tag=f"cp37-abi3-manylinux2014_{ARCH}", purelib=False)
    make_wheel(folder, "two", "1.0")
    make_sdist(folder, "both", "1.0", {"both.py": ""})
    make_wheel(folder, "both", "1.0")
    make_sdist(folder, "both", "2.0", {"both.py": ""})
    make_sdist(folder, "final", "1.0", {"final.py": ""})
    make_wheel(folder, "final", "2.0rc1")
    make_sdist(folder, "source", "1.0", {"source.py": ""}, setup_py=setup_py("source", ["old"]))
    make_wheel(folder, "parent", "1.0", requires=["both>1", "source"])
    make_wheel(folder, "gone", "1.0")
    make_wheel(folder, "gone", "2.0")
    index.yank("gone-2.0-py3-none-any.whl", "wrong")
    for version, minor in (("1.0", 17), ("1.0", 27), ("1.0", 28), ("2.0", 28)):
        make_wheel(folder, "low", version, tag=f"cp37-abi3-manylinux_2_{minor}_{ARCH}", purelib=False)
    return index


def setup_py(name: str, requires: Sequence[str]) -> str:
    return (
        "from setuptools import setup\n"
        f"setup(name={name!r}, version='1.0', py_modules=[{name!r}], install_requires={list(requires)!r})\n"
    )


@pytest.mark.parametrize(
    ("lines", "args", "files"),
    [
        pytest.param(
            "extra[all]\nmarked\nfull\nleaf; python_version>'3.8'\nonly-pre\ntwo\nboth\ngone\nlow",
            "",
            "both-1.0 extra-1.0 full-1.0 gone-1.0 leaf-1.0"
            f" low-1.0-cp37-abi3-manylinux_2_27_{ARCH}.whl marked-1.0 old-1.0 only_pre-1.0b1 ring-1.0"
            f" two-1.0-cp37-cp37m-manylinux2014_{ARCH}.whl",
            id="extras, markers, bounds, a ring, tags, yanked files, the glibc of the image",
        ),
        pytest.param(
            "LEAF>=${LOWEST}\nOnly_Pre\nlow\ngone==2.0\nboth\n-c pins.txt",
            "--target-glibc 2.28 --only-binary",
            f"both-1.0 gone-2.0 leaf-2.0 low-2.0-cp37-abi3-manylinux_2_28_{ARCH}.whl only_pre-1.0b1",
            id="variables, spellings, constraints, a newer glibc, a pin of a yanked file",
        ),
        pytest.param(
            "leaf>=4.0rc1\nlow",
            "--target-glibc 2.20",
            f"leaf-4.0rc1 low-1.0-cp37-abi3-manylinux_2_17_{ARCH}.whl",
            id="a pre-release that is named, an older glibc",
        ),
        pytest.param("--pre\nleaf\nboth", "", "both-1.0 leaf-4.0rc1", id="all pre-releases"),
        pytest.param("both", "--no-prefer-binary", "both-2.0.tar.gz", id="the newest, be it a source"),
        pytest.param("final", "", "final-1.0.tar.gz", id="a source of a final release, a wheel of another"),
        pytest.param("--no-binary both\nboth==1.0", "", "both-1.0.tar.gz", id="no binary"),
        pytest.param(
            "--no-binary :all:\n--only-binary=:all:\nboth", "", "both-1.0", id="the last option counts"
        ),
        pytest.param(
            "parent\nboth",
            "",
            "both-2.0.tar.gz leaf-1.0 old-1.0 parent-1.0 source-1.0.tar.gz",
            id="sources below a wheel, metadata from a build",
        ),
        pytest.param(
            "./project[a]\n./made-1.0.tar.gz\n./tiny-7.0-py3-none-any.whl",
            "",
            "leaf-1.0 made-1.0.tar.gz old-1.0 project tiny-7.0",
            id="a directory with an extra, a source and a wheel by path",
        ),
    ],
)
def test_both_resolvers_lock_the_same_files(
    lines: str, args: str, files: str, shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "pins.txt").write_text("leaf<3\n")
    (tmp_path / "requirements.txt").write_text(f"{lines}\n")
    make_wheel(tmp_path, "tiny", "7.0")
    make_sdist(tmp_path, "made", "1.0", {"made.py": ""}, setup_py=setup_py("made", ["leaf"]))
    (tmp_path / "project").mkdir()
    (tmp_path / "project/setup.py").write_text(
        "from setuptools import setup\nsetup(name='project', version='1', extras_require={'a': ['old']})\n"
    )

    text = both(warm_cli, "-r", "requirements.txt", *args.split(), cwd=tmp_path, env={"LOWEST": "1.5"})

    assert files_of(text) == files


def test_both_resolvers_make_the_same_bundle(shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """Byte for byte, with the same verdict: the wheels are the same, whichever program chose them."""
    digests = []
    for resolver in ("pip", "uv"):
        args = ("extra[all]", "source", "--resolver", resolver, "--for", "mount", "-o", resolver)
        ended = warm_cli.run("build", *args, "--json", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert f"resolved by {resolver} " in ended.stderr
        digests.append(ended.json["result"]["sha256"])

    assert digests[0] == digests[1]


def test_the_versions_of_a_lock_are_kept(shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """And one of them that prevents a resolution is not."""
    (tmp_path / "requirements.txt").write_text("leaf<2\ntwo\n")
    assert lock(warm_cli, "-r", "requirements.txt", cwd=tmp_path).returncode == 0
    make_wheel(shelf.folder, "two", "2.0")
    (tmp_path / "requirements.txt").write_text("leaf\ntwo\n")
    kept = lock(warm_cli, "-r", "requirements.txt", cwd=tmp_path)
    upgraded = lock(warm_cli, "-r", "requirements.txt", "-P", "leaf", cwd=tmp_path)
    (tmp_path / "requirements.txt").write_text("leaf>2.5\ntwo\n--pre\n")
    forced = lock(warm_cli, "-r", "requirements.txt", cwd=tmp_path)
    newest = lock(warm_cli, "-r", "requirements.txt", "-U", cwd=tmp_path)

    assert kept.stdout == "pylock.toml\t2\n"
    assert "| leaf | 1.0 | 2.0 |" in upgraded.stdout
    assert "two" not in upgraded.stdout
    assert "| leaf | 2.0 | 4.0rc1 |" in forced.stdout
    assert "two" not in forced.stdout
    assert "| two | 1.0 | 2.0 |" in newest.stdout


# --- failures ---------------------------------------------------------------


def test_a_conflict_is_in_the_words_of_uv(shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    ended = lock(warm_cli, "old", "leaf>1", cwd=tmp_path)

    assert ended.returncode == 4
    assert "uv cannot resolve the requirements" in ended.stderr
    assert "your requirements are unsatisfiable" in " ".join(ended.stderr.split())
    assert "depend on leaf<2" in " ".join(ended.stderr.split())
    assert not (tmp_path / "pylock.toml").exists()


def test_a_path_in_a_conflict_is_that_of_the_user(
    shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/setup.py").write_text(setup_py("project", ["leaf<2"]))
    ended = lock(warm_cli, "./project", "leaf>=2", cwd=tmp_path)

    assert ended.returncode == 4
    assert "project==1.0 depends on leaf<2" in " ".join(ended.stderr.split())
    assert "/scratch/" not in ended.stderr


@pytest.mark.parametrize("resolver", ["pip", "uv"])
def test_an_index_that_is_down(
    resolver: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    index.statuses["/simple/leaf"] = index.statuses["/simple/pip"] = 503

    ended = lock(warm_cli, "leaf", cwd=tmp_path, resolver=resolver)

    assert ended.returncode == 9, ended.stderr
    assert f"cannot read the index `{index.url}`" in ended.stderr


def test_no_code_of_a_source_runs_in_uv(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """Neither its build backend nor that of its build requirements: pip runs both, in the sandbox."""
    mark = tmp_path / "mark"
    evil = f"open({str(mark)!r}, 'w').close()\n"
    make_sdist(index.folder, "made", "1.0", {"made.py": ""}, setup_py=evil + setup_py("made", []))
    toml = '[build-system]\nrequires = ["setuptools", "wheel", "made"]\nbuild-backend = "own"\nbackend-path = ["."]\n'
    backend = f"try:\n    {evil}except OSError:\n    pass\nfrom setuptools.build_meta import *\n"
    make_sdist(index.folder, "user", "1.0", {"user.py": "", "pyproject.toml": toml, "own.py": backend})

    ended = lock(warm_cli, "user", cwd=tmp_path)

    assert not mark.exists()
    assert ended.returncode == 4 or files_of((tmp_path / "pylock.toml").read_text()) == "user-1.0.tar.gz"


def test_a_source_that_lies_about_its_name_ends(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "other", "1.0")
    make_sdist(
        index.folder, "liar", "1.0", {"PKG-INFO": "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n"}
    )

    ended = lock(warm_cli, "liar", cwd=tmp_path)

    assert ended.returncode == 4, ended.stderr
    assert "liar" in ended.stderr


def test_odd_metadata_of_a_source_is_read(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """Names of extras that are not valid, and a description that contains fields."""
    text = "Metadata-Version: 2.1\nName: made\nVersion: 1.0\n\nName: other\nVersion: 9\n"
    setup = (
        "from setuptools import setup\nsetup(name='made', version='1.0', py_modules=['made'],"
        " install_requires=['leaf'], extras_require={'Odd_Name': ['leaf<2']}, long_description='Name: other')\n"
    )
    make_sdist(index.folder, "made", "1.0", {"made.py": "", "PKG-INFO": text}, setup_py=setup)
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "leaf", "2.0")

    text = both(warm_cli, "made", cwd=tmp_path)

    assert files_of(text) == "leaf-2.0 made-1.0.tar.gz"


def test_a_dependency_by_url_is_refused(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "leaf", "1.0")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/setup.py").write_text(setup_py("project", [f"leaf @ {wheel.as_uri()}"]))

    refused = lock(warm_cli, "./project", cwd=tmp_path)
    own = lock(warm_cli, "./project", f"leaf @ {wheel.as_uri()}", cwd=tmp_path)

    assert refused.returncode == 4
    assert f"require it yourself: `leaf @ {wheel.as_uri()}`" in refused.stderr
    assert own.returncode == 0, own.stderr


# --- hashes -----------------------------------------------------------------


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("leaf", "both_file", "code"),
    [
        ("leaf-1.0-py3-none-any.whl", "both-1.0-py3-none-any.whl", 0),
        ("leaf-1.0-py3-none-any.whl", "both-1.0.tar.gz", 0),
        ("leaf-2.0-py3-none-any.whl", "both-1.0.tar.gz", 5),
    ],
)
def test_required_hashes_choose_the_file(
    leaf: str, both_file: str, code: int, shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    lines = [
        f"leaf==1.0 --hash=sha256:{digest_of(shelf.folder / leaf)}",
        f"both==1.0 --hash=sha256:{digest_of(shelf.folder / both_file)}",
    ]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))

    ended = lock(warm_cli, "-r", "requirements.txt", cwd=tmp_path)

    assert ended.returncode == code, ended.stderr
    if code:
        assert f"wanted  sha256 {digest_of(shelf.folder / leaf)}" in ended.stderr
    else:
        assert files_of((tmp_path / "pylock.toml").read_text()) == " ".join(
            name.removesuffix("-py3-none-any.whl") for name in (both_file, leaf)
        )


def test_a_dependency_needs_a_hash_too(shelf: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    digest = digest_of(shelf.folder / "old-1.0-py3-none-any.whl")
    (tmp_path / "requirements.txt").write_text(f"old==1.0 --hash=sha256:{digest}\n")

    ended = lock(warm_cli, "-r", "requirements.txt", cwd=tmp_path)

    assert ended.returncode == 4
    assert "`leaf==1.0` has no sha256 hash" in ended.stderr


# --- what uv cannot do ------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("--no-binary :all:\n--only-binary leaf\nleaf", "uv cannot accept wheels of some projects"),
        ("leaf\n-c pins.txt", "uv cannot use a constraint by path or URL"),
    ],
)
def test_a_requirement_for_pip_alone_is_refused(
    lines: str, message: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    wheel = make_wheel(index.folder, "leaf", "1.0")
    (tmp_path / "pins.txt").write_text(f"leaf @ {wheel.as_uri()}\n")
    (tmp_path / "requirements.txt").write_text(f"{lines}\n")

    ended = lock(warm_cli, "-r", "requirements.txt", cwd=tmp_path)

    assert ended.returncode in (2, 3)
    assert message in ended.stderr
    assert "--resolver pip" in ended.stderr


# --- the date ---------------------------------------------------------------


def test_newer_files_are_ignored(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """A day counts as a whole; an index without upload times has no file that is old enough."""
    files = []
    for version, time in (("1.0", "2024-05-01T23:59:59Z"), ("2.0", "2024-05-02T00:00:00Z")):
        wheel = make_wheel(index.folder, "leaf", version)
        digest = digest_of(wheel)
        files.append(
            f'{{"filename": "{wheel.name}", "url": "/files/{wheel.name}", "hashes": {{"sha256": "{digest}"}},'
            f' "upload-time": "{time}"}}'
        )
    index.pages["leaf"] = (
        f'{{"meta": {{"api-version": "1.1"}}, "name": "leaf", "files": [{", ".join(files)}]}}'
    )
    index.content_types["/simple/leaf"] = "application/vnd.pypi.simple.v1+json"
    make_wheel(index.folder, "undated", "1.0")

    for date, version in (("2024-05-01", "1.0"), ("2024-05-02T02:00:01+02:00", "2.0"), ("2024-05-02", "2.0")):
        ended = lock(warm_cli, "leaf", "--exclude-newer", date, "-o", f"{version}.toml", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert files_of((tmp_path / f"{version}.toml").read_text()) == f"leaf-{version}"
    undated = lock(warm_cli, "undated", "--exclude-newer", "2024-05-01", cwd=tmp_path)

    assert undated.returncode == 4
    assert "undated" in undated.stderr


def test_a_pip_without_dates_refuses_one(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """That of Python 3.7; the newest pip has an option for it."""
    make_wheel(index.folder, "leaf", "1.0")
    ended = lock(warm_cli, "leaf", "--exclude-newer", "2024-05-01", cwd=tmp_path, resolver="pip")

    assert ended.returncode == 2
    assert "`--exclude-newer` needs pip 26.0, or uv" in ended.stderr


@pytest.mark.parametrize("date", ["", "yesterday", "2024-13-01", "2024", "7 days", "9999-12-31"])
def test_a_date_that_is_none(date: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    ended = lock(warm_cli, "leaf", "--exclude-newer", date, cwd=tmp_path)

    assert ended.returncode == 2
    assert f"`--exclude-newer {date}` is not a day or time" in ended.stderr
