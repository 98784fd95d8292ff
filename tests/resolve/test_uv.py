"""How uv is started: with the settings of pip, and none of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.wheels import make_wheel

from bundler.errors import UsageError
from bundler.resolve.uv import find_uv

if TYPE_CHECKING:
    from support.cli import BundlerCli, Ended
    from support.localindex import LocalIndex

pytest.importorskip("uv")


def lock(cli: BundlerCli, *args: str, cwd: Path, env: dict[str, str] | None = None) -> Ended:
    return cli.run("lock", "--resolver", "uv", *args, cwd=cwd, env=env)


def locked(folder: Path) -> str:
    return (folder / "pylock.toml").read_text("utf-8")


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a newer `leaf`."""
    folder = tmp_path_factory.mktemp("other")
    make_wheel(folder, "leaf", "2.0")
    return folder


def test_settings_of_uv_have_no_effect(
    index: LocalIndex, other: Path, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """Neither variables nor files: the lock is that of the settings of pip."""
    make_wheel(index.folder, "leaf", "1.0")
    text = f'find-links = ["{other}"]\nindex-url = "http://127.0.0.1:9/simple"\n'
    (tmp_path / "uv.toml").write_text(text)
    (tmp_path / "pyproject.toml").write_text(f"[tool.uv]\n{text}constraint-dependencies = ['leaf>1']\n")
    (warm_cli.home / ".config/uv").mkdir(parents=True)
    (warm_cli.home / ".config/uv/uv.toml").write_text(text)
    env = {
        "UV_FIND_LINKS": str(other),
        "UV_INDEX_URL": "http://127.0.0.1:9/simple",
        "UV_CONSTRAINT": str(tmp_path / "pins.txt"),
        "UV_PYTHON": "3.12",
        "XDG_CONFIG_HOME": str(warm_cli.home / ".config"),
    }
    (tmp_path / "pins.txt").write_text("leaf>1\n")

    ended = lock(warm_cli, "leaf", cwd=tmp_path, env=env)

    assert ended.returncode == 0, ended.stderr
    assert "leaf-1.0-py3-none-any.whl" in locked(tmp_path)
    assert "ignored setting: UV_FIND_LINKS" in ended.stderr


def test_the_newest_release_of_all_locations_counts(
    index: LocalIndex, other: Path, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """As for pip: uv itself would stop at the first index with the project."""
    make_wheel(index.folder, "leaf", "1.0")
    pages = tmp_path / "pages"
    (pages / "leaf").mkdir(parents=True)
    make_wheel(pages / "leaf", "leaf", "3.0")
    (pages / "leaf/index.html").write_text(
        '<a href="leaf-3.0-py3-none-any.whl">leaf-3.0-py3-none-any.whl</a>'
    )

    for args, version in (
        (("-f", str(other)), "2.0"),
        (("--extra-index-url", pages.as_uri(), "-f", str(other)), "3.0"),
        (("--no-index", "-f", str(other)), "2.0"),
        (("-i", pages.as_uri()), "3.0"),
    ):
        ended = lock(warm_cli, "leaf", "-U", *args, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert f"leaf-{version}-py3-none-any.whl" in locked(tmp_path)


def test_missing_locations_of_the_configuration_are_ignored(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    env = {"PIP_FIND_LINKS": str(tmp_path / "none"), "PIP_EXTRA_INDEX_URL": (tmp_path / "no").as_uri()}

    ended = lock(warm_cli, "leaf", cwd=tmp_path, env=env)

    assert ended.returncode == 0, ended.stderr


def test_a_release_that_is_new_on_the_index_is_found(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    """Although its page may be cached for ten minutes."""
    index.etags = True
    make_wheel(index.folder, "leaf", "1.0")
    assert lock(warm_cli, "leaf", cwd=tmp_path).returncode == 0
    make_wheel(index.folder, "leaf", "2.0")
    assert lock(warm_cli, "leaf", "-U", cwd=tmp_path).returncode == 0

    assert "leaf-2.0" in locked(tmp_path)


def test_a_page_that_changed_in_the_cache_is_not_used(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    assert lock(bundler_cli, "leaf", cwd=tmp_path).returncode == 0
    pages = [path for path in (bundler_cli.store / "v1/uv").rglob("*leaf*.rkyv") if path.is_file()]
    assert pages
    for path in pages:
        path.write_bytes(path.read_bytes().replace(b"1.0", b"9.0"))

    ended = lock(bundler_cli, "leaf", "-U", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "leaf-1.0" in locked(tmp_path)


def test_an_index_that_pip_ignores_is_refused(warm_cli: BundlerCli, tmp_path: Path) -> None:
    """pip warns about a URL without encryption, and uses the other indexes."""
    ended = lock(warm_cli, "leaf", "-i", "http://me:canary-pw@index.example/simple", cwd=tmp_path)

    assert ended.returncode == 3, ended.stderr
    assert "the index `http://index.example/simple` is not encrypted, and not trusted" in ended.stderr
    assert "`--trusted-host index.example`" in ended.stderr


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)  # the import fails

    with pytest.raises(UsageError) as error:
        find_uv()

    assert error.value.hint == "pip install 'airgap-bundler[uv]'"


def test_a_pyproject_selects_the_resolver(index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path) -> None:
    make_wheel(index.folder, "leaf", "1.0")
    (tmp_path / "pyproject.toml").write_text('[tool.bundler]\nresolver = "uv"\n')

    ended = warm_cli.run("lock", "leaf", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert 'resolver = "uv"' in locked(tmp_path)
