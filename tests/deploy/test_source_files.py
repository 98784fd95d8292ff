"""The files of a source directory: ignore files are honoured, likely secrets are refused."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from bundler.deploy.application import PackageOptions
from bundler.deploy.context import from_image
from bundler.deploy.secrets import secret_in_content, secret_in_name
from bundler.deploy.source_files import code_files, tree_files
from bundler.errors import InputError
from bundler.problems import check_variables

KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA" * 4 + "\n-----END RSA PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\n" + "MIIEpAIBAAKCAQEA" * 4 + "\n-----END CERTIFICATE-----\n"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "score.py").write_text("def init(): pass\ndef run(data): pass\n")
    return folder


def write(folder: Path, *paths: str, text: str = "x\n") -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def shell(command: str | None) -> None:
    subprocess.run(["sh", "-c", str(command)], check=True)


def packed(code: Path) -> list[str]:
    return [file.path.removeprefix("code/") for file in code_files(code, "score.py")]


@pytest.mark.parametrize(
    ("name", "lines", "left"),
    [
        (".amlignore", "data/\n*.log\n# a comment\n", ["a.txt", "sub/a.txt"]),
        (".amlignore", "/a.txt\n", ["data/x", "data/y.log", "sub/a.txt", "x.log"]),
        (".amlignore", "*\n!/sub/\n!/sub/a.txt\n!/score.py\n", ["sub/a.txt"]),
        (".dockerignore", "*.log\ndata\n", ["a.txt", "sub/a.txt"]),
        (".dockerignore", "**/*.log\n/data/x\n", ["a.txt", "sub/a.txt"]),
        (".dockerignore", "a.txt\n", ["data/x", "data/y.log", "sub/a.txt", "x.log"]),
        (".dockerignore", "*\n!score.py\n!data/y.log\n", ["data/y.log"]),
        (".dockerignore", "./sub/../data\n\n  *.log  \n", ["a.txt", "sub/a.txt"]),
    ],
)
def test_an_ignore_file_is_honoured(code: Path, name: str, lines: str, left: list[str]) -> None:
    """That of Azure ML matches in any directory, that of Docker from the root."""
    write(code, "a.txt", "sub/a.txt", "data/x", "data/y.log", "x.log")
    write(code, name, text=lines)

    assert [path for path in packed(code) if path not in (name, "score.py")] == left


def test_both_ignore_files_count(code: Path) -> None:
    write(code, "a", "b", "c")
    write(code, ".amlignore", text="a\n")
    write(code, ".dockerignore", text="b\n")

    assert packed(code) == [".amlignore", ".dockerignore", "c", "score.py"]


@pytest.mark.attack("contexts")
def test_an_excluded_link_is_no_error(code: Path) -> None:
    (code / "latest").symlink_to("/etc")
    with pytest.raises(InputError, match="is a symbolic link"):
        packed(code)
    write(code, ".amlignore", text="latest\n")
    assert packed(code) == [".amlignore", "score.py"]


def test_an_entry_script_that_is_excluded_is_refused(code: Path) -> None:
    write(code, ".amlignore", text="*.py\n")
    with pytest.raises(InputError, match=r"entry script `score\.py` is excluded") as caught:
        packed(code)

    shell(caught.value.hint)
    assert packed(code) == [".amlignore", "score.py"]


def test_an_ignore_file_that_is_not_text_is_named(code: Path) -> None:
    (code / ".amlignore").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"\.amlignore` cannot be read"):
        packed(code)


SECRETS = [
    *(".env", "sub/.env", ".env.production", "prod.env", ".ssh/config", "home/.ssh/known_hosts", "id_rsa"),
    *("keys/ID_ED25519", ".aws/credentials", ".azure/accessTokens.json", ".netrc", "_netrc", ".pypirc"),
    *("server.pem", "tls.key", "a.p12", "a.pfx", "key.jks", ".git-credentials", ".kube/config", ".pgpass"),
    *("client_secret_123.json", ".docker/config.json", "credentials.json"),
    *(".npmrc", ".databrickscfg", "kaggle.json", ".kaggle/x", ".streamlit/secrets.toml", "id_ed25519_sk"),
    *("prod.tfstate", "a.tfvars", "rclone.conf", ".huggingface/token"),
]
PLAIN = [
    *(".env.example", ".env.sample", "environment.py", "env.yml", "id_rsa.pub", "keys.py", "ssh.txt"),
    *("monkey.txt", "token.py", "tokenizer.json", "vocab.txt", "aws/client.py"),
]


@pytest.mark.attack("contexts")
@pytest.mark.parametrize("path", SECRETS)
def test_a_likely_secret_is_refused_with_the_ways_to_leave_it_out_and_to_pack_it(
    code: Path, path: str
) -> None:
    write(code, path)
    with pytest.raises(InputError, match="contains files that are likely secrets") as caught:
        packed(code)

    assert caught.value.evidence[0].startswith(f"{path}: ")
    hint = str(caught.value.hint)
    shell(hint)
    assert packed(code) == [".amlignore", "score.py"]
    shell(f"rm {shlex.quote(str(code))}/.amlignore; {hint.replace(f'/{path}', f'!/{path}', 1)}")
    assert path in packed(code)


@pytest.mark.attack("contexts")
def test_all_likely_secrets_are_listed(code: Path) -> None:
    write(code, *SECRETS)
    with pytest.raises(InputError) as caught:
        packed(code)
    assert len(caught.value.evidence) == 11
    assert caught.value.evidence[-1] == f"and {len(SECRETS) - 10} more"


@pytest.mark.parametrize("path", PLAIN)
def test_a_name_that_is_almost_the_same_is_packed(code: Path, path: str) -> None:
    write(code, path)
    assert path in packed(code)


CONTENTS = [
    ("key.txt", KEY),
    ("deploy.py", f'KEY = """{KEY}"""\n'),
    ("sa.json", '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC"}'),
    ("pgp.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n" + "lQOYBF" * 8 + "\n"),
    ("config.py", "KEY = 'AKIA" + "IOSFODNN7EXAMPLE'".replace("1", "2") + "\n"),
    ("config.ini", "AccountKey=" + "a1B2" * 21 + "xy==;EndpointSuffix=core\n"),
    ("run.sh", "export GITHUB=ghp_" + "a1B2" * 9 + "\n"),
    ("ci.yml", "token: glpat-" + "abcdefghij0123456789\n"),
    ("bus.cfg", "Endpoint=sb://x/;SharedAccessKey=" + "a1B2" * 10 + "xyz=\n"),
    ("url.py", "U = 'https://a.blob.core.windows.net/c?sv=2020&se=2030&sig=" + "a1B2" * 10 + "%3D'\n"),
    ("cli.cfg", "token = dapi" + "0a1b" * 8 + "\n"),
    ("rc", "//registry/:_authToken=npm_" + "a1B2" * 9 + "\n"),
    ("ai.py", "K = 'sk-" + "a1B2c" * 4 + "T3BlbkFJ" + "a1B2c" * 4 + "'\n"),
    ("pay.py", "K = 'sk_live_" + "a1B2" * 6 + "'\n"),
    ("nb.ipynb", '{"source": "hf_' + "a" * 34 + '"}'),
]
HARMLESS = [
    ("ca.pem", CERTIFICATE),
    ("parse.py", 'MARK = "-----BEGIN RSA PRIVATE KEY-----"\nEND = "-----END"\n'),
    ("hashes.txt", "0123456789abcdef" * 4 + "\n"),
    ("b64.txt", "QUJDREVG" * 40 + "\n"),
    ("sig.py", "URL = '?sv=2020&sig=%s' % sign(url)\nKEY = 'SharedAccessKey=' + key\nP = 'dapi' + x\n"),
    ("id.py", "X = 'AKIA'\nY = 'ghp_short'\nZ = 'hf_hub_download'\n"),
]


@pytest.mark.attack("contexts")
@pytest.mark.parametrize(("path", "text"), CONTENTS)
def test_a_secret_in_a_file_of_any_name_is_refused(code: Path, path: str, text: str) -> None:
    write(code, path, text=text)
    with pytest.raises(InputError, match="likely secrets"):
        packed(code)
    write(code, ".amlignore", text=f"!{path}\n")
    assert path in packed(code)


@pytest.mark.parametrize(("path", "text"), HARMLESS)
def test_what_looks_like_a_secret_and_is_none_is_packed(code: Path, path: str, text: str) -> None:
    write(code, path, text=text)
    assert path in packed(code)


def test_installed_packages_and_data_are_not_searched(code: Path) -> None:
    write(code, "venv/lib/python3.7/site-packages/x/key.pem", text=KEY)
    (code / "weights.bin").write_bytes(bytes(1 << 20) + KEY.encode())
    assert len(packed(code)) == 3


def test_models_are_packed_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, "m/.env", "m/.amlignore", text="*\n")
    assert [file.path for file in tree_files(tmp_path / "m", "m")] == ["m/.amlignore", "m/.env"]


@pytest.mark.attack("contexts")
def test_the_kinds_of_secrets_are_named() -> None:
    assert secret_in_name("a/.env") == "environment variables"
    assert secret_in_content("x", KEY.encode()) == "a private key"
    assert secret_in_content("x.pem", b"\0\1") == "a private key"


# --- text that becomes a Dockerfile ---------------------------------------------------------------


@pytest.mark.attack("contexts")
@pytest.mark.parametrize(
    "image", ["a\nRUN evil", "a b", "", "a\tb", "$X", "a`b", "-x", "a\\", 'a"b', "a\x0bb", "a\u2028b", "a#b"]
)
def test_a_base_image_cannot_add_an_instruction(image: str) -> None:
    with pytest.raises(InputError, match="is not the name of an image"):
        from_image(image)


@pytest.mark.parametrize(
    ("image", "meant"),
    [
        ("REF", "base:1"),
        ("Python:3.7", "python:3.7"),
        ("registry.example/Team/iris:1", "registry.example/team/iris:1"),
        ("a/B", "a/b"),
        ("python 3.7-slim", "python:3.7-slim"),
        ("docker://python:3.7", "python:3.7"),
        ("a:", "base:1"),
        ("a@sha256", "base:1"),
        ("a@b@c", "base:1"),
        ("a:x:y", "base:1"),
        ("a//b", "base:1"),
        ("a@sha256:1", "base:1"),
    ],
)
def test_a_name_that_docker_refuses_is_refused(image: str, meant: str) -> None:
    with pytest.raises(InputError, match="is not the name of an image") as caught:
        from_image(image, example="base:1")
    assert caught.value.hint == f"--base-image {meant}"


@pytest.mark.parametrize(
    "image",
    [
        "scratch",
        "python:3.7-slim",
        "registry.example:5000/team/iris:1.0_b",
        "a@sha256:" + "0" * 64,
        "a:1@sha256:" + "0" * 64,
        "[::1]:5000/x",
        "sha256:" + "0" * 64,
    ],
)
def test_a_reference_is_written_as_it_is(image: str) -> None:
    assert from_image(image) == f"ARG BASE_IMAGE={image}\nFROM ${{BASE_IMAGE}}\n"


@pytest.mark.attack("contexts")
@pytest.mark.parametrize("user", ["a\nRUN evil", "a b", "$HOME", "a:b:c", "-a", "a\r", "ä", ":0", "a\\"])
def test_a_user_cannot_add_an_instruction(user: str) -> None:
    with pytest.raises(InputError, match="is not the name of a user"):
        PackageOptions(bundle=None, code=None, user=user)


@pytest.mark.parametrize("user", ["", "root", "1000", "1000:0", "my-user:my_group", "www.data"])
def test_a_user_by_name_or_number(user: str) -> None:
    assert PackageOptions(bundle=None, code=None, user=user).user == user


@pytest.mark.attack("contexts")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("A\nB", ""),
        ("A B", ""),
        ("", "x"),
        ("1A", "x"),
        ("A=B", "x"),
        ("A$B", "x"),
        ("É", "x"),
        ("A", "x\ny"),
        ("A", "\r"),
        ("A", "\0"),
        ("A", "\x1b[31m"),
        ("A", "\u2028"),
        ("A", "\x85"),
        ("A", "a\tb"),
    ],
)
def test_a_variable_with_a_control_character_is_refused(name: str, value: str) -> None:
    with pytest.raises(InputError):
        check_variables({name: value})
    with pytest.raises(InputError):
        PackageOptions(bundle=None, code=None, env={name: value})


def test_other_variables_are_not() -> None:
    check_variables({"A": "", "_b.c-d1": 'é $x "quoted" \\ #', "PATH": "/a:/b"})
