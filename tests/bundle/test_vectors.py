"""Golden bundles of format 1 (tests/vectors): every version reads them, to the last byte."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.cli import SCHEMA
from support.paths import ROOT

from bundler.cli.main import run_cli

VECTORS = ROOT / "tests" / "vectors"
EXPECTED = json.loads((VECTORS / "expected.json").read_text("utf-8"))
GOOD: dict[str, dict[str, Any]] = EXPECTED["good"]
ARCHIVES = sorted(name for name in GOOD if name != "directory.tar")
MODULE = "lib/python3.7/site-packages/tiny.py"

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Run a command with ``--json``, and return its exit code and its result or error."""
    code = run_cli([*map(str, arguments), "--json"])
    envelope = json.loads(capsys.readouterr().out)
    assert envelope["ok"] == (code == 0)
    answer: dict[str, Any] = envelope["result" if code == 0 else "error"]
    return code, answer


def tree(folder: Path) -> dict[str, str]:
    """Return the mode and sha256 of each file, as expected.json has them; anything else is a failure."""
    found = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        if not stat.S_ISDIR(facts.st_mode):
            assert stat.S_ISREG(facts.st_mode), path
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[path.relative_to(folder).as_posix()] = f"{stat.S_IMODE(facts.st_mode):04o} {digest}"
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The bundle that was written as a directory."""
    subprocess.run(["tar", "-xf", VECTORS / "good/directory.tar", "-C", tmp_path], check=True, timeout=60)
    return tmp_path / str(GOOD["directory.tar"]["root"])


# --- the vectors ----------------------------------------------------------------------------------


def test_no_vector_has_changed() -> None:
    """See tests/vectors/README.md: they are never regenerated."""
    wanted = {f"good/{name}": facts["sha256"] for name, facts in GOOD.items()}
    wanted |= {f"broken/{name}": digest for name, digest in EXPECTED["broken"].items()}
    found = {
        path.relative_to(VECTORS).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VECTORS.rglob("*.tar*")
    }

    assert found == wanted
    assert sum(path.stat().st_size for path in VECTORS.rglob("*")) < 300_000


# --- the good ones --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_good_archive_is_inspected(name: str, capsys: Capture) -> None:
    _, result = run(capsys, "inspect", VECTORS / "good" / name)

    assert result["identity"] == GOOD[name]["identity"]
    jsonschema.validate(result["manifest"], SCHEMA)


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_good_archive_is_verified(name: str, capsys: Capture) -> None:
    path = VECTORS / "good" / name
    code, result = run(capsys, "verify", path)
    facts = GOOD[name]

    assert code == 0
    assert result == {
        "path": str(path),
        "sha256": facts["sha256"],
        "size": path.stat().st_size,
        "identity": facts["identity"],
        "name": facts["name"],
        "version": facts["version"],
        "companions": [f"{name.removesuffix('.tar.gz')}.sha256"] if name.startswith("minimal-1-") else [],
        "notes": [],
    }


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_good_archive_is_unpacked(name: str, capsys: Capture, tmp_path: Path) -> None:
    code, result = run(capsys, "unpack", VECTORS / "good" / name, tmp_path / "out")

    assert (code, result["identity"]) == (0, GOOD[name]["identity"])
    assert tree(tmp_path / "out") == GOOD[name]["files"]
    assert run(capsys, "verify", tmp_path / "out")[0] == 0


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_plain_tar_opens_a_good_archive(name: str, tmp_path: Path) -> None:
    options = ["-xzf"]
    if name.endswith(".zst"):
        if shutil.which("zstd") is None:
            pytest.skip("no zstd program")
        options = ["--zstd", "-xf"]
    subprocess.run(["tar", *options, VECTORS / "good" / name, "-C", tmp_path], check=True, timeout=60)

    assert [path.name for path in tmp_path.iterdir()] == [GOOD[name]["root"]]
    assert tree(tmp_path / str(GOOD[name]["root"])) == GOOD[name]["files"]


def test_a_good_directory_is_inspected_and_verified(directory: Path, capsys: Capture) -> None:
    facts = GOOD["directory.tar"]
    _, inspected = run(capsys, "inspect", directory)
    code, verified = run(capsys, "verify", directory)

    assert code == 0
    assert inspected["identity"] == verified["identity"] == facts["identity"]
    assert (verified["name"], verified["version"], verified["sha256"]) == (
        facts["name"],
        facts["version"],
        None,
    )
    assert tree(directory) == facts["files"]


def test_the_digests_beside_a_good_directory_are_those_of_its_files(directory: Path) -> None:
    beside = directory.with_name(f"{directory.name}.sha256")
    subprocess.run(
        ["sha256sum", "--check", "--quiet", beside.name], cwd=directory.parent, check=True, timeout=60
    )

    assert len(beside.read_text("utf-8").splitlines()) == len(GOOD["directory.tar"]["files"])


def test_the_records_of_a_manifest_are_displayed(capsys: Capture) -> None:
    assert run_cli(["inspect", "--notes", str(VECTORS / "good/full-2.0-cp37-linux_x86_64.tar.gz")]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert [line.split()[:2] for line in lines if line.startswith("  ")] == [
        ["basket", "1.0"],
        ["cart", "1.0"],
        ["shop", "2.1"],
    ]
    assert [line.partition("`")[0].split()[:3] for line in lines if "  I2" in line or "  M1" in line] == [
        ["error,", "allowed", "I201"],
        ["warning", "I209"],
        ["note", "M106"],
        ["note", "I203"],
        ["note", "I203"],
    ]
    assert run_cli(["inspect", str(VECTORS / "good/based-1-cp37-linux_x86_64.tar.gz")]) == 0
    assert "must have basket 1.0" in capsys.readouterr().out


def test_the_target_python_is_all_that_a_program_of_a_bundle_needs(tmp_path: Path, python37: Path) -> None:
    archive = VECTORS / "good/full-2.0-cp37-linux_x86_64.tar.gz"
    code = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])"
    subprocess.run([python37, "-I", "-c", code, archive, tmp_path], check=True, timeout=60)

    programs = {
        "shop": "shop a b\n",
        "shop-gui": "shop a b\n",
        "shop-script": "script ['a', 'b']\n",
        "shop-shell": "shell\n",
    }
    for name, output in programs.items():
        ended = subprocess.run(
            [tmp_path / "full/bin" / name, "a", "b"],
            env={"BUNDLER_PYTHON": str(python37), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert ended.stdout == output


# --- the broken ones ------------------------------------------------------------------------------

REFUSED: dict[str, tuple[int, str, list[str]]] = {
    "changed-byte.tar.gz": (
        5,
        f"changed-byte.tar.gz: `{MODULE}` does not match the manifest",
        [
            "wanted  sha256 a8310b3e592c152c162eab2575f70ede1f361d433da9b45e993c5c7639f525bf",
            "found   sha256 aa2cdd4aad343946a370f785847f473204c19af5a6cd349fa2ef4677d7099510",
        ],
    ),
    "changed-mode.tar.gz": (
        7,
        f"changed-mode.tar.gz: the size, mode, owner, time or type of `{MODULE}` is changed",
        [],
    ),
    "cut-off.tar.gz": (5, "`cut-off.tar.gz` is truncated", []),
    "data-after-the-end.tar.gz": (7, "data-after-the-end.tar.gz: unexpected data after its end", []),
    "extra-file.tar.gz": (
        7,
        "extra-file.tar.gz: `lib/python3.7/site-packages/evil.py` is extra, its manifest does not list it",
        [],
    ),
    "format-2.tar.gz": (
        7,
        "format-2.tar.gz: manifest.json: unsupported format version",
        ["wanted  format version 1", "found   format version 2"],
    ),
    "gzip-by-another-name.tar.zst": (
        7,
        "`gzip-by-another-name.tar.zst` is not a .tar.zst archive",
        ["found   a gzip archive"],
    ),
    "missing-file.tar.gz": (
        7,
        f"missing-file.tar.gz: `{MODULE}` is missing",
        ["found   lib/python3.7/site-packages/tiny_data/é.txt in its place"],
    ),
    "not-canonical.tar.gz": (
        7,
        "not-canonical.tar.gz: manifest.json: not in canonical form",
        ["see docs/format.md, `Manifest`"],
    ),
    "other-digest.tar.gz": (
        5,
        "`other-digest.tar.gz` is not the file that `other-digest.sha256` was made for",
        [
            "wanted  sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "found   sha256 efc0d97d9a4cf6cc72dcd51925b8d8e9cf811f4eab9d81c7f1e28a12f453decd",
        ],
    ),
    "unsafe-path.tar.gz": (
        7,
        "unsafe-path.tar.gz: manifest.json: a path is not allowed: its component `..` is not allowed",
        [],
    ),
}


def test_every_broken_vector_has_its_refusal() -> None:
    assert set(REFUSED) == set(EXPECTED["broken"])


@pytest.mark.attack("archives")
@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("command", ["verify", "unpack"])
def test_a_broken_archive_is_refused_and_nothing_is_left(
    name: str, command: str, capsys: Capture, tmp_path: Path
) -> None:
    destination = [tmp_path / "out"] if command == "unpack" else []
    code, error = run(capsys, command, VECTORS / "broken" / name, *destination)

    assert (code, error["message"], error["evidence"]) == REFUSED[name]
    assert error["exit_code"] == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.attack("archives")
@pytest.mark.parametrize("name", ["format-2.tar.gz", "not-canonical.tar.gz", "unsafe-path.tar.gz"])
def test_a_broken_manifest_is_not_displayed(name: str, capsys: Capture) -> None:
    code, error = run(capsys, "inspect", VECTORS / "broken" / name)

    assert (code, error["message"], error["evidence"]) == REFUSED[name]


def change(folder: Path) -> None:
    (folder / MODULE).write_text("VERSION = '1.1'\n")


def remove(folder: Path) -> None:
    (folder / MODULE).unlink()


def add(folder: Path) -> None:
    (folder / "evil.py").touch()


def update(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"format_version":1', b'"format_version":2'))


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("damage", "code", "evidence"),
    [
        (change, 5, [f"changed  {MODULE}: its sha256 is bd2d724089da, not a8310b3e592c"]),
        (remove, 5, [f"missing  {MODULE}"]),
        (add, 5, ["extra    evil.py"]),
        (update, 7, ["wanted  format version 1", "found   format version 2"]),
    ],
)
def test_a_broken_directory_is_refused(
    directory: Path, damage: Callable[[Path], None], code: int, evidence: list[str], capsys: Capture
) -> None:
    damage(directory)

    found, error = run(capsys, "verify", directory)
    assert (found, error["evidence"]) == (code, evidence)
