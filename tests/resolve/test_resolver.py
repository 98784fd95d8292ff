"""What pip is asked: real pip, real indexes on loopback; every option that files and command line have."""

from __future__ import annotations

import os
import platform
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.localindex import LocalIndex
from support.wheels import make_sdist, make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli

ARCH = platform.machine()
HOST_MINOR = int((os.confstr("CS_GNU_LIBC_VERSION") or "glibc 2.0").rpartition(".")[2])


def lock_of(cli: BundlerCli, *args: str, cwd: Path, code: int = 0, **given: Any) -> dict[str, Any]:
    """Lock, and return the file of each project and the text of stderr."""
    ended = cli.run("lock", *args, cwd=cwd, **given)
    assert ended.returncode == code, ended.stderr
    if code:
        return {"": ended.stderr}
    lock = tomllib.loads((cwd / "pylock.toml").read_text("utf-8"))
    files = {
        package["name"]: (package.get("wheels") or [package.get("sdist")])[0]["name"]
        for package in lock["packages"]
    }
    return {**files, "": ended.stderr, "glibc": lock["tool"]["bundler"].get("glibc")}


# --- indexes ----------------------------------------------------------------


@dataclass(frozen=True)
class Market:
    """Three indexes; a has `thing` 1.0, b has 2.0, c has 3.0. Each has the toolchain of the target."""

    a: LocalIndex
    b: LocalIndex
    c: LocalIndex

    def fill(self, text: str) -> str:
        """Return a text with the URLs and the directories of the indexes."""
        values = {f"{name}_dir": getattr(self, name).folder for name in "abc"}
        return text.format(a=self.a.url, b=self.b.url, c=self.c.url, **values)


@pytest.fixture
def market(toolchain: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with ExitStack() as stack:
        indexes = {}
        for name, version in (("a", "1.0"), ("b", "2.0"), ("c", "3.0")):
            folder = tmp_path_factory.mktemp(name)
            for wheel in toolchain.glob("*.whl"):
                shutil.copyfile(wheel, folder / wheel.name)
            make_wheel(folder, "thing", version)
            indexes[name] = stack.enter_context(LocalIndex(folder))
        yield Market(**indexes)


@pytest.mark.parametrize(
    ("lines", "args", "version"),
    [
        pytest.param("-i {b}", "", "2.0", id="a file replaces the configuration"),
        pytest.param("-i {b}", "-i {a}", "1.0", id="the command line replaces a file"),
        pytest.param("--index-url={b}", "--index-url {a}", "1.0", id="the long names"),
        pytest.param("-i {c}\n-i {b}", "", "2.0", id="the last line of a file counts"),
        pytest.param("--extra-index-url {b}\n-i {a}", "", "2.0", id="an extra index above the index"),
        pytest.param("--extra-index-url {b}", "--extra-index-url {c}", "3.0", id="extra indexes add up"),
        pytest.param("--extra-index-url {b}", "-i {a}", "2.0", id="an index keeps the extra ones of a file"),
        pytest.param("-f {b_dir}", "-i {a}", "2.0", id="links of a file beside an index"),
        pytest.param("-f {b_dir}", "-f {c_dir}", "3.0", id="links add up"),
        pytest.param("--no-index\n-f {b_dir}\n-i {c}", "", "2.0", id="no index above an index"),
        pytest.param("--no-index\n-f {b_dir}", "-i {c}", "2.0", id="no index of a file counts"),
        pytest.param("-i {c}\n-f {b_dir}", "--no-index", "2.0", id="no index of the command line counts"),
        pytest.param("-r nested.txt", "-i {a}", "1.0", id="the command line replaces a nested file"),
        pytest.param("-c nested.txt", "-i {a}", "1.0", id="the command line replaces a constraints file"),
        pytest.param("-r nested.txt\n-i {a}", "", "1.0", id="a line below a nested file counts"),
    ],
)
def test_index_options(
    lines: str, args: str, version: str, market: Market, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """The same setting for the messages, for pip and for the downloads."""
    (tmp_path / "requirements.txt").write_text(market.fill(lines) + "\nthing\n")
    (tmp_path / "nested.txt").write_text(market.fill("-i {c}\n"))
    arguments = market.fill(args).split()
    found = lock_of(
        warm_cli,
        "-r",
        "requirements.txt",
        *arguments,
        "-v",
        cwd=tmp_path,
        env={"PIP_INDEX_URL": market.a.url},
    )

    assert found["thing"] == f"thing-{version}-py3-none-any.whl"
    if arguments[:1] == ["-i"] and "--no-index" not in lines:
        assert f"index: index-url {arguments[1]}" in found[""]


def test_index_options_of_an_environment_file(market: Market, warm_cli: BundlerCli, tmp_path: Path) -> None:
    text = "dependencies:\n  - pip:\n      - --extra-index-url {b}\n      - -i {c}\n      - thing\n"
    (tmp_path / "env.yml").write_text(market.fill(text))

    found = lock_of(warm_cli, "-r", "env.yml", "-i", market.a.url, cwd=tmp_path)

    assert found["thing"] == "thing-2.0-py3-none-any.whl"


def test_pip_gets_no_option_of_a_file(market: Market, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """An index that the command line replaces is never asked, so that it sees no name of a project."""
    (tmp_path / "requirements.txt").write_text(f"-i {market.b.url}\nthing\n")

    lock_of(warm_cli, "-r", "requirements.txt", "-i", market.a.url, cwd=tmp_path)

    assert market.b.requests == []


def test_a_conflict_names_the_lines_of_the_user(market: Market, warm_cli: BundlerCli, tmp_path: Path) -> None:
    make_wheel(market.a.folder, "thing", "0.9")  # without it, `thing<1` alone would be the cause
    make_wheel(market.a.folder, "old", "1.0", requires=["thing<1"])
    make_wheel(market.a.folder, "new", "1.0", requires=["thing>=1"])
    (tmp_path / "sub").mkdir()
    (tmp_path / "requirements.txt").write_text("# a comment\n\n-r sub/more.txt\nold\n")
    (tmp_path / "sub/more.txt").write_text("\nnew \\\n  >=1\n")
    (tmp_path / "pins.txt").write_text("\n\nthing!=7\n")

    args = ("-r", "requirements.txt", "-c", "pins.txt", "-i", market.a.url)
    told = lock_of(warm_cli, *args, cwd=tmp_path, code=4)[""]

    assert "sub/more.txt:2" in told
    assert "requirements.txt:4" in told
    assert "/scratch/" not in told


# --- wheels and sdists ------------------------------------------------------


@pytest.fixture
def sources(index: LocalIndex) -> LocalIndex:
    """`thing` 1.0 as wheel and as sdist, 2.0 as sdist alone, and a pre-release of it as wheel."""
    make_wheel(index.folder, "thing", "1.0")
    make_sdist(index.folder, "thing", "1.0", {"thing.py": ""})
    make_sdist(index.folder, "thing", "2.0", {"thing.py": ""})
    make_wheel(index.folder, "thing", "3.0rc1")
    return index


@pytest.mark.parametrize(
    ("lines", "args", "file"),
    [
        pytest.param("thing", [], "thing-1.0-py3-none-any.whl", id="a wheel is preferred to a newer sdist"),
        pytest.param("thing", ["--no-prefer-binary"], "thing-2.0.tar.gz", id="unless the option is off"),
        pytest.param("thing==2.0", [], "thing-2.0.tar.gz", id="a pin is kept"),
        pytest.param("thing>1.0", [], "thing-2.0.tar.gz", id="a bound is kept"),
        pytest.param(
            "--prefer-binary\nthing", ["--no-prefer-binary"], "thing-2.0.tar.gz", id="a flag is last"
        ),
        pytest.param("--pre\nthing", [], "thing-3.0rc1-py3-none-any.whl", id="pre-releases of a file"),
        pytest.param("--no-binary thing\nthing", [], "thing-2.0.tar.gz", id="no-binary of a file"),
        pytest.param(
            "--no-binary thing\nthing",
            ["--only-binary"],
            "thing-1.0-py3-none-any.whl",
            id="the flag overrides it",
        ),
        pytest.param(
            "--no-binary=thing --only-binary=:all:\nthing",
            ["--no-prefer-binary"],
            "thing-1.0-py3-none-any.whl",
            id="the last one counts",
        ),
        pytest.param(
            "--only-binary :all: --no-binary thing\nthing", [], "thing-2.0.tar.gz", id="in either order"
        ),
    ],
)
def test_wheels_and_sdists(
    lines: str, args: Sequence[str], file: str, sources: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text(f"{lines}\n")

    assert lock_of(warm_cli, "-r", "requirements.txt", *args, cwd=tmp_path)["thing"] == file


def test_a_build_requirement_is_preferred_as_a_wheel(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """When the metadata is read, and when the wheel is built."""
    make_wheel(index.folder, "tool", "1.0")
    make_sdist(index.folder, "tool", "2.0", {}, setup_py="raise SystemExit('cannot be built here')")
    toml = '[build-system]\nrequires = ["setuptools", "wheel", "tool"]\nbuild-backend = "setuptools.build_meta"\n'
    make_sdist(index.folder, "made", "1.0", {"made.py": "", "pyproject.toml": toml})

    ended = warm_cli.run("build", "made", "--for", "mount", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr


def test_a_file_may_require_hashes(sources: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    """Also of dependencies, which have no line."""
    make_wheel(sources.folder, "user", "1.0", requires=["thing"])
    wheel = "sha256:" + "0" * 64
    (tmp_path / "requirements.txt").write_text(f"--require-hashes\nuser==1.0 --hash={wheel}\n")

    assert "0" * 64 in lock_of(warm_cli, "-r", "requirements.txt", cwd=tmp_path, code=5)[""]


# --- glibc ------------------------------------------------------------------


@pytest.fixture
def layered(index: LocalIndex) -> LocalIndex:
    """`low` for glibc 2.17 and 2.28 in one release, and for this machine in a newer one."""
    for version, minor in (("1.0", 17), ("1.0", 28), ("2.0", HOST_MINOR)):
        make_wheel(index.folder, "low", version, tag=f"cp37-abi3-manylinux_2_{minor}_{ARCH}", purelib=False)
    return index


@pytest.mark.skipif(HOST_MINOR < 29, reason="needs a host with glibc 2.29")
@pytest.mark.parametrize(
    ("args", "version", "minor", "recorded"),
    [
        pytest.param([], "1.0", 17, "2.27", id="the image of the Python"),
        pytest.param(["--target-glibc", "2.17"], "1.0", 17, "2.17", id="equal"),
        pytest.param(["--target-glibc", "2.28"], "1.0", 28, "2.28", id="a newer one"),
        pytest.param(["--target-glibc", "2.28.1"], "1.0", 28, "2.28.1", id="three numbers"),
        pytest.param(["--target-glibc", "2.100"], "2.0", HOST_MINOR, "2.100", id="newer than this machine"),
        pytest.param(["--target-glibc", "host"], "2.0", HOST_MINOR, None, id="this machine"),
    ],
)
def test_the_glibc_of_the_target_decides(
    args: Sequence[str],
    version: str,
    minor: int,
    recorded: str | None,
    *,
    layered: LocalIndex,
    warm_cli: BundlerCli,
    tmp_path: Path,
) -> None:
    found = lock_of(warm_cli, "low", *args, cwd=tmp_path)

    assert (found["low"], found["glibc"]) == (
        f"low-{version}-cp37-abi3-manylinux_2_{minor}_{ARCH}.whl",
        recorded,
    )
    assert ("glibc     up to" in found[""]) == bool(recorded)


@pytest.mark.skipif(HOST_MINOR < 28, reason="needs a host with glibc 2.28")
def test_build_requirements_are_for_this_machine(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """A tool that runs here during the build need not run on the target."""
    make_wheel(index.folder, "tool", "1.0", tag=f"cp37-abi3-manylinux_2_{HOST_MINOR}_{ARCH}", purelib=False)
    toml = '[build-system]\nrequires = ["setuptools", "wheel", "tool"]\nbuild-backend = "setuptools.build_meta"\n'
    make_sdist(index.folder, "made", "1.0", {"made.py": "", "pyproject.toml": toml})

    assert lock_of(warm_cli, "made", cwd=tmp_path)["made"] == "made-1.0.tar.gz"
    assert "tool" in lock_of(warm_cli, "tool", cwd=tmp_path, code=4)[""]


@pytest.mark.parametrize("value", ["new", "2", "3.1", "2.x", "2.27-1", "", "HOST", "2.\u0662"])
def test_a_glibc_that_is_none(value: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    told = lock_of(warm_cli, "low", "--target-glibc", value, cwd=tmp_path, code=2)[""]

    assert f"`--target-glibc {value}` is not a glibc version" in told
    assert not (tmp_path / "pylock.toml").exists()


@pytest.mark.parametrize(
    ("args", "extra", "meant"),
    [
        ("plain[sockss] leaf", "sockss`", "; did you mean `plain[socks]`?"),
        ("plain[x] leaf", "x`", "; its extras are socks, socks-proxy"),
        ("plain[cosks] leaf", "cosks`", "; did you mean `plain[socks]`?"),
        ("leaf[x]", None, "`leaf` 1.0 has no extra `x`: it is left out"),
        (
            "./plain-1.0-py3-none-any.whl[Socks_Proxyy]",
            "socks-proxyy`",
            "; did you mean `plain[socks-proxy]`?",
        ),
        ("needs", "sokcs`", "; did you mean `plain[socks]`?"),
        ("plain[socks,SOCKS_Proxy]", None, ""),
    ],
)
def test_an_extra_that_does_not_exist_is_reported(
    args: str, extra: str | None, meant: str, index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(tmp_path, "plain", "1.0", extras=["socks", "socks-proxy"])
    make_wheel(index.folder, "plain", "1.0", extras=["socks", "socks-proxy"])
    # pip warns about this one, too, before it finds that it is for a newer Python.
    make_wheel(index.folder, "plain", "2.0", extras=["socks"], requires_python=">=3.12")
    make_wheel(index.folder, "leaf", "1.0")
    make_wheel(index.folder, "needs", "1.0", requires=["plain[sokcs]"])
    text = lock_of(warm_cli, *args.split(), cwd=tmp_path)[""]

    shown = [line.partition("   ")[2] for line in text.splitlines() if "extra" in line]
    wanted = [f"`plain` 1.0 has no extra `{extra}: it is left out{meant}"] if extra else [meant] * bool(meant)
    assert [line.replace("Socks_Proxyy", "socks-proxyy") for line in shown] == wanted


def test_a_required_setuptools_is_locked_where_the_index_has_it(
    market: Market, bundler_cli: BundlerCli
) -> None:
    """The toolchain of a run is in a private directory, which pip searches too, and which is removed."""
    cwd = bundler_cli.home
    for options in (["--no-index", "-f", str(market.a.folder)], ["-i", market.a.url]):
        lock_of(bundler_cli, "setuptools", "wheel", *options, cwd=cwd)
        packages = tomllib.loads((cwd / "pylock.toml").read_text("utf-8"))["packages"]
        for package in packages:
            wheel = package["wheels"][0]
            if options[0] == "--no-index":
                assert (cwd / wheel["path"]).parent.samefile(market.a.folder)
            else:
                assert wheel["url"] == f"{market.a.url.removesuffix('simple/')}files/{wheel['name']}"
