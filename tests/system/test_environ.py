"""The environment: read once, never passed on as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.archive.tar import DEFAULT_EPOCH, file_header
from bundler.errors import UsageError
from bundler.system.environ import HostEnvironment, read_host_environment

LATEST = 8**11 - 1  # eleven octal digits, the field of a ustar header
NOWHERE = Path("/nonexistent")


def host(environ: Mapping[str, str], cwd: Path = NOWHERE) -> HostEnvironment:
    return HostEnvironment(environ=environ, cwd=cwd)


# --- reading --------------------------------------------------------------------------------------


def test_the_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BUNDLER_TEST", "before")
    monkeypatch.chdir(tmp_path)
    read = read_host_environment()
    monkeypatch.setenv("BUNDLER_TEST", "after")

    assert read.get("BUNDLER_TEST") == "before"
    assert read.cwd == tmp_path.resolve()


@pytest.mark.parametrize(("environ", "value"), [({}, None), ({"A": ""}, None), ({"A": "x"}, "x")])
def test_an_empty_variable_is_an_unset_one(environ: Mapping[str, str], value: str | None) -> None:
    assert host(environ).get("A") == value


# --- SOURCE_DATE_EPOCH ----------------------------------------------------------------------------


@pytest.mark.parametrize("environ", [{}, {"SOURCE_DATE_EPOCH": ""}])
def test_the_epoch_is_1980_by_default(environ: Mapping[str, str]) -> None:
    assert host(environ).epoch() == DEFAULT_EPOCH


@given(epoch=st.integers(DEFAULT_EPOCH, LATEST))
def test_an_epoch_is_any_time_an_archive_can_store(epoch: int) -> None:
    assert host({"SOURCE_DATE_EPOCH": str(epoch)}).epoch() == epoch


@pytest.mark.parametrize("epoch", [DEFAULT_EPOCH, LATEST])
def test_the_limits_of_an_epoch_are_those_of_a_header_without_extension(epoch: int) -> None:
    assert host({"SOURCE_DATE_EPOCH": str(epoch)}).epoch() == epoch
    assert len(file_header("x", size=0, mode=0o644, epoch=epoch)) == 512


@pytest.mark.parametrize(
    "text",
    [
        str(DEFAULT_EPOCH - 1),
        str(LATEST + 1),
        "0",
        "-1",
        "yesterday",
        f"{DEFAULT_EPOCH}.0",
        f" {DEFAULT_EPOCH}",
        f"+{DEFAULT_EPOCH}",
        "1_600_000_000",
        "\u0661\u0666\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660",  # ARABIC-INDIC DIGITS
        "\u00b2" * 10,  # SUPERSCRIPT TWO is a digit, but not a decimal one
        "9" * 5000,
    ],
)
def test_any_other_epoch_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH") as caught:
        host({"SOURCE_DATE_EPOCH": text}).epoch()

    assert caught.value.evidence == (
        f"wanted  whole seconds from {DEFAULT_EPOCH} to {LATEST}",
        f"found   {text[:40]!r}",
    )
    assert caught.value.hint == "unset SOURCE_DATE_EPOCH"


# --- child_env ------------------------------------------------------------------------------------

TASK = {
    "PATH": os.defpath,
    "HOME": "/scratch",
    "TMPDIR": "/scratch",
    "TEMP": "/scratch",
    "TMP": "/scratch",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "SOURCE_DATE_EPOCH": "315532800",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "NO_COLOR": "1",
}
NETWORK = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)


def test_the_environment_of_a_child_is_built_from_nothing() -> None:
    assert host({}).child_env(Path("/scratch")) == TASK


@pytest.mark.attack("command")
@pytest.mark.parametrize("name", NETWORK)
def test_only_children_that_use_the_network_get_its_settings(name: str) -> None:
    """A proxy can contain a password."""
    assert host({name: "x"}).child_env(Path("/scratch")) == TASK
    assert host({name: "x", "A": "b"}).network_environment() == {name: "x"}
    assert host({name: ""}).network_environment() == {name: ""}


def test_programs_are_found_where_the_user_finds_them() -> None:
    assert host({"PATH": "x"}).child_env(Path("/scratch")) == {**TASK, "PATH": "x"}


@pytest.mark.attack("command")
@given(
    environ=st.dictionaries(
        st.sampled_from(
            ["HOME", "TZ", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHASHSEED", "PIP_INDEX_URL", "A"]
        )
        | st.text(min_size=1),
        st.text(),
    )
)
def test_nothing_else_reaches_a_child(environ: dict[str, str]) -> None:
    passed_on = {name: value for name, value in environ.items() if name == "PATH"}

    assert host(environ).child_env(Path("/scratch")) == {**TASK, **passed_on}


def test_a_task_may_add_and_replace_variables() -> None:
    env = host({"HTTP_PROXY": "x"}).child_env(Path("/scratch"), HTTP_PROXY="y", TZ="Z", MORE="1")

    assert env == {**TASK, "HTTP_PROXY": "y", "TZ": "Z", "MORE": "1"}


# --- ignored_settings -----------------------------------------------------------------------------

REPORTED = [
    *("PYTHONPATH", "PYTHONHOME", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "CONDA_DEFAULT_ENV"),
    *("VIRTUALENV_PIP", "UV_INDEX_URL", "SETUPTOOLS_USE_DISTUTILS", "LD_PRELOAD", "DYLD_LIBRARY_PATH"),
    *("MAMBA_ROOT_PREFIX", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "ARCHFLAGS", "DISTUTILS_USE_SDK"),
]
HARMLESS = [
    *(
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_NO_INDEX",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
    ),
    *("PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES"),
    *("PIP_KEYRING_PROVIDER", "PIP_CONFIG_FILE", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_INPUT"),
    *("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "HOME", "PATH", "TZ", "XPYTHONPATH", "pythonpath"),
]


@pytest.mark.attack("command")
@pytest.mark.parametrize("name", REPORTED)
def test_a_variable_that_could_change_a_bundle_is_reported_by_name_alone(name: str) -> None:
    """Its value may be a secret."""
    assert host({name: "hunter2"}).ignored_settings() == (name,)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_variable_that_cannot_change_a_bundle_is_not_reported(name: str) -> None:
    assert host({name: "x"}).ignored_settings() == ()


@pytest.mark.parametrize("name", REPORTED)
def test_an_empty_variable_is_not_reported(name: str) -> None:
    assert host({name: ""}).ignored_settings() == ()


@pytest.mark.parametrize("name", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_active_environment_is_reported_with_its_directory(name: str) -> None:
    assert host({name: "/envs/x"}).ignored_settings() == (f"{name}=/envs/x",)


@pytest.mark.attack("command")
def test_files_that_shadow_a_standard_module_are_reported(tmp_path: Path) -> None:
    for name in (
        "json.py",
        "sitecustomize.py",
        "usercustomize.py",
        "pip.py",
        "mine.py",
        "json.txt",
        "os.pyc",
    ):
        (tmp_path / name).touch()

    assert host({}, tmp_path).ignored_settings() == (
        "./json.py",
        "./pip.py",
        "./sitecustomize.py",
        "./usercustomize.py",
    )


def test_the_report_is_sorted(tmp_path: Path) -> None:
    (tmp_path / "json.py").touch()

    settings = host({"PYTHONPATH": "x", "VIRTUAL_ENV": "/v", "CFLAGS": "x"}, tmp_path).ignored_settings()
    assert settings == ("./json.py", "CFLAGS", "PYTHONPATH", "VIRTUAL_ENV=/v")


def test_a_working_directory_that_cannot_be_read_is_not_an_error() -> None:
    assert host({}).ignored_settings() == ()
