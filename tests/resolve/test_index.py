"""Index settings: pip's own configuration, laid over, taken apart, handed on, and shown without secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundler.errors import InputError
from bundler.redaction import Credentials, redact
from bundler.requirements.requirement_set import IndexOptions
from bundler.resolve.index import Index, IndexSettings, origin_of, read_index_settings
from bundler.system.environ import HostEnvironment

NONE = IndexOptions()


class Host:
    """A user's machine: a home, a working directory, a private folder, and what is set there."""

    def __init__(self, folder: Path) -> None:
        self.home, self.cwd, self.scratch = folder / "home", folder / "cwd", folder / "scratch"
        for one in (self.home, self.cwd, self.scratch):
            one.mkdir()

    def configure(self, text: str) -> Path:
        path = self.home / ".config" / "pip" / "pip.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, *options: IndexOptions, **env: str) -> IndexSettings:
        """Read with the options of the command line and of the files, if any."""
        flags, files = (*options, NONE, NONE)[:2]
        # The machine that runs the tests has settings too: XDG_CONFIG_DIRS hides some of them.
        environ = {"PATH": os.defpath, "HOME": str(self.home), "XDG_CONFIG_DIRS": str(self.home), **env}
        environment = HostEnvironment(environ=environ, cwd=self.cwd)
        return read_index_settings(environment, self.scratch, flags=flags, from_files=files)

    def read_bare(self, *options: IndexOptions, **env: str) -> IndexSettings:
        """Read with no configuration file at all."""
        return self.read(*options, PIP_CONFIG_FILE=os.devnull, **env)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def urls(settings: IndexSettings, kind: str) -> list[str]:
    return [index.url for index in settings.indexes if index.kind == kind]


# --- reading ----------------------------------------------------------------


def test_nothing_is_set(host: Host) -> None:
    """pip's built-in index is not ours to name: it is `default`, and no address is handed on."""
    settings = host.read_bare()

    assert settings == IndexSettings()
    assert settings.default_index
    assert "PIP_INDEX_URL" not in settings.pip_environment()


def test_the_environment_is_read(host: Host) -> None:
    settings = host.read_bare(
        PIP_INDEX_URL="https://index.example/simple/",
        PIP_EXTRA_INDEX_URL="https://a.example/x  https://b.example/y",
        PIP_TRUSTED_HOST="a.example b.example:8443",
        PIP_DEFAULT_TIMEOUT="60",
        PIP_RETRIES="2",
        PIP_PROXY="proxy.example:3128",
        PIP_CERT="~/ca.pem",
        PIP_CLIENT_CERT="client.pem",
        PIP_KEYRING_PROVIDER="subprocess",
    )

    assert settings == IndexSettings(
        indexes=(
            Index(name="index.example/simple", url="https://index.example/simple/", kind="index"),
            Index(name="a.example/x", url="https://a.example/x", kind="extra"),
            Index(name="b.example/y", url="https://b.example/y", kind="extra"),
        ),
        trusted_hosts=("a.example", "b.example:8443"),
        timeout=60,
        retries=2,
        proxy="http://proxy.example:3128",
        cert=str(host.home / "ca.pem"),
        client_cert=str(host.cwd / "client.pem"),
        keyring_provider="subprocess",
        default_index=False,
    )


def test_a_file_in_the_home_is_read(host: Host) -> None:
    """Lists are one item a line there, and what the user's file says beats what the machine's file says."""
    host.configure(
        "[global]\nindex_url = https://user.example/packages\n"
        "extra-index-url =\n    https://a.example/x\n    https://b.example/y\n"
        "timeout = 7\n"
    )

    settings = host.read()

    assert urls(settings, "index") == ["https://user.example/packages"]
    assert urls(settings, "extra") == ["https://a.example/x", "https://b.example/y"]
    assert settings.timeout == 7


def test_the_section_of_the_command_beats_global_and_the_environment_beats_both(host: Host) -> None:
    host.configure(
        "[global]\nindex-url = https://global.example/packages\ntimeout = 1\nretries = 1\n"
        "[download]\nretries = 2\nindex-url = https://download.example/packages\n"
        "[install]\nindex-url = https://install.example/packages\ntimeout = 2\n"
    )

    settings = host.read(PIP_TIMEOUT="3")

    assert urls(settings, "index") == ["https://install.example/packages"]
    assert (settings.timeout, settings.retries) == (3, 2)


def test_a_file_named_by_the_environment_is_read(host: Host) -> None:
    path = host.cwd / "team.conf"
    path.write_text("[global]\nindex-url = https://team.example/packages\n")

    assert urls(host.read(PIP_CONFIG_FILE=str(path)), "index") == ["https://team.example/packages"]


@pytest.mark.parametrize("setting", ["quiet = 3", "verbose = 2", "require-virtualenv = true", "no-color = 1"])
def test_settings_that_change_what_pip_prints_change_nothing(host: Host, setting: str) -> None:
    host.configure(f"[global]\n{setting}\nindex-url = https://user.example/packages\n")

    assert urls(host.read(PIP_QUIET="2", PIP_VERSION="23.0"), "index") == ["https://user.example/packages"]


@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "PIP_NO_INDEX", "PIP_TIMEOUT"])
def test_an_empty_variable_counts_as_not_set(host: Host, name: str) -> None:
    """As in pip, so that what stands below it shows through."""
    host.configure("[global]\nindex-url = https://user.example/packages\ntimeout = 7\n")

    settings = host.read(**{name: ""})

    assert (urls(settings, "index"), settings.timeout) == (["https://user.example/packages"], 7)


@pytest.mark.parametrize(
    ("flags", "files", "expected"),
    [
        pytest.param(
            IndexOptions(index_url="https://flag.example/s"),
            IndexOptions(index_url="https://file.example/s"),
            ["https://flag.example/s", "https://env-extra.example/s"],
            id="flag over file over environment",
        ),
        pytest.param(
            NONE,
            IndexOptions(index_url="https://file.example/s", extra_index_urls=("https://more.example/s",)),
            ["https://file.example/s", "https://more.example/s", "https://env-extra.example/s"],
            id="R14 options of a requirements file are honoured",
        ),
        pytest.param(
            IndexOptions(extra_index_urls=("https://flag.example/s", "https://env-extra.example/s")),
            NONE,
            ["https://env.example/s", "https://flag.example/s", "https://env-extra.example/s"],
            id="lists add up, each item once",
        ),
        pytest.param(IndexOptions(no_index=True), NONE, [], id="no-index of a flag"),
        pytest.param(NONE, IndexOptions(no_index=True), [], id="no-index of a file"),
    ],
)
def test_precedence(host: Host, flags: IndexOptions, files: IndexOptions, expected: list[str]) -> None:
    settings = host.read_bare(
        flags, files, PIP_INDEX_URL="https://env.example/s", PIP_EXTRA_INDEX_URL="https://env-extra.example/s"
    )

    assert [index.url for index in settings.indexes] == expected
    assert settings.no_index == (expected == [])
    assert not settings.default_index


@pytest.mark.parametrize("flags", ["", "a"])
@pytest.mark.parametrize("files", ["", "b"])
@pytest.mark.parametrize("env", ["", "c"])
def test_lists_of_all_sources_add_up(host: Host, flags: str, files: str, env: str) -> None:
    """Each of the options that may be repeated, from each source, the command line first."""

    def options(name: str) -> IndexOptions:
        names = (name,) if name else ()
        urls = tuple(f"https://{one}.example/s" for one in names)
        return IndexOptions(extra_index_urls=urls, find_links=urls, trusted_hosts=names)

    url = f"https://{env}.example/s" if env else ""
    settings = host.read_bare(
        options(flags), options(files), PIP_EXTRA_INDEX_URL=url, PIP_FIND_LINKS=url, PIP_TRUSTED_HOST=env
    )

    names = tuple(name for name in (flags, files, env) if name)
    assert settings.trusted_hosts == names
    for kind in ("extra", "find-links"):
        assert urls(settings, kind) == [f"https://{name}.example/s" for name in names]
    passed = settings.pip_environment()
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        assert passed.get(variable, "").split() == urls(settings, "extra")


def test_no_index_leaves_find_links(host: Host) -> None:
    settings = host.read_bare(
        PIP_NO_INDEX="true", PIP_INDEX_URL="https://env.example/s", PIP_FIND_LINKS="wheels"
    )

    assert settings.indexes == (
        Index(name="local:wheels", url=(host.cwd / "wheels").as_uri(), kind="find-links"),
    )


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("wheel house", "{cwd}/wheel%20house", "local:wheel house"),
        ("./a/../b", "{cwd}/b", "local:b"),
        ("~/wheels", "{home}/wheels", "local:wheels"),
        ("file:///usr/lib/", "file:///usr/lib/", "local:lib"),
        ("https://index.example:8443/links.html", "https://index.example:8443/links.html", None),
    ],
)
def test_find_links_may_be_folders(host: Host, text: str, url: str, name: str | None) -> None:
    for folder in (host.cwd / "wheel house", host.cwd / "b", host.home / "wheels"):
        folder.mkdir(parents=True)
    settings = host.read_bare(IndexOptions(find_links=(text,)))

    expected = url.format(cwd=host.cwd.as_uri(), home=host.home.as_uri())
    assert settings.indexes == (
        Index(name=name or "index.example:8443/links.html", url=expected, kind="find-links"),
    )
    # One word, whatever the folder is called: pip splits the variable at spaces.
    assert settings.pip_environment()["PIP_FIND_LINKS"] == expected


# --- refusing ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("not an ini file\n", "no section headers"),
        ("[global]\nindex-url = a\nindex-url = b\n", "index-url"),
    ],
    ids=["no section", "twice"],
)
def test_a_broken_configuration_file_is_named(host: Host, text: str, found: str) -> None:
    path = host.configure(text)

    with pytest.raises(InputError) as caught:
        host.read()

    assert str(path) in "\n".join((caught.value.message, *caught.value.evidence))
    assert found in "\n".join(caught.value.evidence)


def test_a_configuration_file_that_is_not_text_is_named(host: Host) -> None:
    path = host.configure("")
    path.write_bytes(b"[global]\nindex-url = \xff\xfe\n")

    with pytest.raises(InputError, match="pip cannot read its configuration") as caught:
        host.read()

    assert f"`{path}`" in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PIP_RETRIES", "0x2"),
        ("PIP_TIMEOUT", "0"),
        ("PIP_TIMEOUT", "nan"),
        ("PIP_TIMEOUT", "inf"),
        ("PIP_RETRIES", "-1"),
        ("PIP_NO_INDEX", "perhaps"),
    ],
)
def test_a_senseless_value_is_refused(host: Host, name: str, value: str) -> None:
    with pytest.raises(InputError, match="invalid value") as caught:
        host.read_bare(**{name: value})

    assert f"found   {value}" in caught.value.evidence


def test_a_value_that_pip_itself_refuses_is_told(host: Host) -> None:
    with pytest.raises(InputError, match="pip cannot read its configuration") as caught:
        host.read_bare(PIP_TIMEOUT="soon")

    assert "soon" in caught.value.evidence[-1]


@pytest.mark.parametrize(
    "url", ["ftp://index.example/simple", "https://", "https:///simple", "localhost:80/simple"]
)
def test_an_address_of_another_kind_is_refused(host: Host, url: str) -> None:
    with pytest.raises(InputError, match="is not the URL of an index"):
        host.read_bare(IndexOptions(index_url=url))


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "PIP_PROXY"])
def test_a_password_with_a_bare_slash_is_refused_and_not_shown(host: Host, name: str) -> None:
    """The part before the slash looks like a port, and Python's own message would tell it."""
    with pytest.raises(InputError, match="the URL of an index or proxy is malformed") as caught:
        host.read_bare(**{name: "https://me:canary1/canary2@index.example/simple"})

    assert "canary" not in "\n".join((caught.value.message, *caught.value.evidence))
    assert "index.example" in caught.value.evidence[1]


# --- secrets ----------------------------------------------------------------

CREDENTIALS = [
    pytest.param("me:canary-pass@", Credentials(user="me", password="canary-pass"), id="user and password"),
    pytest.param("canary-token@", Credentials(user="canary-token", password=""), id="token alone"),
    pytest.param(
        "__token__:canary%2Fp%40ss@", Credentials(user="__token__", password="canary/p@ss"), id="encoded"
    ),
]


@pytest.mark.parametrize(("userinfo", "expected"), CREDENTIALS)
def test_credentials_are_split_off(host: Host, userinfo: str, expected: Credentials) -> None:
    settings = host.read_bare(PIP_INDEX_URL=f"https://{userinfo}index.example/simple?sig=canary-sig")

    assert settings.indexes == (
        Index(name="index.example/simple", url="https://index.example/simple", kind="index"),
    )
    assert settings.credentials_for("https://index.example/files/a.whl") == expected
    # The child pip needs the address as it was.
    assert settings.pip_environment()["PIP_INDEX_URL"].startswith(f"https://{userinfo}index.example")


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    "url",
    [
        "http://index.example/a.whl",
        "https://index.example:8443/a.whl",
        "https://files.index.example/a.whl",
        "https://index.example.evil.example/a.whl",
        "https://index.example@evil.example/a.whl",
        "file://index.example/a.whl",
    ],
)
def test_credentials_are_for_their_origin_only(host: Host, url: str) -> None:
    settings = host.read_bare(PIP_INDEX_URL="https://me:canary-pass@index.example/simple")

    assert settings.credentials_for(url) is None
    assert settings.credentials_for("https://INDEX.example:443/a.whl") is not None


@pytest.mark.attack("secrets")
def test_two_indexes_of_one_host_keep_their_own_credentials(host: Host) -> None:
    """One server, two projects, two tokens: the path decides, as in pip."""
    settings = host.read_bare(
        PIP_INDEX_URL="https://t:canary-1@index.example/1/simple",
        PIP_EXTRA_INDEX_URL="https://t:canary-2@index.example/10/simple",
    )

    found = [settings.credentials_for(f"https://index.example/{n}/files/a.whl") for n in (1, 10)]
    assert [one.password for one in found if one] == ["canary-1", "canary-2"]


@pytest.mark.attack("secrets")
def test_no_secret_is_shown(host: Host) -> None:
    settings = host.read_bare(
        IndexOptions(extra_index_urls=("https://canary-token@a.example/x",)),
        PIP_INDEX_URL="https://me:canary-pass@index.example/simple?sig=canary-sig",
        PIP_FIND_LINKS="https://me:canary-links@b.example/y",
        PIP_PROXY="http://me:canary-proxy@proxy.example:3128",
    )

    text = "\n".join((repr(settings), *settings.summary()))
    assert "canary" not in text
    assert redact("canary-proxy canary-links canary-pass canary-token sig=canary-sig") == " ".join(
        ["****"] * 5
    )
    # The control: the secrets are in there, for the child.
    assert "".join(settings.pip_environment().values()).count("canary") == 5


def test_what_is_shown(host: Host) -> None:
    settings = host.read_bare(
        IndexOptions(no_index=True, find_links=("https://b.example/y",)),
        PIP_PROXY="p.example:1",
        PIP_CERT="/ca",
    )

    assert settings.summary() == (
        "find-links https://b.example/y",
        "no-index yes",
        "cert /ca",
        "proxy http://p.example:1",
        "timeout 15",
        "retries 5",
    )
    assert IndexSettings().summary()[0] == "index-url (built into pip)"


# --- handing on ---------------------------------------------------------------


def test_a_child_pip_reads_back_what_was_handed_on(host: Host) -> None:
    """The round trip through a real pip, in an environment that holds nothing else."""
    settings = host.read_bare(
        PIP_INDEX_URL="https://me:canary%2Fpass@index.example/simple",
        PIP_EXTRA_INDEX_URL="https://a.example/x https://b.example/y",
        PIP_FIND_LINKS="wheels",
        PIP_TRUSTED_HOST="a.example b.example",
        PIP_TIMEOUT="2.5",
        PIP_RETRIES="0",
        PIP_PROXY="http://me:canary@proxy.example:1",
        PIP_CERT="/ca.pem",
        PIP_CLIENT_CERT="/client.pem",
        PIP_KEYRING_PROVIDER="disabled",
    )
    environment = HostEnvironment(environ={"PATH": os.defpath}, cwd=host.cwd)
    env = environment.child_env(host.scratch, **settings.pip_environment())

    listed = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "config", "list"],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    again = host.read_bare(**settings.pip_environment())

    assert ":env:.index-url='https://me:canary%2Fpass@index.example/simple'" in listed.splitlines()
    assert again == settings
    assert again._raw == settings._raw
    assert again.credentials_for("https://index.example/") == Credentials(user="me", password="canary/pass")


@pytest.mark.parametrize(
    "name",
    ["PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_NO_BINARY", "PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV"],
)
def test_other_settings_do_not_reach_the_child(host: Host, name: str) -> None:
    """H10: only what decides where files come from is handed on."""
    handed_on = host.read_bare(**{name: "1"}).pip_environment()

    assert handed_on == {"PIP_TIMEOUT": "15", "PIP_RETRIES": "5"}


def test_other_settings_of_a_file_do_not_reach_the_child(host: Host) -> None:
    """H11: of a configuration file the index counts, its target does not."""
    host.configure("[global]\nextra-index-url = https://a.example/x\ntarget = /srv\n[install]\nuser = true\n")

    handed_on = host.read().pip_environment()

    assert handed_on["PIP_EXTRA_INDEX_URL"] == "https://a.example/x"
    assert not {"PIP_TARGET", "PIP_USER"} & set(handed_on)


# --- names --------------------------------------------------------------------


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://index.example/simple/", "index.example/simple"),
        (
            "https://index.example/artifactory/api/pypi/team-pypi2/simple",
            "index.example/artifactory/api/pypi/team-pypi2/simple",
        ),
        ("https://pkgs.example/MyOrg/My%20Project/_packaging/Feed-2024/pypi/index", "pkgs.example"),
        (
            "https://pkgs.example/MyOrg/MyProject/_packaging/Feed-2024/pypi/index",
            "pkgs.example/MyOrg/MyProject/_packaging/Feed-2024/pypi/index",
        ),
        ("https://index.example:8443/3f9ac01b77/simple", "index.example:8443"),
        ("https://index.example/u/AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGhIj/simple", "index.example"),
        ("https://index.example/priv/s3cr3t-t0ken", "index.example"),
        ("https://index.example/my-token/simple", "index.example"),
        ("https://index.example/ghp_16C7e42F292c6912E7/simple", "index.example"),
        ("https://index.example/5f0c7a52-3f1f-4b39-9a5e-1f6a3b0a1c2d/simple", "index.example"),
    ],
)
def test_a_token_in_a_path_is_in_no_name_and_no_message(host: Host, url: str, name: str) -> None:
    settings = host.read_bare(PIP_INDEX_URL=url)

    assert settings.indexes[0].name == name
    if name in ("index.example", "index.example:8443"):
        hidden = settings.without_tokens(f"{url.rstrip('/')}/../files/a.whl")
        assert "****" in hidden
        assert settings.with_tokens(hidden) == f"{url.rstrip('/')}/../files/a.whl"
        assert "****" in settings.summary()[0]
    assert settings.with_tokens("https://other.example/****/a.whl") is None
    assert settings.pip_environment()["PIP_INDEX_URL"] == url


ONE = (Index(name="index.example/simple", url="https://index.example/simple", kind="index"),)
OTHER = (Index(name="other.example/packages", url="https://other.example/packages/", kind="extra"),)
TWIN = (Index(name="index.example/twin", url="http://index.example:443/twin", kind="extra"),)
LINKS = (Index(name="index.example/links", url="https://index.example/links", kind="find-links"),)
LOCAL = (Index(name="local:wheels", url="file:///srv/wheels", kind="find-links"),)
NESTED = (Index(name="local:srv", url="file:///srv", kind="find-links"),)
A = "https://index.example/files/a.whl"


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    ("indexes", "default", "url", "expected"),
    [
        pytest.param(ONE, False, "https://cdn.example/a.whl", "index.example/simple", id="the only one"),
        pytest.param((), True, "https://cdn.example/a.whl", "default", id="the built-in alone"),
        pytest.param((), True, "file:///srv/a.whl", None, id="a local file is of no index"),
        pytest.param(ONE + OTHER, False, A, "index.example/simple", id="host"),
        pytest.param(ONE + OTHER, False, "https://cdn.example/a.whl", None, id="neither host"),
        pytest.param(OTHER, True, "https://cdn.example/a.whl", None, id="built-in or not"),
        pytest.param(
            OTHER, True, "https://other.example/a.whl", "other.example/packages", id="beside the built-in"
        ),
        pytest.param(ONE + TWIN, False, A, None, id="two of one host"),
        pytest.param(
            ONE + LINKS, False, "https://index.example/links/a.whl", "index.example/links", id="below"
        ),
        pytest.param(
            ONE + LINKS, False, "https://index.example/links2/a.whl", None, id="a prefix is not below"
        ),
        pytest.param(ONE + LOCAL, False, "file:///srv/wheels/a.whl", "local:wheels", id="folder"),
        pytest.param(ONE + LOCAL, False, "file:///srv/wheels/../a.whl", None, id="out of the folder"),
        pytest.param(ONE + LOCAL + NESTED, False, "file:///srv/wheels/a.whl", None, id="two folders"),
        pytest.param(LOCAL, False, "file:///srv/wheels/a.whl", "local:wheels", id="the only folder"),
        pytest.param(LOCAL, False, "file:///tmp/a.whl", None, id="outside the only folder"),
    ],
)
def test_an_index_is_named_only_if_that_is_certain(
    indexes: tuple[Index, ...], default: bool, url: str, expected: str | None
) -> None:
    assert IndexSettings(indexes=indexes, default_index=default).name_of(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Index.Example/x", ("https", "index.example", 443)),
        ("http://index.example:8080", ("http", "index.example", 8080)),
        ("http://[::1]/", ("http", "::1", 80)),
        ("http://[::1", None),
        ("http://index.example:port/", None),
        ("file:///srv", None),
        ("/srv", None),
    ],
)
def test_origin(url: str, expected: tuple[str, str, int] | None) -> None:
    assert origin_of(url) == expected
