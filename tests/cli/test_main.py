"""The command line as a user meets it: help, envelopes, signals, pipes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.bundles import make_bundle
from support.paths import PACKAGE
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex


@pytest.mark.parametrize("command", [[], ["build"], ["lock"], ["inspect"], ["verify"], ["unpack"], ["store"]])
def test_every_command_has_help(command: list[str], bundler_cli: BundlerCli) -> None:
    ended = bundler_cli.run(*command, "--help")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: bundler")


@pytest.mark.parametrize("args", [["-v"], ["-q"], ["store", "-v"], ["env", "-q", "-v"]], ids=" ".join)
def test_options_without_a_command_print_the_help(args: list[str], bundler_cli: BundlerCli) -> None:
    ended = bundler_cli.run(*args)

    assert ended.returncode == 2
    assert ended.stdout.startswith("Usage: bundler")
    assert ended.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\n"  # those of coverage, which measures children too
        "from bundler.cli.main import run_cli\nrun_cli(['--help'])\n"
        "heavy = {'requests', 'rich', 'pathvalidate', 'isal', 'virtualenv', 'packaging', 'installer', 'pip',"
        " 'tomllib', 'bundler.data'}\n"
        "print(sorted(heavy & set(sys.modules) - before), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stderr == "[]\n"


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["build"], 2, "no requirements given"),
        (["lock"], 2, "no requirements given"),
        (["build", "--no-such-option"], 2, "no such option: `--no-such-option`"),
        (["build", "x", "--extra", "y"], 2, "extras need a `pyproject.toml`"),
        (["build", "x", "--name", "../x"], 2, "is not a valid name of a bundle"),
        (["build", "-r", "missing.txt"], 3, "missing.txt"),
        (["verify", "missing.tar.gz"], 11, "missing.tar.gz: file not found"),
        (["verify", "missing"], 11, "missing: file not found"),
        (["buidl"], 2, "hint: bundler build --help"),
        (["nonsense"], 2, "hint: bundler --help"),
        (["build", "--lock", "missing.toml"], 3, "missing.toml: file not found"),
        (["build", "--lock", sys.executable], 3, "not a lockfile: it is not UTF-8 text"),
        (["build", "x", "--python", "nonsense"], 2, "neither a version nor the path"),
    ],
)
def test_a_wrong_command_is_told_in_one_line_and_as_json(
    args: list[str], code: int, told: str, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    ended = bundler_cli.run(*args, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (code, "")
    first = ended.stderr[ended.stderr.index("bundler: error: ") :].splitlines()[0]
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []

    envelope = bundler_cli.run(*args, "--json", cwd=tmp_path).json
    assert set(envelope) == {"schema", "command", "ok", "error"}
    assert set(envelope["error"]) == {"kind", "exit_code", "message", "evidence", "hint"}
    assert (envelope["schema"], envelope["ok"]) == ("bundler.result/1", False)
    assert first == f"bundler: error: {envelope['error']['message']}"


def test_envelopes_keep_their_keys(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    expected = {
        ("inspect", str(path)): {"identity", "manifest"},
        ("report", str(path), "-o", str(tmp_path / "report.html")): {"path", "identity", "verdict"},
        ("diff", str(path), str(path)): {
            *("before", "after", "distributions", "licenses", "libraries", "equal"),
        },
        ("verify", str(path)): {
            *("path", "sha256", "size", "identity", "name", "version", "companions", "notes"),
        },
        ("store", "info"): {"path", "blobs", "bytes", "references", "scratch", "quarantined"},
        ("store", "fsck"): {"checked", "quarantined", "dropped"},
        ("store", "gc"): {"references", "blobs", "bytes", "scratch"},
    }
    for command, keys in expected.items():
        envelope = bundler_cli.run(*command, "--json").json
        assert (envelope["ok"], set(envelope["result"])) == (True, keys), command


def test_the_last_line_of_stdout_is_path_size_and_digest(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    ended = bundler_cli.run("verify", str(path))

    fields = ended.stdout.splitlines()[-1].split("\t")
    assert fields[:2] == [str(path), str(path.stat().st_size)]
    assert re.fullmatch(r"[0-9a-f]{64}", fields[2])


def test_inspect_begins_with_ten_lines(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    path = str(make_bundle(tmp_path))
    short, long = (bundler_cli.run("inspect", path, *more).stdout for more in ((), ("--notes",)))

    lines = short.splitlines()
    assert len(lines) == 10
    assert re.fullmatch(r"small 1\.0  sha256:[0-9a-f]{64}", lines[0])
    assert lines[1:4] == [
        "verdict   no import was checked",
        "for       CPython 3.7 (cp37m) on linux_x86_64",
        "contains  1 distribution, 5 files, 1.4 kB",
    ]
    assert long.startswith(short)
    assert re.fullmatch(r"  pkg +1\.0 +1\.3 kB  MIT +pkg-1\.0-py3-none-any\.whl\n", long.removeprefix(short))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_p01_p02_p03_p05_a_signal_ends_a_build_and_leaves_nothing(
    sent: signal.Signals, code: int, again: bool, index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "slow", "1.0", {"slow.py": "import time; time.sleep(50)\n"})
    default = ["env", "--default-signal=INT,TERM,HUP"]  # a shell ignores SIGINT for what it starts with `&`
    with subprocess.Popen(
        [*default, sys.executable, "-I", "-m", "bundler", "build", "slow", "--name", "app"],
        cwd=tmp_path,
        env=bundler_cli.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("layers"):
                break
        time.sleep(1)  # the import has begun
        process.send_signal(sent)
        while again and process.poll() is None:  # the clean-up is not interrupted by further ones
            process.send_signal(sent)
            time.sleep(0.002)
        assert process.wait(timeout=10) == code
        assert "Traceback" not in process.stderr.read()

    assert not list((bundler_cli.store / "v1" / "scratch").iterdir())
    assert list(tmp_path.iterdir()) == []
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(bundler_cli.store) not in running


def test_a_signal_that_is_ignored_stays_ignored(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """As under nohup(1)."""
    make_wheel(index.folder, "slow", "1.0", {"slow.py": "import time; time.sleep(50)\n"})
    argv = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-I", "-m", "bundler"]
    with subprocess.Popen(
        [*argv, "build", "slow", "--name", "app"],
        cwd=tmp_path,
        env=bundler_cli.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("layers"))
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 143


def test_p04_a_reader_that_goes_away_is_no_crash(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    command = f"{sys.executable} -I -m bundler inspect {path} --json | head -c 1"
    ended = subprocess.run(
        ["sh", "-c", command],
        env=bundler_cli.env,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout == "{"
    assert "Traceback" not in ended.stderr


def test_names_from_outside_cannot_disturb_a_terminal(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    ended = bundler_cli.run("verify", "x\x1b[31m\u202e.zip", cwd=tmp_path, env={"LC_ALL": "C"})

    assert ended.returncode == 11
    assert "\x1b" not in ended.stderr
    assert "\u202e" not in ended.stderr


def test_a_schema_is_shipped(bundler_cli: BundlerCli) -> None:

    schema = json.loads((PACKAGE / "bundle/manifest.schema.json").read_text())
    assert schema["properties"]["format_version"] == {"const": 1}
