"""The Dockerfile and the `context.json` of a build context."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bundler.deploy.context import docker_run, dockerfile, from_image, read_context_facts
from bundler.deploy.startup.files import dockerfile_env
from bundler.digest import sha256_of
from bundler.errors import InputError
from bundler.oci.filetree import App, AppFile, AppLayer
from bundler.paths import archive_path


def app_with(directory: str) -> App:
    """An application of one file, in a source directory of this name."""
    file = AppFile(
        path=archive_path(f"{directory}/score.py"),
        mode=0o644,
        size=0,
        sha256=sha256_of(b""),
        chunks=lambda: [b""],
    )
    layer = AppLayer(comment="code", files=(file,))
    return App(layers=(layer,), env={}, user="", command=(), port=0, epoch=0, labels={})


def copy_line(directory: str) -> str:
    """The one COPY of its Dockerfile."""
    (line,) = [
        line
        for line in dockerfile(app_with(directory), from_image("base:1")).splitlines()
        if line.startswith("COPY")
    ]
    return line


@pytest.mark.parametrize("name", ["code", "my-code_2.0", "code+x@y=z,~%", "größe", "a#b", "x]"])
def test_a_plain_name_is_copied_in_the_shell_form(name: str) -> None:
    assert copy_line(name) == f"COPY --chown=0:0 azureml-app/{name} /var/azureml-app/{name}/"


@pytest.mark.attack("contexts")
@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("my code", "my code", "my code"),
        ("a$HOME", r"a\$HOME", r"a\$HOME"),
        ("it's", r"it\'s", r"it\'s"),
        ('say "x"', r"say \"x\"", r"say \"x\""),
        ("all*?", "all[*][?]", "all*?"),
        ("v[1]", "v[[]1]", "v[1]"),
        ("größe\u00a0x", "größe\u00a0x", "größe\u00a0x"),
    ],
)
def test_a_name_that_a_dockerfile_interprets_is_escaped(name: str, source: str, target: str) -> None:
    """Docker splits the shell form at spaces; in both forms it expands variables, and source patterns."""
    options, _, words = copy_line(name).partition("[")

    assert options == "COPY --chown=0:0 "
    assert json.loads(f"[{words}") == [f"azureml-app/{source}", f"/var/azureml-app/{target}/"]


def test_the_variables_of_a_dockerfile_are_read_as_they_were_written() -> None:
    """`bundler simulate CONTEXT` reads them back."""
    env = {"A": "my $code", "B": "$A", "C": 'say "x"', "D": "back\\slash 'q'", "E": ""}
    app = dataclasses.replace(app_with("my $code"), env=env)

    assert dockerfile_env(dockerfile(app, from_image("base:1"))) == env


@pytest.mark.attack("contexts")
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("ENV X=$A", "1"),
        ("ENV X='$A'", "$A"),
        (r"ENV X=\$A", "$A"),
        (r'ENV X="\$A"', "$A"),
        (r'ENV X="a\b"', r"a\b"),
        (r"ENV X=a\ b", "a b"),
        ("ENV X=a\"b c\"'d'", "ab cd"),
        ("ENV A=2 X=$A", "1"),
        ("ENV X=$A:${NONE}$", "1:${NONE}$"),
    ],
)
def test_quotes_and_variables_of_an_env_line(line: str, value: str) -> None:
    """Dockerfile reference: one value of each variable throughout an instruction, none in single quotes."""
    assert dockerfile_env(f"FROM base\nENV A=1\n{line}\n")["X"] == value


# context.json


def test_no_context_json_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a build context") as caught:
        read_context_facts(tmp_path)

    assert caught.value.hint == "bundler package --help"


@pytest.mark.attack("contexts")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "input data was truncated"),
        ("[]", "expected `object`, got `array`"),
        ('{"env": {}}', "object missing required field `format`"),
        ('{"format": "other", "env": {}}', "$.format: invalid enum value 'other'"),
        ('{"format": "bundler-context", "env": []}', "$.env: expected `object`, got `array`"),
        ('{"format": "bundler-context", "env": {"A": 1}}', "$.env[...]: expected `str`, got `int`"),
    ],
)
def test_a_malformed_context_json_is_refused_with_the_field(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "context.json").write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        read_context_facts(tmp_path)

    assert str(caught.value) == f"{tmp_path}/context.json: {message}"


def test_a_context_without_a_base_image_needs_one(tmp_path: Path) -> None:
    (tmp_path / "context.json").write_text(
        '{"format": "bundler-context", "env": {"A": "$x"}, "base_image": null}', "utf-8"
    )
    with pytest.raises(InputError, match="without the name of a base image") as caught:
        docker_run(tmp_path, image=None, port=1)
    assert caught.value.hint is not None
    image = caught.value.hint.removeprefix("--image ")
    assert docker_run(tmp_path, image=image, port=1).endswith("py37-cpu-inference:latest")

    command = docker_run(tmp_path, image="base:1", port=1)
    assert command.endswith(" -e 'A=$x' base:1")
