"""The command line that was meant by a wrong one: valid as a whole, and none if there is no good one."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from support.bundles import make_bundle
from support.hints import pasted_words

from bundler.cli.common import all_commands
from bundler.cli.correction import corrections
from bundler.cli.main import cli
from bundler.cli.mistakes import usage_error
from bundler.cli.parsing import read_line
from bundler.data.synonyms import read_synonyms


def corrected(typed: str) -> str | None:
    """Return the first correction of a command line."""
    line = read_line(shlex.split(typed), cli)
    assert line.fault, typed
    words = next(corrections(line, cli), None)
    return None if words is None else shlex.join(words)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        # One option, several values: the last one is kept.
        ("build six --python 3.7 --python 3.8", "build six --python 3.8"),
        ("build six --python=3.7 -r a --python 3.8 -r b", "build six -r a --python 3.8 -r b"),
        ("lock six -o a.toml --output=b.toml", "lock six --output=b.toml"),
        ("lock six -oa.toml -ob.toml", "lock six -ob.toml"),
        ("build six --base x --base y --store s --store t", "build six --base y --store t"),
        ("build six --format dir --format tar.gz", "build six --format tar.gz"),
        # Another command, and words that a command does not have.
        ("inspect b.tar.gz --base freeze.txt", "verify b.tar.gz --base freeze.txt"),
        ("base show", "base list"),
        ("store gc --days 3", "store gc --unused-days 3"),
        ("init myproject", "init"),
        ("doctor b.tar.gz", "doctor"),
        ("store info x", "store info"),
        ("completion bash", None),
        # Options of other tools.
        ("build six --python-version 3.7", "build six --python 3.7"),
        ("build six --python-version=3.7", "build six --python=3.7"),
        ("build six -p 3.8", "build six --python 3.8"),
        ("build six -p3.8", "build six --python 3.8"),
        ("build six --python3.8", "build six --python 3.8"),
        ("build --python3.8.1 six", "build --python 3.8.1 six"),
        ("serve ctx --port8080", "serve ctx --port 8080"),
        ("store gc --unused-days0", "store gc --unused-days 0"),
        ("lock six --nothing3.8", None),
        ("mount-command ctx -p 8080:5001", "mount-command ctx --port 8080"),
        ("mount-command ctx -p127.0.0.1:8080:5001", "mount-command ctx --port 8080"),
        ("serve -p 8080:5001 ctx", "serve --port 8080 ctx"),
        ("build six -p 8080:5001", None),
        ("store gc --all", "store gc --unused-days 0"),
        ("store gc -a --json", "store gc --unused-days 0 --json"),
        ("store clean --all", "store gc --unused-days 0"),
        ("cache purge --all", "store gc --unused-days 0"),
        ("build six --all", None),
        ("simulate ctx --entry-script x.py", "simulate ctx -e AZUREML_ENTRY_SCRIPT=x.py"),
        ("simulate --entry-script=x.py ctx", "simulate -e AZUREML_ENTRY_SCRIPT=x.py ctx"),
        ("doctor --container --model-dir m", "doctor --container -e AZUREML_MODEL_DIR=m"),
        ("simulate ctx --entry-script", None),
        ("report b.tar.gz --format pdf", "report b.tar.gz"),
        ("serve ctx -p 5001", "serve ctx --port 5001"),
        ("serve ctx -p 8080 --host 0.0.0.0", "serve ctx --port 8080"),
        ("serve --host=0.0.0.0 ctx", "serve ctx"),
        ("env create -f env.yml -w ws", "env register env.yml -w ws"),
        ("build six -t out", "build six --output out"),
        ("build six -t app:1", None),
        ("build six --out-dir out", "build six --output out"),
        ("build six -n", "build six --dry-run"),
        ("build -n six", "build --dry-run six"),
        ("build -n app six", "build --name app six"),
        ("build --upgrade six", "lock --upgrade six"),
        ("build six --check --python 3.8", "lock six --check --python 3.8"),
        ("build six --check --for mount", None),
        ("lock six --update", "lock six --upgrade"),
        ("unpack b.tar.gz -o out", "unpack b.tar.gz out"),
        ("unpack b.tar.gz -d out", "unpack b.tar.gz out"),
        ("unpack -C out b.tar.gz", "unpack b.tar.gz out"),
        ("verify b.tar.gz --notes", "inspect b.tar.gz --notes"),
        ("build six --cache-dir c --debug", "build six --store c --verbose"),
        ("build -e ./proj", "build ./proj"),
        ("build six --only-binary=:all:", "build six --only-binary"),
        ("build --only-binary :all: six", "build --only-binary six"),
        ("lock six --only-binary :none:", "lock six --only-binary"),
        ("build --no-binary :all: six", None),
        ("build six --no-binary six", None),
        ("-V", "--version"),
        ("build -V", "--version"),
        ("create -n app six", "build --name app six"),
        ("env create -n app -f env.yml", "build --name app -f env.yml"),
        ("env create -n app env.yml", "env register --name app env.yml"),
        ("env create -n app", None),
        # Options in another form, or at another place.
        ("build six -python 3.8", "build six --python 3.8"),
        ("build six -R r.txt", "build six -r r.txt"),
        ("build six --INDEX_URL http://x", "build six --index-url http://x"),
        ("build six --json=true", "build six --json"),
        ("--python 3.8 build six", "build --python 3.8 six"),
        ("--pyton 3.8 build six", "build --python 3.8 six"),
        ("-r r.txt", "build -r r.txt"),
        ("lock --requirments r.txt", "lock --requirement r.txt"),
        ("lock six --requirments r.txt --pythn 3.8", "lock six --requirement r.txt --python 3.8"),
        # Never an option without the value that it needs, never a version by accident.
        ("build six --force", None),
        ("build six --for", None),
        ("build --lock", None),
        ("build six --for --json", None),
        ("build six --verson", "--version"),
        ("build six --hlep", "build six --help"),
        ("build six --unknown-thing", None),
        # Values.
        ("build six --format tgz", "build six --format tar.gz"),
        ("build six --format=directory", "build six --format=dir"),
        ("simulate ctx --profile py37", "simulate ctx --profile classic"),
        ("simulate ctx --profile=3.8", "simulate ctx --profile=py38"),
        ("simulate ctx --profile py310", "simulate ctx --profile stripped"),
        ("build six --for venvs", "build six --for venv"),
        ("build six --format x", None),
        ("serve ctx --port abc", None),
        # Commands of other tools.
        ("install six", "build six"),
        ("add six --python-version 3.8", "build six --python 3.8"),
        ("download six -d out", "build six --output out"),
        ("create six", "build six"),
        ("pip install six", "build six"),
        ("pip freeze six", "lock six"),
        ("help", "--help"),
        ("help build", "build --help"),
        ("help store gc", "store gc --help"),
        ("help buidl", "build --help"),
        ("help nonsense", "--help"),
        ("version", "--version"),
        ("extract b.tar.gz", "unpack b.tar.gz b"),
        ("extract b.tar.gz -C out", "unpack b.tar.gz out"),
        ("check b.tar.gz", "verify b.tar.gz"),
        ("list b.tar.gz", "inspect b.tar.gz"),
        ("store clean", "store gc"),
        ("-q store prune", "-q store gc"),
        ("cache clean", "store gc"),
        ("cache", "store info"),
        ("env create -f env.yml", "build -f env.yml"),
        ("env create env.yml", "env register env.yml"),
        ("instal six", "build six"),
        ("BUILD six", "build six"),
        ("numpy==1.21", "build numpy==1.21"),
        ("numpy", "build numpy"),
        ("install", None),
        ("uninstall six", None),
        ("remove six", None),
        ("nonsense", None),
        ("store nonsense", None),
        ("verify a b c", None),
    ],
)
def test_the_command_line_that_was_meant(
    typed: str, meant: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert corrected(typed) == meant


def test_unexpected_arguments_are_values_of_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    old, new = (str(make_bundle(Path(name))) for name in ("old", "new"))
    Path("pylock.toml").touch()
    Path("ctx").mkdir()

    assert corrected(f"report {new} {old}") == f"report {new} --against {old}"
    assert corrected(f"report -o a.html {new} {old}") == f"report -o a.html {new} --against {old}"
    assert corrected(f"report {new} missing.tar.gz") == f"report {new}"
    assert corrected(f"inspect {new} flask") == f"explain flask {new}"
    assert corrected(f"inspect flask {new} --json") == f"explain flask {new} --json"
    assert corrected(f"-q inspect {new} flask --notes") == f"-q explain flask {new}"
    assert corrected(f"list {new} flask") == f"explain flask {new}"
    assert corrected(f"inspect {new} {old}") == f"inspect {new}"
    assert corrected(f"verify {new} flask") == f"verify {new}"
    assert corrected("tree pylock.toml flask") == "tree pylock.toml --invert flask"
    assert corrected(f"tree {new} flask --json") == f"tree {new} --invert flask --json"
    assert corrected("tree flask pylock.toml") == "tree pylock.toml --invert flask"
    assert corrected("doctor --container -e NAME /x") == "doctor --container -e NAME=/x"
    assert corrected("simulate ctx -e NAME VALUE") == "simulate ctx -e NAME=VALUE"
    assert corrected("simulate --env NAME VALUE ctx --json") == "simulate --env NAME=VALUE ctx --json"
    assert corrected("simulate ctx -e A 1 -e B 2") == "simulate ctx -e A=1 -e B=2"
    assert corrected("serve ctx --python 3.7 3.8") == "serve ctx --python 3.8"
    assert corrected("simulate ctx other -e A=1 -e B=2") is None


def test_missing_words_are_those_of_files_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    older, bundle = (make_bundle(tmp_path / name) for name in ("old", "dist"))
    bundle.with_name("sdist-1.0.tar.gz").write_bytes(b"not a bundle")
    shown = str(bundle.relative_to(tmp_path))
    stem = bundle.name.removesuffix(".tar.gz")

    for word in ("inspect", "verify", "tree"):
        assert corrected(word) == f"{word} {shown}"
    assert corrected("list") == f"inspect {shown}"
    assert corrected("check") == f"verify {shown}"
    assert corrected("unpack") == f"unpack {shown} {stem}"
    assert corrected("extract") == f"unpack {shown} {stem}"
    assert corrected(f"diff {older}") == f"diff {older} {shown}"
    assert corrected("diff") is None
    files = shlex.join(sorted(str(path.relative_to(tmp_path)) for path in bundle.parent.iterdir()))
    assert corrected(f"verify {files}") == f"verify {shown}"
    assert corrected(shown) == f"inspect {shown}"
    (tmp_path / stem).mkdir()
    assert corrected("extract") == f"unpack {shown} {stem}-unpacked"

    (tmp_path / "requirements.txt").write_text("six\n", "utf-8")
    assert corrected("install") == "build -r requirements.txt"
    assert corrected("build -n six") == "build --dry-run six"
    assert corrected("requirements.txt") == "build requirements.txt"
    assert corrected("env register") == "env register requirements.txt"
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx" / "context.json").write_text("{}", "utf-8")
    assert corrected("serve") == "serve ctx"


@pytest.mark.parametrize(
    ("typed", "fact"),
    [
        ("build six --for", "`--for` needs a value"),
        ("build six --for --json", "`--for` needs a value"),
        ("build six --json=1", "`--json` does not take a value"),
        ("build six --no-deps", "no such option: `--no-deps`"),
        ("build six --format x", "invalid value for `--format`: `x`"),
        ("serve ctx --port x", "invalid value for `--port`: `x`"),
        ("nonsense", "no such command: `nonsense`"),
        ("uninstall six", "no such command: `uninstall`"),
        ("report b.tar.gz --format pdf", "no such option: `--format`"),
        ("build --no-binary :all: six", "no such option: `--no-binary`"),
        ("build --only-binary :all:", "`--only-binary` does not take a value"),
        ("build :all:", "other words"),
        ("unpack", "missing arguments: `BUNDLE`, `DEST`"),
        ("verify a b c", "unexpected arguments: `b`, `c`"),
    ],
)
def test_the_words_are_those_of_bundler(typed: str, fact: str) -> None:
    error = usage_error(click.UsageError("other words"), typed.split(), cli)

    assert error.message == fact
    has_reason = ("value" in fact and "take" not in fact) or typed == "uninstall six"
    has_reason = has_reason or "format pdf" in typed or "no-deps" in fact or "no-binary" in fact
    assert bool(error.evidence) == has_reason
    assert error.hint is not None
    assert read_line(pasted_words(error.hint)[1:], cli).fault == ""


def test_synonyms_are_commands_and_options_of_bundler() -> None:
    options = {"--help", "--version"}
    for _, command in all_commands(cli, read_line([], cli).context):
        options |= {opt for param in command.params for opt in param.opts}
        options |= {param.human_readable_name for param in command.params}

    for name, others in read_synonyms().commands.items():
        for other in others:
            value = ["x"] if other.endswith("--name") else []
            found = read_line([*other.split(), *value, "--help"], cli)
            assert (found.fault, found.path != () or other in options) == ("", True), name
        assert read_line([*name.split(), "--help"], cli).fault, f"{name} is a command"
    for name, others in read_synonyms().options.items():
        assert {other.partition(" ")[0] for other in others} <= options, name


@pytest.mark.parametrize(
    "typed",
    [
        "build six --python 3.7 --python=3.7",
        "build six -r a -r b -v -v --extra x --extra y",
        "build --help --python 3.7 --python 3.8",
        "lock six -o a.toml -- -o",
    ],
)
def test_an_option_may_be_repeated_with_one_value_and_where_it_takes_several(typed: str) -> None:
    assert not read_line(shlex.split(typed), cli).fault


def test_every_option_with_one_value_is_refused_with_two() -> None:
    root = click.Context(cli)
    counted = 0
    for path, command in all_commands(cli, root):
        for param in command.params:
            if isinstance(param, click.Option) and not param.is_flag and not param.multiple:
                line = read_line([*path, param.opts[-1], "1", param.opts[0], "2"], cli)
                assert line.fault in ("repeated", "choice"), (path, param.opts)
                counted += line.fault == "repeated"
    assert counted > 40
